# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The destination unit: send what is staged, prove it at the destination, say so, release the staged file.

Threads: the feeder (the caller) takes batches of staged rows in listing order and hands them to a mover; the prover
asks the destination for a batch's ETags at once (one listing for many objects where the keys lie together, a HEAD for
each where they do not), commits, and deletes. Order of one object's end:
claimed in the ledger -> uploaded -> proven -> `delivered` in one transaction -> file deleted -> `released`.
"""

from __future__ import annotations

import logging
import os
import queue
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from . import keys
from .config import Job
from .credentials import for_side
from .endpoints import Endpoint, EndpointPool
from .errors import StoreError, Trouble
from .ledger import Delivered, Failure, Ledger, Row, load_headers
from .model import LONGEST_KEY, Head, Origin, Outcome, Send, State
from .probing import found_at
from .proof import Refuted, Sent, local_file_is_sound, prove_delivery
from .unit import Item, Switches, Unit
from .volumes import OpenVolume, local_trouble

_log = logging.getLogger("snowsync.destination")
_BATCHES = 3  # on their way at once: one being sent, one draining, one being proven
_ABSENT_SECONDS = 5.0


@dataclass(slots=True)
class _Batch:
    """Rows that are sent together and proven together."""

    items: list[Item] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    sealed: bool = False

    @property
    def complete(self) -> bool:
        return self.sealed and len(self.outcomes) == len(self.items)


class DestinationUnit(Unit):
    """Volumes -> destination bucket."""

    name = "destination"

    def __init__(self, job: Job, ledger: Ledger, switches: Switches, *, until: str) -> None:
        super().__init__(job, ledger, switches, until=until)
        self._pool = EndpointPool(
            job.destination,
            for_side(job, "destination"),
            job.mover,
            direction="send",
            on_outcome=self._on_outcome,
            wake=switches.staged.set,
        )
        self._batches: dict[int, _Batch] = {}  # by object id
        self._complete: queue.SimpleQueue[_Batch] = queue.SimpleQueue()
        self._open_batches = 0
        self._released: list[Row] = []
        self._avoid: dict[int, str] = {}
        self._cursor = 0
        self._rewind_at = 0.0
        self._source_prefix = job.source.prefix if job.source else ""

    @property
    def endpoints(self) -> EndpointPool:
        return self._pool

    def work(self) -> None:
        """Start the workers and feed them until drained, for one pass, or until stopped."""
        self._pool.preflight(lambda: self.stopping)
        self.look_around()
        self._release_leftovers()
        self.spawn(self._prove_loop, "prover")
        self._feed()

    def last_steps(self) -> list[Callable[[], None]]:
        """Record the last releases."""
        return [self._flush_released]

    def volume_came(self, volume: OpenVolume) -> None:
        volume.sweep_outgoing(keep=self.on_their_way())

    def destination_key(self, row: Row) -> str:
        return keys.map_key(row.key, self._source_prefix, self.job.destination.prefix)

    def _relative(self, row: Row) -> str:
        if row.origin == Origin.DROP:
            return row.key[len(self._source_prefix) :]
        return keys.to_path(row.key, row.generation)

    # -- the feeder -------------------------------------------------------------------------------------------

    def _feed(self) -> None:
        self.counters.first_start = time.monotonic()
        while not self.stopping:
            self.look_around()
            rows = self._next_rows()
            if rows:
                self._send(rows)
            elif self._is_done():
                self.is_complete = True
                return
            else:
                self.switches.staged.wait(0.05)
                self.switches.staged.clear()

    def _next_rows(self) -> list[Row]:
        if self._open_batches >= _BATCHES:
            return []
        if self._pool.pick() is None:
            self.outage("destination")
            return []
        policy = self.job.group
        busy = self.on_their_way()
        limit = policy.objects + len(busy)
        rows = self.ledger.work(State.STAGED, after_id=self._cursor, limit=limit)
        now = time.monotonic()
        if not rows and now >= self._rewind_at:
            self._rewind_at = now + 0.25
            self._cursor = 0
        taken: list[Row] = []
        size = 0
        for row in rows:
            if len(taken) >= policy.objects or (taken and size + row.size > policy.bytes):
                break
            # A large object is a batch of its own: proven and released when it is there, not when its neighbours are.
            is_large = row.size >= self.job.mover.large_object
            if taken and is_large:
                break
            self._cursor = row.id
            if self.due(row, busy):
                taken.append(row)
                size += row.size
                if is_large:
                    break
        return taken

    def _is_done(self) -> bool:
        if self.in_flight or self._released or self._open_batches:
            return False
        if self.until == "forever":
            self.status = "up to date" if not self._pool.why_down() else self.status
            return False
        if not self.switches.source_done.is_set():
            return False
        if self.until == "once":
            return self._cursor == 0
        return not self.ledger.waiting(State.STAGED)

    def _send(self, rows: list[Row]) -> None:
        """One batch: look at each file, look at the destination for uploads that a crash cut off, then upload."""
        items = [item for item in map(self._prepare, rows) if item]
        with self.lock:
            for item in items:
                self.in_flight[item.row.id] = item
        items = self._settle_doubtful(items)
        if not items:
            return
        self.ledger.claim_sends(item.row for item in items)
        batch = _Batch()
        with self.lock:
            self._open_batches += 1
            for item in items:
                self._batches[item.row.id] = batch
                batch.items.append(item)
            batch.sealed = True
        for item in items:
            if self.stopping:
                return  # what was not handed over is looked at again by the next run
            self._submit(item)
            self.heartbeat = time.monotonic()

    def _submit(self, item: Item) -> None:
        row = item.row
        self.status = f"sending {len(self.in_flight)} objects"
        work = Send(row.id, self.destination_key(row), row.size, item.path, row.part_size, load_headers(row.headers))
        item.tool = self._pool.tool(work)
        self._pool.submit(item.endpoint, work)

    def _prepare(self, row: Row) -> Item | None:
        """The row with its volume, endpoint and path; None when its file cannot be sent now."""
        if self._is_too_long(row):
            return None
        volume = self.volumes.open.get(row.volume or 0)
        endpoint = self._pool.pick(self._avoid.get(row.id, ""))
        if volume is None or endpoint is None:
            self._later[row.id] = time.monotonic() + _ABSENT_SECONDS
            self.status = f"waiting for a volume: {self.volumes.why_absent()}"
            return None
        relative = self._relative(row)
        path = volume.staged_path(relative)
        try:
            if row.origin == Origin.DROP:
                path = volume.link_dropped(row.id, relative)
            status = os.stat(path)
        except FileNotFoundError:
            self._damaged(Item(row, volume, endpoint, path), "no file", "the staged file is gone")
            return None
        except OSError as error:
            self._local_failure(Item(row, volume, endpoint, path), error)
            return None
        item = Item(row, volume, endpoint, path)
        return item if self._is_sound(item, status) else None

    def _is_too_long(self, row: Row) -> bool:
        length = len(self.destination_key(row).encode())
        if length <= LONGEST_KEY:
            return False
        message = f"the destination key would have {length} bytes; shorten destination.prefix, S3 allows {LONGEST_KEY}"
        failure = Failure(row, "destination", Trouble.UNSUPPORTED, message, "failed")
        self.ledger.retry(failure, delay_ms=0, count=True, target=State.FAILED)
        self.note(failure)
        return True

    def _is_sound(self, item: Item, status: os.stat_result) -> bool:
        """Look at a staged file before it is sent: its size always, its digest where there is a reason to doubt."""
        row = item.row
        if status.st_size != row.size:
            self._damaged(item, f"{status.st_size} bytes", "the staged file has another size")
            return False
        if row.origin == Origin.DROP and status.st_mtime_ns // 1_000_000 != row.modified_ms:
            self._damaged(item, "a newer file", "the dropped file was changed after it was taken")
            return False
        if row.suspect or self.job.reread == "always":
            try:
                sound, found = local_file_is_sound(item.path, row.digest, row.part_size)
            except OSError as error:
                self._local_failure(item, error)
                return False
            if not sound:
                self._damaged(item, found, "the staged file no longer has its digest")
                return False
        return True

    def _settle_doubtful(self, items: list[Item]) -> list[Item]:
        """Uploads that started before and have no proof: perhaps they are there. Returns what must be sent."""
        doubtful = [item for item in items if item.row.sends]
        if not doubtful:
            return items
        proven: list[tuple[Item, Delivered]] = []
        settled: set[int] = set()
        for item, found in self._heads(doubtful):
            if isinstance(found, StoreError):
                if found.trouble is not Trouble.NOT_FOUND:
                    self._not_sent(item, found.trouble, str(found))
                    settled.add(item.row.id)
                continue
            proof = self._prove(item, found)
            if isinstance(proof, Delivered):
                proven.append((item, proof))
                settled.add(item.row.id)
            elif proof is None:
                settled.add(item.row.id)
        self._commit(proven)
        rest = [item for item in items if item.row.id not in settled]
        self._abort_cut_off(item for item in rest if item.row.sends and item.row.part_size)
        return rest

    def _abort_cut_off(self, items: Iterable[Item]) -> None:
        """Remove the parts that an upload left at the destination when it was killed."""
        for item in items:
            try:
                self._pool.control(item.endpoint).abort_uploads(self.destination_key(item.row), int(time.time() * 1000))
            except StoreError as error:
                _log.warning("%s; unfinished parts may stay at the destination", error)

    # -- outcomes and proofs ----------------------------------------------------------------------------------

    def _on_outcome(self, outcome: Outcome) -> None:
        with self.lock:
            batch = self._batches.pop(outcome.id, None)
            if batch is None:
                return
            batch.outcomes[outcome.id] = outcome
            complete = batch.complete
        if complete:
            self._complete.put(batch)

    def _prove_loop(self) -> None:
        while not self.ending.is_set() or not self._complete.empty():
            try:
                batch = self._complete.get(timeout=0.05)
            except queue.Empty:
                self._flush_released()
                continue
            self._prove_batch(batch)
            with self.lock:
                self._open_batches -= 1
            self.switches.staged.set()

    def _prove_batch(self, batch: _Batch) -> None:
        sent = []
        for item in batch.items:
            outcome = batch.outcomes[item.row.id]
            if outcome.ok:
                sent.append(item)
            else:
                self._not_sent(item, outcome.trouble or Trouble.OTHER, outcome.message)
        proven = []
        for item, found in self._found(sent):
            if isinstance(found, StoreError):
                self._not_sent(item, found.trouble, str(found))
                continue
            proof = self._prove(item, found)
            if isinstance(proof, Delivered):
                proven.append((item, proof))
            elif isinstance(proof, Refuted):
                self._refuted(item, proof)
        self._commit(proven)

    def _found(self, items: list[Item]) -> list[tuple[Item, Head | StoreError]]:
        """What the destination says it holds, for each item; what a listing does not settle is asked by HEAD."""
        if not items:
            return []
        endpoint = items[0].endpoint
        by_key = {self.destination_key(item.row): item for item in items}
        expected = {key: item.row.digest for key, item in by_key.items()}
        listed = found_at(endpoint.wire(), endpoint.store, expected)
        answers: list[tuple[Item, Head | StoreError]] = [(by_key[key], head) for key, head in listed.items()]
        answers.extend(self._heads([item for key, item in by_key.items() if key not in listed]))
        return answers

    def _heads(self, items: list[Item]) -> list[tuple[Item, Head | StoreError]]:
        answers: list[tuple[Item, Head | StoreError]] = []
        for endpoint in _endpoints_of(items):
            by_key = {self.destination_key(item.row): item for item in items if item.endpoint is endpoint}
            answers.extend((by_key[key], found) for key, found in endpoint.wire().head_many(list(by_key)))
        return answers

    def _prove(self, item: Item, found: Head) -> Delivered | Refuted | None:
        """None when the proof itself failed, and the failure is dealt with."""
        row = item.row
        key = self.destination_key(row)
        try:
            sent = Sent(key, row.size, row.digest, row.part_size)
            proof = prove_delivery(sent, found, self.job.destination, item.endpoint.wire(), wanted=self.job.evidence)
        except StoreError as error:
            self._not_sent(item, error.trouble, str(error))
            return None
        if isinstance(proof, Refuted):
            return proof
        if proof.evidence < self.job.evidence:
            # Nothing is released below the job's level, and no other attempt would reach it.
            detail = f"only {proof.evidence.name.lower()} can be reached; lower `evidence` of job {self.job.job}"
            raise StoreError(Trouble.UNSUPPORTED, f"prove {key!r} as {self.job.evidence.name.lower()}", detail)
        return Delivered(row, proof.digest, proof.evidence, item.tool or "found there")

    def _commit(self, proven: list[tuple[Item, Delivered]]) -> None:
        """Say delivered, then delete the staged files; that they are gone is said with the next group."""
        if not proven:
            return
        with self.lock:
            released, self._released = self._released, []
        refused = self.ledger.commit_delivered([delivered for _, delivered in proven], released, self.run_id)
        gone = {delivered.row.id for delivered in refused}
        done = [item for item, _ in proven if item.row.id not in gone]
        self.counters.moved(len(done), sum(item.row.size for item in done))
        for item in done:
            item.endpoint.ok()
            self.forgive(item.row.id)
            self._avoid.pop(item.row.id, None)
        if not self.job.keep_staged:
            self._release([(item.row, item.volume) for item in done])
        with self.lock:
            for item, _ in proven:
                self.in_flight.pop(item.row.id, None)
        self.switches.space.set()

    def _release(self, delivered: list[tuple[Row, OpenVolume]]) -> None:
        released = []
        emptied: dict[int, tuple[OpenVolume, set[str]]] = {}
        for row, volume in delivered:
            relative = self._relative(row)
            try:
                if row.origin == Origin.DROP:
                    volume.discard_dropped(row.id, relative, row.size, row.modified_ms)
                else:
                    volume.discard_staged(relative)
                    emptied.setdefault(volume.id, (volume, set()))[1].add(os.path.dirname(relative))
            except OSError as error:
                _log.error("volume %s: %r is delivered and cannot be deleted: %s", volume.name, row.key, error.strerror)
                continue
            released.append(row)
        for volume, directories in emptied.values():
            volume.prune(directories)
        self.counters.released(len(released), sum(row.size for row in released))
        with self.lock:
            self._released.extend(released)

    def _flush_released(self) -> None:
        with self.lock:
            released, self._released = self._released, []
        if released:
            self.ledger.commit_delivered([], released, self.run_id)
            self.switches.space.set()

    def _release_leftovers(self) -> None:
        """Delivered before a crash, and the file not deleted or its deletion not recorded."""
        cursor = 0
        while not self.job.keep_staged:
            rows = self.ledger.work(State.DELIVERED, after_id=cursor, limit=1000)
            if not rows:
                break
            cursor = rows[-1].id
            there = [(row, self.volumes.open.get(row.volume or 0)) for row in rows]
            self._release([(row, volume) for row, volume in there if volume])
            self._flush_released()

    # -- failures ---------------------------------------------------------------------------------------------

    def _leave(self, item: Item) -> None:
        with self.lock:
            self.in_flight.pop(item.row.id, None)
        self._rewind_at = 0.0

    def _not_sent(self, item: Item, trouble: Trouble, message: str) -> None:
        if trouble is Trouble.NOT_FOUND and not os.path.exists(item.path):
            self._damaged(item, "no file", "the staged file is gone")
            return
        if trouble.is_local:
            self.take_out(item.volume, message)
            self._leave(item)
            return
        if trouble.is_weather or trouble.stops_job:
            self.weather(item.endpoint, trouble, message)
        if (trouble.is_weather or trouble is Trouble.UNKNOWN) and not self.postpone(item, 0.2):
            self._leave(item)
            return
        self._count(item, Failure(item.row, "destination", trouble, message, "sent again"), State.STAGED)

    def _refuted(self, item: Item, proof: Refuted) -> None:
        """The destination holds other bytes: ours may be the damaged ones, or it stored something else."""
        row = item.row
        try:
            sound, found = local_file_is_sound(item.path, row.digest, row.part_size)
        except OSError as error:
            self._local_failure(item, error)
            return
        if not sound:
            self._damaged(item, found, "the staged file was damaged before it was sent")
            return
        self._avoid[row.id] = item.endpoint.url
        message = f"{proof.message} (at {item.endpoint.url})"
        failure = Failure(
            row, "destination", Trouble.MISMATCH, message, "sent again", expected=proof.expected, found=proof.found
        )
        self._count(item, failure, State.STAGED)

    def _damaged(self, item: Item, found: str, message: str) -> None:
        """The staged bytes are not the proven ones: out of the way, and fetched again."""
        row = item.row
        try:
            if row.origin == Origin.SOURCE and found != "no file":
                item.volume.staged_to_quarantine(self._relative(row), row.id)
        except OSError as error:
            _log.warning("volume %s: cannot quarantine %r: %s", item.volume.name, row.key, error.strerror)
        action = "quarantined and fetched again" if row.origin == Origin.SOURCE else "taken again when it has settled"
        text = f"{message} (volume {item.volume.name})"
        failure = Failure(row, "destination", Trouble.MISMATCH, text, action, expected=row.digest, found=found)
        self._count(item, failure, State.PENDING if row.origin == Origin.SOURCE else State.FAILED)

    def _count(self, item: Item, failure: Failure, target: State) -> None:
        ending = self.failed(failure, target=target)
        if ending in (State.FAILED, State.QUARANTINED) and item.row.origin == Origin.SOURCE:
            try:
                item.volume.discard_staged(self._relative(item.row))
            except OSError as error:
                _log.warning("volume %s: cannot delete a failed file: %s", item.volume.name, error.strerror)
        self._leave(item)

    def _local_failure(self, item: Item, error: OSError) -> None:
        trouble = local_trouble(error)
        self.take_out(item.volume, f"Failed to read {item.row.key!r} on volume {item.volume.name}: {error.strerror}")
        _log.error("volume %s is out of use: %s (%s)", item.volume.name, error.strerror, trouble.value)
        self._leave(item)


def _endpoints_of(items: list[Item]) -> list[Endpoint]:
    return list({item.endpoint.url: item.endpoint for item in items}.values())
