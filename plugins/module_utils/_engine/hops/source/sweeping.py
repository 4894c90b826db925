# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Files on volumes that are not needed any more: ends of moves, replaced generations, copies that did not match.

Each goes only where the ledger says what entitles to it; what it does not know stays, and is looked at again.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Container
from functools import partial

from ...core import keys
from ...core.removal import AtDestination
from ...ledger.ports import SourceLedger
from ...volumes.disk_calls import Silent
from ...volumes.open_volume import OpenVolume
from ...volumes.volume_set import VolumeSet

_log = logging.getLogger("snowsync.source")
_MOST_UNKNOWN = 10_000  # files of a volume that are looked at again while the unit runs
_AGAIN_SECONDS = 10.0  # between two looks for files that are not needed any more


def discard(ledger: SourceLedger, volume: OpenVolume, key: str, generation: int) -> bool:
    """Remove a file of the staging tree, where the ledger says what entitles to it. OSError when the volume fails.

    True as well where there is none, or where the key's row speaks of it: then the note was wrong. False: nothing
    entitles to it, it stays, and so does what is known of it.
    """
    relative = keys.to_path(key, generation)
    with volume.names_held():
        permit = ledger.copies.permit(key, generation, volume.id)
        if permit is None:
            return ledger.copies.is_named(key, generation, volume.id) or not volume.holds(relative)
        volume.discard_with_folders(relative, permit)
    return True


def sweep(ledger: SourceLedger, volume: OpenVolume, relative: str) -> bool | None:
    """Whether the ledger has use for a file. None: it does not know it, and it stays; False: it was not needed."""
    try:
        key, generation = keys.from_path(relative)
    except ValueError:
        _log.warning("volume %s: %r in the staging tree is not the engine's; left alone", volume.name, relative)
        return True
    if ledger.copies.has_file(key, generation, volume.id):
        return True
    with volume.names_held():  # asked again: it may be known since this moment
        if ledger.copies.has_file(key, generation, volume.id):
            return True
        permit = ledger.copies.permit(key, generation, volume.id)
        if permit is None:
            return None
        volume.discard_staged(relative, permit)
    return False


class Sweeping:
    """Removes them, for a source unit. Used by the feeder's thread.

    `take_out` has a volume rest that failed, and says why.
    """

    def __init__(self, ledger: SourceLedger, volumes: VolumeSet, take_out: Callable[[OpenVolume, str], None]) -> None:
        self._ledger = ledger
        self._volumes = volumes
        self._take_out = take_out
        self._next = 0.0
        self._unknown: dict[int, list[str]] = {}  # by volume, staged files that the ledger does not know

    def staged(self, volume: OpenVolume, spared: Container[str], goes_on: Callable[[str], bool]) -> int:
        """Look through the staging tree of a volume that came into use; returns how many files were removed.

        Those without use that nothing entitles to remove stay: they may be the last copies of something that this
        ledger never heard of. `goes_on` is told what is done, and says whether to.
        """
        removed = unknown_files = 0
        folders: set[str] = set()
        unknown: list[str] = []
        for seen, relative in enumerate(volume.staged_files()):
            if not goes_on(f"looking through volume {volume.name}: {seen} staged files so far"):
                break
            verdict = relative in spared or sweep(self._ledger, volume, relative)
            if verdict is False:
                removed += 1
                folders.add(os.path.dirname(relative))
            elif verdict is None:
                unknown_files += 1
                if len(unknown) < _MOST_UNKNOWN:
                    unknown.append(relative)
        volume.prune(folders)
        self._unknown[volume.id] = unknown
        if unknown:
            _log.warning(
                "volume %s: %d staged files are not in the ledger and stay, %r the first of them;"
                " they are removed once the same object, or a newer one, is staged or delivered",
                volume.name,
                unknown_files,
                unknown[0],
            )
        return removed

    def find_quarantined(self, volume: OpenVolume) -> None:
        """Let the ledger know of copies that did not match: their objects are not forgotten."""
        for number in volume.quarantined():
            if not self._ledger.copies.quarantined(number):
                self._ledger.copies.has_quarantined(number, volume.id)

    def now_and_then(self, *, at_once: bool) -> None:
        """Remove what is not needed; `at_once`: something changed since the last look."""
        now = time.monotonic()
        if not at_once and now < self._next:
            return
        self._next = now + _AGAIN_SECONDS
        _to_the_end(self._notes)
        _to_the_end(self._copies)
        self._sweep_unknown()
        self._clear_quarantine()

    def at_the_end(self, *, is_complete: bool) -> None:
        """Where the unit was stopped, one page of each, so that it does not take long."""
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
        """Where to go on, None at the end."""
        entries = self._ledger.copies.discards(after_id=after)
        gone = [entry[0] for entry in entries if self._discard(*entry[1:])]
        if gone:
            self._ledger.copies.discarded(gone)
        return entries[-1][0] if entries else None

    def _copies(self, after: int, *, pressed: bool = False) -> int | None:
        """Where to go on, None at the end."""
        entries = self._ledger.copies.obsolete(after_id=after, pressed=pressed)
        gone = [entry[0] for entry in entries if self._discard(*entry[1:])]
        if gone:
            self._ledger.copies.copies_removed(gone)
            self._volumes.count_anew()
        return entries[-1][0] if entries else None

    def _discard(self, volume_id: int, key: str, generation: int) -> bool:
        volume = self._volumes.open.get(volume_id)
        if volume is None or not volume.writable:
            return False
        try:
            return self._volumes.ask(volume, lambda: discard(self._ledger, volume, key, generation))
        except Silent:
            return False  # tried again
        except OSError as error:
            self._take_out(volume, f"Failed to remove an obsolete file: {error.strerror}")
            return False

    def _sweep_unknown(self) -> None:
        """Look again at files that the ledger did not know: what they hold may be safe by now."""
        for number, unknown in self._unknown.items():
            volume = self._volumes.open.get(number)
            if not unknown or volume is None or not volume.writable:
                continue
            try:
                self._unknown[number] = self._volumes.ask(volume, partial(self._still_unknown, volume, unknown))
            except Silent:
                continue  # it goes on, and is looked at again
            except OSError as error:
                self._take_out(volume, f"Failed to remove a file that is not needed: {error.strerror}")

    def _still_unknown(self, volume: OpenVolume, unknown: list[str]) -> list[str]:
        left = [relative for relative in unknown if sweep(self._ledger, volume, relative) is None]
        volume.prune({os.path.dirname(relative) for relative in set(unknown).difference(left)})
        return left

    def _clear_quarantine(self) -> None:
        """Copies that did not match go when their objects are delivered, wherever they lie."""
        needless = self._ledger.copies.needless_in_quarantine()
        cleared = [permit.object_id for number, permit in needless if self._is_cleared(number, permit)]
        if cleared:
            self._ledger.copies.quarantine_cleared(cleared)

    def _is_cleared(self, number: int, permit: AtDestination) -> bool:
        """False while the volume that had the copy last is away, or fails."""
        with self._volumes.borrowed() as volumes:
            return number in [volume.id for volume in volumes if volume.writable and self._clear(volume, permit)]

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
