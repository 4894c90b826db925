# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The address, manifest and unlock code of a device, from options or from its folder. No device is queried."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from glob import escape, glob
from typing import Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import (
    Misconfigured,
    WrongCode,
    WrongManifest,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.secret_files import flat_mapping

SETTINGS_FILE = "sbe_config.yaml"
KEYS_FILE = "keys.yaml"
NODES = "device_ip_addresses"  # in the folder of a cluster: [192.0.2.10, 192.0.2.11, ...]
# Below the home folder of the user who starts the client.
PROFILE_FILE = os.path.join(".aws", "snowball", "config", "snowball-edge.config")
LOG_FOLDER = os.path.join(".aws", "snowball", "logs")
_CODE = re.compile(r"[0-9A-Za-z]{5}(-[0-9A-Za-z]{5}){4}")
_JOB_ID = re.compile(r"(JID[0-9A-Za-z-]+)_manifest\.bin")


@dataclass(frozen=True)
class Access:
    """How to access a device.

    Either with `manifest` (absolute path) and `unlock_code`, or with a `profile` of the user's own profile file ("" is
    the client's default profile). `endpoint` is a URL, "" only with a profile. `folder` is the device's snowdir or "".
    """

    endpoint: str = ""
    manifest: str = ""
    unlock_code: str = field(default="", repr=False)
    profile: str = ""
    folder: str = ""
    device_ips: tuple[str, ...] = ()

    @property
    def is_private(self) -> bool:
        """Whether the client needs a temporary profile file."""
        return bool(self.unlock_code)

    @property
    def name(self) -> str:
        """The name of the device in messages."""
        name = os.path.basename(self.folder) or (f"of profile {self.profile}" if self.profile else "")
        address = self.endpoint or ("" if name else "of the client's default profile")
        return f"{name} ({address})" if name and address else name or address


def access_of(options: Mapping[str, Any]) -> Access:
    """The device from a module's options; raises Misconfigured, WrongCode or WrongManifest before it is queried."""
    folder = os.path.abspath(options["snowdir"]) if options.get("snowdir") else ""
    given = Access(options.get("endpoint") or "", folder=folder, profile=options.get("profile") or "")
    settings = _read_settings(given) if folder else {}
    access = Access(
        endpoint=given.endpoint or settings.get("endpoint_url", ""),
        manifest=os.path.abspath(options["manifest"]) if options.get("manifest") else _find_manifest(given),
        unlock_code=(options.get("unlock_code") or settings.get("unlock_key", "")).strip(),
        profile=given.profile,
        folder=folder,
        device_ips=tuple(options.get("device_ips") or re.findall(r"[^\s,\[\]]+", settings.get(NODES, ""))),
    )
    if access.manifest or access.unlock_code or folder:
        _check(access)
    return access


def profile_entry(access: Access, name: str) -> dict[str, Any]:
    """One profile of the client's profile file, as ``snowballEdge configure`` writes it; it holds the unlock code."""
    job = _JOB_ID.fullmatch(os.path.basename(access.manifest))
    return {
        "name": name,
        "jobId": job.group(1) if job else "",
        "unlockCode": access.unlock_code,
        "manifestPath": access.manifest,
        "defaultEndpoint": access.endpoint,
        "isCluster": bool(access.device_ips),
        "deviceIps": list(access.device_ips),
    }


def profile_document(*entries: Mapping[str, Any]) -> str:
    """The text of a profile file."""
    return json.dumps({"version": 1, "profiles": {entry["name"]: dict(entry) for entry in entries}}, indent=2) + "\n"


def _check(access: Access) -> None:
    wanted = {
        "endpoint (option `endpoint`, or `endpoint_url` in sbe_config.yaml)": access.endpoint,
        "manifest (option `manifest`, or one file *manifest.bin in the snowdir)": access.manifest,
        "unlock code (option `unlock_code`, or `unlock_key` in sbe_config.yaml)": access.unlock_code,
    }
    missing = [text for text, value in wanted.items() if not value]
    if missing:
        raise Misconfigured("read the access settings", access.name, f"there is no {', and no '.join(missing)}")
    if not _CODE.fullmatch(access.unlock_code):
        raise WrongCode(
            "use the unlock code", access.name, "it is not five groups of five letters or digits, separated by hyphens"
        )
    try:
        with open(access.manifest, "rb") as file:
            is_empty = not file.read(1)
    except OSError as error:
        raise WrongManifest("read the manifest", access.name, f"{access.manifest}: {error.strerror}") from error
    if is_empty:
        raise WrongManifest("read the manifest", access.name, f"{access.manifest} is empty")


def _find_manifest(given: Access) -> str:
    if not given.folder:
        return ""
    found = sorted(glob(os.path.join(escape(given.folder), "*manifest.bin")))
    if len(found) > 1:
        names = ", ".join(os.path.basename(path) for path in found)
        raise Misconfigured("choose the manifest", given.name, f"{given.folder} holds several: {names}")
    return found[0] if found else ""


def _read_settings(given: Access) -> dict[str, str]:
    path = os.path.join(given.folder, SETTINGS_FILE)
    if not os.path.isdir(given.folder):
        raise Misconfigured("read the snowdir", given.name, f"{given.folder} is not a folder")
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured("read the snowdir", given.name, f"{path}: {error}") from error
    if text.startswith("$ANSIBLE_VAULT"):
        raise Misconfigured(
            "read the snowdir",
            given.name,
            f"{path} is encrypted with Ansible Vault, which a module cannot decrypt",
            "Set `endpoint` and `unlock_code` as options, from variables of the inventory plugin snowdirs or a vault",
        )
    return flat_mapping(text)
