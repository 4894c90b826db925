# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connections of a lane: no more than it may have, also when that becomes less while it works."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lane_errands import LaneStore, lane_store

from snowsync.movers.native.lane_crew import LaneCrew
from snowsync.store.multi import Waker

pytestmark = pytest.mark.usefixtures("no_proxies")


@pytest.fixture
def store() -> Iterator[LaneStore]:
    with lane_store() as running:
        yield running


@pytest.fixture
def crew(store: LaneStore) -> Iterator[LaneCrew]:
    waker = Waker()
    made = LaneCrew(store.kit, 4, waker)
    yield made
    made.close()
    waker.close()


def begin(store: LaneStore, crew: LaneCrew, *keys: str) -> None:
    for key in keys:
        assert crew.has_idle
        store.request(key).begin(crew.idle())
        crew.begin()


def finish(crew: LaneCrew, count: int) -> None:
    while count > 0:
        crew.multi.go_on(1.0)
        count -= len(crew.finished())


def answered(store: LaneStore, crew: LaneCrew, *keys: str) -> None:
    begin(store, crew, *keys)
    finish(crew, len(keys))


def test_handles_are_made_when_they_are_needed(store: LaneStore, crew: LaneCrew) -> None:
    assert crew.idle() is crew.idle()
    answered(store, crew, "a")
    answered(store, crew, "b")
    assert (store.connections(), len(crew._idle)) == (1, 1)
    answered(store, crew, "c", "d", "e", "f")
    assert (store.connections(), len(crew._idle)) == (4, 4)


def test_a_request_holds_what_it_may_hold_when_it_begins(store: LaneStore, crew: LaneCrew) -> None:
    for most_held in (4096, 1024):
        store.kit.most_held = most_held
        assert crew.idle().most_held == most_held
        answered(store, crew, "a")


def test_no_request_begins_above_the_width(store: LaneStore, crew: LaneCrew) -> None:
    begin(store, crew, "silent-1", "silent-2")
    crew.resize(2)
    assert not crew.has_idle
    crew.resize(3)
    assert crew.has_idle


def test_each_request_that_ends_closes_a_connection_above_the_width(store: LaneStore, crew: LaneCrew) -> None:
    answered(store, crew, "a", "b", "c", "d")
    assert (crew.connections, store.open_connections(4)) == (4, 4)
    crew.resize(1)
    assert crew.connections == 4
    for left in (3, 2, 1, 1):
        answered(store, crew, "e")
        assert (crew.connections, store.open_connections(left)) == (left, left)
    assert store.connections() == 4, "the ones that are kept are used"


def test_all_connections_are_closed_if_nothing_is_in_flight(store: LaneStore, crew: LaneCrew) -> None:
    answered(store, crew, "a", "b", "c", "d")
    crew.rest()
    assert crew.connections == 4
    crew.resize(2)
    crew.rest()
    assert (crew.connections, store.open_connections(0)) == (2, 0)
    answered(store, crew, "e", "f")
    assert store.open_connections(2) == 2


def test_it_grows_while_requests_are_in_flight(store: LaneStore, crew: LaneCrew) -> None:
    begin(store, crew, "silent-1", "silent-2", "silent-3", "silent-4")
    crew.resize(6)
    answered(store, crew, "a", "b")
    assert (store.connections(), crew.connections) == (6, 6)
