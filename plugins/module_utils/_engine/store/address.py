# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How to reach a store: its address, proxy and CA file, object paths and request signatures."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..config.credentials import Credentials, Keys
    from ..config.job_file import Store

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

# Where distributions keep the system's CAs: Debian, Fedora, SUSE and Alpine in this order.
_SYSTEM_CA_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def endpoint_urls(store: Store) -> tuple[str, ...]:
    """The URLs of a store, without a trailing slash; without endpoints it is AWS in the store's region."""
    if store.endpoints:
        return tuple(endpoint.rstrip("/") for endpoint in store.endpoints)
    suffix = "amazonaws.com.cn" if store.region.startswith("cn-") else "amazonaws.com"
    return (f"https://s3.{store.region}.{suffix}",)


def proxy_for(endpoint: str) -> str:
    """The URL of the proxy that the environment sets for this endpoint, "" for none.

    Follows the rules of Go clients (s5cmd, rclone): loopback is always direct, `no_proxy` may contain networks such as
    192.168.0.0/16, which Python's own implementation does not support.
    """
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return ""
    from .proxies import chosen_proxy  # urllib.request and the HTTP client behind it cost a sixth of a start

    return chosen_proxy(endpoint)


def ca_file(store: Store) -> str:
    """The CA file that the endpoint's certificate is checked against; "" leaves it to the TLS library.

    The job's `ca_bundle`, else AWS_CA_BUNDLE or SSL_CERT_FILE, else the system's: never the copy in a client library,
    which lacks CAs that an operator added to the host.
    """
    if store.ca_bundle is not None:
        return str(store.ca_bundle)
    named = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    return named or next((path for path in _SYSTEM_CA_FILES if os.path.exists(path)), "")


_is_unreserved = re.compile(r"[A-Za-z0-9/_.~-]*").fullmatch


class Place(NamedTuple):
    """Where requests for a bucket go: `url` with the host to ask, `root` the bucket's path ("": it is the host)."""

    url: str
    root: str

    @property
    def bucket_path(self) -> str:
        """The path of a request about the bucket."""
        return self.root or "/"

    def object_path(self, object_key: str) -> str:
        """The path of an object, encoded for SigV4: all but unreserved characters and the slash."""
        if _is_unreserved(object_key):  # as most are
            return f"{self.root}/{object_key}"
        return f"{self.root}/{urllib.parse.quote(object_key, '/-_.~', errors='surrogateescape')}"


def place_of(store: Store, endpoint: str) -> Place:
    """The place of the store's bucket at one of its endpoints (without a trailing slash)."""
    if store.addressing != "virtual":
        return Place(endpoint, f"/{store.bucket}")
    scheme, _, host = endpoint.partition("://")
    return Place(f"{scheme}://{store.bucket}.{host}", "")


# Errors of stores that accept the bucket name only before the host: Alibaba OSS, Tencent COS, Huawei OBS.
_VIRTUAL_ONLY = frozenset({"SecondLevelDomainForbidden", "PathStyleDomainForbidden", "VirtualHostDomainRequired"})


def readdressed(store: Store, refusal: str) -> Store | None:
    """The store with the addressing to use after an error with this code; None: nothing to change."""
    if store.addressing != "auto" or refusal not in _VIRTUAL_ONLY:
        return None
    return replace(store, addressing="virtual")


def query_string(parameters: dict[str, str]) -> str:
    """The canonical query of SigV4: sorted by name, all but unreserved characters encoded."""
    return "&".join(
        f"{name}={urllib.parse.quote(value, '-_.~', errors='surrogateescape')}"
        for name, value in sorted(parameters.items())
    )


class _Bodiless(NamedTuple):
    """What all requests without a body have in common during one second."""

    canonical: str  # the canonical request after the query
    authorization: str  # the header up to the signature
    lines: tuple[str, ...]  # the other headers


class _Moment(NamedTuple):
    """The values shared by all signatures of one second."""

    second: int
    credentials: Credentials
    stamp: str  # the second as x-amz-date has it
    scope: str
    signing_key: bytes
    to_sign: str  # the string to sign up to the hash
    bodiless: _Bodiless

    def signature(self, canonical_request: str) -> str:
        to_sign = self.to_sign + hashlib.sha256(canonical_request.encode()).hexdigest()
        return hmac.digest(self.signing_key, to_sign.encode(), "sha256").hex()


