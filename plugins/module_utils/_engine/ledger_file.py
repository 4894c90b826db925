# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The ledger's file and its values: one connection, whole transactions, rows as they are read.

What is done with them is in ledger.py and ledger_volumes.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from . import machine
from .errors import LedgerError, Trouble
from .ledger_pruning import GATHER_EVERY, RECORD, gather_groups
from .ledger_schema import FORBIDDEN, UNSOUND, add_functions, migrate, row_sum
from .model import TRANSITIONS, Evidence, Headers, ListedObject, State

_BUSY_SECONDS = 60.0

# What a read of a damaged file ends in, where no method here names the row.
UNREADABLE = sqlite3.DatabaseError

ROW = (
    "id, key, size, etag, modified_ms, generation, origin, state, volume, part_size, digest, headers,"
    " attempts, sends, suspect, destination_etag, target, acknowledged, file_id, row_sum"
)

# What failed, lies in quarantine, or was refused, just as its index has it.
AGAIN = "(state IN (4, 5) OR state = 1 AND attempts > 0)"

# A row changed only if nobody else changed it meanwhile: the lister, the other unit, or `evacuate`.
AS_READ = "id = ? AND generation = ? AND state = ? AND volume IS ?"


def problem_text(error: sqlite3.Error) -> str:
    """What SQLite said, with what to do where it means that the file is damaged."""
    if isinstance(error, sqlite3.OperationalError) or FORBIDDEN in str(error):
        return str(error)
    return f"{error}; check its disk, then restore it from a backup, or reset the job"


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
    destination_etag: str = ""  # as it was proven there
    target: int = 0  # the destination that the proof is of: the number of its binding
    acknowledged: int = 0  # the store took an upload of this generation, and nobody has proven it yet
    file_id: str = ""  # a dropped file's identity
    row_sum: int | None = None  # as the ledger's file has it; None: the row was not read from there

    @property
    def is_sound(self) -> bool:
        """Whether the row is what was written; else its bits changed on the ledger's disk."""
        return self.row_sum is None or self.row_sum == row_sum(*self._summed())

    def _summed(self) -> tuple[object, ...]:
        return (
            self.key,
            self.size,
            self.etag,
            self.modified_ms,
            self.generation,
            self.origin,
            self.state,
            self.volume,
            self.part_size,
            self.digest,
            self.headers,
            self.destination_etag,
            self.target,
        )


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

    @property
    def text(self) -> str:
        """As the object's row has it."""
        return f"{self.trouble.value}: {self.message}"


def as_read(row: Row) -> tuple[object, ...]:
    """The parameters of AS_READ."""
    return row.id, row.generation, row.state, row.volume


_HEADER_FIELDS = tuple(field.name for field in fields(Headers))


def dump_headers(headers: Headers) -> str:
    """Headers as compact JSON with only what is set; empty string when nothing is."""
    present = {name: value for name in _HEADER_FIELDS if (value := getattr(headers, name))}
    return json.dumps(present, ensure_ascii=False, separators=(",", ":"), default=dict) if present else ""


def load_headers(text: str) -> Headers:
    return Headers(**json.loads(text)) if text else Headers()


def put_aside(path: Path) -> Path:
    """Give a ledger that nobody writes another name, so that the next run begins an empty one; returns the name.

    Raises LedgerError when somebody has it open for too long, or it cannot be renamed.
    """
    try:
        _empty_wal(path)
        target = path.with_name(f"{path.name}.reset-{int(time.time())}")
        while target.exists():
            target = target.with_name(f"{target.name}0")
        # The log first: an old one beside a new ledger would be taken for the new one's.
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
    """Bring everything into the database itself. What is damaged is left as it is: it is only renamed."""
    deadline = time.monotonic() + _BUSY_SECONDS
    with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(path, timeout=1.0)) as db:
        while db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > deadline:
                raise LedgerError(f"Failed to put the ledger {path} aside: somebody reads it all the time")
            time.sleep(0.1)


