# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that run as if they were s5cmd."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from snowsync.movers.s5cmd.capacity import Lane
from snowsync.movers.s5cmd.process import Process
from snowsync.movers.s5cmd.stuck import Watch
from snowsync.store.timeouts import Patience

StartProgram = Callable[..., Process]


@pytest.fixture
def start_program() -> Iterator[StartProgram]:
    """Starts a shell script as a process of a lane: `start_program("cat", lane)`."""
    started: list[Process] = []

    def start(script: str, lane: Lane[Process] | None = None) -> Process:
        pipe = subprocess.PIPE
        popen = subprocess.Popen(["/bin/sh", "-c", script], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        watch = Watch(popen.pid, Patience(60.0, 60.0), is_fetch=True, width=2)
        started.append(Process(popen, lane or Lane(2, queued=True), watch))
        return started[-1]

    yield start
    for process in started:
        if process.popen.returncode is None:
            process.popen.kill()
            process.popen.wait()
        process.input.close()
        for descriptor in list(process.output.streams):
            process.output.close(descriptor)
