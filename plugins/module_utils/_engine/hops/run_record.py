# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The row of a unit's run in the ledger, from which other processes tell what the unit is doing."""

from __future__ import annotations

from ..ledger.unit_ports import UnitJournal
from .activity import Activity
from .counters import Counters

_SAVE_SECONDS = 2.0


class RunRecord:
    """Written by the feeder's thread while the unit works, and once more when it ends."""

    def __init__(self, journal: UnitJournal, counters: Counters, activity: Activity) -> None:
        self._journal = journal
        self._counters = counters
        self._activity = activity
        self._next_save = 0.0

    def begin(self, unit: str) -> None:
        """Open the row; from now on the unit's other records in the ledger refer to it."""
        self._counters.run_id = self._journal.start_run(unit)

    def save_if_due(self, now: float) -> None:
        """Save it every two seconds; `now` in monotonic seconds."""
        if now >= self._next_save:
            self._next_save = now + _SAVE_SECONDS
            self.save()

    def save(self, *, ended: bool = False) -> None:
        counters = self._counters
        self._journal.update_run(
            counters.run_id,
            status=self._activity.status,
            listed=(counters.listed.objects, counters.listed.bytes),
            passes=counters.listed.passes,
            failures=counters.failures.count,
            ended=ended,
        )
