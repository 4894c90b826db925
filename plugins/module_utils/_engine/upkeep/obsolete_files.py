# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Deletes files that the ledger notes as obsolete, and replaced generations, where a permit can be made for each."""

from __future__ import annotations

import contextlib
import logging

from ..core import keys
from ..ledger.source_ports import SweptCopies
from ..volumes.open_volume import OpenVolume
from ..volumes.volume_set import VolumeSet

_log = logging.getLogger("snowsync.evacuate")


class ObsoleteFiles:
    """Those on the open, writable volumes of a job."""

    def __init__(self, copies: SweptCopies, volumes: VolumeSet) -> None:
        self._copies = copies
        self._volumes = volumes

    def discard_noted(self) -> None:
        """Delete files that the ledger notes as obsolete, on writable volumes; durably, then the notes."""
        last = 0
        while entries := self._copies.discards(after_id=last):
            last = entries[-1][0]
            gone: dict[int, list[int]] = {}
            for note, number, key, generation in entries:
                volume = self._volumes.open.get(number)
                if volume and volume.medium.writable and self._discard(volume, key, generation):
                    gone.setdefault(number, []).append(note)
            for number, notes in gone.items():
                with contextlib.suppress(OSError):  # found again by the next evacuation or unit
                    self._volumes.open[number].sync()
                    self._copies.discarded(notes)

    def discard_replaced(self) -> None:
        """Delete replaced generations whose successors are staged: they need not be moved."""
        last = 0
        while entries := self._copies.obsolete(after_id=last, pressed=True):
            last = entries[-1][0]
            gone = []
            for number, volume_id, key, generation in entries:
                volume = self._volumes.open.get(volume_id)
                if volume and volume.medium.writable and self._discard(volume, key, generation):
                    gone.append(number)
            self._copies.copies_removed(gone)

    def _discard(self, volume: OpenVolume, key: str, generation: int) -> bool:
        try:
            relative = keys.to_path(key, generation)
            with volume.names_held():
                permit = self._copies.permit(key, generation, volume.id)
                if permit is None:
                    return self._copies.is_named(key, generation, volume.id) or not volume.holds(relative)
                volume.discard_with_folders(relative, permit)
        except OSError as error:
            _log.warning("volume %s: cannot delete an old file: %s", volume.name, error.strerror)
            return False
        return True
