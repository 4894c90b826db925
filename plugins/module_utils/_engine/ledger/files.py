# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Files of ledgers that are not in use: putting one aside, and identifying those that were put aside."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path

from ..core.errors import LedgerError

_BUSY_SECONDS = 60.0


def put_aside(path: Path) -> Path:
    """Rename a ledger that is not in use, so that the next run begins an empty one; returns the new path.

    Raises LedgerError when somebody has it open for too long, or it cannot be renamed.
    """
    try:
        _empty_wal(path)
        target = path.with_name(f"{path.name}.reset-{int(time.time())}")
        while target.exists():
            target = target.with_name(f"{target.name}0")
        # The log first: an old log beside a new ledger would be mistaken for the new ledger's.
        for companion in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{path}{companion}", f"{target}{companion}")
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise LedgerError(f"Failed to put the ledger {path} aside: {error.strerror}") from error
    return target


def _empty_wal(path: Path) -> None:
    """Move the contents of the log into the database itself. A damaged ledger is left unchanged and only renamed."""
    deadline = time.monotonic() + _BUSY_SECONDS
    with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(path, timeout=1.0)) as db:
        while db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > deadline:
                raise LedgerError(f"Failed to put the ledger {path} aside: another process keeps reading it")
            time.sleep(0.1)


def identities_put_aside(path: Path) -> set[str]:
    """The ids of the ledgers that `put_aside` renamed, if they are still there and readable."""
    found: set[str] = set()
    for aside in path.parent.glob(f"{path.name}.reset-*"):
        if aside.name.endswith(("-wal", "-shm")):
            continue
        # It is no longer written; without a log it can be read even in a read-only directory.
        mode = "mode=ro" if aside.with_name(f"{aside.name}-wal").exists() else "immutable=1"
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"{aside.resolve().as_uri()}?{mode}", uri=True)) as db,
        ):
            found.update(str(uuid) for (uuid,) in db.execute("SELECT uuid FROM identity"))
    return found
