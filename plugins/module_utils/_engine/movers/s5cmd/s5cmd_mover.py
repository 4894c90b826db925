# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The s5cmd mover: long-lived ``s5cmd run`` processes, fed through pipes and monitored; each report is matched.

`submit` writes the command for a piece of work; one thread per mover starts, reads, monitors, stops and reaps the
processes. A process with unexpected output or behavior is ended, and what it had in flight becomes UNKNOWN.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ...core import workers
from ...core.errors import Trouble
from ...core.model import Fetch, Outcome, Send
from . import protocol
from .capacity import Lane
from .endings import ProcessEndings
from .polling import Poller
from .process import Launcher, Process
from .process_pool import ProcessPool
from .setup import allow_open_files
from .stuck import CheckTimes, traffic_of
from .supervisor import Supervisor

if TYPE_CHECKING:
    from ...config.credentials import Keys
    from ...config.job_file import MoverSettings, Store

_log = logging.getLogger("snowsync.s5cmd")


class S5cmdMover:
    """A `Mover`: fetches objects of one bucket at one endpoint, or sends them; one Outcome for every submitted work.

    Local paths are ASCII, and /proc/self/fd/<N>/... with N in `pass_fds` if a volume may vanish: such a path leads to
    the volume or nowhere. After a failed fetch `<path>` and `<path><digits>` may exist; the caller must remove them.
    `on_outcome` is called from the mover's thread (or from `submit`, for work that never started), must return quickly
    and not call `submit`. An exception in that thread closes the mover; `on_error` gets exceptions raised then.
    UNKNOWN: it is not known whether the work was done, but nothing works on it any more.
    ConfigError if there is no s5cmd, or the limit of open files is too low for the configured workers.
    """

    can_fetch = staticmethod(protocol.can_fetch)
    can_send = staticmethod(protocol.can_send)

    def __init__(
        self,
        store: Store,
        endpoint: str,
        keys: Keys,
        settings: MoverSettings,
        *,
        direction: str,
        pass_fds: Sequence[int],
        on_outcome: Callable[[Outcome], None],
        on_error: Callable[[BaseException], None] = workers.tell,
    ) -> None:
        is_fetch = {"fetch": True, "send": False}[direction]
        small: Lane[Process] = Lane(settings.workers, queued=True)
        large: Lane[Process] = Lane(settings.large_workers, queued=False)
        launcher = Launcher(store, endpoint, keys, settings, is_fetch=is_fetch, pass_fds=pass_fds)
        allow_open_files(small.width, large.width * (settings.part_concurrency + 1))
        self._on_outcome = on_outcome
        self._on_error = on_error
        self._commands = protocol.Commands(store.bucket, is_fetch, settings)
        self._poller = Poller()
        self._pool = ProcessPool(small, large, self._poller)
        deliver = functools.partial(_deliver, on_outcome)
        self._endings = ProcessEndings(self._pool, self._poller, deliver)
        checks = CheckTimes(settings.stall_seconds)
        self._supervisor = Supervisor(
            self._commands, launcher, self._pool, self._poller, self._endings, checks, deliver
        )
        self._thread: workers.Worker | None = None

    @property
    def is_closed(self) -> bool:
        return self._pool.is_closed

    @property
    def in_flight(self) -> int:
        """How many pieces of work have no outcome yet."""
        return self._pool.in_flight

    @property
    def cpu_seconds(self) -> float:
        """User and system time of the s5cmd processes that have ended, in seconds."""
        return self._endings.cpu_seconds

    @property
    def pids(self) -> list[int]:
        """The running s5cmd processes."""
        return self._pool.pids

    @property
    def traffic(self) -> int:
        """Bytes that the running s5cmd processes have read and written."""
        return sum(sum(traffic_of(pid) or (0, 0)) for pid in self.pids)

    def has_room(self, _volume: int) -> bool:
        """Always True: it does not know, and `submit` may block."""
        return True

    def submit(self, *works: Fetch | Send) -> None:
        """Submit work; blocks while its lane is full. ValueError for a path that is already in flight."""
        for work in works:
            self._submit(work)

    def _submit(self, work: Fetch | Send) -> None:
        if not self._commands.supports(work):
            self._on_outcome(Outcome(work.id, Trouble.UNSUPPORTED, f"s5cmd does not support {work.key!r}"))
            return
        if threading.current_thread() is self._thread:
            raise RuntimeError("submit() was called from on_outcome: it would deadlock")
        line = self._commands.line(work)
        is_large = self._commands.is_large(work)
        refusal = self._pool.give(work, line, is_large=is_large, ensure_thread=self._ensure_thread)
        if refusal:
            self._on_outcome(Outcome(work.id, refusal.trouble, refusal.message))

    def close(self, grace_seconds: float = 5.0) -> None:
        """End all processes, with SIGKILL after the grace. Work in flight gets UNKNOWN unless its report arrives."""
        self._pool.close(time.monotonic() + grace_seconds)
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join()

    def _ensure_thread(self) -> None:
        """Called under the pool's lock, so there is never a second one, and none after the pool was closed."""
        if self._thread is None:
            self._poller.open_wake_up()
            self._thread = workers.start(self._supervisor.run, "s5cmd-mover", self._on_error)


def _deliver(on_outcome: Callable[[Outcome], None], outcomes: Iterable[Outcome]) -> None:
    for outcome in outcomes:
        try:
            on_outcome(outcome)
        except Exception:
            _log.exception("the receiver of outcomes failed at %r", outcome)
