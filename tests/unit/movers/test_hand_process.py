# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hand as its parent sees it, with the test in the place of the process."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from snowsync.core import workers
from snowsync.core.model import Fetch, Send
from snowsync.core.workers import Doing, Look
from snowsync.movers.hands import hand, hand_process
from snowsync.movers.hands.channel import Channel, Message
from snowsync.movers.hands.hand_process import HandProcess
from snowsync.movers.hands.messages import BEAT, FETCH, LOG, SENT, say_looks

WORK = Fetch(7, "k", 1, "/file")


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Boom(Exception):
    """What nobody foresaw."""


class FakeProcess:
    """It ends when it is killed, or when the test lets it."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self.channel = Channel(ours)
        self._theirs = theirs
        self.returncode: int | None = None
        self.is_stuck = False

    def kill(self) -> None:
        if not self.is_stuck and self.returncode is None:
            self.exit(-9)

    def exit(self, code: int) -> None:
        self.returncode = code
        self._theirs.shutdown(socket.SHUT_RDWR)

    def end(self, _seconds: float) -> int | None:
        return self.returncode


class Desk:
    """A hand process whose other end is here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, hears: Callable[[list[Message]], None] | None = None) -> None:
        ours, theirs = socket.socketpair()
        self.process = FakeProcess(ours, theirs)
        self.channel = Channel(theirs)
        self.heard: list[Message] = []
        self.lost: list[tuple[list[Fetch | Send], str]] = []
        self.errors: list[BaseException] = []
        self.has_ended = threading.Event()
        monkeypatch.setattr(hand_process, "launch", lambda: self.process)
        self.hand = HandProcess(
            "hand-0",
            ("setup", {}),
            hears=lambda _hand, messages: (hears or self.heard.extend)(messages),
            lost=self._lost,
            on_error=self.errors.append,
        )

    def _lost(self, _hand: HandProcess, left: list[Fetch | Send], why: str) -> None:
        self.lost.append((left, why))
        self.has_ended.set()

    def received(self, count: int) -> list[Message]:
        found: list[Message] = []
        while len(found) < count:
            found += self.channel.receive() or []
        return found

    def end(self) -> tuple[list[Fetch | Send], str]:
        assert self.has_ended.wait(60)
        self.hand.join()
        ((left, why),) = self.lost
        return left, why


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    made = Desk(monkeypatch)
    yield made
    made.hand.kill()
    made.process.is_stuck = False
    made.process.kill()
    made.end()


def test_it_gets_its_setup_and_its_work_and_is_heard(desk: Desk) -> None:
    assert desk.hand.given.add(WORK)
    assert [message[0] for message in desk.received(2)] == ["setup", FETCH]
    desk.channel.send([(SENT, 7, None)])
    until(lambda: desk.heard)
    assert desk.heard == [(SENT, 7, None)]


@pytest.mark.parametrize(("code", "why"), [(-9, "signal 9"), (1, "exit code 1"), (0, "exit code 0")])
def test_how_it_ended_is_told_with_what_it_had(desk: Desk, code: int, why: str) -> None:
    desk.hand.given.add(WORK)
    desk.received(2)
    desk.process.exit(code)
    left, told = desk.end()
    assert left == [WORK]
    assert why in told
    assert not desk.hand.given.add(WORK)


def test_one_that_is_killed_has_ended_for_no_other_reason(desk: Desk) -> None:
    desk.hand.given.add(WORK)
    desk.received(2)
    desk.hand.kill()
    assert desk.end() == ([WORK], "it ended with signal 9")


def test_one_that_a_disk_holds_up_is_not_waited_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_process, "_SILENT_SECONDS", 0.0)
    desk.process.is_stuck = True
    desk.hand.given.add(WORK)
    assert desk.end() == ([WORK], "it has said nothing for 0 s")


def test_one_that_stops_within_a_frame_says_nothing_either(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_process, "_SILENT_SECONDS", 0.0)
    desk.hand.given.add(WORK)
    desk.channel._end.sendall(b"\x50\0\0\0half of it")
    assert desk.end() == ([WORK], "it has said nothing for 0 s")


