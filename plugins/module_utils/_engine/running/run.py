# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Runs the units of a job in threads of this process; and what a run would move."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from ..config.credentials import for_side
from ..config.job_file import Job
from ..core.errors import StoreError, Trouble
from ..core.keys import movable, readable
from ..core.model import Outcome
from ..hops.destination.destination_unit import DestinationUnit
from ..hops.pool import EndpointPool
from ..hops.source.drops.new_drops import waiting
from ..hops.source.source_unit import SourceUnit
from ..hops.switches import Switches
from ..hops.unit import Unit
from ..ledger import binding
from ..ledger.ledger import Ledger
from .main_thread import Attendant, UnitThread, attend
from .summary import Start, Summary, end_of, summarise

_log = logging.getLogger("snowsync")
_FIRST = 100


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
    start = Start.now()
    attendant = attendant or Attendant()
    ledger = Ledger(job.ledger_path, beat=attendant.beat)
    try:
        switches = Switches()
        units = _units(job, ledger, switches, direction, until)
        with contextlib.ExitStack() as locks:
            # First, so that a run that is refused does not change the ledger of the running one.
            for unit in units:
                locks.enter_context(unit.locked())
            prepare(job, ledger, direction, attendant.beat)
            attendant.start(units, switches)
            attend([UnitThread(unit, switches) for unit in units], switches, timeout, attendant)
        summary = summarise(job, ledger, [end_of(unit) for unit in units], start)
    finally:
        ledger.close()
    return summary


def prepare(job: Job, ledger: Ledger, direction: str, beat: Callable[[str], None]) -> None:
    """Bring the ledger up to this run; done once, while the locks of its units are held, before any of them works."""
    binding.bind(job, ledger.stores)
    ledger.recovery.apply_boot_rule(beat)
    ledger.objects.revive(direction, beat)


def _units(job: Job, ledger: Ledger, switches: Switches, direction: str, until: str) -> list[Unit]:
    units: list[Unit] = []
    if direction in ("both", "source"):
        units.append(SourceUnit(job, ledger, switches, until=until, alone=direction == "source"))
    else:
        switches.source_done.set()
    if direction in ("both", "destination"):
        units.append(DestinationUnit(job, ledger, switches, until=until))
    return units


def plan_job(job: Job) -> Plan:
    """List the source, look into the drop folders, compare both with the ledger. Nothing is written."""
    plan = Plan(job.job)
    ledger = _known_so_far(job)
    pool = EndpointPool(
        job.source,
        for_side(job, "source") if job.source else None,
        job.mover,
        direction="fetch",
        on_outcomes=_no_outcomes,
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


def _no_outcomes(_outcomes: Sequence[Outcome]) -> None:
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
