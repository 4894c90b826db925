# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The ledger: the durable record of every object of a job, in SQLite (WAL, synchronous=FULL).

Writes come in groups, one transaction each. Every state change names the state and generation it starts from, so a
change that lost a race (the lister saw a newer object meanwhile) is refused row by row and reported to the caller.
Reads stream: no method holds more than a page of rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence

from . import machine
from .ledger_generations import (
    ANEW,
    advance,
    advance_delivered,
    doubt_copies,
    forget,
    forget_same,
    keep_copy,
    overtake,
    restore,
)
from .ledger_journal import count_moved, new_group
from .ledger_recovery import RecoveryLedger
from .ledger_rows import (
    AGAIN,
    AS_READ,
    ROW,
    Delivered,
    Failure,
    Observed,
    Row,
    Staged,
    as_read,
    dump_headers,
    load_headers,
    move,
    sound,
)
from .model import ListedObject, Origin, State

__all__ = [
    "LONGEST_DELAY_MS",
    "Delivered",
    "Failure",
    "Ledger",
    "Observed",
    "Row",
    "Staged",
    "dump_headers",
    "load_headers",
]

LONGEST_DELAY_MS = 3_600_000  # before another attempt at an object
_KEYS_AT_ONCE = 1000
_Pair = tuple[ListedObject, tuple[object, ...]]  # what is listed, and what is known of its key
# The destination that the job speaks of now, see `bindings`; 0 where none was recorded.
_TARGET = "(SELECT COALESCE(MAX(id), 0) FROM bindings WHERE side = 'destination')"
_REVIVED_AT_ONCE = 5000
# What gets a new chance, by the direction of the run: (its state then, which rows).
_TO_SEND = (1, f"{AGAIN} AND (state = 1 OR volume IS NOT NULL)")
_TO_FETCH = (0, f"{AGAIN} AND state != 1 AND origin = 0 AND volume IS NULL")
REVIVED = {"source": (_TO_FETCH,), "destination": (_TO_SEND,), "both": (_TO_SEND, _TO_FETCH)}


def _is_touched(listed: ListedObject, row: tuple[object, ...]) -> bool:
    """Whether the source shows under a new time what is staged, or was delivered, with just this ETag as its digest."""
    size, listed_etag, modified_ms = row[1:4]
    origin, state, digest, has_next = row[6:]
    is_kept = state in (State.STAGED, State.DELIVERED, State.RELEASED) and origin == Origin.SOURCE and not has_next
    is_same = (size, listed_etag) == (listed.size, listed.etag) and digest == listed.etag.lower() != ""
    return is_kept and is_same and modified_ms != listed.modified_ms


def _moved(group: Sequence[Staged | Delivered], refused: Sequence[Staged | Delivered]) -> tuple[int, int]:
    """How many objects and bytes of a group were not refused."""
    size = sum(item.row.size for item in group) - sum(item.row.size for item in refused)
    return len(group) - len(refused), size


