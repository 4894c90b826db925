# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people do to files in a drop folder while they are taken, sent or deleted."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest


def write_and_set_back(path: Path) -> None:
    """Other bytes of the same length, with the old time: `touch -r`."""
    status = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_with(path: Path, content: bytes) -> None:
    """Rename another file of the same time over the name."""
    status = path.stat()
    new = path.with_name("new")
    new.write_bytes(content)
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(new, path)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b" and more")


def refuse_leases(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The kernel does not tell who writes."""
    real = fcntl.fcntl

    def refused(descriptor: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETLEASE and argument == fcntl.F_RDLCK:
            raise OSError(number, os.strerror(number))
        return real(descriptor, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", refused)
