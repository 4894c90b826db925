# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which places of a disk are read before it counts as blank, and what is said of what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_module import backend

MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40
SIZES = [4096, 60 * MIB, 65 * MIB, 400 * MIB, GIB + 512, 500 * 10**9, 4 * TIB, 10 * 10**12, 64 * TIB]


@pytest.fixture(scope="module")
def blank() -> Any:
    return backend("_volume.blank")


@pytest.fixture(scope="module")
def signature() -> Any:
    return backend("_volume.model").Signature


def image(path: Path, size: int, *pieces: tuple[int, bytes]) -> str:
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in pieces:
            file.seek(offset)
            file.write(data)
    return str(path)


def covers(places: list[tuple[int, int]], offset: int) -> bool:
    return any(start <= offset < start + length for start, length in places)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_read_is_bounded_and_lies_on_the_disk(blank: Any, size: int) -> None:
    places = blank.places(size)
    assert sum(length for _offset, length in places) <= blank.MOST_READ
    assert all(length > 0 for _offset, length in places)
    for (offset, length), (following, _length) in zip(places, [*places[1:], (size + 1, 0)], strict=True):
        assert offset + length < following


def test_all_of_a_small_disk_is_read(blank: Any) -> None:
    assert blank.places(60 * MIB) == [(0, 60 * MIB)]


