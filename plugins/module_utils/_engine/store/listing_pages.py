# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What is requested for a listing, and what its responses say: where it continues, and whether it is whole.

No side effects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ..core.model import Page
from .address import query_string
from .listing_parser import EntryParser, ListingParser

if TYPE_CHECKING:
    from ..config.job_file import Store

_Parser = TypeVar("_Parser", bound="ListingParser")


def listing_query(store: Store, token: str | None, prefix: str, start_after: str, max_keys: int) -> str:
    """The query of a request for a listing; with `max_keys` 0 the store decides how many it returns."""
    parameters = {"encoding-type": "url"}
    if max_keys:
        parameters["max-keys"] = str(max_keys)
    if prefix:
        parameters["prefix"] = prefix
    if store.list_version == "v1":
        if token or start_after:
            parameters["marker"] = token or start_after
        return query_string(parameters)
    parameters["list-type"] = "2"
    if token:
        parameters["continuation-token"] = token
    elif start_after:
        parameters["start-after"] = start_after
    return query_string(parameters)


def read_to_its_end(parser: _Parser, body: bytes) -> _Parser:
    """The parser, once it has read `body` as the rest of its response; ValueError."""
    parser.feed(body)
    parser.finish()
    return parser


def page_by_entries(store: Store, body: bytes) -> EntryParser | None:
    """A page that is not XML, as far as it can be read; None if that does not help."""
    try:
        parser = read_to_its_end(EntryParser(), body)
    except ValueError:
        return None
    # After a page that was cut off, the listing must be able to continue after its last key.
    is_lost = parser.is_cut and not (parser.listed.objects and store.sorted)
    return None if is_lost else parser


def page_of(store: Store, parser: ListingParser, following: dict[str, str]) -> Page:
    """The page that was read; `following` are its NextContinuationToken and NextMarker, by name."""
    if parser.is_cut:
        # Its token may be beyond what was cut off: only continuing after the last key is sure to miss nothing.
        return Page(parser.listed.objects, None, parser.end.more or None, parser.remarks, parser.unread)
    next_token = _next_token(store, parser, following)
    # A token contradicts an end even if it belongs to the other list version, or cannot be read.
    is_led_on = next_token is None and (any(following.values()) or parser.end.leads_on)
    more = None if parser.end.more is False and is_led_on else parser.end.more
    return Page(parser.listed.objects, next_token, more, parser.remarks, parser.unread)


def _next_token(store: Store, parser: ListingParser, following: dict[str, str]) -> str | None:
    """The token of the store, or for a sorted V1 listing the last key; None if there is neither."""
    if store.list_version != "v1":
        return following.get("NextContinuationToken") or None
    named = following.get("NextMarker", "")
    return (_next_marker(store, parser, named) or None) if parser.end.more or named else None


def _next_marker(store: Store, parser: ListingParser, named: str) -> str:
    """S3 returns a marker only with a delimiter; RGW always returns one, and does not encode it.

    A sorted listing always continues after its last key; an unsorted one only where the store says.
    """
    last_key = parser.listed.last_key
    if last_key and (store.sorted or named == last_key):
        return last_key
    return parser.listed.decoded(named)


def why_not_whole(parser: ListingParser) -> str:
    """Why a response cannot be accepted as the whole listing; "" if it can."""
    if parser.end.more:
        return "the store did not send everything in one response; check `list_version` and `sorted`"
    if parser.end.leads_on:
        return "the end of the listing is not clear: the store says that this is all, but gives a token to continue"
    if parser.end.more is None and parser.listed.last_key:
        return (
            "the end of the listing is not clear: the response has no readable IsTruncated; try another `list_version`"
        )
    return ""
