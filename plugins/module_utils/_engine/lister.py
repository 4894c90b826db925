# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Walking the source: page after page into the ledger, never a whole bucket in memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .endpoints import Endpoint, lists_whole
from .errors import JobStopped, StoreError, Trouble
from .ledger import Failure, Row
from .model import LONGEST_KEY, ListedObject, Origin, Page, State

if TYPE_CHECKING:
    from .source import SourceUnit

_log = logging.getLogger("snowsync.source")
_REVIVE_SECONDS = 3600.0  # a service gives failed objects a new chance this often


class Lister:
    """The source unit's lister thread: passes over the source and over the drop folders."""

    def __init__(self, unit: SourceUnit) -> None:
        self._unit = unit
        self.finished = False  # at least one whole pass is done
        self.saw_changes = True  # a new generation may have made staged files obsolete
        self._revived = time.monotonic()
        self._told: set[str] = set()

    def run(self) -> None:
        unit = self._unit
        while not unit.stopping:
            if self._pass():
                unit.counters.passes += 1
                self.finished = True
                unit.switches.space.set()  # the feeder may be waiting for nothing else
                if unit.until != "forever":
                    return
                self._revive()
                unit.ending.wait(unit.job.pass_interval)

    def _revive(self) -> None:
        if time.monotonic() - self._revived >= _REVIVE_SECONDS:
            self._revived = time.monotonic()
            self._unit.ledger.revive()

    def _pass(self) -> bool:
        """One walk. False when it was stopped before its end."""
        unit = self._unit
        objects = size = 0
        gone = unit.ledger.gone_keys()
        for page in self._pages():
            if page is None:
                return False
            if gone:
                gone.difference_update(each.key for each in page.objects)
            listed = self._usable(page.objects)
            observed = unit.ledger.observe(listed)
            self.saw_changes = self.saw_changes or observed.changed > 0
            objects += len(listed)
            size += sum(each.size for each in listed)
            unit.counters.listed_objects, unit.counters.listed_bytes = objects, size
            if observed.new or observed.changed:
                unit.switches.space.set()
        self._forget(gone)
        return unit.scanner.scan_until_settled()

    def _forget(self, gone: set[str]) -> None:
        """Objects that were listed and not there, and are not listed any more, have left the source."""
        if gone and self._unit.job.source:
            reason = "the source listed it once, did not have it, and does not list it any more"
            for key in self._unit.ledger.forget_gone(gone, self._unit.on_their_way(), reason):
                _log.info("%r left the source before it was fetched: forgotten", key)

    # -- pages ------------------------------------------------------------------------------------------------

    def _pages(self) -> Iterator[Page | None]:
        """The whole listing; None instead of a page when the unit stops before its end."""
        store = self._unit.job.source
        if store is None:
            return
        yield from self._whole() if lists_whole(store) else self._paged()

    def _paged(self) -> Iterator[Page | None]:
        token: str | None = None
        begun_anew = False
        while True:
            try:
                page = self._page(token)
            except StoreError as error:
                # A token may be worth nothing at another endpoint, or after a restart of the store.
                if token is None or begun_anew or isinstance(error, JobStopped):
                    raise
                _log.warning("%s; the listing begins anew", error)
                token, begun_anew = None, True
                continue
            yield page
            if page is None or page.next_token is None:
                return
            token = page.next_token

    def _whole(self) -> Iterator[Page | None]:
        """One answer of any size, read as it comes; begun anew after an outage, which the ledger does not mind."""
        unit = self._unit
        while endpoint := self._endpoint():
            try:
                for page in endpoint.wire().list_whole(prefix=endpoint.store.prefix):
                    yield page
                    if unit.stopping:
                        yield None
                        return
                return
            except StoreError as error:
                self._bear(endpoint, error)
        yield None

    def _page(self, token: str | None) -> Page | None:
        """One page, from whichever endpoint is well; waits out an outage. None when the unit stops."""
        while endpoint := self._endpoint():
            try:
                return endpoint.wire().list_page(token, prefix=endpoint.store.prefix)
            except StoreError as error:
                self._bear(endpoint, error)
        return None

    def _endpoint(self) -> Endpoint | None:
        """Who is asked next, perhaps after an outage, during which the drop folders are looked after. None: stop."""
        unit = self._unit
        while not unit.stopping:
            endpoint = unit.endpoints.pick()
            if endpoint:
                return endpoint
            unit.scanner.scan_meanwhile()
            unit.ending.wait(0.2)
        return None

    @staticmethod
    def _bear(endpoint: Endpoint, error: StoreError) -> None:
        """Let an endpoint rest after its weather; raise what waiting cannot mend."""
        if error.trouble.stops_job:
            raise JobStopped(error.trouble, error.action, error.detail, code=error.code, status=error.status) from error
        if not error.trouble.is_weather:
            raise error
        _log.warning("%s; the listing goes on when the endpoint is well", error)
        endpoint.rest(str(error))

    # -- keys that cannot be moved ----------------------------------------------------------------------------

    def _usable(self, objects: Sequence[ListedObject]) -> Sequence[ListedObject]:
        """The page without keys that no ledger, or no destination, can hold: each is named once."""
        prefix = self._unit.job.source.prefix if self._unit.job.source else ""
        if all(_is_plain(listed.key, prefix) for listed in objects):
            return objects
        usable = []
        for listed in objects:
            refusal = _refusal(listed.key, prefix)
            if refusal:
                self._refuse(listed, refusal)
            else:
                usable.append(listed)
        return usable

    def _refuse(self, listed: ListedObject, reason: str) -> None:
        name = listed.key.encode(errors="surrogateescape").decode(errors="backslashreplace")
        if name in self._told:
            return
        self._told.add(name)
        row = Row(0, name, listed.size, "", 0, 0, Origin.SOURCE, State.FAILED, None, 0, "", "", 0, 0, 0)
        message = f"the object {name!r} was left at the source: {reason}"
        failure = Failure(row, "source", Trouble.UNSUPPORTED, message, "left at the source")
        self._unit.ledger.record(failure)
        self._unit.note(failure)
        _log.error("%s", message)


def _is_plain(key: str, prefix: str) -> bool:
    return key.isascii() and 0 < len(key) <= LONGEST_KEY and key.startswith(prefix)


def _refusal(key: str, prefix: str) -> str:
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        return "its key is not valid UTF-8, which S3 demands; rename it there"
    if not key:
        return "its key is empty"
    if length > LONGEST_KEY:
        return f"its key has {length} bytes, S3 allows {LONGEST_KEY}; rename it there"
    if not key.startswith(prefix):
        return f"its key does not begin with the prefix {prefix!r} that was asked for; the store ignores it"
    return ""
