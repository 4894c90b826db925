# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The interface of a mover, whichever tool it drives."""

from __future__ import annotations

from typing import Protocol

from ..core.model import Fetch, Send


class Mover(Protocol):
    """Moves objects between one bucket at one endpoint and local files. It knows nothing of the ledger.

    Each submitted work gets one Outcome, through the callback that the mover was created with: from a thread of the
    mover, or from `submit` for work that never started.
    """

    @property
    def is_closed(self) -> bool:
        """Whether it accepts no more work: it was closed, or it failed."""

    @property
    def in_flight(self) -> int:
        """How many pieces of work have no outcome yet."""

    @property
    def traffic(self) -> int:
        """Approximate bytes moved so far: it grows while anything moves."""

    def has_room(self, volume: int) -> bool:
        """Whether small work on this volume would be accepted without blocking, as far as it knows."""

    def submit(self, *works: Fetch | Send) -> None:
        """Accept work on one volume; may block while the queue is full."""

    def close(self) -> None:
        """End; what is in flight gets UNKNOWN, unless its outcome still comes."""
