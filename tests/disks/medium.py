# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fragile disk is made of: its bytes, how it forgets them, how it fails, how fast it is. No FUSE in here."""

from __future__ import annotations

import errno
import mmap
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

BLOCK = 4096
_CATCH_UP_SECONDS = 0.02  # a sleep that took too long is made good by the next request, within these bounds


@dataclass
class Throttle:
    """One moving head: reads and writes share `bytes_per_second` (None: as fast as it goes)."""

    bytes_per_second: float | None = None
    free_at: float = 0.0

    def wait(self, size: int, now: float) -> float:
        """Seconds that a request of `size` bytes, come at `now`, has to wait for its answer."""
        if not self.bytes_per_second:
            return 0.0
        self.free_at = max(self.free_at, now - _CATCH_UP_SECONDS) + size / self.bytes_per_second
        return max(0.0, self.free_at - now)


@dataclass
class Faults:
    """What the disk refuses with EIO: all reads, all writes, or those in whose data the bytes `where` lie."""

    reads: bool = False
    writes: bool = False
    where: bytes = b""

    def check(self, data: bytes, *, is_write: bool) -> None:
        refused = self.writes if is_write else self.reads
        if refused and self.where in data:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


@dataclass
class Medium:
    """`size` bytes, all zero, and a volatile cache: what was written since the last `sync` is lost by `cut`.

    Implemented the other way round: a write goes to its place at once, and what was there before is kept until the next
    `sync`. With `remembers` False nothing is kept (a disk that is never cut needs no second copy). With `prepared` all
    memory is touched now, which a virtual machine may take seconds per GiB for.
    """

    size: int
    remembers: bool = True
    prepared: bool = False
    has_power: bool = True
    faults: Faults = field(default_factory=Faults)
    bytes_read: int = 0
    bytes_written: int = 0
    syncs: int = 0
    _before: list[tuple[int, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        populate = mmap.MAP_POPULATE if self.prepared else 0
        self._bytes = mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | populate)

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes; OSError EIO without power or where it is to fail."""
        self._check_power()
        data = self._bytes[offset : offset + size]
        self.faults.check(data, is_write=False)
        self.bytes_read += len(data)
        return data

    def write(self, offset: int, data: bytes) -> int:
        self._check_power()
        if offset + len(data) > self.size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.faults.check(data, is_write=True)
        if self.remembers:
            self._before.append((offset, self._bytes[offset : offset + len(data)]))
        self._bytes[offset : offset + len(data)] = data
        self.bytes_written += len(data)
        return len(data)

    def sync(self) -> None:
        """FLUSH: what was written is durable."""
        self._check_power()
        if self.faults.writes and not self.faults.where:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._before.clear()
        self.syncs += 1

    def cut(self, keep: float = 0.0, seed: int = 0) -> None:
        """Power off. Of the blocks of 4 KiB that were not synced the fraction `keep` survives all the same, by chance.

        That is what a real cache may do: write out anything, in any order, without having been asked.
        """
        if not self.remembers:
            raise ValueError("this disk keeps nothing to go back to")
        self.has_power = False
        dice = random.Random(seed)
        survives: dict[int, bool] = {}
        for offset, before in reversed(self._before):
            for start, end in _pieces(offset, offset + len(before)):
                if not survives.setdefault(start // BLOCK, dice.random() < keep):
                    self._bytes[start:end] = before[start - offset : end - offset]
        self._before.clear()

    def switch_on(self) -> None:
        self.has_power = True

    def _check_power(self) -> None:
        if not self.has_power:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def _pieces(start: int, end: int) -> Iterator[tuple[int, int]]:
    """A range cut at the borders of the blocks."""
    while start < end:
        border = min(end, (start // BLOCK + 1) * BLOCK)
        yield start, border
        start = border
