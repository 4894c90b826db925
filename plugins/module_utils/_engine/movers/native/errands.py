# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The errands of a lane of small objects, and how they wait: for a connection, or for their next attempt."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ...core.model import Head
from .requests import Request


class LaneFailed(Exception):
    """A lane itself failed: the work it had in flight is not to blame."""


class Errand:
    """One small piece of work: its request, created for every attempt, and the callback for its result.

    `size`: bytes of the object.
    """

    def __init__(
        self, make: Callable[[], Request], told: Callable[[Head | Exception | None], None], size: int = 0
    ) -> None:
        self.size = size
        self.make = make
        self.tell = told  # None: it was given up, its progress is unknown
        self.attempts = 0
        self.request: Request | None = None


class Sleeper(NamedTuple):
    """How to wake the thread that takes errands while it waits. It can begin another one now, or it cannot."""

    wake: Callable[[], None]
    can_begin: bool


class Bell(threading.Condition):
    """Also remembers that the thread that takes errands is to have a turn, whatever it waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.has_rung = False


class ErrandQueue:
    """Errands that wait for a connection, about `capacity` of them. Any thread adds some, one thread takes them.

    After `has_room` returned False, `on_room` is called once there is room again.
    """

    def __init__(self, capacity: int, on_room: Callable[[], None]) -> None:
        self.capacity = capacity
        self._on_room = on_room
        self._waiting: deque[Errand] = deque()
        self._changed = Bell()
        self._sleeper: Sleeper | None = None  # the thread that takes errands, while it waits and was not woken
        self._is_blocked = False  # a caller of `add` waits for room
        self._is_asked = False  # `has_room` has returned False
        self.is_closed = False

    def has_room(self) -> bool:
        """Whether `add` would not block."""
        if len(self._waiting) < self.capacity or self.is_closed:
            return True
        self._is_asked = True
        # The queue may have been emptied before `tell_room` could see `_is_asked`.
        return len(self._waiting) < self.capacity

    def add(self, *errands: Errand) -> bool:
        """Blocks while the queue is full: if there is room for one, it takes all. False: it is closed."""
        with self._changed:
            while len(self._waiting) >= self.capacity and not self.is_closed:
                self._is_blocked = True
                self._changed.wait()
            if self.is_closed:
                return False
            self._waiting.extend(errands)
            if self._sleeper and self._sleeper.can_begin:
                self._wake(self._sleeper)
            return True

    def close(self) -> None:
        """Whoever waits for room or for an errand continues."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()
            if self._sleeper:
                self._wake(self._sleeper)

    def call(self) -> None:
        """Let the thread that takes errands have a turn."""
        with self._changed:
            self._changed.has_rung = True
            if self._sleeper:
                self._wake(self._sleeper)

    def _wake(self, sleeper: Sleeper) -> None:
        self._sleeper = None  # once is enough
        sleeper.wake()

    # -- for the thread that takes them -------------------------------------------------------------------------

    def wait(self, longest: float | None = None) -> bool:
        """Wait for an errand or a call, at most `longest` seconds. False: the queue is closed."""
        with self._changed:
            self._let_in()  # a caller may have begun to wait after `tell_room` looked
            self._sleeper = Sleeper(self._changed.notify_all, can_begin=True)
            self._changed.wait_for(lambda: self._waiting or self._changed.has_rung or self.is_closed, longest)
            self._sleeper = None
            self._changed.has_rung = False
            return not self.is_closed

    def is_left_to(self, sleeper: Sleeper) -> bool:
        """Whether `sleeper` may wait for something else; it is woken when there is a reason, until `is_back`."""
        with self._changed:
            self._let_in()  # as above
            if self.is_closed or self._changed.has_rung or (self._waiting and sleeper.can_begin):
                return False
            self._sleeper = sleeper
            return True

    def is_back(self) -> None:
        """Whoever was named to `is_left_to` does not wait any more, and is not woken from here on."""
        with self._changed:
            self._sleeper = None
            self._changed.has_rung = False

    def take(self) -> Errand | None:
        """The first errand; None if there is none, or the queue is closed."""
        return self._waiting.popleft() if self._waiting and not self.is_closed else None

    def put_first(self, errand: Errand) -> None:
        """Add one that was taken before; never blocks."""
        self._waiting.appendleft(errand)

    def tell_room(self) -> None:
        """Tell whoever waits for room, if some has become free."""
        if self._is_asked and len(self._waiting) <= self.capacity // 2:
            self._is_asked = False
            self._on_room()
        if self._is_blocked:
            with self._changed:
                self._let_in()

    def _let_in(self) -> None:
        if self._is_blocked and len(self._waiting) < self.capacity:
            self._is_blocked = False
            self._changed.notify_all()

    def drop(self) -> list[Errand]:
        """Remove and return all."""
        with self._changed:
            left = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        return left


class Retries:
    """Errands that failed and wait for their next attempt. For one thread."""

    def __init__(self) -> None:
        self._later: list[tuple[float, Errand]] = []  # with the time of the monotonic clock

    def add(self, errand: Errand, seconds: float) -> None:
        """Its next attempt is due in so many seconds."""
        self._later.append((time.monotonic() + seconds, errand))
        self._later.sort(key=lambda entry: entry[0])

    def take_due(self) -> Errand | None:
        """The first one that is due."""
        return self._later.pop(0)[1] if self._later and self._later[0][0] <= time.monotonic() else None

    def seconds_left(self) -> float | None:
        """Until the next attempt; None: there is none."""
        return max(0.0, self._later[0][0] - time.monotonic()) if self._later else None

    def drop(self) -> list[Errand]:
        """Remove and return all."""
        left = [errand for _due, errand in self._later]
        self._later.clear()
        return left
