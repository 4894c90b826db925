# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How many requests each lane of a mover may have in flight, while volumes have more or less work."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from ...store.width import Width
from .division import Change, Transition, divided

_log = logging.getLogger("snowsync.native")
_LOOK_SECONDS = 1.0  # between two looks at who needs how many


class Demand:
    """The work of each lane that has no outcome yet, and the most that it was since the last look."""

    def __init__(self, lanes: int) -> None:
        self.held = [0] * lanes
        self.peaks = [0] * lanes
        self._lanes: dict[int, int] = {}  # by volume

    @property
    def volumes(self) -> tuple[int, ...]:
        """In the order in which they came, which decides about their lanes."""
        return tuple(self._lanes)

    def knows(self, volume: int) -> bool:
        return volume in self._lanes

    def add(self, volume: int, count: int) -> int:
        """So many pieces of work more; the number of their lane."""
        lane = self._lanes.setdefault(volume, len(self._lanes) % len(self.held))
        self.held[lane] += count
        self.peaks[lane] = max(self.peaks[lane], self.held[lane])
        return lane

    def end(self, volumes: Iterable[int]) -> int:
        """A piece of work less for each of these; how many they were."""
        count = 0
        for volume in volumes:
            self.held[self._lanes[volume]] -= 1
            count += 1
        return count

    def look(self) -> list[int]:
        """The peaks; they begin anew."""
        peaks, self.peaks = self.peaks, list(self.held)
        return peaks


class LaneShares:
    """Counts work, and divides what `width` allows among `lanes` lanes, each of which gets `least`. Thread-safe.

    `apply` lets the lanes have their shares, and returns its members: who calls `fits` once it has no more connections
    than that, or `gone`. It also gets the volumes in the order that decides about their lanes. It must not block.
    """

    def __init__(
        self,
        width: Width,
        lanes: int,
        apply: Callable[[Change, tuple[int, ...]], Iterable[object]],
        *,
        least: int = 1,
    ) -> None:
        self._width = width
        self._least = least
        self._apply = apply
        self._demand = Demand(lanes)
        width.least = least * lanes
        self._transition = Transition(divided(width.now, [0] * lanes, least))
        self._next_look = 0.0
        self._lock = threading.RLock()

    @property
    def now(self) -> Change:
        """What the lanes have."""
        return self._transition.now

    @property
    def volumes(self) -> tuple[int, ...]:
        return self._demand.volumes

    def begin(self, volume: int, count: int = 1) -> None:
        """So many pieces of work are about to be given to the lane of a volume."""
        with self._lock:
            is_known = self._demand.knows(volume)
            lane = self._demand.add(volume, count)
            if not is_known:
                self._apply(self.now, self.volumes)
            shares = self.now.shares
            if self._demand.held[lane] > shares[lane] < self._total // len(shares):
                self._divide(time.monotonic())  # it had lent what it needs now

    def ended(self, volumes: Iterable[int], size: int = 0) -> None:
        """Pieces of work have outcomes: one for each of these; `size` bytes were moved."""
        now = time.monotonic()
        with self._lock:
            count = self._demand.end(volumes)
            if self._width.ended(count, now, size=size, is_full=self._is_full()):
                self._next_look = 0.0
            if now >= self._next_look:
                self._divide(now)

    def slowed(self) -> None:
        """A request was refused for now, or not answered in time."""
        now = time.monotonic()
        with self._lock:
            if self._width.slowed(now):
                self._divide(now)

    def fits(self, member: object, number: int) -> None:
        """A member has no more connections than a change allows."""
        with self._lock:
            self._carry_out(self._transition.done(member, number))

    def gone(self, member: object) -> None:
        """A member has ended, with all its connections."""
        with self._lock:
            self._carry_out(self._transition.gone(member))

    @property
    def _total(self) -> int:
        return max(self._width.now, self._width.least)

    def _is_full(self) -> bool:
        """Whether work waits, and no lane has connections that it does not use, except the least."""
        shares, held = self.now.shares, self._demand.held
        is_used = all(have >= share or share <= self._least for have, share in zip(held, shares, strict=True))
        return is_used and any(have > share for have, share in zip(held, shares, strict=True))

    def _divide(self, now: float) -> None:
        if not self._transition.is_over:
            self._next_look = 0.0  # soon
            return
        self._next_look = now + _LOOK_SECONDS
        total, shares = self._total, self.now.shares
        peaks = self._demand.look()
        is_short = [peak > share for peak, share in zip(peaks, shares, strict=True)]
        if sum(shares) != total or any(is_short):
            wanted = [total if short else peak for peak, short in zip(peaks, is_short, strict=True)]
            self._carry_out(self._transition.begin(divided(total, wanted, self._least)))

    def _carry_out(self, change: Change | None) -> None:
        while change:
            _log.debug("requests at once, by lane: %s", change.shares)
            change = self._transition.told(self._apply(change, self.volumes))
