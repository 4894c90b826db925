# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the next object goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowsync.volumes.placement import (
    FileRoom,
    Fullness,
    Inflow,
    Pace,
    Placement,
    VolumeSpace,
    fits_nowhere,
    is_too_large_for_files,
    takes_rest,
)

MIB, GIB = 1024**2, 1024**3


def space(number: int, *, used: int = 0, in_flight: int = 0, high: int = 90, low: int = 80) -> VolumeSpace:
    return VolumeSpace(id=number, high=high, low=low, used=used, inflow=Inflow(in_flight))


def test_the_least_busy_volume_is_chosen() -> None:
    assert Placement().choose(10, [space(1, in_flight=20), space(2, in_flight=10), space(3, in_flight=30)]) == 2


def test_an_object_goes_where_it_is_durable_soonest() -> None:
    slow = VolumeSpace(id=1, high=GIB, low=GIB, used=0, inflow=Inflow(10 * MIB, speed=10 * MIB))
    fast = VolumeSpace(id=2, high=GIB, low=GIB, used=0, inflow=Inflow(50 * MIB, speed=100 * MIB))
    assert Placement().choose(MIB, [slow, fast]) == 2
    fast.inflow.bytes = 150 * MIB
    assert Placement().choose(MIB, [slow, fast]) == 1
    assert Placement().choose(100 * MIB, [slow, fast]) == 2, "ten seconds on the slow one"


def test_a_volume_of_unknown_speed_is_tried_before_what_is_guessed_of_it_decides() -> None:
    known = VolumeSpace(id=1, high=GIB, low=GIB, used=0, inflow=Inflow(speed=50 * MIB))
    other = VolumeSpace(id=2, high=GIB, low=GIB, used=0, inflow=Inflow(speed=8 * MIB, is_measured=False))
    assert Placement().choose(MIB, [known, other]) == 2
    other.inflow.bytes = MIB
    assert Placement().choose(MIB, [known, other]) == 1, "what is on its way there will tell"


def test_a_volume_that_was_measured_is_not_tried_for_that() -> None:
    pace = Pace()
    assert not pace.is_measured
    pace.learn(64 * 1024, 0.5)
    assert not pace.is_measured, "it says nothing of the speed"
    pace.learn(100 * MIB, 2.0)
    assert pace.is_measured


def test_a_fast_disk_that_went_silent_attracts_no_more() -> None:
    """Before it counts as one that hangs it would otherwise take everything, being the fastest."""
    slow = VolumeSpace(id=1, high=GIB, low=GIB, used=0, inflow=Inflow(MIB, speed=10 * MIB))
    fast = VolumeSpace(id=2, high=GIB, low=GIB, used=0, inflow=Inflow(MIB, speed=1000 * MIB, silent=1.5))
    assert Placement().choose(MIB, [slow, fast]) == 1
    fast.inflow.silent = 0.9
    assert Placement().choose(MIB, [slow, fast]) == 2


def test_a_disk_is_not_silent_while_it_may_be_busy_with_what_it_got() -> None:
    slow = VolumeSpace(id=1, high=GIB, low=GIB, used=0, inflow=Inflow(20 * MIB, speed=10 * MIB, silent=2.5))
    assert slow.inflow.seconds_with(10 * MIB) == 3.0
    slow.inflow.silent = 4.0
    assert slow.inflow.seconds_with(10 * MIB) == 4.0


def test_a_volume_with_enough_to_do_gets_no_more() -> None:
    busy = VolumeSpace(id=1, high=GIB, low=GIB, used=0, inflow=Inflow(8 * MIB, speed=100 * MIB, window=8 * MIB))
    other = VolumeSpace(id=2, high=GIB, low=GIB, used=0, inflow=Inflow(7 * MIB, speed=MIB, window=8 * MIB))
    assert Placement().choose(MIB, [busy, other]) == 2
    other.inflow.bytes = 9 * MIB
    assert Placement().choose(MIB, [busy, other]) is None


def test_an_idle_volume_takes_an_object_larger_than_its_window() -> None:
    idle = VolumeSpace(id=1, high=GIB, low=GIB, used=0, inflow=Inflow(speed=MIB, window=4 * MIB))
    assert Placement().choose(100 * MIB, [idle]) == 1


@pytest.mark.parametrize(
    ("used", "in_flight", "largest", "is_limited", "fits"),
    [
        (60, 0, 90, False, True),  # what lies there is counted already
        (60, 11, 90, False, False),
        (70, 0, 90, False, True),
        (71, 0, 90, False, False),
        (10, 0, 90, True, True),  # and is not where only the ledger is asked
        (10, 1, 90, True, False),
    ],
)
def test_the_rest_of_an_object_needs_room_for_the_rest_only(
    used: int, in_flight: int, largest: int, is_limited: bool, fits: bool
) -> None:
    """80 of whose bytes 60 lie there, below a high watermark of 90."""
    volume = VolumeSpace(1, 90, 80, used, Inflow(in_flight, window=1), largest)
    assert takes_rest(volume, 80, 60, is_limited=is_limited) is fits


def test_a_disk_that_others_filled_takes_the_rest_where_it_fits() -> None:
    """With a limit of 200 and 30 free: what is missing fits, the whole object would not."""
    volume = VolumeSpace(1, high=40, low=30, used=10, largest=180)
    assert takes_rest(volume, 80, 60, is_limited=True)
    assert not takes_rest(volume, 80, 40, is_limited=True)


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
        VolumeSpace(id=number, high=high, low=high * 8 // 10, used=min(used, high))
        for number, (high, used) in enumerate(volumes)
    ]
    placement = Placement()
    for size in sizes:
        chosen = placement.choose(size, spaces)
        if chosen is not None:
            spaces[chosen].expect(size)
        assert all(each.taken <= each.high for each in spaces)


