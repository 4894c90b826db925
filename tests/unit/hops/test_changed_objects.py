# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that the source describes otherwise than it listed them."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from snowsync.core.errors import StoreError, Trouble
from snowsync.core.model import UNTOLD, Head, Headers, ListedObject, Origin, Page, State
from snowsync.hops.flight import Item
from snowsync.hops.setbacks import Setbacks
from snowsync.hops.source.arrivals.changed_objects import ChangedObjects
from snowsync.hops.source.staging.fetch_notes import FetchNotes
from snowsync.hops.source.staging.fetching import Fetching
from snowsync.ledger.ledger import Ledger, Row

MD5, OTHER = "9e107d9d372bb6826bd81d3542a419d6", "0" * 32
ROW = Row(7, "film", 4, MD5, 1000, 2, Origin.SOURCE, State.PENDING, 0, 0, "", "", 0, 0, 0)
UNUSED: Any = None
LISTED = ListedObject("film", 5, OTHER, 2000)


def head_of(size: int = 4, etag: str = MD5) -> Head:
    return Head(200, size, etag, 2999, Headers())


class Desk:
    """A source that lists `listed` and answers a GET with `read`."""

    def __init__(self, *, listed: ListedObject | None = LISTED, read: Head | None = None) -> None:
        self.ledger: Any = mock.Mock(Ledger, listing=mock.Mock(), objects=mock.Mock(), journal=mock.Mock())
        self.ledger.listing.is_as_listed.return_value = False
        self.ledger.objects.row.return_value = ROW
        self.setbacks, self.fetching = mock.Mock(Setbacks), mock.Mock(Fetching, notes=mock.Mock(FetchNotes))
        self.fetching.notes.etag_to_read.side_effect = lambda row: row.etag
        self.listed, self.read = listed, read
        self.pages: list[int] = []
        self.endpoint: Any = SimpleNamespace(client=lambda: self, store=SimpleNamespace(sorted=True), url="a")
        self.item = Item(ROW, UNUSED, self.endpoint, "")
        self.changed = ChangedObjects(self.ledger, self.setbacks, self.fetching)

    def head_by_get(self, _key: str) -> Head:
        if self.read is None:
            raise StoreError(Trouble.SERVER, "look", "no")
        return self.read

    def list_page(self, _token: None, *, prefix: str, max_keys: int) -> Page:
        self.pages.append(max_keys)
        if self.listed is None:
            raise StoreError(Trouble.SERVER, "list", "no")
        return Page([ListedObject(f"{prefix}2", 1, "", 1), self.listed], None)


@pytest.mark.parametrize(
    ("head", "is_other"),
    [
        (head_of(), False),
        (head_of(etag=MD5.upper()), False),
        (head_of(etag=""), False),
        (head_of(size=UNTOLD), False),
        (head_of(size=5), True),
        (head_of(etag=OTHER), True),
    ],
)
def test_what_an_answer_shows_of_another_object(head: Head, is_other: bool) -> None:
    assert Desk().changed.is_other(ROW, head) is is_other


def test_the_etag_that_is_expected_by_now_counts() -> None:
    desk = Desk()
    desk.fetching.notes.etag_to_read.side_effect = lambda _row: OTHER
    assert not desk.changed.is_other(ROW, head_of(etag=OTHER))
    assert desk.changed.is_other(ROW, head_of())


# -- HEAD and GET -----------------------------------------------------------------------------------------------------


def test_get_decides_where_it_shows_what_was_listed(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(read=head_of())
    with caplog.at_level(logging.WARNING):
        for _attempt in range(2):
            found = desk.changed.as_read(desk.item, head_of(size=9, etag=OTHER), desk.endpoint)
            assert (found.size, found.etag, found.modified_ms) == (4, MD5, 2999)
    (message,) = (record.message for record in caplog.records if "contradicts itself" in record.message)
    assert f"'film' with 4 bytes and ETag '{MD5}', HEAD shows 9 bytes and ETag '{OTHER}'" in message


@pytest.mark.parametrize("read", [None, head_of(etag=OTHER)])
def test_head_stays_where_get_does_not_show_what_was_listed(read: Head | None) -> None:
    desk = Desk(read=read)
    head = head_of(size=9)
    assert desk.changed.as_read(desk.item, head, desk.endpoint) is head


# -- fetched anew -----------------------------------------------------------------------------------------------------


def test_an_overwritten_object_is_observed_as_it_is_listed_now() -> None:
    desk = Desk()
    desk.changed.fetch_anew(desk.item, head_of(5, OTHER))
    desk.ledger.listing.observe.assert_called_once_with([LISTED])
    (failure,) = (call.args[0] for call in desk.ledger.journal.record.call_args_list)
    assert (failure.trouble, failure.expected, failure.found) == (Trouble.CHANGED, MD5, OTHER)
    desk.setbacks.note.assert_called_once_with(failure)
    desk.fetching.put_back.assert_called_once_with(desk.item, None)


@pytest.mark.parametrize("listed", [None, ListedObject("film3", 5, OTHER, 2000)])
def test_an_object_that_cannot_be_listed_is_observed_as_head_shows_it(listed: ListedObject | None) -> None:
    desk = Desk(listed=listed)
    desk.endpoint.store.sorted = False
    desk.changed.fetch_anew(desk.item, head_of(5, OTHER))
    desk.ledger.listing.observe.assert_called_once_with([ListedObject("film", 5, OTHER, 2999)])
    assert desk.pages == [1000], "the order of names says nothing"


def test_a_generation_that_the_lister_has_seen_is_no_failure() -> None:
    desk = Desk()
    desk.ledger.objects.row.return_value = None
    desk.changed.fetch_anew(desk.item, head_of(5, OTHER))
    desk.ledger.listing.observe.assert_not_called()
    desk.setbacks.note.assert_not_called()
    desk.fetching.put_back.assert_called_once_with(desk.item, None)


@pytest.mark.parametrize(("size", "is_recorded"), [(5, True), (4, False), (UNTOLD, False)])
def test_a_source_that_contradicts_itself_is_believed_once(size: int, is_recorded: bool) -> None:
    desk = Desk()
    desk.ledger.listing.is_as_listed.return_value = True
    desk.fetching.notes.expect.return_value = True
    desk.changed.fetch_anew(desk.item, head_of(size, OTHER))
    assert desk.ledger.listing.read_otherwise.call_args_list == ([mock.call(ROW, size)] if is_recorded else [])
    desk.setbacks.failed.assert_not_called()
    desk.fetching.notes.expect.return_value = False
    desk.changed.fetch_anew(desk.item, head_of(size, OTHER))
    (failure,) = (call.args[0] for call in desk.setbacks.failed.call_args_list)
    assert (failure.trouble, failure.action) == (Trouble.CHANGED, "fetched again")
    desk.ledger.listing.observe.assert_not_called()
    assert desk.fetching.put_back.call_count == 2
