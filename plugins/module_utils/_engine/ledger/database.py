# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The ledger's database: one connection to its file, whole transactions, one lock for the threads of a process."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import LedgerError
from .schema import FORBIDDEN, add_functions, migrate

BUSY_SECONDS = 60.0

# What reading a damaged file raises, if no method of the ledger names the row.
UNREADABLE = sqlite3.DatabaseError


def problem_text(error: sqlite3.Error) -> str:
    """SQLite's message, with what to do if it means that the file is damaged."""
    if isinstance(error, sqlite3.OperationalError) or FORBIDDEN in str(error):
        return str(error)
    return f"{error}; check its disk, then restore it from a backup, or reset the job"


def connect(path: Path, *, readonly: bool, beat: Callable[[str], None]) -> sqlite3.Connection:
    """Open (and create or migrate) a ledger's file. Raises LedgerError for a damaged or newer one.

    `beat` gets a description of long steps from time to time.
    """
    try:
        connection = _open_to_read(path) if readonly else _open_to_write(path, beat)
        connection.execute("PRAGMA cache_size=-16000")
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(f"Failed to open the ledger {path}: {error}") from error
    return connection


def _open_to_read(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_SECONDS,
    )
    add_functions(connection)
    return connection


def _open_to_write(path: Path, beat: Callable[[str], None]) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
    os.chmod(path, 0o640)
    _use_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    migrate(connection, beat)
    return connection


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch a database to WAL. SQLite answers "locked" at once, without its busy timeout, when two do so together."""
    deadline = time.monotonic() + BUSY_SECONDS
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            db.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


class Database:
    """One connection to one ledger. Threads of one process may share it; processes open their own.

    Hold `lock`, which is reentrant, to read consistently in several statements. All writes are made in a
    `transaction`.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """`connection` is to the file at `path`, see `connect`."""
        self.path = path
        self.connection = connection
        self.lock = threading.RLock()
        self._identity = ""

    def close(self) -> None:
        with self.lock:
            self.connection.close()

    def is_made(self) -> bool:
        """Whether it has tables. A process killed while creating a ledger leaves an empty file."""
        return bool(self.one("SELECT 1 FROM sqlite_master WHERE name = 'objects'"))

    def identity(self) -> str:
        """The ledger's id, wherever its file is."""
        if not self._identity:
            self._identity = str(self.value("SELECT uuid FROM identity"))
        return self._identity

    def value(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        """The first column of the first row of a SELECT that returns at least one row."""
        with self.lock:
            return self.connection.execute(sql, parameters).fetchone()[0]

    def one(self, sql: str, parameters: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """The first row of a SELECT, or None."""
        with self.lock:
            found: tuple[Any, ...] | None = self.connection.execute(sql, parameters).fetchone()
        return found

    def all(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a SELECT, few enough to hold all of them at once."""
        with self.lock:
            return self.connection.execute(sql, parameters).fetchall()

    def stream(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Any number of rows of a SELECT, fetched a thousand at a time so that writers are not delayed."""
        with self.lock:
            cursor = self.connection.execute(sql, parameters)
        while True:
            with self.lock:
                rows = cursor.fetchmany(1000)
            if not rows:
                return
            yield from rows

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything done with the connection inside the block is committed, or nothing. LedgerError when it fails.

        Transactions do not nest: helpers inside a transaction take its connection.
        """
        with self.lock:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self.connection
                    self.connection.execute("COMMIT")
                except BaseException:
                    # A full disk may have ended the transaction already, or have failed the COMMIT and left it open.
                    if self.connection.in_transaction:
                        self.connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise LedgerError(f"Failed to write the ledger {self.path}: {problem_text(error)}") from error
