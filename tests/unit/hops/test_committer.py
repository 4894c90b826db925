# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a committer learns of a medium; `test_source.py` has what it does with groups, and which queue takes what."""

from __future__ import annotations

import pytest

from snowsync.hops.source.staging import committer
from snowsync.hops.source.staging.committer import MediumClock
from snowsync.volumes.placement import Pace


class Lessons(Pace):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[int, float]] = []

    def learn(self, size: int, seconds: float) -> None:
        self.told.append((size, seconds))


class Time:
    """Monotonic seconds, as the test says."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(committer, "time", made)
    return made


@pytest.fixture
def pace() -> Lessons:
    return Lessons()


def wait(clock: MediumClock, time: Time, seconds: float, *, part_of: int = 0) -> None:
    with clock.waiting(part_of):
        time.now += seconds


def test_a_disk_that_was_waited_for_was_busy_since_the_group_began(time: Time, pace: Lessons) -> None:
    clock = MediumClock(pace)
    time.now += 6  # while the group grew
    wait(clock, time, 3)
    wait(clock, time, 1)
    clock.group_ended(5000, since=1000.0)
    assert pace.told == [(5000, 10.0)]


def test_a_disk_that_was_hardly_waited_for_took_just_that_long(time: Time, pace: Lessons) -> None:
    clock = MediumClock(pace)
    time.now += 8
    wait(clock, time, 2)
    clock.group_ended(5000, since=1000.0)
    assert pace.told == [(5000, 2.0)], "a quarter of the time, and no more"


def test_a_group_that_began_before_the_last_one_ended_is_timed_from_that_end(time: Time, pace: Lessons) -> None:
    clock = MediumClock(pace)
    wait(clock, time, 10)
    clock.group_ended(1, since=1000.0)
    wait(clock, time, 5)
    clock.group_ended(2, since=1004.0)
    assert pace.told == [(1, 10.0), (2, 5.0)], "each wait counts for one group"


def test_the_parts_of_a_large_object_are_waited_for_before_its_group_begins(time: Time, pace: Lessons) -> None:
    clock = MediumClock(pace)
    wait(clock, time, 12, part_of=7)
    wait(clock, time, 1)  # until it is durable
    clock.group_ended(5000, since=1011.5, large=[7])
    assert pace.told == [(5000, 13.0)], "not only the time since all of it has been there"


def test_small_objects_in_between_do_not_make_a_large_one_look_fast(time: Time, pace: Lessons) -> None:
    clock = MediumClock(pace)
    for second in range(1000, 1010):
        wait(clock, time, 1, part_of=7)
        clock.group_ended(1, since=second)
    clock.group_ended(5000, since=time.now, large=[7])
    assert pace.told[-1] == (5000, 10.0)
    time.now += 1
    wait(clock, time, 3)
    clock.group_ended(5000, since=1011.0, large=[7])
    assert pace.told[-1] == (5000, 3.0), "each wait for parts counts once"


def test_a_large_object_that_was_waited_for_at_its_end_only_is_timed_as_any_other(time: Time, pace: Lessons) -> None:
    clock = MediumClock(pace)
    time.now += 6
    wait(clock, time, 4)
    clock.group_ended(5000, since=1000.0, large=[7])
    time.now += 9
    wait(clock, time, 1)
    clock.group_ended(5000, since=1010.0, large=[7])
    assert pace.told == [(5000, 10.0), (5000, 1.0)]


def test_small_objects_are_not_to_blame_for_the_parts_of_a_large_one(time: Time, pace: Lessons) -> None:
    """The volume would seem slower than any other, until the large object is there."""
    clock = MediumClock(pace)
    wait(clock, time, 100, part_of=7)  # in which the disk wrote gigabytes
    wait(clock, time, 1)
    clock.group_ended(5000, since=1100.0)
    assert pace.told == [(5000, 1.0)]


@pytest.mark.parametrize("large", [0, 7])
def test_a_group_that_failed_does_not_slow_the_next_one(time: Time, pace: Lessons, large: int) -> None:
    clock = MediumClock(pace)
    wait(clock, time, 600, part_of=large)  # for a network filesystem that then reports an error
    clock.group_failed([large])
    wait(clock, time, 2)
    clock.group_ended(5000, since=1000.0, large=[large])
    assert pace.told == [(5000, 2.0)], "it waited behind the one that failed"


def test_a_large_object_is_not_to_blame_for_another_one_that_never_came(time: Time, pace: Lessons) -> None:
    clock = MediumClock(pace)
    wait(clock, time, 600, part_of=8)
    wait(clock, time, 5, part_of=7)
    wait(clock, time, 1)
    clock.group_ended(5000, since=1605.0, large=[7])
    assert pace.told == [(5000, 6.0)]
