# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Volumes: identity by marker, folders by open descriptor, durability by syncfs. Their layout: core/layout.py.

Everything is accessed through directory descriptors opened when the marker was checked, so that nothing can be written
below a mount point after its filesystem is gone.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..config.job_file import Volume as VolumeConfig
from ..core import workers
from ..core.layout import evacuated_name, is_evacuated, object_of, quarantine_name
from ..core.removal import NeverStaged, Permit, Place, SameGeneration, move, prune, remove
from .dropped_files import DroppedFiles
from .folders import Folders
from .load import Load
from .medium import Medium
from .ownership import Ownership

if TYPE_CHECKING:
    import ctypes

# With more directories than this in one group, a second syncfs is cheaper than one fsync each.
_FSYNC_DIRECTORIES = 16

_SYNC_FILE_RANGE_WRITE = 2  # sync_file_range(2)
_MOST_KNOWN_DIRECTORIES = 10_000

_MOST_QUARANTINED = 1000  # copies of one object that no longer have their digest

_PARTIAL = NeverStaged("what a mover, or an evacuation, had not finished")
_MISMATCHED = NeverStaged("an earlier fetch that did not match")


@functools.cache
def _libc() -> ctypes.CDLL:
    """The C library: loaded with the first group of objects, since a run without any needs no ctypes."""
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def syncfs(descriptor: int) -> None:
    """syncfs(2): everything written to this filesystem so far is durable, or OSError."""
    import ctypes

    with workers.at_medium():
        if _libc().syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def start_writeback(path: str) -> None:
    """Ask the kernel to begin writing a large file out, so that syncing it after its hash finds little left to do."""
    import ctypes

    descriptor = os.open(path, os.O_RDONLY)
    try:
        with workers.at_medium():
            _libc().sync_file_range(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)
    finally:
        os.close(descriptor)


def sync_file(path: str) -> None:
    """fdatasync(2) of one file, or OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with workers.at_medium():
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


class StagedDirectories:
    """The directories of a staging tree, by their relative paths: made as files need them, pruned where empty."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._known: set[str] = set()  # made, or found, and not pruned since by this process

    def make(self, directory: str, *, anew: bool = False) -> None:
        """With its parents; `anew`: even if it was there, since another process may have pruned it. OSError."""
        if directory in self._known and not anew:
            return
        path = ""
        for part in directory.split("/") if directory else ():
            path = f"{path}/{part}" if path else part
            try:
                os.mkdir(path, 0o750, dir_fd=self._folders.staged)
            except FileExistsError:
                continue
        if len(self._known) >= _MOST_KNOWN_DIRECTORIES:
            self._known.clear()
        self._known.add(directory)

    def sync(self, directories: Iterable[str]) -> None:
        """Make the renames into these directories durable."""
        wanted = _with_parents(directories)
        if len(wanted) > _FSYNC_DIRECTORIES:
            syncfs(self._folders.root)
            return
        for directory in wanted:
            descriptor = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._folders.staged)
            try:
                with workers.at_medium():
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        with workers.at_medium():
            os.fsync(self._folders.incoming)

    def prune(self, directories: Iterable[str]) -> None:
        """Remove these directories, and their parents, where they are empty."""
        for directory in sorted(_with_parents(directories), key=len, reverse=True):
            if directory:
                self._known.discard(directory)
                prune(self._folders.staged, directory)


