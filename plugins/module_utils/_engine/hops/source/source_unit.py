# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The source unit: list the source, fetch what is new onto the volumes, prove it, make it durable, record it.

Threads: the feeder (the caller) chooses a volume and an endpoint per object and hands it to a mover; the lister walks
the source, the scanner the drop folders; finishers prove what arrived; a committer per volume makes groups durable.
Steps for one object: mover writes ``incoming/<id>`` -> proof -> group -> syncfs -> rename -> fsync directories -> one
transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...config.credentials import for_side
from ...config.job_file import Job
from ...core.model import Outcome, State
from ...ledger.ledger import Ledger
from ...ledger.source_ports import SourceLedger
from .. import adoption
from ..availability import Availability
from ..backlog import Feed
from ..flight import Item
from ..part_memory import PartKeeper
from ..pool import EndpointPool
from ..setbacks import Setbacks, Suspects
from ..switches import Switches
from ..unit import Unit
from .arrivals.arrivals import Arrivals
from .completion import Completion, WorkLeft
from .discovery import Discovery
from .drops.drop_scanner import DropScanner
from .feeder import Feeder
from .listing.lister import Lister
from .neighbours import NeighbourBacklog
from .next_hop import NextHop
from .placing import FetchQueue, Handover, Placing
from .shortage import FullVolumes, ReplacedGenerations, Shortage
from .staging.committer import Committer
from .staging.fetch_notes import FetchNotes
from .staging.fetching import Fetching, PartialFiles
from .staging.sweeping import Sweeping
from .volume_choice import VolumeChoice
from .volume_cleanup import VolumeCleanup, VolumeNews


