# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Removes files from volumes that are no longer needed: leftovers of moves, replaced generations, mismatched copies.

A file is removed only if the ledger has a reason that permits it; an unknown file stays and is checked again later.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Container
from functools import partial

from ....core import keys
from ....core.removal import AtDestination
from ....ledger.source_ports import SourceLedger
from ....volumes.disk_calls import Silent
from ....volumes.open_volume import OpenVolume
from ....volumes.volume_set import VolumeSet

_log = logging.getLogger("snowsync.source")
_MOST_UNKNOWN = 10_000  # files of a volume that are checked again while the unit runs
_AGAIN_SECONDS = 10.0  # between two searches for files that are no longer needed


def discard(ledger: SourceLedger, volume: OpenVolume, key: str, generation: int) -> bool:
    """Remove a file of the staging tree if the ledger permits it. OSError when the volume fails.

    Also True if there is no such file, or if the key's row refers to it: then the note was wrong. False: nothing
    permits the removal; the file and the notes about it stay.
    """
    relative = keys.to_path(key, generation)
    with volume.names_held():
        permit = ledger.copies.permit(key, generation, volume.id)
        if permit is None:
            return ledger.copies.is_named(key, generation, volume.id) or not volume.holds(relative)
        volume.discard_with_folders(relative, permit)
    return True


def sweep(ledger: SourceLedger, volume: OpenVolume, relative: str) -> bool | None:
    """Whether the ledger needs a file. None: it is unknown and stays; False: it was not needed and is removed."""
    try:
        key, generation = keys.from_path(relative)
    except ValueError:
        _log.warning("volume %s: %r in the staging tree does not belong to snowsync; ignored", volume.name, relative)
        return True
    if ledger.copies.has_file(key, generation, volume.id):
        return True
    with volume.names_held():  # check again: it may have become known meanwhile
        if ledger.copies.has_file(key, generation, volume.id):
            return True
        permit = ledger.copies.permit(key, generation, volume.id)
        if permit is None:
            return None
        volume.discard_staged(relative, permit)
    return False


