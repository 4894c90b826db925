# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Volumes: identity by marker, folders by open descriptor, durability by syncfs.

On a volume the engine owns `.snowsync`::

    .snowsync/volume.json            the marker: {"uuid", "name"}
    .snowsync/incoming/<job>/<id>    what the mover is writing; all of it is rubbish after a crash
    .snowsync/staged/<job>/<path>    proven objects, named by keys.to_path()
    .snowsync/quarantine/<job>/<id>  the last copy of an object that did not match
    .snowsync/outgoing/<job>/<id>    links to files of a drop folder, whose own names no mover needs to see

Everything below is reached through directory descriptors opened when the marker was checked, so that nothing can be
written below a mount point after its filesystem went away.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .config import OWN_FOLDER, Job
from .config import Volume as VolumeConfig
from .errors import LocalError, Trouble
from .ledger import Ledger
from .placement import VolumeSpace

# Beyond this many directories in one group a second syncfs is cheaper than one fsync each.
_FSYNC_DIRECTORIES = 16

_SYNC_FILE_RANGE_WRITE = 2  # sync_file_range(2)

_libc = ctypes.CDLL(None, use_errno=True)


def local_trouble(error: OSError) -> Trouble:
    """The word for an error of the local filesystem."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Trouble.SPACE
    return Trouble.READONLY if error.errno == errno.EROFS else Trouble.IO


def syncfs(descriptor: int) -> None:
    """syncfs(2): everything written to this filesystem so far is durable, or OSError."""
    if _libc.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def start_writeback(path: str) -> None:
    """Ask the kernel to begin writing a large file out, so that syncing it after its hash finds little left to do."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _libc.sync_file_range(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)
    finally:
        os.close(descriptor)


def sync_file(path: str) -> None:
    """fdatasync(2) of one file, or OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class OpenVolume:
    """A volume whose marker was seen. `folders` are directory descriptors."""

    config: VolumeConfig
    id: int
    uuid: str
    root: int
    incoming: int
    staged: int
    quarantine: int
    outgoing: int
    in_flight: int = 0  # bytes handed to a mover and not yet durable
    known_directories: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.config.name

    def descriptors(self) -> tuple[int, ...]:
        return self.incoming, self.staged, self.outgoing

    def incoming_path(self, object_id: int) -> str:
        """Where a mover writes `object_id`; valid in this process and in children that inherit the descriptor."""
        return f"/proc/self/fd/{self.incoming}/{object_id}"

    def staged_path(self, relative: str) -> str:
        return f"/proc/self/fd/{self.staged}/{relative}"

    def link_dropped(self, object_id: int, relative: str) -> str:
        """A path free of people's file names for the file `relative` of the drop folder."""
        _unlink(str(object_id), self.outgoing)
        os.symlink(self.config.path / str(self.config.drop_folder) / relative, str(object_id), dir_fd=self.outgoing)
        return f"/proc/self/fd/{self.outgoing}/{object_id}"

    def discard_dropped(self, object_id: int, relative: str) -> None:
        """Delete a delivered file of the drop folder, and our link to it."""
        (self.config.path / str(self.config.drop_folder) / relative).unlink(missing_ok=True)
        _unlink(str(object_id), self.outgoing)

    def discard_link(self, object_id: int) -> None:
        _unlink(str(object_id), self.outgoing)

    def publish(self, object_id: int, relative: str) -> str:
        """Rename a verified file from `incoming` into the staging tree; returns its directory (relative)."""
        directory = os.path.dirname(relative)
        for attempt in range(5):
            if directory not in self.known_directories or attempt:
                self._make_directories(directory)
            try:
                os.rename(str(object_id), relative, src_dir_fd=self.incoming, dst_dir_fd=self.staged)
                return directory
            except FileNotFoundError:
                # The destination unit prunes empty directories; it may have taken this one just now.
                if attempt == 4:
                    raise
        raise AssertionError("unreachable")

    def _make_directories(self, directory: str) -> None:
        path = ""
        for part in directory.split("/") if directory else ():
            path = f"{path}/{part}" if path else part
            try:
                os.mkdir(path, 0o750, dir_fd=self.staged)
            except FileExistsError:
                continue
        self.known_directories.add(directory)

    def sync(self) -> None:
        syncfs(self.root)

    def sync_directories(self, directories: Iterable[str]) -> None:
        """Make the renames into these directories (relative to the staging tree) durable."""
        wanted = _with_parents(directories)
        if len(wanted) > _FSYNC_DIRECTORIES:
            self.sync()
            return
        for directory in wanted:
            descriptor = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.staged)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        os.fsync(self.incoming)

    def discard_incoming(self, object_id: int) -> None:
        _unlink(str(object_id), self.incoming)

    def to_quarantine(self, object_id: int) -> None:
        """Keep the bytes that did not match, in place of an earlier such copy of the same object."""
        os.rename(str(object_id), str(object_id), src_dir_fd=self.incoming, dst_dir_fd=self.quarantine)

    def staged_to_quarantine(self, relative: str, object_id: int) -> None:
        os.rename(relative, str(object_id), src_dir_fd=self.staged, dst_dir_fd=self.quarantine)

    def clear_quarantine(self, object_id: int) -> None:
        _unlink(str(object_id), self.quarantine)

    def discard_staged(self, relative: str) -> None:
        _unlink(relative, self.staged)

    def prune(self, directories: Iterable[str]) -> None:
        """Remove these directories of the staging tree, and their parents, where they are empty."""
        for directory in sorted(_with_parents(directories), key=len, reverse=True):
            if directory:
                self.known_directories.discard(directory)
                try:
                    os.rmdir(directory, dir_fd=self.staged)
                except OSError:
                    continue

    def sweep_incoming(self) -> int:
        """Remove what a crashed or stopped mover left; the folder is the engine's own. Returns how many files."""
        return _sweep(self.incoming)

    def sweep_outgoing(self) -> int:
        return _sweep(self.outgoing)

    def staged_files(self) -> Iterator[str]:
        """Relative paths of all files of the staging tree (names as the filesystem has them)."""
        base = f"/proc/self/fd/{self.staged}"
        for folder, _directories, files in os.walk(base):
            relative = os.path.relpath(folder, base)
            for name in files:
                yield name if relative == "." else f"{relative}/{name}"

    def space(self, job: Job, occupied: int) -> VolumeSpace:
        """This volume for the placement. OSError when the filesystem does not answer."""
        status = os.fstatvfs(self.root)
        total = status.f_blocks * status.f_frsize
        available = max(0, status.f_bavail * status.f_frsize - job.space.reserve)
        used = total - job.space.reserve - available
        usable = max(0, total - job.space.reserve)
        if self.config.limit is not None:
            # Other files on the same filesystem do not count against the limit, but their space is gone all the same.
            usable = min(self.config.limit, occupied + available)
            used = occupied
        return VolumeSpace(
            id=self.id,
            high=int(usable * job.space.high_watermark),
            low=int(usable * job.space.low_watermark),
            used=used,
            in_flight=self.in_flight,
        )

    def still_there(self) -> bool:
        """Whether the path still leads to the filesystem that was opened, with its marker."""
        try:
            return os.path.samestat(os.fstat(self.root), os.stat(self.config.path / OWN_FOLDER))
        except OSError:
            return False

    def close(self) -> None:
        for descriptor in (self.root, self.incoming, self.staged, self.quarantine, self.outgoing):
            os.close(descriptor)


