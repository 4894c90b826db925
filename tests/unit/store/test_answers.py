# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stores answer: listings in every dialect, heads of objects, refusals and what is no S3 at all."""

from __future__ import annotations

import pytest

from snowsync.core.errors import Trouble
from snowsync.core.keys import movable
from snowsync.core.model import UNTOLD, ListedObject
from snowsync.store import answers, dates, head_answers, listing_parser

AMAZON = "http://s3.amazonaws.com/doc/2006-03-01/"
FEBRUARY = 1770000000123  # 2026-02-02T02:40:00.123Z


def entry(key: str, size: int = 5, tag: str = "", modified: str = "2026-02-02T02:40:00.123Z") -> str:
    fields = {"Key": key, "LastModified": modified, "ETag": "&quot;abc-2&quot;", "Size": str(size)}
    inside = "".join(f"<{tag}{name}>{value}</{tag}{name}>" for name, value in fields.items())
    owner = f"<{tag}Owner><{tag}ID>Key</{tag}ID><{tag}DisplayName>x</{tag}DisplayName></{tag}Owner>"
    return f"<{tag}Contents>{inside}<{tag}StorageClass>STANDARD</{tag}StorageClass>{owner}</{tag}Contents>"


def listing(*parts: str, encoding: str = "<EncodingType>url</EncodingType>", namespace: str = AMAZON) -> bytes:
    declared = f' xmlns="{namespace}"' if namespace else ""
    text = "".join(parts)
    return (
        f'<?xml version="1.0"?>\n<ListBucketResult{declared}><Name>b</Name>{encoding}{text}</ListBucketResult>'.encode()
    )


def parsed(body: bytes, chunk: int = 1 << 20) -> listing_parser.ListingParser:
    parser = listing_parser.ListingParser()
    for start in range(0, len(body), chunk):
        parser.feed(body[start : start + chunk])
    parser.finish()
    return parser


# --- listings


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize("namespace", [AMAZON, "", "http://obs.example/doc/"])
def test_a_page_whatever_its_namespace_and_chunks(chunk: int, namespace: str) -> None:
    body = listing(entry("a%2Fb"), entry("c", size=5 * 10**12), namespace=namespace)
    parser = parsed(body, chunk)
    assert parser.listed.objects == [
        ListedObject("a/b", 5, "abc-2", FEBRUARY),
        ListedObject("c", 5 * 10**12, "abc-2", FEBRUARY),
    ]
    assert (parser.end.more, parser.listed.last_key) == (None, "c")


def test_a_prefixed_namespace() -> None:
    body = f'<s:ListBucketResult xmlns:s="{AMAZON}">{entry("k", tag="s:")}<s:IsTruncated>true</s:IsTruncated>'
    parser = parsed(body.encode() + b"</s:ListBucketResult>")
    assert [item.key for item in parser.listed.objects] == ["k"]
    assert parser.end.more is True


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("a+b", "a b"),  # AWS, rclone
        ("a%20b", "a b"),  # Swift, RGW
        ("a%2Bb", "a+b"),
        ("%2541", "%41"),
        ("line%0Atab%09one%01del%7F", "line\ntab\tone\x01del\x7f"),
        ("%C3%A9%CC%81", "é\u0301"),
        ("%F0%9F%98%80", "\U0001f600"),
        ("%E9", "\udce9"),  # no UTF-8: kept so that the same bytes can be asked for
        ("%26%3C%3E%22", '&<>"'),
    ],
)
def test_encoded_keys(written: str, key: str) -> None:
    assert parsed(listing(entry(written))).listed.objects[0].key == key


@pytest.mark.parametrize("chunk", [1, 3, 1 << 20])
def test_keys_of_any_bytes_of_a_store_that_does_not_encode(chunk: int) -> None:
    keys = ["a\udce9b", "\udcff\udcfe", "é中\udc80", "plain", "\U0001f600"]
    body = listing(*(entry(f"@{number}") for number in range(len(keys))), encoding="")
    for number, key in enumerate(keys):
        body = body.replace(b"@%d" % number, key.encode(errors="surrogateescape"))
    parser = parsed(body, chunk)
    assert [item.key for item in parser.listed.objects] == keys


