# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is decided from one look at a machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import run_module
from hypothesis import given, settings
from hypothesis import strategies as st

GIB = 1 << 30


@pytest.fixture(scope="module")
def parts() -> Any:
    """The brain of the module: model, plan and the reasons to leave a disk alone."""
    return {
        name: run_module.backend(f"_volume.{name}") for name in ("model", "plan", "left_alone", "remove", "options")
    }


class World:
    """A machine to decide about: `disk` adds one."""

    def __init__(self, parts: Any) -> None:
        self.model = parts["model"]
        self.plan_present = parts["plan"].plan_present
        self.machine = self.model.Machine("this-host", "edge1", ())

    def disk(self, path: str, **values: Any) -> Any:
        device = self.model.Device(path, values.pop("kind", "disk"), values.pop("size", 100 * GIB), (path,), **values)
        self.machine = replace(self.machine, disks=(*self.machine.disks, device))
        return device

    def volume(self, number: int, path: str, **values: Any) -> Any:
        """A disk that is a complete volume of this host."""
        name = f"volume-{number:02d}"
        entry = self.model.Entry(name, f"/srv/snowsync/{name}", f"id-{number}", f"fs-{number}", "ext4", path)
        marker = {"uuid": entry.identity, "name": name, "host": "this-host"}
        line = f"UUID=fs-{number} {entry.path} ext4 noatime,nofail,x-systemd.device-timeout=10s 0 2\n"
        self.machine = replace(self.machine, record=(*self.machine.record, entry), fstab=self.machine.fstab + line)
        signatures = (self.model.Signature("ext4", entry.filesystem_uuid, name),)
        known = {
            "signatures": signatures,
            "marker": marker,
            "mounts": (entry.path,),
            "root": ("snowsync", "snowsync", 0o750),
        }
        return self.disk(path, **{**known, **values})

    def plan(self, **wish: Any) -> Any:
        numbers = iter(range(1000))
        return self.plan_present(self.machine, self.model.Wish(**wish), lambda: f"new-{next(numbers)}")


@pytest.fixture
def world(parts: Any) -> World:
    return World(parts)


def names(plan: Any) -> dict[str, str]:
    return {volume.device: volume.entry.name for volume in plan.volumes}


def test_disks_are_numbered_as_people_count(world: World) -> None:
    for path in ("/dev/nvme10n1", "/dev/nvme9n1", "/dev/sdb"):
        world.disk(path)
    assert names(world.plan()) == {"/dev/nvme9n1": "volume-01", "/dev/nvme10n1": "volume-02", "/dev/sdb": "volume-03"}


def test_a_complete_volume_needs_nothing(world: World) -> None:
    world.volume(1, "/dev/sdb")
    plan = world.plan()
    assert plan.steps == ()
    assert plan.volumes[0].state == "ready"


def test_the_order_of_steps_is_what_makes_a_power_cut_safe(world: World) -> None:
    """Recorded before it is formatted, in fstab before it is mounted, marked when it is known by all that."""
    world.disk("/dev/sdb")
    done = [step.do for step in world.plan().steps]
    assert done == ["record", "format", "record", "fstab", "mount", "mark", "own", "record"]
    states = [step.entry.state for step in world.plan().steps if step.do == "record"]
    assert states == ["formatting", "formatted", "ready"]


