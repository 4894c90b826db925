# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AWS Signature Version 4 as a server checks it: header authentication only, with signed chunks.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from .model import S3Error

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
MAXIMUM_SKEW_SECONDS = 900.0
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=([^,\s]+)\s*,\s*SignedHeaders=([^,\s]+)\s*,\s*Signature=([0-9a-f]{64})"
)
_PLAIN = re.compile(r"[A-Za-z0-9/._~-]*").fullmatch


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signed; `signing_key`, `scope` and `seed` (the request's signature) verify signed chunks."""

    access_key: str
    signing_key: bytes
    scope: str
    timestamp: str
    seed: str

    def sign(self, *lines: str) -> str:
        return hmac.digest(self.signing_key, "\n".join(lines).encode(), "sha256").hex()

    def chunk_signature(self, previous: str, chunk_sha256: str) -> str:
        return self.sign("AWS4-HMAC-SHA256-PAYLOAD", self.timestamp, self.scope, previous, EMPTY_SHA256, chunk_sha256)

    def trailer_signature(self, previous: str, trailer_sha256: str) -> str:
        return self.sign("AWS4-HMAC-SHA256-TRAILER", self.timestamp, self.scope, previous, trailer_sha256)


@lru_cache(maxsize=256)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = ("AWS4" + secret).encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


@lru_cache(maxsize=64)
def _epoch(timestamp: str) -> float:
    return float(calendar.timegm(time.strptime(timestamp, "%Y%m%dT%H%M%SZ")))


def canonical_path(raw_path: str) -> str:
    """The path decoded and encoded again by the rules of S3: once, `/` kept."""
    if _PLAIN(raw_path):
        return raw_path
    return quote(unquote_to_bytes(raw_path.encode("latin-1")), safe="/-_.~")


def canonical_query(pairs: Sequence[tuple[str, str]]) -> str:
    encoded = [(quote(name, safe="-_.~"), quote(value, safe="-_.~", errors="surrogateescape")) for name, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def verify(
    method: str,
    raw_path: str,
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    secrets: Mapping[str, str],
    *,
    now: float,
    region: str = "",
    check_skew: bool = True,
) -> Identity:
    """Checks the Authorization header; S3Error as S3 would answer."""
    access_key, scope, signed_names, signature = _parse(headers, query)
    secret = secrets.get(access_key)
    if secret is None:
        raise S3Error("InvalidAccessKeyId", extra={"AWSAccessKeyId": access_key})
    date, scope_region, service, _ = scope.split("/")
    timestamp = _timestamp(headers)
    if check_skew and abs(_epoch(timestamp) - now) > MAXIMUM_SKEW_SECONDS:
        raise S3Error("RequestTimeTooSkewed", extra={"RequestTime": timestamp})
    if timestamp[:8] != date or service != "s3" or (region and scope_region != region):
        raise S3Error("AuthorizationHeaderMalformed", f"the scope {scope} is wrong", extra={"Region": region})
    canonical = _canonical_request(method, raw_path, query, headers, signed_names)
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    key = _signing_key(secret, date, scope_region, service)
    identity = Identity(access_key, key, scope, timestamp, signature)
    if not hmac.compare_digest(identity.sign("AWS4-HMAC-SHA256", timestamp, scope, digest), signature):
        raise S3Error("SignatureDoesNotMatch", extra={"AWSAccessKeyId": access_key, "CanonicalRequest": canonical})
    return identity


def _parse(headers: Mapping[str, str], query: Sequence[tuple[str, str]]) -> tuple[str, str, list[str], str]:
    authorization = headers.get("authorization")
    if authorization is None:
        if any(name.lower() == "x-amz-signature" for name, _ in query):
            raise S3Error("AccessDenied", "Query-string authentication is not supported by this store.")
        raise S3Error("AccessDenied", "The request is not signed.")
    match = _AUTHORIZATION.fullmatch(authorization.strip())
    if match is None:
        if authorization.startswith("AWS "):
            raise S3Error("InvalidRequest", "Please use AWS4-HMAC-SHA256.")
        raise S3Error("AuthorizationHeaderMalformed")
    credential, names, signature = match.groups()
    access_key, _, scope = credential.partition("/")
    if scope.count("/") != 3 or not scope.endswith("/aws4_request"):
        raise S3Error("AuthorizationHeaderMalformed", f"the scope {scope} is wrong")
    signed_names = names.split(";")
    if "host" not in signed_names:
        raise S3Error("AccessDenied", "The header Host must be signed.")
    if "x-amz-content-sha256" not in headers:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    for name in headers:
        if name.startswith("x-amz-") and name not in signed_names:
            raise S3Error("AccessDenied", f"There were headers present which were not signed: {name}")
    return access_key, scope, signed_names, signature


def _timestamp(headers: Mapping[str, str]) -> str:
    timestamp = headers.get("x-amz-date", "")
    if not re.fullmatch(r"\d{8}T\d{6}Z", timestamp):
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    return timestamp


def _canonical_request(
    method: str,
    raw_path: str,
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    signed_names: Sequence[str],
) -> str:
    lines = [method, canonical_path(raw_path), canonical_query(query) if query else ""]
    for name in signed_names:
        value = headers.get(name)
        if value is None:
            raise S3Error("SignatureDoesNotMatch", f"the signed header {name} is absent")
        lines.append(f"{name}:{' '.join(value.split()) if '  ' in value else value}")
    lines += ["", ";".join(signed_names), headers["x-amz-content-sha256"]]
    return "\n".join(lines)
