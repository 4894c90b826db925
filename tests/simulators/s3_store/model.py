# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the store keeps and what it answers: entries, uploads, errors, switches. No effects here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

MIB = 1024 * 1024

# code -> (HTTP status, message), as https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html names them.
ERRORS: Mapping[str, tuple[int, str]] = {
    "AccessDenied": (403, "Access Denied"),
    "AuthorizationHeaderMalformed": (400, "The authorization header is malformed."),
    "BadDigest": (400, "The Content-MD5 or checksum value that you specified did not match what the server received."),
    "BadRequest": (400, "Bad Request"),
    "BucketAlreadyOwnedByYou": (409, "The bucket that you tried to create already exists, and you own it."),
    "BucketNotEmpty": (409, "The bucket that you tried to delete is not empty."),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed object size."),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed object size."),
    "IncompleteBody": (400, "You did not provide the number of bytes specified by the Content-Length HTTP header."),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": (403, "The AWS access key ID that you provided does not exist in our records."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidDigest": (400, "The Content-MD5 or checksum value that you specified is not valid."),
    "InvalidPart": (400, "One or more of the specified parts could not be found, or its entity tag did not match."),
    "InvalidPartNumber": (416, "The requested partnumber is not satisfiable"),
    "InvalidPartOrder": (400, "The list of parts was not in ascending order."),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "InvalidRequest": (400, "Invalid Request"),
    "InvalidTag": (400, "The tag provided was not a valid tag."),
    "InvalidToken": (400, "The provided token is malformed or otherwise not valid."),
    "InvalidURI": (400, "The specified URI couldn't be parsed."),
    "KeyTooLongError": (400, "Your key is too long."),
    "MalformedXML": (400, "The XML that you provided was not well formed or did not validate."),
    "MetadataTooLarge": (400, "Your metadata headers exceed the maximum allowed metadata size."),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "NoSuchBucket": (404, "The specified bucket does not exist."),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchUpload": (404, "The specified multipart upload does not exist."),
    "NotImplemented": (501, "A header or query that you provided implies functionality that is not implemented."),
    "NotModified": (304, "Not Modified"),
    "PreconditionFailed": (412, "At least one of the preconditions that you specified did not hold."),
    "RequestTimeTooSkewed": (403, "The difference between the request time and the server's time is too large."),
    "RequestTimeout": (400, "Your socket connection to the server was not read from within the timeout period."),
    "ServiceUnavailable": (503, "Service is unable to handle request."),
    "SignatureDoesNotMatch": (403, "The request signature that the server calculated does not match yours."),
    "SlowDown": (503, "Please reduce your request rate."),
    "XAmzContentSHA256Mismatch": (400, "The provided x-amz-content-sha256 header does not match what was computed."),
}


class S3Error(Exception):
    """An error answer: S3 code, HTTP status, message and extra elements or headers; or a proxy's `page` instead."""

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        status: int = 0,
        extra: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        page: str = "",
    ) -> None:
        known_status, known_message = ERRORS.get(code, (400, code))
        self.code = code
        self.status = status or known_status
        self.message = message or known_message
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
        self.page = page
        super().__init__(f"{self.status} {code}: {self.message}")


class ConnectionLost(Exception):
    """The peer went away, or a fault says that the connection ends here."""


