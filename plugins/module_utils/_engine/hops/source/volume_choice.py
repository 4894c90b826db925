# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which volume an object goes to: preferably the one that holds parts of it, and none that did not accept it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container

from ...ledger.ledger import Row
from ...volumes.placement import Placement, VolumeSpace, takes_rest
from ...volumes.volume_set import VolumeSet
from ..part_memory import PartKeeper
from .staging.fetch_notes import FetchNotes


class VolumeChoice:
    """Used by the feeder's thread. `is_large` takes a size in bytes."""

    def __init__(
        self, volumes: VolumeSet, parts: PartKeeper, notes: FetchNotes, *, is_large: Callable[[int], bool]
    ) -> None:
        self._volumes = volumes
        self._parts = parts
        self._notes = notes
        self._is_large = is_large
        self._placement = Placement()

    def choose(self, row: Row, spaces: list[VolumeSpace], full: Container[int] = ()) -> int | None:
        """The number of the volume for an object: the one that holds parts of it, if there is room for the rest.

        None: wait. Those that are `full` take none now, and the object's parts are not given up for that.
        """
        partial = self._parts.partial(row.id, row.generation) if self._is_large(row.size) else None
        spaces = [space for space in spaces if space.id not in full]
        if partial is None:
            return self._place_elsewhere(row, spaces)
        home, there = partial
        if home in full:
            return None
        space = next((space for space in spaces if space.id == home), None)
        volume = self._volumes.open.get(home)
        if space and volume and takes_rest(space, row.size, there, is_limited=volume.config.limit is not None):
            return home
        chosen = self._placement.choose(row.size, spaces)
        if chosen is not None and chosen != home:
            self._abandon_partial(row, home)
        return chosen

    def takes(self, row: Row, space: VolumeSpace) -> bool:
        """Whether a volume takes a small object that nothing is known about, whichever is the best one."""
        return self._placement.takes(row.size, space)

    def _place_elsewhere(self, row: Row, spaces: list[VolumeSpace]) -> int | None:
        """A volume that did not fail with this object; the failed one again if the others have no room."""
        avoid = self._notes.volume_to_avoid(row)
        others = [space for space in spaces if space.id != avoid] if avoid else spaces
        chosen = self._placement.choose(row.size, others)
        if chosen is not None or any(space.inflow.is_busy for space in others):
            return chosen
        return self._placement.choose(row.size, spaces)

    def _abandon_partial(self, row: Row, home: int) -> None:
        """The object goes to another volume: remove what was fetched of it so far."""
        self._parts.forget(row.id)
        volume = self._volumes.open.get(home)
        if volume:
            with contextlib.suppress(OSError):  # swept when the volume comes back, or at the next start
                self._volumes.ask(volume, lambda: volume.discard_incoming(row.id))
