# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that answers nothing any more, below a real filesystem: the other volume's objects go on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import Rack, make_filesystem, mount, unmount
from disks.rack import Disk
from faults.rig import DESTINATION, SOURCE, Rig, kill_group, wait_until

MIB = 1 << 20


@pytest.fixture
def disks(rig: Rig, tmp_path: Path) -> Iterator[list[Disk]]:
    """A disk with ext4 for each volume, in racks of their own."""
    rig.config["space"] = {"reserve": "8MiB"}  # that of real disks is larger than these
    with contextlib.ExitStack() as stack:
        made = []
        for volume in rig.volumes:
            disk = stack.enter_context(Rack(tmp_path / f"rack-{volume.name}", {"disk": 96 * MIB}))["disk"]
            make_filesystem(disk.device, "ext4")
            mount(disk.device, volume)
            stack.callback(unmount, volume)
            stack.callback(disk.heal)
            made.append(disk)
        yield made


def fill(rig: Rig, name: str, count: int) -> None:
    for number in range(count):
        rig.source.put(SOURCE, f"{name}-{number}", os.urandom(20_000))


def delivered(rig: Rig) -> int:
    return len(rig.destination.list(DESTINATION))


@contextlib.contextmanager
def running(rig: Rig, disks: list[Disk]) -> Iterator[subprocess.Popen[str]]:
    """A run of the job, which is gone afterwards whatever happened."""
    process = rig.start("--forever")
    try:
        yield process
    finally:
        for disk in disks:
            disk.heal()
        if process.poll() is None:
            kill_group(process)


def test_the_other_volume_goes_on_and_a_stop_closes_the_runs(rig: Rig, disks: list[Disk]) -> None:
    """What waits for the disk is delivered when it answers again; nothing is lost, nothing sent twice."""
    rig.config["pass_interval"] = 0.5
    rig.config["group"] = {"seconds": 0.2, "objects": 16}
    fill(rig, "before", 20)
    with running(rig, disks) as process:
        wait_until(lambda: delivered(rig) == 20, "the first objects")
        disks[0].hang()
        for batch in range(4):
            before = delivered(rig)
            fill(rig, f"batch-{batch}", 12)
            wait_until(lambda before=before: delivered(rig) > before, "an object of the other volume", 120)  # type: ignore[misc]  # a default binds it
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        wait_until(lambda: rig.open_runs() == [], "the end of the runs", 120)
        assert time.monotonic() - began < 20
        disks[0].heal()  # before that the kernel lets nobody go who waits for it
        _output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    code, _summary, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()
    assert rig.destination.written_again(DESTINATION) == {}
