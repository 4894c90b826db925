# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of the software update, and the reboot."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from . import timeline
from .client import Call
from .errors import ClientError, DeviceError, incorrect_state

STARTABLE = ("NA", "DOWNLOAD_FAILED", "DECRYPT_FAILED", "INSTALL_FAILED")
RUNNING = ("ACTIVATING", "ACTIVE", "DEGRADED", "DEACTIVATING", "UPGRADING", "UNHEALTHY")


def check_for_updates(call: Call) -> Any:
    software = call.device["software"]
    _need_internet(software)
    if call.is_old:
        return f"Latest version: {software['latest']}\nInstalled version: {software['installed']}"
    return {"InstalledVersion": software["installed"], "LatestVersion": software["latest"]}


def _need_internet(software: dict[str, Any]) -> None:
    if not software["internet"]:
        raise DeviceError("NoCloudConnectionException", "The device cannot reach the AWS cloud.")


def describe_device_software(call: Call) -> Any:
    software = call.device["software"]
    fields = {
        "InstalledVersion": software["installed"],
        "InstallingVersion": software["installing"],
        "InstallState": software["state"],
        "CertificateExpiry": software["certificate_expiry"],
    }
    if call.is_old:
        names = ("Installed version", "Installing version", "Install State", "CertificateExpiry")
        return "\n".join(f"{name}: {value}" for name, value in zip(names, fields.values(), strict=True))
    if software["state"].endswith("_FAILED"):
        fields["ErrorMessage"] = software["error"]
    return fields


def download_updates(call: Call) -> str:
    software = call.device["software"]
    if software["state"] not in STARTABLE:
        raise _wrong_order(software, "download")
    uris = call.options.get("uri", [])
    if not uris:
        _need_internet(software)
    downloaded = _file_digest(uris[0]) if uris else None
    software.update(
        state="DOWNLOADING",
        since=call.now,
        installing=software["latest"],
        downloaded_sha256=downloaded,
        error="",
    )
    return "Download started. Run describe-device-software API for additional information."


def _file_digest(uri: str) -> str:
    """The client reads the file of a file:///... address, on the machine that it runs on."""
    found = re.fullmatch(r"file:(?://)?(/.*)", uri)
    if not found:
        raise ClientError(f"The URI {uri} is not valid: it has to be file:///PATH.")
    try:
        content = Path(unquote(found[1])).read_bytes()
    except OSError as error:
        raise ClientError(f"The update {uri} could not be read: {error.strerror}") from error
    if not content:
        raise ClientError(f"The update {uri} is empty.")
    return hashlib.sha256(content).hexdigest()


def install_updates(call: Call) -> str:
    software = call.device["software"]
    if software["state"] != "DOWNLOADED":
        raise _wrong_order(software, "install")
    running = [
        service_id
        for service_id, service in call.device["services"].items()
        if service["stoppable"] and service["state"] in RUNNING
    ]
    if running:
        raise incorrect_state(f"Stop these services before the installation: {', '.join(running)}.")
    software.update(state="INSTALLING", since=call.now)
    return "Installation started."


def _wrong_order(software: dict[str, Any], what: str) -> DeviceError:
    message = f"There is nothing to {what} while the update is in state {software['state']}."
    return DeviceError("IncorrectDeviceUpdateStateException", message)


def reboot_device(call: Call) -> str:
    timeline.power_cycle(call.device, call.now)
    return "Rebooting device now."
