# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a test reads of a listing, both ways to read it agree."""

from __future__ import annotations

import pytest
from plain_pages import is_plain

from snowsync.store.listing_parser import ListingParser


@pytest.fixture(autouse=True)
def every_page_read_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever these tests give to the full parser: reading it by patterns has the same result, or none."""
    chunks: dict[int, bytes] = {}
    feed, finish = ListingParser.feed, ListingParser.finish
    is_checking = False

    def feeds(parser: ListingParser, chunk: bytes) -> None:
        chunks[id(parser)] = chunks.get(id(parser), b"") + chunk
        feed(parser, chunk)

    def finishes(parser: ListingParser) -> None:
        nonlocal is_checking
        body = chunks.pop(id(parser), b"")
        if parser.__class__ is ListingParser and not is_checking:
            is_checking = True
            is_plain(body)
            is_checking = False
        finish(parser)

    monkeypatch.setattr(ListingParser, "feed", feeds)
    monkeypatch.setattr(ListingParser, "finish", finishes)
