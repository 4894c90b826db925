# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How an object leaves the destination unit undelivered, and what is remembered of its failures until it succeeds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from ....core.bounded_notes import Notes
from ....core.model import Origin
from ....ledger.ledger import Row
from ...flight import Flight, Item
from ...setbacks import Setbacks


class Departures:
    """Objects that leave the unit, to be taken again from the ledger: `rewind` lets it be read from the beginning.

    Any thread may call these.
    """

    def __init__(self, flight: Flight, rewind: Callable[[], None]) -> None:
        self._flight = flight
        self._rewind = rewind

    def leave(self, item: Item) -> None:
        """The object leaves the unit; its row is still staged, or in the state that was recorded."""
        let_go(item)
        self._flight.leave(item.row.id)
        self._rewind()

    def has_left(self, item: Item) -> bool:
        """Whether the object has left the unit, for instance with its volume."""
        return item.row.id not in self._flight


class PastFailures:
    """What is remembered of earlier failures of objects. Any thread may call these."""

    def __init__(self, setbacks: Setbacks) -> None:
        self._setbacks = setbacks
        self._avoid: Notes[int, str] = Notes()  # endpoints that stored wrong bytes of an object

    def endpoint_to_avoid(self, row: Row) -> str:
        """The URL of an endpoint that stored wrong bytes of it; "" for none."""
        return self._avoid.get(row.id, "")

    def avoid_endpoint_of(self, item: Item) -> None:
        """The next time the object is sent to another endpoint, if there is one."""
        self._avoid[item.row.id] = item.endpoint.url

    def forget(self, row: Row) -> None:
        """Nothing is left to do for an object here: its earlier failures are forgotten."""
        self._setbacks.forgive(row.id)
        self._avoid.pop(row.id, "")


def let_go(item: Item) -> None:
    """Release a dropped file that was held open while it was sent."""
    if item.row.origin == Origin.DROP:
        with contextlib.suppress(OSError):  # swept when the volume comes back, or at the next start
            item.volume.dropped.let_go(item.row.id)
