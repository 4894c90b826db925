# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Room for small work, by volume: a slow disk must not take all of it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable


class VolumeRoom:
    """Up to `capacity` pieces of work for each volume. Thread-safe.

    After `has_room` returned False, `on_room` is called once a volume has room for half of them.
    """

    def __init__(self, capacity: int, on_room: Callable[[], None]) -> None:
        self._capacity = capacity
        self._on_room = on_room
        self._held: Counter[int] = Counter()
        self._changed = threading.Condition()
        self._is_asked = False
        self._is_closed = False

    def has_room(self, volume: int) -> bool:
        """Whether `take` would not block."""
        if self._held[volume] < self._capacity or self._is_closed:
            return True
        self._is_asked = True
        return self._held[volume] < self._capacity  # it may have been given back before `_is_asked` could be seen

    def take(self, volume: int) -> None:
        """Blocks while the volume has no room; not once it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._held[volume] < self._capacity or self._is_closed)
            self._held[volume] += 1

    def give_back(self, volumes: Iterable[int]) -> None:
        """One piece of work for each."""
        with self._changed:
            self._held.subtract(volumes)
            is_enough = self._is_asked and min(self._held.values(), default=0) <= self._capacity // 2
            if is_enough:
                self._is_asked = False
            self._changed.notify_all()
        if is_enough:
            self._on_room()

    def close(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
