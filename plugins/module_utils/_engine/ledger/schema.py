# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The ledger's tables, as numbered migrations: each runs once, together with its own record, in one transaction."""

from __future__ import annotations

import functools
import sqlite3
import time
import zlib
from collections.abc import Callable

from ..core.errors import LedgerError

# What a row's checksum is made of: all that says what an object is, where it lies, and how it was proven.
SUMMED = (
    "key, size, etag, modified_ms, generation, origin, state, volume, part_size, digest, headers, destination_etag,"
    " target"
)
UNSOUND = "a row no longer has its checksum"
FORBIDDEN = "an object may not go from this state to that one"
_OLD = ", ".join(f"OLD.{name}" for name in SUMMED.split(", "))
_COLUMNS_3 = (
    "id, key, size, etag, modified_ms, generation, origin, state, volume, group_id, part_size, digest,"
    " destination_etag, headers, source_evidence, source_tool, destination_evidence, destination_tool, attempts, sends,"
    " not_before_ms, suspect, last_error, listed_ms, staged_ms, delivered_ms, released_ms, left_on"
)

# A migration that has landed in a release is never edited: add the next number.
MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        """
        CREATE TABLE objects (
            id INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            size INTEGER NOT NULL,
            etag TEXT NOT NULL,
            modified_ms INTEGER NOT NULL,
            generation INTEGER NOT NULL DEFAULT 1,
            origin INTEGER NOT NULL DEFAULT 0,
            state INTEGER NOT NULL DEFAULT 0,
            volume INTEGER REFERENCES volumes (id),
            group_id INTEGER,
            part_size INTEGER NOT NULL DEFAULT 0,
            digest TEXT NOT NULL DEFAULT '',
            destination_etag TEXT NOT NULL DEFAULT '',
            headers TEXT NOT NULL DEFAULT '',
            source_evidence INTEGER,
            source_tool TEXT NOT NULL DEFAULT '',
            destination_evidence INTEGER,
            destination_tool TEXT NOT NULL DEFAULT '',
            attempts INTEGER NOT NULL DEFAULT 0,
            sends INTEGER NOT NULL DEFAULT 0,
            not_before_ms INTEGER NOT NULL DEFAULT 0,
            suspect INTEGER NOT NULL DEFAULT 0,
            last_error TEXT NOT NULL DEFAULT '',
            listed_ms INTEGER NOT NULL,
            staged_ms INTEGER,
            delivered_ms INTEGER,
            released_ms INTEGER
        ) STRICT
        """,
        # Partial indexes: a no-op pass over millions of released rows touches none of them.
        "CREATE INDEX objects_pending ON objects (id) WHERE state = 0",
        "CREATE INDEX objects_staged ON objects (id) WHERE state = 1",
        "CREATE INDEX objects_delivered ON objects (id) WHERE state = 2",
        "CREATE INDEX objects_on_volume ON objects (volume, size) WHERE state IN (1, 2)",
        """
        CREATE TABLE volumes (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            uuid TEXT NOT NULL UNIQUE,
            path TEXT NOT NULL,
            first_seen_ms INTEGER NOT NULL
        ) STRICT
        """,
        # Files that a new generation made obsolete: known from here, never from a file-name pattern.
        """
        CREATE TABLE discards (
            id INTEGER PRIMARY KEY,
            volume INTEGER NOT NULL,
            key TEXT NOT NULL,
            generation INTEGER NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE failures (
            id INTEGER PRIMARY KEY,
            object_id INTEGER NOT NULL,
            key TEXT NOT NULL,
            at_ms INTEGER NOT NULL,
            hop TEXT NOT NULL,
            trouble TEXT NOT NULL,
            message TEXT NOT NULL,
            expected TEXT NOT NULL DEFAULT '',
            found TEXT NOT NULL DEFAULT '',
            action TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE groups (
            id INTEGER PRIMARY KEY,
            hop TEXT NOT NULL,
            volume INTEGER,
            boot_id TEXT NOT NULL,
            objects INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            at_ms INTEGER NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE endpoint_facts (
            side TEXT NOT NULL,
            endpoint TEXT NOT NULL,
            fact TEXT NOT NULL,
            value TEXT NOT NULL,
            probed_ms INTEGER NOT NULL,
            PRIMARY KEY (side, endpoint, fact)
        ) STRICT
        """,
        """
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            unit TEXT NOT NULL,
            pid INTEGER NOT NULL,
            boot_id TEXT NOT NULL,
            started_ms INTEGER NOT NULL,
            ended_ms INTEGER,
            updated_ms INTEGER NOT NULL,
            status TEXT NOT NULL DEFAULT '',
            listed_objects INTEGER NOT NULL DEFAULT 0,
            listed_bytes INTEGER NOT NULL DEFAULT 0,
            moved_objects INTEGER NOT NULL DEFAULT 0,
            moved_bytes INTEGER NOT NULL DEFAULT 0,
            released_objects INTEGER NOT NULL DEFAULT 0,
            released_bytes INTEGER NOT NULL DEFAULT 0,
            failures INTEGER NOT NULL DEFAULT 0,
            passes INTEGER NOT NULL DEFAULT 0
        ) STRICT
        """,
    ),
    2: (
        "ALTER TABLE volumes ADD COLUMN draining INTEGER NOT NULL DEFAULT 0",
        # Whether a source unit may have something on its way there.
        "ALTER TABLE volumes ADD COLUMN placing INTEGER NOT NULL DEFAULT 0",
        # What a unit met there last: '', missing, read-only or failed, and its words for people.
        "ALTER TABLE volumes ADD COLUMN trouble TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE volumes ADD COLUMN reason TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE volumes ADD COLUMN trouble_ms INTEGER NOT NULL DEFAULT 0",
        # The volume that failed and keeps a copy, of an object that is fetched again meanwhile.
        "ALTER TABLE objects ADD COLUMN left_on INTEGER",
        "CREATE INDEX objects_left_on ON objects (left_on) WHERE left_on IS NOT NULL",
        "CREATE INDEX objects_left_in_group ON objects (group_id) WHERE left_on IS NOT NULL",
    ),
    3: (
        # Which ledger this is: the volumes that it stages on name it.
        "CREATE TABLE identity (uuid TEXT NOT NULL) STRICT",
        "INSERT INTO identity (uuid) VALUES (lower(hex(randomblob(16))))",
    ),
    4: (
        # The table is made anew: numbers of rows are never given again (AUTOINCREMENT), since files carry them, and a
        # row whose bits changed on the disk is seen (`row_sum`, a function of every connection, see `add_functions`).
        f"""
        CREATE TABLE objects_4 (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT NOT NULL UNIQUE,
            size INTEGER NOT NULL,
            etag TEXT NOT NULL,
            modified_ms INTEGER NOT NULL,
            generation INTEGER NOT NULL DEFAULT 1,
            origin INTEGER NOT NULL DEFAULT 0,
            state INTEGER NOT NULL DEFAULT 0,
            volume INTEGER REFERENCES volumes (id),
            group_id INTEGER,
            part_size INTEGER NOT NULL DEFAULT 0,
            digest TEXT NOT NULL DEFAULT '',
            destination_etag TEXT NOT NULL DEFAULT '',
            headers TEXT NOT NULL DEFAULT '',
            source_evidence INTEGER,
            source_tool TEXT NOT NULL DEFAULT '',
            destination_evidence INTEGER,
            destination_tool TEXT NOT NULL DEFAULT '',
            attempts INTEGER NOT NULL DEFAULT 0,
            sends INTEGER NOT NULL DEFAULT 0,
            not_before_ms INTEGER NOT NULL DEFAULT 0,
            suspect INTEGER NOT NULL DEFAULT 0,
            last_error TEXT NOT NULL DEFAULT '',
            listed_ms INTEGER NOT NULL,
            staged_ms INTEGER,
            delivered_ms INTEGER,
            released_ms INTEGER,
            left_on INTEGER,
            -- The destination that the proof of delivery is of (bindings.id), 0: of none, or of the only one so far.
            target INTEGER NOT NULL DEFAULT 0,
            -- The store acknowledged an upload of this generation that nobody has proven yet.
            acknowledged INTEGER NOT NULL DEFAULT 0,
            -- When the source first said that it has no such object; it is looked for once more, in a later run.
            gone_ms INTEGER,
            -- The volume whose quarantine holds a copy that was staged once and no longer has its digest.
            quarantined_on INTEGER,
            -- A dropped file's identity: device, inode and time of its last change in nanoseconds.
            file_id TEXT NOT NULL DEFAULT '',
            -- What the source lists by now, where an older generation is delivered first (there is no room for both).
            next_generation INTEGER,
            next_size INTEGER,
            next_etag TEXT,
            next_modified_ms INTEGER,
            row_sum INTEGER GENERATED ALWAYS AS (row_sum({SUMMED})) STORED
        ) STRICT
        """,
        f"INSERT INTO objects_4 ({_COLUMNS_3}) SELECT {_COLUMNS_3} FROM objects",
        # Files may still carry numbers of rows that were deleted.
        "UPDATE sqlite_sequence SET seq = MAX(seq, (SELECT COALESCE(MAX(object_id), 0) FROM failures))"
        " WHERE name = 'objects_4'",
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'objects_4', MAX(object_id) FROM failures"
        " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'objects_4') HAVING MAX(object_id) > 0",
        "DROP TABLE objects",
        "ALTER TABLE objects_4 RENAME TO objects",
        "CREATE INDEX objects_pending ON objects (id) WHERE state = 0",
        "CREATE INDEX objects_staged ON objects (id) WHERE state = 1",
        "CREATE INDEX objects_delivered ON objects (id) WHERE state = 2",
        "CREATE INDEX objects_on_volume ON objects (volume, size) WHERE state IN (1, 2)",
        "CREATE INDEX objects_left_on ON objects (left_on) WHERE left_on IS NOT NULL",
        "CREATE INDEX objects_left_in_group ON objects (group_id) WHERE left_on IS NOT NULL",
        # A row whose bits changed is not written again, which would give it a new checksum.
        f"""
        CREATE TRIGGER objects_are_sound BEFORE UPDATE ON objects
        WHEN OLD.row_sum IS NOT row_sum({_OLD})
        BEGIN SELECT RAISE(ABORT, '{UNSOUND}'); END
        """,
        "CREATE INDEX objects_quarantined ON objects (id) WHERE quarantined_on IS NOT NULL",
        "CREATE INDEX objects_gone ON objects (key) WHERE gone_ms IS NOT NULL",
        "CREATE INDEX objects_with_next ON objects (id) WHERE next_size IS NOT NULL",
        # Files of generations that their objects' rows no longer speak of. Staged ones are kept until a newer
        # generation is staged; delivered ones (state 2) keep their proof until the file is gone.
        """
        CREATE TABLE copies (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            object_id INTEGER NOT NULL,
            key TEXT NOT NULL,
            generation INTEGER NOT NULL,
            state INTEGER NOT NULL,
            volume INTEGER NOT NULL,
            size INTEGER NOT NULL,
            etag TEXT NOT NULL,
            modified_ms INTEGER NOT NULL,
            group_id INTEGER,
            part_size INTEGER NOT NULL,
            digest TEXT NOT NULL,
            headers TEXT NOT NULL,
            source_evidence INTEGER,
            source_tool TEXT NOT NULL,
            sends INTEGER NOT NULL,
            staged_ms INTEGER,
            destination_etag TEXT NOT NULL,
            target INTEGER NOT NULL,
            UNIQUE (object_id, generation)
        ) STRICT
        """,
        "CREATE INDEX copies_on_volume ON copies (volume, size)",
        "CREATE INDEX copies_of_key ON copies (key, generation)",
        # Rows that left the ledger, and why.
        """
        CREATE TABLE forgotten (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            object_id INTEGER NOT NULL,
            key TEXT NOT NULL,
            size INTEGER NOT NULL,
            etag TEXT NOT NULL,
            generation INTEGER NOT NULL,
            origin INTEGER NOT NULL,
            state INTEGER NOT NULL,
            reason TEXT NOT NULL,
            at_ms INTEGER NOT NULL
        ) STRICT
        """,
        "CREATE INDEX forgotten_keys ON forgotten (key, generation)",
        # Which stores this ledger speaks of; of each side ("source", "destination") the newest row counts.
        """
        CREATE TABLE bindings (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            side TEXT NOT NULL,
            bucket TEXT NOT NULL,
            prefix TEXT NOT NULL,
            endpoints TEXT NOT NULL,
            identity TEXT NOT NULL DEFAULT '',
            bound_ms INTEGER NOT NULL
        ) STRICT
        """,
        # Large objects under way: the parts that are durable on a volume, or that the destination has.
        """
        CREATE TABLE parts (
            object_id INTEGER NOT NULL,
            generation INTEGER NOT NULL,
            hop TEXT NOT NULL,
            start INTEGER NOT NULL,
            length INTEGER NOT NULL,
            digests TEXT NOT NULL,
            -- Where the incoming file lies that holds it; 0: a part that the destination has.
            volume INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (object_id, generation, hop, start)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE uploads (
            object_id INTEGER NOT NULL,
            generation INTEGER NOT NULL,
            endpoint TEXT NOT NULL,
            bucket TEXT NOT NULL,
            key TEXT NOT NULL,
            upload_id TEXT NOT NULL,
            part_size INTEGER NOT NULL,
            begun_ms INTEGER NOT NULL,
            PRIMARY KEY (object_id, generation, endpoint, upload_id)
        ) STRICT, WITHOUT ROWID
        """,
    ),
    5: (
        # What went wrong with one object in one way is one row: how often, for the first and for the last time. The
        # failures of older versions, a row each time, are gathered in it group by group (`GRADUAL`).
        """
        CREATE TABLE failures_counted (
            id INTEGER PRIMARY KEY,
            object_id INTEGER NOT NULL,
            key TEXT NOT NULL,
            at_ms INTEGER NOT NULL,
            hop TEXT NOT NULL,
            trouble TEXT NOT NULL,
            message TEXT NOT NULL,
            expected TEXT NOT NULL DEFAULT '',
            found TEXT NOT NULL DEFAULT '',
            action TEXT NOT NULL,
            times INTEGER NOT NULL DEFAULT 1,
            first_ms INTEGER NOT NULL,
            -- The same of the newest run alone: since when, and how often.
            recent_ms INTEGER NOT NULL,
            recent_times INTEGER NOT NULL DEFAULT 1,
            UNIQUE (key, hop, trouble)
        ) STRICT
        """,
    ),
    6: (
        "DROP TABLE failures",
        "ALTER TABLE failures_counted RENAME TO failures",
        "CREATE INDEX failures_at ON failures (at_ms)",
        # Milliseconds since the boot (CLOCK_BOOTTIME), which no stepped clock changes. NULL: of an older version.
        "ALTER TABLE groups ADD COLUMN ticks_ms INTEGER",
        # Old groups are gathered in one row: from which number and time on, and how long there was work among them.
        "ALTER TABLE groups ADD COLUMN first_id INTEGER",
        "ALTER TABLE groups ADD COLUMN first_ms INTEGER",
        "ALTER TABLE groups ADD COLUMN busy_ms INTEGER",
        "ALTER TABLE runs ADD COLUMN updated_ticks_ms INTEGER",
        # When the process started, as /proc/<pid>/stat has it: no other process with its number has the same.
        "ALTER TABLE runs ADD COLUMN process_ticks INTEGER",
        # What a new run, or an hour of a service, gives a new chance (`ledger_file.AGAIN`).
        "CREATE INDEX objects_again ON objects (id) WHERE (state IN (4, 5) OR state = 1 AND attempts > 0)",
        # Both in one trigger, since it runs for every row: the checksum, and model.TRANSITIONS. Another generation
        # begins as pending, or as staged (a dropped file); a delivered object is staged again only as suspect, with
        # its proof withdrawn.
        "DROP TRIGGER objects_are_sound",
        f"""
        CREATE TRIGGER objects_are_sound BEFORE UPDATE ON objects
        WHEN OLD.row_sum IS NOT row_sum({_OLD}) OR NEW.state != OLD.state AND NOT (
            OLD.state = 0 AND NEW.state IN (1, 4, 5)
            OR OLD.state = 1 AND NEW.state IN (2, 0, 4, 5)
            OR OLD.state = 2 AND NEW.state IN (3, 0)
            OR OLD.state = 3 AND NEW.state = 0
            OR OLD.state IN (4, 5) AND NEW.state IN (0, 1)
            OR OLD.state = 2 AND NEW.state = 1 AND NEW.suspect = 1 AND NEW.delivered_ms IS NULL
            OR NEW.generation > OLD.generation AND NEW.state IN (0, 1)
        )
        BEGIN
            SELECT CASE WHEN OLD.row_sum IS NOT row_sum({_OLD})
                THEN RAISE(ABORT, '{UNSOUND}') ELSE RAISE(ABORT, '{FORBIDDEN}') END;
        END
        """,
    ),
    7: (
        # The size that the source's listing shows, where GET and HEAD of the object say another one: `size` is theirs.
        "ALTER TABLE objects ADD COLUMN listed_size INTEGER",
        # The newest time that the listing shows for the same size and ETag, where it is not the one of this generation.
        "ALTER TABLE objects ADD COLUMN listed_modified_ms INTEGER",
        # It was delivered, and is shown under a new time: since when the destination is to be asked for it.
        "ALTER TABLE objects ADD COLUMN touched_ms INTEGER",
        "CREATE INDEX objects_touched ON objects (id) WHERE touched_ms IS NOT NULL",
    ),
    8: (
        # The MD5s of the parts that give a row its digest, one after another (core/part_md5s.py).
        """
        CREATE TABLE part_md5s (
            object_id INTEGER PRIMARY KEY,
            generation INTEGER NOT NULL,
            part_size INTEGER NOT NULL,
            md5s BLOB NOT NULL
        ) STRICT
        """,
        # They leave with what they are of, whoever changes it: released, replaced, proven in another way, or forgotten.
        # Nothing is looked up for objects in one part: these are by far the most.
        """
        CREATE TRIGGER part_md5s_end AFTER UPDATE OF state, generation, part_size, digest ON objects
        WHEN OLD.part_size != 0 AND (
            NEW.state = 3 OR NEW.generation != OLD.generation OR NEW.part_size != OLD.part_size
            OR NEW.digest != OLD.digest
        )
        BEGIN DELETE FROM part_md5s WHERE object_id = OLD.id; END
        """,
        """
        CREATE TRIGGER part_md5s_forgotten AFTER DELETE ON objects WHEN OLD.part_size != 0
        BEGIN DELETE FROM part_md5s WHERE object_id = OLD.id; END
        """,
    ),
    9: (
        # The same as before, but checked after the change, which is undone then: a trigger that runs before it makes
        # SQLite read the row, and sum it, twice. No IN: in a trigger, SQLite makes a table of its list for every row.
        "DROP TRIGGER objects_are_sound",
        f"""
        CREATE TRIGGER objects_are_sound AFTER UPDATE ON objects
        WHEN OLD.row_sum IS NOT row_sum({_OLD}) OR NEW.state != OLD.state AND NOT (
            OLD.state = 0 AND (NEW.state = 1 OR NEW.state = 4 OR NEW.state = 5)
            OR OLD.state = 1 AND (NEW.state = 2 OR NEW.state = 0 OR NEW.state = 4 OR NEW.state = 5)
            OR OLD.state = 2 AND (NEW.state = 3 OR NEW.state = 0)
            OR OLD.state = 3 AND NEW.state = 0
            OR (OLD.state = 4 OR OLD.state = 5) AND (NEW.state = 0 OR NEW.state = 1)
            OR OLD.state = 2 AND NEW.state = 1 AND NEW.suspect = 1 AND NEW.delivered_ms IS NULL
            OR NEW.generation > OLD.generation AND (NEW.state = 0 OR NEW.state = 1)
        )
        BEGIN
            SELECT CASE WHEN OLD.row_sum IS NOT row_sum({_OLD})
                THEN RAISE(ABORT, '{UNSOUND}') ELSE RAISE(ABORT, '{FORBIDDEN}') END;
        END
        """,
    ),
}

