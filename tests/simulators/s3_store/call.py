# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One S3 call as the operations see it, and what they share: markup, headers, conditions."""

from __future__ import annotations

import calendar
import re
import secrets
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote_plus

from .connection import Connection, Request, Response, http_date
from .faults import Faults, Plan, damaged
from .model import Entry, S3Error, Switches
from .payload import Payload
from .requestlog import Record, RequestLog
from .signature import Identity
from .storage import Damage, Storage

if TYPE_CHECKING:
    from collections.abc import Callable

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
BODY_LIMIT = 4 * 1024 * 1024
SYSTEM_HEADERS = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "x-amz-server-side-encryption",
)


@dataclass(slots=True)
class Store:
    """The parts of one store that operations work on."""

    storage: Storage
    switches: Switches
    faults: Faults
    log: RequestLog
    secrets: dict[str, str] = field(default_factory=dict)

    def now(self) -> float:
        return time.time() + self.switches.date_offset


@dataclass(slots=True)
class Call:
    """One request on its way through an operation."""

    store: Store
    request: Request
    connection: Connection
    record: Record
    plan: Plan | None = None
    identity: Identity | None = None
    _payload: Payload | None = None

    @property
    def storage(self) -> Storage:
        return self.store.storage

    @property
    def switches(self) -> Switches:
        return self.store.switches

    @property
    def bucket(self) -> str:
        return self.request.bucket

    @property
    def key(self) -> str:
        return self.request.key

    @property
    def headers(self) -> Mapping[str, str]:
        return self.request.headers

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query

    @property
    def payload(self) -> Payload:
        if self._payload is None:
            self._payload = Payload(
                self.connection,
                self.request.headers,
                self.identity,
                chunked=self.switches.aws_chunked,
                compares_md5=self.switches.content_md5,
            )
        return self._payload

    @property
    def payload_consumed(self) -> bool:
        return self._payload is not None and self._payload.consumed

    def damage(self) -> Damage | None:
        """How the bytes of this request are changed before they are kept."""
        rule = self.plan.first("store_wrong") if self.plan else None
        if rule is None:
            return None
        chosen = rule
        return lambda block, offset: damaged(chosen, block, offset)

    def lies(self) -> bool:
        """Whether the ETag of damaged bytes is that of the received ones."""
        return any(self.has(action, etag="received") for action in ("store_wrong", "reorder"))

    def has(self, action: str, **values: str) -> bool:
        """Whether a rule of that action hits this request; with these values, where any are given."""
        rule = self.plan.first(action) if self.plan else None
        return rule is not None and all(getattr(rule, name) == value for name, value in values.items())

    def etag_kind(self) -> str:
        """md5, opaque, kms or hex, for an object that this request makes."""
        rule = self.plan.first("etag") if self.plan else None
        if rule is not None:
            return rule.kind if rule.kind in ("kms", "hex") else "opaque"
        if self.headers.get("x-amz-server-side-encryption", "").startswith("aws:kms"):
            return "kms"
        return self.switches.etag

    def need(self, switch: bool, what: str) -> None:
        if not switch:
            raise S3Error("NotImplemented", f"{what} is not implemented by this store.")


def opaque_etag(kind: str, parts: int = 0) -> str:
    """An ETag that is no digest: of MD5's shape for `kms` and `hex`, of no known shape for `opaque`."""
    value = secrets.token_hex(16) if kind in ("kms", "hex") else f"v1.{secrets.token_urlsafe(18)}"
    return f"{value}-{parts}" if parts and kind in ("kms", "hex") else value


# -- markup --------------------------------------------------------------------------------------------------------

_UNRESERVED = re.compile(r"[A-Za-z0-9/._*-]*").fullmatch
_SPECIAL = re.compile(r"[&<>\"\x00-\x1f\x7f-\x9f\ufffe\uffff]")


def escape(text: str) -> str:
    """As S3 writes it: control characters as references, though XML 1.0 has none for most of them."""
    return _SPECIAL.sub(_reference, text) if _SPECIAL.search(text) else text


def _reference(match: re.Match[str]) -> str:
    character = match.group()
    return {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}.get(character) or f"&#x{ord(character):x};"


