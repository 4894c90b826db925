# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Parsing of store responses: listing pages, object headers, errors. No side effects."""

from __future__ import annotations

import functools
import html
import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_plus

from ..core.errors import StoreError, Trouble
from ..core.keys import is_utf8
from ..core.model import UNTOLD, Head, Headers, ListedObject
from ..core.text import key_text, plain_text
from .entry_reader import EntryReader
from .remedies import AskedWith, Refusal, otherwise_addressed, remedy, told_region
from .xml_repair import XmlRepair, as_utf8

UNREADABLE = "unreadable"  # the code of a StoreError: the status is a success, but no S3 store sends such content
METADATA_PREFIX = "x-amz-meta-"
NOT_TOLD = AskedWith()
CHECKSUMS = ("sha256", "sha1", "crc32", "crc32c", "crc64nvme")

_ERROR_CODES: dict[str, Trouble] = {
    code: trouble
    for trouble, codes in {
        Trouble.CREDENTIAL: "InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken InvalidToken TokenRefreshRequired"
        " InvalidSecurity NotSignedUp AccountProblem AuthorizationHeaderMalformed InvalidClientTokenId"
        " UnrecognizedClientException UnauthorizedAccess",
        Trouble.DENIED: "AccessDenied AccessForbidden AllAccessDisabled",
        Trouble.BUCKET: "NoSuchBucket InvalidBucketName PermanentRedirect IllegalLocationConstraintException"
        " SecondLevelDomainForbidden PathStyleDomainForbidden VirtualHostDomainRequired",
        Trouble.NOT_FOUND: "NoSuchKey NoSuchVersion NoSuchUpload",
        Trouble.CHANGED: "PreconditionFailed ConditionalRequestConflict InvalidRange",
        Trouble.MISMATCH: "BadDigest InvalidDigest InvalidPart XAmzContentSHA256Mismatch XAmzContentChecksumMismatch",
        Trouble.BROKEN: "IncompleteBody",
        Trouble.TIMEOUT: "RequestTimeout",
        Trouble.THROTTLED: "SlowDown SlowDownRead SlowDownWrite TooManyRequests RequestLimitExceeded Throttling"
        " ThrottlingException BandwidthLimitExceeded ServiceUnavailable Busy XMinioServerBusy",
        # RequestTimeTooSkewed: nothing is wrong with the object, and retries succeed once the clock is fixed.
        Trouble.SERVER: "InternalError OperationAborted TemporaryRedirect RequestTimeTooSkewed",
        Trouble.FULL: "QuotaExceeded InsufficientCapacity XMinioStorageFull XMinioAdminBucketQuotaExceeded",
        Trouble.UNSUPPORTED: "NotImplemented MethodNotAllowed KeyTooLongError KeyTooLong EntityTooLarge EntityTooSmall"
        " MetadataTooLarge InvalidTag InvalidObjectState InvalidURI InvalidObjectName XNotImplemented",
    }.items()
    for code in codes.split()
}

_STATUSES: dict[int, Trouble] = {
    401: Trouble.CREDENTIAL,
    403: Trouble.DENIED,
    404: Trouble.NOT_FOUND,
    405: Trouble.UNSUPPORTED,
    407: Trouble.REFUSED,
    408: Trouble.TIMEOUT,
    409: Trouble.SERVER,
    412: Trouble.CHANGED,
    416: Trouble.CHANGED,
    429: Trouble.THROTTLED,
    501: Trouble.UNSUPPORTED,
    503: Trouble.THROTTLED,
    507: Trouble.FULL,
}

