# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches of staged objects: how large they are, and which volumes get one."""

from __future__ import annotations

import sys
from collections import Counter, deque
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core.model import State
from snowsync.hops.backlog import Feed, VolumeBacklog
from snowsync.hops.destination.staged_queue import StagedQueue, next_batch


def rows(*sizes: int) -> deque[Any]:
    return deque(SimpleNamespace(id=number, size=size) for number, size in enumerate(sizes))


def policy(objects: int = 3, size: int = 100) -> Any:
    return SimpleNamespace(objects=objects, bytes=size)


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ((), []),
        ((1, 1, 1, 1), [3, 1]),
        ((60, 40, 1), [2, 1]),
        ((500, 1), [1, 1]),  # alone, since it is larger than a batch
        ((1, 500), [1, 1]),
    ],
)
def test_a_batch_is_limited_by_objects_and_by_bytes(sizes: tuple[int, ...], batches: list[int]) -> None:
    left = rows(*sizes)
    taken = []
    while left:
        taken.append(len(next_batch(left, policy())))
    assert taken == batches


class Queue:
    """A queue of the volumes 1 and 2; `filled` is what it read for, and from where."""

    def __init__(self, *, absent: bool = False) -> None:
        self.filled: list[tuple[set[int], int, set[int] | None]] = []
        self.by_volume = {1: rows(1, 1, 1, 1), 2: rows(1)}
        self.picked: list[tuple[int, set[int]]] = []
        self.open_batches: Counter[int] = Counter()
        volumes: Any = SimpleNamespace(open={1: "one", 2: "two"}, absent={"three": "gone"} if absent else {})
        batches: Any = SimpleNamespace(open=self.open_batches, looked={7})
        self.crew: Any = SimpleNamespace(stopping=False)
        backlog: Any = self
        self.queue = StagedQueue(backlog, volumes, batches, self.crew, policy())

    def fill_for(self, hungry: set[int], limit: int, volumes: set[int] | None) -> None:
        self.filled.append((hungry, limit, volumes))

    def pick_some(self, count: int, *, first: set[int]) -> list[Any]:
        self.picked.append((count, first))
        return []


def test_a_volume_with_three_batches_in_flight_gets_no_more() -> None:
    queue = Queue()
    queue.open_batches[1] = 3
    queue.queue.fill()
    assert queue.filled == [({2}, 3, None)]
    assert [len(batch) for batch in queue.queue.batches()] == [1]


def test_what_is_sent_meanwhile_counts_at_once() -> None:
    queue = Queue()
    for _batch in queue.queue.batches():
        queue.open_batches[2] = 3
    assert len(queue.by_volume[2]) == 1


def test_rows_of_absent_volumes_are_not_read() -> None:
    queue = Queue(absent=True)
    queue.queue.fill()
    assert queue.filled == [({1, 2}, 3, {1, 2})]


def test_after_a_stop_no_rows_are_taken() -> None:
    queue = Queue()
    queue.crew.stopping = True
    assert list(queue.queue.batches()) == []
    assert len(queue.by_volume[1]) == 4


def test_trials_prefer_what_is_known_not_to_be_there() -> None:
    queue = Queue()
    queue.open_batches[1] = 3
    queue.queue.pick_some(3)
    assert queue.filled == [({1, 2}, 3, None)], "whatever is in flight"
    assert queue.picked == [(3, {7})]


def test_arbitrary_rows_are_picked_those_that_were_asked_about_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "random", None)  # the more goes wrong, the less can be loaded
    picked = set()
    for _turn in range(50):
        backlog = VolumeBacklog(Feed(None, None, None, None), State.STAGED, rewind_seconds=1.0)  # type: ignore[arg-type]
        backlog.by_volume = {1: rows(*[1] * 20)}
        found = [row.id for row in backlog.pick_some(3, first={7})]
        assert found[0] == 7
        assert len(found) == 3
        assert not backlog
        picked.add(tuple(found))
    assert len(picked) > 10
