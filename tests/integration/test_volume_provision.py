# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""volume_provision on real loop devices: what becomes a volume, and stays one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from integration.loop_host import KINDS, MIB, LoopHost, command, digest, done, marker_of, number_of, reasons


def test_a_disk_of_these_tests_comes_after_those_before_it(host: LoopHost) -> None:
    """The volumes of a test are named in the order of its disks, whatever numbers the tests beside it give back."""
    taken = [host.new_disk(f"low-{number}", 1) for number in range(2)]
    first = host.new_disk("first", 1)
    for device in taken:
        host.unplug(device)
    second = host.new_disk("second", 1)
    assert number_of(second) > number_of(first)


def test_four_blank_disks_become_four_volumes_and_stay_so(host: LoopHost) -> None:
    devices = [host.new_disk(f"disk-{number}") for number in range(4)]
    planned = done(host.provision(check=True))
    assert [volume["was"] for volume in planned["volumes"]] == ["new"] * 4
    assert host.mounted() == {}
    assert not Path(host.places.record).exists(), "check mode changes nothing"

    result = done(host.provision())
    assert result["changed"]
    names = ["volume-01", "volume-02", "volume-03", "volume-04"]
    assert [volume["name"] for volume in result["volumes"]] == names
    assert host.mounted() == {str(host.root / name): device for name, device in zip(names, devices, strict=True)}
    for volume in result["volumes"]:
        found = command("blkid", "--probe", "--output", "export", volume["device"])
        assert f"UUID={volume['filesystem_uuid']}\n" in found
        assert f"LABEL={volume['name']}\n" in found
        marker = marker_of(host, volume["name"])
        assert marker["uuid"] == volume["identity"]
        assert marker["filesystem"] == volume["filesystem_uuid"]
        assert os.stat(volume["path"]).st_mode & 0o7777 == 0o750
    assert host.fstab.read_text(encoding="utf-8").startswith("# this host's own\nproc /proc proc defaults 0 0\nUUID=")

    again = done(host.provision())
    assert (again["changed"], again["steps"]) == (False, [])
    assert [(volume["name"], volume["was"]) for volume in again["volumes"]] == [(name, "ready") for name in names]


@pytest.mark.parametrize(("filesystem", "partition"), KINDS)
def test_each_kind_of_volume_is_made_once(host: LoopHost, filesystem: str, partition: bool) -> None:
    device = host.new_disk("disk")
    (volume,) = done(host.provision(filesystem=filesystem, partition=partition))["volumes"]
    assert volume["device"] == device
    assert host.mounted()[volume["path"]] == (f"{device}p1" if partition else device)
    assert not done(host.provision(filesystem=filesystem, partition=partition))["changed"]
    other = "xfs" if filesystem == "ext4" else "ext4"
    again = done(host.provision(filesystem=other, partition=not partition))
    assert not again["changed"], "what is there stays what it is"


def test_names_stay_with_their_disks_when_the_kernel_renames_them(host: LoopHost) -> None:
    for number in range(3):
        host.new_disk(f"disk-{number}")
    before = {host.disks[volume["device"]].name: volume["name"] for volume in done(host.provision())["volumes"]}
    files = list(host.disks.values())
    host.power_off()
    for path in reversed(files):
        host.plug(path)
    result = done(host.provision())
    assert {host.disks[volume["device"]].name: volume["name"] for volume in result["volumes"]} == before
    assert [step for step in result["steps"] if not step.startswith("mount ")] == []
    assert [volume["was"] for volume in result["volumes"]] == ["unmounted"] * 3


def test_a_boot_mounts_them_by_fstab_alone(host: LoopHost) -> None:
    files = [host.disks[host.new_disk(f"disk-{number}")] for number in range(2)]
    done(host.provision())
    host.power_off()
    for path in files:
        host.plug(path)
    for number in (1, 2):
        command("mount", "--fstab", str(host.fstab), str(host.root / f"volume-0{number}"))
    assert len(host.mounted()) == 2
    assert not done(host.provision())["changed"]


def test_the_place_of_an_unplugged_disk_is_kept(host: LoopHost) -> None:
    first, second = host.new_disk("first"), host.new_disk("second")
    done(host.provision())
    command("umount", str(host.root / "volume-01"))
    path = host.unplug(first)
    third = host.new_disk("third")
    result = done(host.provision(count=3))
    assert {volume["name"]: volume["state"] for volume in result["volumes"]} == {
        "volume-01": "missing",
        "volume-02": "ready",
        "volume-03": "ready",
    }
    fourth = host.new_disk("fourth")
    result = done(host.provision(count=3))
    assert reasons(result)[fourth] == "it is blank, and `count` asks for 3 volumes, which already exist"
    back = host.plug(path)
    result = done(host.provision(count=3))
    assert {volume["name"]: volume["device"] for volume in result["volumes"]} == {
        "volume-01": back,
        "volume-02": second,
        "volume-03": third,
    }


