# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The destination unit's feeder: its loop in the unit's own thread."""

from __future__ import annotations

import threading

from ..backlog import Backlog
from ..crew import Crew
from ..flight import Flight
from ..housekeeping import Housekeeping
from .completion import Completion
from .delivered_files import Leftovers
from .proving.batches import Batches
from .proving.releases import Releases
from .sending import SendTurn
from .touched_objects import TouchedObjects


class Pause:
    """When nothing can be handed over: deletions are recorded, new objects waited for. `staged` wakes the feeder."""

    def __init__(
        self, backlog: Backlog, flight: Flight, batches: Batches, releases: Releases, staged: threading.Event
    ) -> None:
        self._backlog = backlog
        self._flight = flight
        self._batches = batches
        self._releases = releases
        self._staged = staged

    def take(self) -> None:
        self._releases.record(now=not any(self._batches.open.values()))
        self._staged.wait(0.05 if self._backlog or self._flight else 0.25)
        self._staged.clear()


class Feeder:
    """Sends staged objects until the run is over. `source_done`: the source unit has ended."""

    def __init__(
        self,
        crew: Crew,
        housekeeping: Housekeeping,
        leftovers: Leftovers,
        turn: SendTurn,
        touched: TouchedObjects,
        completion: Completion,
        pause: Pause,
        source_done: threading.Event,
    ) -> None:
        self._crew = crew
        self.housekeeping = housekeeping
        self._leftovers = leftovers
        self._turn = turn
        self._touched = touched
        self._completion = completion
        self._pause = pause
        self._source_done = source_done

    def run(self) -> None:
        """Return when the run is over, or the unit is to stop."""
        while not self._crew.stopping:
            self.housekeeping.look_around()
            self._leftovers.release()
            source_done = self._source_done.is_set()  # checked first: what was staged last is read below
            if self._turn.take() or self._touched.ask():
                continue
            if self._completion.is_over(source_done):
                return
            self._pause.take()
