# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which object a source unit fetches next, and until when it hands over more."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.hops.activity import Activity
from snowsync.hops.source import placing
from snowsync.hops.source.placing import FetchQueue, Placing

LIMIT = 10  # rows at once


def row(number: int) -> Any:
    return SimpleNamespace(id=number, size=100, key=f"object-{number}")


class Backlog:
    """As hops/backlog.py's."""

    def __init__(self, small: int = 0, large: int = 0) -> None:
        self.small: deque[Any] = deque(row(number) for number in range(small))
        self.large: deque[Any] = deque(row(100 + number) for number in range(large))
        self.filled: list[int] = []
        self.is_current = True

    def __bool__(self) -> bool:
        return bool(self.small or self.large)

    def has_large(self) -> bool:
        return self.is_current

    def waiting(self) -> deque[Any]:
        return self.small

    def run_of(self, volume: int, is_apart: Any) -> deque[Any]:
        return deque([row(volume * 1000)])

    def fill(self, limit: int) -> None:
        self.filled.append(limit)


class Queue:
    """A queue in front of a source with one endpoint; `outages`: how often it was said to be down."""

    def __init__(self, backlog: Backlog, in_flight: int = 0, held_up: int = 0) -> None:
        self.activity = Activity()
        self.outages = 0
        self.busy: set[str] = set()  # lanes without room
        self.any_up = True
        flight: Any = Flight(in_flight, held_up)
        self.noted: set[int] = set()
        fetching: Any = SimpleNamespace(
            endpoint_to_avoid=lambda row: f"not for {row.id}", has_any=lambda row: row.id in self.noted
        )
        volumes: Any = SimpleNamespace(stuck=lambda: {9}, open={1: "one", 9: "nine"})
        self.full: set[int] = set()  # volumes without a stream
        availability: Any = SimpleNamespace(outage=self._outage)
        pool: Any = self
        given: Any = backlog
        self.queue = FetchQueue(given, pool, fetching, volumes, flight, availability, self.activity, limit=LIMIT)

    def _outage(self) -> None:
        self.outages += 1

    def pick(self, avoid: str) -> Any:
        return None if "small" in self.busy or not self.any_up else avoid

    def pick_for_large(self, volumes: Any, avoid: str, *, held_up: Any) -> Any:
        assert volumes == [1], "one whose disk hangs takes nothing"
        return None if "large" in self.busy or not self.any_up else avoid

    def full_volumes(self, endpoint: Any, volumes: Any) -> set[int]:
        return self.full & set(volumes)


class Flight:
    def __init__(self, count: int, held_up: int) -> None:
        self.count, self.held_up = count, held_up

    def __len__(self) -> int:
        return self.count

    def ids_on(self, volumes: set[int]) -> set[int]:
        assert volumes == {9}
        return set(range(self.held_up))


def test_large_objects_go_first_while_their_lane_has_room() -> None:
    backlog = Backlog(small=1, large=1)
    rows, endpoint = Queue(backlog).queue.next()
    assert (rows[0].id, endpoint) == (100, "not for 100")


def test_a_full_lane_of_large_objects_does_not_delay_small_ones() -> None:
    queue = Queue(Backlog(small=1, large=1))
    queue.busy = {"large"}
    assert queue.queue.next()[1] == "not for 0"


def test_a_large_object_that_waits_for_its_volume_does_not_delay_small_ones() -> None:
    backlog = Backlog(small=1, large=1)
    queue = Queue(backlog)
    assert queue.queue.next(large_waits=True)[1] == "not for 0"
    queue.full = {1, 2}
    assert queue.queue.full_volumes(backlog.large, "an endpoint") == {1}  # type: ignore[arg-type]  # it is passed on
    assert queue.queue.full_volumes(backlog.small, "an endpoint") == set()  # type: ignore[arg-type]


def test_a_large_object_that_changed_is_passed_over() -> None:
    backlog = Backlog(small=1, large=1)
    backlog.is_current = False
    assert Queue(backlog).queue.next()[1] == "not for 0"


