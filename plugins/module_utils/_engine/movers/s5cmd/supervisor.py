# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the thread of an s5cmd mover does: it starts processes, reads their reports, and stops those that are stuck."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from ...core import workers
from ...core.model import Outcome
from .capacity import Lane, Slot
from .endings import ProcessEndings
from .polling import Poller
from .process import Launcher, Process
from .process_pool import ProcessPool
from .protocol import Commands
from .stuck import CheckTimes

_log = logging.getLogger("snowsync.s5cmd")


class Supervisor:
    """Supervises the processes of a mover until the pool is closed and they have ended. An exception ends them all."""

    def __init__(
        self,
        commands: Commands,
        launcher: Launcher,
        pool: ProcessPool,
        poller: Poller,
        endings: ProcessEndings,
        checks: CheckTimes,
        deliver: Callable[[Iterable[Outcome]], None],
    ) -> None:
        self._commands = commands
        self._launcher = launcher
        self._pool = pool
        self._poller = poller
        self._endings = endings
        self._checks = checks
        self._deliver = deliver

    def run(self) -> None:
        reason = "the mover was closed"
        try:
            while self._turn():
                pass
        except Exception as error:
            _log.exception("the thread of the s5cmd mover failed; the outcome of all transfers in flight is unknown")
            reason = f"the s5cmd mover failed: {type(error).__name__}: {error}"
        finally:
            # After a normal end only descriptors are left.
            self._pool.end_thread(time.monotonic())
            self._endings.abandon_all(reason)
            self._poller.close()

    def _turn(self) -> bool:
        longest = self._seconds_to_wait()
        if longest is None:
            workers.idle()
        ready = self._poller.wait(longest)
        workers.beat()
        naps = self._handle(ready)
        now = time.monotonic()
        if any(lane.is_wanted for lane in self._pool.lanes):
            self._start_wanted(now)
        if now >= self._checks.due:
            self._stop_stuck(now)
        if self._pool.close_by is not None:
            self._endings.stop_all("the mover was closed", self._pool.close_by)
        if self._endings.are_pending:
            self._endings.attend(now)
        elif naps:
            self._poller.doze(min(naps))
        return not self._pool.is_closed or bool(self._pool.running())

    def _seconds_to_wait(self) -> float | None:
        """Until something is due; None if only a wake-up can change anything."""
        running = self._pool.running()
        if not self._endings.are_pending and not any(lane.is_wanted for lane in self._pool.lanes):
            return self._checks.every if running else None
        now = time.monotonic()
        times = [self._checks.due] if running else []
        slots = [lane.wanted_slot() for lane in self._pool.lanes]
        times += [slot.not_before for slot in slots if slot]
        times += self._endings.due_times(now)
        return max(0.0, min(times) - now) if times else None

    def _handle(self, ready: Iterable[int]) -> list[float]:
        """Read from and write to the descriptors that are ready. Returns for each output how long it may accumulate."""
        naps = []
        for descriptor in ready:
            process = self._poller.outputs.get(descriptor)
            if process:
                self._read(process, descriptor)
                naps.append(process.output.nap if process.lane.queued else 0.0)
            elif descriptor in self._poller.inputs:
                self._pool.flush(self._poller.inputs[descriptor])
        return naps

    def _start_wanted(self, now: float) -> None:
        for lane in self._pool.lanes:
            slot = None if self._pool.is_closed else lane.wanted_slot()
            if slot is None:
                lane.is_wanted = False
            elif now >= slot.not_before:
                self._start(lane, slot)

    def _start(self, lane: Lane[Process], slot: Slot[Process]) -> None:
        try:
            process = self._launcher.start(lane, is_for_small=lane is self._pool.small)
        except OSError as error:
            self._pool.fail_start(lane, slot, f"Failed to start s5cmd: {error.strerror}")
            return
        self._poller.add_outputs(process)
        self._checks.started(process.started)
        self._pool.add(slot, process)

    def _read(self, process: Process, descriptor: int) -> None:
        lines = process.output.read(descriptor)
        if lines is None:
            self._endings.end_output(process, descriptor)
        elif lines:
            self._account(process, lines)
            process.output.pace(len(lines))

    def _account(self, process: Process, lines: Sequence[bytes]) -> None:
        reports = [self._commands.report(line) for line in lines]
        outcomes = self._pool.finish(process, reports, self._commands.outcome)
        self._deliver(outcome for outcome in outcomes if outcome is not None)
        strays = [line for line, outcome in zip(lines, outcomes, strict=True) if outcome is None]
        if strays:
            process.output.add_noise(strays)
            self._endings.stop(process, "s5cmd said what none of its commands explains")

    def _stop_stuck(self, now: float) -> None:
        self._checks.checked(now)
        for process in self._pool.running():
            oldest = self._pool.oldest(process)
            stuck = process.watch.stuck(oldest, now) if process.accepts else {}
            if stuck:
                reason = f"s5cmd was stopped, because {len(stuck)} of its transfers were stuck"
                self._endings.stop(process, reason, stuck=stuck)
