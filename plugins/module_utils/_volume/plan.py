# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Plans the volumes of a host: all decisions come from one scan, before any change. No side effects here.

A volume is created in steps, and the host's record is updated before each of them. After a power cut between any two
steps, the record identifies the disk by the UUID that it was given or was about to be given. So the next run continues
where the last one stopped, and formats nothing twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.fstab import line_of, parse, without
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.left_alone import (
    carries,
    in_use,
    is_begun,
    is_candidate,
    obstacle,
    twin,
    unusable,
)
from ansible_collections.edgeops.snowsync.plugins.module_utils._volume.model import (
    GROWTH,
    MARKER_WAY,
    UNREADABLE,
    Device,
    Entry,
    Machine,
    Plan,
    Step,
    VolumeError,
    VolumePlan,
    Wish,
)

_Subject = TypeVar("_Subject")
_NAME = re.compile(r"volume-([0-9]{2,4})")
_USABLE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,11}")  # XFS labels have twelve characters
_OUT_OF_USE = {
    "absent": "taken out of use; name it in `devices` to bring it back",
    "wiping": "being wiped; `state: wiped` finishes this",
}
_TWO_WAYS = (
    "Either remove it from `devices`, or, to permanently erase its content, name it alone with `force: true` and"
    " `force_signature:` {signature}"
)
_FOREIGN_WAYS = (
    "Either adopt it with everything on it, with `adopt_foreign: true`, or, to permanently erase its content, name it"
    " alone with `force: true` and `force_signature:` {signature}"
)


@dataclass(frozen=True)
class Carrier:
    """A volume of the record and its device: a disk, or a partition on it.

    `copies` are other devices with the same identity, with their disks. None of them is mounted.
    """

    entry: Entry
    disk: Device
    device: Device
    copies: tuple[Device, ...] = ()

    @property
    def paths(self) -> set[str]:
        return {device.path for device in (self.disk, self.device, *self.copies)}

    def refuse_copies(self) -> None:
        """VolumeError if it is unclear which disk is the volume, or which one the next boot would mount."""
        if self.copies:
            there = " and ".join(device.path for device in (self.device, self.copies[0]))
            raise VolumeError(
                "identify",
                self.entry.name,
                f"{there} both hold it; one must be a copy, or both are the same disk on two paths",
                "Remove one of them from this host, or mount the right one at its mount point and, to permanently erase"
                " the other, name that one alone with `force: true` and `force_signature:`"
                f" {self.entry.filesystem_uuid}",
            )


def plan_present(machine: Machine, wish: Wish, new_uuid: Callable[[], str]) -> Plan:
    """The plan for ``state: present``; VolumeError if it must not or cannot be done, and then nothing is changed."""
    return _Present(machine, wish, new_uuid).plan()


def carriers_of(machine: Machine) -> dict[str, Carrier]:
    """The device of each volume in the record, by name."""
    found: dict[str, Carrier] = {}
    for entry in machine.record:
        everything = ((disk, device) for disk in machine.disks for device in (disk, *disk.partitions))
        claims = {device.path: (disk, device) for disk, device in everything if _is_that(device, entry)}
        ranked = sorted(claims.values(), key=lambda claim: entry.path not in claim[1].mounts)
        if ranked:
            own = {device.path for device in ranked[0]}
            copies = {part.path: part for claim in ranked[1:] for part in reversed(claim) if part.path not in own}
            found[entry.name] = Carrier(entry, *ranked[0], tuple(copies.values()))
    return found


def _is_that(device: Device, entry: Entry) -> bool:
    if entry.state == "wiped":
        return False
    if any(signature.uuid == entry.filesystem_uuid for signature in device.signatures):
        return True
    if device.unreadable and entry.path in device.mounts:
        return True
    # A half created or half wiped volume is identified by its partition, unless something else is on it now.
    is_half = entry.state in ("formatting", "wiping") and not device.signatures
    return is_half and bool(entry.partition_uuid) and device.partition_uuid == entry.partition_uuid


def resolve(name: str, machine: Machine) -> Device:
    """The one device with this path, link or serial number; VolumeError if there is none or more than one."""
    devices = [device for disk in machine.disks for device in (disk, *disk.partitions)]
    found = [device for device in devices if name in device.names]
    if len(found) != 1:
        there = ", ".join(device.path for device in found) or "none"
        raise VolumeError(
            "find", name, f"devices with this path, link or serial number: {there}", "See `lsblk -o PATH,SERIAL,SIZE`"
        )
    return found[0]


