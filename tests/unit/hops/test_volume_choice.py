# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which volume an object goes to, and what becomes of its parts elsewhere."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.hops.source.volume_choice import VolumeChoice
from snowsync.volumes.placement import Inflow, VolumeSpace

LARGE = 1000  # bytes
ROW: Any = SimpleNamespace(id=7, generation=2, size=LARGE)


def space(number: int, **more: Any) -> VolumeSpace:
    return VolumeSpace(**{"id": number, "high": 10_000, "low": 9_000, "used": 0, **more})


class Choosing:
    """A choice between the volumes 1 and 2; `home`: the one that holds 600 bytes of the object."""

    def __init__(self, home: int = 0, avoid: int = 0) -> None:
        self.forgotten: list[int] = []
        self.discarded: list[tuple[int, int]] = []
        parts: Any = SimpleNamespace(
            partial=lambda object_id, generation: (home, 600) if home else None, forget=self.forgotten.append
        )
        fetching: Any = SimpleNamespace(volume_to_avoid=lambda row: avoid)
        volumes: Any = SimpleNamespace(
            open={number: self._volume(number) for number in (1, 2)}, ask=lambda volume, call: call()
        )
        self.choice = VolumeChoice(volumes, parts, fetching, is_large=lambda size: size >= LARGE)

    def _volume(self, number: int) -> Any:
        config = SimpleNamespace(limit=None)
        return SimpleNamespace(
            config=config, discard_incoming=lambda object_id: self.discarded.append((number, object_id))
        )

    def of(self, *spaces: VolumeSpace, row: Any = ROW, full: tuple[int, ...] = ()) -> int | None:
        return self.choice.choose(row, list(spaces), full)


@pytest.mark.parametrize("home", [1, 2])
def test_an_object_goes_where_its_parts_are(home: int) -> None:
    choosing = Choosing(home)
    assert choosing.of(space(1, used=9_000), space(2, used=9_000)) == home
    assert choosing.forgotten == []


def test_a_volume_without_a_stream_takes_nothing_and_keeps_its_parts() -> None:
    assert Choosing().of(space(1), space(2, used=1), full=(1,)) == 2
    assert Choosing().of(space(1), space(2), full=(1, 2)) is None
    choosing = Choosing(home=1)
    assert choosing.of(space(1), space(2), full=(1,)) is None, "its parts are worth more than a start at once"
    assert choosing.of(space(1), space(2), full=(2,)) == 1
    assert choosing.forgotten == []


def test_parts_are_given_up_where_the_rest_has_no_room() -> None:
    choosing = Choosing(home=1)
    assert choosing.of(space(1, used=9_900), space(2)) == 2
    assert (choosing.forgotten, choosing.discarded) == ([7], [(1, 7)])


def test_parts_are_kept_if_there_is_no_room_anywhere() -> None:
    choosing = Choosing(home=1)
    assert choosing.of(space(1, used=9_900), space(2, used=9_900)) is None
    assert choosing.forgotten == []


def test_parts_of_a_small_object_are_not_looked_for() -> None:
    small: Any = SimpleNamespace(id=7, generation=2, size=LARGE - 1)
    assert Choosing(home=2).of(space(1), space(2, used=1), row=small) == 1


def test_a_volume_that_did_not_accept_an_object_is_avoided() -> None:
    assert Choosing(avoid=1).of(space(1), space(2, used=5_000)) == 2


def test_it_is_tried_again_if_the_others_have_no_room() -> None:
    assert Choosing(avoid=1).of(space(1), space(2, used=9_900)) == 1


def test_it_is_not_tried_again_while_the_others_are_merely_busy() -> None:
    assert Choosing(avoid=1).of(space(1), space(2, inflow=Inflow(window=0))) is None


def test_whether_one_volume_takes_an_object_is_asked_of_that_one() -> None:
    small: Any = SimpleNamespace(id=7, generation=2, size=900)
    spaces = [space(1, used=5_000), space(2, used=9_500), space(3)]
    choice = Choosing().choice
    assert [choice.takes(small, each) for each in spaces] == [True, False, True]
