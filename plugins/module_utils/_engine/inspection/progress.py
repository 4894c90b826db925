# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""A job's progress in numbers; reading the ledger takes at most a twentieth of the time.

Every look reads the run's rows and the groups committed since the previous look. Totals over all objects take time in
proportion to the size of the ledger, so the slower they are, the less often they are computed; in between they are
updated from the groups.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..core.machine import boot_id, now_ms, ticks_ms
from ..core.model import State
from ..ledger.left_behind import left_behind
from ..ledger.reader import LedgerNotReady, LedgerReader
from ..ledger.records import FailureRow, GroupRow, Run, Tally
from .status import Rate, UnitStatus, is_settled, running, unit_status
from .volume_status import VolumeStatus, volume_statuses

if TYPE_CHECKING:
    from ..config.job_file import Job

_SHARE = 20  # at most this fraction (1/n) of the time goes into SQL
_SHOWN_SECONDS = 10  # a displayed rate is the mean over this time
_ETA_SECONDS = 60  # longer, since groups of large objects are rare
_FAILURES = 3
HOPS = ("source", "destination")


@dataclass(frozen=True, slots=True)
class HopView:
    """One hop of the current run. `remaining` is what this hop still has to move; `eta_seconds` None: not known."""

    moved: Tally
    remaining: Tally
    rate: Rate
    eta_seconds: float | None

    @property
    def fraction(self) -> float:
        """The mean of the fractions by bytes and by objects: neither many small objects nor one huge one dominate."""
        parts = [
            done / (done + left)
            for done, left in (
                (self.moved.bytes, self.remaining.bytes),
                (self.moved.objects, self.remaining.objects),
            )
            if done + left
        ]
        return sum(parts) / len(parts) if parts else 1.0


@dataclass(frozen=True, slots=True)
class VolumeView:
    """One volume with the rate at which objects become staged on it."""

    status: VolumeStatus
    rate: Rate


@dataclass(frozen=True, slots=True)
class View:
    """A snapshot of a job. `waiting_for` says why there is nothing to show yet."""

    job: str
    waiting_for: str = ""
    seconds: float = 0.0  # since the current run began
    units: list[UnitStatus] = field(default_factory=list)
    states: dict[State, Tally] = field(default_factory=dict)
    hops: dict[str, HopView] = field(default_factory=dict)
    volumes: list[VolumeView] = field(default_factory=list)
    failures: list[FailureRow] = field(default_factory=list)
    failure_count: int = 0
    is_settled: bool = False  # nothing is left to do
    left_behind: int = 0  # objects at the source whose keys cannot be moved

    @property
    def troubled(self) -> int:
        """The number of failed or quarantined objects."""
        return sum(self.states[state].objects for state in (State.QUARANTINED, State.FAILED)) if self.states else 0

    @property
    def drained(self) -> bool:
        """Whether everything listed is delivered and proven."""
        return self.is_settled and not self.troubled and not self.left_behind

    @property
    def is_running(self) -> bool:
        return any(unit.alive for unit in self.units)

    @property
    def eta_seconds(self) -> float | None:
        known = [hop.eta_seconds for hop in self.hops.values() if hop.remaining.objects]
        return max((seconds for seconds in known if seconds is not None), default=None) if None not in known else None


