# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares both ways in which a page of a listing is read."""

from __future__ import annotations

from snowsync.store.listing_parser import ListingParser, cut_listing
from snowsync.store.plain_listing import plain_page
from snowsync.store.xml_repair import as_utf8


def facts(parser: ListingParser, following: dict[str, str]) -> list[object]:
    """Everything that is asked of a parsed page."""
    listed, end = parser.listed, parser.end
    texts = ["a+b%2Bc", *following.values()]
    found: list[object] = [listed.objects, listed.last_key, [listed.decoded(text) for text in texts]]
    return [*found, end.more, end.leads_on, parser.remarks, parser.unread, parser.is_cut, following]


def fully_read(body: bytes) -> list[object]:
    cut, following = cut_listing(as_utf8(body))
    parser = ListingParser()
    parser.feed(cut)
    parser.finish()
    return facts(parser, following)


def is_plain(body: bytes) -> bool:
    """Whether the page is read by patterns; then the result is exactly that of the full parser."""
    plain = plain_page(as_utf8(body))
    if plain is None:
        return False
    assert facts(*plain) == fully_read(body), body
    return True
