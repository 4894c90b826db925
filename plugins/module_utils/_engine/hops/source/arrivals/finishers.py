# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The finisher threads of a source unit: per volume, and there for small and large objects and for late answers."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from ....core import workers
from ....core.model import Outcome
from ....volumes.open_volume import OpenVolume
from ...crew import Crew
from ...flight import Held, Item

if TYPE_CHECKING:
    Task: TypeAlias = "Outcome | Callable[[], None]"
    _Numbered: TypeAlias = "tuple[int, Task]"  # with the object's id
    _Queue: TypeAlias = "queue.SimpleQueue[_Numbered | None]"  # None ends one finisher
    _Step: TypeAlias = "tuple[Collection[int], Callable[[], None]]"
    _Steps: TypeAlias = "queue.SimpleQueue[_Step | None]"

_HEADS_AT_ONCE = 64


@dataclass(slots=True)
class VolumeFinishers:
    """The finishers of one volume, so that a disk that does not respond delays no objects of other volumes.

    `each` is the number of threads for small and for large objects: hashing a large one must not delay small ones.
    `beside` is the number of those that wait for late answers and for tags (one request each), which must not delay
    other answers.
    """

    each: int
    beside: int
    small: _Queue = field(default_factory=queue.SimpleQueue)
    large: _Queue = field(default_factory=queue.SimpleQueue)
    aside: _Steps = field(default_factory=queue.SimpleQueue)
    finishing: int = 0  # threads for small and large objects that have not ended

    def let_end(self) -> None:
        """End them after they have processed what has arrived; those aside end after them."""
        for _thread in range(self.each):
            self.small.put(None)
            self.large.put(None)


class Finishers:
    """Starts the finishers of a volume when they are first needed. Any thread may call these.

    `finish` is called in a finisher, with what arrived together. `is_only_volume`: the job has no other one.
    """

    def __init__(self, held: Held, crew: Crew, finish: Callable[[list[Task]], None], *, is_only_volume: bool) -> None:
        self._held = held
        self._crew = crew
        self._finish = finish
        self._is_only_volume = is_only_volume
        self._by_volume: dict[int, VolumeFinishers] = {}  # by the number of the volume
        self._making = threading.Lock()
        self._is_ending = False

    def put(self, item: Item, task: Outcome | Callable[[], None], *, is_large: bool) -> None:
        """Let a finisher of its volume take an outcome, or carry out a step that may wait for the volume's disk."""
        found = self._of(item.volume)
        self._held.take([item.row.id])
        waiting = found.large if is_large else found.small
        waiting.put((item.row.id, task))
        if self._is_ending:
            found.let_end()

    def put_aside(self, items: Collection[Item], step: Callable[[], None]) -> None:
        """Carry out a step that may wait for the store in a thread that nothing else waits for."""
        numbers = [item.row.id for item in items]
        self._held.take(numbers)
        self._of(next(iter(items)).volume).aside.put((numbers, step))

    def stop(self) -> None:
        """Let the finishers end after they have processed what has arrived."""
        with self._making:
            self._is_ending = True
            for each in self._by_volume.values():
                each.let_end()

    def _of(self, volume: OpenVolume) -> VolumeFinishers:
        """The finishers of a volume, started when first needed."""
        with self._making:
            found = self._by_volume.get(volume.id)
            if found is None:
                each, beside = (2, 4) if self._is_only_volume else (1, 2)
                found = self._by_volume[volume.id] = VolumeFinishers(each, beside, finishing=2 * each)
                self._start(found, volume)
            return found

    def _start(self, made: VolumeFinishers, volume: OpenVolume) -> None:
        for number in range(made.each):
            for kind, waiting, at_once in (("finisher", made.small, _HEADS_AT_ONCE), ("large-finisher", made.large, 1)):
                work = partial(self._work_through, made, waiting, at_once)
                self._crew.spawn(work, f"{kind}-{volume.name}-{number}", volume.id)
        for number in range(made.beside):
            self._crew.spawn(partial(self._work_aside, made.aside), f"late-finisher-{volume.name}-{number}", volume.id)

    def _work_through(self, made: VolumeFinishers, tasks: _Queue, at_once: int) -> None:
        try:
            while batch := _take(tasks, at_once):
                self._finish([task for _number, task in batch])
                self._held.let_go(number for number, _task in batch)
        finally:
            with self._making:
                made.finishing -= 1
                is_last = not made.finishing
            for _thread in range(made.beside if is_last else 0):
                made.aside.put(None)

    def _work_aside(self, steps: _Steps) -> None:
        while found := workers.next_of(steps):
            numbers, step = found
            step()
            self._held.let_go(numbers)


def _take(tasks: _Queue, at_once: int) -> list[_Numbered]:
    """The tasks that have arrived, up to a batch. Empty: the unit ends."""
    first = workers.next_of(tasks)
    if first is None:
        return []
    taken = [first]
    with contextlib.suppress(queue.Empty):
        while len(taken) < at_once:
            task = tasks.get_nowait()
            if task is None:
                tasks.put(None)
                break
            taken.append(task)
    return taken
