# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What a unit shows to those who watch it: what it is doing, since when it has not moved, and how its run ended."""

from __future__ import annotations

import time


class Activity:
    """Written by the unit's threads, read by the main thread."""

    def __init__(self) -> None:
        self.status = "starting"
        self.heartbeat = time.monotonic()  # when its feeder last moved
        self.waiting_for = ""  # the status when the deadline passed
        self.unserved = ""  # set if this run ends because the store answers but serves no objects
        self.is_complete = False  # it ended because nothing was left to do
        self.has_ended = False

    def beat(self) -> None:
        """The feeder moves; also called during a long step of it."""
        self.heartbeat = time.monotonic()

    def deadline_passed(self) -> None:
        """The run is about to be stopped: keep what it was doing, unless it had ended."""
        self.waiting_for = "" if self.has_ended else self.status

    def stopped(self, error: BaseException | None) -> None:
        """All threads of the unit ended, or are not waited for any longer; `error` is what ended it."""
        self.status = f"stopped: {error}" if error else "stopped"