class Sweeping:
    """Removes them, for a source unit. Used by the feeder's thread, except for `soon`.

    `take_out` takes a failed volume out of use and logs the reason.
    """

    def __init__(self, ledger: SourceLedger, volumes: VolumeSet, take_out: Callable[[OpenVolume, str], None]) -> None:
        self._ledger = ledger
        self._volumes = volumes
        self._take_out = take_out
        self._next = 0.0
        self._soon = threading.Event()  # something changed since the last look
        self._unknown: dict[int, list[str]] = {}  # by volume, staged files that the ledger does not know

    def staged(self, volume: OpenVolume, spared: Container[str], goes_on: Callable[[str], bool]) -> int:
        """Scan the staging tree of a volume that came into use; returns how many files were removed.

        Unneeded files whose removal nothing permits stay: they may be the last copies of objects that this ledger
        never knew. `goes_on` gets a description of the work and returns whether to continue.
        """
        removed = unknown_files = 0
        folders: set[str] = set()
        unknown: list[str] = []
        for seen, relative in enumerate(volume.staged_files()):
            if not goes_on(f"scanning volume {volume.name}: {seen} staged files so far"):
                break
            verdict = relative in spared or sweep(self._ledger, volume, relative)
            if verdict is False:
                removed += 1
                folders.add(os.path.dirname(relative))
            elif verdict is None:
                unknown_files += 1
                if len(unknown) < _MOST_UNKNOWN:
                    unknown.append(relative)
        volume.directories.prune(folders)
        self._unknown[volume.id] = unknown
        if unknown:
            _log.warning(
                "volume %s: keeping staged files that are not in the ledger (%d, the first is %r); each is removed once"
                " the same object, or a newer one, is staged or delivered",
                volume.name,
                unknown_files,
                unknown[0],
            )
        return removed

    def find_quarantined(self, volume: OpenVolume) -> None:
        """Record quarantined copies in the ledger, so that their objects are not forgotten."""
        for number in volume.quarantined():
            if not self._ledger.copies.quarantined(number):
                self._ledger.copies.has_quarantined(number, volume.id)

    def soon(self) -> None:
        """Something changed that may have made files obsolete. Any thread may call this."""
        self._soon.set()

    def now_and_then(self) -> None:
        """Remove what is not needed, if something changed or the last look was a while ago."""
        now = time.monotonic()
        if not self._soon.is_set() and now < self._next:
            return
        self._soon.clear()
        self._next = now + _AGAIN_SECONDS
        _to_the_end(self._notes)
        _to_the_end(self._copies)
        self._sweep_unknown()
        self._clear_quarantine()

    def at_the_end(self, *, is_complete: bool) -> None:
        """If the unit was stopped, only one page of each, so that it does not take long."""
        for page in (self._notes, self._copies):
            if is_complete:
                _to_the_end(page)
            else:
                page(0)
        self._sweep_unknown()
        self._clear_quarantine()

    def make_room(self) -> None:
        """Remove replaced generations that could wait."""
        _to_the_end(partial(self._copies, pressed=True))

    def _notes(self, after: int) -> int | None:
        """Where to continue; None at the end."""
        entries = self._ledger.copies.discards(after_id=after)
        gone = [entry[0] for entry in entries if self._discard(*entry[1:])]
        if gone:
            self._ledger.copies.discarded(gone)
        return entries[-1][0] if entries else None

    def _copies(self, after: int, *, pressed: bool = False) -> int | None:
        """Where to continue; None at the end."""
        entries = self._ledger.copies.obsolete(after_id=after, pressed=pressed)
        gone = [entry[0] for entry in entries if self._discard(*entry[1:])]
        if gone:
            self._ledger.copies.copies_removed(gone)
            self._volumes.occupancy.expire()
        return entries[-1][0] if entries else None

    def _discard(self, volume_id: int, key: str, generation: int) -> bool:
        volume = self._volumes.open.get(volume_id)
        if volume is None or not volume.medium.writable:
            return False
        try:
            return self._volumes.ask(volume, lambda: discard(self._ledger, volume, key, generation))
        except Silent:
            return False  # retried later
        except OSError as error:
            self._take_out(volume, f"Failed to remove an obsolete file: {error.strerror}")
            return False

    def _sweep_unknown(self) -> None:
        """Check unknown files again: their contents may be safe by now."""
        for number, unknown in self._unknown.items():
            volume = self._volumes.open.get(number)
            if not unknown or volume is None or not volume.medium.writable:
                continue
            try:
                self._unknown[number] = self._volumes.ask(volume, partial(self._still_unknown, volume, unknown))
            except Silent:
                continue  # it continues in the background and is checked again
            except OSError as error:
                self._take_out(volume, f"Failed to remove a file that is not needed: {error.strerror}")

    def _still_unknown(self, volume: OpenVolume, unknown: list[str]) -> list[str]:
        left = [relative for relative in unknown if sweep(self._ledger, volume, relative) is None]
        volume.directories.prune({os.path.dirname(relative) for relative in set(unknown).difference(left)})
        return left

    def _clear_quarantine(self) -> None:
        """Quarantined copies are removed when their objects are delivered, wherever they are."""
        needless = self._ledger.copies.needless_in_quarantine()
        cleared = [permit.object_id for number, permit in needless if self._is_cleared(number, permit)]
        if cleared:
            self._ledger.copies.quarantine_cleared(cleared)

    def _is_cleared(self, number: int, permit: AtDestination) -> bool:
        """False while the volume that last had the copy is missing or failing."""
        with self._volumes.in_use.borrowed() as volumes:
            return number in [volume.id for volume in volumes if volume.medium.writable and self._clear(volume, permit)]

    def _clear(self, volume: OpenVolume, permit: AtDestination) -> bool:
        try:
            self._volumes.ask(volume, lambda: volume.clear_quarantine(permit.object_id, permit))
        except Silent:
            return False
        except OSError:
            pass  # found again when the volume comes back
        return True


def _to_the_end(page: Callable[[int], int | None]) -> None:
    last: int | None = 0
    while last is not None:
        last = page(last)