@given(
    st.lists(st.sampled_from(["blank", "ext4", "mounted", "volume", "small"]), max_size=9),
    st.integers(0, 6) | st.none(),
)
@settings(deadline=None)
def test_nothing_that_carries_anything_is_ever_formatted(parts: Any, kinds: list[str], count: int | None) -> None:
    world = World(parts)
    for number, kind in enumerate(kinds, 1):
        path = f"/dev/sd{chr(97 + number)}"
        if kind == "volume":
            world.volume(number, path)
        else:
            signatures = (world.model.Signature("ext4", f"other-{number}"),) if kind == "ext4" else ()
            mounts = ("/mnt/x",) if kind == "mounted" else ()
            world.disk(path, signatures=signatures, mounts=mounts, size=GIB // 2 if kind == "small" else 100 * GIB)
    plan = world.plan(count=count)
    formatted = {step.device for step in plan.steps if step.do in ("format", "clear", "partition")}
    blank = [f"/dev/sd{chr(97 + number)}" for number, kind in enumerate(kinds, 1) if kind == "blank"]
    there = kinds.count("volume")
    room = len(blank) if count is None else max(0, min(len(blank), count - there))
    assert formatted == set(blank[:room])
    told = {device for device, _reason in plan.left_alone} | set(names(plan))
    assert told == {disk.path for disk in world.machine.disks}, "every disk is accounted for"
    assert len(set(names(plan).values())) == len(plan.volumes), "no name twice"


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ({"mounts": ("/", "/var/log")}, "it carries the running system (/, /var/log)"),
        ({"mounts": ("/media/stick",)}, "it is mounted at /media/stick"),
        ({"is_swap": True}, "it is used as swap space"),
        ({"read_only": True}, "it is read-only"),
        ({"is_busy": True}, "a program or the kernel holds it exclusively"),
        ({"content": "it cannot be read: Input/output error"}, "it cannot be read: Input/output error"),
        ({"size": GIB // 2}, "it is too small: 512.0 MiB, `size_min` is 1.0 GiB"),
    ],
)
def test_reasons(world: World, device: dict[str, Any], reason: str) -> None:
    world.disk("/dev/sdb", **device)
    assert world.plan().left_alone == (("/dev/sdb", reason),)


def test_what_lies_on_a_disk_keeps_it_from_being_used(world: World) -> None:
    model = world.model
    root = model.Device("/dev/mapper/vg-root", "lvm", GIB, mounts=("/",))
    part = model.Device("/dev/sda2", "part", GIB, signatures=(model.Signature("LVM2_member", "x"),), children=(root,))
    world.disk("/dev/sda", children=(part,), signatures=(model.Signature("gpt"),))
    raid = model.Device("/dev/md0", "raid1", GIB)
    world.disk("/dev/sdb", children=(raid,), signatures=(model.Signature("linux_raid_member"),))
    reasons = dict(world.plan().left_alone)
    assert reasons["/dev/sda"] == "it carries the running system (/)"
    assert reasons["/dev/sdb"] == "it is in use by /dev/md0 (raid1)"


def test_memory_and_loop_devices_are_no_disks(world: World) -> None:
    world.disk("/dev/zram0")
    world.disk("/dev/loop3", kind="loop")
    plan = world.plan()
    assert (plan.volumes, plan.left_alone) == ((), ())
    assert names(world.plan(match=("/dev/loop*",))) == {"/dev/loop3": "volume-01"}


def test_a_name_is_never_given_to_a_second_disk(world: World) -> None:
    """Unplugged, in fstab alone, or a folder with files: each keeps its name."""
    world.volume(1, "/dev/sdb")
    world.machine = replace(
        world.machine,
        disks=(),
        fstab=world.machine.fstab + "UUID=zz /srv/snowsync/volume-02 xfs defaults 0 0\n",
        folders=("volume-03", "lost+found"),
    )
    world.disk("/dev/sdc")
    plan = world.plan()
    assert names(plan) == {"": "volume-01", "/dev/sdc": "volume-04"}
    assert {volume.entry.name: volume.state for volume in plan.volumes}["volume-01"] == "missing"


def test_a_volume_whose_marker_is_another_ones_is_not_used(world: World) -> None:
    world.volume(1, "/dev/sdb", marker={"uuid": "other", "name": "volume-01", "host": "this-host"})
    world.volume(2, "/dev/sdc")
    plan = world.plan()
    assert names(plan) == {"/dev/sdc": "volume-02"}
    assert "its marker has identity other, this host's record has id-1" in str(plan.problems[0])


def test_a_foreign_line_of_fstab_is_not_overwritten(world: World) -> None:
    world.volume(1, "/dev/sdb")
    world.machine = replace(world.machine, fstab="/dev/sdz1 /srv/snowsync/volume-01 xfs defaults 0 0\n")
    assert "fstab has /dev/sdz1 for /srv/snowsync/volume-01" in str(world.plan().problems[0])


def test_changed_options_only_change_the_line(world: World) -> None:
    world.volume(1, "/dev/sdb")
    assert [step.do for step in world.plan(mount_options=("noatime", "discard")).steps] == ["fstab"]
    assert [step.do for step in world.plan(owner="root").steps] == ["own"]


def test_a_named_device_is_found_by_any_of_its_names(world: World) -> None:
    world.machine = replace(
        world.machine,
        disks=(
            world.model.Device("/dev/sdb", "disk", GIB, ("/dev/sdb", "/dev/disk/by-id/wwn-0x5", "SERIAL1")),
            world.model.Device("/dev/sdc", "disk", GIB, ("/dev/sdc", "SERIAL2")),
        ),
    )
    for name in ("/dev/sdb", "/dev/disk/by-id/wwn-0x5", "SERIAL1"):
        plan = world.plan(devices=(name,))
        assert names(plan) == {"/dev/sdb": "volume-01"}
        assert plan.volumes[0].entry.disk == "/dev/disk/by-id/wwn-0x5"
    with pytest.raises(Exception, match=r"Failed to find SERIAL9: devices with this path, link or serial number: none"):
        world.plan(devices=("SERIAL9",))


def test_every_wrong_device_is_named_at_once(world: World) -> None:
    for path, kind in (("/dev/sdb", "ntfs"), ("/dev/sdc", "vfat")):
        world.disk(path, signatures=(world.model.Signature(kind, f"{kind}-uuid"),))
    with pytest.raises(Exception, match=r"(?s)nothing was changed.*ntfs-uuid.*vfat-uuid"):
        world.plan(devices=("/dev/sdb", "/dev/sdc"))


def options_of(parts: Any, **given: Any) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in parts["options"].OPTIONS.items()}
    return {**defaults, **given}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "set either `devices` or `select: blank`"),
        ({"devices": ["a"], "select": "blank"}, "set either"),
        ({"select": "blank", "volumes": ["volume-01"]}, "`volumes` is for `state: absent`"),
        ({"state": "absent"}, "`state: absent` requires `volumes` or `devices`"),
        ({"state": "wiped", "select": "blank"}, "`state: wiped` requires"),
        ({"select": "blank", "force": True}, "`force` requires one device"),
        ({"devices": ["a"], "force_signature": "ext4"}, "`force_signature` also requires `force: true`"),
        ({"select": "blank", "size_min": "10 apples"}, "`size_min` has the unknown unit 'apples'"),
        ({"select": "blank", "mode": "rwx"}, "`mode` 'rwx' must be octal"),
        ({"select": "blank", "mount_root": "/"}, "must be a folder below /"),
        ({"select": "blank", "mount_options": ["a,b"]}, "list each option as an item"),
    ],
)
def test_options_that_do_not_go_together(parts: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match="Failed to read the options") as refused:
        parts["options"].wish_of(options_of(parts, **given))
    assert said in str(refused.value)


