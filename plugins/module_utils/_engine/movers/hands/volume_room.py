# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Room for small work, by volume: a slow disk must not take all of it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence

from ..native.lane_shares import LaneShares


class VolumeRoom:
    """About `capacity` pieces of work for each volume, which are counted in `shares` too. Thread-safe.

    After `has_room` returned False, `on_room` is called once a volume has room for half of them.
    """

    def __init__(self, capacity: int, on_room: Callable[[], None], shares: LaneShares) -> None:
        self.capacity = capacity
        self.shares = shares
        self._on_room = on_room
        self._held: Counter[int] = Counter()
        self._changed = threading.Condition()
        self._is_asked = False
        self._is_closed = False

    def has_room(self, volume: int) -> bool:
        """Whether `take` would not block."""
        if self._held[volume] < self.capacity or self._is_closed:
            return True
        self._is_asked = True
        return self._held[volume] < self.capacity  # it may have been given back before `_is_asked` could be seen

    def take(self, volume: int, count: int) -> None:
        """Blocks while the volume has no room for any of them; not once it is closed."""
        with self._changed:
            while self._held[volume] >= self.capacity and not self._is_closed:
                self._changed.wait()
            self._held[volume] += count
        self.shares.begin(volume, count)

    def give_back(self, volumes: Sequence[int], size: int = 0) -> None:
        """One piece of work for each, of which `size` bytes were moved."""
        if not volumes:
            return
        self.shares.ended(volumes, size)
        with self._changed:
            self._held.subtract(volumes)
            is_enough = self._is_asked and min(self._held.values(), default=0) <= self.capacity // 2
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
