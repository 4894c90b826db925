# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The end of an upload: does the destination hold what was sent? Then it is delivered, and its file is released.

Order: proven -> `delivered` in one transaction -> file deleted -> `released` with the next transaction.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from . import adoption, workers
from .blame import Blame
from .endpoints import Endpoint
from .errors import StoreError, Trouble
from .flight import Item
from .ledger import Delivered, Failure, Row
from .model import Head, Origin, Outcome, State
from .probing import ask_heads, found_at
from .proof import Refuted, Sent, prove_by_answer, prove_delivery
from .removal import AtDestination
from .soundness import Damage, examine, gone
from .volumes import OpenVolume, local_trouble
from .wire import LATE

if TYPE_CHECKING:
    from .destination import DestinationUnit

    _Queue: TypeAlias = "queue.SimpleQueue[Callable[[], None] | None]"  # None ends who works it off
    _Answer: TypeAlias = "tuple[Item, Endpoint, Head | StoreError]"  # what an endpoint says of an item

_log = logging.getLogger("snowsync.destination")
_RELEASE_AGAIN_SECONDS = 30.0
_CLOCK_SKEW_MS = 3_600_000  # so much may a store's clock be behind ours
_KEPT = "kept, and sent again"
_PUT_OFF_SECONDS = 1.0  # what was on its way when the destination began to refuse everything
_LATE_PROVERS = 2
_RECORD_SECONDS = 0.5  # so long may a released file be unknown to the ledger


@dataclass(slots=True)
class Batch:
    """Objects that are sent together and proven together; `is_doubtful`: sent once before, perhaps with success.

    `is_late`: what was left of another batch, whose HEADs did not come with the others.
    """

    items: list[Item]
    is_large: bool
    is_doubtful: bool = False
    is_late: bool = False
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    @property
    def volume(self) -> int:
        """All lie on one."""
        return self.items[0].volume.id


@dataclass(slots=True)
class _Workers:
    """Who works for one volume alone, so that a disk that does not answer holds up no other's objects.

    Large objects have a prover of their own: to read one back may take hours. So have answers that come late: some
    never do.
    """

    prover: _Queue = field(default_factory=queue.SimpleQueue)
    large_prover: _Queue = field(default_factory=queue.SimpleQueue)
    late_prover: _Queue = field(default_factory=queue.SimpleQueue)
    releaser: _Queue = field(default_factory=queue.SimpleQueue)
    proving: int = 2  # provers that have not ended, but for the late ones
    proving_late: int = _LATE_PROVERS  # and of these

    def prover_ended(self, *, is_late: bool) -> None:
        """Those who get what it left end when no more can come."""
        if is_late:
            self.proving_late -= 1
            if not self.proving_late:
                self.releaser.put(None)
            return
        self.proving -= 1
        for _ in range(0 if self.proving else _LATE_PROVERS):
            self.late_prover.put(None)


