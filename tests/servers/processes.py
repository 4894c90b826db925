# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts, waits for and ends the processes of a server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 10
LOG_LINES = 30


class ServerFailed(RuntimeError):
    """A server is not installed, did not start, or ended by itself; the message holds the end of its log."""


def require(program: str, package: str, path: str | None = None) -> str:
    """The program's path, or ServerFailed naming what brings it."""
    found = shutil.which(program, path=path)
    if found is None:
        raise ServerFailed(f"{program} is missing, no test is skipped for that: install {package}")
    return found


def free_ports(count: int, address: str) -> list[int]:
    """Ports that nobody listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _number in range(count)]
        for each in sockets:
            each.bind((address, 0))
        return [each.getsockname()[1] for each in sockets]


class Processes:
    """The processes of one server, ended in reverse order. Start them from the main thread: see `start`.

    They run in `/`: there alone ceph-osd 18 of Debian 13 finds its object classes, by a relative path.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, *argv: str | Path, environment: Mapping[str, str] | None = None) -> None:
        """Starts a process in a session of its own; it is told to end when the thread that started it is gone.

        So a killed test run leaves no server behind.
        """
        guard = [require("setpriv", "util-linux"), "--pdeathsig", "TERM", "--"]
        with self._log(name).open("ab") as log:
            process = subprocess.Popen(
                [*guard, *map(str, argv)],
                cwd="/",
                env=server_environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append((name, process))

    def run(self, name: str, *argv: str | Path, environment: Mapping[str, str] | None = None) -> str:
        """Runs a command to its end and returns its standard output."""
        words = [str(word) for word in argv]
        try:
            done = subprocess.run(
                words,
                cwd="/",
                env=server_environment(environment),
                stdin=subprocess.DEVNULL,
                check=False,
                capture_output=True,
                text=True,
                timeout=START_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise ServerFailed(
                f"{name}: {words[0]} did not end within {START_SECONDS} seconds{self.tails()}"
            ) from error
        if done.returncode:
            raise ServerFailed(f"{name}: {' '.join(words)} exited {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def wait_for_port(self, name: str, address: str, port: int) -> None:
        """Returns as soon as the process `name` accepts connections."""
        process = dict(self._running)[name]
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection((address, port), timeout=1):
                return
            if process.poll() is not None:
                raise ServerFailed(f"{name} ended with {process.returncode} while it started{self.tails(name)}")
            time.sleep(0.05)
        raise ServerFailed(
            f"{name} does not listen on {address}:{port} after {START_SECONDS} seconds{self.tails(name)}"
        )

    def stop(self) -> None:
        """Ends all of them, the last one started first, politely and then not."""
        while self._running:
            _name, process = self._running.pop()
            signal_group(process, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            signal_group(process, signal.SIGKILL)
            process.wait()

    def tails(self, *names: str) -> str:
        """The ends of the named logs (of all, when none is named), to be put behind a message."""
        parts = []
        for path in [self._log(name) for name in names] or sorted(self._logs.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:]
            parts.append(f"\n--- {path.name}\n" + "\n".join(lines))
        return "".join(parts)

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def server_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What servers see: nothing of the caller's that could change how they answer."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CEPH_", "RCLONE_"))}
    kept.pop("PYTHONPATH", None)
    return {**kept, "LC_ALL": "C.UTF-8", **(extra or {})}
