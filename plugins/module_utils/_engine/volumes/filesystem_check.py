# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the filesystem of a volume can hold: asked of the filesystem itself, by a file that is made for a moment.

Staged files are named by their keys, in names of up to 200 characters that differ in case alone. On a filesystem that
does not tell `a` from `A`, one object would take the place of another one.
"""

from __future__ import annotations

import errno
import os
import uuid

from ..core.errors import LocalError, Trouble, local_trouble
from ..core.layout import PROBE

LONGEST_NAME = 200  # of what keys.to_path() makes
NO_LIMIT = 2**63 - 1


def insist_on_fitness(folder: int, action: str) -> None:
    """LocalError with the reason where staged files cannot lie in this folder. OSError where it takes no writes."""
    reason = unfit(folder)
    if reason:
        raise LocalError(Trouble.UNSUPPORTED, action, f"{reason}; make its filesystem ext4 or XFS")


def unfit(folder: int) -> str:
    """Why staged files cannot lie there, "" when they can, or when a full filesystem cannot tell."""
    name = f"{PROBE}{uuid.uuid4()}".ljust(LONGEST_NAME, "a")
    try:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder))
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return f"it takes no names of {LONGEST_NAME} characters, as staged files have"
        if local_trouble(error) is Trouble.SPACE:
            return ""
        raise
    try:
        if _is_there(folder, name.upper()):
            return "it does not tell upper from lower case, so that one object would take the place of another"
        return ""
    finally:
        os.unlink(name, dir_fd=folder)


def remove_probes(folder: int) -> None:
    """Remove what was made to ask, where nobody asks now. OSError."""
    for name in os.listdir(folder):
        if name.startswith(PROBE):
            os.unlink(name, dir_fd=folder)


def _is_there(folder: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def largest_file(folder: int) -> int:
    """The size of the largest file in bytes, as far as the filesystem says beforehand (FAT does); else NO_LIMIT."""
    name = f"{PROBE}{uuid.uuid4()}"
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
        os.unlink(name, dir_fd=folder)


def _last_place(descriptor: int) -> int:
    """The kernel lets nobody seek beyond what a file of this filesystem can hold: found by halves."""
    low, high = 0, NO_LIMIT
    while low < high:
        middle = low + (high - low + 1) // 2
        try:
            os.lseek(descriptor, middle, os.SEEK_SET)
            low = middle
        except OSError:
            high = middle - 1
    return low
