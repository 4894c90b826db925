# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""One GET of the native mover, with the file it fills and the digest of its bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ...core import workers
from ...core.errors import StoreError, Trouble
from ...core.etag import agree
from ...core.model import Fetch, Head
from ...store.answers import unanswered, unreadable
from ...store.curl import KEPT_ERROR_BYTES, Transfer
from ...store.encodings import PLAIN, is_unpacked, why_longer
from ...store.head_answers import parse_head, status_of, total_size
from ...store.upload_bodies import CHUNK
from .requests import Bucket, Digests

if TYPE_CHECKING:  # config/job_file.py brings pydantic
    from ...config.credentials import Credentials

_WRITE_BYTES = 512 * 1024  # bytes of a response that are hashed and written at once


class Target:
    """The file that a fetch writes: created with its first byte, truncated first, written at any offset."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1

    def open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with workers.at_medium():
            self._descriptor = os.open(self.path, flags, 0o600)

    def open_partial(self, size: int) -> None:
        """Keep what the file contains, at most `size` bytes. It is readable then."""
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.fstat(self._descriptor).st_size > size:
            os.ftruncate(self._descriptor, size)

    def read(self, start: int, length: int) -> Iterator[bytes]:
        """The file's bytes there, in pieces; ends early if the file does."""
        end = start + length
        while start < end and (piece := self._read(min(CHUNK, end - start), start)):
            yield piece
            start += len(piece)
            workers.beat()

    def _read(self, length: int, place: int) -> bytes:
        with workers.at_medium():
            return os.pread(self._descriptor, length, place)

    @property
    def is_open(self) -> bool:
        return self._descriptor >= 0

    def write(self, chunk: bytes, place: int) -> None:
        with workers.at_medium():
            written = os.pwrite(self._descriptor, chunk, place)
            while written < len(chunk):
                written += os.pwrite(self._descriptor, chunk[written:], place + written)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with workers.at_medium():
                os.close(descriptor)


class Get:
    """A GET of an object, or of `length` bytes from `start`.

    Nothing is written from a response that is not about the listed object: its ETag and size are checked with the first
    byte. `kept` is the number of bytes that are in the file and in `digests`, even if the request failed.
    """

    def __init__(self, bucket: Bucket, work: Fetch, target: Target, start: int, length: int, digests: Digests) -> None:
        self._bucket = bucket
        self._work = work
        self._target = target
        self._start = start
        self._length = length
        self.digests = digests
        self._is_whole = length == work.size
        self._transfer: Transfer | None = None
        self._signed_with: Credentials | None = None
        self._welcomed = PLAIN
        self._head: Head | None = None
        self._refused = b""
        self._received = 0
        self._chunks: list[bytes] = []  # received and not written yet, `_waiting` bytes
        self._waiting = 0
        self._error: StoreError | OSError | None = None
        self.kept = 0
        self.ignores_ranges = False

    def begin(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._signed_with = self._bucket.credentials()
        self._welcomed = self._bucket.packing.welcome
        url, lines = self._bucket.lines_to_get(self._work.key, self._welcomed)
        if not self._is_whole:
            lines.append(f"range: bytes={self._start}-{self._start + self._length - 1}")
        transfer.begin(url, lines)
        transfer.curl.setopt(transfer.curl.WRITEFUNCTION, self._write)

    def _write(self, chunk: bytes) -> int:
        try:
            if self._head is None and not self._accepts():
                self._refused += chunk[: KEPT_ERROR_BYTES - len(self._refused)]
                return len(chunk)
            if self._received + len(chunk) > self._length:
                if self._is_whole and self._head and self._head.size == self._length:  # it gave no length
                    self._ask_for_what_is_stored(self._received + len(chunk))
                detail = f"the response has more than the {self._length} requested bytes"
                raise StoreError(Trouble.SERVER, self._bucket.action("fetch", self._work.key), detail)
            self._chunks.append(chunk)
            self._received += len(chunk)
            self._bucket.moved += len(chunk)
            self._waiting += len(chunk)
            if self._waiting >= _WRITE_BYTES or self._received == self._length:
                self._flush()
        except (OSError, StoreError) as error:  # libcurl would print and drop it; `end` raises it again
            self._error = error
            return -1
        return len(chunk)

    def _flush(self) -> None:
        """Hash and write the received data. libcurl's chunks are too small to handle each separately."""
        data = b"".join(self._chunks)
        self._target.write(data, self._start + self.kept)
        self.digests.update(data)
        self.kept += len(data)
        self._chunks.clear()
        self._waiting = 0

    def _accepts(self) -> bool:
        """Whether the headers are those of the expected response."""
        assert self._transfer  # `begin` was called
        block, work = self._transfer.header_block, self._work
        status = status_of(block)
        if status not in (200, 206):
            return False
        action = self._bucket.action("fetch", work.key)
        if not self._is_whole and status == 200:
            self.ignores_ranges = True
            raise StoreError(Trouble.UNSUPPORTED, action, "the store does not support ranges", status=status)
        try:
            head = parse_head(block, status, received=self._length)
        except ValueError as error:
            raise unreadable(action, error, status, of_object=True) from None
        size = head.size if self._is_whole else total_size(block, work.size)
        if is_unpacked(work, replace(head, size=size)):
            self._ask_for_what_is_stored(size)
        if size != work.size or not agree(work.etag, head.etag):
            detail = f"it has {size} bytes and the ETag {head.etag!r}, but {work.size} and {work.etag!r} were listed"
            raise StoreError(Trouble.CHANGED, action, detail, status=status)
        if not self._target.is_open:
            self._target.open()
        self._head = head
        return True

    def _ask_for_what_is_stored(self, size: int) -> None:
        """The listed object arrives with another length: request it again accepting its encoding, if that may help."""
        action = self._bucket.action("fetch", self._work.key)
        if not self._bucket.packing.is_to_be_asked_again(self._welcomed):
            raise StoreError(Trouble.UNSUPPORTED, action, why_longer(size, self._work.size))
        detail = "it arrives with another length than is stored, and is requested again with its encoding"
        raise StoreError(Trouble.BROKEN, action, detail)

    def end(self, number: int, words: str) -> Head:
        assert self._transfer  # `begin` was called
        if self._error:
            raise self._error
        if self._chunks:
            self._flush()  # it ended early: what arrived is not requested again
        action = self._bucket.action("fetch", self._work.key)
        if number:
            raise unanswered(action, number, words + self._how_far(), of_object=True)
        if self._head is None and not self._accepts():
            raise self._bucket.refused(action, self._transfer, self._refused, self._signed_with)
        if self._received != self._length:
            detail = f"the response ended early{self._how_far()}"
            raise StoreError(Trouble.BROKEN, action, detail)
        assert self._head  # it was accepted
        return self._head

    def _how_far(self) -> str:
        """Where in the object the response ended: if it is always the same place, the object is the cause."""
        place = self._start + self._received
        return f" at byte {place} of {self._work.size}" if place else ""
