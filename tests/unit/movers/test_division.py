# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How requests are divided among lanes, and in which order lanes give back and get."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snowsync.movers.native.division import Change, Transition, divided

SHARES = st.lists(st.integers(1, 30), min_size=3, max_size=3).map(tuple)


def test_who_needs_more_gets_what_others_do_not_need() -> None:
    assert divided(16, [100, 0], 1) == (15, 1)
    assert divided(16, [100, 100], 1) == (8, 8)
    assert divided(17, [3, 100, 100], 1) == (3, 7, 7)
    assert divided(16, [100, 0, 0], 4) == (8, 4, 4)


def test_what_nobody_needs_is_divided_too() -> None:
    assert divided(16, [0, 0], 1) == (8, 8)
    assert divided(16, [2, 10], 1) == (6, 10)


@given(st.integers(1, 200), st.lists(st.integers(0, 300), min_size=1, max_size=6), st.integers(1, 5))
def test_all_of_it_is_used_and_each_has_the_least(total: int, wanted: list[int], least: int) -> None:
    shares = divided(total, wanted, least)
    assert sum(shares) == max(total, least * len(wanted))
    assert min(shares) >= least
    for one, share in zip(wanted, shares, strict=True):
        for other, others in zip(wanted, shares, strict=True):
            if share < one and others > max(least, other):
                raise AssertionError("one lacks what another does not need")
            if share < one and share + 1 < others:
                assert others == least, "who needs more has no less than others"


def test_growth_needs_nobodys_word() -> None:
    transition = Transition((4, 4))
    assert transition.begin((8, 8)) == Change(1, (8, 8))
    assert transition.told(["a"]) is None
    assert transition.is_over


def test_others_get_more_once_all_members_gave_back() -> None:
    transition = Transition((4, 4))
    assert transition.begin((1, 7)) == Change(1, (1, 4))
    assert not transition.is_over
    assert transition.told(["a", "b", "c"]) is None
    assert transition.done("a", 0) is None, "this is about the change before"
    assert transition.done("a", 1) is None
    assert transition.done("a", 1) is None
    assert transition.gone("b") is None
    assert transition.now == Change(1, (1, 4))
    assert transition.done("c", 1) == Change(2, (1, 7))
    assert transition.is_over
    assert transition.done("c", 1) is None


def test_words_that_come_early_count() -> None:
    transition = Transition((4, 4))
    transition.begin((1, 7))
    assert transition.done("a", 1) is None
    assert transition.gone("b") is None
    assert transition.told(["a", "b"]) == Change(2, (1, 7))


def test_without_members_nobody_is_waited_for() -> None:
    transition = Transition((4, 4))
    transition.begin((1, 7))
    assert transition.told([]) == Change(2, (1, 7))


def test_less_for_all_ends_with_the_first_change() -> None:
    transition = Transition((4, 4))
    assert transition.begin((2, 2)) == Change(1, (2, 2))
    assert transition.told(["a"]) is None
    assert transition.done("a", 1) is None
    assert transition.is_over
    assert transition.begin((2, 2)) is None


@given(st.lists(SHARES, min_size=1, max_size=8))
def test_members_never_have_more_than_was_or_will_be(steps: list[tuple[int, ...]]) -> None:
    shares = (5, 5, 5)
    transition = Transition(shares)
    has = list(shares)  # connections of the only member, which gives back late
    for wanted in steps:
        most = max(sum(shares), sum(wanted))
        change = transition.begin(wanted)
        while change:
            has = list(map(max, has, change.shares))
            assert sum(has) <= most
            following = transition.told(["a"])
            if following is None and not transition.is_over:
                has = list(map(min, has, change.shares))
                following = transition.done("a", change.number)
            change = following
        assert transition.is_over
        assert transition.now.shares == wanted
        has = list(wanted)
        shares = wanted
