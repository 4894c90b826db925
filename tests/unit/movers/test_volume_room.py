# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room for small work, by volume."""

from __future__ import annotations

import threading

import pytest

from snowsync.movers.hands.volume_room import VolumeRoom
from snowsync.movers.native.lane_shares import LaneShares
from snowsync.store.width import Width


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def room(told: list[str]) -> VolumeRoom:
    shares = LaneShares(Width(1, 1), 1, lambda _change, _volumes: ())
    return VolumeRoom(4, lambda: told.append("room"), shares)


def fill(room: VolumeRoom, volume: int, count: int = 4) -> None:
    for _piece in range(count):
        room.take(volume, 1)


def test_a_volume_takes_no_room_from_another(room: VolumeRoom) -> None:
    fill(room, 1)
    assert not room.has_room(1)
    assert room.has_room(2)


def test_who_asked_in_vain_is_told_once_when_half_is_free(room: VolumeRoom, told: list[str]) -> None:
    fill(room, 1)
    room.give_back([1])
    assert told == [], "nobody asked"
    room.take(1, 1)
    assert not room.has_room(1)
    room.give_back([1])
    assert told == [], "less than half is free"
    room.give_back([1])
    room.give_back([1, 1])
    assert told == ["room"]


def test_nobody_is_told_of_room_when_nothing_is_given_back(room: VolumeRoom, told: list[str]) -> None:
    """As after each group that hands took."""
    fill(room, 1)
    room.take(2, 1)
    assert not room.has_room(1)
    room.give_back([])
    assert told == []


def test_who_takes_waits_until_there_is_room(room: VolumeRoom) -> None:
    fill(room, 1)
    taken = threading.Event()
    waiting = threading.Thread(target=lambda: (room.take(1, 1), taken.set()))
    waiting.start()
    assert not taken.wait(0.05)
    room.give_back([1])
    assert taken.wait(60)
    waiting.join()


def test_what_is_given_together_waits_together_and_only_while_there_is_no_room(room: VolumeRoom) -> None:
    fill(room, 1, 3)
    room.take(1, 5)
    assert room.shares._demand.held == [8]
    room.give_back([1] * 4)
    assert not room.has_room(1)
    room.give_back([1])
    assert room.has_room(1)


def test_nobody_waits_once_it_is_closed(room: VolumeRoom) -> None:
    fill(room, 1)
    waiting = threading.Thread(target=lambda: room.take(1, 1))
    waiting.start()
    room.close()
    waiting.join(60)
    assert not waiting.is_alive()
    assert room.has_room(1)


def test_a_volume_has_more_room_once_more_may_be_in_flight(room: VolumeRoom) -> None:
    fill(room, 1)
    assert not room.has_room(1)
    room.capacity = 5
    assert room.has_room(1)


def test_shares_know_what_volumes_have(room: VolumeRoom) -> None:
    fill(room, 1, 2)
    fill(room, 2, 1)
    room.give_back([1])
    assert room.shares.volumes == (1, 2)
    assert room.shares._demand.held == [2], "they share a lane"