_EXPLANATIONS: dict[str, str] = {
    "SignatureDoesNotMatch": "the signature was rejected: the secret key does not match the access key"
    " (some stores also say this for an unknown access key)",
    "InvalidAccessKeyId": "the store does not know this access key",
    "ExpiredToken": "the session token has expired; renew the credentials",
    "InvalidToken": "the session token is not valid; renew the credentials",
    "RequestTimeTooSkewed": "the clocks of this host and of the store differ too much; set this host's clock (NTP)",
    "AccessDenied": "the credentials are known, but do not allow this; check the policies of user and bucket",
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "there is no such object",
    "AuthorizationHeaderMalformed": "the signature is for another region than the store's",
    "TemporaryRedirect": "the bucket is temporarily at another endpoint, as is usual for a newly created bucket",
    "PermanentRedirect": "the bucket is at another endpoint or in another region",
    **dict.fromkeys(
        ("SecondLevelDomainForbidden", "PathStyleDomainForbidden", "VirtualHostDomainRequired"),
        "the store requires the bucket name before the host; set `addressing: virtual`",
    ),
    "SlowDown": "the store asks for fewer requests",
    "InvalidObjectState": "the object is archived; restore it at the store first",
    "QuotaExceeded": "the store's quota is used up; free space there",
    "InsufficientCapacity": "the store is full; free space there",
    "XMinioStorageFull": "the store is full; free space there",
    "XMinioAdminBucketQuotaExceeded": "the bucket's quota is used up; free space there, or raise it",
    "NotImplemented": "the store does not support this",
}

_BY_TROUBLE: dict[Trouble, str] = {
    Trouble.CREDENTIAL: "the credentials were rejected",
    Trouble.DENIED: "the store denies this request",
    Trouble.BUCKET: "there is no such bucket at this endpoint",
    Trouble.NOT_FOUND: "there is no such object",
    Trouble.CHANGED: "the object is no longer the one that was listed",
    Trouble.THROTTLED: "the store asks for fewer requests, or is not ready",
    Trouble.SERVER: "the store has an internal problem",
    Trouble.UNSUPPORTED: "the store does not support this",
    Trouble.FULL: "the store is out of space; free space there",
    Trouble.REFUSED: "the proxy requires a login",
}

_NO_BODY: dict[Trouble, str] = {
    Trouble.CREDENTIAL: "the credentials were rejected; a HEAD response gives no reason",
    Trouble.DENIED: "rejected, and a HEAD response gives no reason: the keys are wrong, or they do not allow this",
    Trouble.NOT_FOUND: "there is no such object (or no such bucket: a HEAD response does not say which)",
    Trouble.OTHER: "rejected, and a HEAD response gives no reason: often an expired token or the wrong region",
}


def parse_error(body: bytes) -> Refusal | None:
    """The S3 error in a body; None if it has none (a web page, a gateway's text, nothing)."""
    # Parsed by pattern: stores send errors with and without a namespace, and sometimes broken XML.
    text = as_utf8(body[:65536]).decode("utf-8", "replace")
    if not re.search(r"<(?:\w+:)?Error[\s>]", text):
        return None

    def element(name: str) -> str:
        found = re.search(rf"<(?:\w+:)?{name}>([^<]*)</", text)
        return " ".join(html.unescape(found.group(1)).split())[:300] if found else ""

    code, message = element("Code"), element("Message")
    region = element("Region") or told_region(message)
    return Refusal(code, message, region, element("Endpoint")) if code else None


def trouble_of(status: int, code: str, *, of_object: bool) -> Trouble:
    """Classify an error response by the store's code, else by the HTTP status of a request for an object or bucket."""
    known = _ERROR_CODES.get(code)
    if known is not None:
        return known
    if status == 404 and not of_object:
        return Trouble.BUCKET
    if 300 <= status < 400:
        return Trouble.BUCKET
    return _STATUSES.get(status, Trouble.SERVER if status >= 500 else Trouble.OTHER)


def explain(trouble: Trouble, status: int, refusal: Refusal, asked: AskedWith, *, bodyless: bool = False) -> str:
    """One sentence for an operator: the cause, what to do, then the store's own message."""
    told = _EXPLANATIONS.get(refusal.code) or (_NO_BODY.get(trouble) if bodyless else None)
    if 300 <= status < 400 and not refusal.code:
        told = "the response is a redirect without a target"
    parts = [
        told or _BY_TROUBLE.get(trouble) or "the store rejected the request",
        remedy(trouble, status, refusal, asked),
    ]
    own_words = ": ".join(word for word in (refusal.code, refusal.message) if word)
    parts.append(f" (HTTP {status}{', ' if own_words else ''}{own_words})")
    return "".join(parts)


