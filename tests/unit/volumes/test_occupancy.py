# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sums of what lies on volumes: right in between, and not asked for too often."""

from __future__ import annotations

import threading
import time

import pytest

from snowsync.volumes.occupancy import Occupancy, good_for


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_what_came_while_the_ledger_was_asked_is_counted_and_no_lock_is_held(clock: list[float]) -> None:
    lock = threading.Lock()

    def ask() -> dict[int, int]:
        assert not lock.locked()
        occupancy.add(1, 5000)
        return {1: 4096, 2: 8192}

    occupancy = Occupancy(ask)
    occupancy.add(1, 1)
    assert occupancy.of(1) == 4096
    occupancy.ask(lock)
    assert [occupancy.of(number) for number in (1, 2, 3)] == [4096 + 8192, 8192, 0]
    occupancy.add(3, 4096)
    assert occupancy.of(3) == 4096


def test_the_ledger_is_asked_when_it_is_due_or_when_the_sums_are_doubted(clock: list[float]) -> None:
    asked: list[float] = []

    def ask() -> dict[int, int]:
        asked.append(clock[0])
        clock[0] += 0.01
        return {}

    occupancy, lock = Occupancy(ask), threading.Lock()
    for _look in range(3):
        occupancy.ask(lock)
    assert len(asked) == 1
    clock[0] += 0.2
    occupancy.ask(lock)
    assert len(asked) == 2
    occupancy.expire()
    occupancy.ask(lock)
    assert len(asked) == 3


@pytest.mark.parametrize(("asking", "seconds"), [(0.0, 0.05), (0.01, 0.2), (60.0, 5.0)])
def test_asking_takes_a_twentieth_of_the_time(asking: float, seconds: float) -> None:
    assert good_for(asking) == pytest.approx(seconds)
