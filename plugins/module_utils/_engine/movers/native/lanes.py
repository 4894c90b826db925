# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What both kinds of lanes of the native mover share: handles, and threads that start with the first work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...core import workers
from ...store.curl import MOST_HELD, Transfer, handle_options, libcurl
from ...store.timeouts import CONNECT_SECONDS

if TYPE_CHECKING:
    from ...config.job_file import Store

_BUFFER = 256 * 1024  # one for all requests of a lane
GRACE_SECONDS = 5.0


class Kit:
    """Creates the handles for one endpoint.

    `most_held`: how many bytes each request for a small object may hold in memory now.
    """

    def __init__(self, store: Store, endpoint: str, stall_seconds: float, retries: int) -> None:
        self.curl = libcurl()
        self.retries = retries
        self.most_held = MOST_HELD
        self._options = [
            *handle_options(store, endpoint, CONNECT_SECONDS, stall_seconds),
            (self.curl.BUFFERSIZE, _BUFFER),
        ]

    def prepare(self, handle: Any) -> Transfer:
        """Reset a handle, keeping its connection."""
        handle.reset()
        for option, value in self._options:
            handle.setopt(option, value)
        return Transfer(handle)


class LaneThreads:
    """`count` threads that each run `serve`, started when a lane first gets work. Thread-safe.

    `on_error` gets exceptions that end one. `disk` is the number of the volume whose files they read and write.
    """

    def __init__(
        self, count: int, serve: Callable[[], None], name: str, on_error: Callable[[BaseException], None], disk: int
    ) -> None:
        self._count = count
        self._serve = serve
        self._name = name
        self._on_error = on_error
        self._disk = disk
        self._started: list[workers.Worker] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start those that are missing."""
        with self._lock:
            while len(self._started) < self._count:
                self._started.append(workers.start(self._serve, self._name, self._on_error, disk=self._disk))

    @property
    def started(self) -> int:
        """How many were started."""
        return len(self._started)

    def join(self) -> None:
        """Wait until they have ended, for a limited time. One of them may call this too."""
        deadline = time.monotonic() + GRACE_SECONDS
        for thread in self._started:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
