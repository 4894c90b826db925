# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The volumes that a unit works with: looked at once a second, since each may come and go at any time."""

from __future__ import annotations

from collections.abc import Callable

from ..volumes.open_volume import OpenVolume
from ..volumes.volume_set import VolumeSet
from .flight import Flight
from .transfers import Transfers


class VolumeWatch:
    """Used by the feeder's thread.

    `came` is called for each volume that can be used (again), and must keep the files of objects that are still in
    flight on it; `seen` once all volumes were checked. `take_out` takes a failed volume out of use.
    """

    def __init__(
        self,
        volumes: VolumeSet,
        flight: Flight,
        transfers: Transfers,
        *,
        came: Callable[[OpenVolume], None],
        seen: Callable[[], None],
        take_out: Callable[[OpenVolume, str], None],
    ) -> None:
        self._volumes = volumes
        self._flight = flight
        self._transfers = transfers
        self._came = came
        self._seen = seen
        self._take_out = take_out

    def look(self) -> None:
        """Check which volumes came and went, and let the movers know before anything else."""
        came, _gone = self._volumes.refresh()
        # Another thread may take one out at any moment. If its descriptors were closed before the movers let go of
        # them, it could come back under the same numbers, which mean its old folders to the movers' processes.
        retired = self._volumes.in_use.retired
        # Before anything is closed or swept: from here on no mover starts with directories that are gone.
        self._transfers.set_descriptors(
            [descriptor for volume in list(self._volumes.open.values()) for descriptor in volume.descriptors()]
        )
        for volume in came:
            try:
                self._came(volume)
            except OSError as error:
                self._take_out(volume, f"Failed to start using volume {volume.name}: {error.strerror}")
        self._seen()
        self._volumes.in_use.close_retired({id(item.volume) for item in self._flight.items()}, retired)
