# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""After a fetch: objects that are proven to be what was listed go to the committer, the others back to the ledger.

Finisher threads take outcomes from the movers, ask the source what the objects are now, and prove the files.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from ...core import workers
from ...core.backoff import persistently
from ...core.errors import StoreError, Trouble, local_trouble
from ...core.etag import agree, parse, prove_file
from ...core.model import UNTOLD, Head, Headers, ListedObject, Outcome, Received, State
from ...core.text import plain_text
from ...ledger.ledger import Failure, Row, Staged, dump_headers
from ...ledger.source_ports import SourceLedger
from ...proofs.holdings import ask_heads
from ...proofs.proof import Proven, Refuted, Unproven, prove_arrival
from ...store.client import LATE
from ...store.encodings import hint
from ...store.endpoint import Endpoint
from ...volumes.open_volume import OpenVolume
from ..counters import Counters
from ..crew import Crew
from ..flight import Flight, Item
from ..part_memory import PartKeeper
from ..pool import EndpointPool
from ..setbacks import Setbacks
from ..switches import Switches
from .committer import Committer
from .fetching import Fetching

if TYPE_CHECKING:
    from ...config.job_file import Job  # imports pydantic

    _Task: TypeAlias = "tuple[int, Outcome | Callable[[], None]]"  # with the object's id
    _Queue: TypeAlias = "queue.SimpleQueue[_Task | None]"  # None ends one finisher
    _Step: TypeAlias = "tuple[Collection[int], Callable[[], None]]"
    _Steps: TypeAlias = "queue.SimpleQueue[_Step | None]"

_log = logging.getLogger("snowsync.source")
_HEADS_AT_ONCE = 64


@dataclass(slots=True)
class _Finishers:
    """The finishers of one volume, so that a disk that does not respond delays no objects of other volumes.

    `each` is the number of threads for small and for large objects: hashing a large one must not delay small ones.
    `beside` is the number of those that wait for late answers and for tags (one request each), which must not delay
    other answers.
    """

    each: int
    beside: int
    small: _Queue = field(default_factory=queue.SimpleQueue)
    large: _Queue = field(default_factory=queue.SimpleQueue)
    aside: _Steps = field(default_factory=queue.SimpleQueue)
    finishing: int = 0  # threads for small and large objects that have not ended

    def let_end(self) -> None:
        """End them after they have processed what has arrived; those aside end after them."""
        for _ in range(self.each):
            self.small.put(None)
            self.large.put(None)


