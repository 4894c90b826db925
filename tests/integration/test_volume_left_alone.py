# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""volume_provision on real loop devices: what is left alone, and what force may do."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from integration.disk_contents import CARRIES, LOST
from integration.loop_host import MIB, LoopHost, command, digest, done, reasons, run
from unit.run_module import backend


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("kind", CARRIES)
def test_a_disk_that_carries_anything_is_left_alone(host: LoopHost, kind: str, sector: int) -> None:
    fill, reason = CARRIES[kind]
    path = host.file("carrying")
    fill(path)
    before = digest(path)
    device, blank = host.plug(path, "--sector-size", str(sector)), host.new_disk("blank")
    result = done(host.provision())
    if sector == 512 or "table" not in kind:  # no tool looks for a GPT where sectors of another size would have it
        assert reason in reasons(result)[device]
    assert [volume["device"] for volume in result["volumes"]] == [blank]
    assert digest(path) == before


def test_disks_that_lost_their_partition_table_are_left_alone(host: LoopHost) -> None:
    """What begins where partitions begin, or is left of one, is seen, and said with its place."""
    expected = {}
    for kind, (fill, reason) in LOST.items():
        path = host.file(kind)
        fill(path)
        expected[host.plug(path)] = reason
    result = done(host.provision(check=True))
    assert result["volumes"] == []
    found = reasons(result)
    assert {device: reason for device, reason in expected.items() if reason not in found[device]} == {}


def test_a_disk_that_lost_its_partition_table_can_be_given_up(host: LoopHost) -> None:
    path = host.file("disk")
    LOST["ext4 at 1 MiB"][0](path)
    device = host.plug(path)
    with pytest.raises(host.backend.VolumeError, match="PHOTOS.* from byte 1048576 .*`force_signature:` unknown"):
        host.provision(devices=(device,))
    (volume,) = done(host.provision(devices=(device,), force=True, force_signature="unknown"))["volumes"]
    assert volume["was"] == "new"


def test_partitions_are_named_with_what_is_on_them(host: LoopHost) -> None:
    path = host.file("disk")
    command("sfdisk", "--quiet", str(path), data="label: gpt\n,100MiB\n,,\n")
    device = host.plug(path)
    command("mkfs.ext4", "-q", "-L", "HOME", f"{device}p1")
    before = digest(path)
    reason = reasons(done(host.provision()))[device]
    assert reason.startswith("it has a partition table (gpt) with 2 partitions (1: a signature of ext4 (label HOME")
    assert reason.endswith("2: nothing known)")
    assert digest(path) == before


def test_disks_that_cannot_be_used_are_left_alone(host: LoopHost, tmp_path: Path) -> None:
    mounted, read_only = host.new_disk("mounted"), host.plug(host.file("read-only"), "--read-only")
    small, large, busy, listed = (
        host.new_disk(name, mib) for name, mib in (("small", 30), ("large", 2000), ("busy", 400), ("listed", 400))
    )
    command("mkfs.ext4", "-q", mounted)
    (tmp_path / "mnt").mkdir()
    command("mount", mounted, str(tmp_path / "mnt"))
    held = os.open(busy, os.O_RDONLY | os.O_EXCL)
    host.fstab.write_text(f"{listed} /mnt/backup auto noauto 0 0\n", encoding="utf-8")
    try:
        found = reasons(done(host.provision(size_max=1000 * MIB)))
        assert found == {
            mounted: f"it is mounted at {tmp_path / 'mnt'}",
            read_only: "it is read-only",
            small: "it is too small: 30.0 MiB, ext4 needs 64.0 MiB",
            large: "it is too large: 2.0 GiB, `size_max` is 1000.0 MiB",
            busy: "a program or the kernel holds it exclusively",
            listed: "fstab has it for /mnt/backup",
        }
        assert reasons(done(host.provision(size_min=500 * MIB)))[busy] == "a program or the kernel holds it exclusively"
    finally:
        os.close(held)
        command("umount", str(tmp_path / "mnt"))
    assert (
        reasons(done(host.provision(size_min=500 * MIB)))[busy] == "it is too small: 400.0 MiB, `size_min` is 500.0 MiB"
    )


