# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""One GET of the native mover."""

from __future__ import annotations

from ...core.errors import StoreError, Trouble
from ...core.model import Fetch, Head
from ...store.answers import unanswered
from ...store.curl import KEPT_ERROR_BYTES, Transfer
from .expected_response import ExpectedResponse
from .incoming_file import IncomingBytes, Target
from .requests import Bucket, Digests
from .signing import SignedTransfer


class Get:
    """A GET of an object, or of `length` bytes from `start`.

    Nothing is written from a response that is not about the listed object: its ETag and size are checked with the first
    byte. What `body` keeps is kept even if the request failed.
    """

    def __init__(self, bucket: Bucket, work: Fetch, target: Target, start: int, length: int, digests: Digests) -> None:
        self._bucket = bucket
        self._work = work
        self._expected = ExpectedResponse(bucket, work, length)
        self.body = IncomingBytes(target, start, length, digests)
        self._signed: SignedTransfer | None = None
        self._head: Head | None = None
        self._refused = b""
        self._error: StoreError | OSError | None = None

    def begin(self, transfer: Transfer) -> None:
        signer, body = self._bucket.signer, self.body
        self._signed = signer.start(transfer)
        body.most_held = transfer.most_held
        url, lines = signer.lines_to_get(self._work.key, self._expected.welcomed)
        if not self._expected.is_whole:
            lines.append(f"range: bytes={body.start}-{body.start + body.length - 1}")
        transfer.begin(url, lines)
        transfer.curl.setopt(transfer.curl.WRITEFUNCTION, self._write)

    def _write(self, chunk: bytes) -> int:
        try:
            head = self._head or self._accepted()
            if head is None:
                self._refused += chunk[: KEPT_ERROR_BYTES - len(self._refused)]
                return len(chunk)
            body = self.body
            if body.received + len(chunk) > body.length:
                raise self._expected.too_long(body.received + len(chunk), head)
            self._bucket.moved += len(chunk)
            body.add(chunk)
        except (OSError, StoreError) as error:  # libcurl would print and drop it; `end` raises it again
            self._error = error
            return -1
        return len(chunk)

    def _accepted(self) -> Head | None:
        """What the response says about the object, if it is the expected one: its file is open then."""
        assert self._signed  # `begin` was called
        head = self._expected.head_of(self._signed.transfer.header_block)
        if head:
            self.body.open()
            self._head = head
        return head

    def end(self, number: int, words: str) -> Head:
        assert self._signed  # `begin` was called
        if self._error:
            raise self._error
        self.body.keep()  # it ended early: what arrived is not requested again
        if number:
            raise unanswered(self._expected.action, number, words + self._how_far(), of_object=True)
        head = self._head or self._accepted()
        if head is None:
            raise self._signed.refused(self._expected.action, self._refused)
        if self.body.received != self.body.length:
            raise StoreError(Trouble.BROKEN, self._expected.action, f"the response ended early{self._how_far()}")
        return head

    def _how_far(self) -> str:
        """Where in the object the response ended: if it is always the same place, the object is the cause."""
        place = self.body.start + self.body.received
        return f" at byte {place} of {self._work.size}" if place else ""
