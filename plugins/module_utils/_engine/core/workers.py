# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Worker threads whose crashes and hangs are detected. No other file starts a thread.

A worker reports what it is doing: `idle` before it waits for work, `beat` whenever it makes progress. It wraps a call
that waits for the disk of a volume in `at_medium`, and a call with timeouts of its own that reports no progress in
`asking`. `stands_still` decides whether a worker hangs.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

_log = logging.getLogger("snowsync")
_Work = TypeVar("_Work")
GRACE_SECONDS = 6.0
_LONGEST_ANSWER = 900.0  # seconds that a client with retries of its own may report nothing


class BrokenOff(Exception):
    """The run is ending and this would take too long: the next run repeats it."""


class Stop(threading.Event):
    """An event that knows when it was set. Work may finish within `GRACE_SECONDS` of it, the rest is interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self._since = math.inf

    def set(self) -> None:
        self._since = min(self._since, time.monotonic())
        super().set()

    @property
    def seconds(self) -> float:
        """How long ago it was set; negative if it is not set."""
        return time.monotonic() - self._since

    def is_overdue(self) -> bool:
        return self.is_set() and self.seconds >= GRACE_SECONDS


class Doing(enum.Enum):
    """What a worker is doing."""

    IDLE = "waits for work"
    WORKS = "works"
    ASKS = "waits for an answer"
    MEDIUM = "waits for a disk"


@dataclass(frozen=True, slots=True)
class Look:
    """A snapshot of a worker: it has been `doing` the same, without progress, for `seconds`.

    `disk` is the number of the volume whose disk it waits for, if that is always the same one.
    """

    name: str
    doing: Doing
    seconds: float
    disk: int = 0


def stands_still(look: Look, patience: float) -> bool:
    """Whether a worker hangs, so that only a restart helps. A working one may be silent for `patience` seconds.

    Waiting for a disk is not limited: a restart would not make it faster, and no other worker waits for it.
    """
    if look.doing is Doing.WORKS:
        return look.seconds >= patience
    return look.doing is Doing.ASKS and look.seconds >= max(patience, _LONGEST_ANSWER)


def tell(error: BaseException) -> None:
    """Log the error of a worker that nothing depends on."""
    _log.error("a thread failed: %s: %s", type(error).__name__, error)


class Worker(threading.Thread):
    """A thread whose exceptions reach `on_error`, except BrokenOff, which is a normal end.

    `is_over` says when `beat` should interrupt long work. A thread that is not `is_watched` has another kind of
    heartbeat. `disk` is the number of the volume whose disk it waits for, if that is always the same one.
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
            _log.info("%s was interrupted; the next run repeats it", self.name)
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
    """Start a daemon thread: it does not keep the process from ending."""
    worker = Worker(target, name, on_error, is_over, is_watched, disk)
    worker.start()
    return worker


class Elsewhere:
    """What child processes last said of their workers. Any thread may call these."""

    def __init__(self) -> None:
        self._said: dict[object, tuple[float, tuple[Look, ...]]] = {}  # by child: when (monotonic seconds), and what

    def says(self, child: object, looks: Iterable[Look]) -> None:
        """Replaces what this child said before."""
        self._said[child] = (time.monotonic(), tuple(looks))

    def has_ended(self, child: object) -> None:
        self._said.pop(child, None)

    def looks(self, now: float) -> list[Look]:
        """As far as is known: who said nothing since is still doing the same."""
        said = list(self._said.values())
        return [replace(look, seconds=look.seconds + now - at) for at, looks in said for look in looks]


elsewhere = Elsewhere()


def looks(now: float) -> list[Look]:
    """Snapshots of all watched workers of this process and its children."""
    return [_look(worker, now) for worker in _workers() if worker.is_watched] + elsewhere.looks(now)


def waits(now: float) -> dict[int, float]:
    """The longest wait of a worker for the disk of each volume, in seconds, by the volume's number."""
    found: dict[int, float] = {}
    for look in [*(_look(worker, now) for worker in _workers()), *elsewhere.looks(now)]:
        if look.disk and look.doing is Doing.MEDIUM:
            found[look.disk] = max(found.get(look.disk, 0.0), look.seconds)
    return found


def _workers() -> list[Worker]:
    return [thread for thread in threading.enumerate() if isinstance(thread, Worker)]


def _look(worker: Worker, now: float) -> Look:
    return Look(worker.name, worker.doing, now - worker.since, worker.disk)


# -- what a thread reports about itself; no effect in a thread that is not a worker -----------------------------------


class _Own(threading.local):
    """`worker` is the current thread, if it is a Worker."""

    worker: Worker | None = None


_own = _Own()


def idle() -> None:
    """Report that this thread waits for work."""
    worker = _own.worker
    if worker:
        worker.does(Doing.IDLE)


def beat() -> None:
    """Report progress of this thread. BrokenOff if its work should end."""
    worker = _own.worker
    if worker:
        if worker.doing is Doing.IDLE:
            worker.doing = Doing.WORKS
        worker.since = time.monotonic()
        if worker.is_over():
            raise BrokenOff


def next_of(waiting: queue.SimpleQueue[_Work]) -> _Work:
    """Wait for the next piece of work of this thread.

    Waits without a timeout: with two consumers, CPython 3.11's SimpleQueue.get(timeout=...) may wait forever when the
    other one takes the item that woke it (its new timeout becomes negative).
    """
    idle()
    found = waiting.get()
    beat()
    return found


def is_over() -> bool:
    """Whether this thread's work should end; if not, reports progress."""
    try:
        beat()
    except BrokenOff:
        return True
    return False


class _During:
    """Reports an activity during a block. A generator would cost four times as much, and this runs often."""

    __slots__ = ("_before", "_doing", "_worker")

    def __init__(self, doing: Doing) -> None:
        self._doing = doing
        self._worker = _own.worker
        self._before = Doing.WORKS

    def __enter__(self) -> None:
        worker = self._worker
        if worker:
            self._before = worker.doing
            worker.doing, worker.since = self._doing, time.monotonic()

    def __exit__(self, *_error: object) -> None:
        worker = self._worker
        if worker:
            worker.doing, worker.since = self._before, time.monotonic()


def at_medium() -> contextlib.AbstractContextManager[None]:
    """This thread waits for the disk of a volume, for as long as that takes."""
    return _During(Doing.MEDIUM)


def asking() -> contextlib.AbstractContextManager[None]:
    """This thread waits for a client that has timeouts of its own."""
    return _During(Doing.ASKS)