@pytest.mark.parametrize("chunk", [1, 2, 5, 1 << 20])
@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("a\x01b", "a\x01b"),
        ("a&#x1;b&#31;", "a\x01b\x1f"),
        ("\x00&#0;", "\x00\x00"),
        ("\ufffe&#xFFFF;", "\ufffe\uffff"),
        ("Icon\r", "Icon\r"),
        ("a\rb&#13;&#x9;", "a\rb\r\t"),
        ("a&b &nbsp; &#; &amp;#1; &#233;", "a&b &nbsp; &#; &#1; é"),
    ],
)
def test_a_key_that_no_xml_can_hold_hides_no_other(written: str, key: str, chunk: int) -> None:
    parser = parsed(listing(entry("before"), entry(written), entry("after"), encoding=""), chunk)
    assert [item.key for item in parser.listed.objects] == ["before", key, "after"]
    is_odd = key not in ("a&b &nbsp; &#; &#1; é",)
    assert list(parser.remarks) == ([key] if is_odd else [])


@pytest.mark.parametrize("reference", ["&#xD800;", "&#57343;", "&#x110000;"])
def test_a_key_with_what_is_no_character_is_one_that_cannot_be_moved(reference: str) -> None:
    parser = parsed(listing(entry("before"), entry(reference), entry("after"), encoding=""))
    objects, left = movable(parser.listed.objects, "")
    assert [item.key for item in objects] == ["before", "after"]
    assert "UTF-8" in left[0][1]


@pytest.mark.parametrize("chunk", [1, 3, 1 << 20])
@pytest.mark.parametrize("before", ["\ufeff", " \r\n", "\ufeff\n\n\t", "\n" * 200])
def test_what_stands_before_the_xml_is_left_out(before: str, chunk: int) -> None:
    body = before.encode() + listing(entry("k"), "<IsTruncated>true</IsTruncated>")
    for between in (b"", b"\r\n", b"\r", b"\r  "):
        parser = parsed(body.replace(b"><", b">" + between + b"<"), chunk)
        assert [item.key for item in parser.listed.objects] == ["k"]
        assert (parser.end.more, parser.remarks) == (True, {})


@pytest.mark.parametrize("size", ["5.0", "-1", "", "1_0", "99999999999999999999", None])
def test_an_entry_without_a_readable_size_hides_no_other(size: str | None) -> None:
    odd = "<Contents><Key>odd</Key></Contents>" if size is None else entry("odd").replace(">5<", f">{size}<")
    parser = parsed(listing(entry("before"), odd, entry("after")))
    assert [(item.key, item.size) for item in parser.listed.objects] == [("before", 5), ("odd", UNTOLD), ("after", 5)]
    objects, left = movable(parser.listed.objects, "")
    assert [item.key for item in objects] == ["before", "after"]
    assert [(item.key, reason) for item, reason in left] == [("odd", "the listing gives no readable size for it")]


def test_dates_that_cannot_be_read_are_one_remark() -> None:
    dates = ["yesterday", "2026-02-02T02:40:inf", "2026-02-02T02:40:1e300", "0001-01-01T00:00:00Z", ""]
    parser = parsed(listing(*(entry(f"k{number}", modified=date) for number, date in enumerate(dates))))
    assert [item.modified_ms for item in parser.listed.objects] == [0] * 5
    assert parser.remarks == {"date": "k0: its date 'yesterday' cannot be read; such objects have no date"}
    assert parsed(listing(*(entry("k", modified=date) for date in dates[3:]))).remarks == {}


def test_etags_of_a_listing_in_any_quotes() -> None:
    body = listing(*(entry("k").replace("&quot;abc-2&quot;", text) for text in ('W/"abc"', " abc ", '"abc"')))
    assert {item.etag for item in parsed(body).listed.objects} == {"abc"}


