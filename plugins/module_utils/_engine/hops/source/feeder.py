# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The source unit's feeder: its loop in the unit's own thread."""

from __future__ import annotations

import threading

from ..crew import Crew
from ..housekeeping import Housekeeping
from .completion import Completion
from .discovery import Discovery
from .placing import FetchQueue, Placing
from .staging.sweeping import Sweeping


class Feeder:
    """Places pending objects until the run is over. `space` wakes it."""

    def __init__(
        self,
        crew: Crew,
        housekeeping: Housekeeping,
        sweeping: Sweeping,
        discovery: Discovery,
        queue: FetchQueue,
        completion: Completion,
        placing: Placing,
        space: threading.Event,
    ) -> None:
        self._crew = crew
        self.housekeeping = housekeeping
        self._sweeping = sweeping
        self._discovery = discovery
        self._queue = queue
        self._completion = completion
        self._placing = placing
        self._space = space

    def run(self) -> None:
        """Return when the run is over, or the unit is to stop."""
        while not self._crew.stopping:
            self.housekeeping.look_around()
            self._sweeping.now_and_then()
            listed = self._discovery.has_seen_all  # checked first: what the last page added is read below
            self._queue.read_on()
            if self._completion.is_over(listed):
                return
            if not self._placing.place():
                self._space.wait(0.05 if self._queue.is_active() else 0.25)
                self._space.clear()
