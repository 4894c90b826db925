# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which stores the ledger is about, and what happens to its rows when an operator replaces one of them."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from ..core import machine
from ..core.errors import Trouble
from ..core.model import Origin, State
from .binding import Binding, End, Naming, naming_of, newest
from .database import Database
from .generations import NEWEST
from .journal import JournalLedger
from .rows import ROW, UNSENT, Failure, Row

# Nothing of the object lies on any volume, as far as the ledger knows.
_NO_COPY = (
    "volume IS NULL AND left_on IS NULL AND quarantined_on IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM copies WHERE copies.object_id = objects.id)"
)


@dataclass(frozen=True, slots=True)
class Holding:
    """How many objects are in a state. `has_file`: on a volume, also on one that is away."""

    state: State
    has_file: bool
    is_dropped: bool
    objects: int
    bytes: int


class StoreLedger:
    """The table `bindings`, and what another store means for the objects."""

    def __init__(self, database: Database, journal: JournalLedger) -> None:
        self._database = database
        self._journal = journal

    # -- what is recorded ----------------------------------------------------------------------------------------------

    def bindings(self) -> list[Binding]:
        """All of them, oldest first; none in a ledger whose schema the next run brings up to date."""
        with self._database.lock:
            if not self._database.one("SELECT 1 FROM sqlite_schema WHERE name = 'bindings'"):
                return []
            rows = self._database.all("SELECT id, side, bucket, prefix, endpoints, bound_ms FROM bindings ORDER BY id")
            return [
                Binding(number, side, End(bucket, prefix, tuple(json.loads(endpoints))), at)
                for number, side, bucket, prefix, endpoints, at in rows
            ]

    def is_blank(self) -> bool:
        """Whether the ledger knows of nothing that could be taken for another store's."""
        known = "EXISTS (SELECT 1 FROM objects) OR EXISTS (SELECT 1 FROM groups WHERE hop != 'start')"
        return not self._database.value(f"SELECT {known}")

    def record_ends(self, ends: dict[str, End]) -> None:
        """Record the sides that have no binding yet."""
        if len(newest(self.bindings())) == len(ends):
            return
        with self._database.transaction() as db:
            for side, end in ends.items():
                if not db.execute("SELECT 1 FROM bindings WHERE side = ?", (side,)).fetchone():
                    self._bind(db, side, end)

    @staticmethod
    def _bind(db: sqlite3.Connection, side: str, end: End) -> None:
        db.execute(
            "INSERT INTO bindings (side, bucket, prefix, endpoints, bound_ms) VALUES (?, ?, ?, ?, ?)",
            (side, end.bucket, end.prefix, json.dumps(end.addresses), machine.now_ms()),
        )

    def correct_end(self, number: int, end: End) -> None:
        """The same store under another name: what was proven there stays proven."""
        with self._database.transaction() as db:
            self._rename(db, number, end)

    @staticmethod
    def _rename(db: sqlite3.Connection, number: int, end: End) -> None:
        db.execute(
            "UPDATE bindings SET bucket = ?, prefix = ?, endpoints = ? WHERE id = ?",
            (end.bucket, end.prefix, json.dumps(end.addresses), number),
        )

    def holdings(self) -> list[Holding]:
        """Every row of the ledger, counted. Reads all of them."""
        sql = (
            "SELECT state, volume IS NOT NULL OR left_on IS NOT NULL, origin, COUNT(*), SUM(size) FROM objects"
            " GROUP BY 1, 2, 3"
        )
        return [
            Holding(State(state), bool(has_file), origin == Origin.DROP, objects, size)
            for state, has_file, origin, objects, size in self._database.all(sql)
        ]

    # -- another store -------------------------------------------------------------------------------------------------

    def rebind_destination(self, end: End, *, is_same: bool) -> None:
        """The job's destination is `end` from now on, in one transaction. No unit runs.

        `is_same`: the store that the proofs are of, under another name. Else nothing is proven there: what is on a
        volume is staged, what was released is fetched again, a dropped file that is gone is forgotten by name.
        """
        with self._database.transaction() as db:
            known = db.execute("SELECT MAX(id) FROM bindings WHERE side = 'destination'").fetchone()[0]
            if is_same and known is not None:
                self._rename(db, known, end)
                return
            self._bind(db, "destination", end)
            if not is_same:
                self._unprove(db, "1")

    def rebind_source(self, end: End, *, is_same: bool) -> None:
        """The job's source is `end` from now on, in one transaction. No unit runs.

        `is_same`: all rows stay. Else rows of which there is no copy are forgotten, with a record: the old source
        cannot be asked for them, and the new one lists what it has. What is called otherwise at the destination, now
        that the prefix is another one, is not proven under that name.
        """
        before = self.bindings()
        old = newest(before).get("source")
        with self._database.transaction() as db:
            self._bind(db, "source", end)
            if not is_same:
                self._forget_unfetched(db)
            if old and old.end.prefix != end.prefix:
                was, now = (naming_of(prefix, "", before) for prefix in (old.end.prefix, end.prefix))
                self._rename_rows(db, was, now, is_same=is_same)

    def _forget_unfetched(self, db: sqlite3.Connection) -> None:
        self._forget_where(
            db,
            f"state IN (0, 4, 5) AND origin = 0 AND {_NO_COPY}",
            "an operator named another source before it was fetched (snowsync rebind)",
        )
        db.execute(
            "INSERT INTO forgotten (object_id, key, size, etag, generation, origin, state, reason, at_ms)"
            " SELECT id, key, next_size, next_etag, next_generation, origin, 0, ?, ? FROM objects"
            " WHERE next_size IS NOT NULL",
            ("an operator named another source before this generation was fetched (snowsync rebind)", machine.now_ms()),
        )
        db.execute(
            "UPDATE objects SET next_size = NULL, next_etag = NULL, next_modified_ms = NULL WHERE next_size IS NOT NULL"
        )

    def _rename_rows(self, db: sqlite3.Connection, was: Naming, now: Naming, *, is_same: bool) -> None:
        """What both prefixes have in common has another name at the destination from now on."""
        db.create_function("is_renamed", 1, lambda key: was.prefix_of(key) != now.prefix_of(key))
        renamed = "is_renamed(key)"
        reason = "its key changed with the new prefix of the source (snowsync rebind)"
        # The file stays in its folder, where it is taken again under its new key.
        self._forget_where(db, f"origin = 1 AND (state NOT IN (2, 3) OR {renamed})", reason)
        if not is_same:
            self._forget_where(db, f"{renamed} AND state = 3 AND {_NO_COPY}", reason)
        self._unprove(db, renamed)

    def _unprove(self, db: sqlite3.Connection, which: str) -> None:
        """Of these rows no proof of delivery counts any more."""
        lost = f"{which} AND origin = 1 AND state = 3"
        message = "the dropped file was delivered to another destination, and is no longer here"
        for values in db.execute(f"SELECT {ROW} FROM objects WHERE {lost}").fetchall():
            self._journal.count(db, Failure(Row(*values), "destination", Trouble.NOT_FOUND, message, "forgotten"))
        self._forget_where(db, lost, "a dropped file that was delivered elsewhere, and is gone (snowsync rebind)")
        numbers = f"SELECT id FROM objects WHERE {which}"
        db.execute(f"DELETE FROM uploads WHERE object_id IN ({numbers})")
        db.execute(f"DELETE FROM parts WHERE hop != 'source' AND object_id IN ({numbers})")
        # A proof of the old destination entitles to nothing: the file may be the only copy that the new one can get.
        db.execute(
            f"UPDATE copies SET state = 1, sends = 0, destination_etag = '', target = 0 WHERE object_id IN ({numbers})"
        )
        db.execute(f"UPDATE objects SET {UNSENT} WHERE {which} AND state IN (0, 1)")
        db.execute(f"UPDATE objects SET sends = 0, acknowledged = 0 WHERE {which} AND state IN (4, 5)")
        # Suspect: the file may have been deleted already, and that not recorded yet.
        staged_again = f"state = 1, suspect = 1, {UNSENT}"
        db.execute(f"UPDATE objects SET {staged_again} WHERE {which} AND state = 2 AND volume IS NOT NULL")
        db.execute(
            f"UPDATE objects SET state = 0, volume = NULL, staged_ms = NULL, {UNSENT} WHERE {which} AND state IN (2, 3)"
        )

    @staticmethod
    def _forget_where(db: sqlite3.Connection, which: str, reason: str) -> None:
        """Rows leave the ledger, and leave a record that says why."""
        db.execute(
            "INSERT INTO forgotten (object_id, key, size, etag, generation, origin, state, reason, at_ms)"
            f" SELECT id, key, size, etag, {NEWEST}, origin, state, ?, ? FROM objects WHERE {which}",
            (reason, machine.now_ms()),
        )
        db.execute(f"DELETE FROM parts WHERE object_id IN (SELECT id FROM objects WHERE {which})")
        db.execute(f"DELETE FROM objects WHERE {which}")
