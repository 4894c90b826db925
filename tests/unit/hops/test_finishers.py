# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finishers: which thread takes what, and how they end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fake_stores import wait_until

from snowsync.core.model import Outcome
from snowsync.core.workers import Stop
from snowsync.hops.crew import Crew
from snowsync.hops.flight import Held
from snowsync.hops.source.arrivals import finishers
from snowsync.hops.source.arrivals.finishers import Finishers


def item(number: int, volume: int = 1) -> Any:
    return SimpleNamespace(row=SimpleNamespace(id=number), volume=SimpleNamespace(id=volume, name=f"volume-{volume}"))


class Desk:
    """Finishers that note what they take, and wait where they are told to."""

    def __init__(self, *, is_only_volume: bool = True) -> None:
        self.held, self.crew = Held(), Crew("source", Stop())
        self.batches: list[list[int]] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.finishers = Finishers(self.held, self.crew, self._finish, is_only_volume=is_only_volume)

    def _finish(self, tasks: list[Outcome | Callable[[], None]]) -> None:
        self.batches.append([task.id if isinstance(task, Outcome) else 0 for task in tasks])
        assert self.may_go_on.wait(60)

    def names(self) -> list[str]:
        return sorted(thread.name for thread in self.crew._threads)

    def put(self, number: int, volume: int = 1, *, is_large: bool = False) -> None:
        self.finishers.put(item(number, volume), Outcome(number), is_large=is_large)


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.may_go_on.set()
    desk.finishers.stop()
    desk.crew.join()
    assert desk.crew.error is None


def test_a_volume_s_threads_are_started_once_and_more_for_an_only_one(desk: Desk) -> None:
    assert desk.names() == []
    desk.put(1)
    desk.put(2)
    assert desk.names() == [
        *(f"source-finisher-volume-1-{number}" for number in range(2)),
        *(f"source-large-finisher-volume-1-{number}" for number in range(2)),
        *(f"source-late-finisher-volume-1-{number}" for number in range(4)),
    ]
    several = Desk(is_only_volume=False)
    several.put(1, volume=1)
    several.put(2, volume=2)
    assert len(several.names()) == 2 * (1 + 1 + 2)
    several.finishers.stop()
    several.crew.join()


def test_small_objects_are_taken_together_and_large_ones_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finishers, "_HEADS_AT_ONCE", 3)
    desk.may_go_on.clear()
    for number in (1, 2):  # keeps both threads busy
        desk.put(number)
        desk.put(10 + number, is_large=True)
        wait_until(lambda count=2 * number: len(desk.batches) == count)  # type: ignore[misc]  # a default binds it
    for number in range(3, 8):
        desk.put(number)
        desk.put(10 + number, is_large=True)
    assert desk.held.all() == {*range(1, 8), *range(11, 18)}
    desk.may_go_on.set()
    wait_until(lambda: not desk.held.all())
    later = desk.batches[4:]
    assert [len(batch) for batch in later if batch[0] > 10] == [1] * 5
    assert sorted(number for batch in later for number in batch if number < 10) == list(range(3, 8))
    assert max(len(batch) for batch in later) == 3


def test_what_is_aside_delays_nothing_and_is_held_until_it_is_done(desk: Desk) -> None:
    free, done = threading.Event(), threading.Event()

    def wait() -> None:
        assert free.wait(60)
        done.set()

    desk.finishers.put_aside([item(1), item(2)], wait)
    desk.put(3)
    wait_until(lambda: [3] in desk.batches)
    wait_until(lambda: desk.held.all() == {1, 2})
    free.set()
    wait_until(lambda: not desk.held.all())
    assert done.is_set()


def test_what_arrived_before_the_end_and_what_that_puts_aside_is_processed() -> None:
    desk, aside = Desk(), []

    def finish(tasks: list[Outcome | Callable[[], None]]) -> None:
        for task in tasks:
            assert isinstance(task, Outcome)
            desk.finishers.put_aside([item(task.id)], lambda number=task.id: aside.append(number))  # type: ignore[misc]

    desk.finishers = Finishers(desk.held, desk.crew, finish, is_only_volume=True)
    for number in range(1, 20):
        desk.put(number, is_large=number % 2 == 0)
    desk.finishers.stop()
    desk.crew.join()
    assert sorted(aside) == list(range(1, 20))
    assert desk.held.all() == set()


def test_what_arrives_at_a_volume_during_the_end_is_processed() -> None:
    desk = Desk()
    desk.finishers.stop()
    desk.put(1, volume=2)
    desk.crew.join()
    assert desk.batches == [[1]]
    assert desk.held.all() == set()
