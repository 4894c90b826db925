# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages read by patterns: which are, and that the full parser would have read the same."""

from __future__ import annotations

import contextlib
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from plain_pages import is_plain

from snowsync.core.model import ListedObject
from snowsync.store.plain_listing import plain_page

DATE = "<LastModified>2026-02-02T02:40:00.123Z</LastModified>"
ETAG = "<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e-2&quot;</ETag>"
SIZE = "<Size>5</Size>"
OWNER = "<Owner><ID>i</ID><DisplayName>some one</DisplayName></Owner>"
CLASS = "<StorageClass>STANDARD</StorageClass>"
CHECKSUM = "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"


def entry(*elements: str) -> str:
    return f"<Contents>{''.join(elements)}</Contents>"


def usual(key: str) -> str:
    return entry(f"<Key>{key}</Key>", DATE, ETAG, SIZE, CLASS)


URL = "<EncodingType>url</EncodingType>"


def page(*entries: str, before: str = URL, after: str = "") -> str:
    start = '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    return f"{start}<Name>b</Name><Prefix/>{before}{''.join(entries)}{after}</ListBucketResult>"


END = "<IsTruncated>false</IsTruncated>"
MORE = "<IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;u</NextContinuationToken>"


@pytest.mark.parametrize(
    "text",
    [
        page(usual("a"), usual("b%2Fc+d%0A%25"), after=END),
        page(usual("b%2Fc+d"), usual("%"), usual("%4"), usual("%E2%82"), usual("x"), after=END),
        page(usual("a b"), before=MORE),
        page(usual("a%2Fb"), before=END, after=URL),
        page(entry("<Key>a</Key>", DATE, ETAG, CHECKSUM, SIZE, OWNER, CLASS), usual("b"), before=END),
        page(entry(OWNER, SIZE, CLASS, ETAG, "<Key>a</Key>", DATE), before=END),
        page(f"{usual('a')}\n  {usual('b')}\n", before=END),
        page(usual("a").replace("&quot;", "&#34;"), usual("b").replace("&quot;", '"'), before=END),
        page(usual("a").replace("&quot;", ""), entry("<Key>b</Key>", DATE, "<ETag></ETag>", SIZE), before=END),
        page(entry("<Key>a</Key>", DATE.replace(".123", ""), ETAG, SIZE), before=END),
        page(usual("a"), after=f"<CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes><!-- -->{END}"),
        page(usual("a"), before=f"{END}<Prefix>&#1;é\x01&</Prefix>"),
    ],
)
def test_pages_as_stores_write_them(text: str) -> None:
    assert is_plain(text.encode())


def test_what_is_read() -> None:
    plain = plain_page(page(usual("b%2Fc+d"), before=f"{MORE}{URL}").encode())
    assert plain
    parser, following = plain
    digest = "d41d8cd98f00b204e9800998ecf8427e-2"
    assert parser.listed.objects == [ListedObject("b/c d", 5, digest, 1770000000123)]
    assert (parser.listed.last_key, parser.end.more) == ("b/c d", True)
    assert following == {"NextContinuationToken": "t&u"}


KEY = "<Key>a</Key>"


