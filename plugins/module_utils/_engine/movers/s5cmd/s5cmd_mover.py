# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The s5cmd mover: long-lived ``s5cmd run`` processes, fed through pipes and monitored; each report is matched.

`submit` writes the command for a piece of work; one thread per mover starts, reads, monitors, stops and reaps the
processes. A process with unexpected output or behavior is ended, and what it had in flight becomes UNKNOWN.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ...core import workers
from ...core.errors import Trouble
from ...core.model import Fetch, Outcome, Send
from ...store.timeouts import patience_of
from . import protocol
from .capacity import Lane, Slot
from .protocol import Report, classify
from .setup import BOOTSTRAP, allow_open_files, arguments, binary_path, environment
from .stuck import Watch, traffic_of

if TYPE_CHECKING:  # config/job_file.py brings pydantic
    from ...config.credentials import Keys
    from ...config.job_file import MoverSettings, Store

__all__ = ["S5cmdMover", "binary_path", "classify"]

_log = logging.getLogger("snowsync.s5cmd")
_STOP_SECONDS = 2.0  # from SIGTERM, on which s5cmd removes its temporary files, to SIGKILL
_REAP_SECONDS = 5.0  # a killed process that still exists after this hangs in the kernel, with its volume
_SHORTEST_NAP, _LONGEST_NAP = 1.0, 50.0  # ms to let reports accumulate: a wake-up costs more than a report
_GOGC, _GOMEMLIMIT = "400", "32MiB"  # 13 % less CPU on small objects, 40 MB instead of 25
_LONGEST_LINE = 1024 * 1024
_MOST_NOISE = 4096
_KILL, _TERM = 9, 15


