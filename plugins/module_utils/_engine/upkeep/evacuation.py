# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Evacuates a volume: what is staged there is moved to the other volumes, without being fetched again.

Works while units run, and may be interrupted at any moment. Steps for one group, each durable before the next:

1. copied to ``incoming/evacuate-<id>`` of another volume, hashed on the way, and synced
2. the ledger notes the names that the copies are about to get as obsolete files (`intend`)
3. the copies are renamed into the staging tree, and the directories synced
4. one transaction records the new locations of the objects, removes the notes, and notes the old files as obsolete
5. the old files are deleted, then their notes

If interrupted before 4, the copies are obsolete, after it the old files are; either way a note says so, which the next
evacuation or the source unit finds. A row is changed only if it still is what was copied: an object that was delivered
or replaced by a newer generation meanwhile stays unchanged. From 2 to 4 the names of the staging tree are held, so that
nothing else acts on the notes meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..core import keys
from ..core.conditions import MISSING
from ..core.errors import LedgerError, LocalError, Trouble, local_trouble
from ..core.etag import PartDigests
from ..core.layout import evacuated_name
from ..core.model import State
from ..core.removal import AtDestination
from ..core.text import counted_text
from ..ledger.ledger import Failure, Ledger, Row
from ..ledger.locks import EVACUATION, locked
from ..ledger.ports import EvacuationLedger
from ..ledger.records import Tally
from ..volumes.open_volume import OpenVolume
from ..volumes.placement import Placement
from ..volumes.volume_set import VolumeSet
from . import draining

if TYPE_CHECKING:
    from ..config.job_file import Job

_log = logging.getLogger("snowsync.evacuate")
_CHUNK = 1 << 20
_WAIT_SECONDS = 0.5
_PATIENCE_SECONDS = 5.0  # a source unit that starts holds the lock for a moment, to sweep


@dataclass(slots=True)
class Evacuated:
    """What an evacuation did. `dropped` is what users put there: it is delivered from its drop folder."""

    moved: Tally = field(default_factory=Tally)
    refetched: Tally = field(default_factory=Tally)  # could not be read, or was damaged
    released: Tally = field(default_factory=Tally)  # had already been delivered
    dropped: Tally = field(default_factory=Tally)


@dataclass(frozen=True, slots=True)
class _Copy:
    """A proven copy on another volume that has no name in the staging tree yet."""

    row: Row
    target: OpenVolume


def evacuate(job: Job, name: str, say: Callable[[str], None] = lambda text: None) -> Evacuated:
    """Drain a volume and move what is staged there; returns when nothing is left to move.

    `say` gets messages about progress and waits. Raises JobLocked during another evacuation, LocalError when the volume
    is not there, or when the others have no room and none will be freed.
    """
    ledger = draining.open_ledger(job)
    try:
        number = draining.number_of(ledger.volumes, job, name)
        with locked(job, EVACUATION, patience=_PATIENCE_SECONDS):
            ledger.volumes.set_draining(number, True)
            return Evacuation(job, ledger, number, name, say).run()
    finally:
        ledger.close()


