# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Failures of objects: whether they count, what caused them, and when each object is tried again. For both hops."""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from functools import partial

from ..core.blame import Blame, needs_probe
from ..core.bounded_notes import Notes
from ..core.errors import Trouble
from ..core.model import State
from ..ledger.ledger import LONGEST_DELAY_MS, Failure, Row
from ..ledger.unit_ports import UnitLedger
from ..store.endpoint import Endpoint
from .counters import Counters
from .flight import Flight, Item
from .part_memory import PartKeeper
from .pool import EndpointPool

SOFT_FAILURES = 20  # this many failures of unknown cause count as one attempt of the object
_LONGEST_FETCH_DELAY_MS = 60_000
_AGAIN_SECONDS = 0.2  # before a retry after a failure of unknown cause, or of an endpoint
_AFTER_LOCAL_SECONDS = 1.0  # before a retry after a failed read or write on a healthy volume


def _delay_ms(row: Row) -> int:
    """The delay before the next attempt: doubled after each."""
    return int(500 * 2 ** min(row.attempts, 20))


class Setbacks:
    """Counts failures. Any thread may call these.

    `attempts` per object until it is failed; `until` when the run ends: drained, once, forever.
    """

    def __init__(self, ledger: UnitLedger, counters: Counters, *, attempts: int, until: str) -> None:
        self._ledger = ledger
        self._counters = counters
        self._attempts = attempts
        self._until = until
        self._soft: Notes[int, int] = Notes()  # failures of unknown cause, by object
        self._later: Notes[int, float] = Notes()  # objects that are not tried before this time

    # -- when again -------------------------------------------------------------------------------------------

    def due(self, row: Row, busy: Container[int]) -> bool:
        """Whether a row may be taken now: not in flight, and not postponed."""
        if row.id in busy or (self._until != "forever" and self.is_given_up(row)):
            return False
        later = self._later.get(row.id, 0.0)
        if later > 0.0:
            if later > time.monotonic():
                return False
            self._later.pop(row.id, 0.0)
        return True

    def is_given_up(self, row: Row) -> bool:
        """Whether a staged object was refused so often that a run gives up on it; a service keeps trying."""
        return row.state == State.STAGED and row.attempts >= self._attempts

    def put_off(self, row: Row, seconds: float) -> None:
        """Postpone an object without counting an attempt."""
        self._later[row.id] = time.monotonic() + seconds

    def postpone(self, row: Row, seconds: float) -> bool:
        """Put an object back without counting an attempt. True if that happened so often that it counts after all."""
        count = self._soft.get(row.id, 0) + 1
        self._soft[row.id] = count
        self.put_off(row, seconds)
        if count < SOFT_FAILURES:
            return False
        self._soft.pop(row.id, 0)
        return True

    def is_excused(self, row: Row, whose: Blame) -> bool:
        """Whether a failure does not count against the object, which is then retried soon."""
        if whose is Blame.OBJECT:
            return False
        self.put_off(row, _AGAIN_SECONDS)
        return True

    def counts(self, failure: Failure) -> bool:
        """Whether a failure that needs no probe counts against the object; otherwise it is retried soon."""
        is_local = failure.trouble.is_local
        if not is_local and failure.trouble is not Trouble.UNKNOWN:
            return True
        return self.postpone(failure.row, _AFTER_LOCAL_SECONDS if is_local else _AGAIN_SECONDS)

    def forgive(self, object_id: int) -> None:
        """An object succeeded: its earlier failures are forgotten."""
        self._soft.pop(object_id, 0)
        self._later.pop(object_id, 0.0)

    # -- against the object -----------------------------------------------------------------------------------

    def failed(self, failure: Failure, *, target: State | None = None) -> State:
        """Count an attempt against an object: it is retried later, or becomes failed or quarantined.

        Returns its new state. If a newer generation has replaced it, nothing failed.
        """
        row = failure.row
        if row.attempts + 1 >= self._attempts:
            ending = State.QUARANTINED if failure.trouble is Trouble.MISMATCH else State.FAILED
            counted = self._ledger.objects.retry(failure, delay_ms=0, count=True, target=ending)
        else:
            delay = self._kept_back(failure, min(_LONGEST_FETCH_DELAY_MS, _delay_ms(row)))
            ending = target if target is not None else State(row.state)
            counted = self._ledger.objects.retry(failure, delay_ms=delay, count=True, target=ending)
        self._soft.pop(row.id, 0)
        if not counted:
            return State(row.state)
        self.note(failure)
        return ending

    def give_up(self, failure: Failure) -> bool:
        """Mark an object as failed, however many attempts are left. False: a newer generation replaced it."""
        is_failed = self._ledger.objects.retry(failure, delay_ms=0, count=True, target=State.FAILED)
        if is_failed:
            self.note(failure)
        return is_failed

    def refused(self, failure: Failure, *, for_good: bool = False, is_lie: bool = False) -> None:
        """The destination refused an object, or it cannot be proven: it stays staged and is retried ever more rarely.

        `for_good`: another attempt would fail as well until the job is changed. `is_lie`: the store is to blame, which
        is recorded even if the row is already about a newer generation.
        """
        row = failure.row
        attempts = max(1, self._attempts - row.attempts) if for_good else 1
        delay = LONGEST_DELAY_MS if for_good else self._kept_back(failure, min(LONGEST_DELAY_MS, _delay_ms(row)))
        self._soft.pop(row.id, 0)
        counted = self._ledger.objects.retry(failure, delay_ms=delay, count=attempts, target=State(row.state))
        if is_lie and not counted:
            self._ledger.journal.record(failure)
        if is_lie or counted:
            self.note(failure)

    def note(self, failure: Failure) -> None:
        """Count a failure that is recorded in the ledger."""
        self._counters.failures.add(failure)

    def _kept_back(self, failure: Failure, delay_ms: int) -> int:
        """How long the ledger postpones an object; 0 if a single pass postpones it itself and retries it.

        Transient failures are not left to another pass.
        """
        row = failure.row
        if self._until != "once" or not failure.trouble.is_transient or row.attempts + 1 >= self._attempts:
            return delay_ms
        self.put_off(row, delay_ms / 1000)
        return 0


