# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of a test host: sparse files below one folder, each under a loop device. `FOLDER/disks.json` says which.

disks.py make FOLDER NAME=MIB ...      files and devices; with NAME=MIB:ro a disk that takes no write
disks.py rotate FOLDER NAME ...        the device of each disk becomes that of the next
disks.py unplug FOLDER NAME            the disk leaves its device
disks.py plug FOLDER NAME              and comes back to it
disks.py note FOLDER                   what is on the disks now,
disks.py compare FOLDER NAME ...       and whether it still is; exit code 1 names those that have changed
disks.py remove FOLDER                 devices and files away, also those of a run that was cut off
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

Disks = dict[str, dict[str, str]]

# <linux/loop.h>
LOOP_CTL_ADD, LOOP_CTL_REMOVE = 0x4C80, 0x4C81
# Far from those that `losetup --find` hands out: nobody takes a device while `rotate` has its file detached.
FIRST_NUMBER = 100
REMOVE_SECONDS = 20


def losetup(*words: str) -> None:
    subprocess.run(["losetup", *words], check=True)


def control(request: int, number: int) -> None:
    descriptor = os.open("/dev/loop-control", os.O_RDWR)
    try:
        fcntl.ioctl(descriptor, request, number)
    finally:
        os.close(descriptor)


def new_device() -> str:
    number = FIRST_NUMBER
    while True:
        try:
            control(LOOP_CTL_ADD, number)
        except FileExistsError:
            number += 1
            continue
        return f"/dev/loop{number}"


def attach(disk: dict[str, str]) -> None:
    losetup(*disk["options"].split(), disk["device"], disk["file"])


def backing_file(device: Path) -> str:
    try:
        return (device / "loop/backing_file").read_text().strip()
    except FileNotFoundError:
        return ""


def make(folder: Path, *wanted: str) -> Disks:
    remove(folder)
    folder.mkdir(parents=True)
    disks = {}
    for name, _, what in (word.partition("=") for word in wanted):
        size, _, access = what.partition(":")
        file = folder / f"{name}.img"
        file.touch()
        os.truncate(file, int(size) << 20)
        options = "--read-only" if access == "ro" else ""
        disks[name] = {"device": new_device(), "file": str(file), "options": options}
        attach(disks[name])
    return disks


def load(folder: Path) -> Disks:
    disks: Disks = json.loads((folder / "disks.json").read_text())
    return disks


def rotate(folder: Path, *names: str) -> Disks:
    disks = load(folder)
    devices = [disks[name]["device"] for name in names]
    for device in devices:
        losetup("--detach", device)
    for name, device in zip(names, devices[1:] + devices[:1], strict=True):
        disks[name]["device"] = device
        attach(disks[name])
    return disks


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256(Path(disk["file"]).read_bytes()).hexdigest() for name, disk in load(folder).items()}


def compare(folder: Path, *names: str) -> None:
    before, now = json.loads((folder / "digests.json").read_text()), digests(folder)
    changed = [name for name in names if now[name] != before[name]]
    if changed:
        sys.exit(f"no longer what they were: {', '.join(changed)}")


def remove(folder: Path) -> None:
    """What still uses a disk is given time to go away, as a host that is being removed."""
    for device in Path("/sys/block").glob("loop*"):
        if backing_file(device).startswith(f"{folder}/"):
            losetup("--detach", f"/dev/{device.name}")
            give_back(int(device.name.removeprefix("loop")))
    shutil.rmtree(folder, ignore_errors=True)


def give_back(number: int) -> None:
    deadline = time.monotonic() + REMOVE_SECONDS
    while True:
        try:
            return control(LOOP_CTL_REMOVE, number)
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"/dev/loop{number} is still in use: {error.strerror}")
        time.sleep(0.2)


def main() -> None:
    command, place, *names = sys.argv[1:]
    folder = Path(place)
    if command in ("make", "rotate"):
        disks = {"make": make, "rotate": rotate}[command](folder, *names)
        (folder / "disks.json").write_text(json.dumps(disks, indent=2))
    elif command == "unplug":
        losetup("--detach", load(folder)[names[0]]["device"])
    elif command == "plug":
        attach(load(folder)[names[0]])
    elif command == "note":
        (folder / "digests.json").write_text(json.dumps(digests(folder), indent=2))
    elif command == "compare":
        compare(folder, *names)
    elif command == "remove":
        remove(folder)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
