# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host with loop devices for disks, and an fstab, record and mount root of its own: the rest is this machine."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MIB = 1024**2


def command(*argv: str, data: str | None = None) -> str:
    """What it prints; a failure shows what it said."""
    done = subprocess.run(argv, input=data, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{argv} ended with {done.returncode}: {done.stderr}{done.stdout}"
    return done.stdout


def run(argv: Sequence[str], data: str | None = None) -> tuple[int, str, str]:
    """As the module runs commands."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, input=data, capture_output=True, text=True, env=environment, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


class LoopHost:
    """`backend` is the module's; `disks` are the files behind the loop devices that are plugged in, by device."""

    def __init__(self, folder: Path, backend: Any, name: str = "edge1") -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.backend = backend
        self.root = self.folder / "srv"
        self.fstab = self.folder / "fstab"
        self.fstab.write_text("# this host's own\nproc /proc proc defaults 0 0\n", encoding="utf-8")
        (self.folder / "machine-id").write_text(f"{name}-0123456789abcdef\n", encoding="ascii")
        self.places = backend.Places(
            fstab=str(self.fstab),
            record=str(self.folder / "record" / "volumes.json"),
            machine_id=str(self.folder / "machine-id"),
        )
        self.disks: dict[str, Path] = {}

    def file(self, name: str, mib: int = 400) -> Path:
        path = self.folder / name
        with path.open("xb") as file:
            file.truncate(mib * MIB)
        return path

    def plug(self, path: Path, *options: str) -> str:
        device = command("losetup", "--find", "--show", "--partscan", *options, str(path)).strip()
        self.disks[device] = path
        return device

    def unplug(self, device: str) -> Path:
        command("losetup", "--detach", device)
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
        return self.backend.provision(run, wish, check=check, command="/nonexistent", places=self.places)

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
