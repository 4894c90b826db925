# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""A snapshot of a job's progress: how far each hop is, where the objects are, what failed. No side effects."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..core.model import State
from ..ledger.records import FailureRow, Tally
from .report import Excerpt
from .status import Rate, UnitStatus
from .volume_status import VolumeStatus


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
class RunView:
    """The current run, or the last one."""

    units: list[UnitStatus] = field(default_factory=list)
    seconds: float = 0.0  # since it began, or from start to end

    @property
    def is_running(self) -> bool:
        return any(unit.alive for unit in self.units)


@dataclass(frozen=True, slots=True)
class ObjectsView:
    """Where the objects of a job are."""

    states: dict[State, Tally] = field(default_factory=dict)
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


@dataclass(frozen=True, slots=True)
class View:
    """A snapshot of a job. `waiting_for` says why there is nothing to show yet."""

    job: str
    waiting_for: str = ""
    run: RunView = field(default_factory=RunView)
    objects: ObjectsView = field(default_factory=ObjectsView)
    hops: dict[str, HopView] = field(default_factory=dict)
    volumes: list[VolumeView] = field(default_factory=list)
    failures: Excerpt[FailureRow] = field(default_factory=Excerpt)  # the latest of the run

    @property
    def eta_seconds(self) -> float | None:
        known = [hop.eta_seconds for hop in self.hops.values() if hop.remaining.objects]
        return max((seconds for seconds in known if seconds is not None), default=None) if None not in known else None


def eta(remaining: Tally, rate: Rate) -> float | None:
    """Seconds until `remaining` is moved, by objects or by bytes, whichever is longer. None: nothing moves."""
    if not remaining.objects:
        return 0.0
    if not rate.objects:
        return None
    by_bytes = remaining.bytes / rate.bytes if rate.bytes else 0.0
    return max(remaining.objects / rate.objects, by_bytes)
