# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Integration with systemd: signals become flags, progress feeds the watchdog, the status line shows what happens.

Protocol: sd_notify(3), a datagram to $NOTIFY_SOCKET. Without systemd only the signals matter.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time

from ..core import workers
from ..core.workers import Doing
from ..hops.switches import Switches
from ..hops.unit import Unit
from .liveness import Liveness
from .run import Attendant

_log = logging.getLogger("snowsync")
_STATUS_SECONDS = 2.0
_START_SECONDS = 120  # a start step that takes longer hangs: systemd ends it
_TELL_SECONDS = 5.0  # if systemd reads nothing for this long, a message is dropped
_WORTH_TELLING = 30.0  # a disk that does not respond for this long is named in the status


class Systemd:
    """Where systemd listens; without it, nothing is sent."""

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")  # not for children

    def tell(self, message: str) -> None:
        """One message, of lines as sd_notify(3) defines them; dropped if systemd does not read it."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
                client.settimeout(_TELL_SECONDS)
                client.sendto(message.encode(), address)
        except OSError as error:
            _log.debug("cannot notify systemd: %s", error.strerror)


class Daemon(Attendant):
    """Looks after the units of one process."""

    def __init__(self) -> None:
        self._units: list[Unit] = []
        self._switches: Switches | None = None
        self._systemd = Systemd()
        watchdog = int(os.environ.get("WATCHDOG_USEC", "0")) / 1_000_000
        self._interval = min(_STATUS_SECONDS, watchdog / 4) if watchdog else _STATUS_SECONDS
        self._next = 0.0
        self._liveness = Liveness()
        self.stopped_by = 0  # the number of the signal that stopped the run

    def beat(self, doing: str) -> None:
        """The start takes long but makes progress: systemd keeps waiting. Completed steps survive an interruption."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._interval
            self._systemd.tell(f"STATUS=starting: {doing}\nEXTEND_TIMEOUT_USEC={_START_SECONDS}000000\nWATCHDOG=1")

    def start(self, units: list[Unit], switches: Switches) -> None:
        self._units, self._switches = units, switches
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._systemd.tell("READY=1\nSTATUS=starting")

    def _stop(self, number: int, _frame: object) -> None:
        _log.info("received %s: stopping; objects in flight are resumed at the next start", signal.Signals(number).name)
        self.stopped_by = number
        if self._switches:
            self._switches.stop.set()
        self._systemd.tell("STOPPING=1\nSTATUS=stopping")

    def turn(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._interval
        status = f"STATUS={self.status_line()}"
        self._systemd.tell(f"{status}\nWATCHDOG=1" if self._liveness.is_alive(self._units, now) else status)

    def end(self) -> None:
        self._systemd.tell(f"STATUS={self.status_line()}")

    def status_line(self) -> str:
        parts = []
        for unit in self._units:
            counters = unit.counters
            parts.append(
                f"{unit.name}: {unit.activity.status}; {counters.moved.objects} objects,"
                f" {counters.moved.bytes / 1_048_576:.1f} MiB moved"
                + (f", {counters.failures.count} failures" if counters.failures.count else "")
            )
        return " | ".join([*parts, *self._slow_disks()]).replace("\n", " ")

    @staticmethod
    def _slow_disks() -> list[str]:
        return [
            f"{look.name} has been waiting {look.seconds:.0f} s for its disk"
            for look in workers.looks(time.monotonic())
            if look.doing is Doing.MEDIUM and look.seconds >= _WORTH_TELLING
        ]
