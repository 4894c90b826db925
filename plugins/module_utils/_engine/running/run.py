# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Runs a job: which units, in which threads, until when, and the summary at the end."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import asdict, dataclass, field

from ..config.credentials import for_side
from ..config.job_file import Job
from ..core import workers
from ..core.errors import LocalError, StoreError, Trouble
from ..core.keys import movable, readable
from ..core.machine import now_ms
from ..core.model import Outcome
from ..hops.counters import Counters, Moved
from ..hops.destination.destination_unit import DestinationUnit
from ..hops.pool import EndpointPool
from ..hops.source.drops.new_drops import waiting
from ..hops.source.source_unit import SourceUnit
from ..hops.switches import Switches
from ..hops.unit import Unit
from ..inspection.report import Report, evidence_counts, gather, save
from ..ledger import binding
from ..ledger.ledger import Ledger
from ..ledger.left_behind import left_behind
from ..ledger.reader import LedgerReader

_log = logging.getLogger("snowsync")
_FIRST = 100
_LONGEST_END = 17.0  # seconds after a stop: a unit that has not ended by then hangs on a disk and is abandoned


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


@dataclass
class Plan:
    """What a run would move now, as `snowsync plan --json` prints it; `keys` holds the first hundred.

    `left_behind` objects cannot be moved; `left` names the first hundred, each with the reason.
    """

    job: str
    objects: int = 0
    bytes: int = 0
    keys: list[str] = field(default_factory=list)
    left_behind: int = 0
    left: list[dict[str, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        return asdict(self)


class Attendant:
    """Looks after running units from the main thread; this base class does nothing (see running/service.py)."""

    def beat(self, doing: str) -> None:
        """Called from time to time before the start, while the ledger is prepared: `doing` describes the step."""

    def start(self, units: list[Unit], switches: Switches) -> None:
        """Called once before the units start."""

    def turn(self) -> None:
        """Called about twenty times a second."""

    def end(self) -> None:
        """Called once after the last unit ended."""


def run_job(
    job: Job,
    *,
    direction: str = "both",
    until: str = "drained",
    timeout: float | None = None,
    attendant: Attendant | None = None,
) -> Summary:
    """Run a job's units until `drained`, for `once` pass, or `forever`.

    `attendant` is called before the units start, at every turn of the main thread, and at the end. Raises the error
    that stopped a unit. After `timeout` seconds the run ends in any case: the summary is then not `drained`, and
    `waiting` says what the units were waiting for.
    """
    started, began_ms = time.monotonic(), now_ms()
    attendant = attendant or Attendant()
    ledger = Ledger(job.ledger_path, beat=attendant.beat)
    try:
        switches = Switches()
        units = _units(job, ledger, switches, direction, until)
        with contextlib.ExitStack() as locks:
            # First, so that a run that is refused does not change the ledger of the running one.
            for unit in units:
                locks.enter_context(unit.locked())
            binding.bind(job, ledger.stores)
            ledger.recovery.apply_boot_rule(attendant.beat)
            ledger.objects.revive(direction, attendant.beat)
            _run_units(units, switches, timeout, attendant)
        summary = _summarise(job, ledger, units, started, began_ms)
    finally:
        ledger.close()
    return summary


def _units(job: Job, ledger: Ledger, switches: Switches, direction: str, until: str) -> list[Unit]:
    units: list[Unit] = []
    if direction in ("both", "source"):
        units.append(SourceUnit(job, ledger, switches, until=until, alone=direction == "source"))
    else:
        switches.source_done.set()
    if direction in ("both", "destination"):
        units.append(DestinationUnit(job, ledger, switches, until=until))
    return units


def _run_units(units: list[Unit], switches: Switches, timeout: float | None, attendant: Attendant) -> None:
    """Run every unit until it ends, or until `timeout`; raises the first error of any unit."""
    deadline = None if timeout is None else time.monotonic() + timeout
    attendant.start(units, switches)
    threads = [_start(unit, switches) for unit in units]
    while any(thread.is_alive() for thread in threads):
        switches.ended.wait(0.05)
        switches.ended.clear()
        attendant.turn()
        if deadline is not None and time.monotonic() > deadline and not switches.stop.is_set():
            for unit in units:
                unit.activity.deadline_passed()
            switches.stop.set()
        if switches.stop.seconds > _LONGEST_END:
            _leave_behind(units)
            break
    attendant.end()
    for unit in units:
        if unit.crew.error:
            raise unit.crew.error


def _start(unit: Unit, switches: Switches) -> workers.Worker:
    def run() -> None:
        try:
            unit.run()
        finally:
            switches.ended.set()

    return workers.start(run, unit.name, unit.crew.fail, switches.stop.is_overdue, is_watched=False)


def _leave_behind(units: list[Unit]) -> None:
    """Record the end of a unit that hangs on a disk."""
    for unit in units:
        if not unit.activity.has_ended:
            _log.error("the %s unit does not end: a disk does not respond; the next start resumes", unit.name)
            unit.say_ended()


def _summarise(job: Job, ledger: Ledger, units: list[Unit], started: float, began_ms: int) -> Summary:
    hops = {unit.name: unit.counters for unit in units}
    source, destination = hops.get("source", Counters()), hops.get("destination", Counters())
    changed = source.moved.objects + destination.moved.objects + destination.released.objects > 0
    reader = LedgerReader(ledger)
    # If the clock was set back meanwhile, events may be dated before the start.
    gathered = gather(reader, since_ms=min(began_ms, now_ms() - int((time.monotonic() - started) * 1000)))
    # A run that does not list the source uses the count of the last run that did.
    left = source.listed.left_behind if "source" in hops else left_behind(reader.facts(), job.source)
    failures = [*source.failures.first, *destination.failures.first][:_FIRST]
    return Summary(
        job=job.job,
        changed=changed,
        # Nothing open in the ledger is not enough: perhaps nothing was listed, or what was listed could not be moved.
        drained=not (gathered.census.open.objects or gathered.census.troubled.objects or left or source.lost)
        and all(unit.activity.is_complete for unit in units),
        seconds=round(time.monotonic() - started, 3),
        listed={"objects": source.listed.objects, "bytes": source.listed.bytes},
        staged=_hop(source.moved),
        delivered=_hop(destination.moved),
        released={"objects": destination.released.objects, "bytes": destination.released.bytes},
        states={state.label: tally.objects for state, tally in gathered.census.states.items()},
        evidence=evidence_counts(gathered.census),
        failures=[
            {"key": failure.row.key, "trouble": failure.trouble.value, "message": failure.message}
            for failure in failures
        ],
        waiting=[f"{unit.name}: {unit.activity.waiting_for}" for unit in units if unit.activity.waiting_for],
        refused=_refused(ledger, units),
        failure_count=source.failures.count + destination.failures.count,
        lost=source.lost,
        left_behind=left,
        unserved=[unit.activity.unserved for unit in units if unit.activity.unserved],
        report=_report(job, reader, gathered) if changed or failures else "",
    )


def _refused(ledger: Ledger, units: list[Unit]) -> int:
    """The number of staged objects that are left after the destination unit completed its work."""
    found = [unit for unit in units if isinstance(unit, DestinationUnit) and unit.activity.is_complete]
    return (
        ledger.objects.refused(everything=found[0].refusals.everything or bool(found[0].activity.unserved))
        if found
        else 0
    )


def _report(job: Job, reader: LedgerReader, gathered: Report) -> str:
    try:
        return str(save(job, reader, gathered))
    except LocalError as error:  # not fatal: what was moved is recorded in the ledger
        _log.error("the report could not be saved: %s", error)
        return ""


def _hop(moved: Moved) -> Hop:
    return Hop(moved.objects, moved.bytes, round(moved.seconds, 3))


def plan_job(job: Job) -> Plan:
    """List the source, look into the drop folders, compare both with the ledger. Nothing is written."""
    plan = Plan(job.job)
    ledger = _known_so_far(job)
    pool = EndpointPool(
        job.source,
        for_side(job, "source") if job.source else None,
        job.mover,
        direction="fetch",
        on_outcome=_no_outcome,
    )
    try:
        if ledger:
            binding.check(job, ledger.stores)
        for key, size in ledger.objects.unfinished() if ledger else ():
            _add(plan, key, size)
        for dropped in waiting(job, ledger.drops if ledger else None):
            if dropped.refusal:
                _leave(plan, dropped.name, dropped.refusal)
            else:
                _add(plan, dropped.key, dropped.size)
        if job.source:
            _plan_listing(plan, ledger, pool, job.source.prefix)
    finally:
        pool.transfers.close()
        if ledger:
            ledger.close()
    return plan


def _known_so_far(job: Job) -> Ledger | None:
    """The ledger, opened read-only; None before the first run has created it."""
    if not job.ledger_path.exists():
        return None
    ledger = Ledger(job.ledger_path, readonly=True)
    if ledger.database.is_made():
        return ledger
    ledger.close()
    return None


def _no_outcome(_outcome: Outcome) -> None:
    """A plan moves nothing, so nothing has an outcome."""


def _plan_listing(plan: Plan, ledger: Ledger | None, pool: EndpointPool, prefix: str) -> None:
    pool.preflight()
    endpoint = pool.pick_to_ask()
    if endpoint is None:
        raise StoreError(Trouble.REFUSED, f"reach the source of job {plan.job}", pool.why_down())
    for page in endpoint.pages():
        objects, left = movable(page.objects, prefix)
        for listed in ledger.listing.compare(objects).moving if ledger else objects:
            _add(plan, listed.key, listed.size)
        for listed, reason in left:
            _leave(plan, readable(listed.key), reason)
        for what in page.unread:
            _leave(plan, what, "this entry of the listing is not valid XML and has no key")


def _leave(plan: Plan, name: str, reason: str) -> None:
    plan.left_behind += 1
    if len(plan.left) < _FIRST:
        plan.left.append({"key": name, "reason": reason})
        _log.warning("the object %r cannot be moved: %s", name, reason)


def _add(plan: Plan, key: str, size: int) -> None:
    plan.objects += 1
    plan.bytes += size
    if len(plan.keys) < _FIRST:
        plan.keys.append(key)