class Signer:
    """SigV4; about 6 microseconds for a request without a body.

    libcurl's own SigV4 (CURLOPT_AWS_SIGV4) would cost the same. It is not used because it is wrong for objects:
    together with CURLOPT_PATH_AS_IS it fails (error 43), and without that option libcurl removes `.` and `..` from the
    path, so that a key such as `../x` becomes a request for another bucket; it also percent-encodes the access key, and
    so cannot sign for stores whose access keys contain a colon (OpenStack Swift's). Measured with libcurl 8.23 against
    Swift and rclone.
    """

    def __init__(self, keys: Keys, region: str, host: str, *, checksum_mode: bool = False) -> None:
        self._keys = keys
        self._region = region
        self._signed = {"host": host, "x-amz-content-sha256": EMPTY_SHA256}
        if checksum_mode:
            self._signed["x-amz-checksum-mode"] = "ENABLED"
        # A tuple replaced as a whole, so that threads can share a signer without a lock.
        self._moment = self._at(0, keys.current())

    def headers(self, method: str, path: str, query: str) -> list[str]:
        """Header lines for a request; `path` and `query` from `object_path` and `query_string`."""
        moment = self._now()
        bodiless = moment.bodiless
        signature = moment.signature(f"{method}\n{path}\n{query}\n{bodiless.canonical}")
        return [bodiless.authorization + signature, *bodiless.lines]

    def sign(self, method: str, path: str, query: str, headers: Mapping[str, str], payload: str) -> list[str]:
        """Header lines for a request with a body; `headers` (names in lower case, ASCII values) are signed too.

        `payload` is the SHA-256 of the body in hex, or UNSIGNED_PAYLOAD if TLS protects it.
        """
        moment = self._now()
        own = self._signed_by(moment.credentials)
        signed = sorted({**own, **headers, "x-amz-date": moment.stamp, "x-amz-content-sha256": payload}.items())
        names = ";".join([name for name, _value in signed])
        fields = "".join([f"{name}:{_canonical(value) if ' ' in value else value}\n" for name, value in signed])
        signature = moment.signature(f"{method}\n{path}\n{query}\n{fields}\n{names}\n{payload}")
        authorization = self._authorization(moment.credentials, moment.scope, names) + signature
        # For libcurl "name:" removes a header, and "name;" sends an empty one.
        return [authorization, *[f"{name}: {value}" if value else f"{name};" for name, value in signed]]

    def _now(self) -> _Moment:
        now = int(time.time())
        credentials = self._keys.current()
        moment = self._moment
        if now != moment.second or credentials is not moment.credentials:
            moment = self._moment = self._at(now, credentials)
        return moment

    def _signed_by(self, credentials: Credentials) -> dict[str, str]:
        """The headers that every request carries."""
        token = credentials.session_token
        return self._signed | {"x-amz-security-token": token} if token else self._signed

    def _at(self, second: int, credentials: Credentials) -> _Moment:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        scope = f"{stamp[:8]}/{self._region}/s3/aws4_request"
        signing_key = f"AWS4{credentials.secret_key}".encode()
        for part in scope.split("/"):
            signing_key = hmac.digest(signing_key, part.encode(), "sha256")
        signed = sorted((self._signed_by(credentials) | {"x-amz-date": stamp}).items())
        names = ";".join(name for name, _ in signed)
        bodiless = _Bodiless(
            canonical="".join(f"{name}:{value}\n" for name, value in signed) + f"\n{names}\n{EMPTY_SHA256}",
            authorization=self._authorization(credentials, scope, names),
            lines=tuple(f"{name}: {value}" for name, value in signed),
        )
        return _Moment(
            second=second,
            credentials=credentials,
            stamp=stamp,
            scope=scope,
            signing_key=signing_key,
            to_sign=f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n",
            bodiless=bodiless,
        )

    @staticmethod
    def _authorization(credentials: Credentials, scope: str, names: str) -> str:
        """The header up to the signature."""
        credential = f"{credentials.access_key}/{scope}"
        return f"authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature="


def _canonical(value: str) -> str:
    """The value of a header as it is signed."""
    return " ".join(value.split())


def host_header(endpoint: str) -> str:
    """The value of `Host`: host and port, without the scheme's default port and without an IPv6 zone."""
    parts = urllib.parse.urlsplit(endpoint)
    usual = {"http": ":80", "https": ":443"}[parts.scheme]
    return re.sub(r"%[^\]]*", "", parts.netloc.removesuffix(usual))
