# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Calls that may block on a disk run in a thread of that disk: a disk that hangs delays nothing else."""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..core import workers

_Answer = TypeVar("_Answer")
PATIENCE_SECONDS = 5.0  # how long a caller waits for a result


class Silent(OSError):
    """A disk has not responded for `seconds`. `is_asked`: the call was submitted, and is still running."""

    def __init__(self, name: str, seconds: float, *, is_asked: bool) -> None:
        super().__init__(errno.ETIMEDOUT, f"the disk has not responded for {seconds:.0f} s", name)
        self.seconds = seconds
        self.is_asked = is_asked


class _Call:
    """One call, and its result."""

    def __init__(self, kind: str, call: Callable[[], Any]) -> None:
        self.kind = kind
        self._call = call
        self._answer: Any = None
        self._error: BaseException | None = None
        self.at = time.monotonic()
        self.is_done = threading.Event()

    def carry_out(self) -> None:
        try:
            self._answer = self._call()
        except BaseException as error:
            self._error = error
        self.is_done.set()

    def answer(self) -> Any:
        if self._error:
            raise self._error
        return self._answer


class DiskCalls:
    """The calls to one disk, one after another. Used by one thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread: workers.Worker | None = None
        self._late: _Call | None = None  # a call whose caller stopped waiting

    def ask(self, call: Callable[[], _Answer], kind: str = "") -> _Answer:
        """The result of `call`, or its exception; Silent if it takes too long, or an earlier one is still running.

        A late result of a call with a `kind` is returned by the next call of the same kind.
        """
        late = self._late
        if late:
            if not late.is_done.is_set():
                raise Silent(self._name, time.monotonic() - late.at, is_asked=False)
            self._late = None
            if kind and late.kind == kind:
                return late.answer()  # type: ignore[no-any-return]  # calls of one kind return the same
        asked = _Call(kind, call)
        if self._thread is None:
            self._thread = workers.start(self._run, f"disk-{self._name}", workers.tell)
        self._calls.put(asked)
        if not asked.is_done.wait(PATIENCE_SECONDS):
            self._late = asked
            raise Silent(self._name, PATIENCE_SECONDS, is_asked=True)
        return asked.answer()  # type: ignore[no-any-return]  # as above

    @property
    def silent_for(self) -> float:
        """Seconds since a call whose caller stopped waiting and whose result was not collected yet; 0 for none."""
        late = self._late
        return time.monotonic() - late.at if late else 0.0

    def close(self) -> None:
        """Let the thread end after its current call. Does not wait."""
        self._calls.put(None)
        self._thread = None

    def _run(self) -> None:
        while call := self._next():
            with workers.at_medium():
                call.carry_out()

    def _next(self) -> _Call | None:
        workers.idle()
        return self._calls.get()
