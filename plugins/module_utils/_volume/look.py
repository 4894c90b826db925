# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Scans a host's disks: lsblk, wipefs, blkid, the kernel's tables, and the markers. Changes nothing.

A filesystem that is not mounted is mounted briefly, read-only and without journal replay, if according to the record or
its label it may be a volume, or if the operator named its device.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import grp
import hashlib
import json
import mmap
import os
import platform
import pwd
import stat
import struct
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._engine.core.errors import LocalError
from ansible_collections.edgeops.snowsync.plugins.module_utils._engine.core.layout import MARKER_PATH, OWN_FOLDER
from ansible_collections.edgeops.snowsync.plugins.module_utils._engine.volumes.marker import read_marker
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.blank import content_of, ends, is_empty, places
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.fstab import unescape
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.left_alone import in_use, is_candidate
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.model import (
    FILESYSTEMS,
    UNREADABLE,
    Device,
    Entry,
    Machine,
    Signature,
    VolumeError,
    Wish,
)

_COLUMNS = "NAME,PATH,TYPE,SIZE,RO,SERIAL,WWN,MAJ:MIN"
READ_ONLY = {"ext4": "ro,noload,nosuid,nodev,noexec", "xfs": "ro,norecovery,nouuid,nosuid,nodev,noexec"}
_FREE_TRIES = 100  # to open a device exclusively; in a scan, for all devices together
_FREE_PAUSE = 0.05  # seconds between them
_SECTOR = 512  # the unit of /sys, whatever the sector size of the disk
# Runs a command and returns its exit code, stdout and stderr; VolumeError if the command does not exist.
Run = Callable[..., "tuple[int, str, str]"]


@dataclass(frozen=True)
class Places:
    """The paths that volumes need on a host; tests use their own."""

    fstab: str = "/etc/fstab"
    record: str = "/var/lib/snowsync-volumes/volumes.json"
    machine_id: str = "/etc/machine-id"
    ledgers: str = "/var/lib/snowsync"


def look(run: Run, wish: Wish, places: Places) -> Machine:
    """The current state of the machine. VolumeError if part of it cannot be determined."""
    record = read_record(places.record)
    fstab = read_text(places.fstab)
    seen = _Look(run, wish, record)
    disks = tuple(seen.disks())
    mounts = {mount for disk in disks for device in disk.family() for mount in device.mounts}
    return Machine(
        host=host_id(places),
        host_name=platform.node(),
        disks=disks,
        record=record,
        fstab=fstab,
        folders=tuple(_filled_folders(wish.mount_root, mounts)),
        stale=tuple(seen.stale()),
    )


def host_id(places: Places) -> str:
    """The ID of this host in markers: the machine ID itself must stay confidential, see machine-id(5)."""
    machine_id = read_text(places.machine_id).strip()
    if not machine_id:
        raise VolumeError("read", places.machine_id, "it is empty or missing", "Run systemd-machine-id-setup")
    return hashlib.sha256(f"snowsync:{machine_id}".encode()).hexdigest()[:32]


