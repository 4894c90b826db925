# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hand has, and what it is sent."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from snowsync.core.model import Fetch
from snowsync.movers.hands.channel import Channel
from snowsync.movers.hands.given_work import GivenWork
from snowsync.movers.hands.messages import FETCH, FOLDER


def fetch(number: int, folder: int | None = None) -> Fetch:
    return Fetch(number, f"key-{number}", 1, f"/proc/self/fd/{folder}/{number}" if folder is not None else "/somewhere")


class Wire:
    """The hand's end, and the thread that sends to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.channel, self.hand = Channel(ours), Channel(theirs)
        self.given = GivenWork(("first",))
        self.failed: list[OSError] = []
        self.sender = threading.Thread(target=self._send, daemon=True)
        self.sender.start()

    def _send(self) -> None:
        try:
            self.given.send_to(self.channel)
        except OSError as error:
            self.failed.append(error)

    def received(self, count: int) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        while len(found) < count:
            found += self.hand.receive() or []
        return found


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.given.close()
    made.sender.join(60)
    assert not made.sender.is_alive()
    made.channel.close()
    made.hand.close()


def test_work_follows_the_first_message_and_each_folder_goes_before_its_first_file(wire: Wire, tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    for number in (1, 2):
        assert wire.given.add(fetch(number, folder))
    os.close(folder)
    kinds = [message[0] for message in wire.received(4)]
    assert kinds == ["first", FOLDER, FETCH, FETCH]
    received = wire.hand.take_descriptor()
    assert os.path.samestat(os.fstat(received), tmp_path.stat())
    os.close(received)


def test_a_folder_that_is_closed_takes_no_work(wire: Wire, tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    os.close(folder)
    with pytest.raises(OSError, match="descriptor"):
        wire.given.add(fetch(1, folder))
    assert len(wire.given) == 0


def test_what_ended_is_no_longer_its_work(wire: Wire) -> None:
    works = [fetch(number) for number in (1, 2, 3)]
    for work in works:
        wire.given.add(work)
    assert wire.given.ended([2, 9]) == [works[1]]
    assert wire.given.ended([2]) == [], "nobody gets an outcome twice"
    wire.given.close()
    assert wire.given.take_all() == [works[0], works[2]]
    assert len(wire.given) == 0


def test_it_takes_nothing_once_it_is_closed(wire: Wire) -> None:
    wire.given.close()
    assert not wire.given.add(fetch(1))
    wire.given.say(("keys",))
    wire.sender.join(60)
    assert not wire.failed


def test_descriptors_that_were_not_sent_are_closed(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    folder = os.open(tmp_path, os.O_RDONLY)
    given = GivenWork(("first",))
    given.add(fetch(1, folder))
    given.close()
    os.close(folder)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_hand_that_is_gone_ends_the_sender(wire: Wire, tmp_path: Path) -> None:
    wire.received(1)
    wire.hand.close()
    folder = os.open(tmp_path, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    wire.given.add(fetch(1, folder))
    wire.sender.join(60)
    assert wire.failed
    assert len(os.listdir("/proc/self/fd")) == before, "its descriptor is not left open"
    os.close(folder)
