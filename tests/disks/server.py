# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process behind a rack of fragile disks: each is one file of a FUSE filesystem, obeyed by commands on stdin.

A command is one line of JSON, so is its answer on stdout. When stdin ends, so does the rack: it outlives no test.
Requests are worked off one after the other, by one thread: all disks of a rack share it, as they share the power.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import stat
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import mfusepy

from .medium import Faults, Medium, Throttle

_PR_SET_IO_FLUSHER = 57


@dataclass
class Drive:
    """One disk of the rack."""

    medium: Medium
    throttle: Throttle = field(default_factory=Throttle)
    answers: threading.Event = field(default_factory=threading.Event)  # cleared: it says nothing any more

    def __post_init__(self) -> None:
        self.answers.set()


class RackServer(mfusepy.Operations):
    """The FUSE side. `_guard` guards the drives against the thread that takes commands."""

    use_ns = True

    def __init__(self, drives: dict[str, Drive]) -> None:
        self.drives = drives
        self._guard = threading.Lock()

    def init_with_config(self, conn_info: Any, config_3: Any) -> None:
        _say({"ready": True})

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self._drive(path).medium.size}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *self.drives]

    def open(self, path: str, flags: int) -> int:
        self._drive(path)
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        drive = self._drive(path)
        self._wait(drive, size)
        with self._guard:
            return drive.medium.read(offset, size)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        drive = self._drive(path)
        self._wait(drive, len(data))
        with self._guard:
            return drive.medium.write(offset, data)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        drive = self._drive(path)
        drive.answers.wait()
        with self._guard:
            drive.medium.sync()
        return 0

    def _drive(self, path: str) -> Drive:
        try:
            return self.drives[path[1:]]
        except KeyError:
            raise mfusepy.FuseOSError(errno.ENOENT) from None

    @staticmethod
    def _wait(drive: Drive, size: int) -> None:
        drive.answers.wait()
        seconds = drive.throttle.wait(size, time.monotonic())
        if seconds:
            time.sleep(seconds)

    # -- commands ---------------------------------------------------------------------------------------------------

    def obey(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command of rack.py; returns its answer."""
        with self._guard:
            match command.pop("do"):
                case "cut":
                    for drive in self.drives.values():
                        drive.medium.cut(**command)
                case "switch on":
                    for drive in self.drives.values():
                        drive.medium.switch_on()
                case "fail":
                    where = bytes.fromhex(command["where"])
                    self.drives[command["disk"]].medium.faults = Faults(command["reads"], command["writes"], where)
                case "hang":
                    self.drives[command["disk"]].answers.clear()
                case "answer":
                    self.drives[command["disk"]].answers.set()
                case "throttle":
                    self.drives[command["disk"]].throttle = Throttle(command["bytes_per_second"])
                case "traffic":
                    medium = self.drives[command["disk"]].medium
                    return {"read": medium.bytes_read, "written": medium.bytes_written, "syncs": medium.syncs}
                case unknown:
                    raise ValueError(f"unknown command {unknown!r}")
        return {}


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def _take_commands(server: RackServer, folder: str) -> None:
    for line in sys.stdin:
        try:
            _say(server.obey(json.loads(line)))
        except Exception as error:  # the test that asked shall see it
            _say({"error": f"{type(error).__name__}: {error}"})
    subprocess.run(["umount", "--lazy", folder], check=False, capture_output=True)
    os._exit(0)


def main() -> None:
    """argv: the folder to mount on, and what `Rack` says of its disks, as JSON."""
    folder, disks = sys.argv[1], json.loads(sys.argv[2])
    # Without this the kernel may make this process wait until it has itself written somebody's dirty pages.
    ctypes.CDLL(None).prctl(_PR_SET_IO_FLUSHER, 1, 0, 0, 0)
    drives = {
        name: Drive(Medium(options["size"], options["remembers"], options["prepared"]), Throttle(options["rate"]))
        for name, options in disks.items()
    }
    server = RackServer(drives)
    threading.Thread(target=_take_commands, args=(server, folder), daemon=True).start()
    # Not through a page cache: what a filesystem above asks for must come here, before and after a power cut.
    mfusepy.FUSE(server, folder, foreground=True, nothreads=True, direct_io=True, fsname="fragile-disks")


if __name__ == "__main__":
    main()
