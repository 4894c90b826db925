# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""volume_provision while the power fails: system disk and new disk lose what they were not asked to keep."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from disks import Rack, make_filesystem, mount, unmount
from integration.loop_host import MIB, LoopHost, command, run
from unit.run_module import backend

# One after the other: each power cut gives all loop devices of a host to whoever asks next.
pytestmark = pytest.mark.xdist_group("loop devices")
SIZES = {"ext4": 96 * MIB, "xfs": 400 * MIB}
STEPS = 9  # of a new volume, and one more: then nothing is cut off


class PowerCut(Exception):
    """The host is gone."""


class PowerHost(LoopHost):
    """A host whose record, fstab and mount points are on a system disk of the same rack as the new disk."""

    def __init__(self, folder: Path, module: Any, rack: Rack) -> None:
        self.rack = rack
        make_filesystem(rack["system"].device, "ext4")
        mount(rack["system"].device, folder / "edge1")
        super().__init__(folder, module)
        for path in (self.fstab, self.folder / "machine-id"):
            command("sync", str(path))
        command("sync", str(self.folder))
        self.disks = {str(rack["disk"].device): Path("disk")}

    def cut_power(self, seed: int) -> None:
        self.rack.cut_power(keep=0.3, seed=seed)
        for path in sorted(self.mounted(), reverse=True):
            unmount(Path(path))
        unmount(self.folder)
        self.rack.switch_on()
        self.cache.unlink(missing_ok=True)
        mount(self.rack["system"].device, self.folder)
        self.disks = {str(self.rack["disk"].device): Path("disk")}

    def power_off(self) -> None:
        for path in sorted(self.mounted(), reverse=True):
            unmount(Path(path))
        unmount(self.folder)


@pytest.fixture(scope="session")
def volume() -> Any:
    return backend("_volume.provision")


def provision_until(host: PowerHost, steps: int, patch: pytest.MonkeyPatch, **options: Any) -> list[str]:
    """Run until so many steps are done; which ones."""
    done: list[str] = []
    do = host.backend.Hands.do

    def counted(self: Any, step: Any) -> None:
        if len(done) == steps:
            raise PowerCut
        do(self, step)
        done.append(str(step))

    patch.setattr(host.backend.Hands, "do", counted)
    with contextlib.suppress(PowerCut):
        host.provision(**options)
    patch.undo()
    return done


@pytest.mark.parametrize("steps", range(STEPS))
@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_a_power_cut_between_two_steps_is_gone_on_from(
    tmp_path: Path, volume: Any, monkeypatch: pytest.MonkeyPatch, filesystem: str, steps: int
) -> None:
    """Every step keeps what it did, so the next run formats nothing twice and forgets nothing."""
    with Rack(tmp_path / "rack", {"system": 32 * MIB, "disk": SIZES[filesystem]}) as rack:
        host = PowerHost(tmp_path, volume, rack)
        try:
            first = provision_until(host, steps, monkeypatch, filesystem=filesystem)
            is_complete = "record volume-01 as ready" in first
            if is_complete:
                with (host.root / "volume-01/precious").open("w", encoding="ascii") as file:
                    file.write("data")
                command("sync", str(host.root / "volume-01/precious"))
            host.cut_power(seed=steps)
            outcome = host.provision(filesystem=filesystem)
            assert not outcome.problems, [str(problem) for problem in outcome.problems]
            result = outcome.as_result()
            assert len([step for step in first + result["steps"] if step.startswith("format ")]) == 1
            (made,) = result["volumes"]
            assert (made["name"], made["state"]) == ("volume-01", "ready")
            marker = json.loads((host.root / "volume-01/.snowsync/volume.json").read_text(encoding="utf-8"))
            assert (marker["uuid"], marker["filesystem"]) == (made["identity"], made["filesystem_uuid"])
            assert host.fstab.read_text(encoding="utf-8").count(made["filesystem_uuid"]) == 1
            assert host.fstab.read_text(encoding="utf-8").startswith("# this host's own\n")
            assert is_complete == (host.root / "volume-01/precious").exists()
            assert not host.provision(filesystem=filesystem).as_result()["changed"]
        finally:
            host.power_off()


@contextlib.contextmanager
def named_by_id(host: PowerHost) -> Iterator[None]:
    """The new disk has a name that stays with it, as udev makes one of what a disk says of itself."""
    link = Path(f"/dev/disk/by-id/snowsync-test-{os.getpid()}")
    with alone_in_dev():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(list(host.disks)[0])
    try:
        yield
    finally:
        with alone_in_dev():
            link.unlink()
            with contextlib.suppress(OSError):  # others have names there, or udev made them
                link.parent.rmdir()
                link.parent.parent.rmdir()