class _Present:
    def __init__(self, machine: Machine, wish: Wish, new_uuid: Callable[[], str]) -> None:
        self.machine = machine
        self.wish = wish
        self.new_uuid = new_uuid
        self.carriers = carriers_of(machine)
        # An entry that was never formatted is not a volume: its name is free again.
        self.known = [entry for entry in machine.record if entry.state != "formatting" or entry.name in self.carriers]
        self.names: dict[str, str] = {}  # of adopted volumes, by device
        self.taken = {entry.name for entry in self.known} | set(machine.folders)
        below = (mount.path.rpartition("/") for mount in parse(machine.fstab))
        self.taken |= {name for folder, _slash, name in below if folder == wish.mount_root}
        self.left_alone: list[tuple[str, str]] = []
        self.problems: list[VolumeError] = []

    def plan(self) -> Plan:
        volumes = list(self._named() if self.wish.devices else self._selected())
        volumes.sort(key=lambda volume: volume.entry.name)
        return Plan(tuple(volumes), tuple(self.left_alone), tuple(self.problems))

    # Named devices

    def _named(self) -> Iterator[VolumePlan]:
        devices = list({(device := resolve(name, self.machine)).path: device for name in self.wish.devices}.values())
        self._refuse_parts(devices)
        self._keep_names(part for device in devices if not self._carriers_on(device) and (part := _marked(device)))
        if self.wish.force and len(devices) != 1:
            raise VolumeError(
                "format", "several devices", "`force` is for one device at a time", "Use a separate task for each"
            )
        plans = [plan for device in devices for plan in self._tried(self._for_named, device)]
        if len(self.problems) == 1:
            raise self.problems[0]
        if self.problems:
            said = "\n".join(map(str, self.problems))
            raise VolumeError("use", "several devices (nothing was changed)", said)
        yield from plans

    def _refuse_parts(self, devices: list[Device]) -> None:
        for device in devices:
            disk = self._disk_of(device)
            if disk is not device and disk in devices:
                raise VolumeError("use", device.path, f"it is part of {disk.path}", "Name only one of them")

    def _tried(self, plan_for: Callable[[_Subject], VolumePlan], subject: _Subject) -> list[VolumePlan]:
        """The plan for one device or carrier; its error is recorded and does not affect the others."""
        try:
            return [plan_for(subject)]
        except VolumeError as error:
            if str(error) not in map(str, self.problems):
                self.problems.append(error)
            return []

    def _for_named(self, device: Device) -> VolumePlan:
        carrier = next(iter(self._carriers_on(device)), None)
        if carrier and self._is_given_up(carrier, device):
            return self._make_over(device, carrier.entry)
        if carrier and carrier.entry.state == "wiping":
            raise VolumeError("use", device.path, f"{carrier.entry.name} is being wiped", "Finish with `state: wiped`")
        if carrier and carrier.entry.state == "absent":
            plan = self._ensure(replace(carrier, entry=replace(carrier.entry, state="formatted")))
            return replace(plan, state="absent")
        if carrier:
            return self._ensure(carrier)
        return self._make_over(device)

    def _make_over(self, device: Device, copied: Entry | None = None) -> VolumePlan:
        """A device that is not a volume of this host, or that is a copy of one and may be erased."""
        marked = _marked(device)
        used = in_use(device, self._home(marked) if marked else "")
        if used:
            raise VolumeError("use", device.path, used, "Unmount it and take it out of use first")
        if marked and (not self.wish.force or (self._is_own(marked) and not self._original_of(marked))):
            return self._adopt(self._disk_of(device), marked)
        found = "" if is_begun(device, self.machine) else carries(device)
        machine = self.machine
        if copied:  # fstab has the original
            machine = replace(machine, fstab=without(machine.fstab, copied.path, f"UUID={copied.filesystem_uuid}"))
        hindrance = in_use(device) or unusable(device, machine, self.wish)
        hindrance = hindrance or twin(self._disk_of(device), self.machine, is_named=True)
        if hindrance:
            raise VolumeError("use", device.path, hindrance + (f", and {found}" if found else ""))
        if found:
            self._insist(device, found, _FOREIGN_WAYS if marked else _TWO_WAYS)
        return self._make(device)

    def _carriers_on(self, device: Device) -> list[Carrier]:
        return [carrier for carrier in self.carriers.values() if device.path in carrier.paths]

    def _is_given_up(self, carrier: Carrier, device: Device) -> bool:
        """Whether force applies to a copy while the volume itself is mounted at its mount point."""
        is_copy = device.path in {copy.path for copy in carrier.copies}
        return self.wish.force and is_copy and carrier.entry.path in carrier.device.mounts

    def _disk_of(self, device: Device) -> Device:
        paths = {part.path: disk for disk in self.machine.disks for part in disk.partitions}
        return paths.get(device.path, device)

    def _insist(self, device: Device, found: str, ways: str) -> None:
        """Allow a disk with data to be formatted only if `force_signature` matches what will be lost."""
        signatures = [signature for part in (device, *device.partitions) for signature in part.signatures]
        accepted = {word for signature in signatures for word in (signature.uuid, signature.kind) if word}
        accepted |= {"unknown"} if not signatures else set()
        if not self.wish.force or self.wish.force_signature not in accepted:
            said = (
                f"; `force_signature: {self.wish.force_signature}` does not match" if self.wish.force_signature else ""
            )
            best = next((signature.uuid for signature in signatures if signature.uuid), sorted(accepted)[0])
            raise VolumeError("use", device.path, f"{found}{said}", ways.format(signature=best))

    def _adopt(self, disk: Device, marked: Device) -> VolumePlan:
        """A volume that has a marker but is not in the record."""
        marker = marked.marker or {}
        if not self._is_own(marked) and marker.get("host") and not self.wish.adopt_foreign:
            best = next((signature.uuid for signature in marked.signatures), "")
            raise VolumeError("use", marked.path, carries(marked), _FOREIGN_WAYS.format(signature=best))
        filesystem = marked.filesystem
        if filesystem is None:
            raise VolumeError("adopt", marked.path, "its filesystem is neither ext4 nor XFS")
        original = self._original_of(marked)
        if original:
            raise VolumeError(
                "adopt",
                marked.path,
                f"its marker has the identity of {original}, so one of them must be a copy",
                f"Remove it from this host, or, to permanently erase its content, name it alone with `force: true` and"
                f" `force_signature:` {filesystem.uuid}",
            )
        name = self.names.get(marked.path) or self._next_name()
        self.taken.add(name)
        entry = Entry(
            name=name,
            path=self._home(marked, name),
            identity=marker["uuid"],
            filesystem_uuid=filesystem.uuid,
            filesystem=filesystem.kind,
            disk=best_name(disk),
            partition_uuid=marked.partition_uuid,
            state="formatted",
        )
        plan = self._ensure(Carrier(entry, disk, marked))
        return replace(plan, state="adopted", steps=(Step("record", entry), *plan.steps))

    def _keep_names(self, found: Iterable[Device]) -> None:
        """Before names are assigned: an adopted volume keeps its name, unless another volume of this host has it."""
        known = {entry.name for entry in self.known}
        for device in found:
            name = (device.marker or {})["name"]
            is_free = name not in known and name not in self.names.values()
            at_home = [mount.source for mount in parse(self.machine.fstab) if mount.path == self._home(device)]
            is_free = is_free and at_home in ([], [_source(device)])
            if is_free and _USABLE_NAME.fullmatch(name) and (self._is_own(device) or name not in self.machine.folders):
                self.names[device.path] = name
                self.taken.add(name)

    def _home(self, marked: Device, name: str = "") -> str:
        """The mount point of a volume of that name in fstab, else its default one."""
        name = name or (marked.marker or {})["name"]
        paths = [mount.path for mount in parse(self.machine.fstab) if mount.source == _source(marked)]
        return next((path for path in paths if path.endswith(f"/{name}")), self.wish.path(name))

    def _original_of(self, marked: Device) -> str:
        """What else in this host has the identity of a device that is not in the record."""
        identity = (marked.marker or {})["uuid"]
        entries = [entry.name for entry in self.known if entry.identity == identity and entry.state != "wiped"]
        everything = (part for disk in self.machine.disks for part in (disk, *disk.partitions))
        others = [part.path for part in everything if part.marker and part.marker["uuid"] == identity]
        return next((name for name in (*entries, *others) if name != marked.path), "")

    def _is_own(self, device: Device) -> bool:
        return bool(device.marker) and (device.marker or {}).get("host") == self.machine.host

    # Selected disks

    def _selected(self) -> Iterator[VolumePlan]:
        wanted = [entry for entry in self.known if entry.state not in (*_OUT_OF_USE, "wiped")]
        disks = sorted(self.machine.disks, key=_order)
        adopted = {disk.path: part for disk in disks if (part := self._own_on(disk))}
        self._keep_names(adopted.values())
        room = None if self.wish.count is None else self.wish.count - len(wanted) - len(adopted)
        for disk in disks:
            carriers = self._carriers_on(disk)
            for carrier in carriers:
                if carrier.entry.state in _OUT_OF_USE:
                    self.left_alone.append(
                        (disk.path, f"it is {carrier.entry.name}, {_OUT_OF_USE[carrier.entry.state]}")
                    )
                else:
                    yield from self._tried(self._ensure, carrier)
            if carriers:
                continue
            if disk.path in adopted:
                yield from self._tried(lambda part, disk=disk: self._adopt(disk, part), adopted[disk.path])
            elif is_candidate(disk, self.wish.match):
                made = self._select(disk, room)
                if made:
                    yield made
                    room = None if room is None else room - 1
        for entry in wanted:
            if entry.name not in self.carriers:
                yield VolumePlan(entry, state="missing")

    def _own_on(self, disk: Device) -> Device | None:
        """The volume of this host on the disk that is not in the record."""
        marked = None if self._carriers_on(disk) else _marked(disk)
        return marked if marked and self._is_own(marked) and not in_use(disk, self._home(marked)) else None

    def _select(self, disk: Device, room: int | None) -> VolumePlan | None:
        reason = obstacle(disk, self.machine, self.wish)
        if not reason and room is not None and room <= 0:
            reason = f"it is blank, and `count` asks for {self.wish.count} volumes, which already exist"
        if reason:
            self.left_alone.append((disk.path, reason))
            return None
        return self._make(disk)

    # One volume

    def _next_name(self) -> str:
        numbers = {int(found.group(1)) for name in self.taken if (found := _NAME.fullmatch(name))}
        number = next(number for number in range(1, 10_000) if number not in numbers)
        return f"volume-{number:02d}"

    def _make(self, device: Device) -> VolumePlan:
        """A new volume on a disk that is blank, or that the operator allowed to be erased."""
        name = self._next_name()
        self.taken.add(name)
        partition = self.wish.partition and device.kind != "part"
        entry = Entry(
            name=name,
            path=self.wish.path(name),
            identity=self.new_uuid(),
            filesystem_uuid=self.new_uuid(),
            filesystem=self.wish.filesystem,
            disk=best_name(device),
            partition_uuid=self.new_uuid() if partition else "",
            state="formatting",
        )
        # An entry that was started under another name on this disk is obsolete.
        stale = [old for old in self.machine.record if (old.state, old.disk) == ("formatting", entry.disk)]
        steps = [Step("forget", old) for old in stale if old.name != name and old.name not in self.carriers]
        steps.append(Step("record", entry))
        seen = device.signatures
        if seen:
            steps.append(Step("clear", entry, device.path, signatures=seen))
            seen = ()
        if partition:
            steps.append(Step("partition", entry, device.path, signatures=seen))
        steps.append(Step("format", entry, "" if partition else device.path))
        return VolumePlan(entry, device.path, device.size, "new", (*steps, *self._finish(entry, None)))

    def _ensure(self, carrier: Carrier) -> VolumePlan:
        """A volume of ours: whatever it lacks is restored, and it is never formatted once it was complete."""
        entry, device = carrier.entry, carrier.device
        carrier.refuse_copies()
        steps: list[Step] = []
        if entry.state == "formatting":
            if device.signatures:
                steps.append(Step("check", entry, device.path, signatures=device.signatures))
            else:
                steps.append(Step("format", entry, device.path))
        self._refuse_strangers(entry, device)
        if _has_room_behind(carrier):
            steps.append(Step("grow_partition", entry, device.path))
        state = entry.state if entry.state != "ready" or device.mounts else "unmounted"
        return VolumePlan(entry, device.path, device.size, state, (*steps, *self._finish(entry, carrier)))

    def _refuse_strangers(self, entry: Entry, device: Device) -> None:
        trouble = device.unreadable or (device.marker or {}).get("trouble")
        if trouble:
            fix = "Check `dmesg`: the disk is failing. `state: absent` takes it out of use"
            raise VolumeError("read", f"{entry.name} on {device.path}", trouble, fix)
        if device.marker and device.marker["uuid"] == UNREADABLE:
            raise VolumeError("use", device.path, f"its marker {entry.marker_path} is damaged", MARKER_WAY)
        if device.marker and device.marker["uuid"] != entry.identity:
            raise VolumeError(
                "use",
                device.path,
                f"its marker has identity {device.marker['uuid']}, this host's record has {entry.identity} for"
                f" {entry.name}",
                "Find out which disk this is, and remove it from this host or restore its own marker",
            )
        others = [mount for mount in parse(self.machine.fstab) if mount.path == entry.path]
        others = [mount for mount in others if mount.source != f"UUID={entry.filesystem_uuid}"]
        if others:
            raise VolumeError(
                "use", device.path, f"fstab has {others[0].source} for {entry.path}", "Remove that line first"
            )
        if device.mounts and entry.path not in device.mounts:
            there = ", ".join(device.mounts)
            raise VolumeError("use", device.path, f"{entry.name} is mounted at {there}", "Unmount it there first")

    def _finish(self, entry: Entry, carrier: Carrier | None) -> Iterator[Step]:
        """The steps that turn a formatted filesystem into a volume in use."""
        device = carrier.device if carrier else None
        if entry.state == "formatting":
            yield Step("record", replace(entry, state="formatted"))
        options = self.wish.mount_options
        line = line_of(entry.filesystem_uuid, entry.path, entry.filesystem, options, self.wish.device_timeout)
        if [mount.line for mount in parse(self.machine.fstab) if mount.path == entry.path] != [line]:
            yield Step("fstab", entry, line=line)
        grows = carrier is not None and (_has_room_behind(carrier) or _is_smaller(carrier.device))
        grow = [Step("grow", entry, device.path)] if device and grows else []
        # XFS can only grow while it is mounted. ext4 has fewer conditions while it is not mounted.
        if device is None or entry.path not in device.mounts:
            yield from grow if entry.filesystem == "ext4" else ()
            if entry.path in self.machine.stale:
                yield Step("unmount", entry)
            yield Step("mount", entry)
            yield from grow if entry.filesystem == "xfs" else ()
        else:
            yield from grow
        if device is None or not self._is_marked(device, entry):
            yield Step("mark", entry)
        if device is None or device.root != (self.wish.owner, self.wish.group, self.wish.mode):
            yield Step("own", entry)
        if entry.state != "ready":
            yield Step("record", replace(entry, state="ready"))

    def _is_marked(self, device: Device, entry: Entry) -> bool:
        marker = device.marker or {}
        return (marker.get("name"), marker.get("host")) == (entry.name, self.machine.host)


def _marked(device: Device) -> Device | None:
    return next((part for part in (device, *device.partitions) if part.marker), None)


def _source(device: Device) -> str:
    """The source of a volume in fstab."""
    return f"UUID={device.filesystem.uuid}" if device.filesystem else ""


def _is_smaller(device: Device) -> bool:
    """Whether a filesystem is smaller than its device; false if its size is unknown."""
    return 0 < device.filesystem_size <= device.size - GROWTH


def _has_room_behind(carrier: Carrier) -> bool:
    """Whether there is free space after the partition, which is the only one on its disk."""
    disk, device = carrier.disk, carrier.device
    return len(disk.partitions) == 1 and device.path != disk.path and disk.size - device.start - device.size >= GROWTH


def best_name(device: Device) -> str:
    """The most descriptive name of a device, independent of its port: by-id, else its serial number, else its path."""
    by_id = sorted(name for name in device.names if name.startswith("/dev/disk/by-id/"))
    serials = sorted(name for name in device.names if not name.startswith("/"))
    return (by_id or serials or [device.path])[0]


def _order(disk: Device) -> list[tuple[int, str]]:
    """sda before sdb, and nvme9n1 before nvme10n1."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", disk.path)]