def test_the_disk_of_the_running_system_is_left_alone(host: LoopHost) -> None:
    source = command("findmnt", "--noheadings", "--output", "SOURCE", "/").strip().partition("[")[0]
    disk = command("lsblk", "--noheadings", "--inverse", "--paths", "--output", "PATH", source).split()[-1]
    found = reasons(done(host.provision(check=True, match=(disk,))))
    assert "it carries the running system (/" in found[disk]
    with pytest.raises(host.backend.VolumeError, match="it carries the running system"):
        host.provision(check=True, devices=(disk,), force=True, force_signature="ext4")


def test_loop_devices_are_only_looked_at_when_they_are_meant(host: LoopHost) -> None:
    device = host.new_disk("disk")
    result = done(host.provision(check=True, match=()))
    assert device not in reasons(result)
    assert device not in [volume["device"] for volume in result["volumes"]]


def test_a_named_disk_that_carries_something_is_refused_with_two_ways_out(host: LoopHost) -> None:
    carrying, blank = host.new_disk("carrying"), host.new_disk("blank")
    command("mkfs.ext4", "-q", carrying)
    found = command("blkid", "--probe", "--match-tag", "UUID", "--output", "value", carrying).strip()
    before = digest(host.disks[carrying])
    for options in ({}, {"force": True}, {"force": True, "force_signature": "xfs"}):
        with pytest.raises(host.backend.VolumeError) as refused:
            host.provision(devices=(carrying,), **options)
        said = str(refused.value)
        assert said.startswith(f"Failed to use {carrying}: it has a signature of ext4 (UUID {found})")
        assert "Either remove it from `devices`" in said
        assert said.endswith(f"with `force: true` and `force_signature:` {found}.")
    with pytest.raises(host.backend.VolumeError, match="one device at a time"):
        host.provision(devices=(carrying, blank), force=True, force_signature=found)
    with pytest.raises(host.backend.VolumeError, match="Failed to use"):
        host.provision(devices=(blank, carrying))
    assert host.mounted() == {}, "nothing is done to the others either"
    assert digest(host.disks[carrying]) == before


@pytest.mark.parametrize("kind", [kind for kind in CARRIES if kind != "xfs"])
def test_force_formats_what_was_said_to_be_there(host: LoopHost, kind: str) -> None:
    path = host.file("carrying")
    CARRIES[kind][0](path)
    device = host.plug(path)
    with pytest.raises(host.backend.VolumeError) as refused:
        host.provision(devices=(device,))
    word = str(refused.value).rpartition("` ")[2].rstrip(".")  # as the error tells it
    options = {"devices": (device,), "force": True, "force_signature": word}
    (volume,) = done(host.provision(**options))["volumes"]
    assert volume["was"] == "new"
    Path(volume["path"], "precious").write_text("data", encoding="ascii")
    assert not done(host.provision(**options))["changed"], "a volume is never formatted by force"
    assert Path(volume["path"], "precious").read_text(encoding="ascii") == "data"


def test_a_disk_that_changed_since_it_was_looked_at_is_not_formatted(host: LoopHost, monkeypatch: Any) -> None:
    """Between the look and the format somebody else makes a filesystem."""
    device = host.new_disk("disk")

    def late(argv: Any, data: str | None = None) -> tuple[int, str, str]:
        if argv[0] == "wipefs" and Path(host.places.record).exists() and not late_done:
            late_done.append(command("mkfs.xfs", "-q", device))
        return run(argv, data)

    late_done: list[str] = []
    outcome = host.backend.provision(late, host.wish(), check=False, command=host.engine, places=host.places)
    assert "it has changed since the scan: it now has xfs" in str(outcome.problems[0])
    assert "TYPE=xfs" in command("blkid", "--probe", "--output", "export", device)


