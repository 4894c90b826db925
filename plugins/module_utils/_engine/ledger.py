# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The ledger: the durable record of every object of a job, in SQLite (WAL, synchronous=FULL).

Writes come in groups, one transaction each. Every state change names the state and generation it starts from, so a
change that lost a race (the lister saw a newer object meanwhile) is refused row by row and reported to the caller.
Reads stream: no method holds more than a page of rows.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence

from .ledger_file import (
    AS_READ,
    ROW,
    Delivered,
    Failure,
    Observed,
    Row,
    Staged,
    as_read,
    boot_id,
    dump_headers,
    load_headers,
    now_ms,
)
from .ledger_parts import PartLedger
from .ledger_volumes import VolumeLedger
from .model import Evidence, ListedObject, Origin, State

__all__ = [
    "LONGEST_DELAY_MS",
    "Delivered",
    "Failure",
    "Ledger",
    "Observed",
    "Row",
    "Staged",
    "boot_id",
    "dump_headers",
    "load_headers",
    "now_ms",
]

LONGEST_DELAY_MS = 60_000  # before another attempt at an object


class Ledger(VolumeLedger, PartLedger):
    """One job's ledger. Threads of one process may share it; processes open their own."""

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
            "INSERT INTO discards (volume, key, generation) SELECT left_on, key, generation FROM objects WHERE id = ?"
            " AND generation = ? AND left_on IS NOT NULL",
            (object_id, generation),
        )
        db.execute(
            "UPDATE objects SET size = ?, etag = ?, modified_ms = ?, generation = generation + 1, origin = 0,"
            " state = 0, volume = NULL, left_on = NULL, part_size = 0, digest = '', destination_etag = '',"
            " headers = '', source_evidence = NULL, destination_evidence = NULL, attempts = 0, sends = 0,"
            " not_before_ms = 0, suspect = 0, last_error = '', listed_ms = ?, staged_ms = NULL, delivered_ms = NULL,"
            " released_ms = NULL"
            " WHERE id = ? AND generation = ?",
            (listed.size, listed.etag, listed.modified_ms, at, object_id, generation),
        )

    def forget(self, row: Row) -> bool:
        """Drop the row of an object that left the source before it was staged, or the drop folder before it was sent.

        False where it is no longer what the caller thinks, or a volume that failed keeps a copy of it.
        """
        with self._transaction() as db:
            sql = f"DELETE FROM objects WHERE {AS_READ} AND (state = 0 OR origin = 1) AND left_on IS NULL"
            return db.execute(sql, as_read(row)).rowcount == 1

    # -- work ---------------------------------------------------------------------------------------------------

    def work(self, state: State, *, after_id: int, limit: int, volumes: Collection[int] | None = None) -> list[Row]:
        """Rows of one state that are due, by id (the order of listing), from `after_id` on.

        `volumes` leaves out what lies on others. A row that would wait longer than any delay was put off by a clock
        that was wrong then; it is due.
        """
        where = "" if volumes is None else f" AND volume IN ({','.join(str(int(number)) for number in volumes)})"
        sql = (
            f"SELECT {ROW} FROM objects WHERE state = {int(state)} AND id > ? AND not_before_ms NOT BETWEEN ? AND ?"
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
            values = self._db.execute(f"SELECT {ROW} FROM objects WHERE id = ?", (object_id,)).fetchone()
        return Row(*values) if values else None

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
            self._forget_copies(db, group_id)
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

        Returns the ones refused: a newer generation exists, whose bytes will replace these at the destination, or the
        file lies on another volume by now, from where it is looked at again.
        """
        at = now_ms()
        refused: list[Delivered] = []
        with self._transaction() as db:
            for volume in {item.row.volume for item in group}:
                sizes = [item.row.size for item in group if item.row.volume == volume]
                self._new_group(db, "destination", volume, len(sizes), sum(sizes), at)
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
                " WHERE id = ? AND generation = ? AND state = 2 AND volume IS ?",
                (at, row.id, row.generation, row.volume),
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
        with self._transaction() as db:
            if target == State(row.state):  # another try of the same hop
                moved = (
                    db.execute(
                        "UPDATE objects SET attempts = attempts + ?, not_before_ms = ?, last_error = ?"
                        f" WHERE {AS_READ}",
                        (int(count), now_ms() + delay_ms, failure.text, *as_read(row)),
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
                    (int(count), now_ms() + delay_ms, failure.text),
                )
            if moved:
                self._record(db, failure)
        return moved

    def record(self, failure: Failure) -> None:
        """Note a failure that changes no state."""
        with self._transaction() as db:
            self._record(db, failure)

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