def url_encoded(text: str) -> str:
    """encoding-type=url as S3 does it: space is `+`, `/` and `*` stay."""
    if _UNRESERVED(text):
        return text
    return quote_plus(text, safe="/*", errors="surrogateescape")


def document(root: str, content: str, *, status: int = 200) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">{content}</{root}>'
    return Response(status, {"Content-Type": "application/xml"}, body.encode(errors="surrogateescape"))


def error_document(error: S3Error, resource: str, request_id: str) -> Response:
    """Without a code, as a fault may want it, there is no body either."""
    if error.page:
        return Response(error.status, {"Content-Type": "text/html", **error.headers}, error.page.encode())
    if not error.code:
        return Response(error.status, dict(error.headers))
    extra = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in error.extra.items())
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{escape(error.code)}</Code>'
        f"<Message>{escape(error.message)}</Message>{extra}<Resource>{escape(resource)}</Resource>"
        f"<RequestId>{request_id}</RequestId><HostId>{request_id}</HostId></Error>"
    )
    return Response(
        error.status, {"Content-Type": "application/xml", **error.headers}, body.encode(errors="surrogateescape")
    )


def parse_document(body: bytes, root: str) -> ElementTree.Element:
    """The root element, namespaces dropped from every name; MalformedXML."""
    try:
        tree = ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError, LookupError):
        raise S3Error("MalformedXML") from None
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    if tree.tag != root:
        raise S3Error("MalformedXML")
    return tree


_REFERENCE = re.compile("&#x([0-9a-f]+);")


def as_the_store_writes(response: Response, switches: Switches) -> None:
    """An XML answer as this store spells it."""
    if not response.headers.get("Content-Type", "").endswith("/xml"):
        return
    text = response.body.decode(errors="surrogateescape")
    if switches.raw_controls:
        text = _REFERENCE.sub(lambda match: chr(int(match[1], 16)), text)
    if switches.charset:
        declared = text.replace('encoding="UTF-8"', f'encoding="{switches.charset}"', 1)
        response.body = (switches.before_xml + declared).encode(switches.charset)
        return
    response.body = (switches.before_xml + text).encode(errors="surrogateescape")


