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
class Listed:
    """What the passes over the source showed; set by its lister alone."""

    objects: int = 0  # of this pass so far
    bytes: int = 0
    left_behind: int = 0  # objects of the last pass that cannot be moved because of their keys
    passes: int = 0  # completed ones
    _is_new: bool = True

    def begin(self) -> None:
        """A listing starts from its beginning: the figures of the previous one stay until its first page."""
        self._is_new = True

    def add(self, objects: int, size: int) -> None:
        """A page shows `objects` with `size` bytes in all."""
        seen = (0, 0) if self._is_new else (self.objects, self.bytes)
        self._is_new = False
        self.objects, self.bytes = seen[0] + objects, seen[1] + size  # others read these: never 0 in between


@dataclass(slots=True)
class Moved:
    """What arrived for good at the end of this hop, and in which time."""

    objects: int = 0
    bytes: int = 0
    _started: float = 0.0
    _last: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """From now on objects may move."""
        self._started = time.monotonic()

    def add(self, objects: int, size: int) -> None:
        with self._lock:
            self.objects += objects
            self.bytes += size
            self._last = time.monotonic()

    @property
    def seconds(self) -> float:
        """From the start to the last object; 0.0 if there was none."""
        return max(0.0, self._last - self._started) if self.objects else 0.0


@dataclass(slots=True)
class Released:
    """What was deleted on the volumes because it is delivered."""

    objects: int = 0
    bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, objects: int, size: int) -> None:
        with self._lock:
            self.objects += objects
            self.bytes += size


@dataclass(slots=True)
class Failures:
    """`first` holds the first hundred failures, `count` counts all."""

    count: int = 0
    first: list[Failure] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, failure: Failure) -> None:
        with self._lock:
            self.count += 1
            if len(self.first) < _NAMED_FAILURES:
                self.first.append(failure)


@dataclass(slots=True)
class Counters:
    """What one run of a unit did."""

    listed: Listed = field(default_factory=Listed)
    moved: Moved = field(default_factory=Moved)
    released: Released = field(default_factory=Released)
    failures: Failures = field(default_factory=Failures)
    lost: int = 0  # listed generations that the source no longer had; an older generation is delivered instead
    run_id: int = 0  # in the ledger
