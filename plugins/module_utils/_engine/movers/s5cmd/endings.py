# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The end of s5cmd processes: SIGTERM, SIGKILL, exit status, and an outcome for everything they had in flight."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ...core.errors import Trouble
from ...core.model import Fetch, Outcome, Send
from .polling import Poller
from .process import Process
from .process_pool import ProcessPool

_log = logging.getLogger("snowsync.s5cmd")
_STOP_SECONDS = 2.0  # from SIGTERM, on which s5cmd removes its temporary files, to SIGKILL
_REAP_SECONDS = 5.0  # a killed process that still exists after this hangs in the kernel, with its volume


@dataclass(slots=True)
class Ending:
    """Why a process was told to stop ("" if it ended by itself), and when the next step of its shutdown is due.

    `stuck`: the paths of the transfers that it was stopped for, each with the reason.
    """

    reason: str
    deadline: float
    stuck: Mapping[str, str]
    is_killed: bool

    def outcome(self, work: Fetch | Send, why: str) -> Outcome:
        """Of work that was in flight when the process was gone; `why` it has ended."""
        if work.path in self.stuck:
            return Outcome(work.id, Trouble.TIMEOUT, self.stuck[work.path])
        return Outcome(work.id, Trouble.UNKNOWN, why)


class ProcessEndings:
    """Stops and reaps processes, in the mover's thread; what they had in flight becomes UNKNOWN.

    `cpu_seconds`: user and system time of the processes that have ended.
    """

    def __init__(self, pool: ProcessPool, poller: Poller, deliver: Callable[[Iterable[Outcome]], None]) -> None:
        self._pool = pool
        self._poller = poller
        self._deliver = deliver
        self._stopping: dict[Process, Ending] = {}
        self.cpu_seconds = 0.0

    @property
    def are_pending(self) -> bool:
        """Whether there is a process to attend to."""
        return bool(self._stopping)

    def due_times(self, now: float) -> list[float]:
        """When to attend to each of them; one that has closed its output is gone in a moment."""
        return [ending.deadline if process.output.streams else now + 0.01 for process, ending in self._stopping.items()]

    def stop(
        self, process: Process, reason: str, deadline: float | None = None, stuck: Mapping[str, str] | None = None
    ) -> None:
        """Tell it to stop, unless it was told before. It is killed at the deadline."""
        if process in self._stopping:
            return
        is_killed = self._pool.end_input(process)
        if deadline is None:
            deadline = time.monotonic() + _STOP_SECONDS
        self._stopping[process] = Ending(reason, deadline, stuck or {}, is_killed)

    def stop_all(self, reason: str, deadline: float) -> None:
        for process in self._pool.running():
            self.stop(process, reason, deadline)

    def end_output(self, process: Process, descriptor: int) -> None:
        """It has closed this output: it has ended, or is of no more use."""
        self._close_output(process, descriptor)
        self.stop(process, "")

    def attend(self, now: float) -> None:
        """Take the next step with each process that is stopping, if it is due."""
        for process, ending in list(self._stopping.items()):
            if not process.output.streams and self._reap(process):
                self._settle(process, now)
            elif now >= ending.deadline and not ending.is_killed:
                process.kill()
                ending.is_killed = True
                ending.deadline = now + _REAP_SECONDS
            elif now >= ending.deadline:
                self._settle(process, now)

    def abandon_all(self, reason: str) -> None:
        """Kill all processes, and do not wait for them."""
        for process in self._pool.running():
            process.kill()
            self.stop(process, reason)
            self._reap(process)
            self._settle(process, time.monotonic())

    def _close_output(self, process: Process, descriptor: int) -> None:
        self._poller.remove_output(descriptor)
        process.output.close(descriptor)

    def _reap(self, process: Process) -> bool:
        used = process.reap()
        self.cpu_seconds += used or 0.0
        return used is not None

    def _settle(self, process: Process, now: float) -> None:
        """The process is gone: free its slot, and report everything it had in flight as unknown."""
        ending = self._stopping.pop(process)
        for descriptor in list(process.output.streams):
            self._close_output(process, descriptor)
        why = process.describe_end(ending.reason)
        left = self._pool.remove(process, now - process.started)
        if not self._pool.is_closed:
            _log.warning("%s (%d objects in flight)", why, len(left))
        self._deliver(ending.outcome(work, why) for work in left)
