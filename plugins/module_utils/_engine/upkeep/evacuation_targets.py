# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The volumes that an evacuation copies to: which one is next, and what follows if one fails or none has room."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ..core.errors import Trouble, local_trouble
from ..ledger.ledger import Row
from ..volumes.open_volume import OpenVolume
from ..volumes.placement import Placement
from ..volumes.volume_set import VolumeSet

_log = logging.getLogger("snowsync.evacuate")


@dataclass(frozen=True, slots=True)
class NoRoom:
    """Why an object has no place: `what` is wrong, and what the destination unit could do about it."""

    trouble: Trouble
    what: str
    help_needed: str


class EvacuationTargets:
    """Chooses among the volumes of a job that take new objects."""

    def __init__(self, volumes: VolumeSet) -> None:
        self._volumes = volumes
        self._placement = Placement()

    def sweep(self) -> None:
        """Remove copies that an evacuation which was interrupted left."""
        for volume in self._volumes.placeable():
            volume.sweep_evacuated()

    def choose(self, size: int) -> OpenVolume | None:
        """The volume for an object of `size` bytes; None: none has room now."""
        chosen = self._placement.choose(size, self._volumes.spaces())
        return self._volumes.open.get(chosen) if chosen is not None else None

    def is_too_large(self, size: int) -> bool:
        """Whether no filesystem of these volumes accepts a file of this size, whatever its free space."""
        others = self._volumes.placeable()
        return bool(others) and all(size > volume.load.largest_file for volume in others)

    def why_none(self, row: Row) -> NoRoom:
        """Why there is none for an object. The next choice asks the ledger how much lies there."""
        self._volumes.occupancy.expire()
        named = f"{row.key!r} ({row.size} bytes)"
        if self.is_too_large(row.size):
            what = f"{named} is too large for one file on any other volume (EFBIG)"
            return NoRoom(Trouble.TOO_LARGE, what, "deliver it")
        return NoRoom(Trouble.SPACE, f"no other volume has room for {named}", "free any")

    def occupies(self, target: OpenVolume, size: int) -> None:
        """A file of `size` bytes more lies there."""
        self._volumes.occupancy.add(target.id, size)

    def cannot_take(self, target: OpenVolume, row: Row, error: OSError) -> None:
        """A copy of an object could not be written there."""
        if local_trouble(error) is Trouble.TOO_LARGE:
            target.load.takes_no_file_of(row.size)
            _log.warning("volume %s does not accept files of %d bytes", target.name, row.size)
        else:
            self.cannot_write(target, error)

    def cannot_write(self, target: OpenVolume, error: OSError) -> None:
        """It accepts no writes: it is not used until it does again."""
        trouble = local_trouble(error)
        if trouble is Trouble.SPACE:
            self._volumes.occupancy.expire()
        self._volumes.take_out(target, f"Failed to write to volume {target.name}: {error.strerror}")
        _log.warning("volume %s does not accept copies now: %s (%s)", target.name, error.strerror, trouble.value)
