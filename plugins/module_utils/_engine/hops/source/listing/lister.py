# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Lists the source page by page into the ledger, without holding a whole bucket in memory."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ....core import workers
from ....core.model import ListedObject
from ....ledger.source_ports import SourceLedger, SourceListing, SourceObjects
from ...counters import Counters, Listed
from ...crew import Crew
from ...flight import Flight
from ...pool import EndpointPool
from ...setbacks import Setbacks
from ...switches import Switches
from .left_at_source import LeftAtSource
from .listing_outages import ListingOutages
from .listing_pages import ListingPages

if TYPE_CHECKING:
    from ....config.job_file import Job

_log = logging.getLogger("snowsync.source")
_REVIVE_SECONDS = 3600.0  # how often a service retries failed objects


class Lister:
    """The source unit's lister thread: passes over the source."""

    def __init__(
        self,
        job: Job,
        until: str,
        ledger: SourceLedger,
        pool: EndpointPool,
        flight: Flight,
        setbacks: Setbacks,
        crew: Crew,
        counters: Counters,
        switches: Switches,
        *,
        has_changed: Callable[[], None],
        pass_ended: Callable[[], None],
    ) -> None:
        """`until` as the unit's; `pass_ended` is called after each pass to the end of the listing.

        `has_changed` is called when objects have a new generation, which may make staged files obsolete.
        """
        is_service = until == "forever"
        self.has_listed = False  # the source was completely listed once
        self.outages = ListingOutages(pool, crew, attempts=None if is_service else job.attempts)
        self.missing = MissingObjects(ledger.listing, flight)
        self._crew = crew
        self._interval = job.pass_interval if is_service else None  # seconds between two passes; None: there is one
        self._pass_ended = pass_ended
        self._revival = Revival(ledger.objects)
        self._recorder: ListingRecorder | None = None
        if job.source:
            left = LeftAtSource(job.source, ledger.journal, setbacks, counters.listed)
            pages = ListingPages(job.source, self.outages, crew, restarted=left.restart)
            self._recorder = ListingRecorder(
                ledger.listing, pages, left, self.missing, counters.listed, switches.space, has_changed
            )

    def run(self) -> None:
        while not self._crew.stopping:
            if self._pass():
                self.has_listed = True
                self._pass_ended()
                if self._interval is None:
                    return
                self._revival.now_and_then()
                workers.idle()
                self._crew.ending.wait(self._interval)

    def _pass(self) -> bool:
        """List the source once, if there is one. False if stopped before the end."""
        return self._recorder is None or self._recorder.record()


class ListingRecorder:
    """Records the source's listing in the ledger, page by page. Used by the lister's thread.

    `new_work` is set when there is something to fetch.
    """

    def __init__(
        self,
        ledger: SourceListing,
        pages: ListingPages,
        left: LeftAtSource,
        missing: MissingObjects,
        listed: Listed,
        new_work: threading.Event,
        has_changed: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._pages = pages
        self._left = left
        self._missing = missing
        self._listed = listed
        self._new_work = new_work
        self._has_changed = has_changed

    def record(self) -> bool:
        """List the source once. False if stopped before the end."""
        is_all_read = True
        self._left.restart()
        self._missing.pass_begins()
        for page in self._pages.read():
            workers.beat()
            if page is None:
                return False
            self._missing.seen(page.objects)
            is_all_read = is_all_read and not page.unread
            self._left.leave_unread(page.unread)
            listed = self._left.usable(page.objects)
            observed = self._ledger.observe(listed)
            if observed.changed:
                self._has_changed()
            self._listed.add(len(listed), sum(each.size for each in listed))
            if observed.new or observed.changed:
                self._new_work.set()
        self._left.pass_ended()
        self._missing.pass_ended(is_all_read=is_all_read)
        return True


class MissingObjects:
    """Objects that the source listed but did not have: forgotten once a complete listing does not show them."""

    def __init__(self, ledger: SourceListing, flight: Flight) -> None:
        self._ledger = ledger
        self._flight = flight
        self._unseen: set[str] = set()  # keys that this pass has not shown so far
        self._unlisted: set[str] = set()  # keys that the last complete pass did not show

    def pass_begins(self) -> None:
        self._unseen = self._ledger.gone_keys()

    def seen(self, objects: Sequence[ListedObject]) -> None:
        """A page of the listing shows these."""
        if self._unseen:
            self._unseen.difference_update(each.key for each in objects)

    def pass_ended(self, *, is_all_read: bool) -> None:
        """Nothing is forgotten because of a listing that could not be read completely."""
        self._unlisted = self._unseen if is_all_read else set()
        self.forget()

    def forget(self) -> None:
        """Forget what the last pass did not list; to be called again when the objects in flight have left the unit.

        A new run tries such objects once more at its start, so they may still be in flight when a short listing ends.
        """
        if not self._unlisted:
            return
        reason = "the source listed it but did not have it, and no longer lists it"
        for key in self._ledger.forget_gone(self._unlisted, self._flight.ids(), reason):
            self._unlisted.discard(key)
            _log.info("%r disappeared from the source before it was fetched; removed from the ledger", key)


class Revival:
    """Once an hour, failed objects get another chance in a service."""

    def __init__(self, ledger: SourceObjects) -> None:
        self._ledger = ledger
        self._last = time.monotonic()  # the start of a run does the same

    def now_and_then(self) -> None:
        if time.monotonic() - self._last >= _REVIVE_SECONDS:
            self._last = time.monotonic()
            self._ledger.revive()
