# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tools and the kernel print, read."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from run_module import backend

# `wipefs --no-act --json` and `blkid --probe --output export` of util-linux 2.38.1.
WIPEFS_GPT = """{"signatures": [
  {"device": "loop1", "offset": "0x200", "type": "gpt", "uuid": "11111111-2222-4333-8444-555555555555", "label": null},
  {"device": "loop1", "offset": "0x13fffe00", "type": "gpt",
   "uuid": "11111111-2222-4333-8444-555555555555", "label": null},
  {"device": "loop1", "offset": "0x1fe", "type": "PMBR", "uuid": null, "label": null}]}"""
BLKID_PARTITION = "PART_ENTRY_SCHEME=gpt\nPART_ENTRY_UUID=2111\nPART_ENTRY_NUMBER=1\n"
MOUNTINFO = r"""29 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
40 29 7:0 / /mnt/my\040disk rw,noatime shared:20 - ext4 /dev/loop0 rw
41 29 7:0 /sub /mnt/bind rw,noatime shared:20 - ext4 /dev/loop0 rw
42 29 0:52 / /proc rw - proc proc rw
"""
SWAPS = (
    "Filename\t\t\t\tType\t\tSize\tUsed\tPriority\n/dev/sda3  partition\t1048572\t0\t-2\n/swap\\040file file 10 0 -3\n"
)
XFS_INFO = """meta-data=/dev/loop0             isize=512    agcount=4, agsize=25600 blks
         =                       sectsz=512   attr=2, projid32bit=1
data     =                       bsize=4096   blocks=102400, imaxpct=25
         =                       sunit=0      swidth=0 blks
log      =internal log           bsize=4096   blocks=16384, version=2
realtime =none                   extsz=4096   blocks=0, rtextents=0
"""


@pytest.fixture(scope="module")
def look() -> Any:
    return backend("_volume.look")


def test_signatures_are_told_once(look: Any) -> None:
    found = look.signatures_of(WIPEFS_GPT)
    assert [(one.kind, one.uuid[:8]) for one in found] == [("gpt", "11111111"), ("PMBR", "")]
    assert look.signatures_of("") == look.signatures_of('{"signatures": []}') == []


def test_an_answer_that_cannot_be_read_is_no_blank_disk(look: Any) -> None:
    assert [one.kind for one in look.signatures_of("wipefs: what?")] == ["unreadable"]
    assert [one.kind for one in look.signatures_of('{"other": []}')] == ["unreadable"]


def test_blkid_alone_may_know_something(look: Any) -> None:
    assert look.blkid_signature("TYPE=nilfs2\nUUID=12\nLABEL=x\n").kind == "nilfs2"
    assert look.blkid_signature("PTTYPE=atari\nPTUUID=12\n").uuid == "12"
    assert look.blkid_signature(BLKID_PARTITION) is None


def test_mounts_by_device_number(look: Any) -> None:
    found = look.mounts_of(MOUNTINFO)
    assert found["7:0"] == ["/mnt/my disk", "/mnt/bind"]
    assert found["254:0"] == ["/"]


def test_swaps(look: Any) -> None:
    assert look.swaps_of(SWAPS) == ["/dev/sda3", "/swap file"]


def test_the_size_of_a_mounted_xfs(look: Any) -> None:
    assert look.xfs_size(XFS_INFO) == 4096 * 102_400
    assert look.xfs_size("xfs_info: cannot open\n") == 0


@pytest.mark.parametrize(("kind", "mib"), [("ext4", 70), ("xfs", 320)])
def test_sizes_in_superblocks_are_those_of_the_tools(look: Any, tmp_path: Path, kind: str, mib: int) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(mib << 20)
    subprocess.run([f"mkfs.{kind}", "-q", str(image)], check=True)
    with image.open("rb") as file:
        assert look.superblock_size(file.read(4096), kind) == mib << 20
    assert look.superblock_size(bytes(4096), kind) == 0


def test_the_machine_id_stays_secret(look: Any, tmp_path: Path) -> None:
    """machine-id(5): it must not be exposed; what stands for it must not lead back."""
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n", encoding="ascii")
    host = look.host_id(look.Places(machine_id=str(tmp_path / "machine-id")))
    assert len(host) == 32
    assert "0123456789" not in host
    (tmp_path / "machine-id").write_text("", encoding="ascii")
    with pytest.raises(Exception, match="systemd-machine-id-setup"):
        look.host_id(look.Places(machine_id=str(tmp_path / "machine-id")))


@pytest.mark.parametrize("text", ["{", "[]", '{"volumes": [{"name": "x"}]}', '{"volumes": 3}'])
def test_a_damaged_record_is_an_error(look: Any, tmp_path: Path, text: str) -> None:
    (tmp_path / "volumes.json").write_text(text, encoding="ascii")
    with pytest.raises(Exception, match="it is damaged"):
        look.read_record(str(tmp_path / "volumes.json"))


