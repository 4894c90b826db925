# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test needs to know of one running store."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

# Every word that `Store.quirks` may hold. A store without the word does what Amazon's documentation says.
QUIRKS = {
    "no_prefix_clash": "an object `a` cannot stand beside an object `a/b`",
    "multipart_etag_plain": "HEAD and LIST name the MD5 of a multipart object's bytes, without -N",
    "no_complete_etag": "the answer to CompleteMultipartUpload has an empty ETag",
    "no_part_number": "?partNumber=N is ignored: the whole object is meant",
    "range_status_200": "a range is answered with the right bytes but status 200",
    "if_match_ignored": "GET with If-Match sends the object whatever its ETag is",
    "if_none_match_ignored": "PUT with If-None-Match: * overwrites",
    "no_part_replaced": "a part that was sent before cannot be sent again with other bytes",
    "no_tags": "tagging is not implemented",
    "no_trailer": "a body with a trailing checksum (what SDKs send over HTTPS) is refused",
    "metadata_case": "the names of user metadata come back with a capital letter",
    "crc_unchecked": "a wrong x-amz-checksum-crc32 is accepted",
}


@dataclass(frozen=True)
class Store:
    """A running store. Paths are strings, so that all of it can be written into a configuration file."""

    name: str
    url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str
    ca_bundle: str | None
    credentials_file: str
    quirks: frozenset[str]

    def __post_init__(self) -> None:
        unknown = self.quirks - QUIRKS.keys()
        if unknown:
            raise ValueError(f"{self.name}: no such quirk: {', '.join(sorted(unknown))}")


def write_credentials(path: Path, access_key: str, secret_key: str) -> Path:
    """An INI file as the AWS tools read it, for its owner only."""
    text = f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    return path
