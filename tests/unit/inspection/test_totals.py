# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When totals are computed, and how groups update them in between."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core.model import State
from snowsync.inspection import totals as totals_module
from snowsync.inspection.totals import SHARE, Totals
from snowsync.ledger.records import GroupRow, Tally


class Reader:
    """A ledger whose totals take two seconds."""

    def __init__(self, clock: list[float]) -> None:
        self._clock = clock
        self.sums = 0
        self.ledger = SimpleNamespace(volumes=None)

    def states(self) -> dict[State, Tally]:
        self.sums += 1
        self._clock[0] += 2.0
        return dict.fromkeys(State, Tally(5, 500))

    def volumes_seen(self) -> list[Any]:
        return []

    def failures(self, limit: int, _since_ms: int) -> list[str]:
        return ["latest"][:limit]

    def failure_count(self, _since_ms: int) -> int:
        return 7


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(totals_module, "volume_statuses", lambda *_arguments: [])
    return now


@pytest.fixture
def reader(clock: list[float]) -> Any:
    return Reader(clock)


@pytest.fixture
def totals() -> Totals:
    job: Any = None  # only the status of its volumes would look at it
    return Totals(job)


def group(hop: str, objects: int) -> GroupRow:
    return GroupRow(1, hop, 1, objects, objects * 100, 1)


def test_the_slower_they_are_the_less_often_they_are_computed(totals: Totals, reader: Any, clock: list[float]) -> None:
    totals.update(reader, [], 0, [], settled=False)
    assert (totals.seconds, totals.failures.count, totals.failures.items) == (2.0, 7, ["latest"])
    clock[0] += SHARE * 2.0 - 0.1
    totals.update(reader, [], 0, [], settled=False)
    assert (reader.sums, totals.seconds) == (1, 0.0)
    clock[0] += 0.2
    totals.update(reader, [], 0, [], settled=False)
    assert reader.sums == 2


def test_once_nothing_is_left_to_do_they_are_computed_once_more(totals: Totals, reader: Any) -> None:
    totals.update(reader, [], 0, [], settled=False)
    for _look in range(3):
        totals.update(reader, [], 0, [], settled=True)
    assert reader.sums == 2


@pytest.mark.parametrize(
    ("committed", "pending", "held", "delivered"),
    [
        (group("source", 2), 3, 7, 5),
        (group("destination", 2), 5, 3, 7),
        (group("source", 9), 0, 14, 5),
        (group("another", 2), 5, 5, 5),
    ],
    ids=["staged", "delivered", "more than was known", "something else"],
)
def test_groups_update_them_in_between(
    totals: Totals, reader: Any, committed: GroupRow, pending: int, held: int, delivered: int
) -> None:
    totals.update(reader, [], 0, [], settled=False)
    totals.update(reader, [committed], 0, [], settled=False)
    found = [totals.states[state].objects for state in (State.PENDING, State.STAGED, State.DELIVERED)]
    assert found == [pending, held, delivered]
