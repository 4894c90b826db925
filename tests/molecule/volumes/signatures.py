# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""signatures.py KIND DEVICE: makes the device look like a member of something larger, without the tools for that.

KIND is `lvm` (a label and header of LVM2) or `raid` (a superblock of Linux RAID, version 1.2).
"""

from __future__ import annotations

import struct
import sys
import zlib

SECTOR = 512
LVM_CRC_START = 0xF597A6CF
RAID_MAGIC, RAID_OFFSET = 0xA92B4EFC, 4096


def lvm() -> tuple[int, bytes]:
    """The second sector: label_header and pv_header."""
    behind_crc = struct.pack("<I8s32s", 32, b"LVM2 001", b"0123456789abcdef" * 2)
    behind_crc = behind_crc.ljust(SECTOR - 20, b"\0")
    crc = zlib.crc32(behind_crc, LVM_CRC_START ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
    return SECTOR, struct.pack("<8sQI", b"LABELONE", 1, crc) + behind_crc


def raid() -> tuple[int, bytes]:
    """mdp_superblock_1 with no devices listed."""
    block = bytearray(256)
    struct.pack_into("<III", block, 0, RAID_MAGIC, 1, 0)
    struct.pack_into("<16s32s", block, 16, b"fedcba9876543210", b"elsewhere:0")
    struct.pack_into("<QQQ", block, 128, 2048, 65536, RAID_OFFSET // SECTOR)
    total = sum(struct.unpack("<64I", block))
    struct.pack_into("<I", block, 216, (total & 0xFFFFFFFF) + (total >> 32))
    return RAID_OFFSET, bytes(block)


def main() -> None:
    kind, device = sys.argv[1:]
    offset, content = {"lvm": lvm, "raid": raid}[kind]()
    with open(device, "r+b") as stream:
        stream.seek(offset)
        stream.write(content)


if __name__ == "__main__":
    main()
