# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a run of the bench may take: what would end later is not begun."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Budget:
    """`seconds` from now on, without a limit where None; `clock` tells seconds."""

    GRACE_SECONDS = 30.0  # for a command that is longer than anyone could know

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds

    def now(self) -> float:
        """Seconds of the budget's clock, to measure what things take."""
        return self._clock()

    def allows(self, expected: float = 0.0) -> bool:
        """Whether something may begin that is expected to take so many seconds (0: not known)."""
        return self._end is None or (now := self._clock()) < self._end and now + expected <= self._end

    def left(self) -> float:
        """Seconds; infinite without a limit, negative afterwards."""
        return math.inf if self._end is None else self._end - self._clock()

    def share(self, parts: int) -> Budget:
        """The part of what is left that the next of so many equal parts may use."""
        left = None if self._end is None else max(0.0, self._end - self._clock()) / parts
        return Budget(left, self._clock)

    def timeout(self, seconds: float) -> float:
        """`seconds`, or less if the budget and its grace end before."""
        return seconds if self._end is None else min(seconds, self._end - self._clock() + self.GRACE_SECONDS)
