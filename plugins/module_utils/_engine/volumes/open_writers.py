# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Detects processes that have a file open for writing, before a dropped file is taken and before it is deleted.

A read lease (fcntl(2), F_SETLEASE) is conclusive: the kernel refuses it while a process has the file open or mapped for
writing, and breaks it when one opens the file for writing, which waits until the lease is released. It needs a file of
our own user or CAP_LEASE, and a filesystem with leases. Without it /proc shows the writers that we may see; finding
none there proves nothing.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import fcntl
import os
import signal
from collections.abc import Iterator

_WRITES = (os.O_WRONLY, os.O_RDWR)


class Writer(enum.Enum):
    """Whether somebody has a file open for writing."""

    NOBODY = "nobody"  # and nobody can while it is watched, without being seen
    SOMEBODY = "somebody"
    UNKNOWN = "unknown"  # there is no lease to be had


class WriterWatch:
    """A read lease on an open file, where it can be had. Used by one thread.

    Whoever opens the file for writing meanwhile waits, at most /proc/sys/fs/lease-break-time seconds: ask often, and
    close soon.
    """

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is open for reading only; it stays the caller's."""
        self._descriptor = descriptor
        self._first = self._lease()

    def _lease(self) -> Writer:
        try:
            # The usual signal of a broken lease, SIGIO, would end the process; this one is ignored unless asked for.
            fcntl.fcntl(self._descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError as error:
            return Writer.SOMEBODY if error.errno == errno.EAGAIN else Writer.UNKNOWN
        return Writer.NOBODY

    def ask(self) -> Writer:
        """Who writes, or wants to, from the beginning of the watch until now."""
        if self._first is Writer.NOBODY and fcntl.fcntl(self._descriptor, fcntl.F_GETLEASE) != fcntl.F_RDLCK:
            return Writer.SOMEBODY
        return self._first

    def is_written(self) -> bool:
        """Whether somebody writes, as far as it can be known now."""
        answer = self.ask()
        return answer is Writer.SOMEBODY or (answer is Writer.UNKNOWN and is_written_by_process(self._descriptor))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    def __enter__(self) -> WriterWatch:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.close()


def is_written_by_process(descriptor: int) -> bool:
    """Whether a process that we may look into has the file open, or mapped, for writing."""
    status = os.fstat(descriptor)
    for process in _processes():
        # A process that ends, or is not ours to look into.
        with contextlib.suppress(OSError):
            if _has_open(process, status) or _has_mapped(process, status):
                return True
    return False


def _processes() -> Iterator[str]:
    return (f"/proc/{name}" for name in os.listdir("/proc") if name.isdecimal())


def _has_open(process: str, status: os.stat_result) -> bool:
    for number in os.listdir(f"{process}/fd"):
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(f"{process}/fd/{number}"), status) and _writes(f"{process}/fdinfo/{number}"):
                return True
    return False


def _writes(path: str) -> bool:
    with open(path, encoding="ascii", errors="replace") as file:
        flags = next((line.split()[1] for line in file if line.startswith("flags:")), "0")
    return int(flags, 8) & os.O_ACCMODE in _WRITES


def _has_mapped(process: str, status: os.stat_result) -> bool:
    with open(f"{process}/maps", encoding="utf-8", errors="replace") as file:
        for line in file:
            _range, permissions, _offset, device, inode = line.split(maxsplit=5)[:5]
            if int(inode) == status.st_ino and permissions[1] == "w" and permissions[3] == "s":
                major, minor = (int(part, 16) for part in device.split(":"))
                if os.makedev(major, minor) == status.st_dev:
                    return True
    return False