def read_record(path: str) -> tuple[Entry, ...]:
    """The volumes this host knows."""
    text = read_text(path)
    if not text and not os.path.exists(path):
        return ()
    try:
        content = json.loads(text)
        if content.get("version", 1) > 1:
            raise VolumeError(
                "read",
                path,
                f"it has version {content['version']}",
                "Use the version of edgeops.snowsync that wrote it, or a newer one",
            )
        return tuple(_entry(row) for row in content["volumes"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VolumeError(
            "read", path, f"it is damaged ({error})", "Restore it from a backup, or move it away"
        ) from error


def _entry(row: dict[str, Any]) -> Entry:
    entry = Entry(**{name: value if value is not None else "" for name, value in row.items()})
    if not all(isinstance(value, str) for value in entry.as_json().values()):
        raise ValueError(f"{row} has a value that is not text")
    return entry


def read_text(path: str) -> str:
    """The text of a file, with bytes that are not UTF-8 and line endings preserved."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise VolumeError("read", path, str(error)) from error


def _filled_folders(root: str, mounts: set[str]) -> Iterator[str]:
    """Non-empty folders below the mount root that are not mounted: none of them becomes a mount point."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for entry in os.scandir(root):
            if entry.path not in mounts and not _is_empty(entry):
                yield entry.name


def _is_empty(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False) and not os.listdir(entry.path)
    except OSError:  # e.g. a filesystem whose disk is gone
        return False


class _Look:
    def __init__(self, run: Run, wish: Wish, record: tuple[Entry, ...]) -> None:
        self.run = run
        self.wish = wish
        self.known = {entry.filesystem_uuid for entry in record}
        self.links = _links()
        for name in wish.devices:
            # A link specific to this host, e.g. from its own udev rules.
            self.links.setdefault(os.path.realpath(name), []).append(name)
        # The kernel reports the real mount points. Paths in fstab and the record may contain symlinks.
        self.aliases = {os.path.realpath(entry.path): entry.path for entry in record}
        self.real_root = os.path.realpath(wish.mount_root)
        mountinfo = read_text("/proc/self/mountinfo")
        self.mounts = {
            number: [self._as_named(path) for path in paths] for number, paths in mounts_of(mountinfo).items()
        }
        self.numbers: set[str] = set()
        self.tries = pauses()
        self.swaps = {os.path.realpath(path) for path in swaps_of(read_text("/proc/swaps"))}

    def _as_named(self, path: str) -> str:
        folder, _slash, name = path.rpartition("/")
        return self.aliases.get(path) or (self.wish.path(name) if folder == self.real_root else path)

    def stale(self) -> Iterator[str]:
        """The mount points of filesystems of a volume kind whose device is gone; known after `disks`."""
        for number, kind, path in _block_mounts(read_text("/proc/self/mountinfo")):
            if kind in FILESYSTEMS and number not in self.numbers:
                yield self._as_named(path)

    def disks(self) -> Iterator[Device]:
        code, printed, error = self.run(["lsblk", "--json", "--bytes", "--output", _COLUMNS])
        if code != 0:
            raise VolumeError("list", "the disks of this host", error or f"exit code {code} of lsblk")
        for row in json.loads(printed)["blockdevices"]:
            self.numbers.update(_numbers(row))
            # Optical drives and empty card readers are not disks.
            if row["type"] != "rom" and int(row["size"] or 0) > 0:
                yield self._device(row, None)

    def _device(self, row: Mapping[str, Any], disk: Device | None) -> Device:
        """A device from the output of lsblk, with everything on it; `disk` is the disk that it is on."""
        path = str(row["path"])
        real = os.path.realpath(path)
        serial, wwn = (row.get("serial") or "").strip(), row.get("wwn") or ""
        device = Device(
            path=path,
            kind=row["type"],
            size=int(row["size"]),
            names=tuple(dict.fromkeys([path, real, *self.links.get(real, ()), *filter(None, [serial, wwn])])),
            serial=serial,
            wwn=wwn,
            read_only=bool(row["ro"]),
            start=_start(row["maj:min"]),
            sequence=sequence_of(row["maj:min"]),
            is_swap=real in self.swaps,
            mounts=tuple(self.mounts.get(row["maj:min"], ())),
        )
        device = replace(
            device, children=tuple(self._device(child, disk or device) for child in row.get("children", ()))
        )
        return self._probed(device, disk or device) if device.kind in ("disk", "loop", "part") else device

    def _probed(self, device: Device, disk: Device) -> Device:
        """The device with its content."""
        signatures = tuple(signatures_on(self.run, device.path))
        device = replace(
            device,
            signatures=signatures,
            partition_uuid=self._partition_uuid(device.path) if device.kind == "part" else "",
            is_busy=self._is_in_sight(device, disk) and not in_use(device) and is_held(device.path, self.tries),
            content="" if signatures or device.children else self._content(device, disk),
            starts_empty=_starts_empty(device.path),
        )
        filesystem = device.filesystem
        if filesystem and (device.mounts or self._may_be_volume(device, filesystem, disk)):
            with self._mounted(device, filesystem) as folder:
                device = replace(
                    device,
                    filesystem_size=self._filesystem_size(device, filesystem),
                    # Without journal replay a filesystem in the record may look damaged: the marker is read again
                    # once it is mounted.
                    marker=marker_at(folder, may_be_damaged=not device.mounts and filesystem.uuid in self.known),
                    root=owner_of(folder, self.wish.owner, self.wish.group),
                )
        return device

    def _content(self, device: Device, disk: Device) -> str:
        """Data that tools do not detect. Reads the whole range if it may be formatted, else only its ends."""
        may_be_formatted = self._is_in_sight(device, disk) and (device.path == disk.path or bool(self.wish.devices))
        begins = functools.partial(signature_at, self.run, device.path)
        return content_of(device.path, device.size, begins, places if may_be_formatted else ends)

    def _is_in_sight(self, device: Device, disk: Device) -> bool:
        """Whether this run may use the device: to open others exclusively could get in the way of who uses them."""
        return self._is_looked_for(disk) or self._is_named(device, disk)

    def _is_looked_for(self, disk: Device) -> bool:
        return not self.wish.devices and is_candidate(disk, self.wish.match)

    def _is_named(self, device: Device, disk: Device) -> bool:
        return any(name in self.wish.devices for name in (*device.names, *disk.names))

    def _may_be_volume(self, device: Device, filesystem: Signature, disk: Device) -> bool:
        return (
            filesystem.uuid in self.known
            or (self._is_looked_for(disk) and filesystem.label.startswith("volume-"))
            or self._is_named(device, disk)
            or filesystem.label in self.wish.volumes
        )

    def _partition_uuid(self, path: str) -> str:
        _code, printed, _error = self.run(["blkid", "--probe", "--output", "export", path])
        return pairs_of(printed).get("PART_ENTRY_UUID", "")

    @contextlib.contextmanager
    def _mounted(self, device: Device, filesystem: Signature) -> Iterator[str]:
        """The folder where the filesystem is mounted, "" if it cannot be mounted."""
        if device.mounts:
            yield device.mounts[0]
            return
        is_held(device.path, self.tries)  # if so, mount says it
        folder = tempfile.mkdtemp(prefix="snowsync-look-")
        options = READ_ONLY[filesystem.kind]
        code, _printed, _error = self.run(["mount", "-t", filesystem.kind, "-o", options, device.path, folder])
        try:
            yield folder if code == 0 else ""
        finally:
            if code == 0:
                self.run(["umount", folder])
            os.rmdir(folder)

    def _filesystem_size(self, device: Device, filesystem: Signature) -> int:
        if filesystem.kind == "xfs" and device.mounts:
            # The superblock on disk is outdated while an XFS is mounted.
            _code, printed, _error = self.run(["xfs_info", device.mounts[0]])
            return xfs_size(printed)
        try:
            return superblock_size(_read_at(device.path, 0, 4096), filesystem.kind)
        except OSError:
            return 0


def signatures_on(run: Run, path: str) -> Iterator[Signature]:
    """The signatures that wipefs and blkid find on a device, without duplicates."""
    code, printed, error = run(["wipefs", "--no-act", "--json", path])
    trouble = error.strip() or f"exit code {code} of wipefs" if code != 0 else _trouble_of_medium(path)
    if trouble:
        yield Signature(UNREADABLE, label=trouble)
    found = signatures_of(printed)
    yield from found
    code, printed, error = run(["blkid", "--probe", "--output", "export", path])
    if code == 8:
        yield Signature("ambivalent")
    elif code == 0 and not found and (seen := blkid_signature(printed)):
        yield seen


def signature_at(run: Run, path: str, offset: int) -> Signature | None:
    """The filesystem or partition table that blkid finds at this offset of a device."""
    code, printed, _error = run(["blkid", "--probe", "--offset", str(offset), "--output", "export", path])
    return Signature("ambivalent") if code == 8 else blkid_signature(printed)


def marker_at(folder: str, *, may_be_damaged: bool = False) -> dict[str, str] | None:
    """The marker of the mounted filesystem; an unreadable one counts as foreign, unless it `may_be_damaged`."""
    if not folder:
        return None
    try:
        refuse_links(folder)
        return read_marker(Path(folder))
    except (LocalError, OSError) as error:
        damaged = {"uuid": UNREADABLE, "name": "a volume whose marker is damaged", "host": UNREADABLE}
        cause = error.__cause__ or error
        if isinstance(cause, OSError) and cause.errno != errno.ELOOP:
            damaged["trouble"] = str(cause)  # of the disk, not of the marker
        return None if may_be_damaged else damaged


def refuse_links(folder: str) -> None:
    """OSError if a volume's marker is not a regular file in a real folder: its owner could redirect root anywhere."""
    for path, is_right in (
        (f"{folder}/{OWN_FOLDER}", stat.S_ISDIR),
        (f"{folder}/{MARKER_PATH}", stat.S_ISREG),
    ):
        with contextlib.suppress(FileNotFoundError):
            if not is_right(os.lstat(path).st_mode):
                raise OSError(errno.ELOOP, "it is a symlink or another kind of file", path)


def owner_of(folder: str, owner: str, group: str) -> tuple[str, str, int] | None:
    """Owner, group and mode of a folder; the first two as numbers if requested so, or if they have no name."""
    if not folder:
        return None
    try:
        status = os.stat(folder)
    except OSError:  # e.g. a disk that fails while it is mounted
        return None
    user, team = str(status.st_uid), str(status.st_gid)
    with contextlib.suppress(KeyError):
        user = user if owner.isdecimal() else pwd.getpwuid(status.st_uid).pw_name
    with contextlib.suppress(KeyError):
        team = team if group.isdecimal() else grp.getgrgid(status.st_gid).gr_name
    return user, team, stat.S_IMODE(status.st_mode)


def signatures_of(printed: str) -> list[Signature]:
    """The output of ``wipefs --no-act --json``, without duplicates (a GPT has two tables)."""
    try:
        rows = json.loads(printed)["signatures"] if printed.strip() else []
    except (ValueError, KeyError):
        return [Signature(UNREADABLE, label=printed.strip()[:80])]
    found = (Signature(row["type"], row.get("uuid") or "", row.get("label") or "") for row in rows)
    return list(dict.fromkeys(found))


def pairs_of(printed: str) -> dict[str, str]:
    """The values of ``blkid --output export``."""
    return {name: value for name, _is, value in (line.partition("=") for line in printed.splitlines())}


def blkid_signature(printed: str) -> Signature | None:
    """The signature in the output of blkid; None if it only describes the partition itself."""
    found = pairs_of(printed)
    kind = found.get("TYPE") or found.get("PTTYPE")
    return Signature(kind, found.get("UUID") or found.get("PTUUID", ""), found.get("LABEL", "")) if kind else None


def mounts_of(mountinfo: str) -> dict[str, list[str]]:
    """Mount points by MAJOR:MINOR, from /proc/self/mountinfo (proc(5)), those of a whole filesystem first.

    A filesystem with its own device numbers, like btrfs, shows the device as its source.
    """
    found: dict[str, list[str]] = {}
    lines = [line.partition(" - ") for line in mountinfo.splitlines()]
    for left, _dash, right in sorted(lines, key=lambda line: line[0].split()[3] != "/"):
        number, mount_point = left.split()[2], unescape(left.split()[4])
        source = os.path.realpath(right.split()[1]) if " /dev/" in right else ""
        with contextlib.suppress(OSError):
            status = os.stat(source) if source else None
            if status and stat.S_ISBLK(status.st_mode):
                number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        found.setdefault(number, []).append(mount_point)
    return found


def _block_mounts(mountinfo: str) -> Iterator[tuple[str, str, str]]:
    """MAJOR:MINOR, kind and mount point of each mounted device."""
    for line in mountinfo.splitlines():
        left, _dash, right = line.partition(" - ")
        if right.split()[1].startswith("/dev/"):
            yield left.split()[2], right.split()[0], unescape(left.split()[4])


def _numbers(row: Mapping[str, Any]) -> Iterator[str]:
    """MAJOR:MINOR of a device that lsblk shows, and of everything on it."""
    yield row["maj:min"]
    for child in row.get("children", ()):
        yield from _numbers(child)


def swaps_of(text: str) -> Iterable[str]:
    """The devices and files of /proc/swaps."""
    return [unescape(line.split()[0]) for line in text.splitlines()[1:] if line.strip()]


def _starts_empty(path: str) -> bool:
    try:
        return is_empty(_read_at(path, 0, 1024))
    except OSError:
        return False


def superblock_size(block: bytes, kind: str) -> int:
    """The size of a filesystem from the first 4 KiB of its device, 0 if unknown."""
    if kind == "xfs" and block[:4] == b"XFSB":
        block_size, blocks = struct.unpack(">IQ", block[4:16])
        return int(block_size * blocks)
    if kind == "ext4" and block[1080:1082] == b"\x53\xef":
        (low,), (shift,), (high,) = (struct.unpack_from("<I", block, 1024 + offset) for offset in (4, 24, 0x150))
        has_64_bit = struct.unpack_from("<I", block, 1024 + 0x60)[0] & 0x80
        return int((low + ((high << 32) if has_64_bit else 0)) * (1024 << shift))
    return 0


def was_mounted(path: str, kind: str) -> bool:
    """Whether a filesystem was ever mounted writable; for XFS, mounted in any way other than ours.

    mkfs leaves the last mount time of ext4, and the log sequence number in the superblock of XFS, at 0.
    """
    offset, length = {"ext4": (1024 + 0x2C, 4), "xfs": (240, 8)}[kind]
    return any(_read_at(path, offset, length))


def xfs_size(printed: str) -> int:
    """The size of the data section in the output of ``xfs_info``, 0 if unknown."""
    for line in printed.splitlines():
        words = dict(word.split("=", 1) for word in line.replace(",", " ").split() if "=" in word)
        if line.startswith("data ") and words.get("bsize", "").isdigit() and words.get("blocks", "").isdigit():
            return int(words["bsize"]) * int(words["blocks"])
    return 0


def _read_at(path: str, offset: int, length: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return os.pread(file.fileno(), length, offset)


def _trouble_of_medium(path: str) -> str:
    """Why the first block cannot be read, "" if it can: from the disk itself, not from the page cache.

    Cached blocks of a device stay in memory while a filesystem on it is mounted, even if the disk has failed.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:  # a driver without support for O_DIRECT
        return ""
    try:
        with mmap.mmap(-1, mmap.PAGESIZE) as block:  # aligned, as O_DIRECT requires
            os.preadv(descriptor, [block], 0)
    except OSError as error:
        return "" if error.errno == errno.EINVAL else f"it cannot be read: {error.strerror}"
    finally:
        os.close(descriptor)
    return ""


def pauses() -> Iterator[bool]:
    """Between tries to have a device exclusively, from before the first try on, as long as it may be worth one.

    For a moment many hold a device: another run that looks at it, udev when a disk appears or its table changes, mdadm
    called by udev.
    """
    yield True
    for _try in range(_FREE_TRIES):
        time.sleep(_FREE_PAUSE)
        yield True


def is_held(path: str, tries: Iterator[bool]) -> bool:
    """Whether anything holds the device exclusively, e.g. in another container, until there are no `tries` left.

    See O_EXCL in open(2).
    """
    while True:
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_EXCL))
        except OSError as error:
            if error.errno != errno.EBUSY or not next(tries, False):
                return True
        else:
            return False


def _start(number: str) -> int:
    try:
        return int(Path(f"/sys/dev/block/{number}/start").read_text(encoding="ascii")) * _SECTOR
    except (OSError, ValueError):
        return 0


def sequence_of(number: str) -> str:
    """The sequence number of the disk with this MAJOR:MINOR: a later disk has another one, since Linux 5.15."""
    for path in (f"/sys/dev/block/{number}/diskseq", f"/sys/dev/block/{number}/../diskseq"):
        with contextlib.suppress(OSError):
            return Path(path).read_text(encoding="ascii").strip()
    return ""


def _links() -> dict[str, list[str]]:
    """The names below /dev/disk of each device."""
    found: dict[str, list[str]] = {}
    for folder, _folders, names in os.walk("/dev/disk"):
        for name in sorted(names):
            found.setdefault(os.path.realpath(f"{folder}/{name}"), []).append(f"{folder}/{name}")
    return found
