# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Delivered files that were not deleted because of a crash, or because their volume was not writable."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from ...core.model import State
from ...ledger.destination_ports import DestinationLedger
from ...ledger.ledger import Row
from ...volumes import outgoing_files
from ...volumes.open_volume import OpenVolume
from ...volumes.volume_set import VolumeSet
from ..flight import Flight
from ..switches import Switches
from .deliveries import Deliveries
from .releases import Releases

if TYPE_CHECKING:  # config/job_file.py brings pydantic
    from ...config.job_file import Job

_PAGE = 1000


class Leftovers:
    """Releases them, a page at a time per volume, by the volume's releaser. Used by the feeder's thread."""

    def __init__(
        self,
        job: Job,
        ledger: DestinationLedger,
        volumes: VolumeSet,
        flight: Flight,
        releases: Releases,
        deliveries: Deliveries,
        switches: Switches,
    ) -> None:
        self._keeps = job.keep_staged
        self._ledger = ledger
        self._volumes = volumes
        self._flight = flight
        self._releases = releases
        self._deliveries = deliveries
        self._switches = switches
        self._reached: dict[int, int] = {}  # by volume not yet completely checked: its last object so far
        self._busy: set[int] = set()  # volumes whose page is being released

    @property
    def are_left(self) -> bool:
        """Whether there are any, including on a volume that is about to come into use."""
        if self._reached or self._busy:
            return True
        coming = set() if self._keeps else self._volumes.coming
        return bool(coming and self._ledger.objects.work(State.DELIVERED, after_id=0, limit=1, volumes=coming))

    def release(self) -> None:
        """Continue releasing them; look for new ones when it is time to."""
        if time.monotonic() >= self._releases.next_look:
            self._releases.next_look = float("inf")
            self._reached = dict.fromkeys(self._volumes.open, 0) if not self._keeps else {}
        for number in self._reached.keys() - self._busy:
            volume = self._volumes.open.get(number)
            if volume is None or not volume.writable or not self._release_page(volume):
                del self._reached[number]

    def _release_page(self, volume: OpenVolume) -> bool:
        """False: there is nothing left on this volume."""
        busy = self._flight.ids() | self._releases.released_ids()
        last = self._reached[volume.id]
        rows = self._ledger.objects.work(State.DELIVERED, after_id=last, limit=_PAGE, volumes={volume.id})
        if not rows:
            return False
        self._reached[volume.id] = rows[-1].id
        self._busy.add(volume.id)
        self._deliveries.carry_out(volume, partial(self._delete, volume, [row for row in rows if row.id not in busy]))
        return True

    def _delete(self, volume: OpenVolume, rows: Iterable[Row]) -> None:
        try:
            self._releases.release((row, volume, outgoing_files.permit_of(row)) for row in rows)
            self._releases.record(now=True)
        finally:
            self._busy.discard(volume.id)
            self._switches.staged.set()
