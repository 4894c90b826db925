# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Requests for a page of the source's listing that fail: what is worth waiting for, and how long."""

from __future__ import annotations

import logging

from ....core import workers
from ....core.blame import is_hopeless
from ....core.errors import JobStopped, StoreError, stop_if_refused
from ....store.answers import UNREADABLE
from ....store.endpoint import Endpoint
from ...crew import Crew
from ...pool import EndpointPool

_log = logging.getLogger("snowsync.source")
_LONGEST_PAUSE = 60.0  # maximum seconds before a page is requested again while probes succeed: 1, 2, 4 ...


class ListingOutages:
    """Waits for the lister while its requests fail. Used by its thread; others read `problem`.

    `attempts` is how often a run requests a page while probes succeed; None: a service, which keeps trying.
    """

    def __init__(self, pool: EndpointPool, crew: Crew, *, attempts: int | None) -> None:
        self.problem = ""  # why the next page does not arrive
        self._pool = pool
        self._crew = crew
        self._attempts = attempts
        self._tries = 0  # attempts for one page while probes succeed
        self._unreadable = 0  # consecutive responses that could not be read

    def endpoint(self) -> Endpoint | None:
        """The endpoint for the next request, possibly after an outage. None: stop."""
        while not self._crew.stopping:
            endpoint = self._pool.pick_to_ask()
            if endpoint:
                return endpoint
            workers.beat()
            self._crew.ending.wait(0.2)
        return None

    def is_unreadable_for_good(self, error: StoreError, patience: int) -> bool:
        """Whether so many consecutive responses of a healthy endpoint were unreadable that waiting does not help."""
        self._unreadable = self._unreadable + 1 if error.code == UNREADABLE else 0
        if self._unreadable < patience:
            return False
        self._unreadable = 0
        return True

    def bear(self, endpoint: Endpoint, error: StoreError) -> None:
        """Wait after a transient error; raise a permanent one.

        The endpoint rests if a probe confirms the error. Otherwise this page is to blame: objects are still moved, and
        a run ends after some attempts, while a service keeps trying.
        """
        stop_if_refused(error)
        if not error.trouble.is_transient:
            raise error
        _log.warning("%s; the listing continues when the endpoint has recovered", error)
        if not _is_well(endpoint):
            endpoint.rest(str(error))
            return
        self.problem = str(error)
        self._tries += 1
        if self._attempts is not None and is_hopeless(self._tries, self._attempts) and error.code != UNREADABLE:
            raise error
        workers.idle()
        self._crew.ending.wait(_pause(error, self._tries))

    def over(self) -> None:
        """A page arrived."""
        self._unreadable = self._tries = 0
        self.problem = ""


def _pause(error: StoreError, tries: int) -> float:
    """Seconds before a page is requested again from an endpoint that is well."""
    return min(_LONGEST_PAUSE, 1.0 if error.code == UNREADABLE else 2.0 ** min(10, tries - 1))


def _is_well(endpoint: Endpoint) -> bool:
    try:
        endpoint.probe()
    except JobStopped:
        raise
    except StoreError:
        return False
    return True
