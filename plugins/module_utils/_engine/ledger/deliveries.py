# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Objects that the destination is proven to hold become delivered, and released once their files are gone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from ..core import machine
from ..core.model import State
from .database import Database
from .generations import advance_delivered, doubt_copies, has_copies, overtake
from .journal import count_group, new_group
from .rows import Delivered, Row, move_each

# The job's current destination, see `bindings`; 0 if none was recorded.
_TARGET = "(SELECT COALESCE(MAX(id), 0) FROM bindings WHERE side = 'destination')"


class DeliveryLedger:
    """Objects are sent, proven at the destination, and released: the transactions of the destination unit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def target(self) -> int:
        """The destination that proofs refer to from now on."""
        return int(self._database.value(f"SELECT {_TARGET}"))

    def claim_sends(self, rows: Iterable[Row]) -> None:
        """Record, before the first byte is sent, that these uploads start: after a crash they are checked first.

        The proofs of older generations at the destination may become invalid from now on.
        """
        with self._database.transaction() as db:
            numbers = [(row.id,) for row in rows]
            db.executemany("UPDATE objects SET sends = sends + 1, acknowledged = 0 WHERE id = ?", numbers)
            doubt_copies(db, numbers)

    def acknowledge(self, rows: Iterable[Row]) -> None:
        """The store acknowledged these uploads, but they are not proven yet: a later contradiction is its fault."""
        with self._database.transaction() as db:
            numbers = [(row.id, row.generation) for row in rows]
            db.executemany("UPDATE objects SET acknowledged = 1 WHERE id = ? AND generation = ?", numbers)

    def commit_delivered(self, group: Sequence[Delivered], released: Sequence[Row], run_id: int) -> list[Delivered]:
        """A group is proven at the destination, and the files of `released` (an earlier group) are gone.

        Returns the refused ones: a newer generation exists, whose bytes will replace these at the destination, or the
        file is now on another volume, from where it is checked again.
        """
        at = machine.now_ms()
        with self._database.transaction() as db:
            copies_exist = has_copies(db)
            for volume in {item.row.volume for item in group}:
                sizes = [item.row.size for item in group if item.row.volume == volume]
                new_group(db, "destination", volume, len(sizes), sum(sizes), at)
            (target,) = db.execute(f"SELECT {_TARGET}").fetchone()
            moved = move_each(
                db,
                [item.row for item in group],
                State.DELIVERED,
                "destination_etag = ?, destination_evidence = ?, destination_tool = ?, delivered_ms = ?, target = ?,"
                " acknowledged = 0, attempts = 0, not_before_ms = 0, last_error = ''",
                [(item.destination_etag, int(item.evidence), item.tool, at, target) for item in group],
            )
            refused = [item for item, is_moved in zip(group, moved, strict=True) if not is_moved]
            for item in refused:
                # The file's own generation is proven nevertheless.
                db.execute(
                    "UPDATE copies SET state = 2, destination_etag = ?, target = ?"
                    " WHERE object_id = ? AND generation = ? AND volume IS ?",
                    (item.destination_etag, target, item.row.id, item.row.generation, item.row.volume),
                )
            if copies_exist:
                for item, is_newest in zip(group, moved, strict=True):
                    overtake(db, item.row, is_newest=is_newest)
            count_group(db, run_id, group, refused)
            advance_delivered(db)
            _release(db, released, run_id, at)
        return refused


def _release(db: sqlite3.Connection, rows: Sequence[Row], run_id: int, at: int) -> None:
    size = 0
    count = 0
    for row in rows:
        done = db.execute(
            "UPDATE objects SET state = 3, volume = NULL, released_ms = ?"
            " WHERE id = ? AND generation = ? AND state = 2 AND volume IS ?",
            (at, row.id, row.generation, row.volume),
        ).rowcount
        count += done
        size += row.size * done
    db.execute(
        "UPDATE runs SET released_objects = released_objects + ?, released_bytes = released_bytes + ? WHERE id = ?",
        (count, size, run_id),
    )
