# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivered files that were not deleted yet: read page by page, and released by their volumes' own workers."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hop_items import item_of, row_with, volume_of

from snowsync.core.model import State
from snowsync.hops.destination import delivered_files
from snowsync.hops.destination.delivered_files import Leftovers
from snowsync.hops.flight import Flight
from snowsync.hops.switches import Switches
from snowsync.ledger.ledger import Row
from snowsync.volumes import outgoing_files


class Bench:
    """A ledger with `rows`; steps of the releasers wait for `carry_out`."""

    def __init__(self, *rows: Row, keeps: bool = False) -> None:
        self.rows = list(rows)
        self.effects = mock.Mock()
        self.effects.ledger.objects.work.side_effect = self._work
        self.effects.workers.carry_out.side_effect = lambda volume, step: self.steps.append(step)
        self.releases = self.effects.releases
        self.releases.next_look = 0.0
        self.releases.released_ids.return_value = set()
        self.released: list[int] = []
        self.releases.release.side_effect = self._release
        self.steps: list[Callable[[], None]] = []
        self.flight, self.switches = Flight(), Switches()
        self.open = {1: volume_of(1), 2: volume_of(2)}
        self.volumes: Any = SimpleNamespace(open=self.open, coming=set())
        job: Any = SimpleNamespace(keep_staged=keeps)
        ledger, workers = self.effects.ledger, self.effects.workers
        self.leftovers = Leftovers(job, ledger, self.volumes, self.flight, self.releases, workers, self.switches)

    def _work(self, state: State, *, after_id: int, limit: int, volumes: set[int]) -> list[Row]:
        assert state is State.DELIVERED
        return [row for row in self.rows if row.id > after_id and row.volume in volumes][:limit]

    def _release(self, given: Any) -> None:
        for row, volume, permit in given:
            assert (permit, volume) == (outgoing_files.permit_of(row), self.open[row.volume])
            self.released.append(row.id)

    def carry_out(self) -> None:
        steps, self.steps = self.steps, []
        for step in steps:
            step()


def row(number: int, volume: int = 1) -> Row:
    return row_with(number, volume=volume, state=State.DELIVERED, target=5, destination_etag=f"etag-{number}")


def test_all_of_them_are_released_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivered_files, "_PAGE", 2)
    bench = Bench(*(row(number) for number in (1, 2, 3)), row(4, volume=2))
    for expected in ([1, 2, 4], [3]):
        bench.released.clear()
        bench.leftovers.release()
        assert bench.released == [], "by the releasers, not by the feeder"
        bench.leftovers.release()
        assert len(bench.steps) <= 2, "one page per volume at a time"
        assert bench.leftovers.are_left
        bench.carry_out()
        assert sorted(bench.released) == expected
        assert bench.switches.staged.is_set()
    bench.leftovers.release()
    assert not bench.leftovers.are_left
    bench.releases.record.assert_called_with(now=True)
    assert bench.releases.next_look == math.inf


def test_what_is_released_anyway_is_left_to_who_does_it() -> None:
    bench = Bench(*(row(number) for number in (1, 2, 3)))
    bench.flight.take(item_of(1))
    bench.releases.released_ids.return_value = {2}
    bench.leftovers.release()
    bench.carry_out()
    assert bench.released == [3]


@pytest.mark.parametrize("obstacle", ["absent", "read only"])
def test_a_volume_that_cannot_be_written_is_not_waited_for(obstacle: str) -> None:
    bench = Bench(row(1))
    if obstacle == "absent":
        bench.releases.next_look = math.inf
        bench.leftovers.release()
        bench.releases.next_look = 0.0
        bench.open.pop(1)
    else:
        bench.open[1].medium.writable = False
    bench.leftovers.release()
    bench.carry_out()
    assert bench.released == []
    assert not bench.leftovers.are_left
    bench.volumes.coming = {1}
    assert bench.leftovers.are_left, "it is about to come"


def test_a_volume_that_goes_away_between_pages_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivered_files, "_PAGE", 1)
    bench = Bench(row(1), row(2))
    bench.leftovers.release()
    bench.carry_out()
    bench.open.pop(1)
    bench.leftovers.release()
    assert not bench.leftovers.are_left


def test_a_release_that_raised_is_over() -> None:
    bench = Bench(row(1))
    bench.leftovers.release()
    bench.releases.release.side_effect = OSError("disk")
    with pytest.raises(OSError, match="disk"):
        bench.carry_out()
    bench.leftovers.release()
    assert not bench.leftovers.are_left


def test_a_job_that_keeps_its_files_has_none() -> None:
    bench = Bench(row(1), keeps=True)
    bench.volumes.coming = {1}
    bench.leftovers.release()
    assert bench.steps == []
    assert not bench.leftovers.are_left


def test_they_are_looked_for_only_when_it_is_time() -> None:
    bench = Bench(row(1))
    bench.releases.next_look = math.inf
    bench.leftovers.release()
    bench.effects.ledger.objects.work.assert_not_called()
