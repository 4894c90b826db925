# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The result of a run: what each unit did, and the state of the ledger afterwards."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..config.job_file import Job
from ..core.errors import LocalError
from ..core.machine import now_ms
from ..hops.counters import Moved
from ..hops.destination.destination_unit import DestinationUnit
from ..hops.unit import Unit
from ..inspection.report import Report, evidence_counts, gather, save
from ..ledger.ledger import Ledger
from ..ledger.left_behind import left_behind
from ..ledger.reader import LedgerReader

_log = logging.getLogger("snowsync")
_FIRST = 100


@dataclass(frozen=True)
class Hop:
    """What one hop moved in this run."""

    objects: int = 0
    bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Summary:
    """The result of a run, as `snowsync run --json` prints it."""

    job: str
    changed: bool
    drained: bool
    seconds: float
    listed: dict[str, int]
    staged: Hop
    delivered: Hop
    released: dict[str, int]
    states: dict[str, int]
    evidence: dict[str, dict[str, int]]
    failures: list[dict[str, str]]
    failure_count: int
    refused: int  # staged objects that the destination did not accept in this run
    waiting: list[str]  # when a deadline ended the run: what each unit was doing or waiting for
    report: str
    lost: int = 0  # listed generations that no longer exist anywhere; an older one of the object is delivered
    left_behind: int = 0  # objects that are listed at the source, but whose keys cannot be moved
    unserved: list[str] = field(default_factory=list)  # stores that answered, but served no object in any trial

    def as_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class UnitEnd:
    """What a unit of the run has done, once it has ended; `failures` are the first hundred of `failure_count`."""

    unit: str
    moved: Hop = Hop()
    listed: dict[str, int] = field(default_factory=lambda: {"objects": 0, "bytes": 0})
    released: dict[str, int] = field(default_factory=lambda: {"objects": 0, "bytes": 0})
    failures: list[dict[str, str]] = field(default_factory=list)
    failure_count: int = 0
    lost: int = 0
    left_behind: int = 0
    is_complete: bool = False
    waiting_for: str = ""
    unserved: str = ""
    refuses_everything: bool = False  # the destination took none of the objects that were tried last

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> UnitEnd:
        return cls(**{**values, "moved": Hop(**values["moved"])})


def end_of(unit: Unit) -> UnitEnd:
    counters, activity = unit.counters, unit.activity
    return UnitEnd(
        unit=unit.name,
        moved=_hop(counters.moved),
        listed={"objects": counters.listed.objects, "bytes": counters.listed.bytes},
        released={"objects": counters.released.objects, "bytes": counters.released.bytes},
        failures=[
            {"key": failure.row.key, "trouble": failure.trouble.value, "message": failure.message}
            for failure in counters.failures.first
        ],
        failure_count=counters.failures.count,
        lost=counters.lost,
        left_behind=counters.listed.left_behind,
        is_complete=activity.is_complete,
        waiting_for=activity.waiting_for,
        unserved=activity.unserved,
        refuses_everything=isinstance(unit, DestinationUnit) and unit.refusals.everything,
    )


def _hop(moved: Moved) -> Hop:
    return Hop(moved.objects, moved.bytes, round(moved.seconds, 3))


@dataclass(frozen=True)
class Start:
    """When a run began: in monotonic seconds, and in milliseconds of the wall clock."""

    monotonic: float
    wall_ms: int

    @classmethod
    def now(cls) -> Start:
        return cls(time.monotonic(), now_ms())

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.monotonic

    @property
    def earliest_ms(self) -> int:
        """If the clock was set back meanwhile, events may be dated before the start."""
        return min(self.wall_ms, now_ms() - int(self.seconds * 1000))


def summarise(job: Job, ledger: Ledger, ends: Sequence[UnitEnd], start: Start) -> Summary:
    """The summary of a run whose units, one or both, have ended; also saves the report of what happened."""
    hops = {end.unit: end for end in ends}
    source, destination = hops.get("source", UnitEnd("source")), hops.get("destination", UnitEnd("destination"))
    changed = source.moved.objects + destination.moved.objects + destination.released["objects"] > 0
    reader = LedgerReader(ledger)
    gathered = gather(reader, since_ms=start.earliest_ms)
    # A run that does not list the source uses the count of the last run that did.
    left = source.left_behind if "source" in hops else left_behind(reader.facts(), job.source)
    failures = [*source.failures, *destination.failures][:_FIRST]
    return Summary(
        job=job.job,
        changed=changed,
        # Nothing open in the ledger is not enough: perhaps nothing was listed, or what was listed could not be moved.
        drained=not (gathered.census.open.objects or gathered.census.troubled.objects or left or source.lost)
        and all(end.is_complete for end in ends),
        seconds=round(start.seconds, 3),
        listed=source.listed,
        staged=source.moved,
        delivered=destination.moved,
        released=destination.released,
        states={state.label: tally.objects for state, tally in gathered.census.states.items()},
        evidence=evidence_counts(gathered.census),
        failures=failures,
        waiting=[f"{end.unit}: {end.waiting_for}" for end in ends if end.waiting_for],
        refused=_refused(ledger, destination),
        failure_count=source.failure_count + destination.failure_count,
        lost=source.lost,
        left_behind=left,
        unserved=[end.unserved for end in ends if end.unserved],
        report=_report(job, reader, gathered) if changed or failures else "",
    )


def _refused(ledger: Ledger, destination: UnitEnd) -> int:
    """The number of staged objects that are left after the destination unit completed its work."""
    if not destination.is_complete:
        return 0
    return ledger.objects.refused(everything=destination.refuses_everything or bool(destination.unserved))


def _report(job: Job, reader: LedgerReader, gathered: Report) -> str:
    try:
        return str(save(job, reader, gathered))
    except LocalError as error:  # not fatal: what was moved is recorded in the ledger
        _log.error("the report could not be saved: %s", error)
        return ""
