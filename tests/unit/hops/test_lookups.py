# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the destination: where, for which objects, and what becomes of those without an answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from hop_items import endpoint_at, item_of

from snowsync.core.errors import StoreError, Trouble
from snowsync.core.model import Head, Headers
from snowsync.hops.destination.proving import lookups
from snowsync.hops.destination.proving.batches import Batch
from snowsync.hops.destination.proving.lookups import Answer, Lookups, in_time
from snowsync.hops.destination.unsent.departures import Departures
from snowsync.hops.pool import EndpointPool
from snowsync.store.request_errors import LATE

HEAD = Head(200, 10, "etag", 0, Headers())


class Bench:
    """`answers`: destination key -> what HEAD says; `asked`: (client, keys, whether in a hurry)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pool = mock.Mock(spec=EndpointPool)
        self.departures = mock.Mock(spec=Departures)
        self.answers: dict[str, Head | StoreError] = {}
        self.listed: dict[str, Head | StoreError] = {}
        self.asked: list[tuple[Any, list[str], bool]] = []
        naming = mock.Mock(destination_key=lambda key: f"to/{key}")
        self.lookups = Lookups(naming, self.pool, self.departures, retries=3)
        monkeypatch.setattr(lookups, "ask_heads", self._ask_heads)
        monkeypatch.setattr(lookups, "found_at", lambda client, store, expected: self.listed)

    def _ask_heads(self, client: Any, keys: list[str], retries: int, *, is_hurried: bool) -> Iterator[Any]:
        assert retries == 3
        self.asked.append((client, keys, is_hurried))
        yield from ((key, self.answers[key]) for key in keys if key in self.answers)

    def left(self) -> list[int]:
        return [call.args[0].row.id for call in self.departures.leave.call_args_list]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_each_object_is_asked_for_where_it_was_sent(bench: Bench) -> None:
    one, two = endpoint_at("http://one.test:1"), endpoint_at("http://two.test:1")
    items = [item_of(1, endpoint=one), item_of(2, endpoint=two), item_of(3, endpoint=one)]
    bench.answers = {f"to/object-{number}": HEAD for number in (1, 2, 3)}
    found = [(item.row.id, endpoint.url) for item, endpoint, _found in bench.lookups.heads(items, is_hurried=False)]
    assert found == [(1, one.url), (3, one.url), (2, two.url)]
    assert bench.asked == [
        (one.client(), ["to/object-1", "to/object-3"], False), (two.client(), ["to/object-2"], False),
    ]  # fmt: skip
    assert bench.left() == []


def test_what_is_not_answered_leaves_the_unit(bench: Bench) -> None:
    endpoint = endpoint_at()
    bench.answers = {"to/object-1": HEAD}
    found = list(bench.lookups.heads([item_of(1, endpoint=endpoint), item_of(2, endpoint=endpoint)]))
    assert [item.row.id for item, _endpoint, _found in found] == [1]
    assert bench.left() == [2]


@pytest.mark.parametrize("other", [None, endpoint_at("http://two.test:1")])
def test_another_endpoint_answers_for_one_that_is_down(bench: Bench, other: Any) -> None:
    bench.pool.pick_to_ask.return_value = other
    bench.answers = {"to/object-1": HEAD}
    found = list(bench.lookups.listed([item_of(1, endpoint=endpoint_at(is_up=False))]))
    assert [endpoint for _item, endpoint, _found in found] == ([other] if other else [])
    assert bench.left() == ([] if other else [1])


def test_only_what_no_listing_shows_is_asked_for_singly(bench: Bench) -> None:
    endpoint = endpoint_at()
    bench.listed = {"to/object-2": HEAD}
    bench.answers = {"to/object-1": StoreError(Trouble.NOT_FOUND, "head", "404")}
    items = [item_of(number, endpoint=endpoint) for number in (1, 2)]
    found = {item.row.id: answer for item, _endpoint, answer in bench.lookups.listed(items)}
    assert found == {2: HEAD, 1: bench.answers["to/object-1"]}
    assert [keys for _client, keys, _hurried in bench.asked] == [["to/object-1"]]
    assert list(bench.lookups.listed([])) == []


@pytest.mark.parametrize("is_late", [False, True])
def test_answers_that_are_late_are_waited_for_apart(is_late: bool) -> None:
    items = [item_of(number) for number in (1, 2, 3)]
    batch = Batch(items, is_large=True, is_doubtful=True, is_late=is_late, outcomes={})
    late = StoreError(Trouble.TIMEOUT, "head", "late", code=LATE)
    answers = [Answer(items[0], items[0].endpoint, HEAD), Answer(items[1], items[1].endpoint, late)]
    answers.append(Answer(items[2], items[2].endpoint, StoreError(Trouble.TIMEOUT, "head", "")))
    put: list[Batch] = []
    conclude = mock.Mock()
    found = list(in_time(batch, iter(answers), conclude, put.append))
    assert [item.row.id for item, _endpoint, _found in found] == [1, 3]
    assert conclude.call_count == (2 if is_late else 0), "the next answer of a late batch may never come"
    (rest,) = put
    assert rest.items == [items[1]]
    assert (rest.is_large, rest.is_doubtful, rest.is_late) == (True, True, True)
    assert rest.outcomes is batch.outcomes


def test_nothing_late_is_put_nowhere() -> None:
    item = item_of()
    put: list[Batch] = []
    assert (
        len(list(in_time(Batch([item], False), iter([Answer(item, item.endpoint, HEAD)]), lambda: None, put.append)))
        == 1
    )
    assert put == []
