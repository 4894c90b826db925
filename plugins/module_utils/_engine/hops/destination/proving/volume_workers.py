# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The provers and the releaser of each volume, so that a disk that does not respond delays no other volume."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from ....core import workers
from ....volumes.open_volume import OpenVolume
from ...crew import Crew
from ...flight import Held, Item
from .batches import Batch

if TYPE_CHECKING:
    _Queue: TypeAlias = "queue.SimpleQueue[Callable[[], None] | None]"  # None ends its worker

_LATE_PROVERS = 2


@dataclass(slots=True)
class _Workers:
    """The workers of one volume, so that a disk that does not respond delays no objects of other volumes.

    Large objects have their own prover, since reading one back may take hours. So have late answers, since some never
    arrive.
    """

    prover: _Queue = field(default_factory=queue.SimpleQueue)
    large_prover: _Queue = field(default_factory=queue.SimpleQueue)
    late_prover: _Queue = field(default_factory=queue.SimpleQueue)
    releaser: _Queue = field(default_factory=queue.SimpleQueue)
    proving: int = 2  # provers that have not ended, without the late ones
    proving_late: int = _LATE_PROVERS  # late provers that have not ended

    def prover_for(self, batch: Batch) -> _Queue:
        if batch.is_late:
            return self.late_prover
        return self.large_prover if batch.is_large else self.prover

    def prover_ended(self, *, is_late: bool) -> None:
        """End the workers that receive its leftovers once no more can arrive."""
        if is_late:
            self.proving_late -= 1
            if not self.proving_late:
                self.releaser.put(None)
            return
        self.proving -= 1
        for _number in range(0 if self.proving else _LATE_PROVERS):
            self.late_prover.put(None)


class VolumeWorkers:
    """The workers of all volumes, started when first needed. `held` as in Flight. Any thread may call these."""

    def __init__(self, crew: Crew, held: Held) -> None:
        self._crew = crew
        self._held = held
        self._workers: dict[int, _Workers] = {}  # by the number of the volume
        self._making = threading.Lock()
        self._is_ending = False

    def prove(self, batch: Batch, step: Callable[[Batch], None]) -> None:
        """Let a prover of its volume carry out a step for this batch."""
        self._of(batch.items[0].volume).prover_for(batch).put(partial(step, batch))

    def carry_out(self, volume: OpenVolume, step: Callable[[], None], about: Collection[int] = ()) -> None:
        """Let the releaser of this volume carry out a step for these objects that may wait for its disk."""
        held = self._held

        def carry_out() -> None:
            step()
            held.let_go(about)

        held.take(about)
        self._of(volume).releaser.put(carry_out)

    def at_disk(self, item: Item, step: Callable[[], None]) -> None:
        """Let the releaser of its volume carry out a step."""
        self.carry_out(item.volume, step, [item.row.id])

    def stop(self) -> None:
        """Let the provers end after they have proven what was completely sent."""
        with self._making:
            self._is_ending = True
            for each in self._workers.values():
                _let_provers_end(each)

    def _of(self, volume: OpenVolume) -> _Workers:
        """The workers of a volume, started when first needed."""
        with self._making:
            found = self._workers.get(volume.id)
            if found is None:
                found = self._workers[volume.id] = _Workers()
                self._start(found, volume)
            return found

    def _start(self, made: _Workers, volume: OpenVolume) -> None:
        provers = [("prover", made.prover), ("large-prover", made.large_prover)]
        provers += [(f"late-prover-{number}", made.late_prover) for number in range(_LATE_PROVERS)]
        for name, waiting in provers:
            self._crew.spawn(partial(self._prove_loop, waiting, made), f"{name}-{volume.name}", volume.id)
        self._crew.spawn(partial(_carry_out, made.releaser), f"releaser-{volume.name}", volume.id)
        if self._is_ending:
            _let_provers_end(made)

    def _prove_loop(self, batches: _Queue, made: _Workers) -> None:
        try:
            while prove := workers.next_of(batches):
                prove()
        finally:
            with self._making:
                made.prover_ended(is_late=batches is made.late_prover)


def _let_provers_end(made: _Workers) -> None:
    """Let the provers end after their current work; the releaser ends after them."""
    made.prover.put(None)
    made.large_prover.put(None)


def _carry_out(waiting: _Queue) -> None:
    """Delete delivered files of one volume until the end of the queue."""
    while release := workers.next_of(waiting):
        with workers.at_medium():
            release()
