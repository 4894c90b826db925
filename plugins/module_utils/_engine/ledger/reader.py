# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Reading a ledger beside the units that write it: sums, pages in key order, exports.

Every read is a page of its own: a reader that is slow, or stopped with ^Z, holds no snapshot of the database, so the
write-ahead log of a running job never grows on its account. What spans several pages is therefore not one moment.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import LedgerError
from ..core.machine import boot_id
from ..core.model import Evidence, Origin, State, source_evidence
from .binding import Naming
from .database import problem_text
from .ledger import Ledger
from .moved_json import ensure_json_quote, moved_json
from .pruning import IDLE_MS, TIMES_SINCE
from .records import Census, Entry, Fact, FailureRow, Forgotten, GroupRow, HopSum, Moved, Run, Tally, VolumeRow
from .rows import AGAIN
from .schema import MIGRATIONS
from .volumes import UNUSED

_PAGE = 1000
# Indexing is much cheaper than calling an enum, and these are called per object.
_STATES = tuple(State)
_ORIGINS = tuple(Origin)
_DELIVERED = (State.DELIVERED, State.RELEASED)
_ON_VOLUME_OR_BEYOND = (State.STAGED, *_DELIVERED)
FAILURES = (
    f"SELECT failures.key, at_ms, hop, trouble, message, expected, found, action, {TIMES_SINCE}, first_ms,"
    " objects.state FROM failures LEFT JOIN objects ON objects.id = failures.object_id WHERE at_ms >= ?1"
    " ORDER BY at_ms DESC, failures.id DESC LIMIT ?2"
)
FAILURE_COUNT = f"SELECT COALESCE(SUM({TIMES_SINCE}), 0) FROM failures WHERE at_ms >= ?1"


class LedgerNotReady(LedgerError):
    """There is no ledger yet, or one that the next run will bring to this schema."""


