# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The data model of a Snowball: only its ID and its state are always present.

Every other field has a value for "not reported": an empty string, an empty tuple, None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

LOCKED, UNLOCKING, UNLOCKED = "LOCKED", "UNLOCKING", "UNLOCKED"
ACTIVE = "ACTIVE"
# Every InstallState of the device's API; one field covers download and installation.
INSTALL_STATES = (
    "NA",
    "DOWNLOADING",
    "DOWNLOAD_FAILED",
    "DECRYPTING",
    "DECRYPT_FAILED",
    "DOWNLOADED",
    "INSTALLING",
    "INSTALL_FAILED",
    "REQUIRE_REBOOT",
)
ADAPTER, OBJECT, CONTROL = "adapter", "object", "control"


@dataclass(frozen=True)
class Interface:
    """A physical network interface; `connector` is e.g. RJ45 or SFP_PLUS, `assignment` DHCP or STATIC."""

    interface_id: str
    connector: str = ""
    assignment: str = ""
    ip_address: str = ""
    netmask: str = ""
    gateway: str = ""
    mac_address: str = ""
    mtu: int | None = None


@dataclass(frozen=True)
class Capacity:
    """The capacity of one kind, in `unit` (``Byte`` for storage)."""

    name: str
    unit: str = ""
    total: int | None = None
    used: int | None = None
    available: int | None = None


@dataclass(frozen=True)
class Device:
    """A device or a node of a cluster. `state` is LOCKED, UNLOCKING or UNLOCKED; "" for an unreachable node."""

    device_id: str
    state: str
    ip_address: str = ""
    device_type: str = ""
    interfaces: tuple[Interface, ...] = ()
    capacities: tuple[Capacity, ...] = ()
    cluster_id: str = ""
    association: str = ""
    reachability: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cluster:
    cluster_id: str
    devices: tuple[Device, ...]


@dataclass(frozen=True)
class Keys:
    """The device's root keys."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True)
class Certificate:
    """A certificate of the device; `names` are addresses, or ``ID:<device id>`` on newer software."""

    arn: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Endpoint:
    """An endpoint of a service. `kind` is adapter, object or control for S3, else the ID of the service."""

    protocol: str
    host: str
    port: int | None
    kind: str
    certificate_arn: str = ""
    description: str = ""
    device_id: str = ""
    state: str = ""

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.protocol}://{host}" + (f":{self.port}" if self.port else "")


@dataclass(frozen=True)
class Service:
    """A service; `state` is the top-level one, `allowed_hosts` is None if the device does not report them."""

    service_id: str
    state: str
    details: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    capacities: tuple[Capacity, ...] = ()
    autostart: bool | None = None
    allowed_hosts: tuple[str, ...] | None = None


@dataclass(frozen=True)
class VirtualInterface:
    arn: str
    physical_id: str = ""
    assignment: str = ""
    ip_address: str = ""
    netmask: str = ""
    gateway: str = ""
    mac_address: str = ""


@dataclass(frozen=True)
class Software:
    """`state` is one of INSTALL_STATES, any other value that the device reports, or "" if it reports none."""

    installed: str
    installing: str = ""
    state: str = ""
    certificate_expiry: datetime | None = None
    certificate_expiry_text: str = ""
    error: str = ""


@dataclass(frozen=True)
class Updates:
    installed: str
    latest: str


@dataclass(frozen=True)
class ClientVersion:
    version: str
    build: int | None
