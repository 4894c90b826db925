# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the next object goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snowsync.placement import Placement, VolumeSpace, fits_nowhere

GIB = 1024**3


def space(number: int, *, used: int = 0, in_flight: int = 0, high: int = 90, low: int = 80) -> VolumeSpace:
    return VolumeSpace(id=number, high=high, low=low, used=used, in_flight=in_flight)


def test_the_least_busy_volume_is_chosen() -> None:
    assert Placement().choose(10, [space(1, in_flight=20), space(2, in_flight=10), space(3, in_flight=30)]) == 2


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
