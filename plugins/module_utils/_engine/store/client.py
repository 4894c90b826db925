# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The light client for per-object requests: LIST, HEAD and GET through libcurl.

A HEAD costs a twentieth of boto3's. HTTP/1.1, keep-alive connections, certificates always verified. Nothing is retried
here, with one exception: if the store has closed a keep-alive connection, libcurl sends the request again on a new one.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from ..config.credentials import renewed_since
from ..core import workers
from ..core.errors import StoreError, Trouble
from ..core.model import MIB, UNTOLD, Head, Page
from ..core.text import url_text
from .address import Signer, host_header, place_of, query_string
from .answers import UNREADABLE, failure, parse_error, unanswered, unreadable
from .connections import Permits
from .curl import Answer, Crew, Receiver, Transfer, Waiting, handle_options, libcurl
from .encodings import PLAIN, UNPACKED, Described, Packing, is_unpacked, why_longer
from .head_answers import parse_head, total_size
from .listing_gaps import LAST_TEXT, PAGE_KEYS
from .listing_parser import EntryParser, ListingParser, cut_listing
from .remedies import AskedWith
from .timeouts import CONNECT_SECONDS, Asked, Patience, Silence
from .xml_repair import as_utf8

if TYPE_CHECKING:  # config/job_file.py brings pydantic, which tests and tools may do without
    from ..config.credentials import Credentials, Keys
    from ..config.job_file import Store

_Answered = TypeVar("_Answered")
_Parser = TypeVar("_Parser", bound="ListingParser")
# 1,000 keys of 1,024 bytes, each byte as %XX, stay below 4 MiB; some stores ignore `max-keys` and return more.
PAGE_LIMIT = 32 * MIB
_UNBOUNDED = 1 << 30
LATE = "late"  # the code of a StoreError: the caller stopped waiting for this response
_REASON_SECONDS = 5.0  # how long the reason for rejected HEADs is cached