class Ledger(RecoveryLedger):
    """One job's ledger. Threads of one process may share it; processes open their own."""

    # -- listing ------------------------------------------------------------------------------------------------

    def _known(self, page: Sequence[ListedObject]) -> dict[str, tuple[object, ...]]:
        """What is known of the keys of a page, which a store that ignores `max-keys` makes as large as it likes."""
        found: dict[str, tuple[object, ...]] = {}
        for start in range(0, len(page), _KEYS_AT_ONCE):
            found.update(self._known_keys([listed.key for listed in page[start : start + _KEYS_AT_ONCE]]))
        return found

    def _known_keys(self, object_keys: Sequence[str]) -> dict[str, tuple[object, ...]]:
        marks = ",".join("?" * len(object_keys))
        # Where an older generation is delivered first, the row knows what the source had listed by then.
        sql = (
            "SELECT key, COALESCE(next_size, listed_size, size), COALESCE(next_etag, etag),"
            " COALESCE(next_modified_ms, listed_modified_ms, modified_ms), id, generation, origin, state, digest,"
            f" next_size IS NOT NULL FROM objects WHERE key IN ({marks})"
        )
        return {row[0]: row for row in self.database.all(sql, object_keys)}

    def compare(self, page: Sequence[ListedObject]) -> Observed:
        """What `observe` would do with this page; nothing is written."""
        return self._sort(page)[0]

    def _sort(self, page: Sequence[ListedObject]) -> tuple[Observed, list[ListedObject], list[_Pair], list[_Pair]]:
        known = self._known(page)
        fresh: list[ListedObject] = []
        changed: list[_Pair] = []
        touched: list[_Pair] = []
        moving: list[ListedObject] = []
        for listed in page:
            row = known.get(listed.key)
            if row is None:
                fresh.append(listed)
            elif _is_touched(listed, row):
                touched.append((listed, row))
                continue
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
        return observed, fresh, changed, touched

    def observe(self, page: Sequence[ListedObject]) -> Observed:
        """Take one page of the source's listing: new objects become pending, changed ones a new generation."""
        if not page:
            return Observed()
        observed, fresh, changed, touched = self._sort(page)
        if not fresh and not changed and not touched:
            return observed
        at = machine.now_ms()
        with self.database.transaction() as db:
            # A key that left and came back goes on counting: files carry the numbers of generations.
            db.executemany(
                "INSERT INTO objects (key, size, etag, modified_ms, listed_ms, generation) VALUES (?, ?, ?, ?, ?, 1 +"
                " COALESCE((SELECT MAX(generation) FROM forgotten WHERE key = ?), 0)) ON CONFLICT (key) DO NOTHING",
                [(listed.key, listed.size, listed.etag, listed.modified_ms, at, listed.key) for listed in fresh],
            )
            for listed, row in changed:
                self._new_generation(db, listed, row, at)
            # Nothing is moved; what was delivered is asked for at the destination.
            db.executemany(
                "UPDATE objects SET listed_modified_ms = ?, touched_ms = iif(state IN (2, 3), ?, NULL)"
                " WHERE id = ? AND generation = ? AND digest = ? AND next_size IS NULL",
                [(listed.modified_ms, at, row[4], row[5], row[8]) for listed, row in touched],
            )
            self._doubt_listed(db, observed.moving)
        return observed

    def _new_generation(self, db: sqlite3.Connection, listed: ListedObject, row: tuple[object, ...], at: int) -> None:
        object_id, generation = row[4], row[5]
        values = (listed.size, listed.etag, listed.modified_ms)
        first_an_older = db.execute(
            "UPDATE objects SET next_size = ?, next_etag = ?, next_modified_ms = ?,"
            " next_generation = next_generation + 1"
            " WHERE id = ? AND generation = ? AND next_size IS NOT NULL AND state = 1",
            (*values, object_id, generation),
        ).rowcount
        if first_an_older:
            return
        # What lies on a volume is asked here, in the transaction: a group may have become durable since `row` was read.
        keep_copy(db, int(str(object_id)), int(str(generation)))
        db.execute(
            "UPDATE objects SET size = ?, etag = ?, modified_ms = ?, origin = 0, listed_ms = ?,"
            " generation = MAX(generation, COALESCE(next_generation, 0)) + ?, next_generation = NULL, next_size = NULL,"
            f" next_etag = NULL, next_modified_ms = NULL,{ANEW} WHERE id = ? AND generation = ?",
            (*values, at, self.next_generation(), object_id, generation),
        )
        # A listing that showed another one was wrong, or the source went back: what is kept need not be fetched.
        restore(db, int(str(object_id)), listed=False, only_same=True)

    def touched(self, *, limit: int, delivered_too: bool) -> list[Row]:
        """Released objects, or `delivered_too`, that the source shows under a new time; the first by id."""
        states = "2, 3" if delivered_too else "3"
        sql = f"SELECT {ROW} FROM objects WHERE touched_ms IS NOT NULL AND state IN ({states}) ORDER BY id LIMIT ?"
        rows = self.database.all(sql, (limit,))
        return [sound(Row(*values), self.path) for values in rows]

    def asked(self, row: Row) -> None:
        """The destination was asked for this generation."""
        with self.database.transaction() as db:
            db.execute("UPDATE objects SET touched_ms = NULL WHERE id = ? AND generation = ?", (row.id, row.generation))

    def read_otherwise(self, row: Row, size: int) -> bool:
        """The source gives an object with another size than its listing has: this one counts, that one is remembered.

        False where the row is another by now.
        """
        with self.database.transaction() as db:
            found = db.execute(
                "SELECT COALESCE(listed_size, size), id, generation FROM objects"
                f" WHERE {AS_READ} AND next_size IS NULL",
                as_read(row),
            ).fetchone()
            if found is None:
                return False
            listed_size, *number = found
            read = ListedObject(row.key, size, row.etag, row.modified_ms)
            self._new_generation(db, read, (row.key, 0, 0, 0, *number), machine.now_ms())
            db.execute("UPDATE objects SET listed_size = ? WHERE id = ?", (listed_size, row.id))
            return True

    def is_as_listed(self, row: Row, listed: ListedObject) -> bool:
        """Whether the listing shows an object just as it did when this row, which is the newest, was made of it."""
        known = self._known([listed]).get(row.key)
        as_listed = (listed.size, listed.etag, listed.modified_ms)
        return known is not None and known[5] == row.generation and known[1:4] == as_listed

    def forget(self, row: Row, reason: str) -> bool:
        """Drop the row of a dropped file that people took away, or changed, before it was sent.

        False where it is no longer what the caller thinks.
        """
        with self.database.transaction() as db:
            if not db.execute(f"SELECT 1 FROM objects WHERE {AS_READ} AND origin = 1", as_read(row)).fetchone():
                return False
            forget(db, row, reason)
            return True

    def gone(self, failure: Failure) -> bool:
        """The source does not have an object that it listed: it failed, and is looked for by the next passes."""
        with self.database.transaction() as db:
            moved = move(
                db,
                failure.row,
                State.FAILED,
                "attempts = attempts + 1, last_error = ?, gone_ms = COALESCE(gone_ms, ?)",
                (failure.text, machine.now_ms()),
            )
            if moved:
                self.journal.count(db, failure)
        return moved

    # -- work ---------------------------------------------------------------------------------------------------

    def work(self, state: State, *, after_id: int, limit: int, volumes: Collection[int] | None = None) -> list[Row]:
        """Rows of one state that are due, by id (the order of listing), from `after_id` on.

        `volumes` leaves out what lies on others.
        """
        return self.work_beside((), state, after_id=after_id, limit=limit, volumes=volumes)[0]

    def work_beside(
        self,
        busy: Container[int],
        state: State,
        *,
        after_id: int,
        limit: int,
        volumes: Collection[int] | None = None,
    ) -> tuple[list[Row], int]:
        """The same without the objects `busy`, and the id to go on from; 0 where there is nothing more.

        Those are not even looked at: most of what is read again and again is on its way. A row that would wait longer
        than any delay was put off by a clock that was wrong then; it is due.
        """
        where = "" if volumes is None else f" AND volume IN ({','.join(str(int(number)) for number in volumes)})"
        sql = (
            f"SELECT {ROW} FROM objects WHERE state = {int(state)} AND id > ? AND not_before_ms NOT BETWEEN ? AND ?"
            f"{where} ORDER BY id LIMIT ?"
        )
        now = machine.now_ms()
        rows = self.database.all(sql, (after_id, now + 1, now + LONGEST_DELAY_MS, limit))
        found = [sound(Row(*values), self.path) for values in rows if values[0] not in busy]
        return found, int(rows[-1][0]) if rows else 0

    def last_pending(self) -> str:
        """The key of the object that would be fetched last, "" where there is none."""
        found = self.database.one("SELECT key FROM objects WHERE state = 0 ORDER BY id DESC LIMIT 1")
        return str(found[0]) if found else ""

    def waiting(self, *states: State) -> bool:
        """Whether any row is in one of these states, due or not."""
        # One literal a state: only so does SQLite see that a partial index answers.
        found = " OR ".join(f"EXISTS (SELECT 1 FROM objects WHERE state = {int(state)})" for state in states)
        return bool(self.database.value(f"SELECT {found}"))

    def is_to_be_sent(self, attempts: int) -> bool:
        """Whether anything is staged that was not refused `attempts` times yet, due or not."""
        sql = "SELECT EXISTS (SELECT 1 FROM objects WHERE state = 1 AND attempts < ?)"
        return bool(self.database.value(sql, (attempts,)))

    def refused(self, *, everything: bool) -> int:
        """How many staged objects the destination refused; `everything`: those that were not even tried among them."""
        sql = f"SELECT COUNT(*) FROM objects WHERE state = 1{'' if everything else f' AND {AGAIN}'}"
        return int(self.database.value(sql))

    def unfinished(self) -> Iterator[tuple[str, int]]:
        """(key, size) of everything that a run would go on with: pending, staged, failed, quarantined."""
        for key, size in self.database.stream("SELECT key, size FROM objects WHERE state IN (0, 1, 4, 5) ORDER BY id"):
            yield str(key), int(str(size))

    def row(self, object_id: int) -> Row | None:
        values = self.database.one(f"SELECT {ROW} FROM objects WHERE id = ?", (object_id,))
        return sound(Row(*values), self.path) if values else None

    def row_of_key(self, key: str) -> Row | None:
        values = self.database.one(f"SELECT {ROW} FROM objects WHERE key = ?", (key,))
        return sound(Row(*values), self.path) if values else None

    def commit_staged(self, group: Sequence[Staged], volume: int, run_id: int) -> list[Staged]:
        """One group is durable on `volume`: say so, in one transaction. Returns the ones refused (newer generation)."""
        at = machine.now_ms()
        refused: list[Staged] = []
        with self.database.transaction() as db:
            group_id = new_group(db, "source", volume, len(group), sum(item.row.size for item in group), at)
            for item in group:
                values = (volume, group_id, item.part_size, item.digest, item.headers, item.evidence, item.tool, at)
                moved = move(
                    db,
                    item.row,
                    State.STAGED,
                    "volume = ?, group_id = ?, part_size = ?, digest = ?, headers = ?, source_evidence = ?,"
                    " source_tool = ?, staged_ms = ?, attempts = 0, not_before_ms = 0, suspect = 0, last_error = '',"
                    " gone_ms = NULL",
                    values,
                )
                if not moved:
                    refused.append(item)
                    self._use_instead(db, item, volume, group_id)
                    self._keep_refused(db, item, volume, group_id, at)
            if self.has_copies():
                for item in group:
                    forget_same(db, item.row, volume)
            self._forget_copies(db, group_id)
            count_moved(db, run_id, *_moved(group, refused))
        return refused

    @staticmethod
    def _use_instead(db: sqlite3.Connection, item: Staged, volume: int, group_id: int) -> None:
        """A volume came back while its object was fetched: what was just proven is better than what is suspect."""
        values = (item.row.id, item.row.generation, volume)
        suspect = "id = ? AND generation = ? AND state = 1 AND suspect = 1 AND origin = 0 AND volume != ?"
        noted = "INSERT INTO discards (volume, key, generation) SELECT volume, key, generation FROM objects"
        db.execute(f"{noted} WHERE {suspect}", values)
        db.execute(
            "UPDATE objects SET volume = ?, group_id = ?, part_size = ?, digest = ?, headers = ?, source_evidence = ?,"
            f" source_tool = ?, suspect = 0 WHERE {suspect}",
            (volume, group_id, item.part_size, item.digest, item.headers, item.evidence, item.tool, *values),
        )

    @staticmethod
    def _keep_refused(db: sqlite3.Connection, item: Staged, volume: int, group_id: int, at: int) -> None:
        """A proven file whose object's row speaks of another generation by now: it is kept like one that was staged.

        A copy of the same generation that was left on a failed volume is not needed beside it.
        """
        row = item.row
        forget_same(db, row, volume)
        db.execute(
            "INSERT OR REPLACE INTO copies (object_id, key, generation, state, volume, size, etag, modified_ms,"
            " group_id, part_size, digest, headers, source_evidence, source_tool, sends, staged_ms, destination_etag,"
            " target)"
            " SELECT id, key, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, sends, ?, '', 0 FROM objects"
            " WHERE id = ? AND generation != ?",
            (row.generation, volume, row.size, row.etag, row.modified_ms, group_id, item.part_size, item.digest,
             item.headers, item.evidence, item.tool, at, row.id, row.generation),
        )  # fmt: skip

    def target(self) -> int:
        """The destination that proofs are of from now on."""
        return int(self.database.value(f"SELECT {_TARGET}"))

    def claim_sends(self, rows: Iterable[Row]) -> None:
        """Record, before the first byte leaves, that these uploads start: after a crash they are looked at first.

        What the destination was proven to hold of older generations may be replaced from now on.
        """
        with self.database.transaction() as db:
            numbers = [(row.id,) for row in rows]
            db.executemany("UPDATE objects SET sends = sends + 1, acknowledged = 0 WHERE id = ?", numbers)
            doubt_copies(db, numbers)

    def commit_delivered(self, group: Sequence[Delivered], released: Sequence[Row], run_id: int) -> list[Delivered]:
        """A group is proven at the destination, and the files of `released` (an earlier group) are gone.

        Returns the ones refused: a newer generation exists, whose bytes will replace these at the destination, or the
        file lies on another volume by now, from where it is looked at again.
        """
        at = machine.now_ms()
        refused: list[Delivered] = []
        with self.database.transaction() as db:
            has_copies = self.has_copies()
            for volume in {item.row.volume for item in group}:
                sizes = [item.row.size for item in group if item.row.volume == volume]
                new_group(db, "destination", volume, len(sizes), sum(sizes), at)
            for item in group:
                moved = move(
                    db,
                    item.row,
                    State.DELIVERED,
                    "destination_etag = ?, destination_evidence = ?, destination_tool = ?, delivered_ms = ?,"
                    f" target = {_TARGET}, acknowledged = 0, attempts = 0, not_before_ms = 0, last_error = ''",
                    (item.destination_etag, item.evidence, item.tool, at),
                )
                if not moved:
                    refused.append(item)
                    # The file's own generation is proven all the same.
                    db.execute(
                        f"UPDATE copies SET state = 2, destination_etag = ?, target = {_TARGET}"
                        " WHERE object_id = ? AND generation = ? AND volume IS ?",
                        (item.destination_etag, item.row.id, item.row.generation, item.row.volume),
                    )
                if has_copies:
                    overtake(db, item.row, is_newest=moved)
            count_moved(db, run_id, *_moved(group, refused))
            advance_delivered(db)
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

    def retry(self, failure: Failure, *, delay_ms: int, count: int, target: State = State.PENDING) -> bool:
        """Send a row back (`target` pending, or staged for another upload), or end it as quarantined or failed.

        `count` attempts are counted against it (True is one).
        """
        row = failure.row
        with self.database.transaction() as db:
            if target == State(row.state):  # another try of the same hop
                moved = (
                    db.execute(
                        "UPDATE objects SET attempts = attempts + ?, not_before_ms = ?, last_error = ?"
                        f" WHERE {AS_READ}",
                        (int(count), machine.now_ms() + delay_ms, failure.text, *as_read(row)),
                    ).rowcount
                    == 1
                )
            else:
                # What did not match lies in the quarantine, and nowhere else on the volume.
                has_file = target not in (State.PENDING, State.QUARANTINED)
                reset = "" if has_file else ", volume = NULL, suspect = 0, acknowledged = 0"
                moved = move(
                    db,
                    row,
                    target,
                    f"attempts = attempts + ?, not_before_ms = ?, last_error = ?{reset}",
                    (int(count), machine.now_ms() + delay_ms, failure.text),
                )
            if moved:
                self.journal.count(db, failure)
                if target != State(row.state):
                    advance(db, "id = ?", row.id)
        return moved

    def acknowledge(self, rows: Iterable[Row]) -> None:
        """The store took these uploads, and nobody could be asked for a proof: what it says later is told as a lie."""
        with self.database.transaction() as db:
            numbers = [(row.id, row.generation) for row in rows]
            db.executemany("UPDATE objects SET acknowledged = 1 WHERE id = ? AND generation = ?", numbers)

    def revive(self, direction: str = "both", beat: Callable[[str], None] = lambda doing: None) -> int:
        """Give failed, quarantined and refused objects a new chance (a new run by an operator). Returns how many.

        What has a file on a volume is sent again, the rest is fetched again; each only by a run of that `direction`.
        It goes in steps, of which `beat` is told.
        """
        count = 0
        for target, which in REVIVED[direction]:
            some = f"SELECT id FROM objects WHERE {which} LIMIT {_REVIVED_AT_ONCE}"
            sql = f"UPDATE objects SET state = {target}, attempts = 0, not_before_ms = 0 WHERE id IN ({some})"
            while changed := self._revive_some(sql):
                count += changed
                beat("giving failed objects a new chance")
        if direction != "destination":
            with self.database.transaction() as db:
                advance(db, "state = 0")
        return count

    def _revive_some(self, sql: str) -> int:
        with self.database.transaction() as db:
            return db.execute(sql).rowcount
