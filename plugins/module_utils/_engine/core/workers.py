# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Threads that neither die unseen nor stand still unseen. No other file starts one.

A worker says what it is doing: `idle` before it waits for work, `beat` each time it gets on. Around a call that only
the medium of a volume can end it says `at_medium`, around one with time-outs of its own that tells nothing meanwhile
`asking`. Whether one stands still is decided by `stands_still`, over values.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

_log = logging.getLogger("snowsync")
_Work = TypeVar("_Work")
GRACE_SECONDS = 6.0
_LONGEST_ANSWER = 900.0  # seconds that a client which repeats its requests by itself may say nothing


class BrokenOff(Exception):
    """The run ends, and this would take too long: the next run does it again."""


class Stop(threading.Event):
    """An event that knows when it was set. What ends within `GRACE_SECONDS` of it is finished, the rest broken off."""

    def __init__(self) -> None:
        super().__init__()
        self._since = math.inf

    def set(self) -> None:
        self._since = min(self._since, time.monotonic())
        super().set()

    @property
    def seconds(self) -> float:
        """How long ago it was set; negative while it is not."""
        return time.monotonic() - self._since

    def is_overdue(self) -> bool:
        return self.is_set() and self.seconds >= GRACE_SECONDS


class Doing(enum.Enum):
    """What a worker does now."""

    IDLE = "waits for work"
    WORKS = "works"
    ASKS = "waits for an answer"
    MEDIUM = "waits for a disk"


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a worker: it has done the same, without getting on, for so many seconds."""

    name: str
    doing: Doing
    seconds: float


def stands_still(look: Look, patience: float) -> bool:
    """Whether a worker hangs, so that only a restart helps. One that works may be silent for `patience` seconds.

    A disk may take as long as it likes: a restart would not make it faster, and nobody else waits for it.
    """
    if look.doing is Doing.WORKS:
        return look.seconds >= patience
    return look.doing is Doing.ASKS and look.seconds >= max(patience, _LONGEST_ANSWER)


def tell(error: BaseException) -> None:
    """For a worker whose end concerns nobody."""
    _log.error("a thread failed: %s: %s", type(error).__name__, error)


class Worker(threading.Thread):
    """A thread with a guard: whatever raises in it reaches `on_error`, but for BrokenOff, which is an end in order.

    `is_over` says when `beat` is to break off what takes long. Who is not `is_watched` has a heartbeat of another kind.
    `disk` is the number of the volume whose medium it waits for, where that is always the same one.
    """

    def __init__(
        self,
        target: Callable[[], None],
        name: str,
        on_error: Callable[[BaseException], None],
        is_over: Callable[[], bool] = lambda: False,
        is_watched: bool = True,
        disk: int = 0,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._carry_out = target
        self._on_error = on_error
        self.is_over = is_over
        self.is_watched = is_watched
        self.disk = disk
        self.doing = Doing.IDLE
        self.since = time.monotonic()

    def run(self) -> None:
        _own.worker = self
        try:
            self._carry_out()
        except BrokenOff:
            _log.info("%s was broken off; the next run does it again", self.name)
        except BaseException as error:
            _log.debug("%s failed", self.name, exc_info=True)
            self._on_error(error)

    def does(self, doing: Doing) -> None:
        self.doing, self.since = doing, time.monotonic()


def start(
    target: Callable[[], None],
    name: str,
    on_error: Callable[[BaseException], None],
    is_over: Callable[[], bool] = lambda: False,
    is_watched: bool = True,
    disk: int = 0,
) -> Worker:
    """Start a thread. It does not keep the process from ending."""
    worker = Worker(target, name, on_error, is_over, is_watched, disk)
    worker.start()
    return worker


def looks(now: float) -> list[Look]:
    """All workers of this process that are watched."""
    workers = [thread for thread in threading.enumerate() if isinstance(thread, Worker) and thread.is_watched]
    return [Look(worker.name, worker.doing, now - worker.since) for worker in workers]


def waits(now: float) -> dict[int, float]:
    """For how many seconds a worker has waited for the medium of a volume, by its number: the longest wait of each."""
    found: dict[int, float] = {}
    for thread in threading.enumerate():
        if isinstance(thread, Worker) and thread.disk and thread.doing is Doing.MEDIUM:
            found[thread.disk] = max(found.get(thread.disk, 0.0), now - thread.since)
    return found


# -- what a thread says of itself; nothing where it is not a worker ---------------------------------------------------


_own = threading.local()  # its `worker` is this thread, where it is one


def _this() -> Worker | None:
    return getattr(_own, "worker", None)


def idle() -> None:
    """This thread waits for work from here on."""
    worker = _this()
    if worker:
        worker.does(Doing.IDLE)


def beat() -> None:
    """This thread gets on. BrokenOff when what it does is to end."""
    worker = _this()
    if worker:
        worker.does(Doing.WORKS if worker.doing is Doing.IDLE else worker.doing)
        if worker.is_over():
            raise BrokenOff


def next_of(waiting: queue.SimpleQueue[_Work]) -> _Work:
    """The next piece of work of this thread, however long that takes to come.

    Waits without a timeout: with two takers, CPython 3.11's SimpleQueue.get(timeout=...) may wait for ever when the
    other one takes what woke it (its new timeout becomes negative).
    """
    idle()
    found = waiting.get()
    beat()
    return found


def is_over() -> bool:
    """Whether what this thread does is to end; it gets on, where not."""
    try:
        beat()
    except BrokenOff:
        return True
    return False


class _During:
    """A block in which this thread does that. A generator would cost three times as much, and this is done often."""

    __slots__ = ("_before", "_doing", "_worker")

    def __init__(self, doing: Doing) -> None:
        self._doing = doing
        self._worker = _this()
        self._before = Doing.WORKS

    def __enter__(self) -> None:
        if self._worker:
            self._before = self._worker.doing
            self._worker.does(self._doing)

    def __exit__(self, *_error: object) -> None:
        if self._worker:
            self._worker.does(self._before)


def at_medium() -> contextlib.AbstractContextManager[None]:
    """This thread waits for the medium of a volume, however long that takes."""
    return _During(Doing.MEDIUM)


def asking() -> contextlib.AbstractContextManager[None]:
    """This thread waits for a client that has time-outs of its own."""
    return _During(Doing.ASKS)
