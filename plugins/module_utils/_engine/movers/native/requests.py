# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the requests of the native mover have in common: the bucket, its headers and actions."""

from __future__ import annotations

import base64
import functools
import re
from typing import TYPE_CHECKING, Protocol

from ...core.etag import ParsedEtag, told_digest
from ...core.header_text import load_headers
from ...core.model import Head, Headers, Send
from ...core.text import url_text
from ...store.curl import Transfer
from ...store.encodings import Packing
from ...store.object_headers import sent_headers
from ...store.timeouts import Patience
from ...store.upload_bodies import UNSET_CONTENT_TYPE, is_header_name
from .signing import RequestSigner

if TYPE_CHECKING:
    from ...config.credentials import Keys
    from ...config.job_file import Store

_VALUE = r'"(?:[!#-\[\]-~](?: ?[!#-\[\]-~])*)?"'
_FIELDS = "content_type|cache_control|content_encoding|content_disposition|content_language|expires"
# Headers as text that can be carried in any case. What is not matched may be, too.
_is_plain = re.compile(
    rf'\{{(?:"(?:{_FIELDS})":{_VALUE},?)*(?:"metadata":\{{(?:"[0-9a-z-]+":{_VALUE},?)*\}})?\}}'
).fullmatch
_is_header_value = re.compile(r"[!-~](?: ?[!-~])*").fullmatch


class Request(Protocol):
    """What a lane drives."""

    def begin(self, transfer: Transfer) -> None:
        """Prepare the handle. OSError if the local file cannot be read."""

    def end(self, number: int, words: str) -> Head:
        """The response, from libcurl's error number and message (0 and ""); StoreError, or the local file's OSError."""


def can_carry(headers: Headers) -> bool:
    """Whether these headers can be signed and sent so that every store reads them the same; boto3 handles others."""
    sent = sent_headers(headers)
    names = [name.lower() for name in sent]
    return len(set(names)) == len(names) and all(
        is_header_name(name) and (not value or _is_header_value(value)) for name, value in sent.items()
    )


def can_carry_text(text: str) -> bool:
    """The same for headers as text, which need not be parsed for most objects."""
    return not text or bool(_is_plain(text)) or can_carry(load_headers(text))


class Digests(Protocol):
    """Hashes a stream of bytes."""

    def update(self, chunk: bytes) -> None:
        """Add the next bytes."""


class Bucket:
    """How to access a bucket at one endpoint, and what is known about its store.

    `moved` counts bytes approximately, to show whether anything moves. `knows_ranges`: no response has ignored a range.
    """

    def __init__(
        self, store: Store, endpoint: str, keys: Keys, patience: Patience, packing: Packing | None = None
    ) -> None:
        self.name = store.bucket
        self.endpoint = endpoint.rstrip("/")
        self.signer = RequestSigner(store, self.endpoint, keys)
        self.patience = patience
        self.packing = packing or Packing()
        self.knows_ranges = True
        self.moved = 0
        self._etags_are_opaque = store.etag == "opaque"

    @property
    def is_private(self) -> bool:
        """Whether TLS protects what is sent."""
        return self.endpoint.startswith("https:")

    def told_digest(self, head: Head) -> ParsedEtag | None:
        """What an ETag of this store says about the bytes; None: nothing."""
        return told_digest(head.etag, head.encryption, is_opaque=self._etags_are_opaque)

    def action(self, verb: str, object_key: str) -> str:
        preposition = "from" if verb == "fetch" else "to"
        return f"{verb} {url_text(self.name, object_key)} {preposition} {self.endpoint}"


def object_headers(work: Send) -> dict[str, str]:
    """The headers of an upload, names in lower case."""
    return _headers_of(work.header_text).copy()


@functools.lru_cache(maxsize=256)  # most objects of a bucket have the same
def _headers_of(text: str) -> dict[str, str]:
    headers = {name.lower(): value for name, value in sent_headers(load_headers(text)).items()}
    headers.setdefault("content-type", UNSET_CONTENT_TYPE)
    return headers


def with_md5(headers: dict[str, str], md5: str) -> dict[str, str]:
    """The headers of a PUT whose body the store must check."""
    return {**headers, "content-md5": base64.b64encode(bytes.fromhex(md5)).decode()} if md5 else headers
