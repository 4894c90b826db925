# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""volume_provision cut off after any step, and the end of a volume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from integration.loop_host import LESS_KINDS, MIB, LoopHost, command, digest, done, marker_of, reasons, run, until
from thorough import THOROUGH


@pytest.mark.parametrize(("filesystem", "partition"), LESS_KINDS)
def test_a_power_cut_after_any_step_formats_nothing_twice(
    tmp_path: Path, volume: Any, filesystem: str, partition: bool
) -> None:
    """Every step of each filesystem and of a partition; SNOWSYNC_THOROUGH has all four combinations."""
    options = {"filesystem": filesystem, "partition": partition}
    steps = 0
    while True:
        folder = tmp_path / str(steps)
        folder.mkdir()
        host = LoopHost(folder, volume)
        try:
            host.new_disk("disk")
            first = until(host, steps, **options)
            result = done(host.provision(**options))
            formats = [step for step in first + result["steps"] if step.startswith("format ")]
            assert len(formats) == 1, (steps, first, result["steps"])
            (made,) = result["volumes"]
            assert (made["name"], made["state"]) == ("volume-01", "ready")
            assert marker_of(host, "volume-01")["uuid"] == made["identity"]
            assert json.loads(Path(host.places.record).read_text(encoding="utf-8"))["volumes"][0]["state"] == "ready"
            assert not done(host.provision(**options))["changed"]
        finally:
            host.power_off()
        if len(first) < steps:
            break
        steps += 1
    assert steps > 7, "every step was cut off once"


