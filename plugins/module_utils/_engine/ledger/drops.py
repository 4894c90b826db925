# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The ledger's part for drop folders: files that users put on a volume, staged in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..core import machine
from ..core.model import Evidence, ListedObject, Origin, State
from .database import Database
from .journal import count_moved, new_group
from .parts import keep_md5s
from .rows import ROW, Row, sound

_STAGE = (
    "INSERT INTO objects (key, size, etag, modified_ms, origin, state, volume, group_id, part_size, digest,"
    " headers, source_evidence, source_tool, listed_ms, staged_ms, file_id, generation)"
    " VALUES (?, ?, ?, ?, 1, 1, ?, ?, ?, ?, ?, ?, 'drop', ?, ?, ?, 1 +"
    " COALESCE((SELECT MAX(generation) FROM forgotten WHERE key = ?), 0)) ON CONFLICT (key) DO UPDATE SET"
    " size = excluded.size, etag = excluded.etag, modified_ms = excluded.modified_ms, state = 1,"
    " generation = generation + 1, volume = excluded.volume, group_id = excluded.group_id,"
    " part_size = excluded.part_size, digest = excluded.digest, headers = excluded.headers, attempts = 0,"
    # The same bytes again: ask the destination before sending them again.
    " sends = objects.state IN (2, 3) AND objects.digest = excluded.digest,"
    " not_before_ms = 0, suspect = 0, last_error = '', destination_etag = '', target = 0, acknowledged = 0,"
    " file_id = excluded.file_id,"
    " destination_evidence = NULL, staged_ms = excluded.staged_ms, delivered_ms = NULL, released_ms = NULL"
)


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file of a drop folder that was hashed: `listed.etag` is its digest, `file_id` its identity.

    `part_md5s` as in `Staged`.
    """

    listed: ListedObject
    part_size: int
    headers: str
    file_id: str
    part_md5s: bytes = field(default=b"", repr=False)

    def values(self, volume: int, group_id: int, at: int) -> tuple[object, ...]:
        """The parameters of its row."""
        listed = self.listed
        return (
            listed.key,
            listed.size,
            listed.etag,
            listed.modified_ms,
            volume,
            group_id,
            self.part_size,
            listed.etag,
            self.headers,
            Evidence.SIZE,
            at,
            at,
            self.file_id,
            listed.key,
        )


class DropLedger:
    """Files in drop folders: rows of `objects` with the origin `drop`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def stage_dropped_group(self, files: Sequence[Dropped], volume: int, run_id: int) -> list[str]:
        """Record files of a drop folder as staged, in one transaction. Returns '' for each, or why it was refused."""
        at = machine.now_ms()
        with self._database.transaction() as db:
            refusals = [self.refuses_dropped(file.listed.key, volume) for file in files]
            taken = [file for file, refusal in zip(files, refusals, strict=True) if not refusal]
            size = sum(file.listed.size for file in taken)
            if taken:
                group_id = new_group(db, "source", volume, len(taken), size, at)
                db.executemany(_STAGE, (file.values(volume, group_id, at) for file in taken))
                for file in taken:
                    keep_md5s(db, file.listed.key, file.listed.etag, file.part_size, file.part_md5s)
                count_moved(db, run_id, len(taken), size)
        return refusals

    def refuses_dropped(self, key: str, volume: int) -> str:
        """Why a file of a drop folder may not become the object `key`; '' if it may."""
        known = self._database.one("SELECT origin, volume, state FROM objects WHERE key = ?", (key,))
        if known and known[0] != Origin.DROP:
            return "an object at the source has the same key"
        if known and known[1] != volume and known[2] in (State.STAGED, State.DELIVERED):
            return "another volume's drop folder has a file of the same name"
        return ""

    def dropped(self, key: str) -> Row | None:
        """The row of a file of a drop folder, or None."""
        values = self._database.one(f"SELECT {ROW} FROM objects WHERE key = ? AND origin = 1", (key,))
        return sound(Row(*values), self._database.path) if values else None
