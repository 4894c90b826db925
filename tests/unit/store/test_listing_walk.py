# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a listing goes on and whether it has ended, over stores that say little, too much, or nonsense."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snowsync.config.job_file import Store
from snowsync.core.errors import StoreError, Trouble
from snowsync.core.keys import key_bytes
from snowsync.core.model import ListedObject, Page
from snowsync.store.listing_walk import EMPTY_PAGES, ListingWalk, Standstill

Ask = Callable[[str | None, str], Page]


def store(**options: Any) -> Store:
    return Store(bucket="bucket", prefix="p/", endpoints=("http://x",), **options)


def page(*keys: str, token: str | None = None, more: bool | None = False) -> Page:
    return Page([ListedObject(key, 1, "e", 1) for key in keys], token, more)


def walked(ask: Ask, limit: int = 3 * EMPTY_PAGES, **options: Any) -> list[str]:
    """The keys of a whole walk, which must end within `limit` pages."""
    walk, found = ListingWalk(store(**options)), list[str]()
    for _ in range(limit):
        if walk.is_over:
            return found
        answer = ask(walk.token, walk.start_after)
        found += [listed.key for listed in answer.objects]
        walk.take(answer)
    raise AssertionError(f"it did not end within {limit} pages")


def refused(ask: Ask, **options: Any) -> str:
    with pytest.raises(StoreError) as caught:
        walked(ask, **options)
    assert caught.value.trouble is Trouble.UNSUPPORTED
    assert str(caught.value).startswith("Failed to list s3://bucket/p/: ")
    return caught.value.detail


def paged(keys: list[str], size: int, dress: Callable[[Page], Page]) -> Ask:
    """A store in the order of keys, whose pages `dress` changes; its tokens name the place to go on."""
    ordered = sorted(keys, key=key_bytes)

    def ask(token: str | None, start_after: str) -> Page:
        start = (
            int(token.removeprefix("at-")) if token else sum(key_bytes(k) <= key_bytes(start_after) for k in ordered)
        )
        end = start + size
        rest = len(ordered) > end
        return dress(page(*ordered[start:end], token=f"at-{end}" if rest else None, more=rest))

    return ask


def without_token(answer: Page) -> Page:
    return Page(answer.objects, None, answer.more)


def without_word(answer: Page) -> Page:
    return Page(answer.objects, answer.next_token, None)


def silent(answer: Page) -> Page:
    return Page(answer.objects, None, None)


def contradictory(answer: Page) -> Page:
    return Page(answer.objects, answer.next_token, False)


KEYS = [f"k{number:02}" for number in range(35)]


@pytest.mark.parametrize("dress", [lambda answer: answer, without_token, without_word, silent, contradictory])
@pytest.mark.parametrize("size", [1, 7, 10, 35, 36])
def test_every_key_is_listed_however_little_the_store_says(dress: Callable[[Page], Page], size: int) -> None:
    assert walked(paged(KEYS, size, dress)) == KEYS


@settings(max_examples=100)
@given(
    st.sets(st.binary(min_size=1, max_size=3).map(lambda raw: raw.decode(errors="surrogateescape")), max_size=12),
    st.integers(1, 5),
    st.sampled_from([without_token, without_word, silent, contradictory]),
)
def test_every_key_of_any_bytes_is_listed(keys: set[str], size: int, dress: Callable[[Page], Page]) -> None:
    assert walked(paged(list(keys), size, dress)) == sorted(keys, key=key_bytes)


def test_a_clear_end_costs_no_further_request() -> None:
    answers = iter([page("a", token="t", more=True), page("b")])
    assert walked(lambda token, start: next(answers)) == ["a", "b"]


def test_an_unclear_end_is_asked_for_once_more_after_the_last_key() -> None:
    asked: list[tuple[str | None, str]] = []
    answers = iter([page("a", "b", more=None), page(more=None)])

    def ask(token: str | None, start_after: str) -> Page:
        asked.append((token, start_after))
        return next(answers)

    assert walked(ask) == ["a", "b"]
    assert asked == [(None, ""), (None, "b")]


def test_an_empty_bucket_of_a_store_that_says_nothing_has_ended() -> None:
    assert walked(lambda token, start: page(more=None)) == []


@pytest.mark.parametrize("more", [None, True])
def test_without_an_order_an_unclear_end_is_refused(more: bool | None) -> None:
    problem = refused(lambda token, start: page("b", "a", more=more), sorted=False)
    assert "the end of the listing is not clear" in problem
    assert "`list_version`" in problem
    assert "`sorted: true`" in problem


def test_more_and_no_word_where_is_refused() -> None:
    assert "not where to continue" in refused(lambda token, start: page(more=True))


def test_a_contradicted_end_is_followed_until_nothing_comes() -> None:
    # The token is named on every page, the last one too.
    answers = iter([page("a", token="1"), page("b", token="2"), page(token="2"), page("lost", token="3")])
    assert walked(lambda token, start: next(answers)) == ["a", "b"]


