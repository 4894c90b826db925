# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The ledger's values: an object's row as it is read, and the records that describe changes of rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from ..core.errors import LedgerError, Trouble
from ..core.model import TRANSITIONS, Evidence, ListedObject, State
from .schema import SUMMED, UNSOUND, row_sum

ROW = (
    "id, key, size, etag, modified_ms, generation, origin, state, volume, part_size, digest, headers,"
    " attempts, sends, suspect, destination_etag, target, acknowledged, file_id, row_sum"
)

# What failed, lies in quarantine, or was refused, just as its index has it.
AGAIN = "(state IN (4, 5) OR state = 1 AND attempts > 0)"

# A row changed only if nobody else changed it meanwhile: the lister, the other unit, or `evacuate`.
AS_READ = "id = ? AND generation = ? AND state = ? AND volume IS ?"

# Whatever a destination said of a row counts no more.
UNSENT = (
    "sends = 0, acknowledged = 0, attempts = 0, not_before_ms = 0, last_error = '', target = 0, destination_etag = '',"
    " destination_evidence = NULL, destination_tool = '', delivered_ms = NULL, released_ms = NULL"
)


class Row(NamedTuple):
    """One object as the ledger knows it (the columns that the units work with).

    A tuple, since every object becomes one once per hop: a frozen dataclass of so many fields takes ten times as long.
    """

    id: int
    key: str
    size: int
    etag: str
    modified_ms: int
    generation: int
    origin: int
    state: int
    volume: int | None
    part_size: int
    digest: str
    headers: str
    attempts: int
    sends: int
    suspect: int
    destination_etag: str = ""  # as it was proven there
    target: int = 0  # the destination that the proof is of: the number of its binding
    acknowledged: int = 0  # the store took an upload of this generation, and nobody has proven it yet
    file_id: str = ""  # a dropped file's identity
    row_sum: int | None = None  # as the ledger's file has it; None: the row was not read from there

    @property
    def is_sound(self) -> bool:
        """Whether the row is what was written; else its bits changed on the ledger's disk."""
        return self.row_sum is None or self.row_sum == row_sum(*_summed(self))


_summed = itemgetter(*(Row._fields.index(name) for name in SUMMED.split(", ")))


@dataclass(frozen=True, slots=True)
class Observed:
    """What one page of a listing meant: counts, and the bytes that new and changed objects hold."""

    new: int = 0
    changed: int = 0
    same: int = 0
    bytes: int = 0
    moving: tuple[ListedObject, ...] = ()  # new and changed ones, in listing order


class Staged(NamedTuple):
    """One object proven on a volume, ready to become `staged`."""

    row: Row
    part_size: int
    digest: str  # the ETag that these bytes have with this part size
    headers: str
    evidence: Evidence
    tool: str
    part_md5s: bytes = b""  # of the parts, see core/part_md5s.py; empty: none are kept


class Delivered(NamedTuple):
    """One object proven at the destination."""

    row: Row
    destination_etag: str
    evidence: Evidence
    tool: str


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that went wrong with one object; `action` says what the engine did about it."""

    row: Row
    hop: str  # source | destination
    trouble: Trouble
    message: str
    action: str
    expected: str = ""
    found: str = ""

    @property
    def text(self) -> str:
        """As the object's row has it."""
        return f"{self.trouble.value}: {self.message}"


def as_read(row: Row) -> tuple[object, ...]:
    """The parameters of AS_READ."""
    return row.id, row.generation, row.state, row.volume


def sound(row: Row, path: Path) -> Row:
    """The row of the ledger at `path`. LedgerError if its bits changed on the disk: it must not be relied on."""
    if not row.is_sound:
        raise LedgerError(
            f"Refused: row {row.id} of the ledger {path} ({row.key!r}) {UNSOUND}: its disk changed it;"
            " check the disk, then restore the ledger from a backup, or move the object again:"
            " `snowsync resend JOB KEY`"
        )
    return row


def move(db: sqlite3.Connection, row: Row, target: State, sql: str, values: Sequence[object]) -> bool:
    """Change one row if it still is what the caller thinks; a transition that the table forbids is a defect."""
    return move_each(db, [row], target, sql, [values])[0]


def move_each(
    db: sqlite3.Connection, rows: Sequence[Row], target: State, sql: str, values: Iterable[Sequence[object]]
) -> list[bool]:
    """The same for each of several rows, with the values of each: whether it was changed.

    A value that is an enum should be given as its number: sqlite3 takes as long to convert it as to find the row.
    """
    sources = [source for source, targets in TRANSITIONS.items() if target in targets]
    for row in rows:
        if row.state not in sources:
            raise LedgerError(f"Refused: object {row.key!r} cannot go from {State(row.state).label} to {target.label}")
    statement = f"UPDATE objects SET state = {int(target)}, {sql} WHERE {AS_READ}"
    # Not executemany(): it is a twentieth faster, and does not say which rows it changed.
    return [
        db.execute(statement, (*given, *as_read(row))).rowcount == 1 for row, given in zip(rows, values, strict=True)
    ]
