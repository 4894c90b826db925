# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest file: what a client can tell from it without a device, as the real one is said to do."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

from .errors import ClientError

MARK = b"SNOWBALL-EDGE-MANIFEST\0"
CODE = re.compile(r"[0-9A-Za-z]{5}(-[0-9A-Za-z]{5}){4}")


def make_manifest(job_id: str, unlock_code: str) -> bytes:
    """A manifest that belongs to this code. It looks encrypted and holds no secret."""
    salt = os.urandom(16).hex()
    fields = {"job_id": job_id, "salt": salt, "proof": _proof(salt, unlock_code)}
    return MARK + json.dumps(fields).encode() + b"\0" + os.urandom(512)


def read_manifest(path: str) -> bytes:
    if not path:
        raise ClientError("No manifest file was given, neither by --manifest-file nor by a profile.")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ClientError(f"The manifest file {path} could not be read: {error.strerror}") from error


def open_manifest(manifest: bytes, unlock_code: str) -> str:
    """The job id. ClientError if the code is no code or another manifest's, or if this is no manifest."""
    if not CODE.fullmatch(unlock_code):
        raise ClientError("The unlock code is not valid: five groups of five characters, separated by hyphens.")
    try:
        fields = json.loads(manifest.removeprefix(MARK).partition(b"\0")[0]) if manifest.startswith(MARK) else {}
        salt, proof, job_id = fields["salt"], fields["proof"], str(fields["job_id"])
    except (ValueError, KeyError) as error:
        raise ClientError("The manifest could not be decrypted: it is damaged, or no manifest.") from error
    if _proof(salt, unlock_code) != proof:
        raise ClientError("The manifest could not be decrypted: the unlock code does not match the manifest.")
    return job_id


def digest(manifest: bytes) -> str:
    return hashlib.sha256(manifest).hexdigest()


def _proof(salt: str, unlock_code: str) -> str:
    return hashlib.sha256(f"{salt}:{unlock_code}".encode()).hexdigest()
