# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Multipart uploads."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from urllib.parse import quote

from .call import (
    BODY_LIMIT,
    Call,
    check_length,
    check_lock,
    document,
    escape,
    integer,
    iso_time,
    opaque_etag,
    parse_document,
    stored_headers,
    tags_from_header,
    url_encoded,
    write_condition,
)
from .connection import Response
from .model import Entry, Part, S3Error, Upload
from .objects import copy_source, integer_part, published, single_etag
from .storage import multipart_etag


def create_upload(call: Call) -> Response:
    storage = call.storage
    storage.bucket(call.bucket)
    headers = stored_headers(call)
    if call.etag_kind() == "kms":
        headers["x-amz-server-side-encryption"] = "aws:kms"
    upload = Upload(secrets.token_urlsafe(24), call.key, storage.now_ms(), headers, tags_from_header(call))
    if call.switches.multipart_deletes_existing:
        storage.delete(call.bucket, call.key)
    storage.create_upload(call.bucket, upload)
    call.record.upload_id = upload.upload_id
    return document(
        "InitiateMultipartUploadResult",
        f"<Bucket>{escape(call.bucket)}</Bucket><Key>{escape(call.key)}</Key><UploadId>{upload.upload_id}</UploadId>",
    )


def _upload(call: Call) -> Upload:
    call.record.upload_id = call.query.get("uploadId", "")
    return call.storage.upload(call.bucket, call.key, call.record.upload_id)


def upload_part(call: Call) -> Response:
    number = call.record.part_number = integer_part(call)
    upload = _upload(call)
    if "x-amz-copy-source" in call.headers:
        return _copy_part(call, upload, number)
    check_length(call)
    check_lock(call, "Part")
    storage = call.storage
    blob = storage.receive(call.payload.blocks(), damage=call.damage(), md5=call.payload.md5)
    etag = single_etag(call, blob, call.etag_kind())
    md5 = blob.md5 if call.lies() else blob.stored_md5
    part = Part(number, etag, md5, blob.stored_size, blob.blob_id, storage.now_ms())
    _keep_part(call, upload, part)
    call.record.etag = etag
    answer = {"ETag": f'"{etag}"'} if call.switches.part_etags else {}
    if encryption := upload.headers.get("x-amz-server-side-encryption"):
        answer["x-amz-server-side-encryption"] = encryption
    if call.switches.checksums:
        answer.update({f"x-amz-checksum-{name}": value for name, value in call.payload.checksums.items()})
    return Response(call.switches.put_status, answer)


def _keep_part(call: Call, upload: Upload, part: Part) -> None:
    try:
        call.storage.put_part(call.bucket, call.key, upload.upload_id, part)
    except S3Error:
        call.storage.forget_blobs([part.blob])
        raise


def _copy_part(call: Call, upload: Upload, number: int) -> Response:
    storage = call.storage
    _, source = copy_source(call)
    try:
        start, length = 0, source.size
        if span := call.headers.get("x-amz-copy-source-range"):
            first, _, last = span.removeprefix("bytes=").partition("-")
            if not (first.isdigit() and last.isdigit()) or not int(first) <= int(last) < source.size:
                raise S3Error("InvalidArgument", "The x-amz-copy-source-range value is not valid")
            start, length = int(first), int(last) - int(first) + 1
        blob = storage.receive(storage.blocks(source, start, length))
    finally:
        storage.release(source)
    part = Part(number, blob.md5, blob.md5, blob.size, blob.blob_id, storage.now_ms())
    _keep_part(call, upload, part)
    content = f"<LastModified>{iso_time(part.modified_ms)}</LastModified><ETag>&quot;{part.etag}&quot;</ETag>"
    return document("CopyPartResult", content)


def complete_upload(call: Call) -> Response:
    upload = _upload(call)
    tree = parse_document(call.payload.read(BODY_LIMIT), "CompleteMultipartUpload")
    wanted = [(part.findtext("PartNumber") or "", part.findtext("ETag") or "") for part in tree.iter("Part")]
    parts = _chosen_parts(call, upload, wanted)
    storage, etag = call.storage, ""
    if call.has("reorder"):
        etag = _object_etag(call, parts) if call.lies() else ""
        parts.reverse()
    entry = Entry(
        key=call.key,
        size=sum(part.size for part in parts),
        etag=etag or _object_etag(call, parts),
        modified_ms=storage.now_ms(),
        segments=tuple((part.blob, part.size) for part in parts if part.size),
        headers=upload.headers,
        tags=upload.tags,
        parts=tuple(part.size for part in parts),
    )
    if call.has("not_stored"):
        storage.abort_upload(call.bucket, call.key, upload.upload_id)
    else:
        storage.complete_upload(call.bucket, upload, entry, write_condition(call))
        published(call, entry)
    shown = f"&quot;{entry.etag}&quot;" if call.switches.complete_etag else ""
    location = f"/{call.bucket}/{quote(call.key)}"
    return document(
        "CompleteMultipartUploadResult",
        f"<Location>{location}</Location><Bucket>{escape(call.bucket)}</Bucket><Key>{escape(call.key)}</Key>"
        f"<ETag>{shown}</ETag>",
    )


