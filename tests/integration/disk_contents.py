# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a disk may carry that must never be formatted, and what is said of it."""

from __future__ import annotations

import os
import struct
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path

from integration.loop_host import command


def lvm(path: Path) -> None:
    """The label of a physical volume, as LVM2 writes it into its second sector."""
    header = struct.pack("<8sQII8s32s", b"LABELONE", 1, 0, 32, b"LVM2 001", b"9" * 32)
    body = header[20:] + bytes(512 - len(header))
    checksum = ~zlib.crc32(body, ~0xF597A6CF & 0xFFFFFFFF) & 0xFFFFFFFF
    with path.open("r+b") as file:
        file.seek(512)
        file.write(header[:16] + struct.pack("<I", checksum) + body)


def raid(path: Path) -> None:
    """A superblock of Linux RAID, version 1.2, 4 KiB into the device."""
    block = bytearray(4096)
    struct.pack_into("<III", block, 0, 0xA92B4EFC, 1, 0)
    block[16:32] = uuid.uuid4().bytes
    block[32:38] = b"edge:0"
    struct.pack_into("<Q", block, 144, 8)  # where this superblock is, in sectors
    struct.pack_into("<I", block, 220, 0)
    total = sum(struct.unpack("<64I", block[:256]))
    struct.pack_into("<I", block, 216, ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(block)


def table_only(path: Path) -> None:
    command("sfdisk", "--quiet", str(path), data="label: gpt\n")


def tar(path: Path) -> None:
    """Raw data on a disk, as from `tar` onto it: of no kind that a tool knows."""
    with path.open("r+b") as file:
        file.write(b"./photos/2026/" + bytes(86) + b"0000644" + os.urandom(4096))


def _write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def luks(path: Path) -> None:
    """The header of LUKS2, as cryptsetup writes it."""
    header = struct.pack(">6sHQQ48s32s64s40s", b"LUKS\xba\xbe", 2, 16384, 3, b"", b"sha256", b"salt", b"6a1f7b8e-1111")
    _write(path, 0, header)


def bcache(path: Path) -> None:
    magic = bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")
    _write(path, 4096, struct.pack("<QQQ", 0, 8, 0) + magic + uuid.uuid4().bytes)


def ceph(path: Path) -> None:
    _write(path, 0, f"bluestore block device\n{uuid.uuid4()}\n".encode())


def zfs(path: Path) -> None:
    """Uberblocks of the first two labels."""
    for label in (0, 256 * 1024):
        for number in range(128):
            _write(path, label + 128 * 1024 + number * 1024, struct.pack("<QQQ", 0x00BAB10C, 5000, 1))


def second_table(path: Path) -> None:
    """A GPT whose first table was overwritten: the second one at the end of the disk says what was there."""
    command("sfdisk", "--quiet", str(path), data="label: gpt\n,100MiB\n")
    _write(path, 0, bytes(1 << 20))


def two_filesystems(path: Path) -> None:
    """ext4 made over XFS: both superblocks are whole, and blkid does not decide."""
    command("mkfs.xfs", "-q", str(path))
    superblock = path.read_bytes()[:512]
    command("mkfs.ext4", "-q", "-F", str(path))
    _write(path, 0, superblock)


def former_lvm(path: Path) -> None:
    """ext4 made over a physical volume of LVM, whose label is still there."""
    lvm(path)
    label = path.read_bytes()[512:1024]
    command("mkfs.ext4", "-q", "-F", str(path))
    _write(path, 512, label)


def lost_table(kind: str, start: int) -> Callable[[Path], None]:
    """A filesystem as it lay in a partition, on a disk whose tables are overwritten with zeros."""

    def fill(path: Path) -> None:
        whole = path.stat().st_size
        partition = path.with_name(f"{path.name}-partition")
        with partition.open("xb") as file:
            file.truncate((whole - start - (1 << 20)) // 4096 * 4096)
        label = ("-n", "PHOTOS") if kind == "vfat" else ("-L", "PHOTOS")
        command(f"mkfs.{kind}", *(("-q",) if kind != "vfat" else ()), *label, str(partition))
        command("dd", f"if={partition}", f"of={path}", "bs=512", f"seek={start // 512}", "conv=notrunc,sparse")
        partition.unlink()

    return fill


def second_superblocks(path: Path) -> None:
    """An ext4 of which the first 40 MiB are overwritten: copies of its superblock are left."""
    command("mkfs.ext4", "-q", "-b", "4096", str(path))
    _write(path, 0, bytes(40 << 20))


_TRACK, _CYLINDER = 63 * 512, 255 * 63 * 512

CARRIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "ext4": (
        lambda path: command("mkfs.ext4", "-q", "-L", "PHOTOS", str(path)),
        "signature of ext4 (label PHOTOS, UUID ",
    ),
    "xfs": (lambda path: command("mkfs.xfs", "-q", str(path)), "signature of xfs (UUID "),
    "partition table": (table_only, "a partition table without partitions: a signature of gpt"),
    "swap": (lambda path: command("mkswap", str(path)), "swap space: swap (UUID "),
    "LVM": (lvm, "a physical volume of LVM: LVM2_member"),
    "RAID": (raid, "a member of a Linux RAID: linux_raid_member"),
    "our label": (
        lambda path: command("mkfs.ext4", "-q", "-L", "volume-01", str(path)),
        "ext4 (label volume-01, UUID ",
    ),
    "LUKS": (luks, "an encrypted volume (LUKS): crypto_LUKS"),
    "bcache": (bcache, "a bcache device: bcache"),
    "Ceph": (ceph, "a Ceph OSD: ceph_bluestore"),
    "ZFS": (zfs, "a member of a ZFS pool: zfs_member"),
    "btrfs": (lambda path: _write(path, 0x10040, b"_BHRfS_M"), "a signature of btrfs"),
    "second table": (second_table, "a partition table without partitions: a signature of gpt"),
    "two filesystems": (two_filesystems, "a signature of ambivalent"),
    "former LVM": (former_lvm, "a physical volume of LVM: LVM2_member"),
    "last byte": (
        lambda path: _write(path, path.stat().st_size - 1, b"x"),
        "it holds data at byte 419430399 (400.0 MiB)",
    ),
    "raw data": (tar, "it holds data at byte 0 (0 B), of a kind that neither wipefs nor blkid knows"),
}

# Without a partition table or a signature at its beginning: what wipefs and blkid do not see on the disk as a whole.
LOST: dict[str, tuple[Callable[[Path], object], str]] = {
    "ext4 at a track": (lost_table("ext4", _TRACK), "from byte 32256 (31.5 KiB) on"),
    "xfs at 64 KiB": (lost_table("xfs", 65536), "it holds xfs (label PHOTOS, UUID "),
    "ext4 at 1 MiB": (lost_table("ext4", 1 << 20), "from byte 1048576 (1.0 MiB) on"),
    "ext4 at a cylinder": (lost_table("ext4", _CYLINDER), "from byte 8225280 (7.8 MiB) on"),
    "xfs at 2048 large sectors": (lost_table("xfs", 8 << 20), "from byte 8388608 (8.0 MiB) on"),
    "ext4 behind another": (lost_table("ext4", 129 << 20), "from byte 135266304 (129.0 MiB) on"),
    "copies of a superblock": (second_superblocks, "a superblock of ext2, ext3 or ext4 at byte 134217728 (128.0 MiB)"),
}
