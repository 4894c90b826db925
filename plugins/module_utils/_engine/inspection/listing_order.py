# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Sorts a listing on disk, for stores that do not list in key order."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..core.errors import LocalError, Trouble
from ..core.keys import key_bytes
from ..core.model import ListedObject

_PAGE = 1000


class SortedSpool:
    """Takes pages in any order and returns their objects sorted by the UTF-8 bytes of their keys, each key once.

    The file is unlinked at once, so that nothing is left behind however the process ends. Raises LocalError.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=".sorting-", suffix=".db", dir=directory)
            os.close(descriptor)
            try:
                self._db = sqlite3.connect(name, isolation_level=None)
                for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-16000"):
                    self._db.execute(f"PRAGMA {pragma}")
                self._db.execute(
                    "CREATE TABLE listing (key BLOB PRIMARY KEY, size INTEGER NOT NULL, etag TEXT NOT NULL,"
                    " modified_ms INTEGER NOT NULL) WITHOUT ROWID, STRICT"
                )
            finally:
                os.unlink(name)
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> LocalError:
        full = isinstance(error, sqlite3.OperationalError) and "full" in str(error)
        return LocalError(Trouble.SPACE if full else Trouble.IO, f"sort a listing in {self._directory}", str(error))

    def add(self, page: Sequence[ListedObject]) -> None:
        rows = ((key_bytes(listed.key), listed.size, listed.etag, listed.modified_ms) for listed in page)
        try:
            self._db.execute("BEGIN")
            self._db.executemany("INSERT OR REPLACE INTO listing VALUES (?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def fill(self, pages: Iterable[Sequence[ListedObject]]) -> SortedSpool:
        for page in pages:
            self.add(page)
        return self

    def pages(self) -> Iterator[list[ListedObject]]:
        position = b""
        sql = "SELECT key, size, etag, modified_ms FROM listing WHERE key > ? ORDER BY key LIMIT ?"
        while True:
            try:
                rows = self._db.execute(sql, (position, _PAGE)).fetchall()
            except sqlite3.Error as error:
                raise self._failed(error) from error
            if not rows:
                return
            yield [ListedObject(key.decode(errors="surrogateescape"), *rest) for key, *rest in rows]
            position = rows[-1][0]

    def close(self) -> None:
        self._db.close()