@dataclass(slots=True)
class Entry:
    """One stored object.

    `etag` is without quotes, `modified_ms` whole seconds in ms, `segments` are (blob id, size in bytes) in order,
    `headers` are the stored response headers in lower case (x-amz-meta-* among them), `parts` the part sizes of a
    multipart upload (empty: a single PUT), `checksums` x-amz-checksum-* values by algorithm.
    """

    key: str
    size: int
    etag: str
    modified_ms: int
    segments: tuple[tuple[str, int], ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    parts: tuple[int, ...] = ()
    checksums: dict[str, str] = field(default_factory=dict)
    readers: int = 0
    dropped: bool = False

    def record(self) -> list[Any]:
        """The entry as the journal writes it."""
        return [
            self.key,
            self.size,
            self.etag,
            self.modified_ms,
            self.segments,
            self.headers,
            self.tags,
            self.parts,
            self.checksums,
        ]

    @classmethod
    def from_record(cls, record: list[Any]) -> Entry:
        key, size, etag, modified_ms, segments, headers, tags, parts, checksums = record
        blobs = tuple((blob, length) for blob, length in segments)
        return cls(key, size, etag, modified_ms, blobs, headers, tags, tuple(parts), checksums)


@dataclass(slots=True)
class Part:
    """One uploaded part: ETag as answered, MD5 of the bytes received, size in bytes."""

    number: int
    etag: str
    md5: str
    size: int
    blob: str
    modified_ms: int


@dataclass(slots=True)
class Upload:
    """A multipart upload under way."""

    upload_id: str
    key: str
    initiated_ms: int
    headers: dict[str, str]
    tags: dict[str, str]
    parts: dict[int, Part] = field(default_factory=dict)


@dataclass(slots=True)
class Switches:
    """How this store differs from AWS S3; every one can be set at start and at run time.

    `max_connections` 0: no cap. `etag` and `multipart_etag`: `md5` (as AWS), `opaque` (no digest at all), `kms`
    (opaque, with x-amz-server-side-encryption: aws:kms); `multipart_etag` also `whole` (plain MD5 of the whole
    object, as rclone). `complete_etag` false: an empty ETag in the Complete answer (as Ceph RGW 16.2).
    `part_number` false: `?partNumber=` is ignored on GET and HEAD. `range` false: ranges are ignored.
    `utf8_keys` false: keys of any bytes are taken (as lone surrogates in str), and sort after those of ASCII.
    `list_encoding` false: a listing writes keys as they are, whatever encoding was asked for (as Ceph RGW's markers).
    `truncated_words` is how IsTruncated says yes and no, "" leaves it out. `list_tokens`: `following` (as AWS), `none`
    is named, `always` also on the last page, `circle` (the last page leads to the first), `endless` (empty pages
    without end, each with a new token).
    `before_xml` is written before every XML document. `raw_controls`: control characters are in it as they are, not as
    references; `raw_markup`: so are `<`, `>` and `&` of keys, with `list_encoding` false. `charset` is what XML is
    written in and declared as ("": UTF-8). `list_limit` in bytes: a listing ends there, in the middle (0: it does not).
    `unreadable` is a regular expression: a listing that should show such a key is no XML at all.
    `list_dates` is a listing's LastModified, in the words of strftime ("": as AWS).
    `head_length` false: HEAD does not tell the length. `doubled_headers` (names with commas) are sent twice.
    `put_status` is the status of a PUT and of a part. `part_etags` false: parts are answered without an ETag.
    `framing` of answers: `length`, `chunked`, or `close` (HTTP/1.0: the connection ends where they do).
    `content_md5` false: nobody compares a body with its Content-MD5. `object_lock`: every PUT of an object or a part
    needs Content-MD5 or an additional checksum, as in a bucket with a default retention.
    `utf8_headers` false: headers beyond ASCII are signed as other bytes than were sent, and so refused (as AWS).
    `unpacks_gzip`: a GET gives what is stored with Content-Encoding gzip unpacked: "unless" it accepts gzip (as GCS),
    or "always" ("": never).
    `virtual_domain`: the bucket is the name before this domain in Host; a bucket in the path is refused (as OSS).
    `contradicts` is where a listing says otherwise than GET and HEAD, always: it has another `etag`, the ETag in
    capitals (`case`), no quotes around it (`unquoted`), or none (`unlisted`), another `size`, another size and ETag
    (`both`), another time (`modified`), or the time of the listing itself (`now`); or they have another ETag (`gzip`: a
    suffix; `get` and `head`: one of them, `weak`: a weak one), or `none`, or HEAD has another size (`head_size`).
    `date_offset` in seconds shifts the clock of the store. `region` "": any region is accepted.
    `latency` in seconds before every S3 answer, `bytes_per_second` per connection (0: no limit).
    """

    list_v2: bool = True
    list_sorted: bool = True
    list_paginated: bool = True
    list_delimiter: bool = True
    max_keys: int = 1000
    max_connections: int = 0
    copy: bool = True
    list_parts: bool = True
    tagging: bool = True
    delete_objects: bool = True
    bucket_changes: bool = True
    checksums: bool = True
    conditional_put: bool = True
    part_number: bool = True
    range: bool = True
    content_md5: bool = True
    object_lock: bool = False
    utf8_headers: bool = True
    unpacks_gzip: str = ""
    virtual_domain: str = ""
    aws_chunked: bool = True
    multipart_deletes_existing: bool = False
    key_limit: int = 1024
    utf8_keys: bool = True
    list_encoding: bool = True
    truncated_words: str = "true,false"
    list_tokens: str = "following"
    before_xml: str = ""
    raw_controls: bool = False
    raw_markup: bool = False
    charset: str = ""
    list_limit: int = 0
    unreadable: str = ""
    list_dates: str = ""
    head_length: bool = True
    doubled_headers: str = ""
    put_status: int = 200
    part_etags: bool = True
    framing: str = "length"
    contradicts: str = ""
    min_part_size: int = 5 * MIB
    etag: str = "md5"
    multipart_etag: str = "md5"
    complete_etag: bool = True
    check_skew: bool = True
    date_offset: float = 0.0
    region: str = ""
    server: str = "s3-store"
    latency: float = 0.0
    bytes_per_second: int = 0

    def changed(self, **values: Any) -> Switches:
        """A copy with these values; ValueError on an unknown name or a value of another type."""
        known = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"unknown switch {name!r}, known: {', '.join(sorted(known))}")
            wanted = type(known[name])
            if not isinstance(value, wanted) and not (wanted is float and isinstance(value, int)):
                raise ValueError(f"switch {name}: {value!r} is not {wanted.__name__}")
        return replace(self, **values)


def adapter_switches(**values: Any) -> Switches:
    """The limits of the S3 adapter of a Snowball Edge, as facts/snowball.md sections 4.1 and 4.2 give them."""
    adapter = Switches(
        list_v2=False,
        list_sorted=False,
        list_paginated=False,
        list_delimiter=False,
        max_connections=1000,
        copy=False,
        list_parts=False,
        tagging=False,
        delete_objects=False,
        bucket_changes=False,
        checksums=False,
        conditional_put=False,
        part_number=False,
        aws_chunked=False,
        multipart_deletes_existing=True,
        key_limit=933,
        server="AWSSnowball",
    )
    return adapter.changed(**values)
