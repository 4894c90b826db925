# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The pages of the source's listing, from its beginning to its end, whatever cannot be read of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from ....core import workers
from ....core.errors import JobStopped, StoreError
from ....core.model import Page
from ....core.text import plain_text
from ....store.answers import UNREADABLE
from ....store.endpoint import lists_whole
from ....store.listing_gaps import PAGE_KEYS, PageSize, Search, search
from ....store.listing_walk import ListingWalk
from ...crew import Crew
from .left_at_source import CANNOT_BE_READ
from .listing_outages import ListingOutages

if TYPE_CHECKING:
    from ....config.job_file import Store

_log = logging.getLogger("snowsync.source")
_UNREADABLE_ANSWERS = 5  # in a row while probes succeed: then the page is at fault, and waiting does not help
_UNREADABLE_KEYS = 2  # the same for pages of a single key
_MOST_REMARKS = 1000


class _Stopped(Exception):
    """The unit is stopping."""


class ListingPages:
    """Reads a store's listing again and again. Used by the lister's thread.

    `restarted` is called when a listing starts again from its beginning, which is harmless to the ledger.
    """

    def __init__(self, store: Store, outages: ListingOutages, crew: Crew, *, restarted: Callable[[], None]) -> None:
        self._store = store
        self._outages = outages
        self._crew = crew
        self._restarted = restarted
        self._gaps = ListingGaps(outages)
        self._remarks = ListingRemarks()

    def read(self) -> Iterator[Page | None]:
        """The whole listing once; None instead of a page when the unit stops before its end."""
        for page in self._whole() if lists_whole(self._store) else self._paged():
            if page:
                self._remarks.tell(page.remarks)
            yield page

    def _paged(self) -> Iterator[Page | None]:
        walk, size = ListingWalk(self._store), PageSize()
        begun_anew = False
        while not walk.is_over:
            try:
                page = self._page(walk, size)
            except StoreError as error:
                if error.code == UNREADABLE and not size.is_least:
                    size.was_unreadable()
                    walk.prefer_keys()
                    continue
                if error.code == UNREADABLE:
                    yield self._without_unreadable(walk, size, error)
                    continue
                # A token may be invalid at another endpoint, or after a restart of the store.
                if walk.token is None or begun_anew or isinstance(error, JobStopped):
                    raise
                _log.warning("%s; restarting the listing from the beginning", error)
                walk, begun_anew = ListingWalk(self._store), True
                self._restarted()
                continue
            yield page
            if page is None:
                return
            size.was_read(len(page.objects))
            walk.take(page)

    def _page(self, walk: ListingWalk, size: PageSize) -> Page | None:
        """One page from any healthy endpoint; waits during an outage. None when the unit stops."""
        patience = _UNREADABLE_ANSWERS if size.keys == PAGE_KEYS else _UNREADABLE_KEYS if size.is_least else 1
        while endpoint := self._outages.endpoint():
            try:
                page = endpoint.client().list_page(
                    walk.token, prefix=endpoint.store.prefix, start_after=walk.start_after, max_keys=size.keys
                )
                self._outages.over()
                return page
            except StoreError as error:
                if self._outages.is_unreadable_for_good(error, patience):
                    raise
                self._outages.bear(endpoint, error)
        return None

    def _without_unreadable(self, walk: ListingWalk, size: PageSize, error: StoreError) -> Page | None:
        """A page that names what cannot be read; the listing continues after it, or ends. None when the unit stops."""
        size.passed()
        walk.prefer_keys()
        after = walk.start_after
        try:
            upto = self._gaps.end_of(after, self._store.prefix) if walk.is_by_key else ""
        except _Stopped:
            walk.give_up()
            return None
        if upto:
            walk.skip_to(upto)
        else:
            walk.give_up()
        return Page([], None, unread=[_unread(after, upto, error)])

    def _whole(self) -> Iterator[Page | None]:
        """One response of any size, read as it arrives; restarted after an outage."""
        while endpoint := self._outages.endpoint():
            try:
                for page in endpoint.client().list_whole(prefix=endpoint.store.prefix):
                    yield page
                    if self._crew.stopping:
                        yield None
                        return
                self._outages.over()
                return
            except StoreError as error:
                if self._outages.is_unreadable_for_good(error, _UNREADABLE_ANSWERS):
                    yield Page([], None, unread=[_unread("", "", error)])
                    return
                self._outages.bear(endpoint, error)
                self._restarted()
        yield None


class ListingGaps:
    """Parts of a listing that cannot be read: where they end. Those found in earlier passes are looked up first."""

    def __init__(self, outages: ListingOutages) -> None:
        self._outages = outages
        self._ends: dict[str, str] = {}  # by the text after which the listing cannot be read

    def end_of(self, after: str, prefix: str) -> str:
        """A text after which the listing is readable again, if the key after `after` is not; "" for none.

        Raises _Stopped when the unit stops.
        """
        known = self._ends.get(after, "")
        if known and self._is_readable(known):
            return known
        found = self._ends[after] = self._answered(search(after, prefix))
        return found

    def _answered(self, question: Search) -> str:
        """The result of a search, using the source's answers."""
        try:
            text = next(question)
            while True:
                text = question.send(self._is_readable(text))
        except StopIteration as end:
            return end.value or ""

    def _is_readable(self, after: str) -> bool:
        """Whether the listing is readable after a text, or has ended there; waits during an outage."""
        while endpoint := self._outages.endpoint():
            workers.beat()
            try:
                endpoint.client().list_page(None, prefix=endpoint.store.prefix, start_after=after, max_keys=1)
                return True
            except StoreError as error:
                if not (error.trouble.is_transient or error.trouble.stops_job) or error.code == UNREADABLE:
                    return False
                self._outages.bear(endpoint, error)
        raise _Stopped


class ListingRemarks:
    """Logs each kind of oddity in a listing once per run."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, remarks: Mapping[str, str]) -> None:
        """`remarks` by kind."""
        for kind, remark in remarks.items():
            if kind not in self._told and len(self._told) < _MOST_REMARKS:
                self._told.add(kind)
                _log.warning("the source's listing: %s", remark)


def _unread(after: str, upto: str, error: StoreError) -> str:
    """A description of what cannot be read."""
    place = f"after {plain_text(after)!r}" if after else "at its beginning"
    end = f" and up to {plain_text(upto)!r}" if upto else ", and all that follows,"
    return f"what stands {place}{end}{CANNOT_BE_READ}: {error.detail}; try another `list_version`, or rename it there"
