# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""HEADs through libcurl, alone or many at once, and why one was rejected: the response to a HEAD has no body."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING

from ..config.credentials import renewed_since
from ..core import workers
from ..core.errors import StoreError, Trouble
from ..core.model import Head
from .answers import unanswered, unreadable
from .crew import Crew
from .curl import Transfer, goes_on, perform
from .get_requests import GetRequests, unwanted
from .handle_pool import HandlePool, make_ready
from .head_answers import parse_head
from .request_errors import RequestErrors
from .signed_requests import FIRST_BYTE, SignedRequests, with_current_keys
from .timeouts import CONNECT_SECONDS, Silence

if TYPE_CHECKING:
    from ..config.credentials import Credentials, Keys

_LONGEST_WAIT = 1.0  # seconds
_REASON_SECONDS = 5.0  # how long the reason for rejected HEADs is cached


class HeadReasons:
    """Why HEADs are rejected, from a GET of one byte: without it a wrong key and a missing permission look the same.

    Requested at most once in five seconds for each status.
    """

    def __init__(self, gets: GetRequests) -> None:
        self._gets = gets
        self._known: dict[int, tuple[float, bytes]] = {}

    def of(self, object_key: str, status: int, spare: Transfer | None) -> bytes:
        """The body of the refusal, b"" if there is none; requested on the handle `spare`, if there is one."""
        if status not in (400, 401, 403):
            return b""
        asked, body = self._known.get(status, (0.0, b""))
        if asked and time.monotonic() - asked < _REASON_SECONDS:
            return body
        body = b""
        # If this fails too, only the HEAD's status is known.
        request = self._gets.of_object("", object_key, unwanted, FIRST_BYTE, spare)
        if spare:
            make_ready(spare.curl, body=True)
        with contextlib.suppress(StoreError), request as answer:
            if answer.transfer.status == status:
                body = answer.receiver.refused
        if spare:
            make_ready(spare.curl, body=False)
        self._known[status] = (time.monotonic(), body)
        return body


