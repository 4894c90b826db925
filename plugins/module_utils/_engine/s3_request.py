# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What an upload carries: a section of a file as a body, and the headers of the object."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from .answers import METADATA_PREFIX
from .errors import StoreError, Trouble
from .model import MIB, Headers

CHUNK = MIB
UNSET_CONTENT_TYPE = "binary/octet-stream"  # what S3 says of an object that was stored without one
is_header_name = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII).fullmatch
_HEADER_NAMES = (
    ("Content-Type", "content_type"),
    ("Cache-Control", "cache_control"),
    ("Content-Encoding", "content_encoding"),
    ("Content-Disposition", "content_disposition"),
    ("Content-Language", "content_language"),
    ("Expires", "expires"),
)
_WORD_BYTES = 45  # RFC 2047 allows an encoded word 75 characters: 12 around the Base64 of 45 bytes


class Section:
    """`length` bytes of an open file from `start`: a body that is never in memory as a whole and can be read again."""

    def __init__(self, descriptor: int, start: int, length: int) -> None:
        self._descriptor = descriptor
        self._start = start
        self._length = length
        self._position = 0
        self.md5 = b""
        self.error: OSError | None = None

    def body(self) -> Section | bytes:
        return self if self._length else b""

    def content_md5(self) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        while piece := self.read(CHUNK):
            digest.update(piece)
        self.seek(0)
        self.md5 = digest.digest()
        return base64.b64encode(self.md5).decode()

    def hex_md5(self) -> str:
        """The MD5 of the section, as it is read now."""
        self.content_md5()
        return self.md5.hex()

    def read(self, amount: int | None = None) -> bytes:
        left = self._length - self._position
        wanted = left if amount is None or amount < 0 else min(amount, left)
        if wanted <= 0:
            return b""
        try:
            piece = os.pread(self._descriptor, wanted, self._start + self._position)
            if not piece:
                raise OSError(errno.EIO, "the file became shorter while it was read")
        except OSError as error:
            self.error = error  # botocore takes it for a failure of the network
            raise
        self._position += len(piece)
        return piece

    def read_all(self) -> bytes:
        """The whole section. One read may end early, before a sector that cannot be read: the next one says so."""
        pieces = []
        while piece := self.read():
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position


def rotten(action: str, expected: str, found: str) -> StoreError:
    """The error for a staged file that is no longer what was proven: nothing of it is stored."""
    detail = f"the file has the digest {found}, not {expected}: it was damaged on its volume, and is not stored"
    return StoreError(Trouble.MISMATCH, action, detail)


def sent_headers(headers: Headers) -> dict[str, str]:
    """The HTTP headers of an upload, each value as the store that was read gave it."""
    sent = {name: getattr(headers, attribute) for name, attribute in _HEADER_NAMES}
    sent = {name: value for name, value in sent.items() if value}
    sent |= {METADATA_PREFIX + name: value for name, value in headers.metadata.items()}
    if headers.tags:
        sent["x-amz-tagging"] = urlencode(headers.tags, quote_via=quote)
    return sent


def ascii_metadata(sent: Mapping[str, str]) -> dict[str, str]:
    """The same headers, metadata that is not ASCII encoded by RFC 2047, as AWS itself writes it."""
    return {
        name: value if value.isascii() or not name.startswith(METADATA_PREFIX) else _encoded_words(value)
        for name, value in sent.items()
    }


def _encoded_words(value: str) -> str:
    words = [b""]
    for character in value:
        if len(words[-1]) + len(character.encode()) > _WORD_BYTES:
            words.append(b"")
        words[-1] += character.encode()
    return " ".join(f"=?UTF-8?B?{base64.b64encode(word).decode()}?=" for word in words)
