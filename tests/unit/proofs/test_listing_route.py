# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a listing is read to find the wanted keys, and that every walk over it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowsync.core.keys import key_bytes
from snowsync.core.model import ListedObject, Page
from snowsync.proofs.listing_route import ListingRoute, before_key

Answer = Callable[[str, int], Page]


def page(keys: Sequence[str], *, is_last: bool = False) -> Page:
    return Page([ListedObject(key, 1, "e", 1) for key in keys], None if is_last else "token", not is_last)


class Walk:
    """A walk over a bucket; `asked`: start and number of keys of each request, `shown`: all keys of the pages."""

    def __init__(self, wanted: Sequence[str], bucket: Sequence[str], *, numbers: Sequence[int] = (), prefix: str = ""):
        self.ordered = sorted(bucket, key=key_bytes)
        self.asked: list[tuple[str, int]] = []
        self.shown: list[str] = []
        self.wanted = sorted(wanted, key=key_bytes)
        self.route = ListingRoute(self.wanted, numbers or [0] * len(wanted), prefix)

    def walk(self, answer: Answer | None = None) -> Walk:
        while not self.route.is_over:
            start, count = self.route.start_after(), self.route.max_keys()
            self.asked.append((start, count))
            assert len(self.asked) <= len(self.wanted) + 1, "it does not end"
            given = (answer or self.answer)(start, count)
            shown = [listed.key for listed in given.objects]
            self.shown += shown
            self.route.take(given, sum(key in self.wanted for key in shown))
        return self

    def answer(self, start: str, count: int) -> Page:
        rest = [key for key in self.ordered if key_bytes(key) > key_bytes(start)]
        return page(rest[:count], is_last=len(rest) <= count)

    @property
    def is_complete(self) -> bool:
        return set(self.wanted[1:]) <= set(self.shown)


BUCKET = [f"d/object-{number:05}" for number in range(5000)]


def test_neighbours_cost_one_request_and_no_other_key() -> None:
    walk = Walk(BUCKET[1000:1500], BUCKET, numbers=range(1, 501)).walk()
    assert walk.asked == [("d/object-01000", 499)]
    assert walk.is_complete


def test_what_others_sent_is_passed_over() -> None:
    """Two runs of a volume with a run of another one in between."""
    numbers = [*range(300), *range(800, 1000)]
    walk = Walk([BUCKET[number] for number in numbers], BUCKET, numbers=numbers).walk()
    assert walk.asked == [("d/object-00000", 299), ("d/object-0080/", 200)]
    assert walk.is_complete
    assert len(walk.shown) == 499


def test_what_lies_between_is_listed_where_it_is_little() -> None:
    numbers = range(0, 1000, 2)
    walk = Walk([BUCKET[number] for number in numbers], BUCKET, numbers=numbers).walk()
    assert (len(walk.asked), walk.is_complete) == (1, True)
    assert len(walk.shown) < 1000


def test_keys_that_only_the_destination_has_cost_another_request() -> None:
    bucket = sorted([*BUCKET[:500], *(f"{key}-foreign" for key in BUCKET[:500:10])])
    walk = Walk(BUCKET[:500], bucket, numbers=range(500)).walk()
    assert (len(walk.asked), walk.is_complete) == (3, True)
    assert walk.asked[-1][1] == 32, "not just the few that are left"


def test_numbers_in_another_order_are_no_help_and_no_harm() -> None:
    walk = Walk(BUCKET[:500], BUCKET, numbers=range(500, 0, -1)).walk()
    assert (len(walk.asked), walk.is_complete) == (1, True)


def test_scattered_objects_are_left_to_heads() -> None:
    numbers = range(0, 5000, 250)
    walk = Walk([BUCKET[number] for number in numbers], BUCKET, numbers=numbers).walk()
    assert len(walk.asked) == 1, "a page that shows one of 32"
    short = [number + more for number in range(0, 5000, 250) for more in range(8)]
    walk = Walk([BUCKET[number] for number in short], BUCKET, numbers=short).walk()
    assert len(walk.asked) < 10, "twenty runs of eight objects, for which HEADs go out several at a time"


