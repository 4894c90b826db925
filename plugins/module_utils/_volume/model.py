# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The data model of a host's disks and volumes, and of the desired state. No side effects here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._engine.core.layout import MARKER_PATH

MIB = 1024**2
FILESYSTEMS = ("ext4", "xfs")
# A filesystem leaves up to one of its groups unused at the end of a device. Growing by less than this is not worth it.
GROWTH = 16 * MIB
# The kind of a signature, or the identity of a marker, that cannot be read: the owner is unknown.
UNREADABLE = "unreadable"
CANNOT_READ = "it cannot be read"
MARKER_WAY = "Remove that file: it is rewritten from the record of this host"


class VolumeError(Exception):
    """Names the operation, the device, the cause and the fix. `device` may be the name of a volume."""

    def __init__(self, doing: str, device: str, cause: str, fix: str = "") -> None:
        self.device = device
        thing = f"{doing} {device}".rstrip()
        super().__init__(f"Failed to {thing}: {cause.strip().rstrip('.')}." + (f" {fix}." if fix else ""))


@dataclass(frozen=True)
class Signature:
    """One signature that ``wipefs`` or ``blkid`` finds on a device: ext4, swap, gpt, LVM2_member ..."""

    kind: str
    uuid: str = ""
    label: str = ""

    def __str__(self) -> str:
        more = [f"label {self.label}"] * bool(self.label) + [f"UUID {self.uuid}"] * bool(self.uuid)
        return self.kind + (f" ({', '.join(more)})" if more else "")


@dataclass(frozen=True)
class Device:
    """A disk, a partition, or a device on top of one. Sizes and `start` are in bytes.

    `names` are all its names, including `path`. `is_busy`: a program or the kernel holds it exclusively, which is only
    looked at where this run may use it.
    `marker` is the content of `.snowsync/volume.json` on its filesystem; None if there is none or it was not read.
    """

    path: str
    kind: str  # disk, loop, part, lvm, crypt, raid1 ..., as in lsblk
    size: int
    names: tuple[str, ...] = ()
    read_only: bool = False
    start: int = 0
    partition_uuid: str = ""
    serial: str = ""
    wwn: str = ""
    signatures: tuple[Signature, ...] = ()
    mounts: tuple[str, ...] = ()
    is_swap: bool = False
    is_busy: bool = False
    content: str = ""  # data on it that tools do not detect on the whole device, or why it cannot be read
    sequence: str = ""  # the kernel's sequence number of this disk; "" if it has none
    starts_empty: bool = True  # the first KiB, which none of our mkfs commands fills before the signature
    filesystem_size: int = 0
    marker: Mapping[str, str] | None = None
    root: tuple[str, str, int] | None = None  # owner, group, mode of the mounted filesystem's top folder
    children: tuple[Device, ...] = ()

    @property
    def partitions(self) -> tuple[Device, ...]:
        return tuple(child for child in self.children if child.kind == "part")

    @property
    def filesystem(self) -> Signature | None:
        """The filesystem, if it is of a kind that volumes have and nothing else is on the device."""
        return self.signatures[0] if len(self.signatures) == 1 and self.signatures[0].kind in FILESYSTEMS else None

    @property
    def unreadable(self) -> str:
        """Why it cannot be read, "" if it can. On a failing disk wipefs and blkid may find no signatures."""
        if self.content.startswith(CANNOT_READ):
            return self.content
        return next((signature.label for signature in self.signatures if signature.kind == UNREADABLE), "")

    def family(self) -> Iterator[Device]:
        """This device and everything on it."""
        yield self
        for child in self.children:
            yield from child.family()


@dataclass(frozen=True)
class Entry:
    """A volume in the host's record. `state`: formatting, formatted, ready, absent (out of use), wiping, wiped.

    A wiped one is on no disk. It stays so that its name is not reused: ledgers tie names to identities.
    """

    name: str
    path: str
    identity: str
    filesystem_uuid: str
    filesystem: str
    disk: str
    partition_uuid: str = ""
    state: str = "ready"

    @property
    def marker_path(self) -> str:
        return f"{self.path}/{MARKER_PATH}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Machine:
    """One scan of a host. `folders` are the names below the mount root that are not mounted but not empty,
    `stale` the mount points of filesystems whose disk is gone.
    """

    host: str
    host_name: str
    disks: tuple[Device, ...]
    record: tuple[Entry, ...] = ()
    fstab: str = ""
    folders: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wish:
    """The options of the module. Sizes in bytes."""

    state: str = "present"
    devices: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    match: tuple[str, ...] = ()
    count: int | None = None
    size_min: int = 1024 * MIB
    size_max: int | None = None
    filesystem: str = "ext4"
    partition: bool = False
    mount_root: str = "/srv/snowsync"
    mount_options: tuple[str, ...] = ("noatime",)
    device_timeout: int = 10
    owner: str = "snowsync"
    group: str = "snowsync"
    mode: int = 0o750
    adopt_foreign: bool = False
    force: bool = False
    force_signature: str = ""

    def path(self, name: str) -> str:
        return f"{self.mount_root}/{name}"


@dataclass(frozen=True)
class Step:
    """One action, which needs no further scan of the machine. `entry` is the volume as recorded at that time."""

    do: str  # a key of _SAYINGS
    entry: Entry
    device: str = ""
    signatures: tuple[Signature, ...] = ()  # must still be on the device, otherwise the step is refused
    line: str = ""

    def __str__(self) -> str:
        return _SAYINGS[self.do].format(entry=self.entry, device=self.device, line=self.line)


_SAYINGS = {
    "record": "record {entry.name} as {entry.state}",
    "forget": "forget {entry.name}",
    "clear": "erase all signatures on {device}",
    "partition": "create one partition on {device}",
    "format": "format {device} as {entry.filesystem} for {entry.name}",
    "check": "check the unfinished filesystem on {device}",
    "fstab": "write to fstab: {line}",
    "mount": "mount {entry.name} at {entry.path}",
    "grow_partition": "grow the partition {device}",
    "grow": "grow the filesystem of {entry.name}",
    "mark": "write the marker of {entry.name}",
    "own": "set owner and mode of {entry.path}",
    "unmount": "unmount {entry.path}",
    "fstab_out": "remove {entry.path} from fstab",
    "vouch": "verify that {entry.name} holds nothing that is still needed",
    "wipe": "wipe {device}",
}


@dataclass(frozen=True)
class VolumePlan:
    """The steps for one volume, in this order; `state` is its state before."""

    entry: Entry
    device: str = ""
    size: int = 0
    state: str = "ready"
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Plan:
    volumes: tuple[VolumePlan, ...] = ()
    left_alone: tuple[tuple[str, str], ...] = ()  # device and reason
    problems: tuple[VolumeError, ...] = ()  # volumes that cannot be used, without effect on the others

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for volume in self.volumes for step in volume.steps)
