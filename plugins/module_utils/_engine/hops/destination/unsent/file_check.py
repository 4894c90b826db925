# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Checks whether a file on a volume is still the one that was proven: before it is sent, and after a failure."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from ....core import workers
from ....core.errors import Trouble
from ....core.model import Origin
from ....proofs.proof import local_file_is_sound
from ....volumes.file_identity import Identity, Likeness, compare, digest_of
from ...flight import Item


@dataclass(frozen=True, slots=True)
class Damage:
    """Why a file cannot be sent, and what it is instead."""

    trouble: Trouble
    found: str
    message: str


GONE = Damage(Trouble.MISMATCH, "no file", "the staged file is gone")
_WITHDRAWN = Damage(Trouble.NOT_FOUND, "no file", "the dropped file was removed before it was sent")
_CHANGED = Damage(Trouble.CHANGED, "a newer file", "the dropped file was changed after it was taken")


def gone(item: Item) -> Damage:
    """The damage of a file that is no longer there."""
    return _WITHDRAWN if item.row.origin == Origin.DROP else GONE


def examine(item: Item, *, hash_it: bool, beat: Callable[[], None] = lambda: None) -> Damage | None:
    """Check a file, and its digest if requested or in doubt. None: it is sound.

    `beat` is called while a dropped file is read. OSError when the file cannot be checked.
    """
    row = item.row
    with workers.at_medium():
        status = os.stat(item.path)
    if row.origin == Origin.DROP:
        return _examine_dropped(item, status, hash_it, beat)
    if status.st_size != row.size:
        return Damage(Trouble.MISMATCH, f"{status.st_size} bytes", "the staged file has another size")
    if hash_it:
        sound, found = local_file_is_sound(item.path, row.digest, row.part_size)
        return None if sound else Damage(Trouble.MISMATCH, found, "the staged file no longer has its digest")
    return None


def _examine_dropped(item: Item, status: os.stat_result, hash_it: bool, beat: Callable[[], None]) -> Damage | None:
    """Check a dropped file that is held open: users may have changed or removed it."""
    if not status.st_nlink:
        return _WITHDRAWN
    likeness = compare(item.row, Identity.of(status))
    if likeness is Likeness.OTHER:
        return _CHANGED
    if not hash_it and likeness is Likeness.SAME:
        return None
    with open(item.path, "rb") as file:
        found = digest_of(file.fileno(), item.row.part_size, beat)
    if found == item.row.digest:
        return None
    if likeness is Likeness.DOUBTFUL:
        return _CHANGED
    return Damage(Trouble.MISMATCH, found, "the dropped file no longer has its digest")
