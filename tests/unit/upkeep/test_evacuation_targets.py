# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an evacuation copies to, and what follows if a volume fails or none has room."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core.errors import Trouble
from snowsync.upkeep.evacuation_targets import EvacuationTargets
from snowsync.volumes.load import Load
from snowsync.volumes.placement import VolumeSpace


class Volumes:
    """As much of a set of volumes as is looked at here, with `rooms` in bytes."""

    def __init__(self, *rooms: int) -> None:
        self.open = {
            number: SimpleNamespace(id=number, name=f"volume-{number}", load=Load())
            for number in range(1, len(rooms) + 1)
        }
        self.rooms = dict(zip(self.open, rooms, strict=True))
        self.occupancy = SimpleNamespace(expire=lambda: self.done.append("expire"))
        self.done: list[str] = []

    def placeable(self) -> list[Any]:
        return list(self.open.values())

    def spaces(self) -> list[VolumeSpace]:
        return [VolumeSpace(number, room, room, used=0) for number, room in self.rooms.items()]

    def take_out(self, volume: Any, reason: str) -> None:
        self.done.append(f"take out {volume.name}: {reason}")


def row(size: int, key: str = "a/b") -> Any:
    """As much of a row as is looked at here."""
    return SimpleNamespace(key=key, size=size)


def targets(volumes: Volumes) -> EvacuationTargets:
    found: Any = volumes
    return EvacuationTargets(found)


def test_the_one_with_room_is_chosen() -> None:
    volumes = Volumes(10, 100)
    assert targets(volumes).choose(50) is volumes.open[2]
    assert targets(volumes).choose(101) is None


def test_one_that_is_no_longer_open_is_not_chosen() -> None:
    volumes = Volumes(10)
    volumes.open.clear()
    assert targets(volumes).choose(5) is None


def test_an_object_is_too_large_if_it_is_for_all_of_them() -> None:
    volumes = Volumes(100, 100)
    found = targets(volumes)
    volumes.open[1].load.takes_no_file_of(50)
    assert not found.is_too_large(50), "the other one takes it"
    volumes.open[2].load.takes_no_file_of(60)
    assert (found.is_too_large(59), found.is_too_large(60)) == (False, True)
    assert not targets(Volumes()).is_too_large(60), "there is none, which is another trouble"


@pytest.mark.parametrize(
    ("largest", "trouble", "help_needed"), [(1000, Trouble.SPACE, "free any"), (99, Trouble.TOO_LARGE, "deliver it")]
)
def test_why_an_object_has_no_place(largest: int, trouble: Trouble, help_needed: str) -> None:
    volumes = Volumes(10)
    volumes.open[1].load.largest_file = largest
    why = targets(volumes).why_none(row(100))
    assert (why.trouble, why.help_needed) == (trouble, help_needed)
    assert "'a/b' (100 bytes)" in why.what
    assert volumes.done == ["expire"]


@pytest.mark.parametrize(
    ("number", "done"),
    [
        (errno.ENOSPC, ["expire", "take out volume-1: Failed to write to volume volume-1: No space left on device"]),
        (errno.EIO, ["take out volume-1: Failed to write to volume volume-1: Input/output error"]),
        (errno.EFBIG, []),
    ],
)
def test_what_follows_if_a_copy_cannot_be_written(number: int, done: list[str]) -> None:
    volumes = Volumes(100)
    error = OSError(number, os.strerror(number))
    target: Any = volumes.open[1]
    targets(volumes).cannot_take(target, row(50), error)
    assert volumes.done == done
    assert (target.load.largest_file == 49) is (number == errno.EFBIG)
