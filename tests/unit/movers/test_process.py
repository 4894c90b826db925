# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One process: how it is started and stopped, and what is said about its end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from snowsync.config.credentials import Credentials
from snowsync.config.job_file import MoverSettings, Store
from snowsync.core.errors import ConfigError
from snowsync.movers.s5cmd.capacity import Lane
from snowsync.movers.s5cmd.process import Launcher, Process
from snowsync.movers.s5cmd.stuck import Watch
from snowsync.store.timeouts import Patience

from .conftest import StartProgram

CREDENTIALS = Credentials("AKIDOPEN", "the-secret", "", Path("/nowhere/credentials"), "edge")
STORE = Store(bucket="bucket", endpoints=("http://127.0.0.1:1",))


def seconds_when_gone(process: Process) -> float:
    limit = time.monotonic() + 60
    while (used := process.reap()) is None:
        assert time.monotonic() < limit
        time.sleep(0.01)
    return used


def all_lines(process: Process) -> list[str]:
    descriptor = process.popen.stdout.fileno()
    found: list[bytes] = []
    while (lines := process.output.read(descriptor)) is not None:
        found += lines
    return [line.decode() for line in found]


def test_it_is_asked_to_stop_and_takes_no_more_commands(start_program: StartProgram) -> None:
    process = start_program("exec cat")
    assert process.accepts and process.reap() is None
    assert process.end_input() is False
    assert not process.accepts
    assert seconds_when_gone(process) >= 0
    assert process.describe_end("") == "s5cmd ended with signal 15"


def test_it_is_killed_if_a_line_is_half_written(start_program: StartProgram) -> None:
    process = start_program("trap '' TERM; exec sleep 60")
    process.input.write(b"x" * 1_000_000)
    assert process.end_input() is True
    seconds_when_gone(process)
    assert process.popen.returncode == -9


def test_a_process_that_somebody_else_has_reaped_is_gone(start_program: StartProgram) -> None:
    process = start_program("exec sleep 60")
    process.kill()
    process.popen.wait()
    assert process.reap() == 0.0
    process.kill()


def test_its_end_is_told_by_the_reason_or_else_by_its_status_and_what_it_said(start_program: StartProgram) -> None:
    process = start_program("exit 3")
    assert process.describe_end("") == "s5cmd ended with no exit code"
    seconds_when_gone(process)
    assert process.describe_end("") == "s5cmd ended with exit code 3"
    process.output.add_noise([b"Usage:", b"  s5cmd"])
    assert process.describe_end("it was stuck") == "it was stuck: Usage: s5cmd"


def test_a_process_without_pipes_is_refused() -> None:
    popen = subprocess.Popen(["true"])
    popen.wait()
    watch = Watch(popen.pid, Patience(60.0, 60.0), is_fetch=True, width=2)
    with pytest.raises(ValueError, match="started without pipes"):
        Process(popen, Lane(2, queued=True), watch)


@pytest.mark.parametrize(("workers", "is_for_small", "numworkers"), [(1, True, "2"), (7, False, "7")])
def test_a_launcher_starts_the_program_with_its_arguments(
    tmp_path: Path, workers: int, is_for_small: bool, numworkers: str
) -> None:
    program = tmp_path / "s5cmd"
    program.write_text('#!/bin/sh\necho "$@"\necho "${GOGC-no}" "$AWS_REGION"\n')
    program.chmod(0o755)
    settings = MoverSettings(binary=program, retries=3)
    launcher = Launcher(STORE, STORE.endpoints[0], CREDENTIALS, settings, is_fetch=True, pass_fds=[])
    lane: Lane[Process] = Lane(workers, queued=False)
    process = launcher.start(lane, is_for_small=is_for_small)
    told, environment = all_lines(process)
    seconds_when_gone(process)
    assert process.lane is lane
    assert told.startswith(f"--json --log info --numworkers {numworkers} --retry-count 3 --endpoint-url http://127")
    assert environment == f"{'400' if is_for_small else 'no'} {STORE.region}"


def test_a_launcher_needs_a_program_and_says_when_it_cannot_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launcher(binary: str) -> Launcher:
        settings = MoverSettings(binary=binary)
        return Launcher(STORE, STORE.endpoints[0], CREDENTIALS, settings, is_fetch=True, pass_fds=[])

    with pytest.raises(ConfigError, match="is not an executable file"):
        launcher(str(tmp_path / "absent"))
    monkeypatch.setattr(sys, "executable", "/no/python")
    with pytest.raises(FileNotFoundError):
        launcher("/bin/true").start(Lane(1, queued=False), is_for_small=True)
