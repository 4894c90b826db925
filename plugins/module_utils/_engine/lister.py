# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Walking the source: page after page into the ledger, never a whole bucket in memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .endpoints import Endpoint, lists_whole
from .errors import JobStopped, StoreError
from .model import Page

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
        for page in self._pages():
            if page is None:
                return False
            observed = unit.ledger.observe(page.objects)
            self.saw_changes = self.saw_changes or observed.changed > 0
            objects += len(page.objects)
            size += sum(listed.size for listed in page.objects)
            unit.counters.listed_objects, unit.counters.listed_bytes = objects, size
            if observed.new or observed.changed:
                unit.switches.space.set()
        return unit.scanner.scan_until_settled()

    def _pages(self) -> Iterator[Page | None]:
        """The whole listing; None instead of a page when the unit stops before its end."""
        store = self._unit.job.source
        if store is None:
            return
        if lists_whole(store):
            yield from self._whole()
            return
        token: str | None = None
        while True:
            page = self._page(token)
            yield page
            if page is None or page.next_token is None:
                return
            token = page.next_token

    def _whole(self) -> Iterator[Page | None]:
        """One answer of any size, read as it comes; begun anew after an outage, which the ledger does not mind."""
        unit = self._unit
        while not unit.stopping:
            endpoint = unit.endpoints.pick()
            if endpoint is None:
                unit.ending.wait(0.2)
                continue
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
        unit = self._unit
        while not unit.stopping:
            endpoint = unit.endpoints.pick()
            if endpoint is None:
                unit.ending.wait(0.2)
                continue
            try:
                return endpoint.wire().list_page(token, prefix=endpoint.store.prefix)
            except StoreError as error:
                self._bear(endpoint, error)
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
