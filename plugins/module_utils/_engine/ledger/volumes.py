# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the ledger knows about volumes: their identities, their contents, which are draining, which have failed."""

from __future__ import annotations

from collections.abc import Mapping

from ..core import machine
from ..core.errors import LedgerError
from .database import Database
from .journal import JournalLedger

UNUSED = "not used"  # the fact of a volume that no unit could use so far


class VolumeLedger:
    """The table `volumes`, and what lies on each."""

    def __init__(self, database: Database, journal: JournalLedger) -> None:
        self._database = database
        self._journal = journal

    # -- who they are --------------------------------------------------------------------------------------------------

    def volume_id(self, name: str, uuid: str, path: str) -> int:
        """The number of a volume. Raises LedgerError when the name or the identity belongs to another volume."""
        with self._database.transaction() as db:
            found = db.execute("SELECT id, name, uuid FROM volumes WHERE name = ? OR uuid = ?", (name, uuid)).fetchall()
            if not found:
                cursor = db.execute(
                    "INSERT INTO volumes (name, uuid, path, first_seen_ms) VALUES (?, ?, ?, ?)",
                    (name, uuid, path, machine.now_ms()),
                )
                return int(cursor.lastrowid or 0)
            if len(found) > 1 or found[0][1:] != (name, uuid):
                raise LedgerError(
                    f"Volume {name} at {path} has identity {uuid}, but the ledger knows {found[0][1]} as {found[0][2]}:"
                    " mount the right disk there, or give the new volume a new name"
                )
            db.execute("UPDATE volumes SET path = ? WHERE id = ?", (path, found[0][0]))
            return int(found[0][0])

    def known_volumes(self) -> dict[str, tuple[int, str]]:
        """name -> (id, uuid)."""
        rows = self._database.all("SELECT id, name, uuid FROM volumes")
        return {str(name): (int(number), str(uuid)) for number, name, uuid in rows}

    def holding(self) -> set[str]:
        """The names of the volumes on which something is staged."""
        # Both conditions: as the index has it, and SQLite does not see that one state is among two.
        sql = (
            "SELECT name FROM volumes WHERE EXISTS (SELECT 1 FROM objects WHERE volume = volumes.id"
            " AND state IN (1, 2) AND state = 1)"
        )
        return {str(name) for (name,) in self._database.all(sql)}

    def occupied(self) -> dict[int, int]:
        """Bytes per volume of everything staged or delivered and not yet released, each file rounded up to 4 KiB.

        Generations that were replaced, and are still kept, among it.
        """
        sql = (
            "SELECT volume, SUM((size + 4095) / 4096 * 4096) FROM"
            " (SELECT volume, size FROM objects WHERE state IN (1, 2) AND volume IS NOT NULL"
            " UNION ALL SELECT volume, size FROM copies) GROUP BY volume"
        )
        return {int(volume): int(size) for volume, size in self._database.all(sql)}

    # -- whose files they hold -----------------------------------------------------------------------------------------

    def identity(self) -> str:
        """Which ledger this is: the volumes that it stages on name it."""
        return self._database.identity()

    def has_used(self, volume: int) -> bool:
        """Whether this ledger ever made a group durable on this volume."""
        found = self._database.one("SELECT 1 FROM groups WHERE volume = ? LIMIT 1", (volume,))
        return found is not None

    def knows_key(self, key: str) -> bool:
        return self._database.one("SELECT 1 FROM objects WHERE key = ?", (key,)) is not None

    def knows_object(self, object_id: int) -> bool:
        return self._database.one("SELECT 1 FROM objects WHERE id = ?", (object_id,)) is not None

    # -- draining ------------------------------------------------------------------------------------------------------

    def set_draining(self, volume: int, draining: bool) -> None:
        """Nothing new is to be placed on this volume; or, not `draining`, it is in use again."""
        with self._database.transaction() as db:
            db.execute("UPDATE volumes SET draining = ? WHERE id = ?", (int(draining), volume))

    def draining(self) -> set[int]:
        return {number for (number,) in self._database.all("SELECT id FROM volumes WHERE draining = 1")}

    def set_placing(self, placing: Mapping[int, bool]) -> None:
        """Which volumes the source unit may have something on its way to."""
        with self._database.transaction() as db:
            db.executemany("UPDATE volumes SET placing = ? WHERE id = ?", [(int(on), at) for at, on in placing.items()])

    # -- trouble -------------------------------------------------------------------------------------------------------

    def set_trouble(self, volume: int, word: str, reason: str) -> None:
        """A unit cannot use a volume fully: `word` is missing, read-only or failed, `reason` for people."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE volumes SET trouble_ms = iif(trouble = ?, trouble_ms, ?), trouble = ?, reason = ?"
                " WHERE id = ? AND (trouble, reason) IS NOT (?, ?)",
                (word, machine.now_ms(), word, reason, volume, word, reason),
            )

    def note_unused(self, volume: str, word: str, reason: str) -> None:
        """As `set_trouble`, of a volume of the job that no unit could use so far: it has no number and no identity."""
        self._journal.set_fact("volume", volume, UNUSED, f"{word}: {reason}")
