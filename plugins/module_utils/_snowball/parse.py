# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Parses the client's output, of either generation of its software. No side effects here.

JSON is tried first, then ``Key: value`` lines. Case and spaces in keys are ignored, and unknown fields are skipped.
Output that cannot be parsed is a ValueError, which never repeats the output.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.model import (
    ADAPTER,
    CONTROL,
    OBJECT,
    Capacity,
    Certificate,
    ClientVersion,
    Cluster,
    Device,
    Endpoint,
    Interface,
    Keys,
    Service,
    Software,
    Updates,
    VirtualInterface,
)

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE = re.compile(r"([A-Za-z]{3})[a-z]*\.?\s+(\d{1,2}),?\s+(\d{1,2}):(\d\d):(\d\d)\s+(?:([A-Z]\S*)\s+)?(\d{4})")
_OFFSET = re.compile(r"(?:GMT|UTC)?([+-])(\d\d):?(\d\d)")
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s.*?-----END CERTIFICATE-----", re.DOTALL)
_VERSION = re.compile(r"version:\s*(\S+)(?:\s+Build\s+(\d+))?", re.IGNORECASE)
_KEY_LINE = re.compile(r"^\s*([A-Za-z][\w ./-]*?)\s*[:=]\s*(.*?)\s*$")


# -- documents ----------------------------------------------------------------------------------------------------


class Fields:
    """A mapping from the device; case, spaces and hyphens in its keys are ignored."""

    def __init__(self, value: Any) -> None:
        pairs = value.items() if isinstance(value, Mapping) else ()
        self._values = {_plain(str(key)): entry for key, entry in pairs if entry is not None}

    def __contains__(self, name: str) -> bool:
        return _plain(name) in self._values

    def raw(self, name: str) -> Any:
        return self._values.get(_plain(name))

    def text(self, *names: str) -> str:
        """The first of these fields that exists, as text."""
        for name in names:
            value = self.raw(name)
            if isinstance(value, (str, int, float)) and not isinstance(value, bool):
                return str(value).strip()
        return ""

    def number(self, name: str) -> int | None:
        try:
            return int(self.text(name))
        except ValueError:
            return None

    def flag(self, name: str) -> bool | None:
        value = self.raw(name)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        return value if isinstance(value, bool) else None

    def fields(self, name: str) -> Fields:
        return Fields(self.raw(name))

    def entries(self, name: str) -> list[Any]:
        value = self.raw(name)
        return value if isinstance(value, list) else []

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(str(value) for value in self.entries(name) if isinstance(value, (str, int)))


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())


def document(text: str) -> Any:
    """The JSON in a text (lines before and after it are skipped), else its ``Key: value`` lines as a mapping.

    Raises ValueError if there is neither.
    """
    for candidate in _json_texts(text):
        try:
            value, end = json.JSONDecoder().raw_decode(candidate)
        except ValueError:
            continue
        if isinstance(value, (dict, list)):
            return value
    lines = dict(_key_lines(text))
    if not lines:
        raise ValueError("neither JSON nor lines of `Key: value`")
    return lines


def _json_texts(text: str) -> Iterator[str]:
    for found in re.finditer(r"^\s*(?=[{\[])", text, re.MULTILINE):
        yield text[found.end() :]


def _key_lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        found = _KEY_LINE.match(line)
        if found:
            yield found.group(1), found.group(2)


def _mapping(text: str, *wanted: str) -> Fields:
    """The document as fields; raises ValueError unless at least one of the wanted fields exists."""
    fields = Fields(document(text))
    if not any(name in fields for name in wanted):
        raise ValueError(f"it contains no {' or '.join(wanted)}")
    return fields


# -- devices ------------------------------------------------------------------------------------------------------


def device(text: str) -> Device:
    """``describe-device``."""
    fields = _mapping(text, "UnlockStatus", "UnlockState", "State")
    found = _device(fields)
    if not found.state:
        raise ValueError("it contains no UnlockStatus.State")
    return found


def _device(fields: Fields) -> Device:
    association = fields.fields("ClusterAssociation")
    status = fields.raw("UnlockStatus")
    state = (
        Fields(status).text("State")
        if isinstance(status, Mapping)
        else fields.text("UnlockStatus", "UnlockState", "State")
    )
    return Device(
        device_id=fields.text("DeviceId"),
        state=_token(state),
        ip_address=fields.fields("ActiveNetworkInterface").text("IpAddress"),
        device_type=fields.text("DeviceType"),
        interfaces=tuple(_interface(Fields(each)) for each in fields.entries("PhysicalNetworkInterfaces")),
        capacities=_capacities(fields.entries("DeviceCapacities")),
        cluster_id=association.text("ClusterId") or fields.text("ClusterId"),
        association=_token(association.text("State")),
        reachability=_token(fields.fields("NetworkReachability").text("State")),
        tags={tag.text("Key"): tag.text("Value") for tag in map(Fields, fields.entries("Tags"))},
    )


