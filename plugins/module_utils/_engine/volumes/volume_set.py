# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The volumes of a job: which can be used now, and why the others cannot."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Container
from typing import TypeVar

from ..config.job_file import Job
from ..core import workers
from ..core.conditions import FAILED, MISSING
from ..ledger.ledger import Ledger
from .disk_calls import Silent
from .in_use import VolumesInUse
from .job_volume import JobVolume, loss, loss_in_silence, stuck, why_silent
from .load import space_of
from .notices import VolumeNotices
from .occupancy import Occupancy
from .open_volume import OpenVolume
from .opening import VolumeOpening
from .placement import VolumeSpace
from .trials import VolumeTrials

_Answer = TypeVar("_Answer")
_LEFT = "objects are staged there, but the job file no longer names it; add it again"


class VolumeSet:
    """The job's volumes. One thread calls `refresh` and `in_use.close_retired`; the other methods any thread may call.

    `reads`: volumes that take no writes are opened too, for reading. `tells`: the ledger learns of every trouble.
    """

    def __init__(self, job: Job, ledger: Ledger, *, reads: bool = False, tells: bool = True) -> None:
        self._job = job
        self._ledger = ledger
        self._volumes = {config.name: JobVolume(config) for config in job.volumes}
        self._left = dict.fromkeys(ledger.volumes.holding() - self._volumes.keys(), _LEFT)
        self.in_use = VolumesInUse(self._volumes)
        self.occupancy = Occupancy(ledger.volumes.occupied)
        self._notices = VolumeNotices(ledger, of_trouble=tells)
        self._trials = VolumeTrials(VolumeOpening(job, ledger, tells=tells), self._notices, reads=reads)

    @property
    def open(self) -> dict[int, OpenVolume]:
        """Those in use, by number."""
        return self.in_use.by_number

    @property
    def absent(self) -> dict[str, str]:
        """Why the others are not, by name."""
        return {name: volume.absence for name, volume in self._volumes.items() if volume.absence} | self._left

    @property
    def draining(self) -> set[int]:
        """Those of the job on which nothing new is placed, by number, in use or not."""
        return {volume.number for volume in self._volumes.values() if volume.is_draining}

    @property
    def coming(self) -> set[int]:
        """Those that may be in use in a moment, by number."""
        return {volume.number for volume in self._volumes.values() if volume.is_coming}

    def refresh(self) -> tuple[list[OpenVolume], list[OpenVolume]]:
        """Look at every volume: (those that came, those that went)."""
        gone = self._gone()
        self._heed_draining()
        return self._come(), gone

    def _heed_draining(self) -> None:
        known, draining = self._ledger.volumes.known_volumes(), self._ledger.volumes.draining()
        for volume in self._volumes.values():
            volume.number = known.get(volume.name, (0, ""))[0]
            volume.is_draining = volume.number in draining

    def _gone(self) -> list[OpenVolume]:
        gone = []
        for opened, (word, reason) in [(opened, self._look(opened)) for opened in self.open.values()]:
            if word and self.in_use.retire(opened, reason):
                self._notices.trouble(self._volumes[opened.name], word, reason)
                gone.append(opened)
        return gone

    def _come(self) -> list[OpenVolume]:
        came = []
        now = time.monotonic()
        for volume in self._volumes.values():
            opened = self._asked_to_open(volume) if volume.is_to_be_tried(now) else None
            if opened:
                self.in_use.comes(opened)
                came.append(opened)
        return came

    # -- asked ------------------------------------------------------------------------------------------------

    def _look(self, volume: OpenVolume) -> tuple[str, str]:
        """(word, reason) for a volume that is lost, ("", "") for one that is there."""

        def look() -> str:
            if not volume.medium.still_there():
                return volume.medium.trouble() or MISSING
            volume.ownership.remember(self._ledger.recovery.newest_group)
            return ""

        try:
            return loss(self.ask(volume, look))
        except Silent as silence:
            return loss_in_silence(silence)

    def ask(self, volume: OpenVolume, call: Callable[[], _Answer]) -> _Answer:
        """What only this volume's disk can answer, for the thread that calls `refresh`.

        Silent, an OSError, when it takes long; the call goes on then, and the descriptors stay the volume's own.
        """

        def borrowed() -> _Answer:
            try:
                return call()
            finally:
                self.in_use.let_go(volume)

        self.in_use.hold(volume)
        try:
            return self._volumes[volume.name].disk.ask(borrowed)
        except Silent as silence:
            if not silence.is_asked:
                self.in_use.let_go(volume)
            raise

    def _asked_to_open(self, volume: JobVolume) -> OpenVolume | None:
        try:
            return volume.disk.ask(lambda: self._opened_anew(volume), "open")
        except Silent as silence:
            if volume.open is None:
                volume.absence = why_silent(silence)
            return None

    def _opened_anew(self, volume: JobVolume) -> OpenVolume | None:
        """A volume that was absent, or one that was only read from and takes writes again. In its disk's thread."""
        read = volume.open
        if read is None:
            return self._trials.of_absent(volume)
        opened = self._trials.of_only_read(volume)
        if opened:
            self.in_use.retire(read, "it accepts writes again")
        return opened

    def unreadable(self) -> list[tuple[int, str]]:
        """(number, reason) of volumes that have answered with errors for a while, and cannot even be opened."""
        now = time.monotonic()
        found = []
        for volume in self._volumes.values():
            known = self._ledger.volumes.known_volumes().get(volume.name) if volume.is_to_be_read_now(now) else None
            if known and not self._can_be_read(volume):
                found.append((known[0], volume.absence))
        return found

    def _can_be_read(self, volume: JobVolume) -> bool:
        try:
            return volume.disk.ask(lambda: self._trials.can_be_read(volume))
        except Silent:
            return True  # it may yet

    # -- taken out --------------------------------------------------------------------------------------------

    def take_out(self, volume: OpenVolume, reason: str) -> bool:
        """Stop using a volume that failed, until `refresh` can open it again; False when that was said already.

        Who fails again soon rests longer: every change of the volumes interrupts the movers.
        """
        word = volume.medium.trouble() or FAILED
        if not self.in_use.retire(volume, reason):
            return False
        known = self._volumes[volume.name]
        self._notices.trouble(known, word, reason)
        now = time.monotonic()
        known.retries.rest_as_it_failed(now, now - volume.medium.opened)
        return True

    def remember(self, number: int | None = None, *, now: bool = False) -> None:
        """Let the volumes, or the one of this number, know the newest group, once a second at most, or `now`.

        Any thread may call this; who waits for the medium of one volume names that one.
        """
        with self.in_use.borrowed(number) as volumes:
            for volume in volumes:
                volume.ownership.remember(self._ledger.recovery.newest_group, now=now)

    def placeable(self) -> list[OpenVolume]:
        """The volumes that new objects may go to."""
        return [opened for volume in self._volumes.values() if (opened := volume.for_new())]

    def stuck(self) -> set[int]:
        """The volumes whose disks somebody has waited for very long, while others answer: these go on."""
        return stuck(workers.waits(time.monotonic()), set(self.open))

    def say_placing(self, busy: Container[int]) -> None:
        """Tell the ledger which volumes something may be on its way to: those that take new objects, and the `busy`."""
        self._notices.placing(self._volumes.values(), busy)

    def spaces(self, lock: contextlib.AbstractContextManager[object] | None = None) -> list[VolumeSpace]:
        """Every volume for the placement, but for those whose disks say nothing now; one that fails is taken out.

        `lock` guards the sums of what is in flight: it is held while these are read, and not while a disk, or the
        ledger, is asked.
        """
        waits = workers.waits(time.monotonic())
        away = stuck(waits, set(self.open))
        free = [volume for volume in self.placeable() if volume.id not in away]
        asked = [(volume, status) for volume in free if (status := self._status(volume))]
        lock = lock or contextlib.nullcontext()
        if any(config.limit is not None for config in self._job.volumes):
            self.occupancy.ask(lock)
        now = time.monotonic()
        with lock:
            return [self._space(volume, status, now, waits.get(volume.id, 0.0)) for volume, status in asked]

    def _space(self, volume: OpenVolume, status: os.statvfs_result, now: float, silent: float) -> VolumeSpace:
        occupied = self.occupancy.of(volume.id)
        return space_of(volume.id, volume.config.limit, volume.load, self._job, occupied, status, now, silent)

    def _status(self, volume: OpenVolume) -> os.statvfs_result | None:
        try:
            return self.ask(volume, lambda: os.fstatvfs(volume.folders.root))
        except Silent:
            return None
        except OSError as error:
            self.take_out(volume, f"its filesystem does not respond: {error.strerror}")
            return None

    def committed(self, volume: OpenVolume, size: int) -> None:
        """`size` bytes of in-flight data became durable: keep the sums right until the ledger is asked again."""
        volume.load.took(size, time.monotonic())
        self.occupancy.add(volume.id, size)

    def why_absent(self) -> str:
        return "; ".join(f"{name}: {reason}" for name, reason in self.absent.items())

    def why_only_read(self, volume: OpenVolume) -> str:
        return self._notices.why_only_read(volume)

    def why_not_placeable(self) -> str:
        """Why nothing new can be placed, volume by volume."""
        volumes = self._volumes.values()
        draining = {volume.name: "is being drained" for volume in volumes if volume.open and volume.is_draining}
        return "; ".join(f"{name}: {reason}" for name, reason in (self.absent | draining).items())

    def close(self) -> None:
        self.remember(now=True)
        self.in_use.close()
        for volume in self._volumes.values():
            volume.disk.close()
