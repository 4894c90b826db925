# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python processes that need not import the engine again.

`python -m snowsync` spends 0.35 s of CPU on imports before it does anything, and the fault tests start it a thousand
times and more. Here one process per pytest process imports everything and then forks a child per command. To a test the
child is like any other: its own pid, session, pipes, environment and folder, killed and waited for by `Popen`. What a
fork does not have is a command line and an environment of its own in /proc; `Rig.fresh` is for who looks there.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import pkgutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
LONGEST_REQUEST = 1024 * 1024  # bytes


class ForkedPython(subprocess.Popen[str]):
    """`Popen([sys.executable, "-m", "snowsync", ...])`, or `"-c", CODE`, as a fork.

    It is a child of this process, since who forked it ended at once.
    """

    # The one place where Popen starts something; the rest of it needs no more than the pid of a child.
    def _execute_child(  # type: ignore[no-untyped-def]
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell, *rest
    ) -> None:
        pipes, new_session = rest[:6], rest[11]
        stdin, stdout, stderr = pipes[0], pipes[3], pipes[5]
        assert stdin == -1, "a fork reads nothing"
        request = {
            "arguments": list(args)[1:],
            "environment": dict(os.environ if env is None else env),
            "folder": str(cwd or Path.cwd()),
            "new_session": new_session,
        }
        output = [number if handle == -1 else handle for number, handle in ((1, stdout), (2, stderr))]
        self.pid = _forker().fork(request, output)
        self._child_created = True
        self._close_pipe_fds(*pipes)


def run_forked(command: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` does, with its output kept apart."""
    with ForkedPython(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


@functools.cache
def _forker() -> Forker:
    return Forker()


class Forker:
    """This process's end of the one that forks."""

    def __init__(self) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with other:
            # Pipes, as its children will have: an interpreter keeps for ever what it finds its streams to be.
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                pass_fds=[other.fileno()],
            )

    def fork(self, request: Mapping[str, Any], output: Sequence[int]) -> int:
        """The pid of a child that runs the request, with these descriptors as its stdout and stderr."""
        with self._lock, adopting():
            socket.send_fds(self._socket, [json.dumps(request).encode()], output)
            pid = self._socket.recv(100)
        if not pid:
            raise RuntimeError(f"Failed to fork, the process that does it has ended: {self._process.communicate()[1]}")
        return int(pid)


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Meanwhile a descendant whose parent has ended becomes a child of this process; before and after, of init."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "Failed to become a subreaper")
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


# -- the process that forks -------------------------------------------------------------------------------------------


def import_engine() -> None:
    """Everything that any command imports."""
    package = importlib.import_module("snowsync")
    for module in pkgutil.walk_packages(package.__path__, "snowsync."):
        if module.name != "snowsync.__main__":
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # else the first collection of a child copies every page


def serve(requests: socket.socket) -> int:
    """Fork for each request until the tests end. In a child: its exit code."""
    while True:
        text, descriptors = socket.recv_fds(requests, LONGEST_REQUEST, 2)[:2]
        if not text:
            return 0
        middle = os.fork()
        if middle == 0:
            parent = os.getpid()
            if os.fork():
                os._exit(0)
            while os.getppid() == parent:  # until it has ended, and we are a child of who asked for us
                time.sleep(0.0005)
            requests.send(str(os.getpid()).encode())
            requests.close()
            return run(json.loads(text), descriptors)
        os.waitpid(middle, 0)
        for descriptor in descriptors:
            os.close(descriptor)


def run(request: Mapping[str, Any], output: Sequence[int]) -> int:
    """The exit code of one command, in the child that is to be its process."""
    if request["new_session"]:
        os.setsid()
    for number, descriptor in enumerate(output, start=1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["folder"])
    return interpret(*request["arguments"])


def interpret(option: str, what: str, *arguments: str) -> int:
    """What the interpreter does with these words."""
    if (option, what) == ("-m", "snowsync"):
        from snowsync.cli.command import main

        return main(arguments)
    assert option == "-c", f"a fork cannot do {option} {what}"
    sys.argv = [option, *arguments]
    exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    return 0


if __name__ == "__main__":
    import_engine()
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        code = serve(requests)
    sys.exit(code)
