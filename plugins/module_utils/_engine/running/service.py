# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Life under systemd: signals become flags, progress feeds the watchdog, the status line says what happens.

Protocol: sd_notify(3), a datagram to $NOTIFY_SOCKET. Without systemd only the signals matter.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time

from ..core import workers
from ..core.model import MIB
from ..core.workers import Doing, stands_still
from ..hops.switches import Switches
from ..hops.unit import Unit
from ..movers.s5cmd.stuck import traffic_of
from .run import Attendant

_log = logging.getLogger("snowsync")
_STATUS_SECONDS = 2.0
_BUSY_SECONDS = 10.0  # a feeder that turned no more for so long waits for a mover, or hashes a large file, or hangs
_START_SECONDS = 120  # a step of the start that takes longer hangs: systemd ends it
_TELL_SECONDS = 5.0  # a systemd that reads nothing for so long misses a message
_WORTH_TELLING = 30.0  # a disk that answers nothing for so long is named in the status
_PATIENCE = 90.0  # and if nothing moved for so long besides, it hangs


class Daemon(Attendant):
    """Looks after the units of one process."""

    def __init__(self) -> None:
        self._units: list[Unit] = []
        self._switches: Switches | None = None
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        watchdog = int(os.environ.get("WATCHDOG_USEC", "0")) / 1_000_000
        self._interval = min(_STATUS_SECONDS, watchdog / 4) if watchdog else _STATUS_SECONDS
        self._next = 0.0
        self._seen: list[int] = []
        self._progressed = time.monotonic()
        self._told: set[str] = set()  # workers of which it was said that they hang
        self.stopped_by = 0  # the number of the signal that stopped the run

    def beat(self, doing: str) -> None:
        """The start takes long and goes on: systemd waits on, and what is done is kept should it be ended."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._interval
            self._tell(f"STATUS=starting: {doing}\nEXTEND_TIMEOUT_USEC={_START_SECONDS}000000\nWATCHDOG=1")

    def start(self, units: list[Unit], switches: Switches) -> None:
        self._units, self._switches = units, switches
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._tell("READY=1\nSTATUS=starting")

    def _stop(self, number: int, _frame: object) -> None:
        _log.info(
            "%s: stopping; what is in flight now is taken up again at the next start", signal.Signals(number).name
        )
        self.stopped_by = number
        if self._switches:
            self._switches.stop.set()
        self._tell("STOPPING=1\nSTATUS=stopping")

    def turn(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._interval
        self._tell(f"STATUS={self.status_line()}" + ("\nWATCHDOG=1" if self._is_alive(now) else ""))

    def end(self) -> None:
        self._tell(f"STATUS={self.status_line()}")

    def status_line(self) -> str:
        parts = []
        for unit in self._units:
            counters = unit.counters
            parts.append(
                f"{unit.name}: {unit.status}; {counters.moved_objects} objects,"
                f" {counters.moved_bytes / 1_048_576:.1f} MiB moved"
                + (f", {counters.failure_count} failures" if counters.failure_count else "")
            )
        return " | ".join([*parts, *self._slow_disks()]).replace("\n", " ")

    @staticmethod
    def _slow_disks() -> list[str]:
        return [
            f"{look.name} has waited {look.seconds:.0f} s for its disk"
            for look in workers.looks(time.monotonic())
            if look.doing is Doing.MEDIUM and look.seconds >= _WORTH_TELLING
        ]

    def _is_alive(self, now: float) -> bool:
        """Real progress: no worker hangs, and every feeder turned lately, or something moved since the last look."""
        units = [unit for unit in self._units if not unit.has_ended]
        if all(now - unit.heartbeat < _BUSY_SECONDS for unit in units) or self._has_moved(units):
            self._progressed = now
        # What a mover thinks is stuck it ends by itself, if it is given the time.
        patience = max([_PATIENCE, *(2 * unit.job.mover.stall_seconds for unit in units)])
        return now - self._progressed < patience and not self._hanging(now, patience)

    def _hanging(self, now: float, patience: float) -> list[str]:
        """The workers that only a restart helps; each is named once."""
        hanging = [look for look in workers.looks(now) if stands_still(look, patience)]
        for look in hanging:
            if look.name not in self._told:
                _log.error("%s has not got on for %.0f s: it is left to the watchdog", look.name, look.seconds)
        self._told = {look.name for look in hanging}
        return sorted(self._told)

    def _has_moved(self, units: list[Unit]) -> bool:
        """Whether objects or bytes moved since this was asked last: one object of a terabyte takes hours."""
        seen = [sum(traffic_of(os.getpid()) or (0, 0)) // MIB]  # our own hashing; less is only what /proc itself gives
        for unit in units:
            counters = unit.counters
            seen += [counters.listed_objects, counters.moved_objects, counters.failure_count, unit.endpoints.traffic()]
        moved = seen != self._seen
        self._seen = seen
        return moved

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
                client.settimeout(_TELL_SECONDS)
                client.sendto(message.encode(), address)
        except OSError as error:
            _log.debug("systemd does not listen: %s", error.strerror)
