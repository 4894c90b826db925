# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The source unit: list the source, fetch what is new onto the volumes, prove it, make it durable, say so.

Threads: the feeder (the caller) chooses a volume and an endpoint per object and hands it to a mover; the lister walks
the source; two finishers prove what arrived; the committer makes groups durable. Order of one object's life:
mover writes ``incoming/<id>`` -> proof -> group -> syncfs -> rename -> fsync directories -> one transaction.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from . import keys
from .config import Job
from .credentials import for_side
from .dropfolder import DropScanner
from .endpoints import EndpointPool
from .errors import LocalError, StoreError, Trouble
from .ledger import Failure, Ledger, Row, Staged, dump_headers
from .lister import Lister
from .model import Fetch, Head, Headers, ListedObject, Outcome, State
from .placement import Placement, VolumeSpace, fits_nowhere
from .proof import Proven, Refuted, prove_arrival
from .unit import Item, Switches, Unit
from .volumes import OpenVolume, local_trouble, start_writeback, sync_file

_log = logging.getLogger("snowsync.source")
_FINISHERS = 2
_HEADS_AT_ONCE = 64


@dataclass(slots=True)
class _OpenGroup:
    """Objects proven on one volume that wait for their group's commit."""

    volume: OpenVolume
    items: list[tuple[Item, Staged]] = field(default_factory=list)
    bytes: int = 0
    since: float = field(default_factory=time.monotonic)


