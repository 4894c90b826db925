# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Snowdirs: one folder for each Snowball, with its name, ``*manifest.bin`` and ``sbe_config.yaml``.

This module handles only names and modes. ``sbe_config.yaml`` may be vaulted or hold templates, so Ansible reads it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

MANIFEST_ENDING = "manifest.bin"
CONFIG_NAME = "sbe_config.yaml"
FOLDER_MODE = 0o700
FILE_MODE = 0o600
# 25 letters and digits in five groups; real codes look hexadecimal, those in the vendor's examples do not.
CODE = re.compile(r"[0-9A-Za-z]{5}(-[0-9A-Za-z]{5}){4}")
ENDPOINT = re.compile(r"https?://[^\s/]+/?")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Snowdir:
    """One folder: `manifests` are the paths of all its manifests, normally one; `config` may not exist."""

    path: str
    manifests: tuple[str, ...]
    has_config: bool

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    @property
    def config(self) -> str:
        return os.path.join(self.path, CONFIG_NAME)


def names_in(folder: str) -> list[str]:
    """The names of the snowdirs in a folder, sorted; hidden ones are not Snowballs. Raises OSError."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())


def look(path: str) -> Snowdir:
    """The content of one folder. Raises OSError."""
    files = sorted(name for name in os.listdir(path) if not name.startswith("."))
    manifests = tuple(os.path.join(path, name) for name in files if name.endswith(MANIFEST_ENDING))
    return Snowdir(path, manifests, CONFIG_NAME in files)
