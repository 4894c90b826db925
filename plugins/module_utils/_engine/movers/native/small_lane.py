# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""One thread that drives many small requests at once."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...core import workers
from ...core.backoff import is_often_over, pause
from ...core.errors import StoreError, Trouble
from ...store.curl import Transfer
from ...store.multi import Waker
from .errands import Errand, ErrandQueue, LaneFailed, Retries, Sleeper
from .lane_crew import LaneCrew
from .lane_width import LaneWidth
from .lanes import Kit, LaneThreads

if TYPE_CHECKING:
    from ...core.model import Head

_log = logging.getLogger("snowsync.native")
_SLOW = frozenset({Trouble.THROTTLED, Trouble.TIMEOUT})
_LONGEST_WAIT = 1.0  # seconds: a lane that is silent for longer might hang


class SmallLane:
    """`width` requests at once in one thread. About `capacity` more are queued, so that no connection is ever idle.

    `on_slow` is called when a request was refused for now, or not answered in time, even if it is tried again. After
    `has_room` returned False, `on_room` is called once there is room again. An errand that raises gets its exception,
    and the lane continues; `on_error` gets exceptions that end the lane. `disk` is the number of the volume whose files
    it reads and writes.
    """

    def __init__(
        self,
        name: str,
        kit: Kit,
        width: int,
        *,
        capacity: int = 0,
        on_room: Callable[[], None] = lambda: None,
        on_slow: Callable[[], None] = lambda: None,
        on_error: Callable[[BaseException], None] = workers.tell,
        disk: int = 0,
    ) -> None:
        self._name = name
        self._kit = kit
        self._width = LaneWidth(width)
        self._on_slow = on_slow
        self._queue = ErrandQueue(capacity or 4 * width, on_room)
        self._retries = Retries()
        self._running: dict[Transfer, Errand] = {}
        self._threads = LaneThreads(1, self._run, name, on_error, disk)

    def has_room(self) -> bool:
        """Whether `submit` would not block."""
        return self._queue.has_room()

    def submit(self, *errands: Errand) -> None:
        """Blocks while the lane is full."""
        if not self._queue.is_closed:
            self._threads.start()
        if not self._queue.add(*errands):
            for errand in errands:
                errand.tell(None)

    def set_width(self, width: int, fits: Callable[[], None]) -> None:
        """Another number of requests at once; `fits` is called once there are no more connections than that."""
        self._queue.capacity = max(self._queue.capacity, 2 * width)
        self._width.set(width, fits)
        self._queue.call()

    def begin_closing(self) -> None:
        """The first half of `close`, which waits for nothing."""
        self._queue.close()

    def close(self) -> None:
        """Interrupt requests in flight; their callbacks get None."""
        self.begin_closing()
        self._threads.join()

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
        return self._queue.wait()

    def _work(self) -> None:
        """Work until the lane is closed, with one set of handles."""
        try:
            with (
                contextlib.closing(Waker()) as waker,
                contextlib.closing(LaneCrew(self._kit, self._width.take(), waker)) as crew,
            ):
                while self._turn(crew, waker):
                    pass
        finally:
            self._width.has(0)

    def _dropped(self) -> list[Errand]:
        """Remove and return all work of the lane."""
        left = [*self._running.values(), *self._retries.drop(), *self._queue.drop()]
        self._running.clear()
        return left

    def _turn(self, crew: LaneCrew, waker: Waker) -> bool:
        workers.beat()
        if self._width.now != crew.width:
            crew.resize(self._width.take())
        self._begin(crew)
        if self._running:
            self._go_on(crew, waker)
            for transfer, number, words in crew.finished():
                self._end(transfer, number, words)
            self._width.has(crew.connections)
            return not self._queue.is_closed
        crew.rest()
        self._width.has(crew.connections)
        workers.idle()
        return self._queue.wait(self._retries.seconds_left())

    def _go_on(self, crew: LaneCrew, waker: Waker) -> None:
        """Wait for the network, and for work or a retry that an idle connection can begin with."""
        crew.multi.start()
        can_begin = crew.has_idle
        longest = self._retries.seconds_left() if can_begin else None
        if not self._queue.is_left_to(Sleeper(waker.wake, can_begin)):
            longest = 0.0
        try:
            crew.multi.go_on(_LONGEST_WAIT if longest is None else min(longest, _LONGEST_WAIT))
        finally:
            self._queue.is_back()

    def _begin(self, crew: LaneCrew) -> None:
        due = self._retries.take_due()
        if due:
            self._queue.put_first(due)
        while crew.has_idle and (errand := self._queue.take()):
            try:
                errand.request = errand.make()
                errand.request.begin(crew.idle())
            except Exception as error:  # affects only this errand: the lane must continue for the others
                errand.tell(error)
                continue
            try:
                self._running[crew.begin()] = errand
            except Exception:
                self._queue.put_first(errand)  # the lane fails, and tells all that it has
                raise
        self._queue.tell_room()

    def _end(self, transfer: Transfer, number: int, words: str) -> None:
        errand = self._running[transfer]  # which keeps it until it is certain who has it next, whatever fails here
        assert errand.request  # it was started
        try:
            result: Head | Exception = errand.request.end(number, words)
        except StoreError as error:
            if self._is_tried_again(errand, error):
                del self._running[transfer]
                return
            result = error
        except Exception as error:  # whatever it is, the work must get its outcome
            result = error
        del self._running[transfer]
        errand.tell(result)

    def _is_tried_again(self, errand: Errand, error: StoreError) -> bool:
        if error.trouble in _SLOW or error.status == 503:
            self._on_slow()
        if not is_often_over(error) or errand.attempts >= self._kit.retries:
            return False
        errand.attempts += 1
        self._retries.add(errand, pause(errand.attempts))
        return True
