# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What waits for one volume, and when it is committed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core.model import Evidence, Origin, State
from snowsync.hops.flight import Flight
from snowsync.hops.source.staging import volume_groups
from snowsync.hops.source.staging.volume_groups import VolumeGroups
from snowsync.ledger.ledger import Row, Staged
from snowsync.volumes.load import Load

FULL = 3  # objects of a group
LARGE = 10**7  # bytes


class Volume:
    """A volume that takes as much as it is told."""

    id, name = 1, "one"

    def __init__(self) -> None:
        self.load = Load()


class Waiting:
    """The groups of a volume, with the time and the rest of the unit in the test's hands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.everything = False
        self.flight = Flight()
        monkeypatch.setattr(volume_groups.time, "monotonic", lambda: self.now)
        job: Any = SimpleNamespace(
            group=SimpleNamespace(objects=FULL, bytes=10**6, seconds=5.0),
            mover=SimpleNamespace(is_large=lambda size: size >= LARGE),
        )
        volume: Any = Volume()
        self.groups = VolumeGroups(volume, job, self.flight, lambda: self.everything)

    def take(self, number: int, size: int = 10) -> bool:
        row = Row(number, "key", size, "e", 0, 1, Origin.SOURCE, State.PENDING, None, 0, "", "", 0, 0, 0)
        item: Any = SimpleNamespace(row=row, path=f"/incoming/{number}")
        return self.groups.take([(item, Staged(row, 0, "", "", Evidence.STORE_DIGEST, ""))])

    def next(self, *, rest: bool = False) -> list[int]:
        group = self.groups.next_group(rest=rest)
        return [item.row.id for item, _staged in group.items] if group else []


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    return Waiting(monkeypatch)


def test_a_group_is_committed_when_it_has_as_many_objects_as_the_job_says(waiting: Waiting) -> None:
    for number in (1, 2):
        waiting.take(number)
        assert waiting.next() == []
    waiting.take(3)
    assert waiting.next() == [1, 2, 3]
    assert waiting.next() == []


def test_a_group_is_committed_when_its_first_object_waits_long_enough(waiting: Waiting) -> None:
    waiting.now += 100  # nothing waits meanwhile
    waiting.take(1)
    waiting.now += 4.9
    waiting.take(2)
    assert waiting.next() == []
    waiting.now += 0.1
    assert waiting.next() == [1, 2]


def test_a_group_is_committed_when_its_bytes_are_enough(waiting: Waiting) -> None:
    waiting.take(1, 10**6)
    assert waiting.next() == [1]


def test_a_group_is_committed_when_it_is_half_of_what_may_be_on_its_way(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Load, "window", lambda _self, _job: 1000)
    waiting.take(1, 499)
    assert waiting.next() == []
    waiting.take(2, 1)
    assert waiting.next() == [1, 2]


@pytest.mark.parametrize("everything", [False, True])
def test_a_group_is_committed_when_nothing_else_can_come_or_it_is_the_rest(waiting: Waiting, everything: bool) -> None:
    waiting.take(1)
    waiting.everything = everything
    assert waiting.next() == ([1] if everything else [])
    assert waiting.next(rest=True) == ([] if everything else [1])


def test_large_objects_do_not_wait_and_come_first(waiting: Waiting) -> None:
    waiting.take(1)
    waiting.take(2, LARGE)
    group = waiting.groups.next_group(rest=True)
    assert group
    assert (group.each_alone, [item.row.id for item, _staged in group.items]) == (True, [2])
    assert waiting.next(rest=True) == [1]


def test_a_look_is_due_with_the_first_object_and_when_a_group_is_complete(waiting: Waiting) -> None:
    assert [waiting.take(number) for number in (1, 2, 3)] == [True, False, True]
    assert waiting.next() == [1, 2, 3]
    assert not waiting.take(4), "the group before it is being committed, whose thread looks again"
    assert waiting.take(5, LARGE)


def test_what_is_being_committed_is_still_here(waiting: Waiting) -> None:
    for number in (1, 2, 3):
        waiting.take(number)
    waiting.next()
    assert (waiting.groups.held, waiting.flight.held.all()) == (3, {1, 2, 3})
    waiting.groups.let_go([1, 2, 3])
    assert (waiting.groups.held, waiting.flight.held.all()) == (0, set())


def test_the_disk_starts_to_write_what_is_worth_it(waiting: Waiting) -> None:
    """Small files are written by the sync of their group; of a large one each part has been told."""
    waiting.take(1, 64 * 1024 - 1)
    waiting.take(2, 64 * 1024)
    waiting.take(3, LARGE)
    part: Any = SimpleNamespace(path="/incoming/4", row=SimpleNamespace(id=4))
    waiting.groups.part_came(part)
    assert waiting.groups.take_unwritten() == [("/incoming/2", 0), ("/incoming/4", 4)]
    assert waiting.groups.take_unwritten() == []