class StoreClient:
    """One endpoint of a store. Thread-safe.

    `connections` limits the requests in flight of one `head_many`. `connect_timeout` (seconds) covers DNS, the
    connection and the TLS handshake, `patience` sets the response timeouts. `permits` limits all of its connections
    together, including idle ones. `packing` is shared by all clients of the endpoint. All methods raise StoreError.
    """

    def __init__(
        self,
        store: Store,
        endpoint: str,
        keys: Keys,
        *,
        connections: int = 16,
        connect_timeout: float = CONNECT_SECONDS,
        patience: Patience | None = None,
        permits: Permits | None = None,
        packing: Packing | None = None,
    ) -> None:
        self._curl = libcurl()
        self._store = store
        self._endpoint = endpoint.rstrip("/")
        self._connections = connections
        self._place = place_of(store, self._endpoint)
        host = host_header(self._place.url)
        self._keys = keys
        self._bucket_signer = Signer(keys, store.region, host)
        self._object_signer = Signer(keys, store.region, host)
        self._checksum_signer = Signer(keys, store.region, host, checksum_mode=True)
        self._patience = patience or Patience()
        self._packing = packing or Packing()
        self._options = handle_options(store, self._endpoint, connect_timeout, self._patience.of(Asked.HEAD).answer)
        self._permits = permits or Permits(_UNBOUNDED)
        self._permits.spare = self._close_spare
        # deque.append and .pop are atomic, so idle handles need no lock.
        self._heads: deque[Transfer] = deque()
        self._bodies: deque[Transfer] = deque()
        self._crews: deque[Crew] = deque()
        self._reasons: dict[int, tuple[float, bytes]] = {}

    def close(self) -> None:
        """Closes idle connections; call it only while no other method runs."""
        while self._close_spare():
            pass

    def _close_spare(self) -> int:
        """Close one idle handle or crew; returns the number of its connections."""
        for transfers in (self._heads, self._bodies):
            with contextlib.suppress(IndexError):
                transfers.pop().curl.close()
                return 1
        with contextlib.suppress(IndexError):
            return self._close_crew(self._crews.pop())
        return 0

    # --- listing

    def list_page(
        self, token: str | None, *, prefix: str | None = None, start_after: str = "", max_keys: int = PAGE_KEYS
    ) -> Page:
        """One page of the listing of `prefix` (None: the store's own).

        `token` None starts after the key `start_after`; otherwise it is the `next_token` of the previous page. A page
        of more than 32 MiB is rejected. A ListingWalk decides whether the listing continues.
        """
        prefix = self._store.prefix if prefix is None else prefix
        query = self._list_query(token, prefix, start_after, max_keys)
        return self._with_current_keys(lambda: self._one_page(self._listing(prefix), query, Asked.LIST))

    def probe(self, prefix: str) -> None:
        """One cheap request, for the first key of a listing: StoreError if there is no response within half a minute.

        A store that needs longer to scan its bucket is healthy if it confirms at once that the bucket exists.
        """
        try:
            self._first_key(prefix)
        except StoreError as error:
            if error.code == UNREADABLE:
                # Perhaps this key is the problem; a healthy store can return an empty listing.
                self._first_key(f"{prefix}{LAST_TEXT}")
            elif error.trouble is not Trouble.TIMEOUT or not self._has_bucket():
                raise

    def _first_key(self, prefix: str) -> None:
        query = self._list_query(None, prefix, "", 1)
        self._with_current_keys(lambda: self._one_page(self._listing(prefix), query, Asked.PROBE))

    def _has_bucket(self) -> bool:
        transfer = self._take(self._heads, body=False)
        try:
            self._begin(transfer, "HEAD", self._place.bucket_path, "", self._bucket_signer)
            transfer.curl.setopt(self._curl.TIMEOUT, round(CONNECT_SECONDS))
            number, _words = self._perform(transfer)
            return not number and transfer.status == 200
        finally:
            transfer.curl.setopt(self._curl.TIMEOUT, 0)
            self._put_back(self._heads, transfer)

    def _one_page(self, action: str, query: str, asked: Asked) -> Page:
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

        silence = self._patience.of(asked)
        with self._answer(action, self._place.bucket_path, query, self._bucket_signer, sink, silence=silence) as answer:
            body, following = cut_listing(as_utf8(b"".join(chunks)))
            parser = self._accept_listing(action, answer, ListingParser(), body, is_page=True)
        if parser.is_cut:
            # Its token may be beyond what was cut off: only continuing after the last key is sure to miss nothing.
            return Page(parser.listed.objects, None, parser.end.more or None, parser.remarks, parser.unread)
        next_token = self._next_token(parser, following)
        # A token contradicts an end even if it belongs to the other list version, or cannot be read.
        is_contradicted = (
            parser.end.more is False and next_token is None and (any(following.values()) or parser.end.leads_on)
        )
        more = None if is_contradicted else parser.end.more
        return Page(parser.listed.objects, next_token, more, parser.remarks, parser.unread)

    def list_whole(self, *, prefix: str | None = None) -> Iterator[Page]:
        """The listing of a store that sends everything in one response (the Snowball's adapter), read as it arrives.

        Pages hold what has arrived, up to some thousand objects, without `next_token`; the response may have any size.
        If it is not XML it is requested again, and read entry by entry: then earlier entries are returned twice.
        Raises StoreError at the end unless the store says clearly that this was all.
        """
        prefix = self._store.prefix if prefix is None else prefix
        kind: type[ListingParser] = ListingParser
        while True:
            before = self._keys.current()
            try:
                yield from self._whole(prefix, kind())
                return
            except StoreError as error:
                if error.code == UNREADABLE and kind is ListingParser:
                    kind = EntryParser
                elif error.trouble is not Trouble.CREDENTIAL or not renewed_since(self._keys, before):
                    raise

    def _whole(self, prefix: str, parser: ListingParser) -> Iterator[Page]:
        action = self._listing(prefix)
        self._permits.take()
        crew = self._new_crew(1, body=True)
        transfer = crew.idle.pop()
        receiver = Receiver(transfer, parser.feed)
        query = self._list_query(None, prefix, "", 0)
        self._begin(transfer, "GET", self._place.bucket_path, query, self._bucket_signer)
        transfer.curl.setopt(self._curl.WRITEFUNCTION, receiver)
        waiting = transfer.bear(self._patience.of(Asked.LIST), _goes_on)
        try:
            crew.add(transfer)
            for number, words in self._run(crew):
                if waiting.silent_for:
                    raise _silent(action, waiting)
                if number:
                    raise receiver.error or unanswered(action, number, words)
                if objects := parser.listed.take():
                    yield Page(objects, None)
            self._accept_listing(action, Answer(transfer, receiver), parser, b"")
            objects = parser.listed.take()
            if objects or parser.remarks or parser.unread:
                yield Page(objects, None, remarks=parser.remarks, unread=parser.unread)
        except ValueError as error:
            raise unreadable(action, error, 200) from None
        finally:
            crew.close()
            self._permits.give_back()
        if parser.is_cut:
            raise unreadable(action, ValueError("it ends before the listing does"), 200)
        problem = _why_not_whole(parser)
        if problem:
            raise StoreError(Trouble.UNSUPPORTED, action, problem)

    def _run(self, crew: Crew) -> Iterator[tuple[int, str]]:
        """Drives a crew of one to its end; yields libcurl's error number and message after every step."""
        while True:
            workers.beat()
            crew.multi.perform()
            for _, number, words in crew.finished():
                yield number, words
                return
            yield 0, ""
            crew.wait()

    def _list_query(self, token: str | None, prefix: str, start_after: str, max_keys: int) -> str:
        parameters = {"encoding-type": "url"}
        if max_keys:
            parameters["max-keys"] = str(max_keys)
        if prefix:
            parameters["prefix"] = prefix
        if self._store.list_version == "v1":
            if token or start_after:
                parameters["marker"] = token or start_after
            return query_string(parameters)
        parameters["list-type"] = "2"
        if token:
            parameters["continuation-token"] = token
        elif start_after:
            parameters["start-after"] = start_after
        return query_string(parameters)

    def _accept_listing(
        self, action: str, answer: Answer, parser: ListingParser, body: bytes, *, is_page: bool = False
    ) -> ListingParser:
        """Finishes the parsing of a listing; `body` is what the parser has not had yet.

        A whole page that is not XML is read entry by entry, by the returned parser.
        """
        if answer.transfer.status != 200:
            raise self._refused(action, answer, of_object=False)
        try:
            return _read_to_its_end(parser, body)
        except ValueError as error:
            if parse_error(body):  # some stores have already sent status 200 when the error occurs
                raise self._refusal(action, answer, body, of_object=False) from None
            if is_page and (entries := self._by_entries(body)):
                return entries
            raise unreadable(action, error, 200) from None

    def _by_entries(self, body: bytes) -> EntryParser | None:
        """A page that is not XML, as far as it can be read; None if that does not help."""
        parser = EntryParser()
        try:
            _read_to_its_end(parser, body)
        except ValueError:
            return None
        # After a page that was cut off, the listing must be able to continue after its last key.
        is_lost = parser.is_cut and not (parser.listed.objects and self._store.sorted)
        return None if is_lost else parser

    def _next_token(self, parser: ListingParser, following: dict[str, str]) -> str | None:
        """The token of the store, or for a sorted V1 listing the last key; None if there is neither."""
        if self._store.list_version != "v1":
            return following.get("NextContinuationToken") or None
        named = following.get("NextMarker", "")
        return (self._next_marker(parser, named) or None) if parser.end.more or named else None

    def _next_marker(self, parser: ListingParser, named: str) -> str:
        """S3 returns a marker only with a delimiter; RGW always returns one, and does not encode it.

        A sorted listing always continues after its last key; an unsorted one only where the store says.
        """
        if parser.listed.last_key and (self._store.sorted or named == parser.listed.last_key):
            return parser.listed.last_key
        return parser.listed.decoded(named)

    # --- objects

    def head(self, object_key: str, *, part_number: int = 0) -> Head:
        """HEAD. With `part_number` (from 1) `size` is that part's and the status 206, unless the store ignores it.

        `size` is UNTOLD if the response has no Content-Length.
        """
        query = f"partNumber={part_number}" if part_number else ""
        return self._with_current_keys(lambda: self._head(object_key, query, self._object_signer))

    def head_with_checksums(self, object_key: str) -> Head:
        """HEAD with x-amz-checksum-mode (on AWS this needs kms:Decrypt for an object under a KMS key)."""
        return self._with_current_keys(lambda: self._head(object_key, "", self._checksum_signer))

    def head_by_get(self, object_key: str) -> Head:
        """The headers of an object from a GET of its first byte, for stores whose HEAD says something else."""
        return self._with_current_keys(lambda: self._head_by_get(object_key))

    def _head_by_get(self, object_key: str) -> Head:
        action, path = self._reading(object_key), self._place.object_path(object_key)
        block = b""

        def begun(headers: bytes) -> None:
            nonlocal block
            block = headers
            raise _Enough  # the store ignores the range and would send the whole object

        range_line = ("range: bytes=0-0",)
        request = self._answer(action, path, "", self._object_signer, _unwanted, range_line, begun=begun)
        with contextlib.suppress(_Enough), request as answer:
            if answer.transfer.status != 206:
                raise self._refused(action, answer, of_object=True)
            block = answer.transfer.header_block
        try:
            head = parse_head(block, 206, received=UNTOLD)
        except ValueError as error:
            raise unreadable(action, error, 206, of_object=True) from None
        return replace(head, size=total_size(block, head.size))

    def _head(self, object_key: str, query: str, signer: Signer, hurry: float = math.inf) -> Head:
        transfer = self._take(self._heads, body=False)
        try:
            outcome = self._head_on(transfer, object_key, query, signer, hurry)
        finally:
            self._put_back(self._heads, transfer)
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    def _head_on(
        self, transfer: Transfer, object_key: str, query: str, signer: Signer, hurry: float = math.inf
    ) -> Head | StoreError:
        self._begin(transfer, "HEAD", self._place.object_path(object_key), query, signer)
        transfer.object_key = object_key
        waiting = transfer.bear(Silence(hurry, hurry), _goes_on) if hurry < math.inf else None
        number, words = self._perform(transfer, waiting)
        if waiting and waiting.silent_for:
            return self._late(transfer, hurry)
        return self._head_outcome(transfer, number, words, transfer)

    def head_many(self, object_keys: Iterable[str], hurry: float = math.inf) -> Iterator[tuple[str, Head | StoreError]]:
        """HEADs, `connections` in flight, in order of completion; keys are taken from the iterable as needed.

        Everything happens in the calling thread, while it requests the next result. Requests without a response `hurry`
        seconds after the last response are given up as LATE: a timeout for which the endpoint is not blamed.
        """
        few = len(object_keys) if hurry == math.inf and isinstance(object_keys, Sized) else self._connections
        is_apart = few < self._connections  # a possibly long wait must not hold more connections than it needs
        crew = self._made_crew(few) if is_apart else self._lent_crew()
        if crew is None:  # all connections are in use: one request after another, when one is free
            yield from ((object_key, self._head_alone(object_key, hurry)) for object_key in object_keys)
            return
        try:
            yield from self._drive(crew, iter(object_keys), hurry)
        finally:
            self._return_crew(crew, is_apart=is_apart)

    def _head_alone(self, object_key: str, hurry: float) -> Head | StoreError:
        try:
            return self._with_current_keys(lambda: self._head(object_key, "", self._object_signer, hurry))
        except StoreError as error:
            return error

    def _lent_crew(self) -> Crew | None:
        """An idle crew, or a new one; None if no connection is free."""
        with contextlib.suppress(IndexError):
            return self._crews.pop()
        return self._made_crew(self._connections)

    def _return_crew(self, crew: Crew, *, is_apart: bool) -> None:
        if is_apart:
            self._permits.give_back(self._close_crew(crew))
            return
        crew.abandon()
        self._crews.append(crew)
        self._permits.tell()

    def _made_crew(self, connections: int) -> Crew | None:
        """A crew with as many free connections as possible, at most `connections`; None if none is free."""
        # If the number is limited, one is reserved for the reason of a rejected HEAD.
        reserve = int(self._permits.limit < _UNBOUNDED)
        count = self._permits.take_some(connections + reserve)
        if count <= reserve:
            self._permits.give_back(count, of_set=True)
            return None
        crew = self._new_crew(count - reserve, body=False)
        crew.spare = [self._new_transfer(body=True) for _ in range(reserve)]
        return crew

    def _close_crew(self, crew: Crew) -> int:
        """Close a crew; returns the number of its connections, whose permits the caller gives back."""
        crew.close()
        count = len(crew.transfers) + len(crew.spare)
        self._permits.is_no_set(count)
        return count

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
                self._begin(transfer, "HEAD", self._place.object_path(object_key), "", self._object_signer)
                crew.add(transfer)
            crew.multi.perform()  # new requests are in flight while the caller handles results
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
                ready = [(transfer.object_key, self._late(transfer, hurry)) for transfer in crew.under_way()]
                crew.abandon()
            else:
                workers.beat()
                crew.wait()

    def _late(self, transfer: Transfer, hurry: float) -> StoreError:
        detail = f"no response within {hurry:.0f} seconds"
        return StoreError(Trouble.TIMEOUT, self._looking_at(transfer), detail, code=LATE)

    def get(
        self,
        object_key: str,
        sink: Callable[[bytes], object],
        *,
        if_match: str = "",
        stored: Described | None = None,
    ) -> Head:
        """GET: every chunk of the body goes to `sink`, whose own exceptions pass through.

        If `stored` is given and the store decompresses the object, it is requested once more before anything goes to
        `sink`; for a response without a length this is detected only at its end (Trouble.BROKEN).
        With `if_match` (an ETag without quotes) an object that changed raises Trouble.CHANGED; a store that ignores
        the condition is detected by the ETag of its response, when the body has already gone to `sink`.
        """
        welcomed = self._packing.welcome
        try:
            return self._with_current_keys(lambda: self._get(object_key, sink, if_match, stored))
        except _Unpacked as unpacked:
            if not self._packing.is_to_be_asked_again(welcomed):
                raise unpacked.failure from None
        try:
            return self._with_current_keys(lambda: self._get(object_key, sink, if_match, stored))
        except _Unpacked as unpacked:
            raise unpacked.failure from None

    def _get(self, object_key: str, sink: Callable[[bytes], object], if_match: str, stored: Described | None) -> Head:
        action = self._reading(object_key)
        path = self._place.object_path(object_key)
        extra = (f'if-match: "{if_match}"',) if if_match else ()

        def insist(block: bytes) -> None:
            with contextlib.suppress(ValueError):  # reported when the response has ended
                head = parse_head(block, 200, received=UNTOLD)
                if stored and is_unpacked(stored, head):
                    failure = StoreError(Trouble.UNSUPPORTED, action, why_longer(head.size, stored.size), status=200)
                    raise _Unpacked(failure)

        with self._answer(action, path, "", self._object_signer, sink, extra, begun=insist) as answer:
            if answer.transfer.status != 200:
                raise self._refused(action, answer, of_object=True)
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

    def serves(self, object_key: str) -> bool:
        """Whether a GET of the first byte of an object succeeds."""
        given: list[bytes] = []

        def sink(chunk: bytes) -> None:  # for a store that ignores ranges and sends everything
            given.append(chunk[:1])
            raise StoreError(Trouble.OTHER, "look at one byte", "that is enough")

        path = self._place.object_path(object_key)
        request = self._answer("", path, "", self._object_signer, sink, ("range: bytes=0-0",))
        with contextlib.suppress(StoreError), request as answer:
            return answer.transfer.status in (200, 206)
        return bool(given)

    # --- credentials that are renewed

    def _with_current_keys(self, ask: Callable[[], _Answered]) -> _Answered:
        """The result of `ask`, repeated if its credentials are rejected, as long as they have been renewed since.

        A rejected request has delivered no data, so repeating it is safe.
        """
        while True:
            before = self._keys.current()
            try:
                return ask()
            except StoreError as error:
                if error.trouble is not Trouble.CREDENTIAL or not renewed_since(self._keys, before):
                    raise

    def _with_other_keys(
        self, before: Credentials, transfer: Transfer, number: int, words: str, spare: Transfer | None = None
    ) -> Head | StoreError:
        """The outcome of a HEAD that was signed with the credentials `before`, or with newer ones."""
        outcome = self._head_outcome(transfer, number, words, spare)
        while _is_refused(outcome) and renewed_since(self._keys, before):
            before = self._keys.current()
            outcome = self._head_on(transfer, transfer.object_key, "", self._object_signer)
        return outcome

    # --- requests

    def _begin(
        self, transfer: Transfer, method: str, path: str, query: str, signer: Signer, extra: tuple[str, ...] = ()
    ) -> None:
        url = f"{self._place.url}{path}?{query}" if query else self._place.url + path
        welcome = self._packing.welcome if signer is self._object_signer else PLAIN
        transfer.begin(url, [*signer.headers(method, path, query), f"accept-encoding: {welcome}", *extra])

    def _perform(self, transfer: Transfer, waiting: Waiting | None = None) -> tuple[int, str]:
        """libcurl's error number and message, 0 and "" for a response with any status."""
        try:
            with workers.asking():
                transfer.curl.perform()
        except self._curl.error as error:
            reason: tuple[Any, ...] = error.args
            is_given_up = waiting is not None and waiting.silent_for > 0
            if int(reason[0]) == self._curl.E_ABORTED_BY_CALLBACK and not is_given_up:
                raise workers.BrokenOff from None
            return int(reason[0]), str(reason[1])
        return 0, ""

    @contextlib.contextmanager
    def _answer(
        self,
        action: str,
        path: str,
        query: str,
        signer: Signer,
        sink: Callable[[bytes], object],
        extra: tuple[str, ...] = (),
        lent: Transfer | None = None,
        silence: Silence | None = None,
        begun: Callable[[bytes], object] = len,
    ) -> Iterator[Answer]:
        """A completed GET; its handle, `lent` or one of ours, is in use while the block runs.

        `begun` gets the headers of a response with status 200 before `sink` gets its body.
        """
        transfer = lent or self._take(self._bodies, body=True)
        receiver = Receiver(transfer, sink, begun)
        try:
            transfer.curl.setopt(self._curl.WRITEFUNCTION, receiver)
            self._begin(transfer, "GET", path, query, signer, extra)
            waiting = transfer.bear(silence or self._patience.of(Asked.GET), _goes_on)
            number, words = self._perform(transfer, waiting)
            if waiting.silent_for:
                raise _silent(action, waiting)
            if number:
                raise receiver.error or unanswered(action, number, words, of_object=signer is self._object_signer)
            yield Answer(transfer, receiver)
        finally:
            transfer.curl.unsetopt(self._curl.WRITEFUNCTION)
            if lent is None:
                self._put_back(self._bodies, transfer)

    def _take(self, idle: deque[Transfer], *, body: bool) -> Transfer:
        with contextlib.suppress(IndexError):
            return idle.pop()
        self._permits.take()
        return self._new_transfer(body=body)

    def _put_back(self, idle: deque[Transfer], transfer: Transfer) -> None:
        idle.append(transfer)
        self._permits.tell()

    def _new_crew(self, size: int, *, body: bool) -> Crew:
        multi = self._curl.CurlMulti()
        multi.setopt(self._curl.M_MAXCONNECTS, size)
        multi.setopt(self._curl.M_MAX_TOTAL_CONNECTIONS, size)
        return Crew(multi, [self._new_transfer(body=body) for _ in range(size)])

    def _new_transfer(self, *, body: bool) -> Transfer:
        curl = self._curl.Curl()
        for option, value in self._options:
            curl.setopt(option, value)
        self._make_ready(curl, body=body)
        return Transfer(curl, self._be_patient)

    def _be_patient(self, curl: Any) -> None:
        """Set the default timeouts: those of a HEAD."""
        curl.setopt(self._curl.LOW_SPEED_TIME, max(1, round(self._patience.of(Asked.HEAD).answer)))
        # Called at least once a second, whatever the store does.
        curl.setopt(self._curl.XFERINFOFUNCTION, lambda *_progress: not _goes_on())
        curl.setopt(self._curl.NOPROGRESS, 0)

    def _make_ready(self, curl: Any, *, body: bool) -> None:
        """Set a handle up for GETs or HEADs. For HEADs libcurl ignores the length: it rejects an odd one."""
        curl.setopt(self._curl.HTTPGET if body else self._curl.NOBODY, 1)
        curl.setopt(self._curl.IGNORE_CONTENT_LENGTH, 0 if body else 1)

    # --- refusals

    def _listing(self, prefix: str) -> str:
        return f"list {url_text(self._store.bucket, prefix)} at {self._endpoint}"

    def _head_outcome(
        self, transfer: Transfer, number: int, words: str, spare: Transfer | None = None
    ) -> Head | StoreError:
        """The result of a HEAD; the reason for a rejected one is requested on `spare`, which may be the same handle."""
        status = 0 if number else transfer.status
        if status in (200, 206):
            try:
                return parse_head(transfer.header_block, status)
            except ValueError as error:
                return unreadable(self._looking_at(transfer), error, status, of_object=True)
        if number:
            return unanswered(self._looking_at(transfer), number, words, of_object=True)
        headers = transfer.header_block
        return failure(
            self._looking_at(transfer),
            status,
            self._reason(transfer.object_key, status, spare),
            of_object=True,
            asked=AskedWith(self._store.region),
            headers=headers,
            bodyless=True,
        )

    def _reading(self, object_key: str) -> str:
        return f"fetch {url_text(self._store.bucket, object_key)} from {self._endpoint}"

    def _looking_at(self, transfer: Transfer) -> str:
        return f"look at {url_text(self._store.bucket, transfer.object_key)} at {self._endpoint}"

    def _reason(self, object_key: str, status: int, spare: Transfer | None) -> bytes:
        """Why a HEAD was rejected, from a GET of one byte: the response to a HEAD has no body.

        Without it a wrong key and a missing permission look the same. Requested at most once in five seconds.
        """
        if status not in (400, 401, 403):
            return b""
        asked, body = self._reasons.get(status, (0.0, b""))
        if asked and time.monotonic() - asked < _REASON_SECONDS:
            return body
        path = self._place.object_path(object_key)
        body = b""
        # If this fails too, only the HEAD's status is known.
        request = self._answer("", path, "", self._object_signer, _unwanted, ("range: bytes=0-0",), spare)
        if spare:
            self._make_ready(spare.curl, body=True)
        with contextlib.suppress(StoreError), request as answer:
            if answer.transfer.status == status:
                body = answer.receiver.refused
        if spare:
            self._make_ready(spare.curl, body=False)
        self._reasons[status] = (time.monotonic(), body)
        return body

    def _refused(self, action: str, answer: Answer, *, of_object: bool) -> StoreError:
        return self._refusal(action, answer, answer.receiver.refused, of_object=of_object)

    def _refusal(self, action: str, answer: Answer, body: bytes, *, of_object: bool) -> StoreError:
        store = self._store
        asked = AskedWith(store.region, *(() if of_object else (store.addressing, store.list_version)))
        return failure(
            action,
            answer.transfer.status,
            body,
            of_object=of_object,
            asked=asked,
            headers=answer.transfer.header_block,
        )


