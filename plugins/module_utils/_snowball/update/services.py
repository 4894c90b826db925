# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Services during a software update: which are running, stopping them, starting them again as they were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client import SnowballClient
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import CannotBeStopped
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.interfaces import Wanted
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.model import Service, VirtualInterface
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.service import (
    ALWAYS_ON,
    INTERFACES_NEEDED,
    STARTED,
    STOP_BEFORE_UPDATE,
    STOPPED,
    Wish,
    ensure,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.wait import Patience


def running_services(client: SnowballClient) -> dict[str, Any]:
    """All running services that can be stopped, each with the settings to start it again."""
    ids = [service_id for service_id in client.service_ids() if service_id not in ALWAYS_ON]
    running = [service for service in map(client.service, ids) if service.state not in STOPPED]
    interfaces = client.virtual_interfaces() if running else ()
    return {service.service_id: _as_it_is(service, interfaces) for service in running}


def _as_it_is(service: Service, interfaces: Sequence[VirtualInterface]) -> dict[str, Any]:
    """A service listens on the addresses of the virtual interfaces that it was started with."""
    hosts = {endpoint.host for endpoint in service.endpoints}
    return {
        "interfaces": [asdict(each) for each in interfaces if each.ip_address in hosts],
        "allowed_hosts": None if service.allowed_hosts is None else list(service.allowed_hosts),
    }


def stop_services(client: SnowballClient, services: Mapping[str, Any], patience: Patience) -> None:
    """Stops them. A service that cannot be stopped, and that AWS does not list, is left to the installation."""
    for service_id in services:
        try:
            ensure(client, Wish(service_id, "stopped"), patience, check_mode=False)
        except CannotBeStopped:
            if service_id in STOP_BEFORE_UPDATE:
                raise


def start_services(client: SnowballClient, services: Mapping[str, Any], patience: Patience) -> Iterator[str]:
    """Starts them one by one, and yields the ID of each that runs again."""
    for service_id, how in services.items():
        known = {each.arn: each for each in client.virtual_interfaces()}
        noted = [_wanted(each, known) for each in (how or {}).get("interfaces", [])]
        missing = max(0, INTERFACES_NEEDED.get(service_id, 0) - len(noted))
        hosts = (how or {}).get("allowed_hosts")
        wish = Wish(
            service_id,
            STARTED,
            interfaces=(*noted, *(Wanted(),) * missing),
            allowed_hosts=None if hosts is None else tuple(hosts),
        )
        ensure(client, wish, patience, check_mode=False)
        yield service_id


def _wanted(noted: Mapping[str, Any], known: Mapping[str, VirtualInterface]) -> Wanted:
    """The interface itself, or an equivalent one if it was lost during the update."""
    if noted["arn"] in known:
        return Wanted(arn=noted["arn"])
    if noted["assignment"].upper() == "STATIC":
        return Wanted(physical=noted["physical_id"], ip_address=noted["ip_address"], netmask=noted["netmask"])
    return Wanted(physical=noted["physical_id"])
