# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of processes: asked, then killed, then given up; and an outcome for everything they had in flight."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import pytest

from snowsync.core.errors import Trouble
from snowsync.core.model import Fetch, Outcome
from snowsync.movers.s5cmd.capacity import Lane
from snowsync.movers.s5cmd.endings import Ending, ProcessEndings
from snowsync.movers.s5cmd.polling import Poller
from snowsync.movers.s5cmd.process import Process
from snowsync.movers.s5cmd.process_pool import ProcessPool

from .conftest import StartProgram

DEAF = "trap '' TERM; echo ready; exec sleep 60"


class Rig:
    """Running programs with work in flight, and what is said of it at their end."""

    def __init__(self, start_program: StartProgram) -> None:
        self._start_program = start_program
        self.poller = Poller()
        self.pool = ProcessPool(Lane(2, queued=True), Lane(1, queued=False), self.poller)
        self.outcomes: list[Outcome] = []
        self.endings = ProcessEndings(self.pool, self.poller, self.outcomes.extend)

    def start(self, script: str, *works: Fetch) -> Process:
        process = self._start_program(script, self.pool.small)
        self.poller.add_outputs(process)
        self.pool.add(self.pool.small.slots[0], process)
        for work in works:
            assert self.pool.give(work, b"cp\n", is_large=False, ensure_thread=lambda: None) is None
        return process

    def close_outputs(self, process: Process) -> None:
        """Wait for the end of both outputs."""
        while process.output.streams:
            for descriptor in self.poller.wait(60.0):
                if process.output.read(descriptor) is None:
                    self.endings.end_output(process, descriptor)

    def attend_until_gone(self) -> None:
        limit = time.monotonic() + 60
        while self.endings.are_pending:
            assert time.monotonic() < limit
            self.endings.attend(time.monotonic())
            time.sleep(0.005)


@pytest.fixture
def rig(start_program: StartProgram) -> Iterator[Rig]:
    made = Rig(start_program)
    yield made
    made.poller.close()


def work(number: int) -> Fetch:
    return Fetch(number, f"key {number}", 10, f"/v/{number}")


def test_what_was_stuck_timed_out_and_the_rest_is_unknown() -> None:
    ending = Ending("s5cmd was stopped", 5.0, {"/v/1": "no progress for 60 s"}, is_killed=False)
    assert ending.outcome(work(1), "it ended") == Outcome(1, Trouble.TIMEOUT, "no progress for 60 s")
    assert ending.outcome(work(2), "it ended") == Outcome(2, Trouble.UNKNOWN, "it ended")


def test_a_process_that_ended_by_itself_leaves_its_slot_and_unknown_work(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    process = rig.start("read line; echo half; exit 3", work(1), work(2))
    rig.close_outputs(process)
    with caplog.at_level(logging.WARNING, "snowsync.s5cmd"):
        rig.attend_until_gone()
    message = "s5cmd ended with exit code 3"
    assert rig.outcomes == [Outcome(1, Trouble.UNKNOWN, message), Outcome(2, Trouble.UNKNOWN, message)]
    assert caplog.messages == [f"{message} (2 objects in flight)"]
    assert rig.pool.running() == [] and rig.pool.in_flight == 0 and rig.endings.cpu_seconds > 0


def test_the_first_reason_counts(rig: Rig) -> None:
    process = rig.start("exec cat", work(1))
    rig.endings.stop(process, "it was stuck", stuck={"/v/1": "no progress"})
    rig.endings.stop(process, "something else", deadline=1.0)
    rig.close_outputs(process)
    rig.attend_until_gone()
    assert rig.outcomes == [Outcome(1, Trouble.TIMEOUT, "no progress")]


def test_no_more_is_logged_once_the_pool_is_closed(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    process = rig.start("exec cat", work(1))
    deadline = time.monotonic() + 60
    rig.pool.close(deadline)
    rig.endings.stop_all("the mover was closed", deadline)
    assert rig.endings.due_times(0.0) == [deadline]
    rig.close_outputs(process)
    assert rig.endings.due_times(5.0) == [5.01], "it is gone in a moment"
    rig.attend_until_gone()
    assert rig.outcomes == [Outcome(1, Trouble.UNKNOWN, "the mover was closed")]
    assert caplog.messages == []


def killed(monkeypatch: pytest.MonkeyPatch, process: Process, kill: Callable[[], None]) -> list[str]:
    kills: list[str] = []

    def count() -> None:
        kills.append("kill")
        kill()

    monkeypatch.setattr(process, "kill", count)
    return kills


def test_one_that_does_not_stop_is_killed_at_its_deadline(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    process = rig.start(DEAF)
    assert process.output.read(process.popen.stdout.fileno()) == [b"ready"]
    kills = killed(monkeypatch, process, process.kill)
    deadline = time.monotonic() + 1000
    rig.endings.stop(process, "", deadline)
    rig.endings.attend(deadline - 0.1)
    assert kills == []
    rig.endings.attend(deadline)
    assert kills == ["kill"]
    rig.close_outputs(process)
    rig.attend_until_gone()
    assert process.popen.returncode == -9


def test_one_that_outlives_sigkill_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    process = rig.start(DEAF, work(1))
    assert process.output.read(process.popen.stdout.fileno()) == [b"ready"]
    kills = killed(monkeypatch, process, lambda: None)
    rig.endings.stop(process, "it was stuck", deadline=100.0)
    for second in (100.0, 104.9):
        rig.endings.attend(second)
    assert kills == ["kill"] and rig.outcomes == []
    assert rig.endings.due_times(0.0) == [105.0]
    rig.endings.attend(105.0)
    assert rig.outcomes == [Outcome(1, Trouble.UNKNOWN, "it was stuck")]
    assert rig.pool.running() == [] and process.output.streams == {} and rig.poller.outputs == {}


def test_one_with_a_half_written_line_is_not_killed_twice(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    process = rig.start("exec sleep 60")
    rig.pool.give(work(1), b"x" * 300_000, is_large=False, ensure_thread=lambda: None)
    kills = killed(monkeypatch, process, process.kill)
    rig.endings.stop(process, "it was stuck", deadline=100.0)
    rig.endings.attend(100.0)
    assert kills == [] and rig.outcomes == [Outcome(1, Trouble.UNKNOWN, "it was stuck")]


def test_abandoned_processes_are_killed_and_not_waited_for(rig: Rig) -> None:
    process = rig.start(DEAF, work(1))
    rig.endings.abandon_all("the s5cmd mover failed")
    assert rig.outcomes == [Outcome(1, Trouble.UNKNOWN, "the s5cmd mover failed")]
    assert rig.pool.running() == [] and not rig.endings.are_pending
    assert process.popen.wait() == -9
