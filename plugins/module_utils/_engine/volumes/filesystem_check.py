# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Tests what the filesystem of a volume supports, with a short-lived file.

Staged files are named by their keys, with names of up to 200 characters that may differ only in case. On a
case-insensitive filesystem one object would overwrite another.
"""

from __future__ import annotations

import contextlib
import errno
import os

from ..core.errors import LocalError, Trouble, local_trouble
from ..core.layout import PROBE

LONGEST_NAME = 200  # of what keys.to_path() makes
NO_LIMIT = 2**63 - 1


def insist_on_fitness(folder: int, action: str) -> None:
    """LocalError with the reason if this folder cannot hold staged files. OSError if it cannot be written."""
    reason = unfit(folder)
    if reason:
        raise LocalError(Trouble.UNSUPPORTED, action, f"{reason}; use ext4 or XFS for the volume")


def unfit(folder: int) -> str:
    """Why the folder cannot hold staged files; "" if it can, or if the filesystem is too full to test."""
    name = f"{PROBE}{os.urandom(16).hex()}".ljust(LONGEST_NAME, "a")
    try:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder))
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return f"its filesystem does not support file names of {LONGEST_NAME} characters, as staged files have"
        if local_trouble(error) is Trouble.SPACE:
            return ""
        raise
    try:
        if _is_there(folder, name.upper()):
            return "its filesystem is case-insensitive, so one object would overwrite another"
        return ""
    finally:
        _remove(folder, name)


def remove_probes(folder: int) -> None:
    """Remove leftover test files. OSError."""
    for name in os.listdir(folder):
        if name.startswith(PROBE):
            _remove(folder, name)


def _remove(folder: int, name: str) -> None:
    # The other unit sweeps this folder when it begins to use the volume.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _is_there(folder: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def largest_file(folder: int) -> int:
    """The maximum file size in bytes, if the filesystem reports it beforehand (FAT does); else NO_LIMIT."""
    name = f"{PROBE}{os.urandom(16).hex()}"
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
    except OSError as error:
        if local_trouble(error) is Trouble.SPACE:
            return NO_LIMIT
        raise
    try:
        return _last_place(descriptor)
    finally:
        os.close(descriptor)
        _remove(folder, name)


def _last_place(descriptor: int) -> int:
    """Binary search: the kernel rejects a seek beyond the maximum file size of the filesystem."""
    low, high = 0, NO_LIMIT
    while low < high:
        middle = low + (high - low + 1) // 2
        try:
            os.lseek(descriptor, middle, os.SEEK_SET)
            low = middle
        except OSError:
            high = middle - 1
    return low
