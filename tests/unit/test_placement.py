# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the next object goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snowsync.placement import Pace, Placement, VolumeSpace, fits_nowhere

MIB, GIB = 1024**2, 1024**3


def space(number: int, *, used: int = 0, in_flight: int = 0, high: int = 90, low: int = 80) -> VolumeSpace:
    return VolumeSpace(id=number, high=high, low=low, used=used, in_flight=in_flight)


def test_the_least_busy_volume_is_chosen() -> None:
    assert Placement().choose(10, [space(1, in_flight=20), space(2, in_flight=10), space(3, in_flight=30)]) == 2


def test_an_object_goes_where_it_is_durable_soonest() -> None:
    slow = VolumeSpace(id=1, high=GIB, low=GIB, used=0, in_flight=10 * MIB, speed=10 * MIB)
    fast = VolumeSpace(id=2, high=GIB, low=GIB, used=0, in_flight=50 * MIB, speed=100 * MIB)
    assert Placement().choose(MIB, [slow, fast]) == 2
    fast.in_flight = 150 * MIB
    assert Placement().choose(MIB, [slow, fast]) == 1
    assert Placement().choose(100 * MIB, [slow, fast]) == 2, "ten seconds on the slow one"


def test_a_volume_with_enough_to_do_gets_no_more() -> None:
    busy = VolumeSpace(id=1, high=GIB, low=GIB, used=0, in_flight=8 * MIB, speed=100 * MIB, window=8 * MIB)
    other = VolumeSpace(id=2, high=GIB, low=GIB, used=0, in_flight=7 * MIB, speed=MIB, window=8 * MIB)
    assert Placement().choose(MIB, [busy, other]) == 2
    other.in_flight = 9 * MIB
    assert Placement().choose(MIB, [busy, other]) is None


def test_an_idle_volume_takes_an_object_larger_than_its_window() -> None:
    idle = VolumeSpace(id=1, high=GIB, low=GIB, used=0, in_flight=0, speed=MIB, window=4 * MIB)
    assert Placement().choose(100 * MIB, [idle]) == 1


def test_a_volume_is_as_fast_as_its_groups_were() -> None:
    pace = Pace()
    first = pace.window(GIB)
    pace.learn(100 * MIB, 2.0)
    assert pace.speed == 50 * MIB, "what was guessed before is forgotten"
    pace.learn(100 * MIB, 1.0)
    assert pace.speed == 70 * MIB
    assert first < pace.window(GIB) < GIB
    assert pace.window(10 * MIB) == 10 * MIB


def test_a_group_that_another_ones_sync_made_durable_makes_no_disk_fast() -> None:
    pace = Pace()
    pace.learn(20 * MIB, 8.0)
    pace.learn(20 * MIB, 0.01)
    assert pace.speed < 6 * MIB


def test_small_groups_say_nothing_of_the_speed() -> None:
    pace = Pace()
    pace.learn(64 * 1024, 0.5)
    assert pace.speed == Pace().speed


def test_a_group_that_took_no_time_is_no_division_by_zero() -> None:
    pace = Pace()
    pace.learn(GIB, 0.0)
    assert pace.window(4 * GIB) == 4 * GIB


def test_among_equally_busy_ones_the_emptiest_is_chosen() -> None:
    assert Placement().choose(10, [space(1, used=50), space(2, used=20), space(3, used=60)]) == 2


def test_a_volume_that_reached_its_high_mark_rests_until_it_is_below_the_low_one() -> None:
    placement = Placement()
    assert placement.choose(10, [space(1, used=85)]) is None
    assert placement.choose(1, [space(1, used=85)]) is None, "one byte would fit, but the volume rests"
    assert placement.choose(1, [space(1, used=81)]) is None
    assert placement.choose(10, [space(1, used=80)]) == 1


def test_a_large_object_that_does_not_fit_does_not_close_a_half_empty_volume() -> None:
    placement = Placement()
    assert placement.choose(60, [space(1, used=50)]) is None
    assert placement.choose(10, [space(1, used=50)]) == 1


def test_what_is_in_flight_counts_as_used() -> None:
    assert Placement().choose(10, [space(1, used=40, in_flight=45)]) is None


def test_no_volumes_means_wait() -> None:
    assert Placement().choose(1, []) is None


def test_an_object_larger_than_every_volume_fits_nowhere() -> None:
    assert fits_nowhere(91, [space(1), space(2)])
    assert not fits_nowhere(91, [space(1), space(2, high=100)])


@given(
    sizes=st.lists(st.integers(0, 40), max_size=60),
    volumes=st.lists(st.tuples(st.integers(1, 200), st.integers(0, 200)), min_size=1, max_size=5),
)
def test_no_volume_is_ever_filled_above_its_high_mark(sizes: list[int], volumes: list[tuple[int, int]]) -> None:
    spaces = [
        VolumeSpace(id=number, high=high, low=high * 8 // 10, used=min(used, high), in_flight=0)
        for number, (high, used) in enumerate(volumes)
    ]
    placement = Placement()
    for size in sizes:
        chosen = placement.choose(size, spaces)
        if chosen is not None:
            spaces[chosen].in_flight += size
        assert all(each.used + each.in_flight <= each.high for each in spaces)
