# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Threads with a connection each, for large objects: one takes a step of one object after the other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...core import workers
from ...core.backoff import is_often_over, pause
from ...core.errors import StoreError
from ...store.multi import Multi
from .lanes import Kit, LaneThreads
from .requests import Request

if TYPE_CHECKING:
    from ...core.model import Head

_LONGEST_WAIT = 0.5  # seconds, after which a stream looks whether its lane was closed


class StreamClosed(Exception):
    """The lane is being closed."""


class Stream:
    """One thread's connection. Requests end when the lane is closed."""

    def __init__(self, kit: Kit, closed: threading.Event) -> None:
        self._kit = kit
        self._closed = closed
        self._handles: tuple[Any, Multi] | None = None  # the easy one first; made when first needed

    def perform(self, make: Callable[[], Request], has_moved: Callable[[], bool] = lambda: False) -> Head:
        """Make the request, with retries after short-lived errors. StoreError, OSError, StreamClosed.

        `has_moved`: whether a failed attempt made so much progress that it does not count.
        """
        attempt = 0
        while True:
            try:
                return self._once(make())
            except StoreError as error:
                attempt = 1 if has_moved() else attempt + 1
                if not is_often_over(error) or attempt > self._kit.retries:
                    raise
            if self._closed.wait(pause(attempt)):
                raise StreamClosed

    def _once(self, request: Request) -> Head:
        handle, multi = self._handles = self._handles or self._new_handles()
        try:
            request.begin(self._kit.prepare(handle))
            multi.add(handle)
            try:
                number, words = self._drive(multi)
            except BaseException:
                multi.remove(handle)
                raise
        except (StoreError, OSError, StreamClosed):
            raise
        except Exception:
            self._handles = None  # their state is unknown
            raise
        return request.end(number, words)

    def _new_handles(self) -> tuple[Any, Multi]:
        return self._kit.curl.Curl(), Multi(1)

    def _drive(self, multi: Multi) -> tuple[int, str]:
        while not self._closed.is_set():
            workers.beat()
            multi.go_on(_LONGEST_WAIT)
            for _easy, number, words in multi.ended():
                return number, words
        raise StreamClosed

    def close(self) -> None:
        for handle in self._handles or ():
            handle.close()


class StreamLane:
    """`width` threads, each with its own connection, started when first needed. They take steps in order.

    A step must handle its own exceptions; `on_error` gets those it does not.
    """

    def __init__(
        self,
        name: str,
        kit: Kit,
        width: int,
        on_error: Callable[[BaseException], None] = workers.tell,
        *,
        disk: int = 0,
    ) -> None:
        self._kit = kit
        self._closed = threading.Event()
        self._steps: queue.SimpleQueue[Callable[[Stream | None], None] | None] = queue.SimpleQueue()
        self._threads = LaneThreads(width, self._run, name, on_error, disk)

    def submit(self, *steps: Callable[[Stream | None], None]) -> None:
        """Never blocks. A step is called with the stream to use, or with None if the lane is closed."""
        self._threads.start()
        for step in steps:
            self._steps.put(step)

    def begin_closing(self) -> None:
        """The first half of `close`, which waits for nothing."""
        self._closed.set()
        for _number in range(self._threads.started):
            self._steps.put(None)

    def close(self) -> None:
        self.begin_closing()
        self._threads.join()
        while True:
            try:
                step = self._steps.get_nowait()
            except queue.Empty:
                return
            if step:
                step(None)

    def _run(self) -> None:
        stream = Stream(self._kit, self._closed)
        while step := self._next():
            workers.beat()
            step(None if self._closed.is_set() else stream)
        stream.close()

    def _next(self) -> Callable[[Stream | None], None] | None:
        workers.idle()
        return self._steps.get()
