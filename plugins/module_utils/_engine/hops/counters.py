# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Counters of one run of a unit, updated by all its threads."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from ..ledger.ledger import Failure

_NAMED_FAILURES = 100


@dataclass(slots=True)
class Counters:
    """What one run of a unit did. `failures` holds the first hundred failures, `failure_count` counts all.

    `left_behind`: how many objects of the last pass cannot be moved because of their keys.
    """

    listed_objects: int = 0
    listed_bytes: int = 0
    moved_objects: int = 0
    moved_bytes: int = 0
    released_objects: int = 0
    released_bytes: int = 0
    passes: int = 0
    lost: int = 0  # listed generations that the source no longer had; an older generation is delivered instead
    failure_count: int = 0
    left_behind: int = 0
    run_id: int = 0  # in the ledger
    failures: list[Failure] = field(default_factory=list)
    first_start: float = 0.0
    last_move: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def moved(self, objects: int, size: int) -> None:
        with self._lock:
            self.moved_objects += objects
            self.moved_bytes += size
            self.last_move = time.monotonic()

    def released(self, objects: int, size: int) -> None:
        with self._lock:
            self.released_objects += objects
            self.released_bytes += size

    def failed(self, failure: Failure) -> None:
        with self._lock:
            self.failure_count += 1
            if len(self.failures) < _NAMED_FAILURES:
                self.failures.append(failure)

    @property
    def seconds(self) -> float:
        return max(0.0, self.last_move - self.first_start) if self.moved_objects else 0.0
