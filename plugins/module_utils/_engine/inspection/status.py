# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The status of jobs from their ledgers and volumes alone: no store is contacted, so it works during an outage too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError, SnowsyncError
from ..core.machine import boot_id, now_ms, process_ticks, ticks_ms
from ..core.model import Evidence, State
from ..core.text import bytes_text, count_text, counted_text, moment_text, plain_text, rate_text, seconds_text, table
from ..ledger import binding
from ..ledger.left_behind import left_behind
from ..ledger.reader import LedgerReader
from ..ledger.records import Fact, FailureRow, GroupRow, Run, Tally
from ..volumes.claims import NoLedger
from .report import failure_lines, failure_record
from .volume_status import VolumeStatus, away_text, unavailable, volume_statuses

if TYPE_CHECKING:
    from ..config.job_file import Job

RATE_SECONDS = 60
_SILENT_SECONDS = 30.0  # a unit saves its row every two seconds
_FAILURES = 10


@dataclass(frozen=True, slots=True)
class UnitStatus:
    """The latest run of one unit. `alive`: its process exists; `silent_seconds` since it last saved its row."""

    run: Run
    alive: bool
    silent_seconds: float

    @property
    def word(self) -> str:
        if self.run.ended_ms is not None:
            return "stopped"
        if not self.alive:
            return "died"
        return "silent" if self.silent_seconds > _SILENT_SECONDS else "running"


@dataclass(frozen=True, slots=True)
class Rate:
    """What one hop commits per second, averaged over the last RATE_SECONDS or since its first group."""

    objects: float = 0.0
    bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class JobStatus:
    """Everything `snowsync status` shows about one job. `error`: why there is nothing to show.

    `settled`: nothing is open, and the latest run of the source unit completed a listing; `drained`: in addition,
    nothing failed, and nothing listed was left at the source (`left_behind` objects whose keys cannot be moved).
    `refused`: why the next run will reject the job file.
    """

    job: str
    origin: str
    error: SnowsyncError | None = None
    drained: bool = False
    settled: bool = False
    left_behind: int = 0
    states: dict[State, Tally] = field(default_factory=dict)
    units: list[UnitStatus] = field(default_factory=list)
    rates: dict[str, Rate] = field(default_factory=dict)
    volumes: list[VolumeStatus] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    failures: list[FailureRow] = field(default_factory=list)
    failure_count: int = 0
    not_proven: int = 0  # objects proven only by two reads of the source that agree
    refused: list[str] = field(default_factory=list)

    @property
    def has_run(self) -> bool:
        return bool(self.units)

    def record(self) -> dict[str, Any]:
        """The job as one element of `status --json`."""
        return {
            "job": self.job,
            "config": self.origin,
            "error": str(self.error) if self.error else "",
            "has_run": self.has_run,
            "drained": self.drained,
            "left_behind": self.left_behind,
            "states": {state.label: asdict(tally) for state, tally in self.states.items()},
            "units": [_unit_record(unit) for unit in self.units],
            "rates": {hop: asdict(rate) for hop, rate in self.rates.items()},
            "volumes": [asdict(volume) for volume in self.volumes],
            "unavailable": asdict(unavailable(self.volumes)),
            "endpoint_facts": [asdict(fact) for fact in self.facts],
            "failures": [failure_record(failure) for failure in self.failures],
            "failure_count": self.failure_count,
            "not_proven": self.not_proven,
            "refused": self.refused,
        }


def _unit_record(unit: UnitStatus) -> dict[str, Any]:
    run = unit.run
    return {
        "unit": run.unit,
        "state": unit.word,
        "status": run.status,
        "pid": run.pid,
        "started_epoch": run.started_ms / 1000,
        "updated_epoch": run.updated_ms / 1000,
        "ended_epoch": None if run.ended_ms is None else run.ended_ms / 1000,
        "passes": run.passes,
        "listed": {"objects": run.listed_objects, "bytes": run.listed_bytes},
        "moved": {"objects": run.moved_objects, "bytes": run.moved_bytes},
        "released": {"objects": run.released_objects, "bytes": run.released_bytes},
        "failures": run.failures,
    }


# -- gathering --------------------------------------------------------------------------------------------------


