# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Failed volumes: their contents are fetched again, count again when the volume returns, or are lost with it."""

from __future__ import annotations

import sqlite3

from ..core import machine
from ..core.conditions import MISSING
from ..core.errors import Trouble
from ..core.model import State
from .database import Database
from .generations import advance, forget
from .journal import JournalLedger
from .rows import ROW, Failure, Row, move

_STEP = 5000  # rows of one transaction, where a command changes all of a volume's
# As its index has it; SQLite does not see that one state is among two.
_THERE = "volume = ? AND state IN (1, 2)"
_STAGED_THERE = f"{_THERE} AND state = 1"
_LEFT = "left_on = volume, volume = NULL, suspect = 0, attempts = 0, not_before_ms = 0"


class LossLedger:
    """What happens to objects whose volume failed, came back, or was given up."""

    def __init__(self, database: Database, journal: JournalLedger) -> None:
        self._database = database
        self._journal = journal

    def returned(self, volume: int) -> int:
        """A volume can be used again: its contents are hashed before they are used. Returns how many objects.

        Copies of objects that were to be fetched again, but have not been yet, count again. Safe to call at every
        opening, by either unit, and after a kill: the trouble is cleared last.
        """
        found = self._database.one("SELECT trouble FROM volumes WHERE id = ?", (volume,))
        if not found or not found[0]:
            return 0
        self._in_steps(
            "UPDATE objects SET state = 1, volume = left_on, left_on = NULL, suspect = 1, attempts = 0,"
            " not_before_ms = 0, last_error = ''",
            "left_on = ? AND state IN (0, 4, 5)",
            volume,
        )
        count = self._suspect_all(volume)
        with self._database.transaction() as db:
            db.execute("UPDATE volumes SET trouble = '', reason = '', trouble_ms = 0 WHERE id = ?", (volume,))
        return count

    def _suspect_all(self, volume: int) -> int:
        count = last = 0
        while True:
            with self._database.transaction() as db:
                page = f"SELECT id FROM objects WHERE state = 1 AND id > ? ORDER BY id LIMIT {_STEP}"
                (end,) = db.execute(f"SELECT MAX(id) FROM ({page})", (last,)).fetchone()
                if end is None:
                    return count
                sql = "UPDATE objects SET suspect = 1 WHERE state = 1 AND id > ? AND id <= ? AND volume = ?"
                count += db.execute(sql, (last, end, volume)).rowcount
            last = end

    def _in_steps(self, update: str, where: str, volume: int, *values: object) -> int:
        """One UPDATE in steps, so that nothing waits long; it must make `where` false for each row."""
        done = 0
        while True:
            with self._database.transaction() as db:
                sql = f"{update} WHERE id IN (SELECT id FROM objects WHERE {where} LIMIT {_STEP})"
                changed = db.execute(sql, (*values, volume)).rowcount
            done += changed
            if changed < _STEP:
                return done

    # -- copies that are left on a volume ------------------------------------------------------------------------------

    def leave_copy(self, failure: Failure) -> bool:
        """A staged object cannot be read: it is fetched again, and the copy counts again if its volume returns.

        Unlike after damage, the destination is still asked first: an upload may have succeeded before the failure.
        """
        row = failure.row
        with self._database.transaction() as db:
            moved = move(db, row, State.PENDING, f"{_LEFT}, last_error = ?", (failure.text,))
            if moved:
                self._journal.count(db, failure)
                advance(db, "id = ?", row.id)
        return moved

    def leave_copies(self, volume: int, reason: str) -> int:
        """The same for everything staged on a volume except dropped files. Returns how many objects."""
        with self._database.transaction() as db:
            found = db.execute("SELECT name FROM volumes WHERE id = ?", (volume,)).fetchone()
        text = f"io: volume {found[0] if found else volume}: {reason}"
        left = self._in_steps(
            f"UPDATE objects SET state = 0, {_LEFT}, last_error = ?", f"{_STAGED_THERE} AND origin = 0", volume, text
        )
        with self._database.transaction() as db:
            advance(db, "state = 0 AND left_on = ?", volume)
        return left

    def left_on(self, object_id: int) -> str:
        """The name of the failed volume that has a copy of this object, '' for none."""
        sql = "SELECT volumes.name FROM objects JOIN volumes ON volumes.id = left_on WHERE objects.id = ?"
        found = self._database.one(sql, (object_id,))
        return str(found[0]) if found else ""

    # -- a volume that is given up -------------------------------------------------------------------------------------

    def fetchable_on(self, volume: int) -> tuple[int, int]:
        """(objects, bytes) of what is staged there and can be fetched again."""
        sql = f"SELECT COUNT(*), COALESCE(SUM(size), 0) FROM objects WHERE {_STAGED_THERE} AND origin = 0"
        ((objects, size),) = self._database.all(sql, (volume,))
        return int(objects), int(size)

    def older_on(self, volume: int) -> int:
        """How many versions are there that were replaced at the source and could not be fetched again."""
        sql = "SELECT COUNT(*) FROM copies WHERE volume = ? AND state = 1"
        return int(self._database.value(sql, (volume,)))

    def lose_volume(self, volume: int, name: str) -> tuple[int, list[str]]:
        """A volume will not come back: (how many objects are fetched again, keys of dropped files that are lost).

        What is delivered is done. A dropped file is forgotten, with a failure that names it. If the volume comes back
        after all, what was not fetched yet counts again.
        """
        count = self.leave_copies(volume, "it was given up")
        while self._release_there(volume):
            pass
        lost: list[str] = []
        while keys := self._forget_dropped(volume, name):
            lost += keys
        with self._database.transaction() as db:
            db.execute("DELETE FROM discards WHERE volume = ?", (volume,))
            lost += self._tell_older(db, volume, name)
            # Named: the newer generations that they were kept for may never arrive.
            db.execute(
                "INSERT INTO forgotten (object_id, key, size, etag, generation, origin, state, reason, at_ms)"
                " SELECT object_id, key, size, etag, generation, 0, state, ?, ? FROM copies WHERE volume = ?"
                " AND state = 1",
                (f"the copy of this generation was lost with volume {name}", machine.now_ms(), volume),
            )
            db.execute("DELETE FROM copies WHERE volume = ?", (volume,))
            # Also where no unit has met it yet: what lies there is hashed should it come back.
            sql = "UPDATE volumes SET trouble = ?, reason = ?, trouble_ms = ? WHERE id = ? AND trouble = ''"
            db.execute(sql, (MISSING, "it was given up", machine.now_ms(), volume))
        return count, lost

    def _release_there(self, volume: int) -> int:
        with self._database.transaction() as db:
            page = f"SELECT id FROM objects WHERE {_THERE} AND state = 2 LIMIT {_STEP}"
            sql = f"UPDATE objects SET state = 3, volume = NULL, released_ms = ? WHERE id IN ({page})"
            return db.execute(sql, (machine.now_ms(), volume)).rowcount

    def _forget_dropped(self, volume: int, name: str) -> list[str]:
        message = f"the dropped file was lost with volume {name}"
        with self._database.transaction() as db:
            sql = f"SELECT {ROW} FROM objects WHERE volume = ? AND state IN (1, 4, 5) AND origin = 1 LIMIT {_STEP}"
            rows = [Row(*values) for values in db.execute(sql, (volume,))]
            for row in rows:
                self._journal.count(db, Failure(row, "destination", Trouble.IO, message, "forgotten"))
                forget(db, row, message)
        return [row.key for row in rows]

    def _tell_older(self, db: sqlite3.Connection, volume: int, name: str) -> list[str]:
        """Record the versions that were replaced at the source and are lost with their volume."""
        message = f"an older version of it, not delivered, was lost with volume {name}"
        sql = f"SELECT {ROW} FROM objects WHERE id IN (SELECT object_id FROM copies WHERE volume = ? AND state = 1)"
        rows = [Row(*values) for values in db.execute(sql, (volume,)).fetchall()]
        for row in rows:
            self._journal.count(db, Failure(row, "destination", Trouble.IO, message, "the newer one is fetched"))
        return [row.key for row in rows]
