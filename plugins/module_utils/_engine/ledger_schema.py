# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The ledger's tables, as numbered migrations: each runs once, together with its own record, in one transaction."""

from __future__ import annotations

import sqlite3
import time

from .errors import LedgerError

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
}


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema of an open connection (autocommit mode) to the newest number.

    Raises LedgerError when the file was written by a newer snowsync: an old engine must not touch it.
    """
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
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Two units that start at once see the same new file: the second one finds the work done.
            if not connection.execute("SELECT 1 FROM migrations WHERE number = ?", (number,)).fetchone():
                for statement in MIGRATIONS[number]:
                    connection.execute(statement)
                connection.execute("INSERT INTO migrations VALUES (?, ?)", (number, int(time.time() * 1000)))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
