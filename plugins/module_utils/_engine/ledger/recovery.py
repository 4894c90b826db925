# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the ledger no longer trusts after a boot or after being restored from a backup, and how that is detected.

Volumes remember the newest group that they saw committed (volumes/claims.py). A ledger that does not have that group is
an older copy of the one that worked there: it does not know what was staged, sent, moved and released since.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from ..core import machine
from ..core.errors import Trouble
from ..core.model import ListedObject, Origin, State
from .boot import mark_suspect, suspect_groups
from .database import Database
from .journal import JournalLedger, new_group
from .rows import Failure, Row

RECOVERED = "recovered"  # the hop of the group that marks a recovery
START = "start"  # and of the one that marks a start of a unit
_SKIPPED_NUMBERS = 1_000_000_000  # more than any lost history gave to objects: files carry those numbers
_SKIPPED_GENERATIONS = 1_000_000  # and more than it gave to one key
_CLOCK_SKEW_MS = 86_400_000  # so much may the clock of a store differ from ours
_NEVER_MS = 2**62


class RecoveryLedger:
    """What the ledger no longer trusts: after a boot that ended early, and after being restored from an older copy."""

    def __init__(self, database: Database, journal: JournalLedger) -> None:
        self._database = database
        self._journal = journal
        self._recovered_ms = 0
        self._looked_up_to = 0

    def begin(self) -> None:
        """Mark that somebody begins to work with the ledger: a group that copies from before do not have.

        Otherwise a copy would pass for the newest ledger if all that it lacks is which uploads have begun since.
        """
        with self._database.transaction() as db:
            new_group(db, START, None, 0, 0, machine.now_ms())

    def newest_group(self) -> tuple[int, int]:
        """(number, time in ms) of what was committed last; zeros before anything was."""
        found = self._database.one("SELECT id, at_ms FROM groups ORDER BY id DESC LIMIT 1")
        return (int(found[0]), int(found[1])) if found else (0, 0)

    def knows_group(self, number: int, at_ms: int) -> bool:
        """Whether this group was committed here, at that time (0: at whatever time)."""
        if number <= 0 or at_ms < 0:
            return number == 0
        with self._database.lock:
            found = self._database.one("SELECT at_ms FROM groups WHERE id = ? AND first_id IS NULL", (number,))
            if at_ms:
                return found[0] == at_ms if found else self._has_gathered(number, at_ms)
            return bool(self._database.value("SELECT EXISTS (SELECT 1 FROM groups WHERE id >= ?)", (number,)))

    def _has_gathered(self, number: int, at_ms: int) -> bool:
        """Whether it is among the old groups that were made one row, as far as their numbers and times can tell."""
        sql = (
            "SELECT EXISTS (SELECT 1 FROM groups WHERE first_id <= ?1 AND id >= ?1 AND first_ms <= ?2"
            " AND ?2 <= (SELECT MAX(at_ms) FROM groups AS others WHERE others.first_id = groups.first_id))"
        )
        return bool(self._database.value(sql, (number, at_ms)))

    def distrust(self, volume: int, record: str, number: int, at_ms: int) -> bool:
        """The ledger is an old copy, says the `record` of a volume, which knows of a group that it does not have.

        In one transaction: what is staged is hashed, and the destination asked for it, before it is sent; so is what
        is pending, once it was fetched. Notes of files of no use, and of parts, are dropped: they may be about other
        files by now. Objects get numbers that none had before. False where the ledger has learnt that already.
        """
        seen, at = f"{number}/{at_ms}", machine.now_ms()
        with self._database.transaction() as db:
            sql = "SELECT 1 FROM groups WHERE hop = ? AND volume = ? AND boot_id = ?"
            if self.knows_group(number, at_ms) or db.execute(sql, (RECOVERED, volume, seen)).fetchone():
                return False
            db.execute(
                "INSERT INTO groups (id, hop, volume, boot_id, objects, bytes, at_ms)"
                " SELECT MAX(COALESCE(MAX(id), 0), ?) + 1, ?, ?, ?, 0, 0, ? FROM groups",
                (number, RECOVERED, volume, seen, at),
            )
            db.execute("UPDATE objects SET suspect = 1, sends = MAX(sends, 1) WHERE state = 1")
            db.execute("UPDATE objects SET sends = MAX(sends, 1) WHERE state IN (0, 4, 5)")
            db.execute("UPDATE copies SET sends = MAX(sends, 1)")
            db.execute("DELETE FROM discards")
            db.execute("DELETE FROM parts")
            self._skip_numbers(db)
            self._journal.count(db, _notice(record, number))
        return True

    @staticmethod
    def _skip_numbers(db: sqlite3.Connection) -> None:
        db.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'objects', 0"
            " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'objects')"
        )
        db.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'objects'", (_SKIPPED_NUMBERS,))

    def recovered_ms(self) -> int:
        """When this ledger was last found to be an old copy, 0 for never. Only groups since the last call are read."""
        with self._database.lock:
            newest = self.newest_group()[0]
            if newest > self._looked_up_to:
                sql = "SELECT MAX(at_ms) FROM groups WHERE hop = ? AND id > ?"
                found = self._database.value(sql, (RECOVERED, self._looked_up_to))
                self._recovered_ms = max(self._recovered_ms, found or 0)
                self._looked_up_to = newest
            return self._recovered_ms

    def lost_since_ms(self) -> int:
        """When the history began that an old copy does not know: its own newest group before that; 0: none.

        1, so that everything is later, where the clock was set back since: nobody knows which of its times is right.
        """
        if not self.recovered_ms():
            return 0
        sql = (
            "SELECT COALESCE(MAX(at_ms), 1) FROM groups WHERE id <"
            " (SELECT MIN(id) FROM groups WHERE hop = ? AND at_ms = ?) AND hop NOT IN (?, ?)"
        )
        since = int(self._database.value(sql, (RECOVERED, self.recovered_ms(), RECOVERED, START)))
        return since if since <= self.recovered_ms() <= machine.now_ms() else 1

    def was_staged_before_recovery(self, row: Row) -> bool:
        """Whether a file is from before this ledger was last found to be an old copy.

        By the number of its group, which no clock changes; by its time where it was moved to another volume since.
        """
        sql = (
            "SELECT COALESCE(group_id, 0) < (SELECT MAX(id) FROM groups WHERE hop = ?) OR COALESCE(staged_ms, 0) < ?"
            " FROM objects WHERE id = ?"
        )
        found = self._database.one(sql, (RECOVERED, self.recovered_ms(), row.id))
        return found is not None and bool(found[0])

    def next_generation(self) -> int:
        """How far the next generation of a key is from the last one: files carry those of a history that is lost."""
        return _SKIPPED_GENERATIONS if self.recovered_ms() else 1

    def doubt_listed(self, db: sqlite3.Connection, moving: Sequence[ListedObject]) -> None:
        """What is listed anew and was there before the recovery may have been delivered in the history that is lost."""
        if self.recovered_ms():
            has_clock = self.lost_since_ms() > 1
            until_ms = self.recovered_ms() + _CLOCK_SKEW_MS if has_clock else _NEVER_MS
            db.executemany(
                "UPDATE objects SET sends = MAX(sends, 1) WHERE key = ? AND state = 0 AND modified_ms <= ?",
                [(listed.key, until_ms) for listed in moving],
            )

    # -- the boot rule -------------------------------------------------------------------------------------------------

    def apply_boot_rule(self, beat: Callable[[str], None] = lambda doing: None) -> int:
        """At the first start of a later boot: mark what became staged in the last minutes of the earlier ones.

        Returns how many rows became suspect. Whether the machine went down in order is not trusted. It goes in steps
        (`beat` is told of each): what was marked before a kill stays marked, and the next start goes on.
        """
        with self._database.lock:
            groups = suspect_groups(self._database.connection, machine.boot_id())
        count, last = 0, 0 if groups else None
        while last is not None:
            beat("marking objects staged shortly before the boot")
            with self._database.transaction() as db:
                marked, last = mark_suspect(db, groups, last)
            count += marked
        return count


def _notice(record: str, number: int) -> Failure:
    """A failure of the ledger itself, without an object."""
    row = Row(0, record, 0, "", 0, 0, Origin.SOURCE, State.STAGED, None, 0, "", "", 0, 0, 0)
    message = (
        f"this ledger is an older copy: the volume has seen group {number}, which the ledger does not have;"
        " was it restored from a backup or a snapshot?"
    )
    return Failure(
        row, "destination", Trouble.CHANGED, message, "nothing removed; destination and files are checked first"
    )
