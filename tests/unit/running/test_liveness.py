# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is progress, and what is a hang; the whole under systemd: test_service.py."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core import workers
from snowsync.core.workers import Doing, Look
from snowsync.hops.counters import Counters
from snowsync.running import liveness as liveness_module
from snowsync.running.liveness import Liveness

START = 1000.0


@pytest.fixture
def liveness(monkeypatch: pytest.MonkeyPatch) -> Liveness:
    monkeypatch.setattr(time, "monotonic", lambda: START)
    monkeypatch.setattr(liveness_module, "traffic_of", lambda _pid: (0, 0))
    monkeypatch.setattr(workers, "looks", lambda _now: [])
    return Liveness()


def unit(heartbeat: float = START, stall_seconds: float = 10.0) -> Any:
    return SimpleNamespace(
        counters=Counters(),
        activity=SimpleNamespace(heartbeat=heartbeat, has_ended=False),
        job=SimpleNamespace(mover=SimpleNamespace(stall_seconds=stall_seconds)),
        endpoints=SimpleNamespace(transfers=SimpleNamespace(traffic=lambda: 0)),
    )


def test_a_feeder_that_turned_lately_is_progress(liveness: Liveness) -> None:
    one = unit()
    for now in (START + 5, START + 500, START + 5000):
        one.activity.heartbeat = now - 9.9
        assert liveness.is_alive([one], now)


def test_without_progress_for_long_enough_it_hangs(liveness: Liveness) -> None:
    one = unit()
    assert liveness.is_alive([one], START + 20), "the first look is news"
    assert liveness.is_alive([one], START + 20 + 89)
    assert not liveness.is_alive([one], START + 20 + 90)
    one.counters.moved.add(1, 1)
    assert liveness.is_alive([one], START + 200)
    assert liveness.is_alive([one], START + 289)
    one.activity.has_ended = True
    assert liveness.is_alive([one], START + 10_000), "it is not waited for"


def test_a_mover_may_take_twice_the_time_in_which_it_ends_what_is_stuck(liveness: Liveness) -> None:
    one = unit(stall_seconds=100.0)
    assert liveness.is_alive([one], START + 20)
    assert liveness.is_alive([one], START + 20 + 199)
    assert not liveness.is_alive([one], START + 20 + 200)


def test_a_worker_that_stands_still_is_logged_once(
    liveness: Liveness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = [Look("source-finisher-0", Doing.WORKS, 200.0)]
    monkeypatch.setattr(workers, "looks", lambda _now: looks)
    for _turn in range(3):
        assert not liveness.is_alive([unit()], START)
    assert caplog.text.count("source-finisher-0 has made no progress for 200 s") == 1
    looks.clear()
    assert liveness.is_alive([unit()], START)
    looks.append(Look("source-finisher-0", Doing.WORKS, 300.0))
    assert not liveness.is_alive([unit()], START)
    assert caplog.text.count("source-finisher-0 has made no progress") == 2, "it hangs anew"
