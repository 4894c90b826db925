# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue of a lane of small objects, and its retries."""

from __future__ import annotations

import threading
import time

import pytest
from fake_stores import wait_until

from snowsync.movers.native.errands import Errand, ErrandQueue, Retries, Sleeper


def errand() -> Errand:
    return Errand(lambda: None, lambda _result: None)  # type: ignore[arg-type,return-value]  # it is not carried out


class Room:
    """Counts how often room was told."""

    def __init__(self, capacity: int) -> None:
        self.told = 0
        self.queue = ErrandQueue(capacity, self._tell)

    def _tell(self) -> None:
        self.told += 1

    def fill(self, count: int) -> list[Errand]:
        added = [errand() for _number in range(count)]
        assert all(self.queue.add(each) for each in added)
        return added


def test_errands_are_taken_in_order_and_a_retry_first() -> None:
    queue = Room(10).queue
    first, second, retry = errand(), errand(), errand()
    for each in (first, second):
        queue.add(each)
    queue.put_first(retry)
    assert [queue.take() for _number in range(4)] == [retry, first, second, None]


def test_a_caller_that_began_to_wait_too_late_for_a_word_is_let_in() -> None:
    """The lane had looked whether somebody waits, all that it took failed at once, and so it waits for work."""
    queue = Room(1).queue
    queue.add(errand())
    late = errand()
    caller = threading.Thread(target=queue.add, args=(late,), daemon=True)
    caller.start()
    wait_until(lambda: queue._is_blocked)
    queue.take()
    assert queue.wait(30.0)
    assert queue.take() is late
    caller.join()


def test_room_is_told_once_after_it_was_asked_for() -> None:
    room = Room(4)
    room.fill(4)
    room.queue.tell_room()
    assert not room.queue.has_room()
    for _number in range(2):
        assert room.told == 0, "half of it is worth the call"
        room.queue.take()
        room.queue.tell_room()
    assert room.told == 1
    room.queue.take()
    room.queue.tell_room()
    assert room.told == 1
    assert room.queue.has_room()


def test_a_full_queue_blocks_until_one_is_taken() -> None:
    room = Room(1)
    room.fill(1)
    added = threading.Event()
    second = errand()
    thread = threading.Thread(target=lambda: room.queue.add(second) and added.set(), daemon=True)
    thread.start()
    assert not added.wait(0.05)
    room.queue.take()
    wait_until(lambda: room.queue.tell_room() or added.is_set())  # type: ignore[func-returns-value]
    assert room.queue.take() is second
    thread.join(100)


@pytest.mark.parametrize("is_dropped", [False, True])
def test_whoever_is_blocked_goes_on_at_the_end(is_dropped: bool) -> None:
    room = Room(1)
    room.fill(1)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(room.queue.add(errand())), daemon=True)
    thread.start()
    time.sleep(0.02)
    if is_dropped:
        assert len(room.queue.drop()) == 1
    else:
        room.queue.close()
    thread.join(100)
    assert results == [is_dropped]


def test_a_queue_with_any_room_takes_at_once_what_is_added_together() -> None:
    """Who asked for room must not be held up, by a disk that hangs perhaps, while other volumes wait for work."""
    room = Room(4)
    errands = [*room.fill(3), *(errand() for _number in range(32))]
    assert room.queue.has_room()
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(room.queue.add(*errands[3:])), daemon=True)
    thread.start()
    thread.join(100)
    assert results == [True]
    assert not room.queue.has_room()
    assert room.queue.drop() == errands


@pytest.mark.parametrize("is_closed", [False, True])
def test_what_is_added_together_waits_for_room_together(is_closed: bool) -> None:
    room = Room(2)
    before = room.fill(2)
    errands = [errand() for _number in range(3)]
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(room.queue.add(*errands)), daemon=True)
    thread.start()
    wait_until(lambda: room.queue._is_blocked)
    if is_closed:
        room.queue.close()
    else:
        assert room.queue.take() is before.pop(0)
        room.queue.tell_room()
    thread.join(100)
    assert results == [not is_closed]
    assert room.queue.drop() == [*before, *([] if is_closed else errands)]


def test_a_closed_queue_takes_and_gives_nothing() -> None:
    room = Room(1)
    (left,) = room.fill(1)
    room.queue.close()
    assert not room.queue.add(errand())
    assert room.queue.has_room(), "whoever waits for room must not wait longer"
    assert room.queue.take() is None
    assert not room.queue.wait()
    assert room.queue.drop() == [left]
    assert room.queue.drop() == []


