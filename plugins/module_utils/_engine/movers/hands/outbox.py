# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What a hand says: outcomes and log records in frames of several, and once a second how its workers are doing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from .channel import Channel, Message
from .messages import LOG

_GATHER_SECONDS = 0.010  # what follows within this time goes into the same frame
_BEAT_SECONDS = 1.0


class Outbox:
    """Messages on their way to the parent. Any thread may add some; the first error of the channel ends `run`.

    `is_busy`: whether the hand has work. Without, it says nothing.
    """

    def __init__(self, channel: Channel, *, beat: Callable[[], Message], is_busy: Callable[[], bool]) -> None:
        self._channel = channel
        self._beat = beat
        self._is_busy = is_busy
        self._waiting: list[Message] = []
        self._lock = threading.Lock()
        self._has_some = threading.Event()

    def add(self, message: Message) -> None:
        with self._lock:
            self._waiting.append(message)
        self.wake()

    def wake(self) -> None:
        """The hand got work, or there is something to say."""
        if not self._has_some.is_set():  # it is cleared before what waits is taken
            self._has_some.set()

    def run(self) -> None:
        """Send until the parent is gone: OSError."""
        owes_beat, next_beat = False, 0.0
        while True:
            busy = self._is_busy()
            if self._has_some.wait(max(0.0, next_beat - time.monotonic()) if busy or owes_beat else None):
                time.sleep(_GATHER_SECONDS)
            messages = self._take()
            owes_beat = owes_beat or bool(messages)
            if time.monotonic() >= next_beat:
                # One more when the work is done: nobody may think that its workers still do what they did before.
                # Asked again: this may be the beat of work that came while this thread waited.
                owes_beat, next_beat = busy or self._is_busy(), time.monotonic() + _BEAT_SECONDS
                messages.append(self._beat())
            if messages:
                self._channel.send(messages)

    def _take(self) -> list[Message]:
        self._has_some.clear()
        with self._lock:
            taken, self._waiting = self._waiting, []
        return taken


class ParentLog(logging.Handler):
    """Passes log records to the parent, which logs them: only it knows where to."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self._outbox = outbox

    def emit(self, record: logging.LogRecord) -> None:
        self._outbox.add((LOG, record.name, record.levelno, self.format(record)))
