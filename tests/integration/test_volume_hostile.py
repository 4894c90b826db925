# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""volume_provision on real loop devices that others have had in their hands: what must survive that."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from integration.loop_host import LESS_KINDS, MIB, LoopHost, command, digest, done, marker_of, reasons, run, until


def partition_of(host: LoopHost, device: str, number: int = 1) -> str:
    run(["partx", "--add", "--nr", str(number), device])
    return f"{device}p{number}"


def put_files(device: str, folder: Path, *names: str) -> None:
    """As an operator does by hand: mount, write, unmount."""
    folder.mkdir(exist_ok=True)
    command("mount", device, str(folder))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("data", encoding="ascii")
    command("umount", str(folder))


def record_of(host: LoopHost) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Path(host.places.record).read_text(encoding="utf-8"))["volumes"]
    return found


# -- what was begun, and went another way ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["xfs", "ext4"])
def test_a_partition_that_was_begun_and_then_used_otherwise_is_not_formatted(
    host: LoopHost, tmp_path: Path, kind: str
) -> None:
    """The power fails before mkfs; somebody makes a filesystem of his own on the partition."""
    host.new_disk("disk")
    assert until(host, 2, partition=True)[-1].startswith("create one partition")
    (device,) = host.disks
    part = partition_of(host, device)
    command(f"mkfs.{kind}", "-q", part)
    put_files(part, tmp_path / "mnt", "precious")
    before = digest(host.disks[device])
    result = done(host.provision(partition=True))
    assert result["volumes"] == []
    assert f"1 partition (1: a signature of {kind}" in reasons(result)[device]
    with pytest.raises(host.backend.VolumeError, match="Either remove it from `devices`"):
        host.provision(devices=(device,))
    assert digest(host.disks[device]) == before


@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_a_filesystem_that_was_used_before_its_making_was_noted_is_not_made_once_more(
    host: LoopHost, tmp_path: Path, filesystem: str
) -> None:
    """mkfs was complete, the record does not know; somebody mounted it, wrote, and the power failed again."""
    host.new_disk("disk")
    assert until(host, 2, filesystem=filesystem)[-1].startswith("format ")
    (device,) = host.disks
    put_files(device, tmp_path / "mnt", "precious")
    with open(device, "r+b") as disk:  # damage that a check finds, and a mount does not
        disk.seek(1024 + 0x10 if filesystem == "ext4" else 136)
        disk.write(b"\x01\x00\x00\x00")
    before = digest(host.disks[device])
    outcome = host.provision(filesystem=filesystem)
    if outcome.problems:
        assert "it was mounted before" in str(outcome.problems[0])
        assert digest(host.disks[device]) == before
    else:
        assert (host.root / "volume-01/precious").read_text(encoding="ascii") == "data"
    assert not [step for step in outcome.as_result()["steps"] if step.startswith("format ")]


def test_a_disk_is_only_gone_on_with_while_nothing_but_mkfs_wrote_to_it(host: LoopHost, monkeypatch: Any) -> None:
    """mkfs failed once; later the disk is written to without any signature, by `tar` or `dd`."""
    device = host.new_disk("disk")
    look = host.backend.look.__globals__
    monkeypatch.setitem(look, "_links", lambda: {device: ["/dev/disk/by-id/serial-1"]})

    def failing(argv: Any, data: str | None = None) -> tuple[int, str, str]:
        return (1, "", "mkfs.ext4: no memory\n") if argv[0] == "mkfs.ext4" else run(argv, data)

    outcome = host.backend.provision(failing, host.wish(), check=False, command=host.engine, places=host.places)
    assert outcome.problems
    assert [entry["state"] for entry in record_of(host)] == ["formatting"]
    with open(device, "r+b") as disk:
        disk.write(b"./photos/2026/" + bytes(86) + b"0000644")
    before = digest(host.disks[device])
    assert "of a kind that neither wipefs nor blkid knows" in reasons(done(host.provision()))[device]
    assert digest(host.disks[device]) == before


