# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Generations of an object: what a transaction does when a row changes to another generation.

A newer generation at the source takes the row over; the file of the staged one is kept (table `copies`) until the newer
one is staged too, and takes the row back if the source turns out to have nothing newer after all. All functions here
run within a transaction of the caller and take its connection.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from ..core import machine
from .rows import Row

_COPIED = (
    "size, etag, modified_ms, group_id, part_size, digest, headers, source_evidence, source_tool, sends, staged_ms"
)
# A row is reset except for `sends`: an upload that once began is checked before the next one.
ANEW = (
    " state = 0, volume = NULL, left_on = NULL, part_size = 0, digest = '', destination_etag = '', target = 0,"
    " headers = '', source_evidence = NULL, destination_evidence = NULL, attempts = 0, acknowledged = 0,"
    " gone_ms = NULL, not_before_ms = 0, suspect = 0, last_error = '', file_id = '', staged_ms = NULL,"
    " delivered_ms = NULL, released_ms = NULL, listed_size = NULL, listed_modified_ms = NULL, touched_ms = NULL"
)
_ADVANCE = (
    f"UPDATE objects SET size = next_size, etag = next_etag, modified_ms = next_modified_ms,"
    f" generation = next_generation, next_generation = NULL, next_size = NULL, next_etag = NULL,"
    f" next_modified_ms = NULL,{ANEW} WHERE next_size IS NOT NULL"
)
# The highest generation number that an object ever had: the next one continues from there.
NEWEST = "MAX(objects.generation, COALESCE(objects.next_generation, 0))"
_KEEP = (
    f"INSERT OR REPLACE INTO copies (object_id, key, generation, state, volume, {_COPIED}, destination_etag, target)"
    f" SELECT id, key, generation, iif(state = 2, 2, 1), COALESCE(volume, left_on), {_COPIED}, destination_etag, target"
    " FROM objects WHERE id = ? AND origin = 0 AND (volume IS NOT NULL OR left_on IS NOT NULL)"
)
# Of a copy: a later generation was delivered since. It goes like others, and is never delivered itself.
_OVERTAKEN = 3


def keep_copy(db: sqlite3.Connection, object_id: int, generation: int) -> None:
    """The row is about to change to another generation: remember the file of this one, if there is one."""
    db.execute(f"{_KEEP} AND generation = ?", (object_id, generation))