_STEP = 5000  # rows of one transaction
_BEAT_OPERATIONS = 1_000_000  # of SQLite's machine: about a tenth of a second
# What a migration needs first and takes long: repeated, a transaction each, until there is nothing left. A process that
# is killed meanwhile has done what it has done; the next one goes on from there.
GRADUAL: dict[int, str] = {
    6: f"""
        INSERT INTO failures_counted (id, object_id, key, at_ms, hop, trouble, message, expected, found, action,
            first_ms, recent_ms)
        SELECT id, object_id, key, at_ms, hop, trouble, message, expected, found, action, at_ms, at_ms FROM failures
            WHERE id > (SELECT COALESCE(MAX(id), 0) FROM failures_counted) ORDER BY id LIMIT {_STEP}
        ON CONFLICT (key, hop, trouble) DO UPDATE SET id = excluded.id, object_id = excluded.object_id,
            at_ms = excluded.at_ms, message = excluded.message, expected = excluded.expected, found = excluded.found,
            action = excluded.action, times = times + 1, recent_ms = excluded.recent_ms
        """,
}


# Every row is summed several times: as it is read, before it is changed, and as it was changed.
def row_sum(*values: object) -> int:
    """The checksum of a row's columns (`SUMMED`): CRC-32 of them as text."""
    key, size, etag, modified_ms, generation, origin, state, volume, part_size, digest, headers, theirs, target = values
    where = "\x1e" if volume is None else volume
    numbers = f"{modified_ms}\x1f{generation}\x1f{origin}\x1f{state}\x1f{where}\x1f{part_size}"
    try:
        # No str() of what is text: that would take longer than all the rest.
        text = "\x1f".join((key, f"{size}", etag, numbers, digest, headers, theirs, f"{target}"))  # type: ignore[arg-type]
    except TypeError:  # a text that is none: the row is damaged
        text = "\x1f".join("\x1e" if value is None else str(value) for value in values)
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def add_functions(connection: sqlite3.Connection) -> None:
    """What the schema calls: every connection that writes needs it."""
    connection.create_function("row_sum", -1, row_sum, deterministic=True)


