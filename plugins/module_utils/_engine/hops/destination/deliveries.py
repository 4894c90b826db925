# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""After an upload: if the destination holds what was sent, the object is delivered and its file is released.

Order: proven -> `delivered` in one transaction -> file deleted -> `released` with the next transaction.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from ...core import workers
from ...core.errors import StoreError, Trouble
from ...core.model import Head, Outcome
from ...core.removal import AtDestination
from ...ledger.binding import Naming
from ...ledger.destination_ports import DestinationLedger
from ...ledger.ledger import Delivered, Failure, Row
from ...proofs.holdings import ask_heads, found_at
from ...proofs.proof import Refuted, Sent, prove_by_answer, prove_delivery
from ...store.endpoint import Endpoint
from ...store.request_errors import LATE
from ...volumes.open_volume import OpenVolume
from ...volumes.volume_set import VolumeSet
from ..counters import Counters
from ..crew import Crew
from ..flight import Flight, Item
from ..pool import EndpointPool
from ..switches import Switches
from .departures import let_go
from .releases import Releases
from .unsent import KEPT, Unsent

if TYPE_CHECKING:
    from ...config.job_file import Job  # which brings pydantic

    _Queue: TypeAlias = "queue.SimpleQueue[Callable[[], None] | None]"  # None ends its worker
    _Answer: TypeAlias = "tuple[Item, Endpoint, Head | StoreError]"  # an endpoint's answer for an item

_log = logging.getLogger("snowsync.destination")
_CLOCK_SKEW_MS = 3_600_000  # how far a store's clock may be behind ours
_LATE_PROVERS = 2


@dataclass(slots=True)
class Batch:
    """Objects that are sent and proven together; `is_doubtful`: sent before, possibly successfully.

    `is_late`: the rest of another batch, for which HEAD was not answered in time.
    """

    items: list[Item]
    is_large: bool
    is_doubtful: bool = False
    is_late: bool = False
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    @property
    def volume(self) -> int:
        """The volume that all of them are on."""
        return self.items[0].volume.id


@dataclass(slots=True)
class _Workers:
    """The workers of one volume, so that a disk that does not respond delays no objects of other volumes.

    Large objects have their own prover, since reading one back may take hours. So have late answers, since some never
    arrive.
    """

    prover: _Queue = field(default_factory=queue.SimpleQueue)
    large_prover: _Queue = field(default_factory=queue.SimpleQueue)
    late_prover: _Queue = field(default_factory=queue.SimpleQueue)
    releaser: _Queue = field(default_factory=queue.SimpleQueue)
    proving: int = 2  # provers that have not ended, without the late ones
    proving_late: int = _LATE_PROVERS  # late provers that have not ended

    def prover_ended(self, *, is_late: bool) -> None:
        """End the workers that receive its leftovers once no more can arrive."""
        if is_late:
            self.proving_late -= 1
            if not self.proving_late:
                self.releaser.put(None)
            return
        self.proving -= 1
        for _ in range(0 if self.proving else _LATE_PROVERS):
            self.late_prover.put(None)