class HeadRequests:
    """HEADs of one endpoint. Thread-safe."""

    def __init__(
        self, keys: Keys, pool: HandlePool, requests: SignedRequests, errors: RequestErrors, reasons: HeadReasons
    ) -> None:
        self._keys = keys
        self._pool = pool
        self._requests = requests
        self._errors = errors
        self._reasons = reasons

    # --- one

    def one(self, object_key: str, query: str = "", hurry: float = math.inf) -> Head:
        """One HEAD; StoreError. `hurry` as for `many`."""
        transfer = self._pool.take(body=False)
        try:
            outcome = self._one_on(transfer, object_key, query, hurry)
        finally:
            self._pool.put_back(transfer, body=False)
        return _head_of(outcome)

    def one_with_checksums(self, object_key: str) -> Head:
        """The same with x-amz-checksum-mode."""
        transfer = self._pool.take(body=False)
        try:
            self._requests.begin_head_with_checksums(transfer, object_key)
            transfer.object_key = object_key
            outcome = self._outcome(transfer, *perform(transfer), transfer)
        finally:
            self._pool.put_back(transfer, body=False)
        return _head_of(outcome)

    def _one_on(
        self, transfer: Transfer, object_key: str, query: str = "", hurry: float = math.inf
    ) -> Head | StoreError:
        self._requests.begin_object(transfer, "HEAD", object_key, query)
        transfer.object_key = object_key
        waiting = transfer.bear(Silence(hurry, hurry), goes_on) if hurry < math.inf else None
        number, words = perform(transfer, waiting)
        if waiting and waiting.silent_for:
            return self._errors.late_head(object_key, hurry)
        return self._outcome(transfer, number, words, transfer)

    def has_bucket(self) -> bool:
        """Whether the store confirms at once that the bucket exists."""
        transfer = self._pool.take(body=False)
        try:
            self._requests.begin_bucket(transfer, "HEAD")
            transfer.curl.setopt(transfer.curl.TIMEOUT, round(CONNECT_SECONDS))
            number, _words = perform(transfer)
            return not number and transfer.status == 200
        finally:
            transfer.curl.setopt(transfer.curl.TIMEOUT, 0)
            self._pool.put_back(transfer, body=False)

    # --- many

    def many(self, object_keys: Iterable[str], hurry: float) -> Iterator[tuple[str, Head | StoreError]]:
        """HEADs, as many at once as the pool has connections; as `StoreClient.head_many`."""
        size = len(object_keys) if isinstance(object_keys, Sized) and hurry == math.inf else self._pool.connections
        crew = self._pool.take_crew(size)
        if crew is None:  # all connections are in use: one request after another, when one is free
            yield from ((object_key, self._alone(object_key, hurry)) for object_key in object_keys)
            return
        try:
            yield from self._drive(crew, iter(object_keys), hurry)
        finally:
            self._pool.put_back_crew(crew, size)

    def _alone(self, object_key: str, hurry: float) -> Head | StoreError:
        try:
            return with_current_keys(self._keys, lambda: self.one(object_key, "", hurry))
        except StoreError as error:
            return error

    def _drive(self, crew: Crew, object_keys: Iterator[str], hurry: float) -> Iterator[tuple[str, Head | StoreError]]:
        ready: list[tuple[str, Head | StoreError]] = []
        exhausted = False
        moved_at = time.monotonic()
        before = self._keys.current()
        while True:
            while crew.idle and not exhausted:
                object_key = next(object_keys, None)
                if object_key is None:
                    exhausted = True
                    break
                transfer = crew.idle.pop()
                transfer.object_key = object_key
                self._requests.begin_object(transfer, "HEAD", object_key)
                crew.add(transfer)
            crew.multi.start()  # new requests are in flight while the caller handles results
            yield from ready
            if not crew.busy:
                return
            moved_at = time.monotonic() if ready else moved_at  # the caller's own time does not count
            ready = [
                (ended[0].object_key, self._with_other_keys(before, *ended, *crew.spare)) for ended in crew.finished()
            ]
            if ready:
                continue
            if time.monotonic() - moved_at > hurry:
                late = [transfer.object_key for transfer in crew.under_way()]
                ready = [(object_key, self._errors.late_head(object_key, hurry)) for object_key in late]
                crew.abandon()
            else:
                workers.beat()
                crew.multi.go_on(_LONGEST_WAIT)

    def _with_other_keys(
        self, before: Credentials, transfer: Transfer, number: int, words: str, spare: Transfer | None = None
    ) -> Head | StoreError:
        """The outcome of a HEAD that was signed with the credentials `before`, or with newer ones."""
        outcome = self._outcome(transfer, number, words, spare)
        while _is_refused(outcome) and renewed_since(self._keys, before):
            before = self._keys.current()
            outcome = self._one_on(transfer, transfer.object_key)
        return outcome

    # --- outcomes

    def _outcome(self, transfer: Transfer, number: int, words: str, spare: Transfer | None = None) -> Head | StoreError:
        """The result of a HEAD; the reason for a rejected one is requested on `spare`, which may be the same handle."""
        status = 0 if number else transfer.status
        if status in (200, 206):
            try:
                return parse_head(transfer.header_block, status)
            except ValueError as error:
                return unreadable(self._errors.looking_at(transfer.object_key), error, status, of_object=True)
        if number:
            return unanswered(self._errors.looking_at(transfer.object_key), number, words, of_object=True)
        object_key, headers = transfer.object_key, transfer.header_block  # the next request replaces them
        return self._errors.of_head(object_key, status, headers, self._reasons.of(object_key, status, spare))


def _head_of(outcome: Head | StoreError) -> Head:
    if isinstance(outcome, StoreError):
        raise outcome
    return outcome


def _is_refused(outcome: Head | StoreError) -> bool:
    return isinstance(outcome, StoreError) and outcome.trouble is Trouble.CREDENTIAL
