# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Checks staged files and hands them to a mover: one thread per volume, so that only it waits for that disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from ...core import workers
from ...ledger.destination_ports import DestinationLedger
from ...volumes.open_volume import OpenVolume
from ..crew import Crew
from ..flight import Held, Item
from ..pool import EndpointPool
from ..switches import Switches
from .proving.batches import Batch, Batches
from .proving.deliveries import Deliveries

_AT_ONCE = 32  # objects that are handed over together: between two of these, the unit may stop

if TYPE_CHECKING:
    _Queue: TypeAlias = "queue.SimpleQueue[Callable[[], None] | None]"  # None ends the sender


class SenderThreads:
    """One thread per volume, started when first needed."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._queues: dict[int, _Queue] = {}  # by the number of the volume
        self._making = threading.Lock()

    def put(self, volume: OpenVolume, step: Callable[[], None]) -> None:
        """Let the sender of this volume carry out a step; never blocks."""
        self._queue(volume).put(step)

    def stop(self) -> None:
        """Let the senders end after what they were given."""
        with self._making:
            for waiting in self._queues.values():
                waiting.put(None)

    def _queue(self, volume: OpenVolume) -> _Queue:
        with self._making:
            waiting = self._queues.get(volume.id)
            if waiting is None:
                waiting = self._queues[volume.id] = queue.SimpleQueue()
                self._crew.spawn(partial(_work_off, waiting), f"sender-{volume.name}", volume.id)
            return waiting


def _work_off(waiting: _Queue) -> None:
    while step := workers.next_of(waiting):
        step()


class Uploads:
    """What a sender does with its objects: check their files, then have them checked at the destination or uploaded.

    `is_ready`: whether an object may be sent; otherwise it has left the unit. `submit` hands some to movers.
    """

    def __init__(
        self,
        ledger: DestinationLedger,
        pool: EndpointPool,
        deliveries: Deliveries,
        crew: Crew,
        *,
        is_ready: Callable[[Item], bool],
        submit: Callable[[Sequence[Item]], None],
    ) -> None:
        self._ledger = ledger
        self._pool = pool
        self._deliveries = deliveries
        self._crew = crew
        self._is_ready = is_ready
        self._submit = submit

    def begin(self, items: list[Item], *, is_large: bool) -> None:
        """May take long: the files are on one disk, and some of them are read."""
        ready = self._ready(items)
        self._hand_over(ready, is_large=is_large)
        if is_large and not ready:
            self._pool.expect_no_more(items[0].endpoint, items[0].row.id)

    def _ready(self, items: list[Item]) -> list[Item]:
        """Those whose files are sound; if the unit ends, the rest is checked again by the next run."""
        ready: list[Item] = []
        with workers.at_medium():
            for item in items:
                if self._crew.stopping:
                    return ready
                workers.beat()
                if self._is_ready(item):
                    ready.append(item)
        return ready

    def _hand_over(self, items: list[Item], *, is_large: bool) -> None:
        """Ask the destination for objects that may have been sent successfully before; upload the rest."""
        doubtful = [item for item in items if self._deliveries.batches.is_doubtful(item.row)]
        if doubtful:
            self._deliveries.begin(Batch(doubtful, is_large, is_doubtful=True))
            if is_large:
                self._pool.expect_no_more(doubtful[0].endpoint, doubtful[0].row.id)
        asked = {item.row.id for item in doubtful}
        fresh = [item for item in items if item.row.id not in asked]
        if not fresh:
            return
        self._ledger.deliveries.claim_sends(item.row for item in fresh)
        self._deliveries.begin(Batch(fresh, is_large))
        for first in range(0, len(fresh), _AT_ONCE):
            if self._crew.stopping:
                return  # as above
            workers.beat()
            self._submit(fresh[first : first + _AT_ONCE])


class Senders:
    """Has the uploads of each volume begun by its own thread, and counts what is being checked."""

    def __init__(
        self, uploads: Uploads, batches: Batches, pool: EndpointPool, held: Held, crew: Crew, switches: Switches
    ) -> None:
        self._uploads = uploads
        self._batches = batches
        self._pool = pool
        self._held = held
        self._switches = switches
        self.threads = SenderThreads(crew)
        self._with_large: set[int] = set()  # volumes with a large object that is being checked

    def send(self, items: list[Item], *, is_large: bool) -> None:
        """Send objects of one volume, which are in flight; never blocks."""
        volume = items[0].volume
        self._held.take(item.row.id for item in items)
        if is_large:
            self._with_large.add(volume.id)
            self._pool.expect_large(items[0].endpoint, items[0].row)
        else:
            self._batches.expect(volume.id)
        self.threads.put(volume, partial(self._send, items, is_large=is_large))

    def has_large(self, volume: int) -> bool:
        """Whether a large object of this volume is being checked."""
        return volume in self._with_large

    def _send(self, items: list[Item], *, is_large: bool) -> None:
        volume = items[0].volume.id
        try:
            self._uploads.begin(items, is_large=is_large)
        finally:
            if is_large:
                self._with_large.discard(volume)
            else:
                self._batches.expect_no_more(volume)
            self._held.let_go(item.row.id for item in items)
            self._switches.staged.set()
