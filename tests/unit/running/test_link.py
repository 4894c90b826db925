# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages arrive whole and in order, the newest value of each name, and who posts never waits."""

from __future__ import annotations

import queue
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from snowsync.running.link import Link

LOST = object()


class End:
    """One end, and what arrives there."""

    def __init__(self, channel: socket.socket) -> None:
        self.link = Link(channel)
        self.arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def listen(self) -> None:
        self.link.listen(lambda name, value: self.arrived.put((name, value)), self.arrived.put)

    def next(self) -> Any:
        return self.arrived.get(timeout=60)


@pytest.fixture
def ends() -> Iterator[tuple[End, End]]:
    here, there = socket.socketpair()
    both = End(here), End(there)
    yield both
    for end in both:
        end.link.close(60)


def test_messages_arrive_in_order_both_ways(ends: tuple[End, End]) -> None:
    here, there = ends
    here.listen()
    there.listen()
    for number in range(100):
        here.link.post(f"name-{number}", number)
        there.link.post(f"name-{number}")
    assert [there.next() for _number in range(100)] == [(f"name-{number}", number) for number in range(100)]
    assert [here.next() for _number in range(100)] == [(f"name-{number}", True) for number in range(100)]


def test_who_posts_does_not_wait_for_who_does_not_read(ends: tuple[End, End]) -> None:
    """The newest value of each name arrives in the end, in the order of the newest values."""
    here, there = ends
    here.link.post("long", "x" * 10_000_000)
    for number in range(10_000):
        here.link.post("first", number)
        here.link.post("second", number)
    here.link.post("first", "last")
    there.listen()
    assert there.next()[0] == "long"
    arrived = [there.next()]
    while arrived[-1] != ("first", "last"):
        arrived.append(there.next())
    assert arrived[-2] == ("second", 9999)
    assert len(arrived) < 1000, "what is newer replaces what waits"


def test_any_text_arrives_as_it_was(ends: tuple[End, End]) -> None:
    here, there = ends
    there.listen()
    value = {"text": "two\nlines \u00e4 \udc80 \x00", "none": None, "list": [1, 2.5, True]}
    here.link.post("name", value)
    assert there.next() == ("name", value)


def test_what_was_posted_is_sent_before_the_end_is_closed(ends: tuple[End, End]) -> None:
    here, there = ends
    here.link.post("last", 1)
    here.link.close(60)
    there.listen()
    assert [there.next(), there.next()] == [("last", 1), None]


def test_an_end_that_is_closed_is_no_error_of_who_posts(ends: tuple[End, End]) -> None:
    here, there = ends
    here.listen()
    there.link.close(60)
    assert here.next() is None
    here.link.post("name")
    here.link.close(60)


def test_half_a_message_is_none() -> None:
    """The other process was killed while it wrote."""
    here, there = socket.socketpair()
    end = End(here)
    end.listen()
    there.sendall(b'{"name": 1}\n{"na')
    there.close()
    assert [end.next(), end.next()] == [("name", 1), None]
    end.link.close(60)


def test_what_raises_where_a_message_is_taken_is_told(ends: tuple[End, End]) -> None:
    here, there = ends
    error = RuntimeError("boom")
    lost: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def boom(_name: str, _value: object) -> None:
        raise error

    there.link.listen(boom, lost.put)
    here.link.post("name")
    assert lost.get(timeout=60) is error


def test_what_cannot_be_sent_ends_the_connection_for_both(
    ends: tuple[End, End], caplog: pytest.LogCaptureFixture
) -> None:
    here, there = ends
    here.listen()
    there.listen()
    here.link.post("name", object())
    assert (here.next(), there.next()) == (None, None)
    assert "not JSON serializable" in caplog.text


def test_a_signal_handler_may_post_while_a_message_is_posted(ends: tuple[End, End]) -> None:
    here, there = ends
    there.listen()
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: here.link.post("signal", number))
    try:
        for number in range(200):
            signal.raise_signal(signal.SIGUSR1)
            here.link.post("number", number)
    finally:
        signal.signal(signal.SIGUSR1, before)
    while there.next() != ("number", 199):
        continue
