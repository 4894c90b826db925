# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the commands that only ask print, in the shapes of both generations."""

from __future__ import annotations

from typing import Any

from . import timeline
from .client import Call
from .errors import DeviceError
from .model import host_of

DESCRIPTIONS = {
    "old": ("s3-snow bucket API endpoint", "s3-snow object API endpoint"),
    "new": (
        "s3-snow bucket API endpoint (for s3control SDK)",
        "s3-snow object & bucket API endpoint (for s3api SDK)",
    ),
}
# Service -> protocol and port of its endpoints; the s3 front of a simulation may listen on other ports.
PORTS = {
    "s3": {"http": 8080, "https": 8443},
    "s3-snow": {"https": 443},
    "ec2": {"http": 8008, "https": 8243},
    "iam": {"http": 6078, "https": 6089},
    "sts": {"http": 7078, "https": 7089},
    "nfs": {"nfs": 2049},
    "fileinterface": {"nfs": 2049},
}
SERVING = ("ACTIVE", "DEGRADED", "UNHEALTHY", "UPGRADING")


def describe_device(call: Call) -> dict[str, Any]:
    """The old shape has what the first pages of the documentation show, the new one what the model has too."""
    device = call.device
    answer: dict[str, Any] = {
        "DeviceId": device["device_id"],
        "UnlockStatus": {"State": device["state"]},
        "ActiveNetworkInterface": {"IpAddress": host_of(device["endpoint"])},
        "PhysicalNetworkInterfaces": [_physical(interface, call.is_old) for interface in device["physical_interfaces"]],
    }
    if not call.is_old:
        answer["DeviceCapacities"] = device["capacities"]
        answer["DeviceType"] = device["device_type"]
        answer["Tags"] = []
    if device["cluster"]:
        answer["ClusterAssociation"] = _association(device)
    return answer


def _physical(interface: dict[str, Any], is_old: bool) -> dict[str, Any]:
    return {name: value for name, value in interface.items() if not (is_old and name == "MtuSize")}


def _association(device: dict[str, Any]) -> dict[str, str]:
    return {"State": "ASSOCIATED", "ClusterId": device["cluster"]["id"]}


def describe_cluster(call: Call) -> dict[str, Any]:
    if not call.device["cluster"]:
        raise DeviceError("UnsupportedOperationException", "The device belongs to no cluster.")
    return {
        "ClusterId": call.device["cluster"]["id"],
        "Devices": [_node(call, name) for name in call.device["cluster"]["nodes"]],
    }


def _node(call: Call, name: str) -> dict[str, Any]:
    device = call.device if name == call.device["name"] else call.fleet.current(name)
    reachable = timeline.is_reachable(device)
    node: dict[str, Any] = {"DeviceId": device["device_id"]}
    if reachable:
        node["UnlockStatus"] = {"State": device["state"]}
    node["ActiveNetworkInterface"] = {"IpAddress": host_of(device["endpoint"])}
    node["ClusterAssociation"] = _association(device)
    node["NetworkReachability"] = {"State": "REACHABLE" if reachable else "UNREACHABLE"}
    node["Tags"] = []
    return node


# -- keys and certificates -----------------------------------------------------------------------------------------


def list_access_keys(call: Call) -> dict[str, Any]:
    return {"AccessKeyIds": [call.device["access_key"]]}


def get_secret_access_key(call: Call) -> str:
    """INI, whose section is always called snowballEdge."""
    wanted = call.option("access-key-id")
    if wanted != call.device["access_key"]:
        raise DeviceError("ResourceNotFoundException", f"The access key {wanted} does not exist.")
    secret = call.device["secret_key"]
    return f"[snowballEdge]\naws_access_key_id = {wanted}\naws_secret_access_key = {secret}"


def _certificates(call: Call) -> list[dict[str, Any]]:
    return [*call.device["other_certificates"], call.device["certificate"]]


def list_certificates(call: Call) -> dict[str, Any]:
    def name(certificate: dict[str, Any]) -> str:
        return str(certificate["address"]) if call.is_old else f"ID:{call.device['device_id']}"

    return {
        "Certificates": [
            {"CertificateArn": certificate["arn"], "SubjectAlternativeNames": [name(certificate)]}
            for certificate in _certificates(call)
        ]
    }


