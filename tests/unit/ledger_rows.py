# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of a ledger and a job for tests: made, moved and looked at by the ordinary ways."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from unittest import mock

from snowsync.config.job_file import Job, parse_job
from snowsync.core.errors import Trouble
from snowsync.core.model import Evidence, ListedObject, State
from snowsync.ledger import schema
from snowsync.ledger.drops import Dropped
from snowsync.ledger.ledger import Delivered, Failure, Ledger, Row, Staged

MD5 = "9e107d9d372bb6826bd81d3542a419d6"


def listed(key: str, size: int = 10, etag: str = MD5, modified_ms: int = 1_700_000_000_000) -> ListedObject:
    return ListedObject(key, size, etag, modified_ms)


def staged(row: Row) -> Staged:
    return Staged(row, 0, row.etag, "", Evidence.STORE_DIGEST, "s5cmd")


def delivered(row: Row) -> Delivered:
    return Delivered(row, row.etag, Evidence.STORE_DIGEST, "s5cmd")


def failure(row: Row, trouble: Trouble = Trouble.MISMATCH) -> Failure:
    return Failure(row, "source", trouble, "not what was promised", "fetched again", expected="aa", found="bb")


def rows(ledger: Ledger, state: State) -> list[Row]:
    return ledger.objects.work(state, after_id=0, limit=10_000)


def row_of(ledger: Ledger, key: str) -> Row:
    number = select(ledger, "SELECT id FROM objects WHERE key = ?", key)[0][0]
    row = ledger.objects.row(int(str(number)))
    assert row is not None
    return row


def select(ledger: Ledger, sql: str, *parameters: object) -> list[tuple[object, ...]]:
    return list(ledger.database.stream(sql, parameters))


def bring_to(ledger: Ledger, key: str, state: State, volume: int) -> Row:
    """A new object, taken the ordinary way to `state`."""
    ledger.listing.observe([listed(key)])
    row = row_of(ledger, key)
    if state in (State.STAGED, State.DELIVERED, State.RELEASED):
        assert ledger.staging.commit_staged([staged(row)], volume, 0) == []
        row = row_of(ledger, key)
    if state in (State.DELIVERED, State.RELEASED):
        assert ledger.deliveries.commit_delivered([delivered(row)], [], 0) == []
        row = row_of(ledger, key)
    if state == State.RELEASED:
        ledger.deliveries.commit_delivered([], [row], 0)
    if state in (State.FAILED, State.QUARANTINED):
        assert ledger.objects.retry(failure(row), delay_ms=0, count=True, target=state)
    found = row_of(ledger, key)
    assert found.state == state
    return found


def stage_dropped(
    ledger: Ledger, listed: ListedObject, volume: int, part_size: int, headers: str, run_id: int, file_id: str = ""
) -> str:
    """Record one file of a drop folder as staged. Returns '' or why it was refused."""
    return ledger.drops.stage_dropped_group([Dropped(listed, part_size, headers, file_id)], volume, run_id)[0]


def in_memory() -> Ledger:
    """A ledger without a file, for tests with many examples: fsync would be most of what they do."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    schema.migrate(connection)
    with mock.patch("snowsync.ledger.ledger.connect", return_value=connection):
        return Ledger(Path(":memory:"))


def make_job(folder: Path, *, source: dict[str, Any] | None = None, destination: dict[str, Any] | None = None) -> Job:
    """A job with the volumes "one" and "two" below `folder`; what its stores are is updated from the arguments."""
    volumes = []
    for name in ("one", "two"):
        (folder / name).mkdir(exist_ok=True)
        volumes.append({"name": name, "path": str(folder / name), "require_mount": False, "limit": "1GiB"})
    store = {"endpoints": ["http://127.0.0.1:9"], "credentials_file": "/nowhere"}
    mapping = {
        "job": "photos",
        "state_dir": str(folder / "state"),
        "source": {"bucket": "camera", **store, **(source or {})},
        "destination": {"bucket": "archive", **store, **(destination or {})},
        "volumes": volumes,
    }
    return parse_job(mapping, "test")