@dataclass(slots=True, eq=False)
class OpenVolume:
    """A volume whose marker was seen."""

    config: VolumeConfig
    id: int
    medium: Medium
    folders: Folders
    ownership: Ownership
    load: Load = field(default_factory=Load)
    directories: StagedDirectories = field(init=False)
    dropped: DroppedFiles = field(init=False)

    def __post_init__(self) -> None:
        self.directories = StagedDirectories(self.folders)
        self.dropped = DroppedFiles(self.config.path, self.config.drop_folder, self.folders.root, self.folders.outgoing)

    @property
    def name(self) -> str:
        return self.config.name

    def descriptors(self) -> tuple[int, ...]:
        return self.folders.incoming, self.folders.staged, self.folders.outgoing

    def incoming_path(self, object_id: int) -> str:
        """Where a mover writes `object_id`; valid in this process and in children that inherit the descriptor."""
        return f"/proc/self/fd/{self.folders.incoming}/{object_id}"

    def staged_path(self, relative: str) -> str:
        return f"/proc/self/fd/{self.folders.staged}/{relative}"

    def names_held(self) -> contextlib.AbstractContextManager[None]:
        """No other thread or process publishes or discards files of the staging tree meanwhile.

        Publishing holds it until the ledger knows the file, discarding from the query of the ledger until the file is
        gone: so no file is discarded that is about to be recorded. OSError once another ledger stages here.
        """
        return self.ownership.names_held()

    def publish(self, name: int | str, relative: str) -> str:
        """Rename a verified file from `incoming` into the staging tree; returns its directory (relative)."""
        directory = relative.rpartition("/")[0]  # os.path.dirname() takes six times as long
        incoming, staged = self.folders.incoming, self.folders.staged
        for attempt in range(5):
            try:
                self.directories.make(directory, anew=attempt > 0)
                move(incoming, str(name), staged, relative, place=Place.STAGED, over=SameGeneration(relative))
                return directory
            except FileNotFoundError:
                # The destination unit prunes empty directories; it may have taken this one, or a parent, just now.
                if attempt == 4:
                    raise
        raise AssertionError("unreachable")

    def sync(self) -> None:
        syncfs(self.folders.root)

    def discard_incoming(self, object_id: int) -> None:
        remove(Place.INCOMING, self.folders.incoming, str(object_id), _PARTIAL)

    def discard_evacuated(self, object_id: int) -> None:
        remove(Place.INCOMING, self.folders.incoming, evacuated_name(object_id), _PARTIAL)

    def sweep_evacuated(self) -> None:
        """Remove copies that an evacuation, cut off since, began here."""
        for name in os.listdir(self.folders.incoming):
            if is_evacuated(name):
                remove(Place.INCOMING, self.folders.incoming, name, _PARTIAL)

    def to_quarantine(self, object_id: int) -> None:
        """Keep a fetch that did not match, in place of an earlier such fetch of the same object."""
        name = str(object_id)
        move(self.folders.incoming, name, self.folders.quarantine, name, place=Place.QUARANTINE, over=_MISMATCHED)

    def staged_to_quarantine(self, relative: str, object_id: int, generation: int) -> None:
        """Quarantine a staged file that no longer has its digest. It is never replaced: it may be the last copy."""
        for number in range(_MOST_QUARANTINED):
            name = quarantine_name(object_id, generation, number)
            with contextlib.suppress(FileExistsError):
                move(self.folders.staged, relative, self.folders.quarantine, name, place=Place.QUARANTINE)
                return
        raise FileExistsError(errno.EEXIST, f"there are too many copies of object {object_id} in the quarantine")

    def clear_quarantine(self, object_id: int, permit: Permit) -> None:
        """Remove the copies of an object that the permit is about."""
        for name in os.listdir(self.folders.quarantine):
            if object_of(name) == object_id and permit.covers(Place.QUARANTINE, name):
                remove(Place.QUARANTINE, self.folders.quarantine, name, permit)

    def discard_staged(self, relative: str, permit: Permit) -> None:
        remove(Place.STAGED, self.folders.staged, relative, permit)

    def discard_with_folders(self, relative: str, permit: Permit) -> None:
        self.discard_staged(relative, permit)
        self.directories.prune([os.path.dirname(relative)])

    def holds(self, relative: str) -> bool:
        """Whether a file of the staging tree is there."""
        try:
            os.lstat(relative, dir_fd=self.folders.staged)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def sweep_incoming(self, keep: Container[int] = ()) -> int:
        """Remove what a crashed or stopped mover left, but for the objects `keep`; the folder is the engine's own.

        Returns how many files.
        """
        return _sweep(self.folders.incoming, keep)

    def sweep_outgoing(self, keep: Container[int] = ()) -> None:
        """Remove links that a crashed unit left, but for the objects `keep`, and for files that lie aside."""
        for name in os.listdir(self.folders.outgoing):
            if name.isdecimal() and int(name) not in keep:
                self.dropped.let_go(int(name))

    def quarantined(self) -> list[int]:
        """The objects of which a copy that did not match lies here."""
        found = {object_of(name) for name in os.listdir(self.folders.quarantine)}
        return sorted(number for number in found if number is not None)

    def staged_files(self) -> Iterator[str]:
        """Relative paths of all files of the staging tree (names as the filesystem has them)."""
        base = f"/proc/self/fd/{self.folders.staged}"
        for folder, _directories, files in os.walk(base):
            relative = os.path.relpath(folder, base)
            for name in files:
                yield name if relative == "." else f"{relative}/{name}"

    def close(self) -> None:
        self.dropped.close()
        self.folders.close()


def _with_parents(directories: Iterable[str]) -> set[str]:
    wanted = {""}
    for directory in set(directories):
        while directory and directory not in wanted:
            wanted.add(directory)
            directory = os.path.dirname(directory)
    return wanted


def _sweep(folder: int, keep: Container[int]) -> int:
    # Copies of an evacuation are left to whoever holds its lock.
    names = [
        name for name in os.listdir(folder) if not (name.isdecimal() and int(name) in keep) and not is_evacuated(name)
    ]
    for name in names:
        remove(Place.INCOMING, folder, name, _PARTIAL)
    return len(names)
