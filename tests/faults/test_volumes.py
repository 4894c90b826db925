# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real filesystems on disks that fail, turn read-only and lose power: nothing staged is lost, or left behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from disks import Rack, evict, make_filesystem, mount, unmount
from faults.forks import ForkedPython
from faults.rig import DESTINATION, SOURCE, Rig, kill_group, wait_until

COUNT = 12
MIB = 1 << 20


class Mounted:
    """The rig on fragile disks: two volumes, and the state on a third, all behind one power supply."""

    def __init__(self, rig: Rig, rack: Rack) -> None:
        self.rig, self.rack = rig, rack
        self.places = {
            "volume-01": rig.folder / "volume-01",
            "volume-02": rig.folder / "volume-02",
            "state": rig.folder / "state",
        }
        for volume in rig.config["volumes"]:
            volume["require_mount"] = True
        rig.config["space"] = {"reserve": "1MiB"}
        rig.config["group"] = {"seconds": 0.2}

    def mount(self) -> None:
        for name, path in self.places.items():
            mount(self.rack[name].device, path)

    def unmount(self) -> None:
        for path in self.places.values():
            unmount(path)

    def cut_power(self, process: subprocess.Popen[str], **how: Any) -> None:
        """Everything at once, then a boot."""
        self.rack.cut_power(**how)
        kill_group(process)
        self.unmount()
        self.rack.switch_on()
        self.mount()


@pytest.fixture
def mounted(rig: Rig, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Mounted]:
    """With the filesystem that the test is parametrized with."""
    size = {"ext4": 32 * MIB, "xfs": 300 * MIB}[request.param]
    with Rack(tmp_path / "rack", {"volume-01": size, "volume-02": size, "state": 32 * MIB}) as rack:
        found = Mounted(rig, rack)
        for name in ("volume-01", "volume-02"):
            make_filesystem(rack[name].device, request.param)
        make_filesystem(rack["state"].device, "ext4")
        try:
            found.mount()
            yield found
        finally:
            found.unmount()


def stage(rig: Rig, count: int = COUNT) -> list[Path]:
    """Objects on both volumes; returns the files on the first."""
    for number in range(count):
        rig.source.put(SOURCE, f"object-{number:02}", os.urandom(100_000 + number))
    result = rig.snowsync("run", "JOB", "--direction", "source", "--until-drained")
    assert result.returncode == 0, result.stderr
    found = staged(rig.volumes[0])
    assert 0 < len(found) < count
    return found


def staged(volume: Path) -> list[Path]:
    return sorted(path for path in (volume / ".snowsync/staged/rig").rglob("*") if path.is_file())


def drains(rig: Rig, fetched_again: int = 0) -> None:
    """Everything arrives, nothing is left, and no more was fetched again than had to be."""
    before = rig.source.count("GetObject")
    code, _summary, errors = rig.run()
    assert code == 0, errors
    assert rig.source.count("GetObject") - before <= fetched_again
    rig.assert_delivered()
    assert rig.files_left() == []


def state(rig: Rig, name: str = "volume-01") -> str:
    document = json.loads(rig.snowsync("volumes", "JOB", "--json").stdout)
    (found,) = [volume["state"] for volume in document["volumes"] if volume["name"] == name]
    return str(found)


# -- a disk that fails --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mounted", ["ext4", "xfs"], indirect=True)
def test_what_cannot_be_read_is_fetched_again_elsewhere(mounted: Mounted) -> None:
    rig, disk = mounted.rig, mounted.rack["volume-01"]
    lost = stage(rig)
    evict(rig.volumes[0])
    disk.fail(reads=True, writes=True)
    process = rig.start("--forever")
    try:
        wait_until(lambda: len(rig.destination.list(DESTINATION)) == COUNT, "the delivery of everything", 240)
        rig.assert_delivered()
        assert state(rig) in ("failed", "read-only")
    finally:
        kill_group(process)
    assert rig.source.count("GetObject") <= COUNT + len(lost)
    unmount(rig.volumes[0])
    disk.heal()
    mount(disk.device, rig.volumes[0])
    drains(rig)
    assert state(rig) == "in use"


@pytest.mark.parametrize("mounted", ["ext4"], indirect=True)
def test_one_bad_spot_costs_one_object(mounted: Mounted) -> None:
    rig, disk = mounted.rig, mounted.rack["volume-01"]
    bad = stage(rig)[0].read_bytes()[40_960:41_060]
    evict(rig.volumes[0])
    disk.fail(reads=True, where=bad)
    drains(rig, fetched_again=1)