class SourceUnit(Unit):
    """Source bucket -> volumes; drop folders -> ledger."""

    name = "source"

    def __init__(self, job: Job, ledger: Ledger, switches: Switches, *, until: str, alone: bool) -> None:
        """`alone`: this run has no destination unit, so staged objects are not its concern."""
        super().__init__(job, ledger, switches)
        parts = PartKeeper(ledger.parts)
        setbacks = Setbacks(ledger, self.counters, attempts=job.attempts, until=until)
        self._pool = EndpointPool(
            job.source,
            for_side(job, "source") if job.source else None,
            job.mover,
            direction="fetch",
            on_outcomes=self._ended,
            wake=switches.space.set,
            on_part=self._part_came,
            examples=lambda: _examples(fetching, ledger),
            volumes=len(job.volumes),
            memory=parts,
        )
        self._suspects = Suspects(self.flight, self._pool, parts, self._at_disk)
        feed = Feed(ledger, self.flight, setbacks, job.mover.is_large)
        backlog = NeighbourBacklog(feed, State.PENDING, rewind_seconds=0.5)
        fetching = Fetching(
            ledger,
            PartialFiles(parts, job.mover.is_large),
            self.flight,
            setbacks,
            self._suspects,
            take_out=self.take_out,
            rewind=backlog.rewind,
        )
        self._committer = Committer(
            job,
            ledger,
            self.volumes,
            self.flight,
            fetching,
            self.crew,
            self.counters,
            switches,
        )
        self._arrivals = Arrivals(
            job,
            ledger,
            self._pool,
            parts,
            self.flight,
            setbacks,
            fetching,
            self._committer,
            self.crew,
            self.counters,
            switches,
            adopt=lambda row: adoption.adopt(ledger, self.volumes, row, switches.staged.set),
        )
        availability = Availability(job, self.name, self._pool, self.flight, self.activity, until=until)
        scanner = DropScanner(
            job,
            until,
            ledger,
            self.volumes,
            setbacks,
            self.crew,
            self.counters,
            switches,
            has_listed=lambda: lister.has_listed,
            is_out_of_reach=availability.is_out_of_reach,
            pass_ended=self._pass_ended,
            take_out=self.take_out,
        )
        sweeping = Sweeping(ledger, self.volumes, self.take_out)
        lister = Lister(
            job,
            until,
            ledger,
            self._pool,
            self.flight,
            setbacks,
            self.crew,
            self.counters,
            switches,
            has_changed=sweeping.soon,
            pass_ended=self._pass_ended,
        )
        self._discovery = Discovery(lister, scanner, self.counters, switches)
        self._next_hop = NextHop(job, ledger, switches, is_alone=alone)
        self._cleanup = VolumeCleanup(job, ledger, self.volumes, self.flight, parts, sweeping, goes_on=self.goes_on)
        self._feeder = self._made_feeder(
            job, ledger, switches, until, backlog, parts, setbacks, fetching.notes, availability, sweeping
        )

    def _made_feeder(
        self,
        job: Job,
        ledger: Ledger,
        switches: Switches,
        until: str,
        backlog: NeighbourBacklog,
        parts: PartKeeper,
        setbacks: Setbacks,
        notes: FetchNotes,
        availability: Availability,
        sweeping: Sweeping,
    ) -> Feeder:
        volumes, flight, activity = self.volumes, self.flight, self.activity
        queue = FetchQueue(backlog, self._pool, notes, volumes, flight, availability, activity, limit=job.group.objects)
        full = FullVolumes(job, ledger.objects, volumes, setbacks, self._next_hop, until=until)
        replaced = ReplacedGenerations(ledger.copies, sweeping, volumes, backlog, switches)
        placing = Placing(
            queue,
            volumes,
            flight,
            self.crew,
            VolumeChoice(volumes, parts, notes, is_large=job.mover.is_large),
            Handover(self._pool, flight, notes, availability, activity),
            Shortage(job, volumes, flight, setbacks, activity, full, replaced, until=until),
            full,
        )
        work_left = WorkLeft(
            ledger.objects,
            self._pool,
            availability,
            flight,
            self._discovery,
            self._next_hop,
            activity,
            until=until,
        )
        completion = Completion(availability, flight, backlog, self._discovery, activity, work_left, full)
        news = VolumeNews(ledger.losses, volumes, flight, rewind=backlog.rewind)
        housekeeping = self.housekeeping(self._cleanup.came, news.tell)
        return Feeder(self.crew, housekeeping, sweeping, self._discovery, queue, completion, placing, switches.space)

    @property
    def endpoints(self) -> EndpointPool:
        return self._pool

    @property
    def suspects(self) -> Suspects:
        return self._suspects

    def _ended(self, outcomes: Sequence[Outcome]) -> None:
        """Called by the movers, which start only after everything is constructed."""
        self._arrivals.receive(outcomes)

    def _part_came(self, object_id: int) -> None:
        self._committer.write_back(object_id)

    def _at_disk(self, item: Item, step: Callable[[], None]) -> None:
        self._arrivals.carry_out(item, step)

    def _pass_ended(self) -> None:
        """Called by the lister and the scanner, which start only after everything is constructed."""
        self._discovery.pass_ended()

    def work(self) -> None:
        """Start the workers and feed them until drained, for one pass, or until stopped."""
        self._pool.preflight(lambda: self.crew.stopping)
        self._cleanup.drop_outdated_parts()
        self._feeder.housekeeping.look_around()
        self._discovery.start(self.crew)
        self._committer.start()
        self.counters.moved.start()
        self._feeder.run()

    def join(self) -> None:
        """Wait for the workers, which complete what the movers have already reported."""
        self.crew.ending.set()
        self._arrivals.stop()
        self._committer.stop()
        self._discovery.scanner.stop()
        super().join()

    def last_steps(self) -> list[Callable[[], None]]:
        """Keep what is proven, remove partial files that will not be resumed, let the destination unit end."""
        return [
            self._committer.commit_rest,
            self._cleanup.sweep_incoming,
            lambda: self._cleanup.sweep_rest(is_complete=self.activity.is_complete),
            self._next_hop.release,
        ]


def _examples(fetching: Fetching, ledger: SourceLedger) -> list[str]:
    """Objects other than the next ones: the one served last, and the one to be fetched last."""
    return [key for key in (fetching.notes.served_last, ledger.objects.last_pending()) if key]
