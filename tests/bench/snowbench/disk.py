# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filesystem of the benchmark's own: ext4 with a journal in a loop file, as volumes have.

What lies below the work folder otherwise decides about the result: an ext4 without a journal takes 0.3 to 0.5 ms of
kernel CPU for each file that is created soon after many deletes, and only ours creates each file twice.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from .stores import BenchError

_Result = TypeVar("_Result")
GIB = 1024**3
TRIAL_BYTES = GIB // 16
SLACK = 2 * GIB  # for the journal, inodes, and the part of a filesystem that our job keeps free


def can_be_made() -> bool:
    return os.geteuid() == 0 and Path("/dev/loop-control").exists()


def size_for(largest_set: int) -> int:
    """Bytes for a set of that size: our job keeps a tenth of a volume free, and the last pass' files may be left."""
    return 2 * largest_set + SLACK


def obstacle(folder: Path, size: int) -> str:
    """Why no filesystem of `size` bytes can be made below `folder`; empty: it can, a small one was."""
    if not can_be_made():
        return "no root, or no loop devices"
    if (free := shutil.disk_usage(folder).free) < size:
        return f"{free / GIB:.1f} GiB free, {size / GIB:.1f} needed"
    try:
        with own_filesystem(folder / "trial.img", TRIAL_BYTES, folder / "trial"):
            return ""
    except (BenchError, OSError, subprocess.SubprocessError) as error:
        return str(error)


@contextlib.contextmanager
def own_filesystem(image: Path, size: int, folder: Path) -> Iterator[None]:
    """Mount a new ext4 of `size` bytes at `folder`. Raises BenchError."""
    from disks import make_filesystem, mount, unmount  # tests/disks, which `run` makes known

    with contextlib.ExitStack() as stack:
        image.parent.mkdir(parents=True, exist_ok=True)
        stack.callback(image.unlink, missing_ok=True)
        with image.open("wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)  # its own blocks: nothing is allocated while a pass is timed
            except OSError as error:
                raise BenchError(f"{image} needs {size / GIB:.1f} GiB: {error.strerror}; see --no-ext4") from error
        losetup = ["losetup", "--find", "--show", "--direct-io=on", str(image)]
        device = _run(subprocess.run, losetup, capture_output=True, text=True, check=True).stdout.strip()
        stack.callback(subprocess.run, ["losetup", "--detach", device], check=True)
        _run(make_filesystem, Path(device), "ext4")
        _run(mount, Path(device), folder)
        stack.callback(unmount, folder)
        yield


def _run(step: Callable[..., _Result], *arguments: Any, **options: Any) -> _Result:
    try:
        return step(*arguments, **options)
    except FileNotFoundError as error:
        raise BenchError(f"{error.filename} is not installed; see --no-ext4") from error
    except subprocess.CalledProcessError as error:
        raise BenchError(f"{' '.join(error.cmd)}: {error.stderr.strip()}; see --no-ext4") from error
