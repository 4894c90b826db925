# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which headers the native mover carries, asked of their text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowsync.core.header_text import dump_headers, load_headers
from snowsync.core.model import Headers, Send
from snowsync.movers.native import requests
from snowsync.movers.native.requests import can_carry, can_carry_text, object_headers
from snowsync.store.upload_bodies import UNSET_CONTENT_TYPE

_values = st.text(st.sampled_from('ab Z09-_=/;"\\\u00e9\t\n'), max_size=6)
_names = st.text(st.sampled_from("abcXYZ019-_ .\u00e9:"), max_size=5)
_headers = st.builds(
    Headers,
    content_type=_values,
    cache_control=_values,
    expires=_values,
    metadata=st.dictionaries(_names, _values, max_size=3),
    tags=st.dictionaries(_names, _values, max_size=2),
)


@given(_headers)
def test_the_text_is_judged_as_the_headers_are(headers: Headers) -> None:
    assert can_carry_text(dump_headers(headers)) == can_carry(headers)


@pytest.mark.parametrize(
    "headers",
    [
        Headers(content_type="text/plain; charset=utf-8"),
        Headers(content_type="image/png", metadata={"mtime": "1700000000.123456789", "owner": ""}),
        Headers(cache_control="no-store", expires="Thu, 01 Dec 1994 16:00:00 GMT"),
    ],
)
def test_usual_headers_are_not_parsed(headers: Headers, monkeypatch: pytest.MonkeyPatch) -> None:
    text = dump_headers(headers)
    assert load_headers(text) == headers
    monkeypatch.delattr(requests, "load_headers")
    assert can_carry_text(text)
    assert can_carry_text("")


def test_each_upload_has_headers_of_its_own() -> None:
    work = Send(1, "k", 1, "/p", 0, dump_headers(Headers(content_type="text/plain", metadata={"Owner": "me"})))
    headers = object_headers(work)
    assert headers == {"content-type": "text/plain", "x-amz-meta-owner": "me"}
    headers["content-md5"] = "of one object"
    assert "content-md5" not in object_headers(work)
    assert object_headers(work._replace(header_text="")) == {"content-type": UNSET_CONTENT_TYPE}