@pytest.mark.parametrize(("any_up", "outages"), [(True, 0), (False, 1)])
def test_without_an_endpoint_it_waits_and_tells_an_outage_only(any_up: bool, outages: int) -> None:
    queue = Queue(Backlog(large=1))
    queue.any_up, queue.busy = any_up, {"large"}
    assert queue.queue.next()[1] is None
    assert queue.outages == outages


@pytest.mark.parametrize(
    ("in_flight", "held_up", "filled"), [(4 * LIMIT, 0, True), (4 * LIMIT + 1, 0, False), (4 * LIMIT + 1, 1, True)]
)
def test_nothing_is_read_while_too_much_waits_to_be_verified(in_flight: int, held_up: int, filled: bool) -> None:
    """Objects on a disk that hangs delay nothing."""
    backlog = Backlog()
    queue = Queue(backlog, in_flight, held_up)
    queue.queue.read_on()
    assert bool(backlog.filled) is filled
    assert queue.activity.status == ("starting" if filled else f"verifying {in_flight} objects")


@pytest.mark.parametrize(("small", "in_flight", "active"), [(0, 0, False), (1, 0, True), (0, 1, True)])
def test_what_waits_or_is_in_flight_is_active(small: int, in_flight: int, active: bool) -> None:
    assert Queue(Backlog(small), in_flight).queue.is_active() is active


def test_a_volume_goes_on_with_its_own_run() -> None:
    backlog = Backlog(small=2, large=1)
    queue = Queue(backlog)
    run, most = queue.queue.of_volume(3, backlog.small)
    assert ([row.id for row in run], most) == ([3000], 1)
    assert queue.queue.of_volume(3, backlog.large) == (backlog.large, 1)
    queue.noted = {0}
    rows, most = queue.queue.of_volume(3, backlog.small)
    assert (rows is backlog.small, most) == (True, 1), "its volume and endpoint were chosen for itself"


# -- placing ------------------------------------------------------------------------------------------------------


class Rows:
    """As a FetchQueue of `count` objects."""

    def __init__(self, count: int) -> None:
        self.rows = deque(row(number) for number in range(count))
        self.endpoint: str | None = "an endpoint"
        self.run: deque[Any] | None = None  # of the chosen volume, if it has one
        self.full: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self.rows)

    def next(self, *, large_waits: bool = False) -> tuple[deque[Any], Any]:
        if large_waits:
            self.full = set()
        return self.rows, self.endpoint

    def full_volumes(self, rows: deque[Any], endpoint: Any) -> set[int]:
        return self.full

    def of_volume(self, volume: int, rows: deque[Any]) -> tuple[deque[Any], int]:
        assert rows is self.rows
        return (self.rows, 1) if self.run is None else (self.run, placing._AT_ONCE)


class Place:
    """Placing on the volume 1, which is there, and 2, which is not."""

    def __init__(self, count: int, chosen: int | None = 1) -> None:
        self.rows = Rows(count)
        self.expected: list[int] = []
        self.space = SimpleNamespace(id=1, inflow=SimpleNamespace(window=None), expect=self.expected.append)
        self.submitted: list[int] = []
        self.together: list[int] = []  # how many each time
        self.settled: list[int] = []
        self.seen = 0
        self.room = [True] * 100
        volumes: Any = SimpleNamespace(
            open={1: SimpleNamespace(id=1, incoming_path=lambda number: f"incoming/{number}")},
            spaces=lambda lock: [self.space],
        )
        queue: Any = self.rows
        self.crew: Any = SimpleNamespace(stopping=False)
        self.taken: set[int] = {0, 1, 2}  # objects that fit on the volume that was chosen for others
        self.chosen: dict[int, int | None] = {}  # by object, in place of `chosen`
        choice: Any = SimpleNamespace(
            choose=lambda row, spaces, full=(): None if 1 in full else self.chosen.get(row.id, chosen),
            takes=lambda row, space: space.id == chosen and row.id in self.taken,
        )
        handover: Any = SimpleNamespace(has_room=lambda endpoint, size, volume: self.room.pop(0), submit=self._submit)
        shortage: Any = SimpleNamespace(is_settled=self._settle)
        full: Any = SimpleNamespace(has_placed=lambda: None)
        flight: Any = SimpleNamespace(lock=None)
        self.placing = Placing(queue, volumes, flight, self.crew, choice, handover, shortage, full)

    def _submit(self, items: Any) -> None:
        assert [item.path for item in items] == [f"incoming/{item.row.id}" for item in items]
        self.submitted += [item.row.id for item in items]
        self.together.append(len(items))

    def _settle(self, rows: deque[Any], spaces: Any) -> bool:
        self.settled.append(rows[0].id)
        return False