class LedgerReader:
    """Read-only questions to one ledger. Raises LedgerError for a file that cannot be read."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._owned = False

    @classmethod
    def open(cls, path: Path) -> LedgerReader:
        """A reader with its own connection. LedgerNotReady before the first run, LedgerError for a newer schema."""
        if not path.exists():
            raise LedgerNotReady(f"There is no ledger at {path}: the job has not run yet")
        reader = cls(Ledger(path, readonly=True))
        reader._owned = True
        try:
            reader._check_schema()
        except BaseException:
            reader.close()
            raise
        return reader

    @property
    def ledger(self) -> Ledger:
        """What it reads from."""
        return self._ledger

    def close(self) -> None:
        if self._owned:
            self._ledger.close()

    def __enter__(self) -> LedgerReader:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return list(self._ledger.database.stream(sql, parameters))
        except sqlite3.Error as error:
            raise LedgerError(
                f"Failed to read the ledger {self._ledger.database.path}: {problem_text(error)}"
            ) from error

    def _pages(self, sql: str, start: object, parameters: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of a SELECT whose first column grows and whose first parameter is where to go on after."""
        position = start
        while True:
            rows = self._rows(f"{sql} LIMIT {_PAGE}", (position, *parameters))
            yield from rows
            if len(rows) < _PAGE:
                return
            position = rows[-1][0]

    def _check_schema(self) -> None:
        newest = max(MIGRATIONS)
        if not self._rows("SELECT 1 FROM sqlite_schema WHERE name = 'migrations'"):
            raise LedgerNotReady(f"The ledger {self._ledger.database.path} is still empty: the job has not run yet")
        found = self._rows("SELECT MAX(number) FROM migrations")[0][0] or 0
        if found > newest:
            raise LedgerError(
                f"The ledger has schema {found}, this snowsync knows {newest}: install the newer snowsync again"
            )
        if found < newest:
            raise LedgerNotReady(
                f"The ledger has the older schema {found}: run the job once, which brings it to {newest}"
            )

    # -- sums ---------------------------------------------------------------------------------------------------

    def states(self) -> dict[State, Tally]:
        """Objects and bytes of every state. Reads all rows: about 0.3 s per million."""
        found = {
            State(state): Tally(objects, size)
            for state, objects, size in self._rows("SELECT state, COUNT(*), SUM(size) FROM objects GROUP BY state")
        }
        return {state: found.get(state, Tally()) for state in State}

    def census(self, since_ms: int = 0) -> Census:
        """Everything a report sums up, in one reading of all rows: about 0.6 s per million."""
        states = dict.fromkeys(State, Tally())
        moved = Tally()
        proven: tuple[dict[Evidence, int], dict[Evidence, int]] = ({}, {})
        sql = (
            "SELECT state, source_evidence, destination_evidence, COALESCE(delivered_ms >= ?, 0), COUNT(*), SUM(size)"
            " FROM objects GROUP BY 1, 2, 3, 4"
        )
        for state, source, destination, recent, objects, size in self._rows(sql, (since_ms,)):
            here = Tally(objects, size)
            states[State(state)] += here
            if state in _DELIVERED and recent:
                moved += here
            # A row that went back keeps the words of its last proof; they say nothing of where it is now.
            held = (state in _ON_VOLUME_OR_BEYOND, state in _DELIVERED)
            levels = (None if source is None else source_evidence(source), destination)
            for level, rungs, counts in zip(levels, proven, held, strict=True):
                if level is not None and counts:
                    rungs[Evidence(level)] = rungs.get(Evidence(level), 0) + objects
        return Census(states, moved, *proven)

    def hops(self, since_ms: int = 0) -> dict[str, HopSum]:
        """What each hop ("source", "destination") committed since a moment."""
        sql = (
            "SELECT hop, SUM(objects), SUM(bytes), SUM(COALESCE(busy_ms, MAX(0, MIN(gap, ?)))) FROM"
            " (SELECT hop, objects, bytes, busy_ms, at_ms - LAG(at_ms, 1, ?) OVER (PARTITION BY hop ORDER BY id) AS gap"
            " FROM groups WHERE at_ms >= ?)"
            " GROUP BY hop"
        )
        found = {
            hop: HopSum(objects, size, milliseconds / 1000)
            for hop, objects, size, milliseconds in self._rows(sql, (IDLE_MS, since_ms, since_ms))
        }
        return {hop: found.get(hop, HopSum()) for hop in ("source", "destination")}

    def staged_by_volume(self, since_ms: int = 0) -> dict[int, Tally]:
        """What became staged on each volume since a moment."""
        sql = (
            "SELECT volume, SUM(objects), SUM(bytes) FROM groups WHERE hop = 'source' AND volume IS NOT NULL"
            " AND at_ms >= ? GROUP BY volume"
        )
        return {volume: Tally(objects, size) for volume, objects, size in self._rows(sql, (since_ms,))}

    def volumes(self) -> list[VolumeRow]:
        held: dict[int, dict[tuple[int, int], Tally]] = {}
        sql = (
            "SELECT volume, state, origin, COUNT(*), SUM(size) FROM"
            " (SELECT volume, state, origin, size FROM objects WHERE state IN (1, 2) AND volume IS NOT NULL"
            " UNION ALL SELECT volume, state, 0, size FROM copies) GROUP BY volume, state, origin"
        )
        for volume, state, origin, objects, size in self._rows(sql):
            held.setdefault(volume, {})[state, origin] = Tally(objects, size)
        sql = "SELECT id, name, uuid, path, draining, placing, trouble, reason FROM volumes ORDER BY name"
        return [_volume_row(held.get(row[0], {}), *row) for row in self._rows(sql)]

    def volumes_seen(self) -> list[VolumeRow]:
        """All volumes, those among them that no unit could use so far: their number is 0, they have no identity."""
        sql = (
            "SELECT endpoint, value FROM endpoint_facts WHERE side = 'volume' AND fact = ?"
            " AND endpoint NOT IN (SELECT name FROM volumes)"
        )
        found = ((name, *value.partition(": ")) for name, value in self._rows(sql, (UNUSED,)))
        unused = [VolumeRow(0, name, "", "", trouble=word, reason=reason) for name, word, _colon, reason in found]
        return [*self.volumes(), *unused]

    # -- rows ---------------------------------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """The newest run of every unit, by unit."""
        sql = f"SELECT {_RUN} FROM runs WHERE id IN (SELECT MAX(id) FROM runs GROUP BY unit) ORDER BY unit"
        return [Run(*row) for row in self._rows(sql)]

    def first_started_ms(self) -> int | None:
        """When the job was first run: before all that it did, also where the clock was set back since."""
        sql = "SELECT MIN(started_ms), (SELECT MIN(COALESCE(first_ms, at_ms)) FROM groups) FROM runs"
        times = [int(moment) for moment in self._rows(sql)[0] if moment is not None]
        return min(times, default=None)

    def last_group_id(self) -> int:
        return int(self._rows("SELECT COALESCE(MAX(id), 0) FROM groups")[0][0])

    def is_open(self) -> bool:
        """Whether anything is pending or staged."""
        pending, staged = self._rows(
            "SELECT EXISTS (SELECT 1 FROM objects WHERE state = 0), EXISTS (SELECT 1 FROM objects WHERE state = 1)"
        )[0]
        return bool(pending or staged)

    def groups(self, after_id: int) -> Iterator[GroupRow]:
        """Groups committed after the one numbered `after_id`."""
        sql = (
            "SELECT id, hop, volume, objects, bytes, iif(boot_id = ?2, COALESCE(ticks_ms, 0), 0) FROM groups"
            " WHERE id > ?1 ORDER BY id"
        )
        return (GroupRow(*row) for row in self._pages(sql, after_id, (boot_id(),)))

    def groups_since(self, ticks_ms: int) -> Iterator[GroupRow]:
        """Groups of this boot since a moment (found from the newest backwards, so that an old ledger costs nothing)."""
        sql = (
            "SELECT id FROM groups WHERE hop != 'recovered' AND (boot_id != ? OR COALESCE(ticks_ms, 0) < ?)"
            " ORDER BY id DESC LIMIT 1"
        )
        rows = self._rows(sql, (boot_id(), ticks_ms))
        return self.groups(rows[0][0] if rows else 0)

    def facts(self) -> list[Fact]:
        sql = (
            "SELECT side, endpoint, fact, value, probed_ms FROM endpoint_facts WHERE side != 'volume'"
            " ORDER BY side, endpoint, fact"
        )
        return [Fact(*row) for row in self._rows(sql)]

    def failures(self, limit: int, since_ms: int = 0) -> list[FailureRow]:
        """The newest failures first, one row per object, hop and trouble; also of objects that have recovered since."""
        rows = self._rows(FAILURES, (since_ms, limit))
        return [FailureRow(*(*cells, None if state is None else State(state))) for *cells, state in rows]

    def failure_count(self, since_ms: int = 0) -> int:
        """How often something went wrong, each time counted; at least so often where `since_ms` is in an older run."""
        return int(self._rows(FAILURE_COUNT, (since_ms,))[0][0])

    def moved(self, since_ms: int = 0) -> Iterator[Moved]:
        """Everything delivered since a moment, by id."""
        sql = (
            "SELECT id, key, size, listed_ms, COALESCE(staged_ms, listed_ms), delivered_ms FROM objects"
            " WHERE id > ? AND state IN (2, 3) AND delivered_ms >= ? ORDER BY id"
        )
        for _id, key, size, *times in self._pages(sql, 0, (since_ms,)):
            yield Moved(key, size, *times)

    def moved_json(self, naming: Naming, since_ms: int = 0) -> Iterator[str]:
        """The same as JSON objects of the report, each on a line, a thousand at a time, without a comma at the end."""
        database = self._ledger.database
        with database.lock:
            ensure_json_quote(database.connection)
        sql, names = moved_json(naming)
        ((position, lines),) = self._rows(sql, (0, since_ms, *names))
        while lines:
            yield lines
            ((position, lines),) = self._rows(sql, (position, since_ms, *names))

    def troubled(self) -> Iterator[tuple[str, int, State, str]]:
        """(key, size, state, last error) of failed and quarantined objects, by id."""
        which = f"id > ? AND {AGAIN} AND state != 1"
        sql = f"SELECT id, key, size, state, last_error FROM objects WHERE {which} ORDER BY id"
        for _id, key, size, state, message in self._pages(sql, 0):
            yield key, size, State(state), message

    def forgotten(self, limit: int, since_ms: int = 0) -> list[Forgotten]:
        """The newest rows that left the ledger since a moment."""
        sql = "SELECT key, size, reason, at_ms FROM forgotten WHERE at_ms >= ? ORDER BY id DESC LIMIT ?"
        return [Forgotten(*row) for row in self._rows(sql, (since_ms, limit))]

    def forgotten_count(self, since_ms: int = 0) -> int:
        return int(self._rows("SELECT COUNT(*) FROM forgotten WHERE at_ms >= ?", (since_ms,))[0][0])

    def not_proven(self, limit: int) -> list[str]:
        """Keys of the first objects whose source hop is not proven, by id. Reads all rows where there are few."""
        sql = (
            f"SELECT key FROM objects WHERE source_evidence IN ({int(Evidence.NOT_PROVEN)}, {int(Evidence.READ_BACK)})"
            " AND state IN (1, 2, 3) ORDER BY id LIMIT ?"
        )
        return [key for (key,) in self._rows(sql, (limit,))]

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Objects whose key begins with `prefix`, in the order of their keys' UTF-8 bytes."""
        names = {volume.id: volume.name for volume in self.volumes()}
        sql = (
            "SELECT key, size, etag, modified_ms, origin, state, volume, part_size, digest, destination_etag,"
            " last_error, source_evidence, listed_size, listed_modified_ms FROM objects WHERE key {} ? ORDER BY key"
        )
        # The first page includes the prefix itself as a key; the following ones go on after the last key.
        first = self._rows(f"{sql.format('>=')} LIMIT {_PAGE}", (prefix,))
        rest = self._pages(sql.format(">"), first[-1][0]) if len(first) == _PAGE else ()
        for rows in (first, rest):
            for key, size, etag, modified_ms, origin, state, volume, part_size, digest, *proof in rows:
                if not key.startswith(prefix):
                    return
                theirs, error, level, *as_listed = proof
                counts = level is not None and state in _ON_VOLUME_OR_BEYOND
                found = source_evidence(level) if counts else None
                where = (_ORIGINS[origin], _STATES[state], names.get(volume, ""))
                yield Entry(key, size, etag, modified_ms, *where, part_size, digest, theirs, error, found, *as_listed)


def _volume_row(
    held: Mapping[tuple[int, int], Tally],
    number: int,
    name: str,
    uuid: str,
    path: str,
    draining: int,
    placing: int,
    trouble: str,
    reason: str,
) -> VolumeRow:
    """`held` is what lies there, by state and origin."""
    dropped = held.get((State.STAGED, Origin.DROP), Tally())
    return VolumeRow(
        number,
        name,
        uuid,
        path,
        held=sum(held.values(), Tally()),
        undelivered=held.get((State.STAGED, Origin.SOURCE), Tally()) + dropped,
        dropped=dropped,
        draining=bool(draining),
        placing=bool(placing),
        trouble=trouble,
        reason=reason,
    )


_RUN = (
    "id, unit, pid, boot_id, started_ms, ended_ms, updated_ms, status,"
    " listed_objects, listed_bytes, moved_objects, moved_bytes, released_objects, released_bytes, failures, passes,"
    " process_ticks, updated_ticks_ms"
)
