# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Operations on one object: GET, HEAD, PUT, COPY, DELETE and tags."""

from __future__ import annotations

import gzip
import hashlib
import re
from urllib.parse import unquote

from .call import (
    BODY_LIMIT,
    Call,
    check_length,
    check_lock,
    check_read_condition,
    checked_tags,
    document,
    entry_headers,
    escape,
    iso_time,
    opaque_etag,
    parse_document,
    stored_headers,
    tags_from_header,
    write_condition,
)
from .connection import Response
from .model import Entry, S3Error
from .storage import Blob

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def get_object(call: Call) -> Response:
    entry = call.storage.open_entry(call.bucket, call.key)
    try:
        response = _read(call, entry)
    except BaseException:
        call.storage.release(entry)
        raise
    if _is_to_be_unpacked(call, entry):
        return _unpacked(call, entry, response)
    response.entry = entry  # the server releases it when the answer is out
    response.replacement = lambda: replace_object(call, None)
    _spoil(call, response)
    return response


def _is_to_be_unpacked(call: Call, entry: Entry) -> bool:
    if entry.headers.get("content-encoding") != "gzip":
        return False
    is_accepted = "gzip" in call.headers.get("accept-encoding", "")
    return call.switches.unpacks_gzip == "always" or (call.switches.unpacks_gzip == "unless" and not is_accepted)


def _unpacked(call: Call, entry: Entry, response: Response) -> Response:
    """Other bytes under the same ETag."""
    headers = {name: value for name, value in response.headers.items() if name.lower() != "content-encoding"}
    body = gzip.decompress(b"".join(call.storage.blocks(entry)))
    call.storage.release(entry)
    return Response(200, headers, body)


