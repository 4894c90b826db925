# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What a feeder does once a second besides its work: look at volumes and endpoints, search for lost objects."""

from __future__ import annotations

from ..core.errors import LocalError, Trouble
from .activity import Activity
from .flight import Flight
from .pool import EndpointPool
from .run_record import RunRecord
from .volume_watch import VolumeWatch

_LOOK_SECONDS = 1.0


class Housekeeping:
    """Used by the feeder's thread. `whose` names the unit in errors."""

    def __init__(
        self,
        whose: str,
        pool: EndpointPool,
        volumes: VolumeWatch,
        flight: Flight,
        activity: Activity,
        record: RunRecord,
    ) -> None:
        self._whose = whose
        self._pool = pool
        self._volumes = volumes
        self._flight = flight
        self._activity = activity
        self._record = record
        self._next_look = 0.0

    def look_around(self) -> None:
        """Check for volumes that come and go and for endpoints that recover; save the run's row."""
        self._activity.beat()
        now = self._activity.heartbeat
        if now >= self._next_look:
            self._next_look = now + _LOOK_SECONDS
            self._volumes.look()
            self._pool.transfers.follow_credentials()
            self._pool.probe_due()
            if self._pool.refusal:
                raise self._pool.refusal
            self._check_for_lost(now)
        self._record.save_if_due(now)

    def _check_for_lost(self, now: float) -> None:
        """End the unit if no thread has an object in flight: it would stay there while the unit looks alive."""
        lost = self._flight.lost(now, self._pool.transfers.owned())
        if lost:
            detail = f"{lost.row.key!r} is in flight, but no thread has it (a bug); the next start resumes it"
            raise LocalError(Trouble.OTHER, f"continue {self._whose}", detail)
