# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The marker that makes a filesystem a volume: `<volume>/.snowsync/volume.json` with {"uuid", "name"}.

The module `volume_provision` adds `filesystem` (the UUID of the filesystem), `host` and `host_name` (whose it is).
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import uuid
from collections.abc import Mapping
from pathlib import Path

from .errors import LocalError, Trouble

OWN_FOLDER = ".snowsync"  # the engine's folder on every volume


def is_folder(path: Path) -> bool:
    """Whether there is a directory; OSError where that cannot be said, as of a disk that answers with errors."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def read_marker(path: Path) -> dict[str, str] | None:
    """The marker of the volume at `path`, or None. Raises LocalError for one that cannot be read."""
    marker = path / OWN_FOLDER / "volume.json"
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

    `more` is what else the marker says, and may hold the `uuid` to give instead of a new one.
    """
    folder = path / OWN_FOLDER
    folder.mkdir(mode=0o750, exist_ok=True)
    temporary = folder / f"volume.json.{uuid.uuid4()}"
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump({"uuid": str(uuid.uuid4()), "name": name, **(more or {})}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    # Both units of a job may meet a new volume at once: a link, unlike a rename, never replaces the other's marker.
    with contextlib.suppress(FileExistsError):
        os.link(temporary, folder / "volume.json")
    temporary.unlink()
    for directory in (folder, path):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(descriptor)
        os.close(descriptor)
    marker = read_marker(path)
    if marker is None:
        raise LocalError(Trouble.IO, f"write the marker of volume {name}", f"it is not in {folder}")
    return marker
