# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Decides whether a destination refuses single objects or everything: many refused and none accepted is everything.

Then nothing more is sent, to save bandwidth, except a few trial objects from time to time until one is accepted.
"""

from __future__ import annotations

import threading

MANY = 5  # different objects refused, for any reason, and none accepted in between
PROBES_AT_ONCE = 3  # objects tried together while everything is refused
_REMEMBERED = 10_000  # objects that were refused while others were accepted
_FIRST_PAUSE = 0.5  # seconds, doubled with every refused trial
_LONGEST_PAUSE = 600.0  # seconds between two trials


class Refusals:
    """What the destination recently refused. Thread-safe; `now` and `next_trial` are monotonic seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: set[int] = set()
        self._alone: set[int] = set()  # refused while others were accepted: no sign of a general refusal
        self.next_trial = 0.0
        self.message = ""  # the latest refusal, '' while at most single objects are refused
        self.trials = 0  # trials refused since everything is refused

    @property
    def everything(self) -> bool:
        """Whether the destination seems to refuse all uploads."""
        return bool(self.message)

    def refused(self, object_id: int, message: str, now: float) -> bool:
        """One object was refused; True when everything counts as refused from now on, to be logged once."""
        with self._lock:
            if self.message:
                self._trial_failed(message, now)
                return False
            if object_id in self._alone:
                return False
            self._objects.add(object_id)
            if len(self._objects) < MANY:
                return False
            self.message = message
            self.next_trial = now + _FIRST_PAUSE
            return True

    def _trial_failed(self, message: str, now: float) -> None:
        if now < self.next_trial:
            return  # it was in flight when the others were refused, or belongs to the same trial
        self.trials += 1
        self.message = message
        self.next_trial = now + min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**self.trials)

    def accepted(self) -> bool:
        """An object was proven; True if everything was refused before."""
        with self._lock:
            was = bool(self.message)
            self.message, self.trials = "", 0
            if len(self._alone) < _REMEMBERED:
                self._alone |= self._objects
            self._objects.clear()
            return was

    def may_try(self, now: float) -> bool:
        """Whether something may be sent now: always, or a few objects when the pause is over."""
        return not self.message or now >= self.next_trial
