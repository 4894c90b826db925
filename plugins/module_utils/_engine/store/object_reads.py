# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""GETs of objects: whole ones, exactly as they are stored, or only their first byte and headers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from ..core.errors import StoreError, Trouble
from ..core.model import UNTOLD, Head
from .answers import unreadable
from .encodings import PLAIN, UNPACKED, Described, Packing, is_unpacked, why_longer
from .get_requests import GetRequests, Sink, unwanted
from .head_answers import parse_head, total_size
from .request_errors import RequestErrors
from .signed_requests import FIRST_BYTE


class ObjectReads:
    """Reads objects of one endpoint. Thread-safe. All methods raise StoreError."""

    def __init__(self, gets: GetRequests, errors: RequestErrors, packing: Packing) -> None:
        self._gets = gets
        self._errors = errors
        self._packing = packing

    def as_stored(self, read: Callable[[], Head]) -> Head:
        """The result of `read`, which calls `whole`: once more if the store decompresses, and that may help."""
        welcomed = self._packing.welcome
        try:
            return read()
        except _Unpacked as unpacked:
            if not self._packing.is_to_be_asked_again(welcomed):
                raise unpacked.failure from None
        try:
            return read()
        except _Unpacked as unpacked:
            raise unpacked.failure from None

    def whole(self, object_key: str, sink: Sink, if_match: str, stored: Described | None) -> Head:
        """One request for the whole object, as `StoreClient.get`; to be called by `as_stored`."""
        action = self._errors.reading(object_key)
        extra = (f'if-match: "{if_match}"',) if if_match else ()

        def insist(block: bytes) -> None:
            with contextlib.suppress(ValueError):  # reported when the response has ended
                head = parse_head(block, 200, received=UNTOLD)
                if stored and is_unpacked(stored, head):
                    failure = StoreError(Trouble.UNSUPPORTED, action, why_longer(head.size, stored.size), status=200)
                    raise _Unpacked(failure)

        with self._gets.of_object(action, object_key, sink, extra, begun=insist) as answer:
            if answer.transfer.status != 200:
                raise self._errors.of_object(action, answer)
            try:
                head = parse_head(answer.transfer.header_block, 200, received=answer.receiver.received)
            except ValueError as error:
                raise unreadable(action, error, 200, of_object=True) from None
        if stored and is_unpacked(stored, head):
            self._packing.is_to_be_asked_again(PLAIN)
            raise StoreError(Trouble.BROKEN, action, why_longer(head.size, stored.size), code=UNPACKED)
        if if_match and head.etag != if_match:
            detail = f"its ETag is now {head.etag!r}, but {if_match!r} was listed"
            raise StoreError(Trouble.CHANGED, action, detail, status=200)
        return head

    def headers(self, object_key: str) -> Head:
        """The headers of an object, from a GET of its first byte."""
        action = self._errors.reading(object_key)
        block = b""

        def begun(headers: bytes) -> None:
            nonlocal block
            block = headers
            raise _Enough  # the store ignores the range and would send the whole object

        request = self._gets.of_object(action, object_key, unwanted, FIRST_BYTE, begun=begun)
        with contextlib.suppress(_Enough), request as answer:
            if answer.transfer.status != 206:
                raise self._errors.of_object(action, answer)
            block = answer.transfer.header_block
        try:
            head = parse_head(block, 206, received=UNTOLD)
        except ValueError as error:
            raise unreadable(action, error, 206, of_object=True) from None
        return head._replace(size=total_size(block, head.size))

    def serves(self, object_key: str) -> bool:
        """Whether a GET of the first byte succeeds."""
        given: list[bytes] = []

        def sink(chunk: bytes) -> None:  # for a store that ignores ranges and sends everything
            given.append(chunk[:1])
            raise StoreError(Trouble.OTHER, "look at one byte", "that is enough")

        request = self._gets.of_object("", object_key, sink, FIRST_BYTE)
        with contextlib.suppress(StoreError), request as answer:
            return answer.transfer.status in (200, 206)
        return bool(given)


class _Unpacked(Exception):
    """The store sends decompressed data; nothing of it was passed on."""

    def __init__(self, failure: StoreError) -> None:
        super().__init__(str(failure))
        self.failure = failure


class _Enough(Exception):
    """The rest of a response is not needed."""
