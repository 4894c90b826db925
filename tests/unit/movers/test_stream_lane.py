# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stream: one request after the other on its connection, and its end while one is in flight.

What lanes of streams do with large objects is tested in integration/test_native_parts.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from fake_stores import wait_until
from lane_errands import LaneStore, lane_store

from snowsync.core.errors import StoreError
from snowsync.movers.native.stream_lane import Stream, StreamClosed, StreamLane
from snowsync.store.multi import Multi

pytestmark = pytest.mark.usefixtures("no_proxies")


@pytest.fixture
def store() -> Iterator[LaneStore]:
    with lane_store() as running:
        yield running


@pytest.fixture
def stream(store: LaneStore) -> Iterator[Stream]:
    made = Stream(store.kit, threading.Event())
    yield made
    made.close()


def test_requests_share_a_connection_and_are_repeated(store: LaneStore, stream: Stream) -> None:
    for key in ("a", "busy", "b"):
        assert stream.perform(lambda key=key: store.request(key)).status == 200  # type: ignore[misc]  # binds it
    assert store.asked() == ["a", "busy", "busy", "b"]
    assert store.connections() == 1


def test_an_error_of_libcurl_is_the_requests(store: LaneStore, stream: Stream) -> None:
    with pytest.raises(StoreError, match=r"127\.0\.0\.1"):
        stream.perform(lambda: store.request("a", at="http://127.0.0.1:1"))
    assert stream.perform(lambda: store.request("a")).status == 200


@pytest.mark.parametrize("kind", [ZeroDivisionError, OSError])
def test_a_wait_that_fails_costs_the_request_only(
    kind: type[Exception], store: LaneStore, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_waiting: object) -> None:
        raise kind

    with monkeypatch.context() as patch, pytest.raises(kind):
        patch.setattr(Multi, "go_on", fail)
        stream.perform(lambda: store.request("a"))
    assert stream.perform(lambda: store.request("b")).status == 200


def test_closing_a_lane_ends_requests_in_flight(store: LaneStore) -> None:
    lane = StreamLane("lane under test", store.kit, 2)
    ended: list[str] = []

    def step(stream: Stream | None) -> None:
        try:
            assert stream
            stream.perform(lambda: store.request("silent"))
        except StreamClosed:
            ended.append("closed")

    lane.submit(step, step)
    wait_until(lambda: len(store.asked()) == 2)
    lane.close()
    assert ended == ["closed", "closed"]