def test_its_socket_is_closed_when_nothing_is_sent_through_it_any_more(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number may belong to a file at once."""
    senders: list[str] = []
    channel, close = desk.process.channel, desk.process.channel.close

    def closed() -> None:
        senders.extend(thread.name for thread in threading.enumerate() if thread.name == "hand-0-writer")
        close()

    monkeypatch.setattr(channel, "close", closed)
    monkeypatch.setattr(hand_process, "_SILENT_SECONDS", 0.0)
    desk.process.is_stuck = True  # and does not read
    desk.hand.given.say(("long", "x" * 10_000_000))
    desk.hand.given.add(WORK)
    desk.end()
    assert not senders


def test_silence_without_work_is_no_silence(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_process, "_SILENT_SECONDS", 0.0)
    assert not desk.has_ended.wait(3)


def test_its_workers_count_with_those_of_this_process(desk: Desk) -> None:
    look = Look("native-fetch-0", Doing.MEDIUM, 5.0, 3)
    desk.hand.given.add(WORK)
    desk.channel.send([(BEAT, 1234, False, say_looks([look]))])
    until(lambda: desk.hand.traffic == 1234)
    now = time.monotonic() + 10
    assert workers.waits(now)[3] >= 15
    assert [each.name for each in workers.looks(now) if each.disk == 3] == ["native-fetch-0"]
    desk.process.exit(0)
    desk.end()
    assert 3 not in workers.waits(now)


@pytest.mark.parametrize("last", [SENT, BEAT])
def test_the_workers_of_one_that_has_no_work_do_nothing(monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    """It is silent then: else what its last beat said of them would look like a hang later."""

    def hears(messages: list[Message]) -> None:
        desk.hand.given.ended([message[1] for message in messages if message[0] == SENT])
        desk.heard.extend(messages)

    desk = Desk(monkeypatch, hears)
    beat = (BEAT, 1234, False, say_looks([Look("native-fetch-0", Doing.WORKS, 0.0)]))
    desk.hand.given.add(WORK)
    desk.channel.send([beat])
    until(lambda: workers.elsewhere.looks(time.monotonic()))
    for message in [(SENT, 7, None), beat][: 1 if last == SENT else 2]:
        desk.channel.send([message])
    until(lambda: desk.heard[-1][0] == last)
    until(lambda: not workers.elsewhere.looks(time.monotonic()))
    desk.process.exit(0)
    desk.end()


def test_its_log_is_logged_here(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.channel.send([(LOG, "snowsync.native", logging.WARNING, "50 % done")])
    until(lambda: caplog.records)
    assert caplog.messages == ["hand-0: 50 % done"]


def test_one_that_cannot_be_started_loses_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def refuse() -> Any:
        gate.wait(60)
        raise OSError(12, "Cannot allocate memory")

    desk = Desk.__new__(Desk)
    desk.lost, desk.errors, desk.has_ended = [], [], threading.Event()
    monkeypatch.setattr(hand_process, "launch", refuse)
    desk.hand = HandProcess(
        "hand-0", ("setup", {}), hears=lambda *_said: None, lost=desk._lost, on_error=desk.errors.append
    )
    desk.hand.given.add(WORK)
    gate.set()
    assert desk.end() == ([WORK], "it cannot be started: Cannot allocate memory")
    assert not desk.errors


# -- what nobody foresaw --------------------------------------------------------------------------------------


def test_what_raises_in_the_keeper_of_a_hand_reaches_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    def boom(_messages: list[Message]) -> None:
        raise Boom

    desk = Desk(monkeypatch, boom)
    desk.hand.given.add(WORK)
    desk.channel.send([(SENT, 7, None)])
    assert desk.end() == ([WORK], "its parent failed")
    until(lambda: desk.errors)
    assert isinstance(desk.errors[0], Boom)


def test_what_raises_in_the_writer_of_a_hand_reaches_the_unit(desk: Desk) -> None:
    desk.hand.given.say(("object", object()))
    until(lambda: desk.errors)
    assert isinstance(desk.errors[0], ValueError)


def test_a_hand_that_cannot_tell_anything_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    ended = threading.Event()

    def leave(code: int) -> None:
        codes.append(code)
        ended.set()

    monkeypatch.setattr(hand.os, "_exit", leave)
    ours, theirs = socket.socketpair()
    made = hand.Hand.__new__(hand.Hand)
    made._channel = Channel(theirs)
    made._outbox = hand.Outbox(made._channel, beat=lambda: (BEAT, object()), is_busy=lambda: True)
    serving = threading.Thread(target=lambda: made.serve([]))
    serving.start()
    assert ended.wait(60)
    ours.close()
    serving.join(60)
    assert codes == [1]
    theirs.close()
