# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Requests for listings through libcurl: a page, or a whole listing as it arrives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..core import workers
from ..core.errors import StoreError, Trouble
from ..core.model import MIB, Page
from .answers import parse_error, unanswered, unreadable
from .crew import Crew
from .curl import Answer, Receiver, goes_on
from .get_requests import GetRequests
from .handle_pool import HandlePool
from .listing_pages import listing_query, page_by_entries, page_of, read_to_its_end, why_not_whole
from .listing_parser import ListingParser, cut_listing
from .plain_listing import plain_page
from .request_errors import RequestErrors, silent
from .signed_requests import SignedRequests
from .timeouts import Asked, Patience
from .xml_repair import as_utf8

if TYPE_CHECKING:
    from ..config.job_file import Store

# 1,000 keys of 1,024 bytes, each byte as %XX, stay below 4 MiB; some stores ignore `max-keys` and return more.
PAGE_LIMIT = 32 * MIB
_PIECE = 32 * 1024  # bytes; of a whole listing libcurl reads up to 20 of them before a page of it is taken


class PageRequests:
    """Pages of a listing, each one request. Thread-safe."""

    def __init__(self, store: Store, gets: GetRequests, errors: RequestErrors) -> None:
        self._store = store
        self._gets = gets
        self._errors = errors

    def page(self, token: str | None, prefix: str, start_after: str, max_keys: int, asked: Asked = Asked.LIST) -> Page:
        """One page, as `StoreClient.list_page`; StoreError."""
        action = self._errors.listing(prefix)
        query = listing_query(self._store, token, prefix, start_after, max_keys)
        chunks: list[bytes] = []
        left = PAGE_LIMIT

        def sink(chunk: bytes) -> None:
            nonlocal left
            left -= len(chunk)
            if left < 0:
                detail = f"one page of the listing has more than {PAGE_LIMIT} bytes: the store ignores `max-keys`;"
                detail += " with `list_version: v1` and `sorted: false` a listing may be one response of any size"
                raise StoreError(Trouble.UNSUPPORTED, action, detail)
            chunks.append(chunk)

        with self._gets.of_listing(action, query, sink, asked) as answer:
            body = as_utf8(b"".join(chunks))
            if (plain := plain_page(body)) and answer.transfer.status == 200:
                return page_of(self._store, *plain)
            try:
                body, following = cut_listing(body)
            except ValueError as error:  # a reference to no character, where the next page would begin
                raise unreadable(action, error, 200) from None
            parser = self._accepted(action, answer, body)
        return page_of(self._store, parser, following)

    def _accepted(self, action: str, answer: Answer, body: bytes) -> ListingParser:
        """The parsed page; one that is not XML is read entry by entry."""
        try:
            return accepted(action, answer, ListingParser(), body, self._errors)
        except ValueError as error:
            if entries := page_by_entries(self._store, body):
                return entries
            raise unreadable(action, error, 200) from None


class WholeListings:
    """Listings of a store that sends everything in one response, read as they arrive. Thread-safe."""

    def __init__(
        self, store: Store, pool: HandlePool, requests: SignedRequests, errors: RequestErrors, patience: Patience
    ) -> None:
        self._store = store
        self._pool = pool
        self._requests = requests
        self._errors = errors
        self._patience = patience

    def pages(self, prefix: str, parser: ListingParser) -> Iterator[Page]:
        """What has arrived, again and again; StoreError, also for a response that is not clearly the whole listing."""
        action = self._errors.listing(prefix)
        with self._pool.body_crew() as crew:
            transfer = crew.idle.pop()
            receiver = Receiver(transfer, parser.feed)
            self._requests.begin_bucket(transfer, "GET", listing_query(self._store, None, prefix, "", 0))
            transfer.curl.setopt(transfer.curl.WRITEFUNCTION, receiver)
            transfer.curl.setopt(transfer.curl.BUFFERSIZE, _PIECE)
            waiting = transfer.bear(self._patience.of(Asked.LIST), goes_on)
            try:
                crew.add(transfer)
                for number, words in _driven(crew):
                    if waiting.silent_for:
                        raise silent(action, waiting)
                    if number:
                        raise receiver.error or unanswered(action, number, words)
                    if objects := parser.listed.take():
                        yield Page(objects, None)
                accepted(action, Answer(transfer, receiver), parser, b"", self._errors)
                objects = parser.listed.take()
                if objects or parser.remarks or parser.unread:
                    yield Page(objects, None, remarks=parser.remarks, unread=parser.unread)
            except ValueError as error:
                raise unreadable(action, error, 200) from None
        if parser.is_cut:
            raise unreadable(action, ValueError("it ends before the listing does"), 200)
        problem = why_not_whole(parser)
        if problem:
            raise StoreError(Trouble.UNSUPPORTED, action, problem)


def accepted(action: str, answer: Answer, parser: ListingParser, body: bytes, errors: RequestErrors) -> ListingParser:
    """The parser, once it has read a listing to its end; `body` is what it has not had yet.

    StoreError for a refusal, ValueError for what is no listing.
    """
    if answer.transfer.status != 200:
        raise errors.of_listing(action, answer, answer.receiver.refused)
    try:
        return read_to_its_end(parser, body)
    except ValueError:
        if parse_error(body):  # some stores have already sent status 200 when the error occurs
            raise errors.of_listing(action, answer, body) from None
        raise


def _driven(crew: Crew) -> Iterator[tuple[int, str]]:
    """Drives a crew of one to its end; yields libcurl's error number and message after every step."""
    while True:
        workers.beat()
        crew.multi.go_on(1.0)
        for _transfer, number, words in crew.finished():
            yield number, words
            return
        yield 0, ""