def identities_put_aside(path: Path) -> set[str]:
    """Who the ledgers are that `put_aside` renamed, where they are still there and can be read."""
    found: set[str] = set()
    for aside in path.parent.glob(f"{path.name}.reset-*"):
        if aside.name.endswith(("-wal", "-shm")):
            continue
        # Nobody writes it any more; without a log it can be read where nothing may be written beside it.
        mode = "mode=ro" if aside.with_name(f"{aside.name}-wal").exists() else "immutable=1"
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"{aside.resolve().as_uri()}?{mode}", uri=True)) as db,
        ):
            found.update(str(uuid) for (uuid,) in db.execute("SELECT uuid FROM identity"))
    return found


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


class LedgerFile:
    """An open ledger. Threads of one process may share it; processes open their own."""

    _run_since_ms = 0  # when the run began in whose name things are recorded; 0: in none's

    def __init__(self, path: Path, *, readonly: bool = False, beat: Callable[[str], None] = lambda doing: None) -> None:
        """Open (and create or migrate) the ledger. Raises LedgerError for a damaged or newer file.

        `beat` is told now and then what is done, where that takes long.
        """
        self.path = path
        self._lock = threading.RLock()
        self._identity = ""
        try:
            if readonly:
                self._db = sqlite3.connect(
                    f"{path.resolve().as_uri()}?mode=ro",
                    uri=True,
                    isolation_level=None,
                    check_same_thread=False,
                    timeout=_BUSY_SECONDS,
                )
                add_functions(self._db)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_SECONDS)
                os.chmod(path, 0o640)
                _use_wal(self._db)
                self._db.execute("PRAGMA synchronous=FULL")
                migrate(self._db, beat)
            self._db.execute("PRAGMA cache_size=-16000")
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(f"Failed to open the ledger {path}: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def is_made(self) -> bool:
        """Whether it has tables. Who is killed while it makes a ledger leaves an empty file, which says nothing yet."""
        with self._lock:
            return bool(self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'objects'").fetchone())

    def identity(self) -> str:
        """Which ledger this is, wherever its file lies."""
        if not self._identity:
            with self._lock:
                self._identity = str(self._db.execute("SELECT uuid FROM identity").fetchone()[0])
        return self._identity

    def _sound(self, row: Row) -> Row:
        """The row. LedgerError where its bits changed on the ledger's disk: nothing is done on its word."""
        if not row.is_sound:
            raise LedgerError(
                f"Refused: row {row.id} of the ledger {self.path} ({row.key!r}) {UNSOUND}: its disk changed it;"
                " check the disk, then restore the ledger from a backup, or have the object moved anew:"
                " `snowsync resend JOB KEY`"
            )
        return row

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
                raise LedgerError(f"Failed to write the ledger {self.path}: {problem_text(error)}") from error

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

    # -- what several kinds of writes have in common ---------------------------------------------------------------

    def _move(self, db: sqlite3.Connection, row: Row, target: State, sql: str, values: Sequence[object]) -> bool:
        """Change one row if it still is what the caller thinks; a transition that the table forbids is a defect."""
        source = State(row.state)
        if target not in TRANSITIONS[source]:
            raise LedgerError(f"Refused: object {row.key!r} cannot go from {source.label} to {target.label}")
        statement = f"UPDATE objects SET state = {int(target)}, {sql} WHERE {AS_READ}"
        return db.execute(statement, (*values, *as_read(row))).rowcount == 1

    def _new_group(self, db: sqlite3.Connection, hop: str, volume: int | None, objects: int, size: int, at: int) -> int:
        cursor = db.execute(
            "INSERT INTO groups (hop, volume, boot_id, objects, bytes, at_ms, ticks_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (hop, volume, machine.boot_id(), objects, size, at, machine.ticks_ms()),
        )
        number = int(cursor.lastrowid or 0)
        if number % GATHER_EVERY == 0:
            gather_groups(db, number, machine.boot_id(), machine.ticks_ms())
        return number

    def _record(self, db: sqlite3.Connection, failure: Failure) -> None:
        """Count a failure: what goes wrong with one object again, in the same way, is no other row."""
        at = machine.now_ms()
        db.execute(
            RECORD,
            (
                failure.row.id,
                failure.row.key,
                at,
                failure.hop,
                failure.trouble.value,
                failure.message,
                failure.expected,
                failure.found,
                failure.action,
                at,
                at,
                self._run_since_ms,
            ),
        )