class Process:
    """One running s5cmd.

    The mover's lock guards `in_flight` (in the order of submission), `accepts`, `backlog` and the end of `stdin`; the
    rest belongs to the mover's thread.
    """

    def __init__(self, popen: subprocess.Popen[bytes], lane: Lane[Process], slot: Slot[Process], watch: Watch) -> None:
        assert popen.stdin and popen.stdout and popen.stderr  # PIPE was asked for
        self.popen = popen
        self.lane = lane
        self.slot = slot
        self.watch = watch
        self.stdin = popen.stdin
        self.streams = {stream.fileno(): stream for stream in (popen.stdout, popen.stderr)}
        self.tails = dict.fromkeys(self.streams, b"")  # the start of an incomplete line
        self.started = time.monotonic()
        self.in_flight: dict[str, Fetch | Send] = {}
        self.accepts = True
        self.backlog = b""
        self.reason = ""  # why it was told to stop
        self.stuck: dict[str, str] = {}
        self.noise = b""  # output other than reports
        self.deadline = 0.0  # of the next step of its shutdown; 0: it keeps running
        self.killed = False
        self.nap = _SHORTEST_NAP

    def pace(self, reports: int) -> None:
        """Let about half as many reports accumulate as there are workers: as many commands are queued meanwhile."""
        if 2 * reports > self.lane.width:
            self.nap = max(_SHORTEST_NAP, self.nap / 2)
        elif 4 * reports <= self.lane.width:
            self.nap = min(_LONGEST_NAP, self.nap * 2)

    def write(self, line: bytes) -> None:
        """Never blocks: what the pipe does not accept waits in `backlog`."""
        if self.backlog:
            self.backlog += line
            return
        try:
            written = os.write(self.stdin.fileno(), line)
        except BlockingIOError:
            written = 0
        except OSError:  # it died; the mover's thread will notice, and handles what is in flight
            return
        self.backlog = line[written:]

    def flush(self) -> None:
        line, self.backlog = self.backlog, b""
        self.write(line)

    def end_input(self, deadline: float) -> None:
        """SIGTERM and EOF: s5cmd stops and removes its temporary files. SIGKILL if a line is half written."""
        self.accepts = False
        self.deadline = deadline
        self.signal(_KILL if self.backlog else _TERM)
        self.backlog = b""
        self.stdin.close()

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.popen.pid, number)  # it is not reaped yet, so the pid is still its own
        self.killed = self.killed or number == _KILL

    def describe_end(self) -> str:
        code = self.popen.returncode
        words = (
            "with no exit code" if code is None else f"with signal {-code}" if code < 0 else f"with exit code {code}"
        )
        heard = " ".join(self.noise.decode("utf-8", "replace").split())[:300]
        return (self.reason or f"s5cmd ended {words}") + (f": {heard}" if heard else "")


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
        self._bucket = store.bucket
        self._is_fetch = {"fetch": True, "send": False}[direction]
        self._settings = settings
        self._pass_fds = tuple(pass_fds)
        self._on_outcome = on_outcome
        self._on_error = on_error
        self._small: Lane[Process] = Lane(settings.workers, queued=True)
        self._large: Lane[Process] = Lane(settings.large_workers, queued=False)
        self._lanes = (self._small, self._large)
        self._binary = binary_path(settings)
        self._arguments = arguments(endpoint, keys.current(), settings)
        self._environment = environment(store, endpoint)
        allow_open_files(self._small.width, self._large.width * (settings.part_concurrency + 1))
        self._changed = threading.Condition(threading.Lock())
        self._by_path: dict[str, Process] = {}
        self._closed = False
        self._close_by = 0.0
        self._cpu_seconds = 0.0
        self._thread: workers.Worker | None = None
        self._wake = -1
        self._poll = select.epoll()
        self._doze = select.poll()  # polls only the wake-up descriptor
        self._streams: dict[int, Process] = {}
        self._writers: dict[int, Process] = {}
        self._running: list[Process] = []
        self._stopping: list[Process] = []
        self._look_every = min(5.0, max(0.05, settings.stall_seconds / 8))
        self._next_look = 0.0

    @property
    def is_closed(self) -> bool:
        return self._closed

    @property
    def in_flight(self) -> int:
        """How many pieces of work have no outcome yet."""
        return len(self._by_path)

    @property
    def cpu_seconds(self) -> float:
        """User and system time of the s5cmd processes that have ended, in seconds."""
        return self._cpu_seconds

    @property
    def pids(self) -> list[int]:
        """The running s5cmd processes."""
        with self._changed:
            return [process.popen.pid for process in self._running]

    @property
    def traffic(self) -> int:
        """Bytes that the running s5cmd processes have read and written."""
        return sum(sum(traffic_of(pid) or (0, 0)) for pid in self.pids)

    def has_room(self, _volume: int) -> bool:
        """Always True: it does not know, and `submit` may block."""
        return True

    def submit(self, work: Fetch | Send) -> None:
        """Submit work; blocks while its lane is full. ValueError for a path that is already in flight."""
        able = self.can_fetch(work) if isinstance(work, Fetch) else self.can_send(work)
        if not able or isinstance(work, Fetch) is not self._is_fetch:
            self._on_outcome(Outcome(work.id, Trouble.UNSUPPORTED, f"s5cmd does not support {work.key!r}"))
            return
        line = self._line(work).encode()
        with self._changed:
            process, refusal = self._claim(self._large if self._settings.is_large(work.size) else self._small)
            if process:
                if work.path in self._by_path:
                    raise ValueError(f"{work.path} is already in flight")
                self._by_path[work.path] = process
                process.in_flight[work.path] = work
                process.write(line)
                if process.backlog and process.stdin.fileno() not in self._writers:
                    self._writers[process.stdin.fileno()] = process
                    self._poll.register(process.stdin, select.EPOLLOUT)
                return
        self._on_outcome(Outcome(work.id, *refusal))

    def close(self, grace_seconds: float = 5.0) -> None:
        """End all processes, with SIGKILL after the grace. Work in flight gets UNKNOWN unless its report arrives."""
        with self._changed:
            if not self._closed:
                self._closed = True
                self._close_by = time.monotonic() + grace_seconds
            self._changed.notify_all()
            self._rouse()
            thread = self._thread
        if thread and thread is not threading.current_thread():
            thread.join()

    # --- under the lock, in the threads that call submit

    def _line(self, work: Fetch | Send) -> str:
        settings = self._settings
        if isinstance(work, Send):
            return protocol.send_line(work, self._bucket, concurrency=settings.part_concurrency)
        concurrency = settings.part_concurrency if settings.is_large(work.size) else 1
        return protocol.fetch_line(work, self._bucket, part_size=settings.part_size, concurrency=concurrency)

    def _claim(self, lane: Lane[Process]) -> tuple[Process | None, tuple[Trouble, str]]:
        """A process with room, as soon as there is one; otherwise why there will be none."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("submit() was called from on_outcome: it would deadlock")
        failures = lane.failures
        while not self._closed:
            process = lane.roomiest()
            if process:
                return process, (Trouble.OTHER, "")
            if lane.failures != failures:
                return None, (Trouble.OTHER, lane.failure)
            if lane.empty_slot():
                lane.is_wanted = True
                self._ensure_thread()
                self._rouse()
            self._changed.wait()
        return None, (Trouble.UNKNOWN, "the mover is closed")

    def _ensure_thread(self) -> None:
        if self._thread is None:
            self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._poll.register(self._wake, select.EPOLLIN)
            self._doze.register(self._wake, select.POLLIN)
            self._thread = workers.start(self._run, "s5cmd-mover", self._on_error)

    def _rouse(self) -> None:
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    # --- the mover's thread

    def _run(self) -> None:
        reason = "the mover was closed"
        try:
            while self._turn():
                pass
        except Exception as error:
            _log.exception("the thread of the s5cmd mover failed; the outcome of all transfers in flight is unknown")
            reason = f"the s5cmd mover failed: {type(error).__name__}: {error}"
        finally:
            self._abandon(reason)

    def _turn(self) -> bool:
        naps: list[float] = []
        longest = self._seconds_to_wait()
        if longest is None:
            workers.idle()
        ready = self._poll.poll(longest)
        workers.beat()
        for descriptor, _ in ready:
            process = self._streams.get(descriptor)
            if process:
                self._read(process, descriptor)
                naps.append(process.nap if process.lane.queued else 0.0)
            elif descriptor in self._writers:
                self._flush(self._writers[descriptor], descriptor)
            elif descriptor == self._wake:
                os.eventfd_read(descriptor)
        now = time.monotonic()
        if self._small.is_wanted or self._large.is_wanted:
            self._start_wanted(now)
        if now >= self._next_look:
            self._look(now)
        if self._closed:
            self._stop_all("the mover was closed", self._close_by)
        if self._stopping:
            self._attend_ends(now)
        elif naps:
            nap = min(naps)
            self._doze.poll(nap)
        return not self._closed or bool(self._running)

    def _seconds_to_wait(self) -> float | None:
        if not (self._stopping or self._small.is_wanted or self._large.is_wanted):
            return self._look_every if self._running else None
        now = time.monotonic()
        times = [self._next_look] if self._running else []
        for lane in self._lanes:
            slot = lane.empty_slot() if lane.is_wanted else None
            if slot:
                times.append(slot.not_before)
        times += [process.deadline if process.streams else now + 0.01 for process in self._stopping]
        return max(0.0, min(times) - now) if times else None

    def _start_wanted(self, now: float) -> None:
        for lane in self._lanes:
            slot = lane.empty_slot() if lane.is_wanted and not self._closed else None
            if slot is None:
                lane.is_wanted = False
            elif now >= slot.not_before:
                self._start(lane, slot)

    def _start(self, lane: Lane[Process], slot: Slot[Process]) -> None:
        # s5cmd needs at least two workers; the lane's capacity keeps one of them idle if only one is configured.
        command = [self._binary, "--json", "--log", "info", "--numworkers", str(max(2, lane.width)), *self._arguments]
        try:
            popen = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", BOOTSTRAP, str(os.getpid()), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=self._environment | ({"GOGC": _GOGC, "GOMEMLIMIT": _GOMEMLIMIT} if lane is self._small else {}),
                pass_fds=self._pass_fds,
                start_new_session=True,  # Ctrl-C at the terminal goes to the engine, which then closes its movers
            )
        except OSError as error:
            with self._changed:
                lane.is_wanted = False
                lane.failures += 1
                lane.failure = f"Failed to start s5cmd: {error.strerror}"
                slot.failed(0.0)
                self._changed.notify_all()
            return
        watch = Watch(popen.pid, patience_of(self._settings), is_fetch=self._is_fetch, width=lane.width)
        process = Process(popen, lane, slot, watch)
        os.set_blocking(process.stdin.fileno(), False)
        for descriptor in process.streams:
            self._streams[descriptor] = process
            self._poll.register(descriptor, select.EPOLLIN)
        if self._next_look < process.started:
            self._next_look = process.started + self._look_every
        with self._changed:
            lane.is_wanted = False
            slot.process = process
            self._running.append(process)
            self._changed.notify_all()

    def _read(self, process: Process, descriptor: int) -> None:
        data = os.read(descriptor, 1 << 16)
        *lines, tail = (process.tails[descriptor] + data).split(b"\n")
        if len(tail) > _LONGEST_LINE:
            lines, tail = [*lines, tail], b""
        process.tails[descriptor] = tail
        if lines:
            self._account(process, lines)
            process.pace(len(lines))
        if not data:
            process.noise += tail[:_MOST_NOISE]
            self._end_stream(process, descriptor)

    def _account(self, process: Process, lines: Iterable[bytes]) -> None:
        reports = [protocol.parse_report(line, is_fetch=self._is_fetch, bucket=self._bucket) for line in lines]
        outcomes = []
        strays = []
        with self._changed:
            for line, report in zip(lines, reports, strict=True):
                work = process.in_flight.pop(report.path, None) if report else None
                if report and work:
                    del self._by_path[work.path]
                    outcomes.append(self._outcome(work, report))
                else:
                    strays.append(line)
            if len(process.in_flight) <= process.lane.low_water:
                self._changed.notify_all()
        self._deliver(outcomes)
        if strays:
            process.noise = (process.noise + b"\n".join(strays))[:_MOST_NOISE]
            self._stop(process, "s5cmd said what none of its commands explains")

    def _outcome(self, work: Fetch | Send, report: Report) -> Outcome:
        if report.error:
            return Outcome(work.id, classify(report.error), report.error[:500])
        if report.size != work.size:
            return Outcome(work.id, Trouble.MISMATCH, f"s5cmd moved {report.size} bytes, {work.size} were expected")
        if not self._is_fetch and report.remote != f"s3://{self._bucket}/{work.key}":
            return Outcome(work.id, Trouble.MISMATCH, f"s5cmd stored the object as {report.remote!r}")
        return Outcome(work.id)

    def _deliver(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            try:
                self._on_outcome(outcome)
            except Exception:
                _log.exception("the receiver of outcomes failed at %r", outcome)

    def _flush(self, process: Process, descriptor: int) -> None:
        with self._changed:
            process.flush()
            if not process.backlog:
                del self._writers[descriptor]
                self._poll.unregister(descriptor)

    def _look(self, now: float) -> None:
        """Periodic check for stuck transfers."""
        self._next_look = now + self._look_every
        for process in list(self._running):
            with self._changed:
                # Commands start in the order of their lines, so the oldest ones are running.
                running = list(itertools.islice(process.in_flight.values(), process.lane.width))
            stuck = process.watch.stuck(running, now) if process.accepts else {}
            if stuck:
                process.stuck = stuck
                self._stop(process, f"s5cmd was stopped, because {len(stuck)} of its transfers were stuck")

    # --- the end of a process

    def _stop_all(self, reason: str, deadline: float) -> None:
        for process in list(self._running):
            self._stop(process, reason, deadline)

    def _stop(self, process: Process, reason: str, deadline: float = 0.0) -> None:
        if process.deadline:
            return
        with self._changed:
            self._writers.pop(process.stdin.fileno(), None)
            process.end_input(deadline or time.monotonic() + _STOP_SECONDS)
        process.reason = reason
        self._stopping.append(process)

    def _end_stream(self, process: Process, descriptor: int) -> None:
        del self._streams[descriptor]
        self._poll.unregister(descriptor)
        process.streams.pop(descriptor).close()
        self._stop(process, "")

    def _attend_ends(self, now: float) -> None:
        for process in list(self._stopping):
            if not process.streams and self._reap(process):
                self._settle(process, now)
            elif now >= process.deadline and not process.killed:
                process.signal(_KILL)
                process.deadline = now + _REAP_SECONDS
            elif now >= process.deadline:
                self._settle(process, now)

    def _reap(self, process: Process) -> bool:
        try:
            pid, status, usage = os.wait4(process.popen.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else has waited for it
            process.popen.returncode = 0
            return True
        if pid:
            process.popen.returncode = os.waitstatus_to_exitcode(status)
            self._cpu_seconds += usage.ru_utime + usage.ru_stime
        return bool(pid)

    def _settle(self, process: Process, now: float) -> None:
        """The process is gone: free its slot, and report everything it had in flight as unknown."""
        self._stopping.remove(process)
        for descriptor in list(process.streams):
            self._end_stream(process, descriptor)
        why = process.describe_end()
        with self._changed:
            left = list(process.in_flight.values())
            process.in_flight.clear()
            for work in left:
                del self._by_path[work.path]
            process.slot.process = None
            self._running.remove(process)
            process.slot.failed(now - process.started)
            self._changed.notify_all()
        if not self._closed:
            _log.warning("%s (%d objects in flight)", why, len(left))
        self._deliver(
            Outcome(work.id, Trouble.TIMEOUT, process.stuck[work.path])
            if work.path in process.stuck
            else Outcome(work.id, Trouble.UNKNOWN, why)
            for work in left
        )

    def _abandon(self, reason: str) -> None:
        """The thread's cleanup; after a normal end only descriptors are left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            os.close(self._wake)
            self._wake = -1
        for process in list(self._running):
            process.signal(_KILL)
            self._stop(process, reason)
            self._reap(process)
            self._settle(process, time.monotonic())
        self._poll.close()