def gather_all(jobs_dir: Path) -> list[JobStatus]:
    """Every job that has a file in `jobs_dir`; a job with an invalid file has its error set."""
    found = []
    for path, job in jobs_in(jobs_dir):
        if isinstance(job, ConfigError):
            found.append(JobStatus(path.stem, str(path), error=job))
        else:
            found.append(gather(job, origin=str(path)))
    return found


def jobs_in(jobs_dir: Path) -> Iterator[tuple[Path, Job | ConfigError]]:
    """Every job file in a directory, by name, with the job or with what is wrong with it."""
    from ..config.job_file import load_job

    for path in sorted(path for path in jobs_dir.glob("*.y*ml") if path.suffix in (".yml", ".yaml")):
        try:
            yield path, load_job(path)
        except ConfigError as error:
            yield path, error


def gather(job: Job, *, origin: str = "") -> JobStatus:
    """One job; a ledger that cannot be read becomes its `error`."""
    if not job.ledger_path.exists():
        return JobStatus(job.job, origin, volumes=volume_statuses(job, [], ledger=NoLedger()))
    try:
        with LedgerReader.open(job.ledger_path) as reader:
            units = [unit_status(run) for run in reader.runs()]
            census, facts = reader.census(), reader.facts()
            left = left_behind(facts, job.source)
            settled = is_settled(units, is_open=reader.is_open())
            return JobStatus(
                job=job.job,
                origin=origin,
                drained=settled and not census.troubled.objects and not left,
                settled=settled,
                left_behind=left,
                states=dict(census.states),
                units=units,
                rates=rates(reader),
                volumes=volume_statuses(job, reader.volumes_seen(), running(units), reader.ledger.volumes),
                facts=facts,
                failures=reader.failures(_FAILURES),
                failure_count=reader.failure_count(),
                not_proven=census.source.get(Evidence.NOT_PROVEN, 0),
                refused=binding.refusals(job, reader.ledger.stores),
            )
    except SnowsyncError as error:
        return JobStatus(job.job, origin, error=error, volumes=volume_statuses(job, []))


def is_settled(units: list[UnitStatus], *, is_open: bool) -> bool:
    """Whether nothing is left to do: nothing is open, and the latest run of the source unit completed a listing.

    Objects may still be failed, quarantined or left at the source: then the job is settled but not drained.
    """
    return not is_open and any(unit.run.unit == "source" and unit.run.passes for unit in units)


def running(units: list[UnitStatus]) -> list[str]:
    """The names of the units whose processes exist."""
    return [unit.run.unit for unit in units if unit.alive]


def unit_status(run: Run) -> UnitStatus:
    is_told = run.saved_ticks_ms is not None and run.boot_id == boot_id()
    silent_ms = ticks_ms() - (run.saved_ticks_ms or 0) if is_told else now_ms() - run.updated_ms
    return UnitStatus(run, is_running(run), max(0.0, silent_ms / 1000))


def is_running(run: Run) -> bool:
    """Whether the process of a run still exists (and its PID was not reused).

    Independent of the wall clock, except for runs that were recorded by an older version.
    """
    if run.ended_ms is not None or run.boot_id != boot_id():
        return False
    started = process_ticks(run.pid)
    if started is None or run.process_ticks is not None:
        return started is not None and started == run.process_ticks
    age_ms = ticks_ms() - started * 1000 // os.sysconf("SC_CLK_TCK")
    return now_ms() - age_ms <= run.started_ms + 2000


def rates(reader: LedgerReader, now: int | None = None) -> dict[str, Rate]:
    """What each hop committed per second recently; `now` in milliseconds since boot."""
    sums = {"source": [0, 0], "destination": [0, 0]}
    groups, seconds = lately(reader, ticks_ms() if now is None else now)
    for group in groups:
        if group.hop in sums:
            sums[group.hop][0] += group.objects
            sums[group.hop][1] += group.bytes
    return {hop: Rate(objects / seconds, size / seconds) for hop, (objects, size) in sums.items()}


def lately(reader: LedgerReader, now: int) -> tuple[Iterator[GroupRow], float]:
    """The groups of the last RATE_SECONDS before `now` (ticks_ms()), and the number of seconds that they cover."""
    started = [run.started_ticks_ms for run in reader.runs() if run.boot_id == boot_id()]
    known = [ticks for ticks in started if ticks is not None]
    seconds = min(RATE_SECONDS, max(1.0, (now - min(known)) / 1000)) if known else RATE_SECONDS
    return reader.groups_since(now - RATE_SECONDS * 1000), seconds


