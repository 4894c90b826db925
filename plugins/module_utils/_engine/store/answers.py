# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the error response of a store means, or that there was no response. No side effects."""

from __future__ import annotations

import re

from ..core.errors import StoreError, Trouble
from ..core.text import plain_text
from .head_answers import last_answer
from .remedies import AskedWith, Refusal, otherwise_addressed, remedy, told_region
from .xml_repair import as_utf8

UNREADABLE = "unreadable"  # the code of a StoreError: the status is a success, but no S3 store sends such content
NOT_TOLD = AskedWith()

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
        import html  # its table of entities is large, and only errors need it

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
    found = re.search(rb"(?im)^" + name + rb":[ \t]*([^\r\n]*)", last_answer(headers))
    return found[1].strip().decode("utf-8", "replace") if found else ""


def unreadable(action: str, error: ValueError, status: int, *, of_object: bool = False) -> StoreError:
    """The error for a response with a success status and content that no S3 store sends.

    With `of_object`, in response to a request for one object, it concerns that object only.
    """
    detail = f"the response is not a valid S3 response: {error}; check for a proxy between this host and the store"
    trouble = Trouble.OTHER if of_object else Trouble.SERVER
    return StoreError(trouble, action, detail, code=UNREADABLE, status=status)
