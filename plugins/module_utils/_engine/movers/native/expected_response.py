# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which responses to a GET are about the listed object.

No side effects but one: if an object must be requested with its encoding, its endpoint's `Packing` knows it then.
"""

from __future__ import annotations

from ...core.errors import StoreError, Trouble
from ...core.etag import agree
from ...core.model import Fetch, Head
from ...store.answers import unreadable
from ...store.encodings import is_unpacked, why_longer
from ...store.head_answers import parse_head, status_of, total_size
from .requests import Bucket


class RangesIgnored(StoreError):
    """The store returns the whole object, where a range was requested."""


class ExpectedResponse:
    """The response to a GET of `length` bytes of a listed object, which accepts the encoding `welcomed`."""

    def __init__(self, bucket: Bucket, work: Fetch, length: int) -> None:
        self._bucket = bucket
        self._work = work
        self._length = length
        self.is_whole = length == work.size
        self.welcomed = bucket.packing.welcome

    @property
    def action(self) -> str:
        """The action named in errors."""
        return self._bucket.action("fetch", self._work.key)

    def head_of(self, block: bytes) -> Head | None:
        """What these headers say about the object; None: they refuse it. StoreError if it is not as listed."""
        work, status = self._work, status_of(block)
        if status not in (200, 206):
            return None
        if not self.is_whole and status == 200:
            raise RangesIgnored(Trouble.UNSUPPORTED, self.action, "the store does not support ranges", status=status)
        try:
            head = parse_head(block, status, received=self._length)
        except ValueError as error:
            raise unreadable(self.action, error, status, of_object=True) from None
        size = head.size if self.is_whole else total_size(block, work.size)
        if is_unpacked(work, head if size == head.size else head._replace(size=size)):
            raise self._unpacked(size)
        if size != work.size or not agree(work.etag, head.etag):
            detail = f"it has {size} bytes and the ETag {head.etag!r}, but {work.size} and {work.etag!r} were listed"
            raise StoreError(Trouble.CHANGED, self.action, detail, status=status)
        return head

    def too_long(self, received: int, head: Head) -> StoreError:
        """The error for a response that continues after the requested bytes; `received` of them have arrived."""
        if self.is_whole and head.size == self._length:  # it gave no length
            return self._unpacked(received)
        detail = f"the response has more than the {self._length} requested bytes"
        return StoreError(Trouble.SERVER, self.action, detail)

    def _unpacked(self, size: int) -> StoreError:
        """The listed object arrives with another length: request it again accepting its encoding, if that may help."""
        if not self._bucket.packing.is_to_be_asked_again(self.welcomed):
            return StoreError(Trouble.UNSUPPORTED, self.action, why_longer(size, self._work.size))
        detail = "it arrives with another length than is stored, and is requested again with its encoding"
        return StoreError(Trouble.BROKEN, self.action, detail)