def test_an_errand_or_the_end_rouses_the_lane() -> None:
    queue = Room(1).queue
    assert queue.wait(0.01), "nothing came, and it is open"
    results: list[int] = []

    def serve() -> None:
        while queue.wait():
            queue.take()
            results.append(True)
        results.append(False)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    time.sleep(0.02)
    queue.add(errand())
    wait_until(lambda: results == [True])
    queue.close()
    thread.join(100)
    assert results == [True, False]


def test_no_errand_is_slept_through() -> None:
    """Whatever the lane does while one is added: it waits, or is about to."""
    queue = Room(10_000).queue
    taken: list[Errand] = []

    def serve() -> None:
        while queue.wait():
            while found := queue.take():
                taken.append(found)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    for number in range(1, 2001):
        queue.add(errand())
        if number % 20 == 0:
            wait_until(lambda number=number: len(taken) == number)  # type: ignore[misc]  # a default binds it
    queue.close()
    thread.join(100)


class Lane:
    """A thread that takes errands, while it waits for something else than the queue."""

    def __init__(self) -> None:
        self.woken = 0

    def sleeper(self, *, can_begin: bool) -> Sleeper:
        return Sleeper(self._wake, can_begin)

    def _wake(self) -> None:
        self.woken += 1


def test_who_waits_for_something_else_is_woken_once() -> None:
    lane, queue = Lane(), Room(10).queue
    assert queue.is_left_to(lane.sleeper(can_begin=True))
    for _number in range(3):
        queue.add(errand())
    assert lane.woken == 1
    queue.is_back()
    assert not queue.is_left_to(lane.sleeper(can_begin=True)), "there is something to take"
    queue.add(errand())
    assert lane.woken == 1


def test_who_is_back_is_not_woken() -> None:
    lane, queue = Lane(), Room(10).queue
    assert queue.is_left_to(lane.sleeper(can_begin=True))
    queue.is_back()
    queue.add(errand())
    queue.close()
    assert lane.woken == 0


def test_who_has_no_connection_left_is_woken_by_the_end_only() -> None:
    lane, queue = Lane(), Room(10).queue
    queue.add(errand())
    assert queue.is_left_to(lane.sleeper(can_begin=False))
    queue.add(errand())
    assert lane.woken == 0
    queue.close()
    assert lane.woken == 1
    assert not queue.is_left_to(lane.sleeper(can_begin=False))


@pytest.mark.parametrize("can_begin", [False, True])
def test_a_call_gives_one_turn_to_whoever_waits_for_something_else(can_begin: bool) -> None:
    queue = Room(1).queue
    woken: list[int] = []
    sleeper = Sleeper(lambda: woken.append(1), can_begin)
    queue.call()
    assert not queue.is_left_to(sleeper), "it came before"
    queue.is_back()
    assert queue.is_left_to(sleeper)
    queue.call()
    assert woken == [1]
    queue.is_back()
    assert queue.is_left_to(sleeper)


def test_a_call_ends_the_wait_for_errands() -> None:
    queue = Room(1).queue
    queue.call()
    assert queue.wait()
    assert queue.take() is None
    caller = threading.Thread(target=lambda: wait_until(lambda: queue._sleeper is not None) or queue.call())  # type: ignore[func-returns-value]
    caller.start()
    assert queue.wait()
    caller.join()


def test_a_blocked_caller_is_let_in_before_the_lane_waits_for_something_else() -> None:
    lane, queue = Lane(), Room(1).queue
    queue.add(errand())
    late = errand()
    caller = threading.Thread(target=queue.add, args=(late,), daemon=True)
    caller.start()
    wait_until(lambda: queue._is_blocked)
    queue.take()
    assert queue.is_left_to(lane.sleeper(can_begin=True))
    caller.join(100)
    assert lane.woken == 1
    assert queue.take() is late


def test_retries_are_due_in_the_order_of_their_time() -> None:
    retries = Retries()
    assert retries.take_due() is None
    assert retries.seconds_left() is None
    late, due, overdue = errand(), errand(), errand()
    retries.add(late, 1000)
    assert 990 < (retries.seconds_left() or 0) <= 1000
    retries.add(due, 0)
    retries.add(overdue, -1)
    assert retries.seconds_left() == 0.0
    assert [retries.take_due() for _number in range(3)] == [overdue, due, None]
    assert retries.drop() == [late]
    assert retries.seconds_left() is None