def _chosen_parts(call: Call, upload: Upload, wanted: Sequence[tuple[str, str]]) -> list[Part]:
    if not wanted or not all(number.strip().isdigit() for number, _ in wanted):
        raise S3Error("MalformedXML")
    numbers = [int(number) for number, _ in wanted]
    if any(later <= earlier for earlier, later in zip(numbers, numbers[1:], strict=False)):
        raise S3Error("InvalidPartOrder", extra={"UploadId": upload.upload_id})
    parts = []
    for number, (_, etag) in zip(numbers, wanted, strict=True):
        part = upload.parts.get(number)
        if part is None or etag.strip().strip('"') != part.etag:
            raise S3Error("InvalidPart", extra={"UploadId": upload.upload_id, "PartNumber": str(number)})
        parts.append(part)
    for part in parts[:-1]:
        if part.size < call.switches.min_part_size:
            extra = {"ProposedSize": str(part.size), "MinSizeAllowed": str(call.switches.min_part_size)}
            raise S3Error("EntityTooSmall", extra={**extra, "PartNumber": str(part.number), "ETag": part.etag})
    return parts


def _object_etag(call: Call, parts: Sequence[Part]) -> str:
    kind = call.etag_kind()
    if kind == "md5":
        kind = call.switches.multipart_etag
    if kind == "whole":
        digest = hashlib.md5(usedforsecurity=False)
        for part in parts:
            with open(call.storage.blob_path(part.blob), "rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()
    if kind != "md5":
        return opaque_etag(kind, len(parts))
    return multipart_etag(part.md5 for part in parts)


def abort_upload(call: Call) -> Response:
    upload = _upload(call)
    call.storage.abort_upload(call.bucket, call.key, upload.upload_id)
    return Response(204)


def list_parts(call: Call) -> Response:
    call.need(call.switches.list_parts, "ListParts")
    upload = _upload(call)
    limit = integer(call.query, "max-parts", 1000, 0, 2**31 - 1)
    marker = integer(call.query, "part-number-marker", 0, 0, 2**31 - 1)
    numbers = sorted(number for number in upload.parts if number > marker)
    page = [upload.parts[number] for number in numbers[: min(limit, 1000)]]
    content = [
        f"<Bucket>{escape(call.bucket)}</Bucket><Key>{escape(call.key)}</Key><UploadId>{upload.upload_id}</UploadId>",
        f"<StorageClass>STANDARD</StorageClass><PartNumberMarker>{marker}</PartNumberMarker>",
        f"<MaxParts>{limit}</MaxParts><IsTruncated>{str(len(numbers) > len(page)).lower()}</IsTruncated>",
    ]
    if page:
        content.append(f"<NextPartNumberMarker>{page[-1].number}</NextPartNumberMarker>")
    content += [
        f"<Part><PartNumber>{part.number}</PartNumber><LastModified>{iso_time(part.modified_ms)}</LastModified>"
        f"<ETag>&quot;{part.etag}&quot;</ETag><Size>{part.size}</Size></Part>"
        for part in page
    ]
    return document("ListPartsResult", "".join(content))


def list_uploads(call: Call) -> Response:
    query = call.query
    encode = url_encoded if query.get("encoding-type") == "url" else escape
    limit = min(1000, integer(query, "max-uploads", 1000, 0, 2**31 - 1))
    prefix, key_marker = query.get("prefix", ""), query.get("key-marker", "")
    id_marker = query.get("upload-id-marker", "")
    with call.storage.lock:
        uploads = sorted(call.storage.bucket(call.bucket).uploads.values(), key=lambda each: (each.key, each.upload_id))
    uploads = [
        each
        for each in uploads
        if each.key.startswith(prefix)
        and (each.key > key_marker or (bool(id_marker) and each.key == key_marker and each.upload_id > id_marker))
    ]
    page = uploads[:limit]
    content = [
        f"<Bucket>{escape(call.bucket)}</Bucket><KeyMarker>{encode(key_marker)}</KeyMarker>"
        f"<UploadIdMarker>{escape(id_marker)}</UploadIdMarker><Prefix>{encode(prefix)}</Prefix>"
        f"<MaxUploads>{limit}</MaxUploads><IsTruncated>{str(len(uploads) > len(page)).lower()}</IsTruncated>"
    ]
    if query.get("encoding-type") == "url":
        content.append("<EncodingType>url</EncodingType>")
    if len(uploads) > len(page) and page:
        content.append(
            f"<NextKeyMarker>{encode(page[-1].key)}</NextKeyMarker>"
            f"<NextUploadIdMarker>{page[-1].upload_id}</NextUploadIdMarker>"
        )
    content += [
        f"<Upload><Key>{encode(each.key)}</Key><UploadId>{each.upload_id}</UploadId>"
        f"<StorageClass>STANDARD</StorageClass><Initiated>{iso_time(each.initiated_ms)}</Initiated></Upload>"
        for each in page
    ]
    return document("ListMultipartUploadsResult", "".join(content))
