# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process of the destination unit, here in a thread: what it is told, and what it tells. Real ones: faults."""

from __future__ import annotations

import queue
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_stores import Rig, wait_until

from snowsync.core.errors import LocalError, Trouble
from snowsync.hops.destination.sending import SendTurn
from snowsync.running import destination_process
from snowsync.running import link as messages
from snowsync.running.destination_process import run_destination
from snowsync.running.error_messages import from_message
from snowsync.running.link import Link
from snowsync.running.summary import UnitEnd


class Other:
    """The process of the source unit."""

    def __init__(self, rig: Rig) -> None:
        here, there = socket.socketpair()
        self.heard: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.thread = threading.Thread(target=run_destination, args=(rig.job, "drained", there), daemon=True)
        self.thread.start()
        self.link = Link(here)
        self.link.listen(lambda name, value: self.heard.put((name, value)), lambda _error: self.heard.put(("", None)))

    def hear(self, wanted: str) -> Any:
        """The value of the next message of this name."""
        while True:
            name, value = self.heard.get(timeout=120)
            if name == wanted:
                return value
            assert name, f"it ended without {wanted!r}"


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[int], None]]:
    """What a signal would call; the tests keep theirs."""
    taken: list[Callable[[int], None]] = []
    monkeypatch.setattr(destination_process, "on_stop_signals", taken.append)
    monkeypatch.setattr(destination_process, "release_signals", lambda: None)
    return taken


@pytest.fixture
def other(rig: Rig, stop: list[Callable[[int], None]]) -> Iterator[Other]:
    for number in range(3):
        rig.source.put(f"object-{number}", b"x" * 10)
    rig.run(direction="source")
    made = Other(rig)
    yield made
    made.link.post("stop")
    made.thread.join(60)
    made.link.close(60)
    assert not made.thread.is_alive()


def test_it_begins_when_it_is_told_to_and_ends_when_the_source_unit_has(rig: Rig, other: Other) -> None:
    wait_until(lambda: [thread.name for thread in threading.enumerate()].count("link-reader") == 2)
    assert rig.destination.objects == {}, "it waits for the word"
    other.link.post(messages.GO)
    wait_until(lambda: len(rig.destination.objects) == 3)
    shown = other.hear(messages.SHOWN)
    assert shown["unit"]["name"] == "destination" and shown["is_alive"] and shown["slow_disks"] == []
    assert other.thread.is_alive(), "the source unit has not ended"
    other.link.post("source_done")
    end = UnitEnd.from_json(other.hear(messages.END))
    assert (end.unit, end.moved.objects, end.moved.bytes, end.is_complete) == ("destination", 3, 30, True)
    assert end.released == {"objects": 3, "bytes": 30}


def test_space_is_told(other: Other) -> None:
    other.link.post(messages.GO)
    assert other.hear("space") is True


def test_it_says_what_it_was_doing_when_the_time_was_over(rig: Rig, other: Other) -> None:
    rig.destination.answers_at = lambda _url: False
    other.link.post(messages.GO)
    while not other.hear(messages.SHOWN)["unit"]["status"].startswith("waiting for the destination"):
        continue
    other.link.post(messages.DEADLINE)
    other.link.post("stop")
    end = UnitEnd.from_json(other.hear(messages.END))
    assert end.waiting_for.startswith("waiting for the destination: ") and not end.is_complete


@pytest.mark.parametrize("how", ["stop", "lost"])
def test_one_that_is_not_wanted_does_not_begin(rig: Rig, other: Other, how: str) -> None:
    if how == "stop":
        other.link.post("stop")
        assert not UnitEnd.from_json(other.hear(messages.END)).is_complete
    else:
        other.link.close(60)
    other.thread.join(60)
    assert not other.thread.is_alive() and rig.destination.objects == {}


def test_a_signal_stops_it_and_is_told(other: Other, stop: list[Callable[[int], None]]) -> None:
    other.link.post(messages.GO)
    wait_until(lambda: bool(stop))
    stop[0](signal.SIGTERM)
    assert other.hear(messages.SIGNAL) == signal.SIGTERM
    assert other.hear("stop") is True
    assert other.hear(messages.END)


def test_its_error_is_told(rig: Rig, other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    def boom(_self: SendTurn) -> bool:
        raise LocalError(Trouble.IO, "read", "it is broken")

    monkeypatch.setattr(SendTurn, "take", boom)
    other.link.post(messages.GO)
    error = from_message(other.hear(messages.ERROR))
    assert isinstance(error, LocalError) and str(error) == "Failed to read: it is broken"


def test_a_unit_that_cannot_be_made_is_told(rig: Rig, stop: list[Callable[[int], None]]) -> None:
    rig.source.put("a", b"x")
    rig.run(direction="source")
    job = rig.job
    Path(str(rig.folder / "credentials")).unlink()
    here, there = socket.socketpair()
    heard: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    link = Link(here)
    link.listen(lambda name, value: heard.put((name, value)), lambda _error: None)
    run_destination(job, "drained", there)
    name, value = heard.get(timeout=60)
    assert name == messages.ERROR and value["kind"] == "ConfigError"
    link.close(60)
