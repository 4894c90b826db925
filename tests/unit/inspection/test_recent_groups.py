# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The groups that rates are computed from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from snowsync.inspection.recent_groups import RecentGroups
from snowsync.ledger.records import GroupRow, Tally


class Reader:
    """A ledger with these groups."""

    def __init__(self, *found: GroupRow) -> None:
        self.found = list(found)

    def groups_since(self, ticks_ms: int) -> Iterator[GroupRow]:
        return (group for group in self.found if group.ticks_ms >= ticks_ms)

    def groups(self, last: int) -> Iterator[GroupRow]:
        return (group for group in self.found if group.id > last)

    def last_group_id(self) -> int:
        return self.found[-1].id if self.found else 0


def group(number: int, ticks_ms: int, hop: str = "source", volume: int | None = 1) -> GroupRow:
    return GroupRow(number, hop, volume, 1, 100, ticks_ms)


def begun(reader: Any, since: int = 0) -> RecentGroups:
    groups = RecentGroups()
    groups.begin(reader, since)
    return groups


def test_each_group_is_taken_once() -> None:
    reader: Any = Reader(group(1, 10), group(2, 20))
    groups = begun(reader, since=15)
    assert groups.committed(0, hop="source") == Tally(1, 100), "what was committed before does not count"
    assert groups.take(reader) == []
    reader.found.append(group(3, 30))
    assert groups.take(reader) == [group(3, 30)]
    assert groups.take(reader) == []
    assert groups.committed(0, hop="source") == Tally(2, 200)


def test_what_was_committed_before_the_first_look_is_never_taken() -> None:
    reader: Any = Reader(group(7, 10))
    groups = begun(reader, since=100)
    assert groups.take(reader) == []


def test_old_ones_are_forgotten() -> None:
    groups = begun(Reader(group(1, 10), group(2, 20)))
    assert groups.committed(20, hop="source") == Tally(1, 100)
    groups.forget(20)
    assert groups.committed(0, hop="source") == Tally(1, 100)


def test_what_is_staged_counts_for_its_volume_and_for_its_hop() -> None:
    groups = begun(Reader(group(1, 10), group(2, 20, volume=2), group(3, 30, "destination", 1)))
    assert groups.committed(0, hop="source") == Tally(2, 200)
    assert groups.committed(0, hop="destination") == Tally(1, 100)
    assert groups.committed(0, volume=1) == Tally(1, 100), "what left it is not counted"


@pytest.mark.parametrize(
    ("volumes", "enough"), [((), False), ((1,), False), ((1, 2), False), ((1, 1), True), ((1, 2, 1), True)]
)
def test_one_commit_is_not_enough_for_a_rate_that_lasts(volumes: tuple[int, ...], enough: bool) -> None:
    groups = begun(Reader(*(group(number, 50, volume=volume) for number, volume in enumerate(volumes, start=1))))
    assert groups.is_enough("source", 50) is enough
    assert not groups.is_enough("source", 51), "they are of an earlier run"
    assert not groups.is_enough("destination", 50)