def _interface(fields: Fields) -> Interface:
    return Interface(
        interface_id=fields.text("PhysicalNetworkInterfaceId"),
        connector=fields.text("PhysicalConnectorType"),
        assignment=_token(fields.text("IpAddressAssignment")),
        ip_address=fields.text("IpAddress"),
        netmask=fields.text("Netmask"),
        gateway=fields.text("DefaultGateway"),
        mac_address=fields.text("MacAddress"),
        mtu=fields.number("MtuSize"),
    )


def _capacities(entries: list[Any]) -> tuple[Capacity, ...]:
    return tuple(
        Capacity(
            name=fields.text("Name"),
            unit=fields.text("Unit"),
            total=fields.number("Total"),
            used=fields.number("Used"),
            available=fields.number("Available"),
        )
        for fields in map(Fields, entries)
    )


def cluster(text: str) -> Cluster:
    """``describe-cluster``."""
    fields = _mapping(text, "Devices")
    return Cluster(fields.text("ClusterId"), tuple(_device(Fields(each)) for each in fields.entries("Devices")))


def _token(text: str) -> str:
    return re.sub(r"[\s-]+", "_", text.strip()).upper()


# -- keys and certificates ----------------------------------------------------------------------------------------


def access_key_ids(text: str) -> tuple[str, ...]:
    """``list-access-keys``."""
    return _mapping(text, "AccessKeyIds").texts("AccessKeyIds")


def keys(text: str) -> Keys:
    """``get-secret-access-key``: INI, with any section name. An error never repeats the text."""
    fields = Fields(dict(_key_lines(text)))
    found = Keys(fields.text("aws_access_key_id"), fields.text("aws_secret_access_key"))
    if not found.access_key_id or not found.secret_access_key:
        raise ValueError("it contains no aws_access_key_id with an aws_secret_access_key")
    return found


def certificates(text: str) -> tuple[Certificate, ...]:
    """``list-certificates``."""
    entries = map(Fields, _mapping(text, "Certificates").entries("Certificates"))
    return tuple(Certificate(each.text("CertificateArn"), each.texts("SubjectAlternativeNames")) for each in entries)


def pem(text: str) -> str:
    """``get-certificate``: the certificates in it, bare or inside JSON, in PEM, each ending with a newline."""
    blocks = _PEM.findall(text.replace("\\n", "\n").replace("\r", ""))
    if not blocks:
        raise ValueError("it contains no PEM certificate")
    return "".join(f"{block}\n" for block in blocks)


# -- services -----------------------------------------------------------------------------------------------------


def service_ids(text: str) -> tuple[str, ...]:
    """``list-services``."""
    return _mapping(text, "ServiceIds").texts("ServiceIds")


def service(text: str) -> Service:
    """``describe-service``."""
    fields = _mapping(text, "ServiceId", "Status")
    status = fields.fields("Status")
    service_id = fields.text("ServiceId")
    configuration = fields.fields("ServiceConfiguration")
    return Service(
        service_id=service_id,
        state=_token(status.text("State")),
        details=status.text("Details"),
        endpoints=tuple(_endpoint(service_id, Fields(each)) for each in fields.entries("Endpoints")),
        capacities=_capacities(fields.entries("ServiceCapacities")) or _storage(fields),
        autostart=fields.flag("Autostart"),
        allowed_hosts=configuration.texts("AllowedHosts") if "AllowedHosts" in configuration else None,
    )


def _storage(fields: Fields) -> tuple[Capacity, ...]:
    storage = fields.fields("Storage")
    total, free = storage.number("TotalSpaceBytes"), storage.number("FreeSpaceBytes")
    if total is None and free is None:
        return ()
    used = total - free if total is not None and free is not None else None
    return (Capacity("Storage", "Byte", total, used, free),)


def _endpoint(service_id: str, fields: Fields) -> Endpoint:
    description = fields.text("Description")
    status = fields.raw("Status")
    return Endpoint(
        protocol=fields.text("Protocol").lower(),
        host=fields.text("Host"),
        port=fields.number("Port"),
        kind=endpoint_kind(service_id, description),
        certificate_arn=fields.fields("CertificateAssociation").text("CertificateArn"),
        description=description,
        device_id=fields.text("DeviceId"),
        state=_token(Fields(status).text("State") if isinstance(status, Mapping) else fields.text("Status")),
    )


def endpoint_kind(service_id: str, description: str) -> str:
    """Which of the device's S3 endpoints this is; "" for one of s3-snow without that information.

    Old software prints ``s3-snow bucket API endpoint`` and ``s3-snow object API endpoint``, new software
    ``s3-snow bucket API endpoint (for s3control SDK)`` and ``s3-snow object & bucket API endpoint (for s3api SDK)``.
    """
    if service_id != "s3-snow":
        return ADAPTER if service_id == "s3" else service_id
    lowered = description.lower()
    if "s3control" in lowered or lowered.startswith("s3-snow bucket"):
        return CONTROL
    return OBJECT if "object" in lowered else ""


