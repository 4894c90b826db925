# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Objects that the source lists with a new time, but with the size and digest of what was delivered.

They are not moved: the destination is asked whether it still has them. Objects that are missing or different there are
put back and moved again.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from ...core.blame import Blame, needs_probe
from ...core.errors import StoreError, Trouble
from ...core.etag import agree
from ...core.model import UNTOLD, Head
from ...ledger.binding import Naming
from ...ledger.destination_ports import DestinationLedger
from ...ledger.ledger import Row
from ...proofs.holdings import ask_heads
from ...store.endpoint import Endpoint
from ..pool import EndpointPool
from ..switches import Switches

if TYPE_CHECKING:
    from ...config.job_file import Job

_log = logging.getLogger("snowsync.destination")
_AT_ONCE = 64


class TouchedObjects:
    """Asks the destination, a batch at a time, in the feeder's thread."""

    def __init__(
        self, job: Job, ledger: DestinationLedger, naming: Naming, pool: EndpointPool, switches: Switches
    ) -> None:
        self._job = job
        self._ledger = ledger
        self._naming = naming
        self._pool = pool
        self._switches = switches
        self._unanswered: Counter[int] = Counter()  # by object: how often there was no answer
        self._in_doubt: set[int] = set()  # objects for which a probe is finding out why

    def ask(self) -> bool:
        """Settle some of them. False if there are none, or no endpoint to ask."""
        in_doubt = set(self._in_doubt)
        touched = self._ledger.listing.touched(limit=_AT_ONCE + len(in_doubt), delivered_too=self._job.keep_staged)
        rows = [row for row in touched if row.id not in in_doubt]
        endpoint = self._pool.pick_to_ask() if rows else None
        if endpoint is None:
            return False
        by_key = {self._naming.destination_key(row.key): row for row in rows}
        for key, found in ask_heads(endpoint.client(), list(by_key), self._job.mover.retries):
            self._settle(by_key[key], found, endpoint)
        return endpoint.is_up

    def are_left(self) -> bool:
        """Whether any still have to be checked."""
        return bool(self._ledger.listing.touched(limit=1, delivered_too=self._job.keep_staged))

    def _settle(self, row: Row, found: Head | StoreError, endpoint: Endpoint) -> None:
        if isinstance(found, StoreError) and self._is_to_be_asked_again(row, found, endpoint):
            return
        problem = _why_not_there(row, found)
        if problem:
            trouble, message = problem
            self._ledger.objects.resend([row.key], trouble, f"the source lists it with a new time, and {message}")
            _log.warning("%r will be moved again: %s", row.key, message)
            self._switches.space.set()
        self._ledger.listing.asked(row)
        self._unanswered.pop(row.id, None)

    def _is_to_be_asked_again(self, row: Row, error: StoreError, endpoint: Endpoint) -> bool:
        """Whether the endpoint may answer later: a probe finds out whether the endpoint is to blame."""
        if not needs_probe(error.trouble):
            return False
        self._in_doubt.add(row.id)
        self._pool.find_out(endpoint, row.id, error.trouble, str(error), lambda whose: self._judged(row, error, whose))
        return True

    def _judged(self, row: Row, error: StoreError, whose: Blame) -> None:
        """An object without an answer after all attempts keeps its existing proof."""
        self._unanswered[row.id] += whose not in (Blame.ENDPOINT, Blame.JOB)
        if self._unanswered[row.id] >= self._job.attempts:
            del self._unanswered[row.id]
            self._ledger.listing.asked(row)
            _log.warning("%r was delivered, but cannot be checked at the destination now: %s", row.key, error)
        self._in_doubt.discard(row.id)


def _why_not_there(row: Row, found: Head | StoreError) -> tuple[Trouble, str] | None:
    """What is wrong at the destination; None if it has the object or does not tell: then the proof still counts."""
    if isinstance(found, StoreError):
        is_gone = found.trouble is Trouble.NOT_FOUND
        return (Trouble.NOT_FOUND, "the destination no longer has it") if is_gone else None
    if found.size in (row.size, UNTOLD) and agree(found.etag, row.destination_etag):
        return None
    return Trouble.MISMATCH, "the destination has something else in its place"
