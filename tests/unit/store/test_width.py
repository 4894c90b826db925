# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many requests may be in flight: it follows the objects per second that simulated links and machines allow."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowsync.core.model import MIB
from snowsync.store.width import Width

FIRST, MOST = 16, 171


@dataclass
class Link:
    """Answers after `latency` seconds; no more than `limit` objects per second, whatever is in flight."""

    latency: float
    limit: float
    noise: float = 0.0
    size: int = 0  # of each object
    now: float = 0.0

    def rate(self, count: int) -> float:
        return min(count / self.latency, self.limit)

    def run(self, width: Width, seconds: float, *, is_full: bool = True) -> list[int]:
        """All the numbers that were allowed while objects were moved for so long, in steps of a few objects."""
        seen, ends = [width.now], self.now + seconds
        chance = random.Random(1)
        while self.now < ends:
            count = max(1, width.now // 8)
            self.now += count / self.rate(width.now) * chance.uniform(1 - self.noise, 1 + self.noise)
            if width.ended(count, self.now, is_full=is_full, size=count * self.size):
                seen.append(width.now)
        return seen


def test_a_link_with_latency_gets_all_that_there_is_within_seconds() -> None:
    width = Width(FIRST, MOST)
    assert Link(latency=0.2, limit=10_000).run(width, 10) == [16, 32, 64, 128, 171]


def test_where_something_else_is_the_limit_no_more_is_used() -> None:
    width, link = Width(FIRST, MOST), Link(latency=0.001, limit=1000)
    seen = link.run(width, 600)
    assert set(seen) == {16, 32}, "it was tried"
    assert len(seen) < 30, "and ever more rarely"
    assert width.now == 16


def test_it_grows_to_what_the_link_can_use() -> None:
    width = Width(FIRST, MOST)
    seen = Link(latency=0.1, limit=500).run(width, 30)
    assert 50 <= width.now <= 64, "500 objects per second need 50"
    assert max(seen) <= 128


def test_it_returns_to_fewer_when_these_are_as_good() -> None:
    width, link = Width(FIRST, MOST), Link(latency=0.2, limit=10_000)
    link.run(width, 30)
    assert width.now == MOST
    link.latency, link.limit = 0.001, 1000
    link.run(width, 2000)
    assert width.now in (16, 21, 22)


def test_a_link_that_got_better_is_noticed() -> None:
    width, link = Width(FIRST, MOST), Link(latency=0.05, limit=300)
    link.run(width, 1000)
    assert width.now == FIRST
    link.limit = 10_000
    link.run(width, 700)
    assert width.now == MOST


class Machine:
    """Moves as many objects as its CPU allows: so much for each request, and so much for each byte."""

    def __init__(self) -> None:
        self._now = 0.0

    def run(self, width: Width, seconds: float, size: int) -> list[int]:
        """All the numbers that were allowed while objects of this size were moved for so long."""
        seen, ends = [width.now], self._now + seconds
        while self._now < ends:
            self._now += 0.0004 + size * 0.0032 / MIB
            if width.ended(1, self._now, is_full=True, size=size):
                seen.append(width.now)
        return seen


def test_objects_that_become_smaller_look_like_no_gain_and_larger_ones_like_no_loss() -> None:
    width, machine = Width(FIRST, MOST), Machine()
    trials = 0
    for _turn in range(30):
        for size in (MIB, 64 * 1024):
            seen = machine.run(width, 1.0, size)
            assert set(seen) <= {16, 32}
            trials += len(seen) > 1
    assert trials > 2, "it was tried"
    assert width.now == FIRST


def test_more_objects_of_any_size_are_a_gain() -> None:
    width, link = Width(FIRST, MOST), Link(latency=0.2, limit=10_000, size=MIB)
    assert link.run(width, 10) == [16, 32, 64, 128, 171]


@given(
    latency=st.floats(0.0005, 1.0),
    limit=st.floats(20, 5000),
    noise=st.floats(0, 0.5),
    first=st.integers(1, 40),
    more=st.integers(0, 300),
    slowed=st.lists(st.integers(0, 100), max_size=6),
)
def test_it_stays_between_least_and_most_whatever_happens(
    latency: float, limit: float, noise: float, first: int, more: int, slowed: list[int]
) -> None:
    width, link = Width(first, first + more), Link(latency, limit, noise)
    for count in slowed:
        for number in link.run(width, 5):
            assert 1 <= number <= width.most
        for _failure in range(count):
            width.slowed(link.now)
            assert 1 <= width.now <= width.most


@pytest.mark.parametrize("is_full", [True, False])
def test_only_times_in_which_all_connections_were_used_count(is_full: bool) -> None:
    width = Width(FIRST, MOST)
    seen = Link(latency=0.2, limit=10_000).run(width, 60, is_full=is_full)
    assert (len(seen) > 1) == is_full


def test_a_store_that_refuses_gets_half_once_for_all_that_was_in_flight() -> None:
    width = Width(FIRST, MOST)
    assert [width.slowed(1.0) for _request in range(FIRST + 1)] == [True, *[False] * FIRST]
    assert width.now == 8
    assert width.slowed(1.1), "these were sent later"
    assert width.now == 4


def test_what_succeeded_was_in_flight_too() -> None:
    width = Width(FIRST, MOST)
    width.slowed(1.0)
    width.ended(15, 1.0, is_full=True)
    assert not width.slowed(1.0)
    assert width.slowed(1.0)


def test_it_never_gets_less_than_the_least() -> None:
    width = Width(FIRST, MOST)
    width.least = 6
    for _request in range(200):
        width.slowed(1.0)
    assert width.now == 6


def test_after_a_refusal_it_grows_again_later_and_more_slowly() -> None:
    width, link = Width(FIRST, MOST), Link(latency=0.2, limit=10_000)
    link.run(width, 10)
    width.slowed(link.now)
    assert link.run(width, 9) == [85]
    assert link.run(width, 20) == [85, 128, 171]


def test_a_fixed_number_stays() -> None:
    width = Width(FIRST, FIRST)
    assert Link(latency=0.2, limit=10_000).run(width, 60) == [FIRST]
