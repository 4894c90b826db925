# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the ledger records besides objects: runs, committed groups, failures, and facts about endpoints."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence

from ..core import machine
from ..core.errors import Trouble
from .database import Database
from .pruning import GATHER_EVERY, RECORD, forget_old_runs, gather_groups
from .rows import Delivered, Failure, Staged


class JournalLedger:
    """The tables `runs`, `failures` and `endpoint_facts`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._run_since_ms = 0  # when the run began in whose name things are recorded; 0: in none's

    # -- failures -----------------------------------------------------------------------------------------------

    def record(self, failure: Failure) -> None:
        """Note a failure that changes no state."""
        with self._database.transaction() as db:
            self.count(db, failure)

    def count(self, db: sqlite3.Connection, failure: Failure) -> None:
        """Within a transaction: record a failure; the same failure of an object again increments its row."""
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

    def has_failure(self, key: str, hop: str, trouble: Trouble, message: str) -> bool:
        """Whether exactly this failure was already recorded."""
        sql = "SELECT 1 FROM failures WHERE key = ? AND hop = ? AND trouble = ? AND message = ?"
        return self._database.one(sql, (key, hop, trouble.value, message)) is not None

    # -- runs ---------------------------------------------------------------------------------------------------

    def start_run(self, unit: str) -> int:
        at = machine.now_ms()
        self._run_since_ms = self._run_since_ms or at
        with self._database.transaction() as db:
            cursor = db.execute(
                "INSERT INTO runs (unit, pid, boot_id, started_ms, updated_ms, updated_ticks_ms, process_ticks)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (unit, os.getpid(), machine.boot_id(), at, at, machine.ticks_ms(), machine.process_ticks(os.getpid())),
            )
            forget_old_runs(db, unit)
            return int(cursor.lastrowid or 0)

    def update_run(
        self, run_id: int, *, status: str, listed: tuple[int, int], passes: int, failures: int, ended: bool = False
    ) -> None:
        at = machine.now_ms()
        with self._database.transaction() as db:
            db.execute(
                "UPDATE runs SET status = ?, listed_objects = ?, listed_bytes = ?, passes = ?, failures = ?,"
                " updated_ms = ?, updated_ticks_ms = ?, ended_ms = ? WHERE id = ?",
                (status, *listed, passes, failures, at, machine.ticks_ms(), at if ended else None, run_id),
            )

    # -- facts --------------------------------------------------------------------------------------------------

    def set_fact(self, side: str, endpoint: str, fact: str, value: str) -> None:
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO endpoint_facts VALUES (?, ?, ?, ?, ?) ON CONFLICT (side, endpoint, fact)"
                " DO UPDATE SET value = excluded.value, probed_ms = excluded.probed_ms",
                (side, endpoint, fact, value, machine.now_ms()),
            )

    def facts(self, side: str, endpoint: str) -> dict[str, str]:
        sql = "SELECT fact, value FROM endpoint_facts WHERE side = ? AND endpoint = ?"
        return dict(self._database.all(sql, (side, endpoint)))


# -- in a transaction -------------------------------------------------------------------------------------------------


def new_group(db: sqlite3.Connection, hop: str, volume: int | None, objects: int, size: int, at: int) -> int:
    """Record a committed group; returns its number."""
    cursor = db.execute(
        "INSERT INTO groups (hop, volume, boot_id, objects, bytes, at_ms, ticks_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (hop, volume, machine.boot_id(), objects, size, at, machine.ticks_ms()),
    )
    number = int(cursor.lastrowid or 0)
    if number % GATHER_EVERY == 0:
        gather_groups(db, number, machine.boot_id(), machine.ticks_ms())
    return number


def count_moved(db: sqlite3.Connection, run_id: int, objects: int, size: int) -> None:
    """Add objects and bytes to what was moved in a run."""
    db.execute(
        "UPDATE runs SET moved_objects = moved_objects + ?, moved_bytes = moved_bytes + ?, updated_ms = ?,"
        " updated_ticks_ms = ? WHERE id = ?",
        (objects, size, machine.now_ms(), machine.ticks_ms(), run_id),
    )


def count_group(
    db: sqlite3.Connection, run_id: int, group: Sequence[Staged | Delivered], refused: Sequence[Staged | Delivered]
) -> None:
    """Add a group, without what was refused of it, to what was moved in a run."""
    size = sum(item.row.size for item in group) - sum(item.row.size for item in refused)
    count_moved(db, run_id, len(group) - len(refused), size)
