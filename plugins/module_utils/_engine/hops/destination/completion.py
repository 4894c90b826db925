# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Whether a run of the destination unit is over, and what the unit says while it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.model import State
from ...ledger.destination_ports import DestinationObjects
from ...volumes.volume_set import VolumeSet
from ..activity import Activity
from ..availability import Availability
from ..backlog import Backlog
from ..flight import Flight
from ..pool import EndpointPool
from ..switches import Switches
from .delivered_files import Leftovers
from .proving.releases import Releases
from .touched_objects import TouchedObjects
from .unsent.refusals import Refusals

if TYPE_CHECKING:
    from ...config.job_file import Job


class GivingUp:
    """Whether this run ends with objects undelivered because all its trials were refused; a service keeps trying."""

    def __init__(
        self, job: Job, refusals: Refusals, availability: Availability, switches: Switches, *, until: str
    ) -> None:
        self._job = job
        self._refusals = refusals
        self._availability = availability
        self._switches = switches
        self._until = until

    def is_due(self) -> bool:
        """Also lets the source unit know, which then waits for no more space."""
        trials = 1 if self._until == "once" else self._job.attempts
        if self._until == "forever" or not (self._refusals.trials >= trials or self._availability.is_hopeless()):
            self._switches.refused.clear()
            return False
        self._switches.refused.set()
        self._switches.space.set()
        return True

    def explain(self) -> None:
        """The run ends: say so if it is because the destination serves nothing."""
        if self._availability.is_hopeless():
            self._availability.end_unserved()


class Unfinished:
    """Objects that are on their way through the unit, up to the deletion of their files."""

    def __init__(
        self,
        flight: Flight,
        backlog: Backlog,
        releases: Releases,
        leftovers: Leftovers,
        touched: TouchedObjects,
        *,
        until: str,
    ) -> None:
        self._flight = flight
        self._backlog = backlog
        self._releases = releases
        self._leftovers = leftovers
        self._touched = touched
        self._until = until

    def are_left(self) -> bool:
        """Whether there are any; a run that ends when drained also waits for those that are to be asked for."""
        if self._flight or self._backlog or self._releases.has_released or self._leftovers.are_left:
            return True
        return self._until == "drained" and self._touched.are_left()


class StagedLeft:
    """Staged objects that are not on their way: on absent volumes, postponed, or given up."""

    def __init__(self, job: Job, objects: DestinationObjects, volumes: VolumeSet, *, until: str) -> None:
        self._job = job
        self._objects = objects
        self._volumes = volumes
        self._until = until

    def are_to_be_sent(self) -> bool:
        """Whether some are still to be tried in this run."""
        if self._until == "once":
            # What failed was tried, and is postponed; what is on an absent volume waits for another pass.
            there = self._volumes.open.keys() | self._volumes.coming if self._volumes.absent else None
            return bool(self._objects.work(State.STAGED, after_id=0, limit=1, volumes=there))
        return self._objects.is_to_be_sent(self._job.attempts)

    def why_waiting(self, source_done: bool) -> str:
        """What the unit waits for."""
        return self._describe(source_done, staged=self._objects.waiting(State.STAGED))

    def _describe(self, source_done: bool, *, staged: bool) -> str:
        if staged and self._volumes.absent:
            return f"waiting for a volume: {self._volumes.why_absent()}"
        if staged:
            return "waiting to retry"
        return "waiting for the source" if not source_done else "up to date"


class Completion:
    """Ends the feeder: nothing is left to do, or everything was refused. Used by the feeder's thread."""

    def __init__(
        self,
        pool: EndpointPool,
        refusals: Refusals,
        flight: Flight,
        activity: Activity,
        giving_up: GivingUp,
        unfinished: Unfinished,
        staged: StagedLeft,
        *,
        until: str,
    ) -> None:
        self._pool = pool
        self._refusals = refusals
        self._flight = flight
        self._activity = activity
        self._giving_up = giving_up
        self._unfinished = unfinished
        self._staged = staged
        self._until = until

    def is_over(self, source_done: bool) -> bool:
        """Whether the run ends now. `source_done`: the source unit had ended before the last rows were read."""
        if not self._is_done(source_done):
            return False
        self._activity.is_complete = True
        self._giving_up.explain()
        return True

    def _is_done(self, source_done: bool) -> bool:
        if self._giving_up.is_due() and source_done and not self._flight:
            return True
        if self._unfinished.are_left():
            return False
        if self._pool.any_up and not self._refusals.everything:
            self._activity.status = self._staged.why_waiting(source_done)
        if self._until == "forever" or not source_done:
            return False
        return not self._staged.are_to_be_sent()