def test_what_was_begun_and_forgotten_leaves_no_trace(host: LoopHost) -> None:
    host.new_disk("disk")
    until(host, 2)
    (device,) = host.disks
    done(host.provision(state="absent", volumes=("volume-01",)))
    assert record_of(host) == []
    assert "label volume-01" in reasons(done(host.provision()))[device]


# -- wiping the right disk, and nothing that is needed --------------------------------------------------------------


def copy_with_new_uuid(host: LoopHost, device: str) -> str:
    copy = host.file("copy")
    command("cp", "--sparse=always", str(host.disks[device]), str(copy))
    other = host.plug(copy)
    command("e2fsck", "-f", "-p", other)
    command("tune2fs", "-U", "random", other)
    return other


def test_wiping_a_copy_does_not_wipe_the_original(host: LoopHost) -> None:
    device = host.new_disk("disk")
    done(host.provision())
    command("umount", str(host.root / "volume-01"))
    other = copy_with_new_uuid(host, device)
    before = digest(host.disks[device])
    for state in ("wiped", "absent"):
        with pytest.raises(host.backend.VolumeError, match="a copy"):
            host.provision(state=state, devices=(other,))
    assert digest(host.disks[device]) == before


def test_a_copy_does_not_become_a_second_volume_of_one_identity(host: LoopHost) -> None:
    device = host.new_disk("disk")
    done(host.provision())
    command("umount", str(host.root / "volume-01"))
    other = copy_with_new_uuid(host, device)
    outcome = host.provision()
    assert "a copy" in str(outcome.problems[0])
    assert [entry["name"] for entry in record_of(host)] == ["volume-01"]
    assert host.mounted() == {str(host.root / "volume-01"): device}
    with pytest.raises(host.backend.VolumeError, match="a copy"):
        host.provision(devices=(other,))


def test_two_copies_that_the_record_does_not_know_are_both_refused(host: LoopHost) -> None:
    device = host.new_disk("disk")
    done(host.provision())
    command("umount", str(host.root / "volume-01"))
    copy_with_new_uuid(host, device)
    Path(host.places.record).unlink()
    outcome = host.provision()
    assert len(outcome.problems) == 2
    assert host.mounted() == {}


def test_a_dropped_file_that_was_moved_aside_keeps_a_volume_from_being_wiped(host: LoopHost) -> None:
    host.new_disk("disk")
    (volume,) = done(host.provision())["volumes"]
    folder = Path(volume["path"], ".snowsync/outgoing/photos")
    folder.mkdir(parents=True)
    (folder / "16").symlink_to("/srv/drop/a")
    (folder / "17.delivered").write_text("what somebody dropped a moment ago", encoding="ascii")
    outcome = host.provision(state="wiped", volumes=("volume-01",))
    assert "17.delivered" in str(outcome.problems[0])
    (folder / "17.delivered").unlink()
    stray = Path(volume["path"], ".snowsync/volume.json.mine")
    stray.write_text("mine", encoding="ascii")
    assert "volume.json.mine" in str(host.provision(state="wiped", volumes=("volume-01",)).problems[0])
    stray.unlink()
    done(host.provision(state="wiped", volumes=("volume-01",)))


