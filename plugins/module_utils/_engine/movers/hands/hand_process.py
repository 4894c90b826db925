# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""A hand as its parent sees it: what it was given, and whether it still answers."""

from __future__ import annotations

import contextlib
import logging
import select
import threading
import time
from collections.abc import Callable

from ...core import workers
from ...core.model import Fetch, Send
from .channel import Channel, Message
from .given_work import GivenWork
from .launch import Started, launch
from .messages import BEAT, LOG, read_looks

_SILENT_SECONDS = 30.0  # a hand that has work says something every second
_END_SECONDS = 5.0  # a killed process that a disk holds up ends later, without doing anything more


class HandProcess:
    """One hand, kept by a thread of its own, with which it ends.

    `hears` gets what it says; `lost` is called once when it has ended, with what it had and why.
    Both are called in the thread that keeps it.
    """

    def __init__(
        self,
        name: str,
        first: Message,
        *,
        hears: Callable[[HandProcess, list[Message]], None],
        lost: Callable[[HandProcess, list[Fetch | Send], str], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self.name = name
        self.given = GivenWork(first)
        self.traffic = 0  # bytes
        self._hears = hears
        self._on_error = on_error
        self._lost = lost
        self._started: Started | None = None
        self._keeper = workers.start(self._keep, name, on_error)

    def kill(self) -> None:
        """It ends at once, whatever it is doing."""
        self.given.close()
        if self._started:
            self._started.kill()

    def join(self) -> None:
        """Wait until it has ended, for a limited time."""
        if self._keeper is not threading.current_thread():
            self._keeper.join(2 * _END_SECONDS)

    def _keep(self) -> None:
        why = "its parent failed"
        try:
            why = self._run()
        except OSError as error:
            why = f"it cannot be started: {error.strerror}"
        finally:  # whatever happens, its work must get outcomes
            workers.elsewhere.has_ended(self)
            self.given.close()
            self._lost(self, self.given.take_all(), why)

    def _run(self) -> str:
        """From its start to its end, of which this returns the reason."""
        started = self._started = launch()
        writer = None
        try:
            if self.given.is_closed:  # `kill` may have come too early to find the process
                started.kill()
            writer = workers.start(lambda: self._write(started.channel), f"{self.name}-writer", self._on_error)
            why = self._listen(started.channel)
            if why:
                started.kill()
            code = started.end(_END_SECONDS)
            return why or _describe_end(code)
        finally:
            self.given.close()  # which ends the writer
            started.channel.hang_up()
            if writer:
                writer.join(_END_SECONDS)
            started.channel.close()

    def _write(self, channel: Channel) -> None:
        with contextlib.suppress(OSError):  # it is gone: the thread that listens finds out why
            self.given.send_to(channel)

    def _listen(self, channel: Channel) -> str:
        """Until it ends ("") or does not answer (the reason why it must)."""
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        heard = time.monotonic()
        while True:
            workers.idle()
            if not poll.poll(1000):
                since = max(heard, self.given.last_given)
                if len(self.given) and time.monotonic() - since > _SILENT_SECONDS:
                    return f"it has said nothing for {_SILENT_SECONDS:.0f} s"
                continue
            workers.beat()
            if not channel.read():
                return ""
            heard = time.monotonic()
            while channel.has_frame():
                self._take(channel.receive() or [])

    def _take(self, messages: list[Message]) -> None:
        for message in messages:
            self._note(message)
        self._hears(self, messages)
        if not len(self.given):
            # What its last beat said of its workers is over, and it says no more until it gets work.
            workers.elsewhere.says(self, ())

    def _note(self, message: Message) -> None:
        if message[0] == BEAT:
            self.traffic = message[1]
            workers.elsewhere.says(self, read_looks(message[3]))
        elif message[0] == LOG:
            logging.getLogger(message[1]).log(message[2], "%s: %s", self.name, message[3])


def _describe_end(code: int | None) -> str:
    if code is None:
        return "it does not end: a disk does not respond"
    return f"it ended with signal {-code}" if code < 0 else f"it ended with exit code {code}"