@lru_cache(maxsize=4096)
def iso_time(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(milliseconds // 1000))


# -- headers -------------------------------------------------------------------------------------------------------


def stored_headers(call: Call) -> dict[str, str]:
    """What PUT, CreateMultipartUpload and CopyObject with REPLACE keep of their request's headers.

    A store that does not know aws-chunked keeps it as one of the object's encodings.
    """
    headers = call.headers
    kept = {name: headers[name] for name in SYSTEM_HEADERS if headers.get(name)}
    kept.setdefault("content-type", "binary/octet-stream")
    if "content-encoding" in kept and call.switches.aws_chunked:
        codings = [coding.strip() for coding in kept["content-encoding"].split(",")]
        codings = [coding for coding in codings if coding != "aws-chunked"]
        kept["content-encoding"] = ",".join(codings)
        if not codings:
            del kept["content-encoding"]
    metadata = {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
    if sum(len(name) - 11 + len(value) for name, value in metadata.items()) > 2048:
        raise S3Error("MetadataTooLarge")
    return {**kept, **metadata}


def tags_from_header(call: Call) -> dict[str, str]:
    header = call.headers.get("x-amz-tagging")
    if header is None:
        return {}
    call.need(call.switches.tagging, "Tagging")
    return checked_tags(parse_qsl(header, keep_blank_values=True))


def checked_tags(pairs: list[tuple[str, str]]) -> dict[str, str]:
    tags = dict(pairs)
    if len(tags) != len(pairs):
        raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key")
    if len(tags) > 10:
        raise S3Error("BadRequest", "Object tags cannot be greater than 10")
    if any(not 1 <= len(name) <= 128 or len(value) > 256 for name, value in tags.items()):
        raise S3Error("InvalidTag", "The TagKey or TagValue you have provided is invalid")
    return tags


def check_length(call: Call) -> None:
    """A PUT says how long it is."""
    if not call.payload.has_length and "x-amz-decoded-content-length" not in call.headers:
        raise S3Error("MissingContentLength")


def check_lock(call: Call, what: str) -> None:
    """Where objects are locked for a time, a body brings a digest of its own."""
    names = ("content-md5", "x-amz-checksum-", "x-amz-trailer")
    if call.switches.object_lock and not any(name.startswith(names) for name in call.headers):
        raise S3Error(
            "InvalidRequest",
            "Content-MD5 OR x-amz-checksum- HTTP header is required for"
            f" Put {what} requests with Object Lock parameters",
        )


def write_condition(call: Call) -> Callable[[Entry | None], None]:
    """If-Match and If-None-Match of a write, as a check of the object that it would replace."""
    if_match = call.headers.get("if-match")
    if_none_match = call.headers.get("if-none-match")

    def check(old: Entry | None) -> None:
        if not call.switches.conditional_put:
            return
        if if_none_match is not None and if_none_match != "*":
            raise S3Error("NotImplemented", "If-None-Match of a write takes only *")
        if if_none_match == "*" and old is not None:
            raise S3Error("PreconditionFailed", extra={"Condition": "If-None-Match"})
        if if_match is not None:
            if old is None:
                raise S3Error("NoSuchKey", extra={"Key": call.key})
            if not etag_matches(if_match, old.etag):
                raise S3Error("PreconditionFailed", extra={"Condition": "If-Match"})

    return check


def etag_matches(condition: str, etag: str) -> bool:
    if condition.strip() == "*":
        return True
    return etag in [value.strip().removeprefix("W/").strip('"') for value in condition.split(",")]


def check_read_condition(headers: Mapping[str, str], entry: Entry, prefix: str = "") -> None:
    """If-(None-)Match and If-(Un)modified-Since of a read, or of a copy's source; 412 or 304."""
    if_match = headers.get(f"{prefix}if-match")
    if_none_match = headers.get(f"{prefix}if-none-match")
    modified = entry.modified_ms // 1000
    if if_match is not None and not etag_matches(if_match, entry.etag):
        raise S3Error("PreconditionFailed", extra={"Condition": "If-Match"})
    unmodified_since = _http_time(headers.get(f"{prefix}if-unmodified-since"))
    if if_match is None and unmodified_since is not None and modified > unmodified_since:
        raise S3Error("PreconditionFailed", extra={"Condition": "If-Unmodified-Since"})
    fresh = {"ETag": f'"{entry.etag}"', "Last-Modified": http_date(modified)}
    not_modified = S3Error("PreconditionFailed") if prefix else S3Error("NotModified", headers=fresh)
    if if_none_match is not None and etag_matches(if_none_match, entry.etag):
        raise not_modified
    modified_since = _http_time(headers.get(f"{prefix}if-modified-since"))
    if if_none_match is None and modified_since is not None and modified <= modified_since:
        raise not_modified


def _http_time(value: str | None) -> int | None:
    if not value:
        return None
    try:
        return calendar.timegm(time.strptime(value, "%a, %d %b %Y %H:%M:%S GMT"))
    except ValueError:
        return None


def _contradict(headers: dict[str, str], kind: str, method: str) -> None:
    """Other headers than the listing shows."""
    if kind in ("gzip", method.lower()):
        headers["ETag"] = f'{headers["ETag"][:-1]}-gzip"'
    elif kind == "weak":
        headers["ETag"] = f"W/{headers['ETag']}"
    elif kind == "none":
        del headers["ETag"]


def entry_headers(call: Call, entry: Entry) -> dict[str, str]:
    """The headers that GET and HEAD answer with."""
    headers = {
        "ETag": f'"{entry.etag}"',
        "Last-Modified": http_date(entry.modified_ms // 1000),
        "Accept-Ranges": "bytes",
        **entry.headers,
    }
    _contradict(headers, call.switches.contradicts, call.request.method)
    if entry.tags and call.switches.tagging:
        headers["x-amz-tagging-count"] = str(len(entry.tags))
    for name, value in call.query.items():
        if name.startswith("response-"):
            headers[name.removeprefix("response-")] = value
    return headers


def integer(values: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """A number of the query; InvalidArgument outside its bounds."""
    text = values.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise S3Error("InvalidArgument", f"{name} must be between {low} and {high}", extra={"ArgumentName": name})
    return int(text)


Handler = Any  # Callable[[Call], Response]; a plain name keeps the tables of handlers readable
