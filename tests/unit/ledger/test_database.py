# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger's file: reopened, damaged, full, migrated, shared by processes, killed, and with a million rows."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from ledger_rows import bring_to, listed, row_of, rows, select
from thorough import THOROUGH

from snowsync.core.errors import LedgerError
from snowsync.core.model import State
from snowsync.ledger import schema
from snowsync.ledger.ledger import Ledger, Row


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.db")
    yield opened
    opened.close()


# -- the file ---------------------------------------------------------------------------------------------------


def test_what_was_committed_is_there_after_reopening(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "deep" / "ledger.db")
    volume = first.volumes.volume_id("one", "uuid-1", "/one")
    row = bring_to(first, "k", State.DELIVERED, volume)
    first.close()
    second = Ledger(tmp_path / "deep" / "ledger.db")
    assert row_of(second, "k") == row
    assert select(second, "PRAGMA journal_mode") == [("wal",)]
    assert select(second, "PRAGMA synchronous") == [(2,)]
    assert os.stat(second.database.path).st_mode & 0o007 == 0


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.db").close()
    reader = Ledger(tmp_path / "ledger.db", readonly=True)
    with pytest.raises(LedgerError, match="readonly"):
        reader.listing.observe([listed("k")])


@pytest.mark.parametrize("readonly", [False, True])
def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path, readonly: bool) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"not a database, but long enough to look at " * 100)
    with pytest.raises(LedgerError, match=r"ledger\.db"):
        Ledger(path, readonly=readonly).objects.waiting(State.PENDING)


def test_a_full_state_disk_is_an_error_of_its_own_and_heals(ledger: Ledger) -> None:
    (pages,) = select(ledger, "PRAGMA page_count")[0]
    select(ledger, f"PRAGMA max_page_count = {pages}")
    page = [listed(f"{number}" * 100) for number in range(1000)]
    for _again in range(2):
        with pytest.raises(LedgerError, match="full"):
            ledger.listing.observe(page)
    select(ledger, "PRAGMA max_page_count = 1000000")
    assert ledger.listing.observe(page).new == 1000


class FailsToCommit(sqlite3.Connection):
    """A connection whose next COMMIT fails and leaves the transaction open, as a full disk may."""

    failures = 1

    def execute(self, sql: str, parameters: object = ()) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, parameters)  # type: ignore[arg-type]  # the stub's type has no public name


def test_a_commit_that_fails_is_taken_back_and_the_next_one_works(ledger: Ledger) -> None:
    ledger.close()
    ledger.database.connection = sqlite3.connect(ledger.database.path, isolation_level=None, factory=FailsToCommit)
    schema.add_functions(ledger.database.connection)
    with pytest.raises(LedgerError, match="disk I/O error"):
        ledger.listing.observe([listed("lost")])
    assert ledger.listing.observe([listed("kept")]).new == 1
    assert [row.key for row in rows(ledger, State.PENDING)] == ["kept"]


# -- migrations -------------------------------------------------------------------------------------------------


def applied(path: Path) -> list[int]:
    with sqlite3.connect(path) as db:
        return [number for (number,) in db.execute("SELECT number FROM migrations ORDER BY number")]