def test_options_become_a_wish(parts: Any) -> None:
    wish = parts["options"].wish_of(
        options_of(parts, select="blank", size_min="500GB", mount_root="/data/", mode="0700")
    )
    assert (wish.size_min, wish.mount_root, wish.mode) == (500 * 10**9, "/data", 0o700)


def test_the_door_in_check_mode_looks_and_changes_nothing(parts: Any, tmp_path: Path) -> None:
    """As Ansible calls it; no disk of this machine matches."""
    result = run_module.run_module(
        "volume_provision", tmp_path, check=True, diff=True, select="blank", match=["/dev/no-such-disk"]
    )
    assert (result["changed"], result["left_alone"]) == (False, [])
    failed = run_module.run_module("volume_provision", tmp_path, check=True, devices=["/dev/no-such-disk"])
    assert failed["msg"].startswith("Failed to find /dev/no-such-disk")


def test_a_disk_that_was_pulled_is_mounted_again_after_its_ghost_is_gone(world: World) -> None:
    """The filesystem of the device that went is still mounted where the one that came back belongs."""
    world.volume(1, "/dev/sdc", mounts=())
    world.machine = replace(world.machine, stale=("/srv/snowsync/volume-01",))
    assert [step.do for step in world.plan().steps][:2] == ["unmount", "mount"]