@pytest.mark.parametrize("mounted", ["ext4"], indirect=True)
def test_a_read_only_disk_is_delivered_from(mounted: Mounted) -> None:
    rig, disk = mounted.rig, mounted.rack["volume-01"]
    files = stage(rig)
    subprocess.run(["mount", "-o", "remount,ro", str(rig.volumes[0])], check=True)
    disk.make_read_only()
    code, summary, errors = rig.run()
    assert code == 0, errors
    assert (summary["states"]["delivered"], summary["failure_count"]) == (len(files), 0)
    rig.assert_delivered()
    assert rig.source.count("GetObject") == COUNT
    assert state(rig) == "read-only"
    disk.heal()
    subprocess.run(["mount", "-o", "remount,rw", str(rig.volumes[0])], check=True)
    drains(rig)


# -- evacuation and power -----------------------------------------------------------------------------------------

# Stops itself after the effect that it was told, and says so: then the power is cut.
STOPS = """
import os, signal, sys
from snowsync.upkeep import evacuated_copies, evacuation
from snowsync.config import job_file
from snowsync.ledger.copies import CopyLedger
from snowsync.ledger.moves import MoveLedger
from snowsync.volumes.open_volume import OpenVolume, StagedDirectories

left = int(sys.argv[2])

def counted(owner, name, label=""):
    real = getattr(owner, name)
    def effect(*arguments):
        global left
        found = real(*arguments)
        left -= 1
        if left < 0:
            print(label or name, flush=True)
            signal.pause()
        return found
    setattr(owner, name, effect)

for name in ("intend", "commit_moved"):
    counted(MoveLedger, name)
counted(CopyLedger, "discarded")
for name in ("sync", "publish", "discard_staged"):
    counted(OpenVolume, name)
counted(StagedDirectories, "sync", "sync_directories")
counted(evacuated_copies, "pour")
evacuation.evacuate(job_file.load_job(sys.argv[1]), "volume-01")
print("end", flush=True)
signal.pause()
"""


def evacuate_until(rig: Rig, effects: int) -> tuple[subprocess.Popen[str], str]:
    """An evacuation that has had so many effects and waits, and the last one's name."""
    command = [sys.executable, "-c", STOPS, str(rig.job_file), str(effects)]
    process = ForkedPython(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize("mounted", ["xfs"], indirect=True)
def test_the_power_is_cut_after_every_effect_of_an_evacuation(mounted: Mounted) -> None:
    """One evacuation after another, each cut off one effect later; every second one is gone on with."""
    rig = mounted.rig
    seen: list[str] = []
    for effects in range(200):
        for number in range(4):
            rig.source.put(SOURCE, f"round-{effects}/{number}", os.urandom(20_000 + number))
        result = rig.snowsync("run", "JOB", "--direction", "source", "--until-drained")
        assert result.returncode == 0, result.stderr
        assert staged(rig.volumes[0])
        process, last = evacuate_until(rig, effects)
        mounted.cut_power(process, keep=(0.0, 0.5, 0.9)[effects % 3], seed=effects)
        if effects % 2:
            result = rig.snowsync("evacuate", "JOB", "volume-01")
            assert result.returncode == 0, result.stderr
            assert staged(rig.volumes[0]) == []
        drains(rig)
        assert rig.snowsync("drain", "JOB", "volume-01", "--undo").returncode == 0
        seen.append(last)
        if last == "end":
            break
    assert seen[-1] == "end"
    assert set(seen) > {"pour", "sync", "intend", "publish", "sync_directories", "commit_moved", "discarded"}


@pytest.mark.parametrize("mounted", ["ext4"], indirect=True)
def test_the_power_is_cut_beside_running_units(mounted: Mounted) -> None:
    """Both units and evacuations at work; ten cuts at moments that the seed chooses, then everything is there."""
    rig, chance = mounted.rig, random.Random(20261121)
    rig.source.set_fault("latency", operation="GetObject", seconds=0.02)
    rig.destination.set_fault("latency", operation="PutObject", seconds=0.05)
    for turn in range(10):
        for number in range(25):
            rig.source.put(SOURCE, f"turn-{turn}/{number}", os.urandom(chance.randrange(50_000)))
        units = rig.start("--forever")
        wait_until(lambda: rig.source.count("GetObject") > 0, "the first fetch")
        name = rig.config["volumes"][turn % 2]["name"]
        evacuation = ForkedPython(
            rig.command("evacuate", str(rig.job_file), name),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            evacuation.wait(timeout=chance.uniform(0.3, 2.0))
        mounted.rack.cut_power(keep=chance.random(), seed=turn)
        os.killpg(units.pid, 9)
        evacuation.kill()
        evacuation.wait()
        mounted.cut_power(units, keep=0.0)
        assert rig.snowsync("drain", "JOB", name, "--undo").returncode == 0
    rig.source.clear_faults()
    rig.destination.clear_faults()
    code, _summary, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()
    assert rig.files_left() == []
    twice = {key: len(writes) for key, writes in rig.destination.writes(DESTINATION).items() if len(writes) > 1}
    assert twice == {}, "delivered twice"
