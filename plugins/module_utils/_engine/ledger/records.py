# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The values that a reader of the ledger returns: objects, runs, groups, failures, volumes, and their totals."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..core.model import Evidence, Origin, State


@dataclass(frozen=True, slots=True)
class Tally:
    """A number of objects and their bytes."""

    objects: int = 0
    bytes: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.objects + other.objects, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Entry:
    """One object as `verify` needs it. `volume` is the volume's name, empty when it is on none."""

    key: str
    size: int
    etag: str
    modified_ms: int
    origin: Origin
    state: State
    volume: str
    part_size: int
    digest: str
    destination_etag: str
    last_error: str
    source_evidence: Evidence | None = None  # of the generation that is on a volume or beyond
    listed_size: int | None = None  # where the source lists another size than it gives
    listed_modified_ms: int | None = None  # where it lists the same bytes under a new time by now

    @property
    def as_listed(self) -> tuple[int, str, int]:
        """Size, ETag and time as the source listed them."""
        size = self.size if self.listed_size is None else self.listed_size
        modified_ms = self.modified_ms if self.listed_modified_ms is None else self.listed_modified_ms
        return size, self.etag, modified_ms


@dataclass(frozen=True, slots=True)
class Census:
    """All objects at one moment. `moved` are those delivered since the moment that was asked for.

    `source` and `destination` count how the hop was proven that brought objects to where they are.
    """

    states: Mapping[State, Tally]
    moved: Tally
    source: Mapping[Evidence, int]
    destination: Mapping[Evidence, int]

    @property
    def total(self) -> Tally:
        return sum(self.states.values(), Tally())

    @property
    def done(self) -> Tally:
        return self.states[State.DELIVERED] + self.states[State.RELEASED]

    @property
    def open(self) -> Tally:
        """Still on its way: pending or staged."""
        return self.states[State.PENDING] + self.states[State.STAGED]

    @property
    def troubled(self) -> Tally:
        return self.states[State.QUARANTINED] + self.states[State.FAILED]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one unit; `ended_ms` None while it runs (or after it was killed).

    `process_ticks` is when its process started, in clock ticks since that boot; `saved_ticks_ms` when its row was saved
    last, in milliseconds since that boot. Both are None where an older version recorded it.
    """

    id: int
    unit: str
    pid: int
    boot_id: str
    started_ms: int
    ended_ms: int | None
    updated_ms: int
    status: str
    listed_objects: int
    listed_bytes: int
    moved_objects: int
    moved_bytes: int
    released_objects: int
    released_bytes: int
    failures: int
    passes: int
    process_ticks: int | None = None
    saved_ticks_ms: int | None = None

    @property
    def started_ticks_ms(self) -> int | None:
        """When its process started, in milliseconds since that boot."""
        return None if self.process_ticks is None else self.process_ticks * 1000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One committed group: `hop` source or destination; `volume` number or None.

    `ticks_ms` is when it was committed, in milliseconds since this boot; 0 where it was before that.
    """

    id: int
    hop: str
    volume: int | None
    objects: int
    bytes: int
    ticks_ms: int


@dataclass(frozen=True, slots=True)
class HopSum:
    """What one hop committed in a time. `seconds` leaves out gaps of more than a minute between groups."""

    objects: int = 0
    bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class FailureRow:
    """What went wrong with one object: the last time (`at_ms`), and how many `times` in the same way since `first_ms`.

    `state` is the object's state now, None when the ledger forgot the object.
    """

    key: str
    at_ms: int
    hop: str
    trouble: str
    message: str
    expected: str
    found: str
    action: str
    times: int
    first_ms: int
    state: State | None


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """One volume that the ledger knows, with what lies on it (staged or delivered and not yet released).

    `undelivered` is the staged part of it, `dropped` that part of the staged which people put there. `placing`: the
    source unit, where one runs, may have something on its way there. `trouble` is what a unit met there last: missing,
    read-only, failed, or nothing.
    """

    id: int
    name: str
    uuid: str
    path: str
    held: Tally = field(default_factory=Tally)
    undelivered: Tally = field(default_factory=Tally)
    dropped: Tally = field(default_factory=Tally)
    draining: bool = False
    placing: bool = False
    trouble: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """One probed property of an endpoint."""

    side: str
    endpoint: str
    fact: str
    value: str
    probed_ms: int


@dataclass(frozen=True, slots=True)
class Moved:
    """One delivered object; times are ms since the epoch, of listing, of the commit on a volume, of the proof."""

    key: str
    size: int
    listed_ms: int
    staged_ms: int
    delivered_ms: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """One row that left the ledger, and why."""

    key: str
    size: int
    reason: str
    at_ms: int
