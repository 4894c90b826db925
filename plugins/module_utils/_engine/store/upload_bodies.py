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
from ..core.header_text import load_headers
from ..core.model import MIB, Send

CHUNK = MIB
# Errors of a CompleteMultipartUpload that the store may have carried out, or may still be carrying out.
PERHAPS_STORED = frozenset({Trouble.TIMEOUT, Trouble.BROKEN, Trouble.SERVER, Trouble.NOT_FOUND, Trouble.THROTTLED})
UNSET_CONTENT_TYPE = "binary/octet-stream"  # what S3 returns for an object that was stored without one
THE_FILE = "the file"  # what is sent, in errors
is_header_name = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII).fullmatch


class Section:
    """`length` bytes of an open file from `start`: a body that is never entirely in memory and can be read again."""

    def __init__(self, descriptor: int, start: int, length: int) -> None:
        self._descriptor = descriptor
        self._start = start
        self._length = length
        self._position = 0
        self.md5 = b""
        self.error: OSError | StoreError | None = None

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

    def hex_digests(self) -> tuple[str, str]:
        """Its MD5 and SHA-256, of one read."""
        md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        while piece := self.read(CHUNK):
            md5.update(piece)
            sha256.update(piece)
        self.seek(0)
        return md5.hexdigest(), sha256.hexdigest()

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


class ProvenSection(Section):
    """A section that had this MD5 (hex) when it was proven: with other bytes, reading its last piece raises.

    The store cannot take it as complete then, whatever it checks. `what` and `action` are for that StoreError.
    """

    def __init__(self, descriptor: int, start: int, length: int, md5: str, *, what: str, action: str) -> None:
        super().__init__(descriptor, start, length)
        self._check = Md5Check(md5, what)
        self._action = action
        self.md5 = bytes.fromhex(md5)

    def content_md5(self) -> str:
        """Of the proven bytes: nothing is read."""
        return base64.b64encode(self.md5).decode()

    def read(self, amount: int | None = None) -> bytes:
        if isinstance(self.error, StoreError):
            raise self.error  # botocore tries again
        if self.tell() == 0:
            self._check.restart()
        piece = super().read(amount)
        self._check.update(piece)
        if piece and self.tell() == self._length:
            try:
                self._check.insist(self._action)
            except StoreError as error:
                self.error = error
                raise
        return piece


class Md5Check:
    """Whether a stream of bytes has the MD5 (hex) that it had when it was proven. "": whatever it has is right.

    `what` the bytes are, for the error.
    """

    def __init__(self, md5: str, what: str) -> None:
        self._md5 = md5.lower()
        self._what = what
        self._digest = hashlib.md5(usedforsecurity=False)

    def restart(self) -> None:
        """The bytes come once more, from their start."""
        self._digest = hashlib.md5(usedforsecurity=False)

    def update(self, piece: bytes) -> None:
        if self._md5:
            self._digest.update(piece)

    def insist(self, action: str) -> None:
        """After the last byte: StoreError if they are others."""
        if self._md5 and (found := self._digest.hexdigest()) != self._md5:
            raise rotten(action, self._md5, found, self._what)


def part_of_file(number: int) -> str:
    """What a part is called in errors."""
    return f"part {number} of the file"


def about_tags(error: StoreError, work: Send) -> StoreError:
    """The error of an upload, with a hint if tags may be the reason."""
    why = {
        Trouble.UNSUPPORTED: "which this store does not seem to support; omit",
        Trouble.DENIED: "which need s3:PutObjectTagging; allow it, or omit",
    }.get(error.trouble)
    tags = load_headers(work.header_text).tags
    if why is None or not tags:
        return error
    detail = f"the object has {len(tags)} tags, {why} them with `tags: skip` ({error.detail})"
    return StoreError(error.trouble, error.action, detail, code=error.code, status=error.status)


def insist_on_part(told: ParsedEtag | None, number: int, md5: str, action: str) -> None:
    """StoreError if the store's ETag of a part is an MD5, but not that of the bytes sent."""
    if told and not told.parts and told.md5_hex != md5:
        detail = f"the store returned the ETag {told.md5_hex} for part {number}, the MD5 of the bytes sent is {md5}"
        raise StoreError(Trouble.MISMATCH, action, detail)


class DamagedFile(StoreError):
    """A staged file no longer has its proven bytes."""


def rotten(action: str, expected: str, found: str, what: str = THE_FILE) -> DamagedFile:
    """The error for a staged file, or `what` of it, that no longer has its proven digest: it is not sent."""
    detail = f"{what} has the digest {found}, not {expected}: it was damaged on its volume, and is not sent"
    return DamagedFile(Trouble.MISMATCH, action, detail)
