# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How many requests a lane may have in flight, as it is told while it works."""

from __future__ import annotations

import threading
from collections.abc import Callable


class LaneWidth:
    """`now`: the number. Any thread may set it; the thread of the lane says when it has no more connections."""

    def __init__(self, width: int) -> None:
        self.now = width
        self._connections = 0  # that the lane has at most
        self._fits: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def set(self, width: int, fits: Callable[[], None]) -> None:
        """`fits` is called once the lane has no more connections than that, unless another number is set before."""
        with self._lock:
            self.now = width
            self._fits = fits
        self._tell_if_it_fits()

    def take(self) -> int:
        """How many the lane may have: from now on it may have that many connections."""
        with self._lock:
            self._connections = max(self._connections, self.now)
            return self.now

    def has(self, connections: int) -> None:
        """The lane has no more connections than these."""
        if self._fits or connections != self._connections:
            with self._lock:
                self._connections = connections
            self._tell_if_it_fits()

    def _tell_if_it_fits(self) -> None:
        with self._lock:
            if self._fits is None or self._connections > self.now:
                return
            fits, self._fits = self._fits, None
        fits()