def test_a_mount_point_that_holds_files_is_not_taken(host: LoopHost) -> None:
    """Somebody wrote below a mount point while nothing was mounted there: that must not be hidden."""
    (host.root / "volume-01").mkdir(parents=True)
    (host.root / "volume-01" / "precious").write_text("data", encoding="ascii")
    host.new_disk("disk")
    (volume,) = done(host.provision())["volumes"]
    assert volume["name"] == "volume-02"
    command("umount", volume["path"])
    (host.root / "volume-02").chmod(0o755)
    (host.root / "volume-02" / "stray").write_text("data", encoding="ascii")
    outcome = host.provision()
    assert [warning for warning in outcome.warnings() if "volume-02 held files" in warning]


@pytest.mark.parametrize("is_mounted", [False, True])
@pytest.mark.parametrize(("filesystem", "partition"), KINDS)
def test_a_filesystem_grows_with_its_disk(host: LoopHost, filesystem: str, partition: bool, is_mounted: bool) -> None:
    device = host.new_disk("disk", 400)
    (volume,) = done(host.provision(filesystem=filesystem, partition=partition))["volumes"]
    precious = Path(volume["path"], "precious")
    precious.write_bytes(b"data" * 1000)
    before = os.statvfs(volume["path"])
    if not is_mounted:
        command("umount", volume["path"])
    os.truncate(host.disks[device], 900 * MIB)
    command("losetup", "--set-capacity", device)
    if is_mounted and filesystem == "ext4" and not may_grow_mounted_ext4():
        assert "resize2fs: Permission denied" in str(host.provision().problems[0])
        return  # this machine's root may not; the same step works where it may, and unmounted
    result = done(host.provision())
    assert f"grow the filesystem of {volume['name']}" in result["steps"]
    assert os.statvfs(volume["path"]).f_blocks > before.f_blocks * 1.8
    assert precious.read_bytes() == b"data" * 1000
    assert not done(host.provision())["changed"]


def may_grow_mounted_ext4() -> bool:
    """Whether root has CAP_SYS_RESOURCE here, as it has on every host but for some containers."""
    status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return bool(int(status["CapEff"], 16) >> 24 & 1)


def other_host(host: LoopHost, **options: Any) -> tuple[Path, dict[str, Any]]:
    """A volume with a file, made by another host, and unplugged there."""
    other = LoopHost(host.folder.parent, host.backend, "edge2")
    device = other.new_disk("foreign")
    (volume,) = done(other.provision(**options))["volumes"]
    Path(volume["path"], "precious").write_text("data", encoding="ascii")
    path = other.disks[device]
    other.power_off()
    return path, volume


def test_a_volume_of_another_host_is_left_alone_until_it_is_taken_over(host: LoopHost) -> None:
    host.new_disk("own")
    done(host.provision())
    path, foreign = other_host(host)
    before = digest(path)
    device = host.plug(path)
    assert reasons(done(host.provision()))[device] == f"it is volume-01 of {os.uname().nodename}"
    with pytest.raises(host.backend.VolumeError, match="adopt_foreign: true.*force_signature") as refused:
        host.provision(devices=(device,))
    assert foreign["filesystem_uuid"] in str(refused.value)
    assert digest(path) == before

    (adopted,) = done(host.provision(devices=(device,), adopt_foreign=True))["volumes"]
    assert (adopted["name"], adopted["identity"]) == ("volume-02", foreign["identity"]), "its old name is taken here"
    assert Path(adopted["path"], "precious").read_text(encoding="ascii") == "data"
    assert marker_of(host, "volume-02")["name"] == "volume-02"
    assert not done(host.provision())["changed"]


@pytest.mark.parametrize("partition", [False, True])
def test_volumes_are_known_by_their_markers_when_the_record_is_lost(host: LoopHost, partition: bool) -> None:
    host.new_disk("disk")
    (before,) = done(host.provision(partition=partition))["volumes"]
    command("umount", before["path"])
    Path(host.places.record).unlink()
    host.fstab.write_text("", encoding="ascii")
    (after,) = done(host.provision())["volumes"]
    assert (after["name"], after["identity"], after["was"]) == (before["name"], before["identity"], "adopted")
    assert not done(host.provision())["changed"]


def test_two_copies_of_one_volume_are_refused(host: LoopHost) -> None:
    device = host.new_disk("disk")
    done(host.provision())
    command("umount", str(host.root / "volume-01"))
    copy = host.file("copy")
    copy.write_bytes(host.disks[device].read_bytes())
    host.plug(copy)
    (problem,) = host.provision().problems
    assert "both hold it; one must be a copy" in str(problem)
    assert host.mounted() == {}
