# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which small object goes to a volume: the next one of a run of neighbours in the listing.

The destination proves what it sent from one volume by listings: the fewer keys of other volumes lie in between, the
less it has to list. Which volume is next, and when, is decided without this: none gets more than it would otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator

from ...core.model import State
from ...ledger.ledger import Row
from ..backlog import Backlog, Feed

_LONGEST_RUN = 500


class NeighbourBacklog(Backlog):
    """A backlog whose small objects are shared out in runs, one for each volume. Used by the feeder's thread only."""

    def __init__(self, feed: Feed, state: State, *, rewind_seconds: float) -> None:
        super().__init__(feed, state, rewind_seconds=rewind_seconds)
        self._runs: dict[int, deque[Row]] = {}  # by the number of the volume
        self._served: set[int] = set()  # volumes that were chosen since the last rows were read
        self._has_asked = False  # a volume without a run waits for more rows

    def __bool__(self) -> bool:
        return super().__bool__() or any(self._runs.values())

    def fill(self, limit: int, volumes: Collection[int] | None = None) -> None:
        """As a backlog's. The runs of volumes that were not chosen meanwhile can be begun by others."""
        if not self.small:
            super().fill(limit, volumes)
            for number in [number for number in self._runs if number not in self._served]:
                self.small.extendleft(reversed(self._runs.pop(number)))
            self._served.clear()
        self._has_asked = self._has_asked and not self.small

    def waiting(self) -> deque[Row]:
        """Small objects that wait, the first one first; empty if there are none."""
        return self.small or max(self._runs.values(), key=len, default=self.small)

    def run_of(self, volume: int, is_apart: Callable[[Row], bool]) -> deque[Row]:
        """The run of a volume; if it is used up, a new one. Empty: more rows are to be read first.

        Objects that are `is_apart` belong to no run; they must not be the first one that waits.
        """
        self._served.add(volume)
        run = self._runs.setdefault(volume, deque())
        if run:
            return run
        if self.small:
            self._has_asked = False
            while self.small and len(run) < _LONGEST_RUN and not is_apart(self.small[0]):
                run.append(self.small.popleft())
        elif self._has_asked:  # nothing more to read: help the volume with the most to do
            other = self.waiting()
            run.extendleft([other.pop() for _row in range((len(other) + 1) // 2)])
        else:
            self._has_asked = True
        return run

    def _held(self) -> Iterator[int]:
        yield from super()._held()
        for run in self._runs.values():
            yield from (row.id for row in run)

    def clear(self) -> None:
        super().clear()
        self._runs.clear()
