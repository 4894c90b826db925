# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Whether a disk is blank: the places that are read, and the description of what they hold.

A disk without a partition table may have lost it. So it is read wherever a filesystem or a partition usually begins,
where filesystems keep copies of their superblocks, at both ends, and in samples spread across the whole disk. The
places depend only on the size: the places that are read for the blank check are those that are zeroed by a wipe.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ansible_collections.edgeops.snowsync.plugins.module_utils._engine.core.text import bytes_text
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.model import CANNOT_READ, MIB, Signature

CHUNK = MIB // 16  # bytes in one read
SAMPLES = 1024  # one in each 1/1024 of the disk
SAMPLE = MIB // 64
HEAD = 16 * MIB
TAIL = 8 * MIB
MOST_READ = 64 * MIB  # of one disk, regardless of its size

_SECTOR = 512
_PAGE = 4096
_CYLINDER = 255 * 63 * _SECTOR
_SUPERBLOCKS = 2 * CHUNK  # from the start of a filesystem; the last one is that of btrfs, at 64 KiB
_QUARTER = 2 * MIB  # around each quarter of the disk, where the groups of an XFS begin
_EXT4_GROUP = 128 * MIB  # with blocks of 4 KiB

# The usual starts of a first partition, or of the data below it.
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
# The usual starts of a second or third one, after boot and swap partitions of common sizes; in MiB.
_BEGINNINGS_BEHIND = (
    *(64, 65),  # also the second superblock of a btrfs that begins at 0 or 1 MiB
    *(101, 117, 128, 129, 132),  # Windows' 100 MiB and its reserved 16; the data of mdadm 1.2
    *(201, 257, 260, 301, 351, 451, 501, 513, 516, 551, 601),
    *(1025, 1125, 1537, 1625, 2049, 4097, 8193),
)
BEGINNINGS = (*_BEGINNINGS_IN_HEAD, *(mib * MIB for mib in _BEGINNINGS_BEHIND), 409640 * _SECTOR)
_STARTS_OF_EXT4 = (0, MIB, _CYLINDER, 8 * MIB)  # 31.5 KiB and 64 KiB are covered by the read at 0
_XFS_GROUP = MIB * MIB - _PAGE  # the largest one: an XFS of more than 4 TiB has these, and none begins at a quarter
_THIRD_OF_BTRFS = 256 * 1024 * MIB  # its third superblock
_STARTS_OF_OTHERS = (0, 63 * _SECTOR, MIB // 16, MIB, _CYLINDER, 8 * MIB)

# Magic numbers where blkid does not search: name, offset in the sector, bytes.
_MARKS = (
    ("a GPT, of sectors of another size", 0, b"EFI PART"),
    ("a label of LVM", 0, b"LABELONE"),
    ("a superblock of XFS", 0, b"XFSB"),
    ("a superblock of btrfs", 64, b"_BHRfS_M"),
    ("a boot sector of NTFS", 3, b"NTFS    "),
)
_EXT4_MARK = b"\x53\xef"
_MOST_SPOTS = 64  # chunks with data: enough to identify it
_MOST_NAMED = 3

Place = tuple[int, int]  # offset and length in bytes


@dataclass(frozen=True)
class Spot:
    """A chunk that is not blank: its start, its first byte that is not blank, what it looks like and where."""

    chunk: int
    first: int
    look: str = ""
    look_at: int = 0


def places(size: int) -> list[Place]:
    """The places that are read on a disk of `size` bytes, in order and without overlap: all of a small one."""
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
    """The first and last MiBs, for a disk that will not be formatted."""
    return _merged([(0, MIB), (size - TAIL, TAIL)], size)


def _ext4_copies(size: int) -> Iterator[int]:
    """The starts of the groups with a copy of the superblock: 1 and the powers of 3, 5 and 7."""
    for base in (3, 5, 7):
        group = 1
        while group * _EXT4_GROUP < size:
            yield group * _EXT4_GROUP
            group *= base


def _other_copies(size: int) -> Iterator[int]:
    """The copies of XFS and btrfs superblocks that are not covered by the other places."""
    yield _THIRD_OF_BTRFS
    yield from range(_XFS_GROUP, size, _XFS_GROUP)


def _samples(size: int) -> Iterator[Place]:
    """One in each part, at varying offsets, so that data at regular intervals is not missed by all of them."""
    part = size / SAMPLES
    for number in range(SAMPLES):
        within = number * 0.6180339887498949 % 1
        yield int((number + within) * part) // _PAGE * _PAGE, SAMPLE


def _merged(wanted: Iterable[Place], size: int) -> list[Place]:
    """In order, in whole pages, and within the disk."""
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
    """The content of a device without signatures; "" if everything that is read is 0 or erased flash.

    `known_at` returns what the tools of the host find at an offset.
    """
    offset = 0
    spots: list[Spot] = []
    try:
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # no read-ahead
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
    """Zeroes everything that `content_of` reads; `erase` removes the signatures and informs the kernel.

    The start is zeroed last: until then it identifies the disk, so that an interrupted wipe can be repeated.
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
    """Whether it was never written, or only with zeros: all bytes are 0, or as in erased flash."""
    return data in (bytes(len(data)), b"\xff" * len(data))


def _chunks(where: Iterable[Place]) -> Iterator[Place]:
    for start, length in where:
        for offset in range(start, start + length, CHUNK):
            yield offset, min(CHUNK, start + length - offset)


def _read(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    if len(data) < length:
        raise OSError(errno.EIO, "it is shorter than the size that the kernel reports")
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
    """The magic number has only two bytes, so the format revision must also be 0 or 1."""
    return sector[56:58] == _EXT4_MARK and int.from_bytes(sector[76:80], "little") <= 1


def _named(spots: list[Spot], size: int, known_at: Callable[[int], Signature | None]) -> Iterator[str]:
    """The signatures that the tools find near the data: at the usual starts, and at the data itself."""
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