class _Enough(Exception):
    """The rest of a response is not needed."""


class _Unpacked(Exception):
    """The store sends decompressed data; nothing of it was passed on."""

    def __init__(self, failure: StoreError) -> None:
        super().__init__(str(failure))
        self.failure = failure


def _goes_on() -> bool:
    """Whether the request is still wanted."""
    return not workers.is_over()


def _silent(action: str, waiting: Waiting) -> StoreError:
    detail = f"the endpoint accepted the request, then sent nothing for {waiting.silent_for:.0f} seconds"
    return StoreError(Trouble.TIMEOUT, action, detail)


def _read_to_its_end(parser: _Parser, body: bytes) -> _Parser:
    parser.feed(body)
    parser.finish()
    return parser


def _why_not_whole(parser: ListingParser) -> str:
    """Why a response cannot be accepted as the whole listing; "" if it can."""
    if parser.end.more:
        return "the store did not send everything in one response; check `list_version` and `sorted`"
    if parser.end.leads_on:
        return "the end of the listing is not clear: the store says that this is all, but gives a token to continue"
    if parser.end.more is None and parser.listed.last_key:
        return (
            "the end of the listing is not clear: the response has no readable IsTruncated; try another `list_version`"
        )
    return ""


def _unwanted(_chunk: bytes) -> None:
    """Ends a request whose body is not needed."""
    raise StoreError(Trouble.OTHER, "look for a reason", "there is none")


def _is_refused(outcome: Head | StoreError) -> bool:
    return isinstance(outcome, StoreError) and outcome.trouble is Trouble.CREDENTIAL
