# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Common code for uploads: their bodies (sections of a file), and checks of their responses."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import re

from ..core import workers
from ..core.errors import StoreError, Trouble
from ..core.etag import ParsedEtag
from ..core.model import MIB, Send

CHUNK = MIB
# Errors of a CompleteMultipartUpload that the store may have carried out, or may still be carrying out.
PERHAPS_STORED = frozenset({Trouble.TIMEOUT, Trouble.BROKEN, Trouble.SERVER, Trouble.NOT_FOUND, Trouble.THROTTLED})
UNSET_CONTENT_TYPE = "binary/octet-stream"  # what S3 returns for an object that was stored without one
is_header_name = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII).fullmatch


class Section:
    """`length` bytes of an open file from `start`: a body that is never entirely in memory and can be read again."""

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
            with workers.at_medium():
                piece = os.pread(self._descriptor, wanted, self._start + self._position)
            if not piece:
                raise OSError(errno.EIO, "the file became shorter while it was read")
        except OSError as error:
            self.error = error  # botocore treats it as a network failure
            raise
        self._position += len(piece)
        return piece

    def read_all(self) -> bytes:
        """The whole section. A read may end early, before an unreadable sector: the next read reports the error."""
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


def about_tags(error: StoreError, work: Send) -> StoreError:
    """The error of an upload, with a hint if tags may be the reason."""
    why = {
        Trouble.UNSUPPORTED: "which this store does not seem to support; omit",
        Trouble.DENIED: "which need s3:PutObjectTagging; allow it, or omit",
    }.get(error.trouble)
    if why is None or not work.headers.tags:
        return error
    detail = f"the object has {len(work.headers.tags)} tags, {why} them with `tags: skip` ({error.detail})"
    return StoreError(error.trouble, error.action, detail, code=error.code, status=error.status)


def insist_on_part(told: ParsedEtag | None, number: int, md5: str, action: str) -> None:
    """StoreError if the store's ETag of a part is an MD5, but not that of the bytes sent."""
    if told and not told.parts and told.md5_hex != md5:
        detail = f"the store returned the ETag {told.md5_hex} for part {number}, the MD5 of the bytes sent is {md5}"
        raise StoreError(Trouble.MISMATCH, action, detail)


def rotten(action: str, expected: str, found: str) -> StoreError:
    """The error for a staged file that no longer has its proven digest: it is not sent."""
    detail = f"the file has the digest {found}, not {expected}: it was damaged on its volume, and is not sent"
    return StoreError(Trouble.MISMATCH, action, detail)
