# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Integration with systemd: signals become flags, progress feeds the watchdog, the status line shows what happens.

Protocol: sd_notify(3), a datagram to $NOTIFY_SOCKET. Without systemd only the signals matter.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator

from ..hops.switches import Switches
from ..hops.unit import Unit
from .liveness import Liveness
from .main_thread import Attendant, Neighbour
from .shown import shown_of, slow_disks

_log = logging.getLogger("snowsync")
_STATUS_SECONDS = 2.0
_START_SECONDS = 120  # a start step that takes longer hangs: systemd ends it
_TELL_SECONDS = 5.0  # if systemd reads nothing for this long, a message is dropped
_STOPS = (signal.SIGTERM, signal.SIGINT)


def on_stop_signals(take: Callable[[int], None]) -> None:
    """Call `take`, in the main thread, with the number of a signal that asks this process to stop."""
    for number in _STOPS:
        signal.signal(number, lambda number, _frame: take(number))


@contextlib.contextmanager
def held_signals() -> Iterator[None]:
    """Signals that ask this process to stop come after this block. A fork made in it calls `release_signals`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        release_signals()


def release_signals() -> None:
    """Let signals that ask this process to stop come again."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)


class Systemd:
    """Where systemd listens; without it, nothing is sent."""

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")  # not for children

    def tell(self, message: str) -> None:
        """One message, of lines as sd_notify(3) defines them; dropped if systemd does not read it."""
        if not self._address:
            return
        import socket  # without systemd nobody needs it

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
        self._neighbour: Neighbour | None = None
        self.stopped_by = 0  # the number of the signal that stopped the run

    def beat(self, doing: str) -> None:
        """The start takes long but makes progress: systemd keeps waiting. Completed steps survive an interruption."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._interval
            self._systemd.tell(f"STATUS=starting: {doing}\nEXTEND_TIMEOUT_USEC={_START_SECONDS}000000\nWATCHDOG=1")

    def beside(self, neighbour: Neighbour) -> None:
        self._neighbour = neighbour

    def start(self, units: list[Unit], switches: Switches) -> None:
        self._units, self._switches = units, switches
        on_stop_signals(self._stop)
        self._systemd.tell("READY=1\nSTATUS=starting")

    def _stop(self, number: int) -> None:
        _log.info("received %s: stopping; objects in flight are resumed at the next start", signal.Signals(number).name)
        self.stopped_by = number
        if self._switches:
            self._switches.stop.set()
        self._systemd.tell("STOPPING=1\nSTATUS=stopping")

    def turn(self) -> None:
        self._hear_neighbour()
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._interval
        status = f"STATUS={self.status_line()}"
        self._systemd.tell(f"{status}\nWATCHDOG=1" if self._is_alive(now) else status)

    def _hear_neighbour(self) -> None:
        """A signal to the other process stops the run too; one to both, as a terminal sends, counts once."""
        if self._neighbour and self._neighbour.stopped_by and not self.stopped_by:
            self._stop(self._neighbour.stopped_by)

    def _is_alive(self, now: float) -> bool:
        is_alive = self._liveness.is_alive(self._units, now)
        return is_alive and (self._neighbour is None or self._neighbour.is_alive(now))

    def end(self) -> None:
        self._hear_neighbour()
        self._systemd.tell(f"STATUS={self.status_line()}")

    def status_line(self) -> str:
        parts = [shown_of(unit).text for unit in self._units]
        slow = slow_disks()
        if self._neighbour:
            parts.append(self._neighbour.status_text())
            slow += self._neighbour.slow_disks()
        return " | ".join([*parts, *slow]).replace("\n", " ")