@pytest.mark.parametrize(
    "text",
    [
        page(before=END),
        page(usual("a&amp;b"), before=END),
        page(usual("é"), before=END),
        page(usual("a>b"), before=END),
        page(usual("a\tb"), before=END),
        page(usual("a\x7f"), before=END),
        page(usual(""), before=END),
        page(entry(KEY, DATE, ETAG), before=END),  # no size
        page(entry(KEY, KEY, DATE, ETAG, SIZE), before=END),
        page(usual("a"), entry(KEY, KEY, DATE, ETAG, SIZE), before=END),
        page(usual("a"), entry(DATE, KEY, ETAG, SIZE), before=END),  # another order
        page(entry(KEY, DATE, ETAG, SIZE, "<Restore/>"), before=END),
        page(entry(KEY, DATE, ETAG, "<Size> 5</Size>"), before=END),
        page(entry(KEY, DATE, ETAG, "<Size>1234567890123456789</Size>"), before=END),
        page(entry(KEY, DATE, "<ETag>W/&quot;a&quot;</ETag>", SIZE), before=END),
        page(entry(KEY, DATE, "<ETag>&quot;&quot;a&quot;</ETag>", SIZE), before=END),
        page(entry(KEY, DATE.replace("02:40", "25:40"), ETAG, SIZE), before=END),
        page(entry(KEY, "<LastModified>1970-01-01T00:00:00.000Z</LastModified>", ETAG, SIZE), before=END),
        page(entry(KEY, DATE.replace("123Z", "123+01:00"), ETAG, SIZE), before=END),
        page(entry(KEY, DATE, ETAG, SIZE).replace("<Contents>", "<Contents x='1'>"), before=END),
        page(usual("a"), entry(KEY, DATE, ETAG, SIZE).replace("Contents", "contents"), before=END),
        page(usual("a"), "<!-- -->", usual("b"), before=END),
        page(usual("a"), END, usual("b")),
        page(f"<![CDATA[{usual('a')}]]>", before=END),
        page(f"<!-- {usual('a')} -->", before=END),
        page(f"<Other>{usual('a')}</Other>", before=END),
        page(usual("a"), before=f"<!-- {END} -->"),
        page(usual("a"), before=f"{END}\r"),
        page(usual("a"), before=f"<x>{END}</x>"),
        page(usual("a"), before=END).replace("</ListBucketResult>", ""),
        page(usual("a"), before=END).replace("ListBucketResult", "Error"),
        page(usual("a"), before=END).replace("?>", "?><!DOCTYPE x>"),
        page(usual("a"), before=END, after="&#x110000;<NextMarker>&#x110000;</NextMarker>"),
        page(usual("a")).replace("<Name>b</Name>", "").replace("<Prefix/><EncodingType>url</EncodingType>", ""),
        "",
    ],
)
def test_pages_that_only_the_full_parser_can_judge(text: str) -> None:
    assert not is_plain(text.encode())


PIECES = [
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "&",
    "&amp;",
    "&quot;",
    "&#1;",
    "&#34;",
    "\r",
    "\n",
    "\x01",
    "é",
    "\U0010f001",
    "%0A",
    "%",
    "+",
    '"',
    "'",
    ">",
    "<",
    "/",
    "<Contents>",
    "</Contents>",
    "<Key>k</Key>",
    "<Size>7</Size>",
    "<Prefix>p</Prefix>",
    "</Key>",
    "</Owner>",
    "<Owner>",
    "<x/>",
    "<x>",
    "</x>",
    "<?x?>",
    "<NextMarker>m%2F</NextMarker>",
    "<EncodingType>url</EncodingType>",
    "<IsTruncated>true</IsTruncated>",
    "</ListBucketResult>",
    "contents",
    "Z",
]
PAGES = [
    page(usual("a%2Fb"), usual("c"), before=END),
    page(entry(OWNER, SIZE, ETAG, KEY, DATE), f"{usual('b')}\n", before="\n", after=END),
    page(usual("a+b"), before="", after=f"{END}\n{URL}"),
]


@given(
    text=st.sampled_from(PAGES),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(PIECES)), min_size=1, max_size=3),
)
@example(text=PAGES[0], changes=[(0.0, 0, "")])
def test_no_change_of_a_page_is_read_differently(text: str, changes: list[tuple[float, int, str]]) -> None:
    for place, removed, piece in changes:
        start = int(place * len(text))
        text = text[:start] + piece + text[start + removed :]
    with contextlib.suppress(ValueError):
        is_plain(text.encode())


@given(
    keys=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8), min_size=1, max_size=5),
    is_by_plus=st.booleans(),
    is_told=st.booleans(),
    size=st.integers(0, 10**18 - 1),
    second=st.floats(0, 60.9999),
)
def test_whatever_the_keys_encode(keys: list[str], is_by_plus: bool, is_told: bool, size: int, second: float) -> None:
    encode = quote_plus if is_by_plus else quote
    entries = [
        usual(encode(key)).replace(SIZE, f"<Size>{size}</Size>").replace("00.123Z", f"{second:09.6f}Z") for key in keys
    ]
    assert is_plain(page(*entries, before=f"{END}<EncodingType>{'url' if is_told else ''}</EncodingType>").encode())
