# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the ledger knows of volumes: who they are, what lies on them, which are being emptied, which are in trouble."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence

from . import machine
from .conditions import MISSING
from .errors import LedgerError, Trouble
from .ledger_boot import mark_suspect, suspect_groups
from .ledger_copies import CopyLedger
from .ledger_generations import advance, forget, note_discard
from .ledger_journal import new_group
from .ledger_rows import AS_READ, ROW, Failure, Row, as_read, move
from .model import State

UNUSED = "not used"  # the fact of a volume that no unit could use so far
_STEP = 5000  # rows of one transaction, where a command changes all of a volume's
# As its index has it; SQLite does not see that one state is among two.
_THERE = "volume = ? AND state IN (1, 2)"
_STAGED_THERE = f"{_THERE} AND state = 1"
_LEFT = "left_on = volume, volume = NULL, suspect = 0, attempts = 0, not_before_ms = 0"


class VolumeLedger(CopyLedger):
    """The part of `Ledger` that is about volumes."""

    # -- who they are -------------------------------------------------------------------------------------------

    def volume_id(self, name: str, uuid: str, path: str) -> int:
        """The number of a volume. Raises LedgerError when the name or the identity belongs to another volume."""
        with self.database.transaction() as db:
            found = db.execute("SELECT id, name, uuid FROM volumes WHERE name = ? OR uuid = ?", (name, uuid)).fetchall()
            if not found:
                cursor = db.execute(
                    "INSERT INTO volumes (name, uuid, path, first_seen_ms) VALUES (?, ?, ?, ?)",
                    (name, uuid, path, machine.now_ms()),
                )
                return int(cursor.lastrowid or 0)
            if len(found) > 1 or found[0][1:] != (name, uuid):
                raise LedgerError(
                    f"Volume {name} at {path} carries identity {uuid}, the ledger knows {found[0][1]} as {found[0][2]}:"
                    " mount the right disk there, or give the new one a new name"
                )
            db.execute("UPDATE volumes SET path = ? WHERE id = ?", (path, found[0][0]))
            return int(found[0][0])

    def known_volumes(self) -> dict[str, tuple[int, str]]:
        """name -> (id, uuid)."""
        return {
            str(name): (int(number), str(uuid))
            for number, name, uuid in self._all("SELECT id, name, uuid FROM volumes")
        }

    def holding(self) -> set[str]:
        """The names of the volumes on which something is staged."""
        return {
            str(name)
            for _number, name, _uuid in self._all(
                "SELECT id, name, uuid FROM volumes WHERE EXISTS (SELECT 1 FROM objects WHERE volume = volumes.id"
                " AND state IN (1, 2) AND state = 1)"
            )
        }

    def _all(self, sql: str) -> list[tuple[int, str, str]]:
        return self.database.all(sql)

    def has_file(self, key: str, generation: int, volume: int) -> bool:
        """Whether the ledger has use for a file of this key and generation on this volume."""
        sql = "SELECT 1 FROM copies WHERE key = ? AND generation = ? AND volume = ?"
        with self.database.lock:
            is_kept = self.database.one(sql, (key, generation, volume)) is not None
            return is_kept or self.is_named(key, generation, volume)

    def is_named(self, key: str, generation: int, volume: int) -> bool:
        """Whether the key's row speaks of this file: not only a copy of a generation that was replaced."""
        sql = (
            "SELECT 1 FROM objects WHERE key = ? AND generation = ?"
            " AND (volume = ? AND state IN (1, 2, 4, 5) OR left_on = ? AND state IN (0, 4, 5))"
        )
        return self.database.one(sql, (key, generation, volume, volume)) is not None

    def has_used(self, volume: int) -> bool:
        """Whether this ledger ever made a group durable on this volume."""
        found = self.database.one("SELECT 1 FROM groups WHERE volume = ? LIMIT 1", (volume,))
        return found is not None

    def knows_key(self, key: str) -> bool:
        return self.database.one("SELECT 1 FROM objects WHERE key = ?", (key,)) is not None

    def knows_object(self, object_id: int) -> bool:
        return self.database.one("SELECT 1 FROM objects WHERE id = ?", (object_id,)) is not None

    def occupied(self) -> dict[int, int]:
        """Bytes per volume of everything staged or delivered and not yet released, each file rounded up to 4 KiB.

        Generations that were replaced, and are still kept, among it.
        """
        sql = (
            "SELECT volume, SUM((size + 4095) / 4096 * 4096) FROM"
            " (SELECT volume, size FROM objects WHERE state IN (1, 2) AND volume IS NOT NULL"
            " UNION ALL SELECT volume, size FROM copies) GROUP BY volume"
        )
        return {int(volume): int(size) for volume, size in self.database.all(sql)}

    # -- draining -----------------------------------------------------------------------------------------------

    def set_draining(self, volume: int, draining: bool) -> None:
        """Nothing new is to be placed on this volume; or, not `draining`, it is in use again."""
        with self.database.transaction() as db:
            db.execute("UPDATE volumes SET draining = ? WHERE id = ?", (int(draining), volume))

    def draining(self) -> set[int]:
        return {number for (number,) in self.database.all("SELECT id FROM volumes WHERE draining = 1")}

    def set_placing(self, placing: Mapping[int, bool]) -> None:
        """Which volumes the source unit may have something on its way to."""
        with self.database.transaction() as db:
            db.executemany("UPDATE volumes SET placing = ? WHERE id = ?", [(int(on), at) for at, on in placing.items()])

    # -- trouble ------------------------------------------------------------------------------------------------

    def set_trouble(self, volume: int, word: str, reason: str) -> None:
        """A unit cannot use a volume fully: `word` is missing, read-only or failed, `reason` for people."""
        with self.database.transaction() as db:
            db.execute(
                "UPDATE volumes SET trouble_ms = iif(trouble = ?, trouble_ms, ?), trouble = ?, reason = ?"
                " WHERE id = ? AND (trouble, reason) IS NOT (?, ?)",
                (word, machine.now_ms(), word, reason, volume, word, reason),
            )

    def note_unused(self, volume: str, word: str, reason: str) -> None:
        """As `set_trouble`, of a volume of the job that no unit could use so far: it has no number and no identity."""
        self.journal.set_fact("volume", volume, UNUSED, f"{word}: {reason}")

    def returned(self, volume: int) -> int:
        """A volume can be used again: what lies there is hashed before it is used. Returns how many objects.

        Copies of objects that were to be fetched again, and have not been yet, count again. Safe to call at every
        opening, by either unit, and after a kill: the trouble is cleared last.
        """
        found = self.database.one("SELECT trouble FROM volumes WHERE id = ?", (volume,))
        if not found or not found[0]:
            return 0
        self._in_steps(
            "UPDATE objects SET state = 1, volume = left_on, left_on = NULL, suspect = 1, attempts = 0,"
            " not_before_ms = 0, last_error = ''",
            "left_on = ? AND state IN (0, 4, 5)",
            volume,
        )
        count = self._suspect_all(volume)
        with self.database.transaction() as db:
            db.execute("UPDATE volumes SET trouble = '', reason = '', trouble_ms = 0 WHERE id = ?", (volume,))
        return count

    def _suspect_all(self, volume: int) -> int:
        count = last = 0
        while True:
            with self.database.transaction() as db:
                page = f"SELECT id FROM objects WHERE state = 1 AND id > ? ORDER BY id LIMIT {_STEP}"
                (end,) = db.execute(f"SELECT MAX(id) FROM ({page})", (last,)).fetchone()
                if end is None:
                    return count
                sql = "UPDATE objects SET suspect = 1 WHERE state = 1 AND id > ? AND id <= ? AND volume = ?"
                count += db.execute(sql, (last, end, volume)).rowcount
            last = end

    def _in_steps(self, update: str, where: str, volume: int, *values: object) -> int:
        """One UPDATE that ends what `where` says of each row, some thousand at a time: nobody waits long."""
        done = 0
        while True:
            with self.database.transaction() as db:
                sql = f"{update} WHERE id IN (SELECT id FROM objects WHERE {where} LIMIT {_STEP})"
                changed = db.execute(sql, (*values, volume)).rowcount
            done += changed
            if changed < _STEP:
                return done

    @staticmethod
    def _forget_copies(db: sqlite3.Connection, group_id: int) -> None:
        """A group is staged: copies that its objects had on volumes that failed are of no use any more."""
        db.execute(
            "INSERT INTO discards (volume, key, generation) SELECT left_on, key, generation FROM objects"
            " WHERE left_on IS NOT NULL AND group_id = ? AND left_on != volume",
            (group_id,),
        )
        db.execute("UPDATE objects SET left_on = NULL WHERE left_on IS NOT NULL AND group_id = ?", (group_id,))

    # -- copies that were left on a volume ----------------------------------------------------------------------

    def leave_copy(self, failure: Failure) -> bool:
        """A staged object cannot be read where it is: it is fetched again, the copy counts again if its volume returns.

        Unlike after damage, the destination is still asked first: an upload may have ended before the volume failed.
        """
        row = failure.row
        with self.database.transaction() as db:
            moved = move(db, row, State.PENDING, f"{_LEFT}, last_error = ?", (failure.text,))
            if moved:
                self.journal.count(db, failure)
                advance(db, "id = ?", row.id)
        return moved

    def leave_copies(self, volume: int, reason: str) -> int:
        """The same for all that is staged on a volume, but for what people dropped there. Returns how many objects."""
        with self.database.transaction() as db:
            found = db.execute("SELECT name FROM volumes WHERE id = ?", (volume,)).fetchone()
        text = f"io: volume {found[0] if found else volume}: {reason}"
        left = self._in_steps(
            f"UPDATE objects SET state = 0, {_LEFT}, last_error = ?", f"{_STAGED_THERE} AND origin = 0", volume, text
        )
        with self.database.transaction() as db:
            advance(db, "state = 0 AND left_on = ?", volume)
        return left

    def lose_volume(self, volume: int, name: str) -> tuple[int, list[str]]:
        """A volume will not come back: (how many objects are fetched again, keys of dropped files that are lost).

        What is delivered is done. A dropped file is forgotten, with a failure that names it. Should the volume come
        back after all, what was not fetched yet counts again.
        """
        count = self.leave_copies(volume, "it was given up")
        while self._release_there(volume):
            pass
        lost: list[str] = []
        while keys := self._forget_dropped(volume, name):
            lost += keys
        with self.database.transaction() as db:
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
        with self.database.transaction() as db:
            page = f"SELECT id FROM objects WHERE {_THERE} AND state = 2 LIMIT {_STEP}"
            sql = f"UPDATE objects SET state = 3, volume = NULL, released_ms = ? WHERE id IN ({page})"
            return db.execute(sql, (machine.now_ms(), volume)).rowcount

    def _forget_dropped(self, volume: int, name: str) -> list[str]:
        message = f"the dropped file was lost with volume {name}"
        with self.database.transaction() as db:
            sql = f"SELECT {ROW} FROM objects WHERE volume = ? AND state IN (1, 4, 5) AND origin = 1 LIMIT {_STEP}"
            rows = [Row(*values) for values in db.execute(sql, (volume,))]
            for row in rows:
                self.journal.count(db, Failure(row, "destination", Trouble.IO, message, "forgotten"))
                forget(db, row, message)
        return [row.key for row in rows]

    def fetchable_on(self, volume: int) -> tuple[int, int]:
        """(objects, bytes) of what is staged there and can be fetched again."""
        sql = f"SELECT COUNT(*), COALESCE(SUM(size), 0) FROM objects WHERE {_STAGED_THERE} AND origin = 0"
        ((objects, size),) = self.database.all(sql, (volume,))
        return int(objects), int(size)

    def older_on(self, volume: int) -> int:
        """How many versions lie there that the source has replaced, and that nobody could fetch again."""
        sql = "SELECT COUNT(*) FROM copies WHERE volume = ? AND state = 1"
        return int(self.database.value(sql, (volume,)))

    def _tell_older(self, db: sqlite3.Connection, volume: int, name: str) -> list[str]:
        """Name the versions that were replaced at the source, and are lost with their volume."""
        message = f"an older version of it, not delivered, was lost with volume {name}"
        sql = f"SELECT {ROW} FROM objects WHERE id IN (SELECT object_id FROM copies WHERE volume = ? AND state = 1)"
        rows = [Row(*values) for values in db.execute(sql, (volume,)).fetchall()]
        for row in rows:
            self.journal.count(db, Failure(row, "destination", Trouble.IO, message, "the newer one is fetched"))
        return [row.key for row in rows]

    def left_on(self, object_id: int) -> str:
        """The name of the volume that failed and keeps a copy of this object, '' for none."""
        sql = "SELECT volumes.name FROM objects JOIN volumes ON volumes.id = left_on WHERE objects.id = ?"
        found = self.database.one(sql, (object_id,))
        return str(found[0]) if found else ""

    # -- moving from one volume to another -----------------------------------------------------------------------

    def lying(self, state: State, volume: int, *, after_id: int, limit: int) -> list[Row]:
        """What of the source's objects lies on a volume in `state`, due or not, by id."""
        sql = (
            f"SELECT {ROW} FROM objects WHERE state = {int(state)} AND id > ? AND volume = ? AND origin = 0"
            " ORDER BY id LIMIT ?"
        )
        return [Row(*values) for values in self.database.all(sql, (after_id, volume, limit))]

    def intend(self, volume: int, rows: Iterable[Row]) -> dict[int, int]:
        """Files are about to appear on this volume that are of no use before `commit_moved`: object -> its note."""
        with self.database.transaction() as db:
            return {row.id: note_discard(db, volume, row) for row in rows}

    def commit_moved(self, rows: Sequence[Row], volume: int, notes: Mapping[int, int]) -> list[Row]:
        """These objects lie durably, and proven, on `volume`; returns those of which it is true now.

        The others were delivered, or replaced, or looked at by somebody else meanwhile: what was copied is of no use.
        """
        moved = []
        with self.database.transaction() as db:
            size = sum(row.size for row in rows)
            group_id = new_group(db, "evacuate", volume, len(rows), size, machine.now_ms())
            for row in rows:
                sql = f"UPDATE objects SET volume = ?, group_id = ?, suspect = 0 WHERE {AS_READ}"
                if db.execute(sql, (volume, group_id, *as_read(row))).rowcount == 1:
                    db.execute("DELETE FROM discards WHERE id = ?", (notes[row.id],))
                    note_discard(db, row.volume, row)
                    moved.append(row)
        return moved

    # -- files that are of no use ----------------------------------------------------------------------------------

    def discards(self, *, after_id: int = 0) -> list[tuple[int, int, str, int]]:
        """(id, volume, key, generation) of the next thousand files that a newer generation made obsolete, by id."""
        sql = "SELECT id, volume, key, generation FROM discards WHERE id > ? ORDER BY id LIMIT 1000"
        return self.database.all(sql, (after_id,))

    def discarded(self, ids: Iterable[int]) -> None:
        with self.database.transaction() as db:
            db.executemany("DELETE FROM discards WHERE id = ?", [(number,) for number in ids])

    # -- the boot rule ------------------------------------------------------------------------------------------

    def apply_boot_rule(self, beat: Callable[[str], None] = lambda doing: None) -> int:
        """At the first start of a later boot: mark what became staged in the last minutes of the earlier ones.

        Returns how many rows became suspect. Whether the machine went down in order is not trusted. It goes in steps
        (`beat` is told of each): what was marked before a kill stays marked, and the next start goes on.
        """
        with self.database.lock:
            groups = suspect_groups(self.database.connection, machine.boot_id())
        count, last = 0, 0 if groups else None
        while last is not None:
            beat("marking what was staged before the boot")
            with self.database.transaction() as db:
                marked, last = mark_suspect(db, groups, last)
            count += marked
        return count