class Deliveries:
    """Proves what was sent, then releases it."""

    def __init__(
        self,
        job: Job,
        ledger: DestinationLedger,
        volumes: VolumeSet,
        naming: Naming,
        pool: EndpointPool,
        flight: Flight,
        unsent: Unsent,
        releases: Releases,
        crew: Crew,
        counters: Counters,
        switches: Switches,
    ) -> None:
        self._job = job
        self._ledger = ledger
        self._volumes = volumes
        self._naming = naming
        self._pool = pool
        self._flight = flight
        self._unsent = unsent
        self._releases = releases
        self._crew = crew
        self._counters = counters
        self._switches = switches
        self._target = ledger.deliveries.target()  # the destination that proofs refer to
        self._lock = threading.Lock()
        self._batches: dict[int, Batch] = {}  # by object id, until the mover reports the outcome
        # Of small objects by volume, from sending to the end of the proof.
        self.open_batches: Counter[int] = Counter()
        # (object id, generation) of what the store acknowledged, until it is proven or recorded: the ledger records it
        # at the end of a batch, and the object may be checked again before that.
        self._taken: set[tuple[int, int]] = set()
        self._workers: dict[int, _Workers] = {}  # by the number of the volume
        self._making = threading.Lock()
        self._is_ending = False
        self.looked: set[int] = set()  # doubtful objects that are not at the destination

    def _workers_of(self, volume: OpenVolume) -> _Workers:
        """The workers of a volume, started when first needed."""
        with self._making:
            found = self._workers.get(volume.id)
            if found is None:
                found = self._workers[volume.id] = _Workers()
                self._start(found, volume)
            return found

    def _start(self, made: _Workers, volume: OpenVolume) -> None:
        provers = [("prover", made.prover), ("large-prover", made.large_prover)]
        provers += [(f"late-prover-{number}", made.late_prover) for number in range(_LATE_PROVERS)]
        for name, waiting in provers:
            self._crew.spawn(partial(self._prove_loop, waiting, made), f"{name}-{volume.name}", volume.id)
        self._crew.spawn(partial(_carry_out, made.releaser), f"releaser-{volume.name}", volume.id)
        if self._is_ending:
            _let_provers_end(made)

    def stop(self) -> None:
        """Let the provers end after they have proven what was completely sent."""
        with self._making:
            self._is_ending = True
            for each in self._workers.values():
                _let_provers_end(each)

    def is_doubtful(self, row: Row) -> bool:
        """Whether an unproven upload may have succeeded."""
        return bool(row.sends) and row.id not in self.looked

    def begin(self, batch: Batch) -> None:
        """The batch is about to be sent, or only checked if it is doubtful."""
        self._flight.held.take(item.row.id for item in batch.items)
        with self._lock:
            if not batch.is_large:
                self.open_batches[batch.volume] += 1
            if not batch.is_doubtful:
                self._batches.update((item.row.id, batch) for item in batch.items)
                self.looked.difference_update(item.row.id for item in batch.items)
                self._taken.difference_update((item.row.id, item.row.generation) for item in batch.items)
        if batch.is_doubtful:
            self._hand_on(batch)

    def receive(self, outcome: Outcome) -> None:
        """Called from the movers' threads."""
        with self._lock:
            batch = self._batches.pop(outcome.id, None)
            if batch is None:
                return
            batch.outcomes[outcome.id] = outcome
            is_complete = len(batch.outcomes) == len(batch.items)
        if is_complete:
            self._hand_on(batch)

    def _hand_on(self, batch: Batch) -> None:
        self._put(batch)
        self._flight.held.let_go(item.row.id for item in batch.items)

    def _put(self, batch: Batch) -> None:
        self._flight.held.take(item.row.id for item in batch.items)
        found = self._workers_of(batch.items[0].volume)
        waiting = found.late_prover if batch.is_late else found.large_prover if batch.is_large else found.prover
        waiting.put(partial(self._prove_all, batch))

    def _prove_loop(self, batches: _Queue, made: _Workers) -> None:
        try:
            while prove := workers.next_of(batches):
                prove()
        finally:
            with self._making:
                made.prover_ended(is_late=batches is made.late_prover)

    def _prove_all(self, batch: Batch) -> None:
        if batch.is_doubtful:
            self._look_at(batch)
        else:
            self._prove_batch(batch)
        self._flight.held.let_go(item.row.id for item in batch.items)
        if not (batch.is_large or batch.is_late):
            self.expect_no_more(batch.volume)
        self._switches.staged.set()

    def expect(self, volume: int) -> None:
        """A batch of small objects of this volume is in flight."""
        with self._lock:
            self.open_batches[volume] += 1

    def expect_no_more(self, volume: int) -> None:
        with self._lock:
            self.open_batches[volume] -= 1

    # -- proofs -----------------------------------------------------------------------------------------------

    def _look_at(self, batch: Batch) -> None:
        """Check uploads that were started before and have no proof: what is not at the destination is sent again."""
        proven: list[tuple[Item, Delivered]] = []
        absent: list[Item] = []

        def conclude() -> None:
            self._commit(proven)
            for item in absent:
                self._send_again(item)
            proven.clear()
            absent.clear()

        answers = self._heads(batch.items, is_hurried=not batch.is_late)
        for item, endpoint, found in self._waited_for(batch, answers, conclude):
            if isinstance(found, StoreError):
                if self._says_absent(item, found):
                    absent.append(item)
                    continue
                is_lie = found.trouble is Trouble.NOT_FOUND
                if is_lie:
                    self.looked.add(item.row.id)  # acknowledged but not stored: that is reported, and it is sent again
                self._unsent.not_sent(item, found.trouble, _with_permission(found), endpoint, is_lie=is_lie)
                continue
            proof = self._prove(item, endpoint, found)
            if isinstance(proof, Delivered):
                self._settle(item.row)
                proven.append((item, proof))
            elif proof and self._is_from_lost_history(item.row, found):
                message = "the destination holds a newer version of it than this older copy of the ledger knows"
                self._unsent.hold_back(item, f"{message}; restore the newer ledger, or delete that object there")
            elif proof and self._is_acknowledged(item.row):
                self._refuted(item, proof)
            elif proof:
                absent.append(item)
        conclude()

    def _is_from_lost_history(self, row: Row, found: Head) -> bool:
        """Whether the object at the destination was written later than anything that a restored older ledger knows."""
        since = self._ledger.recovery.lost_since_ms()
        if not since or not self._ledger.recovery.was_staged_before_recovery(row):
            return False
        return not found.modified_ms or found.modified_ms > since - _CLOCK_SKEW_MS

    def _is_acknowledged(self, row: Row) -> bool:
        return bool(row.acknowledged) or (row.id, row.generation) in self._taken

    def _says_absent(self, item: Item, error: StoreError) -> bool:
        """Whether an upload that began may be repeated. Without read permission the only answer is "denied".

        An acknowledged upload is not repeated without read permission: it could never be proven either.
        """
        if self._is_acknowledged(item.row):
            return False
        return not (error.trouble.is_transient or error.trouble.stops_job)

    def _send_again(self, item: Item) -> None:
        if not self._unsent.files.is_sound(item, hash_it=False):
            return  # and the destination does not have it either
        if item.row.part_size:
            self._abort_cut_off(item)
        self.looked.add(item.row.id)
        self._unsent.departures.leave(item)

    def _abort_cut_off(self, item: Item) -> None:
        """Remove the parts that a killed upload left at the destination."""
        try:
            control = item.endpoint.control()
            continued = {upload.upload_id for upload in self._ledger.parts.uploads(item.row.id)}
            control.abort_uploads(self._naming.destination_key(item.row.key), int(time.time() * 1000), keep=continued)
        except StoreError as error:
            _log.warning("%s; parts of unfinished uploads may remain at the destination", error)

    def _prove_batch(self, batch: Batch) -> None:
        sent = []
        for item in batch.items:
            outcome = batch.outcomes[item.row.id]
            if outcome.ok:
                sent.append(item)
            else:
                self._unsent.not_sent(item, outcome.trouble or Trouble.OTHER, outcome.message)
        unsaid = {item.row.id: item.row for item in sent}
        proven: list[tuple[Item, Delivered]] = []

        def conclude() -> None:
            self._commit(proven)
            proven.clear()

        self._taken.update((item.row.id, item.row.generation) for item in sent)
        answers = self._heads(sent, is_hurried=False) if batch.is_late else self._found(sent)
        for item, endpoint, found in self._waited_for(batch, answers, conclude):
            if isinstance(found, StoreError):
                answered = self._by_answer(item, endpoint, batch.outcomes[item.row.id], found)
                if answered:
                    self._settle(unsaid.pop(item.row.id))
                    proven.append((item, answered))
                    continue
                is_lie = found.trouble is Trouble.NOT_FOUND
                if is_lie:
                    self._settle(unsaid.pop(item.row.id))  # so that a later check need not report it again
                self._unsent.not_sent(item, found.trouble, _with_permission(found), endpoint, is_lie=is_lie)
                continue
            proof = self._prove(item, endpoint, found)
            if proof:
                self._settle(unsaid.pop(item.row.id))
            if isinstance(proof, Delivered):
                proven.append((item, proof))
            elif proof:
                self._refuted(item, proof)
        if unsaid:
            self._ledger.deliveries.acknowledge(unsaid.values())
        conclude()

    def _waited_for(self, batch: Batch, answers: Iterator[_Answer], conclude: Callable[[], None]) -> Iterator[_Answer]:
        """The answers that arrived; late provers wait for the others, so that nothing is delayed.

        In a late batch `conclude` is called after each answer, since the next one may never arrive.
        """
        late = []
        for item, endpoint, found in answers:
            if isinstance(found, StoreError) and found.code == LATE:
                late.append(item)
            else:
                yield item, endpoint, found
                if batch.is_late:
                    conclude()
        if late:
            self._put(Batch(late, batch.is_large, batch.is_doubtful, is_late=True, outcomes=batch.outcomes))

    def _by_answer(self, item: Item, endpoint: Endpoint, outcome: Outcome, refusal: StoreError) -> Delivered | None:
        """The proof for credentials that may write but neither read nor list: the store's response to the upload.

        Credentials that may list get a better proof once read access is allowed.
        """
        row, job = item.row, self._job
        if refusal.trouble is not Trouble.DENIED or endpoint.may_list or outcome.answered is None:
            return None
        sent = Sent(self._naming.destination_key(row.key), row.size, row.digest, row.part_size)
        proof = prove_by_answer(sent, outcome.answered, job.destination, wanted=job.evidence)
        return Delivered(row, proof.digest, proof.evidence, item.tool) if proof else None

    def _settle(self, row: Row) -> None:
        """The result of an acknowledged upload is known."""
        self._taken.discard((row.id, row.generation))

    def _found(self, items: list[Item]) -> Iterator[_Answer]:
        """What the destination holds for each item, from a listing, or with HEAD where a listing is not enough."""
        endpoint = self._who_answers(items[0].endpoint) if items else None
        if endpoint is None:
            yield from self._heads(items)
            return
        by_key = {self._naming.destination_key(item.row.key): item for item in items}
        expected = {key: (item.row.digest, item.row.size) for key, item in by_key.items()}
        for key, head in found_at(endpoint.client(), endpoint.store, expected).items():
            yield by_key.pop(key), endpoint, head
        yield from self._heads(list(by_key.values()))

    def _heads(self, items: list[Item], *, is_hurried: bool = True) -> Iterator[_Answer]:
        """Ask with HEAD. Items without an answer leave the unit, and are checked again before they are sent again."""
        for first in {item.endpoint.url: item.endpoint for item in items}.values():
            by_key = {self._naming.destination_key(item.row.key): item for item in items if item.endpoint is first}
            endpoint = self._who_answers(first)
            if endpoint:
                retries = self._job.mover.retries
                for key, found in ask_heads(endpoint.client(), list(by_key), retries, is_hurried=is_hurried):
                    yield by_key.pop(key), endpoint, found
            for item in by_key.values():
                self._unsent.departures.leave(item)

    def _who_answers(self, endpoint: Endpoint) -> Endpoint | None:
        """The endpoint an object was sent to, or another one of the store."""
        return endpoint if endpoint.is_up else self._pool.pick_to_ask()

    def _prove(self, item: Item, endpoint: Endpoint, found: Head) -> Delivered | Refuted | None:
        """None if the proof itself failed; the failure is then already handled."""
        row, job = item.row, self._job
        key = self._naming.destination_key(row.key)
        try:
            sent = Sent(key, row.size, row.digest, row.part_size)
            proof = prove_delivery(sent, found, job.destination, endpoint.client(), wanted=job.evidence)
        except StoreError as error:
            self._unsent.not_sent(item, error.trouble, str(error), endpoint)
            return None
        if isinstance(proof, Refuted):
            return proof
        if proof.evidence < job.evidence:
            # Nothing is released below the job's evidence level, and another attempt would not reach it.
            detail = f"only {proof.evidence.name.lower()} is possible here; lower `evidence` of job {job.job}"
            raise StoreError(Trouble.UNSUPPORTED, f"prove {key!r} as {job.evidence.name.lower()}", detail)
        return Delivered(row, proof.digest, proof.evidence, item.tool or "found there")

    def _refuted(self, item: Item, proof: Refuted) -> None:
        """The destination holds other bytes: either the staged file is damaged, or it stored something else."""
        if not self._unsent.files.is_sound(item):
            return
        row = item.row
        message = f"{proof.message} (at {item.endpoint.url})"
        failure = Failure(
            row, "destination", Trouble.MISMATCH, message, KEPT, expected=proof.expected, found=proof.found
        )
        self.looked.add(row.id)  # it need not be checked again
        self._unsent.refuted(item, failure)

    # -- delivered, released ----------------------------------------------------------------------------------

    def _commit(self, proven: list[tuple[Item, Delivered]]) -> None:
        """Record objects as delivered, then delete the staged files; the deletion is recorded with the next group."""
        if not proven:
            return
        released = self._releases.take()
        said = [delivered for _, delivered in proven]
        refused = self._ledger.deliveries.commit_delivered(said, released, self._counters.run_id)
        self._volumes.remember(proven[0][0].volume.id)
        newer = {delivered.row.id for delivered in refused}
        done = [item for item, _ in proven if item.row.id not in newer]
        self._counters.moved.add(len(done), sum(item.row.size for item in done))
        for item in done:
            item.endpoint.served(item.row.id)
            self._unsent.past.forget(item.row)
        if done and self._unsent.refusals.accepted():
            _log.info("the destination accepts objects again")
        gone = [item for item, _ in proven]
        kept = self._job.keep_staged
        delivered = [self._delivered(item, proof) for item, proof in proven if not kept and item.row.id not in newer]
        self._release_beside(gone[0].volume, gone, delivered)

    def _release_beside(
        self, volume: OpenVolume, items: list[Item], delivered: list[tuple[Row, OpenVolume, AtDestination]]
    ) -> None:
        """Delete files in parallel with the proofs, so that a disk that is slow to delete does not delay them."""

        def release() -> None:
            self._releases.release(delivered)
            for item in items:
                let_go(item)
            for item in items:
                self._flight.leave(item.row.id)
            self._switches.space.set()
            self._switches.staged.set()

        self.carry_out(volume, release, [item.row.id for item in items])

    def carry_out(self, volume: OpenVolume, step: Callable[[], None], about: Collection[int] = ()) -> None:
        """Let the releaser of this volume carry out a step for these objects that may wait for its disk."""
        held = self._flight.held

        def carry_out() -> None:
            step()
            held.let_go(about)

        held.take(about)
        self._workers_of(volume).releaser.put(carry_out)

    def at_disk(self, item: Item, step: Callable[[], None]) -> None:
        """Let the releaser of its volume carry out a step."""
        self.carry_out(item.volume, step, [item.row.id])

    def _delivered(self, item: Item, proof: Delivered) -> tuple[Row, OpenVolume, AtDestination]:
        """What was just proven and recorded, with the proof."""
        row = item.row
        permit = AtDestination(row.id, row.key, row.generation, self._target, proof.destination_etag)
        return row, item.volume, permit


def _with_permission(error: StoreError) -> str:
    """The message of a failed check of what was sent; if access was denied, it names the missing permission."""
    if error.trouble is not Trouble.DENIED:
        return str(error)
    return (
        f"{error}; it was sent but cannot be verified: allow s3:GetObject at the destination, for HEAD and reading back"
    )


def _let_provers_end(made: _Workers) -> None:
    """Let the provers end after their current work; the releaser ends after them."""
    made.prover.put(None)
    made.large_prover.put(None)


def _carry_out(waiting: _Queue) -> None:
    """Delete delivered files of one volume until the end of the queue."""
    while release := workers.next_of(waiting):
        with workers.at_medium():
            release()
