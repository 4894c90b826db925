# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The destination unit: send what is staged, prove it at the destination, record it, release the staged file.

Threads: the feeder (the caller) takes batches of staged rows, per volume in listing order, large objects one by one.
Each volume has a sender (senders.py), which checks the files and hands them to a mover, provers, which ask the
destination what it holds and commit, and a releaser, which deletes (volume_workers.py).
Steps for one object: claimed in the ledger -> uploaded -> proven -> `delivered` in one transaction -> file deleted ->
`released`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ...config.credentials import for_side
from ...config.job_file import Job
from ...core.model import Outcome, State
from ...ledger.binding import Naming, naming
from ...ledger.ledger import Ledger
from .. import adoption
from ..availability import Availability
from ..backlog import Feed, VolumeBacklog
from ..flight import Item
from ..part_memory import PartKeeper
from ..pool import EndpointPool
from ..setbacks import Setbacks, Suspects
from ..switches import Switches
from ..unit import Unit
from .coming_volumes import ComingVolumes, tell_put_back
from .completion import Completion, GivingUp, StagedLeft, Unfinished
from .delivered_files import Leftovers
from .feeder import Feeder, Pause
from .proving.abandoned_uploads import abort_left_uploads
from .proving.deliveries import Deliveries
from .proving.releases import Releases
from .senders import Senders, Uploads
from .sending import Handover, LargeObjects, Sending, SendTurn, Trials
from .staged_queue import StagedQueue
from .touched_objects import TouchedObjects
from .unsent.readiness import Readiness
from .unsent.unsent import Unsent


class DestinationUnit(Unit):
    """Volumes -> destination bucket. `refusals`: what the destination refused."""

    name = "destination"
    reads = True

    def __init__(self, job: Job, ledger: Ledger, switches: Switches, *, until: str) -> None:
        super().__init__(job, ledger, switches)
        names = naming(job, ledger.stores.bindings())
        parts = PartKeeper(ledger.parts)
        setbacks = Setbacks(ledger, self.counters, attempts=job.attempts, until=until)
        self._left_uploads = ledger.parts
        self._pool = EndpointPool(
            job.destination,
            for_side(job, "destination"),
            job.mover,
            direction="send",
            on_outcomes=self._ended,
            wake=switches.staged.set,
            volumes=len(job.volumes),
            memory=parts,
        )
        self._suspects = Suspects(self.flight, self._pool, parts, self._at_disk)
        backlog = VolumeBacklog(
            Feed(ledger, self.flight, setbacks, job.mover.is_large), State.STAGED, rewind_seconds=0.25
        )
        unsent = Unsent(
            ledger,
            names,
            self.flight,
            setbacks,
            self._suspects,
            adopt=lambda row: adoption.adopt(ledger, self.volumes, row, switches.staged.set),
            take_out=self.take_out,
            rewind=backlog.rewind,
        )
        self.refusals = unsent.refusals
        self._releases = Releases(ledger, names, self.counters, switches)
        self._deliveries = Deliveries(
            job,
            ledger,
            self.volumes,
            names,
            self._pool,
            self.flight,
            unsent,
            self._releases,
            self.crew,
            self.counters,
            switches,
        )
        readiness = Readiness(
            ledger,
            names,
            setbacks,
            unsent,
            reread=job.reread,
            is_doubtful=self._deliveries.batches.is_doubtful,
        )
        availability = Availability(job, self.name, self._pool, self.flight, self.activity, until=until)
        uploads = Uploads(
            ledger,
            self._pool,
            self._deliveries,
            self.crew,
            is_ready=readiness.is_ready,
            submit=Handover(
                job, names, self._pool, self.flight, availability, self.activity, part_md5s=ledger.parts.md5s
            ).submit,
        )
        batches = self._deliveries.batches
        self._senders = Senders(uploads, batches, self._pool, self.flight.held, self.crew, switches)
        self._feeder = self._made_feeder(
            job, ledger, switches, until, backlog, names, setbacks, unsent, readiness, availability
        )

    def _made_feeder(
        self,
        job: Job,
        ledger: Ledger,
        switches: Switches,
        until: str,
        backlog: VolumeBacklog,
        names: Naming,
        setbacks: Setbacks,
        unsent: Unsent,
        readiness: Readiness,
        availability: Availability,
    ) -> Feeder:
        volumes, flight, activity, refusals = self.volumes, self.flight, self.activity, self.refusals
        batches = self._deliveries.batches
        sending = Sending(names, volumes, self._pool, flight, setbacks, unsent, self._senders)
        queue = StagedQueue(backlog, volumes, batches, self.crew, job.group)
        trials = Trials(queue, refusals, flight, sending, activity, is_large=job.mover.is_large)
        large = LargeObjects(queue, volumes, flight, self.crew, sending)
        turn = SendTurn(self._pool, availability, refusals, queue, trials, large, sending)
        leftovers = Leftovers(job, ledger, volumes, flight, self._releases, self._deliveries.workers, switches)
        touched = TouchedObjects(job, ledger, names, self._pool, switches)
        completion = Completion(
            self._pool,
            refusals,
            flight,
            activity,
            GivingUp(job, refusals, availability, switches, until=until),
            Unfinished(flight, backlog, self._releases, leftovers, touched, until=until),
            StagedLeft(job, ledger.objects, volumes, until=until),
            until=until,
        )
        coming = ComingVolumes(ledger, names, volumes, flight, backlog, readiness, self._releases, beat=activity.beat)
        housekeeping = self.housekeeping(coming.came, partial(tell_put_back, volumes, switches))
        pause = Pause(backlog, flight, batches, self._releases, switches.staged)
        return Feeder(self.crew, housekeeping, leftovers, turn, touched, completion, pause, switches.source_done)

    @property
    def endpoints(self) -> EndpointPool:
        return self._pool

    @property
    def suspects(self) -> Suspects:
        return self._suspects

    def _ended(self, outcomes: Sequence[Outcome]) -> None:
        """Called by the movers, which start only after everything is constructed."""
        self._deliveries.receive(outcomes)

    def _at_disk(self, item: Item, step: Callable[[], None]) -> None:
        self._deliveries.workers.at_disk(item, step)

    def work(self) -> None:
        """Start the workers and feed them until drained, for one pass, or until stopped."""
        self._pool.preflight(lambda: self.crew.stopping)
        self._feeder.housekeeping.look_around()
        self.crew.spawn(self._abort_left_uploads, "left-uploads")
        self.counters.moved.start()
        self._feeder.run()

    def join(self) -> None:
        """Wait for the workers, which prove what was completely sent."""
        self.crew.ending.set()
        self._senders.threads.stop()
        self._deliveries.workers.stop()
        super().join()

    def last_steps(self) -> list[Callable[[], None]]:
        """Record the last releases, and abort uploads that will not be resumed."""
        return [lambda: self._releases.record(now=True), self._abort_left_uploads]

    def _abort_left_uploads(self) -> None:
        abort_left_uploads(self._left_uploads, self._pool)
