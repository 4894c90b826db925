# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the ledger knows about files that no row refers to any more, and about what may be removed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from ..core.model import State
from ..core.removal import AtDestination, LiesElsewhere, Permit, Replaced
from .database import Database
from .generations import NEWEST, has_copies, restore
from .journal import JournalLedger
from .objects import ObjectLedger
from .rows import AS_READ, Failure, Row, as_read

# A generation that took its row back and is exactly what the source listed last (shown by `next_etag` without
# `next_size`) stands for the higher number that it had been given by then.
_STANDS_FOR = f"iif(objects.next_size IS NULL AND objects.next_etag IS NOT NULL, {NEWEST}, objects.generation)"
_GOT_FURTHER = (State.DELIVERED, State.RELEASED)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the ledger knows about a file of one key, generation and volume besides the key's row."""

    state: int
    destination_etag: str
    target: int


def entitlement(
    row: Row | None,
    copy: Kept | None,
    key: str,
    generation: int,
    volume: int,
    *,
    stands_for: int = 0,
    is_well: bool = True,
) -> Permit | None:
    """What allows to remove the staged file of this generation from this volume; None: nothing does, it stays.

    `row` is the ledger's newest knowledge of the key. `stands_for`: the number that its generation had when the source
    listed it last, where it is an older one that took the row back; `is_well`: its volume has no known trouble.
    """
    if row is None:
        return None
    if copy is not None and copy.state == State.DELIVERED:
        return AtDestination(row.id, key, generation, copy.target, copy.destination_etag)
    # A file that is suspect, or is on a failed volume, may be missing or damaged.
    is_staged = row.state == State.STAGED and not row.suspect and is_well
    newest = max(row.generation, stands_for)
    if row.generation != generation:
        further = newest > generation and (is_staged or row.state in _GOT_FURTHER)
        return Replaced(row.id, key, generation, newest, State(row.state)) if further else None
    if row.state in _GOT_FURTHER:
        return AtDestination(row.id, key, generation, row.target, row.destination_etag)
    if is_staged and row.volume not in (None, volume):
        return LiesElsewhere(key, generation, volume, row.volume or 0)
    return None


