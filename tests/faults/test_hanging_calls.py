# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that answer one kind of call no more, each another one: the last one goes on, both hops, large and small."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks.hanging import HangingDisk, hanging
from faults.rig import DESTINATION, SOURCE, Rig, files_below, kill_group, wait_until
from simulators.s3_store import start

MIB = 1 << 20
LARGE = 6 * MIB  # two parts


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with start(tmp_path / "source-store") as source, start(tmp_path / "destination-store") as destination:
        yield Rig(tmp_path, source, destination, volumes=4)


@pytest.fixture
def disks(rig: Rig, tmp_path: Path) -> Iterator[list[HangingDisk]]:
    """All but the last volume."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(hanging(tmp_path / f"disk-{at.name}", at)) for at in rig.volumes[:-1]]


def put(rig: Rig, name: str) -> None:
    """Three objects for each volume, and a large one."""
    for number in range(12):
        rig.source.put(SOURCE, f"{name}/small-{number}", os.urandom(20_000))
    for number in range(4):
        rig.source.put(SOURCE, f"{name}/large-{number}", os.urandom(LARGE), part_size=5 * MIB)


def delivered(rig: Rig, name: str) -> list[str]:
    return [key for key in rig.destination.list(DESTINATION) if key.startswith(name)]


def staged_on(rig: Rig, number: int) -> list[Path]:
    return [path for path in files_below(rig.volumes[number] / ".snowsync/staged") if path.name.endswith("~1")]


@contextlib.contextmanager
def running(rig: Rig, disks: list[HangingDisk]) -> Iterator[subprocess.Popen[str]]:
    process = rig.start("--forever")
    try:
        yield process
    finally:
        for disk in disks:
            disk.heal()
        if process.poll() is None:
            kill_group(process)


def start_status(rig: Rig, told: Path) -> subprocess.Popen[bytes]:
    with told.open("wb") as file:
        return subprocess.Popen(rig.command("status", str(rig.job_file)), stdout=file, stderr=file)


class Batches:
    """New objects, more and more: those that come before a disk's hang shows may all have been placed there."""

    def __init__(self, rig: Rig, name: str) -> None:
        self._rig, self._name = rig, name
        self._due = 0.0
        self._count = 0

    def are_some_delivered(self) -> bool:
        if time.monotonic() >= self._due:
            self._count += 1
            put(self._rig, f"{self._name}-{self._count}")
            self._due = time.monotonic() + 2
        keys = delivered(self._rig, self._name)
        return all(any(size in key for key in keys) for size in ("small", "large"))


@pytest.mark.parametrize("calls", [("open", "write", "unlink"), ("read", "fsync", "rename")])
def test_the_last_disk_goes_on(rig: Rig, disks: list[HangingDisk], tmp_path: Path, calls: tuple[str, ...]) -> None:
    """What it holds is delivered and released, what comes is moved, a status is told, and a stop ends all."""
    rig.config["pass_interval"] = 0.5
    rig.config["group"] = {"seconds": 0.2, "objects": 16}
    rig.config["mover"] = {"large_object": 5 * MIB, "part_size": 5 * MIB}
    rig.config["space"] = {"high_watermark": 0.99, "low_watermark": 0.98, "reserve": "1MiB"}
    put(rig, "staged")
    result = rig.snowsync("run", "JOB", "--once", "--direction", "source")
    assert result.returncode == 0, result.stderr
    held = [len(staged_on(rig, number)) for number in range(4)]
    assert all(held), held
    rig.destination.set_switches(latency=0.3)
    with running(rig, disks) as process:
        wait_until(lambda: rig.destination.count("PutObject") > 0, "the first upload")
        for disk, call in zip(disks, calls, strict=True):
            disk.hang(call)
        rig.destination.set_switches(latency=0)
        for name in ("first", "second"):
            wait_until(Batches(rig, name).are_some_delivered, f"an object of each size of the {name} batches")
        wait_until(lambda: len(delivered(rig, "staged")) >= held[-1], "delivery of what the last one held")
        wait_until(lambda: not staged_on(rig, -1), "release of what the last one held")
        assert process.poll() is None
        told = tmp_path / "status"
        asking = start_status(rig, told)
        wait_until(lambda: "source" in told.read_text(), "an answer to `status`")
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        wait_until(lambda: rig.open_runs() == [], "the end of the runs")
        assert time.monotonic() - began < 20
        for disk in disks:
            disk.heal()  # before that the kernel lets nobody go who waits for it
        asking.wait(60)
        _output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    code, _summary, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()
    assert rig.destination.written_again(DESTINATION) == {}
