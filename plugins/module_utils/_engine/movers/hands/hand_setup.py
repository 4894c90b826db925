# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How many hands there are, how they share the connections, and what each is told first. No side effects."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ...config.credentials import Keys
from ...config.job import MoverSettings, Store
from ...store.encodings import PACKED, Packing
from .channel import Message
from .hand_keys import say_keys
from .messages import SETUP

_LARGEST = 1 << 62  # bytes: more than any object has
_MOST = 4  # of one direction: the process that decides has no more work for them


def usual_count(cores: int) -> int:
    """The number of hands for one direction on a machine with so many cores; 0: everything in one process."""
    return 0 if cores < 2 else max(1, min(_MOST, cores // 3))


def hand_count(lanes: tuple[int, ...], count: int) -> int:
    """How many hands there are: each lane is in every hand, so fewer than `count` if there are few connections."""
    return max(1, min(count, *lanes))


def hand_widths(lanes: Sequence[int], number: int, count: int) -> tuple[int, ...]:
    """The connections of each lane in one hand of `count`, which has at least one of each."""
    return tuple(lane // count + (number < lane % count) for lane in lanes)


def setup_message(
    store: Store,
    endpoint: str,
    keys: Keys,
    settings: MoverSettings,
    *,
    direction: str,
    place: tuple[int, int],
    widths: Message,
    packing: Packing,
) -> Message:
    """The first message to a hand. It holds the secret key: it must not be logged.

    `place`: its number, and of how many hands. `widths`: the last WIDTHS.
    """
    setup: dict[str, Any] = {
        "store": {
            "bucket": store.bucket,
            "region": store.region,
            "endpoints": tuple(store.endpoints),
            "etag": store.etag,
            "addressing": store.addressing,
        },
        "ca_bundle": str(store.ca_bundle or ""),
        "settings": {
            # A hand gets what is small by the job's own limit, and must move it as such, in one request: what it says
            # of an object has no room for parts.
            "large_object": _LARGEST,
            "part_size": settings.part_size,
            "retries": settings.retries,
            "stall_seconds": settings.stall_seconds,
            "answer_seconds": settings.answer_seconds,
        },
        "endpoint": endpoint,
        "direction": direction,
        "place": place,
        "widths": widths,
        "packs": packing.welcome == PACKED,
        "keys": say_keys(keys.current(), may_change=keys.may_change()),
        "log_level": logging.getLogger("snowsync").getEffectiveLevel(),
    }
    return SETUP, setup
