# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The hands of one mover: started when there is work for them, and replaced when they end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from ...core.model import Fetch, Send
from .channel import Message
from .hand_process import HandProcess

_log = logging.getLogger("snowsync.native")
_AT_ONCE = 32  # pieces of work that are given together, to as many hands as there are
_WORTH_ANOTHER = 32  # pieces of work that each hand has before another one is started
_FUTILE = 5  # hands in a row that ended without any outcome: more would not help


class Hands:
    """Up to `count` hands. `make` starts one, with the name of its number. Any thread may call these."""

    def __init__(self, count: int, make: Callable[[int], HandProcess]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._hands: list[HandProcess | None] = [None] * count
        self._futile = 0
        self._is_closed = False
        self._traffic = 0  # bytes that hands moved that have ended

    def give(self, *works: Fetch | Send) -> list[Fetch | Send]:
        """Give work, some of it at a time, to the hand that has the least. Returns what none takes."""
        left: list[Fetch | Send] = []
        at_once = max(1, _AT_ONCE // len(self._hands))
        for first in range(0, len(works), at_once):
            some = works[first : first + at_once]
            try:
                is_given = self._is_given(some)
            except OSError as error:  # the folder of a file is closed
                _log.debug("%d objects stay here: %s", len(some), error.strerror)
                is_given = False
            if not is_given:
                left += some
        return left

    def _is_given(self, works: Sequence[Fetch | Send]) -> bool:
        """False: there is no hand, and none can be started."""
        while not (self._is_closed or self.are_useless):
            hand = self._least_busy()
            if hand is None:
                return False
            if hand.given.add(*works):
                return True
            self._replaced(hand)
        return False

    def say(self, message: Message) -> list[HandProcess]:
        """To all of them, which this returns. One that is made meanwhile is told too, after its first message."""
        with self._lock:
            living = self._living()
        for hand in living:
            hand.given.say(message)
        return living

    def has_told(self) -> None:
        """A hand told an outcome."""
        self._futile = 0

    def has_ended(self, hand: HandProcess) -> bool:
        """Returns whether hands are of no use any more."""
        with self._lock:
            self._traffic += hand.traffic
            self._hands = [None if each is hand else each for each in self._hands]
            if not self._is_closed:
                self._futile += 1
            return self.are_useless

    @property
    def are_useless(self) -> bool:
        """Whether none is started any more, since too many ended without any outcome."""
        return self._futile >= _FUTILE

    @property
    def in_flight(self) -> int:
        return sum(len(hand.given) for hand in self._living())

    @property
    def traffic(self) -> int:
        return self._traffic + sum(hand.traffic for hand in self._living())

    def kill(self) -> None:
        """End all of them; none is started any more."""
        with self._lock:
            self._is_closed = True
        for hand in self._living():
            hand.kill()

    def join(self) -> None:
        """Wait until all have ended, for a limited time."""
        for hand in self._living():
            hand.join()

    def _living(self) -> list[HandProcess]:
        return [hand for hand in self._hands if hand]

    def _least_busy(self) -> HandProcess | None:
        living = self._living()
        least = min(living, key=lambda hand: len(hand.given), default=None)
        if least and (len(living) == len(self._hands) or len(least.given) < _WORTH_ANOTHER):
            return least
        return self._another() or least

    def _another(self) -> HandProcess | None:
        """Start one in the first free place."""
        with self._lock:
            free = next((number for number, hand in enumerate(self._hands) if hand is None), None)
            if free is None or self._is_closed:
                return None
            made = self._hands[free] = self._make(free)
            return made

    def _replaced(self, ended: HandProcess) -> None:
        """One that takes no more leaves its place before it has told so."""
        with self._lock:
            self._hands = [None if each is ended else each for each in self._hands]
