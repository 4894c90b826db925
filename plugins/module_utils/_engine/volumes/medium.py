# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The filesystem of an open volume: whether it is still there, and whether it still works."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from ..core import workers
from ..core.conditions import MISSING, word_of
from ..core.errors import Trouble, local_trouble
from ..core.layout import MARKER, OWN_FOLDER, PROBE
from ..core.removal import NeverStaged, Place, remove
from .folders import Folders

_PROBE_FILE = NeverStaged("an empty file that was made to see whether the volume accepts writes")


@dataclass(slots=True, eq=False)
class Medium:
    """The filesystem that was found at `path`, identified by the `uuid` of its marker."""

    path: Path
    uuid: str
    folders: Folders
    writable: bool = True  # else it is only read from: its filesystem is read-only, or fails writes
    opened: float = field(default_factory=time.monotonic)

    def still_there(self) -> bool:
        """Whether the path still leads to the filesystem that was opened, with its marker."""
        try:
            return self._is_same()
        except OSError:
            return False

    def _is_same(self) -> bool:
        return os.path.samestat(os.fstat(self.folders.root), os.stat(self.path / OWN_FOLDER))

    def trouble(self) -> str:
        """What is wrong with it now: conditions.MISSING, FAILED, READ_ONLY; '' while it can be used as it was."""
        try:
            if not self._is_same():
                return MISSING
            if self.writable:
                try_writing(self.folders.incoming)
            else:
                _try_reading(self.folders.root)
        except OSError as error:
            return word_of(error)
        return ""

    def is_well(self) -> bool:
        """Whether it is there and takes a write: then one file that fails is the file's own trouble."""
        return self.writable and not self.trouble()


def try_writing(folder: int) -> None:
    """A volume that went read-only still has its marker: only a durable write shows it. A full one has not failed."""
    name = f"{PROBE}{os.urandom(16).hex()}"
    try:
        _make_durably(folder, name)
    except OSError as error:
        if local_trouble(error) is not Trouble.SPACE:
            raise
    finally:
        with contextlib.suppress(OSError):  # swept with all that is not known
            remove(Place.INCOMING, folder, name, _PROBE_FILE)


def _make_durably(folder: int, name: str) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=folder)
    try:
        with workers.at_medium():
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _try_reading(root: int) -> None:
    descriptor = os.open(MARKER, os.O_RDONLY, dir_fd=root)
    try:
        os.read(descriptor, 1)
    finally:
        os.close(descriptor)
