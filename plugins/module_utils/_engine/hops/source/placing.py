# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Hands pending objects to movers, each with a volume and an endpoint."""

from __future__ import annotations

import time
from collections import deque

from ...core.model import Fetch
from ...ledger.ledger import Row
from ...store.endpoint import Endpoint
from ...volumes.placement import VolumeSpace
from ...volumes.volume_set import VolumeSet
from ..activity import Activity
from ..availability import Availability
from ..crew import Crew
from ..flight import Flight, Item
from ..pool import EndpointPool
from .neighbours import NeighbourBacklog
from .shortage import FullVolumes, Shortage
from .staging.fetch_notes import FetchNotes
from .volume_choice import VolumeChoice


class FetchQueue:
    """Which object is next, and from which endpoint it is fetched. Used by the feeder's thread.

    `limit`: how many rows are read at once.
    """

    def __init__(
        self,
        backlog: NeighbourBacklog,
        pool: EndpointPool,
        notes: FetchNotes,
        volumes: VolumeSet,
        flight: Flight,
        availability: Availability,
        activity: Activity,
        *,
        limit: int,
    ) -> None:
        self._backlog = backlog
        self._pool = pool
        self._notes = notes
        self._volumes = volumes
        self._flight = flight
        self._availability = availability
        self._activity = activity
        self._limit = limit

    def __bool__(self) -> bool:
        return bool(self._backlog)

    def is_active(self) -> bool:
        """Whether anything is waiting here, or in flight."""
        return bool(self._backlog or self._flight)

    def read_on(self) -> None:
        """Read more rows, unless too many objects already wait to be verified."""
        on_their_way = len(self._flight) - len(self._held_up())  # without those that wait for a disk that hangs
        if on_their_way > 4 * self._limit:
            self._activity.status = f"verifying {len(self._flight)} objects"
        else:
            self._backlog.fill(self._limit)

    def next(self) -> tuple[deque[Row], Endpoint | None]:
        """The queue whose first row is next, and the endpoint it goes to; None: wait."""
        rows, endpoint = self._next()
        if endpoint is None and not self._pool.any_up:
            self._availability.outage()
        return rows, endpoint

    def _next(self) -> tuple[deque[Row], Endpoint | None]:
        backlog, pool = self._backlog, self._pool
        if backlog.large:
            avoid = self._notes.endpoint_to_avoid(backlog.large[0])
            endpoint = pool.pick(avoid, large=True, held_up=self._held_up())
            if endpoint and backlog.has_large():
                return backlog.large, endpoint
        if waiting := backlog.waiting():
            return waiting, pool.pick(self._notes.endpoint_to_avoid(waiting[0]))
        return backlog.large, None

    def of_volume(self, volume: int, rows: deque[Row]) -> deque[Row]:
        """The queue whose first row is next for the volume that was chosen for the first of `rows`.

        Empty: more rows are to be read first.
        """
        if rows is self._backlog.large or self._notes.has_any(rows[0]):
            return rows
        return self._backlog.run_of(volume, self._notes.has_any)

    def _held_up(self) -> set[int]:
        return self._flight.ids_on(self._volumes.stuck())


class Handover:
    """Puts objects in flight and hands them to movers. Used by the feeder's thread."""

    def __init__(
        self,
        pool: EndpointPool,
        flight: Flight,
        notes: FetchNotes,
        availability: Availability,
        activity: Activity,
    ) -> None:
        self._pool = pool
        self._flight = flight
        self._notes = notes
        self._availability = availability
        self._activity = activity

    def has_room(self, item: Item) -> bool:
        """Whether `submit` would not block, as far as the mover can tell."""
        return self._pool.transfers.has_room(item.endpoint, item.row.size, item.volume.id)

    def submit(self, item: Item, spaces: list[VolumeSpace]) -> None:
        """Hand over an object, and count it among what is expected on its volume."""
        row = item.row
        with self._flight.lock:
            self._flight.take(item)
            item.volume.load.expect(row.size)
        for space in spaces:
            if space.id == item.volume.id:
                space.expect(row.size)
        if self._availability.is_served():
            self._activity.status = f"fetching {len(self._flight)} objects{self._pool.width_text}"
        work = Fetch(
            row.id, row.key, row.size, item.path, self._notes.etag_to_read(row), row.generation, item.volume.id
        )
        item.tool = self._pool.transfers.choose_tool(work)
        self._pool.transfers.submit(item.endpoint, item.tool, work)
        self._activity.beat()


class Placing:
    """Places what is next on the volumes, as long as there is room. Used by the feeder's thread."""

    def __init__(
        self,
        queue: FetchQueue,
        volumes: VolumeSet,
        flight: Flight,
        crew: Crew,
        choice: VolumeChoice,
        handover: Handover,
        shortage: Shortage,
        full: FullVolumes,
    ) -> None:
        self._queue = queue
        self._volumes = volumes
        self._flight = flight
        self._crew = crew
        self._choice = choice
        self._handover = handover
        self._shortage = shortage
        self._full = full

    def place(self) -> bool:
        """Hand over rows until one must wait; True when all were handed over."""
        if not self._queue:
            return False
        spaces = self._volumes.spaces(self._flight.lock)
        turn_ends = time.monotonic() + 1.0  # volumes and endpoints are checked in between
        while self._queue and not self._crew.stopping and time.monotonic() < turn_ends:
            rows, endpoint = self._queue.next()
            if endpoint is None:
                return False
            rows, chosen = self._chosen(rows, spaces)
            if not rows:
                return True
            row = rows[0]
            volume = self._volumes.open.get(chosen) if chosen is not None else None
            if volume is None:
                return self._shortage.is_settled(rows, spaces)
            item = Item(row, volume, endpoint, volume.incoming_path(row.id))
            if not self._handover.has_room(item):
                next(space for space in spaces if space.id == chosen).inflow.window = 0  # continue with the others
                continue
            rows.popleft()
            self._full.has_placed()
            self._handover.submit(item, spaces)
        return True

    def _chosen(self, rows: deque[Row], spaces: list[VolumeSpace]) -> tuple[deque[Row], int | None]:
        """A volume, and the queue whose first row goes there; an empty queue: more rows are to be read first."""
        first = rows[0]
        chosen = self._choice.choose(first, spaces)
        if chosen is None:
            return rows, None
        rows = self._queue.of_volume(chosen, rows)
        if rows and rows[0] is not first and not self._choice.takes(rows[0], chosen, spaces):
            chosen = self._choice.choose(rows[0], spaces)
        return rows, chosen
