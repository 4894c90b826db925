# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""One thread that drives many small requests at once."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...core import workers
from ...core.backoff import is_often_over, pause
from ...core.errors import StoreError
from ...store.curl import Crew, Transfer
from .lanes import GRACE_SECONDS, Errand, Kit, LaneFailed

if TYPE_CHECKING:  # config/job_file.py brings pydantic
    from ...core.model import Head

_log = logging.getLogger("snowsync.native")
_NAP = 0.02  # how long new work may wait to start while there are idle connections


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
            thread.join(GRACE_SECONDS)

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
