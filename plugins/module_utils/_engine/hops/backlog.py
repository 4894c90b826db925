# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What a feeder does next: rows of one state, read from the ledger in listing order, large objects separately."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from ..core.model import State
from ..ledger.ledger import Row
from ..ledger.unit_ports import UnitLedger
from .flight import Flight
from .setbacks import Setbacks

_WAITING_GROUPS = 4  # groups of small objects per volume held in memory
_LARGE_WAITING = 64  # large objects per volume that are held until their lane has room


@dataclass(frozen=True)
class Feed:
    """Where rows are read from, and what excludes some of them. `is_large` takes a size in bytes."""

    ledger: UnitLedger
    flight: Flight
    setbacks: Setbacks
    is_large: Callable[[int], bool]


class Backlog:
    """Rows that are due and not in flight, in two queues: a full lane of large objects does not delay small ones.

    Used by the feeder's thread only.
    """

    def __init__(self, feed: Feed, state: State, *, rewind_seconds: float) -> None:
        self.small: deque[Row] = deque()
        self.large: deque[Row] = deque()
        self._feed = feed
        self._state = state
        self._rewind_seconds = rewind_seconds
        self._cursor = 0
        self._rewind_at = 0.0

    def __bool__(self) -> bool:
        return bool(self.small or self.large)

    def rewind(self) -> None:
        """Rows were put back, behind the cursor. Any thread may call this."""
        self._rewind_at = 0.0

    def fill(self, limit: int, volumes: Collection[int] | None = None) -> None:
        """When the small rows are used up, read up to `limit` more rows that are not in flight."""
        if self.small:
            return
        now = time.monotonic()
        busy = self._feed.flight.ids()
        busy.update(self._held())
        # Rows in flight were read before, so they are at the beginning.
        more = 0 if self._cursor else len(busy)
        rows, last = self._feed.ledger.objects.work_beside(
            busy, self._state, after_id=self._cursor, limit=limit + more, volumes=volumes
        )
        if last:
            self._cursor = last
        elif now >= self._rewind_at:
            self._rewind_at = now + self._rewind_seconds
            self._cursor = 0
        for row in rows:
            if not self._feed.setbacks.due(row, busy):
                continue
            if not self._feed.is_large(row.size):
                self.small.append(row)
            elif sum(other.volume == row.volume for other in self.large) < _LARGE_WAITING:
                self.large.append(row)

    def _held(self) -> Iterator[int]:
        return (row.id for row in self.large)

    def has_large(self) -> bool:
        """Whether a large object is next that is still as in the ledger: it may have waited here for hours."""
        while self.large:
            if self.is_as_known(self.large[0]):
                return True
            self.large.popleft()
        return False

    def is_as_known(self, row: Row) -> bool:
        known = self._feed.ledger.objects.row(row.id)
        if known is None:
            return False
        return (known.state, known.generation, known.volume) == (self._state, row.generation, row.volume)

    def clear(self) -> None:
        self.small.clear()
        self.large.clear()


class VolumeBacklog(Backlog):
    """A backlog with small objects sorted by volume, so that the rows of a slow volume do not delay the others."""

    def __init__(self, feed: Feed, state: State, *, rewind_seconds: float) -> None:
        super().__init__(feed, state, rewind_seconds=rewind_seconds)
        self.by_volume: dict[int, deque[Row]] = {}

    def __bool__(self) -> bool:
        return super().__bool__() or any(self.by_volume.values())

    def fill_for(self, hungry: Collection[int], limit: int, volumes: Collection[int] | None = None) -> None:
        """Read more if there is nothing for one of the volumes `hungry`, and sort what was read."""
        if not all(self.by_volume.get(number) for number in hungry):
            self.fill(limit * len(hungry), volumes)
        while self.small:
            row = self.small.popleft()
            queue = self.by_volume.setdefault(row.volume or 0, deque())
            if len(queue) < _WAITING_GROUPS * limit:  # the others are found again later
                queue.append(row)

    def _held(self) -> Iterator[int]:
        yield from super()._held()
        for queue in self.by_volume.values():
            yield from (row.id for row in queue)

    def pick_some(self, count: int, *, first: Collection[int]) -> list[Row]:
        """Take some arbitrary rows, those of the objects `first` before others. The rest is found again later."""
        rows = [*self.large, *(row for queue in self.by_volume.values() for row in queue)]
        # Not by `random`, as in `core/backoff.py`: when uploads fail is no time to load it.
        rows.sort(key=lambda row: (row.id not in first, os.urandom(8)))
        self.clear()
        self.rewind()
        return rows[:count]

    def clear(self) -> None:
        super().clear()
        self.by_volume.clear()
