# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Starts the process of a hand."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from ...store.curl import libcurl
from .channel import Channel

# After the standard library, as everywhere: site-packages may hold other modules of these names.
_PROGRAM = "import sys; sys.path += {folders!r}; from {module} import main; main()"


class Started:
    """A process, and the channel to it."""

    def __init__(self, process: subprocess.Popen[bytes], channel: Channel) -> None:
        self._process = process
        self.channel = channel

    def kill(self) -> None:
        """It ends at once, unless a disk holds it up."""
        self._process.kill()

    def end(self, seconds: float) -> int | None:
        """Its exit code, or the negative number of the signal that ended it; None: it has not ended in time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode


def launch() -> Started:
    """Start a process, which ends with the thread that called this. OSError if it cannot be started.

    Nothing secret is on its command line or in its environment.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _program(), str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # stderr is ours: what a dying interpreter says is worth seeing
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C at the terminal goes to the engine, which then closes its movers
            )
        except BaseException:
            ours.close()
            raise
    return Started(process, Channel(ours))


def _program() -> str:
    """Without `site`, which costs more than all that a hand imports: it is told the folders of engine and libcurl."""
    package = __package__ or ""
    folders = [_folder_of(module) for module in (sys.modules[package.partition(".")[0]], libcurl())]
    return _PROGRAM.format(folders=folders, module=f"{package}.hand")


def _folder_of(module: Any) -> str:
    """Where a module or package is found."""
    places = getattr(module, "__path__", None) or [module.__file__]
    return str(Path(next(iter(places))).parent)
