# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A listing is read to its end, whatever a store says in between."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from snowsync.config.job_file import Store
from snowsync.core.errors import StoreError, Trouble
from snowsync.core.model import ListedObject, Page
from snowsync.hops.source.listing import listing_pages
from snowsync.hops.source.listing.listing_pages import ListingGaps, ListingPages, ListingRemarks
from snowsync.store.answers import UNREADABLE

KEYS = [f"key-{number}" for number in range(6)]
ODD = StoreError(Trouble.SERVER, "list", "no XML", code=UNREADABLE)
BUSY = StoreError(Trouble.THROTTLED, "list", "HTTP 503", status=503)
NO_TOKEN = StoreError(Trouble.OTHER, "list", "InvalidToken", status=400)


class FakeSource:
    """A store, its endpoint and its client, and the outages of its listing. Pages of two keys."""

    def __init__(self, **options: Any) -> None:
        self.store = Store(bucket="bucket", endpoints=("http://source.test:1",), **options)
        self.stopping = False
        self.asked: list[tuple[str | None, str]] = []
        self.bad: set[str] = set()  # keys that make a page unreadable
        self.errors: list[StoreError] = []  # for the requests with a token, in turn
        self.borne: list[StoreError] = []
        self.restarts = 0

    # the endpoint and its client

    def client(self) -> FakeSource:
        return self

    def list_page(self, token: str | None, *, prefix: str, start_after: str, max_keys: int) -> Page:
        self.asked.append((token, start_after))
        if token and self.errors:
            raise self.errors.pop(0)
        after = token or start_after
        keys = [key for key in KEYS if key > after and key.startswith(prefix)][: min(2, max_keys)]
        if self.bad.intersection(keys):
            raise ODD
        more = bool(keys) and keys[-1] != KEYS[-1]
        objects = [ListedObject(key, 1, "e", 1) for key in keys]
        return Page(objects, keys[-1] if more else None, more, {"odd": "a date"})

    def list_whole(self, *, prefix: str) -> Iterator[Page]:
        for number, key in enumerate(KEYS):
            if number == 3 and self.errors:
                raise self.errors.pop(0)
            yield Page([ListedObject(key, 1, "e", 1)], None)

    # outages

    def endpoint(self) -> FakeSource | None:
        return None if self.stopping else self

    def over(self) -> None:
        pass

    def bear(self, _endpoint: object, error: StoreError) -> None:
        if not error.trouble.is_transient:
            raise error
        self.borne.append(error)

    def is_unreadable_for_good(self, error: StoreError, _patience: int) -> bool:
        return error.code == UNREADABLE

    def restarted(self) -> None:
        self.restarts += 1


def pages_of(source: Any) -> ListingPages:
    return ListingPages(source.store, source, source, restarted=source.restarted)


def keys_of(pages: list[Page | None]) -> list[str]:
    return [each.key for page in pages if page for each in page.objects]


def test_a_listing_is_read_page_by_page_and_again_in_the_next_pass() -> None:
    source = FakeSource()
    pages = pages_of(source)
    for _time in range(2):
        assert keys_of(list(pages.read())) == KEYS
    assert source.asked[:3] == [(None, ""), ("key-1", ""), ("key-3", "")]


def test_a_transient_error_costs_no_page() -> None:
    source = FakeSource()
    source.errors = [BUSY, BUSY]
    assert keys_of(list(pages_of(source).read())) == KEYS
    assert (source.borne, source.restarts) == ([BUSY, BUSY], 0)


def test_a_token_that_is_refused_restarts_the_listing_once() -> None:
    source = FakeSource()
    source.errors = [NO_TOKEN]
    assert keys_of(list(pages_of(source).read())) == [*KEYS[:2], *KEYS]
    assert source.restarts == 1
    source.errors = [NO_TOKEN, NO_TOKEN]
    with pytest.raises(StoreError, match="InvalidToken"):
        list(pages_of(source).read())


def test_a_key_that_cannot_be_read_is_named_and_the_others_are_listed() -> None:
    source = FakeSource()
    source.bad = {"key-2"}
    pages = list(pages_of(source).read())
    assert keys_of(pages) == [key for key in KEYS if key != "key-2"]
    (unread,) = [what for page in pages if page for what in page.unread]
    assert unread.startswith("what stands after 'key-1' and up to 'key-2")
    assert " cannot be read: no XML; try another `list_version`" in unread


def test_an_unsorted_listing_ends_where_it_cannot_be_read() -> None:
    source = FakeSource(sorted=False)
    source.bad = {"key-2"}
    pages = list(pages_of(source).read())
    assert keys_of(pages) == KEYS[:2]
    assert pages[-1]
    assert "and all that follows, cannot be read" in pages[-1].unread[0]


@pytest.mark.parametrize("options", [{}, {"list_version": "v1", "sorted": False}])
def test_a_unit_that_stops_ends_the_listing_with_nothing(options: dict[str, Any]) -> None:
    source = FakeSource(**options)
    pages = pages_of(source).read()
    assert next(pages)
    source.stopping = True
    assert list(pages) == [None]


def test_a_unit_that_stops_while_a_gap_is_measured_names_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    source = FakeSource()
    source.bad = {"key-2"}

    def stop(*_arguments: object) -> bool:
        raise listing_pages._Stopped

    monkeypatch.setattr(ListingGaps, "_is_readable", stop)
    pages = list(pages_of(source).read())
    assert pages[-1] is None
    assert keys_of(pages) == KEYS[:2]


def test_a_whole_listing_is_restarted_after_an_outage() -> None:
    source = FakeSource(list_version="v1", sorted=False)
    source.errors = [BUSY]
    assert keys_of(list(pages_of(source).read())) == [*KEYS[:3], *KEYS]
    assert source.restarts == 1


def test_a_gap_is_measured_once_as_long_as_its_end_can_be_read() -> None:
    source: Any = FakeSource()
    source.bad = {"key-2"}
    gaps = ListingGaps(source)
    end = gaps.end_of("key-1", "")
    assert end.startswith("key-2")
    first = len(source.asked)
    assert gaps.end_of("key-1", "") == end
    assert len(source.asked) == first + 1, "one question confirms it"
    source.bad = {"key-2", "key-3"}
    assert gaps.end_of("key-1", "").startswith("key-3"), "it has grown"


def test_there_is_no_end_where_nothing_can_be_read() -> None:
    source: Any = FakeSource()
    source.list_page = refuse(ODD)
    assert ListingGaps(source).end_of("key-1", "") == ""


def refuse(error: StoreError) -> Callable[..., Page]:
    def list_page(*_arguments: object, **_options: object) -> Page:
        raise error

    return list_page


def test_each_kind_of_oddity_is_told_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_pages, "_MOST_REMARKS", 2)
    remarks = ListingRemarks()
    with caplog.at_level(logging.WARNING):
        for kind in ("date", "date", "size", "third"):
            remarks.tell({kind: f"its {kind} is odd"})
    assert caplog.messages == ["the source's listing: its date is odd", "the source's listing: its size is odd"]
