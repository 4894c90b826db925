# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Is a file on a volume still the one that was proven? Asked before it is sent, and when something went wrong."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .errors import Trouble
from .model import Origin
from .proof import local_file_is_sound
from .unit import Item


@dataclass(frozen=True, slots=True)
class Damage:
    """Why a file cannot be sent, and what it is instead."""

    trouble: Trouble
    found: str
    message: str


GONE = Damage(Trouble.MISMATCH, "no file", "the staged file is gone")
_WITHDRAWN = Damage(Trouble.NOT_FOUND, "no file", "the dropped file was taken away before it was sent")


def gone(item: Item) -> Damage:
    """The damage of a file that is not there any more."""
    return _WITHDRAWN if item.row.origin == Origin.DROP else GONE


def examine(item: Item, *, hash_it: bool) -> Damage | None:
    """Look at size and time, and at the digest if asked to. None: it is sound. OSError when it cannot be looked at."""
    row = item.row
    status = os.stat(item.path)
    changed = status.st_size != row.size
    if row.origin == Origin.DROP:
        if changed or status.st_mtime_ns // 1_000_000 != row.modified_ms:
            return Damage(Trouble.CHANGED, "a newer file", "the dropped file was changed after it was taken")
    elif changed:
        return Damage(Trouble.MISMATCH, f"{status.st_size} bytes", "the staged file has another size")
    if hash_it:
        sound, found = local_file_is_sound(item.path, row.digest, row.part_size)
        if not sound:
            return Damage(Trouble.MISMATCH, found, "the staged file no longer has its digest")
    return None
