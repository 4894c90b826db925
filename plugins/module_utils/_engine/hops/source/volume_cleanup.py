# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The source unit and its volumes: what a crash left on them is removed, what they lost is fetched again."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...core import keys
from ...core.errors import JobLocked
from ...core.text import counted_text
from ...ledger.locks import EVACUATION, locked
from ...ledger.source_ports import SourceLedger, SourceLosses
from ...volumes.open_volume import OpenVolume
from ...volumes.volume_set import VolumeSet
from .. import adoption
from ..flight import Flight
from ..part_memory import PartKeeper
from .staging.sweeping import Sweeping

if TYPE_CHECKING:
    from ...config.job_file import Job

_log = logging.getLogger("snowsync.source")


class VolumeCleanup:
    """Removes what a crash, or the loss of a volume, left behind. Used by the feeder's thread.

    `goes_on` gets a description of the work and returns whether to continue.
    """

    def __init__(
        self,
        job: Job,
        ledger: SourceLedger,
        volumes: VolumeSet,
        flight: Flight,
        parts: PartKeeper,
        sweeping: Sweeping,
        *,
        goes_on: Callable[[str], bool],
    ) -> None:
        self._job = job
        self._ledger = ledger
        self._volumes = volumes
        self._flight = flight
        self._parts = parts
        self._sweeping = sweeping
        self._goes_on = goes_on

    def drop_outdated_parts(self) -> None:
        """At the start: forget the parts of objects that need not be fetched any more."""
        self._ledger.parts.drop_outdated_pieces()

    def came(self, volume: OpenVolume) -> None:
        """A volume can be used (again). Files of objects that are still in flight on it are kept."""
        items = self._flight.on({volume.id})
        self._parts.doubt(volume.id)
        swept = volume.sweep_incoming(keep={item.row.id for item in items} | self._parts.kept_on(volume.id))
        spared = {keys.to_path(item.row.key, item.row.generation) for item in items}
        if (
            self._ledger.recovery.recovered_ms()
        ):  # a generation number of a restored older ledger may mean another one by now
            swept += adoption.sweep_delivered(self._ledger, volume, spared, self._goes_on)
        else:
            swept += self._sweeping.staged(volume, spared, self._goes_on)
        self._sweeping.find_quarantined(volume)
        with contextlib.suppress(JobLocked), locked(self._job, EVACUATION):
            volume.sweep_evacuated()
        self._sweeping.soon()  # some of the files may be obsolete
        words = f", removed {counted_text(swept, 'file')} no longer needed" if swept else ""
        _log.info("volume %s is in use (%s)%s", volume.name, volume.medium.uuid, words)

    def sweep_incoming(self) -> None:
        """At the end: remove partial files that will not be resumed."""
        for volume in self._volumes.open.values():
            with contextlib.suppress(OSError):  # swept at the next start
                volume.sweep_incoming(keep=self._parts.kept_on(volume.id))

    def sweep_rest(self, *, is_complete: bool) -> None:
        """At the end: remove what is not needed; `is_complete`: the unit was not stopped, so there is time for all."""
        self._sweeping.at_the_end(is_complete=is_complete)


class VolumeNews:
    """Tells the ledger what was seen of the volumes. Used by the feeder's thread. `rewind`: rows are pending again."""

    def __init__(self, losses: SourceLosses, volumes: VolumeSet, flight: Flight, *, rewind: Callable[[], None]) -> None:
        self._losses = losses
        self._volumes = volumes
        self._flight = flight
        self._rewind = rewind

    def tell(self) -> None:
        """Publish to which volumes objects may still be in flight; fetch again what lies on unreadable ones."""
        self._volumes.say_placing({item.volume.id for item in self._flight.items()})
        for number, reason in self._volumes.unreadable():
            count = self._losses.leave_copies(number, reason)
            if count:
                _log.error("a volume can no longer be read, fetching %d objects again: %s", count, reason)
                self._rewind()
