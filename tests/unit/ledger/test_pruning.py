# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A ledger that is used for ever: its tables stay small, its questions go by index, its states go their ways."""

from __future__ import annotations

import itertools
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ledger_rows import bring_to, delivered, failure, listed, row_of, select

from snowsync.core.errors import LedgerError, Trouble
from snowsync.core.model import TRANSITIONS, State
from snowsync.ledger import pruning, schema
from snowsync.ledger import reader as ledger_reader
from snowsync.ledger.journal import new_group
from snowsync.ledger.ledger import Ledger
from snowsync.ledger.objects import REVIVED
from snowsync.ledger.reader import LedgerReader
from snowsync.ledger.records import Tally
from snowsync.ledger.schema import MIGRATIONS, add_functions


def plan(ledger: Ledger, sql: str, *parameters: object) -> str:
    return "; ".join(str(step[3]) for step in select(ledger, f"EXPLAIN QUERY PLAN {sql}", *parameters))


# -- failures ---------------------------------------------------------------------------------------------------


def test_a_failure_again_is_a_count_with_its_first_and_last_time(ledger: Ledger, volume: int) -> None:
    row = bring_to(ledger, "k", State.PENDING, volume)
    for at in (1000, 2000, 3000):
        ledger.journal.record(replace(failure(row), message=f"after {at / 1000} s"))
        ledger.database.connection.execute("UPDATE failures SET at_ms = ?, first_ms = MIN(first_ms, ?)", (at, at))
    (found,) = LedgerReader(ledger).failures(10)
    assert (found.times, found.first_ms, found.at_ms, found.message) == (3, 1000, 3000, "after 3.0 s")
    assert LedgerReader(ledger).failure_count() == 3
    assert select(ledger, "SELECT COUNT(*) FROM failures") == [(1,)]


def test_every_object_that_ever_failed_stays_named(ledger: Ledger, volume: int) -> None:
    keys = [f"{number:02}" for number in range(50)]
    found = [bring_to(ledger, key, State.PENDING, volume) for key in keys]
    for row, trouble, _again in itertools.product(found, (Trouble.MISMATCH, Trouble.DENIED), range(3)):
        ledger.journal.record(failure(row, trouble))
    assert select(ledger, "SELECT COUNT(*), SUM(times) FROM failures") == [(100, 300)]
    assert {each.key for each in LedgerReader(ledger).failures(1000)} == set(keys)


def test_the_newest_failure_is_the_first_one_again(ledger: Ledger, volume: int) -> None:
    one, other = (bring_to(ledger, key, State.PENDING, volume) for key in ("a", "b"))
    for row in (one, other, one):
        ledger.journal.record(failure(row))
    ledger.database.connection.execute("UPDATE failures SET at_ms = 5")
    assert [found.key for found in LedgerReader(ledger).failures(10)] == ["a", "b"]


