# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the ledger knows about objects: their rows, which of them are due, which failed and are retried."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..core import machine
from ..core.errors import Trouble
from ..core.model import Origin, State
from .database import Database
from .generations import advance, forget
from .journal import JournalLedger
from .rows import AGAIN, AS_READ, ROW, UNSENT, Failure, Row, as_read, move, sound

LONGEST_DELAY_MS = 3_600_000  # before another attempt at an object
_REVIVED_AT_ONCE = 5000
# What gets a new chance, by the direction of the run: (its state then, which rows).
_TO_SEND = (1, f"{AGAIN} AND (state = 1 OR volume IS NOT NULL)")
_TO_FETCH = (0, f"{AGAIN} AND state != 1 AND origin = 0 AND volume IS NULL")
REVIVED = {"source": (_TO_FETCH,), "destination": (_TO_SEND,), "both": (_TO_SEND, _TO_FETCH)}


@dataclass(frozen=True, slots=True)
class Resent:
    """The result for one key: `action` is one of RESENT_ACTIONS."""

    key: str
    action: str
    size: int = 0


SENT, FETCHED, ON_ITS_WAY, GONE, UNKNOWN_KEY = "sent again", "fetched again", "on its way", "gone", "unknown"
RESENT_ACTIONS = (SENT, FETCHED, ON_ITS_WAY, GONE, UNKNOWN_KEY)


