# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Whether the units of a process make progress, or hang and need a restart."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence

from ..core import workers
from ..core.model import MIB
from ..core.workers import stands_still
from ..hops.unit import Unit
from ..movers.s5cmd.stuck import traffic_of

_log = logging.getLogger("snowsync")
_BUSY_SECONDS = 10.0  # a feeder without a turn for this long waits for a mover, hashes a large file, or hangs
_PATIENCE = 90.0  # if nothing else moved for this long either, it hangs


def patience_with(*stall_seconds: float) -> float:
    """Seconds without progress that are no hang yet: given enough time, a mover ends stuck transfers by itself."""
    return max([_PATIENCE, *(2 * seconds for seconds in stall_seconds)])


class Liveness:
    """Compares each look at the units and their workers with the previous one."""

    def __init__(self) -> None:
        self._seen: list[int] = []
        self._progressed = time.monotonic()
        self._told: set[str] = set()  # workers that were reported as hanging

    def is_alive(self, units: Sequence[Unit], now: float) -> bool:
        """Real progress: no worker hangs, and every feeder turned recently, or something moved since the last look."""
        at_work = [unit for unit in units if not unit.activity.has_ended]
        if all(now - unit.activity.heartbeat < _BUSY_SECONDS for unit in at_work) or self._has_moved(at_work):
            self._progressed = now
        patience = patience_with(*(unit.job.mover.stall_seconds for unit in at_work))
        return now - self._progressed < patience and not self._hanging(now, patience)

    def _hanging(self, now: float, patience: float) -> list[str]:
        """The workers that need a restart; each is logged once."""
        hanging = [look for look in workers.looks(now) if stands_still(look, patience)]
        for look in hanging:
            if look.name not in self._told:
                _log.error("%s has made no progress for %.0f s: leaving it to the watchdog", look.name, look.seconds)
        self._told = {look.name for look in hanging}
        return sorted(self._told)

    def _has_moved(self, units: Sequence[Unit]) -> bool:
        """Whether objects or bytes moved since the previous call: one object of a terabyte takes hours."""
        seen = [
            sum(traffic_of(os.getpid()) or (0, 0)) // MIB
        ]  # our own hashing; in MiB, since reading /proc itself counts a little
        for unit in units:
            counters = unit.counters
            seen += [
                counters.listed.objects,
                counters.moved.objects,
                counters.failures.count,
                unit.endpoints.transfers.traffic(),
            ]
        moved = seen != self._seen
        self._seen = seen
        return moved
