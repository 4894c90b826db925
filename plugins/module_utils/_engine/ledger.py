# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The ledger: the durable record of every object of a job, in SQLite (WAL, synchronous=FULL).

Writes come in groups, one transaction each. Every state change names the state and generation it starts from, so a
change that lost a race (the lister saw a newer object meanwhile) is refused row by row and reported to the caller.
Reads stream: no method holds more than a page of rows.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from .errors import LedgerError, Trouble
from .ledger_schema import migrate
from .model import TRANSITIONS, Evidence, Headers, ListedObject, Origin, State

LONGEST_DELAY_MS = 60_000  # before another attempt at an object
_BUSY_SECONDS = 60.0
_ROW = (
    "id, key, size, etag, modified_ms, generation, origin, state, volume, part_size, digest, headers,"
    " attempts, sends, suspect"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One object as the ledger knows it (the columns that the units work with)."""

    id: int
    key: str
    size: int
    etag: str
    modified_ms: int
    generation: int
    origin: int
    state: int
    volume: int | None
    part_size: int
    digest: str
    headers: str
    attempts: int
    sends: int
    suspect: int


@dataclass(frozen=True, slots=True)
class Observed:
    """What one page of a listing meant: counts, and the bytes that new and changed objects hold."""

    new: int = 0
    changed: int = 0
    same: int = 0
    bytes: int = 0
    moving: tuple[ListedObject, ...] = ()  # new and changed ones, in listing order


@dataclass(frozen=True, slots=True)
class Staged:
    """One object proven on a volume, ready to become `staged`."""

    row: Row
    part_size: int
    digest: str  # the ETag that these bytes have with this part size
    headers: str
    evidence: Evidence
    tool: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """One object proven at the destination."""

    row: Row
    destination_etag: str
    evidence: Evidence
    tool: str


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that went wrong with one object; `action` says what the engine did about it."""

    row: Row
    hop: str  # source | destination
    trouble: Trouble
    message: str
    action: str
    expected: str = ""
    found: str = ""


def now_ms() -> int:
    return int(time.time() * 1000)


def boot_id() -> str:
    """The kernel's boot id (/proc/sys/kernel/random/boot_id); empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


_HEADER_FIELDS = tuple(field.name for field in fields(Headers))


def dump_headers(headers: Headers) -> str:
    """Headers as compact JSON with only what is set; empty string when nothing is."""
    present = {name: value for name in _HEADER_FIELDS if (value := getattr(headers, name))}
    return json.dumps(present, ensure_ascii=False, separators=(",", ":"), default=dict) if present else ""


def load_headers(text: str) -> Headers:
    return Headers(**json.loads(text)) if text else Headers()


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch a database to WAL. SQLite answers "locked" at once, without its busy timeout, when two do so together."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            db.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


class Ledger:
    """One job's ledger. Threads of one process may share it; processes open their own."""

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        """Open (and create or migrate) the ledger. Raises LedgerError for a damaged or newer file."""
        self.path = path
        self._lock = threading.RLock()
        try:
            if readonly:
                self._db = sqlite3.connect(
                    f"{path.resolve().as_uri()}?mode=ro",
                    uri=True,
                    isolation_level=None,
                    check_same_thread=False,
                    timeout=_BUSY_SECONDS,
                )
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS)
                os.chmod(path, 0o640)
                _use_wal(self._db)
                self._db.execute("PRAGMA synchronous=FULL")
                migrate(self._db)
            self._db.execute("PRAGMA cache_size=-16000")
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(f"Failed to open the ledger {path}: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    # A full disk may have ended the transaction already, or have failed the COMMIT and left it open.
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise LedgerError(f"Failed to write the ledger {self.path}: {error}") from error

    def query(self, sql: str, parameters: Sequence[object] = ()) -> Iterator[tuple[object, ...]]:
        """Stream the rows of a SELECT (for ledger*.py only), a thousand at a time so that writers are not held up."""
        with self._lock:
            cursor = self._db.execute(sql, parameters)
        while True:
            with self._lock:
                rows = cursor.fetchmany(1000)
            if not rows:
                return
            yield from rows

    # -- listing ------------------------------------------------------------------------------------------------

    def _known(self, page: Sequence[ListedObject]) -> dict[str, tuple[object, ...]]:
        marks = ",".join("?" * len(page))
        sql = f"SELECT key, size, etag, modified_ms, id, generation, origin FROM objects WHERE key IN ({marks})"
        with self._lock:
            return {row[0]: row for row in self._db.execute(sql, [listed.key for listed in page])}

    def compare(self, page: Sequence[ListedObject]) -> Observed:
        """What `observe` would do with this page; nothing is written."""
        return self._sort(page)[0]

    def _sort(
        self, page: Sequence[ListedObject]
    ) -> tuple[Observed, list[ListedObject], list[tuple[ListedObject, tuple[object, ...]]]]:
        known = self._known(page)
        fresh: list[ListedObject] = []
        changed: list[tuple[ListedObject, tuple[object, ...]]] = []
        moving: list[ListedObject] = []
        for listed in page:
            row = known.get(listed.key)
            if row is None:
                fresh.append(listed)
            elif row[1:4] != (listed.size, listed.etag, listed.modified_ms) or row[6] != Origin.SOURCE:
                changed.append((listed, row))
            else:
                continue
            moving.append(listed)
        observed = Observed(
            new=len(fresh),
            changed=len(changed),
            same=len(page) - len(moving),
            bytes=sum(listed.size for listed in moving),
            moving=tuple(moving),
        )
        return observed, fresh, changed

    def observe(self, page: Sequence[ListedObject]) -> Observed:
        """Take one page of the source's listing: new objects become pending, changed ones a new generation."""
        if not page:
            return Observed()
        observed, fresh, changed = self._sort(page)
        if not fresh and not changed:
            return observed
        at = now_ms()
        with self._transaction() as db:
            db.executemany(
                "INSERT INTO objects (key, size, etag, modified_ms, listed_ms) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (key) DO NOTHING",
                [(listed.key, listed.size, listed.etag, listed.modified_ms, at) for listed in fresh],
            )
            for listed, row in changed:
                self._new_generation(db, listed, row, at)
        return observed

    @staticmethod
    def _new_generation(db: sqlite3.Connection, listed: ListedObject, row: tuple[object, ...], at: int) -> None:
        object_id, generation = row[4], row[5]
        # What lies on a volume is asked here, in the transaction: a group may have become durable since `row` was read.
        db.execute(
            "INSERT INTO discards (volume, key, generation) SELECT volume, key, generation FROM objects WHERE id = ?"
            " AND generation = ? AND state IN (1, 2) AND volume IS NOT NULL AND origin = 0",
            (object_id, generation),
        )
        db.execute(
            "UPDATE objects SET size = ?, etag = ?, modified_ms = ?, generation = generation + 1, origin = 0,"
            " state = 0, volume = NULL, part_size = 0, digest = '', destination_etag = '', headers = '',"
            " source_evidence = NULL, destination_evidence = NULL, attempts = 0, sends = 0, not_before_ms = 0,"
            " suspect = 0, last_error = '', listed_ms = ?, staged_ms = NULL, delivered_ms = NULL, released_ms = NULL"
            " WHERE id = ? AND generation = ?",
            (listed.size, listed.etag, listed.modified_ms, at, object_id, generation),
        )

    def forget(self, row: Row) -> bool:
        """Drop the row of an object that left the source before it was staged, or the drop folder before it was sent.

        False where it is no longer what the caller thinks.
        """
        with self._transaction() as db:
            sql = "DELETE FROM objects WHERE id = ? AND generation = ? AND state = ? AND (state = 0 OR origin = 1)"
            return db.execute(sql, (row.id, row.generation, row.state)).rowcount == 1

    # -- work ---------------------------------------------------------------------------------------------------

    def work(self, state: State, *, after_id: int, limit: int, volumes: Collection[int] | None = None) -> list[Row]:
        """Rows of one state that are due, by id (the order of listing), from `after_id` on.

        `volumes` leaves out what lies on others. A row that would wait longer than any delay was put off by a clock
        that was wrong then; it is due.
        """
        where = "" if volumes is None else f" AND volume IN ({','.join(str(int(number)) for number in volumes)})"
        sql = (
            f"SELECT {_ROW} FROM objects WHERE state = {int(state)} AND id > ? AND not_before_ms NOT BETWEEN ? AND ?"
            f"{where} ORDER BY id LIMIT ?"
        )
        now = now_ms()
        with self._lock:
            return [
                Row(*values) for values in self._db.execute(sql, (after_id, now + 1, now + LONGEST_DELAY_MS, limit))
            ]

    def waiting(self, *states: State) -> bool:
        """Whether any row is in one of these states, due or not."""
        # One literal a state: only so does SQLite see that a partial index answers.
        found = " OR ".join(f"EXISTS (SELECT 1 FROM objects WHERE state = {int(state)})" for state in states)
        with self._lock:
            return bool(self._db.execute(f"SELECT {found}").fetchone()[0])

    def unfinished(self) -> Iterator[tuple[str, int]]:
        """(key, size) of everything that a run would go on with: pending, staged, failed, quarantined."""
        for key, size in self.query("SELECT key, size FROM objects WHERE state IN (0, 1, 4, 5) ORDER BY id"):
            yield str(key), int(str(size))

    def row(self, object_id: int) -> Row | None:
        with self._lock:
            values = self._db.execute(f"SELECT {_ROW} FROM objects WHERE id = ?", (object_id,)).fetchone()
        return Row(*values) if values else None

    def has_file(self, key: str, generation: int, volume: int) -> bool:
        """Whether the ledger knows a staged or delivered file of this key and generation on this volume."""
        sql = "SELECT 1 FROM objects WHERE key = ? AND generation = ? AND volume = ? AND state IN (1, 2)"
        with self._lock:
            return self._db.execute(sql, (key, generation, volume)).fetchone() is not None

    def has_used(self, volume: int) -> bool:
        """Whether this ledger ever made a group durable on this volume."""
        with self._lock:
            found = self._db.execute("SELECT 1 FROM groups WHERE volume = ? LIMIT 1", (volume,)).fetchone()
        return found is not None

    def _move(self, db: sqlite3.Connection, row: Row, target: State, sql: str, values: Sequence[object]) -> bool:
        """Change one row if it still is what the caller thinks; a transition that the table forbids is a defect."""
        source = State(row.state)
        if target not in TRANSITIONS[source]:
            raise LedgerError(f"Refused: object {row.key!r} cannot go from {source.label} to {target.label}")
        statement = f"UPDATE objects SET state = {int(target)}, {sql} WHERE id = ? AND generation = ? AND state = ?"
        return db.execute(statement, (*values, row.id, row.generation, row.state)).rowcount == 1

    def commit_staged(self, group: Sequence[Staged], volume: int, run_id: int) -> list[Staged]:
        """One group is durable on `volume`: say so, in one transaction. Returns the ones refused (newer generation)."""
        at = now_ms()
        refused: list[Staged] = []
        with self._transaction() as db:
            group_id = self._new_group(db, "source", volume, len(group), sum(item.row.size for item in group), at)
            for item in group:
                values = (volume, group_id, item.part_size, item.digest, item.headers, item.evidence, item.tool, at)
                moved = self._move(
                    db,
                    item.row,
                    State.STAGED,
                    "volume = ?, group_id = ?, part_size = ?, digest = ?, headers = ?, source_evidence = ?,"
                    " source_tool = ?, staged_ms = ?, attempts = 0, not_before_ms = 0, suspect = 0, last_error = ''",
                    values,
                )
                if not moved:
                    refused.append(item)
            self._progress(db, run_id, group, refused)
        return refused

    def stage_dropped(self, listed: ListedObject, volume: int, part_size: int, headers: str, run_id: int) -> str:
        """Record a file of a drop folder as staged; `listed.etag` is its digest. Returns '' or why it was refused."""
        at = now_ms()
        with self._transaction() as db:
            refusal = self.refuses_dropped(listed.key, volume)
            if refusal:
                return refusal
            group_id = self._new_group(db, "source", volume, 1, listed.size, at)
            db.execute(
                "INSERT INTO objects (key, size, etag, modified_ms, origin, state, volume, group_id, part_size, digest,"
                " headers, source_evidence, source_tool, listed_ms, staged_ms)"
                " VALUES (?, ?, ?, ?, 1, 1, ?, ?, ?, ?, ?, ?, 'drop', ?, ?) ON CONFLICT (key) DO UPDATE SET"
                " size = excluded.size, etag = excluded.etag, modified_ms = excluded.modified_ms, state = 1,"
                " generation = generation + 1, volume = excluded.volume, group_id = excluded.group_id,"
                " part_size = excluded.part_size, digest = excluded.digest, headers = excluded.headers, attempts = 0,"
                # The same bytes again: the destination is asked before they are sent again.
                " sends = objects.state IN (2, 3) AND objects.digest = excluded.digest,"
                " not_before_ms = 0, suspect = 0, last_error = '', destination_etag = '',"
                " destination_evidence = NULL, staged_ms = excluded.staged_ms, delivered_ms = NULL, released_ms = NULL",
                (
                    listed.key,
                    listed.size,
                    listed.etag,
                    listed.modified_ms,
                    volume,
                    group_id,
                    part_size,
                    listed.etag,
                    headers,
                    Evidence.SIZE,
                    at,
                    at,
                ),
            )
            db.execute(
                "UPDATE runs SET moved_objects = moved_objects + 1, moved_bytes = moved_bytes + ?, updated_ms = ?"
                " WHERE id = ?",
                (listed.size, at, run_id),
            )
        return ""

    def refuses_dropped(self, key: str, volume: int) -> str:
        """Why a file of a drop folder may not become the object `key`; '' if it may."""
        with self._lock:
            known = self._db.execute("SELECT origin, volume, state FROM objects WHERE key = ?", (key,)).fetchone()
        if known and known[0] != Origin.DROP:
            return "an object of the source has the same key"
        if known and known[1] != volume and known[2] in (State.STAGED, State.DELIVERED):
            return "a file of the same name lies in another volume's drop folder"
        return ""

    def dropped(self, key: str) -> tuple[int, int, int] | None:
        """(size, modified_ms, state) of a drop-folder row, or None."""
        with self._lock:
            found = self._db.execute(
                "SELECT size, modified_ms, state FROM objects WHERE key = ? AND origin = 1", (key,)
            ).fetchone()
        return (found[0], found[1], found[2]) if found else None

    @staticmethod
    def _new_group(db: sqlite3.Connection, hop: str, volume: int | None, objects: int, size: int, at: int) -> int:
        cursor = db.execute(
            "INSERT INTO groups (hop, volume, boot_id, objects, bytes, at_ms) VALUES (?, ?, ?, ?, ?, ?)",
            (hop, volume, boot_id(), objects, size, at),
        )
        return int(cursor.lastrowid or 0)

    @staticmethod
    def _progress(
        db: sqlite3.Connection, run_id: int, group: Sequence[Staged | Delivered], refused: Sequence[Staged | Delivered]
    ) -> None:
        objects = len(group) - len(refused)
        size = sum(item.row.size for item in group) - sum(item.row.size for item in refused)
        db.execute(
            "UPDATE runs SET moved_objects = moved_objects + ?, moved_bytes = moved_bytes + ?, updated_ms = ?"
            " WHERE id = ?",
            (objects, size, now_ms(), run_id),
        )

    def claim_sends(self, rows: Iterable[Row]) -> None:
        """Record, before the first byte leaves, that these uploads start: after a crash they are looked at first."""
        with self._transaction() as db:
            db.executemany("UPDATE objects SET sends = sends + 1 WHERE id = ?", [(row.id,) for row in rows])

    def commit_delivered(self, group: Sequence[Delivered], released: Sequence[Row], run_id: int) -> list[Delivered]:
        """A group is proven at the destination, and the files of `released` (an earlier group) are gone.

        Returns the ones refused (a newer generation exists): their bytes at the destination will be replaced.
        """
        at = now_ms()
        refused: list[Delivered] = []
        with self._transaction() as db:
            if group:
                self._new_group(db, "destination", None, len(group), sum(item.row.size for item in group), at)
            for item in group:
                moved = self._move(
                    db,
                    item.row,
                    State.DELIVERED,
                    "destination_etag = ?, destination_evidence = ?, destination_tool = ?, delivered_ms = ?,"
                    " attempts = 0, not_before_ms = 0, last_error = ''",
                    (item.destination_etag, item.evidence, item.tool, at),
                )
                if not moved:
                    refused.append(item)
            self._progress(db, run_id, group, refused)
            self._release(db, released, run_id, at)
        return refused

    def _release(self, db: sqlite3.Connection, rows: Sequence[Row], run_id: int, at: int) -> None:
        size = 0
        count = 0
        for row in rows:
            done = db.execute(
                "UPDATE objects SET state = 3, volume = NULL, released_ms = ?"
                " WHERE id = ? AND generation = ? AND state = 2",
                (at, row.id, row.generation),
            ).rowcount
            count += done
            size += row.size * done
        db.execute(
            "UPDATE runs SET released_objects = released_objects + ?, released_bytes = released_bytes + ? WHERE id = ?",
            (count, size, run_id),
        )

    def retry(self, failure: Failure, *, delay_ms: int, count: bool, target: State = State.PENDING) -> bool:
        """Send a row back (`target` pending, or staged for another upload), or end it as quarantined or failed."""
        row = failure.row
        text = f"{failure.trouble.value}: {failure.message}"
        with self._transaction() as db:
            if target == State(row.state):  # another try of the same hop
                moved = (
                    db.execute(
                        "UPDATE objects SET attempts = attempts + ?, not_before_ms = ?, last_error = ?"
                        " WHERE id = ? AND generation = ? AND state = ?",
                        (int(count), now_ms() + delay_ms, text, row.id, row.generation, row.state),
                    ).rowcount
                    == 1
                )
            else:
                reset = ", volume = NULL, sends = 0, suspect = 0" if target == State.PENDING else ""
                moved = self._move(
                    db,
                    row,
                    target,
                    f"attempts = attempts + ?, not_before_ms = ?, last_error = ?{reset}",
                    (int(count), now_ms() + delay_ms, text),
                )
            if moved:
                self._record(db, failure)
        return moved

    def record(self, failure: Failure) -> None:
        """Note a failure that changes no state."""
        with self._transaction() as db:
            self._record(db, failure)

    @staticmethod
    def _record(db: sqlite3.Connection, failure: Failure) -> None:
        db.execute(
            "INSERT INTO failures (object_id, key, at_ms, hop, trouble, message, expected, found, action)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                failure.row.id,
                failure.row.key,
                now_ms(),
                failure.hop,
                failure.trouble.value,
                failure.message,
                failure.expected,
                failure.found,
                failure.action,
            ),
        )

    def revive(self) -> int:
        """Give failed and quarantined objects a new chance (a new run by an operator). Returns how many."""
        with self._transaction() as db:
            fetched_again = db.execute(
                "UPDATE objects SET state = 0, attempts = 0, not_before_ms = 0, volume = NULL, sends = 0"
                " WHERE state IN (4, 5) AND origin = 0"
            ).rowcount
            # A dropped file cannot be fetched: it still lies where it was put, and is sent again.
            sent_again = db.execute(
                "UPDATE objects SET state = 1, attempts = 0, not_before_ms = 0 WHERE state IN (4, 5) AND origin = 1"
            ).rowcount
            return fetched_again + sent_again

    # -- volumes, discards, the boot rule -----------------------------------------------------------------------

    def volume_id(self, name: str, uuid: str, path: str) -> int:
        """The number of a volume. Raises LedgerError when the name or the identity belongs to another volume."""
        with self._transaction() as db:
            found = db.execute("SELECT id, name, uuid FROM volumes WHERE name = ? OR uuid = ?", (name, uuid)).fetchall()
            if not found:
                cursor = db.execute(
                    "INSERT INTO volumes (name, uuid, path, first_seen_ms) VALUES (?, ?, ?, ?)",
                    (name, uuid, path, now_ms()),
                )
                return int(cursor.lastrowid or 0)
            if len(found) > 1 or found[0][1:] != (name, uuid):
                raise LedgerError(
                    f"Volume {name} at {path} carries identity {uuid}, the ledger knows {found[0][1]} as {found[0][2]}:"
                    " mount the right disk there, or give the new one a new name"
                )
            db.execute("UPDATE volumes SET path = ? WHERE id = ?", (path, found[0][0]))
            return int(found[0][0])

    def known_volumes(self) -> dict[str, tuple[int, str]]:
        """name -> (id, uuid)."""
        return {
            str(name): (int(number), str(uuid))
            for number, name, uuid in self._all("SELECT id, name, uuid FROM volumes")
        }

    def _all(self, sql: str) -> list[tuple[int, str, str]]:
        with self._lock:
            return self._db.execute(sql).fetchall()

    def occupied(self) -> dict[int, int]:
        """Bytes per volume of everything staged or delivered and not yet released, each file rounded up to 4 KiB."""
        sql = (
            "SELECT volume, SUM((size + 4095) / 4096 * 4096) FROM objects"
            " WHERE state IN (1, 2) AND volume IS NOT NULL GROUP BY volume"
        )
        with self._lock:
            return {int(volume): int(size) for volume, size in self._db.execute(sql)}

    def discards(self, *, after_id: int = 0) -> list[tuple[int, int, str, int]]:
        """(id, volume, key, generation) of the next thousand files that a newer generation made obsolete, by id."""
        sql = "SELECT id, volume, key, generation FROM discards WHERE id > ? ORDER BY id LIMIT 1000"
        with self._lock:
            return self._db.execute(sql, (after_id,)).fetchall()

    def discarded(self, ids: Iterable[int]) -> None:
        with self._transaction() as db:
            db.executemany("DELETE FROM discards WHERE id = ?", [(number,) for number in ids])

    def apply_boot_rule(self, last_groups: int = 4) -> int:
        """After a boot: what became staged in the last groups per volume before it is re-hashed before use.

        Returns how many rows became suspect. A group of another boot than ours is from before a boot; whether that
        boot was clean is not trusted. Runs once per boot and ledger, under the source or the destination unit.
        """
        current = boot_id()
        with self._transaction() as db:
            newest = db.execute("SELECT boot_id FROM runs ORDER BY id DESC LIMIT 1").fetchone()
            if newest is None or newest[0] == current:
                return 0
            count = 0
            for (volume,) in db.execute("SELECT id FROM volumes").fetchall():
                count += db.execute(
                    "UPDATE objects SET suspect = 1 WHERE state = 1 AND group_id IN (SELECT id FROM groups"
                    " WHERE hop = 'source' AND volume = ? AND boot_id != ? ORDER BY id DESC LIMIT ?)",
                    (volume, current, last_groups),
                ).rowcount
            return count

    # -- runs and facts -----------------------------------------------------------------------------------------

    def start_run(self, unit: str) -> int:
        at = now_ms()
        with self._transaction() as db:
            cursor = db.execute(
                "INSERT INTO runs (unit, pid, boot_id, started_ms, updated_ms) VALUES (?, ?, ?, ?, ?)",
                (unit, os.getpid(), boot_id(), at, at),
            )
            return int(cursor.lastrowid or 0)

    def update_run(
        self, run_id: int, *, status: str, listed: tuple[int, int], passes: int, failures: int, ended: bool = False
    ) -> None:
        at = now_ms()
        with self._transaction() as db:
            db.execute(
                "UPDATE runs SET status = ?, listed_objects = ?, listed_bytes = ?, passes = ?, failures = ?,"
                " updated_ms = ?, ended_ms = ? WHERE id = ?",
                (status, *listed, passes, failures, at, at if ended else None, run_id),
            )

    def set_fact(self, side: str, endpoint: str, fact: str, value: str) -> None:
        with self._transaction() as db:
            db.execute(
                "INSERT INTO endpoint_facts VALUES (?, ?, ?, ?, ?) ON CONFLICT (side, endpoint, fact)"
                " DO UPDATE SET value = excluded.value, probed_ms = excluded.probed_ms",
                (side, endpoint, fact, value, now_ms()),
            )

    def facts(self, side: str, endpoint: str) -> dict[str, str]:
        with self._lock:
            return dict(
                self._db.execute(
                    "SELECT fact, value FROM endpoint_facts WHERE side = ? AND endpoint = ?", (side, endpoint)
                )
            )
