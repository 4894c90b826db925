# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a destination unit hands over in a turn: batches, large objects, or a few trials."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from hop_items import DIGEST, item_of

from snowsync.core.model import Send
from snowsync.hops.activity import Activity
from snowsync.hops.destination.sending import Handover, LargeObjects, Sending, SendTurn, Trials
from snowsync.hops.destination.unsent.refusals import PROBES_AT_ONCE

LARGE = 1000  # bytes


def row(number: int, volume: int = 1, size: int = 10) -> Any:
    return SimpleNamespace(id=number, volume=volume, size=size, key=f"object-{number}", generation=1, origin=0)


# -- one batch ----------------------------------------------------------------------------------------------------


class Sent:
    """Sending from the volume 1; `endpoint` is what the pool picks."""

    def __init__(self, endpoint: str | None = "an endpoint") -> None:
        self.put_off: list[int] = []
        self.flown: list[int] = []
        self.sent: list[tuple[list[str], bool]] = []
        naming: Any = SimpleNamespace(staging_path=lambda key, generation, origin: f"{key}~{generation}")
        volume = SimpleNamespace(id=1, staged_path=lambda path: f"staged/{path}")
        volumes: Any = SimpleNamespace(open={1: volume})
        self.pool = pool = SimpleNamespace(pick=lambda avoid: endpoint)
        flight: Any = SimpleNamespace(take=lambda *items: self.flown.extend(item.row.id for item in items))
        setbacks: Any = SimpleNamespace(put_off=lambda row, seconds: self.put_off.append(row.id))
        self.unsent = unsent = SimpleNamespace(past=SimpleNamespace(endpoint_to_avoid=lambda row: ""))
        senders: Any = SimpleNamespace(send=self._send)
        self.sending = Sending(naming, volumes, pool, flight, setbacks, unsent, senders)

    def _send(self, items: list[Any], *, is_large: bool) -> None:
        assert self.flown == [item.row.id for item in items], "in flight before the sender has them"
        self.sent.append(([f"{item.path} to {item.endpoint}" for item in items], is_large))


def test_a_batch_goes_to_the_sender_of_its_volume() -> None:
    sent = Sent()
    sent.sending.send([row(1), row(2)])
    assert sent.sent == [(["staged/object-1~1 to an endpoint", "staged/object-2~1 to an endpoint"], False)]


def test_an_object_avoids_the_endpoint_that_had_its_bytes_wrong() -> None:
    sent = Sent()
    asked: list[str] = []
    sent.pool.pick = lambda avoid: asked.append(avoid) or f"not {avoid}"
    sent.unsent.past.endpoint_to_avoid = lambda row: "two" if row.id == 2 else "one"
    sent.sending.send([row(1), row(2), row(3)])
    assert [path for path, _is_large in sent.sent] == [
        ["staged/object-1~1 to not one", "staged/object-2~1 to not two", "staged/object-3~1 to not one"]
    ]
    assert sorted(asked) == ["one", "two"], "once for a batch: nothing of it is in flight yet"


def test_an_object_with_an_endpoint_of_its_own_is_a_large_one() -> None:
    sent = Sent(None)
    endpoint: Any = "another endpoint"
    sent.sending.send([row(1)], endpoint)
    assert sent.sent == [(["staged/object-1~1 to another endpoint"], True)]


@pytest.mark.parametrize(("endpoint", "volume"), [(None, 1), ("an endpoint", 2)])
def test_what_has_become_unavailable_is_put_off(endpoint: str | None, volume: int) -> None:
    sent = Sent(endpoint)
    sent.sending.send([row(1, volume), row(2, volume)])
    assert (sent.put_off, sent.flown, sent.sent) == ([1, 2], [], [])


# -- to a mover ---------------------------------------------------------------------------------------------------


def test_the_MD5s_of_the_parts_go_along_to_the_mover() -> None:
    handed_over: list[tuple[Any, Send]] = []
    transfers = SimpleNamespace(hand_over=handed_over.extend)
    job: Any = SimpleNamespace(tags="copy", metadata="copy")
    naming: Any = SimpleNamespace(destination_key=lambda key: f"to/{key}")
    pool: Any = SimpleNamespace(transfers=transfers)
    availability: Any = SimpleNamespace(is_served=lambda: False)
    item = item_of(7, path="/staged/7", part_size=5, digest=f"{DIGEST}-2", generation=3)
    md5s = {item.row: b"of two parts"}
    Handover(job, naming, pool, Any, availability, Activity(), part_md5s=md5s.__getitem__).submit([item])  # type: ignore[arg-type]  # nothing is in flight
    ((its_item, work),) = handed_over
    assert its_item is item
    assert (work.key, work.md5, work.digest, work.part_size) == ("to/object-7", "", f"{DIGEST}-2", 5)
    assert (work.generation, work.volume, work.part_md5s) == (3, 1, b"of two parts")


# -- large objects ------------------------------------------------------------------------------------------------


