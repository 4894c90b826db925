# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The provers and the releaser of each volume: none waits for another, and they end in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from fake_stores import wait_until
from hop_items import item_of, volume_of

from snowsync.core.workers import Stop
from snowsync.hops.crew import Crew
from snowsync.hops.destination.proving.batches import Batch
from snowsync.hops.destination.proving.volume_workers import VolumeWorkers, _Workers
from snowsync.hops.flight import Held

NUMBERS = {"small": 1, "large": 2, "late": 3, "late again": 4, "other volume": 5}


class Bench:
    """Workers of mocks of volumes; `proven` is filled by them."""

    def __init__(self) -> None:
        self.crew = Crew("test", Stop())
        self.held = Held()
        self.workers = VolumeWorkers(self.crew, self.held)
        self.volumes = {number: volume_of(number) for number in (1, 2)}
        self.proven: list[str] = []

    def batch(self, name: str) -> Batch:
        volume = self.volumes[2 if name == "other volume" else 1]
        item = item_of(NUMBERS[name], volume=volume)
        return Batch([item], is_large=name == "large", is_late=name.startswith("late"))

    def prove(self, name: str, first: Callable[[], object] = lambda: None) -> None:
        def step(_batch: Batch) -> None:
            first()
            self.proven.append(name)

        self.workers.prove(self.batch(name), step)

    def end(self) -> None:
        self.workers.stop()
        self.crew.join()
        assert self.crew.error is None


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.end()


@pytest.mark.parametrize("hanging", NUMBERS)
def test_no_batch_waits_for_one_of_another_kind_or_volume(bench: Bench, hanging: str) -> None:
    over = threading.Event()
    bench.prove(hanging, over.wait)
    others = set(NUMBERS) - {hanging}
    for name in others:
        bench.prove(name)
    wait_until(lambda: set(bench.proven) == others)
    over.set()
    wait_until(lambda: hanging in bench.proven)


def test_a_hanging_release_delays_no_proof(bench: Bench) -> None:
    over = threading.Event()
    bench.workers.carry_out(bench.volumes[1], partial(over.wait, 100))
    bench.prove("small")
    wait_until(lambda: bench.proven == ["small"])
    over.set()


def test_objects_of_a_step_are_held_until_it_was_carried_out(bench: Bench) -> None:
    over = threading.Event()
    bench.workers.carry_out(bench.volumes[1], lambda: bench.proven.append(str(over.wait())), [7, 8])
    bench.workers.at_disk(item_of(9, volume=bench.volumes[1]), lambda: None)
    assert bench.held.all() == {7, 8, 9}
    over.set()
    wait_until(lambda: bench.held.all() == set())
    assert bench.proven == ["True"]


def test_at_the_end_late_answers_and_releases_are_not_lost() -> None:
    """A prover may put late answers, and a late prover what is to be released, when all were told to end."""
    bench = Bench()
    stopped = threading.Event()
    released: list[int] = []

    def prove_late(batch: Batch) -> None:
        bench.proven.append("late")
        bench.workers.carry_out(batch.items[0].volume, lambda: released.append(1))

    def prove(_batch: Batch) -> None:
        stopped.wait()
        bench.workers.prove(bench.batch("late"), prove_late)

    bench.workers.prove(bench.batch("small"), prove)
    bench.workers.stop()
    stopped.set()
    bench.crew.join()
    assert (bench.proven, released, bench.crew.error) == (["late"], [1], None)


def test_workers_that_start_after_the_stop_end_too() -> None:
    bench = Bench()
    bench.workers.stop()
    bench.prove("small")
    bench.crew.join()
    assert bench.crew.error is None


def test_each_worker_ends_after_all_that_give_it_something() -> None:
    made = _Workers()
    made.prover_ended(is_late=False)
    assert made.late_prover.empty()
    made.prover_ended(is_late=False)
    assert [made.late_prover.get_nowait() for _number in range(2)] == [None, None], "one for each late prover"
    made.prover_ended(is_late=True)
    assert made.releaser.empty()
    made.prover_ended(is_late=True)
    assert made.releaser.get_nowait() is None