def _spoil(call: Call, response: Response) -> None:
    """Other bytes than those of the object, or fewer, where a fault says so."""
    if call.has("foreign") and response.entry is not None:
        response.entry = _neighbour(call, response.entry)
    if call.plan and (rule := call.plan.first("short")):
        response.length = min(response.length, response.length // 2 if rule.after is None else rule.after)


def _neighbour(call: Call, entry: Entry) -> Entry:
    """The object that follows in the bucket, opened in the place of this one."""
    with call.storage.lock:
        keys = call.storage.bucket(call.bucket).sorted_keys()
    other = call.storage.open_entry(call.bucket, keys[(keys.index(entry.key) + 1) % len(keys)])
    call.storage.release(entry)
    return other


def head_object(call: Call) -> Response:
    entry = call.storage.entry(call.bucket, call.key)
    if call.has("stale"):
        entry = call.storage.older(call.bucket, call.key)
    response = _read(call, entry)
    response.declared = response.length + 7 * (call.switches.contradicts == "head_size")
    return response


def _read(call: Call, entry: Entry) -> Response:
    check_read_condition(call.headers, entry)
    headers = entry_headers(call, entry)
    part = _part_range(call, entry, headers)
    span = part or _header_range(call, entry)
    call.record.etag = entry.etag
    if span is None:
        if call.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and call.switches.checksums:
            headers.update({f"x-amz-checksum-{name}": value for name, value in entry.checksums.items()})
            if entry.checksums:
                headers["x-amz-checksum-type"] = "FULL_OBJECT"
        return Response(200, headers, length=entry.size)
    start, length = span
    if length:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{entry.size}"
    return Response(206, headers, start=start, length=length)


def _part_range(call: Call, entry: Entry, headers: dict[str, str]) -> tuple[int, int] | None:
    if "partNumber" not in call.query or not call.switches.part_number:
        return None
    if "range" in call.headers:
        raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
    number = integer_part(call)
    sizes = entry.parts or (entry.size,)
    if number > len(sizes):
        raise S3Error("InvalidPartNumber", extra={"PartNumberRequested": str(number)})
    if entry.parts:
        headers["x-amz-mp-parts-count"] = str(len(sizes))
    return sum(sizes[: number - 1]), sizes[number - 1]


def integer_part(call: Call) -> int:
    text = call.query.get("partNumber", "")
    if not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise S3Error("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
    return int(text)


def _header_range(call: Call, entry: Entry) -> tuple[int, int] | None:
    value = call.headers.get("range")
    if value is None or not call.switches.range:
        return None
    call.record.range = value
    match = _RANGE.fullmatch(value.strip())
    if match is None or match.group() == "bytes=-":
        return None  # S3 ignores what it cannot parse
    first, last = match.groups()
    if not first:
        start = max(0, entry.size - int(last))
        length = entry.size - start
        if not int(last):
            length = 0
    else:
        start = int(first)
        if last and int(last) < start:
            return None
        length = min(int(last), entry.size - 1) - start + 1 if last else entry.size - start
    if length <= 0:
        raise S3Error(
            "InvalidRange",
            extra={"RangeRequested": value, "ActualObjectSize": str(entry.size)},
            headers={"Content-Range": f"bytes */{entry.size}"},
        )
    return start, length


def put_object(call: Call) -> Response:
    if "x-amz-copy-source" in call.headers:
        return copy_object(call)
    check_length(call)
    check_lock(call, "Object")
    storage = call.storage
    check = write_condition(call)
    check(storage.bucket(call.bucket).entries.get(call.key))
    headers, tags = stored_headers(call), tags_from_header(call)
    blob = storage.receive(call.payload.blocks(), damage=call.damage(), md5=call.payload.md5)
    kind = call.etag_kind()
    if kind == "kms":
        headers["x-amz-server-side-encryption"] = "aws:kms"
    entry = Entry(
        key=call.key,
        size=blob.stored_size,
        etag=single_etag(call, blob, kind),
        modified_ms=storage.now_ms(),
        segments=keep_blob(call, blob),
        headers=headers,
        tags=tags,
        checksums=dict(call.payload.checksums) if call.switches.checksums else {},
    )
    if call.has("not_stored"):
        storage.forget_blobs(blob_id for blob_id, _ in entry.segments)
    else:
        try:
            storage.put(call.bucket, entry, check=check)
        except S3Error:
            storage.forget_blobs(blob_id for blob_id, _ in entry.segments)
            raise
        published(call, entry)
    answer = {"ETag": f'"{entry.etag}"'}
    answer.update({f"x-amz-checksum-{name}": value for name, value in entry.checksums.items()})
    if encryption := headers.get("x-amz-server-side-encryption"):
        answer["x-amz-server-side-encryption"] = encryption
    return Response(call.switches.put_status, answer)


def single_etag(call: Call, blob: Blob, kind: str) -> str:
    if kind != "md5":
        return opaque_etag(kind)
    return blob.md5 if call.lies() else blob.stored_md5


def keep_blob(call: Call, blob: Blob) -> tuple[tuple[str, int], ...]:
    """An empty object needs no file."""
    if blob.stored_size:
        return ((blob.blob_id, blob.stored_size),)
    call.storage.forget_blobs([blob.blob_id])
    return ()


def published(call: Call, entry: Entry) -> None:
    call.record.etag = entry.etag
    call.store.log.wrote(call.record)


def copy_source(call: Call) -> tuple[str, Entry]:
    """The entry named by x-amz-copy-source, kept until it is released, and its bucket."""
    call.need(call.switches.copy, "CopyObject")
    source = unquote(call.headers["x-amz-copy-source"]).removeprefix("/")
    bucket, _, key = source.partition("/")
    if not key:
        raise S3Error("InvalidArgument", "Copy Source must mention the source bucket and key")
    entry = call.storage.open_entry(bucket, key)
    try:
        check_read_condition(call.headers, entry, "x-amz-copy-source-")
    except S3Error:
        call.storage.release(entry)
        raise
    return bucket, entry


def copy_object(call: Call) -> Response:
    storage = call.storage
    bucket, source = copy_source(call)
    try:
        storage.bucket(call.bucket)
        replace_metadata = call.headers.get("x-amz-metadata-directive", "COPY") == "REPLACE"
        replace_tags = call.headers.get("x-amz-tagging-directive", "COPY") == "REPLACE"
        if (bucket, source.key) == (call.bucket, call.key) and not replace_metadata:
            raise S3Error("InvalidRequest", "This copy request is illegal because it changes nothing.")
        digest = hashlib.md5(usedforsecurity=False)
        for block in storage.blocks(source):
            digest.update(block)
        kind = call.etag_kind()
        entry = Entry(
            key=call.key,
            size=source.size,
            etag=digest.hexdigest() if kind == "md5" else opaque_etag(kind),
            modified_ms=storage.now_ms(),
            segments=storage.link_blobs(source.segments),
            headers=stored_headers(call) if replace_metadata else dict(source.headers),
            tags=tags_from_header(call) if replace_tags else dict(source.tags),
        )
    finally:
        storage.release(source)
    storage.put(call.bucket, entry, check=write_condition(call))
    published(call, entry)
    content = f"<LastModified>{iso_time(entry.modified_ms)}</LastModified><ETag>&quot;{entry.etag}&quot;</ETag>"
    return document("CopyObjectResult", content)


def delete_object(call: Call) -> Response:
    call.storage.delete(call.bucket, call.key)
    return Response(204)


def get_tagging(call: Call) -> Response:
    call.need(call.switches.tagging, "Tagging")
    entry = call.storage.entry(call.bucket, call.key)
    tags = "".join(
        f"<Tag><Key>{escape(name)}</Key><Value>{escape(value)}</Value></Tag>" for name, value in entry.tags.items()
    )
    return document("Tagging", f"<TagSet>{tags}</TagSet>")


def put_tagging(call: Call) -> Response:
    call.need(call.switches.tagging, "Tagging")
    call.storage.entry(call.bucket, call.key)
    tree = parse_document(call.payload.read(BODY_LIMIT), "Tagging")
    pairs = [(tag.findtext("Key") or "", tag.findtext("Value") or "") for tag in tree.iter("Tag")]
    call.storage.set_tags(call.bucket, call.key, checked_tags(pairs))
    return Response(200)


def delete_tagging(call: Call) -> Response:
    call.need(call.switches.tagging, "Tagging")
    call.storage.set_tags(call.bucket, call.key, {})
    return Response(204)


_INVERTED = bytes(255 - value for value in range(256))


def replace_object(call: Call, size: int | None) -> Entry:
    """Puts a new version with other bytes in place of the object, as another client would; for faults."""
    storage = call.storage
    old = storage.open_entry(call.bucket, call.key)
    try:
        if size is None:
            blob = storage.receive(block.translate(_INVERTED) for block in storage.blocks(old))
        else:
            blob = storage.receive([(b"replaced by a fault " * (size // 20 + 1))[:size]])
        headers = dict(old.headers)
    finally:
        storage.release(old)
    entry = Entry(call.key, blob.size, blob.stored_md5, storage.now_ms(), keep_blob(call, blob), headers)
    storage.put(call.bucket, entry)
    return entry