def test_memory_is_no_disk_whatever_matches(world: World) -> None:
    world.disk("/dev/zram0")
    world.disk("/dev/nbd0")
    assert names(world.plan(match=("/dev/*",))) == {"/dev/nbd0": "volume-01"}
    assert names(world.plan()) == {}


@pytest.mark.parametrize(
    ("first", "second", "made"),
    [
        ({"wwn": "w1", "serial": "s"}, {"wwn": "w1", "serial": "s"}, []),
        ({"wwn": "w1", "serial": "s"}, {"wwn": "w2", "serial": "s"}, ["/dev/sdb", "/dev/sdc"]),
        ({"serial": "s"}, {"serial": "s"}, []),
        ({"serial": "s"}, {"serial": "s", "size": 50 * GIB}, ["/dev/sdb", "/dev/sdc"]),
        ({}, {}, ["/dev/sdb", "/dev/sdc"]),
    ],
)
def test_what_may_be_one_disk_is_not_two(
    world: World, first: dict[str, Any], second: dict[str, Any], made: list[str]
) -> None:
    """Namespaces of NVMe share a serial number, and cheap USB adapters have the same one all over the world."""
    world.disk("/dev/sdb", **first)
    world.disk("/dev/sdc", **second)
    plan = world.plan()
    assert list(names(plan)) == made
    assert all("may be the same disk" in reason for _device, reason in plan.left_alone)
    if "wwn" not in first:
        assert list(names(world.plan(devices=("/dev/sdb",)))) == ["/dev/sdb"], "the operator's word counts"


def test_a_serial_number_that_two_disks_have_says_nothing_of_what_was_begun(world: World) -> None:
    entry = world.model.Entry("volume-01", "/srv/snowsync/volume-01", "i", "f", "ext4", "S1", state="formatting")
    content = "it holds data at byte 4096 (4.0 KiB)"
    for path, size in (("/dev/sdb", 50 * GIB), ("/dev/sdc", 60 * GIB)):
        world.disk(path, size=size, content=content)
    disks = tuple(replace(disk, names=(disk.path, "S1")) for disk in world.machine.disks)
    world.machine = replace(world.machine, disks=disks, record=(entry,))
    assert [reason for _device, reason in world.plan().left_alone] == [content] * 2
    world.machine = replace(world.machine, disks=disks[:1])
    assert list(names(world.plan())) == ["/dev/sdb"], "one alone is the one that was begun"


def test_what_was_begun_under_another_name_is_forgotten(world: World) -> None:
    """Else the disk would count as begun for ever, and be formatted whenever it had no signature."""
    entry = world.model.Entry("volume-07", "/srv/snowsync/volume-07", "i", "f", "ext4", "S1", state="formatting")
    disk = world.disk("/dev/sdb")
    world.machine = replace(world.machine, disks=(replace(disk, names=("/dev/sdb", "S1")),), record=(entry,))
    assert [str(step) for step in world.plan().steps][:2] == ["forget volume-07", "record volume-01 as formatting"]


def test_a_disk_that_fails_is_no_reason_to_remove_its_marker(world: World) -> None:
    marker = {"uuid": "unreadable", "name": "x", "host": "unreadable", "trouble": "[Errno 5] Input/output error"}
    world.volume(1, "/dev/sdb", marker=marker)
    world.volume(2, "/dev/sdc")
    plan = world.plan()
    assert names(plan) == {"/dev/sdc": "volume-02"}
    assert "Input/output error. Check `dmesg`" in str(plan.problems[0])
