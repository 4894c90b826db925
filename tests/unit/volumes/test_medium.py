# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the filesystem of an open volume is still there and works."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from snowsync.core.layout import MARKER, OWN_FOLDER
from snowsync.volumes.folders import open_folders
from snowsync.volumes.medium import Medium, try_writing


@pytest.fixture
def medium(tmp_path: Path) -> Iterator[Medium]:
    (tmp_path / "one" / OWN_FOLDER).mkdir(parents=True)
    (tmp_path / "one" / OWN_FOLDER / MARKER).write_text("{}")
    folders = open_folders(tmp_path / "one", "photos", make=True)
    yield Medium(tmp_path / "one", "identity", folders)
    folders.close()


def refuse_writes(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    real = os.open

    def refuse(path: object, flags: int, *arguments: object, **options: object) -> int:
        if number and flags & os.O_CREAT:
            raise OSError(number, os.strerror(number))
        return real(path, flags, *arguments, **options)  # type: ignore[arg-type]  # whatever it was called with

    monkeypatch.setattr(os, "open", refuse)


@pytest.mark.parametrize(
    ("number", "word"), [(errno.EIO, "failed"), (errno.EROFS, "read-only"), (errno.ENOSPC, ""), (0, "")]
)
def test_what_is_wrong_with_it(
    tmp_path: Path, medium: Medium, monkeypatch: pytest.MonkeyPatch, number: int, word: str
) -> None:
    refuse_writes(monkeypatch, number)
    assert medium.trouble() == word
    assert medium.is_well() == (not word)
    medium.writable = False
    assert medium.trouble() == "", "it can still be read"
    assert not medium.is_well()
    (tmp_path / "one").rename(tmp_path / "elsewhere")
    assert medium.trouble() == "missing"


def test_it_is_well_while_it_accepts_writes(tmp_path: Path, medium: Medium) -> None:
    assert medium.is_well()
    (tmp_path / "one").rename(tmp_path / "elsewhere")
    assert not medium.is_well()


def test_another_filesystem_at_its_path_is_not_it(tmp_path: Path, medium: Medium) -> None:
    assert medium.still_there()
    (tmp_path / "one").rename(tmp_path / "elsewhere")
    assert not medium.still_there(), "there is none"
    (tmp_path / "one" / OWN_FOLDER).mkdir(parents=True)
    assert not medium.still_there(), "the folder is another one"


def test_a_probe_leaves_nothing_behind(medium: Medium) -> None:
    try_writing(medium.folders.incoming)
    assert os.listdir(medium.folders.incoming) == []


@pytest.mark.parametrize(("number", "fails"), [(errno.ENOSPC, False), (errno.EDQUOT, False), (errno.EIO, True)])
def test_a_full_one_has_not_failed(medium: Medium, monkeypatch: pytest.MonkeyPatch, number: int, fails: bool) -> None:
    refuse_writes(monkeypatch, number)
    if fails:
        with pytest.raises(OSError, match=os.strerror(number)):
            try_writing(medium.folders.incoming)
    else:
        try_writing(medium.folders.incoming)
