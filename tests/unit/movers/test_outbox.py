# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hand says: outcomes in frames of several, and how it is doing while it has work."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from snowsync.movers.hands import outbox as outbox_module
from snowsync.movers.hands.channel import Message
from snowsync.movers.hands.messages import LOG
from snowsync.movers.hands.outbox import Outbox, ParentLog


class Parent:
    """Takes frames until it has seen `last`, then is gone."""

    def __init__(self, *, busy: list[bool]) -> None:
        self.frames: list[list[Message]] = []
        self.busy = busy
        self.has_some = threading.Event()
        channel: Any = self
        self.outbox = Outbox(channel, beat=lambda: ("beat",), is_busy=self._is_busy)

    def _is_busy(self) -> bool:
        return self.busy.pop(0) if len(self.busy) > 1 else self.busy[0]

    def send(self, messages: list[Message]) -> None:
        self.frames.append(messages)
        if ("last",) in messages:
            raise BrokenPipeError

    def run(self) -> list[Message]:
        with pytest.raises(BrokenPipeError):
            self.outbox.run()
        return [message for frame in self.frames for message in frame]


def test_what_is_told_together_goes_together() -> None:
    parent = Parent(busy=[False])
    for number in range(10):
        parent.outbox.add(("sent", number))
    parent.outbox.add(("last",))
    assert parent.run()[:10] == [("sent", number) for number in range(10)]
    assert len(parent.frames) == 1


def test_a_hand_that_has_work_beats_and_once_more_when_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "_BEAT_SECONDS", 0.0)
    parent = Parent(busy=[True, True, False])
    timer = threading.Timer(0.2, lambda: parent.outbox.add(("last",)))
    timer.start()
    parent.outbox.wake()
    said = parent.run()
    timer.join()
    assert said.count(("beat",)) >= 3


def test_work_that_is_done_at_once_is_followed_by_a_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes while nothing is said, and is done after the beat that names it."""
    monkeypatch.setattr(outbox_module, "_BEAT_SECONDS", 0.01)
    parent = Parent(busy=[False])

    def come() -> None:
        parent.busy = [True]
        parent.outbox.wake()

    def beat() -> Message:
        parent.busy = [False]
        if parent.frames:
            parent.outbox.add(("last",))
        return ("beat",)

    parent.outbox._beat = beat
    timers = [threading.Timer(0.2, come), threading.Timer(5, lambda: parent.outbox.add(("last",)))]
    for timer in timers:
        timer.start()
    parent.run()
    for timer in timers:
        timer.cancel()
    assert parent.frames[:2] == [[("beat",)], [("beat",)]]


def test_work_that_ends_between_two_beats_is_followed_by_one() -> None:
    """It had said how it was doing a moment before the work came."""
    parent = Parent(busy=[False])
    said: list[Message] = []
    began = threading.Event()

    def send(messages: list[Message]) -> None:
        said.extend(messages)
        if ("beat",) in messages:
            if ("sent", 1) in said:
                raise BrokenPipeError
            began.set()

    parent.send = send  # type: ignore[method-assign]
    parent.outbox.add(("first",))
    thread = threading.Thread(target=parent.run, daemon=True)
    thread.start()
    assert began.wait(60)
    parent.outbox.add(("sent", 1))
    thread.join(60)
    assert said == [("first",), ("beat",), ("sent", 1), ("beat",)]


def test_the_log_goes_to_the_parent() -> None:
    parent = Parent(busy=[False])
    logger = logging.getLogger("snowsync.test-of-outbox")
    logger.propagate = False
    handler = ParentLog(parent.outbox)
    logger.addHandler(handler)
    logger.warning("%d objects", 3)
    logger.removeHandler(handler)
    parent.outbox.add(("last",))
    assert parent.run()[0] == (LOG, "snowsync.test-of-outbox", logging.WARNING, "3 objects")
