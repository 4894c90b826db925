# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The threads that drive the native mover's requests: one for many small objects, several for one large object each."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...core import workers
from ...core.backoff import is_often_over, pause
from ...core.errors import StoreError
from ...store.curl import Crew, Transfer, handle_options, libcurl, wait_for
from ...store.timeouts import CONNECT_SECONDS
from .requests import Request

if TYPE_CHECKING:  # config/job_file.py brings pydantic
    from ...config.job_file import Store
    from ...core.model import Head

_log = logging.getLogger("snowsync.native")
_BUFFER = 256 * 1024
_NAP = 0.02  # how long new work may wait to start while there are idle connections
_GRACE_SECONDS = 5.0


class Kit:
    """Creates the handles for one endpoint."""

    def __init__(self, store: Store, endpoint: str, stall_seconds: float, retries: int) -> None:
        self.curl = libcurl()
        self.retries = retries
        self._options = [
            *handle_options(store, endpoint, CONNECT_SECONDS, stall_seconds),
            (self.curl.BUFFERSIZE, _BUFFER),
            (self.curl.UPLOAD_BUFFERSIZE, _BUFFER),
        ]

    def prepare(self, handle: Any) -> Transfer:
        """Reset a handle, keeping its connection."""
        handle.reset()
        for option, value in self._options:
            handle.setopt(option, value)
        return Transfer(handle)

    def crew(self, width: int) -> Crew:
        multi = self.curl.CurlMulti()
        multi.setopt(self.curl.M_MAXCONNECTS, width)
        multi.setopt(self.curl.M_MAX_TOTAL_CONNECTIONS, width)
        return Crew(multi, [self.prepare(self.curl.Curl()) for _ in range(width)])


class LaneFailed(Exception):
    """A lane itself failed: the work it had in flight is not to blame."""


class Errand:
    """One small piece of work: its request, created for every attempt, and the callback for its result."""

    def __init__(self, make: Callable[[], Request], told: Callable[[Head | Exception | None], None]) -> None:
        self.make = make
        self.tell = told  # None: it was given up, its progress is unknown
        self.attempts = 0
        self.request: Request | None = None


class SmallLane:
    """`width` requests at once in one thread. Up to `capacity` more are queued, so that no connection is ever idle.

    After `has_room` returned False, `on_room` is called once there is room again. An errand that raises gets its
    exception, and the lane continues; `on_error` gets exceptions that end the lane.
    """

    def __init__(
        self,
        name: str,
        kit: Kit,
        width: int,
        *,
        capacity: int = 0,
        on_room: Callable[[], None] = lambda: None,
        on_error: Callable[[BaseException], None] = workers.tell,
        disk: int = 0,
    ) -> None:
        self._name = name
        self._kit = kit
        self._width = width
        self._disk = disk  # the number of the volume whose files it reads and writes
        self._capacity = capacity or 4 * width
        self._on_room = on_room
        self._on_error = on_error
        self._asked = False  # `has_room` has returned False
        self._changed = threading.Condition()
        self._waiting: deque[Errand] = deque()
        self._later: list[tuple[float, Errand]] = []
        self._running: dict[Transfer, Errand] = {}
        self._thread: workers.Worker | None = None
        self._blocked = False  # a caller of `submit` waits for room
        self._closed = False

    def has_room(self) -> bool:
        """Whether `submit` would not block."""
        if len(self._waiting) < self._capacity or self._closed:
            return True
        self._asked = True
        # The lane may have emptied its queue before it could see `_asked`.
        return len(self._waiting) < self._capacity

    def submit(self, errand: Errand) -> None:
        """Blocks while the lane is full."""
        with self._changed:
            while len(self._waiting) >= self._capacity and not self._closed:
                self._blocked = True
                self._changed.wait()
            if not self._closed:
                self._waiting.append(errand)
                if self._thread is None:
                    self._thread = workers.start(self._run, self._name, self._on_error, disk=self._disk)
                elif not self._running:
                    self._changed.notify_all()
                return
        errand.tell(None)

    def begin_closing(self) -> None:
        """The first half of `close`, which waits for nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Interrupt requests in flight; their callbacks get None."""
        self.begin_closing()
        thread = self._thread
        if thread and thread is not threading.current_thread():
            thread.join(_GRACE_SECONDS)

    def _run(self) -> None:
        while self._has_work():
            try:
                self._work()
            except Exception as error:
                _log.exception("%s failed and restarts; its transfers in flight are repeated", self._name)
                reason = f"{self._name} failed: {type(error).__name__}: {error}"
                for errand in self._dropped():
                    errand.tell(LaneFailed(reason))
        for errand in self._dropped():
            errand.tell(None)

    def _has_work(self) -> bool:
        """Wait for work. False: the lane was closed."""
        workers.idle()
        with self._changed:
            while not self._waiting and not self._later and not self._closed:
                self._changed.wait()
            return not self._closed

    def _work(self) -> None:
        """Work until the lane is closed, with one set of handles."""
        crew = self._kit.crew(self._width)
        try:
            while self._turn(crew):
                pass
        finally:
            crew.close()

    def _dropped(self) -> list[Errand]:
        """Remove and return all work of the lane."""
        with self._changed:
            left = [*self._running.values(), *(errand for _, errand in self._later), *self._waiting]
            self._running.clear()
            self._later.clear()
            self._waiting.clear()
            self._changed.notify_all()
        return left

    def _turn(self, crew: Crew) -> bool:
        workers.beat()
        self._begin(crew)
        if self._running:
            crew.multi.perform()
            ended = crew.finished()
            for transfer, number, words in ended:
                self._end(transfer, number, words)
            if not ended:
                crew.wait(_NAP if crew.idle else 1.0)
            return not self._closed
        workers.idle()
        with self._changed:
            if not self._waiting and not self._closed:
                self._changed.wait(max(0.0, self._later[0][0] - time.monotonic()) if self._later else None)
            return not self._closed

    def _begin(self, crew: Crew) -> None:
        if self._later and self._later[0][0] <= time.monotonic():
            self._waiting.appendleft(self._later.pop(0)[1])
        while crew.idle and self._waiting and not self._closed:
            errand = self._waiting.popleft()
            try:
                errand.request = errand.make()
                errand.request.begin(crew.idle[-1])
            except Exception as error:  # affects only this errand: the lane must continue for the others
                errand.tell(error)
                continue
            transfer = crew.idle.pop()
            self._running[transfer] = errand
            crew.add(transfer)
        if self._asked and len(self._waiting) <= self._capacity // 2:
            self._asked = False
            self._on_room()
        if self._blocked and len(self._waiting) < self._capacity:
            with self._changed:
                self._blocked = False
                self._changed.notify_all()

    def _end(self, transfer: Transfer, number: int, words: str) -> None:
        errand = self._running.pop(transfer)
        assert errand.request  # it was started
        try:
            result: Head | Exception = errand.request.end(number, words)
        except StoreError as error:
            if is_often_over(error) and errand.attempts < self._kit.retries:
                errand.attempts += 1
                self._later.append((time.monotonic() + pause(errand.attempts), errand))
                self._later.sort(key=lambda entry: entry[0])
                return
            result = error
        except Exception as error:  # whatever it is, the work must get its outcome
            result = error
        errand.tell(result)