@pytest.mark.parametrize("size", [size for size in SIZES if size > 64 * MIB])
def test_superblocks_of_partitions_that_were_there_are_read(blank: Any, size: int) -> None:
    """Where one begins, up to the superblock of btrfs at 64 KiB, wherever the disk is large enough for it."""
    places = blank.places(size)
    cylinder = 255 * 63 * 512
    for start in (0, 63 * 512, 65536, MIB, 4 * MIB, 8 * MIB, cylinder, cylinder + 63 * 512, 101 * MIB, 513 * MIB, GIB):
        for superblock in (start, start + 1024, start + 65536 + 64) if start < GIB else ():
            assert superblock >= size or covers(places, superblock), (start, superblock)
    assert covers(places, size - 512), "the second GPT"
    assert covers(places, size - MIB - 512), "the end of a partition: the second boot sector of NTFS"
    assert covers(places, size // 2)


def test_copies_of_superblocks_are_read(blank: Any) -> None:
    places = blank.places(4 * TIB)
    for group in (1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343, 2401):
        for start in (0, 63 * 512, MIB):
            assert covers(places, start + group * 128 * MIB), group


@pytest.mark.parametrize("start", [0, 63 * 512, MIB // 16, MIB, 255 * 63 * 512, 8 * MIB])
def test_copies_of_superblocks_on_large_disks_are_read(blank: Any, start: int) -> None:
    """XFS of 10 TB has groups of 2^28 - 1 blocks, none of which begins at a quarter; the third copy of btrfs."""
    places = blank.places(10 * 10**12)
    groups = [number * (TIB - 4096) for number in range(1, 10)]
    for copy in (*groups, 256 * GIB):
        assert covers(places, start + copy)
        assert covers(places, start + copy + 4095)


@pytest.mark.parametrize("size", [500 * 10**9, 4 * TIB])
def test_samples_lie_in_each_part_and_at_no_even_distance(blank: Any, size: int) -> None:
    places = blank.places(size)
    part = size // 1024
    for number in range(1, 1024):
        assert any(number * part - part < start + length and start < (number + 1) * part for start, length in places)
    within = {offset % (size // 1024) * 10 // (size // 1024) for offset, length in places if length == blank.SAMPLE}
    assert within == set(range(10))


def test_data_that_fills_one_percent_is_found_wherever_it_lies(blank: Any) -> None:
    """In one piece: 1 % of a disk is ten parts, each with a sample."""
    places = blank.places(4 * TIB)
    length = 4 * TIB // 100
    assert all(
        any(offset <= start < offset + length for start, _length in places)
        for offset in range(0, 4 * TIB - length, 1 << 32)
    )


@pytest.mark.parametrize("offset", [0, 700_000, 63 * 512 + 1024, 65536 + 64, MIB + 1024, 257 * MIB, 400 * MIB - 1])
def test_one_byte_where_something_begins_is_no_blank_disk(blank: Any, tmp_path: Path, offset: int) -> None:
    path = image(tmp_path / "image", 400 * MIB, (offset, b"x"))
    said = blank.content_of(path, 400 * MIB)
    assert said.startswith(f"it holds data at byte {offset} (")
    assert said.endswith("of a kind that neither wipefs nor blkid knows")


def test_zeros_and_erased_flash_are_blank(blank: Any, tmp_path: Path) -> None:
    assert blank.content_of(image(tmp_path / "zeros", 400 * MIB), 400 * MIB) == ""
    (tmp_path / "flash").write_bytes(b"\xff" * (4 * MIB))
    assert blank.content_of(str(tmp_path / "flash"), 4 * MIB) == ""
    (tmp_path / "begun").write_bytes(bytes(MIB) + b"\xff" * (3 * MIB))
    assert blank.content_of(str(tmp_path / "begun"), 4 * MIB) == "", "erased flash whose first MiB was zeroed"


def test_what_tools_know_is_named_with_its_offset(blank: Any, signature: Any, tmp_path: Path) -> None:
    path = image(tmp_path / "image", 400 * MIB, (63 * 512 + 1080, b"x"), (129 * MIB + 3, b"x"))
    known = {63 * 512: signature("ntfs", "12", "OLD"), 129 * MIB: signature("xfs", "34")}
    asked: list[int] = []
    said = blank.content_of(path, 400 * MIB, lambda offset: asked.append(offset) or known.get(offset))
    assert said == (
        "it holds ntfs (label OLD, UUID 12) from byte 32256 (31.5 KiB) on and"
        " xfs (UUID 34) from byte 135266304 (129.0 MiB) on"
    )
    assert len(asked) < 20, "only where something was found"


@pytest.mark.parametrize(
    ("offset", "data", "name"),
    [
        (4096, b"EFI PART", "a GPT, of sectors of another size at byte 4096 (4.0 KiB)"),
        (7 * MIB, b"XFSB", "a superblock of XFS at byte 7340032 (7.0 MiB)"),
        (128 * MIB, bytes(56) + b"\x53\xef" + bytes(18) + b"\1\0\0\0", "ext2, ext3 or ext4 at byte 134217728"),
        (128 * MIB, bytes(56) + b"\x53\xef" + b"x" * 22, "it holds data at byte 134217784"),
    ],
)
def test_what_tools_do_not_look_for_is_known_by_its_marks(
    blank: Any, tmp_path: Path, offset: int, data: bytes, name: str
) -> None:
    assert name in blank.content_of(image(tmp_path / "image", 400 * MIB, (offset, data)), 400 * MIB)


def test_a_disk_full_of_data_is_not_read_to_its_end(
    blank: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image(tmp_path / "image", 400 * MIB, (0, b"data" * (20 * MIB // 4)))
    read: list[int] = []
    pread = blank.os.pread
    monkeypatch.setattr(blank.os, "pread", lambda file, length, at: read.append(at) or pread(file, length, at))
    assert blank.content_of(path, 400 * MIB)
    assert max(read) < 20 * MIB


def test_a_disk_that_cannot_be_read_is_not_blank(blank: Any, tmp_path: Path) -> None:
    assert blank.content_of(str(tmp_path), 4096) == "it cannot be read: Is a directory"
    path = image(tmp_path / "image", 4 * MIB)
    assert blank.content_of(path, 8 * MIB) == (
        "it cannot be read: it is shorter than the size that the kernel reports, at byte 4194304 (4.0 MiB)"
    )


def test_what_was_made_blank_is_blank(blank: Any, tmp_path: Path) -> None:
    """Whatever the disk held: exactly what is looked at is overwritten, and the rest is left as it is."""
    path = tmp_path / "image"
    path.write_bytes(b"data" * (200 * MIB // 4))
    blank.make_blank(str(path), lambda: None)
    assert blank.content_of(str(path), 200 * MIB) == ""
    assert path.read_bytes().count(b"data") * 4 >= 130 * MIB


def test_the_beginning_of_a_disk_is_zeroed_last(blank: Any, tmp_path: Path) -> None:
    """A wipe that is cut off before leaves the signature that says which volume it was."""
    path = tmp_path / "image"
    path.write_bytes(b"data" * (200 * MIB // 4))

    def cut() -> None:
        raise OSError(5, "the power is cut")

    with pytest.raises(OSError, match="the power is cut"):
        blank.make_blank(str(path), cut)
    with path.open("rb") as file:
        assert file.read(blank.HEAD) == b"data" * (blank.HEAD // 4)
        file.seek(-blank.TAIL, 2)
        assert file.read() == bytes(blank.TAIL)
