# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The steps of a large object, and what came of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from ...core.model import Head
from .stream_lane import Stream, StreamClosed, StreamLane

Step: TypeAlias = "Callable[[Stream], Head | None]"


class Steps:
    """Carries out steps in the streams of a lane. When none is left, `finish` is called in the last one's stream.

    Steps that have not started are skipped after an error, and once the lane is closed: `finish` gets None then.
    """

    def __init__(self, lane: StreamLane, finish: Callable[[Stream | None], None]) -> None:
        self._lane = lane
        self._finish = finish
        self._left = 0
        self._lock = threading.Lock()
        self.head: Head | None = None  # of the last response
        self.error: Exception | None = None  # the first one
        self.is_closed = False  # the mover was closed before the object was done

    def submit(self, *steps: Step) -> None:
        with self._lock:
            self._left += len(steps)
        self._lane.submit(*(self._guarded(step) for step in steps))

    def start_over(self, step: Step) -> None:
        """Forget what came of the steps so far: none is left."""
        self.error, self.head = None, None
        self.submit(step)

    def failed(self, error: Exception) -> None:
        """The object has failed, in a step or after the last one; only the first error counts."""
        with self._lock:
            self.error = self.error or error

    def _guarded(self, step: Step) -> Callable[[Stream | None], None]:
        def run(stream: Stream | None) -> None:
            try:
                if stream is None:
                    raise StreamClosed
                if not self.is_closed and self.error is None:
                    self.head = step(stream) or self.head
            except StreamClosed:
                self.is_closed = True
            except Exception as error:  # the work must get its outcome in any case
                self.failed(error)
            with self._lock:
                self._left -= 1
                is_last = self._left == 0
            if is_last:
                self._finish(stream)

        return run