def test_private_characters_stay_where_all_is_text() -> None:
    assert parsed(listing(entry("\U0010ffe9"), encoding="")).listed.objects[0].key == "\U0010ffe9"


def test_keys_of_a_store_that_does_not_encode_are_taken_as_they_are() -> None:
    parser = parsed(listing(entry("a+b%20c &amp; d"), encoding=""))
    assert parser.listed.objects[0].key == "a+b%20c & d"
    assert parser.listed.last_key == "a+b%20c & d"


def test_the_encoding_may_be_told_last() -> None:
    told = "<EncodingType>url</EncodingType>"
    parser = parsed(listing(entry("a+b"), entry("c%252F"), told, told, encoding=""))
    assert [item.key for item in parser.listed.objects] == ["a b", "c%2F"]
    assert parser.listed.last_key == "c%2F"


@pytest.mark.parametrize(("told", "last"), [("<EncodingType>url</EncodingType>", "c d"), ("", "c+d")])
def test_keys_that_depend_on_the_encoding_wait_for_it(told: str, last: str) -> None:
    parser = listing_parser.ListingParser()
    body = listing(entry("a"), entry("c+d"), entry("e"), "<Name>x</Name>", told, entry("f"), encoding="")
    at = body.index(b"<Name>x")
    parser.feed(body[:at])
    assert [item.key for item in parser.listed.take()] == ["a", "e"]
    parser.feed(body[at:])
    parser.finish()
    assert [item.key for item in parser.listed.take()] == [last, "f"]
    assert parser.listed.take() == []


def test_listed_objects_are_decoded_once_wherever_the_encoding_is_told() -> None:
    listed = listing_parser.ListedObjects()
    listed.add("a%2541", 1, "e", 0)
    listed.add("b", 1, "e", 0)
    assert [item.key for item in listed.take()] == ["b"]
    listed.are_encoded()
    listed.are_encoded()
    listed.add("c%2541", 1, "e", 0)
    assert [item.key for item in listed.objects] == ["a%41", "c%41"]
    assert listed.last_key == "c%41"
    assert listed.decoded("x%2Fy+z") == "x/y z"


def test_listed_objects_that_were_held_back_come_first_at_the_end() -> None:
    listed = listing_parser.ListedObjects()
    listed.add("a+b", 1, "e", 0)
    assert listed.take() == []
    listed.add("c+d", 1, "e", 0)
    listed.are_complete()
    assert [item.key for item in listed.take()] == ["a+b", "c+d"]


def test_the_end_of_a_listing_is_what_loses_nothing() -> None:
    end = listing_parser.ListingEnd()
    assert (end.more, end.leads_on) == (None, False)
    end.take("istruncated", "false")
    end.take("nextmarker", "")
    assert (end.more, end.leads_on) == (False, False)
    end.take("nextcontinuationtoken", "t")
    end.take("istruncated", "true")
    end.take("nextmarker", "")
    assert (end.more, end.leads_on) == (True, True)


@pytest.mark.parametrize(
    ("modified", "milliseconds"),
    [
        ("2026-02-02T02:40:00.123Z", FEBRUARY),
        ("2026-02-02T02:40:00Z", FEBRUARY - 123),
        ("2026-02-02T02:40:00.1239876Z", FEBRUARY + 1),
        ("2026-02-02T02:40:00.000Z", FEBRUARY - 123),
        ("1970-01-01T00:00:00.999Z", 999),
        ("2026-02-02T02:40:00+00:00", FEBRUARY - 123),
        ("2026-02-02T02:40:00+0000", FEBRUARY - 123),
        ("2026-02-02T08:10:00.123+05:30", FEBRUARY),
        ("2026-02-01T21:40:00.123-0500", FEBRUARY),
        ("2026-02-02 02:40:00.123", FEBRUARY),
        (":2026-02-02T02:40:00Z", FEBRUARY - 123),
        ("Mon, 02 Feb 2026 02:40:00 GMT", FEBRUARY - 123),
        ("0001-01-01T00:00:00Z", 0),
        ("2026-13-02T02:40:00Z", 0),
        ("yesterday", 0),
        ("", 0),
    ],
)
def test_dates_to_the_millisecond(modified: str, milliseconds: int) -> None:
    assert parsed(listing(entry("k", modified=modified))).listed.objects[0].modified_ms == milliseconds


