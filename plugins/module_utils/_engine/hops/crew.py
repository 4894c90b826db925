# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The worker threads of a unit: an error in any of them ends the unit."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..core import workers


class Crew:
    """If a worker raises, the whole unit ends with that error, never half of it. `stop` ends it cleanly."""

    def __init__(self, name: str, stop: workers.Stop) -> None:
        self.name = name
        self.ending = threading.Event()  # the unit ends: its workers must end too
        self.error: BaseException | None = None
        self._stop = stop
        self._threads: list[workers.Worker] = []

    def spawn(self, target: Callable[[], None], name: str, disk: int = 0) -> None:
        """Start a worker. `disk`: the number of the only volume whose disk it waits for."""
        worker = workers.start(target, f"{self.name}-{name}", self.fail, self._stop.is_overdue, disk=disk)
        self._threads.append(worker)

    def fail(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error
        self.ending.set()
        self._stop.set()

    def join(self) -> None:
        self.ending.set()
        for thread in self._threads:
            thread.join()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set() or self.ending.is_set()
