# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rack of fragile disks as a test sees it: a context manager that gives block devices and takes their power."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).resolve().parents[1]
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Traffic:
    """What a disk has done so far: bytes, and how often it was asked to make them durable."""

    read: int
    written: int
    syncs: int


class Disk:
    """One disk of a rack. `device` is its block device while it is attached."""

    def __init__(self, rack: Rack, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self.path = rack.folder / name
        self._rack = rack
        self._device: Path | None = None

    @property
    def device(self) -> Path:
        if self._device is None:
            raise ValueError(f"disk {self.name} is not attached")
        return self._device

    def attach(self) -> None:
        """Plug it in: a loop device without a cache of its own."""
        command = ["losetup", "--find", "--show", "--direct-io=on", str(self.path)]
        self._device = Path(_run(command).strip())

    def detach(self) -> None:
        """Pull it out; nothing of it may be mounted. What the kernel had cached of it is gone."""
        if self._device is None:
            return
        device, self._device = self._device, None
        _run(["blockdev", "--setrw", str(device)])  # else the next user of this loop device finds it read-only
        _run(["losetup", "--detach", str(device)])
        backing = Path("/sys/block", device.name, "loop/backing_file")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while str(self.path) in _text(backing):
            if time.monotonic() > deadline:
                raise TimeoutError(f"disk {self.name} is still in use: unmount it first")
            time.sleep(0.01)

    def fail(self, *, reads: bool = False, writes: bool = False, where: bytes = b"") -> None:
        """Answer EIO from now on: to all reads, all writes, or those whose data holds `where` (a bad spot)."""
        self._rack.command("fail", disk=self.name, reads=reads, writes=writes, where=where.hex())

    def make_read_only(self) -> None:
        """What a worn-out SSD does: everything can be read, writes are refused."""
        _run(["blockdev", "--setro", str(self.device)])
        self.fail(writes=True)

    def hang(self) -> None:
        """Answer nothing from now on, until `heal`: neither reads nor writes, nor what is under way.

        The other disks of its rack wait with it. Who waits for it cannot be killed.
        """
        self._rack.command("hang", disk=self.name)

    def heal(self) -> None:
        """No more failures, and writable again."""
        self._rack.command("answer", disk=self.name)
        self.fail()
        if self._device:
            _run(["blockdev", "--setrw", str(self._device)])

    def throttle(self, bytes_per_second: float | None) -> None:
        """Reads and writes together get so many bytes per second from now on; None: no limit."""
        self._rack.command("throttle", disk=self.name, bytes_per_second=bytes_per_second)

    def traffic(self) -> Traffic:
        return Traffic(**self._rack.command("traffic", disk=self.name))


class Rack:
    """Disks behind one power supply, by name, each of so many bytes (a multiple of 4096). Needs root and /dev/fuse.

    `remembers` False: they cannot be cut, and need no memory but their own. `prepared`: their memory is touched before
    they start. Throttled disks that must not wait for each other belong in racks of their own.
    """

    def __init__(
        self,
        folder: Path,
        sizes: Mapping[str, int],
        *,
        bytes_per_second: float | None = None,
        remembers: bool = True,
        prepared: bool = False,
    ) -> None:
        self.folder = folder
        self.disks = {name: Disk(self, name, size) for name, size in sizes.items()}
        self._options = {
            name: {"size": size, "rate": bytes_per_second, "remembers": remembers, "prepared": prepared}
            for name, size in sizes.items()
        }
        self._process: subprocess.Popen[str] | None = None

    def __getitem__(self, name: str) -> Disk:
        return self.disks[name]

    def __enter__(self) -> Rack:
        if os.geteuid() != 0:
            raise PermissionError("fragile disks are loop devices: they need root")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "disks.server", str(self.folder), json.dumps(self._options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(_TESTS)},
            start_new_session=True,  # a Ctrl-C reaches the test first, which then stops the rack
        )
        try:
            self._answer()
            for disk in self.disks.values():
                disk.attach()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, whatever is still mounted: that gets errors from then on."""
        assert self._process and self._process.stdin and self._process.stdout
        try:
            for disk in self.disks.values():
                with suppress(subprocess.CalledProcessError, TimeoutError):
                    disk.detach()
        finally:
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()

    def cut_power(self, *, keep: float = 0.0, seed: int = 0) -> None:
        """All disks at the same moment: what they were not asked to make durable is lost, and every request fails.

        Of the lost blocks the fraction `keep` survives by chance, as in a real cache. The devices stay attached, so
        that what is mounted meets the errors.
        """
        self.command("cut", keep=keep, seed=seed)

    def switch_on(self) -> None:
        """Power again, and new devices: nothing of before may be mounted any more."""
        for disk in self.disks.values():
            disk.detach()
        self.command("switch on")
        for disk in self.disks.values():
            disk.attach()

    def command(self, do: str, **arguments: Any) -> dict[str, Any]:
        assert self._process and self._process.stdin
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process and self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the rack of {', '.join(self.disks)} has ended: is /dev/fuse here, is fuse3 installed?")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
