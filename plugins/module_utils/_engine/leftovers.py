# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Files that were delivered and are there still: before a crash, or while their volume took no writes."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from . import asides
from .deliveries import Deliveries
from .ledger import Row
from .model import State
from .volumes import OpenVolume

if TYPE_CHECKING:
    from .destination import DestinationUnit

_PAGE = 1000


class Leftovers:
    """Releases them, of each volume a page at a time, by its own releaser. Used by the feeder's thread."""

    def __init__(self, unit: DestinationUnit, deliveries: Deliveries) -> None:
        self._unit = unit
        self._deliveries = deliveries
        self._reached: dict[int, int] = {}  # by volume that was not looked through: the last object of it
        self._busy: set[int] = set()  # volumes whose page is being released

    @property
    def are_left(self) -> bool:
        return bool(self._reached or self._busy)

    def release(self) -> None:
        """Go on with them, where it is time to look for some."""
        deliveries = self._deliveries
        if time.monotonic() >= deliveries.release_at:
            deliveries.release_at = float("inf")
            self._reached = dict.fromkeys(self._unit.volumes.open, 0) if not self._unit.job.keep_staged else {}
        for number in self._reached.keys() - self._busy:
            volume = self._unit.volumes.open.get(number)
            if volume is None or not volume.writable or not self._release_page(volume):
                del self._reached[number]

    def _release_page(self, volume: OpenVolume) -> bool:
        """False: there is nothing left on this volume."""
        unit = self._unit
        busy = unit.flight.ids() | self._deliveries.released_ids()
        rows = unit.ledger.work(State.DELIVERED, after_id=self._reached[volume.id], limit=_PAGE, volumes={volume.id})
        if not rows:
            return False
        self._reached[volume.id] = rows[-1].id
        self._busy.add(volume.id)
        self._deliveries.carry_out(volume, partial(self._delete, volume, [row for row in rows if row.id not in busy]))
        return True

    def _delete(self, volume: OpenVolume, rows: Iterable[Row]) -> None:
        try:
            self._deliveries.release((row, volume, asides.permit_of(row)) for row in rows)
            self._deliveries.record_released(now=True)
        finally:
            self._busy.discard(volume.id)
            self._unit.switches.staged.set()
