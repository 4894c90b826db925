# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filesystem that can do less than ext4: a folder, passed through FUSE, without what a test takes away from it.

As a program: argv is the folder behind it, where to mount it, and what it lacks, as JSON (the fields of `Lacks`).
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mfusepy

_TESTS = Path(__file__).resolve().parents[1]
_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Lacks:
    """0 and False: as it is behind. Sizes in bytes, names in characters."""

    folds_case: bool = False  # exFAT, NTFS, SMB: a name is found whatever its case
    no_hard_links: bool = False  # exFAT, FAT
    longest_name: int = 0  # eCryptfs: 143
    largest_file: int = 0  # FAT: 4 GiB - 1
    quota: int = 0  # EDQUOT beyond so many bytes in all files, whatever statvfs says is free
    sync_error: int = 0  # the errno of every fsync of a file: what NFS, and thin disks, find out only then


@contextmanager
def lesser(back: Path, at: Path, lacks: Lacks) -> Iterator[Path]:
    """Mounted at `at` inside the block; needs root and /dev/fuse."""
    with mounted("disks.lesser", back, at, json.dumps(asdict(lacks))):
        yield at


@contextmanager
def mounted(program: str, back: Path, at: Path, more: str) -> Iterator[None]:
    """Run a program that passes the folder `back` through FUSE; `more` is its third argument."""
    back.mkdir(exist_ok=True)
    at.mkdir(exist_ok=True)
    command = [sys.executable, "-m", program, str(back), str(at), more]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not os.path.ismount(at):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nothing is mounted at {at}: is /dev/fuse here, is fuse3 installed?")
            time.sleep(0.02)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=False, capture_output=True)
        process.terminate()
        process.wait(_PATIENCE_SECONDS)


class LesserServer(mfusepy.Operations):
    """Everything is done to the folder behind; what is lacking is answered as such filesystems answer."""

    use_ns = True

    def __init__(self, back: str, lacks: Lacks) -> None:
        self.back = back
        self.lacks = lacks

    def _path(self, path: str) -> str:
        names = [name for name in path.split("/") if name]
        longest = self.lacks.longest_name
        if longest and any(len(name) > longest for name in names):
            raise mfusepy.FuseOSError(errno.ENAMETOOLONG)
        real = self.back
        for name in names:
            real = os.path.join(real, self._as_stored(real, name))
        return real

    def _as_stored(self, folder: str, name: str) -> str:
        with suppress(OSError):
            if self.lacks.folds_case:
                return next((other for other in os.listdir(folder) if other.lower() == name.lower()), name)
        return name

    def _insist_on_room(self, path: str, end: int) -> None:
        if self.lacks.largest_file and end > self.lacks.largest_file:
            raise mfusepy.FuseOSError(errno.EFBIG)
        if self.lacks.quota and self._used() + end - os.path.getsize(self._path(path)) > self.lacks.quota:
            raise mfusepy.FuseOSError(errno.EDQUOT)

    def _used(self) -> int:
        files = (os.path.join(folder, name) for folder, _folders, names in os.walk(self.back) for name in names)
        return sum(os.lstat(file).st_size for file in files)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        status = os.lstat(self._path(path))
        names = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid", "st_ino", "st_dev", "st_blocks")
        times = {f"st_{name}time": getattr(status, f"st_{name}time_ns") for name in "amc"}
        return {name: getattr(status, name) for name in names} | times

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(self._path(path))]

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(self._path(path), mode)

    def rmdir(self, path: str) -> None:
        os.rmdir(self._path(path))

    def unlink(self, path: str) -> None:
        os.unlink(self._path(path))

    def rename(self, old: str, new: str) -> None:
        os.rename(self._path(old), self._path(new))

    def link(self, target: str, source: str) -> None:
        if self.lacks.no_hard_links:
            raise mfusepy.FuseOSError(errno.EPERM)
        os.link(self._path(source), self._path(target))

    def symlink(self, target: str, source: str) -> None:
        os.symlink(source, self._path(target))

    def readlink(self, path: str) -> str:
        return os.readlink(self._path(path))

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return os.open(self._path(path), os.O_RDWR | os.O_CREAT, mode)

    def open(self, path: str, flags: int) -> int:
        return os.open(self._path(path), flags & ~(os.O_NOFOLLOW | os.O_EXCL | os.O_CREAT))

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._insist_on_room(path, offset + len(data))
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        self._insist_on_room(path, length)
        os.truncate(self._path(path), length)

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        if self.lacks.sync_error:
            raise mfusepy.FuseOSError(self.lacks.sync_error)
        os.fsync(fh)

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._path(path), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(self._path(path), uid, gid)

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> None:
        os.utime(self._path(path), ns=times or (0, 0))

    def statfs(self, path: str) -> dict[str, int]:
        status = os.statvfs(self.back)
        names = (
            "f_bavail",
            "f_bfree",
            "f_blocks",
            "f_bsize",
            "f_favail",
            "f_ffree",
            "f_files",
            "f_frsize",
            "f_namemax",
        )
        return {name: getattr(status, name) for name in names}


def main() -> None:
    back, at, lacks = sys.argv[1:]
    mfusepy.FUSE(LesserServer(back, Lacks(**json.loads(lacks))), at, foreground=True, nothreads=True, fsname="lesser")


if __name__ == "__main__":
    main()
