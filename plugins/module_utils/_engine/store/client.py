# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The light client for per-object requests: LIST, HEAD and GET through libcurl.

A HEAD costs a twentieth of boto3's. HTTP/1.1, keep-alive connections, certificates always verified. Nothing is retried
here, with two exceptions: if the store has closed a keep-alive connection, libcurl sends the request again on a new
one, and a request whose credentials were rejected is repeated if they have been renewed since.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ..config.credentials import renewed_since
from ..core.errors import StoreError, Trouble
from ..core.model import Head, Page
from .answers import UNREADABLE
from .connections import Permits
from .encodings import Described, Packing
from .get_requests import GetRequests
from .handle_pool import HandleMaker, HandlePool
from .head_requests import HeadReasons, HeadRequests
from .listing_gaps import LAST_TEXT, PAGE_KEYS
from .listing_parser import EntryParser, ListingParser
from .listing_requests import PageRequests, WholeListings
from .object_reads import ObjectReads
from .request_errors import RequestErrors
from .signed_requests import SignedRequests, with_current_keys
from .timeouts import CONNECT_SECONDS, Asked, Patience

if TYPE_CHECKING:
    from ..config.credentials import Keys
    from ..config.job_file import Store


class StoreClient:
    """One endpoint of a store. Thread-safe.

    `connections` limits the requests in flight of one `head_many`; a function if the number may change.
    `connect_timeout` (seconds) covers DNS, the connection and the TLS handshake, `patience` sets the response timeouts.
    `permits` limits all of its connections together, including idle ones. `packing` is shared by all clients of the
    endpoint. All methods raise StoreError.
    """

    def __init__(
        self,
        store: Store,
        endpoint: str,
        keys: Keys,
        *,
        connections: int | Callable[[], int] = 16,
        connect_timeout: float = CONNECT_SECONDS,
        patience: Patience | None = None,
        permits: Permits | None = None,
        packing: Packing | None = None,
    ) -> None:
        endpoint, patience, packing = endpoint.rstrip("/"), patience or Patience(), packing or Packing()
        maker = HandleMaker(store, endpoint, connect_timeout, patience.of(Asked.HEAD).answer)
        requests = SignedRequests(store, endpoint, keys, packing)
        errors = RequestErrors(store, endpoint)
        self._store = store
        self._keys = keys
        self._pool = HandlePool(maker, connections if callable(connections) else lambda: connections, permits)
        gets = GetRequests(self._pool, requests, patience)
        self._pages = PageRequests(store, gets, errors)
        self._whole_listings = WholeListings(store, self._pool, requests, errors, patience)
        self._heads = HeadRequests(keys, self._pool, requests, errors, HeadReasons(gets))
        self._reads = ObjectReads(gets, errors, packing)

    def close(self) -> None:
        """Closes idle connections; call it only while no other method runs."""
        self._pool.close()

    # --- listing

    def list_page(
        self, token: str | None, *, prefix: str | None = None, start_after: str = "", max_keys: int = PAGE_KEYS
    ) -> Page:
        """One page of the listing of `prefix` (None: the store's own).

        `token` None starts after the key `start_after`; otherwise it is the `next_token` of the previous page. A page
        of more than 32 MiB is rejected. A ListingWalk decides whether the listing continues.
        """
        within = self._store.prefix if prefix is None else prefix
        return with_current_keys(self._keys, lambda: self._pages.page(token, within, start_after, max_keys))

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
            elif error.trouble is not Trouble.TIMEOUT or not self._heads.has_bucket():
                raise

    def _first_key(self, prefix: str) -> None:
        with_current_keys(self._keys, lambda: self._pages.page(None, prefix, "", 1, Asked.PROBE))

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
                yield from self._whole_listings.pages(prefix, kind())
                return
            except StoreError as error:
                if error.code == UNREADABLE and kind is ListingParser:
                    kind = EntryParser
                elif error.trouble is not Trouble.CREDENTIAL or not renewed_since(self._keys, before):
                    raise

    # --- heads

    def head(self, object_key: str, *, part_number: int = 0) -> Head:
        """HEAD. With `part_number` (from 1) `size` is that part's and the status 206, unless the store ignores it.

        `size` is UNTOLD if the response has no Content-Length.
        """
        query = f"partNumber={part_number}" if part_number else ""
        return with_current_keys(self._keys, lambda: self._heads.one(object_key, query))

    def head_with_checksums(self, object_key: str) -> Head:
        """HEAD with x-amz-checksum-mode (on AWS this needs kms:Decrypt for an object under a KMS key)."""
        return with_current_keys(self._keys, lambda: self._heads.one_with_checksums(object_key))

    def head_by_get(self, object_key: str) -> Head:
        """The headers of an object from a GET of its first byte, for stores whose HEAD says something else."""
        return with_current_keys(self._keys, lambda: self._reads.headers(object_key))

    def head_many(self, object_keys: Iterable[str], hurry: float = math.inf) -> Iterator[tuple[str, Head | StoreError]]:
        """HEADs, `connections` in flight, in order of completion; keys are taken from the iterable as needed.

        Everything happens in the calling thread, while it requests the next result. Requests without a response `hurry`
        seconds after the last response are given up as LATE: a timeout for which the endpoint is not blamed.
        """
        return self._heads.many(object_keys, hurry)

    # --- objects

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

        def read() -> Head:
            return self._reads.whole(object_key, sink, if_match, stored)

        return self._reads.as_stored(lambda: with_current_keys(self._keys, read))

    def serves(self, object_key: str) -> bool:
        """Whether a GET of the first byte of an object succeeds."""
        return self._reads.serves(object_key)
