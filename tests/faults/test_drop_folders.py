# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real writers in drop folders, while real movers take and send what lies there: no byte of theirs is lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.rig import DESTINATION, Rig, kill_group, wait_until

# Does what its lines say with one file, and answers each.
WRITER = """
import mmap, os, sys
path = sys.argv[1]
file = mapped = None
for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    if word == "open":
        file = open(path, rest, buffering=0)
    elif word == "write":
        file.write(rest.encode())
    elif word == "map":
        mapped = mmap.mmap(file.fileno(), 0)
    elif word == "close":
        file.close()
    elif word == "store":
        mapped[: len(rest)] = rest.encode()
    elif word == "unmap":
        mapped.close()
    elif word == "restore-time":
        status = os.stat(path + ".reference")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    print("done", flush=True)
"""


class WriterProcess:
    """Somebody with a file in a drop folder, in a process of its own."""

    def __init__(self, path: Path) -> None:
        argv = [sys.executable, "-c", WRITER, str(path)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, *lines: str) -> None:
        for line in lines:
            self.begin(line)
            self.wait()

    def begin(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def wait(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "done\n"

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[WriterProcess]:
    writer = WriterProcess(path)
    try:
        yield writer
    finally:
        writer.end()


@pytest.fixture
def drop(rig: Rig) -> Path:
    rig.config |= {"drop_settle": 0, "pass_interval": 1}
    rig.config["volumes"][0]["drop_folder"] = "drop"
    folder = rig.volumes[0] / "drop"
    folder.mkdir()
    return folder


def stored(rig: Rig, key: str) -> bytes:
    return rig.destination.get(DESTINATION, key)


def is_gone(path: Path) -> bool:
    return not os.path.lexists(path)


def is_being_sent(rig: Rig) -> bool:
    """The file is held, and its upload claimed."""
    path = rig.folder / "state/ledger.db"
    if not path.exists():
        return False
    with (
        contextlib.suppress(sqlite3.OperationalError),  # its tables are about to be made
        contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as ledger,
    ):
        return bool(ledger.execute("SELECT 1 FROM objects WHERE sends > 0").fetchone())
    return False


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


@pytest.mark.parametrize("how", ["wb", "ab", "r+b"])
@pytest.mark.parametrize("is_mapped", [False, True])
def test_a_writer_that_pauses_loses_nothing(rig: Rig, drop: Path, how: str, is_mapped: bool) -> None:
    """Others are taken meanwhile, over and over: no settle time tells a pause from an end."""
    path = drop / "film"
    path.write_bytes(b"the first half,")
    with writing(path) as writer:
        writer.do(f"open {how}")
        if how == "wb":
            writer.do("write the first half,")
        is_mapped = is_mapped and how == "r+b"
        if is_mapped:
            writer.do("map", "close")
        process = rig.start("--forever")
        for number in range(4):  # one scan after the other goes past the open file
            (drop / f"other-{number}").write_bytes(b"x")
            wait_until(lambda name=f"other-{number}": is_gone(drop / name), "a scan")  # type: ignore[misc]
        assert path.exists()
        assert "film" not in rig.destination.list(DESTINATION)
        writer.do(*(["store THE FIRST", "unmap"] if is_mapped else ["write  and the second", "close"]))
    wait_until(lambda: is_gone(path), "the delivery")
    end(process)
    expected = {
        "wb": b"the first half, and the second",
        "ab": b"the first half, and the second",
        "r+b": b"THE FIRST half," if is_mapped else b" and the second",
    }
    assert stored(rig, "film") == expected[how]


@pytest.mark.parametrize("tool", ["native", "s5cmd"])
@pytest.mark.parametrize("size", [1 << 16, 24 << 20])
def test_a_file_that_grows_while_it_is_sent_is_sent_again(rig: Rig, drop: Path, tool: str, size: int) -> None:
    rig.config["mover"] = {"tool": tool, "large_object": "8MiB"}
    path, data = drop / "film", os.urandom(size)
    path.write_bytes(data)
    rig.destination.set_fault("latency", operation="PutObject|UploadPart", seconds=3.0)
    process = rig.start("--forever")
    wait_until(lambda: is_being_sent(rig), "a send")
    with writing(path) as writer:
        writer.do("open ab", "write  and more", "close")
    rig.destination.clear_faults()
    wait_until(lambda: is_gone(path), "the delivery")
    end(process)
    assert stored(rig, "film") == data + b" and more"


@pytest.mark.parametrize("tool", ["native", "s5cmd"])
@pytest.mark.parametrize("size", [1 << 16, 24 << 20])
def test_what_is_sent_is_what_was_taken(rig: Rig, drop: Path, tool: str, size: int) -> None:
    """Another file takes the name while the mover waits: the bytes of neither are mixed, and both arrive."""
    rig.config["mover"] = {"tool": tool, "large_object": "8MiB"}
    path, first, second = drop / "film", os.urandom(size), os.urandom(size)
    path.write_bytes(first)
    rig.snowsync("run", "JOB", "--until-drained", "--direction", "source")
    rig.destination.set_fault("latency", operation="PutObject|UploadPart", seconds=3.0)
    process = rig.start("--until-drained", "--direction", "destination")
    wait_until(lambda: is_being_sent(rig), "a send")
    (drop.parent / "new").write_bytes(second)
    os.replace(drop.parent / "new", path)
    _output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert stored(rig, "film") == first
    assert path.read_bytes() == second, "nobody has delivered it"
    rig.destination.clear_faults()
    assert rig.run()[0] == 0
    assert stored(rig, "film") == second
    assert is_gone(path)


def test_the_old_time_does_not_hide_other_bytes(rig: Rig, drop: Path) -> None:
    path = drop / "film"
    path.write_bytes(b"people's data")
    rig.snowsync("run", "JOB", "--until-drained", "--direction", "source")
    with writing(path) as writer:
        reference = path.with_name("film.reference")
        reference.touch()
        os.utime(reference, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        writer.do("open r+b", "write PEOPLE'S DATA", "close", "restore-time")
        reference.unlink()
    assert rig.run()[0] == 0
    assert stored(rig, "film") == b"PEOPLE'S DATA"


def test_a_file_opened_by_a_writer_is_not_deleted_under_it(rig: Rig, drop: Path) -> None:
    path = drop / "film"
    path.write_bytes(b"people's data")
    rig.snowsync("run", "JOB", "--until-drained", "--direction", "source")
    with writing(path) as writer:
        writer.do("open ab")
        assert rig.run("--direction", "destination")[0] == 0
        assert stored(rig, "film") == b"people's data"
        assert path.exists(), "who has it open for writing may go on"
        writer.do("write  and more", "close")
    assert rig.run()[0] == 0
    assert stored(rig, "film") == b"people's data and more"
    assert is_gone(path)


def test_a_folder_swapped_for_a_link_leads_nowhere(rig: Rig, drop: Path) -> None:
    (drop / "deep").mkdir()
    (drop / "deep/film").write_bytes(b"people's data")
    rig.snowsync("run", "JOB", "--until-drained", "--direction", "source")
    outside = rig.folder / "outside"
    os.rename(drop / "deep", outside)
    (drop / "deep").symlink_to(outside)
    rig.run()
    assert (outside / "film").read_bytes() == b"people's data"
    assert rig.destination.list(DESTINATION) == {}


def test_a_drop_folder_may_be_a_filesystem_of_its_own(rig: Rig, drop: Path) -> None:
    """And have a folder of yet another one in it."""
    elsewhere = rig.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "bound").write_bytes(b"from another disk")
    subprocess.run(["mount", "-t", "tmpfs", "drop", str(drop)], check=True)
    try:
        (drop / "inside").mkdir()
        subprocess.run(["mount", "--bind", str(elsewhere), str(drop / "inside")], check=True)
        (drop / "deep").mkdir()
        (drop / "deep/film").write_bytes(b"people's data")
        with writing(drop / "open") as writer:
            writer.do("open wb", "write the first half,")
            assert rig.snowsync("run", "JOB", "--once").returncode == 0
            assert [path.name for path in sorted(drop.rglob("*"))] == ["deep", "inside", "open"]
            writer.do("write  and the second", "close")
        assert rig.run()[0] == 0
        assert [path.name for path in sorted(drop.rglob("*"))] == ["deep", "inside"]
        assert list(elsewhere.iterdir()) == []
    finally:
        subprocess.run(["umount", "--recursive", str(drop)], check=True)
    assert stored(rig, "inside/bound") == b"from another disk"
    assert stored(rig, "deep/film") == b"people's data"
    assert stored(rig, "open") == b"the first half, and the second"


def test_kills_between_taking_and_deleting_lose_nothing(rig: Rig, drop: Path) -> None:
    """Versions of files, written whole under the same names while everything is killed again and again."""
    chance = random.Random(int(os.environ.get("SNOWSYNC_SEED", "20261127")))
    latest: dict[str, bytes] = {}
    for number in range(12):
        process = rig.start("--forever")
        before = len(rig.destination.log("PutObject"))
        for name in chance.sample([f"film-{index}" for index in range(30)], 15):
            latest[name] = f"{name} {number} ".encode() * chance.randint(1, 2000)
            (drop.parent / "new").write_bytes(latest[name])
            os.replace(drop.parent / "new", drop / name)
        some = before + chance.randint(1, 12)
        wait_until(lambda some=some: len(rig.destination.log("PutObject")) >= some, "an upload")  # type: ignore[misc]
        kill_group(process)
    code, _summary, errors = rig.run()
    assert code in (0, 3), errors
    while list(drop.rglob("*")):
        assert rig.run()[0] in (0, 3)
    assert {name: stored(rig, name) for name in latest} == latest
    assert rig.files_left() == []
