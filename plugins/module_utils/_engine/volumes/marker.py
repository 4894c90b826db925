# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The marker that makes a filesystem a volume: `<volume>/.snowsync/volume.json` with {"uuid", "name"}.

The module `volume_provision` adds `filesystem` (the UUID of the filesystem), `host` and `host_name` (whose it is).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..core.errors import LocalError, Trouble
from ..core.layout import MARKER, MARKER_PATH, OWN_FOLDER, UNFINISHED
from .filesystem_check import insist_on_fitness, remove_probes

_UNFINISHED = f"{MARKER}{UNFINISHED}"


def is_folder(path: Path) -> bool:
    """Whether there is a directory; OSError where that cannot be said, as of a disk that answers with errors."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def read_marker(path: Path) -> dict[str, str] | None:
    """The marker of the volume at `path`, or None. Raises LocalError for one that cannot be read."""
    marker = path / MARKER_PATH
    try:
        content = {str(key): str(value) for key, value in json.loads(marker.read_text(encoding="utf-8")).items()}
        if not (content["uuid"] and content["name"]):
            raise ValueError("its uuid or name is empty")
        return content
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise LocalError(Trouble.IO, f"read the marker {marker}", str(error)) from error


def write_marker(path: Path, name: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the volume at `path` its identity, durably; the one it has, if another process was first.

    `more` is what else the marker says, and may hold the `uuid` to give instead of a new one. LocalError where its
    filesystem cannot hold what is staged. Whatever fails, nothing is left there.
    """
    folder = path / OWN_FOLDER
    with _opened(path) as top:
        # Both units of a job may meet a new volume at once. A lock, unlike a hard link, is known to every filesystem.
        # It is on what lies above, since the folder goes again where the volume is refused.
        fcntl.flock(top, fcntl.LOCK_EX)
        with _made(folder) as descriptor:
            if read_marker(path) is None:
                remove_probes(descriptor)  # of a process that was killed
                insist_on_fitness(descriptor, f"make a volume of {path}")
                import uuid  # loads `platform`; a marker is made once in the life of a volume

                content = {"uuid": str(uuid.uuid4()), "name": name, **(more or {})}
                _put(descriptor, json.dumps(content).encode())
        os.fsync(top)
    marker = read_marker(path)
    if marker is None:
        raise LocalError(Trouble.IO, f"write the marker of volume {name}", f"it is not in {folder}")
    return marker


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[int]:
    """A descriptor of a folder, which is made for this, and not left behind by what fails."""
    if not is_folder(folder):
        folder.mkdir(mode=0o750, exist_ok=True)
    try:
        with _opened(folder) as descriptor:
            yield descriptor
    except BaseException:
        with contextlib.suppress(OSError):  # it holds something
            folder.rmdir()
        raise


def _put(folder: int, content: bytes) -> None:
    """The marker as a whole or not at all. Under the lock: what has the other name was cut off."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        descriptor = os.open(_UNFINISHED, flags, 0o640, dir_fd=folder)
        try:
            _write(descriptor, content)
        finally:
            os.close(descriptor)
        os.rename(_UNFINISHED, MARKER, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(_UNFINISHED, dir_fd=folder)
        raise


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
    os.fsync(descriptor)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
