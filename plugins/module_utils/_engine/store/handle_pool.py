# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The libcurl handles of one endpoint: how they are made, and which of them are kept idle, with their connections."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .connections import Permits
from .crew import Crew
from .curl import Transfer, goes_on, handle_options, libcurl
from .multi import Multi

if TYPE_CHECKING:
    from ..config.job_file import Store

_UNBOUNDED = 1 << 30


class HandleMaker:
    """Makes handles for one endpoint. `stall_seconds` is their default timeout: that of a HEAD."""

    def __init__(self, store: Store, endpoint: str, connect_timeout: float, stall_seconds: float) -> None:
        self._curl = libcurl()
        self._options = handle_options(store, endpoint, connect_timeout, stall_seconds)
        self._stall_seconds = stall_seconds

    def transfer(self, *, body: bool) -> Transfer:
        """A handle for GETs (`body`) or HEADs."""
        curl = self._curl.Curl()
        for option, value in self._options:
            curl.setopt(option, value)
        make_ready(curl, body=body)
        return Transfer(curl, self._be_patient)

    def crew(self, size: int, *, body: bool) -> Crew:
        return Crew(Multi(size), [self.transfer(body=body) for _number in range(size)])

    def _be_patient(self, curl: Any) -> None:
        """Set the default timeouts."""
        curl.setopt(self._curl.LOW_SPEED_TIME, max(1, round(self._stall_seconds)))
        # Called at least once a second, whatever the store does.
        curl.setopt(self._curl.XFERINFOFUNCTION, lambda *_progress: not goes_on())
        curl.setopt(self._curl.NOPROGRESS, 0)


def make_ready(curl: Any, *, body: bool) -> None:
    """Set a handle up for GETs or HEADs. For HEADs libcurl ignores the length: it rejects an odd one."""
    curl.setopt(curl.HTTPGET if body else curl.NOBODY, 1)
    curl.setopt(curl.IGNORE_CONTENT_LENGTH, 0 if body else 1)


class HandlePool:
    """Handles for the requests of all threads, each with its connection. Thread-safe.

    `crew_size` tells the size of a whole crew. `permits` limits all connections together, including idle ones (None:
    no limit); idle ones are closed when another request needs a permit.
    """

    def __init__(self, maker: HandleMaker, crew_size: Callable[[], int], permits: Permits | None) -> None:
        self._crew_size = crew_size
        self._maker = maker
        self._permits = permits or Permits(_UNBOUNDED)
        self._permits.spare = self._close_spare
        # deque.append and .pop are atomic, so idle handles need no lock.
        self._heads: deque[Transfer] = deque()
        self._bodies: deque[Transfer] = deque()
        self._crews: deque[Crew] = deque()

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

    # --- single handles

    def take(self, *, body: bool) -> Transfer:
        """A handle for a GET (`body`) or a HEAD; waits until a connection is free."""
        with contextlib.suppress(IndexError):
            return self._idle(body=body).pop()
        self._permits.take()
        return self._maker.transfer(body=body)

    def put_back(self, transfer: Transfer, *, body: bool) -> None:
        self._idle(body=body).append(transfer)
        self._permits.tell()

    def _idle(self, *, body: bool) -> deque[Transfer]:
        return self._bodies if body else self._heads

    # --- several at once

    @property
    def connections(self) -> int:
        """The size of a whole crew now."""
        return self._crew_size()

    def take_crew(self, size: int) -> Crew | None:
        """A crew for `size` HEADs at once, or for as many as there are free connections; None if none is free."""
        if self._is_apart(size):
            return self._made_crew(size)
        whole = self.connections
        with contextlib.suppress(IndexError):
            kept = self._crews.pop()
            if whole < 2 * len(kept.transfers) <= 2 * whole:
                return kept
            self._permits.give_back(self._close_crew(kept))  # the size of a whole one has changed
        return self._made_crew(whole)

    def put_back_crew(self, crew: Crew, size: int) -> None:
        """Return a crew that was taken for `size` HEADs."""
        if self._is_apart(size) or crew.multi.is_dead:
            self._permits.give_back(self._close_crew(crew))
            return
        crew.abandon()
        self._crews.append(crew)
        self._permits.tell()

    def _is_apart(self, size: int) -> bool:
        """Whether a crew is made for this occasion: a possibly long wait must not hold more connections than needed."""
        return size < self.connections

    def _made_crew(self, connections: int) -> Crew | None:
        """A crew with as many free connections as possible, at most `connections`; None if none is free."""
        # If the number is limited, one is reserved for the reason of a rejected HEAD.
        reserve = int(self._permits.limit < _UNBOUNDED)
        count = self._permits.take_some(connections + reserve)
        if count <= reserve:
            self._permits.give_back(count, of_set=True)
            return None
        try:
            crew = self._maker.crew(count - reserve, body=False)
        except OSError:  # no descriptor is left
            self._permits.give_back(count, of_set=True)
            raise
        crew.spare = [self._maker.transfer(body=True) for _number in range(reserve)]
        return crew

    def _close_crew(self, crew: Crew) -> int:
        """Close a crew; returns the number of its connections, whose permits the caller gives back."""
        crew.close()
        count = len(crew.transfers) + len(crew.spare)
        self._permits.is_no_set(count)
        return count

    @contextlib.contextmanager
    def body_crew(self) -> Iterator[Crew]:
        """A crew for one GET whose caller works while the body arrives; its connection is closed afterwards."""
        self._permits.take()
        try:
            crew = self._maker.crew(1, body=True)
            try:
                yield crew
            finally:
                crew.close()
        finally:
            self._permits.give_back()
