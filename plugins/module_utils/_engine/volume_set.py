# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The volumes of a job as they come and go: which can be used now, and why the others cannot."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Container, Iterator
from typing import TypeVar

from . import workers
from .conditions import FAILED, MISSING, READ_ONLY, word_of
from .config import Job
from .config import Volume as VolumeConfig
from .disk_calls import DiskCalls, Silent
from .errors import LocalError, Trouble
from .ledger import Ledger
from .occupancy import Occupancy
from .placement import VolumeSpace
from .volume_opening import VolumeOpening, why_not
from .volumes import OpenVolume

_log = logging.getLogger("snowsync.volumes")
_Answer = TypeVar("_Answer")
STUCK_SECONDS = 20.0  # a disk that takes so long for one call gets nothing more meanwhile, if there is another one
SILENT_SECONDS = 30.0  # a disk that answers nothing for so long is out of use until it does
_READING_REST = 30.0  # seconds between two trials whether a volume that is only read from takes writes again
UNREADABLE_SECONDS = 60.0  # a volume that answers with errors so long is not waited for
_LONGEST_REST = 900.0  # seconds before a volume that fails again and again is tried once more
_REMEMBER_SECONDS = 1.0  # so often at most is the newest group written to a volume
_TRUSTED_SECONDS = 600.0  # a volume that worked so long failed for a new reason