def test_everything_is_placed_in_order() -> None:
    place = Place(3)
    assert place.placing.place()
    assert place.submitted == [0, 1, 2]


def test_nothing_is_placed_without_rows_or_an_endpoint_or_after_a_stop() -> None:
    empty, down, stopped = Place(0), Place(3), Place(3)
    down.rows.endpoint = None
    stopped.crew.stopping = True
    assert [empty.placing.place(), down.placing.place(), stopped.placing.place()] == [False, False, True]
    assert empty.submitted == down.submitted == stopped.submitted == []


@pytest.mark.parametrize("chosen", [None, 2])
def test_an_object_without_a_volume_is_a_shortage(chosen: int | None) -> None:
    place = Place(3, chosen)
    assert not place.placing.place()
    assert (place.settled, place.submitted) == ([0], [])


def test_what_waits_for_a_stream_is_no_shortage() -> None:
    place = Place(1)
    place.rows.full = {1}
    assert place.placing.place()
    assert (place.settled, place.submitted) == ([], [0]), "the queue has something else meanwhile"


def test_a_volume_whose_lane_is_full_gets_no_more_in_this_turn() -> None:
    place = Place(3)
    place.room = [True, False, True, True]
    place.placing.place()
    assert place.space.inflow.window == 0, "the next choice takes another volume, if there is one"


def test_the_next_of_its_run_goes_to_a_volume() -> None:
    place = Place(3)
    place.rows.run = deque(row(number) for number in (2, 1))
    assert place.placing.place(), "then more rows are read"
    assert (place.submitted, len(place.rows.rows)) == ([2, 1], 3)
    assert (place.together, place.expected) == ([2], [100, 100])


def test_as_much_of_a_run_goes_together_as_the_volume_takes() -> None:
    place = Place(3)
    place.rows.run = deque(row(number) for number in (2, 1, 50))
    place.chosen = {50: None}
    assert not place.placing.place()
    assert (place.submitted, place.together, place.settled) == ([2, 1], [2], [50])


@pytest.mark.parametrize(("waiting", "most"), [(3, 1), (40, 11), (4 * placing._AT_ONCE, placing._AT_ONCE)])
def test_few_objects_are_shared_out_among_volumes(waiting: int, most: int) -> None:
    backlog = Backlog(small=1)
    backlog.run_of = lambda volume, is_apart: deque(row(number) for number in range(waiting))  # type: ignore[method-assign]
    assert Queue(backlog).queue.of_volume(3, backlog.small)[1] == most


@pytest.mark.parametrize(("size", "together"), [(100, [placing._AT_ONCE, 8]), (1 << 19, [2] * 20), (1 << 20, [1] * 40)])
def test_only_what_is_small_together_goes_together(size: int, together: list[int]) -> None:
    """What is on its way to a volume decides about each group."""
    place = Place(1)
    place.taken = set(range(40))
    place.rows.run = deque(SimpleNamespace(id=number, size=size) for number in range(40))
    assert place.placing.place()
    assert (place.submitted, place.together) == (list(range(40)), together)


@pytest.mark.parametrize("chosen", [1, None])
def test_what_does_not_fit_there_goes_elsewhere_or_waits(chosen: int | None) -> None:
    place = Place(3)
    place.rows.run = deque([row(50)])
    place.chosen = {50: chosen}
    assert place.placing.place() is (chosen is not None)
    assert (place.submitted, place.settled) == (([50], []) if chosen else ([], [50]))