def test_a_folder_that_cannot_be_read_keeps_a_volume_from_being_wiped(host: LoopHost, monkeypatch: Any) -> None:
    host.new_disk("disk")
    (volume,) = done(host.provision())["volumes"]
    damaged = Path(volume["path"], "damaged")
    damaged.mkdir()
    scandir = os.scandir

    def failing(path: Any) -> Any:
        if str(path) == str(damaged):
            raise OSError(5, "Input/output error", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    outcome = host.provision(state="wiped", volumes=("volume-01",))
    assert "Input/output error" in str(outcome.problems[0])
    monkeypatch.undo()


def test_what_is_staged_while_a_volume_is_asked_about_is_not_wiped(host: LoopHost, monkeypatch: Any) -> None:
    """A unit that still runs stages an object between the question and the unmount."""
    device = host.new_disk("disk")
    (volume,) = done(host.provision())["volumes"]
    hands = host.backend.Hands
    unmount = hands._unmount

    def late(self: Any, step: Any) -> None:
        Path(volume["path"], "late").write_text("data", encoding="ascii")
        unmount(self, step)

    monkeypatch.setattr(hands, "_unmount", late)
    outcome = host.provision(state="wiped", volumes=("volume-01",))
    assert "including late" in str(outcome.problems[0])
    monkeypatch.undo()
    assert done(host.provision())["volumes"][0]["was"] == "unmounted"
    assert Path(volume["path"], "late").exists()
    assert list(host.mounted().values()) == [device]


def test_check_mode_says_that_a_volume_is_still_needed(host: LoopHost) -> None:
    device = host.new_disk("disk")
    (volume,) = done(host.provision())["volumes"]
    Path(volume["path"], "mine").write_text("data", encoding="ascii")
    outcome = host.provision(check=True, state="wiped", volumes=("volume-01",))
    assert "including mine" in str(outcome.problems[0])
    command("umount", volume["path"])
    before = digest(host.disks[device])
    outcome = host.provision(check=True, state="wiped", volumes=("volume-01",))
    assert "including mine" in str(outcome.problems[0])
    assert digest(host.disks[device]) == before


def test_the_name_of_a_wiped_volume_is_not_given_again(host: LoopHost) -> None:
    """A ledger ties each name to one identity, and refuses another disk of that name for ever."""
    device = host.new_disk("disk")
    done(host.provision())
    done(host.provision(state="wiped", volumes=("volume-01",)))
    (again,) = done(host.provision())["volumes"]
    assert (again["device"], again["name"], again["was"]) == (device, "volume-02", "new")
    assert not done(host.provision(state="wiped", volumes=("volume-01",)))["changed"]
    assert not done(host.provision(count=1))["changed"]


def test_a_volume_that_is_absent_says_so_when_it_comes_back(host: LoopHost) -> None:
    device = host.new_disk("disk")
    done(host.provision())
    done(host.provision(state="absent", volumes=("volume-01",)))
    (back,) = done(host.provision(devices=(device,)))["volumes"]
    assert back["was"] == "absent"


# -- force ----------------------------------------------------------------------------------------------------------


def test_force_never_formats_a_volume_of_this_host_that_the_record_lost(host: LoopHost) -> None:
    device = host.new_disk("disk")
    (volume,) = done(host.provision())["volumes"]
    Path(volume["path"], "precious").write_text("data", encoding="ascii")
    command("umount", volume["path"])
    Path(host.places.record).unlink()
    options = {"devices": (device,), "force": True, "force_signature": volume["filesystem_uuid"]}
    (after,) = done(host.provision(**options))["volumes"]
    assert after["was"] == "adopted"
    assert Path(after["path"], "precious").read_text(encoding="ascii") == "data"


@pytest.mark.parametrize(
    "source", ["UUID={uuid}", 'UUID="{uuid}"', "LABEL=PHOTOS", "{device}", "/dev/disk/by-uuid/{uuid}"]
)
def test_force_leaves_no_host_that_waits_for_a_disk_of_the_past(host: LoopHost, source: str) -> None:
    """fstab would name a filesystem that is no more, and without `nofail` the host would not boot."""
    device = host.new_disk("disk")
    command("mkfs.ext4", "-q", "-L", "PHOTOS", device)
    uuid = command("blkid", "--probe", "--match-tag", "UUID", "--output", "value", device).strip()
    line = source.format(uuid=uuid, device=device)
    with host.fstab.open("a", encoding="ascii") as file:
        file.write(f"{line}\t/data\text4\tdefaults\t0 2")
    before = digest(host.disks[device])
    with pytest.raises(host.backend.VolumeError, match="fstab has it for /data"):
        host.provision(devices=(device,), force=True, force_signature="ext4")
    assert digest(host.disks[device]) == before


def test_force_on_a_disk_whose_partition_is_in_fstab_is_refused(host: LoopHost) -> None:
    path = host.file("disk")
    command("sfdisk", "--quiet", str(path), data="label: gpt\n,100MiB\n,,\n")
    device = host.plug(path)
    part = partition_of(host, device, 2)
    uuid = command("blkid", "--probe", "--match-tag", "PART_ENTRY_UUID", "--output", "value", part).strip()
    host.fstab.write_text(f"PARTUUID={uuid.upper()} none swap sw 0 0\n", encoding="ascii")
    with pytest.raises(host.backend.VolumeError, match="fstab has it for none"):
        host.provision(devices=(device,), force=True, force_signature="gpt")


# -- names ----------------------------------------------------------------------------------------------------------


def test_a_lost_record_renames_no_volume(host: LoopHost) -> None:
    """fstab and marker still say which one is which, and blank disks come first."""
    devices = [host.new_disk(f"disk-{number}") for number in range(3)]
    before = {volume["identity"]: volume["name"] for volume in done(host.provision())["volumes"]}
    for number in (1, 2, 3):
        command("umount", str(host.root / f"volume-0{number}"))
    Path(host.places.record).unlink()
    command("wipefs", "--all", devices[0])
    with open(devices[0], "r+b") as disk:
        disk.write(bytes(MIB))
    after = {volume["identity"]: volume["name"] for volume in done(host.provision())["volumes"]}
    kept = [identity for identity in before if identity in after]
    assert {identity: before[identity] for identity in kept} == {identity: after[identity] for identity in kept}
    assert len(kept) == 2
    assert not done(host.provision())["changed"]


def test_a_lost_record_is_made_good_while_the_volumes_are_in_use(host: LoopHost) -> None:
    for number in range(2):
        host.new_disk(f"disk-{number}")
    before = done(host.provision())["volumes"]
    Path(host.places.record).unlink()
    after = done(host.provision())["volumes"]
    for key in ("name", "identity", "device", "path", "filesystem_uuid"):
        assert [volume[key] for volume in before] == [volume[key] for volume in after]
    assert len(host.mounted()) == 2
    assert not done(host.provision())["changed"]


def test_adopted_volumes_keep_those_of_their_names_that_are_free(host: LoopHost) -> None:
    host.new_disk("own")
    done(host.provision())
    other = LoopHost(host.folder.parent, host.backend, "edge2")
    for number in range(2):
        other.new_disk(f"foreign-{number}")
    names = {volume["identity"]: volume["name"] for volume in done(other.provision())["volumes"]}
    files = list(other.disks.values())
    other.power_off()
    devices = tuple(host.plug(path) for path in files)
    adopted = done(host.provision(devices=devices, adopt_foreign=True))["volumes"]
    assert {volume["name"] for volume in adopted} == {"volume-02", "volume-03"}
    assert [volume["name"] for volume in adopted if names[volume["identity"]] == "volume-02"] == ["volume-02"]


def test_adopted_volumes_count(host: LoopHost) -> None:
    for name in ("first", "second"):
        host.new_disk(name)
    done(host.provision())
    for number in (1, 2):
        command("umount", str(host.root / f"volume-0{number}"))
    Path(host.places.record).unlink()
    blank = host.new_disk("blank")
    assert "`count` asks for 2" in reasons(done(host.provision(count=2)))[blank]


def test_a_disk_and_its_partition_are_not_two_volumes(host: LoopHost) -> None:
    device = host.new_disk("disk")
    done(host.provision(partition=True))
    command("umount", str(host.root / "volume-01"))
    Path(host.places.record).unlink()
    with pytest.raises(host.backend.VolumeError, match="is part of"):
        host.provision(devices=(device, f"{device}p1"))
    assert not Path(host.places.record).exists()


def test_two_ways_to_one_disk_are_not_two_volumes(host: LoopHost) -> None:
    """A disk on two cables, and nobody has set multipath up: the kernel shows two disks of one WWN."""
    first = host.new_disk("disk")
    second = host.plug(host.disks[first])

    def two_ways(argv: Any, data: str | None = None) -> tuple[int, str, str]:
        code, printed, error = run(argv, data)
        if argv[0] == "lsblk" and "NAME,PATH,TYPE,SIZE,RO,SERIAL,WWN,MAJ:MIN" in argv:
            found = json.loads(printed)
            for row in found["blockdevices"]:
                if row["path"] in (first, second):
                    row.update(wwn="0x5000c500a1b2c3d4", serial="S1")
            printed = json.dumps(found)
        return code, printed, error

    def provision(**options: Any) -> Any:
        return host.backend.provision(
            two_ways, host.wish(**options), check=False, command=host.engine, places=host.places
        )

    result = done(provision())
    assert result["volumes"] == []
    assert set(reasons(result)) == {first, second}
    assert f"{second} may be the same disk" in reasons(result)[first]
    with pytest.raises(host.backend.VolumeError, match="may be the same disk"):
        provision(devices=(first,))
    host.disks.pop(second)
    command("losetup", "--detach", second)


# -- partitions that are not the first ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2])
def test_no_other_partition_is_touched_when_a_volume_lies_on_one(host: LoopHost, tmp_path: Path, number: int) -> None:
    path = host.file("disk", 900)
    command("sfdisk", "--quiet", str(path), data="label: gpt\n,200MiB\nstart=300MiB,size=200MiB\n")
    device = host.plug(path)
    mine, theirs = (partition_of(host, device, each) for each in (number, 3 - number))
    command("mkfs.ext4", "-q", theirs)
    put_files(theirs, tmp_path / "mnt", "precious")
    table = command("sfdisk", "--dump", device)
    result = done(host.provision(devices=(mine,)))
    assert [volume["device"] for volume in result["volumes"]] == [mine]
    again = done(host.provision(devices=(mine,)))
    assert (again["changed"], again["steps"]) == (False, [])
    assert not done(host.provision())["changed"]
    assert command("sfdisk", "--dump", device) == table
    command("e2fsck", "-f", "-n", theirs)


def test_a_single_partition_that_is_not_number_one_grows(host: LoopHost) -> None:
    path = host.file("disk", 900)
    command("sfdisk", "--quiet", str(path), data="label: gpt\n,1MiB\nstart=10MiB,size=400MiB\n")
    command("sfdisk", "--quiet", "--delete", str(path), "1")
    device = host.plug(path)
    part = partition_of(host, device, 2)
    (volume,) = done(host.provision(devices=(part,), filesystem="xfs"))["volumes"]
    before = os.statvfs(volume["path"])
    result = done(host.provision(devices=(part,)))
    assert f"grow the partition {part}" in result["steps"]
    assert os.statvfs(volume["path"]).f_blocks > before.f_blocks
    assert not done(host.provision(devices=(part,)))["changed"]


# -- paths, owners and fstab ----------------------------------------------------------------------------------------


def test_a_mount_root_behind_a_link_with_spaces(host: LoopHost) -> None:
    (host.folder / "big disk").mkdir()
    host.root.symlink_to(host.folder / "big disk")
    host.new_disk("disk")
    done(host.provision())
    assert (host.folder / "big disk/volume-01/.snowsync/volume.json").exists()
    try:
        again = done(host.provision())
        assert (again["changed"], again["steps"]) == (False, [])
        assert not [*host.provision().warnings()]
        done(host.provision(state="absent", volumes=("volume-01",)))
        assert not os.path.ismount(host.folder / "big disk/volume-01")
    finally:
        run(["umount", str(host.folder / "big disk/volume-01")])


def test_a_folder_of_a_volume_may_be_shown_elsewhere_too(host: LoopHost, tmp_path: Path) -> None:
    """As for people who drop files by FTP and see nothing else."""
    host.new_disk("disk")
    (volume,) = done(host.provision())["volumes"]
    Path(volume["path"], "drop").mkdir()
    (tmp_path / "ftp").mkdir()
    command("mount", "--bind", f"{volume['path']}/drop", str(tmp_path / "ftp"))
    try:
        again = done(host.provision())
        assert (again["changed"], again["steps"]) == (False, [])
    finally:
        command("umount", str(tmp_path / "ftp"))


def test_an_owner_may_be_a_number(host: LoopHost) -> None:
    host.new_disk("disk")
    done(host.provision(owner="0", group="0"))
    again = done(host.provision(owner="0", group="0"))
    assert (again["changed"], again["steps"]) == (False, [])
    done(host.provision(owner="12345", group="12345"))
    assert not done(host.provision(owner="12345", group="12345"))["changed"]


def test_an_owner_that_is_not_there_is_told_before_anything_is_formatted(host: LoopHost) -> None:
    device = host.new_disk("disk")
    before = digest(host.disks[device])
    with pytest.raises(host.backend.VolumeError, match="there is no such user or group"):
        host.provision(owner="nobody-of-this-name")
    assert digest(host.disks[device]) == before


def test_a_missing_mkfs_is_told_before_anything_is_lost(host: LoopHost) -> None:
    device = host.new_disk("disk")
    command("mkfs.ext4", "-q", device)
    before = digest(host.disks[device])

    def without(argv: Any, data: str | None = None) -> tuple[int, str, str]:
        if argv[0] == "mkfs.xfs":
            raise host.backend.VolumeError("run", argv[0], "this command is not installed")
        return run(argv, data)

    wish = host.wish(devices=(device,), force=True, force_signature="ext4", filesystem="xfs")
    with pytest.raises(host.backend.VolumeError, match=r"mkfs\.xfs"):
        host.backend.provision(without, wish, check=False, command=host.engine, places=host.places)
    assert digest(host.disks[device]) == before


def test_nobody_leads_root_away_from_a_volume(host: LoopHost, tmp_path: Path) -> None:
    """The folders belong to the engine's user: what he links to must not change hands."""
    host.new_disk("disk")
    (volume,) = done(host.provision())["volumes"]
    secret = tmp_path / "shadow"
    secret.write_text("root", encoding="ascii")
    secret.chmod(0o600)
    marker = Path(volume["path"], ".snowsync/volume.json")
    text = marker.read_text(encoding="utf-8")
    marker.unlink()
    marker.symlink_to(secret)
    Path(volume["path"]).chmod(0o700)
    host.provision(owner="12345", group="12345")
    assert (secret.stat().st_uid, secret.stat().st_mode & 0o777) == (0, 0o600)
    marker.unlink()
    marker.write_text(text, encoding="utf-8")
    folder = tmp_path / "etc"
    folder.mkdir(mode=0o755)
    own = Path(volume["path"], ".snowsync")
    own.rename(Path(volume["path"], "moved"))
    own.symlink_to(folder)
    host.provision(owner="12345", group="12345")
    assert (folder.stat().st_uid, folder.stat().st_mode & 0o777, list(folder.iterdir())) == (0, 0o755, [])


@pytest.mark.parametrize("is_mounted", [True, False])
def test_a_damaged_marker_leaves_a_way_forward(host: LoopHost, is_mounted: bool) -> None:
    host.new_disk("disk")
    (volume,) = done(host.provision())["volumes"]
    marker = Path(volume["path"], ".snowsync/volume.json")
    marker.write_text("", encoding="ascii")
    if not is_mounted:
        command("umount", volume["path"])
    problem = str(host.provision().problems[0])
    assert f"{marker}" in problem
    assert "Remove that file" in problem
    marker.unlink()
    done(host.provision())
    assert marker_of(host, "volume-01")["uuid"] == volume["identity"]
    assert not done(host.provision())["changed"]


def test_fstab_keeps_its_bytes_and_its_place(host: LoopHost) -> None:
    real = host.folder / "fstab.real"
    text = b"# caf\xe9\r\nLABEL=x\t/mnt/x\text4\tnoauto\t0 0\r\nproc /proc proc defaults 0 0"
    real.write_bytes(text)
    host.fstab.unlink()
    host.fstab.symlink_to(real)
    host.new_disk("disk")
    done(host.provision())
    assert host.fstab.is_symlink()
    assert real.read_bytes().startswith(text + b"\nUUID=")
    assert not done(host.provision())["changed"]
    done(host.provision(state="absent", volumes=("volume-01",)))
    assert real.read_bytes() == text + b"\n"


def test_absent_leaves_a_line_of_somebody_else(host: LoopHost) -> None:
    host.new_disk("disk")
    (volume,) = done(host.provision())["volumes"]
    command("umount", volume["path"])
    line = f"nas:/export {volume['path']} nfs defaults,noauto 0 0\n"
    host.fstab.write_text(line, encoding="ascii")
    done(host.provision(state="absent", volumes=("volume-01",)))
    assert host.fstab.read_text(encoding="ascii") == line


# -- odd disks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("filesystem", "partition"), LESS_KINDS)
def test_disks_with_large_sectors(host: LoopHost, filesystem: str, partition: bool) -> None:
    device = host.plug(host.file("disk", 400), "--sector-size", "4096")
    options = {"filesystem": filesystem, "partition": partition}
    (volume,) = done(host.provision(**options))["volumes"]
    Path(volume["path"], "precious").write_text("data", encoding="ascii")
    assert not done(host.provision(**options))["changed"]
    command("umount", volume["path"])
    os.truncate(host.disks[device], 900 * MIB)
    command("losetup", "--set-capacity", device)
    result = done(host.provision(**options))
    assert "grow the filesystem of volume-01" in result["steps"]
    assert Path(volume["path"], "precious").read_text(encoding="ascii") == "data"
    assert not done(host.provision(**options))["changed"]
    Path(volume["path"], "precious").unlink()
    done(host.provision(state="wiped", volumes=("volume-01",)))
    assert [each["was"] for each in done(host.provision(**options))["volumes"]] == ["new"]


@pytest.mark.parametrize(("filesystem", "partition"), [("xfs", True), ("ext4", True)])
def test_disks_of_three_tebibytes(host: LoopHost, filesystem: str, partition: bool) -> None:
    host.new_disk("disk", 3 * 1024 * 1024)
    options = {"filesystem": filesystem, "partition": partition}
    (volume,) = done(host.provision(**options))["volumes"]
    found = os.statvfs(volume["path"])
    assert found.f_blocks * found.f_frsize > 2.9 * 1024**4
    assert not done(host.provision(**options))["changed"]


# -- disks that come and go while a run is on its way ---------------------------------------------------------------


def test_another_disk_by_the_name_of_a_blank_one_is_not_formatted(host: LoopHost, monkeypatch: Any) -> None:
    """Between the look and the act the disk is pulled, and one with raw data gets its name."""
    device, other = host.new_disk("disk"), host.file("other")
    with other.open("r+b") as file:
        file.write(b"raw data")
    before = digest(other)
    hands = host.backend.Hands
    record = hands._record

    def swapped(self: Any, step: Any) -> None:
        if other not in host.disks.values():
            host.unplug(device)
            while run(["losetup", device, str(other)])[0]:
                time.sleep(0.1)  # a test beside this one has got that number, for a while
            host.disks[device] = other
        record(self, step)

    monkeypatch.setattr(hands, "_record", swapped)
    outcome = host.provision()
    assert "another disk has this name now" in str(outcome.problems[0])
    assert digest(other) == before


def test_a_disk_that_is_pulled_before_it_is_formatted_fails_alone(host: LoopHost, monkeypatch: Any) -> None:
    device, other = host.new_disk("disk"), host.new_disk("other")
    hands = host.backend.Hands
    record = hands._record

    def pulled(self: Any, step: Any) -> None:
        if device in host.disks:
            host.unplug(device)
        record(self, step)

    monkeypatch.setattr(hands, "_record", pulled)
    outcome = host.provision()
    assert len(outcome.problems) == 1
    assert list(host.mounted().values()) == [other]


# -- clones ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_a_clone_stops_its_volume_alone_and_can_be_given_up(host: LoopHost, filesystem: str) -> None:
    device, _second = host.new_disk("disk"), host.new_disk("second")
    (volume, _other) = done(host.provision(filesystem=filesystem))["volumes"]
    Path(volume["path"], "precious").write_text("data", encoding="ascii")
    command("umount", volume["path"])
    copy = host.file("copy")
    command("cp", "--sparse=always", str(host.disks[device]), str(copy))
    clone, blank = host.plug(copy), host.new_disk("blank")
    options = {"force": True, "force_signature": volume["filesystem_uuid"], "filesystem": filesystem}
    for named in (device, clone):
        with pytest.raises(host.backend.VolumeError, match="both hold it; one must be a copy"):
            host.provision(devices=(named,), **options)
    with pytest.raises(host.backend.VolumeError, match="both hold it; one must be a copy"):
        host.provision(state="wiped", volumes=("volume-01",))
    outcome = host.provision(filesystem=filesystem)
    assert len(outcome.problems) == 1
    assert blank in host.mounted().values()
    assert not {device, clone} & set(host.mounted().values())

    command("mount", device, volume["path"])
    with pytest.raises(host.backend.VolumeError, match="both hold it; one must be a copy"):
        host.provision(devices=(device,), **options)
    (made,) = done(host.provision(devices=(clone,), **options))["volumes"]
    assert (made["device"], made["was"], made["name"]) == (clone, "new", "volume-04")
    assert Path(volume["path"], "precious").read_text(encoding="ascii") == "data"
    assert not done(host.provision())["changed"]


# -- check mode tells the truth -------------------------------------------------------------------------------------


def without_new_uuids(value: Any) -> str:
    return re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}|TO-BE-MADE", "UUID", json.dumps(value))


