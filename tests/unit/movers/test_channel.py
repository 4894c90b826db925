# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The socket between a hand and its parent: frames arrive whole and in order, descriptors with them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from snowsync.movers.hands.channel import Channel


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    one, other = (Channel(end) for end in socket.socketpair())
    yield one, other
    one.close()
    other.close()


def test_frames_arrive_one_by_one(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    one.send([("a", 1), ("b", "\udcff\u2028", None, 0.5, (True,), {"x": b"y"})])
    one.send([("c",)])
    assert other.receive() == [("a", 1), ("b", "\udcff\u2028", None, 0.5, (True,), {"x": b"y"})]
    assert other.has_frame(), "it came with the first one"
    assert other.receive() == [("c",)]
    assert not other.has_frame()


def test_a_frame_may_be_larger_than_what_a_socket_holds(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    long = [("text", "x" * 5_000_000)]
    sender = threading.Thread(target=lambda: one.send(long))
    sender.start()
    assert other.receive() == long
    sender.join()


def test_descriptors_come_with_their_frame(ends: tuple[Channel, Channel], tmp_path: Path) -> None:
    one, other = ends
    folders = [os.open(tmp_path, os.O_RDONLY) for _number in range(3)]
    one.send([("before",)])
    one.send([("folder", 1)], folders[:1])
    one.send([("folder", 2), ("folder", 3)], folders[1:])
    for folder in folders:
        os.close(folder)  # the other end has its own
    received = [other.receive() for _frame in range(3)]
    assert [len(frame or []) for frame in received] == [1, 1, 2]
    for _folder in folders:
        taken = other.take_descriptor()
        assert os.path.samestat(os.fstat(taken), tmp_path.stat())
        assert not os.get_inheritable(taken)
        os.close(taken)
    with pytest.raises(IndexError):
        other.take_descriptor()


def test_the_end_of_the_other_side_is_no_frame(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    other.send([("unread",)])
    one.send([("last",)])
    one.close()
    assert other.receive() == [("last",)]
    assert other.receive() is None
    with pytest.raises(OSError, match="pipe"):
        other.send([("too late",)])


def test_half_a_frame_is_none(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    one._end.sendall(b"\x10\0\0\0half")
    one.close()
    assert other.receive() is None