# -- for people -------------------------------------------------------------------------------------------------


def render(status: JobStatus) -> str:
    """One job as text."""
    if status.error:
        return f"job {status.job}: {status.error}"
    lines = [_headline(status)]
    lines += [f"  {unit_line(unit)}" for unit in status.units]
    lines += [f"  the job file is rejected: {plain_text(problem)}" for problem in status.refused]
    sections = [_state_table(status), _volume_table(status), _fact_table(status), _failure_lines(status)]
    return "\n\n".join(["\n".join(lines), *(section for section in sections if section)])


def _headline(status: JobStatus) -> str:
    if not status.has_run:
        return f"job {status.job}: has not run yet"
    open_objects = status.states[State.PENDING] + status.states[State.STAGED]
    troubled = status.states[State.FAILED] + status.states[State.QUARANTINED]
    if status.drained:
        text = "drained"
    elif status.settled:
        text = "not drained"
    elif open_objects.objects:
        text = f"{counted_text(open_objects.objects, 'object')} open ({bytes_text(open_objects.bytes)})"
    elif status.left_behind:
        text = "not drained"
    else:
        text = "nothing open so far, but the listing of the source is not complete"
    if status.left_behind:
        text += f", {counted_text(status.left_behind, 'object')} left at the source because their keys cannot be moved"
    if troubled.objects:
        text += f", {count_text(troubled.objects)} failed or quarantined"
    if status.not_proven:
        text += f", {count_text(status.not_proven)} not proven at the source"
    return f"job {status.job}: {text}"


def unit_line(unit: UnitStatus) -> str:
    """One unit on one line."""
    run = unit.run
    when = f"since {moment_text(run.started_ms)}"
    if unit.word == "stopped":
        when = f"at {moment_text(run.ended_ms or 0)}"
    elif unit.word == "died":
        when = f"unexpectedly, last update {moment_text(run.updated_ms)}"
    elif unit.word == "silent":
        when = f"for {seconds_text(unit.silent_seconds)}"
    said = plain_text(run.status).removeprefix(unit.word).removeprefix(": ")
    status = f": {said}" if said else ""
    pid = f" (pid {run.pid})" if unit.alive else ""
    return f"{run.unit}: {unit.word}{pid} {when}{status}"


def _state_table(status: JobStatus) -> str:
    if not status.has_run:
        return ""
    rows = [
        (state.label, count_text(tally.objects), bytes_text(tally.bytes))
        for state, tally in status.states.items()
        if tally.objects
    ]
    text = table(("state", "objects", "bytes"), rows or [("none", "0", "0 B")])
    busy = [
        f"{hop} {rate.objects:,.0f} objects/s, {rate_text(rate.bytes)}"
        for hop, rate in status.rates.items()
        if rate.objects
    ]
    return text + (f"\nlast {RATE_SECONDS} s: {'; '.join(busy)}" if busy else "")


def _volume_table(status: JobStatus) -> str:
    rows = []
    for volume in status.volumes:
        limit = bytes_text(volume.limit) if volume.limit is not None else "-"
        free = bytes_text(volume.free) if not volume.problem else "?"
        total = bytes_text(volume.total) if not volume.problem else "?"
        held = (count_text(volume.held.objects), bytes_text(volume.held.bytes))
        rows.append((volume.name, *held, limit, free, total, volume.path, volume.words))
    text = table(("volume", "objects", "bytes", "limit", "free", "size", "path", ""), rows, left=(0, 6, 7))
    away = unavailable(status.volumes)
    if not away.objects:
        return text
    return f"{text}\n{away_text(away)}"


def _fact_table(status: JobStatus) -> str:
    rows = [
        (fact.side, fact.endpoint, fact.fact, plain_text(fact.value), moment_text(fact.probed_ms))
        for fact in status.facts
    ]
    return table(("side", "endpoint", "fact", "value", "probed"), rows, left=(0, 1, 2, 3, 4)) if rows else ""


def _failure_lines(status: JobStatus) -> str:
    if not status.failure_count:
        return ""
    lines = [f"{counted_text(status.failure_count, 'failure')} recorded, latest:"]
    for failure in status.failures:
        lines += failure_lines(failure)
    return "\n".join(lines)
