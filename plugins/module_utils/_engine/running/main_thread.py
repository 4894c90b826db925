# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the main thread does while the units of a run work: it waits for them, keeps the deadline, tells who watches."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import Protocol

from ..core import workers
from ..hops.switches import Switches
from ..hops.unit import Unit

_log = logging.getLogger("snowsync")
_LONGEST_END = 17.0  # seconds after a stop: a unit that has not ended by then hangs on a disk and is abandoned


class Neighbour(Protocol):
    """The other unit of the run, in a process of its own, as far as an attendant sees it."""

    @property
    def stopped_by(self) -> int:
        """The number of the signal that its process was sent; 0: none."""

    def status_text(self) -> str: ...

    def slow_disks(self) -> list[str]: ...

    def is_alive(self, now: float) -> bool:
        """Whether it makes progress; `now` in monotonic seconds."""


class Attendant:
    """Looks after running units from the main thread; this base class does nothing (see running/service.py)."""

    def beat(self, doing: str) -> None:
        """Called from time to time before the start, while the ledger is prepared: `doing` describes the step."""

    def beside(self, neighbour: Neighbour) -> None:
        """Called before `start` if the other unit works in a process of its own."""

    def start(self, units: list[Unit], switches: Switches) -> None:
        """Called once before the units start."""

    def turn(self) -> None:
        """Called about twenty times a second."""

    def end(self) -> None:
        """Called once after the last unit ended."""


class AtWork(Protocol):
    """A unit at work, in a thread of this process or in a process of its own."""

    @property
    def error(self) -> BaseException | None:
        """What ended it, once it has ended."""

    def is_running(self) -> bool: ...

    def deadline_passed(self) -> None:
        """The run is about to be stopped, since its time is over."""

    def leave_if_late(self, seconds: float) -> None:
        """Wait no longer for a unit that should have ended; `seconds` after the stop."""


class UnitThread:
    """A unit in a thread of this process."""

    def __init__(self, unit: Unit, switches: Switches) -> None:
        self._unit = unit
        self._switches = switches
        self._is_left = False
        self._thread = _start(unit, switches)

    @property
    def error(self) -> BaseException | None:
        return self._unit.crew.error

    def is_running(self) -> bool:
        return not self._is_left and self._thread.is_alive()

    def deadline_passed(self) -> None:
        self._unit.activity.deadline_passed()

    def leave_if_late(self, seconds: float) -> None:
        if seconds <= _LONGEST_END or not self.is_running():
            return
        self._is_left = True
        if not self._unit.activity.has_ended:
            _log.error("the %s unit does not end: a disk does not respond; the next start resumes", self._unit.name)
            self._unit.say_ended()


def _start(unit: Unit, switches: Switches) -> workers.Worker:
    def run() -> None:
        try:
            unit.run()
        finally:
            switches.ended.set()

    return workers.start(run, unit.name, unit.crew.fail, switches.stop.is_overdue, is_watched=False)


def attend(at_work: Sequence[AtWork], switches: Switches, timeout: float | None, attendant: Attendant) -> None:
    """Wait until every unit has ended, or end them after `timeout` seconds. Raises the first error of any unit."""
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    while any(each.is_running() for each in at_work):
        switches.ended.wait(0.05)
        switches.ended.clear()
        attendant.turn()
        if time.monotonic() > deadline and not switches.stop.is_set():
            for each in at_work:
                each.deadline_passed()
            switches.stop.set()
        for each in at_work:
            each.leave_if_late(switches.stop.seconds)
    attendant.end()
    for each in at_work:
        if each.error:
            raise each.error
