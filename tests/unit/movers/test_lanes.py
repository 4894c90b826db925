# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The threads of a lane."""

from __future__ import annotations

import threading
import time

import pytest
from fake_stores import wait_until

from snowsync.movers.native import lanes
from snowsync.movers.native.lanes import LaneThreads


def test_threads_start_with_the_first_work_and_only_once() -> None:
    ended = threading.Event()
    names: list[str] = []

    def serve() -> None:
        names.append(threading.current_thread().name)
        ended.wait(100)

    threads = LaneThreads(3, serve, "lane", lambda _error: None, disk=7)
    assert threads.started == 0
    submitters = [threading.Thread(target=threads.start) for _number in range(8)]
    for each in submitters:
        each.start()
    for each in submitters:
        each.join(100)
    wait_until(lambda: len(names) == 3)
    assert threads.started == 3
    assert names == ["lane"] * 3
    ended.set()
    threads.join()


def test_a_thread_that_raises_tells_why() -> None:
    errors: list[BaseException] = []

    def serve() -> None:
        raise ValueError("boom")

    threads = LaneThreads(1, serve, "lane", errors.append, disk=0)
    threads.start()
    threads.join()
    assert [str(error) for error in errors] == ["boom"]
    threads.start()
    assert threads.started == 1, "a lane that failed is not revived"


def test_the_end_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "GRACE_SECONDS", 0.05)
    ended = threading.Event()
    threads = LaneThreads(4, lambda: ended.wait(100) and None, "lane", lambda _error: None, disk=0)
    threads.start()
    before = time.monotonic()
    threads.join()
    assert time.monotonic() - before < 50
    ended.set()


def test_a_lane_can_be_closed_by_one_of_its_own_threads() -> None:
    errors: list[BaseException] = []
    made: list[LaneThreads] = []

    def close() -> None:
        made[0].join()

    made.append(LaneThreads(1, close, "lane", errors.append, disk=0))
    made[0].start()
    made[0].join()
    assert errors == []
