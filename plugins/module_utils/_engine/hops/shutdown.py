# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The end of a unit: every step is carried out even if others fail, and none is waited for too long."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ..core import workers
from .crew import Crew

_log = logging.getLogger("snowsync.unit")
_END_SECONDS = 14.0  # how long after a stop the unit waits for its workers and for the volumes
_LEAST_END_SECONDS = 0.5  # minimum for each step, however late it is


class Shutdown:
    """Carries out the last steps of a unit, each in a thread of its own."""

    def __init__(self, crew: Crew, stop: workers.Stop) -> None:
        self._crew = crew
        self._stop = stop

    def is_in_time(self, step: Callable[[], None]) -> bool:
        """Carry out a step. False: it hangs after a stop; the next start does what it would have done."""
        worker = workers.start(step, f"{self._crew.name}-end", self._ended_badly)
        began = time.monotonic()
        while worker.is_alive():
            worker.join(0.05)
            if self._stop.seconds > _END_SECONDS and time.monotonic() - began > _LEAST_END_SECONDS:
                return False
        return True

    def _ended_badly(self, error: BaseException) -> None:
        _log.error("the %s unit could not shut down cleanly: %s", self._crew.name, error)
        self._crew.fail(error)