@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_a_format_that_was_cut_off_in_the_middle_is_made_good(host: LoopHost, filesystem: str) -> None:
    """The superblock of the UUID in the record is there, what it points at is not."""
    path = host.disks[host.new_disk("disk")]
    done_steps = until(host, 2, filesystem=filesystem)
    assert done_steps[-1].startswith("format ")
    with path.open("r+b") as file:
        for offset in range(MIB // 16, 300 * MIB, MIB):
            file.seek(offset)
            file.write(bytes(MIB // 2))
    result = done(host.provision(filesystem=filesystem))
    assert result["volumes"][0]["was"] == "formatting"
    assert result["volumes"][0]["state"] == "ready"
    command("umount", result["volumes"][0]["path"])
    command(*(["e2fsck", "-f", "-n"] if filesystem == "ext4" else ["xfs_repair", "-n"]), result["volumes"][0]["device"])


def test_absent_takes_a_volume_out_of_use_and_leaves_its_data(host: LoopHost) -> None:
    device, other = host.new_disk("disk"), host.new_disk("other")
    done(host.provision())
    precious = host.root / "volume-01" / "precious"
    precious.write_text("data", encoding="ascii")
    held = precious.open(encoding="ascii")
    outcome = host.provision(state="absent", volumes=("volume-01",))
    assert "If it is in use, stop the units of its jobs" in str(outcome.problems[0])
    held.close()

    assert done(host.provision(state="absent", volumes=("volume-01",)))["changed"]
    assert list(host.mounted().values()) == [other]
    assert "volume-01" not in host.fstab.read_text(encoding="utf-8")
    assert not done(host.provision(state="absent", volumes=("volume-01", "volume-09")))["changed"]
    result = done(host.provision())
    assert not result["changed"]
    assert reasons(result)[device] == "it is volume-01, taken out of use; name it in `devices` to bring it back"

    (volume,) = done(host.provision(devices=(device,)))["volumes"]
    assert (volume["name"], precious.read_text(encoding="ascii")) == ("volume-01", "data")
    assert not done(host.provision())["changed"]


def test_a_volume_that_holds_anything_is_not_wiped(host: LoopHost, tmp_path: Path) -> None:
    device = host.new_disk("disk")
    (volume,) = done(host.provision())["volumes"]
    folder = Path(volume["path"])
    (folder / ".snowsync/incoming/photos").mkdir(parents=True)
    (folder / ".snowsync/incoming/photos/17").write_bytes(b"left by a mover that was killed")
    (folder / ".snowsync/ledgers").mkdir()
    (folder / ".snowsync/ledgers/photos.json").write_text('{"ledger": "of a job that has nothing here"}')
    staged = folder / ".snowsync/staged/photos/a"
    staged.parent.mkdir(parents=True)
    staged.write_bytes(b"object")
    outcome = host.provision(state="wiped", volumes=("volume-01",))
    assert "it holds 1 file, including .snowsync/staged/photos/a" in str(outcome.problems[0])
    staged.unlink()
    (folder / "mine.txt").write_bytes(b"not of snowsync")
    assert "including mine.txt" in str(host.provision(state="wiped", devices=(device,)).problems[0])
    (folder / "mine.txt").unlink()

    ledger = {
        "job": "photos",
        "volumes": [{"identity": volume["identity"], "staged_objects": 3, "undelivered_objects": 3}],
    }
    engine = tmp_path / "snowsync"
    engine.write_text(f"#!/bin/sh\n[ \"$*\" = 'volumes --json' ] && echo '{json.dumps([ledger])}'\n", encoding="ascii")
    engine.chmod(0o755)
    wish = host.wish(state="wiped", volumes=("volume-01",))
    outcome = host.backend.provision(run, wish, check=False, command=str(engine), places=host.places)
    assert "it holds 3 objects of job photos" in str(outcome.problems[0])
    assert host.mounted() == {volume["path"]: device}

    ledger = Path(host.places.ledgers) / "photos" / "ledger.db"
    ledger.parent.mkdir(parents=True)
    ledger.touch()
    outcome = host.provision(state="wiped", volumes=("volume-01",))
    assert not outcome.done and "there are ledgers below" in str(outcome.problems[0]), "and no command to query them"
    ledger.unlink()
    result = done(host.provision(state="wiped", volumes=("volume-01",)))
    assert result["changed"]
    assert result["volumes"][0]["state"] == "wiped"
    assert host.mounted() == {}
    assert not done(host.provision(state="wiped", volumes=("volume-01",)))["changed"]
    (again,) = done(host.provision())["volumes"]
    assert (again["was"], again["name"]) == ("new", "volume-02")
    assert again["identity"] != volume["identity"]


@pytest.mark.parametrize("partition", [False, True] if THOROUGH else [True])  # which takes one step more
def test_a_wipe_that_was_cut_off_is_gone_on_with(tmp_path: Path, volume: Any, partition: bool) -> None:
    for steps in range(9):
        folder = tmp_path / str(steps)
        folder.mkdir()
        host = LoopHost(folder, volume)
        try:
            host.new_disk("disk")
            done(host.provision(partition=partition))
            until(host, steps, state="wiped", volumes=("volume-01",))
            is_new = any(volume["was"] == "new" for volume in done(host.provision(check=True))["volumes"])
            assert is_new == (steps >= 6 + partition), "a disk is blank when all of it is wiped, and not before"
            done(host.provision(state="wiped", volumes=("volume-01",)))
            (known,) = json.loads(Path(host.places.record).read_text(encoding="utf-8"))["volumes"]
            assert (known["name"], known["state"]) == ("volume-01", "wiped")
            device = list(host.disks)[0]
            (again,) = done(host.provision(devices=(device,)))["volumes"]
            assert (again["was"], again["state"]) == ("new", "ready")
        finally:
            host.power_off()


def test_a_strangers_disk_is_never_wiped(host: LoopHost) -> None:
    device = host.new_disk("disk")
    command("mkfs.ext4", "-q", device)
    before = digest(host.disks[device])
    for state in ("wiped", "absent"):
        with pytest.raises(host.backend.VolumeError, match="it is not a volume of this host: it has a signature"):
            host.provision(state=state, devices=(device,))
    assert digest(host.disks[device]) == before
