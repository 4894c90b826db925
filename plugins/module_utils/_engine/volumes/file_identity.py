# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Files of users: opened without following links, and identified by more than their names.

A dropped file is identified by its inode, size, mtime and ctime. Users cannot set the ctime, so a file with the same
inode and ctime has the same bytes, unless the filesystem's timestamps are too coarse to tell.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..core import workers
from ..core.etag import PartDigests
from ..core.model import MIB
from ..ledger.rows import Row

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_COARSE_NS = (
    10_000_000  # a time in whole units of this is one of exFAT (10 ms), of old filesystems (1 s) or of FAT (2 s)
)
FINE_SECONDS, COARSE_SECONDS = 0.02, 2.0  # a second change within this time may have the same timestamp


class NoRegularFile(FileNotFoundError):
    """The name exists but is not a regular file: a folder, a link, a device."""


class Likeness(enum.Enum):
    """Whether a file is the one that was recorded."""

    SAME = "the same"
    DOUBTFUL = "perhaps the same"  # its digest decides
    OTHER = "another one, or changed"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a file is: times in nanoseconds, `size` in bytes."""

    device: int
    inode: int
    changed_ns: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        return cls(status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size, status.st_mtime_ns)

    @property
    def text(self) -> str:
        """As the ledger has it, beside size and time."""
        return f"{self.device}:{self.inode}:{self.changed_ns}"

    @property
    def modified_ms(self) -> int:
        return self.modified_ns // 1_000_000

    @property
    def granularity(self) -> float:
        """How many seconds apart two changes must be to have different timestamps."""
        return FINE_SECONDS if self.changed_ns % _COARSE_NS else COARSE_SECONDS

    def has_stayed(self, later: Identity) -> bool:
        """Whether `later` is the same file with the same bytes, whatever it is called by then."""
        return (self.device, self.inode, self.size, self.modified_ns) == (
            later.device,
            later.inode,
            later.size,
            later.modified_ns,
        )


def compare(row: Row, found: Identity) -> Likeness:
    """Whether a file is the one in the row of a dropped file.

    Device numbers change with every boot, inodes of FAT with every mount, and rows of an older engine have neither:
    then the digest decides.
    """
    if (found.size, found.modified_ms) != (row.size, row.modified_ms):
        return Likeness.OTHER
    if not row.file_id:
        return Likeness.DOUBTFUL
    device, inode, changed_ns = (int(part) for part in row.file_id.split(":"))
    if changed_ns != found.changed_ns:
        return Likeness.OTHER
    if (device, inode) != (found.device, found.inode) or found.granularity >= COARSE_SECONDS:
        return Likeness.DOUBTFUL
    return Likeness.SAME


def has_inode_of(row: Row, found: Identity) -> bool:
    """Whether a file that was renamed since is the recorded one, as far as its inode and size and time tell."""
    known = row.file_id.split(":")
    return (found.size, found.modified_ms) == (row.size, row.modified_ms) and (
        not row.file_id or int(known[1]) == found.inode
    )


# -- opening ----------------------------------------------------------------------------------------------------------


def open_folder(top: int, relative: str) -> int:
    """A descriptor of the folder `relative` below the descriptor `top` ('': itself); no link on the way is followed.

    OSError: NotADirectoryError also for a link.
    """
    descriptor = os.open(".", _FOLDER, dir_fd=top)
    try:
        for part in _parts(relative):
            above, descriptor = descriptor, os.open(part, _FOLDER, dir_fd=descriptor)
            os.close(above)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def folder_below(top: int, relative: str) -> Iterator[int]:
    """`open_folder` for the time of a `with`."""
    descriptor = open_folder(top, relative)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def made_folder(top: int, relative: str) -> int:
    """`open_folder`, where what is missing on the way is made."""
    made = ""
    for part in _parts(relative):
        with folder_below(top, made) as above, contextlib.suppress(FileExistsError):
            os.mkdir(part, dir_fd=above)
        made = f"{made}/{part}" if made else part
    return open_folder(top, relative)


def _parts(relative: str) -> list[str]:
    parts = relative.split("/") if relative else []
    if not {"", ".", ".."}.isdisjoint(parts):
        raise FileNotFoundError(errno.ENOENT, "no path below a folder", relative)
    return parts


def open_file(folder: int, name: str) -> int:
    """A descriptor, for reading only, of the regular file `name` in the folder; nothing else is opened, or followed.

    OSError: NoRegularFile for anything else. BlockingIOError where somebody holds a lease on it.
    """
    # O_PATH touches nothing: opening a device or a FIFO may do something.
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise NoRegularFile(errno.ENOENT, "no regular file", name)
        return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(found)


def open_below(top: int, relative: str) -> int:
    """`open_file` of a path; FileNotFoundError also where a folder on the way became a link, or a file."""
    folder, _, name = relative.rpartition("/")
    if name in ("", ".", ".."):
        raise NoRegularFile(errno.ENOENT, "no path of a file", relative)
    try:
        with folder_below(top, folder) as parent:
            return open_file(parent, name)
    except NotADirectoryError as error:
        raise FileNotFoundError(errno.ENOENT, "a folder on the way is none any more", relative) from error


def path_of(descriptor: int) -> str:
    """A path of an open file, for this process and its children, whatever becomes of its names."""
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def digest_of(descriptor: int, part_size: int, beat: Callable[[], None] = lambda: None) -> str:
    """The ETag of an open file, in parts of `part_size` bytes (0: in one); `beat` is called with every MiB.

    OSError as reading gives it, and whatever `beat` raises.
    """
    return digests_of(descriptor, part_size, beat).etag()


def digests_of(descriptor: int, part_size: int, beat: Callable[[], None] = lambda: None) -> PartDigests:
    """The same, with the digests of the parts."""
    digests = PartDigests(part_size)
    position = 0
    while block := _block(descriptor, position):
        digests.update(block)
        position += len(block)
        workers.beat()
        beat()
    return digests


def _block(descriptor: int, position: int) -> bytes:
    with workers.at_medium():
        return os.pread(descriptor, MIB, position)
