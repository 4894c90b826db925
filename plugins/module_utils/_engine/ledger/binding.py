# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which stores a ledger is about: its source and its destination, compared with what the job file says now.

A proof of delivery is a proof for one destination, and a listed key belongs to one source. So another bucket, another
prefix, or only unknown endpoints are refused until an operator says what they mean (upkeep/rebinding.py).
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
    """What the ledger recorded for one end. The newest binding of each side, by `id`, counts."""

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
    """The parts of a ledger that are used here."""

    def bindings(self) -> list[Binding]: ...

    def is_blank(self) -> bool: ...

    def record_ends(self, ends: dict[str, End]) -> None: ...

    def correct_end(self, number: int, end: End) -> None: ...


# -- the decision -------------------------------------------------------------------------------------------------


def end_of(store: Store | None) -> End:
    from ..config.job_file import addresses

    return End(store.bucket, store.prefix, tuple(sorted(addresses(store)))) if store else End()


def ends_of(job: Job) -> dict[str, End]:
    """The ends by side, according to the job file."""
    return {"source": end_of(job.source), "destination": end_of(job.destination)}


def newest(bindings: Iterable[Binding]) -> dict[str, Binding]:
    """The binding that counts for each side."""
    return {binding.side: binding for binding in sorted(bindings, key=lambda binding: binding.id)}


def changes(recorded: End, current: End) -> list[Change]:
    """What makes `current` another store, or another place in it, than the recorded one; empty if it is the same.

    One common address is enough: a store may gain endpoints, and lose old ones, step by step.
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
    """One line per value of the job file that differs from the ledger."""
    recorded = newest(bindings)
    name = recorded[JOB].end.bucket if JOB in recorded else job.job
    found = [] if name == job.job else [_renamed(job, name)]
    return found + [
        f"{side}.{change.name}: is {change.now}, but the ledger was created with {change.was}: nothing was changed;"
        f" restore the old value, or see what the new one would do: snowsync rebind {job.job}"
        for side, end in ends_of(job).items()
        if side in recorded
        for change in changes(recorded[side].end, end)
    ]


def _renamed(job: Job, name: str) -> str:
    return (
        f"job: is {job.job!r}, but the ledger was created with {name!r}, and its files on the volumes are below that"
        " name: nothing was changed; restore the old name, or give the new job its own state_dir"
    )


# -- in a run -----------------------------------------------------------------------------------------------------


def refusals(job: Job, ledger: BoundLedger) -> list[str]:
    """Why a run would refuse the job file: one line per value."""
    return [] if ledger.is_blank() else problems(job, ledger.bindings())


def check(job: Job, ledger: BoundLedger) -> None:
    """Raise ConfigError if the job file names another store than the ledger. Nothing is written."""
    found = refusals(job, ledger)
    if found:
        raise ConfigError(f"job {job.job}", found)


def bind(job: Job, ledger: BoundLedger) -> None:
    """The same, before a run touches anything; ends that are not recorded yet are recorded.

    A ledger without any object, as after a first run that was refused for a misspelt bucket, follows the job file.
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
    """The names of the ledger's keys at the destination, including keys that were listed under an earlier prefix."""

    current: str
    earlier: tuple[str, ...]  # longest first
    destination: str

    def prefix_of(self, key: str) -> str | None:
        """The source prefix of a key: the current one, otherwise the longest matching earlier one. None: no match."""
        return next((prefix for prefix in (self.current, *self.earlier) if key.startswith(prefix)), None)

    def relative(self, key: str) -> str:
        """The key without its prefix, as used at the destination and in a drop folder. ValueError if it has none."""
        if key.startswith(self.current):  # most do, and this runs several times for each object
            return key[len(self.current) :]
        prefix = self.prefix_of(key)
        return keys.map_key(key, self.current if prefix is None else prefix, "")

    def destination_key(self, key: str) -> str:
        """The key at the destination. ValueError for a key under no prefix that the ledger ever had."""
        return self.destination + self.relative(key)

    def staging_path(self, key: str, generation: int, origin: int) -> str:
        """The path of the file below the staging tree or the drop folder."""
        return self.relative(key) if origin == Origin.DROP else keys.to_path(key, generation)


def naming(job: Job, bindings: Iterable[Binding]) -> Naming:
    return naming_of(end_of(job.source).prefix, job.destination.prefix, bindings)


def naming_of(current: str, destination: str, bindings: Iterable[Binding]) -> Naming:
    """The naming with the `current` prefix and the earlier prefixes of the ledger's sources."""
    earlier = {binding.end.prefix for binding in bindings if binding.side == "source"} - {current}
    return Naming(current, tuple(sorted(earlier, key=lambda prefix: (-len(prefix), prefix))), destination)
