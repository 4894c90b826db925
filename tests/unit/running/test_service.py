# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Life under systemd: what is told, and when a hanging engine is left to the watchdog."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core import workers
from snowsync.core.workers import Doing
from snowsync.hops.counters import Counters
from snowsync.hops.switches import Switches
from snowsync.running import liveness
from snowsync.running import service as daemon_module
from snowsync.running.service import Daemon, held_signals


class Systemd:
    """What systemd hears at $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(address)

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(65536).decode())
            except BlockingIOError:
                return messages


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    listener = Systemd(address)
    yield listener
    listener.socket.close()


class Clock:
    """A monotonic clock that a test turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A daemon takes the process' signals; the tests' process gets them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def make_unit(name: str, now: float, stall_seconds: float = 60.0) -> Any:
    traffic = [0]
    return SimpleNamespace(
        name=name,
        activity=SimpleNamespace(status="fetching 3 objects", heartbeat=now, has_ended=False),
        counters=Counters(),
        job=SimpleNamespace(mover=SimpleNamespace(stall_seconds=stall_seconds)),
        endpoints=SimpleNamespace(transfers=SimpleNamespace(traffic=lambda: traffic[0])),
        traffic_seen=traffic,
    )


def started(*units: Any) -> tuple[Daemon, Switches]:
    daemon, switches = Daemon(), Switches()
    daemon.start(list(units), switches)
    return daemon, switches


