# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lanes of a mover for small objects: their widths change while they work."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from fake_stores import wait_until
from lane_errands import LaneStore, Told, lane_store

from snowsync.core.model import Head
from snowsync.movers.native import small_lane
from snowsync.movers.native.held_bytes import held_by_each
from snowsync.movers.native.small_lanes import LaneCalls, SmallLanes
from snowsync.store import multi
from snowsync.store.width import Width

pytestmark = pytest.mark.usefixtures("no_proxies")
EVER = 1000.0  # seconds


@pytest.fixture(autouse=True)
def _endless_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_lane, "_LONGEST_WAIT", EVER)
    monkeypatch.setattr(multi, "_TICK", EVER)


@pytest.fixture
def store() -> Iterator[LaneStore]:
    with lane_store() as running:
        yield running


def silent(store: LaneStore, lanes: SmallLanes, volume: int, count: int) -> list[Told]:
    told = [Told(store, f"silent-{volume}-{number}") for number in range(count)]
    for each in told:
        lanes.submit(volume, each)
    return told


class Counted(Width):
    """Notes what ended."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.counted: list[tuple[int, int]] = []

    def ended(self, count: int, now: float, *, is_full: bool, size: int = 0) -> bool:
        self.counted.append((count, size))
        return super().ended(count, now, is_full=is_full, size=size)


@pytest.fixture
def lanes(store: LaneStore) -> Iterator[SmallLanes]:
    made = SmallLanes("lane", store.kit, (2, 2), None, 100, LaneCalls())
    yield made
    made.close()


def test_a_lane_begins_more_when_it_may(store: LaneStore, lanes: SmallLanes) -> None:
    silent(store, lanes, 1, 1)
    wait_until(lambda: len(store.asked()) == 1)
    fits = threading.Event()
    lanes.set_widths((6, 1), (1,), fits.set)
    silent(store, lanes, 1, 9)
    wait_until(lambda: len(store.asked()) == 6)
    assert fits.wait(100)


def test_the_more_may_be_in_flight_the_less_does_each_request_hold(store: LaneStore, lanes: SmallLanes) -> None:
    for widths in ((16, 16), (100, 100), (2, 2)):
        lanes.set_widths(widths, (), lambda: None)
        assert store.kit.most_held == held_by_each(sum(widths))
    follows = SmallLanes("lane", store.kit, (1, 1), Width(64, 64), 100, LaneCalls())
    assert store.kit.most_held == held_by_each(64), "from the beginning"
    follows.close()


def test_objects_count_with_their_bytes(store: LaneStore) -> None:
    width = Counted()
    lanes = SmallLanes("lane", store.kit, (2, 2), width, 100, LaneCalls())
    told = Told(store, "a")
    told.size = 1234
    lanes.submit(1, told)
    told.wait()
    assert width.counted == [(1, 1234)]
    failed = Told(store, "b")
    failed.size, failed.make = 1234, lambda: 1 / 0  # type: ignore[assignment, return-value]
    hanging = Told(store, "silent")
    hanging.size = 1234
    lanes.submit(1, failed, hanging)
    failed.wait()
    lanes.close()
    assert width.counted[1:] == [(1, 0), (1, 0)], "nothing was moved"


def test_lanes_that_rest_close_what_is_too_much(store: LaneStore, lanes: SmallLanes) -> None:
    for key in ("a", "b", "c", "d"):
        told = [Told(store, key) for _number in range(2)]
        for each in told:
            lanes.submit(1, each)
        assert all(isinstance(each.wait(), Head) for each in told)
    fits = threading.Event()
    lanes.set_widths((1, 1), (1,), fits.set)
    assert fits.wait(100)
    assert store.open_connections(0) in (0, 1)


def test_all_lanes_must_fit(store: LaneStore, lanes: SmallLanes) -> None:
    for volume in (1, 2):
        silent(store, lanes, volume, 2)
    wait_until(lambda: len(store.asked()) == 4)
    fits = threading.Event()
    lanes.set_widths((2, 1), (1, 2), fits.set)
    assert not fits.wait(0.05), "two requests of the second lane are in flight"
    lanes.set_widths((3, 2), (1, 2), fits.set)
    assert fits.wait(100)


def test_lanes_without_work_fit_at_once(lanes: SmallLanes) -> None:
    fits = threading.Event()
    lanes.set_widths((1, 1), (), fits.set)
    assert fits.is_set()


def test_volumes_have_the_lanes_that_the_order_decides_about(store: LaneStore, lanes: SmallLanes) -> None:
    lanes.set_widths((3, 1), (7, 8, 9), lambda: None)
    silent(store, lanes, 8, 3)
    silent(store, lanes, 9, 5)
    wait_until(lambda: len(store.asked()) == 4)
    assert sorted(key.split("-")[1] for key in store.asked()) == ["8", "9", "9", "9"]


def test_an_idle_volume_lends_its_share_and_gets_it_back(store: LaneStore) -> None:
    lanes = SmallLanes("lane", store.kit, (2, 2), Width(4, 4), 100, LaneCalls())
    silent(store, lanes, 1, 9)
    wait_until(lambda: len(store.asked()) == 2)
    told = Told(store, "b")
    lanes.submit(2, told)
    assert isinstance(told.wait(), Head)  # the lanes are looked at when it ends
    wait_until(lambda: len(store.asked()) == 1 + 3)
    lanes.close()


def test_a_refusal_halves_the_width_even_if_the_request_is_tried_again(store: LaneStore) -> None:
    width = Width(8, 8)
    lanes = SmallLanes("lane", store.kit, (4, 4), width, 100, LaneCalls())
    told = Told(store, "busy")
    lanes.submit(1, told)
    assert isinstance(told.wait(), Head)
    assert width.now == 4
    lanes.close()


def test_who_counts_itself_is_told_of_refusals(store: LaneStore) -> None:
    slow: list[str] = []
    lanes = SmallLanes("lane", store.kit, (1,), None, 100, LaneCalls(on_slow=lambda: slow.append("slow")))
    told = Told(store, "busy")
    lanes.submit(1, told)
    assert isinstance(told.wait(), Head)
    assert slow == ["slow"]
    lanes.close()
