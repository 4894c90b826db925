# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listings that no XML parser takes, in other encodings, cut off, or unreadable: what is in them is read anyway."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from snowsync.core.errors import StoreError
from snowsync.store.answers import UNREADABLE, parse_error
from snowsync.store.listing_gaps import PAGE_KEYS, PageSize, search
from snowsync.store.listing_parser import EntryParser, ListingParser
from snowsync.store.listing_requests import PageRequests
from snowsync.store.request_errors import RequestErrors
from snowsync.store.xml_repair import as_utf8, encoding_of

CHUNKS = pytest.mark.parametrize("chunk", [1, 7, 1 << 20])


def entry(key: str) -> str:
    date = "<LastModified>2026-02-02T02:40:00.123Z</LastModified>"
    return (
        f"<Contents><Key>{key}</Key>{date}<ETag>&quot;e&quot;</ETag><Size>5</Size><Owner><ID>i</ID></Owner></Contents>"
    )


def listing(*keys: str, encoding: str = "UTF-8", root: str = "ListBucketResult") -> str:
    declared = f'<?xml version="1.0" encoding="{encoding}"?>\n' if encoding else ""
    entries = "".join(map(entry, keys))
    return f'{declared}<{root} xmlns="x"><Name>b</Name><IsTruncated>false</IsTruncated>{entries}</{root}>'


def read(parser: ListingParser, body: bytes, chunk: int) -> list[str]:
    for start in range(0, len(body), chunk):
        parser.feed(body[start : start + chunk])
    parser.finish()
    assert {(item.size, item.etag) for item in parser.listed.objects} <= {(5, "e")}
    return [item.key for item in parser.listed.objects]


# -- encodings ----------------------------------------------------------------------------------------------------


@CHUNKS
@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("UTF-16", "utf-16"),
        ("", "utf-16"),
        ("UTF-16", "utf-16-le"),
        ("UTF-16BE", "utf-16-be"),
        ("ISO-8859-1", "latin-1"),
        ("windows-1252", "cp1252"),
        ("UTF-16", "utf-8"),  # that is not so
        ("us-ascii", "utf-8"),
        ("rot13", "utf-8"),
        ("none-such", "utf-8"),
    ],
)
def test_a_listing_is_read_in_its_own_encoding(declared: str, encoding: str, chunk: int) -> None:
    body = listing("a", "é", "z\x01", encoding=declared).encode(encoding)
    assert read(ListingParser(), body, chunk) == ["a", "é", "z\x01"]
    assert read(EntryParser(), body, chunk) == ["a", "é", "z\x01"]
    assert read(ListingParser(), as_utf8(body), chunk) == ["a", "é", "z\x01"]


def test_bytes_that_the_encoding_does_not_have_end_nothing() -> None:
    body = listing("a", "é", encoding="UTF-8").encode("latin-1")
    assert as_utf8(body) == body
    assert read(ListingParser(), body, 1 << 20) == ["a", "\udce9"]
    assert encoding_of(b"") == "utf-8"


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_an_error_is_read_in_its_own_encoding(encoding: str) -> None:
    declared = f'<?xml version="1.0" encoding="{encoding}"?>'
    refusal = parse_error(f"{declared}<Error><Code>NoSuchBucket</Code><Message>né</Message></Error>".encode(encoding))
    assert refusal and (refusal.code, refusal.message) == ("NoSuchBucket", "né")


# -- entry by entry -----------------------------------------------------------------------------------------------


@CHUNKS
def test_keys_with_markup_as_it_is(chunk: int) -> None:
    keys = ["a<b", "c>d&e", "f<Size>9</Size>g", "h]]>", "i</Key>j", "k<!--l", "m</Contents>n", "<"]
    body = listing(*keys).encode()
    with pytest.raises(ValueError, match="XML"):
        read(ListingParser(), body, chunk)
    parser = EntryParser()
    assert read(parser, body, chunk) == keys
    assert (parser.end.more, parser.unread, parser.is_cut) == (False, [], False)


@CHUNKS
def test_an_answer_that_ends_too_early(chunk: int) -> None:
    body = listing("a", "b", "c").encode()
    parser = EntryParser()
    assert read(parser, body[: body.index(b"<Size>5", body.index(b"<Key>c"))], chunk) == ["a", "b"]
    assert (parser.is_cut, parser.unread) == (True, [])
    assert "it was cut off" in parser.remarks["no XML"]