class CopyLedger:
    """The tables `copies` and `discards`, the quarantine, and what may be removed of all that lies on volumes."""

    def __init__(self, database: Database, objects: ObjectLedger, journal: JournalLedger) -> None:
        self._database = database
        self._objects = objects
        self._journal = journal

    # -- what may be removed -------------------------------------------------------------------------------------------

    def permit(self, key: str, generation: int, volume: int) -> Permit | None:
        """What allows to remove this file of a staging tree now; None: it stays.

        Ask it while the names of the tree are held, and remove the file before they are let go.
        """
        with self._database.lock:
            found = self._database.one(
                "SELECT state, destination_etag, target FROM copies WHERE key = ? AND generation = ? AND volume = ?",
                (key, generation, volume),
            )
            row = self._objects.row_of_key(key)
            stands_for, is_well = self._standing(row) if row else (0, True)
        kept = Kept(*found) if found else None
        return entitlement(row, kept, key, generation, volume, stands_for=stands_for, is_well=is_well)

    def _standing(self, row: Row) -> tuple[int, bool]:
        """Which generation a row stands for, and whether its volume has no known trouble."""
        sql = (
            f"SELECT {_STANDS_FOR}, COALESCE(volumes.trouble, '') FROM objects LEFT JOIN volumes"
            " ON volumes.id = objects.volume WHERE objects.id = ?"
        )
        ((stands_for, trouble),) = self._database.all(sql, (row.id,))
        return int(stands_for), not trouble

    def has_file(self, key: str, generation: int, volume: int) -> bool:
        """Whether the ledger needs a file of this key and generation on this volume."""
        sql = "SELECT 1 FROM copies WHERE key = ? AND generation = ? AND volume = ?"
        with self._database.lock:
            is_kept = self._database.one(sql, (key, generation, volume)) is not None
            return is_kept or self.is_named(key, generation, volume)

    def is_named(self, key: str, generation: int, volume: int) -> bool:
        """Whether the key's row refers to this file, not only a copy of a replaced generation."""
        sql = (
            "SELECT 1 FROM objects WHERE key = ? AND generation = ?"
            " AND (volume = ? AND state IN (1, 2, 4, 5) OR left_on = ? AND state IN (0, 4, 5))"
        )
        return self._database.one(sql, (key, generation, volume, volume)) is not None

    # -- replaced generations ------------------------------------------------------------------------------------------

    def has_copies(self) -> bool:
        with self._database.lock:
            return has_copies(self._database.connection)

    def obsolete(self, *, after_id: int, pressed: bool) -> list[tuple[int, int, str, int]]:
        """(id, volume, key, generation) of the next thousand copies whose files may go, by id.

        A replaced one goes when the newer generation is delivered; where there is no room (`pressed`), when it is
        staged.
        """
        states = "1, 2, 3" if pressed else "2, 3"
        sql = (
            "SELECT copies.id, copies.volume, copies.key, copies.generation FROM copies JOIN objects"
            " ON objects.id = copies.object_id WHERE copies.id > ? AND (copies.state = 2"
            f" OR {_STANDS_FOR} > copies.generation AND objects.state IN ({states})) ORDER BY copies.id LIMIT 1000"
        )
        return self._database.all(sql, (after_id,))

    def copies_removed(self, ids: Iterable[int]) -> None:
        with self._database.transaction() as db:
            db.executemany("DELETE FROM copies WHERE id = ?", [(number,) for number in ids])

    def restore(self, row: Row, told: Callable[[int, str], Failure]) -> Failure | None:
        """The source no longer has what it listed: an older generation that is still staged is delivered instead.

        This is recorded as the failure that `told` creates from its generation and the name of its volume, which is
        returned. None if there is no older generation, or the row has changed meanwhile.
        """
        with self._database.transaction() as db:
            if not db.execute(f"SELECT 1 FROM objects WHERE {AS_READ}", as_read(row)).fetchone():
                return None
            older = restore(db, row.id, listed=False)
            if older is None:
                return None
            failure = told(*older)
            self._journal.count(db, failure)
            return failure

    def deliver_older_first(self, volumes: Collection[int], limit: int = 1000) -> int:
        """Deliver older generations on these volumes first, if there is no room for the newer ones as well.

        Returns how many objects.
        """
        numbers = ",".join(str(int(number)) for number in volumes)
        sql = (
            "SELECT DISTINCT object_id FROM copies JOIN objects ON objects.id = object_id WHERE copies.state = 1"
            f" AND copies.volume IN ({numbers}) AND objects.state IN (0, 4, 5) AND objects.left_on IS NULL LIMIT ?"
        )
        with self._database.transaction() as db:
            found = [number for (number,) in db.execute(sql, (limit,))]
            return sum(restore(db, number, listed=True) is not None for number in found)

    # -- obsolete files ------------------------------------------------------------------------------------------------

    def discards(self, *, after_id: int = 0) -> list[tuple[int, int, str, int]]:
        """(id, volume, key, generation) of the next thousand files that a newer generation made obsolete, by id."""
        sql = "SELECT id, volume, key, generation FROM discards WHERE id > ? ORDER BY id LIMIT 1000"
        return self._database.all(sql, (after_id,))

    def discarded(self, ids: Iterable[int]) -> None:
        with self._database.transaction() as db:
            db.executemany("DELETE FROM discards WHERE id = ?", [(number,) for number in ids])

    # -- the quarantine ------------------------------------------------------------------------------------------------

    def has_quarantined(self, object_id: int, volume: int) -> None:
        """A mismatched copy of an object is in this volume's quarantine: the row must not be forgotten."""
        with self._database.transaction() as db:
            db.execute("UPDATE objects SET quarantined_on = ? WHERE id = ?", (volume, object_id))

    def quarantined(self, object_id: int) -> str:
        """The name of the volume whose quarantine has a copy of this object, '' for none."""
        sql = "SELECT volumes.name FROM objects JOIN volumes ON volumes.id = quarantined_on WHERE objects.id = ?"
        found = self._database.one(sql, (object_id,))
        return str(found[0]) if found else ""

    def needless_in_quarantine(self) -> list[tuple[int, AtDestination]]:
        """(volume, permit) of quarantined copies whose objects have been delivered."""
        sql = (
            "SELECT id, quarantined_on, key, generation, target, destination_etag FROM objects"
            " WHERE quarantined_on IS NOT NULL AND state IN (2, 3) LIMIT 1000"
        )
        rows = self._database.all(sql)
        return [(volume, AtDestination(number, *proof)) for number, volume, *proof in rows]

    def quarantine_cleared(self, object_ids: Iterable[int]) -> None:
        with self._database.transaction() as db:
            numbers = [(number,) for number in object_ids]
            db.executemany("UPDATE objects SET quarantined_on = NULL WHERE id = ?", numbers)
