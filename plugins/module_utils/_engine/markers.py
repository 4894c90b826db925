# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The marker that makes a filesystem a volume: `<volume>/.snowsync/volume.json` with {"uuid", "name"}."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from pathlib import Path

from .config import OWN_FOLDER
from .errors import LocalError, Trouble


def read_marker(path: Path) -> dict[str, str] | None:
    """The marker of the volume at `path`, or None. Raises LocalError for one that cannot be read."""
    marker = path / OWN_FOLDER / "volume.json"
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
        return {"uuid": str(content["uuid"]), "name": str(content["name"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LocalError(Trouble.IO, f"read the marker {marker}", str(error)) from error


def write_marker(path: Path, name: str) -> dict[str, str]:
    """Give the volume at `path` its identity, durably; the one it has, if another process was first."""
    folder = path / OWN_FOLDER
    folder.mkdir(mode=0o750, exist_ok=True)
    temporary = folder / f"volume.json.{uuid.uuid4()}"
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump({"uuid": str(uuid.uuid4()), "name": name}, stream)
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
