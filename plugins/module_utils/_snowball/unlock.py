# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Unlocking a device or a cluster: planning, execution, waiting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.client import SnowballClient
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import (
    FellBackToLocked,
    Unreachable,
    WrongState,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.model import (
    LOCKED,
    UNLOCKED,
    UNLOCKING,
    Device,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.wait import Patience

Devices = Sequence[Device]
# The client returns before the device starts the operation, so it may be LOCKED for a few more queries.
LOCKED_ANSWERS = 3
_GONE = ("DISASSOCIATING", "DISASSOCIATED")


def find_devices(client: SnowballClient) -> tuple[Device, ...]:
    """The device, or the nodes of its cluster if node addresses were given."""
    if not client.access.device_ips:
        return (client.describe_device(),)
    nodes = tuple(node for node in client.describe_cluster().devices if node.association not in _GONE)
    if not any(node.state for node in nodes):
        raise Unreachable("run describe-cluster", client.name, "the cluster reports no node that it can reach")
    return nodes


def state_of(devices: Devices) -> str:
    """The state of a device, or the cluster state furthest from UNLOCKED. An unreachable node has none."""
    states = {device.state for device in devices if device.state}
    for state in (LOCKED, UNLOCKING, UNLOCKED):
        if state in states:
            return state
    return "".join(sorted(states)[:1])


def out_of_reach(devices: Devices) -> list[str]:
    """IDs of the nodes that the cluster cannot reach."""
    return [device.device_id for device in devices if not device.state]


def ensure_unlocked(client: SnowballClient, patience: Patience, devices: Devices = ()) -> tuple[Device, ...]:
    """Unlocks LOCKED devices and waits until all are UNLOCKED; raises FellBackToLocked or TimedOut.

    `devices` is a recent result of `find_devices`, to save one query.
    """
    found = tuple(devices) or find_devices(client)
    if state_of(found) == UNLOCKED:
        return found
    progress = Progress(client.name)
    progress.saw(found)
    if state_of(found) == LOCKED:
        _unlock(client)
    return patience.until(
        lambda: find_devices(client), progress.is_there, doing="wait for UNLOCKED", device=client.name, show=state_of
    )


def _unlock(client: SnowballClient) -> None:
    try:
        if client.access.device_ips:
            client.unlock_cluster(client.access.device_ips)
        else:
            client.unlock_device()
    except WrongState:
        # Someone else is unlocking it right now. If not, it is found LOCKED below.
        return


@dataclass
class Progress:
    """The states that an unlocking device has reported so far; one that returns to LOCKED will not unlock."""

    name: str
    unlocking: set[str] = field(default_factory=set)
    locked_answers: int = 0

    def saw(self, devices: Devices) -> None:
        self.unlocking |= {device.device_id for device in devices if device.state == UNLOCKING}

    def is_there(self, devices: Devices) -> bool:
        locked = {device.device_id for device in devices if device.state == LOCKED}
        self.locked_answers += bool(locked)
        if locked & self.unlocking:
            raise FellBackToLocked(
                "unlock the device", self.name, f"it was UNLOCKING but is LOCKED again{_ids(locked)}"
            )
        if self.locked_answers >= LOCKED_ANSWERS:
            cause = f"it accepted the request but is still LOCKED{_ids(locked)}"
            raise FellBackToLocked("unlock the device", self.name, cause)
        self.saw(devices)
        return state_of(devices) == UNLOCKED


def _ids(device_ids: set[str]) -> str:
    return f" ({', '.join(sorted(filter(None, device_ids)))})" if any(device_ids) else ""