def failure(
    action: str,
    status: int,
    body: bytes,
    *,
    of_object: bool,
    asked: AskedWith,
    headers: bytes = b"",
    bodyless: bool = False,
) -> StoreError:
    """The error for an unsuccessful response; `bodyless` for the response to a HEAD."""
    refusal = parse_error(body)
    location = _header(headers, b"location")
    if refusal is None and 300 <= status < 400 and location:
        return redirected(action, status, location, body)
    if refusal is None and body.strip() and not bodyless:
        return not_s3(action, status, body, asked)
    refusal = refusal or Refusal("", "")
    region = _bucket_region(_header(headers, b"x-amz-bucket-region"))
    return refused(action, status, refusal, region, location, of_object=of_object, asked=asked, bodyless=bodyless)


def refused(
    action: str,
    status: int,
    refusal: Refusal,
    region: str,
    location: str,
    *,
    of_object: bool,
    asked: AskedWith,
    bodyless: bool = False,
) -> StoreError:
    """The error for an S3 error response; `region` and `location` from its headers."""
    if not refusal.region:
        refusal = refusal._replace(region=region)
    if not refusal.code and refusal.region not in ("", asked.region):
        refusal = refusal._replace(code="AuthorizationHeaderMalformed" if status == 400 else "PermanentRedirect")
    trouble = trouble_of(status, refusal.code, of_object=of_object)
    detail = explain(trouble, status, refusal, asked, bodyless=bodyless)
    if 300 <= status < 400 and location and not refusal.endpoint:
        detail += _whereto(location)
    return StoreError(trouble, action, detail, code=refusal.code, status=status)


def redirected(action: str, status: int, location: str, body: bytes = b"") -> StoreError:
    """The error for a redirect without an S3 error: BUCKET for a permanent one (301, 308), else SERVER.

    Redirects are never followed: signatures and uploaded data go only to the endpoints in the job file.
    """
    is_for_good = status in (301, 308) or not body.strip()
    trouble = Trouble.BUCKET if is_for_good else Trouble.SERVER
    return StoreError(trouble, action, f"the response is a redirect (HTTP {status}){_whereto(location)}", status=status)


def _whereto(location: str) -> str:
    return (
        f"; it redirects to {plain_text(location[:300])!r}, which is not followed: if that is the store, set"
        " `endpoints` to its address; if the host name contains the bucket, set `addressing: virtual`"
    )


_TOO_LARGE: dict[int, str] = {
    413: "the request is too large; raise the proxy's limit for request bodies (nginx: client_max_body_size)",
    414: "the key is too long for a URL; raise the proxy's limit for URLs (nginx: large_client_header_buffers)",
    431: "the headers are too large; raise the proxy's limit for headers (nginx: large_client_header_buffers)",
}


def not_s3(action: str, status: int, body: bytes, asked: AskedWith = NOT_TOLD) -> StoreError:
    """The error for a response that is not from an S3 store: a gateway's page, a login page, another service.

    Whatever its status, it says nothing about a bucket or an object: a proxy's 404 does not mean NOT_FOUND. Only
    statuses about the size of a request concern that request.
    """
    text = " ".join(re.sub(r"<[^>]*>", " ", body[:4096].decode("utf-8", "replace")).split())[:120]
    if b"HTTPS port" in body or b"HTTPS server" in body:
        detail = f"the endpoint requires TLS; use https:// in `endpoints` (HTTP {status}: {text!r})"
        return StoreError(Trouble.TLS, action, detail, status=status)
    if status in _TOO_LARGE:
        detail = f"{_TOO_LARGE[status]}; this is the response of a proxy, not of the store (HTTP {status}: {text!r})"
        return StoreError(Trouble.UNSUPPORTED, action, detail, status=status)
    trouble = {429: Trouble.THROTTLED, 503: Trouble.THROTTLED}.get(status, Trouble.SERVER)
    detail = (
        "the response is not from an S3 store, but from a proxy or gateway, a login page, or another service"
        f"{otherwise_addressed(asked) if status < 500 else ''} (HTTP {status}: {text!r})"
    )
    return StoreError(trouble, action, detail, status=status)