def tables(path: Path) -> set[str]:
    with sqlite3.connect(path) as db:
        return {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO migrations VALUES (99, 0)")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="schema 99"):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_nothing_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    newest = max(schema.MIGRATIONS) + 1
    broken = {**schema.MIGRATIONS, newest: ("CREATE TABLE half (id INTEGER)", "CREATE NONSENSE")}
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    with pytest.raises(LedgerError, match="NONSENSE"):
        Ledger(path)
    assert "half" not in tables(path)
    monkeypatch.setitem(broken, newest, ("CREATE TABLE whole (id INTEGER)",))
    Ledger(path).close()
    assert "whole" in tables(path)
    assert applied(path)[-1] == newest


class SeesAnEmptyLedger(sqlite3.Connection):
    """A connection that looks for migrations just before another process runs them."""

    def execute(self, sql: str, parameters: object = ()) -> sqlite3.Cursor:
        cursor = super().execute(sql, parameters)  # type: ignore[arg-type]  # the stub's type has no public name
        if sql == "SELECT number FROM migrations":
            assert cursor.fetchall() == []
            (_number, _name, path), *_others = super().execute("PRAGMA database_list")
            Ledger(Path(path)).close()
        return cursor


def test_a_migration_that_another_process_ran_meanwhile_is_not_run_again(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, factory=SeesAnEmptyLedger)
    schema.migrate(connection)
    connection.close()
    assert applied(tmp_path / "ledger.db") == sorted(schema.MIGRATIONS)


DIES_WHILE_MIGRATING = """
import os, sys
from pathlib import Path
from snowsync.ledger import schema as ledger_schema
from snowsync.ledger.ledger import Ledger, Row

def statements():
    for number, statement in enumerate(complete):
        if number == int(sys.argv[2]):
            os.kill(os.getpid(), 9)
        yield statement

complete = ledger_schema.MIGRATIONS[1]
ledger_schema.MIGRATIONS[1] = statements()
Ledger(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("after", [0, 1, len(schema.MIGRATIONS[1]) - 1])
def test_a_process_killed_while_migrating_does_no_harm(tmp_path: Path, after: int) -> None:
    path = tmp_path / "ledger.db"
    died = subprocess.run([sys.executable, "-c", DIES_WHILE_MIGRATING, str(path), str(after)], check=False)
    assert died.returncode == -signal.SIGKILL
    assert applied(path) == []
    opened = Ledger(path)
    assert opened.listing.observe([listed("k")]).new == 1
    opened.close()


# -- processes --------------------------------------------------------------------------------------------------

TAKES_PART = """
import sys, time
from pathlib import Path
from snowsync.ledger.ledger import Ledger, Row
from snowsync.core.model import ListedObject

start, path, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
while not start.exists():
    time.sleep(0.001)
ledger = Ledger(path)
run = ledger.journal.start_run(f"unit-{number}")
for page in range(10):
    own = [ListedObject(f"{number}/{page}/{entry}", 1, "e", 1) for entry in range(50)]
    common = [ListedObject(f"common/{page}/{entry}", 1, "e", 1) for entry in range(50)]
    ledger.listing.observe(own + common)
"""


def test_processes_that_meet_a_new_ledger_at_once_all_work(tmp_path: Path) -> None:
    start, path = tmp_path / "start", tmp_path / "ledger.db"
    command = [sys.executable, "-c", TAKES_PART, str(start), str(path)]
    workers = [subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE) for number in range(4)]
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline() == b"ready\n"
    start.touch()
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0, 0, 0]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.close()
    ledger = Ledger(path)
    assert select(ledger, "SELECT COUNT(*), MAX(generation) FROM objects") == [(4 * 500 + 500, 1)]
    assert select(ledger, "SELECT COUNT(*) FROM runs") == [(4,)]
    ledger.close()


STAGES_FOR_EVER = """
import sys
from pathlib import Path
from snowsync.ledger.ledger import Ledger, Staged
from snowsync.core.model import Evidence, ListedObject, State

ledger = Ledger(Path(sys.argv[1]))
volume = ledger.volumes.volume_id("one", "uuid-1", "/one")
run = ledger.journal.start_run("source")
for number in range(1_000_000):
    ledger.listing.observe([ListedObject(f"{number}/{entry}", 3, "e", 1) for entry in range(7)])
    group = ledger.objects.work(State.PENDING, after_id=0, limit=7)
    ledger.staging.commit_staged([Staged(row, 0, "e", "", Evidence.SIZE, "t") for row in group], volume, run)
    if number == 3:
        print("under way", flush=True)
"""


def test_a_killed_writer_leaves_whole_groups(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    for _round in range(3):
        with subprocess.Popen([sys.executable, "-c", STAGES_FOR_EVER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == b"under way\n"
            writer.kill()
        ledger = Ledger(path)
        counts = select(ledger, "SELECT COUNT(*) FROM objects WHERE state = 1 GROUP BY group_id")
        assert len(counts) >= 4 and set(counts) == {(7,)}
        objects, size = select(ledger, "SELECT SUM(moved_objects), SUM(moved_bytes) FROM runs")[0]
        assert (objects, size) == (7 * len(counts), 3 * 7 * len(counts))
        assert select(ledger, "PRAGMA integrity_check") == [("ok",)]
        ledger.close()
        path.unlink()
        for companion in path.parent.glob("ledger.db-*"):
            companion.unlink()


# -- a million --------------------------------------------------------------------------------------------------

A_MILLION = """
import json, sys, time
from pathlib import Path
from snowsync.ledger.ledger import Ledger, Row
from snowsync.core.model import ListedObject

def pages():
    for page in range(int(sys.argv[2])):
        folder = f"camera-{page % 8}/2026-11-{page % 30:02d}/{page:04d}"
        yield [ListedObject(f"{folder}/frame-{entry:06d}.jpeg", 4096, f"{page:016x}{entry:016x}", 1_700_000_000_000)
               for entry in range(1000)]

ledger = Ledger(Path(sys.argv[1]))
started = time.monotonic()
new = sum(ledger.listing.observe(page).new for page in pages())
first = time.monotonic()
same = sum(ledger.listing.observe(page).same for page in pages())
second = time.monotonic()
print(json.dumps({
    "new": new, "same": same, "observed_seconds": first - started, "no_op_seconds": second - first,
    # Not ru_maxrss: a child inherits that of the test runner it was forked from.
    "max_rss_kib": int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]),
}))
"""


def test_a_million_objects_fit_into_200_mb(tmp_path: Path) -> None:
    """By default it is fewer that fit into as much less; with SNOWSYNC_THOROUGH it is a million."""
    pages, most_kib = (1000, 200_000) if THOROUGH else (150, 60_000)
    started = time.monotonic()
    command = [sys.executable, "-c", A_MILLION, str(tmp_path / "ledger.db"), str(pages)]
    measured = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=600).stdout)
    print(f"{measured} in {time.monotonic() - started:.0f} s")
    assert (measured["new"], measured["same"]) == (1000 * pages, 1000 * pages)
    assert measured["max_rss_kib"] < most_kib


# -- the checksum of a row ----------------------------------------------------------------------------------------

ROW_VALUES = ("a\x1fk\u00e9y", 4096, "e", 1_700_000_000_000, 1, 0, 1, 2, 5 * 2**20, "d", '{"content_type":"x"}', "t", 7)


def sum_of(values: Sequence[object]) -> int:
    """As the first ledgers with checksums were written: whatever computes it now must agree."""
    text = "\x1f".join("\x1e" if value is None else str(value) for value in values)
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def test_the_checksum_of_a_row_never_changes() -> None:
    assert schema.row_sum(*ROW_VALUES) == sum_of(ROW_VALUES) == 2212994475


@pytest.mark.parametrize("place", range(len(ROW_VALUES)))
@pytest.mark.parametrize("value", ["", "\ud800", "None", 0, -1, 2**63 - 1, 1.0, 1.5, b"bytes"], ids=repr)
def test_a_checksum_of_any_values_is_that_of_their_text(place: int, value: object) -> None:
    """Also of what a damaged file may have in a place."""
    values = (*ROW_VALUES[:place], value, *ROW_VALUES[place + 1 :])
    assert schema.row_sum(*values) == sum_of(values)


def test_no_volume_has_a_checksum_of_its_own() -> None:
    values = (*ROW_VALUES[:7], None, *ROW_VALUES[8:])
    assert schema.row_sum(*values) == sum_of(values)
    others = [schema.row_sum(*ROW_VALUES[:7], other, *ROW_VALUES[8:]) for other in ("None", "", 0)]
    assert schema.row_sum(*values) not in others


@pytest.mark.parametrize("place", range(len(ROW_VALUES)))
def test_a_value_that_got_lost_is_seen(place: int) -> None:
    values = (*ROW_VALUES[:place], None, *ROW_VALUES[place + 1 :])
    for was in (ROW_VALUES[place], "" if isinstance(ROW_VALUES[place], str) else 0):
        assert schema.row_sum(*values) != schema.row_sum(*ROW_VALUES[:place], was, *ROW_VALUES[place + 1 :])
    if isinstance(ROW_VALUES[place], str):
        assert schema.row_sum(*values) != schema.row_sum(*ROW_VALUES[:place], "None", *ROW_VALUES[place + 1 :])


@pytest.mark.parametrize("name", Row._fields)
def test_a_row_is_sound_as_long_as_what_is_summed_is_as_it_was_written(ledger: Ledger, name: str) -> None:
    volume = ledger.volumes.volume_id("one", "uuid-1", "/one")
    row = bring_to(ledger, "k", State.DELIVERED, volume)
    assert row.is_sound
    is_summed = name in schema.SUMMED.split(", ")
    other = row._replace(**{name: "x" if isinstance(getattr(row, name), str) else getattr(row, name) + 1})
    assert other.is_sound is not (is_summed or name == "row_sum")
