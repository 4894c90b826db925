# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes behind the test servers: what fails says why, what is stopped is gone."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import QUIRKS, ServerFailed, Servers, Store
from servers import servers as families
from servers.place import Place
from servers.processes import Processes, free_ports, require

LISTENER = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)"
# The listener is a child of what is started, as a worker of a server is.
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


def listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def is_released(port: int) -> bool:
    """Whether the port is given back within ten seconds; killed orphans take a moment."""
    for _attempt in range(200):
        if not listens(port):
            return True
        time.sleep(0.05)
    return False


def test_a_process_is_waited_for_and_ended_with_its_children(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    (port,) = free_ports(1, "127.0.0.1")
    processes.start("example", sys.executable, "-c", PARENT, LISTENER, str(port))
    processes.wait_for_port("example", "127.0.0.1", port)
    processes.stop()
    assert is_released(port)


def test_a_process_that_ends_early_shows_its_log(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    (port,) = free_ports(1, "127.0.0.1")
    processes.start("example", sys.executable, "-c", "raise SystemExit('no such option')")
    with pytest.raises(ServerFailed, match=r"example ended with 1 while it started(?s:.)*no such option"):
        processes.wait_for_port("example", "127.0.0.1", port)
    processes.stop()


def test_a_command_that_fails_shows_its_complaint(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"setup: .* exited 4: trouble"):
        code = "import sys; print('trouble', file=sys.stderr); raise SystemExit(4)"
        Processes(tmp_path).run("setup", sys.executable, "-c", code)


def test_servers_end_with_whoever_started_them(tmp_path: Path) -> None:
    (port,) = free_ports(1, "127.0.0.1")
    starter = (
        "import os, pathlib, sys\n"
        "from servers.processes import Processes\n"
        "processes = Processes(pathlib.Path(sys.argv[1]))\n"
        "processes.start('example', sys.executable, '-c', sys.argv[2], sys.argv[3])\n"
        "processes.wait_for_port('example', '127.0.0.1', int(sys.argv[3]))\n"
        "print(processes._running[0][1].pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    argv = [sys.executable, "-c", starter, str(tmp_path), LISTENER, str(port)]
    tests = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env={"PYTHONPATH": tests})
    assert done.returncode == -9, done.stderr
    assert is_released(port)


def test_a_missing_program_names_what_brings_it() -> None:
    with pytest.raises(ServerFailed, match="no-such-program is missing.*install the Debian package example"):
        require("no-such-program", "the Debian package example")


def test_a_family_that_fails_fails_every_time_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def fail(place: Place) -> dict[str, Store]:
        started.append(place)
        raise ServerFailed("nothing listens")

    monkeypatch.setitem(families.FAMILIES, "swift", fail)
    with Servers() as servers:
        for name in ("swift-http", "swift-https"):
            with pytest.raises(ServerFailed, match="nothing listens"):
                servers.store(name)
    assert len(started) == 1
    assert not started[0].folder.exists()


def test_a_quirk_that_nobody_explained_is_refused() -> None:
    with pytest.raises(ValueError, match="no such quirk: unheard_of"):
        Store("x", "http://x", "a", "s", "r", None, "/c", frozenset({"unheard_of", *QUIRKS}))


def test_a_store_does_not_show_its_secret() -> None:
    assert "hidden" not in repr(Store("x", "http://x", "a", "hidden", "r", None, "/c", frozenset()))