def virtual_interfaces(text: str) -> tuple[VirtualInterface, ...]:
    """``describe-virtual-network-interfaces``: a bare list in the documentation, a mapping from a device."""
    value = document(text)
    entries = (
        value
        if isinstance(value, list)
        else _mapping(text, "VirtualNetworkInterfaces").entries("VirtualNetworkInterfaces")
    )
    found = tuple(_virtual_interface(Fields(each)) for each in entries)
    if not all(each.arn for each in found):
        raise ValueError("it contains an entry without a VirtualNetworkInterfaceArn")
    return found


def virtual_interface(text: str) -> VirtualInterface:
    """``create-virtual-network-interface``."""
    fields = _mapping(text, "VirtualNetworkInterface", "VirtualNetworkInterfaceArn")
    return _virtual_interface(
        fields.fields("VirtualNetworkInterface") if "VirtualNetworkInterface" in fields else fields
    )


def _virtual_interface(fields: Fields) -> VirtualInterface:
    return VirtualInterface(
        arn=fields.text("VirtualNetworkInterfaceArn"),
        physical_id=fields.text("PhysicalNetworkInterfaceId"),
        assignment=_token(fields.text("IpAddressAssignment")),
        ip_address=fields.text("IpAddress"),
        netmask=fields.text("Netmask"),
        gateway=fields.text("DefaultGateway"),
        mac_address=fields.text("MacAddress"),
    )


# -- software -----------------------------------------------------------------------------------------------------


def software(text: str) -> Software:
    """``describe-device-software``."""
    fields = _mapping(text, "InstalledVersion", "InstallState")
    expiry = fields.text("CertificateExpiry")
    return Software(
        installed=fields.text("InstalledVersion"),
        installing=_version_or_nothing(fields.text("InstallingVersion")),
        state=install_state(fields.text("InstallState")),
        certificate_expiry=date(expiry),
        certificate_expiry_text=expiry,
        error=fields.text("ErrorMessage"),
    )


def updates(text: str) -> Updates:
    """``check-for-updates``."""
    fields = _mapping(text, "LatestVersion", "InstalledVersion")
    return Updates(fields.text("InstalledVersion"), fields.text("LatestVersion"))


def _version_or_nothing(text: str) -> str:
    return "" if text.upper() in ("NA", "N/A", "NONE", "NULL", "-") else text


def install_state(text: str) -> str:
    """One spelling for each state: ``Requires Reboot`` in the documentation is REQUIRE_REBOOT in the API."""
    token = _token(text).replace("/", "")
    return {"REQUIRES_REBOOT": "REQUIRE_REBOOT", "REBOOT_REQUIRED": "REQUIRE_REBOOT"}.get(token, token)


def date(text: str) -> datetime | None:
    """A date of the device in UTC, e.g. ``Thur Mar 30 16:47:51 UTC 2024`` (the weekday is not read), or ISO 8601."""
    found = _DATE.search(text)
    try:
        if found:
            month, day, hour, minute, second, zone, year = found.groups()
            numbers = (int(year), _MONTHS.index(month.lower()) + 1, int(day), int(hour), int(minute), int(second))
            return datetime(*numbers, tzinfo=timezone.utc) - _offset(zone or "")
        value = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except (ValueError, OverflowError):
        return None
    return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)


def _offset(zone: str) -> timedelta:
    # Zone names other than UTC are ambiguous without a database. Days matter here, hours do not.
    found = _OFFSET.fullmatch(zone)
    if not found:
        return timedelta()
    sign, hours, minutes = found.groups()
    return timedelta(hours=int(hours), minutes=int(minutes)) * (1 if sign == "+" else -1)


def client_version(text: str) -> ClientVersion:
    """``version``, with or without a build number."""
    found = _VERSION.search(text)
    if not found:
        raise ValueError("it contains no `version:`")
    return ClientVersion(found.group(1), int(found.group(2)) if found.group(2) else None)


def features(text: str) -> dict[str, str]:
    """``describe-features``, its keys in snake_case."""
    value = document(text)
    if not isinstance(value, Mapping):
        raise ValueError("it contains no features")
    return {_snake(key): str(state) for key, state in value.items()}


def time_sources(text: str) -> tuple[dict[str, str], ...]:
    """``describe-time-sources``, keys in snake_case."""
    entries = _mapping(text, "Sources").entries("Sources")
    return tuple({_snake(key): str(value) for key, value in each.items()} for each in entries if isinstance(each, dict))


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key.strip()).replace(" ", "_").lower()
