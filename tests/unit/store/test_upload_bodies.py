# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sections of a file as bodies, and whether they still are what was proven."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from snowsync.core.errors import StoreError, Trouble
from snowsync.store.upload_bodies import DamagedFile, Md5Check, ProvenSection, Section, part_of_file

DATA = bytes(range(256))
MD5 = hashlib.md5(DATA[10:110]).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "file").write_bytes(DATA)
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def proven(file: int, md5: str = MD5) -> ProvenSection:
    return ProvenSection(file, 10, 100, md5, what=part_of_file(3), action="send it")


def test_both_digests_are_of_one_read(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    section = Section(file, 10, 100)
    read: list[int] = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, start: read.append(size) or real(fd, size, start))
    assert section.hex_digests() == (MD5, hashlib.sha256(DATA[10:110]).hexdigest())
    assert sum(read) == 100
    assert section.read(4) == DATA[10:14], "it is read again from its start"


def test_the_MD5_of_a_proven_section_is_told_without_a_read(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pread", None)
    assert proven(file).content_md5() == base64.b64encode(bytes.fromhex(MD5)).decode()
    assert proven(file).md5.hex() == MD5


@pytest.mark.parametrize("size", [-1, 7, 100, 1000])
def test_proven_bytes_are_read_as_often_as_a_request_is_made(file: int, size: int) -> None:
    section = proven(file, MD5.upper())
    for _attempt in range(2):
        assert b"".join(iter(lambda: section.read(size), b"")) == DATA[10:110]
        section.seek(0)
    section.read(33)
    section.seek(0)
    assert section.read_all() == DATA[10:110]


@pytest.mark.parametrize("size", [7, 100])
def test_the_last_piece_of_other_bytes_is_withheld(file: int, size: int) -> None:
    section = proven(file, hashlib.md5(b"other").hexdigest())
    got = b""
    with pytest.raises(DamagedFile, match="part 3 of the file has the digest .* was damaged on its volume") as caught:
        while True:
            got += section.read(size)
    assert len(got) == 98 // size * size % 100
    assert (caught.value.trouble, section.error) == (Trouble.MISMATCH, caught.value)
    section.seek(0)
    with pytest.raises(DamagedFile):
        section.read(1)


def test_a_check_begins_again_with_the_bytes() -> None:
    check = Md5Check(MD5, "the file")
    check.update(b"cut off")
    check.restart()
    check.update(DATA[10:110])
    check.insist("send it")
    check.update(b"?")
    with pytest.raises(StoreError, match=f"not {MD5}"):
        check.insist("send it")


def test_without_an_MD5_any_bytes_are_right() -> None:
    check = Md5Check("", "the file")
    check.update(b"any")
    check.insist("send it")
