# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Messages between the two processes of a run: one JSON object per line over a socket pair.

A message is a name with a value. Whoever posts never waits: a thread sends, and if the other process does not read, the
newest value of each name waits. A message holds nothing secret.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
from collections.abc import Callable, Iterator

from ..core import workers

GO = "go"  # to the destination unit: begin
DEADLINE = "deadline"  # to the destination unit: the run's time is over, a stop follows
SHOWN = "shown"  # of the destination unit: what it is doing
SIGNAL = "signal"  # its process was sent this signal
END = "end"  # what it has done
ERROR = "error"  # what ended it


class Link:
    """One end of the connection. `post` may be called by any thread, and by a signal handler."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._posts: queue.SimpleQueue[tuple[str, object] | None] = queue.SimpleQueue()  # None: no more
        self._writer = workers.start(self._write, "link-writer", self._failed, is_watched=False)

    def listen(self, take: Callable[[str, object], None], lost: Callable[[BaseException | None], None]) -> None:
        """Call `take` for each message of the other process, and `lost` once there will be no more.

        `lost` gets what `take` raised, or None if the other process closed its end, or died.
        """

        def read() -> None:
            for name, value in self._messages():
                take(name, value)
            lost(None)

        workers.start(read, "link-reader", lost, is_watched=False)

    def post(self, name: str, value: object = True) -> None:
        self._posts.put((name, value))

    def close(self, seconds: float) -> None:
        """Send what was posted, for at most so long, and close this end."""
        self._posts.put(None)
        self._writer.join(seconds)
        with contextlib.suppress(OSError):  # it may be closed at the other end
            self._channel.shutdown(socket.SHUT_RDWR)
        self._channel.close()

    def _messages(self) -> Iterator[tuple[str, object]]:
        with self._channel.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                if line.endswith(b"\n"):  # else it died while it wrote
                    yield from json.loads(line).items()

    def _write(self) -> None:
        is_open = True
        while is_open:
            pending: dict[str, object] = {}
            posted = self._posts.get()
            while posted is not None:
                pending.pop(posted[0], None)  # in the order of the newest values
                pending[posted[0]] = posted[1]
                if self._posts.empty():
                    break
                posted = self._posts.get()
            is_open = posted is not None
            if pending:
                self._channel.sendall(json.dumps(pending).encode() + b"\n")

    def _failed(self, error: BaseException) -> None:
        """The other process has gone, which the reader sees too; or a message cannot be sent, which ends both."""
        if not isinstance(error, OSError):
            workers.tell(error)
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
