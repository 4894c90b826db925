# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of people: what they are, and that nothing is opened or followed that is none."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from snowsync.core.etag import file_etag
from snowsync.core.model import MIB, Origin, State
from snowsync.ledger.ledger import Row
from snowsync.volumes.file_identity import (
    Identity,
    Likeness,
    NoRegularFile,
    compare,
    digest_of,
    has_inode_of,
    made_folder,
    open_below,
    open_folder,
    path_of,
)

FOUND = Identity(device=1, inode=2, changed_ns=1_700_000_000_123_456_789, size=8, modified_ns=1_600_000_000_000_000_001)
ROW = Row(7, "film", 8, "", FOUND.modified_ms, 1, Origin.DROP, State.STAGED, 1, 0, "", "", 0, 0, 0, file_id=FOUND.text)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Likeness.SAME),
        ({"size": 9}, Likeness.OTHER),
        ({"modified_ns": FOUND.modified_ns + 1_000_000}, Likeness.OTHER),
        ({"changed_ns": FOUND.changed_ns + 1}, Likeness.OTHER),  # also where size and time were set back (touch -r)
        ({"inode": 3}, Likeness.DOUBTFUL),
        ({"device": 3}, Likeness.DOUBTFUL),
    ],
)
def test_what_is_the_same_file(changes: dict[str, int], expected: Likeness) -> None:
    assert compare(ROW, replace(FOUND, **changes)) is expected


@pytest.mark.parametrize("changed_ns", [1_700_000_000_000_000_000, 1_700_000_000_120_000_000])
def test_coarse_times_prove_nothing(changed_ns: int) -> None:
    found = replace(FOUND, changed_ns=changed_ns)
    assert compare(ROW._replace(file_id=found.text), found) is Likeness.DOUBTFUL
    assert found.granularity > FOUND.granularity


def test_a_row_of_an_older_engine_proves_nothing() -> None:
    assert compare(ROW._replace(file_id=""), FOUND) is Likeness.DOUBTFUL


def test_a_renamed_file_is_known_by_its_inode() -> None:
    renamed = replace(FOUND, changed_ns=FOUND.changed_ns + 5)
    assert FOUND.has_stayed(renamed)
    assert has_inode_of(ROW, renamed)
    assert not has_inode_of(ROW, replace(renamed, inode=3))
    assert not FOUND.has_stayed(replace(renamed, modified_ns=FOUND.modified_ns + 1))


# -- opening ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/film").write_bytes(b"people's")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/film").write_bytes(b"nobody's")
    return folder


@pytest.fixture
def top(drop: Path) -> Iterator[int]:
    descriptor = os.open(drop, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_a_file_is_reached_by_its_descriptor_whatever_its_name_leads_to(drop: Path, top: int) -> None:
    file = open_below(top, "deep/film")
    os.replace(drop.parent / "secret/film", drop / "deep/film")
    assert Path(path_of(file)).read_bytes() == b"people's"
    os.close(file)


@pytest.mark.parametrize("name", ["link", "up", "folder", "fifo", "socket", "zero", "nothing"])
def test_only_regular_files_are_opened(drop: Path, top: int, name: str) -> None:
    (drop / "link").symlink_to(drop.parent / "secret/film")
    (drop / "up").symlink_to("../secret/film")
    (drop / "folder").mkdir()
    os.mkfifo(drop / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(drop / "socket"))
    os.mknod(drop / "zero", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    with pytest.raises(FileNotFoundError) as caught:
        open_below(top, name)
    assert isinstance(caught.value, NoRegularFile) is (name != "nothing")


@pytest.mark.parametrize("path", ["", ".", "..", "../secret/film", "deep/../deep/film", "deep//film", "deep/", "/film"])
def test_paths_stay_below_the_folder(top: int, path: str) -> None:
    with pytest.raises(FileNotFoundError):
        open_below(top, path)


def test_a_folder_that_became_a_link_is_not_followed(drop: Path, top: int) -> None:
    os.rename(drop / "deep", drop / "deeper")
    (drop / "deep").symlink_to(drop.parent / "secret")
    with pytest.raises(FileNotFoundError):
        open_below(top, "deep/film")
    with pytest.raises(NotADirectoryError):
        open_folder(top, "deep")
    with pytest.raises(NotADirectoryError):
        made_folder(top, "deep/more")
    assert [path.name for path in (drop.parent / "secret").iterdir()] == ["film"]


def test_missing_folders_are_made(drop: Path, top: int) -> None:
    os.close(made_folder(top, "deep/a/b"))
    assert (drop / "deep/a/b").is_dir()


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 3 * MIB])
@pytest.mark.parametrize("part_size", [0, MIB, MIB + 7])
def test_the_digest_is_the_etag(tmp_path: Path, size: int, part_size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    with path.open("rb") as file:
        assert digest_of(file.fileno(), part_size) == file_etag(path, part_size)