# -- room that bytes do not show ----------------------------------------------------------------------------------


def test_a_volume_without_inodes_is_full_however_many_bytes_are_free() -> None:
    few = VolumeSpace(id=1, high=GIB, low=GIB, used=0, files=FileRoom(2, rises_with=10))
    other = VolumeSpace(id=2, high=GIB, low=GIB, used=GIB // 2)
    placement = Placement()
    chosen = []
    for _object in range(4):
        chosen.append(placement.choose(1, [few, other]))
        (few if chosen[-1] == 1 else other).expect(1)
    assert sorted(chosen) == [1, 1, 2, 2]
    few.files.left = 9
    assert placement.choose(1, [few]) is None
    assert few.why_full == "its inodes are nearly used up"
    few.files.left = 10
    assert placement.choose(1, [few]) == 1
    assert few.why_full == ""


def test_a_filesystem_that_counts_no_inodes_is_not_out_of_them() -> None:
    space = VolumeSpace(id=1, high=GIB, low=GIB, used=0)
    assert Placement().choose(1, [space]) == 1
    assert not space.files.is_used_up


def test_how_many_files_a_filesystem_takes() -> None:
    room = FileRoom(2, rises_with=2)
    assert (room.is_used_up, room.is_short) == (False, False)
    room.expect()
    assert (room.is_used_up, room.is_short) == (False, True)
    room.expect()
    assert (room.is_used_up, room.is_short) == (True, True)
    uncounted = FileRoom()
    uncounted.expect()
    assert (uncounted.left, uncounted.is_used_up, uncounted.is_short) == (None, False, False)


@pytest.mark.parametrize(("size", "window", "is_busy"), [(9, 10, False), (10, 10, True), (10**12, None, False)])
def test_how_much_may_be_on_its_way(size: int, window: int | None, is_busy: bool) -> None:
    inflow = Inflow(size, speed=2.0, window=window)
    assert inflow.is_busy is is_busy
    assert inflow.seconds_with(4) == (size + 4) / 2


def test_an_object_goes_where_a_file_may_be_so_large() -> None:
    fat = VolumeSpace(id=1, high=GIB, low=GIB, used=0, files=FileRoom(largest=10))
    other = VolumeSpace(id=2, high=GIB, low=GIB, used=GIB // 2)
    assert Placement().choose(10, [fat, other]) == 1
    assert Placement().choose(11, [fat, other]) == 2
    assert not takes_rest(fat, 11, 5, is_limited=False)
    assert fits_nowhere(11, [fat])
    assert is_too_large_for_files(11, [fat])
    assert not is_too_large_for_files(10, [fat])


def test_a_volume_that_says_it_is_full_rests_longer_each_time() -> None:
    fullness = Fullness()
    assert fullness.refused(100.0, "a quota")
    assert not fullness.refused(101.0, "a quota"), "another object that was on its way there"
    assert fullness.rests(104.9)
    assert not fullness.rests(105.0)
    fullness.took(104.0, MIB)
    assert fullness.window(8 * MIB) == 1, "it was on its way while the volume refused"
    assert not fullness.refused(106.0, "a quota"), "that is known"
    assert fullness.rests(115.9)
    for _time in range(10):
        fullness.refused(200.0 + _time * 100, "a quota")
    assert not fullness.rests(1160.0), "a minute at most"
    fullness.took(1160.0, MIB)
    assert not fullness.refused(1200.0, "a quota"), "it is still the same one"
    assert not fullness.rests(1205.0), "it took something: its rests are short again"


def test_a_volume_that_was_full_is_trusted_again_little_by_little() -> None:
    fullness = Fullness()
    assert fullness.window(8 * MIB) == 8 * MIB
    fullness.refused(100.0, "a quota")
    windows = []
    while fullness.why:
        windows.append(fullness.window(8 * MIB))
        fullness.took(106.0, windows[-1] + 4095)  # as much as is on its way becomes durable
    assert windows[:3] == [1, 8192, 32766]
    assert windows[-1] == 8 * MIB
    assert fullness.refused(200.0, "a quota"), "it is said again where it took much in between"


def test_what_a_quota_refuses_is_little_beside_what_it_takes() -> None:
    """All that is on its way comes before anything is known to be refused, and the rest frees a tenth of the quota."""
    quota, size = 2000, 1
    fullness, lies, now, fetched = Fullness(), 0, 0.0, 0
    delivered = 0
    while delivered < 10_000:
        now += 60.0
        while not fullness.rests(now):
            batch = max(1, fullness.window(4096) // size)
            fetched += batch
            taken = min(batch, quota - lies)
            lies += taken
            fullness.took(now, taken * size)
            if taken < batch:
                fullness.refused(now, "a quota")
        delivered, lies = delivered + quota // 10, lies - quota // 10
    assert fetched < 4 * delivered


def test_a_volume_that_rests_gets_nothing() -> None:
    resting = VolumeSpace(id=1, high=GIB, low=GIB, used=0, refusal="a quota")
    assert Placement().choose(1, [resting]) is None
    assert resting.why_full == "a quota"
    assert not takes_rest(resting, 1, 0, is_limited=False)
