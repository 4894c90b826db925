# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with loop devices for disks, and an fstab, record and mount root of its own: the rest is this machine."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import getpass
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from thorough import THOROUGH

MIB = 1024**2
BLOCK = 4096  # bytes, and no part of a file is smaller that a filesystem knows as written
LOOP_CTL_ADD = 0x4C80  # <linux/loop.h>
FIRST_OF_MOLECULE = 100  # the number from which tests/molecule/common/disks.py takes its devices
KINDS = [("ext4", False), ("ext4", True), ("xfs", False), ("xfs", True)]  # filesystem, partition
# Where all that is done to a disk is repeated for each of its steps: each filesystem once, a partition once.
LESS_KINDS = KINDS if THOROUGH else [("ext4", True), ("xfs", False)]


def command(*argv: str, data: str | None = None) -> str:
    """What it prints; a failure shows what it said."""
    done = subprocess.run(argv, input=data, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{argv} ended with {done.returncode}: {done.stderr}{done.stdout}"
    return done.stdout


def run(argv: Sequence[str], data: str | None = None, **more: str) -> tuple[int, str, str]:
    """As the module runs commands, with `more` in their environment."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **more}
    done = subprocess.run(argv, input=data, capture_output=True, text=True, env=environment, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


class LoopHost:
    """`backend` is the module's; `disks` are the files behind the loop devices that are plugged in, by device."""

    def __init__(self, folder: Path, backend: Any, name: str = "edge1") -> None:
        self.folder = folder / name
        self.folder.mkdir(exist_ok=True)
        self.backend = backend
        self.root = self.folder / "srv"
        self.fstab = self.folder / "fstab"
        self.fstab.write_text("# this host's own\nproc /proc proc defaults 0 0\n", encoding="utf-8")
        (self.folder / "machine-id").write_text(f"{name}-0123456789abcdef\n", encoding="ascii")
        self.places = backend.Places(
            fstab=str(self.fstab),
            record=str(self.folder / "record" / "volumes.json"),
            machine_id=str(self.folder / "machine-id"),
            ledgers=str(self.folder / "ledgers"),
        )
        self.engine = str(self.folder / "no-engine")
        # Without udev mount finds a UUID where this file says, which is right for disks that keep their names: those of
        # tests beside this one get ours, and the other way round.
        self.cache = self.folder.with_name(f"{name}.blkid")
        self.disks: dict[str, Path] = {}

    def file(self, name: str, mib: int = 400) -> Path:
        path = self.folder / name
        with path.open("xb") as file:
            file.truncate(mib * MIB)
        return path

    def plug(self, path: Path, *options: str) -> str:
        """The device of a disk, which comes after those of all that are plugged in, as volumes are named in that order.

        The kernel would give the lowest number that is free, and a test beside this one may have just freed one below.
        """
        number = max(map(number_of, self.disks), default=-1) + 1
        while not attach(path, number, options):
            number += 1
        device = f"/dev/loop{number}"
        self.disks[device] = path
        self.cache.unlink(missing_ok=True)
        run(["partx", "--update", device])  # the kernel of a test machine need not read a GPT itself
        return device

    def unplug(self, device: str) -> Path:
        run(["partx", "--delete", device])
        command("losetup", "--detach", device)
        self.cache.unlink(missing_ok=True)
        return self.disks.pop(device)

    def new_disk(self, name: str, mib: int = 400) -> str:
        return self.plug(self.file(name, mib))

    def wish(self, **options: Any) -> Any:
        me = getpass.getuser()
        values = {
            "mount_root": str(self.root),
            "owner": me,
            "group": me,
            "size_min": MIB,
            "match": tuple(self.disks) if not options.get("devices") else (),
        }
        return self.backend.Wish(**{**values, **options})

    def provision(self, *, check: bool = False, **options: Any) -> Any:
        """Everything on this machine but the disks of this host is out of its sight: no `match` names them."""
        wish = self.wish(**options)
        return self.backend.provision(self.run, wish, check=check, command=self.engine, places=self.places)

    def run(self, argv: Sequence[str], data: str | None = None) -> tuple[int, str, str]:
        return run(argv, data, BLKID_FILE=str(self.cache))

    def mounted(self) -> dict[str, str]:
        """Device by mount point, below this host's mount root."""
        lines = (line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines())
        return {words[1]: words[0] for words in lines if words[1].startswith(f"{self.root}/")}

    def power_off(self) -> None:
        """Unmount and unplug everything; the files stay."""
        for path in sorted(self.mounted(), reverse=True):
            command("umount", path)
        for device in list(self.disks):
            self.unplug(device)


def number_of(device: str) -> int:
    return int(device.removeprefix("/dev/loop"))


def attach(path: Path, number: int, options: Sequence[str]) -> bool:
    """Whether the device of this number was free, and is that file now."""
    assert number < FIRST_OF_MOLECULE, "no device takes this file"
    with contextlib.suppress(FileExistsError), open("/dev/loop-control", "rb") as control:
        fcntl.ioctl(control, LOOP_CTL_ADD, number)
    return run(["losetup", "--partscan", *options, f"/dev/loop{number}", str(path)])[0] == 0


def digest(path: Path) -> str:
    """Of every byte of a disk: blocks of zeros, written or never written, are told by their absence."""
    found = hashlib.sha256()
    with path.open("rb") as disk:
        for start, end in _written(disk.fileno()):
            for offset in range(start - start % BLOCK, end, BLOCK):
                block = os.pread(disk.fileno(), BLOCK, offset)
                if block.strip(b"\0"):
                    found.update(b"%d:%s" % (offset, block))
        found.update(b"%d" % os.fstat(disk.fileno()).st_size)
    return found.hexdigest()


def _written(descriptor: int) -> Iterator[tuple[int, int]]:
    """Where a sparse file has data: from byte, to byte."""
    end, size = 0, os.fstat(descriptor).st_size
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole
                return
            raise
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end


def done(outcome: Any) -> dict[str, Any]:
    """The result of a run that had no trouble."""
    assert not outcome.problems, [str(problem) for problem in outcome.problems]
    result: dict[str, Any] = outcome.as_result()
    return result


def marker_of(host: LoopHost, name: str) -> dict[str, str]:
    marker: dict[str, str] = json.loads((host.root / name / ".snowsync/volume.json").read_text(encoding="utf-8"))
    return marker


def reasons(result: dict[str, Any]) -> dict[str, str]:
    return {row["device"]: row["reason"] for row in result["left_alone"]}


class _PowerCut(Exception):
    """The host is gone."""


def until(host: LoopHost, steps: int, **options: Any) -> list[str]:
    """Run until so many steps are done, then cut the power and plug everything in again; what was done."""
    hands = host.backend.Hands
    done_steps: list[str] = []
    do = hands.do

    def counted(self: Any, step: Any) -> None:
        if len(done_steps) == steps:
            raise _PowerCut
        do(self, step)
        done_steps.append(str(step))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hands, "do", counted)
        with contextlib.suppress(_PowerCut):
            host.provision(**options)
    files = list(host.disks.values())
    host.power_off()
    for path in files:
        host.plug(path)
    return done_steps