@CHUNKS
@pytest.mark.parametrize(
    ("broken", "keys"),
    [
        ("<Key>b</Kye>", ["a", "c"]),
        ("<key/>", ["a", "c"]),
        ("", ["a", "c"]),
    ],
)
def test_an_entry_without_a_readable_key_is_named(broken: str, keys: list[str], chunk: int) -> None:
    parser = EntryParser()
    body = listing("a", "b", "c").replace("<Key>b</Key>", broken).encode()
    assert read(parser, body, chunk) == keys
    assert len(parser.unread) == 1
    assert parser.unread[0].startswith(f"an entry after 'a' cannot be read: '{broken}<LastModified>")


@CHUNKS
def test_an_entry_without_its_end_hides_no_other(chunk: int) -> None:
    assert read(EntryParser(), listing("a", "b", "c").replace("</Contents>", "", 2).encode(), chunk) == ["a", "b", "c"]
    parser = EntryParser()
    last = listing("a", "b").replace("</Contents></List", "</List").encode()
    assert read(parser, last, chunk) == ["a"]
    assert "<Key>b" in parser.unread[0]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_page_whose_end_cannot_be_read_is_an_error_of_the_store(version: str) -> None:
    """The reader of a listing then asks for smaller pages, which end elsewhere; anything else would end the unit."""
    store: Any = mock.Mock(list_version=version, bucket="b", prefix="")
    body = b"<ListBucketResult><NextMarker>a&#xD800;</NextMarker></ListBucketResult>"

    @contextlib.contextmanager
    def served(_action: str, _query: str, sink: Callable[[bytes], None], _asked: object) -> Iterator[object]:
        sink(body)
        yield None

    gets: Any = mock.Mock(of_listing=served)
    errors: Any = mock.Mock(RequestErrors)
    with pytest.raises(StoreError, match="refers to U\\+D800, which is not a character") as refused:
        PageRequests(store, gets, errors).page(None, "", "", 1000)
    assert refused.value.code == UNREADABLE


@pytest.mark.parametrize(
    "body", ["", "<html><body>Sign in", "\0 no listing", "<!DOCTYPE x []><ListBucketResult>", "x" * 99]
)
def test_what_is_no_listing_is_none(body: str) -> None:
    with pytest.raises(ValueError):
        read(EntryParser(), body.encode(), 1 << 20)


# -- by key -------------------------------------------------------------------------------------------------------

KEYS = [f"p/k{number:02}" for number in range(20)]


def passed(keys: list[str], hidden: set[str], after: str, prefix: str) -> tuple[str | None, int]:
    """Where a search ends in a bucket, and how many questions that took."""
    question = search(after, prefix)
    text, count = next(question), 0
    try:
        while True:
            following = next((key for key in sorted(keys) if key > text and key.startswith(prefix)), None)
            count += 1
            text = question.send(following not in hidden)
    except StopIteration as end:
        return end.value, count


@pytest.mark.parametrize(
    ("hidden", "after"),
    [
        ("p/k05", "p/k04"),
        ("p/k00", "p/"),
        ("p/k00", ""),
        ("p/k19", "p/k18"),
        ("p/k05<", "p/k05"),
        ("p/k05é€\U0001f600", "p/k05"),
        ("p/\ue000", "p/k19"),
        ("p/{", "p/k19"),
    ],
)
def test_the_unreadable_key_is_found(hidden: str, after: str) -> None:
    found, count = passed([*KEYS, hidden], {hidden}, after, "p/")
    assert found == hidden
    assert count < 100


def test_several_in_a_row_are_passed_together() -> None:
    assert passed(KEYS, {"p/k05", "p/k06", "p/k07"}, "p/k04", "p/")[0] == "p/k07"
    assert passed(KEYS, set(KEYS), "p/", "p/")[0] == KEYS[-1]


def test_a_long_key_is_not_looked_for_for_ever() -> None:
    found, count = passed([*KEYS, "p/" + "z" * 900], {"p/" + "z" * 900}, "p/k19", "p/")
    assert found and "p/" + "z" * 900 < found < "p/{"
    assert count < 300


def test_a_store_that_answers_nothing_readable_is_told_at_once() -> None:
    question = search("a", "")
    next(question)
    with pytest.raises(StopIteration) as end:
        question.send(False)
    assert end.value.value is None


@pytest.mark.parametrize("place", [0, 1, 499, 500, 733, 999])
def test_pages_become_small_around_one_place_and_large_again(place: int) -> None:
    size, at, asked = PageSize(), 0, 0
    while not (size.is_least and at == place):
        asked += 1
        if at <= place < at + size.keys:
            size.was_unreadable()
        else:
            at += size.keys
            size.was_read(size.keys)
    assert asked < 40
    size.passed()
    assert size.keys == PAGE_KEYS
