# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run counts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import pairwise

import pytest

from snowsync.core.errors import Trouble
from snowsync.core.model import Origin, State
from snowsync.hops import counters
from snowsync.hops.counters import Counters, Failures, Listed, Moved
from snowsync.ledger.ledger import Failure, Row


class Clock:
    """Monotonic seconds, as the test says."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(counters.time, "monotonic", made)
    return made


def test_a_hop_takes_from_its_start_to_the_last_object(clock: Clock) -> None:
    moved = Moved()
    moved.start()
    clock.now += 5
    moved.add(2, 2000)
    clock.now += 1
    moved.add(1, 500)
    clock.now += 60
    assert (moved.objects, moved.bytes, moved.seconds) == (3, 2500, 6.0)


def test_a_hop_that_moved_nothing_took_no_time(clock: Clock) -> None:
    moved = Moved()
    moved.start()
    clock.now += 5
    moved.add(0, 0)  # a group of which the ledger took nothing
    assert moved.seconds == 0.0


def test_a_listing_that_starts_again_counts_each_page_once() -> None:
    listed = Listed()
    listed.begin()
    listed.add(2, 20)
    listed.add(1, 10)
    listed.begin()  # an outage, and the token is no longer accepted
    assert (listed.objects, listed.bytes) == (3, 30), "what was seen is shown until there is something newer"
    listed.add(2, 20)
    assert (listed.objects, listed.bytes) == (2, 20)


def test_all_failures_are_counted_and_the_first_hundred_are_kept() -> None:
    row = Row(1, "key", 1, "", 0, 0, Origin.SOURCE, State.PENDING, None, 0, "", "", 0, 0, 0)
    failures = Failures()
    for number in range(150):
        failures.add(Failure(row, "source", Trouble.DENIED, f"number {number}", "fetched again"))
    assert failures.count == 150
    assert [each.message for each in failures.first] == [f"number {number}" for number in range(100)]


@pytest.mark.parametrize("add", [lambda run: run.moved.add(1, 10), lambda run: run.released.add(1, 10)])
def test_many_threads_count_at_once(add: Callable[[Counters], None]) -> None:
    run = Counters()
    threads = [threading.Thread(target=lambda: [add(run) for _time in range(500)]) for _thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    totals = [(each.objects, each.bytes) for each in (run.moved, run.released)]
    assert sorted(totals) == [(0, 0), (4000, 40_000)], "each counts for itself"


def test_two_runs_share_nothing() -> None:
    runs = [Counters() for _time in range(3)]
    for run in runs:
        run.listed.objects += 1
    assert all(one.failures is not other.failures for one, other in pairwise(runs))
    assert [run.listed.objects for run in runs] == [1, 1, 1]
