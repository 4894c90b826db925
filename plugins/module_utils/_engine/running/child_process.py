# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""A child process that is a fork of this one: it ends when this one ends, however that happens."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from ..core import machine
from ..core.errors import LocalError, Trouble

_log = logging.getLogger("snowsync")
_POLL_SECONDS = 0.01


class ChildProcess:
    """Used by the main thread of the process that forked it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._is_over = False
        self._exit_code: int | None = None  # negative: the number of the signal that killed it; None: not known

    def has_ended(self) -> bool:
        if not self._is_over:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # who started this process lets it ignore SIGCHLD: the kernel tells no exit code
                self._is_over = True
            else:
                self._is_over = bool(pid)
                self._exit_code = os.waitstatus_to_exitcode(status) if pid else None
        return self._is_over

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, after at most so long."""
        deadline = time.monotonic() + seconds
        while not self.has_ended() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return self.has_ended()

    def kill(self) -> None:
        """SIGKILL; a process that waits for a disk ends only when the disk responds."""
        if not self.has_ended():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def how_it_ended(self) -> str:
        code = self._exit_code
        if code is None:
            return "has ended" if self._is_over else "says nothing any more"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def forked(work: Callable[[socket.socket], None], what: str) -> tuple[ChildProcess, socket.socket]:
    """Fork a child that does `work` with its end of a connection, and ends. Returns the child, and the other end.

    There must be no other thread, and no open database. LocalError if the kernel refuses; `what` names the child.
    """
    ours, theirs = socket.socketpair()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # else both would write what is buffered
    parent = os.getpid()
    gc.freeze()  # else the first collection of the child copies every page
    try:
        pid = os.fork()
    except OSError as error:
        ours.close()
        theirs.close()
        raise LocalError(Trouble.OTHER, f"start {what}", f"the process cannot fork: {error.strerror}") from error
    if pid == 0:
        ours.close()
        _be_child(parent, lambda: work(theirs))
    theirs.close()
    return ChildProcess(pid), ours


def _be_child(parent: int, work: Callable[[], None]) -> NoReturn:
    """Never returns to what the parent was doing: neither its locks nor its files are closed twice."""
    code = 1
    try:
        machine.end_with(parent)
        work()
        code = 0
    except BaseException as error:  # the parent reports that there is no result, and the exit code
        _log.critical("process %d failed: %s: %s", os.getpid(), type(error).__name__, error, exc_info=error)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)
