# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The workers of a unit: none of them dies unseen."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..core import workers


class Crew:
    """If one of them raises, the whole unit ends with that error: no half-dead unit. `stop` ends it in order."""

    def __init__(self, name: str, stop: workers.Stop) -> None:
        self.name = name
        self.ending = threading.Event()  # the unit ends: its workers leave
        self.error: BaseException | None = None
        self._stop = stop
        self._threads: list[workers.Worker] = []

    def spawn(self, target: Callable[[], None], name: str, disk: int = 0) -> None:
        """Start a worker. `disk`: the number of the volume whose medium it waits for, and no other one's."""
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