class Deliveries:
    """What was sent is proven, and then released."""

    def __init__(self, unit: DestinationUnit) -> None:
        self._unit = unit
        self._lock = threading.Lock()
        self._batches: dict[int, Batch] = {}  # by object id, until the mover told the outcome
        self.open_batches: Counter[int] = (
            Counter()
        )  # of small objects by volume, from the sending to the end of the proof
        self._released: list[Row] = []
        self._released_at = 0.0
        self.release_at = 0.0  # when to look for delivered files that could not be deleted; inf: there are none
        # (object id, generation) of what the store acknowledged, until it is proven or told: the ledger hears of it at
        # the end of a batch, and the object may be looked at again before.
        self._taken: set[tuple[int, int]] = set()
        self._workers: dict[int, _Workers] = {}  # by the number of the volume
        self._making = threading.Lock()
        self._is_ending = False
        self.looked: set[int] = set()  # doubtful ones that are not at the destination

    def _workers_of(self, volume: OpenVolume) -> _Workers:
        """They are started when first needed."""
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
            self._unit.crew.spawn(partial(self._prove_loop, waiting, made), f"{name}-{volume.name}", volume.id)
        self._unit.crew.spawn(partial(_carry_out, made.releaser), f"releaser-{volume.name}", volume.id)
        if self._is_ending:
            _let_provers_end(made)

    def stop(self) -> None:
        """Let the provers end when they have proven what was sent completely."""
        with self._making:
            self._is_ending = True
            for each in self._workers.values():
                _let_provers_end(each)

    def begin(self, batch: Batch) -> None:
        """The batch is about to be sent, or only looked at when it is doubtful."""
        self._unit.flight.held.take(item.row.id for item in batch.items)
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
        self._unit.flight.held.let_go(item.row.id for item in batch.items)

    def _put(self, batch: Batch) -> None:
        self._unit.flight.held.take(item.row.id for item in batch.items)
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
        self._unit.flight.held.let_go(item.row.id for item in batch.items)
        if not (batch.is_large or batch.is_late):
            self.expect_no_more(batch.volume)
        self._unit.switches.staged.set()

    def expect(self, volume: int) -> None:
        """A batch of small objects of this volume is on its way."""
        with self._lock:
            self.open_batches[volume] += 1

    def expect_no_more(self, volume: int) -> None:
        with self._lock:
            self.open_batches[volume] -= 1

    # -- proofs -----------------------------------------------------------------------------------------------

    def _look_at(self, batch: Batch) -> None:
        """Uploads that started before and have no proof: perhaps they are there. What is not is sent again."""
        proven, absent = [], []
        for item, endpoint, found in self._waited_for(batch, self._heads(batch.items, is_hurried=not batch.is_late)):
            if isinstance(found, StoreError):
                if self._says_absent(item, found):
                    absent.append(item)
                    continue
                is_lie = found.trouble is Trouble.NOT_FOUND
                if is_lie:
                    self.looked.add(item.row.id)  # acknowledged, and not stored: that is told, and it is sent again
                self.not_sent(item, found.trouble, _with_permission(found), endpoint, is_lie=is_lie)
                continue
            proof = self._prove(item, endpoint, found)
            if isinstance(proof, Delivered):
                self._settle(item.row)
                proven.append((item, proof))
            elif proof and self._is_from_lost_history(item.row, found):
                message = "the destination holds a newer version of it than this older copy of the ledger knows"
                self.hold_back(item, f"{message}; put the newer ledger back, or delete that object there")
            elif proof and self._is_acknowledged(item.row):
                self._refuted(item, proof)
            elif proof:
                absent.append(item)
        self._commit(proven)
        for item in absent:
            self._send_again(item)

    def _is_from_lost_history(self, row: Row, found: Head) -> bool:
        """Whether what lies at the destination was written after all that an old copy of the ledger knows."""
        since = self._unit.ledger.lost_since_ms()
        if not since or not self._unit.ledger.was_staged_before_recovery(row):
            return False
        return not found.modified_ms or found.modified_ms > since - _CLOCK_SKEW_MS

    def hold_back(self, item: Item, message: str) -> None:
        """An object is not sent over something newer: it stays staged, and is named."""
        failure = Failure(item.row, "destination", Trouble.CHANGED, message, "kept on its volume, and not sent")
        self._unit.setbacks.refused(failure, for_good=True)
        self.leave(item)

    def _is_acknowledged(self, row: Row) -> bool:
        return bool(row.acknowledged) or (row.id, row.generation) in self._taken

    def _says_absent(self, item: Item, error: StoreError) -> bool:
        """Whether an upload that began may be made again. Who may not look is told no more than "denied".

        One that was acknowledged is not made again where nobody may look: it would never be proven either.
        """
        if self._is_acknowledged(item.row):
            return False
        return not (error.trouble.is_weather or error.trouble.stops_job)

    def _send_again(self, item: Item) -> None:
        if not self._is_there(item):
            return
        if item.row.part_size:
            self._abort_cut_off(item)
        self.looked.add(item.row.id)
        self.leave(item)

    def _is_there(self, item: Item) -> bool:
        """Whether the staged file is; else that is dealt with: the destination does not have it either."""
        damage = self._examine(item, hash_it=False)
        if damage:
            self.damaged(item, damage)
        return damage is None and item.row.id in self._unit.flight

    def _abort_cut_off(self, item: Item) -> None:
        """Remove the parts that an upload left at the destination when it was killed."""
        try:
            control = self._unit.endpoints.control(item.endpoint)
            continued = {upload.upload_id for upload in self._unit.ledger.uploads(item.row.id)}
            control.abort_uploads(self._unit.destination_key(item.row), int(time.time() * 1000), keep=continued)
        except StoreError as error:
            _log.warning("%s; unfinished parts may stay at the destination", error)

    def _prove_batch(self, batch: Batch) -> None:
        sent = []
        for item in batch.items:
            outcome = batch.outcomes[item.row.id]
            if outcome.ok:
                sent.append(item)
            else:
                self.not_sent(item, outcome.trouble or Trouble.OTHER, outcome.message)
        proven, unsaid = [], {item.row.id: item.row for item in sent}
        self._taken.update((item.row.id, item.row.generation) for item in sent)
        answers = self._heads(sent, is_hurried=False) if batch.is_late else self._found(sent)
        for item, endpoint, found in self._waited_for(batch, answers):
            if isinstance(found, StoreError):
                answered = self._by_answer(item, endpoint, batch.outcomes[item.row.id], found)
                if answered:
                    self._settle(unsaid.pop(item.row.id))
                    proven.append((item, answered))
                    continue
                is_lie = found.trouble is Trouble.NOT_FOUND
                if is_lie:
                    self._settle(unsaid.pop(item.row.id))  # so that a later look at it need not tell it again
                self.not_sent(item, found.trouble, _with_permission(found), endpoint, is_lie=is_lie)
                continue
            proof = self._prove(item, endpoint, found)
            if proof:
                self._settle(unsaid.pop(item.row.id))
            if isinstance(proof, Delivered):
                proven.append((item, proof))
            elif proof:
                self._refuted(item, proof)
        if unsaid:
            self._unit.ledger.acknowledge(unsaid.values())
        self._commit(proven)

    def _waited_for(self, batch: Batch, answers: Iterator[_Answer]) -> Iterator[_Answer]:
        """The answers that came; for the others somebody else waits, and holds up nobody."""
        late = []
        for item, endpoint, found in answers:
            if isinstance(found, StoreError) and found.code == LATE:
                late.append(item)
            else:
                yield item, endpoint, found
        if late:
            self._put(Batch(late, batch.is_large, batch.is_doubtful, is_late=True, outcomes=batch.outcomes))

    def _by_answer(self, item: Item, endpoint: Endpoint, outcome: Outcome, refusal: StoreError) -> Delivered | None:
        """The proof for a key that may write, and neither look nor list: what the store answered to the upload.

        Whoever may list is told more than that, once somebody allows to look.
        """
        row, job = item.row, self._unit.job
        if refusal.trouble is not Trouble.DENIED or endpoint.may_list or outcome.answered is None:
            return None
        sent = Sent(self._unit.destination_key(row), row.size, row.digest, row.part_size)
        proof = prove_by_answer(sent, outcome.answered, job.destination, wanted=job.evidence)
        return Delivered(row, proof.digest, proof.evidence, item.tool) if proof else None

    def _settle(self, row: Row) -> None:
        """What the store made of an upload that it acknowledged is known."""
        self._taken.discard((row.id, row.generation))

    def _found(self, items: list[Item]) -> Iterator[_Answer]:
        """What the destination says it holds, for each item; what a listing does not settle is asked by HEAD."""
        endpoint = self._who_answers(items[0].endpoint) if items else None
        if endpoint is None:
            yield from self._heads(items)
            return
        by_key = {self._unit.destination_key(item.row): item for item in items}
        expected = {key: (item.row.digest, item.row.size) for key, item in by_key.items()}
        for key, head in found_at(endpoint.wire(), endpoint.store, expected).items():
            yield by_key.pop(key), endpoint, head
        yield from self._heads(list(by_key.values()))

    def _heads(self, items: list[Item], *, is_hurried: bool = True) -> Iterator[_Answer]:
        """HEADs. What nobody answers for leaves the unit, and is looked at again before it is sent again."""
        for first in {item.endpoint.url: item.endpoint for item in items}.values():
            by_key = {self._unit.destination_key(item.row): item for item in items if item.endpoint is first}
            endpoint = self._who_answers(first)
            if endpoint:
                retries = self._unit.job.mover.retries
                for key, found in ask_heads(endpoint.wire(), list(by_key), retries, is_hurried=is_hurried):
                    yield by_key.pop(key), endpoint, found
            for item in by_key.values():
                self.leave(item)

    def _who_answers(self, endpoint: Endpoint) -> Endpoint | None:
        """The endpoint an object went to, else another one of the store."""
        return endpoint if endpoint.is_up else self._unit.endpoints.pick_to_ask()

    def _prove(self, item: Item, endpoint: Endpoint, found: Head) -> Delivered | Refuted | None:
        """None when the proof itself failed, and the failure is dealt with."""
        row, job = item.row, self._unit.job
        key = self._unit.destination_key(row)
        try:
            sent = Sent(key, row.size, row.digest, row.part_size)
            proof = prove_delivery(sent, found, job.destination, endpoint.wire(), wanted=job.evidence)
        except StoreError as error:
            self.not_sent(item, error.trouble, str(error), endpoint)
            return None
        if isinstance(proof, Refuted):
            return proof
        if proof.evidence < job.evidence:
            # Nothing is released below the job's level, and no other attempt would reach it.
            detail = f"only {proof.evidence.name.lower()} can be reached; lower `evidence` of job {job.job}"
            raise StoreError(Trouble.UNSUPPORTED, f"prove {key!r} as {job.evidence.name.lower()}", detail)
        return Delivered(row, proof.digest, proof.evidence, item.tool or "found there")

    # -- delivered, released ----------------------------------------------------------------------------------

    def _commit(self, proven: list[tuple[Item, Delivered]]) -> None:
        """Say delivered, then delete the staged files; that they are gone is said with the next group."""
        if not proven:
            return
        unit = self._unit
        released = self._take_released()
        refused = unit.ledger.commit_delivered([delivered for _, delivered in proven], released, unit.counters.run_id)
        unit.volumes.remember(proven[0][0].volume.id)
        newer = {delivered.row.id for delivered in refused}
        done = [item for item, _ in proven if item.row.id not in newer]
        unit.counters.moved(len(done), sum(item.row.size for item in done))
        for item in done:
            item.endpoint.served(item.row.id)
            unit.settled(item.row)
        if done and unit.refusals.accepted():
            _log.info("the destination takes objects again")
        gone = [item for item, _ in proven]
        kept = unit.job.keep_staged
        delivered = [self._delivered(item, proof) for item, proof in proven if not kept and item.row.id not in newer]
        self._release_beside(gone[0].volume, gone, delivered)

    def _release_beside(
        self, volume: OpenVolume, items: list[Item], delivered: list[tuple[Row, OpenVolume, AtDestination]]
    ) -> None:
        """Delete files beside the proofs: a disk that is slow to delete holds up none."""
        unit = self._unit

        def release() -> None:
            self.release(delivered)
            for item in items:
                _let_go(item)
            for item in items:
                unit.flight.leave(item.row.id)
            unit.switches.space.set()
            unit.switches.staged.set()

        self.carry_out(volume, release, [item.row.id for item in items])

    def carry_out(self, volume: OpenVolume, step: Callable[[], None], about: Collection[int] = ()) -> None:
        """Have the releaser of this volume carry out a step, about these objects, that may wait for its disk."""
        held = self._unit.flight.held

        def carry_out() -> None:
            step()
            held.let_go(about)

        held.take(about)
        self._workers_of(volume).releaser.put(carry_out)

    def at_disk(self, item: Item, step: Callable[[], None]) -> None:
        """By the releaser of its volume."""
        self.carry_out(item.volume, step, [item.row.id])

    def _delivered(self, item: Item, proof: Delivered) -> tuple[Row, OpenVolume, AtDestination]:
        """What was just proven and said, with the proof."""
        row = item.row
        permit = AtDestination(row.id, row.key, row.generation, self._unit.target, proof.destination_etag)
        return row, item.volume, permit

    def release(self, delivered: Iterable[tuple[Row, OpenVolume, AtDestination]]) -> None:
        """Delete delivered files."""
        released = []
        emptied: dict[int, tuple[OpenVolume, set[str]]] = {}
        for row, volume, permit in delivered:
            if not volume.writable:
                continue  # deleted when it takes writes again
            relative = self._unit.relative(row)
            try:
                if row.origin == Origin.DROP:
                    if not volume.dropped.discard(row, relative, permit, workers.beat):
                        _log.info(
                            "volume %s: %r was replaced after it was sent; the new file stays", volume.name, row.key
                        )
                else:
                    volume.discard_staged(relative, permit)
                    emptied.setdefault(id(volume), (volume, set()))[1].add(os.path.dirname(relative))
            except OSError as error:
                _log.error("volume %s: %r is delivered and cannot be deleted: %s", volume.name, row.key, error.strerror)
                self.release_at = min(self.release_at, time.monotonic() + _RELEASE_AGAIN_SECONDS)
                continue
            released.append(row)
        for volume, directories in emptied.values():
            volume.prune(directories)
        self._unit.counters.released(len(released), sum(row.size for row in released))
        with self._lock:
            self._released.extend(released)
            self._released_at = time.monotonic()

    def released_ids(self) -> set[int]:
        with self._lock:
            return {row.id for row in self._released}

    @property
    def has_released(self) -> bool:
        """Whether files are gone that the ledger does not know of yet."""
        return bool(self._released)

    def record_released(self, *, now: bool = False) -> None:
        """Say what is gone, when no group is about to say it, or `now`."""
        if not self._released or not (
            now or not any(self.open_batches.values()) or time.monotonic() - self._released_at > _RECORD_SECONDS
        ):
            return
        self._unit.ledger.commit_delivered([], self._take_released(), self._unit.counters.run_id)
        self._unit.switches.space.set()

    def _take_released(self) -> list[Row]:
        with self._lock:
            released, self._released = self._released, []
        return released

    # -- failures ---------------------------------------------------------------------------------------------

    def leave(self, item: Item) -> None:
        """The object leaves the unit; its row is staged still, or whatever was said of it."""
        _let_go(item)
        self._unit.flight.leave(item.row.id)
        self._unit.rewind()

    def not_sent(
        self, item: Item, trouble: Trouble, message: str, endpoint: Endpoint | None = None, *, is_lie: bool = False
    ) -> None:
        """Sort a failure: the endpoint's (None: the one it was sent to), the volume's, or the object's own.

        `is_lie`: the store acknowledged the upload before.
        """
        unit = self._unit
        if trouble.is_local or trouble in (Trouble.NOT_FOUND, Trouble.MISMATCH):
            damage = self._examine(item, hash_it=trouble is not Trouble.NOT_FOUND)
            if damage:
                self.damaged(item, damage)
                return
            if item.row.id not in unit.flight:
                return  # it left with its volume
        failure = Failure(item.row, "destination", trouble, message, _KEPT)
        if unit.suspects.find_out(item, failure, endpoint, self._judged):
            return
        if not unit.setbacks.counts(failure):
            self.leave(item)
            return
        self._refuse(item, failure, is_lie=is_lie or trouble is Trouble.MISMATCH)

    def _judged(self, item: Item, failure: Failure, whose: Blame) -> None:
        if self._unit.setbacks.is_excused(item.row, whose):
            self.leave(item)
        elif failure.trouble.stops_job:
            self._refuse(item, failure, is_lie=False)  # the store refuses it for all that may be known: others too
        else:
            self._unit.avoid[item.row.id] = item.endpoint.url
            self._unit.setbacks.refused(failure)
            self.leave(item)

    def _refuse(self, item: Item, failure: Failure, *, is_lie: bool) -> None:
        """The destination did not take an object: its file stays, whatever the reason, and it is sent again later.

        `is_lie`: it said that it did, or took other bytes; that is recorded of each object, whatever happens next.
        """
        unit, now = self._unit, time.monotonic()
        everything = unit.refusals.everything
        if unit.refusals.refused(item.row.id, failure.message, now):
            _log.error(
                "the destination refuses what it is sent, and nothing more is sent but trials: %s", failure.message
            )
        elif everything and now < unit.refusals.next_trial:
            unit.setbacks.put_off(
                item.row, _PUT_OFF_SECONDS
            )  # sent before that was known: it says nothing of this object
            if is_lie:
                unit.ledger.record(failure)
                unit.setbacks.note(failure)
            self.leave(item)
            return
        unit.setbacks.refused(failure, is_lie=is_lie)
        self.leave(item)

    def _examine(self, item: Item, *, hash_it: bool = True) -> Damage | None:
        """What is wrong with a file that could not be read. With a volume that is not well the object just leaves."""
        try:
            return examine(item, hash_it=hash_it)
        except OSError as error:
            return self.local_failure(item, error)

    def local_failure(self, item: Item, error: OSError) -> Damage | None:
        """A file cannot be read: it is to blame where its volume is well, else the volume is."""
        if item.volume.is_well():
            if isinstance(error, FileNotFoundError):
                return gone(item)
            return Damage(Trouble.MISMATCH, f"error {error.errno}", f"the file cannot be read: {error.strerror}")
        if not item.volume.writable and not item.volume.trouble():
            if isinstance(error, FileNotFoundError):
                return gone(item)
            self._unreadable(item, error)
            return None
        message = f"Failed to read {item.row.key!r} on volume {item.volume.name}: {error.strerror}"
        self._unit.take_out(item.volume, f"{message} ({local_trouble(error).value})")
        self.leave(item)
        return None

    def _unreadable(self, item: Item, error: OSError) -> None:
        """A file on a volume that failed: fetched again, elsewhere. Nobody can fetch what people dropped."""
        row, unit = item.row, self._unit
        message = f"it cannot be read on volume {item.volume.name}, which failed: {error.strerror}"
        if row.origin == Origin.DROP:
            self.refuse(
                item, Failure(row, "destination", Trouble.IO, f"the dropped file: {message}", "left where it is")
            )
            return
        failure = Failure(row, "destination", Trouble.IO, message, "fetched again")
        if unit.ledger.leave_copy(failure):
            unit.setbacks.note(failure)
        unit.settled(row)
        self.leave(item)

    def _refuted(self, item: Item, proof: Refuted) -> None:
        """The destination holds other bytes: ours may be the damaged ones, or it stored something else."""
        damage = self._examine(item)
        if damage:
            self.damaged(item, damage)
            return
        row = item.row
        if row.id not in self._unit.flight:
            return  # it left with its volume
        self._unit.avoid[row.id] = item.endpoint.url
        message = f"{proof.message} (at {item.endpoint.url})"
        failure = Failure(
            row, "destination", Trouble.MISMATCH, message, _KEPT, expected=proof.expected, found=proof.found
        )
        self.looked.add(row.id)  # it need not be looked at once more
        self._refuse(item, failure, is_lie=True)

    def damaged(self, item: Item, damage: Damage) -> None:
        """The bytes are not the proven ones: out of the way, and fetched again, or taken again by the drop scanner."""
        row = item.row
        message = f"{damage.message} (volume {item.volume.name})"
        if row.origin == Origin.DROP:
            self._damaged_drop(item, damage, message)
            return
        if damage is gone(item) and adoption.adopt(self._unit, row):
            self._unit.settled(row)
            self.leave(item)
            return
        if damage is not gone(item):
            self._quarantine(item)
        action = "quarantined and fetched again"
        failure = Failure(row, "destination", damage.trouble, message, action, expected=row.digest, found=damage.found)
        self._count(item, failure, State.PENDING)

    def _quarantine(self, item: Item) -> None:
        row = item.row
        self._unit.ledger.has_quarantined(row.id, item.volume.id)  # first: so it is known wherever this is cut off
        try:
            item.volume.staged_to_quarantine(self._unit.relative(row), row.id, row.generation)
        except OSError as error:
            _log.warning("volume %s: cannot quarantine %r: %s", item.volume.name, row.key, error.strerror)

    def _damaged_drop(self, item: Item, damage: Damage, message: str) -> None:
        row, unit = item.row, self._unit
        action = (
            "left where it is" if damage.trouble is Trouble.MISMATCH else "forgotten, and taken again if it is there"
        )
        failure = Failure(row, "destination", damage.trouble, message, action, expected=row.digest, found=damage.found)
        if damage.trouble is Trouble.MISMATCH:
            self._count(item, failure, State.FAILED)
            return
        if unit.ledger.forget(row, failure.message):
            unit.ledger.record(failure)
            unit.setbacks.note(failure)
        unit.settled(row)
        self.leave(item)

    def refuse(self, item: Item, failure: Failure) -> None:
        """End a dropped file as failed, whatever attempts are left: it stays where it is."""
        if self._unit.ledger.retry(failure, delay_ms=0, count=True, target=State.FAILED):
            self._unit.setbacks.note(failure)
        self.leave(item)

    def cannot_be_sent(self, item: Item, failure: Failure) -> None:
        """The destination has no place for an object under its key; no other attempt changes that in this run."""
        self._unit.setbacks.refused(failure, for_good=True)
        self.leave(item)

    def _count(self, item: Item, failure: Failure, target: State) -> None:
        self._unit.setbacks.failed(failure, target=target)
        self.leave(item)


def _with_permission(error: StoreError) -> str:
    """The message of a failed look at what was sent; a refusal names what is to be allowed."""
    if error.trouble is not Trouble.DENIED:
        return str(error)
    return (
        f"{error}; it was sent, and nothing proves it: allow s3:GetObject at the destination, for HEAD and reading back"
    )


def _let_go(item: Item) -> None:
    if item.row.origin == Origin.DROP:
        with contextlib.suppress(OSError):  # swept when the volume comes back, or at the next start
            item.volume.dropped.let_go(item.row.id)


def _let_provers_end(made: _Workers) -> None:
    """When they have done what they have; the releaser ends after them."""
    made.prover.put(None)
    made.large_prover.put(None)


def _carry_out(waiting: _Queue) -> None:
    """Delete what has been delivered of one volume, until told that nothing more comes."""
    while release := workers.next_of(waiting):
        with workers.at_medium():
            release()