def has_copies(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM copies LIMIT 1").fetchone() is not None


def forget_same(db: sqlite3.Connection, row: Row, volume: int) -> None:
    """This generation was just proven on `volume`: a copy of it on another volume is noted as obsolete."""
    other = "FROM copies WHERE object_id = ? AND generation = ? AND volume != ?"
    values = (row.id, row.generation, volume)
    db.execute(f"INSERT INTO discards (volume, key, generation) SELECT volume, key, generation {other}", values)
    db.execute(f"DELETE {other}", values)


def overtake(db: sqlite3.Connection, row: Row, *, is_newest: bool) -> None:
    """This generation is at the destination: no copy that was replaced before it may overwrite it.

    `is_newest`: the row speaks of it. Where something newer waits behind it, a copy of that may be there already.
    """
    values: tuple[object, ...] = (row.id, row.id, row.generation)
    if is_newest:
        newer = "SELECT 1 FROM objects WHERE id = object_id AND next_size IS NOT NULL AND copies.generation > ?"
        before, values = f"NOT EXISTS ({newer})", (row.id, row.generation)
    else:
        before = "id < (SELECT id FROM copies WHERE object_id = ? AND generation = ?)"
    db.execute(f"UPDATE copies SET state = {_OVERTAKEN} WHERE object_id = ? AND state = 1 AND {before}", values)


def doubt_copies(db: sqlite3.Connection, objects: Iterable[tuple[int]]) -> None:
    """Uploads of these objects begin: older generations of them are no longer proven to be at the destination."""
    if has_copies(db):
        db.executemany(
            "UPDATE copies SET state = 1, destination_etag = '', target = 0 WHERE object_id = ? AND state = 2",
            objects,
        )


def advance_delivered(db: sqlite3.Connection) -> None:
    """Older generations that were delivered first give way to what the source now lists."""
    waiting = "SELECT id, generation FROM objects WHERE next_size IS NOT NULL AND state IN (2, 3)"
    for object_id, generation in db.execute(waiting).fetchall():
        keep_copy(db, object_id, generation)
        _to_next(db, object_id)


def _to_next(db: sqlite3.Connection, object_id: int) -> None:
    """What the source lists is next; it may already have been fetched, if its fetch ended late."""
    db.execute(f"{_ADVANCE} AND id = ?", (object_id,))
    restore(db, object_id, listed=False, only_same=True)


def advance(db: sqlite3.Connection, which: str, *values: object) -> None:
    """Older generations that should have been delivered first can no longer be: the newer ones are fetched.

    A copy that was left on a failed volume is kept.
    """
    waiting = f"SELECT id FROM objects WHERE next_size IS NOT NULL AND {which}"
    for (object_id,) in db.execute(waiting, values).fetchall():
        db.execute(f"{_KEEP} AND left_on IS NOT NULL", (object_id,))
        _to_next(db, object_id)


def restore(db: sqlite3.Connection, object_id: int, *, listed: bool, only_same: bool = False) -> tuple[int, str] | None:
    """Let a staged copy of an object take its row back; (generation, name of its volume), or None.

    The one that is just what the source listed last (`only_same`: none else), or the one that was replaced last;
    none on a volume in trouble. `listed`: the source has something newer, which is fetched once this one is
    delivered.
    """
    same = "(copies.size, copies.etag, copies.modified_ms) = (objects.size, objects.etag, objects.modified_ms)"
    only = f" AND {same}" if only_same else ""
    found = db.execute(
        f"SELECT copies.id, copies.generation, volumes.name, {same} FROM copies JOIN volumes"
        " ON volumes.id = copies.volume JOIN objects ON objects.id = object_id WHERE object_id = ?"
        f" AND copies.state = 1 AND volumes.trouble = ''{only} ORDER BY {same} DESC, copies.id DESC LIMIT 1",
        (object_id,),
    ).fetchone()
    if found is None:
        return None
    copy_id, generation, name, is_same = found
    db.execute(f"{_KEEP} AND left_on IS NOT NULL", (object_id,))  # what a failed volume has of it is kept as well
    size, etag = ("size" if listed else "NULL"), ("etag" if listed or is_same else "NULL")
    modified = "modified_ms" if listed else "NULL"
    # What it speaks of now keeps its number, unless a higher one was given to something else meanwhile.
    number = f"iif(next_generation IS NULL, generation, {NEWEST} + 1)" if listed else NEWEST
    db.execute(
        f"UPDATE objects SET next_generation = {number}, next_size = {size}, next_etag = {etag},"
        f" next_modified_ms = {modified} WHERE id = ?",
        (object_id,),
    )
    names = ["generation", "volume", *_COPIED.split(", ")]
    values = ", ".join(f"{name} = copies.{name}" for name in names if name != "sends")
    db.execute(
        f"UPDATE objects SET state = 1, {values}, sends = MAX(objects.sends, copies.sends), origin = 0,"
        " left_on = NULL, suspect = 1, attempts = 0, not_before_ms = 0, last_error = '', gone_ms = NULL,"
        " listed_size = NULL, listed_modified_ms = NULL, touched_ms = NULL"
        " FROM copies WHERE copies.id = ? AND objects.id = copies.object_id",
        (copy_id,),
    )
    db.execute("DELETE FROM copies WHERE id = ?", (copy_id,))
    return int(generation), str(name)


def forget(db: sqlite3.Connection, row: Row, reason: str) -> None:
    """Remove the row from the ledger; its last state and the reason are recorded in `forgotten`."""
    db.execute(
        "INSERT INTO forgotten (object_id, key, size, etag, generation, origin, state, reason, at_ms)"
        f" SELECT id, key, size, etag, {NEWEST}, origin, state, ?, ? FROM objects WHERE id = ?",
        (reason, machine.now_ms(), row.id),
    )
    db.execute("DELETE FROM objects WHERE id = ?", (row.id,))
    db.execute(
        "DELETE FROM forgotten WHERE key = ?1 AND generation < (SELECT MAX(generation) FROM forgotten WHERE key = ?1)",
        (row.key,),
    )


def note_discard(db: sqlite3.Connection, volume: int | None, row: Row) -> int:
    """Note a file that is or will be obsolete; returns the number of the note."""
    sql = "INSERT INTO discards (volume, key, generation) VALUES (?, ?, ?)"
    return int(db.execute(sql, (volume, row.key, row.generation)).lastrowid or 0)