def test_where_a_listing_goes_on() -> None:
    body = listing(
        "<Prefix>a&#x1;</Prefix><StartAfter>a&#1;</StartAfter><Marker>\x01</Marker>",
        entry("k"),
        "<NextContinuationToken>a+b%20/=&amp;&#x1;\r&#13;&lt;&amp;gt;é</NextContinuationToken>",
        "<IsTruncated>true</IsTruncated><NextMarker>b%2Fc</NextMarker>",
    )
    clean, following = listing_parser.cut_listing(body)
    assert following == {"NextContinuationToken": "a+b%20/=&\x01\r\r<&gt;é", "NextMarker": "b%2Fc"}
    parser = parsed(clean)
    assert [item.key for item in parser.listed.objects] == ["k"]
    assert parser.end.more is True
    assert parser.listed.decoded("b%2Fc+d") == "b/c d"


def test_where_a_listing_goes_on_may_be_no_text() -> None:
    body = listing(entry("k"), "<nextMarker>").replace(b"<nextMarker>", b"<nextMarker>caf\xe9</nextMarker>")
    clean, following = listing_parser.cut_listing(body)
    assert following == {"NextMarker": "caf\udce9"}
    assert parsed(clean).listed.last_key == "k"


@pytest.mark.parametrize("reference", ["&#xD800;", "&#57343;", "&#x110000;"])
def test_a_reference_to_no_character_is_refused(reference: str) -> None:
    with pytest.raises(ValueError, match="is not a character"):
        listing_parser.cut_listing(listing(f"<NextMarker>{reference}</NextMarker>"))


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (["true"], True),
        (["True"], True),
        (["TRUE"], True),
        ([" \n true\t"], True),
        (["1"], True),
        (["Yes"], True),
        (["false"], False),
        (["False "], False),
        (["0"], False),
        (["no"], False),
        ([], None),
        ([""], None),
        (["maybe"], None),
        (["2"], None),
        (["false", "true"], True),
        (["true", "false"], True),
        (["false", "?"], None),
        (["false", "FALSE"], False),
    ],
)
@pytest.mark.parametrize("name", ["IsTruncated", "isTruncated", "ISTRUNCATED"])
def test_whether_there_is_more_in_any_spelling(words: list[str], more: bool | None, name: str) -> None:
    said = "".join(f"<{name}>{word}</{name}>" for word in words)
    assert parsed(listing(entry("k"), said)).end.more is more


@pytest.mark.parametrize(
    "root",
    ["ListObjectsResult", "ListObjectsV2Result", "ListObjectResult", "ListObjectsV2Response", "listBucketResult"],
)
def test_names_of_a_listing_in_any_spelling(root: str) -> None:
    body = listing(entry("k", 7)).replace(b"ListBucketResult", root.encode())
    for name in (b"Contents", b"Key", b"Size", b"ETag", b"LastModified"):
        body = body.replace(name + b">", name.lower() + b">")
    assert parsed(body).listed.objects == [ListedObject("k", 7, "abc-2", FEBRUARY)]


@pytest.mark.parametrize(
    ("marker", "leads_on"), [("", False), ("<NextMarker/>", False), ("<NextMarker>k</NextMarker>", True)]
)
def test_a_listing_read_as_it_comes_notes_a_place_to_go_on(marker: str, leads_on: bool) -> None:
    assert parsed(listing(entry("k"), marker)).end.leads_on is leads_on


def test_a_listing_that_ends_is_not_cut() -> None:
    body = listing(entry("%3CMarker%3E"), "<IsTruncated>false</IsTruncated>")
    assert listing_parser.cut_listing(body) == (body, {})


