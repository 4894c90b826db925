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
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..core.errors import LedgerError, LocalError, Trouble
from ..core.model import State
from ..core.removal import AtDestination
from ..core.text import counted_text
from ..ledger.ledger import Row
from ..ledger.locks import EVACUATION, locked
from ..ledger.ports import EvacuationLedger
from ..ledger.records import Tally
from ..volumes.open_volume import OpenVolume
from ..volumes.volume_set import VolumeSet
from . import draining
from .evacuated_copies import Copy, EvacuatedCopies, staged_path
from .evacuation_targets import EvacuationTargets
from .obsolete_files import ObsoleteFiles

if TYPE_CHECKING:
    from ..config.job_file import Job
    from ..inspection.volume_status import VolumeStatus

_WAIT_SECONDS = 0.5
_PATIENCE_SECONDS = 5.0  # a source unit that starts holds the lock for a moment, to sweep


@dataclass(slots=True)
class Evacuated:
    """What an evacuation did. `dropped` is what users put there: it is delivered from its drop folder."""

    moved: Tally = field(default_factory=Tally)
    refetched: Tally = field(default_factory=Tally)  # could not be read, or was damaged
    released: Tally = field(default_factory=Tally)  # had already been delivered
    dropped: Tally = field(default_factory=Tally)


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
            volumes = VolumeSet(job, ledger, reads=True, tells=False)
            try:
                volumes.refresh()
                return Evacuation(job, EvacuatedVolume(job, ledger, volumes, number, name), ledger, volumes, say).run()
            finally:
                volumes.close()
    finally:
        ledger.close()


class EvacuatedVolume:
    """The volume that is evacuated, and what lies there."""

    def __init__(self, job: Job, ledger: EvacuationLedger, volumes: VolumeSet, number: int, name: str) -> None:
        self._job = job
        self._ledger = ledger
        self._volumes = volumes
        self._number = number
        self._name = name

    @property
    def action(self) -> str:
        return f"evacuate volume {self._name} of job {self._job.job}"

    def opened(self) -> OpenVolume:
        """As it is now. LocalError if it is not there, LedgerError once it is used again.

        No copy is in progress: volumes that were taken out are closed.
        """
        self._volumes.refresh()
        self._volumes.in_use.close_retired()
        volume = self._volumes.open.get(self._number)
        if volume is None:
            why = self._volumes.absent.get(self._name, "it is no longer in the job's configuration")
            raise LocalError(Trouble.IO, self.action, f"{why}; if it will not come back: snowsync refetch")
        if self._number not in self._volumes.draining:
            raise LedgerError(f"Failed to {self.action}: draining was undone")
        return volume

    def rows(self, state: State, last: int) -> list[Row]:
        """A group of the objects there, after the one with number `last`."""
        return self._ledger.moves.lying(state, self._number, after_id=last, limit=self._job.group.objects)

    def is_empty(self) -> bool:
        return not (self.rows(State.STAGED, 0) or self.rows(State.DELIVERED, 0))

    def status(self) -> VolumeStatus:
        return draining.look(self._job, self._name)

    def take_older_first(self) -> None:
        """Replaced generations there move like any other object, since they are then delivered first."""
        while self._ledger.copies.deliver_older_first({self._number}):
            pass

    def release(self, source: OpenVolume, rows: list[Row]) -> None:
        """Delete what is already delivered instead of moving it. A running destination unit may do the same."""
        for row in rows if source.medium.writable else ():
            permit = AtDestination(row.id, row.key, row.generation, row.target, row.destination_etag)
            with contextlib.suppress(OSError):
                source.discard_with_folders(staged_path(row), permit)
        self._ledger.deliveries.commit_delivered([], rows, 0)


class ChangingText:
    """Says a text if it is not the one that was said last."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said = ""

    def tell(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._say(text)


class Evacuation:
    """One evacuation. The job's EVACUATION lock is held."""

    def __init__(
        self,
        job: Job,
        volume: EvacuatedVolume,
        ledger: EvacuationLedger,
        volumes: VolumeSet,
        say: Callable[[str], None],
    ) -> None:
        self._job = job
        self._volume = volume
        self._targets = EvacuationTargets(volumes)
        self._copies = EvacuatedCopies(job.job, ledger, self._targets)
        self._obsolete = ObsoleteFiles(ledger.copies, volumes)
        self._text = ChangingText(say)
        self._done = Evacuated()
        self._too_large: Row | None = None  # the first object that is too large for every other volume

    def run(self) -> Evacuated:
        self._volume.opened()
        self._volume.take_older_first()
        self._targets.sweep()
        self._obsolete.discard_noted()
        self._obsolete.discard_replaced()
        while not self._is_over():
            if not self._move_all():
                time.sleep(_WAIT_SECONDS)
        self._done.refetched = self._copies.refetched
        self._done.dropped = self._volume.status().dropped
        return self._done

    def _is_over(self) -> bool:
        """Whether nothing is left to move, and nothing more is in flight to the volume."""
        if not self._volume.is_empty():
            return False
        status = self._volume.status()
        if status.is_drained or not status.awaited:
            return True
        self._text.tell(f"waiting for objects that may still be written to volume {status.name}")
        return False

    def _move_all(self) -> bool:
        """One pass over what is there. False: nothing could be done now."""
        acted = False
        self._too_large = None
        for state in (State.STAGED, State.DELIVERED):
            last = 0
            while rows := self._volume.rows(state, last):
                last = rows[-1].id
                source = self._volume.opened()
                if state is State.DELIVERED and not self._job.keep_staged:
                    self._volume.release(source, rows)
                    self._done.released += Tally(len(rows), sum(row.size for row in rows))
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
            copies: list[Copy] = []
            size = 0
            while waiting and size < self._job.group.bytes:
                target = self._targets.choose(waiting[0].size)
                if target is None and self._targets.is_too_large(waiting[0].size):
                    row = waiting.pop(0)
                    self._too_large = self._too_large or row
                    continue
                if target is None:
                    break
                row = waiting.pop(0)
                copied = self._copies.make(source, row, target)
                if copied:
                    copies.append(copied)
                    size += row.size
            if not copies and waiting and self._targets.choose(waiting[0].size) is None:
                self._no_room(waiting[0])
                return False
            for target in {id(copy.target): copy.target for copy in copies}.values():
                self._commit(target, [copy for copy in copies if copy.target is target])
            self._obsolete.discard_noted()
        return True

    def _commit(self, target: OpenVolume, copies: list[Copy]) -> None:
        moved = self._copies.commit(target, copies)
        self._done.moved += moved
        if moved.objects:
            self._text.tell(f"moved {counted_text(self._done.moved.objects, 'object')} so far")

    def _no_room(self, row: Row) -> None:
        """Wait for the destination unit to deliver something; raise LocalError if none is running."""
        why = self._targets.why_none(row)
        if "destination" not in draining.running_units(self._job):
            reason = f"{why.what}, and no destination unit is running that would {why.help_needed}"
            raise LocalError(why.trouble, self._volume.action, reason)
        self._text.tell(f"waiting for space: {why.what}")
