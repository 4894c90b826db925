# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which stores a ledger speaks of: its source and its destination, compared with what the job file says now.

A proof of delivery is a proof for one destination, and a listed key belongs to one source. So another bucket, another
prefix, or endpoints of which none is known, are refused until an operator says what they mean (upkeep/rebinding.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..core import keys
from ..core.errors import ConfigError
from ..core.model import Origin

if TYPE_CHECKING:
    from ..config.job_file import Job, Store

SIDES = ("source", "destination")
JOB = "job"


@dataclass(frozen=True, slots=True)
class End:
    """One end of a job. `addresses` are sorted `host:port`, one name for all of AWS; without a source all is empty."""

    bucket: str = ""
    prefix: str = ""
    addresses: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        if not self.addresses:
            return "no store"
        return f"s3://{self.bucket}/{self.prefix} at {', '.join(self.addresses)}"


@dataclass(frozen=True, slots=True)
class Binding:
    """What the ledger recorded of one end. Of each side the newest one, by `id`, counts."""

    id: int
    side: str  # one of SIDES, or JOB: then `end.bucket` is the job's name
    end: End
    bound_ms: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One value of the job file that is no longer what the ledger recorded."""

    name: str
    was: str
    now: str


class BoundLedger(Protocol):
    """What is asked of a ledger here."""

    def bindings(self) -> list[Binding]: ...

    def is_blank(self) -> bool: ...

    def record_ends(self, ends: dict[str, End]) -> None: ...

    def correct_end(self, number: int, end: End) -> None: ...


# -- the decision -------------------------------------------------------------------------------------------------


def end_of(store: Store | None) -> End:
    from ..config.job_file import addresses

    return End(store.bucket, store.prefix, tuple(sorted(addresses(store)))) if store else End()


def ends_of(job: Job) -> dict[str, End]:
    """By side, as the job file has them."""
    return {"source": end_of(job.source), "destination": end_of(job.destination)}


def newest(bindings: Iterable[Binding]) -> dict[str, Binding]:
    """By side, what counts."""
    return {binding.side: binding for binding in sorted(bindings, key=lambda binding: binding.id)}


def changes(recorded: End, current: End) -> list[Change]:
    """What makes `current` another store, or another place in it, than the recorded one; empty where it is the same.

    One address in common is enough: a store may get more endpoints, and lose old ones, step by step.
    """
    found = [
        Change(name, repr(was), repr(now))
        for name, was, now in (
            ("bucket", recorded.bucket, current.bucket),
            ("prefix", recorded.prefix, current.prefix),
        )
        if was != now
    ]
    if recorded.addresses != current.addresses and not set(recorded.addresses) & set(current.addresses):
        was, now = (", ".join(end.addresses) or "none" for end in (recorded, current))
        found.append(Change("endpoints", was, now))
    return found


def problems(job: Job, bindings: Iterable[Binding]) -> list[str]:
    """One line per value of the job file that the ledger does not speak of."""
    recorded = newest(bindings)
    name = recorded[JOB].end.bucket if JOB in recorded else job.job
    found = [] if name == job.job else [_renamed(job, name)]
    return found + [
        f"{side}.{change.name}: is {change.now}, the ledger was made with {change.was}: nothing was changed;"
        f" put the old value back, or see what the new one would mean: snowsync rebind {job.job}"
        for side, end in ends_of(job).items()
        if side in recorded
        for change in changes(recorded[side].end, end)
    ]


def _renamed(job: Job, name: str) -> str:
    return (
        f"job: is {job.job!r}, the ledger was made with {name!r}, and its files on the volumes are below that name:"
        " nothing was changed; put the old name back, or give the new job a state_dir of its own"
    )


# -- in a run -----------------------------------------------------------------------------------------------------


def refusals(job: Job, ledger: BoundLedger) -> list[str]:
    """Why a run would refuse the job file: one line per value."""
    return [] if ledger.is_blank() else problems(job, ledger.bindings())


def check(job: Job, ledger: BoundLedger) -> None:
    """Raise ConfigError where the job file names another store than the ledger. Nothing is written."""
    found = refusals(job, ledger)
    if found:
        raise ConfigError(f"job {job.job}", found)


def bind(job: Job, ledger: BoundLedger) -> None:
    """The same, before a run touches anything; what the ledger has not recorded yet is recorded.

    A ledger that knows of nothing, as after a first run that was refused for a misspelt bucket, follows the job file.
    """
    check(job, ledger)
    ends = {**ends_of(job), JOB: End(job.job)}
    ledger.record_ends(ends)
    for side, binding in newest(ledger.bindings()).items():
        if binding.end != ends[side]:
            ledger.correct_end(binding.id, ends[side])
    check(job, ledger)  # two units that start at once may read two versions of the job file


# -- keys of earlier sources --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Naming:
    """How the ledger's keys are called at the destination, those too that were listed under an earlier prefix."""

    current: str
    earlier: tuple[str, ...]  # longest first
    destination: str

    def prefix_of(self, key: str) -> str | None:
        """The source prefix that a key is under: the current one, or else the longest earlier one. None: no such."""
        return next((prefix for prefix in (self.current, *self.earlier) if key.startswith(prefix)), None)

    def relative(self, key: str) -> str:
        """The key without its prefix: what is called so at the destination, and in a drop folder. ValueError."""
        prefix = self.prefix_of(key)
        return keys.map_key(key, self.current if prefix is None else prefix, "")

    def destination_key(self, key: str) -> str:
        """ValueError for a key that is under no prefix that the ledger ever had."""
        return self.destination + self.relative(key)

    def staging_path(self, key: str, generation: int, origin: int) -> str:
        """Where the file lies, below the staging tree or the drop folder."""
        return self.relative(key) if origin == Origin.DROP else keys.to_path(key, generation)


def naming(job: Job, bindings: Iterable[Binding]) -> Naming:
    return naming_of(end_of(job.source).prefix, job.destination.prefix, bindings)


def naming_of(current: str, destination: str, bindings: Iterable[Binding]) -> Naming:
    """With the prefixes of the ledger's sources beside the `current` one."""
    earlier = {binding.end.prefix for binding in bindings if binding.side == "source"} - {current}
    return Naming(current, tuple(sorted(earlier, key=lambda prefix: (-len(prefix), prefix))), destination)
