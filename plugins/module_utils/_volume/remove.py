# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Plans the removal of a volume from a host: taken out of use, or wiped. No side effects here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.fstab import parse
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.left_alone import carries
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.model import (
    Device,
    Entry,
    Machine,
    Plan,
    Step,
    VolumeError,
    VolumePlan,
    Wish,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.plan import (
    Carrier,
    best_name,
    carriers_of,
    resolve,
)


def plan_removed(machine: Machine, wish: Wish) -> Plan:
    """The plan for ``state: absent`` and ``state: wiped``; VolumeError for a disk that is not a volume of this host."""
    carriers = carriers_of(machine)
    names = dict.fromkeys(wish.volumes)
    for device in (resolve(name, machine) for name in wish.devices):
        names[_name_on(device, machine, carriers)] = None
    plans = [plan for name in names if name for plan in _removed(name, machine, wish, carriers)]
    return Plan(tuple(sorted(plans, key=lambda plan: plan.entry.name)))


def _name_on(device: Device, machine: Machine, carriers: dict[str, Carrier]) -> str:
    """The volume on a named device, "" for a blank one, which was already wiped."""
    for name, carrier in carriers.items():
        if device.path in carrier.paths:
            carrier.refuse_copies()
            return name
    own = next((part for part in (device, *device.partitions) if _is_own(part, machine)), None)
    if own and own.marker:
        name = own.marker["name"]
        if any(entry.name == name and entry.state != "wiped" for entry in machine.record):
            raise VolumeError(
                "remove", own.path, f"it is not the disk of {name}, so it must be a copy", "Neither was changed"
            )
        return name
    found = carries(device)
    if found:
        raise VolumeError("remove", device.path, f"it is not a volume of this host: {found}", "It was not changed")
    return ""


def _is_own(device: Device, machine: Machine) -> bool:
    return bool(device.marker) and (device.marker or {}).get("host") == machine.host


def _removed(name: str, machine: Machine, wish: Wish, carriers: dict[str, Carrier]) -> Iterator[VolumePlan]:
    entry = next((entry for entry in machine.record if entry.name == name), None)
    carrier = carriers.get(name) or (None if entry else _unrecorded(name, machine, wish))
    entry = entry or (carrier.entry if carrier else None)
    if entry is None:
        return
    if wish.state == "absent":
        yield _absent(entry, carrier, machine)
    elif carrier:
        carrier.refuse_copies()
        yield _wiped(entry, carrier, machine)
    elif entry.state == "wiping":
        yield _plan_of(entry, None, [_wiped_step(entry)])
    elif entry.state == "wiped":
        yield _plan_of(entry, None, [])
    else:
        raise VolumeError("wipe", name, "its disk is missing from this host", "Attach it, or use `state: absent`")


def _unrecorded(name: str, machine: Machine, wish: Wish) -> Carrier | None:
    """A volume of this host that is not in its record, because an earlier run was interrupted at this point."""
    for disk in machine.disks:
        for device in (disk, *disk.partitions):
            marker, filesystem = device.marker, device.filesystem
            if marker and filesystem and _is_own(device, machine) and marker["name"] == name:
                entry = Entry(
                    name=name,
                    path=wish.path(name),
                    identity=marker["uuid"],
                    filesystem_uuid=filesystem.uuid,
                    filesystem=filesystem.kind,
                    disk=best_name(disk),
                    partition_uuid=device.partition_uuid,
                )
                return Carrier(entry, disk, device)
    return None


def _absent(entry: Entry, carrier: Carrier | None, machine: Machine) -> VolumePlan:
    steps = list(_out_of_use(entry, carrier, machine))
    is_known = entry in machine.record
    if entry.state == "formatting":
        steps.append(Step("forget", entry))
    elif entry.state not in ("absent", "wiped") and (is_known or carrier):
        steps.append(Step("record", replace(entry, state="absent")))
    return _plan_of(entry, carrier, steps)


def _wiped(entry: Entry, carrier: Carrier, machine: Machine) -> VolumePlan:
    """Once the wipe is recorded, the check for needed data is not repeated: half of the volume may be gone."""
    device, disk = carrier.device, carrier.disk
    steps = []
    if entry.state != "wiping":
        asked, (*unused,) = Step("vouch", entry, device.path), _out_of_use(entry, carrier, machine)
        if any(step.do == "unmount" for step in unused):
            unused.insert(1, asked)  # for files that were added in the meantime
        steps = [asked, *unused, Step("record", replace(entry, state="wiping"))]
    if device.signatures:
        steps.append(Step("wipe", entry, device.path, signatures=device.signatures))
    if device.path != disk.path and len(disk.partitions) == 1:
        steps.append(Step("wipe", entry, disk.path, signatures=disk.signatures))
    return _plan_of(entry, carrier, [*steps, _wiped_step(entry)])


def _wiped_step(entry: Entry) -> Step:
    """Its name stays recorded: a ledger that knew it accepts no other disk of that name."""
    return Step("record", replace(entry, state="wiped"))


def _out_of_use(entry: Entry, carrier: Carrier | None, machine: Machine) -> Iterator[Step]:
    if entry.path in machine.stale or (carrier and entry.path in carrier.device.mounts):
        yield Step("unmount", entry)
    mounts = [(mount.source, mount.path) for mount in parse(machine.fstab)]
    if (f"UUID={entry.filesystem_uuid}", entry.path) in mounts:
        yield Step("fstab_out", entry)


def _plan_of(entry: Entry, carrier: Carrier | None, steps: list[Step]) -> VolumePlan:
    device = carrier.device if carrier else None
    state = "missing" if device is None else entry.state
    return VolumePlan(entry, device.path if device else "", device.size if device else 0, state, tuple(steps))
