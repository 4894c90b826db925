# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ledger knows of volumes: draining, trouble, copies that were left on one that failed, moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ledger_rows import bring_to, delivered, failure, in_memory, listed, row_of, select, stage_dropped

from snowsync.core import machine
from snowsync.core.model import State
from snowsync.ledger import losses
from snowsync.ledger.ledger import Ledger
from snowsync.ledger.reader import LedgerReader
from snowsync.ledger.records import Tally


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    opened = in_memory()
    yield opened
    opened.close()


@pytest.fixture
def volume(ledger: Ledger) -> int:
    return ledger.volumes.volume_id("one", "uuid-1", "/one")


def on_volume(ledger: Ledger, number: int) -> tuple[bool, bool, str, str]:
    (found,) = [row for row in LedgerReader(ledger).volumes() if row.id == number]
    return found.draining, found.placing, found.trouble, found.reason


def suspects(ledger: Ledger) -> set[str]:
    return {str(key) for (key,) in select(ledger, "SELECT key FROM objects WHERE suspect = 1")}


# -- draining, placing, trouble ---------------------------------------------------------------------------------


def test_draining_is_kept_per_volume_and_taken_back(ledger: Ledger, volume: int, other: int) -> None:
    assert ledger.volumes.draining() == set()
    ledger.volumes.set_draining(volume, True)
    assert ledger.volumes.draining() == {volume}
    ledger.volumes.volume_id("one", "uuid-1", "/elsewhere")
    assert ledger.volumes.draining() == {volume}, "a volume that is mounted elsewhere is the same"
    ledger.volumes.set_draining(volume, False)
    assert ledger.volumes.draining() == set()


def test_placing_and_trouble_are_told_to_readers(ledger: Ledger, volume: int, other: int) -> None:
    ledger.volumes.set_placing({volume: True, other: False})
    ledger.volumes.set_trouble(other, "failed", "EIO")
    assert on_volume(ledger, volume) == (False, True, "", "")
    assert on_volume(ledger, other) == (False, False, "failed", "EIO")


def test_a_trouble_keeps_the_time_when_it_began(ledger: Ledger, volume: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def since() -> object:
        return select(ledger, "SELECT trouble_ms FROM volumes WHERE id = ?", volume)[0][0]

    for at, word, expected in ((1, "failed", 1), (2, "failed", 1), (3, "missing", 3)):
        monkeypatch.setattr(machine, "now_ms", lambda at=at: at)
        ledger.volumes.set_trouble(volume, word, f"reason {at}")
        assert since() == expected
    assert on_volume(ledger, volume)[3] == "reason 3"


def test_what_lies_on_a_volume_by_state_and_origin(ledger: Ledger, volume: int, other: int) -> None:
    for state in State:
        bring_to(ledger, state.label, state, volume)
    assert stage_dropped(ledger, listed("dropped", 5), volume, 0, "", 0) == ""
    (found, empty) = LedgerReader(ledger).volumes()
    assert (found.held, found.undelivered, found.dropped) == (Tally(3, 25), Tally(2, 15), Tally(1, 5))
    assert empty.held == Tally()


def test_deliveries_are_counted_for_the_volume_they_came_from(ledger: Ledger, volume: int, other: int) -> None:
    group = [bring_to(ledger, "a", State.STAGED, volume), bring_to(ledger, "b", State.STAGED, other)]
    assert ledger.deliveries.commit_delivered([delivered(row) for row in group], [], 0) == []
    found = select(ledger, "SELECT volume, objects, bytes FROM groups WHERE hop = 'destination' ORDER BY volume")
    assert found == [(volume, 1, 10), (other, 1, 10)]


# -- a volume that returned -------------------------------------------------------------------------------------


def test_a_volume_without_trouble_returns_to_nothing(ledger: Ledger, volume: int) -> None:
    bring_to(ledger, "a", State.STAGED, volume)
    assert ledger.losses.returned(volume) == 0
    assert suspects(ledger) == set()


@pytest.mark.parametrize("step", [1, 2, 5000])
def test_what_lies_on_a_returned_volume_is_suspect(
    ledger: Ledger, volume: int, other: int, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(losses, "_STEP", step)
    for name in "abcde":
        bring_to(ledger, name, State.STAGED, volume)
        bring_to(ledger, f"other-{name}", State.STAGED, other)
    bring_to(ledger, "delivered", State.DELIVERED, volume)
    ledger.volumes.set_trouble(volume, "missing", "unplugged")
    assert ledger.losses.returned(volume) == 5
    assert suspects(ledger) == set("abcde")
    assert on_volume(ledger, volume)[2:] == ("", "")
    assert ledger.losses.returned(volume) == 0, "once"


# -- rows and the volume they were read on ----------------------------------------------------------------------


def test_a_row_that_is_on_another_volume_by_now_is_refused(ledger: Ledger, volume: int, other: int) -> None:
    row = bring_to(ledger, "a", State.STAGED, volume)
    elsewhere = row._replace(volume=other)
    assert [item.row for item in ledger.deliveries.commit_delivered([delivered(elsewhere)], [], 0)] == [elsewhere]
    assert not ledger.objects.retry(failure(elsewhere), delay_ms=0, count=True, target=State.PENDING)
    assert not ledger.objects.retry(failure(elsewhere), delay_ms=0, count=True, target=State.STAGED)
    assert row_of(ledger, "a") == row
    assert ledger.deliveries.commit_delivered([delivered(row)], [], 0) == []
    done = row_of(ledger, "a")
    ledger.deliveries.commit_delivered([], [done._replace(volume=other)], 0)
    assert row_of(ledger, "a").state == State.DELIVERED
    ledger.deliveries.commit_delivered([], [done], 0)
    assert row_of(ledger, "a").state == State.RELEASED
