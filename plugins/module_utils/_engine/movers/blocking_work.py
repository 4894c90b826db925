# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Threads for work that blocks its caller until an object is done."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable

from ..core import workers
from ..core.model import Fetch, Send

_log = logging.getLogger("snowsync.endpoints")
_WORKERS = 2
_GRACE_SECONDS = 5.0


class BlockingWork:
    """Runs steps in `_WORKERS` threads, started when first needed.

    If a step raises, `failed` is called with its work and the thread continues; `on_error` gets what `failed` raises.
    Not a ThreadPoolExecutor: at exit the interpreter would wait for an upload that may take hours.
    """

    def __init__(
        self,
        name: str,
        failed: Callable[[Fetch | Send, Exception], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._name = name
        self._failed = failed
        self._on_error = on_error
        self._queue: queue.SimpleQueue[tuple[Fetch | Send, Callable[[], None]] | None] = queue.SimpleQueue()
        self._threads: list[workers.Worker] = []
        self._closed = False

    def submit(self, work: Fetch | Send, step: Callable[[], None]) -> None:
        """Never blocks."""
        if len(self._threads) < _WORKERS:
            self._threads.append(workers.start(self._run, self._name, self._on_error))
        self._queue.put((work, step))

    def _run(self) -> None:
        while (task := self._next()) and not self._closed:
            work, step = task
            try:
                with workers.asking():
                    step()
            except Exception as error:
                _log.exception("%r failed in a thread of the endpoint", work.key)
                self._failed(work, error)

    def _next(self) -> tuple[Fetch | Send, Callable[[], None]] | None:
        workers.idle()
        return self._queue.get()

    def close(self) -> None:
        """Drop what has not started, wait a little for what has, then abandon it: nothing relies on it."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        deadline = time.monotonic() + _GRACE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
