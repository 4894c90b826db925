# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HEADs after a fetch: who is asked, and what happens to late answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core.errors import StoreError, Trouble
from snowsync.core.workers import Stop
from snowsync.hops.crew import Crew
from snowsync.hops.source.arrivals import arrival_heads
from snowsync.hops.source.arrivals.arrival_heads import ArrivalHeads
from snowsync.store.request_errors import LATE


class Pool:
    """Endpoints of which some are being probed."""

    def __init__(self, *others: Any) -> None:
        self.others = list(others)
        self.probed: list[Any] = []
        self.picked = threading.Event()

    def pick_to_ask(self) -> Any:
        self.picked.set()
        return self.others[0] if self.others else None

    def is_probed(self, endpoint: Any) -> bool:
        return endpoint in self.probed


class Desk:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, *others: Any) -> None:
        self.pool, self.crew = Pool(*others), Crew("source", Stop())
        self.asked: list[tuple[str, list[str], int, bool]] = []
        self.answers: list[tuple[int, object, str]] = []
        self.aside: list[tuple[list[int], Callable[[], None]]] = []
        self.late: set[str] = set()
        given: Any = self.pool
        self.heads = ArrivalHeads(given, self.crew, 5, self._put_aside)
        monkeypatch.setattr(arrival_heads, "ask_heads", self._ask_heads)

    def _put_aside(self, items: Collection[Any], step: Callable[[], None]) -> None:
        self.aside.append(([item.number for item in items], step))

    def _ask_heads(
        self, client: str, keys: list[str], retries: int, *, is_hurried: bool
    ) -> Iterator[tuple[str, object]]:
        self.asked.append((client, keys, retries, is_hurried))
        for key in keys:
            is_late = is_hurried and key in self.late
            yield key, StoreError(Trouble.TIMEOUT, "look", "late", code=LATE) if is_late else f"head of {key}"

    def ask(self, endpoint: Any, *keys: str) -> None:
        by_key: Any = {key: SimpleNamespace(number=number) for number, key in enumerate(keys)}
        self.heads.ask(endpoint, by_key, self._answered)

    def _answered(self, item: Any, head: object, asked: Any) -> None:
        self.answers.append((item.number, head, asked.url))


def endpoint(url: str, *, is_up: bool = True) -> Any:
    return SimpleNamespace(url=url, is_up=is_up, client=lambda: f"client of {url}")


def test_the_endpoint_that_served_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, endpoint("b"))
    desk.ask(endpoint("a"), "x", "y")
    assert desk.asked == [("client of a", ["x", "y"], 5, True)]
    assert desk.answers == [(0, "head of x", "a"), (1, "head of y", "a")]
    assert desk.aside == []


def test_another_endpoint_is_asked_for_one_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, endpoint("b"))
    desk.ask(endpoint("a", is_up=False), "x")
    assert desk.answers == [(0, "head of x", "b")]


def test_late_answers_are_waited_for_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    desk.late = {"x", "z"}
    desk.ask(endpoint("a"), "x", "y", "z")
    assert desk.answers == [(1, "head of y", "a")]
    ((numbers, step),) = desk.aside
    assert numbers == [0, 2]
    step()
    assert desk.asked[1:] == [("client of a", ["x", "z"], 5, False)]
    assert desk.answers[1:] == [(0, "head of x", "a"), (2, "head of z", "a")]


def test_the_rest_is_asked_again_where_answers_ended_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ask_heads` ends after a timeout."""
    desk = Desk(monkeypatch)
    monkeypatch.setattr(arrival_heads, "ask_heads", lambda _client, keys, *_more, **_options: iter([(keys[0], "head")]))
    desk.ask(endpoint("a"), "x", "y")
    assert desk.answers == [(0, "head", "a"), (1, "head", "a")]


@pytest.mark.parametrize("is_probed", [False, True])
def test_nobody_is_asked_while_no_endpoint_is_known_to_be_healthy(
    monkeypatch: pytest.MonkeyPatch, is_probed: bool
) -> None:
    """Until the unit ends, or one is."""
    down = endpoint("a", is_up=False)
    desk = Desk(monkeypatch)
    if is_probed:
        desk.pool.others = [down]
        desk.pool.probed = [down]
    asking = threading.Thread(target=desk.ask, args=(down, "x"))
    asking.start()
    assert desk.pool.picked.wait(60)
    assert desk.asked == []
    if is_probed:
        desk.pool.probed = []
    else:
        desk.crew.ending.set()
    asking.join(60)
    assert desk.answers == ([(0, "head of x", "a")] if is_probed else [])


def test_a_healthy_endpoint_is_asked_during_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    desk.crew.ending.set()
    desk.ask(endpoint("a"), "x")
    assert desk.answers == [(0, "head of x", "a")]