class Suspects:
    """Finds out what caused failures: an object, an endpoint, or the whole store.

    `at_disk` carries out a step that may wait for the disk of an item's volume, in a worker that waits for no other
    disk.
    """

    def __init__(
        self,
        flight: Flight,
        pool: EndpointPool,
        parts: PartKeeper,
        at_disk: Callable[[Item, Callable[[], None]], None],
    ) -> None:
        self._flight = flight
        self._pool = pool
        self._parts = parts
        self._at_disk = at_disk
        self._is_over = False

    def end(self) -> None:
        """Report no more results."""
        self._is_over = True

    def find_out(
        self, item: Item, failure: Failure, endpoint: Endpoint | None, told: Callable[[Item, Failure, Blame], None]
    ) -> bool:
        """`told` is called once the cause is known; until then the object stays in the unit, and its endpoint in use.

        `endpoint` None: the item's own. False: the failure needs no probe.
        """
        if not needs_probe(failure.trouble):
            return False

        def decide(whose: Blame) -> None:
            if self._flight.get(item.row.id) is item and not self._is_over:
                told(item, failure, whose)

        def judged(whose: Blame) -> None:
            self._at_disk(
                item, partial(decide, whose)
            )  # the probe thread serves all objects and must not wait for a disk
            self._flight.held.let_go([item.row.id])

        self._flight.held.take([item.row.id])
        progressed = self._parts.progressed(item.row.id)
        self._pool.find_out(
            endpoint or item.endpoint, item.row.id, failure.trouble, failure.message, judged, progressed=progressed
        )
        return True
