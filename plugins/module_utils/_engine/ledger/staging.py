# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Proven objects on a volume become staged: group by group, one transaction each."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from ..core import machine
from ..core.model import Evidence, State
from .database import Database
from .generations import forget_same, has_copies
from .journal import count_group, new_group
from .parts import keep_md5s
from .rows import AS_READ, Row, Staged, as_read, move_each


class StagingLedger:
    """Objects become staged: the transactions of the source unit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def commit_staged(self, group: Sequence[Staged], volume: int, run_id: int) -> list[Staged]:
        """Record a group that is durable on `volume` in one transaction. Returns the refused (newer generation)."""
        at = machine.now_ms()
        with self._database.transaction() as db:
            group_id = new_group(db, "source", volume, len(group), sum(item.row.size for item in group), at)
            moved = move_each(
                db,
                [item.row for item in group],
                State.STAGED,
                "volume = ?, group_id = ?, part_size = ?, digest = ?, headers = ?, source_evidence = ?,"
                " source_tool = ?, staged_ms = ?, attempts = 0, not_before_ms = 0, suspect = 0, last_error = '',"
                " gone_ms = NULL",
                [
                    (volume, group_id, item.part_size, item.digest, item.headers, int(item.evidence), item.tool, at)
                    for item in group
                ],
            )
            refused = [item for item, is_moved in zip(group, moved, strict=True) if not is_moved]
            for item in refused:
                _use_instead(db, item, volume, group_id)
                _keep_refused(db, item, volume, group_id, at)
            for item in group:
                keep_md5s(db, item.row.key, item.digest, item.part_size, item.part_md5s)
            if has_copies(db):
                for item in group:
                    forget_same(db, item.row, volume)
            _forget_left(db, group_id)
            count_group(db, run_id, group, refused)
        return refused

    def adopt(
        self, row: Row, volume: int, digest: str, part_size: int, evidence: Evidence, part_md5s: bytes = b""
    ) -> bool:
        """A file that this ledger did not know of is the object's, proven: it is staged there. False: it changed.

        `part_md5s` as in `Staged`.
        """
        with self._database.transaction() as db:
            group_id = new_group(db, "source", volume, 1, row.size, machine.now_ms())
            is_adopted = (
                db.execute(
                    "UPDATE objects SET state = 1, volume = ?, group_id = ?, digest = ?, part_size = ?, suspect = 0,"
                    " source_evidence = ?, source_tool = 'found there', staged_ms = ?, sends = MAX(sends, 1),"
                    f" attempts = 0, not_before_ms = 0, last_error = '' WHERE {AS_READ} AND left_on IS NULL",
                    (volume, group_id, digest, part_size, evidence, machine.now_ms(), *as_read(row)),
                ).rowcount
                == 1
            )
            if is_adopted:
                keep_md5s(db, row.key, digest, part_size, part_md5s)
        return is_adopted


def _use_instead(db: sqlite3.Connection, item: Staged, volume: int, group_id: int) -> None:
    """A volume came back while its object was fetched: what was just proven is better than what is suspect."""
    values = (item.row.id, item.row.generation, volume)
    suspect = "id = ? AND generation = ? AND state = 1 AND suspect = 1 AND origin = 0 AND volume != ?"
    noted = "INSERT INTO discards (volume, key, generation) SELECT volume, key, generation FROM objects"
    db.execute(f"{noted} WHERE {suspect}", values)
    db.execute(
        "UPDATE objects SET volume = ?, group_id = ?, part_size = ?, digest = ?, headers = ?, source_evidence = ?,"
        f" source_tool = ?, suspect = 0 WHERE {suspect}",
        (volume, group_id, item.part_size, item.digest, item.headers, item.evidence, item.tool, *values),
    )


def _keep_refused(db: sqlite3.Connection, item: Staged, volume: int, group_id: int, at: int) -> None:
    """A proven file whose object's row speaks of another generation by now: it is kept like one that was staged.

    A copy of the same generation that was left on a failed volume is not needed beside it.
    """
    row = item.row
    forget_same(db, row, volume)
    db.execute(
        "INSERT OR REPLACE INTO copies (object_id, key, generation, state, volume, size, etag, modified_ms,"
        " group_id, part_size, digest, headers, source_evidence, source_tool, sends, staged_ms, destination_etag,"
        " target)"
        " SELECT id, key, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, sends, ?, '', 0 FROM objects"
        " WHERE id = ? AND generation != ?",
        (row.generation, volume, row.size, row.etag, row.modified_ms, group_id, item.part_size, item.digest,
         item.headers, item.evidence, item.tool, at, row.id, row.generation),
    )  # fmt: skip


def _forget_left(db: sqlite3.Connection, group_id: int) -> None:
    """A group is staged: copies of its objects on failed volumes are now obsolete."""
    db.execute(
        "INSERT INTO discards (volume, key, generation) SELECT left_on, key, generation FROM objects"
        " WHERE left_on IS NOT NULL AND group_id = ? AND left_on != volume",
        (group_id,),
    )
    db.execute("UPDATE objects SET left_on = NULL WHERE left_on IS NOT NULL AND group_id = ?", (group_id,))
