# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's own profile file, and `configure`, which writes it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .errors import ClientError
from .manifest import open_manifest, read_manifest

DEFAULT = "default"
FIRST_LINE = {
    "old": "Configuration will stored at {path}",
    "new": "Configuration will be stored at {path}",
}
PROMPTS = (
    ("manifestPath", "Snowball Edge Manifest Path: "),
    ("unlockCode", "Unlock Code: "),
    ("defaultEndpoint", "Default Endpoint: "),
)


def profile_file(home: Path) -> Path:
    return home / ".aws/snowball/config/snowball-edge.config"


def read_profiles(home: Path) -> dict[str, Any]:
    """Profile name -> profile; ClientError if the file is no such JSON."""
    path = profile_file(home)
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ClientError(f"The configuration {path} could not be read: {error}") from error
    profiles = content.get("profiles") if isinstance(content, dict) else None
    if content.get("version") != 1 if isinstance(content, dict) else True:
        raise ClientError(f"The configuration {path} has no version 1.")
    if not isinstance(profiles, dict) or not all(isinstance(each, dict) for each in profiles.values()):
        raise ClientError(f"The configuration {path} has no profiles.")
    return profiles


def choose(home: Path, name: str | None, needed: bool) -> dict[str, Any]:
    """The profile of that name, the default one without a name; empty if none is there and none is needed."""
    profiles = read_profiles(home) if needed or name else {}
    found: dict[str, Any] | None = profiles.get(name or DEFAULT)
    if found is None and (needed or name):
        raise ClientError(f"The profile {name or DEFAULT} does not exist in {profile_file(home)}.")
    return found or {}


def configure(home: Path, generation: str, name: str | None, given: dict[str, str], addresses: list[str]) -> str:
    """Asks for what was not given, checks code and manifest against each other, writes the profile."""
    path = profile_file(home)
    print(FIRST_LINE[generation].format(path=path), flush=True)
    values = {field: given.get(field) or _ask(prompt) for field, prompt in PROMPTS}
    job_id = open_manifest(read_manifest(values["manifestPath"]), values["unlockCode"])
    if not values["defaultEndpoint"].startswith("https://"):
        raise ClientError(f"The endpoint {values['defaultEndpoint']!r} is not valid.")
    profiles = read_profiles(home)
    key = name or DEFAULT
    profiles[key] = {"name": key, "jobId": job_id, **values, "isCluster": bool(addresses), "deviceIps": addresses}
    path.parent.mkdir(parents=True, exist_ok=True)
    # With the umask's mode, as AWS leaves the protection of this file to its owner.
    path.write_text(json.dumps({"version": 1, "profiles": profiles}))
    return ""


def _ask(prompt: str) -> str:
    print(prompt, end="", flush=True)
    line = sys.stdin.readline()
    if not line:
        raise ClientError("The input ended before everything was answered.")
    return line.strip()