class Evacuation:
    """One evacuation. The job's EVACUATION lock is held."""

    def __init__(self, job: Job, ledger: Ledger, number: int, name: str, say: Callable[[str], None]) -> None:
        self._job = job
        self._ledger: EvacuationLedger = ledger
        self._number = number
        self._name = name
        self._say = say
        self._said = ""
        self._volumes = VolumeSet(job, ledger, reads=True, tells=False)
        self._placement = Placement()
        self._done = Evacuated()
        self._too_large: Row | None = None  # the first object that is too large for every other volume

    def run(self) -> Evacuated:
        try:
            self._volumes.refresh()
            self._source()
            # Replaced generations on the volume move like any other object, since they are then delivered first.
            while self._ledger.copies.deliver_older_first({self._number}):
                pass
            for volume in self._volumes.placeable():
                volume.sweep_evacuated()
            self._discard_leftovers()
            self._discard_copies()
            while not self._is_over():
                if not self._move_all():
                    time.sleep(_WAIT_SECONDS)
            self._done.dropped = draining.look(self._job, self._name).dropped
            return self._done
        finally:
            self._volumes.close()

    def _source(self) -> OpenVolume:
        """The volume that is evacuated, as it is now. No copy is in progress."""
        self._volumes.refresh()
        self._volumes.in_use.close_retired()
        action = f"evacuate volume {self._name} of job {self._job.job}"
        volume = self._volumes.open.get(self._number)
        if volume is None:
            why = self._volumes.absent.get(self._name, "it is no longer in the job's configuration")
            raise LocalError(Trouble.IO, action, f"{why}; if it will not come back: snowsync refetch")
        if self._number not in self._volumes.draining:
            raise LedgerError(f"Failed to {action}: draining was undone")
        return volume

    def _is_over(self) -> bool:
        """Whether nothing is left to move, and nothing more is in flight to the volume."""
        if self._rows(State.STAGED, 0) or self._rows(State.DELIVERED, 0):
            return False
        status = draining.look(self._job, self._name)
        if status.is_drained or not status.awaited:
            return True
        self._tell(f"waiting for objects that may still be written to volume {self._name}")
        return False

    def _rows(self, state: State, last: int) -> list[Row]:
        return self._ledger.moves.lying(state, self._number, after_id=last, limit=self._job.group.objects)

    def _tell(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._say(text)

    # -- moving -----------------------------------------------------------------------------------------------

    def _move_all(self) -> bool:
        """One pass over what is there. False: nothing could be done now."""
        acted = False
        self._too_large = None
        for state in (State.STAGED, State.DELIVERED):
            last = 0
            while rows := self._rows(state, last):
                last = rows[-1].id
                source = self._source()
                if state is State.DELIVERED and not self._job.keep_staged:
                    self._release(source, rows)
                    acted = True
                    continue
                if not self._move(source, rows):
                    return acted  # no room, also not for the following rows
                acted = True
        if self._too_large:
            self._no_room(self._too_large)
            return False
        return acted

    def _move(self, source: OpenVolume, rows: list[Row]) -> bool:
        """Move some objects, one group at a time. False: there is no room."""
        waiting = list(rows)
        while waiting:
            copies: list[_Copy] = []
            size = 0
            while waiting and size < self._job.group.bytes:
                target = self._target(waiting[0].size)
                if target is None and self._is_too_large(waiting[0].size):
                    row = waiting.pop(0)
                    self._too_large = self._too_large or row
                    continue
                if target is None:
                    break
                row = waiting.pop(0)
                copied = self._copy(source, row, target)
                if copied:
                    copies.append(copied)
                    size += row.size
            if not copies and waiting and self._target(waiting[0].size) is None:
                self._no_room(waiting[0])
                return False
            for target in {id(copy.target): copy.target for copy in copies}.values():
                self._commit(target, [copy for copy in copies if copy.target is target])
            self._discard_leftovers()
        return True

    def _target(self, size: int) -> OpenVolume | None:
        chosen = self._placement.choose(size, self._volumes.spaces())
        return self._volumes.open.get(chosen) if chosen is not None else None

    def _is_too_large(self, size: int) -> bool:
        """Whether no filesystem of the other volumes accepts a file of this size, whatever its free space."""
        others = self._volumes.placeable()
        return bool(others) and all(size > volume.load.largest_file for volume in others)

    def _no_room(self, row: Row) -> None:
        """Wait for the destination unit to deliver something; raise LocalError if none is running."""
        self._volumes.occupancy.expire()
        trouble, help_needed = Trouble.SPACE, "free any"
        what = f"no other volume has room for {row.key!r} ({row.size} bytes)"
        if self._is_too_large(row.size):
            trouble, help_needed = Trouble.TOO_LARGE, "deliver it"
            what = f"{row.key!r} ({row.size} bytes) is too large for one file on any other volume (EFBIG)"
        if "destination" not in draining.running_units(self._job):
            action = f"evacuate volume {self._name} of job {self._job.job}"
            raise LocalError(trouble, action, f"{what}, and no destination unit is running that would {help_needed}")
        self._tell(f"waiting for space: {what}")

    # -- one object -------------------------------------------------------------------------------------------

    def _copy(self, source: OpenVolume, row: Row, target: OpenVolume) -> _Copy | None:
        """A copy that has the object's digest; None if that failed, and the reason is handled."""
        if self._ledger.objects.row(row.id) != row:
            return None
        try:
            descriptor = os.open(_path(row), os.O_RDONLY | os.O_NOFOLLOW, dir_fd=source.folders.staged)
        except OSError as error:
            self._cannot_read(source, row, error)
            return None
        target.load.expect(row.size)
        try:
            found = self._pour(descriptor, row, target)
        except _Unreadable as error:
            self._cannot_read(source, row, error.cause)
        except OSError as error:
            self._cannot_take(target, row, error)
        else:
            if found == row.digest.lower():
                return _Copy(row, target)
            self._is_damaged(source, row, found)
        finally:
            os.close(descriptor)
        target.load.expect_no_more(row.size)
        with contextlib.suppress(OSError):
            target.discard_evacuated(row.id)
        return None

    @staticmethod
    def _pour(descriptor: int, row: Row, target: OpenVolume) -> str:
        """Copy an open file; returns the digest of what was read. OSError when the target fails."""
        digests = PartDigests(row.part_size)
        name = evacuated_name(row.id)
        target.discard_evacuated(row.id)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        copy = os.open(name, flags, 0o600, dir_fd=target.folders.incoming)
        with open(copy, "wb", buffering=0) as stream:
            while True:
                try:
                    chunk = os.read(descriptor, _CHUNK)
                except OSError as error:
                    raise _Unreadable(error) from error
                if not chunk:
                    return digests.etag()
                digests.update(chunk)
                view = memoryview(chunk)
                while view:
                    view = view[stream.write(view) or 0 :]

    def _cannot_read(self, source: OpenVolume, row: Row, error: OSError) -> None:
        if self._ledger.objects.row(row.id) != row:
            return  # delivered and deleted, or replaced, meanwhile
        if source.medium.trouble() == MISSING:
            raise LocalError(Trouble.IO, f"evacuate volume {self._name} of job {self._job.job}", "it is now missing")
        if isinstance(error, FileNotFoundError):
            message = f"the staged file is gone (volume {self._name})"
            failure = Failure(row, "source", Trouble.MISMATCH, message, "fetched again", expected=row.digest)
            put_back = self._ledger.objects.retry(failure, delay_ms=0, count=False)
        else:
            message = f"it cannot be read on volume {self._name}: {error.strerror}"
            put_back = self._ledger.losses.leave_copy(Failure(row, "source", Trouble.IO, message, "fetched again"))
        if put_back:
            self._done.refetched += Tally(1, row.size)
            _log.warning("%r: %s", row.key, message)

    def _is_damaged(self, source: OpenVolume, row: Row, found: str) -> None:
        if self._ledger.objects.row(row.id) != row:
            return
        message = f"the staged file no longer has its digest (volume {self._name})"
        action = "quarantined and fetched again"
        failure = Failure(row, "source", Trouble.MISMATCH, message, action, expected=row.digest, found=found)
        if self._ledger.objects.retry(failure, delay_ms=0, count=False):
            self._done.refetched += Tally(1, row.size)
            _log.warning("%r: %s", row.key, message)
            self._ledger.copies.has_quarantined(row.id, source.id)
            with contextlib.suppress(OSError):  # swept when it is writable again
                source.staged_to_quarantine(_path(row), row.id, row.generation)

    def _cannot_take(self, target: OpenVolume, row: Row, error: OSError) -> None:
        if local_trouble(error) is Trouble.TOO_LARGE:
            target.load.takes_no_file_of(row.size)
            _log.warning("volume %s does not accept files of %d bytes", target.name, row.size)
        else:
            self._cannot_write(target, error)

    def _cannot_write(self, target: OpenVolume, error: OSError) -> None:
        trouble = local_trouble(error)
        if trouble is Trouble.SPACE:
            self._volumes.occupancy.expire()
        self._volumes.take_out(target, f"Failed to write to volume {target.name}: {error.strerror}")
        _log.warning("volume %s does not accept copies now: %s (%s)", target.name, error.strerror, trouble.value)

    # -- committing -------------------------------------------------------------------------------------------

    def _commit(self, target: OpenVolume, copies: list[_Copy]) -> None:
        started = time.monotonic()
        moved: list[Row] = []
        try:
            target.sync()
            target.load.pace.learn(sum(copy.row.size for copy in copies), time.monotonic() - started)
            with target.names_held():
                notes = self._ledger.moves.intend(target.id, [copy.row for copy in copies])
                named, problem = self._publish(target, copies)
                moved = self._ledger.moves.commit_moved([copy.row for copy in named], target.id, notes)
        except OSError as error:
            problem = error
        for row in moved:
            self._volumes.occupancy.add(target.id, row.size)
            self._done.moved += Tally(1, row.size)
        for copy in copies:
            target.load.expect_no_more(copy.row.size)
            with contextlib.suppress(OSError):  # copies without a name; else swept by the next evacuation to it
                target.discard_evacuated(copy.row.id)
        if problem:
            self._cannot_write(target, problem)
        if moved:
            self._tell(f"moved {counted_text(self._done.moved.objects, 'object')} so far")

    @staticmethod
    def _publish(target: OpenVolume, copies: list[_Copy]) -> tuple[list[_Copy], OSError | None]:
        """Give the copies their names, durably, up to the first one that fails; returns these and the error."""
        directories, named = set(), []
        problem: OSError | None = None
        for copy in copies:
            path = _path(copy.row)
            try:
                directories.add(target.publish(evacuated_name(copy.row.id), path))
            except FileNotFoundError:
                continue  # its volume was cleared meanwhile: it is copied again
            except OSError as error:  # each directory of the name needs an inode
                target.directories.prune([os.path.dirname(path)])
                problem = error
                break
            named.append(copy)
        target.directories.sync(directories)
        return named, problem

    def _release(self, source: OpenVolume, rows: list[Row]) -> None:
        """Delete what is already delivered instead of moving it. A running destination unit may do the same."""
        for row in rows if source.medium.writable else ():
            permit = AtDestination(row.id, row.key, row.generation, row.target, row.destination_etag)
            with contextlib.suppress(OSError):
                source.discard_with_folders(_path(row), permit)
        self._ledger.deliveries.commit_delivered([], rows, 0)
        for row in rows:
            self._done.released += Tally(1, row.size)

    def _discard_leftovers(self) -> None:
        """Delete files that the ledger notes as obsolete, on writable volumes; durably, then the notes."""
        last = 0
        while entries := self._ledger.copies.discards(after_id=last):
            last = entries[-1][0]
            gone: dict[int, list[int]] = {}
            for note, number, key, generation in entries:
                volume = self._volumes.open.get(number)
                if volume and volume.medium.writable and self._discard(volume, key, generation):
                    gone.setdefault(number, []).append(note)
            for number, notes in gone.items():
                with contextlib.suppress(OSError):  # found again by the next evacuation or unit
                    self._volumes.open[number].sync()
                    self._ledger.copies.discarded(notes)

    def _discard_copies(self) -> None:
        """Delete replaced generations whose successors are staged: they need not be moved."""
        last = 0
        while entries := self._ledger.copies.obsolete(after_id=last, pressed=True):
            last = entries[-1][0]
            gone = []
            for number, volume_id, key, generation in entries:
                volume = self._volumes.open.get(volume_id)
                if volume and volume.medium.writable and self._discard(volume, key, generation):
                    gone.append(number)
            self._ledger.copies.copies_removed(gone)

    def _discard(self, volume: OpenVolume, key: str, generation: int) -> bool:
        try:
            relative = keys.to_path(key, generation)
            with volume.names_held():
                permit = self._ledger.copies.permit(key, generation, volume.id)
                if permit is None:
                    return self._ledger.copies.is_named(key, generation, volume.id) or not volume.holds(relative)
                volume.discard_with_folders(relative, permit)
        except OSError as error:
            _log.warning("volume %s: cannot delete an old file: %s", volume.name, error.strerror)
            return False
        return True


class _Unreadable(Exception):
    """A read failed on the volume that is evacuated."""

    def __init__(self, cause: OSError) -> None:
        self.cause = cause
        super().__init__(str(cause))


def _path(row: Row) -> str:
    return keys.to_path(row.key, row.generation)