def migrate(connection: sqlite3.Connection, beat: Callable[[str], None] = lambda doing: None) -> None:
    """Bring the schema of an open connection (autocommit mode) to the newest number.

    `beat` is told what is done, now and then. Raises LedgerError when the file was written by a newer
    snowsync: an old engine must not touch it.
    """
    add_functions(connection)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, applied_ms INTEGER NOT NULL)"
    )
    applied = {row[0] for row in connection.execute("SELECT number FROM migrations")}
    newest = max(MIGRATIONS)
    if applied and max(applied) > newest:
        raise LedgerError(
            f"The ledger has schema {max(applied)}, this snowsync knows {newest}: install the newer snowsync again"
        )
    for number in sorted(set(MIGRATIONS) - applied):
        doing = f"upgrading the ledger to schema {number}"
        beat(doing)
        # One statement over millions of rows is work that goes on, too.
        connection.set_progress_handler(functools.partial(beat, doing), _BEAT_OPERATIONS)
        while not _advance(connection, number):
            beat(doing)
    connection.set_progress_handler(None, 0)


def _advance(connection: sqlite3.Connection, number: int) -> bool:
    """One transaction of a migration; whether it was the last one of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Two units that start at once see the same new file: the second one finds the work done.
        is_done = bool(connection.execute("SELECT 1 FROM migrations WHERE number = ?", (number,)).fetchone())
        if not is_done and not _is_gradual(connection, number):
            for statement in MIGRATIONS[number]:
                connection.execute(statement)
            connection.execute("INSERT INTO migrations VALUES (?, ?)", (number, int(time.time() * 1000)))
            is_done = True
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return is_done


def _is_gradual(connection: sqlite3.Connection, number: int) -> bool:
    """Take one step of what a migration needs first; whether there was one to take."""
    return number in GRADUAL and connection.execute(GRADUAL[number]).rowcount > 0
