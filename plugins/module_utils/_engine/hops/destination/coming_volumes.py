# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""A volume comes into use in the destination unit: its rows are read again, and files set aside there are settled."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ...ledger.binding import Naming
from ...ledger.destination_ports import DestinationLedger
from ...ledger.ledger import Row
from ...volumes import outgoing_files
from ...volumes.open_volume import OpenVolume
from ...volumes.volume_set import VolumeSet
from .. import adoption
from ..backlog import Backlog
from ..flight import Flight
from ..switches import Switches
from .proving.releases import Releases
from .unsent.readiness import Readiness

_log = logging.getLogger("snowsync.destination")


class ComingVolumes:
    """Used by the feeder's thread. `beat` is called during a long step."""

    def __init__(
        self,
        ledger: DestinationLedger,
        naming: Naming,
        volumes: VolumeSet,
        flight: Flight,
        backlog: Backlog,
        readiness: Readiness,
        releases: Releases,
        *,
        beat: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._naming = naming
        self._volumes = volumes
        self._flight = flight
        self._backlog = backlog
        self._readiness = readiness
        self._releases = releases
        self._beat = beat

    def came(self, volume: OpenVolume) -> None:
        """A volume can be used (again). Files of objects that are still in flight on it are kept."""
        self._backlog.clear()  # rows read before it went missing are not marked suspect
        self._backlog.rewind()
        if self._ledger.recovery.recovered_ms():
            self._readiness.overtaken |= adoption.overtaken(self._ledger, volume, self._beat)
        if not volume.medium.writable:
            _log.warning("volume %s is used read-only: %s", volume.name, self._volumes.why_only_read(volume))
            return
        busy = self._flight.ids()
        outgoing, drop_path = volume.folders.outgoing, volume.config.drop_path
        outgoing_files.settle(outgoing, drop_path, self._ledger.objects.row, self._relative, busy, self._beat)
        volume.sweep_outgoing(keep=busy)
        self._releases.next_look = 0.0

    def _relative(self, row: Row) -> str:
        """The path of the file below the staging tree or the drop folder."""
        return self._naming.staging_path(row.key, row.generation, row.origin)


def tell_put_back(volumes: VolumeSet, switches: Switches) -> None:
    """Let the source unit scan the drop folders for the last time, once no more volumes are coming."""
    if not volumes.coming:
        switches.put_back.set()
