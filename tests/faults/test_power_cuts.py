# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power cuts in the middle of a job, and disks that fail under it: real filesystems on fragile disks.

Durable before said: what the ledger calls staged is on its volume after a power cut, and what it calls delivered is
never sent again. The ledger and the volumes lose power at the same moment, as in one machine.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from disks import Rack, make_filesystem, mount, unmount
from disks.filesystems import SMALLEST
from faults.rig import DESTINATION, SOURCE, Rig, kill_group, wait_until
from thorough import THOROUGH

from snowsync.core import keys

MIB = 1024 * 1024
SMALL_OBJECTS, LARGE_OBJECTS = 360, 4
# In a mount namespace of its own the job sees another boot id; mounts that go, go there as well.
# The mounts of tests beside this one go first: in this namespace they would keep disks busy that were pulled out there.
IN_ANOTHER_BOOT = """
own=$0
while read -r device path type _; do
    case "$device:$type:$path" in
        *:/ | *:"$own"/*) ;;
        /dev/loop* | *:fuse*) umount -l "$path" ;;
    esac
done </proc/mounts
mount --bind "$own/boot_id" /proc/sys/kernel/random/boot_id && exec "$@"
"""


@dataclass
class Staged:
    """What the ledger says of an object that has a file."""

    key: str
    volume: str
    path: str