_TLS_REFUSED = (Trouble.TLS, "the TLS handshake failed")
_TLS_UNTRUSTED = (
    Trouble.TLS,
    "the endpoint's certificate is not trusted; does `ca_bundle` contain the CA that signed it?",
)
_NO_CA_FILE = (Trouble.TLS, "the CA file cannot be read; check `ca_bundle`")
_ENDED_EARLY = (Trouble.BROKEN, "the connection broke")

# libcurl's error numbers: https://curl.se/libcurl/c/libcurl-errors.html
_TRANSPORT: dict[int, tuple[Trouble, str]] = {
    1: (Trouble.SERVER, "the endpoint does not speak HTTP"),
    5: (Trouble.DNS, "the proxy's host name does not resolve"),
    6: (Trouble.DNS, "the endpoint's host name does not resolve"),
    7: (Trouble.REFUSED, "cannot connect to the endpoint"),
    8: (Trouble.SERVER, "the endpoint does not speak HTTP"),
    16: _ENDED_EARLY,
    18: (Trouble.BROKEN, "the response ended early"),
    28: (Trouble.TIMEOUT, "the endpoint does not respond, or stalled"),
    35: _TLS_REFUSED,
    52: (Trouble.BROKEN, "the endpoint closed the connection without a response"),
    53: _TLS_REFUSED,
    54: _TLS_REFUSED,
    55: _ENDED_EARLY,
    56: _ENDED_EARLY,
    59: _TLS_REFUSED,
    60: _TLS_UNTRUSTED,
    66: _TLS_REFUSED,
    77: _NO_CA_FILE,
    80: _TLS_REFUSED,
    83: _TLS_UNTRUSTED,
    91: _TLS_UNTRUSTED,
    92: _ENDED_EARLY,
    97: (Trouble.REFUSED, "the proxy refused the connection"),
}


_UNREADABLE_HEADERS = ("Invalid Content-Length", "Nul byte in header", "Header without colon")


def unanswered(action: str, number: int, words: str, *, of_object: bool = False) -> StoreError:
    """The error for a request without a complete response: libcurl's error number and message.

    If libcurl cannot parse the headers of a response about an object, that is a problem of this response only.
    """
    if of_object and words.startswith(_UNREADABLE_HEADERS):
        return unreadable(action, ValueError(words), 0, of_object=True)
    trouble, cause = _TRANSPORT.get(number, (Trouble.OTHER, "the request could not be made"))
    if words.startswith("Resolving timed out"):
        trouble, cause = _TRANSPORT[6]
    if "wrong version number" in words:
        cause = "the endpoint does not speak TLS; does it need http://?"
    return StoreError(trouble, action, f"{cause} (libcurl {number}: {words})", code=f"curl-{number}")


def _bucket_region(text: str) -> str:
    found = re.match(r"[\w-]+", text)
    return found[0] if found else ""


def _header(headers: bytes, name: bytes) -> str:
    """The value of a header of the last response, "" if it has none."""
    found = re.search(rb"(?im)^" + name + rb":[ \t]*([^\r\n]*)", _last_answer(headers))
    return found[1].strip().decode("utf-8", "replace") if found else ""


def unreadable(action: str, error: ValueError, status: int, *, of_object: bool = False) -> StoreError:
    """The error for a response with a success status and content that no S3 store sends.

    With `of_object`, in response to a request for one object, it concerns that object only.
    """
    detail = f"the response is not a valid S3 response: {error}; check for a proxy between this host and the store"
    trouble = Trouble.OTHER if of_object else Trouble.SERVER
    return StoreError(trouble, action, detail, code=UNREADABLE, status=status)


# --- heads