@pytest.mark.parametrize(("filesystem", "partition"), LESS_KINDS)
def test_check_mode_says_what_is_done_through_a_whole_life(host: LoopHost, filesystem: str, partition: bool) -> None:
    def both(**options: Any) -> dict[str, Any]:
        options = {"filesystem": filesystem, "partition": partition, **options}
        said, result = done(host.provision(check=True, **options)), done(host.provision(**options))
        assert without_new_uuids(said) == without_new_uuids(result)
        assert not done(host.provision(**options))["changed"]
        return result

    device, other = host.new_disk("disk"), host.new_disk("other")
    both()
    both(owner="12345")
    both(mount_options=("noatime", "discard"))
    both(mount_root=str(host.folder / "elsewhere"))
    both()
    command("umount", str(host.root / "volume-01"))
    both()
    both(state="absent", volumes=("volume-01",))
    both(devices=(device,))
    both(state="absent", devices=(other,))
    both(state="wiped", devices=(other,))
    assert [volume["name"] for volume in both()["volumes"]] == ["volume-01", "volume-03"]
    command("umount", str(host.root / "volume-01"))
    path = host.unplug(device)
    both()
    both(state="absent", volumes=("volume-01",))
    device = host.plug(path)
    assert "taken out of use" in reasons(both())[device]
    both(devices=(device,))
    (host.folder / "machine-id").write_text("another\n", encoding="ascii")
    both()
    assert marker_of(host, "volume-01")["name"] == "volume-01"