def test_common_prefixes_are_no_objects() -> None:
    parser = parsed(listing("<CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes>", entry("k")))
    assert [item.key for item in parser.listed.objects] == ["k"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html><body>Sign in</body></html>", "<html>"),
        (b"<Error><Code>InternalError</Code></Error>", "<Error>"),
        (b"no xml", "XML"),
        (b"", "early"),
        (b"<ListBucketResult/>", "empty listing"),
        (b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"> </ListBucketResult>', "empty listing"),
        (listing(entry("k"))[:-30], "early"),
        (listing("<Contents><Size>5</Size></Contents>"), "no Key"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]>' + listing(entry("k")), "DOCTYPE"),
        (listing(entry("a<b"), encoding=""), "XML"),
    ],
)
def test_what_is_no_listing(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parsed(body)


# --- heads

BLOCK = (
    b'HTTP/1.1 200 OK\r\nDate: Mon, 02 Feb 2026 02:40:00 GMT\r\nETag: "abc-2"\r\nContent-Length: 7\r\n'
    b"Last-Modified: Sun, 01 Feb 2026 00:00:00 GMT\r\n"
)


def test_a_full_head() -> None:
    head = head_answers.parse_head(
        BLOCK + b"Content-Type: text/x; charset=utf-8\r\nCache-Control: no-cache\r\nContent-Encoding: gzip\r\n"
        b"Content-Disposition: attachment; filename=x\r\nContent-Language: de\r\nExpires: never\r\n"
        b"X-Amz-Meta-Camel-Case: a: b \r\nx-amz-meta-empty:\r\nx-amz-tagging-count: 3\r\nx-amz-mp-parts-count: 2\r\n"
        b"x-amz-server-side-encryption: aws:kms\r\n\r\n",
        206,
    )
    assert (head.status, head.size, head.etag, head.modified_ms) == (206, 7, "abc-2", 1769904000000)
    assert (head.tag_count, head.parts_count, head.encryption) == (3, 2, "aws:kms")
    customer = head_answers.parse_head(BLOCK + b"x-amz-server-side-encryption-customer-algorithm: AES256\r\n\r\n", 200)
    assert customer.encryption == "customer"
    assert head.server_time_ms == FEBRUARY - 123
    assert head.headers.metadata == {"camel-case": "a: b", "empty": ""}
    assert (head.headers.content_type, head.headers.cache_control) == ("text/x; charset=utf-8", "no-cache")
    assert (head.headers.content_encoding, head.headers.content_disposition) == ("gzip", "attachment; filename=x")
    assert (head.headers.content_language, head.headers.expires) == ("de", "never")


def test_a_bare_head() -> None:
    head = head_answers.parse_head(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200)
    assert (head.size, head.etag, head.modified_ms, head.server_time_ms) == (0, "", 0, 0)
    assert (head.tag_count, head.parts_count, head.encryption, head.checksums) == (0, 0, "", {})
    assert head.headers.metadata == {}


def test_only_the_last_answer_of_a_block_counts() -> None:
    earlier = b"HTTP/1.1 200 Connection established\r\nx-amz-meta-a: proxy\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    block = earlier + BLOCK + b"x-amz-meta-via: HTTP/1.1 404 x\r\n\r\n"
    assert head_answers.status_of(block) == 200
    assert head_answers.parse_head(block, 200).headers.metadata == {"via": "HTTP/1.1 404 x"}
    assert head_answers.status_of(b"") == 0


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("Grüße 雪".encode(), "Grüße 雪"),
        ("Grüße".encode("latin-1"), "Grüße"),
        (b"=?UTF-8?Q?Gr=C3=BC=C3=9Fe?=", "=?UTF-8?Q?Gr=C3=BC=C3=9Fe?="),
        (b'a\tb  "c", d', 'a\tb  "c", d'),
    ],
)
def test_metadata_values(raw: bytes, value: str) -> None:
    block = BLOCK + b"x-amz-meta-v: " + raw + b"\r\nx-amz-meta-w: \xc3\xbc\r\n\r\n"
    assert head_answers.parse_head(block, 200).headers.metadata == {"v": value, "w": "ü"}