def test_a_token_that_is_always_named_is_no_circle_where_nothing_comes_after_the_last_key() -> None:
    asked: list[tuple[str | None, str]] = []

    def ask(token: str | None, start_after: str) -> Page:
        asked.append((token, start_after))
        return page("a", token="a", more=None) if len(asked) == 1 else page(token="a", more=None)

    assert walked(ask) == ["a"]
    assert asked == [(None, ""), ("a", ""), (None, "a")]


def test_a_contradicted_end_on_an_empty_page_is_asked_about_once() -> None:
    answers = iter([page(token="1"), page("a", token="2"), page(token="3")])
    assert walked(lambda token, start: next(answers)) == ["a"]


@pytest.mark.parametrize("length", [1, 2, 3, 50])
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("fill", ["keys", "empty"])
@pytest.mark.parametrize("more", [True, None])
def test_a_circle_of_tokens_of_any_length_is_refused(length: int, in_order: bool, fill: str, more: bool | None) -> None:
    numbers = itertools.count()

    def ask(token: str | None, start_after: str) -> Page:
        number = next(numbers)
        keys = [f"{number:09}"] if fill == "keys" else []
        return page(*keys, token=f"t{number % length}", more=more)

    assert "the listing would never end" in refused(ask, sorted=in_order)


@pytest.mark.parametrize("in_order", [True, False])
def test_pages_that_come_again_under_new_tokens_are_refused(in_order: bool) -> None:
    tokens = (f"t{number}" for number in itertools.count())
    pages = itertools.cycle([["a", "b"], ["c", "d"], ["e", "f"]])
    problem = refused(lambda token, start: page(*next(pages), token=next(tokens), more=True), sorted=in_order)
    assert "`list_version`" in problem
    assert ("goes back" in problem) is in_order


def test_empty_pages_without_end_are_refused_and_some_are_not() -> None:
    def ask(count: float) -> Ask:
        numbers: Iterator[int] = itertools.count()

        def answer(token: str | None, start_after: str) -> Page:
            number = next(numbers)
            return page(token=f"t{number}", more=True) if number < count else page("a")

        return answer

    assert "empty pages" in refused(ask(float("inf")))
    assert walked(ask(EMPTY_PAGES)) == ["a"]


def test_keys_that_go_backwards_are_refused_where_they_should_be_in_order() -> None:
    def answers() -> Ask:
        given = iter([page("a", "m", token="1", more=True), page("c", "k", token="2", more=True), page("z")])
        return lambda token, start: next(given)

    problem = refused(answers())
    assert "'m'" in problem
    assert "'k'" in problem
    assert "`sorted: false`" in problem
    assert walked(answers(), sorted=False) == ["a", "m", "c", "k", "z"]


def test_pages_that_overlap_but_lead_on_are_taken() -> None:
    answers = iter([page("a", "b", token="1", more=True), page("b", "c", token="2", more=True), page("c", "d")])
    assert walked(lambda token, start: next(answers)) == ["a", "b", "b", "c", "c", "d"]


def test_a_page_out_of_order_is_never_gone_on_from_by_key() -> None:
    assert "not clear" in refused(lambda token, start: page("b", "a", "c", more=None))
    out_of_order = page("b", "a", "c", token="c", more=True)
    assert "V1 continues by key" in refused(lambda token, start: out_of_order, list_version="v1")


def test_another_endpoint_goes_on_after_the_last_key() -> None:
    walk = ListingWalk(store())
    walk.go_on_without_token()
    assert (walk.token, walk.start_after) == (None, "")
    walk.take(page("a", "b", token="t", more=True))
    walk.go_on_without_token()
    assert (walk.token, walk.start_after) == (None, "b")


def test_another_endpoint_is_given_the_token_where_there_is_no_order() -> None:
    walk = ListingWalk(store(sorted=False))
    walk.take(page("b", "a", token="t", more=True))
    walk.go_on_without_token()
    assert (walk.token, walk.start_after) == ("t", "")


def test_another_endpoint_is_not_asked_by_key_where_the_order_is_not_kept() -> None:
    walk = ListingWalk(store())
    walk.take(page("b", "a", "c", token="t", more=True))
    with pytest.raises(StoreError, match="sorted: false"):
        walk.go_on_without_token()


# -- standstill ---------------------------------------------------------------------------------------------------


def test_a_walk_stands_still_where_it_passes_a_mark_again() -> None:
    standstill = Standstill()
    assert not standstill.has_passed("token t")
    assert not standstill.passes("token t")
    assert not standstill.passes("key t")
    assert standstill.has_passed("token t")
    assert standstill.passes("token t")


def test_a_walk_stands_still_where_too_many_pages_in_a_row_are_empty() -> None:
    standstill = Standstill()
    assert not any(standstill.empty_page() for _number in range(EMPTY_PAGES))
    standstill.full_page()
    assert not any(standstill.empty_page() for _number in range(EMPTY_PAGES))
    assert standstill.empty_page()
