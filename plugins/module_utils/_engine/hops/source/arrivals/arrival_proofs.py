# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Proves what arrived against the source's answer: it goes to the committer, into quarantine, or is fetched again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from ....core import workers
from ....core.errors import StoreError, Trouble, local_trouble
from ....core.etag import agree, parse, prove_file
from ....core.header_text import dump_headers
from ....core.model import UNTOLD, Arrived, Evidence, Head, Headers, Received, State
from ....ledger.rows import Failure, Row, Staged
from ....ledger.source_ports import SourceLedger
from ....proofs.proof import Proven, Refuted, Unproven, prove_arrival
from ....store.endpoint import Endpoint
from ...flight import Item
from ...setbacks import Setbacks
from ..staging.committer import Committer
from ..staging.fetching import Fetching
from .arrival_heads import ArrivalHeads
from .changed_objects import ChangedObjects
from .second_looks import SecondLooks

if TYPE_CHECKING:
    from ....config.job_file import Job


class Mismatches:
    """Quarantines what is not what the source says it is. Any thread may call these."""

    def __init__(self, ledger: SourceLedger, setbacks: Setbacks, fetching: Fetching) -> None:
        self._ledger = ledger
        self._setbacks = setbacks
        self._fetching = fetching

    def fetch_again(self, item: Item, proof: Refuted) -> None:
        """The bytes are proven wrong: another endpoint may have the right ones."""
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

    def hold(self, item: Item, proof: Unproven) -> None:
        """Two reads agreed, so another attempt would not help: what arrived is kept in quarantine."""
        row = item.row
        self._fetching.quarantine(item)
        failure = Failure(
            row, "source", Trouble.MISMATCH, proof.message, "held in quarantine", proof.expected, proof.found
        )
        if self._ledger.objects.retry(failure, delay_ms=0, count=True, target=State.QUARANTINED):
            self._setbacks.note(failure)
        self._fetching.put_back(item, None)


class ArrivalProofs:
    """Any thread may call these. `put_aside` carries out a step in a thread that nothing else waits for."""

    def __init__(
        self,
        job: Job,
        heads: ArrivalHeads,
        changed: ChangedObjects,
        second_looks: SecondLooks,
        mismatches: Mismatches,
        fetching: Fetching,
        committer: Committer,
        put_aside: Callable[[Collection[Item], Callable[[], None]], None],
    ) -> None:
        self._job = job
        self._heads = heads
        self._changed = changed
        self._second_looks = second_looks
        self._mismatches = mismatches
        self._fetching = fetching
        self._committer = committer
        self._put_aside = put_aside

    def arrived(
        self, item: Item, head: Head | StoreError, endpoint: Endpoint, received: Received | None = None
    ) -> None:
        """`head` is what `endpoint` says of the object, `received` what the mover saw while it wrote the file."""
        if isinstance(head, Head) and self._has_tags(head):
            self._put_aside([item], lambda: self._sort(item, head, endpoint, received))
        else:
            self._sort(item, head, endpoint, received)

    def _sort(self, item: Item, head: Head | StoreError, endpoint: Endpoint, received: Received | None = None) -> None:
        row = item.row
        if isinstance(head, StoreError):
            self._second_looks.was_not_told(item, head, endpoint)
            return
        if received is None and self._changed.is_other(row, head):
            head = self._changed.as_read(item, head, endpoint)
        if self._changed.is_other(row, head):
            self._changed.fetch_anew(item, head)
            return
        try:
            head = _completed(row, head, received, item.path)
            proof = self._prove(item, head, endpoint, received)
            headers = dump_headers(self._headers(item.row, head, endpoint))
        except StoreError as error:
            if error.trouble is Trouble.CHANGED:
                self._second_looks.look_again(item, error.trouble, str(error))
            else:
                self._fetching.not_arrived(item, error.trouble, str(error), endpoint)
        except OSError as error:
            message = f"Failed to read the fetched file of {row.key!r}: {error.strerror}"
            self._fetching.not_arrived(item, local_trouble(error), message)
        else:
            if isinstance(proof, Refuted):
                if received:  # it may have been overwritten while it was read
                    self._heads.ask(endpoint, {row.key: item}, self.arrived)
                else:
                    self._mismatches.fetch_again(item, proof)
                return
            if isinstance(proof, Unproven):
                self._mismatches.hold(item, proof)
                return
            self._fetching.served(item)
            staged = Staged(row, proof.part_size, proof.digest, headers, proof.evidence, item.tool, proof.part_md5s)
            self._committer.add([(item, staged)])

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
        return head.headers._replace(tags=tags)

    def _has_tags(self, head: Head) -> bool:
        return bool(head.tag_count) and self._job.tags != "skip"


def staged_as(item: Item, arrived: Arrived) -> Staged | None:
    """What is staged of an object that its mover proved. None: it is not what was listed, or was listed otherwise."""
    row = item.row
    if row.etag.lower() not in ("", arrived.digest):
        return None
    return Staged(row, 0, arrived.digest, arrived.header_text, Evidence.STORE_DIGEST, item.tool)


def _completed(row: Row, head: Head, received: Received | None, path: str) -> Head:
    """The store's answer for an object, completed from its listing if it is incomplete or contradicts the bytes."""
    size = row.size if head.size == UNTOLD else head.size
    digest = row.etag.lower()
    if received:
        is_as_listed = received.etag == digest
    else:
        is_as_listed = not agree(digest, head.etag) and parse(digest) is not None and prove_file(path, digest).matched
    shown = row.etag if is_as_listed or not head.etag else head.etag
    return head if (size, shown) == (head.size, head.etag) else head._replace(size=size, etag=shown)