def _with_parents(directories: Iterable[str]) -> set[str]:
    wanted = {""}
    for directory in set(directories):
        while directory and directory not in wanted:
            wanted.add(directory)
            directory = os.path.dirname(directory)
    return wanted


def _sweep(folder: int) -> int:
    names = os.listdir(folder)
    for name in names:
        _unlink(name, folder)
    return len(names)


def _unlink(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        os.rmdir(name, dir_fd=folder)


def read_marker(path: Path) -> dict[str, str] | None:
    """The marker of the volume at `path`, or None. Raises LocalError for one that cannot be read."""
    marker = path / OWN_FOLDER / "volume.json"
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
        return {"uuid": str(content["uuid"]), "name": str(content["name"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LocalError(Trouble.IO, f"read the marker {marker}", str(error)) from error


def write_marker(path: Path, name: str) -> dict[str, str]:
    """Give the volume at `path` its identity, durably; the one it has, if another process was first."""
    folder = path / OWN_FOLDER
    folder.mkdir(mode=0o750, exist_ok=True)
    temporary = folder / f"volume.json.{uuid.uuid4()}"
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump({"uuid": str(uuid.uuid4()), "name": name}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    # Both units of a job may meet a new volume at once: a link, unlike a rename, never replaces the other's marker.
    with contextlib.suppress(FileExistsError):
        os.link(temporary, folder / "volume.json")
    temporary.unlink()
    for directory in (folder, path):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(descriptor)
        os.close(descriptor)
    marker = read_marker(path)
    if marker is None:
        raise LocalError(Trouble.IO, f"write the marker of volume {name}", f"it is not in {folder}")
    return marker


class VolumeSet:
    """The job's volumes as they come and go. Not thread-safe: one thread calls `refresh`."""

    def __init__(self, job: Job, ledger: Ledger) -> None:
        self._job = job
        self._ledger = ledger
        self.open: dict[int, OpenVolume] = {}
        self.absent: dict[str, str] = {config.name: "not looked at yet" for config in job.volumes}
        self._occupied: dict[int, int] = {}
        self._occupied_until = 0.0

    def refresh(self) -> tuple[list[OpenVolume], list[OpenVolume]]:
        """Look at every volume: (those that came, those that went; the caller closes them when nothing uses them)."""
        gone = [volume for volume in list(self.open.values()) if not volume.still_there()]
        for volume in gone:
            self.take_out(volume, "its marker is no longer there: unmounted?")
        came = []
        for config in self._job.volumes:
            opened = self._try_open(config) if config.name in self.absent else None
            if opened:
                del self.absent[config.name]
                self.open[opened.id] = opened
                came.append(opened)
        return came, gone

    def take_out(self, volume: OpenVolume, reason: str) -> None:
        """Stop using a volume until `refresh` can open it again."""
        self.open.pop(volume.id, None)
        self.absent[volume.name] = reason

    def _try_open(self, config: VolumeConfig) -> OpenVolume | None:
        try:
            return self._open(config)
        except LocalError as error:
            self.absent[config.name] = str(error)
        except OSError as error:
            self.absent[config.name] = f"Failed to open volume {config.name} at {config.path}: {error.strerror}"
        return None

    def _open(self, config: VolumeConfig) -> OpenVolume:
        marker = self._marker(config)
        volume_id = self._ledger.volume_id(config.name, marker["uuid"], str(config.path))
        root = os.open(config.path / OWN_FOLDER, os.O_RDONLY | os.O_DIRECTORY)
        opened = [root]
        try:
            for folder in ("incoming", "staged", "quarantine", "outgoing"):
                relative = f"{folder}/{self._job.job}"
                for part in (folder, relative):
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o750, dir_fd=root)
                opened.append(os.open(relative, os.O_RDONLY | os.O_DIRECTORY, dir_fd=root))
            self._try_writing(opened[1])
        except OSError:
            for descriptor in opened:
                os.close(descriptor)
            raise
        incoming, staged, quarantine, outgoing = opened[1:]
        return OpenVolume(config, volume_id, marker["uuid"], root, incoming, staged, quarantine, outgoing)

    @staticmethod
    def _try_writing(folder: int) -> None:
        """A volume that went read-only still shows its marker: only a write tells."""
        name = f"probe-{uuid.uuid4()}"
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=folder))
        _unlink(name, folder)

    def _marker(self, config: VolumeConfig) -> dict[str, str]:
        action = f"use volume {config.name} at {config.path}"
        if not config.path.is_dir():
            raise LocalError(Trouble.IO, action, "there is no such directory; mount the disk or create the folder")
        if config.require_mount and not os.path.ismount(config.path):
            raise LocalError(
                Trouble.IO, action, "nothing is mounted there; mount the disk, or set require_mount: false for a folder"
            )
        marker = read_marker(config.path)
        if marker is None:
            known = self._ledger.known_volumes().get(config.name)
            if known:
                raise LocalError(
                    Trouble.IO,
                    action,
                    f"its marker (identity {known[1]}) is not there; mount the disk that has it",
                )
            marker = write_marker(config.path, config.name)
        return marker

    def spaces(self) -> list[VolumeSpace]:
        """Every usable volume for the placement; one whose filesystem does not answer is taken out."""
        found = []
        occupied = self._occupied_bytes()
        for volume in list(self.open.values()):
            try:
                found.append(volume.space(self._job, occupied.get(volume.id, 0)))
            except OSError as error:
                self.take_out(volume, f"its filesystem does not answer: {error.strerror}")
        return found

    def _occupied_bytes(self) -> dict[int, int]:
        """The ledger's sums, asked at most so often that the asking takes a twentieth of the time."""
        started = time.monotonic()
        if any(config.limit is not None for config in self._job.volumes) and started >= self._occupied_until:
            self._occupied = self._ledger.occupied()
            now = time.monotonic()
            self._occupied_until = now + min(5.0, max(0.05, 20 * (now - started)))
        return self._occupied

    def committed(self, volume: OpenVolume, size: int) -> None:
        """`size` bytes of in-flight data became durable: keep the sums right until the ledger is asked again."""
        volume.in_flight -= size
        self._occupied[volume.id] = self._occupied.get(volume.id, 0) + (size + 4095) // 4096 * 4096

    def why_absent(self) -> str:
        return "; ".join(f"{name}: {reason}" for name, reason in self.absent.items())

    def close(self) -> None:
        for volume in self.open.values():
            volume.close()
        self.open.clear()
