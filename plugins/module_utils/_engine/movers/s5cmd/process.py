# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""One s5cmd process: its start, the commands it has, the signals that end it, and its exit status."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...core.model import Fetch, Send
from ...store.timeouts import patience_of
from .capacity import Lane
from .pipes import CommandPipe, ReportPipes
from .setup import BOOTSTRAP, arguments, binary_path, environment
from .stuck import Watch

if TYPE_CHECKING:
    from ...config.credentials import Keys
    from ...config.job_file import MoverSettings, Store

_GOGC, _GOMEMLIMIT = "400", "32MiB"  # 13 % less CPU on small objects, 40 MB instead of 25
_KILL, _TERM = 9, 15


class Process:
    """One running s5cmd.

    The pool's lock guards `in_flight` (in the order of submission), `input` and `accepts`; the rest belongs to the
    mover's thread. ValueError if it was started without pipes.
    """

    def __init__(self, popen: subprocess.Popen[bytes], lane: Lane[Process], watch: Watch) -> None:
        if not (popen.stdin and popen.stdout and popen.stderr):
            raise ValueError("s5cmd was started without pipes")
        self.popen = popen
        self.lane = lane
        self.watch = watch
        self.started = time.monotonic()
        self.input = CommandPipe(popen.stdin)
        self.output = ReportPipes((popen.stdout, popen.stderr), lane.width)
        self.in_flight: dict[str, Fetch | Send] = {}
        self.accepts = True

    def end_input(self) -> bool:
        """SIGTERM and EOF: s5cmd stops and removes its temporary files. SIGKILL if a line is half written.

        Returns whether it was SIGKILL.
        """
        self.accepts = False
        is_half_written = bool(self.input.backlog)
        self._signal(_KILL if is_half_written else _TERM)
        self.input.close()
        return is_half_written

    def kill(self) -> None:
        self._signal(_KILL)

    def reap(self) -> float | None:
        """The user and system time it has used, in seconds, if it has ended; None if it still exists."""
        try:
            pid, status, usage = os.wait4(self.popen.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else has waited for it
            self.popen.returncode = 0
            return 0.0
        if not pid:
            return None
        self.popen.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime

    def describe_end(self, reason: str) -> str:
        """Why it ended: the reason it was stopped for, or else its exit status; and what it said that was no report."""
        noise = self.output.noise()
        return (reason or f"s5cmd ended {_describe_status(self.popen.returncode)}") + (f": {noise}" if noise else "")

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.popen.pid, number)  # it is not reaped yet, so the pid is still its own


def _describe_status(code: int | None) -> str:
    if code is None:
        return "with no exit code"
    return f"with signal {-code}" if code < 0 else f"with exit code {code}"


class Launcher:
    """Starts the s5cmd processes for one endpoint, which may use the descriptors `pass_fds`.

    ConfigError if there is no s5cmd, or it does not support the credentials file or the store.
    """

    def __init__(
        self,
        store: Store,
        endpoint: str,
        keys: Keys,
        settings: MoverSettings,
        *,
        is_fetch: bool,
        pass_fds: Sequence[int],
    ) -> None:
        self._is_fetch = is_fetch
        self._pass_fds = tuple(pass_fds)
        self._patience = patience_of(settings)
        self._binary = binary_path(settings)
        self._arguments = arguments(endpoint, keys.current(), settings)
        self._environment = environment(store, endpoint)

    def start(self, lane: Lane[Process], *, is_for_small: bool) -> Process:
        """Only for the mover's thread: a process ends with the thread that started it. OSError if it does not start."""
        # s5cmd needs at least two workers; the lane's capacity keeps one of them idle if only one is configured.
        command = [self._binary, "--json", "--log", "info", "--numworkers", str(max(2, lane.width)), *self._arguments]
        popen = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BOOTSTRAP, str(os.getpid()), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=self._environment | ({"GOGC": _GOGC, "GOMEMLIMIT": _GOMEMLIMIT} if is_for_small else {}),
            pass_fds=self._pass_fds,
            start_new_session=True,  # Ctrl-C at the terminal goes to the engine, which then closes its movers
        )
        return Process(popen, lane, Watch(popen.pid, self._patience, is_fetch=self._is_fetch, width=lane.width))
