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

import logging
import time
from collections import deque
from collections.abc import Callable

from ...config.credentials import for_side
from ...config.job_file import Job
from ...core.model import Outcome, Send, State
from ...ledger.binding import naming
from ...ledger.destination_ports import DestinationLedger
from ...ledger.ledger import Ledger, Row, load_headers
from ...store.endpoint import Endpoint
from ...store.object_headers import carried
from ...volumes import outgoing_files
from ...volumes.open_volume import OpenVolume
from .. import adoption
from ..backlog import Feed, VolumeBacklog
from ..flight import Item
from ..pool import EndpointPool
from ..setbacks import Suspects
from ..switches import Switches
from ..unit import Unit
from .abandoned_uploads import abort_left_uploads
from .delivered_files import Leftovers
from .deliveries import Deliveries
from .readiness import Readiness
from .refusals import PROBES_AT_ONCE, Refusals
from .releases import Releases
from .senders import Senders, Uploads
from .touched_objects import TouchedObjects
from .unsent import Unsent

_log = logging.getLogger("snowsync.destination")
_BATCHES = 3  # in flight per volume: one being sent, one draining, one being proven


class DestinationUnit(Unit):
    """Volumes -> destination bucket."""

    name = "destination"
    ledger: DestinationLedger
    reads = True

    def __init__(self, job: Job, ledger: Ledger, switches: Switches, *, until: str) -> None:
        super().__init__(job, ledger, switches, until=until)
        self._naming = naming(job, ledger.stores.bindings())
        self._pool = EndpointPool(
            job.destination,
            for_side(job, "destination"),
            job.mover,
            direction="send",
            on_outcome=self._ended,
            wake=switches.staged.set,
            volumes=len(job.volumes),
            memory=self.parts,
        )
        self._suspects = Suspects(self.flight, self._pool, self.parts, self._at_disk)
        feed = Feed(ledger, self.flight, self.setbacks, job.mover.is_large)
        self._backlog = VolumeBacklog(feed, State.STAGED, rewind_seconds=0.25)
        self._unsent = Unsent(
            ledger,
            self._naming,
            self.flight,
            self.setbacks,
            self._suspects,
            adopt=lambda row: adoption.adopt(ledger, self.volumes, row, switches.staged.set),
            take_out=self.take_out,
            rewind=self._backlog.rewind,
        )
        self._releases = Releases(ledger, self._naming, self.counters, switches)
        self._deliveries = Deliveries(
            job,
            ledger,
            self.volumes,
            self._naming,
            self._pool,
            self.flight,
            self._unsent,
            self._releases,
            self.crew,
            self.counters,
            switches,
        )
        self._readiness = Readiness(
            ledger,
            self._naming,
            self.setbacks,
            self._unsent,
            reread=job.reread,
            is_doubtful=self._deliveries.batches.is_doubtful,
        )
        uploads = Uploads(
            ledger,
            self._pool,
            self._deliveries,
            self.crew,
            is_ready=self._readiness.is_ready,
            submit=self._submit,
        )
        batches = self._deliveries.batches
        self._senders = Senders(uploads, batches, self._pool, self.flight.held, self.crew, switches)
        workers = self._deliveries.workers
        self._leftovers = Leftovers(job, ledger, self.volumes, self.flight, self._releases, workers, switches)
        self._touched = TouchedObjects(job, ledger, self._naming, self._pool, switches)

    @property
    def endpoints(self) -> EndpointPool:
        return self._pool

    @property
    def suspects(self) -> Suspects:
        return self._suspects

    def _ended(self, outcome: Outcome) -> None:
        """Called by the movers, which start only after everything is constructed."""
        self._deliveries.receive(outcome)

    def _at_disk(self, item: Item, step: Callable[[], None]) -> None:
        self._deliveries.workers.at_disk(item, step)

    def work(self) -> None:
        """Start the workers and feed them until drained, for one pass, or until stopped."""
        self._pool.preflight(lambda: self.crew.stopping)
        self.look_around()
        self.crew.spawn(self._abort_left_uploads, "left-uploads")
        self._feed()

    def join(self) -> None:
        """Wait for the workers, which prove what was completely sent."""
        self.crew.ending.set()
        self._senders.threads.stop()
        self._deliveries.workers.stop()
        super().join()

    def last_steps(self) -> list[Callable[[], None]]:
        """Record the last releases, and abort uploads that will not be resumed."""
        return [lambda: self._releases.record(now=True), self._abort_left_uploads]

    def volume_came(self, volume: OpenVolume) -> None:
        self._backlog.clear()  # rows read before it went missing are not marked suspect
        self._backlog.rewind()
        if self.ledger.recovery.recovered_ms():
            self._readiness.overtaken |= adoption.overtaken(self.ledger, volume, self.beat)
        if not volume.writable:
            _log.warning("volume %s is used read-only: %s", volume.name, self.volumes.why_only_read(volume))
            return
        busy = self.flight.ids()
        outgoing, drop_path = volume.folders.outgoing, volume.config.drop_path
        outgoing_files.settle(outgoing, drop_path, self.ledger.objects.row, self._relative, busy, self.beat)
        volume.sweep_outgoing(keep=busy)
        self._releases.next_look = 0.0

    def volumes_seen(self) -> None:
        """Let the source unit scan the drop folders for the last time, once no more volumes are coming."""
        if not self.volumes.coming:
            self.switches.put_back.set()

    def beat(self) -> None:
        """Called during a long step."""
        self.heartbeat = time.monotonic()

    def _abort_left_uploads(self) -> None:
        abort_left_uploads(self.ledger.parts, self._pool)

    def _relative(self, row: Row) -> str:
        """The path of the file below the staging tree or the drop folder."""
        return self._naming.staging_path(row.key, row.generation, row.origin)

    @property
    def refusals(self) -> Refusals:
        """What the destination refused."""
        return self._unsent.refusals

    # -- the feeder -------------------------------------------------------------------------------------------

    def _feed(self) -> None:
        self.counters.moved.start()
        while not self.crew.stopping:
            self.look_around()
            self._leftovers.release()
            source_done = self.switches.source_done.is_set()  # checked first: what was staged last is read below
            if self._send_next() or self._touched.ask():
                continue
            if self._is_done(source_done):
                self.is_complete = True
                if self.is_hopeless():
                    self.end_unserved()
                return
            self._releases.record(now=not any(self._deliveries.batches.open.values()))
            self.switches.staged.wait(0.05 if self._backlog or self.flight else 0.25)
            self.switches.staged.clear()

    def _reachable(self) -> set[int] | None:
        """The volumes whose files can be sent; None: all."""
        return set(self.volumes.open) if self.volumes.absent else None

    def _send_next(self) -> bool:
        """Hand over as much as there is room for. False: nothing, wait."""
        if not self._pool.any_up:
            self.outage("destination")
            return False
        if self.refusals.everything or self._pool.serves_nothing:
            return self._try_some()
        backlog = self._backlog
        open_batches = self._deliveries.batches.open
        hungry = {number for number in list(self.volumes.open) if open_batches[number] < _BATCHES}
        backlog.fill_for(hungry, self.job.group.objects, self._reachable())
        sent = self._send_large()
        for number, rows in backlog.by_volume.items():
            if rows and open_batches[number] < _BATCHES and not self.crew.stopping:
                self._send(self._next_batch(rows))
                sent = True
        return sent

    def _send_large(self) -> bool:
        sent = False
        held_up = self.held_up()
        idle = {number for number in list(self.volumes.open) if not self._senders.has_large(number)}
        for row in [row for row in self._backlog.large if row.volume in idle]:
            if self.crew.stopping or (row.volume or 0) not in idle:
                continue
            endpoint = self._pool.pick(self._unsent.past.endpoint_to_avoid(row), large=True, held_up=held_up)
            if endpoint is None:
                break
            self._backlog.large.remove(row)
            if self._backlog.is_as_known(row):
                self._send([row], endpoint)
                idle.discard(row.volume or 0)  # the next one after this one was checked
                sent = True
        return sent

    def _try_some(self) -> bool:
        """The destination accepts nothing: try a few arbitrary objects from time to time."""
        if self.refusals.everything:
            self.status = f"the destination refuses all uploads: {self.refusals.message}"
        if not self.refusals.may_try(time.monotonic()) or self.flight:
            return False
        self._backlog.fill_for(list(self.volumes.open), self.job.group.objects, self._reachable())
        rows = self._backlog.pick_some(PROBES_AT_ONCE, first=self._deliveries.batches.looked)
        for row in rows:
            endpoint = (
                self._pool.pick(self._unsent.past.endpoint_to_avoid(row), large=True)
                if self.job.mover.is_large(row.size)
                else None
            )
            self._send([row], endpoint)
        return bool(rows)

    def _gives_up(self) -> bool:
        """Whether this run ends with objects undelivered because all its trials were refused."""
        trials = 1 if self.until == "once" else self.job.attempts
        if self.until == "forever" or not (self.refusals.trials >= trials or self.is_hopeless()):
            self.switches.refused.clear()
            return False
        self.switches.refused.set()
        self.switches.space.set()
        return True

    def _next_batch(self, rows: deque[Row]) -> list[Row]:
        policy = self.job.group
        taken: list[Row] = []
        size = 0
        while rows and len(taken) < policy.objects and (not taken or size + rows[0].size <= policy.bytes):
            taken.append(rows.popleft())
            size += taken[-1].size
        return taken

    def _is_done(self, source_done: bool) -> bool:
        if self._gives_up() and source_done and not self.flight:
            return True
        if self.flight or self._backlog or self._releases.has_released or self._leftovers.are_left:
            return False
        if self.until == "drained" and self._touched.are_left():
            return False
        staged = self.ledger.objects.waiting(State.STAGED)
        if self._pool.any_up and not self.refusals.everything:
            self.status = self._describe(source_done, staged)
        if self.until == "forever" or not source_done:
            return False
        if self.until == "once":
            # What failed was tried, and is postponed; what is on an absent volume waits for another pass.
            there = self.volumes.open.keys() | self.volumes.coming if self.volumes.absent else None
            return not self.ledger.objects.work(State.STAGED, after_id=0, limit=1, volumes=there)
        return not self.ledger.objects.is_to_be_sent(self.job.attempts)

    def _describe(self, source_done: bool, staged: bool) -> str:
        if staged and self.volumes.absent:
            return f"waiting for a volume: {self.volumes.why_absent()}"
        if staged:
            return "waiting to retry"
        return "waiting for the source" if not source_done else "up to date"

    def _send(self, rows: list[Row], endpoint: Endpoint | None = None) -> None:
        """One batch: the sender of its volume checks each file and uploads it.

        `endpoint` None: each object goes to the least busy one.
        """
        volume = self.volumes.open.get(rows[0].volume or 0)
        items = []
        for row in rows:
            chosen = endpoint or self._pool.pick(self._unsent.past.endpoint_to_avoid(row))
            if volume is None or chosen is None:
                self.setbacks.put_off(row, 1.0)  # it has just become unavailable
            else:
                items.append(Item(row, volume, chosen, volume.staged_path(self._relative(row))))
        if not items:
            return
        self.flight.take(*items)
        self._senders.send(items, is_large=endpoint is not None)

    def _submit(self, item: Item) -> None:
        row = item.row
        self.status = f"sending {len(self.flight)} objects" if self.is_served() else self.status
        md5 = "" if row.part_size or row.size == 0 else row.digest
        key, headers = self._naming.destination_key(row.key), carried(load_headers(row.headers), self.job)
        work = Send(
            row.id, key, row.size, item.path, row.part_size, headers, md5, row.digest, row.generation, item.volume.id
        )
        item.tool = self._pool.transfers.choose_tool(work)
        self._pool.transfers.submit(item.endpoint, item.tool, work)
