# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The last step for an object: its staged file is deleted, and the ledger records that it is gone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable

from ....core import workers
from ....core.model import Origin
from ....core.removal import AtDestination
from ....ledger.binding import Naming
from ....ledger.destination_ports import DestinationLedger
from ....ledger.ledger import Row
from ....volumes.open_volume import OpenVolume
from ...counters import Counters
from ...switches import Switches

_log = logging.getLogger("snowsync.destination")
_AGAIN_SECONDS = 30.0
_RECORD_SECONDS = 0.5  # how long a deletion may be missing in the ledger


class Releases:
    """Any thread may call these."""

    def __init__(self, ledger: DestinationLedger, naming: Naming, counters: Counters, switches: Switches) -> None:
        self._ledger = ledger
        self._naming = naming
        self._counters = counters
        self._switches = switches
        self._lock = threading.Lock()
        self._released: list[Row] = []  # deleted, but not recorded in the ledger yet
        self._released_at = 0.0
        self.next_look = 0.0  # when to look for delivered files that could not be deleted; inf: there are none

    def release(self, delivered: Iterable[tuple[Row, OpenVolume, AtDestination]]) -> None:
        """Delete delivered files."""
        released = []
        emptied: dict[int, tuple[OpenVolume, set[str]]] = {}
        for row, volume, permit in delivered:
            if not volume.medium.writable:
                continue  # deleted when it is writable again
            relative = self._naming.staging_path(row.key, row.generation, row.origin)
            try:
                if row.origin == Origin.DROP:
                    if not volume.dropped.discard(row, relative, permit, workers.beat):
                        _log.info(
                            "volume %s: %r was replaced after it was sent; keeping the new file", volume.name, row.key
                        )
                else:
                    volume.discard_staged(relative, permit)
                    emptied.setdefault(id(volume), (volume, set()))[1].add(relative.rpartition("/")[0])
            except OSError as error:
                _log.error("volume %s: cannot delete %r, which is delivered: %s", volume.name, row.key, error.strerror)
                self.next_look = min(self.next_look, time.monotonic() + _AGAIN_SECONDS)
                continue
            released.append(row)
        for volume, directories in emptied.values():
            volume.directories.prune(directories)
        self._counters.released.add(len(released), sum(row.size for row in released))
        with self._lock:
            self._released.extend(released)
            self._released_at = time.monotonic()

    def released_ids(self) -> set[int]:
        with self._lock:
            return {row.id for row in self._released}

    @property
    def has_released(self) -> bool:
        """Whether there are deletions that the ledger has not recorded yet."""
        return bool(self._released)

    def record(self, *, now: bool) -> None:
        """Record deletions; unless `now`, only if no group has recorded them for a while."""
        if not self._released or not (now or time.monotonic() - self._released_at > _RECORD_SECONDS):
            return
        self._ledger.deliveries.commit_delivered([], self.take(), self._counters.run_id)
        self._switches.space.set()

    def take(self) -> list[Row]:
        """What the caller is about to record in the ledger."""
        with self._lock:
            released, self._released = self._released, []
        return released
