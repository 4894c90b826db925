# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One process per unit; a fork of it that is about to end is waited for, a process at work is not."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core.errors import JobLocked
from snowsync.ledger import locks
from snowsync.ledger.locks import locked


@pytest.fixture
def job(tmp_path: Path) -> Any:
    return SimpleNamespace(job="photos", state_path=tmp_path / "state")


@contextmanager
def held(job: Any, text: str) -> Iterator[int]:
    """Somebody holds the lock of the source unit, and said so."""
    job.state_path.mkdir(exist_ok=True)
    path = job.state_path / "source.lock"
    path.write_text(text)
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield descriptor
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time passes when somebody sleeps; how long."""
    slept = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: slept[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: slept.__setitem__(0, slept[0] + seconds))
    return slept


def dead_pid() -> int:
    """Of a process that has been waited for."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_whoever_has_it_is_named_at_once(job: Any, clock: list[float]) -> None:
    with locked(job, "source"), pytest.raises(JobLocked, match=rf"already running \(pid {os.getpid()}\)"):
        locked(job, "source").__enter__()
    assert clock == [0.0]
    with locked(job, "source"), locked(job, "destination"):
        assert (job.state_path / "source.lock").read_text() == f"pid {os.getpid()}"


@pytest.mark.parametrize("text", ["", "pid", "pid x", "another process"])
def test_a_lock_of_nobody_known_is_not_waited_for(job: Any, clock: list[float], text: str) -> None:
    with held(job, text), pytest.raises(JobLocked):
        locked(job, "source").__enter__()
    assert clock == [0.0]


def test_a_fork_of_a_process_that_was_killed_is_waited_for(
    job: Any, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(job, f"pid {dead_pid()}") as descriptor:

        def sleep(seconds: float) -> None:
            clock[0] += seconds
            if clock[0] > 1.0:
                fcntl.flock(descriptor, fcntl.LOCK_UN)

        monkeypatch.setattr(time, "sleep", sleep)
        with locked(job, "source"):
            assert 1.0 < clock[0] < 1.2


def test_a_fork_that_does_not_end_is_waited_for_a_short_time(job: Any, clock: list[float]) -> None:
    """It waits for a disk."""
    with held(job, f"pid {dead_pid()}"), pytest.raises(JobLocked):
        locked(job, "source").__enter__()
    assert clock[0] == pytest.approx(locks._DYING_SECONDS, abs=0.1)


def test_a_new_holder_is_not_waited_for(job: Any, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """The file still named a dead one when it was read first."""
    with held(job, f"pid {dead_pid()}"):

        def sleep(seconds: float) -> None:
            clock[0] += seconds
            (job.state_path / "source.lock").write_text(f"pid {os.getpid()}")

        monkeypatch.setattr(time, "sleep", sleep)
        with pytest.raises(JobLocked, match=f"pid {os.getpid()}"):
            locked(job, "source").__enter__()
    assert clock[0] < 0.2


def test_a_lock_is_held_until_the_last_copy_of_its_descriptor_is_closed(job: Any) -> None:
    """As a fork has one."""
    with locked(job, "source") as descriptor:
        copy = os.dup(descriptor)
    with pytest.raises(JobLocked):
        locked(job, "source").__enter__()
    os.close(copy)
    with locked(job, "source"):
        pass