class SourceUnit(Unit):
    """Source bucket -> volumes; drop folders -> ledger."""

    name = "source"

    def __init__(self, job: Job, ledger: Ledger, switches: Switches, *, until: str, alone: bool) -> None:
        """`alone`: no destination unit runs in this process, so what is staged is somebody else's business."""
        super().__init__(job, ledger, switches, until=until)
        self.alone = alone
        self._outcomes: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()  # None ends one finisher
        credentials = for_side(job, "source") if job.source else None
        self._pool = EndpointPool(
            job.source,
            credentials,
            job.mover,
            direction="fetch",
            on_outcome=self._outcomes.put,
            wake=switches.space.set,
        )
        self._lister = Lister(self)
        self.scanner = DropScanner(self)
        self._placement = Placement()
        self._groups: dict[int, _OpenGroup] = {}
        self._cursor = 0
        self._rewind_at = 0.0
        self._avoid: dict[int, str] = {}

    @property
    def endpoints(self) -> EndpointPool:
        return self._pool

    def work(self) -> None:
        """Start the workers and feed them until drained, for one pass, or until stopped."""
        self._pool.preflight(lambda: self.stopping)
        self.look_around()
        self._sweep_staged()
        self.spawn(self._lister.run, "lister")
        for number in range(_FINISHERS):
            self.spawn(self._finish_loop, f"finisher-{number}")
        self.spawn(self._commit_loop, "committer")
        self._feed()

    def last_steps(self) -> list[Callable[[], None]]:
        """Keep what is proven, leave no partial files, let the destination unit end."""
        return [self._commit_rest, self._sweep_rest, self._release_destination]

    def join(self) -> None:
        """Wait for the workers, whose queue of outcomes is at its end."""
        for _ in range(_FINISHERS):
            self._outcomes.put(None)
        super().join()

    def _commit_rest(self) -> None:
        for group in self._groups.values():
            self._commit(group)

    def _sweep_rest(self) -> None:
        for volume in self.volumes.open.values():
            with contextlib.suppress(OSError):  # swept at the next start
                volume.sweep_incoming()

    def _release_destination(self) -> None:
        self.switches.source_done.set()
        self.switches.staged.set()

    def volume_came(self, volume: OpenVolume) -> None:
        swept = volume.sweep_incoming(keep=self.on_their_way())
        _log.info(
            "volume %s is in use (%s)%s", volume.name, volume.uuid, f", swept {swept} partial files" if swept else ""
        )

    def _sweep_staged(self) -> None:
        """Remove files that were renamed into the staging tree and never made it into the ledger."""
        for volume in self.volumes.open.values():
            if not self.ledger.has_used(volume.id):
                continue  # what lies there may be another ledger's: nothing is deleted on doubt
            emptied = set()
            for relative in volume.staged_files():
                if not self._is_known(volume, relative):
                    volume.discard_staged(relative)
                    emptied.add(os.path.dirname(relative))
            volume.prune(emptied)

    def _is_known(self, volume: OpenVolume, relative: str) -> bool:
        try:
            key, generation = keys.from_path(relative)
        except ValueError:
            _log.warning("volume %s: %r in the staging tree is not the engine's; left alone", volume.name, relative)
            return True
        return self.ledger.has_file(key, generation, volume.id)

    # -- the feeder -------------------------------------------------------------------------------------------

    def _feed(self) -> None:
        rows: deque[Row] = deque()
        self.counters.first_start = time.monotonic()
        while not self.stopping:
            self.look_around()
            self._discard_obsolete()
            if not rows:
                rows.extend(self._next_rows())
            if not rows and self._is_done():
                self.is_complete = True
                return
            if not rows or not self._place(rows):
                self.switches.space.wait(0.05)
                self.switches.space.clear()

    def _next_rows(self) -> list[Row]:
        now = time.monotonic()
        if len(self.in_flight) > 4 * self.job.group.objects:
            self.status = f"proving {len(self.in_flight)} objects"
            return []
        busy = self.on_their_way()
        limit = self.job.group.objects + len(busy)
        rows = self.ledger.work(State.PENDING, after_id=self._cursor, limit=limit)
        if rows:
            self._cursor = rows[-1].id
        elif now >= self._rewind_at:
            # Rows put back, and new generations of old rows, lie behind the cursor.
            self._rewind_at = now + 0.5
            self._cursor = 0
        return [row for row in rows if self.due(row, busy)]

    def _is_done(self) -> bool:
        if self.until == "forever" or not self._lister.finished or self.in_flight:
            self.status = self._describe()
            return False
        if self.until == "once":
            return self._cursor == 0 and self._lister.finished
        # The destination unit beside this one may still find a staged file damaged, which is fetched again then.
        return not self.ledger.waiting(State.PENDING, *(() if self.alone else (State.STAGED,)))

    def _describe(self) -> str:
        if self.in_flight:
            return f"fetching {len(self.in_flight)} objects"
        if self._pool.why_down():
            return f"waiting for the source: {self._pool.why_down()}"
        return "up to date" if self._lister.finished else "listing the source"

    def _place(self, rows: deque[Row]) -> bool:
        """Hand over rows from the left until one must wait; True when all are on their way."""
        with self.lock:
            spaces = self.volumes.spaces()
        turn_ends = time.monotonic() + 1.0  # volumes and endpoints are looked at in between
        while rows and not self.stopping and time.monotonic() < turn_ends:
            row = rows[0]
            endpoint = self._pool.pick(self._avoid.get(row.id, ""))
            if endpoint is None:
                self.outage("source")
                return False
            chosen = self._placement.choose(row.size, spaces)
            volume = self.volumes.open.get(chosen) if chosen is not None else None
            if volume is None:
                return self._no_room(rows, spaces)
            rows.popleft()
            self._submit(Item(row, volume, endpoint, volume.incoming_path(row.id)), spaces)
            self.heartbeat = time.monotonic()
        return True

    def _submit(self, item: Item, spaces: list[VolumeSpace]) -> None:
        row = item.row
        with self.lock:
            self.in_flight[row.id] = item
            item.volume.in_flight += row.size
        for space in spaces:
            if space.id == item.volume.id:
                space.in_flight += row.size
        self.status = f"fetching {len(self.in_flight)} objects"
        work = Fetch(row.id, row.key, row.size, item.path)
        item.tool = self._pool.tool(work)
        self._pool.submit(item.endpoint, work)

    def _no_room(self, rows: deque[Row], spaces: list[VolumeSpace]) -> bool:
        row = rows[0]
        if not spaces:
            self.status = f"waiting for a volume: {self.volumes.why_absent()}"
            if self.until == "once" and not self.in_flight:
                raise LocalError(Trouble.IO, f"find a volume for job {self.job.job}", self.volumes.why_absent())
        elif not self.volumes.absent and fits_nowhere(row.size, spaces):
            rows.popleft()
            message = f"{row.size} bytes are more than any volume may take; add a larger volume or raise its limit"
            failure = Failure(row, "source", Trouble.SPACE, message, "failed")
            self.ledger.retry(failure, delay_ms=0, count=True, target=State.FAILED)
            self.note(failure)
        else:
            self.status = f"waiting for space on {', '.join(volume.name for volume in self.volumes.open.values())}"
        return False

    def _discard_obsolete(self) -> None:
        if not self._lister.saw_changes:
            return
        self._lister.saw_changes = False
        done = []
        for number, volume_id, key, generation in self.ledger.discards():
            volume = self.volumes.open.get(volume_id)
            if volume:
                relative = keys.to_path(key, generation)
                volume.discard_staged(relative)
                volume.prune([os.path.dirname(relative)])
                done.append(number)
        self.ledger.discarded(done)

    # -- the finishers ----------------------------------------------------------------------------------------

    def _finish_loop(self) -> None:
        while outcomes := self._take_outcomes():
            self._finish(outcomes)

    def _take_outcomes(self) -> list[Outcome]:
        """What has come, up to a batch; a large file ends the batch, so that the other finisher hashes the next one.

        Empty: the unit ends. Waits without a timeout: with two takers, CPython 3.11's SimpleQueue.get(timeout=...) may
        wait for ever when the other one takes what woke it (its new timeout becomes negative).
        """
        first = self._outcomes.get()
        if first is None:
            return []
        taken = [first]
        with contextlib.suppress(queue.Empty):
            while len(taken) < _HEADS_AT_ONCE and not self._ends_batch(taken[-1]):
                outcome = self._outcomes.get_nowait()
                if outcome is None:
                    self._outcomes.put(None)
                    break
                taken.append(outcome)
        return taken

    def _ends_batch(self, outcome: Outcome) -> bool:
        item = self.in_flight.get(outcome.id)
        return item is not None and self._is_large(item.row)

    def _is_large(self, row: Row) -> bool:
        return row.size >= self.job.mover.large_object

    def _finish(self, outcomes: list[Outcome]) -> None:
        arrived = []
        for outcome in outcomes:
            item = self.in_flight.get(outcome.id)
            if item is None:
                continue
            if outcome.ok:
                arrived.append(item)
            else:
                self._mover_failed(item, outcome)
        # The head comes after the bytes: what it says is what the proof pins them to.
        for endpoint in {item.endpoint.url: item.endpoint for item in arrived}.values():
            by_key = {item.row.key: item for item in arrived if item.endpoint is endpoint}
            for key, head in endpoint.wire().head_many(list(by_key)):
                self._arrived(by_key[key], head)

    def _mover_failed(self, item: Item, outcome: Outcome) -> None:
        trouble = outcome.trouble or Trouble.OTHER
        if trouble is Trouble.NOT_FOUND:
            # The mover's word for it is text; the store's own answer decides.
            try:
                head: Head | StoreError = item.endpoint.wire().head(item.row.key)
            except StoreError as error:
                head = error
            if isinstance(head, StoreError) and head.trouble is Trouble.NOT_FOUND:
                self._vanished(item)
                return
        self._not_arrived(item, trouble, outcome.message)

    def _not_arrived(self, item: Item, trouble: Trouble, message: str) -> None:
        """Sort a failure: the endpoint's, the volume's, or the object's own."""
        if trouble.is_local:
            if trouble is not Trouble.SPACE:
                self.take_out(item.volume, message)
            self._put_back(item, 5.0 if trouble is Trouble.SPACE else 0.0)
            return
        if trouble.is_weather or trouble.stops_job:
            self.weather(item.endpoint, trouble, message)
        if (trouble.is_weather or trouble is Trouble.UNKNOWN) and not self.postpone(item, 0.2):
            self._put_back(item, None)
            return
        self.failed(Failure(item.row, "source", trouble, message, "fetched again"))
        self._put_back(item, None)

    def _put_back(self, item: Item, delay: float | None) -> None:
        """The object leaves the unit unstaged; its row is still pending and will be taken again."""
        try:
            item.volume.discard_incoming(item.row.id)
        except OSError as error:
            _log.warning("volume %s: cannot remove a partial file: %s", item.volume.name, error.strerror)
        if delay is not None:
            self._later[item.row.id] = time.monotonic() + delay
        self._leave(item)

    def _leave(self, item: Item) -> None:
        with self.lock:
            if self.in_flight.pop(item.row.id, None):
                item.volume.in_flight -= item.row.size
        self._rewind_at = 0.0

    def _vanished(self, item: Item) -> None:
        failure = Failure(
            item.row, "source", Trouble.NOT_FOUND, "the object left the source before it was fetched", "forgotten"
        )
        self.note(failure)
        self.ledger.record(failure)
        self.ledger.forget(item.row)
        self._put_back(item, None)

    def _arrived(self, item: Item, head: Head | StoreError) -> None:
        row = item.row
        if isinstance(head, StoreError):
            if head.trouble is Trouble.NOT_FOUND:
                self._vanished(item)
            else:
                self._not_arrived(item, head.trouble, str(head))
            return
        if head.etag != row.etag or head.size != row.size:
            self._changed(item, head)
            return
        try:
            if self._is_large(row):
                start_writeback(item.path)
            proof = prove_arrival(item.path, row.key, head, item.endpoint.store, item.endpoint.wire(), self.job.mover)
            if self._is_large(row):
                # Not left to the group's syncfs, which would wait for whatever else is being written there.
                sync_file(item.path)
                item.is_durable = True
            headers = dump_headers(self._headers(item, head))
        except StoreError as error:
            self._not_arrived(item, error.trouble, str(error))
        except OSError as error:
            self._not_arrived(
                item, local_trouble(error), f"Failed to read what arrived of {row.key!r}: {error.strerror}"
            )
        else:
            self._proven(item, proof, headers)

    def _headers(self, item: Item, head: Head) -> Headers:
        if not head.tag_count:
            return head.headers
        return replace(head.headers, tags=self._pool.control(item.endpoint).get_tags(item.row.key))

    def _changed(self, item: Item, head: Head) -> None:
        row = item.row
        failure = Failure(
            row,
            "source",
            Trouble.CHANGED,
            "the object was overwritten at the source while it was fetched",
            "fetched again as a new generation",
            expected=row.etag,
            found=head.etag,
        )
        self.note(failure)
        self.ledger.record(failure)
        self.ledger.observe([ListedObject(row.key, head.size, head.etag, head.modified_ms)])
        self._put_back(item, None)

    def _proven(self, item: Item, proof: Proven | Refuted, headers: str) -> None:
        if isinstance(proof, Refuted):
            self._refuted(item, proof)
            return
        staged = Staged(item.row, proof.part_size, proof.digest, headers, proof.evidence, item.tool)
        item.endpoint.ok()
        with self.lock:
            group = self._groups.get(item.volume.id)
            if group is None:
                group = self._groups[item.volume.id] = _OpenGroup(item.volume)
            group.items.append((item, staged))
            group.bytes += item.row.size

    def _refuted(self, item: Item, proof: Refuted) -> None:
        try:
            item.volume.to_quarantine(item.row.id)
        except OSError as error:
            _log.warning("volume %s: cannot quarantine a file: %s", item.volume.name, error.strerror)
        self._avoid[item.row.id] = item.endpoint.url
        self.failed(
            Failure(
                item.row,
                "source",
                Trouble.MISMATCH,
                f"{proof.message} (from {item.endpoint.url})",
                "quarantined and fetched again",
                expected=proof.expected,
                found=proof.found,
            )
        )
        self._put_back(item, None)

    # -- the committer ----------------------------------------------------------------------------------------

    def _commit_loop(self) -> None:
        while not self.ending.is_set():
            groups = self._ready_groups()
            for group in groups:
                self._commit(group)
            if not groups:
                self.ending.wait(0.02)

    def _ready_groups(self) -> list[_OpenGroup]:
        policy = self.job.group
        now = time.monotonic()
        with self.lock:
            everything_waits = sum(len(group.items) for group in self._groups.values()) == len(self.in_flight)
            ready = [
                number
                for number, group in self._groups.items()
                if everything_waits
                or len(group.items) >= policy.objects
                or group.bytes >= policy.bytes
                or now - group.since >= policy.seconds
                or all(item.is_durable for item, _ in group.items)  # waiting would save no syncfs
            ]
            return [self._groups.pop(number) for number in ready]

    def _commit(self, group: _OpenGroup) -> None:
        """Bytes durable, then names durable, then the ledger says so."""
        volume = group.volume
        try:
            if not all(item.is_durable for item, _ in group.items):
                volume.sync()
            paths = {item.row.id: keys.to_path(item.row.key, item.row.generation) for item, _ in group.items}
            volume.sync_directories({volume.publish(number, path) for number, path in paths.items()})
        except OSError as error:
            message = f"Failed to make {len(group.items)} objects durable on volume {volume.name}: {error.strerror}"
            _log.error("%s; they are fetched again", message)
            for item, _ in group.items:
                self._not_arrived(item, local_trouble(error), message)
            return
        refused = self.ledger.commit_staged([staged for _, staged in group.items], volume.id, self.run_id)
        for staged in refused:
            volume.discard_staged(paths[staged.row.id])
        gone = {staged.row.id for staged in refused}
        size = 0
        with self.lock:
            for item, _ in group.items:
                self.in_flight.pop(item.row.id, None)
                self.volumes.committed(volume, item.row.size)
                size += item.row.size if item.row.id not in gone else 0
        self.counters.moved(len(group.items) - len(gone), size)
        for item, _ in group.items:
            self.forgive(item.row.id)
            if item.row.attempts or item.row.id in self._avoid:
                # The copy that did not match may lie on another volume than the one that does.
                for each in list(self.volumes.open.values()):
                    each.clear_quarantine(item.row.id)
                self._avoid.pop(item.row.id, None)
        self.switches.staged.set()
