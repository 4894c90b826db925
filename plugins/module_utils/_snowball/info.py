# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Gathers the information of a device by subset: subsets that are not available are listed and do not fail."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.certificate import not_after
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client import SnowballClient
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import (
    ClientMissing,
    ClientNotExecutable,
    CommandTimedOut,
    Misconfigured,
    SnowballError,
    Unreachable,
    WrongCode,
    WrongManifest,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.model import (
    ADAPTER,
    CONTROL,
    OBJECT,
    Certificate,
    Endpoint,
    Service,
    Software,
)

SUBSETS = ("certificates", "client", "features", "interfaces", "services", "software", "time")
# Errors that concern the whole device, not a subset.
_FATAL = (
    ClientMissing,
    ClientNotExecutable,
    CommandTimedOut,
    Misconfigured,
    Unreachable,
    WrongCode,
    WrongManifest,
)
_S3 = ("s3", "s3-snow")


def gather(client: SnowballClient, subsets: Collection[str]) -> dict[str, Any]:
    """The device, and the subsets; raises SnowballError if the device cannot be described at all."""
    device = client.describe_device()
    result: dict[str, Any] = {
        "device": asdict(device),
        "device_id": device.device_id,
        "state": device.state,
        "unavailable": {},
    }
    for subset in SUBSETS:
        if subset in subsets:
            try:
                result |= _GATHERERS[subset](client)
            except _FATAL:
                raise
            except SnowballError as error:
                result["unavailable"][subset] = error.cause
    return result


def _client(client: SnowballClient) -> dict[str, Any]:
    return {"client": asdict(client.version())}


def _software(client: SnowballClient) -> dict[str, Any]:
    return {"software": software_facts(client.software())}


def _features(client: SnowballClient) -> dict[str, Any]:
    return {"features": client.features()}


def _time(client: SnowballClient) -> dict[str, Any]:
    return {"time_sources": list(client.time_sources())}


def _interfaces(client: SnowballClient) -> dict[str, Any]:
    return {"virtual_interfaces": [asdict(each) for each in client.virtual_interfaces()]}


def _certificates(client: SnowballClient) -> dict[str, Any]:
    return {"certificates": [_certificate(client, each) for each in client.certificates()]}


def _certificate(client: SnowballClient, certificate: Certificate) -> dict[str, Any]:
    pem = client.certificate(certificate.arn)
    return {"arn": certificate.arn, "names": list(certificate.names), "pem": pem, **expiry_facts(not_after(pem))}


def _services(client: SnowballClient) -> dict[str, Any]:
    services: dict[str, Any] = {}
    endpoints: dict[str, list[dict[str, Any]]] = {ADAPTER: [], OBJECT: [], CONTROL: []}
    for service_id in client.service_ids():
        try:
            service = client.service(service_id)
        except _FATAL:
            raise
        except SnowballError as error:
            services[service_id] = {"service_id": service_id, "state": "", "details": error.cause, "endpoints": []}
            continue
        services[service_id] = service_facts(service)
        if service_id in _S3:
            for endpoint in service.endpoints:
                endpoints.setdefault(endpoint.kind or "unknown", []).append(s3_facts(service, endpoint))
    return {"services": services, "s3_endpoints": endpoints}


_GATHERERS: Mapping[str, Callable[[SnowballClient], dict[str, Any]]] = {
    "certificates": _certificates,
    "client": _client,
    "features": _features,
    "interfaces": _interfaces,
    "services": _services,
    "software": _software,
    "time": _time,
}


def service_facts(service: Service) -> dict[str, Any]:
    """The result of a module for a service."""
    endpoints = [asdict(endpoint) | {"url": endpoint.url} for endpoint in service.endpoints]
    return asdict(service) | {"endpoints": endpoints}


def s3_facts(service: Service, endpoint: Endpoint) -> dict[str, Any]:
    """One S3 endpoint for a transfer. The state is the service's, because endpoints are listed before it is ready."""
    return {
        "url": endpoint.url,
        "protocol": endpoint.protocol,
        "state": service.state,
        "certificate_arn": endpoint.certificate_arn,
        "device_id": endpoint.device_id,
    }


def software_facts(software: Software) -> dict[str, Any]:
    """The result of a module for the software."""
    return {
        "installed": software.installed,
        "installing": software.installing,
        "state": software.state,
        "error": software.error,
        "certificate_expiry_text": software.certificate_expiry_text,
        **expiry_facts(software.certificate_expiry),
    }


def expiry_facts(expiry: datetime | None, now: datetime | None = None) -> dict[str, Any]:
    """The expiry of a certificate, and the whole days left (negative: it has expired)."""
    if expiry is None:
        return {"certificate_expiry": None, "certificate_days_left": None}
    left = expiry - (now or datetime.now(timezone.utc))
    return {"certificate_expiry": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"), "certificate_days_left": left.days}


def days_left(result: Mapping[str, Any]) -> int | None:
    """The days until the first of the device's certificates expires, None if it reports none."""
    told = [result.get("software", {}), *result.get("certificates", [])]
    days = [each["certificate_days_left"] for each in told if each.get("certificate_days_left") is not None]
    return min(days, default=None)


def expiry_warning(name: str, days: int | None, warning_days: int) -> Sequence[str]:
    """The warning about the days left, if any."""
    if days is None or days > warning_days:
        return ()
    when = f"expires in {days} days" if days >= 0 else f"expired {-days} days ago"
    return (
        f"The certificate of Snowball {name} {when}. The device cannot be used after its certificate expires: ask AWS "
        "Support for the update that renews it, which brings a new manifest and unlock code, or return the device.",
    )
