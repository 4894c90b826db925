# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Moves of objects from one volume to another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..core import machine
from ..core.model import State
from .database import Database
from .generations import note_discard
from .journal import new_group
from .rows import AS_READ, ROW, Row, as_read


class MoveLedger:
    """The transactions of `evacuate`, which moves staged objects from one volume to another."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lying(self, state: State, volume: int, *, after_id: int, limit: int) -> list[Row]:
        """The source's objects on a volume in `state`, due or not, by id."""
        sql = (
            f"SELECT {ROW} FROM objects WHERE state = {int(state)} AND id > ? AND volume = ? AND origin = 0"
            " ORDER BY id LIMIT ?"
        )
        return [Row(*values) for values in self._database.all(sql, (after_id, volume, limit))]

    def intend(self, volume: int, rows: Iterable[Row]) -> dict[int, int]:
        """Files are about to appear on this volume that are obsolete until `commit_moved`: object -> its note."""
        with self._database.transaction() as db:
            return {row.id: note_discard(db, volume, row) for row in rows}

    def commit_moved(self, rows: Sequence[Row], volume: int, notes: Mapping[int, int]) -> list[Row]:
        """These objects are durable and proven on `volume`; returns those that were moved.

        The others were delivered, replaced or changed otherwise meanwhile: their copies are obsolete.
        """
        moved = []
        with self._database.transaction() as db:
            size = sum(row.size for row in rows)
            group_id = new_group(db, "evacuate", volume, len(rows), size, machine.now_ms())
            for row in rows:
                sql = f"UPDATE objects SET volume = ?, group_id = ?, suspect = 0 WHERE {AS_READ}"
                if db.execute(sql, (volume, group_id, *as_read(row))).rowcount == 1:
                    db.execute("DELETE FROM discards WHERE id = ?", (notes[row.id],))
                    note_discard(db, row.volume, row)
                    moved.append(row)
        return moved
