# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The movers of one side of a job: created when needed, replaced when their credentials or folders change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from ..config.credentials import Credentials, Keys
from ..store.endpoint import Endpoint
from .port import Mover
from .tools import TOOLS, MoverSetup, tool_of


class CredentialChanges:
    """Notices when the credentials of a side change."""

    def __init__(self, keys: Keys | None) -> None:
        self._keys = keys
        self._known = self._current()

    def are_new(self) -> bool:
        """Whether they changed since this was last asked, or since the start."""
        before, self._known = self._known, self._current()
        return self._known is not before

    def _current(self) -> Credentials | None:
        return self._keys.current() if self._keys else None


class MoverSet:
    """One mover for each endpoint and tool. `get` is thread-safe; the rest is for the feeder thread."""

    def __init__(self, setup: MoverSetup, keys: Keys | None) -> None:
        self._setup = setup
        self._keeps_its_start = TOOLS[tool_of(setup.settings)].keeps_its_start
        self._credentials = CredentialChanges(keys)
        self._descriptors: tuple[int, ...] = ()
        self._making = threading.Lock()
        self._running: dict[tuple[str, str], Mover] = {}  # by URL and tool
        self._leaving: list[Mover] = []  # they get no more work, and end when theirs is done
        self._is_closed = False

    def get(self, endpoint: Endpoint, tool: str) -> Mover | None:
        """The mover of a tool at an endpoint; None once all are closed."""
        with self._making:
            if self._is_closed:
                return None
            mover = self._running.get((endpoint.url, tool))
            if mover is None or mover.is_closed:  # it failed: nothing else closes a running one
                mover = TOOLS[tool].make(self._setup, endpoint.access, self._descriptors)
                self._running[endpoint.url, tool] = mover
            return mover

    def has_room(self, endpoint: Endpoint, volume: int) -> bool:
        """Whether small work on this volume would be accepted without blocking, as far as the job's mover knows."""
        mover = self._running.get((endpoint.url, tool_of(self._setup.settings)))
        return mover is None or mover.has_room(volume)

    def set_descriptors(self, descriptors: Sequence[int]) -> None:
        """The folders movers may access. A change ends running movers: a child process keeps the descriptors it got.

        If folders were only added, work in flight is finished; if some were removed, nothing may keep them open.
        """
        before, self._descriptors = self._descriptors, tuple(descriptors)
        some_went = not set(before) <= set(self._descriptors)
        # A mover in this process can use added folders too; two at once would use twice the connections.
        if self._descriptors != before and (some_went or self._keeps_its_start):
            self._let_all_leave()
            if some_went:
                self._close_leaving(lambda _mover: True)
        self._close_leaving(lambda mover: not mover.in_flight)

    def follow_credentials(self) -> None:
        """Once the credentials changed, new work goes to movers that have the new ones."""
        if self._credentials.are_new() and self._keeps_its_start:
            self._let_all_leave()

    def traffic(self) -> int:
        """Bytes that the running movers have read and written: it grows while a long transfer makes progress."""
        return sum(mover.traffic for mover in [*self._running.values(), *self._leaving])

    def close(self) -> None:
        """End all of them; what they had in flight becomes UNKNOWN."""
        self._let_all_leave(for_good=True)
        self._close_leaving(lambda _mover: True)

    def _let_all_leave(self, *, for_good: bool = False) -> None:
        with self._making:
            self._is_closed = self._is_closed or for_good
            self._leaving += self._running.values()
            self._running = {}

    def _close_leaving(self, is_due: Callable[[Mover], bool]) -> None:
        due = [mover for mover in self._leaving if is_due(mover)]
        self._leaving = [mover for mover in self._leaving if mover not in due]
        for mover in due:
            mover.close()
