# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headers as text: everything comes back, and nothing takes no room."""

from __future__ import annotations

import pytest

from snowsync.core.header_text import dump_headers, load_headers
from snowsync.core.model import Headers

FULL = Headers(
    content_type="text/plain",
    cache_control="no-store",
    content_encoding="gzip",
    content_disposition='attachment; filename="a.txt"',
    content_language="de",
    expires="0",
    metadata={"owner": 'n\u00e9 \u2028 \\ "quoted"', "empty": ""},
    tags={"a": "b"},
)


def test_all_headers_come_back() -> None:
    assert load_headers(dump_headers(FULL)) == FULL


@pytest.mark.parametrize("name", [name for name in Headers._fields if isinstance(getattr(FULL, name), str)])
def test_a_single_header_comes_back(name: str) -> None:
    for value in ("a", "b", ""):
        headers = Headers(**{name: value})
        assert load_headers(dump_headers(headers)) == headers


def test_headers_that_say_nothing_take_no_room() -> None:
    assert dump_headers(Headers()) == ""
    assert load_headers("") == Headers()