class Arrivals:
    """The finishers of a source unit.

    `adopt` stages an object from an unknown file of it, if there is one.
    """

    def __init__(
        self,
        job: Job,
        ledger: SourceLedger,
        pool: EndpointPool,
        parts: PartKeeper,
        flight: Flight,
        setbacks: Setbacks,
        fetching: Fetching,
        committer: Committer,
        crew: Crew,
        counters: Counters,
        switches: Switches,
        *,
        adopt: Callable[[Row], bool],
    ) -> None:
        self._job = job
        self._ledger = ledger
        self._pool = pool
        self._parts = parts
        self._flight = flight
        self._setbacks = setbacks
        self._fetching = fetching
        self._committer = committer
        self._crew = crew
        self._counters = counters
        self._switches = switches
        self._adopt = adopt
        self._finishers: dict[int, _Finishers] = {}  # by the number of the volume
        self._making = threading.Lock()
        self._is_ending = False
        self._has_told = False  # warned that the source contradicts itself

    def receive(self, outcome: Outcome) -> None:
        """Called from the movers' threads."""
        item = self._flight.get(outcome.id)
        if item:
            found = self._of(item.volume)
            is_large = self._job.mover.is_large(item.row.size)
            self._put(found, found.large if is_large else found.small, item, outcome)

    def carry_out(self, item: Item, step: Callable[[], None]) -> None:
        """Let a finisher of its volume carry out a step that may wait for its disk."""
        found = self._of(item.volume)
        self._put(found, found.small, item, step)

    def _put_aside(self, items: Collection[Item], step: Callable[[], None]) -> None:
        """Carry out a step that may wait for the store in a thread that nothing else waits for."""
        numbers = [item.row.id for item in items]
        self._flight.held.take(numbers)
        self._of(next(iter(items)).volume).aside.put((numbers, step))

    def _put(self, found: _Finishers, waiting: _Queue, item: Item, task: Outcome | Callable[[], None]) -> None:
        self._flight.held.take([item.row.id])
        waiting.put((item.row.id, task))
        if self._is_ending:
            found.let_end()

    def _of(self, volume: OpenVolume) -> _Finishers:
        """The finishers of a volume, started when first needed."""
        with self._making:
            found = self._finishers.get(volume.id)
            if found is None:
                each, beside = (2, 4) if len(self._job.volumes) == 1 else (1, 2)
                found = self._finishers[volume.id] = _Finishers(each, beside, finishing=2 * each)
                self._start(found, volume)
            return found

    def _start(self, made: _Finishers, volume: OpenVolume) -> None:
        for number in range(made.each):
            for kind, waiting, at_once in (("finisher", made.small, _HEADS_AT_ONCE), ("large-finisher", made.large, 1)):
                work = partial(self._work_through, made, waiting, at_once)
                self._crew.spawn(work, f"{kind}-{volume.name}-{number}", volume.id)
        for number in range(made.beside):
            self._crew.spawn(partial(self._work_aside, made.aside), f"late-finisher-{volume.name}-{number}", volume.id)

    def stop(self) -> None:
        """Let the finishers end after they have processed what has arrived."""
        with self._making:
            self._is_ending = True
            for each in self._finishers.values():
                each.let_end()

    def _work_through(self, made: _Finishers, tasks: _Queue, at_once: int) -> None:
        try:
            while batch := _take(tasks, at_once):
                self._finish([task for _number, task in batch])
                self._flight.held.let_go(number for number, _task in batch)
        finally:
            with self._making:
                made.finishing -= 1
                is_last = not made.finishing
            for _ in range(made.beside if is_last else 0):
                made.aside.put(None)

    def _work_aside(self, steps: _Steps) -> None:
        while found := workers.next_of(steps):
            numbers, step = found
            step()
            self._flight.held.let_go(numbers)

    def _finish(self, tasks: list[Outcome | Callable[[], None]]) -> None:
        arrived = []
        for outcome in tasks:
            workers.beat()
            if not isinstance(outcome, Outcome):
                with workers.at_medium():
                    outcome()
                continue
            item = self._flight.get(outcome.id)
            if item is None:
                continue
            if outcome.received:
                self._arrived(item, outcome.received.head, item.endpoint, outcome.received)
            elif outcome.ok:
                arrived.append(item)
            else:
                self._mover_failed(item, outcome)
        for endpoint in {item.endpoint.url: item.endpoint for item in arrived}.values():
            self._ask(endpoint, {item.row.key: item for item in arrived if item.endpoint is endpoint})

    def _who_answers(self, endpoint: Endpoint) -> Endpoint | None:
        """The endpoint, or another one of the store, as soon as one is healthy, so that no fetched data is discarded.

        None when the unit ends.
        """
        while not self._crew.ending.is_set():
            asked = endpoint if endpoint.is_up else self._pool.pick_to_ask()
            # An endpoint that is being probed may be down, and every request may time out.
            if asked and not self._pool.is_probed(asked):
                return asked
            workers.beat()
            self._crew.ending.wait(0.05)
        return endpoint if endpoint.is_up else None

    def _ask(self, endpoint: Endpoint, by_key: dict[str, Item], *, is_hurried: bool = True) -> None:
        """Ask the store about objects after their bytes arrived: the proof refers to these answers."""
        retries, late = self._job.mover.retries, {}
        while by_key and (asked := self._who_answers(endpoint)):
            for key, head in ask_heads(asked.client(), list(by_key), retries, is_hurried=is_hurried):
                item = by_key.pop(key)
                if isinstance(head, StoreError) and head.code == LATE:
                    late[key] = item
                else:
                    self._arrived(item, head, asked)
        if late:
            self._put_aside(late.values(), lambda: self._ask(endpoint, late, is_hurried=False))

    def _mover_failed(self, item: Item, outcome: Outcome) -> None:
        trouble = outcome.trouble or Trouble.OTHER
        if trouble in (Trouble.NOT_FOUND, Trouble.MISMATCH, Trouble.CHANGED):
            self._put_aside([item], lambda: self._look_again(item, trouble, outcome.message))
        else:
            self._fetching.not_arrived(item, trouble, outcome.message)

    def _look_again(self, item: Item, trouble: Trouble, message: str) -> None:
        """The object seems to be gone or changed; the store's own answer decides, not the mover's message."""
        try:
            client, retries = item.endpoint.client(), self._job.mover.retries
            head = persistently(lambda: client.head(item.row.key), retries)
            if trouble is Trouble.CHANGED and not self._is_other(item.row, head):
                # GET, which returns the bytes, may disagree with HEAD.
                head = persistently(lambda: client.head_by_get(item.row.key), retries)
        except StoreError as error:
            if error.trouble is Trouble.NOT_FOUND:
                self._vanished(item)
            else:
                self._fetching.not_arrived(item, error.trouble, str(error))
            return
        if self._is_other(item.row, head):
            self._changed(item, head)
        else:
            self._fetching.not_arrived(item, trouble, message + hint(head, item.tool))

    def _arrived(
        self, item: Item, head: Head | StoreError, endpoint: Endpoint, received: Received | None = None
    ) -> None:
        if isinstance(head, Head) and self._has_tags(head):
            self._put_aside([item], lambda: self._sort(item, head, endpoint, received))
        else:
            self._sort(item, head, endpoint, received)

    def _sort(self, item: Item, head: Head | StoreError, endpoint: Endpoint, received: Received | None = None) -> None:
        row = item.row
        if isinstance(head, StoreError):
            if head.trouble is Trouble.NOT_FOUND:
                self._vanished(item)
            else:
                self._fetching.not_arrived(item, head.trouble, str(head), endpoint)
            return
        if received is None and self._is_other(row, head):
            head = self._as_read(item, head, endpoint)
        if self._is_other(row, head):
            self._changed(item, head)
            return
        try:
            head = _completed(row, head, received, item.path)
            proof = self._prove(item, head, endpoint, received)
            headers = dump_headers(self._headers(item.row, head, endpoint))
        except StoreError as error:
            if error.trouble is Trouble.CHANGED:
                self._look_again(item, error.trouble, str(error))
            else:
                self._fetching.not_arrived(item, error.trouble, str(error), endpoint)
        except OSError as error:
            message = f"Failed to read the fetched file of {row.key!r}: {error.strerror}"
            self._fetching.not_arrived(item, local_trouble(error), message)
        else:
            if isinstance(proof, Refuted):
                if received:
                    self._ask(endpoint, {row.key: item})  # it may have been overwritten while it was read
                else:
                    self._refuted(item, proof)
                return
            if isinstance(proof, Unproven):
                self._held(item, proof)
                return
            self._fetching.served(item)
            self._committer.add(item, Staged(row, proof.part_size, proof.digest, headers, proof.evidence, item.tool))

    def _prove(
        self, item: Item, head: Head, endpoint: Endpoint, received: Received | None
    ) -> Proven | Refuted | Unproven:
        job, client = self._job, endpoint.client()
        return prove_arrival(
            item.path, item.row.key, head, endpoint.store, client, job.mover, received, unproven=job.unproven
        )

    def _headers(self, row: Row, head: Head, endpoint: Endpoint) -> Headers:
        if not self._has_tags(head):
            return head.headers
        with workers.asking():
            tags = endpoint.control().get_tags(row.key)
        return replace(head.headers, tags=tags)

    def _has_tags(self, head: Head) -> bool:
        return bool(head.tag_count) and self._job.tags != "skip"

    # -- what did not arrive ----------------------------------------------------------------------------------

    def _vanished(self, item: Item) -> None:
        """The source listed the object but does not have it: use any copy that is kept here, and forget none."""
        row = item.row
        failure = None if self._adopt(row) else self._ledger.copies.restore(row, partial(_older_instead, row))
        if failure:
            self._setbacks.note(failure)
            self._counters.lost += 1
            self._switches.staged.set()
        else:
            failure = self._gone(row)
            if self._ledger.objects.gone(failure):  # refused where it was adopted
                self._setbacks.note(failure)
        self._setbacks.forgive(row.id)
        self._parts.forget(row.id)  # the remaining parts can no longer be fetched
        self._fetching.put_back(item, None)

    def _gone(self, row: Row) -> Failure:
        """The failure for an object that the source listed but does not have."""
        copy, quarantined = self._ledger.losses.left_on(row.id), self._ledger.copies.quarantined(row.id)
        message, action = (
            "the source listed it but does not have it",
            "will be tried again; forgotten once it is no longer listed",
        )
        if copy:
            message = f"the source no longer has it; its only copy is on volume {copy}, which failed"
            action = "kept until the volume returns"
        elif quarantined:
            message = f"the source no longer has it; the only copy is in the quarantine of volume {quarantined}"
            action = "kept there"
        return Failure(row, "source", Trouble.NOT_FOUND, message, action)

    def _is_other(self, row: Row, head: Head) -> bool:
        """Whether the store's answer describes another object than the one listed, as far as it shows."""
        return head.size not in (row.size, UNTOLD) or not agree(self._fetching.etag_to_read(row), head.etag)

    def _as_read(self, item: Item, head: Head, endpoint: Endpoint) -> Head:
        """What HEAD says, unless the response to GET, which returns the bytes, says otherwise."""
        row = item.row
        with contextlib.suppress(StoreError):
            found = endpoint.client().head_by_get(row.key)
            if not self._is_other(row, found):
                self._tell_once(_contradiction(ListedObject(row.key, row.size, row.etag, row.modified_ms), head))
                return replace(head, size=found.size, etag=found.etag)
        return head

    def _contradicted(self, item: Item, head: Head, listed: ListedObject) -> None:
        """The listing is unchanged, but GET and HEAD show something else: they describe the actual bytes.

        The object is fetched as they show it, but remembered as listed, so that it is not new in the next pass. If the
        next response differs again, that is a failure of the object.
        """
        row = item.row
        said = _contradiction(listed, head)
        self._tell_once(said)
        if not self._fetching.expect(row, head):
            self._setbacks.failed(
                Failure(row, "source", Trouble.CHANGED, said, "fetched again", expected=row.etag, found=head.etag)
            )
        elif head.size not in (row.size, UNTOLD):
            self._ledger.listing.read_otherwise(row, head.size)
        self._fetching.put_back(item, None)

    def _tell_once(self, said: str) -> None:
        if not self._has_told:
            self._has_told = True
            _log.warning(
                "the source contradicts itself: %s. Such objects are moved as read and remembered as listed; if the"
                " ETags of this store are not digests, set its `etag: opaque`",
                said,
            )

    def _changed(self, item: Item, head: Head) -> None:
        row = item.row
        listed = _as_listed(item, head)
        if self._ledger.listing.is_as_listed(row, listed):
            self._contradicted(item, head, listed)
            return
        known = self._ledger.objects.row(row.id)
        if known and known.generation == row.generation:  # otherwise the lister has already seen it
            message = "the object was overwritten at the source while it was fetched"
            action = "fetched again as a new generation"
            failure = Failure(row, "source", Trouble.CHANGED, message, action, expected=row.etag, found=head.etag)
            self._setbacks.note(failure)
            self._ledger.journal.record(failure)
            self._ledger.listing.observe([listed])
        self._fetching.put_back(item, None)

    def _refuted(self, item: Item, proof: Refuted) -> None:
        row = item.row
        self._fetching.quarantine(item)
        message = f"{proof.message} (from {item.endpoint.url})"
        failure = Failure(
            row,
            "source",
            Trouble.MISMATCH,
            message,
            "quarantined and fetched again",
            expected=proof.expected,
            found=proof.found,
        )
        self._setbacks.failed(failure)
        self._fetching.put_back(item, None)

    def _held(self, item: Item, proof: Unproven) -> None:
        """Two reads agreed, so another attempt would not help: what arrived is kept in quarantine."""
        row = item.row
        self._fetching.quarantine(item)
        failure = Failure(
            row, "source", Trouble.MISMATCH, proof.message, "held in quarantine", proof.expected, proof.found
        )
        if self._ledger.objects.retry(failure, delay_ms=0, count=True, target=State.QUARANTINED):
            self._setbacks.note(failure)
        self._fetching.put_back(item, None)


