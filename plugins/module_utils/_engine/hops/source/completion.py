# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Whether a run of the source unit is over, and what the unit says while it is not."""

from __future__ import annotations

from ...core.model import State
from ...ledger.source_ports import SourceObjects
from ..activity import Activity
from ..availability import Availability
from ..backlog import Backlog
from ..flight import Flight
from ..pool import EndpointPool
from .discovery import Discovery
from .next_hop import NextHop
from .shortage import FullVolumes


class WorkLeft:
    """Whether anything is left to fetch, or may be in a moment. Used by the feeder's thread."""

    def __init__(
        self,
        objects: SourceObjects,
        pool: EndpointPool,
        availability: Availability,
        flight: Flight,
        discovery: Discovery,
        next_hop: NextHop,
        activity: Activity,
        *,
        until: str,
    ) -> None:
        self._objects = objects
        self._pool = pool
        self._availability = availability
        self._flight = flight
        self._discovery = discovery
        self._next_hop = next_hop
        self._activity = activity
        self._until = until

    def is_none(self, listed: bool) -> bool:
        """To be called with an empty backlog. `listed`: everything was seen before the backlog was filled."""
        if self._until == "forever" or not listed or self._flight:
            self._activity.status = self._describe(listed)
            if not listed and self._availability.is_out_of_reach():
                self._availability.outage()
            return False
        if self._until == "once":
            # What failed was tried, and is postponed.
            return not self._objects.work(State.PENDING, after_id=0, limit=1)
        # The destination unit of this run may still find a staged file damaged, or a delivered object missing,
        # which is then fetched again; checked first, so that what it puts back last is seen as pending.
        is_last = self._next_hop.is_alone or self._next_hop.has_ended()
        if self._objects.waiting(State.PENDING):
            self._activity.status = "waiting to retry"
            return False
        if not (is_last and self._next_hop.has_put_back):
            self._activity.status = "waiting for the destination"
            return False
        # Files that were dropped meanwhile belong to this run too.
        return self._discovery.scanner.has_nothing_more()

    def _describe(self, listed: bool) -> str:
        if self._flight:
            doing = f"fetching {len(self._flight)} objects{self._pool.width_text}"
            return doing if self._availability.is_served() else self._activity.status
        problem = self._pool.why_down() or self._discovery.lister.outages.problem
        if problem:
            return f"waiting for the source: {problem}"
        if listed:
            return "up to date"
        unsettled = self._discovery.scanner.scan.unsettled
        if unsettled:
            return f"waiting for {unsettled} dropped files that are still being written"
        return "listing the source"


class Completion:
    """Ends the feeder: nothing is left to do, the volumes are full, or the source serves nothing."""

    def __init__(
        self,
        availability: Availability,
        flight: Flight,
        backlog: Backlog,
        discovery: Discovery,
        activity: Activity,
        work_left: WorkLeft,
        full: FullVolumes,
    ) -> None:
        self._availability = availability
        self._flight = flight
        self._backlog = backlog
        self._discovery = discovery
        self._activity = activity
        self._work_left = work_left
        self._full = full

    def is_over(self, listed: bool) -> bool:
        """Whether the run ends now. `listed`: everything was seen before the backlog was filled."""
        if self._availability.is_hopeless() and not self._flight:
            self._availability.end_unserved()
            return True
        if self._full.is_full or (not self._backlog and self._work_left.is_none(listed)):
            self._discovery.lister.missing.forget()
            self._activity.is_complete = True
            return True
        return False
