# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The number of s5cmd processes, how much each may have in flight, and when the next one may start."""

from __future__ import annotations

import time
from collections.abc import Sized
from typing import Generic, Protocol, TypeVar

_WIDEST = 32  # concurrent commands in one process: a stuck one can only be ended by killing all of them
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # backoff in seconds before a restart after a process failed
_STABLE_SECONDS = 30.0  # a process that ran this long does not count as a failed start


class Running(Protocol):
    """What the choice between processes needs: whether one accepts commands, and how many it has."""

    @property
    def accepts(self) -> bool: ...

    @property
    def in_flight(self) -> Sized: ...


_Process = TypeVar("_Process", bound=Running)


class Lane(Generic[_Process]):
    """Processes of one width (concurrent commands), for one class of object sizes. Guarded by the pool's lock.

    `queued`: the objects are so small that each worker has a second one queued.
    """

    def __init__(self, workers: int, *, queued: bool) -> None:
        count = -(-workers // _WIDEST)
        self.width = workers // count  # together no more than configured: each uses connections
        # Enough is queued that its workers never wait for us, but little is lost if a process is stopped.
        self.queued = queued and self.width > 1
        self.capacity = 2 * self.width if self.queued else self.width + (self.width > 1)
        self.low_water = self.capacity - (self.width // 2 if self.queued else 1)
        self.slots: list[Slot[_Process]] = [Slot() for _number in range(count)]
        self.is_wanted = False
        self.failures = 0
        self.failure = ""

    def roomiest(self) -> _Process | None:
        """The process with the least in flight; None if all are full, stopping, or not running."""
        open_ones = [slot.process for slot in self.slots if slot.process and slot.process.accepts]
        best = min(open_ones, key=lambda process: len(process.in_flight), default=None)
        return best if best and len(best.in_flight) < self.capacity else None

    def empty_slot(self) -> Slot[_Process] | None:
        return min((slot for slot in self.slots if not slot.process), key=lambda slot: slot.not_before, default=None)

    def wanted_slot(self) -> Slot[_Process] | None:
        """Where a process should be started, if one is wanted."""
        return self.empty_slot() if self.is_wanted else None

    def occupy(self, slot: Slot[_Process], process: _Process) -> None:
        self.is_wanted = False
        slot.process = process

    def start_failed(self, slot: Slot[_Process], reason: str) -> None:
        self.is_wanted = False
        self.failures += 1
        self.failure = reason
        slot.failed(0.0)

    def vacate(self, process: _Process, lived: float) -> None:
        """The process has ended after `lived` seconds: free its slot, after a pause."""
        for slot in self.slots:
            if slot.process is process:
                slot.process = None
                slot.failed(lived)


class Slot(Generic[_Process]):
    """A place for a process, and the backoff before the next one after failures."""

    def __init__(self) -> None:
        self.process: _Process | None = None
        self.pause = 0.0
        self.not_before = 0.0

    def failed(self, lived: float) -> None:
        self.pause = (
            _SHORTEST_PAUSE if lived >= _STABLE_SECONDS else min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, 2 * self.pause))
        )
        self.not_before = time.monotonic() + self.pause
