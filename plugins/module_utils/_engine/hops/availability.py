# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Whether the store of one side answers and serves objects, and what a run does if it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.blame import is_hopeless
from ..core.errors import StoreError, Trouble
from .activity import Activity
from .flight import Flight
from .pool import EndpointPool

if TYPE_CHECKING:
    from ..config.job_file import Job


class Availability:
    """Used by the feeder's thread. `side` is source or destination; `until` when the run ends."""

    def __init__(
        self, job: Job, side: str, pool: EndpointPool, flight: Flight, activity: Activity, *, until: str
    ) -> None:
        self._job = job
        self._side = side
        self._pool = pool
        self._flight = flight
        self._activity = activity
        self._until = until

    def is_out_of_reach(self) -> bool:
        """Whether there is a store, and none of its endpoints is healthy."""
        return bool(self._pool.endpoints) and not self._pool.any_up

    def is_served(self) -> bool:
        """Whether objects in flight mean progress. Otherwise they are only trials, and the status says why."""
        if not self._pool.serves_nothing:
            return True
        self._activity.status = f"waiting for the {self._side}: {self._pool.messages()}"
        return False

    def is_hopeless(self) -> bool:
        """Whether a run gives up on a store that served no object in so many trials; a service keeps trying."""
        pool = self._pool
        return self._until != "forever" and pool.serves_nothing and is_hopeless(pool.trials, self._job.attempts)

    def end_unserved(self) -> None:
        """Say why this run ends with objects left."""
        self._activity.unserved = f"the {self._side} answers but serves no objects: {self._pool.messages()}"

    def outage(self) -> None:
        """No endpoint is healthy: report it and wait; a single pass waits only until the next probe."""
        why = self._pool.why_down()
        self._activity.status = f"waiting for the {self._side}: {why}"
        if self._until == "once" and not self._flight and self._pool.none_answers:
            raise StoreError(Trouble.REFUSED, f"reach the {self._side} of job {self._job.job}", why)
