# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filesystem of which one operation hangs: a folder, passed through FUSE, that stops answering when it is told to.

As a program: argv is the folder behind it, where to mount it, and the folder in which a file is put for each operation
(by its FUSE name) that is to hang.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mfusepy

from .lesser import Lacks, LesserServer, mounted

OPERATIONS = ("open", "create", "read", "write", "fsync", "rename", "unlink", "statfs", "getattr", "mkdir", "readdir")
_LOOK_SECONDS = 0.02


class HangingDisk:
    """How a test tells such a filesystem to hang."""

    def __init__(self, orders: Path) -> None:
        self._orders = orders

    def hang(self, *operations: str) -> None:
        """These operations answer nothing from now on."""
        for operation in operations:
            (self._orders / operation).touch()

    def heal(self) -> None:
        for order in self._orders.iterdir():
            order.unlink()


@contextmanager
def hanging(folder: Path, at: Path) -> Iterator[HangingDisk]:
    """Mounted at `at` inside the block, what lies there is kept below `folder`; needs root and /dev/fuse."""
    orders = folder / "orders"
    orders.mkdir(parents=True)
    disk = HangingDisk(orders)
    with mounted("disks.hanging", folder / "back", at, str(orders)):
        try:
            yield disk
        finally:
            disk.heal()


class HangingServer(LesserServer):
    """As the folder behind it, but for the operations that hang."""

    def __init__(self, back: str, orders: str) -> None:
        super().__init__(back, Lacks())
        for operation in OPERATIONS:
            setattr(self, operation, _held_up(getattr(self, operation), os.path.join(orders, operation)))


def _held_up(carry_out: Callable[..., Any], order: str) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        while os.path.exists(order):
            time.sleep(_LOOK_SECONDS)
        return carry_out(*arguments)

    return call


def main() -> None:
    back, at, orders = sys.argv[1:]
    # As many threads as FUSE likes: what hangs holds up only who asked for it.
    mfusepy.FUSE(HangingServer(back, orders), at, foreground=True, nothreads=False, fsname="hanging")


if __name__ == "__main__":
    main()