def test_a_single_key_needs_no_listing() -> None:
    assert Walk(["a"], ["a"]).walk().asked == []


def test_the_end_of_the_listing_is_the_end() -> None:
    walk = Walk(["a", "b", "z"], ["a", "b"]).walk()
    assert len(walk.asked) == 1


@pytest.mark.parametrize("more", [True, None])
def test_a_listing_without_tokens_continues_by_key(more: bool | None) -> None:
    walk = Walk(BUCKET[:100], BUCKET)

    def answer(start: str, _count: int) -> Page:
        return Page(walk.answer(start, 50).objects, None, more)

    walk.walk(answer)
    assert (len(walk.asked), walk.is_complete) == (2, True)


@pytest.mark.parametrize(
    ("answers", "requests"),
    [
        ([[]], 1),
        ([BUCKET[:50]], 1),  # it begins before the start: the store ignores that
        ([BUCKET[100:150], BUCKET[100:150]], 2),
        ([BUCKET[100:150], [BUCKET[149]]], 2),  # the start itself, again and again
        ([[*BUCKET[150:180], BUCKET[100]], BUCKET[101:120]], 1),  # in no order
        ([[f"{key}-foreign" for key in BUCKET[101:111]]], 1),
    ],
)
def test_a_store_that_leads_nowhere_is_left(answers: list[list[str]], requests: int) -> None:
    walk = Walk(BUCKET[100:400], BUCKET, numbers=range(300))
    left = list(answers)
    walk.walk(lambda _start, _count: page(left.pop(0)))
    assert len(walk.asked) == requests


def test_a_store_may_list_the_start_itself() -> None:
    walk = Walk(BUCKET[:100], BUCKET)

    def answer(start: str, count: int) -> Page:
        first = [start] if start in BUCKET else []
        return page([*first, *[key for key in BUCKET if key > start]][: min(count, 40)])

    walk.walk(answer)
    assert walk.is_complete


@pytest.mark.parametrize(
    ("key", "prefix", "before"),
    [
        ("d/object-2", "", "d/object-1"),
        ("d/object-0", "d/", "d/object-/"),
        ("d/a!", "", "d/a "),
        ("d/a ", "", "d/a"),
        ("d/a\x7f", "", "d/a"),
        ("d/\n", "d/", "d/"),
        ("d/é", "", "d/"),
        ("d/\ue000", "", "d/"),
        ("\U00010000", "", ""),
        ("b", "", "a"),
        ("\x01", "", ""),
        ("d/", "d/", ""),
        ("d/a", "d/", "d/`"),
    ],
)
def test_a_text_before_a_key(key: str, prefix: str, before: str) -> None:
    assert before_key(key, prefix) == before


@given(st.text(st.characters(codec="utf-8"), max_size=5), st.text(st.characters(codec="utf-8"), min_size=1, max_size=5))
def test_any_text_before_a_key_is_valid_and_no_longer(prefix: str, rest: str) -> None:
    key = prefix + rest
    before = before_key(key, prefix)
    assert before.encode() < key.encode()
    assert len(before.encode()) <= len(key.encode())
    assert before.startswith(prefix)


@given(
    wanted=st.sets(st.text("ab0é", min_size=1, max_size=4), min_size=32, max_size=60),
    others=st.sets(st.text("abc0é/", min_size=1, max_size=5), max_size=60),
    gone=st.sets(st.integers(0, 60)),
    numbers=st.lists(st.integers(0, 900), min_size=60, max_size=60),
    size=st.integers(1, 40),
)
def test_every_walk_ends_and_none_goes_back(
    wanted: set[str], others: set[str], gone: set[int], numbers: list[int], size: int
) -> None:
    """Whatever the numbers, and what the store holds, pages are in order and show no key twice."""
    keys = sorted(wanted, key=key_bytes)
    there = [key for number, key in enumerate(keys) if number not in gone]
    walk = Walk(keys, sorted({*there, *others}, key=key_bytes), numbers=numbers[: len(keys)])
    walk.walk(lambda start, count: walk.answer(start, min(count, size)))
    shown = [key_bytes(key) for key in walk.shown]
    assert shown == sorted(set(shown))