class StreamClosed(Exception):
    """The lane is being closed."""


class Stream:
    """One thread's connection. Requests end when the lane is closed."""

    def __init__(self, kit: Kit, closed: threading.Event) -> None:
        self._kit = kit
        self._closed = closed
        self._handles: tuple[Any, Any] | None = None  # easy and multi, made when first needed

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
            multi.add_handle(handle)
            try:
                number, words = self._drive(multi)
            finally:
                multi.remove_handle(handle)
        except (StoreError, OSError, StreamClosed):
            raise
        except Exception:
            self._handles = None  # their state is unknown
            raise
        return request.end(number, words)

    def _new_handles(self) -> tuple[Any, Any]:
        curl = self._kit.curl
        multi = curl.CurlMulti()
        multi.setopt(curl.M_MAXCONNECTS, 1)
        multi.setopt(curl.M_MAX_TOTAL_CONNECTIONS, 1)
        return curl.Curl(), multi

    def _drive(self, multi: Any) -> tuple[int, str]:
        while not self._closed.is_set():
            workers.beat()
            multi.perform()
            _, succeeded, failed = multi.info_read()
            if succeeded:
                return 0, ""
            if failed:
                return int(failed[0][1]), str(failed[0][2])
            wait_for(multi, 0.5)
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
        self._name = name
        self._kit = kit
        self._width = width
        self._on_error = on_error
        self._disk = disk
        self._closed = threading.Event()
        self._steps: queue.SimpleQueue[Callable[[Stream | None], None] | None] = queue.SimpleQueue()
        self._threads: list[workers.Worker] = []
        self._lock = threading.Lock()

    def submit(self, *steps: Callable[[Stream | None], None]) -> None:
        """Never blocks. A step is called with the stream to use, or with None if the lane is closed."""
        with self._lock:
            while len(self._threads) < self._width:
                self._threads.append(workers.start(self._run, self._name, self._on_error, disk=self._disk))
        for step in steps:
            self._steps.put(step)

    def begin_closing(self) -> None:
        """The first half of `close`, which waits for nothing."""
        self._closed.set()
        for _ in self._threads:
            self._steps.put(None)

    def close(self) -> None:
        self.begin_closing()
        deadline = time.monotonic() + _GRACE_SECONDS
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
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