def _older_instead(row: Row, generation: int, volume: str) -> Failure:
    """The failure if an older generation, staged on `volume`, is all that is left of an object."""
    message = f"the source no longer has it; generation {generation}, staged on volume {volume}, is kept"
    return Failure(row, "source", Trouble.NOT_FOUND, message, f"generation {generation} is delivered instead")


def _take(tasks: _Queue, at_once: int) -> list[_Task]:
    """The tasks that have arrived, up to a batch. Empty: the unit ends."""
    first = workers.next_of(tasks)
    if first is None:
        return []
    taken = [first]
    with contextlib.suppress(queue.Empty):
        while len(taken) < at_once:
            task = tasks.get_nowait()
            if task is None:
                tasks.put(None)
                break
            taken.append(task)
    return taken


def _completed(row: Row, head: Head, received: Received | None, path: str) -> Head:
    """The store's answer for an object, completed from its listing if it is incomplete or contradicts the bytes."""
    size = row.size if head.size == UNTOLD else head.size
    digest = row.etag.lower()
    if received:
        is_as_listed = received.etag == digest
    else:
        is_as_listed = not agree(digest, head.etag) and parse(digest) is not None and prove_file(path, digest).matched
    return replace(head, size=size, etag=row.etag if is_as_listed or not head.etag else head.etag)


def _contradiction(listed: ListedObject, head: Head) -> str:
    """`its listing shows 'k' with 5 bytes and ETag 'x', HEAD shows 6 bytes and ETag 'y'`."""
    size = "no size" if head.size == UNTOLD else f"{head.size} bytes"
    return (
        f"its listing shows {plain_text(listed.key)!r} with {listed.size} bytes and ETag {listed.etag!r},"
        f" HEAD shows {size} and ETag {head.etag!r}"
    )


def _as_listed(item: Item, head: Head) -> ListedObject:
    """The object as a listing shows it now: HEAD rounds the time, which the next pass would mistake for a change."""
    key = item.row.key
    many = 1 if item.endpoint.store.sorted else 1000
    with contextlib.suppress(StoreError):
        for listed in item.endpoint.client().list_page(None, prefix=key, max_keys=many).objects:
            if listed.key == key:
                return listed
    return ListedObject(key, head.size, head.etag, head.modified_ms)
