# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Starting and stopping a service of a device: planning, execution, waiting for its top-level state."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client import SnowballClient
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import (
    AlreadyStarted,
    CannotBeStopped,
    Misconfigured,
    ServiceFailed,
    SnowballError,
    Unsupported,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.info import service_facts
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.interfaces import Chosen, Wanted, choose
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.model import Service
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.wait import Patience

# A device runs these from the moment it is unlocked. According to AWS they cannot be stopped.
ALWAYS_ON = ("s3", "ec2", "sts", "iam")
# Services that must be stopped before an update is installed.
STOP_BEFORE_UPDATE = ("s3-snow", "nfs", "fileinterface", "greengrass")
# Virtual interfaces for each device: s3-snow has one for buckets (s3control) and one for objects (s3api).
INTERFACES_NEEDED = {"s3-snow": 2, "nfs": 1, "fileinterface": 1}
FILE_SERVICES = ("nfs", "fileinterface")

RUNNING = ("ACTIVE", "DEGRADED")
STOPPED = ("INACTIVE", "DEACTIVATED")
STARTED, STOP, START = "started", "stop", "start"
# The state that follows each transitional state.
_BECOMES = {"ACTIVATING": "ACTIVE", "UPGRADING": "ACTIVE", "DEACTIVATING": "INACTIVE"}
# The client returns before the device starts the operation, so the service may be INACTIVE for a few more queries.
STOPPED_ANSWERS = 3


@dataclass(frozen=True)
class Wish:
    """The desired service: `state` is started or stopped; `allowed_hosts` None does not change them."""

    service_id: str
    state: str
    interfaces: tuple[Wanted, ...] = ()
    allowed_hosts: tuple[str, ...] | None = None
    device_ips: tuple[str, ...] = ()

    @property
    def is_started(self) -> bool:
        return self.state == STARTED

    @property
    def configuration(self) -> str:
        return "" if self.allowed_hosts is None else f"AllowedHosts={','.join(self.allowed_hosts)}"


@dataclass
class Outcome:
    """The state before, the steps that were (in check mode: would be) done, and the state after."""

    before: Service
    steps: tuple[str, ...] = ()
    interfaces: list[dict[str, Any]] = field(default_factory=list)
    after: Service | None = None

    def as_result(self, wish: Wish) -> dict[str, Any]:
        now = self.after or self.before
        return {
            "changed": bool(self.steps),
            "state": now.state,
            "service": service_facts(now),
            "steps": list(self.steps),
            "interfaces": self.interfaces,
            "diff": {"before": _shown(self.before), "after": self._expected(wish)},
        }

    def _expected(self, wish: Wish) -> dict[str, Any]:
        shown = _shown(self.after or self.before)
        if self.after is None and self.steps:
            shown["state"] = "ACTIVE" if wish.is_started else "INACTIVE"
            if START in self.steps and wish.allowed_hosts is not None:
                shown["allowed_hosts"] = sorted(wish.allowed_hosts)
        if self.interfaces:
            shown["interfaces"] = [each["arn"] or each["ip_address"] or "DHCP" for each in self.interfaces]
        return shown


def _shown(service: Service) -> dict[str, Any]:
    shown: dict[str, Any] = {"service": service.service_id, "state": service.state}
    return shown if service.allowed_hosts is None else shown | {"allowed_hosts": sorted(service.allowed_hosts)}


# -- planning -----------------------------------------------------------------------------------------------------


def check(name: str, wish: Wish) -> None:
    """Raises for what no device supports, before one is queried."""
    if not wish.is_started and wish.service_id in ALWAYS_ON:
        raise CannotBeStopped(
            f"stop {wish.service_id}", name, f"a Snowball runs {', '.join(ALWAYS_ON)} as long as it is unlocked"
        )
    needed = INTERFACES_NEEDED.get(wish.service_id, 0)
    if wish.is_started and len(wish.interfaces) < needed:
        cause = f"it needs {needed} virtual interfaces on each device, but {len(wish.interfaces)} are given"
        raise Misconfigured(f"start {wish.service_id}", name, cause)
    wrong = [host for host in wish.allowed_hosts or () if not host or any(c in ", =\t\n" for c in host)]
    if wrong:
        raise Misconfigured(f"start {wish.service_id}", name, f"{wrong[0]!r} is not a host or network (CIDR)")
    if wish.allowed_hosts is not None and wish.service_id not in FILE_SERVICES:
        raise Misconfigured(f"start {wish.service_id}", name, f"only {' and '.join(FILE_SERVICES)} have allowed hosts")


def is_settled(service: Service, wish: Wish) -> bool:
    """Whether the state is final; a service that hangs while starting can be stopped."""
    return service.state not in _BECOMES or (service.state == "ACTIVATING" and not wish.is_started)


def plan(name: str, state: str, service: Service, wish: Wish) -> tuple[str, ...]:
    """The steps from a settled `state` to the desired one; raises ServiceFailed if there are none."""
    if not wish.is_started:
        return () if state in STOPPED else (STOP,)
    if wish.service_id in ALWAYS_ON:
        return ()  # it starts on its own, and the caller waits for it
    if state in RUNNING:
        return () if _has_hosts(service, wish) else (STOP, START)
    if state == "INACTIVE":
        return (START,)
    if state == "DEACTIVATED":
        # After a power loss the device refuses to start a service that was not stopped (AWS, managing NFS).
        return (STOP, START)
    raise ServiceFailed(f"start {wish.service_id}", name, f"it is {_state(service)}")


def _has_hosts(service: Service, wish: Wish) -> bool:
    told = service.allowed_hosts
    return wish.allowed_hosts is None or told is None or set(told) == set(wish.allowed_hosts)


def _state(service: Service) -> str:
    return f"{service.state} ({service.details})" if service.details else service.state


# -- execution ----------------------------------------------------------------------------------------------------


def ensure(client: SnowballClient, wish: Wish, patience: Patience, check_mode: bool) -> Outcome:
    """Brings the service into the desired state; raises SnowballError. Check mode changes nothing and does not wait."""
    check(client.name, wish)
    patience = patience.begun()
    outcome = Outcome(before=describe(client, wish.service_id))
    settled = outcome.before
    if not check_mode and not is_settled(settled, wish):
        settled = _wait(client, wish, patience, lambda service: is_settled(service, wish))
    state = settled.state if is_settled(settled, wish) else _BECOMES[settled.state]
    outcome.steps = plan(client.name, state, settled, wish)
    choices = _interfaces(client, wish, settled) if START in outcome.steps else []
    outcome.interfaces = [choice.facts() for choice in choices]
    if not check_mode:
        outcome.after = _carry_out(client, wish, patience, outcome, choices) or settled
    return outcome


def _carry_out(
    client: SnowballClient, wish: Wish, patience: Patience, outcome: Outcome, choices: list[Chosen]
) -> Service | None:
    """Performs the steps; returns the service after the last one, None if there was nothing to wait for."""
    if STOP in outcome.steps:
        stopped = stop(client, wish, patience)
        if START not in outcome.steps:
            return stopped
    if START in outcome.steps:
        made = [choice.ensure(client) for choice in choices]
        outcome.interfaces = [choice.facts(each) for choice, each in zip(choices, made, strict=True)]
        return start(client, wish, [each.arn for each in made], patience)
    if wish.service_id in ALWAYS_ON:
        return _wait(client, wish, patience, lambda service: service.state in RUNNING)
    return None


def describe(client: SnowballClient, service_id: str) -> Service:
    """The service; if the device does not have it, the error lists those that it has."""
    try:
        return client.service(service_id)
    except SnowballError as error:
        if error.trouble != SnowballError.trouble:
            raise
        known = client.service_ids()
        if service_id in known:
            raise
    cause = f"the device has no service {service_id}, only: {', '.join(known)}"
    fix = "Use one of these; whether a device has the S3 adapter or NFS was decided when it was ordered"
    raise Misconfigured(f"describe {service_id}", client.name, cause, fix)


def start(client: SnowballClient, wish: Wish, interface_arns: list[str], patience: Patience) -> Service:
    """Starts the service and waits until it runs."""
    # Someone else may have started it in the meantime. Wait for it anyway.
    with suppress(AlreadyStarted):
        client.start_service(wish.service_id, interface_arns, wish.configuration, wish.device_ips)
    return _wait(client, wish, patience, Starting(client.name, wish.service_id).is_there)


def stop(client: SnowballClient, wish: Wish, patience: Patience) -> Service:
    """Stops the service and waits until it has stopped."""
    try:
        client.stop_service(wish.service_id)
    except Unsupported as error:
        raise CannotBeStopped(f"stop {wish.service_id}", client.name, error.cause) from error
    return _wait(client, wish, patience, lambda service: service.state == "INACTIVE" or _is_left(service, wish))


def _is_left(service: Service, wish: Wish) -> bool:
    # DEACTIVATED counts as stopped, but a service cannot be started from it.
    return service.state in STOPPED and not wish.is_started


def _wait(client: SnowballClient, wish: Wish, patience: Patience, is_there: Callable[[Service], bool]) -> Service:
    return patience.until(
        lambda: client.service(wish.service_id),
        is_there,
        doing=f"wait for {wish.service_id} to be {wish.state}",
        device=client.name,
        show=_state,
    )


@dataclass
class Starting:
    """The states that a starting service has reported so far."""

    name: str
    service_id: str
    has_begun: bool = False
    stopped_answers: int = 0

    def is_there(self, service: Service) -> bool:
        if service.state in RUNNING:
            return True
        self.has_begun = self.has_begun or service.state == "ACTIVATING"
        self.stopped_answers += service.state in STOPPED
        is_over = service.state in STOPPED and (self.has_begun or self.stopped_answers >= STOPPED_ANSWERS)
        if is_over or service.state == "UNHEALTHY":
            raise ServiceFailed(
                f"start {self.service_id}", self.name, f"it accepted the request but is {_state(service)}"
            )
        return False


def _interfaces(client: SnowballClient, wish: Wish, service: Service) -> list[Chosen]:
    if not wish.interfaces:
        return []
    existing = client.virtual_interfaces()
    may_reuse = any(not each.arn and not each.ip_address for each in wish.interfaces) and existing
    taken = addresses_of_others(client, wish.service_id) if may_reuse else ()
    own = {endpoint.host for endpoint in service.endpoints}
    return choose(client.name, wish.interfaces, client.describe_device(), existing, taken, own)


def addresses_of_others(client: SnowballClient, service_id: str) -> Collection[str]:
    """The addresses of the device's other services."""
    others = [client.service(each) for each in client.service_ids() if each != service_id]
    return {endpoint.host for service in others for endpoint in service.endpoints}