def test_tools_that_fail_make_no_disk_blank(look: Any) -> None:
    """A look in which wipefs fails for a disk says so of that disk."""
    disk = {"name": "sdx", "path": "/dev/sdx", "type": "disk", "size": 1 << 40, "ro": False, "maj:min": "8:240"}
    answers = {
        "lsblk": (0, json.dumps({"blockdevices": [{**disk, "serial": " S1 ", "wwn": None}]}), ""),
        "wipefs": (1, "", "wipefs: error: /dev/sdx: probing initialization failed: Input/output error\n"),
        "blkid": (2, "", ""),
    }
    wish = backend("_volume.model").Wish()
    machine = look.look(lambda argv, data=None: answers[argv[0]], wish, look.Places("/x", "/x", "/etc/hostname"))
    (device,) = machine.disks
    assert [signature.kind for signature in device.signatures] == ["unreadable"]
    assert device.names == ("/dev/sdx", "S1")


def test_a_record_that_is_empty_or_odd_is_damaged(look: Any, tmp_path: Path) -> None:
    """Only where there is none at all, a host has no volumes: else it would give their names to other disks."""
    record = tmp_path / "volumes.json"
    assert look.read_record(str(record)) == ()
    entry = {
        "name": "volume-01",
        "path": "/x",
        "identity": "i",
        "filesystem_uuid": "f",
        "filesystem": "ext4",
        "disk": "d",
    }
    for text in ("", '{"volumes": null}', json.dumps({"volumes": [{**entry, "path": 3}]})):
        record.write_text(text, encoding="ascii")
        with pytest.raises(Exception, match="it is damaged"):
            look.read_record(str(record))
    record.write_text(json.dumps({"version": 1, "volumes": [{**entry, "partition_uuid": None}]}), encoding="ascii")
    assert [volume.partition_uuid for volume in look.read_record(str(record))] == [""]


def test_a_record_of_a_newer_version_is_not_called_damaged(look: Any, tmp_path: Path) -> None:
    (tmp_path / "volumes.json").write_text('{"version": 2, "volumes": [{"new": 1}]}', encoding="ascii")
    with pytest.raises(Exception, match=r"it has version 2\. Use the version of edgeops\.snowsync that wrote it"):
        look.read_record(str(tmp_path / "volumes.json"))


def test_a_mount_of_the_whole_filesystem_counts_before_one_of_a_part(look: Any) -> None:
    lines = "41 29 7:0 /sub /mnt/bind rw - ext4 /dev/loop0 rw\n40 29 7:0 / /mnt/disk rw - ext4 /dev/loop0 rw\n"
    assert look.mounts_of(lines)["7:0"] == ["/mnt/disk", "/mnt/bind"]


def test_a_filesystem_whose_disk_is_gone_is_told(look: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk was pulled while it was mounted: its mount point answers with errors, and lsblk does not know it."""
    gone, here = tmp_path / "volume-01", tmp_path / "volume-02"
    gone.mkdir()
    here.mkdir()
    mounts = f"40 29 8:16 / {gone} rw - ext4 /dev/sdb rw\n41 29 8:32 / {here} rw - xfs /dev/sdc rw\n"
    texts = {"/proc/self/mountinfo": mounts, "/proc/swaps": "", "/etc/hostname": "edge1"}
    monkeypatch.setattr(look, "read_text", lambda path: texts.get(path, ""))
    listdir = os.listdir

    def failing(path: Any) -> Any:
        if str(path) == str(gone):
            raise OSError(5, "Input/output error", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", failing)
    disk = {"name": "sdc", "path": "/dev/sdc", "type": "disk", "size": 1 << 40, "ro": False, "maj:min": "8:32"}
    answers = {"lsblk": (0, json.dumps({"blockdevices": [{**disk, "serial": None, "wwn": None}]}), "")}
    wish = backend("_volume.model").Wish(mount_root=str(tmp_path))
    machine = look.look(
        lambda argv, data=None: answers.get(argv[0], (1, "", "")), wish, look.Places("/x", "/x", "/etc/hostname")
    )
    assert machine.stale == (str(gone),)
    assert machine.folders == ("volume-01",)


def test_a_marker_behind_a_link_is_no_marker(look: Any, tmp_path: Path) -> None:
    """A volume's folders belong to the engine's user, who may link to what only root may read, or to a pipe."""
    (tmp_path / "volume/.snowsync").mkdir(parents=True)
    os.mkfifo(tmp_path / "volume/.snowsync/volume.json")
    assert look.marker_at(str(tmp_path / "volume"))["uuid"] == "unreadable"
    (tmp_path / "other").mkdir()
    (tmp_path / "other/.snowsync").symlink_to("/etc")
    assert look.marker_at(str(tmp_path / "other"))["uuid"] == "unreadable"
    assert look.marker_at(str(tmp_path / "other"), may_be_damaged=True) is None


def test_a_disk_that_fails_while_it_is_mounted_is_told_and_stops_nothing(
    look: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Any, **options: Any) -> Any:
        raise OSError(5, "Input/output error", str(path))

    (tmp_path / ".snowsync").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", failing)
        assert look.owner_of(str(tmp_path), "snowsync", "snowsync") is None
    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", failing)
        assert "Input/output error" in look.marker_at(str(tmp_path))["trouble"]
    (tmp_path / ".snowsync/volume.json").write_text("{", encoding="ascii")
    assert "trouble" not in look.marker_at(str(tmp_path)), "that is a damaged marker on a good disk"