def get_certificate(call: Call) -> str:
    wanted = call.option("certificate-arn")
    for certificate in _certificates(call):
        if certificate["arn"] == wanted:
            return str(certificate["pem"]).strip()
    raise DeviceError("ResourceNotFoundException", f"The certificate {wanted} does not exist.")


# -- services ------------------------------------------------------------------------------------------------------


def list_services(call: Call) -> dict[str, Any]:
    return {"ServiceIds": list(call.device["services"])}


def service_of(call: Call) -> tuple[str, dict[str, Any]]:
    service_id = call.option("service-id")
    if service_id not in call.device["services"]:
        raise DeviceError("ResourceNotFoundException", f"The service {service_id} does not exist.")
    return service_id, call.device["services"][service_id]


def describe_service(call: Call) -> dict[str, Any]:
    service_id, service = service_of(call)
    answer: dict[str, Any] = {"ServiceId": service_id, "Status": _status(service, call.is_old)}
    capacity = call.device["capacities"][0]
    if service_id == "s3":
        answer["Storage"] = {"TotalSpaceBytes": capacity["Total"], "FreeSpaceBytes": capacity["Available"]}
    if service_id == "s3-snow":
        answer["Autostart"] = service["autostart"]
        answer["ServiceCapacities"] = [
            {"Name": "S3 Storage", "Unit": "Byte", "Used": capacity["Used"], "Available": capacity["Available"]}
        ]
    answer["Endpoints"] = endpoints_of(call.device, service_id)
    if service["configuration"] or service_id in ("nfs", "fileinterface"):
        answer["ServiceConfiguration"] = {"AllowedHosts": [], **service["configuration"]}
    return answer


def _status(service: dict[str, Any], is_old: bool) -> dict[str, Any]:
    details = service["details"] or ("Attaching storage" if service["state"] == "ACTIVATING" else "")
    return {"State": service["state"]} | ({"Details": details} if details and not is_old else {})


def endpoints_of(device: dict[str, Any], service_id: str) -> list[dict[str, Any]]:
    """Those of s3-snow are listed from its start on, the others when the service works."""
    service = device["services"][service_id]
    if service_id == "s3-snow":
        return _object_store_endpoints(device, service) if service["state"] in ("ACTIVATING", *SERVING) else []
    if service["state"] not in SERVING:
        return []
    host = service["host"] or _address(device, service["vnis"]) or host_of(device["endpoint"])
    ports = {**PORTS.get(service_id, {}), **service["ports"]}
    return [_endpoint(device, protocol, port, host) for protocol, port in ports.items() if port]


def _object_store_endpoints(device: dict[str, Any], service: dict[str, Any]) -> list[dict[str, Any]]:
    """Two of them: buckets on the first virtual interface, objects on the second."""
    port = service["ports"].get("https", PORTS["s3-snow"]["https"])
    found = []
    for arn, description in zip(service["vnis"], DESCRIPTIONS[device["generation"]], strict=False):
        host = service["host"] or _address(device, [arn])
        endpoint = _endpoint(device, "https", port, host)
        status = {"State": service["state"]}
        found.append({**endpoint, "Description": description, "DeviceId": device["device_id"], "Status": status})
    return found


def _address(device: dict[str, Any], arns: list[str]) -> str:
    addresses = {each["VirtualNetworkInterfaceArn"]: each["IpAddress"] for each in device["virtual_interfaces"]}
    return str(addresses.get(arns[0], "")) if arns else ""


def _endpoint(device: dict[str, Any], protocol: str, port: int, host: str) -> dict[str, Any]:
    endpoint: dict[str, Any] = {"Protocol": protocol, "Port": port, "Host": host}
    if protocol == "https" and device["certificate"]:
        endpoint["CertificateAssociation"] = {"CertificateArn": device["certificate"]["arn"]}
    return endpoint


def describe_virtual_network_interfaces(call: Call) -> Any:
    """A bare list in the old shape, wrapped in the new one."""
    interfaces = call.device["virtual_interfaces"]
    return interfaces if call.is_old else {"VirtualNetworkInterfaces": interfaces}


# -- the rest ------------------------------------------------------------------------------------------------------


def describe_features(call: Call) -> dict[str, Any]:
    return dict(call.device["features"])


def describe_time_sources(call: Call) -> dict[str, Any]:
    return {"Sources": call.device["time_sources"]}
