# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Takes the source's listing into the ledger page by page: what is new, what changed, what is gone."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence

from ..core import machine
from ..core.model import ListedObject, Origin, State
from .database import Database
from .generations import ANEW, forget, keep_copy, restore
from .objects import ObjectLedger
from .recovery import RecoveryLedger
from .rows import AS_READ, ROW, Observed, Row, as_read, sound

_KEYS_AT_ONCE = 1000
# Where an older generation is delivered first, the row knows what the source had listed by then.
_LISTED = (
    "key, COALESCE(next_size, listed_size, size), COALESCE(next_etag, etag),"
    " COALESCE(next_modified_ms, listed_modified_ms, modified_ms)"
)
# These are the columns of a ListedObject.
_AS_LISTED = f"SELECT {_LISTED} FROM objects WHERE key BETWEEN ? AND ? AND origin = 0 ORDER BY key LIMIT ?"
_Pair = tuple[ListedObject, tuple[object, ...]]  # what is listed, and what is known of its key


def _is_touched(listed: ListedObject, row: tuple[object, ...]) -> bool:
    """Whether the source lists with a new time what is staged, or was delivered, with exactly this ETag as digest."""
    size, listed_etag, modified_ms = row[1:4]
    origin, state, digest, has_next = row[6:]
    is_kept = state in (State.STAGED, State.DELIVERED, State.RELEASED) and origin == Origin.SOURCE and not has_next
    is_same = (size, listed_etag) == (listed.size, listed.etag) and digest == listed.etag.lower() != ""
    return is_kept and is_same and modified_ms != listed.modified_ms


class ListingLedger:
    """What a listing of the source means for the table `objects`."""

    def __init__(self, database: Database, objects: ObjectLedger, recovery: RecoveryLedger) -> None:
        self._database = database
        self._objects = objects
        self._recovery = recovery

    # -- a page --------------------------------------------------------------------------------------------------------

    def compare(self, page: Sequence[ListedObject]) -> Observed:
        """What `observe` would do with this page; nothing is written."""
        return self._sort(page)[0]

    def observe(self, page: Sequence[ListedObject]) -> Observed:
        """Take one page of the source's listing: new objects become pending, changed ones a new generation."""
        if not page:
            return Observed()
        observed, fresh, changed, touched = self._sort(page)
        if not fresh and not changed and not touched:
            return observed
        at = machine.now_ms()
        with self._database.transaction() as db:
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
            self._recovery.doubt_listed(db, observed.moving)
        return observed

    def _sort(self, page: Sequence[ListedObject]) -> tuple[Observed, list[ListedObject], list[_Pair], list[_Pair]]:
        news = self._news(page)
        known = self._known(news)
        fresh: list[ListedObject] = []
        changed: list[_Pair] = []
        touched: list[_Pair] = []
        moving: list[ListedObject] = []
        for listed in news:
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

    def _news(self, page: Sequence[ListedObject]) -> list[ListedObject]:
        """The page without what is listed just as before, which in most passes is all of it: a quick comparison."""
        news: list[ListedObject] = []
        for start in range(0, len(page), _KEYS_AT_ONCE):
            listed = list(page[start : start + _KEYS_AT_ONCE])
            # A range of the index is read in a fraction of the time that so many keys take. Keys that are no longer
            # listed may be in it, even many.
            values = (listed[0].key, listed[-1].key, 2 * len(listed))
            rows = self._database.all(_AS_LISTED, values) if listed == sorted(listed) else []
            if rows != listed:
                known = set(rows)
                news += [each for each in listed if each not in known]
        return news

    def _known(self, page: Sequence[ListedObject]) -> dict[str, tuple[object, ...]]:
        """What is known about the keys of a page, which may be of any size if a store ignores `max-keys`."""
        found: dict[str, tuple[object, ...]] = {}
        for start in range(0, len(page), _KEYS_AT_ONCE):
            found.update(self._known_keys([listed.key for listed in page[start : start + _KEYS_AT_ONCE]]))
        return found

    def _known_keys(self, object_keys: Sequence[str]) -> dict[str, tuple[object, ...]]:
        marks = ",".join("?" * len(object_keys))
        sql = (
            f"SELECT {_LISTED}, id, generation, origin, state, digest, next_size IS NOT NULL FROM objects"
            f" WHERE key IN ({marks})"
        )
        return {row[0]: row for row in self._database.all(sql, object_keys)}

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
            (*values, at, self._recovery.next_generation(), object_id, generation),
        )
        # A listing that showed another one was wrong, or the source went back: what is kept need not be fetched.
        restore(db, int(str(object_id)), listed=False, only_same=True)

    # -- one object ----------------------------------------------------------------------------------------------------

    def is_as_listed(self, row: Row, listed: ListedObject) -> bool:
        """Whether the listing shows an object exactly as when this row, the newest one, was created."""
        known = self._known([listed]).get(row.key)
        as_listed = (listed.size, listed.etag, listed.modified_ms)
        return known is not None and known[5] == row.generation and known[1:4] == as_listed

    def read_otherwise(self, row: Row, size: int) -> bool:
        """The source returns an object with another size than listed: this size counts, the listed one is remembered.

        False if the row has changed meanwhile.
        """
        with self._database.transaction() as db:
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

    # -- what the source shows under a new time ------------------------------------------------------------------------

    def touched(self, *, limit: int, delivered_too: bool) -> list[Row]:
        """Released objects (`delivered_too`: also delivered ones) that the source lists with a new time, by id."""
        states = "2, 3" if delivered_too else "3"
        sql = f"SELECT {ROW} FROM objects WHERE touched_ms IS NOT NULL AND state IN ({states}) ORDER BY id LIMIT ?"
        rows = self._database.all(sql, (limit,))
        return [sound(Row(*values), self._database.path) for values in rows]

    def asked(self, row: Row) -> None:
        """The destination was asked for this generation."""
        with self._database.transaction() as db:
            db.execute("UPDATE objects SET touched_ms = NULL WHERE id = ? AND generation = ?", (row.id, row.generation))

    # -- what the source listed and does not have ----------------------------------------------------------------------

    def gone_keys(self, limit: int = 100_000) -> set[str]:
        """The keys that the source listed but did not have when they were fetched."""
        found = self._database.all("SELECT key FROM objects WHERE gone_ms IS NOT NULL LIMIT ?", (limit,))
        return {key for (key,) in found}

    def forget_gone(self, keys: Iterable[str], busy: Collection[int], reason: str) -> list[str]:
        """Forget objects that a later, complete listing does not show either, and that never had a copy here.

        `busy` are in flight now. Returns the keys that were forgotten.
        """
        sql = (
            "SELECT id FROM objects WHERE key = ? AND gone_ms IS NOT NULL AND state IN (0, 4, 5) AND origin = 0"
            " AND volume IS NULL AND left_on IS NULL AND quarantined_on IS NULL AND staged_ms IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM copies WHERE copies.object_id = objects.id)"
        )
        forgotten = []
        with self._database.transaction() as db:
            for key in keys:
                found = db.execute(sql, (key,)).fetchone()
                row = self._objects.row_of_key(key) if found and found[0] not in busy else None
                if row:
                    forget(db, row, reason)
                    forgotten.append(key)
        return forgotten
