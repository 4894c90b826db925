# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""A job's progress in numbers; reading the ledger takes at most a twentieth of the time.

Every look reads the run's rows and the groups committed since the previous look. Totals over all objects: totals.py.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.machine import boot_id, now_ms, ticks_ms
from ..core.model import State
from ..ledger.left_behind import left_behind
from ..ledger.reader import LedgerNotReady, LedgerReader
from ..ledger.records import Run, Tally
from .progress_view import HopView, ObjectsView, RunView, View, VolumeView, eta
from .recent_groups import RecentGroups
from .status import Rate, UnitStatus, is_settled, unit_status
from .totals import SHARE, Totals

if TYPE_CHECKING:
    from ..config.job_file import Job

_SHOWN_SECONDS = 10  # a displayed rate is the mean over this time
_ETA_SECONDS = 60  # longer, since groups of large objects are rare
HOPS = ("source", "destination")


class Progress:
    """Takes snapshots of one job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._reader: LedgerReader | None = None
        self._groups = RecentGroups()
        self._totals = Totals(job)
        self.cost_seconds = 0.0  # of the last look, without the totals

    def close(self) -> None:
        if self._reader:
            self._reader.close()
            self._reader = None

    def look(self) -> View:
        """The job now. Raises LedgerError for an unreadable ledger; while there is none yet, `waiting_for` is set."""
        started = time.monotonic()
        self._totals.seconds = 0.0  # until this look makes some
        try:
            if self._reader is None:
                self._reader = LedgerReader.open(self._job.ledger_path)
                self._groups.begin(self._reader, ticks_ms() - _ETA_SECONDS * 1000)
            return self._look(self._reader)
        except LedgerNotReady as error:
            return View(self._job.job, waiting_for=str(error))
        finally:
            self.cost_seconds = time.monotonic() - started - self._totals.seconds

    def pause(self, wanted: float) -> float:
        """Seconds to wait before the next look: `wanted`, or more if a look takes long."""
        return max(wanted, self.cost_seconds * SHARE)

    def _look(self, reader: LedgerReader) -> View:
        fresh = self._groups.take(reader)
        now = ticks_ms()
        self._groups.forget(now - _ETA_SECONDS * 1000)
        units = [unit_status(run) for run in reader.runs()]
        span = _span(units, now)
        settled = is_settled(units, is_open=reader.is_open())
        self._totals.update(reader, fresh, span.since_ms, units, settled=settled)
        return View(
            job=self._job.job,
            run=RunView(units, span.seconds),
            objects=ObjectsView(dict(self._totals.states), settled, left_behind(reader.facts(), self._job.source)),
            hops={hop: self._hop(hop, units, span) for hop in HOPS},
            volumes=[
                VolumeView(volume, self._rate(span, _SHOWN_SECONDS, volume=volume.number))
                for volume in self._totals.volumes
            ],
            failures=self._totals.failures,
        )

    def _hop(self, hop: str, units: list[UnitStatus], span: _Span) -> HopView:
        run = next((unit.run for unit in units if unit.run.unit == hop), None)
        moved = Tally(run.moved_objects, run.moved_bytes) if run else Tally()
        remaining = self._totals.states[State.PENDING]
        if hop == "destination":
            remaining = remaining + self._totals.states[State.STAGED]
        if span.over:
            return HopView(moved, remaining, Rate(moved.objects / span.divisor, moved.bytes / span.divisor), None)
        lasting = self._rate(span, _ETA_SECONDS, hop=hop) if self._groups.is_enough(hop, span.started) else Rate()
        return HopView(moved, remaining, self._rate(span, _SHOWN_SECONDS, hop=hop), eta(remaining, lasting))

    def _rate(self, span: _Span, seconds: int, *, hop: str = "", volume: int | None = None) -> Rate:
        since = max(span.now - seconds * 1000, span.started)
        committed = self._groups.committed(since, hop=hop, volume=volume)
        divisor = min(float(seconds), span.divisor)
        return Rate(committed.objects / divisor, committed.bytes / divisor)


@dataclass(frozen=True, slots=True)
class _Span:
    """The time span of the current run, or of the last one (`over`), in ms since boot: unaffected by clock changes.

    `since_ms` is the start in wall-clock time, as the failures are dated.
    """

    started: int
    now: int
    ended: int
    over: bool
    since_ms: int

    @property
    def seconds(self) -> float:
        return max(0, self.ended - self.started) / 1000

    @property
    def divisor(self) -> float:
        """At least a second: the first group of a run is not enough for a rate."""
        return max(1.0, self.seconds)


def _span(units: list[UnitStatus], now: int) -> _Span:
    alive = [unit.run for unit in units if unit.alive]
    newest = max((unit.run for unit in units), key=lambda run: run.id, default=None)
    if newest is None:
        return _Span(now, now, now, over=True, since_ms=now_ms())
    # Units of one run start together; a unit that ran at another time, with another direction, is not part of this run.
    runs = alive or [unit.run for unit in units if _began_with(unit.run, newest)]
    started = min(now if run.started_ticks_ms is None else run.started_ticks_ms for run in runs)
    ended = now if alive else max(run.saved_ticks_ms or started for run in runs)
    since_ms = min(run.started_ms for run in runs)
    if newest.boot_id == boot_id():  # if the clock was set back, events may be dated before the start of the run
        since_ms = min(since_ms, now_ms() - max(0, now - started))
    return _Span(started, now, ended, over=not alive, since_ms=since_ms)


def _began_with(run: Run, newest: Run) -> bool:
    if run.boot_id != newest.boot_id or run.started_ticks_ms is None or newest.started_ticks_ms is None:
        return run is newest
    return run.started_ticks_ms > newest.started_ticks_ms - 5000