@contextlib.contextmanager
def alone_in_dev() -> Iterator[None]:
    """No test beside this one makes or removes these folders meanwhile."""
    folder = os.open("/dev", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def format_until(host: PowerHost, patch: pytest.MonkeyPatch, seconds: float, filesystem: str) -> None:
    """mkfs is killed after so many seconds, and the power is cut."""

    def killed(self: Any, step: Any) -> None:
        (device,) = host.disks
        mkfs = ["mkfs.xfs", "-q", "-m", f"uuid={step.entry.filesystem_uuid}", device]
        if filesystem == "ext4":
            mkfs = ["mkfs.ext4", "-q", "-F", "-U", step.entry.filesystem_uuid, device]
        self.run(["timeout", "--signal=KILL", str(seconds), *mkfs])
        raise PowerCut

    patch.setattr(host.backend.Hands, "_format", killed)
    with contextlib.suppress(PowerCut):
        host.provision(filesystem=filesystem)
    patch.undo()


@pytest.mark.parametrize("seconds", [0.005, 0.02, 0.06])
@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_a_power_cut_in_the_middle_of_a_format(
    tmp_path: Path, volume: Any, monkeypatch: pytest.MonkeyPatch, filesystem: str, seconds: float
) -> None:
    """Half a filesystem, with the UUID in the record or without any signature yet, never held anything."""
    with Rack(tmp_path / "rack", {"system": 32 * MIB, "disk": SIZES[filesystem]}) as rack:
        host = PowerHost(tmp_path, volume, rack)
        try:
            with named_by_id(host):
                format_until(host, monkeypatch, seconds, filesystem)
                host.cut_power(seed=int(seconds * 1000))
            with named_by_id(host):
                outcome = host.provision(filesystem=filesystem)
            assert not outcome.problems, [str(problem) for problem in outcome.problems]
            (made,) = outcome.as_result()["volumes"]
            assert (made["name"], made["state"]) == ("volume-01", "ready")
            (host.root / "volume-01/precious").write_text("data", encoding="ascii")
        finally:
            host.power_off()


@pytest.mark.parametrize("has_stable_name", [False, True])
def test_half_a_filesystem_without_a_signature(
    tmp_path: Path, volume: Any, monkeypatch: pytest.MonkeyPatch, has_stable_name: bool
) -> None:
    """What the record says of a disk counts only where the name it says is the disk's own, not the kernel's."""
    with Rack(tmp_path / "rack", {"system": 32 * MIB, "disk": SIZES["ext4"]}) as rack:
        host = PowerHost(tmp_path, volume, rack)
        names = named_by_id(host) if has_stable_name else contextlib.nullcontext()
        try:
            with names:
                provision_until(host, 1, monkeypatch)  # recorded, and no more
                (device,) = host.disks
                with open(device, "r+b") as disk:
                    disk.seek(300_000)
                    disk.write(b"half of a table of inodes" * 1000)
                result = host.provision().as_result()
            left_alone = {row["device"]: row["reason"] for row in result["left_alone"]}
            if has_stable_name:
                assert [volume["name"] for volume in result["volumes"]] == ["volume-01"]
            else:
                assert "of a kind that neither wipefs nor blkid knows" in left_alone[device]
        finally:
            host.power_off()


@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_a_disk_that_fails_while_it_is_mounted_is_told_and_can_be_taken_out(
    tmp_path: Path, volume: Any, filesystem: str
) -> None:
    """XFS shuts itself down, ext4 answers from memory as long as it can: neither may end the look at the others."""
    with Rack(tmp_path / "rack", {"system": 32 * MIB, "disk": SIZES[filesystem]}) as rack:
        host = PowerHost(tmp_path, volume, rack)
        try:
            host.provision(filesystem=filesystem)
            # Somebody looks at all disks of the host: what was read stays in memory, and answers for the disk.
            for tool in (["wipefs", "--no-act"], ["blkid", "--probe"]):
                command(*tool, str(rack["disk"].device))
            rack["disk"].fail(reads=True, writes=True)
            with contextlib.suppress(OSError):
                (host.root / "volume-01/lost").write_text("data", encoding="ascii")
            run(["sync", "--file-system", str(host.root / "volume-01")])  # which fails
            outcome = host.provision(filesystem=filesystem)
            assert outcome.as_result()["steps"] == []
            assert "Check `dmesg`: the disk is failing" in str(outcome.problems[0])
            absent = host.provision(state="absent", volumes=("volume-01",))
            assert not absent.problems, [str(problem) for problem in absent.problems]
            assert host.mounted() == {}
        finally:
            rack["disk"].heal()
            host.power_off()
