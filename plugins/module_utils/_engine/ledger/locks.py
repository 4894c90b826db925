# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Locks of a job: one process per unit, and one that evacuates a volume."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..core import machine
from ..core.errors import JobLocked

if TYPE_CHECKING:
    from ..config.job_file import Job

UNITS = ("source", "destination")
EVACUATION = "evacuate"
_DYING_SECONDS = 5.0  # the kernel ends a fork when its parent ends; only a disk that hangs delays that


@contextlib.contextmanager
def locked(job: Job, name: str, *, patience: float = 0.0) -> Iterator[int]:
    """Be the only process that does `name` (one of UNITS, or EVACUATION) for this job; yields the lock's descriptor.

    A fork holds the lock too, until it closes its copy of the descriptor. Raises JobLocked when another process still
    does `name` after `patience` seconds. If the one that took the lock has been killed, its fork is about to end: it is
    waited for in any case.
    """
    path = job.state_path / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        if not _take(descriptor, patience, lambda: _is_dying(_read(path))):
            raise JobLocked(_refusal(job, name, _read(path) or "another process"))
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the number
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"pid {os.getpid()}".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked_alone(job: Job) -> Iterator[None]:
    """Be the only process that works on this job at all. Raises JobLocked."""
    with contextlib.ExitStack() as locks:
        for name in (*UNITS, EVACUATION):
            locks.enter_context(locked(job, name))
        yield


def _take(descriptor: int, patience: float, is_dying: Callable[[], bool]) -> bool:
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() - began >= (max(patience, _DYING_SECONDS) if is_dying() else patience):
                return False
            time.sleep(0.05)


def _is_dying(holder: str) -> bool:
    """Whether the process that took a lock no longer exists, so that only a fork of it holds the lock."""
    word, _space, pid = holder.partition(" ")
    return word == "pid" and pid.isdecimal() and machine.process_ticks(int(pid)) is None


def _refusal(job: Job, name: str, holder: str) -> str:
    if name == EVACUATION:
        return f"A volume of job {job.job} is already being evacuated ({holder}); wait until it ends, or stop it first"
    return (
        f"The {name} unit of job {job.job} is already running ({holder});"
        f" stop it first, or check it with: snowsync status {job.job}"
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
