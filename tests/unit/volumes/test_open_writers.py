# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has a file open for writing: real leases, and real processes in /proc."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from dropping import refuse_leases

from snowsync.volumes import open_writers
from snowsync.volumes.open_writers import Writer, WriterWatch, is_written_by_process

# Opens or maps the file as told, says so, and stays until its input ends.
HOLDER = """
import mmap, sys
file = open(sys.argv[1], sys.argv[2])
if sys.argv[3] == "map":
    mapped = mmap.mmap(file.fileno(), 0)
    file.close()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "film"
    path.write_bytes(b"people's data")
    return path


@pytest.fixture
def file(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_nobody_writes(file: int, path: Path) -> None:
    with WriterWatch(file) as watch, path.open("rb"):
        assert watch.ask() is Writer.NOBODY
        assert not watch.is_written()


def test_somebody_has_it_open(file: int, path: Path) -> None:
    with path.open("ab"), WriterWatch(file) as watch:
        assert watch.ask() is Writer.SOMEBODY
        assert watch.is_written()


def test_somebody_has_it_mapped(file: int, path: Path) -> None:
    with path.open("r+b") as opened:
        mapped = mmap.mmap(opened.fileno(), 0)
    with WriterWatch(file) as watch:
        assert watch.ask() is Writer.SOMEBODY
    mapped.close()
    with WriterWatch(file) as watch:
        assert watch.ask() is Writer.NOBODY


def test_who_wants_to_write_is_seen_and_waits_until_the_watch_ends(file: int, path: Path) -> None:
    begun = threading.Event()

    def append() -> None:
        begun.set()
        with path.open("ab") as opened:
            opened.write(b" and more")

    with WriterWatch(file) as watch:
        thread = threading.Thread(target=append)
        thread.start()
        begun.wait()
        while watch.ask() is Writer.NOBODY:
            assert thread.is_alive(), "it wrote unseen"
        assert path.read_bytes() == b"people's data"
    thread.join()
    assert path.read_bytes() == b"people's data and more"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.EPERM])
def test_without_a_lease_nothing_is_known(file: int, path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    refuse_leases(monkeypatch, number)
    with WriterWatch(file) as watch:
        assert watch.ask() is Writer.UNKNOWN
        assert not watch.is_written()
        with path.open("ab"):
            assert watch.is_written(), "our own processes can be looked into"


@pytest.mark.parametrize(
    ("mode", "how", "writes"),
    [("r+b", "open", True), ("ab", "open", True), ("r+b", "map", True), ("rb", "open", False)],
)
def test_what_proc_tells_of_another_process(file: int, path: Path, mode: str, how: str, writes: bool) -> None:
    argv = [sys.executable, "-c", HOLDER, str(path), mode, how]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "ready\n"
        assert is_written_by_process(file) is writes
        holder.stdin.close()
    assert not is_written_by_process(file)


def test_processes_that_end_or_are_not_ours_are_passed_over(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_writers, "_processes", lambda: iter(["/proc/0", "/nowhere"]))
    assert not is_written_by_process(file)
