# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How many bytes are on every volume, from the ledger, and kept up to date between two queries."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

_LONGEST_SECONDS = 5.0  # how long the sums are valid at most
_LEAST_SECONDS = 0.05


def good_for(asking: float) -> float:
    """How many seconds sums are good that took `asking` seconds: asking takes a twentieth of the time at most."""
    return min(_LONGEST_SECONDS, max(_LEAST_SECONDS, 20 * asking))


class Occupancy:
    """Bytes by the number of a volume. Who changes or reads them holds the lock that is given to `ask`."""

    def __init__(self, occupied: Callable[[], dict[int, int]]) -> None:
        """`occupied` asks the ledger, and may take long."""
        self._occupied = occupied
        self._sums: dict[int, int] = {}
        self._since: dict[int, int] = {}  # what came since the ledger was asked last
        self._good_until = 0.0

    def of(self, number: int) -> int:
        return self._sums.get(number, 0)

    def ask(self, lock: contextlib.AbstractContextManager[object]) -> None:
        """Ask the ledger, where that is due. The lock is not held meanwhile."""
        started = time.monotonic()
        if started < self._good_until:
            return
        with lock:
            self._since.clear()
        sums = self._occupied()
        with lock:
            # Files that became durable meanwhile may be in these sums or not: overestimate rather than underestimate.
            for number, size in self._since.items():
                sums[number] = sums.get(number, 0) + size
            self._sums = sums
        now = time.monotonic()
        self._good_until = now + good_for(now - started)

    def expire(self) -> None:
        """Ask at the next occasion, however lately that was done."""
        self._good_until = 0.0

    def add(self, number: int, size: int) -> None:
        """A file of `size` bytes more lies there."""
        for sums in (self._sums, self._since):
            sums[number] = sums.get(number, 0) + (size + 4095) // 4096 * 4096
