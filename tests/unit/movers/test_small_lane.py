# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lane of small objects: what ends its waits. No wait here ends by its time.

That it carries objects, and what becomes of those that fail, is tested in integration/test_native_mover.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from fake_stores import wait_until
from lane_errands import LaneStore, Told, lane_store

from snowsync.core.model import Head
from snowsync.movers.native import small_lane
from snowsync.movers.native.small_lane import SmallLane
from snowsync.store import multi

pytestmark = pytest.mark.usefixtures("no_proxies")
EVER = 1000.0  # seconds
NAME = "lane under test"

MakeLane = Callable[[int], SmallLane]


@pytest.fixture(autouse=True)
def _endless_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_lane, "_LONGEST_WAIT", EVER)
    monkeypatch.setattr(multi, "_TICK", EVER)


@pytest.fixture
def store() -> Iterator[LaneStore]:
    with lane_store() as running:
        yield running


@pytest.fixture
def lane_of(store: LaneStore) -> Iterator[MakeLane]:
    made: list[SmallLane] = []

    def make(width: int) -> SmallLane:
        made.append(SmallLane(NAME, store.kit, width))
        return made[-1]

    yield make
    for each in made:
        each.close()


def is_waiting(lane: SmallLane) -> bool:
    """Whether the lane's thread waits, and can be woken."""
    return lane._queue._sleeper is not None


def test_new_work_begins_while_all_other_requests_hang(store: LaneStore, lane_of: MakeLane) -> None:
    lane = lane_of(3)
    hanging = [Told(store, "silent-1"), Told(store, "silent-2")]
    for each in hanging:
        lane.submit(each)
    wait_until(lambda: len(store.asked()) == 2 and is_waiting(lane))
    for number in range(5):
        new = Told(store, f"new-{number}")
        lane.submit(new)
        assert isinstance(new.wait(), Head)
        wait_until(lambda: is_waiting(lane))
    lane.close()
    assert [each.wait() for each in hanging] == [None, None]


def test_a_retry_is_not_delayed_by_requests_that_hang(store: LaneStore, lane_of: MakeLane) -> None:
    lane = lane_of(2)
    hanging, busy = Told(store, "silent"), Told(store, "busy")
    for each in (hanging, busy):
        lane.submit(each)
    assert isinstance(busy.wait(), Head)
    assert sorted(store.asked()) == ["busy", "busy", "silent"]


@pytest.mark.parametrize("width", [1, 2], ids=["all connections in use", "one connection idle"])
def test_closing_interrupts_what_is_in_flight(store: LaneStore, lane_of: MakeLane, width: int) -> None:
    lane = lane_of(width)
    hanging = Told(store, "silent")
    lane.submit(hanging)
    wait_until(lambda: len(store.asked()) == 1 and is_waiting(lane))
    lane.close()
    assert hanging.wait() is None
    assert NAME not in [thread.name for thread in threading.enumerate()]
    late = [Told(store, "late-1"), Told(store, "late-2")]
    lane.submit(*late)
    assert [each.wait() for each in late] == [None, None]


def test_work_beyond_the_connections_does_not_wake_the_lane(
    store: LaneStore, lane_of: MakeLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could do nothing with it: each piece of it would cost a turn."""
    woken: list[int] = []
    lane = lane_of(1)
    lane.submit(Told(store, "silent"))
    wait_until(lambda: len(store.asked()) == 1 and is_waiting(lane))
    with monkeypatch.context() as patch:
        patch.setattr(multi.Waker, "wake", lambda waker: woken.append(waker.descriptor))
        lane.submit(Told(store, "queued"))
    assert woken == []


def test_a_lane_whose_multi_handle_fails_is_not_woken_through_it(
    store: LaneStore, lane_of: MakeLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor may be somebody else's by then."""
    lane = lane_of(2)
    could_be_woken: list[bool] = []

    class Failing(Told):
        def _receive(self, result: object) -> None:
            could_be_woken.append(is_waiting(lane))
            super()._receive(result)

    with monkeypatch.context() as patch:
        patch.setattr(multi.Multi, "go_on", lambda *_waiting: 1 / 0)
        failed = Failing(store, "silent")
        lane.submit(failed)
        assert "ZeroDivisionError" in str(failed.wait())
    assert could_be_woken == [False]
    working = Told(store, "new")
    lane.submit(working)
    assert isinstance(working.wait(), Head)


@pytest.mark.parametrize("step", ["begin", "try again"])
def test_no_errand_is_lost_when_a_step_of_its_lane_fails(
    store: LaneStore, lane_of: MakeLane, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    lane = lane_of(1)
    with monkeypatch.context() as patch:
        if step == "begin":
            patch.setattr(multi.Multi, "add", lambda *_handle: 1 / 0)
        else:
            patch.setattr(small_lane, "pause", lambda _attempt: 1 / 0)
        failed = [Told(store, "busy"), Told(store, "queued")]
        lane.submit(*failed)
        assert "ZeroDivisionError" in str(failed[0].wait())
        failed[1].wait()
    working = Told(store, "new")
    lane.submit(working)
    assert isinstance(working.wait(), Head)


MANY_DESCRIPTORS = """
import os, resource, threading, time

resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
while os.open("/dev/null", os.O_RDONLY) < 1100:
    pass

from lane_errands import Told, lane_store
from snowsync.movers.native.small_lane import SmallLane
from snowsync.movers.native.stream_lane import Stream
from snowsync.store import multi

slept, turns, ready = [], [], multi.Sockets.ready
multi.Sockets.ready = lambda *args: turns.append(1) or ready(*args)
with lane_store() as store:
    time.sleep = slept.append
    lane, stream = SmallLane("lane", store.kit, 2), Stream(store.kit, threading.Event())
    for number in range(20):
        errand = Told(store, f"small-{number}")
        lane.submit(errand)
        print(errand.wait().status, stream.perform(lambda: store.request(f"large-{number}")).status)
    lane.close()
    stream.close()
print("slept", slept, "turns", len(turns))
"""


def test_descriptors_beyond_1023_are_waited_for() -> None:
    """select() does not know them: a lane could only sleep and look again."""
    ran = subprocess.run(
        [sys.executable, "-c", MANY_DESCRIPTORS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    *moved, slept = ran.stdout.splitlines()
    assert moved == ["200 200"] * 20
    assert slept.startswith("slept [] turns ")
    assert int(slept.split()[-1]) < 20 * 2 * 20, "it did not wait, but turned all the time"
