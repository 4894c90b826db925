# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Why a disk is left alone: the reasons shown to the operator. No side effects here."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator

from ansible_collections.edgeops.snowsync.plugins.module_utils._engine.core.text import bytes_text
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.fstab import parse
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.model import MIB, Device, Machine, Wish

# A disk with one of these mount points holds the running system.
_SYSTEM = (
    "/",
    "/boot",
    "/boot/efi",
    "/efi",
    "/etc",
    "/home",
    "/opt",
    "/root",
    "/srv",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
)
# The names that blkid uses for members of a larger structure.
_MEMBERS = {
    "LVM2_member": "a physical volume of LVM",
    "linux_raid_member": "a member of a Linux RAID",
    "isw_raid_member": "a member of an Intel RAID",
    "ddf_raid_member": "a member of a DDF RAID",
    "zfs_member": "a member of a ZFS pool",
    "crypto_LUKS": "an encrypted volume (LUKS)",
    "bcache": "a bcache device",
    "ceph_bluestore": "a Ceph OSD",
    "swap": "swap space",
    "PMBR": "a protective partition table",
}
_TABLES = ("gpt", "dos", "sun", "mac", "bsd", "sgi", "atari", "PMBR")
# Devices that are not disks: memory, removable media.
_NO_DISKS = ("/dev/zram", "/dev/ram", "/dev/fd", "/dev/sr", "/dev/mtdblock")
# The fstab tags for the links below /dev/disk.
_TAGS = {"by-uuid": "UUID", "by-label": "LABEL", "by-partuuid": "PARTUUID", "by-partlabel": "PARTLABEL"}
_SMALLEST = {"ext4": 64 * MIB, "xfs": 320 * MIB}


def is_candidate(disk: Device, match: tuple[str, ...]) -> bool:
    """Whether ``select`` considers this device: whole disks, and loop and network devices that `match` names."""
    if disk.path.startswith(_NO_DISKS):
        return False
    if match:
        return any(fnmatch.fnmatchcase(name, pattern) for name in disk.names for pattern in match)
    return disk.kind == "disk" and not disk.path.startswith("/dev/nbd")


def in_use(disk: Device, but_for: str = "") -> str:
    """How the running system uses the disk or anything on it, except the mount `but_for`; "" if it does not."""
    family = list(disk.family())
    mounts = [mount for device in family for mount in device.mounts if mount != but_for]
    system = [mount for mount in mounts if mount in _SYSTEM]
    if system:
        return f"it carries the running system ({', '.join(sorted(system))})"
    if mounts:
        return f"it is mounted at {', '.join(sorted(mounts))}"
    if any(device.is_swap for device in family):
        return "it is used as swap space"
    holders = [f"{device.path} ({device.kind})" for device in family if device.kind != "part" and device is not disk]
    if holders:
        return f"it is in use by {', '.join(holders)}"
    return ""


def carries(disk: Device) -> str:
    """What is on the disk, "" if it is provably blank."""
    if disk.marker:
        return f"it is {disk.marker['name']} of {disk.marker.get('host_name') or 'an unnamed host'}"
    if disk.partitions:
        inside = [carries(partition) or "nothing known" for partition in disk.partitions]
        tables = {signature.kind for signature in disk.signatures if signature.kind in _TABLES}
        table = " and ".join(sorted(tables - {"PMBR"} or tables))  # a GPT includes a protective MBR
        return f"it has a partition table ({table or 'of an unknown kind'}) with {_listed(inside)}"
    if any(signature.kind in _TABLES for signature in disk.signatures):
        return "it has a partition table without partitions: " + _signatures(disk)
    if disk.signatures:
        return "it has " + _signatures(disk)
    return disk.content


def _listed(parts: list[str]) -> str:
    shown = "; ".join(f"{number}: {part.removeprefix('it has ')}" for number, part in enumerate(parts[:4], 1))
    return f"{len(parts)} partition{'s' * (len(parts) != 1)} ({shown}{'; ...' * (len(parts) > 4)})"