class VolumeSet:
    """The job's volumes. One thread calls `refresh` and `close_retired`; the other methods any thread may call.

    `reads`: volumes that take no writes are opened too, for reading. `tells`: the ledger learns of every trouble.
    """

    def __init__(self, job: Job, ledger: Ledger, *, reads: bool = False, tells: bool = True) -> None:
        self._job = job
        self._ledger = ledger
        self._reads = reads
        self._tells = tells
        self.open: dict[int, OpenVolume] = {}
        self.absent: dict[str, str] = {config.name: "not looked at yet" for config in job.volumes}
        left = ledger.holding() - self.absent.keys()
        self.absent |= dict.fromkeys(left, "objects are staged there, and the job no longer names it; put it back")
        self._lock = threading.Lock()
        self._retired: list[OpenVolume] = []
        self._failures: dict[str, int] = {}
        self._rest_until: dict[str, float] = {}
        self._told: dict[str, tuple[str, str]] = {}
        self._failed_since: dict[str, float] = {}
        self._occupancy = Occupancy(ledger.occupied)
        self.draining: set[int] = set()  # nothing is placed on these
        self._placing: dict[int, bool] = {}
        self._opening = VolumeOpening(job, ledger, tells=tells)
        self._disks = {config.name: DiskCalls(config.name) for config in job.volumes}

    def refresh(self) -> tuple[list[OpenVolume], list[OpenVolume]]:
        """Look at every volume: (those that came, those that went)."""
        gone = []
        for volume, (word, reason) in [(volume, self._look(volume)) for volume in list(self.open.values())]:
            if word and self._retire(volume, reason):
                self._tell(volume.name, word, reason)
                gone.append(volume)
        came = []
        now = time.monotonic()
        self.draining = self._ledger.draining()
        for config in self._job.volumes:
            if now < self._rest_until.get(config.name, 0.0):
                continue
            opened = self._asked_to_open(config)
            if opened:
                with self._lock:
                    del self.absent[config.name]
                    self.open[opened.id] = opened
                came.append(opened)
        return came, gone

    def _look(self, volume: OpenVolume) -> tuple[str, str]:
        """(word, reason) for a volume that is lost, ("", "") for one that is there."""

        def look() -> str:
            if not volume.still_there():
                return volume.trouble() or MISSING
            self._remember(volume)
            return ""

        try:
            word = self.ask(volume, look)
        except Silent as silence:
            return ("", "") if silence.seconds < SILENT_SECONDS else (MISSING, f"its disk does not answer: {silence}")
        if word == MISSING:
            return word, "its marker is no longer there: unmounted?"
        return word, "its disk answers with errors" if word else ""

    def ask(self, volume: OpenVolume, call: Callable[[], _Answer]) -> _Answer:
        """What only this volume's disk can answer, for the thread that calls `refresh`.

        Silent, an OSError, when it takes long; the call goes on then, and the descriptors stay the volume's own.
        """

        def borrowed() -> _Answer:
            try:
                return call()
            finally:
                self._use(volume, -1)

        self._use(volume, 1)
        try:
            return self._disks[volume.name].ask(borrowed)
        except Silent as silence:
            if not silence.is_asked:
                self._use(volume, -1)
            raise

    def _use(self, volume: OpenVolume, more: int) -> None:
        with self._lock:
            volume.users += more

    def _asked_to_open(self, config: VolumeConfig) -> OpenVolume | None:
        try:
            return self._disks[config.name].ask(lambda: self._opened_anew(config), "open")
        except Silent as silence:
            if config.name in self.absent:
                self.absent[config.name] = f"its disk does not answer: {silence}"
            return None

    def _opened_anew(self, config: VolumeConfig) -> OpenVolume | None:
        """A volume that was absent, or one that was only read from and takes writes again."""
        if config.name in self.absent:
            return self._try_open(config)
        read = next((volume for volume in list(self.open.values()) if volume.name == config.name), None)
        if read is None or read.writable:
            return None
        self._rest_until[config.name] = time.monotonic() + _READING_REST
        try:
            opened = self._open(config)
        except (LocalError, OSError) as error:
            self._tell(config.name, word_of(error), why_not(config, error))
            return None
        self._retire(read, "it takes writes again")
        return opened

    def take_out(self, volume: OpenVolume, reason: str) -> bool:
        """Stop using a volume that failed, until `refresh` can open it again; False when that was said already.

        Who fails again soon rests longer: every change of the volumes interrupts the movers.
        """
        word = volume.trouble() or FAILED
        if not self._retire(volume, reason):
            return False
        self._tell(volume.name, word, reason)
        now = time.monotonic()
        failures = self._failures.get(volume.name, 0) if now - volume.opened < _TRUSTED_SECONDS else 0
        self._failures[volume.name] = failures + 1
        self._rest_until[volume.name] = now + min(_LONGEST_REST, 2.0**failures)
        return True

    def _retire(self, volume: OpenVolume, reason: str) -> bool:
        with self._lock:
            if self.open.get(volume.id) is not volume:
                return False
            del self.open[volume.id]
            self.absent[volume.name] = reason
            self._retired.append(volume)
        return True

    def _tell(self, name: str, word: str, reason: str) -> None:
        """Let the ledger know of a trouble, once."""
        if word == FAILED:
            self._failed_since.setdefault(name, time.monotonic())
        else:
            self._failed_since.pop(name, None)
        if not self._tells or self._told.get(name) == (word, reason):
            return
        known = self._ledger.known_volumes().get(name)
        if known:
            self._ledger.set_trouble(known[0], word, reason)
        else:
            self._ledger.note_unused(name, word, reason)
        self._told[name] = (word, reason)

    def unreadable(self) -> list[tuple[int, str]]:
        """(number, reason) of volumes that have answered with errors for a while, and cannot even be opened."""
        now = time.monotonic()
        found = []
        for config in self._job.volumes:
            since = self._failed_since.get(config.name)
            if since is None or now - since < UNREADABLE_SECONDS or config.name not in self.absent:
                continue
            self._failed_since[config.name] = now  # looked at again after as long a time
            known = self._ledger.known_volumes().get(config.name)
            if known and not self._can_be_read(config):
                found.append((known[0], self.absent[config.name]))
        return found

    def _can_be_read(self, config: VolumeConfig) -> bool:
        try:
            self._disks[config.name].ask(lambda: self._open(config, writable=False).close())
        except Silent:
            return True  # it may yet
        except OSError as error:
            return word_of(error) != FAILED
        except LocalError as error:
            return word_of(error) != FAILED
        return True

    @contextlib.contextmanager
    def borrowed(self, number: int | None = None) -> Iterator[list[OpenVolume]]:
        """The open volumes, or the one of this number; their descriptors stay their own inside the block."""
        with self._lock:
            volumes = [volume for volume in self.open.values() if number in (None, volume.id)]
            for volume in volumes:
                volume.users += 1
        try:
            yield volumes
        finally:
            with self._lock:
                for volume in volumes:
                    volume.users -= 1

    def close_retired(self, busy: Container[int] = ()) -> None:
        """Close what was taken out, but for the volumes whose `id()` is in `busy` and those that are borrowed."""
        with self._lock:
            idle = [volume for volume in self._retired if id(volume) not in busy and not volume.users]
            self._retired = [volume for volume in self._retired if volume not in idle]
        for volume in idle:
            volume.close()

    def _try_open(self, config: VolumeConfig) -> OpenVolume | None:
        try:
            return self._open(config)
        except (LocalError, OSError) as error:
            word, reason = word_of(error), why_not(config, error)
            if isinstance(error, LocalError) and error.trouble is Trouble.UNSUPPORTED:
                self._rest_until[config.name] = time.monotonic() + _READING_REST
        if not self._reads and self.absent[config.name] != reason:  # who only reads from volumes says what it waits for
            _log.warning("volume %s is not used: %s", config.name, reason)
        self.absent[config.name] = reason
        self._tell(config.name, word, reason)
        if self._reads and word in (READ_ONLY, FAILED):
            with contextlib.suppress(LocalError, OSError):
                opened = self._open(config, writable=False)
                self._rest_until[config.name] = time.monotonic() + _READING_REST
                return opened
        return None

    def _open(self, config: VolumeConfig, *, writable: bool = True) -> OpenVolume:
        opened = self._opening.opened(config, writable=writable)
        if writable:
            self._told.pop(config.name, None)
            self._failed_since.pop(config.name, None)
        return opened

    def remember(self, number: int | None = None, *, now: bool = False) -> None:
        """Let the volumes, or the one of this number, know the newest group, once a second at most, or `now`.

        Any thread may call this; who waits for the medium of one volume names that one.
        """
        with self.borrowed(number) as volumes:
            for volume in volumes:
                self._remember(volume, now=now)

    def _remember(self, volume: OpenVolume, *, now: bool = False) -> None:
        if not volume.remembering.acquire(blocking=False):
            return
        try:
            newest = self._ledger.newest_group()
            due = now or time.monotonic() - volume.remembered_at >= _REMEMBER_SECONDS
            if due and volume.remembered != newest:
                volume.remember(newest)
        finally:
            volume.remembering.release()

    def placeable(self) -> list[OpenVolume]:
        """The volumes that new objects may go to."""
        return [volume for volume in list(self.open.values()) if volume.writable and volume.id not in self.draining]

    def stuck(self) -> set[int]:
        """The volumes whose disks somebody has waited for very long, while others answer: these go on."""
        found = {number for number, seconds in workers.waits(time.monotonic()).items() if seconds >= STUCK_SECONDS}
        there = set(self.open)
        return found & there if there - found else set()

    def say_placing(self, busy: Container[int]) -> None:
        """Tell the ledger which volumes something may be on its way to: those that take new objects, and the `busy`."""
        placing = {number: number not in self.draining or number in busy for number in list(self.open)}
        changes = {number: on for number, on in placing.items() if self._placing.get(number) != on}
        if changes:
            self._ledger.set_placing(changes)
            self._placing.update(changes)

    def spaces(self, lock: contextlib.AbstractContextManager[object] | None = None) -> list[VolumeSpace]:
        """Every volume for the placement, but for those whose disks say nothing now; one that fails is taken out.

        `lock` guards the sums of what is in flight: it is held while these are read, and not while a disk, or the
        ledger, is asked.
        """
        stuck = self.stuck()
        free = [volume for volume in self.placeable() if volume.id not in stuck]
        asked = [(volume, status) for volume in free if (status := self._status(volume))]
        lock = lock or contextlib.nullcontext()
        if any(config.limit is not None for config in self._job.volumes):
            self._occupancy.ask(lock)
        with lock:
            return [volume.space(self._job, self._occupancy.of(volume.id), status) for volume, status in asked]

    def _status(self, volume: OpenVolume) -> os.statvfs_result | None:
        try:
            return self.ask(volume, lambda: os.fstatvfs(volume.root))
        except Silent:
            return None
        except OSError as error:
            self.take_out(volume, f"its filesystem does not answer: {error.strerror}")
            return None

    def count_anew(self) -> None:
        """Ask the ledger for its sums at the next look, however lately it was asked."""
        self._occupancy.expire()

    def committed(self, volume: OpenVolume, size: int) -> None:
        """`size` bytes of in-flight data became durable: keep the sums right until the ledger is asked again."""
        volume.expect_no_more(size)
        volume.fullness.took(time.monotonic(), size)
        self.occupies(volume, size)

    def occupies(self, volume: OpenVolume, size: int) -> None:
        """A file more lies there."""
        self._occupancy.add(volume.id, size)

    def why_absent(self) -> str:
        return "; ".join(f"{name}: {reason}" for name, reason in self.absent.items())

    def why_only_read(self, volume: OpenVolume) -> str:
        return self._told.get(volume.name, ("", "it takes no writes"))[1]

    def why_not_placeable(self) -> str:
        """Why nothing new can be placed, volume by volume."""
        draining = {
            volume.name: "is being drained" for volume in list(self.open.values()) if volume.id in self.draining
        }
        return "; ".join(f"{name}: {reason}" for name, reason in (self.absent | draining).items())

    def close(self) -> None:
        self.remember(now=True)
        with self._lock:
            volumes = [*self.open.values(), *self._retired]
            self.open.clear()
            self._retired.clear()
        for volume in volumes:
            volume.close()
        for disk in self._disks.values():
            disk.close()
