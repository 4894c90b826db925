# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Carries out a plan step by step: each step is durable when it ends, and can be repeated."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import json
import os
import pwd
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._engine.core.errors import LocalError
from ansible_collections.edgeops.snowsync.plugins.module_utils._engine.core.layout import (
    MARKER,
    MARKER_PATH,
    OWN_FOLDER,
    holds_no_object,
    links_to_dropped,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._engine.volumes.marker import read_marker, write_marker
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.blank import content_of, make_blank
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.fstab import with_line, without
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.look import (
    READ_ONLY,
    Places,
    Run,
    pauses,
    read_record,
    read_text,
    refuse_links,
    sequence_of,
    signatures_on,
    was_mounted,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.model import (
    MARKER_WAY,
    Device,
    Entry,
    Machine,
    Step,
    VolumeError,
    Wish,
)

_SAID = 300  # characters from the end of a failed command's output
_AGAIN = "Run the task again"
_PATIENCE = 15.0  # seconds until the kernel shows a new partition
# A tool that needs the device exclusively, and has done nothing to it.
_HELD = re.compile("Device or resource busy|(apparently|currently) in use|already mounted (on|or mount point busy)")
_FSCK = {"ext4": ["e2fsck", "-f", "-n"], "xfs": ["xfs_repair", "-n"]}


@dataclass
class Hands:
    """Carries out steps on this machine. `vouch` raises VolumeError unless no ledger needs a volume's identity."""

    run: Run
    wish: Wish
    machine: Machine
    places: Places
    vouch: Callable[[Entry], None]
    move: Callable[[str, str], None] = os.rename
    only_looks: bool = False
    _partitions: dict[str, str] = field(default_factory=dict)  # made by this run, by volume

    def do(self, step: Step) -> None:
        """Performs one step; VolumeError if it fails."""
        action: Callable[[Step], None] = getattr(self, f"_{step.do}")
        try:
            action(step)
        except LocalError as error:
            raise VolumeError("finish", step.entry.name, str(error)) from error
        except OSError as error:
            raise VolumeError(str(step), "", str(error)) from error

    def _command(
        self, step: Step, argv: list[str], fix: str = "", *, good: tuple[int, ...] = (0,), data: str | None = None
    ) -> str:
        for _pause in pauses():
            code, printed, error = self.run(argv, data)
            if code in good or not _HELD.search(error):
                break
        if code not in good:
            said = " ".join((error.strip() or printed.strip() or f"exit code {code}").split())[-_SAID:]
            raise VolumeError(str(step), "", f"{argv[0]}: {said}", fix)
        return printed

    # The record and fstab

    def _record(self, step: Step) -> None:
        entries = {entry.name: entry for entry in read_record(self.places.record)}
        entries[step.entry.name] = step.entry
        self._write_record(entries)

    def _forget(self, step: Step) -> None:
        entries = {entry.name: entry for entry in read_record(self.places.record)}
        entries.pop(step.entry.name, None)
        self._write_record(entries)

    def _write_record(self, entries: dict[str, Entry]) -> None:
        volumes = [entries[name].as_json() for name in sorted(entries)]
        os.makedirs(os.path.dirname(self.places.record), mode=0o755, exist_ok=True)
        text = json.dumps({"version": 1, "volumes": volumes}, indent=2)
        write_durably(self.places.record, f"{text}\n", self.move)

    def _fstab(self, step: Step) -> None:
        self._rewrite_fstab(lambda text: with_line(text, step.entry.path, step.line))

    def _fstab_out(self, step: Step) -> None:
        self._rewrite_fstab(lambda text: without(text, step.entry.path, f"UUID={step.entry.filesystem_uuid}"))

    def _rewrite_fstab(self, edit: Callable[[str], str]) -> None:
        # The target of a symlink is edited, and the symlink is kept.
        write_durably(os.path.realpath(self.places.fstab), edit(read_text(self.places.fstab)), self.move)
        if os.path.isdir("/run/systemd/system") and self.places.fstab == Places.fstab:
            # Otherwise systemd would keep mounting and unmounting the old entries.
            self.run(["systemctl", "daemon-reload"])

    # Disks

    def _clear(self, step: Step) -> None:
        self._must_still_be(step)
        self._make_blank(step, [*self._partitions_of(step.device), step.device])

    def _make_blank(self, step: Step, devices: list[str]) -> None:
        """Erases signatures and zeroes every place that the blank check reads: blkid may know more than wipefs."""

        def erase() -> None:
            for device in devices:
                self._command(step, ["wipefs", "--all", device])

        make_blank(step.device, erase)

    def _devices(self) -> Iterator[Device]:
        return (device for disk in self.machine.disks for device in disk.family())

    def _partitions_of(self, device: str) -> list[str]:
        disk = next((disk for disk in self.machine.disks if disk.path == device), None)
        return [partition.path for partition in disk.partitions] if disk else []

    def _must_still_be(self, step: Step) -> None:
        """Refuse a device whose content has changed since the scan, or a different device of the same name."""
        seen_device = next((device for device in self._devices() if device.path == step.device), None)
        if seen_device:
            number = os.stat(step.device).st_rdev
            is_same = seen_device.sequence == sequence_of(f"{os.major(number)}:{os.minor(number)}")
            was_blank = not (seen_device.signatures or seen_device.content or seen_device.children)
            if not is_same or (was_blank and not step.signatures and content_of(step.device, seen_device.size)):
                raise VolumeError(str(step), "", "another disk has this name now, or data was written to it", _AGAIN)
        found, seen = set(signatures_on(self.run, step.device)), set(step.signatures)
        if found != seen:
            there = ", ".join(sorted(str(signature) for signature in found)) or "nothing"
            raise VolumeError(str(step), "", f"it has changed since the scan: it now has {there}", _AGAIN)

    def _partition(self, step: Step) -> None:
        self._must_still_be(step)
        entry = step.entry
        script = f'label: gpt\ntype=linux, uuid={entry.partition_uuid}, name="{entry.name}"\n'
        self._command(step, ["sfdisk", "--quiet", step.device], data=script)
        self._partitions[entry.name] = self._wait_for_partition(step)

    def _wait_for_partition(self, step: Step) -> str:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            printed = self._command(step, ["lsblk", "--json", "--output", "NAME,PATH,TYPE", step.device])
            children = json.loads(printed)["blockdevices"][0].get("children", [])
            paths = [child["path"] for child in children if child["type"] == "part" and os.path.exists(child["path"])]
            if paths:
                return str(paths[0])
            # For a kernel that did not rescan the disk, or that cannot read a GPT.
            self.run(["partx", "--update", step.device])
            time.sleep(0.1)
        raise VolumeError(
            str(step), "", "the kernel does not show the partition", "Loop devices need `losetup --partscan`"
        )

    def _format(self, step: Step) -> None:
        device = step.device or self._partitions[step.entry.name]
        step = replace(step, device=device)
        self._must_still_be(step)
        entry = step.entry
        if entry.filesystem == "xfs":
            argv = ["mkfs.xfs", "-q", "-m", f"uuid={entry.filesystem_uuid}", "-L", entry.name, device]
        else:
            # No blocks reserved for root: the engine has its own reserve.
            argv = ["mkfs.ext4", "-q", "-m", "0", "-U", entry.filesystem_uuid, "-L", entry.name, device]
        self._command(step, argv)
        _sync(device)

    def _check(self, step: Step) -> None:
        """A filesystem whose creation was interrupted: it is complete, or is created again, as it never held data."""
        code, _printed, _error = self.run([*_FSCK[step.entry.filesystem], step.device])
        if code == 0:
            return
        self._refuse_files(step)
        self._clear(step)
        self._format(replace(step, signatures=()))

    def _refuse_files(self, step: Step) -> None:
        """A complete filesystem may have been mounted manually before a run recorded it."""
        filesystem = step.entry.filesystem
        if was_mounted(step.device, filesystem):
            repair = "e2fsck -f" if filesystem == "ext4" else "xfs_repair"
            raise VolumeError(
                "finish",
                step.entry.name,
                f"the filesystem on {step.device} is damaged, and it was mounted before, so it may hold files",
                f"Repair it with `{repair} {step.device}`, or discard it with `wipefs --all {step.device}`, and run the"
                " task again",
            )

    def _grow_partition(self, step: Step) -> None:
        node = os.path.realpath(f"/sys/class/block/{os.path.basename(os.path.realpath(step.device))}")
        number = Path(node, "partition").read_text(encoding="ascii").strip()
        disk = "/dev/" + os.path.basename(os.path.dirname(node)).replace("!", "/")
        self._command(step, ["sfdisk", "--quiet", "--no-reread", "--force", "-N", number, disk], data=", +\n")
        self._command(step, ["partx", "--update", "--nr", number, disk])

    def _grow(self, step: Step) -> None:
        if step.entry.filesystem == "xfs":
            self._command(step, ["xfs_growfs", step.entry.path])
            return
        if not os.path.ismount(step.entry.path):
            # 1: errors were found and corrected.
            self._command(step, ["e2fsck", "-f", "-p", step.device], good=(0, 1))
        self._command(step, ["resize2fs", step.device])

    # Filesystems in use

    def _mount(self, step: Step) -> None:
        if not os.path.isdir(step.entry.path):
            os.makedirs(os.path.dirname(step.entry.path), mode=0o755, exist_ok=True)
            # Only root can write here while nothing is mounted.
            os.mkdir(step.entry.path, 0o555)
        argv = ["mount", "--fstab", self.places.fstab, step.entry.path]
        if "ro" not in self.wish.mount_options:
            # By itself `mount` joins who has the filesystem mounted read-only, as another run that looks into it.
            with contextlib.suppress(VolumeError):
                self._command(step, [*argv, "-w"])
                return
        self._command(step, argv)  # a disk that takes no writes any more can still be read

    def _unmount(self, step: Step) -> None:
        fix = f"If it is in use, stop the units of its jobs, see `fuser --mount {step.entry.path}`"
        self._command(step, ["umount", step.entry.path], fix)

    def _mark(self, step: Step) -> None:
        entry = step.entry
        self._must_be_mounted(step)
        folder = Path(entry.path)
        wanted = {
            "uuid": entry.identity,
            "name": entry.name,
            "filesystem": entry.filesystem_uuid,
            "host": self.machine.host,
            "host_name": self.machine.host_name,
        }
        marker = _marker_of(entry)
        if marker and marker["uuid"] != entry.identity:
            raise VolumeError(
                str(step), "", f"it has a marker with another identity, {marker['uuid']}", "Find out which disk this is"
            )
        if marker is None:
            write_marker(folder, entry.name, wanted)
        elif marker | wanted != marker:
            write_durably(str(folder / MARKER_PATH), json.dumps(marker | wanted), self.move)
        self._own(step)

    def _own(self, step: Step) -> None:
        """Opens both folders without following symlinks: their owner is a user, who could create one."""
        self._must_be_mounted(step)
        user, group = self._owner()
        with _folder(step.entry.path) as top, _folder(OWN_FOLDER, top) as own:
            for folder, mode in ((top, self.wish.mode), (own, 0o750)):
                os.fchown(folder, user, group)
                os.fchmod(folder, mode)
            os.chown(MARKER, user, group, dir_fd=own, follow_symlinks=False)
            os.fsync(own)
            os.fsync(top)

    def _owner(self) -> tuple[int, int]:
        return _number(self.wish.owner, pwd.getpwnam), _number(self.wish.group, grp.getgrnam)

    def prepare(self, steps: Iterable[Step]) -> None:
        """VolumeError if it is known before any change that some step will fail."""
        for step in steps:
            if step.do in ("mark", "own"):
                self._owner()
            if step.do == "format":
                self.run([f"mkfs.{step.entry.filesystem}", "-V"])

    def _must_be_mounted(self, step: Step) -> None:
        if not os.path.ismount(step.entry.path):
            raise VolumeError(str(step), "", "nothing is mounted there", "Check `dmesg`")

    # Removing a volume

    def _vouch(self, step: Step) -> None:
        self.vouch(step.entry)
        with self._seen(step) as folder:
            left = list(_left_on(folder))
        if left:
            raise VolumeError(
                "wipe",
                step.entry.name,
                f"it holds {len(left)} file{'s' * (len(left) != 1)}, including {left[0]}",
                "Empty it with `snowsync evacuate` or `snowsync drain`, and move away files that are not from snowsync",
            )

    @contextlib.contextmanager
    def _seen(self, step: Step) -> Iterator[str]:
        if os.path.ismount(step.entry.path):
            yield step.entry.path
            return
        folder = tempfile.mkdtemp(prefix="snowsync-vouch-")
        # Writable, so that its journal is replayed, because files in it count.
        options = READ_ONLY[step.entry.filesystem] if self.only_looks else "nosuid,nodev,noexec"
        try:
            self._command(step, ["mount", "-t", step.entry.filesystem, "-o", options, step.device, folder])
            try:
                yield folder
            finally:
                self._command(step, ["umount", folder])
        finally:
            os.rmdir(folder)

    def _wipe(self, step: Step) -> None:
        self._must_still_be(step)
        self._make_blank(step, [step.device])


def _left_on(folder: str) -> Iterator[str]:
    """Files, links and everything else on a volume, except what snowsync and the filesystem created there.

    A dropped file may be among links to such files, between its delivery and its removal: it counts.
    OSError if a folder cannot be read, because its content is unknown.
    """
    for base, folders, files in os.walk(folder, onerror=_raise):
        links = [name for name in folders if os.path.islink(f"{base}/{name}")]
        for name in (*files, *links):
            path = os.path.relpath(f"{base}/{name}", folder)
            is_link = os.path.islink(f"{base}/{name}")
            if not (links_to_dropped if is_link else holds_no_object)(path):
                yield path


def _raise(error: OSError) -> None:
    raise error


def _marker_of(entry: Entry) -> dict[str, str] | None:
    try:
        refuse_links(entry.path)
        return read_marker(Path(entry.path))
    except (LocalError, OSError) as error:
        raise VolumeError("read", entry.marker_path, str(error), MARKER_WAY) from error


@contextlib.contextmanager
def _folder(path: str, parent: int | None = None) -> Iterator[int]:
    """A descriptor of a folder that is not a symlink."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _number(name: str, find: Callable[[str], Any]) -> int:
    """The number of a user or group, from its name or number."""
    if name.isdecimal():
        return int(name)
    try:
        return int(find(name)[2])
    except KeyError:
        raise VolumeError(
            "set the owner of the volume to",
            name,
            "there is no such user or group",
            "The role edgeops.snowsync.engine creates it",
        ) from None


def write_durably(path: str, text: str, move: Callable[[str, str], None]) -> None:
    """Replace a file atomically: after a power cut the old or the new one exists. `move` keeps owner and mode."""
    temporary = f"{path}.{uuid.uuid4()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        move(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    _sync(os.path.dirname(path))


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(places: Places) -> Iterator[None]:
    """One run at a time: two runs would give the same name to two disks."""
    lock = f"{places.record}.lock"
    try:
        os.makedirs(os.path.dirname(lock), mode=0o755, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise VolumeError("create", lock, str(error.strerror), "Volumes cannot be created without a record") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
