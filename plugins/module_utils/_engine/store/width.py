# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How many small requests may be in flight to one endpoint in one direction: as many as bring more.

No side effects, and no clock: times are given, in seconds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ..core.model import MIB

_SAME_WORK = MIB // 8  # bytes that cost as much CPU time as a request; over links, too, large objects take longer
_WINDOW_SECONDS = 0.4  # the shortest time over which rates are compared
_WINDOW_TURNS = 3  # and each connection carried about so many objects in it
_WORTH = 0.25  # of the gain that there would be if only the way to the store took time
_ENOUGH = 0.9  # of the rate: half the requests that bring so much are as good
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0  # seconds after a trial that failed: links change
_STAY = 30.0  # seconds after trials that succeeded, up to a limit
_AFTER_SLOW = 10.0  # seconds after the store asked for less


class Window:
    """Objects that ended, and the time that they took: only times in which all that may be in flight was.

    Objects of any size are compared: their rate is that of requests, and of bytes that are as much work.
    """

    def __init__(self) -> None:
        self._count = 0
        self._size = 0  # bytes
        self._seconds = 0.0
        self._full_since: float | None = None
        self._left_out = 0

    def begin(self, left_out: int = 0) -> None:
        """A new one. The first objects are left out if they belong to what was before."""
        self._count, self._size, self._seconds, self._left_out = 0, 0, 0.0, left_out

    def add(self, count: int, size: int, now: float, *, is_full: bool) -> None:
        """`count` objects ended, with `size` bytes. `is_full`: whether more wait than may be in flight."""
        if is_full and self._full_since is not None:
            if self._left_out > 0:
                self._left_out -= count
            else:
                self._count += count
                self._size += size
                self._seconds += now - self._full_since
        self._full_since = now if is_full else None

    def rate(self, least: int) -> float | None:
        """Work per second; None: too few objects for a judgement, which needs `least`."""
        if self._count < least or self._seconds < _WINDOW_SECONDS:
            return None
        return (self._count + self._size / _SAME_WORK) / self._seconds


class Trial(NamedTuple):
    """Another number is tried: what was before, and the rate with it."""

    before: int
    rate: float


class Trials:
    """When the next trial is, longer after each that failed, and whether it is of more requests or of fewer."""

    def __init__(self) -> None:
        self.is_up_next = True
        self._growth = 2.0
        self._until = 0.0
        self._pause = _FIRST_PAUSE

    def are_due(self, now: float) -> bool:
        return now >= self._until

    def more(self, number: int) -> int:
        """The number to try after this one."""
        return math.ceil(number * self._growth)

    def failed(self, now: float, *, was_up: bool) -> None:
        self.is_up_next = not was_up
        self._until = now + self._pause
        self._pause = min(_LONGEST_PAUSE, 2 * self._pause)

    def succeeded(self, now: float, *, was_up: bool) -> None:
        """It stays so for a while, unless the next number can be tried at once."""
        self.is_up_next = was_up
        self._until = now + _STAY
        if was_up:
            self._pause = _FIRST_PAUSE

    def slowed(self, now: float) -> None:
        """The store asked for less: more is tried carefully from now on."""
        self.is_up_next = True
        self._growth = 1.5
        self._until = max(self._until, now + _AFTER_SLOW)


class Width:
    """The number of requests that may be in flight, `now`: from `first` on, at least `least`, at most `most`.

    It is doubled as long as that brings clearly more objects or bytes per second, and halved when the store refuses or
    does not answer. After a trial that failed it returns to the number before, and tries again later: fewer and more in
    turn.
    """

    def __init__(self, first: int, most: int) -> None:
        self.first = first
        self.most = max(first, most)
        self.least = 1
        self.now = first
        self._window = Window()
        self._trial: Trial | None = None
        self._trials = Trials()
        self._old = 0  # requests that were in flight when it was halved and have not ended

    def ended(self, count: int, now: float, *, is_full: bool, size: int = 0) -> bool:
        """`count` objects ended, with `size` bytes. `is_full`: whether more wait than may be in flight.

        Returns whether `now` changed.
        """
        before = self.now
        self._old = max(0, self._old - count)
        self._window.add(count, size, now, is_full=is_full)
        rate = self._window.rate(_WINDOW_TURNS * self.now)
        if rate is not None:
            self._window.begin()
            if self._trial:
                self._judge(self._trial, rate, now)
            elif self._trials.are_due(now):
                is_up = self._trials.is_up_next
                if not self._try(self._next(is_up=is_up), rate):
                    self._try(self._next(is_up=not is_up), rate)
        return self.now != before

    def slowed(self, now: float) -> bool:
        """A request was refused for now, or not answered in time. Returns whether `now` changed.

        What was in flight at that time counts once.
        """
        if self._old:
            self._old -= 1
            return False
        before = self._old = self.now
        self._trial = None
        self._trials.slowed(now)
        self._set(max(self.least, self.now // 2))
        return self.now != before

    def _judge(self, trial: Trial, rate: float, now: float) -> None:
        grown = self.now / trial.before
        is_up = grown > 1
        if rate < trial.rate * (1 + (grown - 1) * _WORTH if is_up else _ENOUGH):
            self._trial = None
            self._trials.failed(now, was_up=is_up)
            self._set(trial.before)
            return
        self._trial = None
        self._trials.succeeded(now, was_up=is_up)
        self._try(self._next(is_up=is_up), rate)

    def _next(self, *, is_up: bool) -> int:
        if is_up:
            return min(self.most, self._trials.more(self.now))
        return min(self.now, max(self.first, self.now // 2))

    def _try(self, wanted: int, rate: float) -> bool:
        """Try another number. False: it is the same."""
        if wanted == self.now:
            return False
        self._trial = Trial(self.now, rate)
        self._set(wanted)
        return True

    def _set(self, wanted: int) -> None:
        self._window.begin(left_out=max(self.now, wanted))
        self.now = wanted
