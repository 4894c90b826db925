# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The row of a run: opened once, saved from time to time, closed at the end."""

from __future__ import annotations

from typing import Any

from snowsync.hops.activity import Activity
from snowsync.hops.counters import Counters
from snowsync.hops.run_record import RunRecord


class Journal:
    """The part of a ledger's journal that is used here."""

    def __init__(self) -> None:
        self.saved: list[tuple[int, dict[str, Any]]] = []

    def start_run(self, unit: str) -> int:
        return {"source": 7}[unit]

    def update_run(self, run_id: int, **values: Any) -> None:
        self.saved.append((run_id, values))


def test_a_row_is_saved_every_two_seconds_and_at_the_end() -> None:
    journal: Any = Journal()
    record = RunRecord(journal, Counters(), Activity())
    record.begin("source")
    for tenth in range(50):
        record.save_if_due(100.0 + tenth / 10)
    assert len(journal.saved) == 3, "at once, after two and after four seconds"
    record.save(ended=True)
    assert [values["ended"] for _id, values in journal.saved] == [False, False, False, True]


def test_a_row_says_what_the_unit_does_and_did() -> None:
    journal: Any = Journal()
    counters, activity = Counters(), Activity()
    record = RunRecord(journal, counters, activity)
    record.begin("source")
    activity.status = "listing the source"
    counters.listed.objects, counters.listed.bytes, counters.listed.passes, counters.failures.count = 1, 2, 3, 4
    record.save()
    expected = {"status": "listing the source", "listed": (1, 2), "passes": 3, "failures": 4, "ended": False}
    assert journal.saved == [(7, expected)]
    assert counters.run_id == 7, "what else is recorded names the run"
