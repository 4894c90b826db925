# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The destination unit in a process of its own: what runs there, and what it tells the process of the source unit."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import asdict

from ..config.job_file import Job
from ..core import workers
from ..hops.destination.destination_unit import DestinationUnit
from ..hops.switches import Switches
from ..hops.unit import Unit
from ..ledger.ledger import Ledger
from . import link as messages
from . import relays
from .error_messages import as_message
from .link import Link
from .liveness import Liveness
from .main_thread import Attendant, UnitThread, attend
from .service import on_stop_signals, release_signals
from .shown import shown_of, slow_disks
from .summary import UnitEnd, end_of

_SHOW_SECONDS = 1.0
_CLOSE_SECONDS = 15.0  # how long the result waits for the other process to read it


class Reporter(Attendant):
    """Tells the other process what the unit is doing."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._liveness = Liveness()
        self._units: list[Unit] = []
        self._next = 0.0

    def start(self, units: list[Unit], switches: Switches) -> None:
        self._units = units

    def turn(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SHOW_SECONDS
            self._tell(now)

    def end(self) -> None:
        self._tell(time.monotonic())

    def _tell(self, now: float) -> None:
        (unit,) = self._units
        is_alive = self._liveness.is_alive(self._units, now)
        shown = {"unit": asdict(shown_of(unit)), "slow_disks": slow_disks(), "is_alive": is_alive}
        self._link.post(messages.SHOWN, shown)


class Orders:
    """What the other process says: switches, and when to begin and to end."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._unit: Unit | None = None
        self._may_go_on = threading.Event()

    def wait(self, unit: Unit) -> bool:
        """Wait until `unit` may begin. False: it is not wanted any more."""
        self._unit = unit
        self._may_go_on.wait()
        return not self._switches.stop.is_set()

    def take(self, name: str, value: object) -> None:
        if name == messages.DEADLINE and self._unit:
            self._unit.activity.deadline_passed()
        relays.take(self._switches, name, value)
        if name in (messages.GO, relays.STOP):
            self._may_go_on.set()

    def lost(self, error: BaseException | None) -> None:
        """There will be no more: the other process is ending without having waited for this one."""
        if error:
            workers.tell(error)
        self._switches.stop.set()
        self._may_go_on.set()


def run_destination(job: Job, until: str, channel: socket.socket) -> None:
    """Run the unit as the other process says, and tell it how that ended. The caller holds the unit's lock."""
    link = Link(channel)
    switches = relays.of_the_destination(link.post)
    orders = Orders(switches)

    def stop(number: int) -> None:
        link.post(messages.SIGNAL, number)
        switches.stop.set()

    on_stop_signals(stop)
    release_signals()
    link.listen(orders.take, orders.lost)
    try:
        link.post(messages.END, asdict(_run(job, until, switches, orders, Reporter(link))))
    except BaseException as error:
        link.post(messages.ERROR, as_message(error))
    link.close(_CLOSE_SECONDS)


def _run(job: Job, until: str, switches: Switches, orders: Orders, reporter: Reporter) -> UnitEnd:
    ledger = Ledger(job.ledger_path)
    try:
        unit = DestinationUnit(job, ledger, switches, until=until)
        if orders.wait(unit):
            reporter.start([unit], switches)
            attend([UnitThread(unit, switches)], switches, None, reporter)
        return end_of(unit)
    finally:
        ledger.close()