class Progress:
    """Takes snapshots of one job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._reader: LedgerReader | None = None
        self._recent: deque[GroupRow] = deque()
        self._last_group = 0
        self._states: dict[State, Tally] = {}
        self._volumes: list[VolumeStatus] = []
        self._failures: list[FailureRow] = []
        self._failure_count = 0
        self._sums_due = 0.0
        self._sums_are_last = False  # they were computed when nothing was left to do
        self._sum_seconds = 0.0
        self.cost_seconds = 0.0  # of the last look, without the totals

    def close(self) -> None:
        if self._reader:
            self._reader.close()
            self._reader = None

    def look(self) -> View:
        """The job now. Raises LedgerError for an unreadable ledger; while there is none yet, `waiting_for` is set."""
        started = time.monotonic()
        self._sum_seconds = 0.0
        try:
            if self._reader is None:
                self._reader = LedgerReader.open(self._job.ledger_path)
                self._begin(self._reader)
            return self._look(self._reader)
        except LedgerNotReady as error:
            return View(self._job.job, waiting_for=str(error))
        finally:
            self.cost_seconds = time.monotonic() - started - self._sum_seconds

    def pause(self, wanted: float) -> float:
        """Seconds to wait before the next look: `wanted`, or more if a look takes long."""
        return max(wanted, self.cost_seconds * _SHARE)

    def _begin(self, reader: LedgerReader) -> None:
        for group in reader.groups_since(ticks_ms() - _ETA_SECONDS * 1000):
            self._recent.append(group)
            self._last_group = group.id
        self._last_group = self._last_group or reader.last_group_id()

    def _look(self, reader: LedgerReader) -> View:
        fresh = list(reader.groups(self._last_group))
        if fresh:
            self._last_group = fresh[-1].id
        self._recent.extend(fresh)
        now = ticks_ms()
        while self._recent and self._recent[0].ticks_ms < now - _ETA_SECONDS * 1000:
            self._recent.popleft()
        units = [unit_status(run) for run in reader.runs()]
        span = _span(units, now)
        settled = is_settled(units, is_open=reader.is_open())
        if not self._are_sums_due(settled=settled):
            self._carry_forward(fresh)
        else:
            self._sum_up(reader, span.since_ms, units)
            self._sums_are_last = settled  # determined first, so the totals are at least as recent
        return View(
            job=self._job.job,
            seconds=span.seconds,
            units=units,
            states=dict(self._states),
            hops={hop: self._hop(hop, units, span) for hop in HOPS},
            volumes=[
                VolumeView(volume, self._rate(span, _SHOWN_SECONDS, volume=volume.number)) for volume in self._volumes
            ],
            failures=self._failures,
            failure_count=self._failure_count,
            is_settled=settled,
            left_behind=left_behind(reader.facts(), self._job.source),
        )

    def _are_sums_due(self, *, settled: bool) -> bool:
        """From time to time, and once nothing is left to do, since that is what stays on the screen."""
        return time.monotonic() >= self._sums_due or (settled and not self._sums_are_last)

    def _sum_up(self, reader: LedgerReader, since_ms: int, units: list[UnitStatus]) -> None:
        started = time.monotonic()
        self._states = reader.states()
        self._volumes = volume_statuses(self._job, reader.volumes_seen(), running(units), reader.ledger.volumes)
        self._failures = reader.failures(_FAILURES, since_ms)
        self._failure_count = reader.failure_count(since_ms)
        self._sum_seconds = time.monotonic() - started
        self._sums_due = time.monotonic() + _SHARE * self._sum_seconds

    def _carry_forward(self, fresh: Iterable[GroupRow]) -> None:
        for group in fresh:
            moved = Tally(group.objects, group.bytes)
            if group.hop == "source":
                self._take(State.PENDING, moved)
                self._states[State.STAGED] += moved
            elif group.hop == "destination":
                self._take(State.STAGED, moved)
                self._states[State.DELIVERED] += moved

    def _take(self, state: State, moved: Tally) -> None:
        have = self._states[state]
        self._states[state] = Tally(max(0, have.objects - moved.objects), max(0, have.bytes - moved.bytes))

    def _hop(self, hop: str, units: list[UnitStatus], span: _Span) -> HopView:
        run = next((unit.run for unit in units if unit.run.unit == hop), None)
        moved = Tally(run.moved_objects, run.moved_bytes) if run else Tally()
        remaining = self._states[State.PENDING]
        if hop == "destination":
            remaining = remaining + self._states[State.STAGED]
        if span.over:
            return HopView(moved, remaining, Rate(moved.objects / span.divisor, moved.bytes / span.divisor), None)
        # A single group is not enough for a rate: the first may hold eight empty objects, with many large ones to come.
        of_hop = [group.volume for group in self._recent if group.hop == hop and group.ticks_ms >= span.started]
        is_known = len(of_hop) > len(set(of_hop))  # one commit may be one group per volume
        lasting = self._rate(span, _ETA_SECONDS, hop=hop) if is_known else Rate()
        return HopView(moved, remaining, self._rate(span, _SHOWN_SECONDS, hop=hop), eta(remaining, lasting))

    def _rate(self, span: _Span, seconds: int, *, hop: str = "", volume: int | None = None) -> Rate:
        since = max(span.now - seconds * 1000, span.started)
        objects = size = 0
        for group in reversed(self._recent):
            if group.ticks_ms < since:
                break
            if group.hop == hop or (volume is not None and group.volume == volume and group.hop == "source"):
                objects += group.objects
                size += group.bytes
        divisor = min(float(seconds), span.divisor)
        return Rate(objects / divisor, size / divisor)


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


def eta(remaining: Tally, rate: Rate) -> float | None:
    """Seconds until `remaining` is moved, by objects or by bytes, whichever is longer. None: nothing moves."""
    if not remaining.objects:
        return 0.0
    if not rate.objects:
        return None
    by_bytes = remaining.bytes / rate.bytes if rate.bytes else 0.0
    return max(remaining.objects / rate.objects, by_bytes)
