# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on buckets: make, remove, list, delete many."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from .call import (
    BODY_LIMIT,
    Call,
    document,
    escape,
    integer,
    iso_time,
    parse_document,
    url_encoded,
)
from .connection import Response
from .model import Entry, S3Error
from .storage import Bucket

_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_OWNER = "<Owner><ID>simulator</ID><DisplayName>simulator</DisplayName></Owner>"
_LAST = "\U0010ffff"


def list_buckets(call: Call) -> Response:
    names = sorted(call.storage.buckets)
    buckets = "".join(
        f"<Bucket><Name>{name}</Name><CreationDate>{iso_time(call.storage.bucket(name).created_ms)}</CreationDate>"
        "</Bucket>"
        for name in names
    )
    return document("ListAllMyBucketsResult", f"{_OWNER}<Buckets>{buckets}</Buckets>")


def create_bucket(call: Call) -> Response:
    call.need(call.switches.bucket_changes, "CreateBucket")
    if not _BUCKET_NAME.fullmatch(call.bucket):
        raise S3Error("InvalidBucketName")
    call.payload.read(BODY_LIMIT)
    if not call.storage.create_bucket(call.bucket):
        raise S3Error("BucketAlreadyOwnedByYou")
    return Response(200, {"Location": f"/{call.bucket}"})


def head_bucket(call: Call) -> Response:
    call.storage.bucket(call.bucket)
    return Response(200, {"x-amz-bucket-region": call.switches.region or "us-east-1"})


def delete_bucket(call: Call) -> Response:
    call.need(call.switches.bucket_changes, "DeleteBucket")
    call.storage.delete_bucket(call.bucket)
    return Response(204)


def get_location(call: Call) -> Response:
    call.storage.bucket(call.bucket)
    region = call.switches.region
    return document("LocationConstraint", "" if region == "us-east-1" else region)


def get_versioning(call: Call) -> Response:
    call.storage.bucket(call.bucket)
    return document("VersioningConfiguration", "")


