# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is true about a new device. A device is one JSON object, kept by fleet.py; no effects here."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

STATES = ("LOCKED", "UNLOCKING", "UNLOCKED")
GENERATIONS = ("old", "new")
INSTALL_STATES = (
    "NA", "DOWNLOADING", "DOWNLOAD_FAILED", "DECRYPTING", "DECRYPT_FAILED", "DOWNLOADED", "INSTALLING",
    "INSTALL_FAILED", "REQUIRE_REBOOT",
)  # fmt: skip
SERVICE_STATES = (
    "INACTIVE", "ACTIVATING", "ACTIVE", "DEGRADED", "DEACTIVATING", "DEACTIVATED", "UPGRADING", "UNHEALTHY",
)  # fmt: skip
SERVICES = {
    "old": ("greengrass", "fileinterface", "s3", "ec2", "s3-snow"),
    "new": ("nfs", "s3", "ec2", "sts", "iam", "ssm", "s3-snow"),
}
ALWAYS_ON = ("s3", "ec2", "sts", "iam")
# How many virtual interfaces a service wants when it is started.
VNIS_NEEDED = {"s3-snow": 2, "nfs": 1, "fileinterface": 1, "greengrass": 0}
MANAGEMENT_PORT = 9091
TERABYTE = 10**12


def expiry_text(days: float, now: float | None = None) -> str:
    """A CertificateExpiry that many days from now, as a device prints it."""
    moment = (time.time() if now is None else now) + days * 86400
    return time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(moment))


def new_service(service_id: str) -> dict[str, Any]:
    """`hangs`: stays in ACTIVATING. `becomes`: where starting ends. Seconds that a start and a stop take.

    `ports` and `host` are those of a front that serves it, over the usual ones; a port that is null is not listed.
    """
    always_on = service_id in ALWAYS_ON
    return {
        "state": "INACTIVE",
        "since": 0.0,
        "start_seconds": 0.3,
        "stop_seconds": 0.1,
        "hangs": False,
        "becomes": "ACTIVE",
        "always_on": always_on,
        "stoppable": not always_on,
        "autostart": False,
        "details": "",
        "vnis": [],
        "vnis_needed": VNIS_NEEDED.get(service_id, 0),
        "configuration": {},
        "ports": {},
        "host": None,
    }


def new_device(name: str, endpoint: str, generation: str = "new", seed: str = "") -> dict[str, Any]:
    """A locked device as it is delivered. Everything in it can be set; README.md says what the fields do."""
    chance = random.Random(f"{name}/{seed}")
    number = f"{chance.getrandbits(32):08x}-{chance.getrandbits(16):04x}-4{chance.getrandbits(12):03x}"
    job_id = f"JID{number}-a{chance.getrandbits(12):03x}-{chance.getrandbits(48):012x}"
    return {
        "name": name,
        "endpoint": endpoint,
        "generation": generation,
        "job_id": job_id,
        "device_id": job_id if generation == "new" else f"JID-2068435000{chance.randrange(10, 99)}-35-92-001",
        "device_type": "V3_5S",
        "unlock_code": "-".join(f"{chance.getrandbits(20):05x}" for each in range(5)),
        "manifest_sha256": "",
        "state": "LOCKED",
        "since": 0.0,
        "unlock_seconds": 0.5,
        "relock": False,
        "unlock_again": "error",
        "wrong_code": "mismatch",
        "reachable": True,
        "boot_seconds": 0.5,
        "booting_until": None,
        "latency_seconds": 0.0,
        "access_key": "AKIA" + "".join(chance.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", k=16)),
        "secret_key": "".join(chance.choices("ABCDEFabcdef0123456789+/", k=40)),
        "certificate": None,
        "other_certificates": [],
        "services": {service_id: new_service(service_id) for service_id in SERVICES[generation]},
        "physical_interfaces": physical_interfaces(host_of(endpoint), chance),
        "virtual_interfaces": [],
        "capacities": [
            {"Name": "HDD Storage", "Unit": "Byte", "Total": 80 * TERABYTE, "Used": 0, "Available": 80 * TERABYTE},
            {"Name": "SSD Storage", "Unit": "Byte", "Total": 210 * TERABYTE, "Used": 0, "Available": 210 * TERABYTE},
        ],
        "software": new_software(),
        "cluster": None,
        "features": {"RemoteManagementState": "INSTALLED_ONLY"},
        "time_sources": [{"Address": "192.0.2.123", "State": "CURRENT", "Type": "SERVER", "Stratum": 3}],
        "answers": {},
        "faults": [],
        "boots": 0,
        "unlocks": 0,
    }


def new_software() -> dict[str, Any]:
    """`fail_at`: the state that ends in its *_FAILED. `reboots`: how many an installation needs until it is over."""
    return {
        "installed": "118",
        "installing": "NA",
        "latest": "119",
        "state": "NA",
        "since": 0.0,
        "seconds": {"DOWNLOADING": 0.2, "DECRYPTING": 0.2, "INSTALLING": 0.2},
        "fail_at": None,
        "error": "",
        "reboots": 2,
        "reboots_left": 0,
        "internet": True,
        "update_sha256": None,
        "downloaded_sha256": None,
        "certificate_expiry": expiry_text(360),
    }


def physical_interfaces(host: str, chance: random.Random) -> list[dict[str, Any]]:
    """Two ports, one of them connected."""
    ids = [f"s.ni-{chance.getrandbits(68):017x}" for each in range(2)]
    connected = {"IpAddressAssignment": "STATIC", "IpAddress": host, "Netmask": "255.0.0.0"}
    empty = {"IpAddressAssignment": "DHCP", "IpAddress": "0.0.0.0", "Netmask": "0.0.0.0"}
    return [
        {
            "PhysicalNetworkInterfaceId": interface,
            "PhysicalConnectorType": connector,
            **address,
            "DefaultGateway": "127.9.255.254" if address is connected else "0.0.0.0",
            "MacAddress": ":".join(f"{chance.getrandbits(8):02x}" for each in range(6)),
            "MtuSize": "1500",
        }
        for interface, connector, address in zip(ids, ("RJ45", "QSFP"), (connected, empty), strict=True)
    ]


def merge(target: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Sets `changes` in `target`: mappings inside mappings are merged, all else is replaced; `a.b` names go down."""
    for name, value in changes.items():
        if name in target or "." not in name:
            inner = target.get(name)
            if isinstance(value, Mapping) and isinstance(inner, dict):
                merge(inner, value)
            else:
                target[name] = value
        else:
            first, dot, rest = name.partition(".")
            inner = target.get(first)
            if not isinstance(inner, dict):
                raise KeyError(f"{first} has no {rest}: it is {inner!r}")
            merge(inner, {rest: value})


def host_of(endpoint: str) -> str:
    return urlsplit(endpoint).hostname or ""


def same_endpoint(one: str, other: str) -> bool:
    """https://IP and https://IP:9091/ are the same."""
    return _place(one) == _place(other)


def _place(endpoint: str) -> tuple[str, str, int]:
    parts = urlsplit(endpoint)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or MANAGEMENT_PORT
