# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files below a drop folder: in order, and none that is behind a link."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snowsync.hops.source.drops import drop_walk
from snowsync.hops.source.drops.drop_walk import files_of


class Refusals:
    def __init__(self) -> None:
        self.refused: dict[str, str] = {}
        self.unreadable: list[str] = []

    def refuse(self, _volume: object, relative: str, reason: str) -> None:
        self.refused[relative] = reason

    def unreadable_directory(self, _volume: object, relative: str, _error: OSError) -> None:
        self.unreadable.append(relative)


class Volume:
    """What the walk uses of an open volume: the folder, and its drop folder."""

    def __init__(self, drop: Path | None) -> None:
        self.config = self
        self.dropped = self.medium = self
        self.drop_path = drop
        self.is_there = True
        self.tops: list[int] = []

    def still_there(self) -> bool:
        return self.is_there

    @contextlib.contextmanager
    def top(self) -> Iterator[int]:
        if self.drop_path is None:
            raise AssertionError("asked for no folder")
        descriptor = os.open(self.drop_path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        self.tops.append(descriptor)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def found(volume: Volume, refusals: Refusals) -> list[str]:
    arguments: Any = (volume, refusals)
    return [relative for _top, relative, _status in files_of(*arguments)]


def test_files_are_found_in_order_and_links_are_not_followed(tmp_path: Path) -> None:
    for name in ("b", "a", "deep/er/c", "deep/b", "empty"):
        (tmp_path / "drop" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "drop" / name).write_bytes(b"x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"x")
    (tmp_path / "drop/link").symlink_to(tmp_path / "outside")
    os.mkfifo(tmp_path / "drop/deep/pipe")
    refusals = Refusals()
    open_before = len(os.listdir("/proc/self/fd"))
    assert found(Volume(tmp_path / "drop"), refusals) == ["a", "b", "empty", "deep/b", "deep/er/c"]
    assert sorted(refusals.refused) == ["deep/pipe", "link"]
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_a_file_comes_with_its_folder_and_its_lstat(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    volume: Any = Volume(tmp_path)
    refusals: Any = Refusals()
    ((top, relative, status),) = files_of(volume, refusals)
    assert (top, relative, status.st_size, status.st_ino) == (volume.tops[0], "a", 5, (tmp_path / "a").stat().st_ino)


def test_a_directory_that_cannot_be_read_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("closed", "gone", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_bytes(b"x")
    open_folder, listdir = drop_walk.open_folder, os.listdir

    def opened(top: int, relative: str) -> int:
        if relative == "gone":
            raise FileNotFoundError(relative)
        return open_folder(top, relative)

    def names(folder: int) -> list[str]:
        if os.readlink(f"/proc/self/fd/{folder}").endswith("/closed"):
            raise PermissionError(folder)
        return listdir(folder)

    monkeypatch.setattr(drop_walk, "open_folder", opened)
    monkeypatch.setattr(os, "listdir", names)
    refusals = Refusals()
    assert found(Volume(tmp_path), refusals) == ["open/a"]
    assert refusals.unreadable == ["closed", "gone"]


def test_a_drop_folder_that_is_no_folder_is_refused_and_a_missing_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, refused in (("file", ["."]), ("missing", [])):
        refusals = Refusals()
        assert found(Volume(tmp_path / name), refusals) == []
        assert list(refusals.refused) == refused


def test_nothing_is_looked_for_without_a_folder_or_a_volume(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.is_there = False
    assert found(volume, Refusals()) == []
    assert volume.tops == []
    assert found(Volume(None), Refusals()) == []