@pytest.fixture
def own_traffic(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that this process has read and written."""
    bytes_seen = [0]
    monkeypatch.setattr(liveness, "traffic_of", lambda pid: (bytes_seen[0], 0))
    return bytes_seen


def lives(daemon: Daemon, systemd: Systemd, clock: Clock, seconds: float, *busy: Any) -> bool:
    """Let time pass in which only the `busy` units' feeders do not turn; whether the watchdog is fed at the end."""
    heard: list[str] = []
    for _turn in range(int(seconds)):
        clock.now += 1.0
        for unit in daemon._units:
            if unit not in busy:
                unit.activity.heartbeat = clock.now
        daemon.turn()
        heard = systemd.heard() or heard  # the socket holds ten messages, and the next one waits for room
    return bool(heard) and "WATCHDOG=1" in heard[-1]


def test_a_start_that_takes_long_is_told_and_systemd_waits_for_it(systemd: Systemd, clock: Clock) -> None:
    daemon = Daemon()
    for _step in range(100):
        daemon.beat("bringing the ledger to schema 6")
        clock.now += 0.1
    heard = systemd.heard()
    assert 4 <= len(heard) <= 7, "not with every step"
    assert set(heard) == {"STATUS=starting: bringing the ledger to schema 6\nEXTEND_TIMEOUT_USEC=120000000\nWATCHDOG=1"}


def test_it_says_that_it_is_ready_and_what_it_does(systemd: Systemd, clock: Clock, own_traffic: list[int]) -> None:
    unit = make_unit("source", clock.now)
    daemon, _switches = started(unit)
    unit.counters.moved.add(2, 3 * 1024 * 1024)
    clock.now += 2.0
    daemon.turn()
    ready, status = systemd.heard()
    assert ready.startswith("READY=1\n")
    assert status == "STATUS=source: fetching 3 objects; 2 objects, 3.0 MiB moved\nWATCHDOG=1"
    unit.activity.status = "one\nline"
    daemon.end()
    assert systemd.heard() == ["STATUS=source: one line; 2 objects, 3.0 MiB moved"]


def test_children_do_not_inherit_the_socket(systemd: Systemd) -> None:
    Daemon()
    assert "NOTIFY_SOCKET" not in os.environ


def test_without_systemd_nothing_is_told(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    daemon, _switches = started(make_unit("source", clock.now))
    clock.now += 10.0
    daemon.turn()
    daemon.end()


def test_a_socket_that_is_gone_ends_nothing(systemd: Systemd, tmp_path: Path, clock: Clock) -> None:
    daemon, _switches = started(make_unit("source", clock.now))
    (tmp_path / "notify").unlink()
    clock.now += 10.0
    daemon.turn()


def test_a_systemd_that_does_not_read_stops_nothing(
    systemd: Systemd, clock: Clock, own_traffic: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is busy, or being executed anew: the transfer goes on."""
    monkeypatch.setattr(daemon_module, "_TELL_SECONDS", 0.01)
    daemon, _switches = started(make_unit("source", clock.now))
    for _turn in range(50):
        clock.now += 2.0
        daemon.turn()
    assert len(systemd.heard()) < 50


def test_an_abstract_socket_is_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"snowsync-test-{os.getpid()}"
    listener = Systemd(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    started()
    assert listener.heard() == ["READY=1\nSTATUS=starting"]
    listener.socket.close()


@pytest.mark.parametrize(("watchdog", "interval"), [("", 2.0), ("120000000", 2.0), ("4000000", 1.0)])
def test_it_tells_four_times_as_often_as_the_watchdog_needs(
    monkeypatch: pytest.MonkeyPatch, systemd: Systemd, clock: Clock, watchdog: str, interval: float
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", watchdog or "0")
    daemon, _switches = started(make_unit("source", clock.now))
    systemd.heard()
    heard = []
    for _turn in range(40):
        clock.now += 0.25
        daemon.turn()
        heard += systemd.heard()
    assert len(heard) == pytest.approx(10 / interval, abs=1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_units_in_order(systemd: Systemd, number: signal.Signals) -> None:
    daemon, switches = started()
    os.kill(os.getpid(), number)
    assert switches.stop.is_set()
    assert daemon.stopped_by == number
    assert any(message.startswith("STOPPING=1") for message in systemd.heard())


def test_signals_that_are_held_come_afterwards(systemd: Systemd) -> None:
    """So none ends a run between the fork and its readiness."""
    daemon, switches = Daemon(), Switches()
    with held_signals():
        signal.raise_signal(signal.SIGTERM)  # to this thread: that of a run has no other one yet
        signal.raise_signal(signal.SIGINT)
        daemon.start([], switches)
        assert not switches.stop.is_set()
    assert switches.stop.is_set() and daemon.stopped_by in (signal.SIGTERM, signal.SIGINT)
    assert not {signal.SIGTERM, signal.SIGINT} & signal.pthread_sigmask(signal.SIG_BLOCK, [])


# -- the other unit, in a process of its own ----------------------------------------------------------------------


def beside(unit: Any) -> tuple[Daemon, Switches, Any]:
    neighbour = SimpleNamespace(
        stopped_by=0,
        alive=True,
        status_text=lambda: "destination: up to date; 0 objects, 0.0 MiB moved",
        slow_disks=lambda: ["disk-one has been waiting 40 s for its disk"],
        is_alive=lambda now: neighbour.alive,
    )
    daemon, switches = Daemon(), Switches()
    daemon.beside(neighbour)
    daemon.start([unit], switches)
    return daemon, switches, neighbour


def test_both_units_are_in_the_status_line(systemd: Systemd, clock: Clock, own_traffic: list[int]) -> None:
    daemon, _switches, _neighbour = beside(make_unit("source", clock.now))
    assert daemon.status_line() == (
        "source: fetching 3 objects; 0 objects, 0.0 MiB moved | destination: up to date; 0 objects, 0.0 MiB moved"
        " | disk-one has been waiting 40 s for its disk"
    )


@pytest.mark.parametrize("hangs", ["unit", "neighbour"])
def test_one_of_both_that_hangs_is_left_to_the_watchdog(
    systemd: Systemd, clock: Clock, own_traffic: list[int], hangs: str
) -> None:
    unit = make_unit("source", clock.now)
    daemon, _switches, neighbour = beside(unit)
    assert lives(daemon, systemd, clock, 200)
    neighbour.alive = hangs != "neighbour"
    assert not lives(daemon, systemd, clock, 200, *([unit] if hangs == "unit" else []))
    neighbour.alive = True
    assert lives(daemon, systemd, clock, 5)


@pytest.mark.parametrize("when", ["turn", "end"])
def test_a_signal_to_the_other_process_stops_the_run(systemd: Systemd, clock: Clock, when: str) -> None:
    daemon, switches, neighbour = beside(make_unit("source", clock.now))
    neighbour.stopped_by = signal.SIGTERM
    getattr(daemon, when)()
    assert daemon.stopped_by == signal.SIGTERM and switches.stop.is_set()


def test_a_signal_to_both_processes_counts_once(
    systemd: Systemd, clock: Clock, own_traffic: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "snowsync")
    daemon, _switches, neighbour = beside(make_unit("source", clock.now))
    signal.raise_signal(signal.SIGINT)
    neighbour.stopped_by = signal.SIGINT
    daemon.turn()
    daemon.end()
    assert caplog.text.count("received SIGINT: stopping") == 1


# -- the watchdog -------------------------------------------------------------------------------------------------


def test_a_feeder_that_turns_is_alive_however_long_it_waits(
    systemd: Systemd, clock: Clock, own_traffic: list[int]
) -> None:
    """An outage of hours is no hang."""
    daemon, _switches = started(make_unit("source", clock.now), make_unit("destination", clock.now))
    assert lives(daemon, systemd, clock, 4 * 3600)


def test_a_feeder_that_hangs_is_left_to_the_watchdog(systemd: Systemd, clock: Clock, own_traffic: list[int]) -> None:
    source, destination = make_unit("source", clock.now), make_unit("destination", clock.now)
    daemon, _switches = started(source, destination)
    assert lives(daemon, systemd, clock, 90, source)
    assert not lives(daemon, systemd, clock, 60, source)
    assert lives(daemon, systemd, clock, 5), "and is alive again when it turns again"


@pytest.mark.parametrize("what", ["listed", "moved", "failed", "traffic", "own traffic"])
def test_a_blocked_feeder_is_alive_while_something_moves(
    systemd: Systemd, clock: Clock, own_traffic: list[int], what: str
) -> None:
    """One object of a terabyte fills its lane for hours."""
    unit = make_unit("source", clock.now)
    daemon, _switches = started(unit)
    for _turn in range(60):
        if what == "listed":
            unit.counters.listed.objects += 1
        elif what == "moved":
            unit.counters.moved.add(1, 1)
        elif what == "failed":
            unit.counters.failures.count += 1
        elif what == "traffic":
            unit.traffic_seen[0] += 1000
        else:
            own_traffic[0] += 2 * 1024 * 1024
        assert lives(daemon, systemd, clock, 60, unit)
    assert not lives(daemon, systemd, clock, 120, unit), "until nothing moves any more"


def test_the_little_that_a_hanging_engine_reads_is_no_progress(
    systemd: Systemd, clock: Clock, own_traffic: list[int]
) -> None:
    unit = make_unit("source", clock.now)
    daemon, _switches = started(unit)
    for _turn in range(150):
        own_traffic[0] += 500  # its own look into /proc
        lives(daemon, systemd, clock, 1, unit)
    assert not lives(daemon, systemd, clock, 2, unit)


def test_a_mover_is_given_the_time_to_end_what_is_stuck(systemd: Systemd, clock: Clock, own_traffic: list[int]) -> None:
    unit = make_unit("source", clock.now, stall_seconds=600.0)
    daemon, _switches = started(unit)
    assert lives(daemon, systemd, clock, 1100, unit)
    assert not lives(daemon, systemd, clock, 200, unit)


def test_a_unit_that_has_ended_is_not_waited_for(systemd: Systemd, clock: Clock, own_traffic: list[int]) -> None:
    source, destination = make_unit("source", clock.now), make_unit("destination", clock.now)
    daemon, _switches = started(source, destination)
    source.activity.has_ended = True
    assert lives(daemon, systemd, clock, 3600, source)


@pytest.fixture
def worker(clock: Clock) -> Iterator[workers.Worker]:
    """A thread that stands wherever it is told."""
    free = threading.Event()
    made = workers.start(lambda: bool(free.wait(60)), "source-finisher-0", workers.tell)
    yield made
    free.set()
    made.join()


def test_a_thread_that_stands_still_is_left_to_the_watchdog_though_the_feeder_beats(
    systemd: Systemd, clock: Clock, own_traffic: list[int], worker: workers.Worker
) -> None:
    daemon, _switches = started(make_unit("source", clock.now))
    worker.does(Doing.WORKS)
    assert lives(daemon, systemd, clock, 110)
    assert not lives(daemon, systemd, clock, 20)
    worker.does(Doing.IDLE)
    assert lives(daemon, systemd, clock, 200)


def test_a_thread_that_waits_for_a_disk_is_named_and_not_killed(
    systemd: Systemd, clock: Clock, own_traffic: list[int], worker: workers.Worker
) -> None:
    daemon, _switches = started(make_unit("source", clock.now))
    worker.does(Doing.MEDIUM)
    assert lives(daemon, systemd, clock, 20)
    assert "disk" not in daemon.status_line()
    assert lives(daemon, systemd, clock, 3600)
    assert "source-finisher-0 has been waiting 3620 s for its disk" in daemon.status_line()
