# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The boot rule: what was staged shortly before the machine went down is hashed before it is used.

Disks sometimes report `syncfs` as complete too early. Times are measured since boot, so clock changes do not matter:
the last sign of life of a boot is its newest group, or the newest save of a run's row.
"""

from __future__ import annotations

import sqlite3

SUSPECT_MS = 300_000  # before the last sign of life: far longer than any disk delays a write
_STEP = 5000  # rows of one transaction
_STAGING = "hop IN ('source', 'evacuate') AND boot_id != ?1 AND first_id IS NULL"
_TIMED = f"""
    SELECT groups.id FROM groups JOIN (
        SELECT boot_id, MAX(ticks) AS last FROM (
            SELECT boot_id, ticks_ms AS ticks FROM groups WHERE hop != 'recovered'
            UNION ALL SELECT boot_id, updated_ticks_ms FROM runs
        ) GROUP BY boot_id
    ) AS ends USING (boot_id) WHERE {_STAGING} AND ticks_ms >= last - ?2
"""
# Groups of older versions have only the time of day, which may have been changed meanwhile: the last ones of each
# volume count as recent too.
_UNTIMED = f"""
    SELECT id FROM (
        SELECT id, at_ms, MAX(at_ms) OVER (PARTITION BY boot_id) AS last,
            ROW_NUMBER() OVER (PARTITION BY volume ORDER BY id DESC) AS place
        FROM groups WHERE {_STAGING} AND ticks_ms IS NULL
    ) WHERE place <= 4 OR at_ms >= last - ?2
"""


def suspect_groups(db: sqlite3.Connection, current: str) -> set[int]:
    """The groups of earlier boots than `current` that are in doubt; none if a unit has already run in this boot."""
    newest = db.execute("SELECT boot_id FROM runs ORDER BY id DESC LIMIT 1").fetchone()
    if newest is None or newest[0] == current:
        return set()
    values = (current, SUSPECT_MS)
    return {number for sql in (_TIMED, _UNTIMED) for (number,) in db.execute(sql, values)}


def mark_suspect(db: sqlite3.Connection, groups: set[int], after_id: int) -> tuple[int, int | None]:
    """One step: (how many staged objects of these groups became suspect, where to go on), None at the end."""
    sql = f"SELECT id, group_id, suspect FROM objects WHERE state = 1 AND id > ? ORDER BY id LIMIT {_STEP}"
    page = db.execute(sql, (after_id,)).fetchall()
    marked = [(number,) for number, group, suspect in page if group in groups and not suspect]
    db.executemany("UPDATE objects SET suspect = 1 WHERE id = ?", marked)
    return len(marked), page[-1][0] if len(page) == _STEP else None