def parse_head(block: bytes, status: int, *, received: int = -1) -> Head:
    """Parse the headers of one response as libcurl delivers them; ValueError if they contradict themselves.

    `received` is the size to use if they do not give it; without it the size is UNTOLD then.
    Metadata names become lower case. Values are decoded as UTF-8, else as Latin-1; words encoded by RFC 2047 (AWS does
    that to values that are not ASCII) stay as they are, and are sent again unchanged.
    """
    fields, metadata = _fields(block)
    get = fields.get
    etag = etag_text(get("etag", ""))
    date, modified = get("date"), get("last-modified")
    return Head(
        status,
        _size(get("content-length"), received),
        etag,
        http_date_ms(modified) if modified else 0,
        Headers(
            get("content-type", ""),
            get("cache-control", ""),
            get("content-encoding", ""),
            get("content-disposition", ""),
            get("content-language", ""),
            get("expires", ""),
            metadata,
        ),
        _number(get("x-amz-tagging-count")),
        _number(get("x-amz-mp-parts-count")),
        get("x-amz-server-side-encryption", "")
        or ("customer" if get("x-amz-server-side-encryption-customer-algorithm") else ""),
        _checksums(fields, etag),
        http_date_ms(date) if date else 0,
    )


_find_total = re.compile(rb"(?im)^content-range:[ \t]*bytes[ \t]+\d+-\d+/(\d+)").search


def total_size(block: bytes, otherwise: int) -> int:
    """The size of the whole object, from the response to a range request."""
    found = _find_total(_last_answer(block))
    return int(found[1]) if found else otherwise


def status_of(block: bytes) -> int:
    """The HTTP status of the last response in the block, 0 if there is none."""
    words = _last_answer(block)[:13].split(b" ")
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def _last_answer(block: bytes) -> bytes:
    start = block.rfind(b"\r\n\r\nHTTP/")  # before it: an interim response, or a proxy's
    return block[start + 4 :] if start >= 0 else block


def _fields(block: bytes) -> tuple[dict[str, str], dict[str, str]]:
    """Header fields by lower-case name, and separately the metadata, of the last response in the block."""
    lines = _decode(_last_answer(block)).split("\r\n")
    fields: dict[str, str] = {}
    metadata: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            continue
        name, value = name.lower(), value.strip(" \t")
        target = fields
        if name.startswith(METADATA_PREFIX):
            name, target = name[11:], metadata
        target[name] = _joined(name, target[name], value) if name in target else value
    return fields, metadata


def _joined(name: str, known: str, value: str) -> str:
    """The value of a repeated field: proxies duplicate whole responses, and a list may be split."""
    if known == value:
        return value
    if name in _ONE_VALUE:
        raise ValueError(f"it has two different values for {name}, {plain_text(known)!r} and {plain_text(value)!r}")
    return f"{known},{value}"


def _decode(block: bytes) -> str:
    try:
        return block.decode()
    except UnicodeDecodeError:
        return "\r\n".join(_decode_value(line) for line in block.split(b"\r\n"))


