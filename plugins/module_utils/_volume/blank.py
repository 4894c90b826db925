# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Whether a disk is blank: which places of it are read, and what is said of what they hold.

A disk without a partition table may be one that lost it. So it is read wherever a filesystem or a partition usually
begins, where filesystems keep copies of their superblocks, at both ends, and in samples that are spread all over it.
The places follow from the size alone: what is read to find a disk blank is what is zeroed to make it blank.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ansible_collections.edgeops.snowsync.plugins.module_utils._engine.core.text import bytes_text
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.model import CANNOT_READ, MIB, Signature

CHUNK = MIB // 16  # what is read at once
SAMPLES = 1024  # one in each 1/1024 of the disk
SAMPLE = MIB // 64
HEAD = 16 * MIB
TAIL = 8 * MIB
MOST_READ = 64 * MIB  # of one disk, whatever its size

_SECTOR = 512
_PAGE = 4096
_CYLINDER = 255 * 63 * _SECTOR
_SUPERBLOCKS = 2 * CHUNK  # from the beginning of a filesystem, the last one is that of btrfs, at 64 KiB
_QUARTER = 2 * MIB  # around each quarter of the disk, where the groups of an XFS begin
_EXT4_GROUP = 128 * MIB  # with blocks of 4 KiB

# Where a first partition, or the data of what lies below one, begins.
_BEGINNINGS_IN_HEAD = (
    0,
    34 * _SECTOR,  # behind a GPT
    40 * _SECTOR,  # macOS
    63 * _SECTOR,  # a track: DOS, Windows up to XP
    MIB // 16,
    MIB // 8,
    384 * _SECTOR,  # the first extent of an LVM of before 2009
    63 * _PAGE,
    MIB // 4,
    MIB // 2,
    MIB,  # nearly everything since 2009
    2 * MIB,  # the data of LUKS1
    4 * MIB,  # memory cards
    _CYLINDER,
    _CYLINDER + 63 * _SECTOR,  # the first logical partition
    8 * MIB,  # 2048 sectors of 4 KiB, and memory cards
    16 * MIB,  # the data of LUKS2, and memory cards
)
# Where a second or third one begins, behind partitions of usual sizes for booting and for swap; in MiB.
_BEGINNINGS_BEHIND = (
    *(64, 65),  # also the second superblock of a btrfs that begins at 0 or 1 MiB
    *(101, 117, 128, 129, 132),  # Windows' 100 MiB and its reserved 16; the data of mdadm 1.2
    *(201, 257, 260, 301, 351, 451, 501, 513, 516, 551, 601),
    *(1025, 1125, 1537, 1625, 2049, 4097, 8193),
)
BEGINNINGS = (*_BEGINNINGS_IN_HEAD, *(mib * MIB for mib in _BEGINNINGS_BEHIND), 409640 * _SECTOR)
_STARTS_OF_EXT4 = (0, MIB, _CYLINDER, 8 * MIB)  # 31.5 KiB and 64 KiB lie in what is read for 0
_XFS_GROUP = MIB * MIB - _PAGE  # the largest one: an XFS of more than 4 TiB has these, and none begins at a quarter
_THIRD_OF_BTRFS = 256 * 1024 * MIB  # its third superblock
_STARTS_OF_OTHERS = (0, 63 * _SECTOR, MIB // 16, MIB, _CYLINDER, 8 * MIB)

# What is known by its look where blkid does not search: name, place in its sector, bytes.
_MARKS = (
    ("a GPT, of sectors of another size", 0, b"EFI PART"),
    ("a label of LVM", 0, b"LABELONE"),
    ("a superblock of XFS", 0, b"XFSB"),
    ("a superblock of btrfs", 64, b"_BHRfS_M"),
    ("a boot sector of NTFS", 3, b"NTFS    "),
)
_EXT4_MARK = b"\x53\xef"
_MOST_SPOTS = 64  # chunks that hold something: enough to say what it is
_MOST_NAMED = 3

Place = tuple[int, int]  # offset and length in bytes


@dataclass(frozen=True)
class Spot:
    """A chunk that is not blank: where it begins, where its first byte is that is not, what it looks like and where."""

    chunk: int
    first: int
    look: str = ""
    look_at: int = 0


def places(size: int) -> list[Place]:
    """All that is read of a disk of `size` bytes, in order, none of it twice: all of a small one."""
    if size <= MOST_READ:
        return [(0, size)]
    wanted = [(0, HEAD), *ends(size)]
    wanted += [(size * quarter // 4 - _QUARTER // 2, _QUARTER) for quarter in (1, 2, 3)]
    wanted += [(beginning, _SUPERBLOCKS) for beginning in BEGINNINGS]
    wanted += [(start + group, CHUNK) for group in _ext4_copies(size) for start in _STARTS_OF_EXT4]
    wanted += [(start + copy, _PAGE) for copy in _other_copies(size) for start in _STARTS_OF_OTHERS]
    wanted += _samples(size)
    return _merged(wanted, size)


def ends(size: int) -> list[Place]:
    """The first MiB and the last ones, of a disk of which nothing is to be made."""
    return _merged([(0, MIB), (size - TAIL, TAIL)], size)


def _ext4_copies(size: int) -> Iterator[int]:
    """Where the groups begin that hold a copy of the superblock: 1 and the powers of 3, 5 and 7."""
    for base in (3, 5, 7):
        group = 1
        while group * _EXT4_GROUP < size:
            yield group * _EXT4_GROUP
            group *= base


def _other_copies(size: int) -> Iterator[int]:
    """Where XFS and btrfs have copies of a superblock that lie at none of the other places."""
    yield _THIRD_OF_BTRFS
    yield from range(_XFS_GROUP, size, _XFS_GROUP)


def _samples(size: int) -> Iterator[Place]:
    """One in each part, never in the same place of it: what repeats at an even distance is not missed by all."""
    part = size / SAMPLES
    for number in range(SAMPLES):
        within = number * 0.6180339887498949 % 1
        yield int((number + within) * part) // _PAGE * _PAGE, SAMPLE


def _merged(wanted: Iterable[Place], size: int) -> list[Place]:
    """In order and in whole pages, as far as the disk goes."""
    found: list[list[int]] = []
    for offset, length in sorted(wanted):
        start = max(0, offset) // _PAGE * _PAGE
        end = min(size, -(-(offset + length) // _PAGE) * _PAGE)
        if found and start <= found[-1][1]:
            found[-1][1] = max(found[-1][1], end)
        elif start < end:
            found.append([start, end])
    return [(start, end - start) for start, end in found]


def content_of(
    path: str,
    size: int,
    known_at: Callable[[int], Signature | None] = lambda offset: None,
    where: Callable[[int], list[Place]] = places,
) -> str:
    """What a device without signatures holds; "" when all that is read of it is 0, or erased flash.

    `known_at` says what begins at an offset, as far as the tools of the host know.
    """
    offset = 0
    spots: list[Spot] = []
    try:
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # nothing is read beside the places
            for offset, length in _chunks(where(size)):
                data = _read(file.fileno(), offset, length)
                if not is_empty(data):
                    spots.append(_spot(offset, data))
                if len(spots) >= _MOST_SPOTS:
                    break
    except OSError as error:
        return f"{CANNOT_READ}: {error.strerror}" + (f", at {_at(offset)}" if offset else "")
    return _said(spots, list(_named(spots, size, known_at)))


def make_blank(path: str, erase: Callable[[], None]) -> None:
    """Zeroes wherever `content_of` reads; `erase` takes the signatures away, and lets the kernel see that.

    The beginning last: until then it says what the disk was, so that a wipe that was cut off can be done once more.
    """
    head, *others = places(_size_of(path))
    _zero(path, others)
    erase()
    _zero(path, [head])


def _size_of(path: str) -> int:
    with open(path, "rb", buffering=0) as file:
        return file.seek(0, os.SEEK_END)


def _zero(path: str, where: Iterable[Place]) -> None:
    with open(path, "r+b", buffering=0) as file:
        for offset, length in _chunks(where):
            os.pwrite(file.fileno(), bytes(length), offset)
        os.fsync(file.fileno())


def is_empty(data: bytes) -> bool:
    """Whether nobody wrote there, or zeros: all of it is 0, or as flash is that was erased."""
    return data in (bytes(len(data)), b"\xff" * len(data))


def _chunks(where: Iterable[Place]) -> Iterator[Place]:
    for start, length in where:
        for offset in range(start, start + length, CHUNK):
            yield offset, min(CHUNK, start + length - offset)


def _read(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    if len(data) < length:
        raise OSError(errno.EIO, "it ends before the size that the kernel has of it")
    return data


def _spot(offset: int, data: bytes) -> Spot:
    within = len(data) - len(data.lstrip(data[:1] if data[:1] in (b"\0", b"\xff") else b"\0"))
    look, place = _look_of(data)
    return Spot(offset, offset + within, look, offset + place)


def _look_of(data: bytes) -> tuple[str, int]:
    for sector in range(0, len(data), _SECTOR):
        for name, place, mark in _MARKS:
            if data.startswith(mark, sector + place):
                return name, sector
        if _is_superblock_of_ext4(data[sector : sector + _SECTOR]):
            return "a superblock of ext2, ext3 or ext4", sector
    return "", 0


def _is_superblock_of_ext4(sector: bytes) -> bool:
    """The mark has two bytes only: with it a revision of the format, 0 or 1."""
    return sector[56:58] == _EXT4_MARK and int.from_bytes(sector[76:80], "little") <= 1


def _named(spots: list[Spot], size: int, known_at: Callable[[int], Signature | None]) -> Iterator[str]:
    """What the tools know where something was found: from the places where things begin, and from the find itself."""
    usual = [start for start in BEGINNINGS if any(_may_begin(start, spot) for spot in spots)]
    for start in sorted({*usual, *(spot.chunk for spot in spots[:_MOST_NAMED])}):
        signature = known_at(start) if start < size else None
        if signature:
            yield f"{signature} from {_at(start)} on"


def _may_begin(start: int, spot: Spot) -> bool:
    return start - CHUNK < spot.chunk < start + _SUPERBLOCKS


def _said(spots: list[Spot], named: list[str]) -> str:
    if not spots:
        return ""
    looks = {spot.look: f"{spot.look} at {_at(spot.look_at)}" for spot in reversed(spots) if spot.look}
    known = named or list(looks.values())
    if not known:
        return f"it holds data at {_at(spots[0].first)}, of a kind that neither wipefs nor blkid knows"
    return f"it holds {' and '.join(known[:_MOST_NAMED])}"


def _at(offset: int) -> str:
    return f"byte {offset} ({bytes_text(offset)})"
