# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The folders of a job on one volume, by open descriptors: these become invalid once its filesystem is gone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from ..core import workers
from ..core.layout import JOB_FOLDERS, OWN_FOLDER


@dataclass(frozen=True, slots=True)
class Folders:
    """Descriptors of `.snowsync` (`root`) and of the job's folders in it."""

    root: int
    incoming: int
    staged: int
    quarantine: int
    outgoing: int

    def close(self) -> None:
        for descriptor in astuple(self):
            os.close(descriptor)


def open_folders(volume: Path, job: str, *, make: bool) -> Folders:
    """Those of the volume at this path. `make` those that are missing, but never `.snowsync` itself. OSError."""
    root = os.open(volume / OWN_FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    opened = {"root": root}
    try:
        for folder in JOB_FOLDERS:
            relative = f"{folder}/{job}"
            for part in (folder, relative) if make else ():
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o750, dir_fd=root)
            opened[folder] = os.open(relative, os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
    except BaseException:
        for descriptor in opened.values():
            os.close(descriptor)
        raise
    return Folders(**opened)


@contextlib.contextmanager
def names_held(staged: int, patience: float | None = None) -> Iterator[None]:
    """Hold the names of a staging tree, with flock(2) on a separate file description.

    OSError if they are still held elsewhere after `patience` seconds (None: wait).
    """
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=staged)
    try:
        deadline = None if patience is None else time.monotonic() + patience
        while True:
            try:
                with workers.at_medium():  # whoever holds them waits for it
                    fcntl.flock(descriptor, fcntl.LOCK_EX if deadline is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if deadline is None or time.monotonic() >= deadline:
                    raise
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)
