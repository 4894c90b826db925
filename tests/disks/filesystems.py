# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real filesystems on fragile disks."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MAKE = {
    # No lazy initialisation: nothing is written that the test did not ask for.
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-e", "remount-ro"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q"],
    "exfat": ["mkfs.exfat"],
}
SMALLEST = {"ext4": 16 << 20, "xfs": 300 << 20}  # mkfs.xfs refuses less
_PATIENCE_SECONDS = 20.0


@contextmanager
def attach(file: Path, size: int) -> Iterator[Path]:
    """A loop device of `size` bytes over a new sparse file."""
    with file.open("xb") as made:
        made.truncate(size)
    device = _run("losetup", "--find", "--show", str(file)).strip()
    try:
        yield Path(device)
    finally:
        _run("losetup", "--detach", device)


def make_filesystem(device: Path, kind: str, *how: str) -> None:
    """`kind`: ext4 (which turns read-only on errors), xfs, btrfs, or exfat; `how` is what else mkfs is told."""
    _run(*_MAKE[kind], *how, str(device))


def mount(device: Path, path: Path, *options: str, kind: str = "auto") -> None:
    """Any kind; exFAT by its FUSE filesystem, which every kernel has."""
    path.mkdir(parents=True, exist_ok=True)
    command = ["mount.exfat-fuse"] if kind == "exfat" else ["mount", "-t", kind]
    _run(*command, "-o", ",".join(["noatime", *options]), str(device), str(path))


def remount(path: Path, *options: str) -> None:
    _run("mount", "-o", ",".join(["remount", *options]), str(path))


def is_mounted(path: Path) -> bool:
    """Asked of the kernel's table: os.path.ismount says no where a filesystem that has shut down answers EIO."""
    name = str(path).replace(" ", "\\040")
    return any(line.split(" ")[4] == name for line in Path("/proc/self/mountinfo").read_text().splitlines())


def unmount(path: Path) -> None:
    """Unmount, as soon as those that were killed have left. Without effect where nothing is mounted."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while is_mounted(path):
        try:
            _run("umount", str(path))
        except subprocess.CalledProcessError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"umount {path}: {error.stderr}") from None
            time.sleep(0.05)


def evict(path: Path) -> None:
    """Make all files below `path` durable and drop them from the page cache: the next read asks the disk."""
    for folder, _, names in os.walk(path):
        for name in names:
            descriptor = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
