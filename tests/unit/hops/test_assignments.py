# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each endpoint was given and has not ended."""

from __future__ import annotations

from snowsync.hops.assignments import Assignments, Streams

ONE, TWO = "http://one.test:1", "http://two.test:1"


def test_what_has_ended_counts_no_more() -> None:
    assigned = Assignments()
    assigned.begin(ONE, [(1, Streams(4, 1)), (2, Streams(0, 1))])
    assigned.begin(TWO, [(3, Streams(0, 1))])
    assert (assigned.count(ONE), assigned.count(TWO), assigned.streams(ONE)) == (2, 1, 4)
    assert assigned.objects() == {1, 2, 3}
    assert (assigned.end([3, 1]), assigned.end([2])) == (True, False)
    assert (assigned.count(ONE), assigned.count(TWO), assigned.streams(ONE)) == (0, 0, 0)
    assert not assigned.objects()


def test_an_outcome_of_what_was_never_given_counts_for_nothing() -> None:
    assigned = Assignments()
    assert not assigned.end([1])
    assert assigned.count("") == 0


def test_a_large_object_takes_its_place_before_it_is_given() -> None:
    assigned = Assignments()
    assigned.expect_large(ONE, 1, Streams(3, 1))
    assert (assigned.streams(ONE), assigned.count(ONE)) == (3, 0)
    assigned.begin(ONE, [(1, Streams(3, 1))])
    assert assigned.streams(ONE) == 3, "it has its place once"
    assigned.expect_large(ONE, 2, Streams(1, 1))
    assigned.expect_no_more(ONE, 2)
    assert assigned.streams(ONE) == 3


def test_what_a_disk_holds_up_takes_no_place() -> None:
    assigned = Assignments()
    assigned.begin(ONE, [(1, Streams(2, 1)), (2, Streams(3, 2))])
    assert assigned.streams(ONE, held_up={2, 3}) == 2


def test_each_volume_has_streams_of_its_own() -> None:
    assigned = Assignments()
    assigned.begin(ONE, [(1, Streams(2, 1)), (2, Streams(3, 2)), (3, Streams(1, 1))])
    assert [assigned.streams_on(ONE, volume) for volume in (1, 2, 3)] == [3, 3, 0]
    assert assigned.streams_on(TWO, 1) == 0