@pytest.mark.parametrize("when", ["scan", "partition", "format"])
def test_who_holds_a_disk_for_a_moment_is_waited_for(host: LoopHost, monkeypatch: Any, when: str) -> None:
    """As udev and mdadm do when a disk appears, and as another run does that looks at it."""
    device = host.new_disk("disk")
    waits: list[int] = []  # what holds the disk when one waits for it
    held = [os.open(device, os.O_RDONLY | os.O_EXCL)] if when == "scan" else []
    do = host.backend.Hands.do

    def hold(self: Any, step: Any) -> None:
        if step.do == when:
            held.append(os.open(device, os.O_RDONLY | os.O_EXCL))
        do(self, step)

    def release(_seconds: float) -> None:
        waits.append(len(held))
        if len(waits) == 3:
            os.close(held.pop())

    monkeypatch.setattr(host.backend.Hands, "do", hold)
    monkeypatch.setattr(backend("_volume.look"), "time", SimpleNamespace(sleep=release))
    result = done(host.provision(partition=True))
    assert [(volume["device"], volume["state"]) for volume in result["volumes"]] == [(device, "ready")]
    assert waits == [1, 1, 1]


def test_who_looks_into_a_filesystem_does_not_make_it_read_only(host: LoopHost, monkeypatch: Any) -> None:
    """Another run has it mounted to look into it, or a container that was started at that moment."""
    device = host.new_disk("disk")
    folder = host.folder / "looked-into"
    folder.mkdir()
    waits: list[bool] = []  # whether it was still looked into when one waited
    do = host.backend.Hands.do

    def look(self: Any, step: Any) -> None:
        if step.do == "mount":
            command("mount", "-t", "ext4", "-o", "ro,noload", device, str(folder))
        do(self, step)

    def end(_seconds: float) -> None:
        waits.append(os.path.ismount(folder))
        if len(waits) == 3:
            command("umount", str(folder))

    monkeypatch.setattr(host.backend.Hands, "do", look)
    monkeypatch.setattr(backend("_volume.look"), "time", SimpleNamespace(sleep=end))
    try:
        result = done(host.provision())
    finally:
        if os.path.ismount(folder):
            command("umount", str(folder))
    assert [(volume["device"], volume["state"]) for volume in result["volumes"]] == [(device, "ready")]
    assert waits == [True, True, True]


def test_a_disk_that_a_run_must_not_use_is_not_opened_exclusively(host: LoopHost, monkeypatch: Any) -> None:
    """Somebody may just be about to mount it or to make a filesystem on it."""
    theirs, ours = host.new_disk("theirs"), host.new_disk("ours")
    opened = []
    look = backend("_volume.look")
    is_held = look.is_held

    def noted(path: str, tries: Any) -> bool:
        opened.append(path)
        return bool(is_held(path, tries))

    monkeypatch.setattr(look, "is_held", noted)
    done(host.provision(check=True, match=(ours,)))
    done(host.provision(check=True, devices=(ours,)))
    assert opened == [ours, ours]
    assert theirs in host.disks


def test_what_fails_with_one_disk_keeps_no_other_from_its_use(host: LoopHost) -> None:
    bad, good = host.new_disk("bad"), host.new_disk("good")

    def failing(argv: Any, data: str | None = None) -> tuple[int, str, str]:
        return (1, "", "mkfs.ext4: Input/output error\n") if argv[0] == "mkfs.ext4" and bad in argv else run(argv, data)

    outcome = host.backend.provision(failing, host.wish(), check=False, command=host.engine, places=host.places)
    assert [str(problem) for problem in outcome.problems] == [
        f"Failed to format {bad} as ext4 for volume-01: mkfs.ext4: mkfs.ext4: Input/output error."
    ]
    assert {volume["device"]: volume["state"] for volume in outcome.as_result()["volumes"]} == {
        bad: "failed",
        good: "ready",
    }
    result = done(host.provision())
    assert {volume["device"]: volume["name"] for volume in result["volumes"]} == {bad: "volume-01", good: "volume-02"}


def _provision_in_a_process(host: LoopHost, ends: Any) -> None:
    ends.put(host.provision().as_result()["steps"])


def test_two_runs_at_once_make_each_volume_once(host: LoopHost) -> None:
    for number in range(3):
        host.new_disk(f"disk-{number}")
    context = multiprocessing.get_context("fork")
    ends = context.Queue()
    runs = [context.Process(target=_provision_in_a_process, args=(host, ends)) for _run in range(2)]
    for process in runs:
        process.start()
    steps = sorted((ends.get(timeout=60) for _run in runs), key=len)
    for process in runs:
        process.join(60)
    assert steps[0] == []
    assert len([step for step in steps[1] if step.startswith("format ")]) == 3
