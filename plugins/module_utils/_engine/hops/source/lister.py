# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Lists the source page by page into the ledger, without holding a whole bucket in memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...core import keys, workers
from ...core.blame import is_hopeless
from ...core.errors import JobStopped, StoreError, Trouble, stop_if_refused
from ...core.model import UNTOLD, ListedObject, Origin, Page, State
from ...core.text import plain_text
from ...ledger import left_behind
from ...ledger.ledger import Failure, Row
from ...ledger.source_ports import SourceLedger
from ...store.answers import UNREADABLE
from ...store.endpoint import Endpoint, lists_whole
from ...store.listing_gaps import PAGE_KEYS, PageSize, Search, search
from ...store.listing_walk import ListingWalk
from ..counters import Counters
from ..crew import Crew
from ..flight import Flight
from ..pool import EndpointPool
from ..setbacks import Setbacks
from ..switches import Switches

if TYPE_CHECKING:
    from ...config.job_file import Job, Store

_log = logging.getLogger("snowsync.source")
_UNREADABLE_ANSWERS = 5  # in a row while probes succeed: then the page is at fault, and waiting does not help
_UNREADABLE_KEYS = 2  # the same for pages of a single key
_LONGEST_PAUSE = 60.0  # maximum seconds before a page is requested again while probes succeed: 1, 2, 4 ...
_MOST_TOLD = 100_000  # beyond that, what an earlier run recorded is not reported again by this one
_MOST_REMARKS = 1000
_CANNOT = " cannot be read"
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
        pass_ended: Callable[[], None],
    ) -> None:
        """`until` as the unit's; `pass_ended` is called after each pass to the end of the listing."""
        self._job = job
        self._until = until
        self._ledger = ledger
        self._pool = pool
        self._flight = flight
        self._setbacks = setbacks
        self._crew = crew
        self._counters = counters
        self._switches = switches
        self._pass_ended = pass_ended
        self.has_listed = False  # the source was completely listed once
        self.saw_changes = True  # a new generation may have made staged files obsolete
        self._revived = time.monotonic()
        self._told: set[int] = set()  # hashes of what this run reported, up to a limit
        self._remarked: set[str] = set()  # remarks about odd entries that were logged in this run
        self._left_behind = 0  # in this pass so far
        self._unlisted: set[str] = set()  # keys of absent objects that the last complete pass did not show
        self._unreadable = 0  # consecutive responses that could not be read
        self._gaps: dict[str, str] = {}  # key ranges that earlier passes of this run could not read
        self._tries = 0  # attempts for one page while probes succeed
        self.problem = ""  # why the next page does not arrive

    def run(self) -> None:
        while not self._crew.stopping:
            if self._pass():
                self.has_listed = True
                self._pass_ended()
                if self._until != "forever":
                    return
                self._revive()
                workers.idle()
                self._crew.ending.wait(self._job.pass_interval)

    def _revive(self) -> None:
        if time.monotonic() - self._revived >= _REVIVE_SECONDS:
            self._revived = time.monotonic()
            self._ledger.objects.revive()

    def _pass(self) -> bool:
        """List the source once. False if stopped before the end."""
        objects = size = self._left_behind = 0
        is_all_read = True
        gone = self._ledger.listing.gone_keys()
        for page in self._pages():
            workers.beat()
            if page is None:
                return False
            if gone:
                gone.difference_update(each.key for each in page.objects)
            self._pass_on(page.remarks)
            is_all_read = is_all_read and not page.unread
            self._leave_unread(page.unread)
            listed = self._usable(page.objects)
            observed = self._ledger.listing.observe(listed)
            self.saw_changes = self.saw_changes or observed.changed > 0
            objects += len(listed)
            size += sum(each.size for each in listed)
            self._counters.listed.objects, self._counters.listed.bytes = objects, size
            if observed.new or observed.changed:
                self._switches.space.set()
        self._counters.listed.left_behind = self._left_behind
        if self._job.source:
            left_behind.note_count(self._ledger.journal, self._job.source, self._left_behind)
        self._forget(gone if is_all_read else set())
        return True

    def _forget(self, gone: set[str]) -> None:
        """Forget objects that were listed but not there, and are no longer listed."""
        self._unlisted = gone if self._job.source else set()
        self.forget_unlisted()

    def forget_unlisted(self) -> None:
        """Forget what the last pass did not list; to be called again when the objects in flight have left the unit.

        A new run tries such objects once more at its start, so they may still be in flight when a short listing ends.
        """
        if not self._unlisted:
            return
        reason = "the source listed it but did not have it, and no longer lists it"
        for key in self._ledger.listing.forget_gone(self._unlisted, self._flight.ids(), reason):
            self._unlisted.discard(key)
            _log.info("%r disappeared from the source before it was fetched; removed from the ledger", key)

    # -- pages ------------------------------------------------------------------------------------------------

    def _pages(self) -> Iterator[Page | None]:
        """The whole listing; None instead of a page when the unit stops before its end."""
        store = self._job.source
        if store is None:
            return
        yield from self._whole() if lists_whole(store) else self._paged(store)

    def _paged(self, store: Store) -> Iterator[Page | None]:
        walk, size = ListingWalk(store), PageSize()
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
                    yield self._without_unreadable(walk, store.prefix, size, error)
                    continue
                # A token may be invalid at another endpoint, or after a restart of the store.
                if walk.token is None or begun_anew or isinstance(error, JobStopped):
                    raise
                _log.warning("%s; restarting the listing from the beginning", error)
                walk, begun_anew = ListingWalk(store), True
                self._left_behind = 0
                continue
            yield page
            if page is None:
                return
            size.was_read(len(page.objects))
            walk.take(page)

    def _without_unreadable(self, walk: ListingWalk, prefix: str, size: PageSize, error: StoreError) -> Page | None:
        """A page that names what cannot be read; the listing continues after it, or ends. None when the unit stops."""
        size.passed()
        walk.prefer_keys()
        after = walk.start_after
        try:
            upto = self._readable_again(after, prefix) if walk.is_by_key else ""
        except _Stopped:
            walk.give_up()
            return None
        if upto:
            walk.skip_to(upto)
        else:
            walk.give_up()
        return Page([], None, unread=[_unread(after, upto, error)])

    def _readable_again(self, after: str, prefix: str) -> str:
        """A text after which the listing is readable again, if the key after `after` is not; "" for none."""
        known = self._gaps.get(after, "")
        if known and self._is_readable(known):
            return known
        found = self._gaps[after] = self._answered(search(after, prefix))
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
        while endpoint := self._endpoint():
            workers.beat()
            try:
                endpoint.client().list_page(None, prefix=endpoint.store.prefix, start_after=after, max_keys=1)
                return True
            except StoreError as error:
                if not (error.trouble.is_transient or error.trouble.stops_job) or error.code == UNREADABLE:
                    return False
                self._bear(endpoint, error)
        raise _Stopped

    def _whole(self) -> Iterator[Page | None]:
        """One response of any size, read as it arrives; restarted after an outage, which is harmless to the ledger."""
        while endpoint := self._endpoint():
            try:
                for page in endpoint.client().list_whole(prefix=endpoint.store.prefix):
                    yield page
                    if self._crew.stopping:
                        yield None
                        return
                self._goes_on()
                return
            except StoreError as error:
                if self._can_never_be_read(error, _UNREADABLE_ANSWERS):
                    yield Page([], None, unread=[_unread("", "", error)])
                    return
                self._bear(endpoint, error)
                self._left_behind = 0
        yield None

    def _page(self, walk: ListingWalk, size: PageSize) -> Page | None:
        """One page from any healthy endpoint; waits during an outage. None when the unit stops."""
        patience = _UNREADABLE_ANSWERS if size.keys == PAGE_KEYS else _UNREADABLE_KEYS if size.is_least else 1
        while endpoint := self._endpoint():
            try:
                page = endpoint.client().list_page(
                    walk.token, prefix=endpoint.store.prefix, start_after=walk.start_after, max_keys=size.keys
                )
                self._goes_on()
                return page
            except StoreError as error:
                if self._can_never_be_read(error, patience):
                    raise
                self._bear(endpoint, error)
        return None

    def _can_never_be_read(self, error: StoreError, patience: int) -> bool:
        """Whether so many consecutive responses of a healthy endpoint were unreadable that waiting does not help."""
        self._unreadable = self._unreadable + 1 if error.code == UNREADABLE else 0
        if self._unreadable < patience:
            return False
        self._unreadable = 0
        return True

    def _endpoint(self) -> Endpoint | None:
        """The endpoint for the next request, possibly after an outage. None: stop."""
        while not self._crew.stopping:
            endpoint = self._pool.pick_to_ask()
            if endpoint:
                return endpoint
            workers.beat()
            self._crew.ending.wait(0.2)
        return None

    def _bear(self, endpoint: Endpoint, error: StoreError) -> None:
        """Wait after a transient error; raise a permanent one.

        The endpoint rests if a probe confirms the error. Otherwise this page is to blame: objects are still moved, and
        a run ends after some attempts, while a service keeps trying.
        """
        stop_if_refused(error)
        if not error.trouble.is_transient:
            raise error
        _log.warning("%s; the listing continues when the endpoint has recovered", error)
        if not self._is_well(endpoint):
            endpoint.rest(str(error))
            return
        self.problem = str(error)
        self._tries += 1
        if self._until != "forever" and is_hopeless(self._tries, self._job.attempts) and error.code != UNREADABLE:
            raise error
        pause = 2.0 ** min(10, self._tries - 1) if error.code != UNREADABLE else 1.0
        workers.idle()
        self._crew.ending.wait(min(_LONGEST_PAUSE, pause))

    @staticmethod
    def _is_well(endpoint: Endpoint) -> bool:
        try:
            endpoint.probe()
        except JobStopped:
            raise
        except StoreError:
            return False
        return True

    def _goes_on(self) -> None:
        self._unreadable = self._tries = 0
        self.problem = ""

    # -- keys that cannot be moved ----------------------------------------------------------------------------

    def _pass_on(self, remarks: Mapping[str, str]) -> None:
        """Log each kind of oddity in a listing once per run."""
        for kind, remark in remarks.items():
            if kind not in self._remarked and len(self._remarked) < _MOST_REMARKS:
                self._remarked.add(kind)
                _log.warning("the source's listing: %s", remark)

    def _usable(self, objects: Sequence[ListedObject]) -> Sequence[ListedObject]:
        """The page without keys that the ledger or the destination cannot hold: each is reported once per run."""
        prefix = self._job.source.prefix if self._job.source else ""
        usable, left = keys.movable(objects, prefix)
        for listed, reason in left:
            self._refuse(listed, reason)
        self._left_behind += len(left)
        self._counters.listed.left_behind = max(self._counters.listed.left_behind, self._left_behind)
        return usable

    def _refuse(self, listed: ListedObject, reason: str) -> None:
        name = keys.readable(listed.key)
        self._leave(name, f"the object {name!r} was left at the source: {reason}", listed.size)

    def _leave_unread(self, unread: Sequence[str]) -> None:
        """Count each unreadable entry as at least one object that is left behind."""
        for what in unread:
            self._leave(what.partition(_CANNOT)[0], f"the source's listing: {what}; it is left there", UNTOLD)
        self._left_behind += len(unread)
        self._counters.listed.left_behind = max(self._counters.listed.left_behind, self._left_behind)

    def _leave(self, name: str, message: str, size: int) -> None:
        known = hash((name, message))
        if known in self._told:
            return
        is_recorded = left_behind.is_recorded(self._ledger.journal, name, message)
        if len(self._told) < _MOST_TOLD:
            self._told.add(known)
        elif is_recorded:
            return
        row = Row(0, name, size, "", 0, 0, Origin.SOURCE, State.FAILED, None, 0, "", "", 0, 0, 0)
        failure = Failure(row, "source", Trouble.UNSUPPORTED, message, left_behind.ACTION)
        if not is_recorded:  # by an earlier run: the ledger records it only once
            self._ledger.journal.record(failure)
        self._setbacks.note(failure)
        _log.error("%s", message)


class _Stopped(Exception):
    """The unit is stopping."""


def _unread(after: str, upto: str, error: StoreError) -> str:
    """A description of what cannot be read."""
    place = f"after {plain_text(after)!r}" if after else "at its beginning"
    end = f" and up to {plain_text(upto)!r}" if upto else ", and all that follows,"
    return f"what stands {place}{end}{_CANNOT}: {error.detail}; try another `list_version`, or rename it there"