class Machine:
    """A rig whose ledger and volumes are filesystems on disks behind one power supply."""

    def __init__(self, rig: Rig, rack: Rack, kind: str) -> None:
        self.rig, self.rack = rig, rack
        self.process: subprocess.Popen[str] | None = None
        self.mounts = {name: rig.folder / "mounted" / name for name in rack.disks}
        for disk in rack.disks.values():
            make_filesystem(disk.device, kind if disk.name != "state" else "ext4")
        self.volumes = [path for name, path in self.mounts.items() if name != "state"]
        rig.volumes = self.volumes
        rig.config["volumes"] = [{"name": path.name, "path": str(path)} for path in self.volumes]
        rig.config["state_dir"] = str(self.mounts["state"] / "job")
        rig.config["space"] = {"reserve": "4MiB"}
        rig.config["group"] = {"objects": 20, "seconds": 0.2}
        rig.config["mover"] = {"large_object": "5MiB"}
        self.mount()

    def mount(self) -> None:
        """A boot: journals are replayed, and the boot has an id of its own."""
        for name, path in self.mounts.items():
            mount(self.rack[name].device, path)
        (self.rig.folder / "boot_id").write_text(f"{uuid.uuid4()}\n")

    def unmount(self) -> None:
        for path in self.mounts.values():
            unmount(path)

    def start(self) -> subprocess.Popen[str]:
        unshare = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", IN_ANOTHER_BOOT]
        job = self.rig.command("run", str(self.rig.job_file), "--until-drained")
        return subprocess.Popen(
            [*unshare, str(self.rig.folder), *job],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run_until(self, *, fetched: int = 0, sent: int = 0, then: float = 0.0) -> subprocess.Popen[str]:
        """Start the job, wait until it has fetched and sent so many objects more, and `then` seconds."""
        process = self.process = self.start()
        source, destination = self.rig.source, self.rig.destination
        fetched += source.count("GetObject")
        sent += destination.count("PutObject")
        wait_until(
            lambda: (
                (source.count("GetObject") >= fetched and destination.count("PutObject") >= sent)
                or process.poll() is not None
            ),
            "the middle of the job",
        )
        time.sleep(then)
        assert process.poll() is None, "the job ended too early"
        return process

    def lose_power(self, keep: float, seed: int) -> None:
        """Everything at once: the processes, the caches of the kernel, the caches of the disks. And on again."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        self.rack.cut_power(keep=keep, seed=seed)
        self.process.communicate()
        self.unmount()
        self.rack.switch_on()
        self.mount()

    def ledger_says(self) -> tuple[list[Staged], set[str]]:
        """The staged objects, and the keys of the delivered ones. Looks at a copy: the ledger stays as it was found."""
        job, copy = self.mounts["state"] / "job", self.rig.folder / "copy-of-the-ledger"
        shutil.rmtree(copy, ignore_errors=True)
        if not (job / "ledger.db").exists():
            return [], set()
        shutil.copytree(job, copy)
        with closing(sqlite3.connect(copy / "ledger.db")) as ledger:
            assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            if not ledger.execute("SELECT 1 FROM sqlite_schema WHERE name = 'objects'").fetchone():
                return [], set()
            rows = ledger.execute(
                "SELECT key, generation, volumes.name FROM objects JOIN volumes ON volumes.id = volume WHERE state = 1"
            ).fetchall()
            delivered = ledger.execute("SELECT key FROM objects WHERE state IN (2, 3)").fetchall()
        staged = [Staged(key, volume, keys.to_path(key, generation)) for key, generation, volume in rows]
        return staged, {key for (key,) in delivered}

    def staged_file(self, staged: Staged) -> Path:
        return self.mounts[staged.volume] / ".snowsync" / "staged" / "rig" / staged.path

    def finish(self, seconds: float = 240) -> str:
        """Let a run come to its end; what it said on stderr."""
        process = self.start()
        try:
            _output, errors = process.communicate(timeout=seconds)
        finally:
            if process.poll() is None:
                kill_group(process)
        assert process.returncode == 0, errors
        return errors


@contextmanager
def powered(rig: Rig, kind: str, volumes: int = 2) -> Iterator[Machine]:
    if os.geteuid() != 0:
        pytest.fail("fragile disks are loop devices: they need root")
    size = max(96 * MIB, SMALLEST[kind])
    sizes = {f"volume-{number:02}": size for number in range(1, volumes + 1)}
    with Rack(rig.folder / "rack", {"state": 32 * MIB, **sizes}) as rack:
        machine = Machine(rig, rack, kind)
        try:
            yield machine
        finally:
            machine.unmount()


def fill(rig: Rig, seed: int = 0) -> dict[str, str]:
    """Objects of all sizes; key -> MD5."""
    dice = random.Random(seed)
    contents = {f"small/{number:03}": dice.randbytes(dice.randrange(1, 200_000)) for number in range(SMALL_OBJECTS)}
    for key, data in contents.items():
        rig.source.put(SOURCE, key, data)
    for number in range(LARGE_OBJECTS):
        key, data = f"large/{number}", dice.randbytes(11 * MIB + number)
        contents[key] = data
        rig.source.put(SOURCE, key, data, part_size=5 * MIB)
    return {key: hashlib.md5(data).hexdigest() for key, data in contents.items()}


def copies(machine: Machine) -> dict[str, int]:
    """Key -> how often the destination got it."""
    return {key: len(writes) for key, writes in machine.rig.destination.writes(DESTINATION).items()}


@pytest.mark.parametrize(
    ("kind", "keep"), [("ext4", 0.0), ("xfs", 0.5), *([("ext4", 0.5), ("xfs", 0.0)] if THOROUGH else [])]
)
def test_power_cuts_lose_nothing_that_was_said(rig: Rig, kind: str, keep: float) -> None:
    """ext4 loses all that its disk had not stored, XFS half of it; with SNOWSYNC_THOROUGH each loses both."""
    digests = fill(rig)
    dice = random.Random(f"{kind} {keep}")
    seen_staged = 0
    sent_once: dict[str, int] = {}  # what the ledger called delivered after some cut -> copies at that moment
    with powered(rig, kind) as machine:
        rig.source.set_fault("latency", operation="GetObject", seconds=0.1)
        rig.destination.set_fault("latency", operation="PutObject", seconds=0.15)
        for number in range(6):
            # The first cut falls into the very beginning: the ledger and the markers are made then.
            fetched, sent = (1, 0) if number == 0 else (dice.randrange(10, 40), dice.randrange(0, 20))
            machine.run_until(fetched=fetched, sent=sent, then=dice.uniform(0.0, 0.2))
            machine.lose_power(keep, seed=number)
            staged, delivered = machine.ledger_says()
            for each in staged:
                found = hashlib.md5(machine.staged_file(each).read_bytes()).hexdigest()
                assert found == digests[each.key], f"{each.key} is called staged and is not"
            seen_staged += len(staged)
            counted = copies(machine)
            assert {key for key in delivered if not counted.get(key)} == set(), "called delivered and never sent"
            sent_once.update({key: counted[key] for key in delivered if key not in sent_once})
        rig.source.clear_faults()
        rig.destination.clear_faults()
        machine.finish()
        assert seen_staged > 20 and len(sent_once) > 5, "the cuts fell where they prove nothing"
        rig.assert_delivered()
        counted = copies(machine)
        assert {key: counted[key] for key, before in sent_once.items() if counted[key] != before} == {}
        assert rig.files_left() == []


def test_power_cuts_between_refusals_edits_and_absences(rig: Rig) -> None:
    """The destination refuses, the source overwrites and seems to lack objects, and the power goes, again and again."""
    versions = {key: {digest} for key, digest in fill(rig).items()}
    dice = random.Random(8)
    seen_staged = 0
    with powered(rig, "ext4") as machine:
        rig.config["attempts"] = 2
        for number in range(4):
            rig.source.set_fault("latency", operation="GetObject", seconds=0.1)
            rig.source.set_fault(
                "status", operation="GetObject", probability=0.1, seed=number, status=404, code="NoSuchKey"
            )
            rig.destination.set_fault("latency", operation="PutObject", seconds=0.15)
            rig.destination.set_fault(
                "status", operation="PutObject", probability=0.5, seed=number, status=403, code="AccessDenied"
            )
            machine.run_until(fetched=dice.randrange(20, 40), then=dice.uniform(0.0, 0.2))
            machine.lose_power(0.5, seed=number)
            staged, _delivered = machine.ledger_says()
            for each in staged:
                found = hashlib.md5(machine.staged_file(each).read_bytes()).hexdigest()
                assert found in versions[each.key], f"{each.key} is called staged and is not"
            seen_staged += len(staged)
            rig.source.clear_faults()
            rig.destination.clear_faults()
            for key in dice.sample(sorted(versions), 20):
                data = dice.randbytes(dice.randrange(1, 100_000))
                rig.source.put(SOURCE, key, data)
                versions[key].add(hashlib.md5(data).hexdigest())
        assert seen_staged > 20, "the cuts fell where they prove nothing"
        machine.finish()
        rig.assert_delivered()
        assert rig.files_left() == []


@pytest.mark.parametrize(
    ("kind", "weakness"),
    [("ext4", "writes"), ("xfs", "writes"), ("ext4", "read-only"), ("ext4", "everything"), ("xfs", "everything")],
)
def test_a_disk_that_fails_under_a_job_costs_no_object(rig: Rig, kind: str, weakness: str) -> None:
    """ext4 turns read-only by itself, xfs shuts down; the job ends complete on the other volume, without a restart."""
    fill(rig)
    with powered(rig, kind) as machine:
        rig.source.set_fault("latency", operation="GetObject", seconds=0.1)
        rig.destination.set_fault("latency", operation="PutObject", seconds=0.15)
        process = machine.run_until(fetched=60)
        disk = machine.rack["volume-01"]
        if weakness == "read-only":
            disk.make_read_only()
        else:
            disk.fail(writes=True, reads=weakness == "everything")
        rig.source.clear_faults()
        rig.destination.clear_faults()
        try:
            _output, errors = process.communicate(timeout=240)
        finally:
            if process.poll() is None:
                kill_group(process)
        assert process.returncode == 0, errors
        assert "volume-01 is out of use" in errors
        rig.assert_delivered()
        assert rig.destination.written_again(DESTINATION) == {}
