# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the kinds of writes to the ledger have in common."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from . import machine
from .ledger_database import Database, connect
from .ledger_pruning import GATHER_EVERY, RECORD, gather_groups
from .ledger_rows import Failure


class LedgerBase:
    """What the kinds of writes have in common."""

    _run_since_ms = 0  # when the run began in whose name things are recorded; 0: in none's

    def __init__(self, path: Path, *, readonly: bool = False, beat: Callable[[str], None] = lambda doing: None) -> None:
        self.database = Database(path, connect(path, readonly=readonly, beat=beat))

    @property
    def path(self) -> Path:
        return self.database.path

    def close(self) -> None:
        self.database.close()

    def is_made(self) -> bool:
        return self.database.is_made()

    def identity(self) -> str:
        return self.database.identity()

    def _new_group(self, db: sqlite3.Connection, hop: str, volume: int | None, objects: int, size: int, at: int) -> int:
        cursor = db.execute(
            "INSERT INTO groups (hop, volume, boot_id, objects, bytes, at_ms, ticks_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (hop, volume, machine.boot_id(), objects, size, at, machine.ticks_ms()),
        )
        number = int(cursor.lastrowid or 0)
        if number % GATHER_EVERY == 0:
            gather_groups(db, number, machine.boot_id(), machine.ticks_ms())
        return number

    def _record(self, db: sqlite3.Connection, failure: Failure) -> None:
        """Count a failure: what goes wrong with one object again, in the same way, is no other row."""
        at = machine.now_ms()
        db.execute(
            RECORD,
            (
                failure.row.id,
                failure.row.key,
                at,
                failure.hop,
                failure.trouble.value,
                failure.message,
                failure.expected,
                failure.found,
                failure.action,
                at,
                at,
                self._run_since_ms,
            ),
        )