class LargeOnes:
    """Large objects of the volumes 1 and 2."""

    def __init__(self, *rows: Any, lanes: int = 10) -> None:
        self.large = deque(rows)
        self.sent: list[int] = []
        self.checking: set[int] = set()
        self.full: set[int] = set()  # volumes without a stream
        self.changed: set[int] = set()
        self.lanes = lanes
        self.crew: Any = SimpleNamespace(stopping=False)
        queue: Any = SimpleNamespace(backlog=self)
        volumes: Any = SimpleNamespace(open={1: "one", 2: "two"}, stuck=lambda: {2})
        flight: Any = SimpleNamespace(ids_on=lambda volumes: {99} if volumes == {2} else set())
        sending: Any = SimpleNamespace(
            endpoint_for_large=self._endpoint,
            is_checking_large=lambda volume: volume in self.checking,
            send=lambda rows, endpoint: self.sent.extend(row.id for row in rows),
        )
        self.objects = LargeObjects(queue, volumes, flight, self.crew, sending)

    def _endpoint(self, row: Any, held_up: set[int]) -> str | None:
        assert held_up == {99}, "those on a disk that hangs do not count"
        if row.volume in self.full:
            return None
        self.lanes -= 1
        return "an endpoint" if self.lanes >= 0 else None

    def is_as_known(self, row: Any) -> bool:
        return row.id not in self.changed


def test_each_volume_gets_one_large_object_at_a_time() -> None:
    large = LargeOnes(row(1, 1), row(2, 1), row(3, 2))
    assert large.objects.send()
    assert large.sent == [1, 3]
    assert [left.id for left in large.large] == [2]


def test_a_volume_that_still_checks_one_gets_no_other() -> None:
    large = LargeOnes(row(1, 1), row(3, 2))
    large.checking = {1}
    large.objects.send()
    assert large.sent == [3]


def test_without_room_in_the_lane_they_wait() -> None:
    large = LargeOnes(row(1, 1), row(3, 2), lanes=1)
    assert large.objects.send()
    assert not large.objects.send()
    assert (large.sent, len(large.large)) == ([1], 1)


def test_a_volume_without_room_holds_up_no_other() -> None:
    large = LargeOnes(row(1, 1), row(2, 1), row(3, 2))
    large.full = {1}
    assert large.objects.send()
    assert (large.sent, [left.id for left in large.large]) == ([3], [1, 2])


def test_one_that_changed_meanwhile_makes_way_for_the_next() -> None:
    large = LargeOnes(row(1, 1), row(2, 1))
    large.changed = {1}
    assert large.objects.send()
    assert (large.sent, len(large.large)) == ([2], 0)


def test_after_a_stop_none_is_sent() -> None:
    large = LargeOnes(row(1, 1))
    large.crew.stopping = True
    assert not large.objects.send()
    assert len(large.large) == 1


# -- trials -------------------------------------------------------------------------------------------------------


class Tried:
    """Trials of the rows 1 and 2, of which the second is large."""

    def __init__(self, *, everything: bool = True, may_try: bool = True, flight: Any = ()) -> None:
        self.activity = Activity()
        self.sent: list[tuple[int, str | None]] = []
        self.picked: list[int] = []
        queue: Any = SimpleNamespace(pick_some=self._pick)
        refusals: Any = SimpleNamespace(everything=everything, message="no", may_try=lambda now: may_try)
        sending: Any = SimpleNamespace(
            endpoint_for_large=lambda row: "for large",
            send=lambda rows, endpoint: self.sent.append((rows[0].id, endpoint)),
        )
        self.trials = Trials(queue, refusals, flight, sending, self.activity, is_large=lambda size: size >= LARGE)

    def _pick(self, count: int) -> list[Any]:
        self.picked.append(count)
        return [row(1), row(2, size=LARGE)]


def test_a_few_objects_are_tried_each_alone() -> None:
    tried = Tried()
    assert tried.trials.send()
    assert (tried.picked, tried.sent) == ([PROBES_AT_ONCE], [(1, None), (2, "for large")])
    assert tried.activity.status == "the destination refuses all uploads: no"


@pytest.mark.parametrize("more", [{"may_try": False}, {"flight": ["x"]}])
def test_the_next_trial_waits_for_its_time_and_for_the_last_one(more: dict[str, Any]) -> None:
    tried = Tried(**more)
    assert not tried.trials.send()
    assert tried.picked == []


def test_a_store_that_serves_nothing_is_not_said_to_refuse_everything() -> None:
    tried = Tried(everything=False)
    tried.trials.send()
    assert tried.activity.status == "starting"


# -- a turn -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("any_up", "everything", "serves_nothing", "large", "batches", "seen", "sent"),
    [
        (False, False, False, True, 1, ["outage"], False),
        (True, True, False, True, 1, ["trials"], True),
        (True, False, True, True, 1, ["trials"], True),
        (True, False, False, True, 2, ["filled", "large", "batch", "batch"], True),
        (True, False, False, True, 0, ["filled", "large"], True),
        (True, False, False, False, 1, ["filled", "large", "batch"], True),
        (True, False, False, False, 0, ["filled", "large"], False),
    ],
)
def test_what_a_turn_hands_over(
    any_up: bool, everything: bool, serves_nothing: bool, large: bool, batches: int, seen: list[str], sent: bool
) -> None:
    found: list[str] = []

    def saw(what: str, result: bool = True) -> Any:
        return lambda *_arguments: bool(found.append(what)) or result

    pool: Any = SimpleNamespace(any_up=any_up, serves_nothing=serves_nothing)
    availability: Any = SimpleNamespace(outage=saw("outage"))
    refusals: Any = SimpleNamespace(everything=everything)
    queue: Any = SimpleNamespace(fill=saw("filled"), batches=lambda: iter([["a row"]] * batches))
    trials: Any = SimpleNamespace(send=saw("trials"))
    large_objects: Any = SimpleNamespace(send=saw("large", large))
    sending: Any = SimpleNamespace(send=saw("batch"))
    turn = SendTurn(pool, availability, refusals, queue, trials, large_objects, sending)
    assert turn.take() is sent
    assert found == seen
