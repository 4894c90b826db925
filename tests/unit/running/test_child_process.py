# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forks, made in processes of their own: this one has other threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from snowsync.core.errors import LocalError
from snowsync.core.machine import process_ticks
from snowsync.running.child_process import ChildProcess, forked

BEGIN = """
import logging, os, signal, sys, time
logging.basicConfig()
from snowsync.running.child_process import forked
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", BEGIN + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def test_a_child_works_and_ends_and_returns_to_nothing() -> None:
    done = run("""
print("buffered", end="")
def work(channel):
    channel.sendall(b"child of %d" % os.getppid())
    sys.stderr.write("said ")
child, channel = forked(work, "a child")
assert channel.recv(100) == b"child of %d" % os.getpid()
assert child.wait(60) and child.has_ended() and child.how_it_ended() == "ended with exit code 0"
child.kill()  # no other process that may have its pid by now
print(" once", end="")
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "buffered once", "said ")


@pytest.mark.parametrize("error", ["ValueError('what')", "KeyboardInterrupt('what')", "SystemExit('what')"])
def test_a_child_that_raises_says_so(error: str) -> None:
    done = run(f"""
def work(channel):
    raise {error}
child, channel = forked(work, "a child")
assert channel.recv(100) == b""
assert child.wait(60) and child.how_it_ended() == "ended with exit code 1"
""")
    assert done.returncode == 0, done.stderr
    assert f"failed: {error.partition('(')[0]}: what" in done.stderr and "Traceback" in done.stderr


def test_a_child_is_killed() -> None:
    done = run("""
child, channel = forked(lambda channel: time.sleep(600), "a child")
assert not child.wait(0.05) and child.how_it_ended() == "says nothing any more"
child.kill()
assert child.wait(60) and child.how_it_ended() == "was killed by SIGKILL"
""")
    assert done.returncode == 0, done.stderr


def test_a_child_whose_exit_code_the_kernel_does_not_tell() -> None:
    done = run("""
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
child, channel = forked(lambda channel: time.sleep(600), "a child")
assert not child.has_ended()
child.kill()
assert child.wait(60) and child.how_it_ended() == "has ended"
child.kill()
""")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("how", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)"])
def test_a_child_ends_with_its_parent(how: str) -> None:
    done = run(f"""
def work(channel):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    channel.sendall(b"there")
    time.sleep(600)
child, channel = forked(work, "a child")
channel.recv(100)
print(child.pid, flush=True)
{how}
""")  # returns when nobody has its output open any more
    pid = int(done.stdout)
    assert process_ticks(pid) is None or not Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_child_whose_parent_ended_before_it_began_ends() -> None:
    done = run("""
from snowsync.core import machine
reading, writing = os.pipe()
parent = os.getpid()
if os.fork() == 0:  # whose parent is not the one that it is told
    try:
        machine.end_with(parent + 1)
    finally:
        os.write(writing, b"it goes on")
os.close(writing)
assert os.read(reading, 100) == b""
""")
    assert done.returncode == 0, done.stderr


def test_lines_that_both_log_are_whole() -> None:
    done = run("""
from snowsync.cli.command import _set_up_logging
_set_up_logging("info")
def say(word):
    for number in range(1000):
        logging.getLogger("snowsync").info("%s", word * 1000)
child, channel = forked(lambda channel: say("c"), "a child")
say("p")
assert child.wait(60)
""")
    assert done.returncode == 0, done.stderr
    words = [line.split()[-1] for line in done.stderr.splitlines()]
    assert sorted(words) == ["c" * 1000] * 1000 + ["p" * 1000] * 1000


def test_a_kernel_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(11, "no more processes")

    monkeypatch.setattr(os, "fork", fork)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(LocalError, match="Failed to start a child: the process cannot fork: no more processes"):
        forked(lambda _channel: None, "a child")
    assert len(os.listdir("/proc/self/fd")) == before


def test_waiting_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    monkeypatch.setattr(os, "waitpid", lambda _pid, _options: (0, 0))
    assert not ChildProcess(1).wait(5.0)
    assert clock[0] == pytest.approx(5.0, abs=0.1)


def test_the_name_of_a_signal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "waitpid", lambda pid, _options: (pid, signal.SIGSEGV))
    child = ChildProcess(1)
    assert child.has_ended() and child.how_it_ended() == "was killed by SIGSEGV"
