# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Keeps the ledger of a permanent service small: failures are counted, old groups and runs are merged."""

from __future__ import annotations

import sqlite3

GATHER_EVERY = 1024  # groups
_KEPT_GROUPS = 10_000  # the newest ones, and those of the last day, are kept one by one
_KEPT_MS = 86_400_000
_GATHERED_AT_LEAST = 10 * GATHER_EVERY
_GATHERED_AT_MOST = 20 * GATHER_EVERY  # a ledger with millions of them catches up, and nobody waits long
_KEPT_SPANS = 200
_KEPT_RUNS = 100  # of each unit
IDLE_MS = 60_000  # a longer gap between two groups of a hop is waiting, not work

# A row for each object, hop and trouble. It goes to the end of the table when it is counted again: its number is new.
RECORD = """
    INSERT INTO failures
        (object_id, key, at_ms, hop, trouble, message, expected, found, action, first_ms, recent_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT (key, hop, trouble) DO UPDATE SET id = (SELECT MAX(id) + 1 FROM failures),
        object_id = excluded.object_id, at_ms = excluded.at_ms, message = excluded.message,
        expected = excluded.expected, found = excluded.found, action = excluded.action, times = times + 1,
        recent_times = iif(recent_ms < ?12, 1, recent_times + 1), recent_ms = iif(recent_ms < ?12, ?11, recent_ms)
"""
# How often since a moment: exactly where it is before the first time, or in the newest run; else at least once.
TIMES_SINCE = "iif(first_ms >= ?1, times, iif(recent_ms >= ?1, recent_times, 1))"

_WORK = "hop IN ('source', 'destination', 'evacuate', 'start')"
# All that is gathered together has the same `first_id` and `first_ms`.
_GATHERED = f"""
    SELECT MAX(id), hop, volume, '', SUM(objects), SUM(bytes), MAX(at_ms),
        MIN(MIN(COALESCE(first_id, id))) OVER (), MIN(MIN(COALESCE(first_ms, at_ms))) OVER (),
        SUM(COALESCE(busy_ms, MAX(0, MIN(gap, {IDLE_MS}))))
    FROM (
        SELECT *, at_ms - LAG(at_ms, 1, at_ms) OVER (PARTITION BY hop ORDER BY id) AS gap FROM groups
        WHERE {_WORK} AND id <= ?2
    ) WHERE id >= ?1 GROUP BY hop, volume
"""


def gather_groups(db: sqlite3.Connection, newest: int, boot_id: str, ticks_ms: int) -> None:
    """Make one row of many old groups of the same hop and volume: their sums stay, and the numbers that they had."""
    recent = "SELECT MIN(id) FROM groups WHERE boot_id = ? AND ticks_ms > ?"
    (first_recent,) = db.execute(recent, (boot_id, ticks_ms - _KEPT_MS)).fetchone()
    last = min(newest - _KEPT_GROUPS, (first_recent or newest) - 1)
    (first,) = db.execute("SELECT MIN(id) FROM groups WHERE first_id IS NULL AND hop != 'recovered'").fetchone()
    if first is not None and last - first >= _GATHERED_AT_LEAST:
        _gather(db, first, min(last, first + _GATHERED_AT_MOST))
        _gather_again(db)


def _gather(db: sqlite3.Connection, first: int, last: int) -> None:
    gathered = db.execute(_GATHERED, (first, last)).fetchall()
    db.execute(f"DELETE FROM groups WHERE {_WORK} AND id BETWEEN ? AND ?", (first, last))
    db.executemany(
        "INSERT INTO groups (id, hop, volume, boot_id, objects, bytes, at_ms, first_id, first_ms, busy_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        gathered,
    )


def _gather_again(db: sqlite3.Connection) -> None:
    """What was gathered the longest ago becomes one, where there is much of it."""
    spans = db.execute(
        "SELECT MIN(id), MAX(id) FROM groups WHERE first_id IS NOT NULL GROUP BY first_id ORDER BY first_id"
    ).fetchall()
    if len(spans) > _KEPT_SPANS:
        _gather(db, spans[0][0], spans[len(spans) // 2][1])


def forget_old_runs(db: sqlite3.Connection, unit: str) -> None:
    """Of each unit the newest runs are kept, and the very first run of the job, which says since when there is one."""
    db.execute(
        "DELETE FROM runs WHERE unit = ?1 AND id != (SELECT MIN(id) FROM runs)"
        " AND id <= (SELECT id FROM runs WHERE unit = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        (unit, _KEPT_RUNS),
    )