def _decode_value(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _size(content_length: str | None, received: int) -> int:
    """The Content-Length; a duplicated one (`5, 5`) counts once, a missing one is replaced by `received`."""
    if not content_length:
        return received
    size = _whole_number(content_length)
    if size is None and "," in content_length:
        lengths = {length.strip() for length in content_length.split(",")}
        size = _whole_number(lengths.pop()) if len(lengths) == 1 else None
    if size is None:
        raise ValueError(f"its Content-Length is {plain_text(content_length)!r}")
    return size


def _whole_number(text: str) -> int | None:
    """A decimal number that the ledger can hold; None for anything else."""
    text = text.strip()
    is_one = text.isascii() and text.isdecimal() and len(text) < 19
    return int(text) if is_one else None


def _number(text: str | None) -> int:
    return (_whole_number(text) or 0) if text else 0


def etag_text(text: str) -> str:
    """An ETag without its quotes, from a header or a listing; a proxy may have made it weak, or duplicated it."""
    text = text.strip()
    doubled = _doubled_etag(text) if "," in text else None
    return (doubled[1] if doubled else text).removeprefix("W/").strip('"')


def _checksums(fields: dict[str, str], etag: str) -> dict[str, str]:
    """Checksums of the whole object. Older stores give no type: then the checksum is used if there are no parts."""
    kind = fields.get("x-amz-checksum-type")
    if kind != "FULL_OBJECT" and (kind is not None or "-" in etag):
        return {}
    found = {name: fields.get(field, "") for name, field in _CHECKSUM_FIELDS}
    return {name: value for name, value in found.items() if value and "-" not in value}


_CHECKSUM_FIELDS = [(name, f"x-amz-checksum-{name}") for name in CHECKSUMS]
# Fields that must not have two different values; others are lists, or not used here.
_ONE_VALUE = frozenset({"content-length", "etag", "last-modified", "content-range"})
_doubled_etag = re.compile(r'((?:W/)?"[^"]*")(?:\s*,\s*\1)+').fullmatch

_MONTHS = {"Jan": 1, "Feb": 2, "Mar": 3, "Apr": 4, "May": 5, "Jun": 6}
_MONTHS |= {"Jul": 7, "Aug": 8, "Sep": 9, "Oct": 10, "Nov": 11, "Dec": 12}


@functools.lru_cache(maxsize=4096)
def http_date_ms(text: str) -> int:
    """Milliseconds since the epoch of `Sat, 21 Nov 2026 13:08:32 GMT`; 0 if it is not an HTTP or e-mail date."""
    try:
        day, month, year = int(text[5:7]), _MONTHS[text[8:11]], int(text[12:16])
        hour, minute, second = int(text[17:19]), int(text[20:22]), int(text[23:25])
        moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except (ValueError, KeyError):
        return _other_date_ms(text)
    return int(moment.timestamp()) * 1000


def _other_date_ms(text: str) -> int:
    """Older forms of HTTP dates, and dates with an offset: RFC 850, asctime, RFC 5322."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError, IndexError):
        return 0
    return max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()) * 1000)


# --- listings


def iso_date_ms(text: str) -> int:
    """Milliseconds since the epoch of `2026-11-21T13:02:21.123Z`, or of other formats that stores use.

    0 if it is not a date: size and ETag still distinguish the generations of an object.
    """
    try:
        return max(0, _minute_ms(text[:16]) + _second_ms(text[17:].rstrip("Z")))
    except ValueError:
        return _odd_date_ms(text)


def _second_ms(text: str) -> int:
    second = float(text)
    if not 0 <= second < 61:  # float() also reads `inf` and `1e300`
        raise ValueError(text)
    return round(second * 1000)


_ODD_DATE = re.compile(r"\W*(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)([.,]\d+)?\s*(?:Z|UTC|GMT|([+-]\d\d):?(\d\d))?\s*")


@functools.lru_cache(maxsize=4096)
def _odd_date_ms(text: str) -> int:
    """Dates with an offset, without a zone, or in HTTP format; an odd date must not fail a whole listing."""
    found = _ODD_DATE.fullmatch(text)
    if not found:
        return http_date_ms(text.strip())
    day, second, fraction, hours, minutes = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{second}{hours or '+00'}:{minutes or '00'}")
    except ValueError:
        return 0
    milliseconds = round(float(f"0.{fraction[1:]}") * 1000) if fraction else 0
    return max(0, int(moment.timestamp()) * 1000 + milliseconds)


@functools.lru_cache(maxsize=1024)
def _minute_ms(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp()) * 1000


_ECHO = re.compile(rb"(?i)<(?:\w+:)?(?:StartAfter|Marker|Prefix|ContinuationToken)>[^<]*</[^>]*>")
_FOLLOWING = re.compile(rb"(?i)<(?:\w+:)?(NextContinuationToken|NextMarker)>([^<]*)</[^>]*>")
_REFERENCE = re.compile(r"&(?:#x([0-9a-fA-F]+)|#([0-9]+)|(amp|lt|gt|quot|apos));")
_CANONICAL = {b"nextcontinuationtoken": "NextContinuationToken", b"nextmarker": "NextMarker"}
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def cut_listing(body: bytes) -> tuple[bytes, dict[str, str]]:
    """A whole listing without the parts no XML parser can read, and its NextContinuationToken and NextMarker by name.

    RGW and rclone write raw keys there, whatever encoding was requested: with characters that XML cannot contain, and
    with carriage returns that a parser would turn into line feeds.
    """
    following = {
        _CANONICAL[name.lower()]: _unescaped(text.decode(errors="surrogateescape"))
        for name, text in _FOLLOWING.findall(body)
    }
    return _ECHO.sub(b"", _FOLLOWING.sub(b"", body)), following


def _unescaped(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        hexadecimal, decimal, name = match.groups()
        return _NAMED[name] if name else _character(int(hexadecimal, 16) if hexadecimal else int(decimal))

    return _REFERENCE.sub(character, text)


def _character(number: int) -> str:
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise ValueError(f"it refers to U+{number:04X}, which is not a character")
    return chr(number)


# Stores use many spellings of these names: ListBucketResult, ListObjectsV2Result, listBucketResult, ListObjectResult.
_is_listing = re.compile(r"(?i)list(?:bucket|objects?)(?:v2)?(?:result|response)").fullmatch
_YES = frozenset({"true", "1", "yes"})
_NO = frozenset({"false", "0", "no"})


def says_more(text: str) -> bool | None:
    """The value of IsTruncated: True or False in any of the spellings that stores use, None for anything else."""
    word = text.strip().lower()
    return True if word in _YES else False if word in _NO else None


_MOST_REMARKS = 100


class ListingParser:
    """Parses a ListObjects or ListObjectsV2 response in chunks of any size, about 5 microseconds per object.

    `objects` grows as chunks are fed; `take` empties it. The other fields are valid after `finish`: `more` is whether
    the store says that there is more (None: it does not say, or not readably), `leads_on` whether it gives a token or
    marker to continue. The S3 namespace may have any prefix, or be missing; names are matched ignoring case. Raises
    ValueError if it is not a listing.

    An unreadable value affects only its entry: a date becomes 0, a size UNTOLD. `remarks` has the first of each kind,
    in a sentence for people. `repair` makes text that no XML parser accepts readable for one.
    """

    def __init__(self, repair: XmlRepair | None = None) -> None:
        from xml.parsers import expat

        self.objects: list[ListedObject] = []
        self.leads_on = False
        self.last_key = ""
        self.unread: list[str] = []  # entries that could not be read
        self.is_cut = False
        self._words: set[bool | None] = set()  # all values of IsTruncated
        self._settled = False  # it is known whether keys are encoded: some stores send that after the objects
        self._says_anything = False
        self._held: list[ListedObject] = []
        self._encoded = False
        self._depth = 0
        self._text = ""
        self._fields: dict[str, str] = {}
        self.remarks: dict[str, str] = {}
        self._malformed: type[Exception] = expat.ExpatError
        self._repair = repair or XmlRepair()
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.CharacterDataHandler = self._characters
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = _no_doctype

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.Parse(self._repair.text(chunk), False)
        except self._malformed as error:
            raise ValueError(f"it is not readable as XML: {error}") from None

    def finish(self) -> None:
        try:
            self._parser.Parse(self._repair.text(b"", is_last=True), True)
        except self._malformed as error:
            raise ValueError(f"it is not XML, or ends too early: {error}") from None
        if not self._says_anything:
            raise ValueError("it is an empty listing without any of the elements that every store sends")
        self._settled = True
        self.objects[:0] = self._held
        self._held = []

    def take(self) -> list[ListedObject]:
        """The objects read since the last call; keys that depend on a still unknown encoding are held back."""
        taken, self.objects = self.objects, []
        if self._settled:
            return taken
        self._held += [item for item in taken if _is_encodable(item.key)]
        return [item for item in taken if not _is_encodable(item.key)]

    def _start(self, name: str, _attributes: object) -> None:
        if self._depth == 0 and name.rpartition(":")[2].lower() == "listallmybucketsresult":
            raise ValueError("it is a list of buckets: the store did not see the bucket name; set `addressing: path`")
        if self._depth == 0 and not _is_listing(name.rpartition(":")[2]):
            raise ValueError(f"it is a <{name}>, not a listing")
        self._depth += 1
        self._text = ""

    def _characters(self, data: str) -> None:
        self._text += data

    def _end(self, name: str) -> None:
        self._depth -= 1
        if ":" in name:
            name = name.rpartition(":")[2]
        name = name.lower()
        if self._depth == 2:
            self._fields[name] = self._text
        elif self._depth == 1:
            self._says_anything = True
            if name == "contents":
                self._object()
            else:
                self._summary(name, self._text)

    def _object(self) -> None:
        fields = self._fields
        written = fields.get("key")
        if written is None:
            raise ValueError("an entry has no Key")
        key = self._repair.original(written)
        if key != written and is_utf8(key):
            self._remark(key, "its key has a character that XML cannot contain; the listing was read anyway")
        self.last_key = key = self.decoded(key)
        size, modified = _whole_number(fields.get("size", "")), fields.get("lastmodified", "")
        modified_ms = iso_date_ms(modified) if modified else 0
        if not modified_ms and _is_unreadable_date(modified):
            self._remark(
                key,
                f"its date {plain_text(modified[:40])!r} cannot be read; such objects have no date",
                "date",
            )
        self.objects.append(
            ListedObject(key, UNTOLD if size is None else size, etag_text(fields.get("etag", "")), modified_ms)
        )
        fields.clear()

    def _remark(self, key: str, what: str, kind: str = "") -> None:
        """Record an oddity of an object: the first of a `kind`, or up to a hundred named ones."""
        if len(self.remarks) < _MOST_REMARKS:
            self.remarks.setdefault(kind or key, f"{key_text(key)}: {what}")

    def _summary(self, name: str, text: str) -> None:
        if name == "istruncated":
            self._words.add(says_more(text))
        elif name in ("nextmarker", "nextcontinuationtoken"):
            self.leads_on = self.leads_on or bool(text)
        elif name == "encodingtype" and text.strip().lower() == "url" and not self._encoded:
            self._settled = self._encoded = True
            self.objects[:] = [self._decoded_object(item) for item in [*self._held, *self.objects]]
            self._held = []
            self.last_key = self.decoded(self.last_key)

    @property
    def more(self) -> bool | None:
        """Whether there is more; if IsTruncated is contradictory, the value that loses nothing."""
        if True in self._words:
            return True
        return None if None in self._words or not self._words else False

    def decoded(self, text: str) -> str:
        """Decode a key of this listing."""
        # AWS and rclone write a space as +, others as %20; all write a plus as %2B.
        if self._encoded and _is_encodable(text):
            return unquote_plus(text, errors="surrogateescape")
        return text

    def _decoded_object(self, item: ListedObject) -> ListedObject:
        return ListedObject(self.decoded(item.key), item.size, item.etag, item.modified_ms)


class EntryParser(ListingParser):
    """The same for a listing that is not XML: it is read entry by entry (`store/entry_reader.py`)."""

    def __init__(self) -> None:
        self._reader = EntryReader()
        super().__init__(self._reader)

    def finish(self) -> None:
        super().finish()
        self.unread, self.is_cut = self._reader.unread, self._reader.is_cut
        how = "; it was cut off" if self.is_cut else ""
        self.remarks.setdefault("no XML", f"a response is not valid XML, and was read entry by entry{how}")


def _is_unreadable_date(text: str) -> bool:
    """Whether a date that parsed to 0 was unreadable: some stores write year 1, or the epoch."""
    return bool(text.strip()) and not text.startswith(("0001-", "1970-"))


def _is_encodable(key: str) -> bool:
    return "%" in key or "+" in key


def _no_doctype(*_arguments: object) -> None:
    raise ValueError("it has a DOCTYPE, which no store sends")
