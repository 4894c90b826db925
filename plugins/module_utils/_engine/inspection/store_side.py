# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""One side of a comparison: the listing of a store, page by page, in the order of keys."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from ..core.errors import StoreError, stop_if_refused
from ..core.model import Head, ListedObject
from ..store.address import readdressed
from ..store.listing_walk import ListingWalk
from ..store.timeouts import patience_of
from .judge import Verdict

if TYPE_CHECKING:
    from ..config.job_file import Job, Store
    from ..store.client import StoreClient

_log = logging.getLogger("snowsync.verify")
_PATIENCE = (1.0, 2.0, 4.0, 8.0, 16.0)  # pauses between attempts on all endpoints of a store that does not answer


class Side(Protocol):
    """One store, as `verify` sees it. `unread` names the entries of its last listing that could not be read."""

    unread: list[str]

    def pages(self) -> Iterator[Sequence[ListedObject]]:
        """The listing of the job's prefix, page by page."""

    def read(self, object_key: str, sink: Callable[[bytes], object], stored: Head) -> None:
        """Pass every byte of one object to `sink`, as it is `stored`."""

    def head(self, object_key: str, *, part_number: int = 0) -> Head:
        """HEAD of one object, or of one of its parts."""

    def close(self) -> None: ...


class Listener(Protocol):
    """Receives the verdict on every object."""

    def note(self, key: str, verdict: Verdict) -> None:
        """The verdict on one object; `key` is its key in the ledger if it is there."""

    def restart(self) -> None:
        """The comparison starts again from the beginning."""


class OutOfOrder(Exception):
    """A listing that should be sorted is not sorted."""

    def __init__(self, side: str) -> None:
        super().__init__(side)
        self.side = side


# -- stores -----------------------------------------------------------------------------------------------------


class StoreSide:
    """One side of a job ("source", "destination"), through whichever of its endpoints answers."""

    def __init__(self, job: Job, side: str) -> None:
        from ..config.credentials import for_side
        from ..store.address import endpoint_urls

        store = job.source if side == "source" else job.destination
        assert store is not None
        self._store: Store = store
        self._credentials = for_side(job, side)
        self._patience = patience_of(job.mover)
        self._urls = list(endpoint_urls(store))
        self._clients: dict[str, StoreClient] = {}
        self.unread: list[str] = []

    def _client(self) -> StoreClient:
        from ..store.client import StoreClient

        url = self._urls[0]
        if url not in self._clients:
            self._clients[url] = StoreClient(self._store, url, self._credentials, patience=self._patience)
        return self._clients[url]

    def _patiently(self, pauses: Iterator[float], error: StoreError) -> None:
        """After a failed request: the next endpoint, or a pause once all failed. Raises what a retry cannot fix."""
        store = readdressed(self._store, error.code)
        if store:
            self._store, self._clients = store, {}
            return
        stop_if_refused(error)
        if not error.trouble.is_transient:
            raise error
        self._urls.append(self._urls.pop(0))
        pause = next(pauses, None)
        if pause is None:
            raise error
        if pause:
            _log.warning("%s; retrying in %g s", error, pause)
            time.sleep(pause)

    def _pauses(self) -> Iterator[float]:
        for pause in _PATIENCE:
            yield from (0.0,) * (len(self._urls) - 1)
            yield pause

    def pages(self) -> Iterator[Sequence[ListedObject]]:
        self.unread = []
        # Such a store (the Snowball's adapter) returns everything in one response, without a marker for the next page.
        if self._store.list_version == "v1" and not self._store.sorted:
            yield from self._whole()
            return
        walk, pauses = ListingWalk(self._store), self._pauses()
        while not walk.is_over:
            try:
                page = self._client().list_page(walk.token, start_after=walk.start_after)
            except StoreError as error:
                self._patiently(pauses, error)
                walk.go_on_without_token()
                continue
            pauses = self._pauses()
            walk.take(page)
            self.unread += page.unread
            yield page.objects

    def _whole(self) -> Iterator[Sequence[ListedObject]]:
        """The listing in one response; restarted after an outage, since sorting removes duplicates."""
        pauses = self._pauses()
        while True:
            try:
                for page in self._client().list_whole():
                    self.unread += page.unread
                    yield page.objects
                return
            except StoreError as error:
                self._patiently(pauses, error)

    def read(self, object_key: str, sink: Callable[[bytes], object], stored: Head) -> None:
        self._client().get(object_key, sink, stored=stored)

    def head(self, object_key: str, *, part_number: int = 0) -> Head:
        return self._client().head(object_key, part_number=part_number)

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
