# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The virtual network interfaces that a service is started with: which exist and which must be created."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client import SnowballClient
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import Misconfigured
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.model import (
    Device,
    Interface,
    VirtualInterface,
)

_NO_ADDRESS = ("", "0.0.0.0")


@dataclass(frozen=True)
class Wanted:
    """An interface to start a service with: an existing one (`arn`), a static address, or else one with DHCP.

    `physical` is the ID or the connector of a physical interface, "" is the one with the device's address.
    """

    arn: str = ""
    physical: str = ""
    ip_address: str = ""
    netmask: str = ""


@dataclass(frozen=True)
class Chosen:
    """The choice for a wanted interface: an existing one, or how to create one."""

    existing: VirtualInterface | None
    physical_id: str = ""
    ip_address: str = ""
    netmask: str = ""

    def ensure(self, client: SnowballClient) -> VirtualInterface:
        return self.existing or client.create_virtual_interface(self.physical_id, self.ip_address, self.netmask)

    def facts(self, made: VirtualInterface | None = None) -> dict[str, Any]:
        """The result for a module; without an ARN it still has to be created."""
        there = self.existing or made
        return {
            "arn": there.arn if there else "",
            "physical_id": there.physical_id if there else self.physical_id,
            "ip_address": there.ip_address if there else self.ip_address,
            "created": self.existing is None,
        }


def wanted_of(entries: Sequence[Mapping[str, Any]], count: int) -> tuple[Wanted, ...]:
    """The option of a module as values; by default as many interfaces with DHCP as the service needs."""
    names = ("arn", "physical", "ip_address", "netmask")
    given = tuple(Wanted(**{name: entry.get(name) or "" for name in names}) for entry in entries)
    return given or (Wanted(),) * count


def choose(
    name: str,
    wanted: Sequence[Wanted],
    device: Device,
    existing: Sequence[VirtualInterface],
    taken: Collection[str],
    own: Collection[str] = (),
) -> list[Chosen]:
    """One choice for each wanted interface. No interface is used twice, and none with DHCP whose address is `taken`.

    If any interface will do, those that the service already listens on (addresses `own`) come first.
    """
    left = sorted(existing, key=lambda interface: interface.ip_address not in own)
    choices = []
    for each in wanted:
        choice = _choose(name, each, device, left, taken, own)
        left = [interface for interface in left if interface is not choice.existing]
        choices.append(choice)
    return choices


def _choose(
    name: str,
    wanted: Wanted,
    device: Device,
    left: Sequence[VirtualInterface],
    taken: Collection[str],
    own: Collection[str],
) -> Chosen:
    if wanted.arn:
        found = [interface for interface in left if interface.arn == wanted.arn]
        if not found:
            known = ", ".join(interface.arn for interface in left) or "none"
            raise Misconfigured(
                "choose virtual interfaces", name, f"{wanted.arn} does not exist or is listed twice. Available: {known}"
            )
        return Chosen(found[0])
    if wanted.ip_address:
        for interface in left:
            if interface.ip_address == wanted.ip_address:
                return Chosen(interface)
        physical = physical_interface(name, wanted.physical, device)
        return Chosen(None, physical.interface_id, wanted.ip_address, wanted.netmask or physical.netmask)
    if wanted == Wanted() and left and left[0].ip_address in own:
        return Chosen(left[0])
    physical = physical_interface(name, wanted.physical, device)
    for interface in left:
        is_free = interface.ip_address not in taken
        if interface.assignment == "DHCP" and interface.physical_id == physical.interface_id and is_free:
            return Chosen(interface)
    return Chosen(None, physical.interface_id)


def physical_interface(name: str, wanted: str, device: Device) -> Interface:
    """By its ID or connector, e.g. QSFP; "" is the one with the device's address. Raises Misconfigured."""
    connected = [each for each in device.interfaces if each.ip_address not in _NO_ADDRESS]
    if wanted:
        found = [each for each in device.interfaces if wanted in (each.interface_id, each.connector)]
    else:
        found = [each for each in connected if each.ip_address == device.ip_address] or connected
    if not found:
        known = ", ".join(f"{each.interface_id} ({each.connector})" for each in device.interfaces) or "none"
        cause = f"there is no interface {wanted}" if wanted else "no interface is connected"
        raise Misconfigured("choose a physical interface", name, f"{cause}. Available: {known}")
    return found[0]
