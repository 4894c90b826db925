# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is requested for a listing, where a page says it continues, and whether a response is the whole listing."""

from __future__ import annotations

from typing import Any

import pytest

from snowsync.config.job_file import Store
from snowsync.store.listing_pages import listing_query, page_by_entries, page_of, read_to_its_end, why_not_whole
from snowsync.store.listing_parser import ListingParser, cut_listing


def store(**options: Any) -> Store:
    return Store(bucket="bucket", **options)


def body(said: str, *keys: str) -> bytes:
    entries = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys)
    return f"<ListBucketResult><Name>n</Name>{said}{entries}</ListBucketResult>".encode()


def parsed(said: str, *keys: str) -> ListingParser:
    return read_to_its_end(ListingParser(), body(said, *keys))


@pytest.mark.parametrize(
    ("version", "asked", "expected"),
    [
        ("v2", (None, "", "", 1000), "encoding-type=url&list-type=2&max-keys=1000"),
        ("v2", (None, "p/", "p/a", 5), "encoding-type=url&list-type=2&max-keys=5&prefix=p%2F&start-after=p%2Fa"),
        ("v2", ("t+", "", "a", 5), "continuation-token=t%2B&encoding-type=url&list-type=2&max-keys=5"),
        ("v1", (None, "", "a", 5), "encoding-type=url&marker=a&max-keys=5"),
        ("v1", ("t", "", "a", 5), "encoding-type=url&marker=t&max-keys=5"),
        ("v1", (None, "", "", 0), "encoding-type=url"),
    ],
)
def test_query(version: str, asked: tuple[str | None, str, str, int], expected: str) -> None:
    assert listing_query(store(list_version=version), *asked) == expected


@pytest.mark.parametrize(
    ("options", "said", "following", "expected"),
    [
        ({}, "<IsTruncated>true</IsTruncated>", {"NextContinuationToken": "t"}, ("t", True)),
        ({}, "<IsTruncated>false</IsTruncated>", {"NextMarker": "m"}, (None, None)),
        ({}, "<IsTruncated>false</IsTruncated>", {}, (None, False)),
        ({"list_version": "v1"}, "<IsTruncated>true</IsTruncated>", {}, ("b", True)),
        ({"list_version": "v1"}, "<IsTruncated>true</IsTruncated>", {"NextMarker": "m"}, ("b", True)),
        ({"list_version": "v1"}, "", {}, (None, None)),
        (
            {"list_version": "v1", "sorted": False},
            "<IsTruncated>1</IsTruncated>",
            {"NextMarker": "m%2B"},
            ("m%2B", True),
        ),
        ({"list_version": "v1", "sorted": False}, "<IsTruncated>1</IsTruncated>", {}, (None, True)),
    ],
)
def test_where_a_page_says_that_the_listing_continues(
    options: dict[str, Any], said: str, following: dict[str, str], expected: tuple[str | None, bool | None]
) -> None:
    page = page_of(store(**options), parsed(said, "a", "b"), following)
    assert [item.key for item in page.objects] == ["a", "b"]
    assert (page.next_token, page.more) == expected


def test_a_page_that_was_cut_off_continues_after_its_last_key_whatever_its_token() -> None:
    cut, following = cut_listing(body("<NextContinuationToken>t</NextContinuationToken>", "a", "b")[:-25])
    parser = page_by_entries(store(), cut)
    assert parser is not None and parser.is_cut
    page = page_of(store(), parser, following)
    assert [item.key for item in page.objects] == ["a"]
    assert (following, page.next_token, page.more) == ({"NextContinuationToken": "t"}, None, None)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sorted": False}, b"<ListBucketResult><Contents><Key>a</Key></Contents>"),
        ({}, b"<ListBucketResult><Contents><Key>a"),
        ({}, b"<html>"),
    ],
)
def test_entries_do_not_help_where_nothing_says_how_to_continue(options: dict[str, Any], text: bytes) -> None:
    assert page_by_entries(store(**options), text) is None


@pytest.mark.parametrize(
    ("said", "keys", "problem"),
    [
        ("<IsTruncated>false</IsTruncated>", ["a"], ""),
        ("", [], ""),
        ("", ["a"], "no readable IsTruncated"),
        ("<IsTruncated>true</IsTruncated>", ["a"], "did not send everything"),
        ("<IsTruncated>false</IsTruncated><NextMarker>a</NextMarker>", ["a"], "gives a token to continue"),
    ],
)
def test_why_a_response_is_not_the_whole_listing(said: str, keys: list[str], problem: str) -> None:
    why = why_not_whole(parsed(said, *keys))
    assert problem in why and bool(problem) == bool(why)
