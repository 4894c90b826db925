# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Retries: which errors of a request are often short-lived, and the backoff between attempts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from .errors import StoreError, Trouble

_Answered = TypeVar("_Answered")
_AGAIN = frozenset({Trouble.THROTTLED, Trouble.SERVER, Trouble.BROKEN})
_FIRST_PAUSE = 0.2  # seconds before the first retry, doubled each time


def pause(attempt: int) -> float:
    """Seconds before retry number `attempt` (from 1), with jitter for requests that failed together."""
    # Not by `random`: most starts do without, and when requests fail is no time to load it, out of descriptors perhaps.
    jitter = 0.5 + os.urandom(1)[0] / 255
    return float(_FIRST_PAUSE * 2 ** (attempt - 1) * jitter)


def is_often_over(error: StoreError) -> bool:
    """Whether an immediate retry is likely to succeed; a web page with a 4xx does not come from a busy store."""
    return error.trouble in _AGAIN and (error.trouble is not Trouble.SERVER or not 400 <= error.status < 500)


def persistently(ask: Callable[[], _Answered], retries: int) -> _Answered:
    """The result of `ask`, with up to `retries` retries after such errors. Raises the last StoreError."""
    for attempt in range(1, retries + 1):
        try:
            return ask()
        except StoreError as error:
            if not is_often_over(error):
                raise
        time.sleep(pause(attempt))
    return ask()
