# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of neighbours: which small object is next for a volume, and that none is held back or taken twice."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from snowsync.core.model import Origin, State
from snowsync.hops.backlog import Feed
from snowsync.hops.source.neighbours import NeighbourBacklog
from snowsync.ledger.ledger import Row

ROW = Row(1, "key", 10, "e", 1, 1, Origin.SOURCE, State.PENDING, None, 0, "", "", 0, 0, 0)


class Ledger:
    """`count` pending objects; `apart`: those that belong to no run."""

    def __init__(self, count: int, apart: Collection[int] = ()) -> None:
        self.rows = [ROW._replace(id=number + 1, key=f"k{number:05}") for number in range(count)]
        self.flying: set[int] = set()
        self.apart = apart
        ledger: Any = SimpleNamespace(objects=self)
        flight: Any = SimpleNamespace(ids=lambda: set(self.flying))
        setbacks: Any = SimpleNamespace(due=lambda row, busy: True)
        feed = Feed(ledger, flight, setbacks, lambda size: size > 100)
        self.backlog = NeighbourBacklog(feed, State.PENDING, rewind_seconds=0.0)

    def work_beside(
        self, busy: set[int], state: State, *, after_id: int, limit: int, volumes: Any
    ) -> tuple[list[Row], int]:
        read = [row for row in self.rows if row.id > after_id][:limit]
        return [row for row in read if row.id not in busy], read[-1].id if read else 0

    def is_apart(self, row: Row) -> bool:
        return row.id in self.apart

    def take(self, volume: int, limit: int = 500) -> int:
        """The object that the volume gets next; 0: none is left."""
        for _attempt in range(2):
            waiting = self.backlog.waiting()
            if not waiting:
                self.backlog.fill(limit)
                waiting = self.backlog.waiting()
            if not waiting:
                break
            rows = waiting if self.is_apart(waiting[0]) else self.backlog.run_of(volume, self.is_apart)
            if rows:
                self.flying.add(rows[0].id)
                return rows.popleft().id
            self.backlog.fill(limit)
        return 0


def test_volumes_that_alternate_get_runs() -> None:
    ledger = Ledger(3000)
    taken: dict[int, list[int]] = {1: [], 2: []}
    for _turn in range(1500):
        for volume in (1, 2):
            taken[volume].append(ledger.take(volume))
    assert sorted(taken[1] + taken[2]) == list(range(1, 3001))
    breaks = sum(after != before + 1 for ids in taken.values() for before, after in zip(ids, ids[1:], strict=False))
    assert breaks == 4


def test_a_run_has_no_more_than_five_hundred() -> None:
    ledger = Ledger(2000)
    ledger.backlog.fill(2000)
    assert len(ledger.backlog.run_of(1, ledger.is_apart)) == 500
    assert len(ledger.backlog.small) == 1500


def test_more_is_read_before_one_volume_helps_another() -> None:
    ledger = Ledger(8)
    backlog = ledger.backlog
    backlog.fill(6)
    first = backlog.run_of(1, ledger.is_apart)
    assert not backlog.run_of(2, ledger.is_apart)
    backlog.fill(6)
    assert [row.id for row in backlog.run_of(2, ledger.is_apart)] == [7, 8]
    assert [row.id for row in first] == [1, 2, 3, 4, 5, 6]


def test_at_the_end_the_work_that_is_left_is_shared() -> None:
    ledger = Ledger(5)
    backlog = ledger.backlog
    backlog.fill(10)
    run = backlog.run_of(1, ledger.is_apart)
    assert not backlog.run_of(2, ledger.is_apart)
    backlog.fill(10)
    assert [row.id for row in backlog.run_of(2, ledger.is_apart)] == [3, 4, 5]
    assert [row.id for row in run] == [1, 2]
    assert [row.id for row in backlog.waiting()] == [3, 4, 5], "the longest one"


def test_even_if_nothing_may_be_read() -> None:
    """While too much waits to be verified, `fill` is not called."""
    ledger = Ledger(2)
    ledger.backlog.fill(10)
    ledger.backlog.run_of(1, ledger.is_apart)
    assert not ledger.backlog.run_of(2, ledger.is_apart)
    assert ledger.backlog.run_of(2, ledger.is_apart), "it is said once"


def test_the_run_of_a_volume_that_gets_nothing_more_is_left_to_others() -> None:
    ledger = Ledger(20)
    backlog = ledger.backlog
    backlog.fill(10)
    backlog.run_of(1, ledger.is_apart).popleft()
    backlog.fill(4)
    assert [row.id for row in backlog.run_of(2, ledger.is_apart)] == [11, 12, 13, 14]
    backlog.fill(4)
    assert not backlog.small or backlog.small[0].id == 2
    ids = [row.id for row in backlog.run_of(3, ledger.is_apart)]
    assert ids[:9] == [2, 3, 4, 5, 6, 7, 8, 9, 10], "before what was read later"


def test_what_belongs_to_no_run_ends_one() -> None:
    ledger = Ledger(6, apart={4})
    backlog = ledger.backlog
    backlog.fill(10)
    assert [row.id for row in backlog.run_of(1, ledger.is_apart)] == [1, 2, 3]
    assert backlog.waiting()[0].id == 4


def test_what_a_run_holds_counts_and_is_not_read_again() -> None:
    ledger = Ledger(3)
    backlog = ledger.backlog
    backlog.fill(10)
    backlog.run_of(1, ledger.is_apart)
    assert (bool(backlog), list(backlog.small)) == (True, [])
    for _read in range(3):
        backlog.fill(10)
    assert [row.id for row in backlog.run_of(1, ledger.is_apart)] == [1, 2, 3]
    assert not backlog.small
    backlog.clear()
    assert not backlog
    assert not backlog.waiting()


@given(
    count=st.integers(0, 40),
    apart=st.sets(st.integers(1, 40)),
    turns=st.lists(st.integers(1, 3), min_size=1, max_size=10),
    limit=st.integers(1, 12),
)
def test_every_object_is_taken_once_whoever_takes_them(
    count: int, apart: set[int], turns: list[int], limit: int
) -> None:
    ledger = Ledger(count, apart)
    taken: list[int] = []
    while number := ledger.take(turns[len(taken) % len(turns)], limit):
        taken.append(number)
        assert len(taken) <= count
    assert sorted(taken) == list(range(1, count + 1))
