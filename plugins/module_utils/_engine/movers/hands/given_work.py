# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What a hand has of its parent's work, and what was not sent to it yet."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence

from ...core import workers
from ...core.model import Fetch, Send
from .channel import Channel, Message
from .messages import FOLDER, folder_of, say_work

_GATHER_SECONDS = 0.004  # what is given within this time goes into the same frame


class GivenWork:
    """What a hand has, and what was not sent to it yet. Any thread may call these."""

    def __init__(self, first: Message) -> None:
        self._lock = threading.Lock()
        self._has_some = threading.Event()
        self._unsent: list[tuple[Message, int]] = [(first, -1)]  # each with a descriptor to send along, or -1
        self._has_some.set()
        self._folders: set[int] = set()  # the descriptors of which it gets duplicates
        self._works: dict[int, Fetch | Send] = {}
        self.is_closed = False
        self.last_given = time.monotonic()

    def __len__(self) -> int:
        return len(self._works)

    def add(self, *works: Fetch | Send) -> bool:
        """All of them or none. False: the hand takes no more. OSError if the folder of a file is closed."""
        folders = {folder for work in works if (folder := folder_of(work.path)) is not None}
        with self._lock:
            if self.is_closed:
                return False
            for folder in folders - self._folders:
                self._unsent.append(((FOLDER, folder), os.dup(folder)))
                self._folders.add(folder)
            self._works.update((work.id, work) for work in works)
            self._unsent += [(say_work(work), -1) for work in works]
            self.last_given = time.monotonic()
        self._has_some.set()
        return True

    def say(self, message: Message) -> None:
        """A message that is no work."""
        with self._lock:
            if not self.is_closed:
                self._unsent.append((message, -1))
        self._has_some.set()

    def ended(self, numbers: Sequence[int]) -> list[Fetch | Send]:
        """The hand told the outcomes of these: the ones that it had."""
        with self._lock:
            return [work for number in numbers if (work := self._works.pop(number, None))]

    def close(self) -> None:
        """The hand takes no more, and is sent no more."""
        with self._lock:
            self.is_closed = True
            for _message, descriptor in self._unsent:
                if descriptor >= 0:
                    os.close(descriptor)
            self._unsent.clear()
        self._has_some.set()

    def take_all(self) -> list[Fetch | Send]:
        """What it had: nobody knows how far it came."""
        with self._lock:
            left, self._works = list(self._works.values()), {}
        return left

    def send_to(self, channel: Channel) -> None:
        """Send what is given, until it is closed, or the hand is gone: OSError."""
        while True:
            workers.idle()
            self._has_some.wait()
            workers.beat()
            time.sleep(_GATHER_SECONDS)
            self._has_some.clear()
            with self._lock:
                if self.is_closed:
                    return
                batch, self._unsent = self._unsent, []
            with workers.asking():
                _send(channel, batch)


def _send(channel: Channel, batch: Sequence[tuple[Message, int]]) -> None:
    together: list[Message] = []
    try:
        for message, descriptor in batch:
            if descriptor >= 0:
                channel.send([*together, message], [descriptor])
                together = []
            else:
                together.append(message)
        if together:
            channel.send(together)
    finally:
        for _message, descriptor in batch:
            if descriptor >= 0:
                os.close(descriptor)
