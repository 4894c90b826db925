# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The keys of a device in ``keys.yaml``, the file of its snowdir."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.access import Access
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client import SnowballClient
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import Misconfigured
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.model import Keys
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.secret_files import (
    PRIVATE,
    flat_mapping,
    mode_of,
    read_text,
    with_values,
    write_private,
)

KEY_ID, SECRET = "aws_access_key_id", "aws_secret_access_key"


def keys_path(name: str, access: Access) -> str:
    """The path of the keys file: relative to the snowdir. Raises Misconfigured if it cannot be written."""
    path = os.path.join(access.folder, name)
    if not os.path.isabs(path):
        raise Misconfigured("choose the keys file", access.name, f"{name} is relative, but there is no snowdir")
    if not os.path.isdir(os.path.dirname(path)):
        raise Misconfigured("choose the keys file", access.name, f"there is no folder {os.path.dirname(path)}")
    if os.path.isdir(path):
        raise Misconfigured("choose the keys file", access.name, f"{path} is a folder")
    return path


@dataclass(frozen=True)
class KeysFile:
    """The current and the desired file. Secrets are never shown."""

    path: str
    text: str
    wanted_text: str
    mode: int | None

    @property
    def needs_writing(self) -> bool:
        return self.text != self.wanted_text or self.mode != PRIVATE

    def write(self, client: SnowballClient) -> None:
        try:
            write_private(client.module, self.path, self.wanted_text)
        except OSError as error:
            raise Misconfigured("write the keys", client.name, f"{self.path}: {error.strerror}") from error

    def diff(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The content before and after, without secrets."""
        before, after = flat_mapping(self.text), flat_mapping(self.wanted_text)
        is_same = before.get(SECRET) == after.get(SECRET)
        shown = "" if SECRET not in before else "(hidden)" if is_same else "(hidden, changed)"
        return (
            _shown(self.path, self.mode, before, shown) if self.mode is not None else {},
            _shown(self.path, PRIVATE, after, "(hidden)"),
        )


def _shown(path: str, mode: int | None, values: dict[str, str], secret: str) -> dict[str, Any]:
    return {"path": path, "mode": f"{mode:04o}", KEY_ID: values.get(KEY_ID, ""), SECRET: secret}


def keys_file(client: SnowballClient, path: str, keys: Keys) -> KeysFile:
    """The file with the device's keys; all other content is kept."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured("read the keys file", client.name, f"{path}: {error}") from error
    client.keep_secret(flat_mapping(text).get(SECRET, ""))
    wanted = with_values(text, {KEY_ID: keys.access_key_id, SECRET: keys.secret_access_key})
    return KeysFile(path, text, wanted, mode_of(path))