def test_a_repeated_header_is_joined() -> None:
    block = BLOCK + b"x-amz-meta-a: 1\r\nx-amz-meta-a: 2\r\n\r\n"
    assert head_answers.parse_head(block, 200).headers.metadata == {"a": "1,2"}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"x-amz-checksum-crc32: AAAA==\r\nx-amz-checksum-type: FULL_OBJECT\r\n", {"crc32": "AAAA=="}),
        (b"x-amz-checksum-sha256: AAAA=-2\r\nx-amz-checksum-type: COMPOSITE\r\n", {}),
        (b"x-amz-checksum-sha256: AAAA=\r\nx-amz-checksum-type: COMPOSITE\r\n", {}),
        (b"x-amz-checksum-sha256: AAAA=\r\n", {}),  # a multipart object, and no word on the kind
        (b'ETag: "abc"\r\nx-amz-checksum-sha256: AAAA=\r\n', {"sha256": "AAAA="}),
    ],
)
def test_checksums_are_those_of_the_whole_object(lines: bytes, expected: dict[str, str]) -> None:
    block = (BLOCK if b"ETag" not in lines else BLOCK.replace(b'ETag: "abc-2"\r\n', b"")) + lines + b"\r\n"
    assert head_answers.parse_head(block, 200).checksums == expected


def test_a_size_may_not_be_told() -> None:
    assert head_answers.parse_head(b"HTTP/1.1 200 OK\r\n\r\n", 200).size == UNTOLD
    assert head_answers.parse_head(b"HTTP/1.1 200 OK\r\n\r\n", 200, received=9).size == 9


