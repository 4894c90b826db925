# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that a fetch writes, and the bytes of a response on their way into it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snowsync.core.etag import PartDigests
from snowsync.movers.native.incoming_file import IncomingBytes, Target


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(str(tmp_path / "file"))


def test_bytes_are_written_and_hashed_where_they_belong(target: Target, tmp_path: Path) -> None:
    digests = PartDigests(0)
    target.open()
    body = IncomingBytes(target, 3, 6, digests)
    for chunk in (b"ab", b"cd", b"ef"):
        assert body.kept == 0, "libcurl's chunks are collected"
        body.add(chunk)
    assert (body.received, body.kept) == (6, 6), "the last byte is not waited after"
    target.close()
    assert (tmp_path / "file").read_bytes() == b"\0\0\0abcdef"
    assert digests.fed == 6


def test_what_arrived_before_an_early_end_is_kept(target: Target, tmp_path: Path) -> None:
    body = IncomingBytes(target, 0, 100, PartDigests(0))
    body.most_held = 4
    body.open()
    body.add(b"abcd")
    assert body.kept == 4, "much is not collected"
    body.add(b"ef")
    assert (body.received, body.kept) == (6, 4)
    body.keep()
    body.keep()
    assert body.kept == 6
    assert (tmp_path / "file").read_bytes() == b"abcdef"
    target.close()


def test_bytes_that_could_not_be_written_are_not_kept(target: Target) -> None:
    digests = PartDigests(0)
    body = IncomingBytes(target, 0, 2, digests)
    with pytest.raises(OSError, match="descriptor"):
        body.add(b"ab")  # the file is not open
    assert (body.received, body.kept, digests.fed) == (2, 0, 0)


def test_a_file_is_emptied_when_it_is_opened_first_and_not_again(target: Target, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"of an earlier attempt")
    first, second = (IncomingBytes(target, start, 1, PartDigests(0)) for start in (0, 1))
    first.open()
    first.add(b"a")
    second.open()
    second.add(b"b")
    assert (tmp_path / "file").read_bytes() == b"ab"
    target.close()
    assert not target.is_open


def test_who_still_writes_to_the_file_of_an_earlier_attempt_does_not_meet_the_new_one(
    target: Target, tmp_path: Path
) -> None:
    earlier = Target(target.path)
    earlier.open()
    target.open()
    target.write(b"new", 0)
    earlier.write(b"of an earlier attempt", 0)
    earlier.close()
    target.close()
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_link_in_the_place_of_a_file_is_not_followed(target: Target, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"kept")
    (tmp_path / "file").symlink_to(tmp_path / "other")
    target.open()
    target.write(b"new", 0)
    target.close()
    assert (tmp_path / "other").read_bytes() == b"kept"
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_partial_file_is_kept_up_to_the_size_of_the_object(target: Target, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abcdef")
    target.open_partial(4)
    assert b"".join(target.read(1, 100)) == b"bcd", "it ends where the file does"
    target.close()
    assert (tmp_path / "file").read_bytes() == b"abcd"


def test_a_link_in_the_place_of_a_partial_file_is_not_followed(target: Target, tmp_path: Path) -> None:
    os.symlink(tmp_path / "elsewhere", tmp_path / "file")
    with pytest.raises(OSError, match="symbolic"):
        target.open_partial(1)
    assert not (tmp_path / "elsewhere").exists()
