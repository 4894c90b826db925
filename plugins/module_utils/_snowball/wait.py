# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Waiting for a device: polling until it reaches a state, or until the timeout."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ansible_collections.edgeops.snowsync.plugins.module_utils._snowball.errors import (
    CommandTimedOut,
    TimedOut,
    Unreachable,
)

Value = TypeVar("Value")

SHORTEST_INTERVAL = 0.1


@dataclass(frozen=True)
class Patience:
    """The timeout and the polling interval, in seconds."""

    timeout: float
    interval: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    deadline: float = 0.0

    def begun(self) -> Patience:
        """The same timeout, but for all waits from now on together instead of for each wait."""
        return replace(self, deadline=self.clock() + self.timeout)

    def until(
        self,
        ask: Callable[[], Value],
        is_there: Callable[[Value], bool],
        *,
        doing: str,
        device: str,
        show: Callable[[Value], str] = str,
        through_silence: bool = True,
    ) -> Value:
        """Polls until `is_there` accepts the answer, and returns the answer; `is_there` may raise to give up.

        A device that does not respond is a transient error (`through_silence`): it is polled again until the timeout.
        Raises TimedOut, which names `doing` (e.g. "wait for UNLOCKED") and the last answer.
        """
        end = self.deadline or self.clock() + self.timeout
        while True:
            try:
                answer = ask()
            except (Unreachable, CommandTimedOut) as error:
                if not through_silence:
                    raise
                last = f"it does not respond ({error.cause})"
            else:
                if is_there(answer):
                    return answer
                last = f"it is {show(answer)}"
            left = end - self.clock()
            if left <= 0:
                raise TimedOut(doing, device, f"after {self.timeout:g} seconds {last}")
            self.sleep(min(self.interval, left))


def patience_of(options: Mapping[str, Any]) -> Patience:
    """From the options of WAIT, but never without a pause."""
    return Patience(options["timeout"], max(options["poll_interval"], SHORTEST_INTERVAL))
