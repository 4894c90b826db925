# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Sends rows: puts them in flight with their files and endpoints, hands them to the senders, and then to movers."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Sequence
from functools import cache
from typing import TYPE_CHECKING

from ...core.model import Send
from ...ledger.binding import Naming
from ...ledger.ledger import Row
from ...store.endpoint import Endpoint
from ...store.object_headers import carried_text
from ...volumes.volume_set import VolumeSet
from ..activity import Activity
from ..availability import Availability
from ..crew import Crew
from ..flight import Flight, Item
from ..pool import EndpointPool
from ..setbacks import Setbacks
from .senders import Senders
from .staged_queue import StagedQueue
from .unsent.refusals import PROBES_AT_ONCE, Refusals
from .unsent.unsent import Unsent

if TYPE_CHECKING:
    from ...config.job_file import Job


class Handover:
    """Hands objects whose files were checked to movers. Used by the senders.

    `part_md5s`: those of an object's parts, as they were proven.
    """

    def __init__(
        self,
        job: Job,
        naming: Naming,
        pool: EndpointPool,
        flight: Flight,
        availability: Availability,
        activity: Activity,
        *,
        part_md5s: Callable[[Row], bytes],
    ) -> None:
        self._job = job
        self._naming = naming
        self._pool = pool
        self._flight = flight
        self._availability = availability
        self._activity = activity
        self._part_md5s = part_md5s

    def submit(self, items: Sequence[Item]) -> None:
        """All on one volume. Blocks while the mover's lane is full."""
        if self._availability.is_served():
            self._activity.status = f"sending {len(self._flight)} objects{self._pool.width_text}"
        self._pool.transfers.hand_over((item, self._work(item)) for item in items)

    def _work(self, item: Item) -> Send:
        row = item.row
        md5 = "" if row.part_size or row.size == 0 else row.digest
        key, headers = self._naming.destination_key(row.key), carried_text(row.headers, self._job)
        return Send(
            row.id,
            key,
            row.size,
            item.path,
            row.part_size,
            headers,
            md5,
            row.digest,
            row.generation,
            item.volume.id,
            self._part_md5s(row),
        )


class Sending:
    """Puts rows in flight, and hands them to the sender of their volume. Used by the feeder's thread."""

    def __init__(
        self,
        naming: Naming,
        volumes: VolumeSet,
        pool: EndpointPool,
        flight: Flight,
        setbacks: Setbacks,
        unsent: Unsent,
        senders: Senders,
    ) -> None:
        self._naming = naming
        self._volumes = volumes
        self._pool = pool
        self._flight = flight
        self._setbacks = setbacks
        self._unsent = unsent
        self._senders = senders

    def endpoint_for_large(self, row: Row, held_up: Container[int] = ()) -> Endpoint | None:
        """The endpoint for a large object; None: none has room. `held_up` as in `pick_for_large`."""
        avoid = self._unsent.past.endpoint_to_avoid(row)
        return self._pool.pick_for_large([row.volume or 0], avoid, held_up=held_up)

    def is_checking_large(self, volume: int) -> bool:
        """Whether the sender of a volume has a large object that it still checks."""
        return self._senders.has_large(volume)

    def send(self, rows: list[Row], endpoint: Endpoint | None = None) -> None:
        """One batch: the sender of its volume checks each file and uploads it.

        `endpoint` None: each object goes to the least busy one.
        """
        volume = self._volumes.open.get(rows[0].volume or 0)
        pick = cache(self._pool.pick)  # nothing is in flight to an endpoint before the whole batch was chosen
        items = []
        for row in rows:
            chosen = endpoint or pick(self._unsent.past.endpoint_to_avoid(row))
            if volume is None or chosen is None:
                self._setbacks.put_off(row, 1.0)  # it has just become unavailable
            else:
                path = self._naming.staging_path(row.key, row.generation, row.origin)
                items.append(Item(row, volume, chosen, volume.staged_path(path)))
        if not items:
            return
        self._flight.take(*items)
        self._senders.send(items, is_large=endpoint is not None)


class LargeObjects:
    """Sends large objects one by one: a volume gets the next one once its sender has checked the previous one."""

    def __init__(self, queue: StagedQueue, volumes: VolumeSet, flight: Flight, crew: Crew, sending: Sending) -> None:
        self._queue = queue
        self._volumes = volumes
        self._flight = flight
        self._crew = crew
        self._sending = sending

    def send(self) -> bool:
        """Hand over as many as there is room for. False: none."""
        backlog = self._queue.backlog
        sent = False
        held_up = self._flight.ids_on(self._volumes.stuck())
        idle = {number for number in list(self._volumes.open) if not self._sending.is_checking_large(number)}
        for row in [row for row in backlog.large if row.volume in idle]:
            if self._crew.stopping or (row.volume or 0) not in idle:
                continue
            endpoint = self._sending.endpoint_for_large(row, held_up)
            if endpoint is None:
                idle.discard(row.volume or 0)  # another volume may have room
                continue
            backlog.large.remove(row)
            if backlog.is_as_known(row):
                self._sending.send([row], endpoint)
                idle.discard(row.volume or 0)  # the next one after this one was checked
                sent = True
        return sent


class Trials:
    """While the destination accepts nothing: a few arbitrary objects are tried from time to time."""

    def __init__(
        self,
        queue: StagedQueue,
        refusals: Refusals,
        flight: Flight,
        sending: Sending,
        activity: Activity,
        *,
        is_large: Callable[[int], bool],
    ) -> None:
        """`is_large` takes a size in bytes."""
        self._queue = queue
        self._refusals = refusals
        self._flight = flight
        self._sending = sending
        self._activity = activity
        self._is_large = is_large

    def send(self) -> bool:
        """Hand over some objects if it is time to. False: none."""
        if self._refusals.everything:
            self._activity.status = f"the destination refuses all uploads: {self._refusals.message}"
        if not self._refusals.may_try(time.monotonic()) or self._flight:
            return False
        rows = self._queue.pick_some(PROBES_AT_ONCE)
        for row in rows:
            endpoint = self._sending.endpoint_for_large(row) if self._is_large(row.size) else None
            self._sending.send([row], endpoint)
        return bool(rows)


class SendTurn:
    """One turn of the feeder: batches and large objects, or trials, as much as there is room for."""

    def __init__(
        self,
        pool: EndpointPool,
        availability: Availability,
        refusals: Refusals,
        queue: StagedQueue,
        trials: Trials,
        large: LargeObjects,
        sending: Sending,
    ) -> None:
        self._pool = pool
        self._availability = availability
        self._refusals = refusals
        self._queue = queue
        self._trials = trials
        self._large = large
        self._sending = sending

    def take(self) -> bool:
        """Hand over objects. False: nothing, wait."""
        if not self._pool.any_up:
            self._availability.outage()
            return False
        if self._refusals.everything or self._pool.serves_nothing:
            return self._trials.send()
        self._queue.fill()
        sent = self._large.send()
        for rows in self._queue.batches():
            self._sending.send(rows)
            sent = True
        return sent
