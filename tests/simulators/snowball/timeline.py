# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a device changes by itself as time passes. Pure: a device, a moment in epoch seconds, and nothing else."""

from __future__ import annotations

from typing import Any

# state of the software -> what follows it, and what follows it when it fails
STEPS = {
    "DOWNLOADING": ("DECRYPTING", "DOWNLOAD_FAILED"),
    "DECRYPTING": ("DOWNLOADED", "DECRYPT_FAILED"),
    "INSTALLING": ("REQUIRE_REBOOT", "INSTALL_FAILED"),
}


def advance(device: dict[str, Any], now: float) -> None:
    """Brings the device to `now`."""
    if device["booting_until"] is not None and now >= device["booting_until"]:
        device["booting_until"] = None
    if device["state"] == "UNLOCKING":
        _end_unlocking(device, now)
    if device["state"] == "UNLOCKED":
        for service in device["services"].values():
            _advance_service(service, now)
        _advance_software(device["software"], now)


def _end_unlocking(device: dict[str, Any], now: float) -> None:
    done = device["since"] + device["unlock_seconds"]
    if now >= done:
        device["since"] = done
        if device["relock"]:
            device["state"] = "LOCKED"
        else:
            be_unlocked(device, done)


def be_unlocked(device: dict[str, Any], now: float) -> None:
    """The services that need nobody's order come up with the device."""
    device.update(state="UNLOCKED", since=now)
    for service in device["services"].values():
        if service["always_on"] and service["state"] == "INACTIVE":
            service.update(state=service["becomes"] if not service["hangs"] else "ACTIVATING", since=now)
        elif service["autostart"] and service["state"] == "INACTIVE":
            service.update(state="ACTIVATING", since=now)


def _advance_service(service: dict[str, Any], now: float) -> None:
    age = now - service["since"]
    if service["state"] == "ACTIVATING" and not service["hangs"] and age >= service["start_seconds"]:
        service.update(state=service["becomes"], since=service["since"] + service["start_seconds"])
    elif service["state"] == "DEACTIVATING" and age >= service["stop_seconds"]:
        service.update(state="INACTIVE", since=service["since"] + service["stop_seconds"])


def _advance_software(software: dict[str, Any], now: float) -> None:
    while software["state"] in STEPS:
        state = software["state"]
        done = software["since"] + software["seconds"].get(state, 0.0)
        if now < done:
            return
        following, failed = STEPS[state]
        fails = software["fail_at"] in (state, failed) or (state == "DECRYPTING" and _is_another_file(software))
        software.update(state=failed if fails else following, since=done)
        if fails:
            software["error"] = f"Failed while {state.lower()} version {software['installing']}."
        elif following == "REQUIRE_REBOOT":
            software["reboots_left"] = software["reboots"]


def _is_another_file(software: dict[str, Any]) -> bool:
    return bool(software["update_sha256"]) and software["downloaded_sha256"] not in (None, software["update_sha256"])


def power_cycle(device: dict[str, Any], now: float) -> None:
    """A reboot, or a power cut: locked afterwards, and unreachable until it has booted."""
    advance(device, now)
    device.update(state="LOCKED", since=now, booting_until=now + device["boot_seconds"])
    device["boots"] += 1
    for service_id, service in device["services"].items():
        mounted = service_id in ("nfs", "fileinterface") and service["state"] in ("ACTIVE", "ACTIVATING")
        service.update(state="DEACTIVATED" if mounted and not service["autostart"] else "INACTIVE", since=now)
    _software_after_boot(device["software"], now)


def _software_after_boot(software: dict[str, Any], now: float) -> None:
    if software["state"] in STEPS:
        software.update(state=STEPS[software["state"]][1], since=now, error="The device was rebooted meanwhile.")
    elif software["state"] == "REQUIRE_REBOOT":
        software["reboots_left"] -= 1
        if software["reboots_left"] <= 0:
            software.update(state="NA", since=now, installed=software["installing"], installing="NA")


def is_reachable(device: dict[str, Any]) -> bool:
    """Of a device that was advanced."""
    return bool(device["reachable"]) and device["booting_until"] is None
