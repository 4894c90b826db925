# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that change a device: unlocking, services, virtual interfaces."""

from __future__ import annotations

import secrets
from typing import Any

from . import timeline
from .answers import service_of
from .client import Call
from .errors import DeviceError, UsageError, incorrect_state
from .fleet import ensure_certificate
from .model import host_of

UNLOCKING = (
    "Your Snowball Edge {what} is unlocking. You may determine the unlock state of your {what} using the "
    "{command} command. Your Snowball Edge {what} will be available for use when it is in the UNLOCKED state."
)
SERVICE = (
    "{doing} the AWS service on your Snowball Edge. You can determine the status of the AWS service using the "
    "describe-service command."
)


def unlock_device(call: Call) -> str:
    device = call.device
    if device["state"] != "LOCKED":
        if device["unlock_again"] == "error":
            raise incorrect_state(f"The device is {device['state']} already.")
    else:
        _start_unlocking(call, device)
    return UNLOCKING.format(what="device", command="describe-device")


def _start_unlocking(call: Call, device: dict[str, Any]) -> None:
    ensure_certificate(device, call.fleet.folder / device["name"] / "tls")
    device.update(state="UNLOCKING", since=call.now)
    device["unlocks"] += 1


def unlock_cluster(call: Call) -> str:
    """All nodes named; the first time every one of them must answer, later a majority is enough."""
    if not call.device["cluster"]:
        raise DeviceError("UnsupportedOperationException", "The device belongs to no cluster.")
    nodes = [_node(call, address) for address in call.options.get("device-ip-addresses", [])]
    if not nodes:
        raise UsageError("The command unlock-cluster needs --device-ip-addresses.")
    _check_quorum(call, nodes)
    locked = [node for node in nodes if timeline.is_reachable(node) and node["state"] == "LOCKED"]
    if not locked and call.device["unlock_again"] == "error":
        raise incorrect_state("No node of the cluster is LOCKED.")
    for node in locked:
        _start_unlocking(call, node)
    for node in nodes:
        node["cluster"]["formed"] = True
        call.fleet.save(node)
    return UNLOCKING.format(what="Cluster", command="describe-cluster")


def _node(call: Call, address: str) -> dict[str, Any]:
    """The node at an address; the one that was asked is the object that the call holds."""
    name = call.fleet.find_host(address)
    if name is None or name not in call.device["cluster"]["nodes"]:
        raise DeviceError("InvalidParameterValueException", f"There is no node of this cluster at {address}.")
    return call.device if name == call.device["name"] else call.fleet.current(name)


def _check_quorum(call: Call, nodes: list[dict[str, Any]]) -> None:
    total = len(call.device["cluster"]["nodes"])
    answering = sum(timeline.is_reachable(node) for node in nodes)
    needed = total - (1 if total < 5 else 2) if call.device["cluster"].get("formed") else total
    if answering < needed:
        raise incorrect_state(f"Only {answering} of {total} nodes of the cluster answer, {needed} are needed.")


# -- services ------------------------------------------------------------------------------------------------------


def start_service(call: Call) -> str:
    service_id, service = service_of(call)
    if service["state"] not in ("INACTIVE", "UNHEALTHY"):
        if service["state"] in ("DEACTIVATING", "DEACTIVATED"):
            raise incorrect_state(f"The service {service_id} is {service['state']}.")
        raise DeviceError("ServiceAlreadyStartedException", f"The service {service_id} is {service['state']} already.")
    arns = call.options.get("virtual-network-interface-arns", [])
    _check_interfaces(call, service_id, arns)
    service.update(state="ACTIVATING", since=call.now, vnis=arns, configuration=_configuration(call))
    return SERVICE.format(doing="Starting")


def _check_interfaces(call: Call, service_id: str, arns: list[str]) -> None:
    known = {each["VirtualNetworkInterfaceArn"] for each in call.device["virtual_interfaces"]}
    for arn in arns:
        if arn not in known:
            raise DeviceError("ResourceNotFoundException", f"The virtual network interface {arn} does not exist.")
    needed = call.device["services"][service_id]["vnis_needed"]
    if len(set(arns)) < needed:
        message = f"The service {service_id} needs {needed} virtual network interfaces, not {len(set(arns))}."
        raise DeviceError("InvalidParameterValueException", message)