def test_a_run_counts_only_its_own(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    for day in (1, 2):
        ledger = Ledger(path)
        ledger.journal.start_run("source")
        ledger.journal._run_since_ms = day * 1000
        row = bring_to(ledger, "k", State.PENDING, 1) if day == 1 else row_of(ledger, "k")
        for _time in range(3):
            ledger.journal.record(failure(row))
            # The first day's lie in the past, the second day's are of just now.
            if day == 1:
                ledger.database.connection.execute(
                    "UPDATE failures SET first_ms = 1000, recent_ms = 1000, at_ms = 1000"
                )
        reader = LedgerReader(ledger)
        assert reader.failure_count(day * 1000) == 3
        assert [found.times for found in reader.failures(10, day * 1000)] == [3]
        ledger.close()
    ledger = Ledger(path, readonly=True)
    assert LedgerReader(ledger).failure_count() == 6
    ledger.close()


@pytest.mark.parametrize("sql", [ledger_reader.FAILURES, ledger_reader.FAILURE_COUNT], ids=["failures", "count"])
def test_failures_go_by_index(ledger: Ledger, sql: str) -> None:
    steps = plan(ledger, sql, *([1, 2][: 1 + ("LIMIT" in sql)]))
    assert "SEARCH failures USING INDEX failures_at" in steps
    assert "SCAN" not in steps and "TEMP B-TREE" not in steps


# -- a new chance -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "which"), REVIVED["both"])
def test_a_new_chance_goes_by_index(ledger: Ledger, target: int, which: str) -> None:
    steps = plan(ledger, f"UPDATE objects SET state = {target} WHERE id IN (SELECT id FROM objects WHERE {which})")
    assert "USING INDEX objects_again" in steps
    assert "SCAN objects;" not in f"{steps};"


def test_many_get_a_new_chance_in_steps(ledger: Ledger, volume: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snowsync.ledger.objects._REVIVED_AT_ONCE", 10)
    for number in range(25):
        bring_to(ledger, f"{number}", State.FAILED, volume)
    steps: list[str] = []
    assert ledger.objects.revive("source", steps.append) == 25
    assert len(steps) == 3
    assert select(ledger, "SELECT DISTINCT state, attempts FROM objects") == [(0, 0)]


# -- groups and runs --------------------------------------------------------------------------------------------


def commit_groups(ledger: Ledger, volume: int, count: int) -> None:
    """As they are written, but without objects."""
    with ledger.database.transaction() as db:
        for number in range(count):
            new_group(db, ("source", "destination")[number % 2], volume, 1, 10, 1_000_000 + number * 1000)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old is what was long ago; here it is little, and soon."""
    for name, value in {"_KEPT_GROUPS": 50, "_KEPT_MS": -1, "_GATHERED_AT_LEAST": 20, "_GATHERED_AT_MOST": 40,
                        "_KEPT_SPANS": 6}.items():  # fmt: skip
        monkeypatch.setattr(pruning, name, value)
    monkeypatch.setattr("snowsync.ledger.journal.GATHER_EVERY", 10)


def test_old_groups_become_one_and_their_sums_stay(ledger: Ledger, volume: int, few: None) -> None:
    other = ledger.volumes.volume_id("two", "uuid-2", "/volumes/two")
    commit_groups(ledger, volume, 3000)
    commit_groups(ledger, other, 3000)
    ((count,),) = select(ledger, "SELECT COUNT(*) FROM groups")
    assert int(str(count)) < 150
    hops = LedgerReader(ledger).hops()
    assert [(hops[hop].objects, hops[hop].bytes) for hop in ("source", "destination")] == [(3000, 30_000)] * 2
    assert LedgerReader(ledger).staged_by_volume() == {volume: Tally(1500, 15_000), other: Tally(1500, 15_000)}
    assert hops["source"].seconds == pytest.approx(2 * 3000, rel=0.02), "how long there was work stays as well"
    assert ledger.volumes.has_used(volume) and ledger.volumes.has_used(other)


def test_a_volume_that_comes_back_after_long_names_a_group_that_is_known(
    ledger: Ledger, volume: int, few: None
) -> None:
    commit_groups(ledger, volume, 500)
    assert select(ledger, "SELECT COUNT(*) FROM groups WHERE id = 5") == [(0,)]
    assert ledger.recovery.knows_group(5, 1_000_000 + 4 * 1000)
    assert ledger.recovery.knows_group(5, 0)
    assert not ledger.recovery.knows_group(5, 999), "another group of that number, of a history that is lost"
    assert not ledger.recovery.knows_group(501, 1_500_000)
    assert ledger.recovery.knows_group(500, 1_000_000 + 499 * 1000)
    assert not ledger.recovery.knows_group(500, 5)


def test_groups_of_the_last_day_stay_as_they_are(
    ledger: Ledger, volume: int, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_KEPT_MS", 86_400_000)
    commit_groups(ledger, volume, 500)
    assert select(ledger, "SELECT COUNT(*) FROM groups") == [(500,)], "the boot rule looks at them"


def test_of_each_unit_the_newest_runs_stay_and_the_very_first(ledger: Ledger) -> None:
    ledger.journal.start_run("destination")
    ledger.database.connection.execute("UPDATE runs SET started_ms = 5")
    for _time in range(250):
        ledger.journal.start_run("source")
    assert select(ledger, "SELECT unit, COUNT(*) FROM runs GROUP BY unit") == [("destination", 1), ("source", 100)]
    reader = LedgerReader(ledger)
    assert reader.first_started_ms() == 5
    assert [run.unit for run in reader.runs()] == ["destination", "source"]


# -- transitions ------------------------------------------------------------------------------------------------

PAIRS = [(was, now) for was in State for now in State if was != now]
WAYS = {
    State.PENDING: [],
    State.STAGED: [State.STAGED],
    State.DELIVERED: [State.STAGED, State.DELIVERED],
    State.RELEASED: [State.STAGED, State.DELIVERED, State.RELEASED],
    State.QUARANTINED: [State.QUARANTINED],
    State.FAILED: [State.FAILED],
}


def raw(ledger: Ledger, state: State) -> sqlite3.Connection:
    """A connection of somebody else to a ledger with one object in `state`, brought there by SQL alone."""
    ledger.listing.observe([listed("k")])
    db = sqlite3.connect(ledger.database.path, isolation_level=None)
    add_functions(db)
    for step in WAYS[state]:
        db.execute(f"UPDATE objects SET state = {int(step)}")
    return db


@pytest.mark.parametrize(("was", "now"), PAIRS, ids=lambda state: state.label)
def test_the_database_lets_objects_go_the_ways_of_the_table_and_no_others(
    ledger: Ledger, was: State, now: State
) -> None:
    db = raw(ledger, was)
    if now in TRANSITIONS[was]:
        db.execute(f"UPDATE objects SET state = {int(now)}")
    else:
        with pytest.raises(sqlite3.IntegrityError, match="may not go from this state"):
            db.execute(f"UPDATE objects SET state = {int(now)}")
    assert db.execute("SELECT state FROM objects").fetchone() == (now if now in TRANSITIONS[was] else was,)
    db.close()


@pytest.mark.parametrize("number", [-1, 6, 99])
@pytest.mark.parametrize("was", list(State), ids=lambda state: state.label)
def test_there_are_no_other_states(ledger: Ledger, was: State, number: int) -> None:
    db = raw(ledger, was)
    with pytest.raises(sqlite3.IntegrityError, match="may not go from this state"):
        db.execute("UPDATE objects SET state = ?", (number,))
    db.close()


def test_another_generation_begins_anew_and_nowhere_else(ledger: Ledger, volume: int) -> None:
    bring_to(ledger, "k", State.RELEASED, volume)
    for state in (State.DELIVERED, State.QUARANTINED, State.FAILED):
        with pytest.raises(sqlite3.IntegrityError, match="may not go from this state"):
            ledger.database.connection.execute(
                "UPDATE objects SET state = ?, generation = generation + 1", (int(state),)
            )
    ledger.database.connection.execute("UPDATE objects SET state = 1, generation = generation + 1")


def test_a_delivered_object_is_staged_again_only_without_its_proof(ledger: Ledger, volume: int) -> None:
    bring_to(ledger, "k", State.DELIVERED, volume)
    for values in ("", ", suspect = 1", ", delivered_ms = NULL"):
        with pytest.raises(sqlite3.IntegrityError, match="may not go from this state"):
            ledger.database.connection.execute(f"UPDATE objects SET state = 1{values}")
    ledger.database.connection.execute("UPDATE objects SET state = 1, suspect = 1, delivered_ms = NULL")


def test_what_the_database_refuses_takes_the_whole_group_back(ledger: Ledger, volume: int) -> None:
    bring_to(ledger, "k", State.STAGED, volume)
    lies = row_of(ledger, "k")._replace(state=State.PENDING)
    assert ledger.deliveries.commit_delivered([delivered(row_of(ledger, "k"))], [], 0) == []
    with pytest.raises(LedgerError, match="may not go from this state"), ledger.database.transaction() as db:
        ledger.journal.count(db, failure(lies))
        db.execute("UPDATE objects SET state = 4 WHERE key = 'k'")
    assert select(ledger, "SELECT COUNT(*) FROM failures") == [(0,)]


# -- a ledger of an older version -------------------------------------------------------------------------------

FAILED = "INSERT INTO failures (object_id, key, at_ms, hop, trouble, message, action) VALUES (?, ?, ?, ?, ?, ?, ?)"


def old_ledger(path: Path, failures: int) -> None:
    """As version 4 left it: a row for every failure."""
    db = sqlite3.connect(path, isolation_level=None)
    add_functions(db)
    db.execute("CREATE TABLE migrations (number INTEGER PRIMARY KEY, applied_ms INTEGER NOT NULL)")
    for number in range(1, 5):
        for statement in MIGRATIONS[number]:
            db.execute(statement)
        db.execute("INSERT INTO migrations VALUES (?, 0)", (number,))
    db.execute("BEGIN")
    rows = [(1 + n % 7, f"k{n % 7}", n, "source", ("io", "mismatch")[n % 2], f"the {n}th", "again")
            for n in range(failures)]  # fmt: skip
    db.executemany(FAILED, rows)
    db.execute("INSERT INTO groups (hop, volume, boot_id, objects, bytes, at_ms) VALUES ('source', 1, 'b', 1, 2, 3)")
    db.execute("INSERT INTO runs (unit, pid, boot_id, started_ms, updated_ms) VALUES ('source', 1, 'b', 1, 2)")
    values = [(f"{state}", int(state)) for state in State]
    db.executemany(
        "INSERT INTO objects (key, size, etag, modified_ms, state, listed_ms) VALUES (?, 1, 'e', 1, ?, 1)", values
    )
    db.execute("COMMIT")
    db.close()


def counted(ledger: Ledger) -> list[tuple[object, ...]]:
    return select(ledger, "SELECT key, trouble, times, first_ms, at_ms, message FROM failures ORDER BY key, trouble")


def test_the_failures_of_an_older_version_are_counted(tmp_path: Path) -> None:
    old_ledger(tmp_path / "ledger.db", 1400)
    ledger = Ledger(tmp_path / "ledger.db")
    found = counted(ledger)
    assert len(found) == 14
    assert found[0] == ("k0", "io", 100, 0, 1386, "the 1386th")
    assert LedgerReader(ledger).failure_count() == 1400
    assert [each.message for each in LedgerReader(ledger).failures(2)] == ["the 1399th", "the 1398th"]
    assert select(ledger, "SELECT COUNT(*) FROM objects") == [(len(State),)], "whatever their state was"
    assert ledger.objects.revive() == 2
    ledger.close()


MIGRATES = """
import os, sys
from pathlib import Path
from snowsync.ledger import schema as ledger_schema
from snowsync.ledger.ledger import Ledger

for number, statement in ledger_schema.GRADUAL.items():
    ledger_schema.GRADUAL[number] = statement.replace("LIMIT 5000", "LIMIT 100")
seen = []

def beat(doing):
    seen.append(doing)
    if len(seen) == int(sys.argv[2]):
        os.kill(os.getpid(), 9)

Ledger(Path(sys.argv[1]), beat=beat).close()
print(len(seen))
"""


def test_a_migration_that_is_killed_again_and_again_comes_to_its_end(tmp_path: Path) -> None:
    """As by a time-out of systemd: each start goes on where the one before was ended."""
    path, whole = tmp_path / "ledger.db", tmp_path / "whole.db"
    for each in (path, whole):
        old_ledger(each, 1000)
    command = [sys.executable, "-c", MIGRATES]
    ended = []
    while not ended or ended[-1] == -signal.SIGKILL:
        assert len(ended) < 30, "it begins again each time"
        ended.append(subprocess.run([*command, str(path), "4"], check=False, capture_output=True).returncode)
    assert ended[-1] == 0 and len(ended) > 3
    migrated, unharmed = Ledger(path), Ledger(whole)
    assert counted(migrated) == counted(unharmed)
    migrated.close()
    unharmed.close()


def test_the_migrations_tell_that_they_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_BEAT_OPERATIONS", 100)
    old_ledger(tmp_path / "ledger.db", 500)
    told: list[str] = []
    Ledger(tmp_path / "ledger.db", beat=told.append).close()
    assert set(told) == {f"upgrading the ledger to schema {number}" for number in MIGRATIONS if number > 4}
    assert len(told) > 20, "also within one statement"
    told.clear()
    Ledger(tmp_path / "ledger.db", beat=told.append).close()
    assert told == []
