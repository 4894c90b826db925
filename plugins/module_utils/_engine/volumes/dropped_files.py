# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The drop folder of one open volume: its files are opened once, and sent and deleted through that descriptor.

The file that is sent, and deleted at the end, is the one that was opened, whatever users do to its name meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from ..core import removal
from ..core.layout import OWN_FOLDER, aside_name
from ..core.removal import NeverStaged, Permit, Place
from ..core.workers import BrokenOff
from ..ledger.rows import Row
from . import outgoing_files
from .file_identity import Identity, Likeness, compare, folder_below, open_below, path_of
from .open_writers import Writer, WriterWatch

_LEAST_HELD = 8
_held_everywhere: set[tuple[int, int]] = set()  # (id of the DroppedFiles, object): descriptors are the process's
_lock = threading.Lock()


def most_held() -> int:
    """How many dropped files may be open at once: a quarter of the process' limit."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 14 if soft == resource.RLIM_INFINITY else max(_LEAST_HELD, soft // 4)


class DroppedFiles:
    """Files of a volume's drop folder, by object. Several threads may use it, each for other objects."""

    def __init__(self, volume: Path, drop_folder: str | None, own: int, outgoing: int) -> None:
        """`own` and `outgoing` are descriptors of the volume's `.snowsync` and of the job's `outgoing` there."""
        self._volume = volume
        self._parts = PurePosixPath(drop_folder).parts if drop_folder else ()
        self._own = own
        self._outgoing = outgoing
        self._held: dict[int, int] = {}

    @contextlib.contextmanager
    def top(self) -> Iterator[int]:
        """A descriptor of the drop folder.

        OSError: FileNotFoundError without such a folder, NotADirectoryError also for a link, ENODEV if the volume is
        gone.
        """
        volume = self._volume_folder()
        try:
            if not self._parts:
                raise FileNotFoundError(errno.ENOENT, "the volume has no drop folder", str(self._volume))
            with folder_below(volume, "/".join(self._parts)) as top:
                yield top
        finally:
            os.close(volume)

    def _volume_folder(self) -> int:
        try:
            volume = os.open(self._volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if os.path.samestat(os.stat(OWN_FOLDER, dir_fd=volume), os.fstat(self._own)):
                    return os.dup(volume)
            finally:
                os.close(volume)
        except (FileNotFoundError, NotADirectoryError):
            pass
        raise OSError(errno.ENODEV, "the volume is no longer there", str(self._volume))

    # -- held -------------------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether another file may be opened: descriptors are limited."""
        return len(_held_everywhere) < most_held()

    def hold(self, object_id: int, relative: str) -> str:
        """Open a file until `let_go`; returns a path that leads to it and nothing else, also for child processes.

        OSError: FileNotFoundError for anything that is not a regular file, or is behind a link.
        """
        try:
            with self.top() as top:
                descriptor = open_below(top, relative)
        except NotADirectoryError as error:
            raise FileNotFoundError(errno.ENOENT, "the drop folder is no folder any more", relative) from error
        self._close(object_id)
        with _lock:
            self._held[object_id] = descriptor
            _held_everywhere.add((id(self), object_id))
        return path_of(descriptor)

    def let_go(self, object_id: int) -> None:
        """Close a held file, and remove the link to its place unless it was moved aside. OSError."""
        self._close(object_id)
        if not outgoing_files.lies_in(self._outgoing, aside_name(object_id)):
            removal.remove(Place.OUTGOING, self._outgoing, str(object_id), NeverStaged("a link of ours"))

    def close(self) -> None:
        for object_id in list(self._held):
            self._close(object_id)

    def _close(self, object_id: int) -> None:
        descriptor = self._taken(object_id)
        if descriptor is not None:
            os.close(descriptor)

    def _taken(self, object_id: int) -> int | None:
        with _lock:
            _held_everywhere.discard((id(self), object_id))
            return self._held.pop(object_id, None)

    # -- deleted ----------------------------------------------------------------------------------------------

    def discard(self, row: Row, relative: str, permit: Permit, beat: Callable[[], None] = lambda: None) -> bool:
        """Delete the delivered file of an object. False: it is another file by now, and is kept.

        It is moved out of users' reach before the last check: a file they put there a moment later is not deleted.
        `beat` is called while it is read. OSError; BlockingIOError while a process has it open for writing.
        """
        removal.insist(Place.DROP, aside_name(row.id), permit)
        try:
            with self.top() as top, self._opened(row.id, top, relative) as file, WriterWatch(file) as watch:
                return self._delete(row, relative, top, file, watch, permit, beat)
        except (FileNotFoundError, NotADirectoryError):
            return True  # withdrawn
        finally:
            self.let_go(row.id)

    @contextlib.contextmanager
    def _opened(self, object_id: int, top: int, relative: str) -> Iterator[int]:
        """The held file, else the one that has its name now."""
        held = self._taken(object_id)
        file = open_below(top, relative) if held is None else held
        try:
            yield file
        finally:
            os.close(file)

    def _delete(
        self,
        row: Row,
        relative: str,
        top: int,
        file: int,
        watch: WriterWatch,
        permit: Permit,
        beat: Callable[[], None],
    ) -> bool:
        folder, _, name = relative.rpartition("/")
        status = os.fstat(file)
        known = Identity.of(status)
        likeness = compare(row, known)
        with folder_below(top, folder) as parent:
            if likeness is Likeness.OTHER or not outgoing_files.is_called(parent, name, status):
                return not outgoing_files.lies_in(parent, name)
            if watch.is_written():
                raise BlockingIOError(errno.EBUSY, "somebody has it open for writing", relative)
            # Without a lease, a last-moment change with the time set back would not be noticed.
            is_read = likeness is Likeness.DOUBTFUL or watch.ask() is Writer.UNKNOWN
            digest = (row.digest, row.part_size) if is_read else None
            place, aside = self._moved_aside(row.id, top, parent, relative, file)
            try:
                if outgoing_files.is_untouched(place, aside, file, known, watch, digest, beat):
                    removal.remove(Place.DROP, place, aside, permit)
                    return True
            except (OSError, BrokenOff):
                outgoing_files.put_back(aside, place, top, relative)
                raise
            outgoing_files.put_back(aside, place, top, relative)
            return False

    def _moved_aside(self, object_id: int, top: int, parent: int, relative: str, file: int) -> tuple[int, str]:
        """Move a file out of users' reach; returns its new folder (a descriptor) and name."""
        name, aside = os.path.basename(relative), aside_name(object_id)
        if outgoing_files.lies_in(self._outgoing, aside):  # an earlier one that could not be put back
            outgoing_files.put_back(aside, self._outgoing, top, relative)
        self._link(object_id, relative)
        try:
            os.rename(name, aside, src_dir_fd=parent, dst_dir_fd=self._outgoing)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            return self._outgoing, aside
        # The drop folder is a separate filesystem. The scanner does not put the file back while it is locked.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden = outgoing_files.hidden_name(object_id, name)
        if outgoing_files.lies_in(parent, hidden):
            outgoing_files.put_back(hidden, parent, top, relative)
        os.rename(name, hidden, src_dir_fd=parent, dst_dir_fd=parent)
        return parent, hidden

    def _link(self, object_id: int, relative: str) -> None:
        """Link to the place of a file that is about to be moved aside; without the link the ledger is used."""
        removal.remove(Place.OUTGOING, self._outgoing, str(object_id), NeverStaged("a link of ours"))
        with contextlib.suppress(OSError):  # the volume is full
            path = self._volume.joinpath(*self._parts, relative)
            os.symlink(path, str(object_id), dir_fd=self._outgoing)
