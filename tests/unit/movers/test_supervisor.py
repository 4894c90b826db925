# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the mover's thread does, with programs that run as s5cmd; an outcome for every work: test_s5cmd.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from snowsync.config.job_file import MoverSettings
from snowsync.core.errors import Trouble
from snowsync.core.model import Fetch, Outcome
from snowsync.movers.s5cmd.capacity import Lane
from snowsync.movers.s5cmd.endings import ProcessEndings
from snowsync.movers.s5cmd.polling import Poller
from snowsync.movers.s5cmd.process import Process
from snowsync.movers.s5cmd.process_pool import ProcessPool, Refusal
from snowsync.movers.s5cmd.protocol import Commands
from snowsync.movers.s5cmd.stuck import CheckTimes
from snowsync.movers.s5cmd.supervisor import Supervisor

from .conftest import StartProgram

REPORT = r'{"operation":"cp","success":true,"source":"s3://b/k","destination":"/v/1","object":{"size":10}}'
WORK = Fetch(1, "k", 10, "/v/1")


class Programs:
    """Starts a script instead of s5cmd, or fails to."""

    def __init__(self, start_program: StartProgram, script: str) -> None:
        self._start_program = start_program
        self._script = script
        self.started: list[tuple[Lane[Process], bool]] = []

    def start(self, lane: Lane[Process], *, is_for_small: bool) -> Process:
        self.started.append((lane, is_for_small))
        if not self._script:
            raise OSError(12, "Cannot allocate memory")
        return self._start_program(self._script, lane)


class Rig:
    """A supervisor of such programs, in a thread once it is wanted."""

    def __init__(self, start_program: StartProgram, script: str, stall_seconds: float = 60.0) -> None:
        self.programs: Any = Programs(start_program, script)
        self.poller = Poller()
        self.pool = ProcessPool(Lane(2, queued=True), Lane(1, queued=False), self.poller)
        self.outcomes: list[Outcome] = []
        endings = ProcessEndings(self.pool, self.poller, self.receive)
        commands = Commands("b", True, MoverSettings())
        checks = CheckTimes(stall_seconds)
        self.supervisor = Supervisor(commands, self.programs, self.pool, self.poller, endings, checks, self.receive)
        self.thread = threading.Thread(target=self.supervisor.run, daemon=True)

    def receive(self, outcomes: Iterable[Outcome]) -> None:
        self.outcomes += outcomes

    def ensure_thread(self) -> None:
        if not self.thread.is_alive():
            self.poller.open_wake_up()
            self.thread.start()

    def give(self, *, is_large: bool = False) -> Refusal | None:
        return self.pool.give(WORK, b"cp\n", is_large=is_large, ensure_thread=self.ensure_thread)

    def wait(self) -> list[Outcome]:
        limit = time.monotonic() + 60
        while not self.outcomes:
            assert time.monotonic() < limit
            time.sleep(0.005)
        return self.outcomes

    def end(self) -> None:
        self.pool.close(time.monotonic())
        if self.thread.ident:
            self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.fixture
def make_rig(start_program: StartProgram) -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(script: str, **options: Any) -> Rig:
        made.append(Rig(start_program, script, **options))
        return made[-1]

    yield make
    for rig in made:
        rig.end()


@pytest.mark.parametrize("is_large", [True, False])
def test_a_process_is_started_in_the_lane_that_wants_one(make_rig: Callable[..., Rig], is_large: bool) -> None:
    rig = make_rig("exec cat")
    assert rig.give(is_large=is_large) is None
    rig.end()
    assert rig.programs.started == [(rig.pool.large if is_large else rig.pool.small, not is_large)]
    assert rig.pool.running() == []


def test_a_report_is_an_outcome_and_the_process_goes_on(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(f"read line; echo '{REPORT}'; exec cat")
    rig.give()
    assert rig.wait() == [Outcome(1)]
    assert len(rig.pool.running()) == 1 and rig.pool.running()[0].accepts
    rig.end()
    assert rig.outcomes == [Outcome(1)]


def test_anything_else_it_says_ends_it(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig("read line; echo oops; exec cat")
    rig.give()
    message = "s5cmd said what none of its commands explains: oops"
    assert rig.wait() == [Outcome(1, Trouble.UNKNOWN, message)]
    rig.end()


def test_a_start_that_fails_is_refused_with_its_reason(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig("")
    assert rig.give() == Refusal(Trouble.OTHER, "Failed to start s5cmd: Cannot allocate memory")
    rig.end()


def test_a_process_with_stuck_transfers_is_stopped(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snowsync.movers.s5cmd.stuck.Watch.stuck", lambda *_arguments: {"/v/1": "no progress for 60 s"})
    rig = make_rig("read line; exec sleep 60", stall_seconds=0.4)
    rig.give()
    assert rig.wait() == [Outcome(1, Trouble.TIMEOUT, "no progress for 60 s")]
    rig.end()


def test_an_exception_closes_the_pool_and_ends_the_processes(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(f"read line; echo '{REPORT}'; exec cat")
    monkeypatch.setattr(rig.pool, "finish", lambda *_arguments: 1 / 0)
    rig.give()
    message = "the s5cmd mover failed: ZeroDivisionError: division by zero"
    assert rig.wait() == [Outcome(1, Trouble.UNKNOWN, message)]
    assert rig.pool.is_closed and rig.pool.running() == []
    rig.end()