def _signatures(device: Device) -> str:
    said = []
    for signature in device.signatures:
        meaning = _MEMBERS.get(signature.kind)
        said.append(f"{meaning}: {signature}" if meaning else f"a signature of {signature}")
    return ", ".join(said)


def unusable(disk: Device, machine: Machine, wish: Wish) -> str:
    """Why a disk cannot become a volume, whatever is on it; "" if it can."""
    if disk.read_only:
        return "it is read-only"
    if disk.is_busy:
        return "a program or the kernel holds it exclusively"
    called = {name for device in disk.family() for name in _fstab_names(device)}
    named = [mount.path for mount in parse(machine.fstab) if _plain(mount.source) in called]
    if named:
        return f"fstab has it for {', '.join(named)}"
    smallest = _SMALLEST[wish.filesystem]
    return f"it is too small: {bytes_text(disk.size)}, {wish.filesystem} needs {bytes_text(smallest)}" * (
        disk.size < smallest
    )


def _fstab_names(device: Device) -> Iterator[str]:
    """All fstab sources that refer to this device, see fstab(5)."""
    tags = [("by-partuuid", device.partition_uuid)] if device.partition_uuid else []
    for signature in device.signatures:
        tags += [(by, value) for by, value in (("by-uuid", signature.uuid), ("by-label", signature.label)) if value]
    for name in (*device.names, *(f"/dev/disk/{by}/{value}" for by, value in tags)):
        yield _plain(name)
        folder, _slash, value = name.removeprefix("/dev/disk/").partition("/")
        if folder in _TAGS:
            yield _plain(f"{_TAGS[folder]}={value}")


def _plain(source: str) -> str:
    """Without quotes and case, which do not matter for UUIDs; in doubt, a match protects the disk."""
    return source.replace('"', "").replace("'", "").lower()


def twin(disk: Device, machine: Machine, *, is_named: bool = False) -> str:
    """Why the disk may be the same as another one that the kernel shows; "" if it is not.

    This happens with two paths to a disk and no multipath. Some USB adapters report the same serial number for all
    disks: if the operator names one of them, only a WWN counts.
    """
    for other in machine.disks:
        is_same = bool(disk.wwn) and disk.wwn == other.wwn
        may_be_same = not (disk.wwn or other.wwn) and bool(disk.serial) and disk.serial == other.serial
        may_be_same = may_be_same and disk.size == other.size and not is_named
        if other.path != disk.path and (is_same or may_be_same):
            what = f"WWN {disk.wwn}" if is_same else f"serial number {disk.serial}"
            return f"{other.path} may be the same disk: both have {what}"
    return ""


def out_of_bounds(disk: Device, wish: Wish) -> str:
    """Why the size of a disk is outside the limits of ``select``."""
    if disk.size < wish.size_min:
        return f"it is too small: {bytes_text(disk.size)}, `size_min` is {bytes_text(wish.size_min)}"
    if wish.size_max is not None and disk.size > wish.size_max:
        return f"it is too large: {bytes_text(disk.size)}, `size_max` is {bytes_text(wish.size_max)}"
    return ""


def is_begun(disk: Device, machine: Machine) -> bool:
    """Whether this host started to format the disk while it was blank, and was interrupted before any signature.

    Only a persistent name counts: its path may refer to another disk since the last boot.
    """
    if disk.signatures or disk.partitions or not disk.starts_empty:
        return False
    others = {name for other in machine.disks if other.path != disk.path for name in other.names}
    stable = {name for name in disk.names if name.startswith("/dev/disk/by-id/") or not name.startswith("/")} - others
    return any(entry.state == "formatting" and entry.disk in stable for entry in machine.record)


def obstacle(disk: Device, machine: Machine, wish: Wish) -> str:
    """Why ``select: blank`` leaves a disk alone; "" if it is blank and may be used."""
    found = "" if is_begun(disk, machine) else carries(disk)
    return in_use(disk) or found or unusable(disk, machine, wish) or twin(disk, machine) or out_of_bounds(disk, wish)
