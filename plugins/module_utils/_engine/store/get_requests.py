# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""GETs through libcurl, one after another on each handle, whose bodies go to a sink as they arrive."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from ..core.errors import StoreError, Trouble
from .answers import unanswered
from .curl import Answer, Receiver, Transfer, goes_on, perform
from .handle_pool import HandlePool
from .request_errors import silent
from .signed_requests import SignedRequests
from .timeouts import Asked, Patience

Sink = Callable[[bytes], object]


class GetRequests:
    """GETs of one endpoint: a context that holds the handle of a completed one while its block runs. Thread-safe.

    They raise StoreError if there is no response, but not for its status.
    """

    def __init__(self, pool: HandlePool, requests: SignedRequests, patience: Patience) -> None:
        self._pool = pool
        self._requests = requests
        self._patience = patience

    def of_listing(self, action: str, query: str, sink: Sink, asked: Asked) -> AbstractContextManager[Answer]:
        def begin(transfer: Transfer) -> None:
            self._requests.begin_bucket(transfer, "GET", query)

        return self._answer(action, begin, sink, asked, of_object=False)

    def of_object(
        self,
        action: str,
        object_key: str,
        sink: Sink,
        extra: tuple[str, ...] = (),
        lent: Transfer | None = None,
        begun: Sink = len,
    ) -> AbstractContextManager[Answer]:
        """`lent`: the handle to use. `begun` gets the headers of a status 200 before `sink` gets its body."""

        def begin(transfer: Transfer) -> None:
            self._requests.begin_object(transfer, "GET", object_key, "", extra)

        return self._answer(action, begin, sink, Asked.GET, of_object=True, lent=lent, begun=begun)

    @contextlib.contextmanager
    def _answer(
        self,
        action: str,
        begin: Callable[[Transfer], None],
        sink: Sink,
        asked: Asked,
        *,
        of_object: bool,
        lent: Transfer | None = None,
        begun: Sink = len,
    ) -> Iterator[Answer]:
        silence = self._patience.of(asked)
        transfer = lent or self._pool.take(body=True)
        receiver = Receiver(transfer, sink, begun)
        try:
            transfer.curl.setopt(transfer.curl.WRITEFUNCTION, receiver)
            begin(transfer)
            waiting = transfer.bear(silence, goes_on)
            number, words = perform(transfer, waiting)
            if waiting.silent_for:
                raise silent(action, waiting)
            if number:
                raise receiver.error or unanswered(action, number, words, of_object=of_object)
            yield Answer(transfer, receiver)
        finally:
            transfer.curl.unsetopt(transfer.curl.WRITEFUNCTION)
            if lent is None:
                self._pool.put_back(transfer, body=True)


def unwanted(_chunk: bytes) -> None:
    """The sink of a request whose body is not needed: it ends the request."""
    raise StoreError(Trouble.OTHER, "look for a reason", "there is none")