TAG = b'ETag: "a"\r\n'
LENGTH = b"Content-Length: 5\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        TAG + LENGTH,
        TAG * 2 + LENGTH * 2,
        b'etag: "a", "a"\r\ncontent-length: 5, 5\r\n',
        b'ETag: W/"a"\r\nContent-Length:  5 \r\n',
        b"ETag: a\r\nContent-Length: 05\r\n",
        TAG + LENGTH + b"Last-Modified: Mon, 02 Feb 2026 02:40:00 GMT\r\n" * 2,
    ],
)
def test_what_is_said_twice_is_one(lines: bytes) -> None:
    head = head_answers.parse_head(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n", 200)
    assert (head.size, head.etag) == (5, "a")
    assert head.modified_ms == (FEBRUARY - 123 if b"Modified" in lines else 0)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (LENGTH + b"Content-Length: 6\r\n", "two different values for content-length, '5' and '6'"),
        (b"Content-Length: 5, 6\r\n", "Content-Length is '5, 6'"),
        (b"Content-Length: -5\r\n", "'-5'"),
        (b"Content-Length: 1e3\r\n", "'1e3'"),
        (b"Content-Length: 99999999999999999999\r\n", "Content-Length"),
        (LENGTH + TAG + b'ETag: "b"\r\n', "two different values for etag"),
    ],
)
def test_what_contradicts_itself_cannot_be_read(lines: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        head_answers.parse_head(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n", 200)


@pytest.mark.parametrize(
    "written",
    [
        "Mon, 02 Feb 2026 02:40:00 GMT",
        "Monday, 02-Feb-26 02:40:00 GMT",
        "Mon Feb  2 02:40:00 2026",
        "Mon, 2 Feb 2026 03:40:00 +0100",
    ],
)
def test_dates_in_every_form_that_http_has_had(written: str) -> None:
    assert dates.http_date_ms(written) == FEBRUARY - 123


@pytest.mark.parametrize(("of_object", "trouble"), [(True, Trouble.OTHER), (False, Trouble.SERVER)])
def test_what_cannot_be_read_of_one_object_is_no_outage(of_object: bool, trouble: Trouble) -> None:
    error = answers.unreadable("look at k", ValueError("x"), 200, of_object=of_object)
    assert (error.trouble, error.code) == (trouble, answers.UNREADABLE)
    words = "Invalid Content-Length: value"
    assert answers.unanswered("look at k", 8, words, of_object=of_object).trouble is trouble


@pytest.mark.parametrize("text", ["", "yesterday", "Mon, 99 Feb 2026 02:40:00 GMT", "Mon, 02 Xxx 2026 02:40:00 GMT"])
def test_what_is_no_date_is_none(text: str) -> None:
    assert dates.http_date_ms(text) == 0


# --- refusals


def refused(status: int, body: bytes = b"", *, of_object: bool = True, headers: bytes = b"", bodyless: bool = False):
    return answers.failure(
        "look",
        status,
        body,
        of_object=of_object,
        asked=answers.AskedWith("us-east-1"),
        headers=headers,
        bodyless=bodyless,
    )


def xml(code: str, extra: str = "") -> bytes:
    return (
        f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>Told &amp; done</Message>{extra}</Error>".encode()
    )


@pytest.mark.parametrize(
    ("status", "code", "of_object", "trouble"),
    [
        (403, "SignatureDoesNotMatch", True, Trouble.CREDENTIAL),
        (403, "InvalidAccessKeyId", False, Trouble.CREDENTIAL),
        (400, "ExpiredToken", True, Trouble.CREDENTIAL),
        (400, "AuthorizationHeaderMalformed", True, Trouble.CREDENTIAL),
        (403, "AccessDenied", True, Trouble.DENIED),
        (404, "NoSuchBucket", True, Trouble.BUCKET),
        (301, "PermanentRedirect", False, Trouble.BUCKET),
        (404, "NoSuchKey", True, Trouble.NOT_FOUND),
        (412, "PreconditionFailed", True, Trouble.CHANGED),
        (400, "BadDigest", True, Trouble.MISMATCH),
        (503, "SlowDown", True, Trouble.THROTTLED),
        (503, "ServiceUnavailable", True, Trouble.THROTTLED),
        (500, "InternalError", True, Trouble.SERVER),
        (403, "RequestTimeTooSkewed", True, Trouble.SERVER),
        (400, "RequestTimeout", True, Trouble.TIMEOUT),
        (403, "QuotaExceeded", True, Trouble.FULL),
        (507, "SomethingNew", True, Trouble.FULL),
        (501, "NotImplemented", True, Trouble.UNSUPPORTED),
        (403, "InvalidObjectState", True, Trouble.UNSUPPORTED),
        (403, "SomethingNew", True, Trouble.DENIED),
        (404, "SomethingNew", True, Trouble.NOT_FOUND),
        (404, "SomethingNew", False, Trouble.BUCKET),
        (418, "SomethingNew", True, Trouble.OTHER),
        (599, "SomethingNew", True, Trouble.SERVER),
    ],
)
def test_refusals_by_code_then_by_status(status: int, code: str, of_object: bool, trouble: Trouble) -> None:
    error = refused(status, xml(code), of_object=of_object)
    assert (error.trouble, error.code, error.status) == (trouble, code, status)
    assert str(error).startswith("Failed to look: ")
    assert f"(HTTP {status}, {code}: Told & done)" in str(error)


def test_an_error_with_a_namespace_is_read() -> None:
    body = f'<a:Error xmlns:a="{AMAZON}"><a:Code>SlowDown</a:Code></a:Error>'.encode()
    assert refused(503, body).code == "SlowDown"


@pytest.mark.parametrize(
    ("status", "trouble", "word"),
    [
        (404, Trouble.NOT_FOUND, "no such bucket"),
        (403, Trouble.DENIED, "no reason"),
        (400, Trouble.OTHER, "expired token"),
        (412, Trouble.CHANGED, "no longer"),
        (503, Trouble.THROTTLED, "fewer"),
        (500, Trouble.SERVER, "problem"),
    ],
)
def test_refused_heads_say_what_is_known(status: int, trouble: Trouble, word: str) -> None:
    error = refused(status, bodyless=True)
    assert error.trouble is trouble
    assert word in error.detail


@pytest.mark.parametrize(
    ("status", "body", "headers", "trouble"),
    [
        (301, xml("PermanentRedirect"), b"HTTP/1.1 301 x\r\nX-Amz-Bucket-Region: eu-west-1\r\n", Trouble.BUCKET),
        (400, xml("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"), b"", Trouble.CREDENTIAL),
        (400, b"", b"HTTP/1.1 400 x\r\nx-amz-bucket-region: eu-west-1\r\n", Trouble.CREDENTIAL),
        (301, b"", b"HTTP/1.1 301 x\r\nx-amz-bucket-region: eu-west-1\r\n", Trouble.BUCKET),
    ],
)
def test_a_wrong_region_is_named(status: int, body: bytes, headers: bytes, trouble: Trouble) -> None:
    error = refused(status, body, headers=headers, bodyless=not body)
    assert error.trouble is trouble
    assert "region 'eu-west-1', this job has 'us-east-1': correct `region`" in error.detail


def test_the_right_region_is_no_hint() -> None:
    error = refused(403, xml("AccessDenied"), headers=b"HTTP/1.1 403 x\r\nx-amz-bucket-region: us-east-1\r\n")
    assert "region" not in error.detail


@pytest.mark.parametrize("status", [200, 302, 400, 403, 404, 502])
def test_a_web_page_is_transient_whatever_its_status(status: int) -> None:
    error = refused(status, b"<!DOCTYPE html><title>Sign in</title><p>to the \n guest network", of_object=False)
    assert error.trouble is Trouble.SERVER
    assert error.trouble.is_transient
    assert "not from an S3 store" in error.detail
    assert "Sign in to the guest network" in error.detail


LOCATION = b"HTTP/1.1 301 x\r\nLocation: https://b.example:8443/x \r\n\r\n"
PAGE = b"<html><title>301 Moved Permanently</title></html>"


@pytest.mark.parametrize("of_object", [True, False])
@pytest.mark.parametrize(
    ("status", "body", "trouble"),
    [
        (301, PAGE, Trouble.BUCKET),
        (308, PAGE, Trouble.BUCKET),
        (302, PAGE, Trouble.SERVER),
        (307, PAGE, Trouble.SERVER),
        (302, b"", Trouble.BUCKET),
        (301, xml("PermanentRedirect"), Trouble.BUCKET),
        (307, xml("TemporaryRedirect"), Trouble.SERVER),
    ],
)
def test_a_redirect_tells_where_it_leads(status: int, body: bytes, trouble: Trouble, of_object: bool) -> None:
    error = refused(status, body, headers=LOCATION, of_object=of_object)
    assert (error.trouble, error.status) == (trouble, status)
    assert "it redirects to 'https://b.example:8443/x', which is not followed" in error.detail
    assert "`endpoints`" in error.detail and "`addressing: virtual`" in error.detail


def test_plain_http_to_a_tls_port_is_told() -> None:
    error = refused(400, b"Client sent an HTTP request to an HTTPS server.\n")
    assert error.trouble is Trouble.TLS
    assert "https://" in error.detail


@pytest.mark.parametrize(
    ("number", "words", "trouble"),
    [
        (6, "Could not resolve host: x", Trouble.DNS),
        (28, "Resolving timed out after 10 ms", Trouble.DNS),
        (7, "Failed to connect", Trouble.REFUSED),
        (28, "Operation too slow", Trouble.TIMEOUT),
        (35, "wrong version number", Trouble.TLS),
        (60, "self-signed certificate", Trouble.TLS),
        (77, "error adding trust anchors", Trouble.TLS),
        (18, "end of response with 3 bytes missing", Trouble.BROKEN),
        (52, "Empty reply from server", Trouble.BROKEN),
        (56, "Recv failure", Trouble.BROKEN),
        (1, "Received HTTP/0.9 when not allowed", Trouble.SERVER),
        (43, "a bad argument", Trouble.OTHER),
    ],
)
def test_requests_without_an_answer(number: int, words: str, trouble: Trouble) -> None:
    error = answers.unanswered("look", number, words)
    assert error.trouble is trouble
    assert words in error.detail
    assert error.code == f"curl-{number}"
