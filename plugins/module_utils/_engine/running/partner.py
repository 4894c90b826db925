# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The destination unit in its own process, as the process of the source unit sees it."""

from __future__ import annotations

import logging
import time
from typing import Any

from ..config.job_file import Job
from ..core.errors import SnowsyncError
from ..hops.switches import Switches
from . import link as messages
from . import relays
from .child_process import ChildProcess
from .error_messages import from_message
from .link import Link
from .liveness import patience_with
from .shown import Shown
from .summary import UnitEnd

_log = logging.getLogger("snowsync")
_UNIT = "destination"
_LONGEST_END = 18.5  # seconds after a stop: the process abandons its unit earlier, and tells so
_EXIT_SECONDS = 5.0  # from the last message of a process to its end
_LAST_EXIT = 19.0  # seconds after a stop: a process that has not ended by then waits for a disk
_LEAST_EXIT_SECONDS = 0.2


class Told:
    """What the process told of its unit. Written by the link's thread, read by the main thread."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self.heard = time.monotonic()  # when it last told what it is doing
        self.shown: dict[str, Any] = {}
        self.stopped_by = 0
        self.end: UnitEnd | None = None
        self.error: BaseException | None = None
        self.is_over = False  # nothing more will be told

    def take(self, name: str, value: Any) -> None:
        """One message of the process."""
        if name == messages.SHOWN:
            self.heard, self.shown = time.monotonic(), value
        elif name == messages.SIGNAL:
            self.stopped_by = value
        elif name == messages.END:
            self.end = UnitEnd.from_json(value)
        elif name == messages.ERROR:
            self.error = from_message(value)
        relays.take(self._switches, name, value)
        if self.end or self.error:
            self.over(self.error)

    def over(self, error: BaseException | None) -> None:
        """There will be no more messages: without a result the source unit ends too, `error` says why."""
        self.error = self.error or error
        if not self.end:
            self._switches.stop.set()
        self.is_over = True
        self._switches.ended.set()


class Partner:
    """The unit at work. Used by the main thread."""

    def __init__(self, job: Job, child: ChildProcess, link: Link, switches: Switches) -> None:
        self._job = job
        self._child = child
        self._link = link
        self._stop = switches.stop
        self._told = Told(switches)
        self._is_left = False
        self._waiting_for = ""
        link.listen(self._told.take, self._told.over)

    # -- for who waits for it -----------------------------------------------------------------------------------

    def is_running(self) -> bool:
        return not (self._told.is_over or self._is_left)

    @property
    def error(self) -> BaseException | None:
        told = self._told
        if told.error or told.end or self._is_left:
            return told.error
        self._child.wait(_EXIT_SECONDS)
        what = f"the {_UNIT} unit of job {self._job.job} ended without a result"
        how = f"its process (pid {self._child.pid}) {self._child.how_it_ended()}"
        fix = "if nobody did that, look for a lack of memory in the kernel's log"
        return SnowsyncError(f"{what}: {how}; {fix}; the next run continues with what was in flight")

    def deadline_passed(self) -> None:
        self._waiting_for = self._shown.status
        self._link.post(messages.DEADLINE)

    def leave_if_late(self, seconds: float) -> None:
        if seconds <= _LONGEST_END or not self.is_running():
            return
        self._is_left = True
        _log.error("the process of the %s unit (pid %d) does not end: it is killed", _UNIT, self._child.pid)
        self._child.kill()

    def begin(self) -> None:
        """Let the unit begin: this process is ready."""
        self._link.post(messages.GO)

    def finish(self) -> None:
        """Let the process end, however the unit ended; it is not waited for any longer than a stop may take."""
        self._link.close(_LEAST_EXIT_SECONDS)
        left = _LAST_EXIT - self._stop.seconds
        if not self._child.wait(max(_LEAST_EXIT_SECONDS, min(_EXIT_SECONDS, left))):
            self._child.kill()

    @property
    def end(self) -> UnitEnd:
        """What the unit has done, as far as it is known."""
        return self._told.end or UnitEnd(_UNIT, waiting_for=self._waiting_for)

    # -- for who watches it -------------------------------------------------------------------------------------

    @property
    def stopped_by(self) -> int:
        return self._told.stopped_by

    @property
    def _shown(self) -> Shown:
        told = self._told.shown
        return Shown(**told["unit"]) if told else Shown(_UNIT)

    def status_text(self) -> str:
        return self._shown.text

    def slow_disks(self) -> list[str]:
        return list(self._told.shown.get("slow_disks", ()))

    def is_alive(self, now: float) -> bool:
        """Whether it makes progress: it says so itself, and has said something lately. `now` in monotonic seconds."""
        if not self.is_running():
            return True
        says_so = bool(self._told.shown.get("is_alive", True))
        return says_so and now - self._told.heard < patience_with(self._job.mover.stall_seconds)