def delete_objects(call: Call) -> Response:
    call.need(call.switches.delete_objects, "DeleteObjects")
    call.storage.bucket(call.bucket)
    tree = parse_document(call.payload.read(BODY_LIMIT), "Delete")
    keys = [each.findtext("Key") or "" for each in tree.iter("Object")]
    if not 1 <= len(keys) <= 1000 or not all(keys):
        raise S3Error("MalformedXML")
    for key in keys:
        call.storage.delete(call.bucket, key)
    if (tree.findtext("Quiet") or "").lower() == "true":
        return document("DeleteResult", "")
    return document("DeleteResult", "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys))


# -- listing -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Selection:
    """One page: entries and common prefixes in order; `last` is the last key or prefix given."""

    entries: list[Entry]
    prefixes: list[str]
    truncated: bool = False
    last: str = ""


def list_objects(call: Call) -> Response:
    if call.query.get("list-type") == "2":
        call.need(call.switches.list_v2, "ListObjectsV2")
        return _list_v2(call)
    return _list_v1(call)


def _list_v2(call: Call) -> Response:
    query = call.query
    token, start_after = query.get("continuation-token"), query.get("start-after", "")
    marker = _decode_token(token) if token is not None else start_after
    page, limit = _page(call, marker)
    following = _following(call, page, marker)
    encode = _encoder(call)
    content = _common(call, page, limit, encode)
    content.append(f"<KeyCount>{len(page.entries) + len(page.prefixes)}</KeyCount>")
    if token is not None:
        content.append(f"<ContinuationToken>{escape(token)}</ContinuationToken>")
    if start_after:
        content.append(f"<StartAfter>{encode(start_after)}</StartAfter>")
    if token is not None and call.plan is not None and call.plan.first("repeat_page"):
        following = token
    if following:
        content.append(f"<NextContinuationToken>{following}</NextContinuationToken>")
    owner = _OWNER if query.get("fetch-owner", "").lower() == "true" else ""
    return _listing(call, content, page, encode, owner)


def _following(call: Call, page: Selection, marker: str) -> str:
    """The token that leads on; changes what the page says of the end where the switch `list_tokens` lies about it."""
    kind = call.switches.list_tokens
    if kind == "none":
        return ""
    if not page.truncated and kind in ("circle", "endless"):
        page.truncated = True
        return _encode_token("" if kind == "circle" else _LAST + str(time.monotonic_ns()))
    return _encode_token(page.last or marker) if page.truncated or kind == "always" else ""


def _list_v1(call: Call) -> Response:
    query = call.query
    marker = query.get("marker", "")
    page, limit = _page(call, marker)
    encode = _encoder(call)
    content = _common(call, page, limit, encode)
    content.append(f"<Marker>{encode(marker)}</Marker>")
    if page.truncated and query.get("delimiter"):
        content.append(f"<NextMarker>{encode(page.last)}</NextMarker>")
    return _listing(call, content, page, encode, _OWNER)


def _encoder(call: Call) -> Callable[[str], str]:
    encoding = call.query.get("encoding-type")
    if encoding not in (None, "", "url"):
        raise S3Error("InvalidArgument", "Invalid Encoding Method specified in Request")
    if encoding == "url" and call.switches.list_encoding:
        return url_encoded
    return _as_it_is if call.switches.raw_markup else escape


def _as_it_is(key: str) -> str:
    return key


def _common(call: Call, page: Selection, limit: int, encode: Callable[[str], str]) -> list[str]:
    query = call.query
    content = [
        f"<Name>{escape(call.bucket)}</Name><Prefix>{encode(query.get('prefix', ''))}</Prefix>"
        f"<MaxKeys>{limit}</MaxKeys>"
    ]
    if call.switches.truncated_words:
        yes, no = call.switches.truncated_words.split(",")
        content.append(f"<IsTruncated>{yes if page.truncated else no}</IsTruncated>")
    if delimiter := query.get("delimiter"):
        content.append(f"<Delimiter>{encode(delimiter)}</Delimiter>")
    if query.get("encoding-type") == "url" and call.switches.list_encoding:
        content.append("<EncodingType>url</EncodingType>")
    return content


def _listing(call: Call, content: list[str], page: Selection, encode: Callable[[str], str], owner: str) -> Response:
    def dated(entry: Entry) -> str:
        form = call.switches.list_dates
        return (
            escape(time.strftime(form, time.gmtime(entry.modified_ms // 1000))) if form else iso_time(entry.modified_ms)
        )

    entries = [_as_listed(entry, call.switches.contradicts) for entry in page.entries]
    content += [
        f"<Contents><Key>{encode(entry.key)}</Key><LastModified>{dated(entry)}</LastModified>"
        f"{_etag_listed(entry, call.switches.contradicts)}<Size>{entry.size}</Size>{owner}"
        f"<StorageClass>{entry.headers.get('x-amz-storage-class', 'STANDARD')}</StorageClass></Contents>"
        for entry in entries
    ]
    content += [f"<CommonPrefixes><Prefix>{encode(prefix)}</Prefix></CommonPrefixes>" for prefix in page.prefixes]
    if call.switches.unreadable and any(re.search(call.switches.unreadable, entry.key) for entry in page.entries):
        return Response(200, {"Content-Type": "application/xml"}, b"\0 no listing \0")
    response = document("ListBucketResult", "".join(content))
    if call.switches.list_limit:
        response.body = response.body[: call.switches.list_limit]
    return response


def _as_listed(entry: Entry, contradicts: str) -> Entry:
    """An entry as a listing shows it that the switch `contradicts` bends."""
    if contradicts == "both":
        entry = replace(entry, size=entry.size + 7)
    if contradicts in ("etag", "both"):
        return replace(entry, etag=f"0x8D9{hashlib.sha1(entry.key.encode()).hexdigest()[:12].upper()}-1")
    if contradicts == "now":
        return replace(entry, modified_ms=int(time.time() * 1000))
    if contradicts == "case":
        return replace(entry, etag=entry.etag.upper())
    if contradicts == "size":
        return replace(entry, size=entry.size + 7)
    if contradicts == "modified":
        return replace(entry, modified_ms=entry.modified_ms + 3_600_000)
    return entry


def _etag_listed(entry: Entry, contradicts: str) -> str:
    if contradicts == "unlisted":
        return ""
    return f"<ETag>{entry.etag}</ETag>" if contradicts == "unquoted" else f"<ETag>&quot;{entry.etag}&quot;</ETag>"


def _page(call: Call, marker: str) -> tuple[Selection, int]:
    switches = call.switches
    limit = integer(call.query, "max-keys", switches.max_keys, 0, 2**31 - 1)
    prefix = call.query.get("prefix", "")
    delimiter = call.query.get("delimiter", "") if switches.list_delimiter else ""
    with call.storage.lock:
        bucket = call.storage.bucket(call.bucket)
        if not switches.list_paginated:
            page = _select_all(_unpaged(bucket, prefix, switches.list_sorted), prefix, delimiter)
        elif not switches.list_sorted:
            page = _select_unsorted(bucket, prefix, marker, min(limit, switches.max_keys))
        else:
            page = _select_sorted(bucket, prefix, delimiter, marker, min(limit, switches.max_keys))
    if call.plan is not None and (rule := call.plan.first("omit")):
        page.entries = [entry for entry in page.entries if not re.search(rule.keys, entry.key)]
    return page, limit


def _unpaged(bucket: Bucket, prefix: str, is_sorted: bool) -> Iterator[Entry]:
    keys = bucket.sorted_keys() if is_sorted else list(bucket.entries)
    return (bucket.entries[key] for key in keys if key.startswith(prefix))


def _select_all(entries: Iterator[Entry], prefix: str, delimiter: str) -> Selection:
    page = Selection([], [])
    for entry in entries:
        common = _common_prefix(entry.key, prefix, delimiter)
        if not common:
            page.entries.append(entry)
        elif common not in page.prefixes:
            page.prefixes.append(common)
    return page


def _select_unsorted(bucket: Bucket, prefix: str, marker: str, limit: int) -> Selection:
    """Pages in an order of their own, which is stable: that of the keys' digests. Knows no delimiter."""
    ordered = sorted((key for key in bucket.entries if key.startswith(prefix)), key=_scrambled)
    start = bisect_right(ordered, _scrambled(marker), key=_scrambled) if marker else 0
    chosen = ordered[start : start + limit]
    truncated = start + limit < len(ordered) and limit > 0
    return Selection([bucket.entries[key] for key in chosen], [], truncated, chosen[-1] if chosen else "")


def _scrambled(key: str) -> bytes:
    return hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=16).digest()


def _common_prefix(key: str, prefix: str, delimiter: str) -> str:
    if not delimiter:
        return ""
    end = key.find(delimiter, len(prefix))
    return key[: end + len(delimiter)] if end >= 0 else ""


def _select_sorted(bucket: Bucket, prefix: str, delimiter: str, marker: str, limit: int) -> Selection:
    keys = bucket.sorted_keys()
    entries = bucket.entries
    page = Selection([], [])
    # A marker that is a common prefix stands for all keys below it: they were given as that prefix.
    if marker and delimiter and marker.startswith(prefix) and marker == _common_prefix(marker, prefix, delimiter):
        at = bisect_right(keys, marker + _LAST)
    else:
        at = bisect_right(keys, marker) if marker else 0
    at = max(at, bisect_left(keys, prefix))
    count = 0
    while at < len(keys) and keys[at].startswith(prefix):
        if count == limit:
            page.truncated = limit > 0
            return page
        key = keys[at]
        common = _common_prefix(key, prefix, delimiter)
        if common:
            page.prefixes.append(common)
            page.last = common
            at = bisect_right(keys, common + _LAST, at)
        else:
            page.entries.append(entries[key])
            page.last = key
            at += 1
        count += 1
    return page


def _encode_token(last: str) -> str:
    return base64.urlsafe_b64encode(b"1" + last.encode(errors="surrogateescape")).decode()


def _decode_token(token: str) -> str:
    try:
        decoded = base64.urlsafe_b64decode(token.encode())
        if not decoded.startswith(b"1"):
            raise ValueError(token)
        return decoded[1:].decode(errors="surrogateescape")
    except (binascii.Error, ValueError):
        raise S3Error("InvalidArgument", "The continuation token provided is incorrect") from None
