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
from .proving.releases import Releases
from .proving.volume_workers import VolumeWorkers

if TYPE_CHECKING:
    from ...config.job_file import Job

_PAGE = 1000


class DeliveredRows:
    """Reads the rows of delivered objects from the ledger, a page at a time per volume. Used by the feeder's thread."""

    def __init__(self, ledger: DestinationLedger, flight: Flight, releases: Releases) -> None:
        self._ledger = ledger
        self._flight = flight
        self._releases = releases
        self._reached: dict[int, int] = {}  # by volume not yet completely checked: its last object so far

    def begin(self, volumes: Iterable[int]) -> None:
        """Read from the beginning, on these volumes only."""
        self._reached = dict.fromkeys(volumes, 0)

    @property
    def unfinished(self) -> set[int]:
        """The volumes that are not yet completely checked."""
        return set(self._reached)

    def end(self, volume: int) -> None:
        """Read no more of this volume."""
        del self._reached[volume]

    def next_page(self, volume: int) -> list[Row] | None:
        """The next rows, without those that are being released anyway. None: there are no more on this volume."""
        busy = self._flight.ids() | self._releases.released_ids()  # before the rows are read
        rows = self._page(self._reached[volume], {volume}, limit=_PAGE)
        if not rows:
            return None
        self._reached[volume] = rows[-1].id
        return [row for row in rows if row.id not in busy]

    def are_on(self, volumes: set[int]) -> bool:
        """Whether there are any on these volumes."""
        return bool(volumes and self._page(0, volumes, limit=1))

    def _page(self, after: int, volumes: set[int], *, limit: int) -> list[Row]:
        return self._ledger.objects.work(State.DELIVERED, after_id=after, limit=limit, volumes=volumes)


class Leftovers:
    """Releases them, a page at a time per volume, by the volume's releaser. Used by the feeder's thread."""

    def __init__(
        self,
        job: Job,
        ledger: DestinationLedger,
        volumes: VolumeSet,
        flight: Flight,
        releases: Releases,
        workers: VolumeWorkers,
        switches: Switches,
    ) -> None:
        self._keeps = job.keep_staged
        self._volumes = volumes
        self._releases = releases
        self._workers = workers
        self._switches = switches
        self._rows = DeliveredRows(ledger, flight, releases)
        self._busy: set[int] = set()  # volumes whose page is being released

    @property
    def are_left(self) -> bool:
        """Whether there are any, including on a volume that is about to come into use."""
        if self._rows.unfinished or self._busy:
            return True
        return self._rows.are_on(set() if self._keeps else self._volumes.coming)

    def release(self) -> None:
        """Continue releasing them; look for new ones when it is time to."""
        if time.monotonic() >= self._releases.next_look:
            self._releases.next_look = float("inf")
            self._rows.begin(self._volumes.open if not self._keeps else ())
        for number in self._rows.unfinished - self._busy:
            volume = self._volumes.open.get(number)
            if volume is None or not volume.medium.writable or not self._release_page(volume):
                self._rows.end(number)

    def _release_page(self, volume: OpenVolume) -> bool:
        """False: there is nothing left on this volume."""
        rows = self._rows.next_page(volume.id)
        if rows is None:
            return False
        self._busy.add(volume.id)
        self._workers.carry_out(volume, partial(self._delete, volume, rows))
        return True

    def _delete(self, volume: OpenVolume, rows: Iterable[Row]) -> None:
        try:
            self._releases.release((row, volume, outgoing_files.permit_of(row)) for row in rows)
            self._releases.record(now=True)
        finally:
            self._busy.discard(volume.id)
            self._switches.staged.set()
