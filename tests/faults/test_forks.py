# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command that is forked is to its test what a new interpreter would be, or all other fault tests prove less."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from faults.forks import ForkedPython

# What a process can see of how it was started.
LOOK = """
import json, os, signal, sys, threading
print(json.dumps({
    "argv": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ), "parent": os.getppid(),
    "leads": os.getsid(0) == os.getpid(), "files": sorted(map(int, os.listdir("/proc/self/fd")))[:3],
    "open": len(os.listdir("/proc/self/fd")), "threads": threading.active_count(),
    "signals": [str(signal.getsignal(each)) for each in signal.valid_signals()],
    "streams": [[each.encoding, each.errors, each.line_buffering, each.isatty()] for each in (sys.stdout, sys.stderr)],
    "input": os.readlink("/proc/self/fd/0"),
}))
print("said", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


def look(start: Any, stdin: int | None, **options: Any) -> tuple[dict[str, Any], str, int]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", LOOK, "7"]
    with start(command, stdin=stdin, stdout=pipe, stderr=pipe, text=True, **options) as process:
        output, errors = process.communicate(timeout=60)
    return json.loads(output), errors, process.returncode


@pytest.mark.parametrize("new_session", [False, True])
def test_a_fork_sees_what_a_new_interpreter_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_session: bool
) -> None:
    monkeypatch.setenv("OF_THIS_TEST", "\u00e4")
    options = {"cwd": tmp_path, "start_new_session": new_session}
    forked, said, code = look(ForkedPython, None, **options)
    fresh = look(subprocess.Popen, subprocess.DEVNULL, **options)[0]
    for seen in (forked, fresh):  # and what the C library of a runner of tests has added
        assert seen.pop("environment").items() >= os.environ.items()
    assert forked == fresh
    assert forked["parent"] == os.getpid() and (said, code) == ("said\n", 7)


def test_a_fork_is_killed_and_waited_for() -> None:
    for number in (signal.SIGKILL, signal.SIGTERM):
        command = [sys.executable, "-c", "import signal; print('there', flush=True); signal.pause()"]
        with ForkedPython(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
            assert process.stdout is not None and process.stdout.readline() == "there\n"
            assert process.poll() is None and os.getpgid(process.pid) == process.pid
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=0.01)
            os.killpg(process.pid, number)
            assert process.wait(timeout=60) == -number


def test_a_fork_of_the_command_and_one_that_raises() -> None:
    pipe = subprocess.PIPE
    commands = [("-m", "snowsync", "--version"), ("-m", "snowsync", "run"), ("-c", "raise ValueError('so')")]
    for words in commands:
        ended = []
        for start in (ForkedPython, subprocess.Popen):
            with start([sys.executable, *words], stdout=pipe, stderr=pipe, text=True) as process:
                output, errors = process.communicate(timeout=60)
            ended.append((process.returncode, output, errors.splitlines()[-1:]))
        assert ended[0] == ended[1]
