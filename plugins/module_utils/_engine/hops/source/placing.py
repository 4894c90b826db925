# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Hands pending objects to movers, each with a volume and an endpoint."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Container, Sequence

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

# Small objects that are placed together: for each group of them a volume is chosen, by what is on its way there.
_AT_ONCE = 32
_BYTES_AT_ONCE = 1 << 20


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

    def full_volumes(self, rows: deque[Row], endpoint: Endpoint) -> set[int]:
        """The volumes that take no more of `rows` from an endpoint now."""
        return self._pool.full_volumes(endpoint, list(self._volumes.open)) if rows is self._backlog.large else set()

    def next(self, *, large_waits: bool = False) -> tuple[deque[Row], Endpoint | None]:
        """The queue whose first row is next, and the endpoint it goes to; None: wait."""
        rows, endpoint = self._next(large_waits)
        if endpoint is None and not self._pool.any_up:
            self._availability.outage()
        return rows, endpoint

    def _next(self, large_waits: bool) -> tuple[deque[Row], Endpoint | None]:
        backlog, pool = self._backlog, self._pool
        if backlog.large and not large_waits:
            avoid = self._notes.endpoint_to_avoid(backlog.large[0])
            stuck = self._volumes.stuck()
            usable = [number for number in list(self._volumes.open) if number not in stuck]
            endpoint = pool.pick_for_large(usable, avoid, held_up=self._flight.ids_on(stuck))
            if endpoint and backlog.has_large():
                return backlog.large, endpoint
        if waiting := backlog.waiting():
            return waiting, pool.pick(self._notes.endpoint_to_avoid(waiting[0]))
        return backlog.large, None

    def of_volume(self, volume: int, rows: deque[Row]) -> tuple[deque[Row], int]:
        """The queue whose first rows are next for the volume that was chosen for the first of `rows`, and how many.

        Empty: more rows are to be read first.
        """
        if rows is self._backlog.large or self._notes.has_any(rows[0]):
            return rows, 1
        run = self._backlog.run_of(volume, self._notes.has_any)
        return run, min(_AT_ONCE, 1 + len(run) // 4)  # few objects are shared out among the volumes all the same

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

    def has_room(self, endpoint: Endpoint, size: int, volume: int) -> bool:
        """Whether `submit` would not block, as far as the mover can tell."""
        return self._pool.transfers.has_room(endpoint, size, volume)

    def submit(self, items: Sequence[Item]) -> None:
        """Hand over objects from one endpoint to one volume, and count them among what is expected there."""
        with self._flight.lock:
            self._flight.take(*items)
            for item in items:
                item.volume.load.expect(item.row.size)
        if self._availability.is_served():
            self._activity.status = f"fetching {len(self._flight)} objects{self._pool.width_text}"
        self._pool.transfers.hand_over((item, self._work(item)) for item in items)
        self._activity.beat()

    def _work(self, item: Item) -> Fetch:
        row = item.row
        return Fetch(
            row.id, row.key, row.size, item.path, self._notes.etag_to_read(row), row.generation, item.volume.id
        )


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
        large_waits = False
        turn_ends = time.monotonic() + 1.0  # volumes and endpoints are checked in between
        while self._queue and not self._crew.stopping and time.monotonic() < turn_ends:
            rows, endpoint = self._queue.next(large_waits=large_waits)
            if endpoint is None:
                return False
            full = self._queue.full_volumes(rows, endpoint)
            rows, most, chosen = self._chosen(rows, spaces, full)
            if not rows:
                return True
            if chosen is None and full:
                large_waits = True  # for a stream of its volume, until the next turn
                continue
            volume = self._volumes.open.get(chosen) if chosen is not None else None
            if volume is None:
                return self._shortage.is_settled(rows, spaces)
            space = next(space for space in spaces if space.id == chosen)
            if not self._handover.has_room(endpoint, rows[0].size, volume.id):
                space.inflow.window = 0  # continue with the others
                continue
            together = self._taken(rows, most, space)
            self._full.has_placed()
            self._handover.submit([Item(row, volume, endpoint, volume.incoming_path(row.id)) for row in together])
        return True

    def _chosen(
        self, rows: deque[Row], spaces: list[VolumeSpace], full: Container[int]
    ) -> tuple[deque[Row], int, int | None]:
        """A volume that is not `full`, and the queue whose first rows go there, and how many.

        An empty queue: more rows are to be read first.
        """
        first = rows[0]
        chosen = self._choice.choose(first, spaces, full)
        if chosen is None:
            return rows, 1, None
        rows, most = self._queue.of_volume(chosen, rows)
        if rows and rows[0] is not first:
            space = next(space for space in spaces if space.id == chosen)
            if not self._choice.takes(rows[0], space):
                return rows, 1, self._choice.choose(rows[0], spaces)
        return rows, most, chosen

    def _taken(self, rows: deque[Row], most: int, space: VolumeSpace) -> list[Row]:
        """Remove the first row, and more of them while the volume takes them and they are small together."""
        taken: list[Row] = []
        left = _BYTES_AT_ONCE
        while rows and len(taken) < most and (not taken or (left > 0 and self._choice.takes(rows[0], space))):
            row = rows.popleft()
            space.expect(row.size)
            left -= row.size
            taken.append(row)
        return taken
