# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Giving a volume its marker: once, whole or not at all, with nothing left behind by what fails."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from snowsync.core.errors import LocalError
from snowsync.volumes import filesystem_check
from snowsync.volumes.marker import read_marker, write_marker


class FailsOnce:
    """A call of the system of which one turn fails."""

    def __init__(self, real: Any, turn: int, number: int) -> None:
        self.real, self.turn, self.number, self.count = real, turn, number, 0

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        self.count += 1
        if self.count == self.turn:
            raise OSError(self.number, os.strerror(self.number))
        return self.real(*arguments, **more)


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename"])
def test_whatever_fails_leaves_no_file_and_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """Each call in turn, up to the one that no longer comes: then the marker is there, whole."""
    for last in range(20):
        failing = FailsOnce(getattr(os, call), last + 1, number)
        volume = tmp_path / f"{call}-{last}"
        volume.mkdir()
        before = descriptors()
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                write_marker(volume, "one")
            except (OSError, LocalError):
                left = [path.name for path in volume.rglob("*") if path.name not in (".snowsync", "volume.json")]
                assert left == []
                assert descriptors() == before
                marker = read_marker(volume)  # the rename came before what failed, or it did not
                assert marker is None or marker["name"] == "one"
            else:
                assert [str(path.relative_to(volume)) for path in volume.rglob("*.*")] == [
                    ".snowsync",
                    ".snowsync/volume.json",
                ]
        if failing.count <= last:
            assert last, f"os.{call} is not used"
            return
    raise AssertionError(f"os.{call} is called for ever")


def test_two_units_give_one_identity(tmp_path: Path) -> None:
    found: list[str] = []
    start = threading.Barrier(8)

    def write() -> None:
        start.wait()
        found.append(write_marker(tmp_path, "one")["uuid"])

    threads = [threading.Thread(target=write) for _number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert os.listdir(tmp_path / ".snowsync") == ["volume.json"]


def test_two_units_are_told_the_same_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that the folder is gone, which the other one has just removed."""
    monkeypatch.setattr(filesystem_check, "unfit", lambda _folder: "it is too small")
    found: list[str] = []
    start = threading.Barrier(8)

    def write() -> None:
        start.wait()
        for _time in range(20):
            try:
                write_marker(tmp_path, "one")
            except (OSError, LocalError) as error:
                found.append(str(error))

    threads = [threading.Thread(target=write) for _number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160
    assert {text.partition(": ")[2] for text in found} == {"it is too small; use ext4 or XFS for the volume"}
    assert os.listdir(tmp_path) == []


def test_what_a_power_cut_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".snowsync").mkdir()
    (tmp_path / ".snowsync/volume.json.new").write_text('{"half')
    marker = write_marker(tmp_path, "one", {"uuid": "given"})
    assert marker == {"uuid": "given", "name": "one"}
    assert os.listdir(tmp_path / ".snowsync") == ["volume.json"]


@pytest.mark.parametrize(
    "moment", ["snowsync.volumes.filesystem_check._is_there", "snowsync.volumes.marker._write", "os.rename"]
)
def test_what_a_killed_process_left_is_gone(tmp_path: Path, moment: str) -> None:
    """Nothing of it lies beside the engine's folder, and the next one clears that up."""
    module, _dot, name = moment.rpartition(".")
    die = f"import pathlib, {module}; {moment} = lambda *_arguments, **_more: __import__('os')._exit(9)"
    call = f"from snowsync.volumes.marker import write_marker; write_marker(pathlib.Path({str(tmp_path)!r}), 'one')"
    assert subprocess.run([sys.executable, "-c", f"{die}; {call}"], check=False).returncode == 9
    assert os.listdir(tmp_path) == [".snowsync"]
    assert read_marker(tmp_path) is None
    write_marker(tmp_path, "one")
    assert os.listdir(tmp_path / ".snowsync") == ["volume.json"]


def test_a_filesystem_of_linux_is_fit(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert filesystem_check.unfit(folder) == ""
        assert filesystem_check.largest_file(folder) > 1 << 40
    finally:
        os.close(folder)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("asks", "in_between"), [("unfit", "_is_there"), ("largest_file", "_last_place")])
def test_the_other_unit_may_sweep_the_file_that_is_asked_about(
    asks: str, in_between: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It begins to use the volume at the same time: that is no failure of the volume."""
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    goes_on = getattr(filesystem_check, in_between)

    def sweep(*values: object) -> object:
        filesystem_check.remove_probes(folder)
        return goes_on(*values)

    monkeypatch.setattr(filesystem_check, in_between, sweep)
    assert getattr(filesystem_check, asks)(folder) in ("", filesystem_check.largest_file(folder))
    assert os.listdir(tmp_path) == []
    os.close(folder)


def test_the_largest_file_is_where_the_kernel_seeks_no_further(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on FAT: 4 GiB - 1."""

    def seek(_file: int, place: int, _how: int) -> int:
        if place > 2**32 - 1:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return place

    monkeypatch.setattr(os, "lseek", seek)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        assert filesystem_check.largest_file(folder) == 2**32 - 1
    finally:
        os.close(folder)
