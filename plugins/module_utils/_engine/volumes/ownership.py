# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The record of the owning ledger on a volume in use: checked, and kept up to date."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from .claims import Claim
from .folders import Folders, names_held

_REMEMBER_SECONDS = 1.0  # minimum interval between writes of the newest group to a volume


class Ownership:
    """Our claim to one volume. Thread-safe; one thread at a time writes the record."""

    def __init__(self, claim: Claim, folders: Folders, *, writable: bool) -> None:
        self._claim = claim
        self._folders = folders
        self._writable = writable
        self._remembered = (0, 0)  # the newest group that the record has
        self._remembered_at = float("-inf")
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def names_held(self) -> Iterator[None]:
        """See `OpenVolume.names_held`. OSError once another ledger stages here."""
        with names_held(self._folders.staged):
            self._claim.insist(self._folders.root)
            yield

    def remember(self, newest: Callable[[], tuple[int, int]], *, now: bool = False) -> None:
        """Let the volume know the newest group, once a second at most, or `now`; where somebody is at it, they do."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            group = newest()
            is_due = now or time.monotonic() - self._remembered_at >= _REMEMBER_SECONDS
            if is_due and group != self._remembered:
                self._write(group)
        finally:
            self._lock.release()

    def _write(self, group: tuple[int, int]) -> None:
        """Write it into the record, unless somebody holds the names: then with the next one."""
        self._remembered_at = time.monotonic()
        if self._writable:
            with contextlib.suppress(OSError), names_held(self._folders.staged, 0.0):
                self._claim.remember(self._folders.root, *group)
                self._remembered = group
