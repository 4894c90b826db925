# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lanes that have work share the requests that may be in flight."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from snowsync.movers.native.division import Change
from snowsync.movers.native.lane_shares import LaneShares
from snowsync.store.width import Width

MEMBER = "the mover"


class Lanes:
    """Carries changes out at once, unless it is told not to."""

    def __init__(self, width: Width, lanes: int, *, least: int = 1) -> None:
        self.changes: list[Change] = []
        self.volumes: tuple[int, ...] = ()
        self.is_slow = False
        self.shares = LaneShares(width, lanes, self._apply, least=least)

    def _apply(self, change: Change, volumes: tuple[int, ...]) -> Iterable[object]:
        self.changes.append(change)
        self.volumes = volumes
        if not self.is_slow:
            self.shares.fits(MEMBER, change.number)
        return (MEMBER,)

    @property
    def now(self) -> tuple[int, ...]:
        return self.shares.now.shares

    def begin(self, volume: int, count: int) -> None:
        for _piece in range(count):
            self.shares.begin(volume)

    def look(self) -> None:
        """An object ends, and so much time has passed that shares are looked at."""
        self.shares._next_look = 0.0
        self.shares.ended(())


@pytest.fixture
def lanes() -> Lanes:
    made = Lanes(Width(16, 100), 2)
    made.begin(1, 100)
    return made


def test_all_lanes_have_the_same_at_first(lanes: Lanes) -> None:
    assert lanes.now == (8, 8)
    assert (lanes.volumes, lanes.changes) == ((1,), [Change(0, (8, 8))]), "who carries it out knows the volume"


def test_an_idle_volume_lends_its_share_and_gets_it_back(lanes: Lanes) -> None:
    lanes.look()
    assert lanes.now == (15, 1)
    lanes.begin(2, 1)
    assert lanes.now == (15, 1), "one is enough for one"
    lanes.begin(2, 1)
    assert lanes.now == (8, 8)
    assert lanes.volumes == (1, 2)
    lanes.begin(2, 100)
    before = len(lanes.changes)
    lanes.look()
    lanes.look()
    assert (lanes.now, len(lanes.changes)) == ((8, 8), before), "both need more"


def test_it_gets_more_only_when_the_other_one_has_given_back(lanes: Lanes) -> None:
    lanes.look()
    lanes.is_slow = True
    lanes.begin(2, 10)
    assert lanes.now == (8, 1)
    lanes.look()
    assert lanes.now == (8, 1)
    lanes.shares.fits(MEMBER, lanes.shares.now.number)
    assert lanes.now == (8, 8)


def test_who_ends_has_no_connections(lanes: Lanes) -> None:
    lanes.look()
    lanes.is_slow = True
    lanes.begin(2, 10)
    lanes.shares.gone(MEMBER)
    assert lanes.now == (8, 8)


def test_what_a_volume_needed_a_moment_ago_is_not_taken_from_it(lanes: Lanes) -> None:
    lanes.begin(2, 6)
    lanes.shares.ended([2] * 6)
    assert lanes.now == (10, 6)
    lanes.look()
    assert lanes.now == (15, 1)


def test_it_follows_the_width() -> None:
    width = Width(16, 100)
    lanes = Lanes(width, 2)
    lanes.begin(1, 100)
    lanes.begin(2, 100)
    width.now = 50
    lanes.look()
    assert lanes.now == (25, 25)
    lanes.shares.slowed()
    assert (width.now, lanes.now) == (25, (13, 12))


def test_each_lane_keeps_the_least() -> None:
    width = Width(16, 100)
    lanes = Lanes(width, 2, least=4)
    lanes.begin(1, 100)
    lanes.look()
    assert lanes.now == (12, 4)
    for _request in range(100):
        lanes.shares.slowed()
    lanes.look()
    assert (width.now, lanes.now) == (8, (4, 4))


class Told(Width):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(8, 8)
        self.told: list[tuple[int, bool]] = []
        self.bytes = 0

    def ended(self, count: int, now: float, *, is_full: bool, size: int = 0) -> bool:
        self.told.append((count, is_full))
        self.bytes += size
        return False


def test_it_is_full_when_work_waits_and_all_that_may_be_in_flight_is() -> None:
    width = Told()
    lanes = Lanes(width, 2)
    lanes.begin(1, 4)
    lanes.begin(2, 6)
    lanes.shares.ended([2], 1000)
    lanes.shares.ended([2])
    lanes.begin(1, 6)
    lanes.shares.ended([2])
    assert width.told == [(1, True), (1, False), (1, False)]
    assert width.bytes == 1000
    lanes.look()
    assert lanes.now == (4, 4), "the other one had 4 in the meantime"
    lanes.look()
    assert lanes.now == (5, 3)
    width.told.clear()
    lanes.shares.ended([1])
    assert width.told == [(1, True)], "the other one uses its three"


def test_idle_lanes_with_the_least_do_not_hide_that_the_others_are_full() -> None:
    width = Told()
    lanes = Lanes(width, 2, least=4)
    lanes.begin(1, 6)
    lanes.shares.ended([1])
    assert width.told == [(1, True)]
