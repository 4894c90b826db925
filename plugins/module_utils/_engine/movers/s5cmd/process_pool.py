# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which s5cmd process gets which work: what the threads that submit share with the mover's own, under one lock."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ...core.errors import Trouble
from ...core.model import Fetch, Outcome, Send
from .capacity import Lane, Slot
from .polling import Poller
from .process import Process
from .protocol import Report


class Refusal(NamedTuple):
    """Why work was not given to a process."""

    trouble: Trouble
    message: str


class ProcessPool:
    """The running processes, and what each has in flight. Its lock also guards the lanes and the poller's inputs.

    The mover's thread alone starts and ends processes, so it may read without the lock which ones there are.
    """

    def __init__(self, small: Lane[Process], large: Lane[Process], poller: Poller) -> None:
        self.small = small
        self.large = large
        self._poller = poller
        self._changed = threading.Condition(threading.Lock())
        self._close_by: float | None = None

    @property
    def lanes(self) -> tuple[Lane[Process], Lane[Process]]:
        return self.small, self.large

    @property
    def close_by(self) -> float | None:
        """When all processes should have ended, in monotonic seconds; None while the pool is open."""
        return self._close_by

    @property
    def is_closed(self) -> bool:
        return self._close_by is not None

    @property
    def in_flight(self) -> int:
        """How many pieces of work have no outcome yet."""
        with self._changed:
            return sum(len(process.in_flight) for process in self._each())

    @property
    def pids(self) -> list[int]:
        with self._changed:
            return [process.popen.pid for process in self.running()]

    def running(self) -> list[Process]:
        """The processes that are not reaped yet, oldest first."""
        return sorted(self._each(), key=lambda process: process.started)

    def _each(self) -> Iterator[Process]:
        return (slot.process for lane in self.lanes for slot in lane.slots if slot.process)

    # --- for the threads that submit

    def give(
        self, work: Fetch | Send, line: bytes, *, is_large: bool, ensure_thread: Callable[[], None]
    ) -> Refusal | None:
        """Give work to a process as its command `line`; blocks while the lane is full.

        `ensure_thread` is called under the lock when a process is wanted: the mover's thread starts it. ValueError for
        a path that is already in flight.
        """
        with self._changed:
            process = self._claim(self.large if is_large else self.small, ensure_thread)
            if isinstance(process, Refusal):
                return process
            if any(work.path in each.in_flight for each in self._each()):
                raise ValueError(f"{work.path} is already in flight")
            process.in_flight[work.path] = work
            process.input.write(line)
            if process.input.backlog:
                self._poller.add_input(process)
        return None

    def _claim(self, lane: Lane[Process], ensure_thread: Callable[[], None]) -> Process | Refusal:
        """A process with room, as soon as there is one; otherwise why there will be none."""
        failures = lane.failures
        while not self.is_closed:
            process = lane.roomiest()
            if process:
                return process
            if lane.failures != failures:
                return Refusal(Trouble.OTHER, lane.failure)
            if lane.empty_slot():
                lane.is_wanted = True
                ensure_thread()
                self._poller.rouse()
            self._changed.wait()
        return Refusal(Trouble.UNKNOWN, "the mover is closed")

    def close(self, deadline: float) -> None:
        """Accept no more work; the mover's thread ends the processes by the deadline of the first call."""
        with self._changed:
            if self._close_by is None:
                self._close_by = deadline
            self._changed.notify_all()
            self._poller.rouse()

    # --- for the mover's thread

    def add(self, slot: Slot[Process], process: Process) -> None:
        with self._changed:
            process.lane.occupy(slot, process)
            self._changed.notify_all()

    def fail_start(self, lane: Lane[Process], slot: Slot[Process], reason: str) -> None:
        """Who waits for a process of this lane gets the reason instead."""
        with self._changed:
            lane.start_failed(slot, reason)
            self._changed.notify_all()

    def flush(self, process: Process) -> None:
        with self._changed:
            process.input.flush()
            if not process.input.backlog:
                self._poller.remove_input(process)

    def oldest(self, process: Process) -> list[Fetch | Send]:
        """What it works on: commands start in the order of their lines, so the oldest ones are running."""
        with self._changed:
            return list(itertools.islice(process.in_flight.values(), process.lane.width))

    def finish(
        self,
        process: Process,
        reports: Sequence[Report | None],
        outcome_of: Callable[[Fetch | Send, Report], Outcome],
    ) -> list[Outcome | None]:
        """Take the reported work from the process. Returns each outcome; None for what is no report about such work."""
        with self._changed:
            outcomes = []
            for report in reports:
                work = process.in_flight.pop(report.path, None) if report else None
                outcomes.append(outcome_of(work, report) if report and work else None)
            if len(process.in_flight) <= process.lane.low_water:
                self._changed.notify_all()
        return outcomes

    def end_input(self, process: Process) -> bool:
        """It gets no more work, and nothing of what its pipe has not accepted yet. True if it was killed for that."""
        with self._changed:
            self._poller.remove_input(process)
            return process.end_input()

    def remove(self, process: Process, lived: float) -> list[Fetch | Send]:
        """It has ended after `lived` seconds: free its slot. Returns what it still had in flight."""
        with self._changed:
            left = list(process.in_flight.values())
            process.in_flight.clear()
            process.lane.vacate(process, lived)
            self._changed.notify_all()
        return left

    def end_thread(self, now: float) -> None:
        """The mover's thread ends: nobody waits for a process any more, and nobody can be woken."""
        with self._changed:
            if self._close_by is None:
                self._close_by = now
            self._changed.notify_all()
            self._poller.close_wake_up()