def _configuration(call: Call) -> dict[str, Any]:
    """AllowedHosts=cidr,cidr"""
    found: dict[str, Any] = {}
    for word in call.options.get("service-configuration", []):
        name, equals, value = word.partition("=")
        if name != "AllowedHosts" or not equals:
            raise DeviceError("InvalidParameterValueException", f"The service configuration {word} is not known.")
        found[name] = [each for each in value.split(",") if each]
    return found


def stop_service(call: Call) -> str:
    service_id, service = service_of(call)
    if not service["stoppable"]:
        raise DeviceError("UnsupportedOperationException", f"The service {service_id} cannot be stopped.")
    if service["state"] in ("INACTIVE", "DEACTIVATING"):
        raise incorrect_state(f"The service {service_id} is {service['state']}.")
    service.update(state="DEACTIVATING", since=call.now)
    return SERVICE.format(doing="Stopping")


# -- virtual interfaces --------------------------------------------------------------------------------------------


def create_virtual_network_interface(call: Call) -> dict[str, Any]:
    physical = _physical(call, call.option("physical-network-interface-id"))
    assignment = call.option("ip-address-assignment").upper()
    if assignment not in ("DHCP", "STATIC"):
        raise UsageError("--ip-address-assignment is dhcp or static.")
    address = _leased(call) if assignment == "DHCP" else _static(call)
    if address["IpAddress"] in {each["IpAddress"] for each in call.device["virtual_interfaces"]}:
        raise DeviceError("InvalidParameterValueException", f"{address['IpAddress']} is in use already.")
    made = {
        "VirtualNetworkInterfaceArn": f"arn:aws:snowball-device:::interface/s.ni-{secrets.token_hex(8)}",
        "PhysicalNetworkInterfaceId": physical["PhysicalNetworkInterfaceId"],
        "IpAddressAssignment": assignment,
        **address,
        "DefaultGateway": physical["DefaultGateway"],
        "MacAddress": ":".join(["0a", *(secrets.token_hex(1) for octet in range(5))]),
    }
    call.device["virtual_interfaces"].append(made)
    return {"VirtualNetworkInterface": made}


def _physical(call: Call, interface_id: str) -> dict[str, Any]:
    for interface in call.device["physical_interfaces"]:
        if interface["PhysicalNetworkInterfaceId"] == interface_id:
            return dict(interface)
    message = f"The physical network interface {interface_id} does not exist."
    raise DeviceError("ResourceNotFoundException", message)


def _leased(call: Call) -> dict[str, str]:
    """An address of loopback: 127.109 instead of 127.9, a further octet for each interface."""
    octets = host_of(call.device["endpoint"]).split(".")
    number = len(call.device["virtual_interfaces"])
    second = 100 + number * 10 % 100 + number // 10
    return {"IpAddress": f"127.{second}.{'.'.join((octets + ['0', '0'])[2:4])}", "Netmask": "255.0.0.0"}


def _static(call: Call) -> dict[str, str]:
    """IpAddress=..,NetMask=..: documented as NetMask and as Netmask, and taken as both."""
    pairs = [word.partition("=") for text in call.options.get("static-ip-address-configuration", [])
             for word in text.split(",")]  # fmt: skip
    given = {name.lower(): value for name, equals, value in pairs if equals}
    if not given.get("ipaddress") or not given.get("netmask"):
        raise UsageError("--static-ip-address-configuration needs IpAddress=... and NetMask=...")
    return {"IpAddress": given["ipaddress"], "Netmask": given["netmask"]}


def delete_virtual_network_interface(call: Call) -> str:
    wanted = call.option("virtual-network-interface-arn")
    kept = [each for each in call.device["virtual_interfaces"] if each["VirtualNetworkInterfaceArn"] != wanted]
    if len(kept) == len(call.device["virtual_interfaces"]):
        raise DeviceError("ResourceNotFoundException", f"The virtual network interface {wanted} does not exist.")
    if any(
        wanted in service["vnis"] and service["state"] != "INACTIVE" for service in call.device["services"].values()
    ):
        raise incorrect_state("The virtual network interface is in use.")
    call.device["virtual_interfaces"] = kept
    return ""