class ObjectLedger:
    """The table `objects`: what is to be done, and objects that do not move forward."""

    def __init__(self, database: Database, journal: JournalLedger) -> None:
        self._database = database
        self._journal = journal

    # -- rows ----------------------------------------------------------------------------------------------------------

    def row(self, object_id: int) -> Row | None:
        values = self._database.one(f"SELECT {ROW} FROM objects WHERE id = ?", (object_id,))
        return sound(Row(*values), self._database.path) if values else None

    def row_of_key(self, key: str) -> Row | None:
        values = self._database.one(f"SELECT {ROW} FROM objects WHERE key = ?", (key,))
        return sound(Row(*values), self._database.path) if values else None

    def unfinished(self) -> Iterator[tuple[str, int]]:
        """(key, size) of everything that a run would continue with: pending, staged, failed, quarantined."""
        for key, size in self._database.stream("SELECT key, size FROM objects WHERE state IN (0, 1, 4, 5) ORDER BY id"):
            yield str(key), int(str(size))

    # -- what is to be done --------------------------------------------------------------------------------------------

    def work(self, state: State, *, after_id: int, limit: int, volumes: Collection[int] | None = None) -> list[Row]:
        """Rows of one state that are due, by id (in listing order), after `after_id`.

        `volumes` leaves out what is on other volumes.
        """
        return self.work_beside((), state, after_id=after_id, limit=limit, volumes=volumes)[0]

    def work_beside(
        self,
        busy: Collection[int],
        state: State,
        *,
        after_id: int,
        limit: int,
        volumes: Collection[int] | None = None,
    ) -> tuple[list[Row], int]:
        """The same without the objects `busy`, and the id to continue from; 0 if there is nothing more.

        Busy ones are skipped early, since most rows that are read repeatedly are in flight. A row that would wait
        longer than any delay was postponed while the clock was wrong; it is due.
        """
        where = "" if volumes is None else f" AND volume IN ({','.join(str(int(number)) for number in volumes)})"
        where = f"state = {int(state)} AND id > ? AND not_before_ms NOT BETWEEN ? AND ?{where} ORDER BY id LIMIT ?"
        now = machine.now_ms()
        values = (after_id, now + 1, now + LONGEST_DELAY_MS, limit)
        if after_id or not busy:
            rows = self._database.all(f"SELECT {ROW} FROM objects WHERE {where}", values)
            return self._sound([row for row in rows if row[0] not in busy]), int(rows[-1][0]) if rows else 0
        # From the beginning most are busy, and reading a number costs a small part of reading a row.
        numbers = [int(number) for (number,) in self._database.all(f"SELECT id FROM objects WHERE {where}", values)]
        free = ",".join(str(number) for number in numbers if number not in busy)
        sql = f"SELECT {ROW} FROM objects WHERE state = {int(state)} AND id IN ({free}) ORDER BY id"
        return self._sound(self._database.all(sql)), numbers[-1] if numbers else 0

    def _sound(self, rows: Sequence[Sequence[Any]]) -> list[Row]:
        return [sound(Row(*values), self._database.path) for values in rows]

    def last_pending(self) -> str:
        """The key of the object that would be fetched last, "" for none."""
        found = self._database.one("SELECT key FROM objects WHERE state = 0 ORDER BY id DESC LIMIT 1")
        return str(found[0]) if found else ""

    def waiting(self, *states: State) -> bool:
        """Whether any row is in one of these states, due or not."""
        # One literal a state: only so does SQLite see that a partial index answers.
        found = " OR ".join(f"EXISTS (SELECT 1 FROM objects WHERE state = {int(state)})" for state in states)
        return bool(self._database.value(f"SELECT {found}"))

    def is_to_be_sent(self, attempts: int) -> bool:
        """Whether anything is staged that has not been refused `attempts` times yet, due or not."""
        sql = "SELECT EXISTS (SELECT 1 FROM objects WHERE state = 1 AND attempts < ?)"
        return bool(self._database.value(sql, (attempts,)))

    def refused(self, *, everything: bool) -> int:
        """How many staged objects the destination refused; `everything`: including those that were not tried."""
        sql = f"SELECT COUNT(*) FROM objects WHERE state = 1{'' if everything else f' AND {AGAIN}'}"
        return int(self._database.value(sql))

    # -- another try, or none ------------------------------------------------------------------------------------------

    def retry(self, failure: Failure, *, delay_ms: int, count: int, target: State = State.PENDING) -> bool:
        """Put a row back (`target` pending, or staged for another upload), or mark it as quarantined or failed.

        `count` attempts are counted against it (True is one).
        """
        row = failure.row
        with self._database.transaction() as db:
            if target == State(row.state):  # another try of the same hop
                moved = (
                    db.execute(
                        "UPDATE objects SET attempts = attempts + ?, not_before_ms = ?, last_error = ?"
                        f" WHERE {AS_READ}",
                        (int(count), machine.now_ms() + delay_ms, failure.text, *as_read(row)),
                    ).rowcount
                    == 1
                )
            else:
                # What did not match lies in the quarantine, and nowhere else on the volume.
                has_file = target not in (State.PENDING, State.QUARANTINED)
                reset = "" if has_file else ", volume = NULL, suspect = 0, acknowledged = 0"
                moved = move(
                    db,
                    row,
                    target,
                    f"attempts = attempts + ?, not_before_ms = ?, last_error = ?{reset}",
                    (int(count), machine.now_ms() + delay_ms, failure.text),
                )
            if moved:
                self._journal.count(db, failure)
                if target != State(row.state):
                    advance(db, "id = ?", row.id)
        return moved

    def gone(self, failure: Failure) -> bool:
        """The source does not have an object that it listed: it is failed, and later passes look for it."""
        with self._database.transaction() as db:
            moved = move(
                db,
                failure.row,
                State.FAILED,
                "attempts = attempts + 1, last_error = ?, gone_ms = COALESCE(gone_ms, ?)",
                (failure.text, machine.now_ms()),
            )
            if moved:
                self._journal.count(db, failure)
        return moved

    def forget(self, row: Row, reason: str) -> bool:
        """Remove the row of a dropped file that was removed or changed before it was sent.

        False if the row has changed meanwhile.
        """
        with self._database.transaction() as db:
            if not db.execute(f"SELECT 1 FROM objects WHERE {AS_READ} AND origin = 1", as_read(row)).fetchone():
                return False
            forget(db, row, reason)
            return True

    def revive(self, direction: str = "both", beat: Callable[[str], None] = lambda doing: None) -> int:
        """Retry failed, quarantined and refused objects (a new run by an operator). Returns how many.

        What has a file on a volume is sent again, the rest is fetched again; each only by a run of that `direction`.
        Works in steps and reports them to `beat`.
        """
        count = 0
        for target, which in REVIVED[direction]:
            some = f"SELECT id FROM objects WHERE {which} LIMIT {_REVIVED_AT_ONCE}"
            sql = f"UPDATE objects SET state = {target}, attempts = 0, not_before_ms = 0 WHERE id IN ({some})"
            while changed := self._revive_some(sql):
                count += changed
                beat("retrying failed objects")
        if direction != "destination":
            with self._database.transaction() as db:
                advance(db, "state = 0")
        return count

    def _revive_some(self, sql: str) -> int:
        with self._database.transaction() as db:
            return db.execute(sql).rowcount

    # -- sending again -------------------------------------------------------------------------------------------------

    def resend(self, keys: Sequence[str], trouble: Trouble, message: str, *, dry_run: bool = False) -> list[Resent]:
        """Put objects back, in one transaction: staged if their file is still on a volume, otherwise to be fetched.

        The destination is asked before anything is sent. Each object that is put back is recorded as a failure. A row
        that changed meanwhile counts as being on its way. Nothing is written with `dry_run`.
        """
        if dry_run:
            return [_resent(key, self._row_of(key)) for key in keys]
        with self._database.transaction() as db:
            return [self._resend(db, key, trouble, message) for key in keys]

    def _row_of(self, key: str) -> Row | None:
        """The row of a key, whatever its state."""
        values = self._database.one(f"SELECT {ROW} FROM objects WHERE key = ?", (key,))
        return Row(*values) if values else None

    def _resend(self, db: sqlite3.Connection, key: str, trouble: Trouble, message: str) -> Resent:
        row = self._row_of(key)
        if row and not row.is_sound:  # nothing it says is of use: the next listing takes the object anew
            forget(db, row, f"its row in the ledger was damaged; {message}")
            return Resent(key, FETCHED, row.size)
        resent = _resent(key, row)
        if row is None or resent.action not in (SENT, FETCHED):
            return resent
        target = "1, suspect = 1" if resent.action == SENT else "0, volume = NULL"
        db.execute(
            f"UPDATE objects SET state = {target}, {UNSENT}, sends = 1 WHERE {AS_READ}",
            as_read(row),
        )
        self._journal.count(db, Failure(row, "destination", trouble, message, resent.action))
        return resent


def _resent(key: str, row: Row | None) -> Resent:
    """What can be done for one object."""
    if row is None:
        return Resent(key, UNKNOWN_KEY)
    if row.state in (State.PENDING, State.STAGED):
        return Resent(key, ON_ITS_WAY, row.size)
    if row.volume is not None:
        return Resent(key, SENT, row.size)
    return Resent(key, GONE if row.origin == Origin.DROP else FETCHED, row.size)
