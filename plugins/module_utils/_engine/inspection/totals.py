# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Totals over all objects of a job.

Computing them takes time in proportion to the size of the ledger: the slower that is, the less often it is done, and in
between they are updated from the groups.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.model import State
from ..ledger.reader import LedgerReader
from ..ledger.records import FailureRow, GroupRow, Tally
from .report import Excerpt
from .status import UnitStatus, running
from .volume_status import VolumeStatus, volume_statuses

if TYPE_CHECKING:
    from ..config.job_file import Job

SHARE = 20  # at most this fraction (1/n) of the time goes into SQL
_FAILURES = 3


class Totals:
    """The totals of one job. `seconds` is how long the last update spent on computing them."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.states: dict[State, Tally] = {}
        self.volumes: list[VolumeStatus] = []
        self.failures: Excerpt[FailureRow] = Excerpt()
        self.seconds = 0.0
        self._due = 0.0
        self._are_last = False  # they were computed when nothing was left to do

    def update(
        self, reader: LedgerReader, fresh: Iterable[GroupRow], since_ms: int, units: list[UnitStatus], *, settled: bool
    ) -> None:
        """`fresh`: the groups since the last update. `settled`, as determined before: nothing is left to do."""
        self.seconds = 0.0
        if not self._is_due(settled=settled):
            self._carry_forward(fresh)
        else:
            self._sum_up(reader, since_ms, units)
            self._are_last = settled  # determined first, so the totals are at least as recent

    def _is_due(self, *, settled: bool) -> bool:
        """From time to time, and once nothing is left to do, since that is what stays on the screen."""
        return time.monotonic() >= self._due or (settled and not self._are_last)

    def _sum_up(self, reader: LedgerReader, since_ms: int, units: list[UnitStatus]) -> None:
        started = time.monotonic()
        self.states = reader.states()
        self.volumes = volume_statuses(self._job, reader.volumes_seen(), running(units), reader.ledger.volumes)
        self.failures = Excerpt(reader.failures(_FAILURES, since_ms), reader.failure_count(since_ms))
        self.seconds = time.monotonic() - started
        self._due = time.monotonic() + SHARE * self.seconds

    def _carry_forward(self, fresh: Iterable[GroupRow]) -> None:
        for group in fresh:
            moved = Tally(group.objects, group.bytes)
            if group.hop == "source":
                self._take(State.PENDING, moved)
                self.states[State.STAGED] += moved
            elif group.hop == "destination":
                self._take(State.STAGED, moved)
                self.states[State.DELIVERED] += moved

    def _take(self, state: State, moved: Tally) -> None:
        have = self.states[state]
        self.states[state] = Tally(max(0, have.objects - moved.objects), max(0, have.bytes - moved.bytes))
