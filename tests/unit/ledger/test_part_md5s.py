# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The MD5s of an object's parts are in the ledger from the commit as staged until the object is released."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from ledger_rows import delivered, failure, listed, row_of, select, staged

from snowsync.core.errors import Trouble
from snowsync.core.model import Evidence, State
from snowsync.ledger import schema
from snowsync.ledger.drops import Dropped
from snowsync.ledger.ledger import Ledger, Staged
from snowsync.ledger.rows import Row

PART = 5
MD5S = b"0123456789abcdef" * 2
DIGEST = "0" * 32 + "-2"


def in_parts(row: Row, md5s: bytes = MD5S, digest: str = DIGEST) -> Staged:
    return staged(row)._replace(part_size=PART, digest=digest, part_md5s=md5s)


def stage(ledger: Ledger, volume: int, key: str = "k") -> Row:
    ledger.listing.observe([listed(key, etag=DIGEST)])
    ledger.staging.commit_staged([in_parts(row_of(ledger, key))], volume, 0)
    return row_of(ledger, key)


def deliver(ledger: Ledger, row: Row) -> Row:
    assert ledger.deliveries.commit_delivered([delivered(row)], [], 0) == []
    return row_of(ledger, row.key)


def kept(ledger: Ledger) -> list[tuple[object, ...]]:
    return select(ledger, "SELECT object_id, generation, part_size, md5s FROM part_md5s")


# -- kept -----------------------------------------------------------------------------------------------------------


def test_they_are_there_until_the_object_is_released(ledger: Ledger, volume: int) -> None:
    row = stage(ledger, volume)
    assert ledger.parts.md5s(row) == MD5S
    row = deliver(ledger, row)
    assert ledger.parts.md5s(row) == MD5S, "its destination may be asked for it once more"
    ledger.deliveries.commit_delivered([], [row], 0)
    assert kept(ledger) == []


def test_what_is_in_one_part_has_none_and_is_not_looked_for(ledger: Ledger, volume: int) -> None:
    ledger.listing.observe([listed("k")])
    ledger.staging.commit_staged([staged(row_of(ledger, "k"))], volume, 0)
    assert kept(ledger) == []
    row = row_of(ledger, "k")
    with mock.patch.object(ledger.database, "one", side_effect=AssertionError):
        assert ledger.parts.md5s(row) == b""


def test_they_are_bound_to_object_generation_and_part_size(ledger: Ledger, volume: int) -> None:
    row = stage(ledger, volume)
    assert kept(ledger) == [(row.id, 1, PART, MD5S)]
    for another in (row._replace(id=99), row._replace(generation=2), row._replace(part_size=PART + 1)):
        assert ledger.parts.md5s(another) == b""


def test_ten_thousand_parts_fit(ledger: Ledger, volume: int) -> None:
    ledger.listing.observe([listed("k")])
    ledger.staging.commit_staged([in_parts(row_of(ledger, "k"), bytes(160_000))], volume, 0)
    assert ledger.parts.md5s(row_of(ledger, "k")) == bytes(160_000)


def test_a_transaction_that_fails_keeps_none(ledger: Ledger, volume: int) -> None:
    ledger.listing.observe([listed("k")])
    item = in_parts(row_of(ledger, "k"))
    with (
        mock.patch("snowsync.ledger.staging.count_group", side_effect=sqlite3.OperationalError("disk I/O error")),
        pytest.raises(Exception, match="disk I/O error"),
    ):
        ledger.staging.commit_staged([item], volume, 0)
    assert kept(ledger) == []
    assert row_of(ledger, "k").state == State.PENDING


def test_those_of_a_dropped_file_are_kept_too(ledger: Ledger, volume: int) -> None:
    dropped = Dropped(listed("k", etag=DIGEST), PART, "", "1:2:3", MD5S)
    assert ledger.drops.stage_dropped_group([dropped], volume, 0) == [""]
    row = row_of(ledger, "k")
    assert ledger.parts.md5s(row) == MD5S
    other_bytes = Dropped(listed("k", etag="1" * 32 + "-2"), PART, "", "1:2:4")
    assert ledger.drops.stage_dropped_group([other_bytes], volume, 0) == [""]
    assert kept(ledger) == []


def test_those_of_a_dropped_file_that_is_refused_are_not(ledger: Ledger, volume: int) -> None:
    ledger.listing.observe([listed("k", etag=DIGEST)])
    dropped = Dropped(listed("k", etag=DIGEST), PART, "", "1:2:3", MD5S)
    assert ledger.drops.stage_dropped_group([dropped], volume, 0) != [""]
    assert kept(ledger) == []


def test_those_of_a_file_that_was_found_are_kept(ledger: Ledger, volume: int) -> None:
    ledger.listing.observe([listed("k", etag=DIGEST)])
    row = row_of(ledger, "k")
    assert not ledger.staging.adopt(row._replace(generation=9), volume, DIGEST, PART, Evidence.STORE_DIGEST, MD5S)
    assert kept(ledger) == []
    assert ledger.staging.adopt(row, volume, DIGEST, PART, Evidence.STORE_DIGEST, MD5S)
    assert ledger.parts.md5s(row_of(ledger, "k")) == MD5S


def test_a_move_to_another_volume_keeps_them(ledger: Ledger, volume: int, other: int) -> None:
    row = stage(ledger, volume)
    assert ledger.moves.commit_moved([row], other, ledger.moves.intend(other, [row])) == [row]
    moved = row_of(ledger, "k")
    assert (moved.volume, ledger.parts.md5s(moved)) == (other, MD5S)


def test_a_volume_that_failed_and_came_back_keeps_them(ledger: Ledger, volume: int) -> None:
    row = stage(ledger, volume)
    sql = "UPDATE volumes SET trouble = 'missing' WHERE id = ?"
    with ledger.database.transaction() as db:
        db.execute(sql, (volume,))
    assert ledger.losses.leave_copies(volume, "gone") == 1
    assert row_of(ledger, "k").state == State.PENDING
    ledger.losses.returned(volume)
    row = row_of(ledger, "k")
    assert (row.state, row.suspect, ledger.parts.md5s(row)) == (State.STAGED, 1, MD5S)


def test_an_object_that_is_sent_again_keeps_them(ledger: Ledger, volume: int) -> None:
    row = deliver(ledger, stage(ledger, volume))
    ledger.objects.resend(["k"], Trouble.NOT_FOUND, "lost")
    row = row_of(ledger, "k")
    assert (row.state, ledger.parts.md5s(row)) == (State.STAGED, MD5S)


# -- replaced -------------------------------------------------------------------------------------------------------


def test_an_object_that_is_fetched_again_gets_those_of_the_new_file(ledger: Ledger, volume: int, other: int) -> None:
    row = stage(ledger, volume)
    assert ledger.objects.retry(failure(row), delay_ms=0, count=True, target=State.PENDING)
    row = row_of(ledger, "k")
    again = in_parts(row, MD5S[::-1], "1" * 32 + "-2")
    assert ledger.staging.commit_staged([again], other, 0) == []
    assert ledger.parts.md5s(row_of(ledger, "k")) == MD5S[::-1]


def test_an_object_that_is_proven_in_another_way_has_none(ledger: Ledger, volume: int) -> None:
    row = stage(ledger, volume)
    assert ledger.objects.retry(failure(row), delay_ms=0, count=True, target=State.PENDING)
    ledger.staging.commit_staged([staged(row_of(ledger, "k"))], volume, 0)
    assert kept(ledger) == []


@pytest.mark.parametrize("changes", [{"part_size": PART + 1}, {"digest": "1" * 32 + "-2"}])
def test_a_row_with_another_digest_or_part_size_has_none(
    ledger: Ledger, volume: int, changes: dict[str, object]
) -> None:
    row = stage(ledger, volume)
    assert ledger.objects.retry(failure(row), delay_ms=0, count=True, target=State.PENDING)
    again = in_parts(row_of(ledger, "k"))._replace(part_md5s=b"", **changes)  # type: ignore[arg-type]  # of any field
    assert ledger.staging.commit_staged([again], volume, 0) == []
    assert kept(ledger) == []


def test_the_same_bytes_dropped_again_are_another_generation(ledger: Ledger, volume: int) -> None:
    for md5s in (MD5S, b""):
        dropped = Dropped(listed("k", etag=DIGEST), PART, "", "1:2:3", md5s)
        assert ledger.drops.stage_dropped_group([dropped], volume, 0) == [""]
    assert row_of(ledger, "k").generation == 2
    assert kept(ledger) == []


def test_a_volume_that_came_back_meanwhile_gives_way_to_the_file_that_was_just_proven(
    ledger: Ledger, volume: int, other: int
) -> None:
    ledger.listing.observe([listed("k", etag=DIGEST)])
    pending = row_of(ledger, "k")
    ledger.staging.commit_staged([in_parts(pending)._replace(part_md5s=b"")], volume, 0)
    with ledger.database.transaction() as db:
        db.execute("UPDATE objects SET suspect = 1")
    assert len(ledger.staging.commit_staged([in_parts(pending)], other, 0)) == 1
    row = row_of(ledger, "k")
    assert (row.volume, ledger.parts.md5s(row)) == (other, MD5S)


def test_a_fetch_of_an_older_generation_that_ends_late_leaves_none(ledger: Ledger, volume: int) -> None:
    ledger.listing.observe([listed("k", etag=DIGEST)])
    older = row_of(ledger, "k")
    ledger.listing.observe([listed("k", etag="newer")])
    ledger.staging.commit_staged([in_parts(older)], volume, 0)
    assert kept(ledger) == []


def test_a_copy_that_takes_the_row_back_has_none(ledger: Ledger, volume: int) -> None:
    """It is hashed and sent in the way of files of which they are not known."""
    stage(ledger, volume)
    ledger.listing.observe([listed("k", etag="newer")])
    assert kept(ledger) == []
    ledger.listing.observe([listed("k", etag=DIGEST)])
    row = row_of(ledger, "k")
    assert (row.state, row.part_size, row.digest, ledger.parts.md5s(row)) == (State.STAGED, PART, DIGEST, b"")


# -- gone -----------------------------------------------------------------------------------------------------------


def replaced(ledger: Ledger, row: Row) -> None:
    ledger.listing.observe([listed("k", etag="newer")])


def released(ledger: Ledger, row: Row) -> None:
    ledger.deliveries.commit_delivered([], [deliver(ledger, row)], 0)


def released_with_its_volume(ledger: Ledger, row: Row) -> None:
    deliver(ledger, row)
    ledger.losses.lose_volume(row.volume or 0, "one")


def forgotten(ledger: Ledger, row: Row) -> None:
    with ledger.database.transaction() as db:
        db.execute("UPDATE objects SET origin = 1 WHERE id = ?", (row.id,))
    assert ledger.objects.forget(row_of(ledger, "k"), "it was removed")


def damaged_row(ledger: Ledger, row: Row) -> None:
    """A row that no longer has its checksum is forgotten by `resend`."""
    deliver(ledger, row)
    with ledger.database.lock:
        db = ledger.database.connection
        db.create_function("row_sum", -1, lambda *values: 1, deterministic=True)
        trigger = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'objects_are_sound'").fetchone()[0]
        db.execute("DROP TRIGGER objects_are_sound")
        db.execute("UPDATE objects SET size = 11 WHERE id = ?", (row.id,))
        schema.add_functions(db)
        db.execute(trigger)
    ledger.objects.resend(["k"], Trouble.NOT_FOUND, "lost")


@pytest.mark.parametrize("end", [replaced, released, released_with_its_volume, forgotten, damaged_row])
def test_they_go_with_what_they_are_of(ledger: Ledger, volume: int, end: Callable[[Ledger, Row], None]) -> None:
    kept_on = stage(ledger, volume, "another")
    end(ledger, stage(ledger, volume))
    assert [row[0] for row in kept(ledger)] == [kept_on.id]


def test_they_go_in_the_transaction_that_releases_the_object(ledger: Ledger, volume: int) -> None:
    row = deliver(ledger, stage(ledger, volume))
    with (
        mock.patch("snowsync.ledger.deliveries._release", side_effect=_release_and_fail),
        pytest.raises(Exception, match="disk I/O error"),
    ):
        ledger.deliveries.commit_delivered([], [row], 0)
    assert (row_of(ledger, "k").state, ledger.parts.md5s(row)) == (State.DELIVERED, MD5S)


def _release_and_fail(db: sqlite3.Connection, rows: list[Row], run_id: int, at: int) -> None:
    db.execute("UPDATE objects SET state = 3, volume = NULL WHERE id = ?", (rows[0].id,))
    assert db.execute("SELECT COUNT(*) FROM part_md5s").fetchone() == (0,)
    raise sqlite3.OperationalError("disk I/O error")


# -- ledgers of older versions --------------------------------------------------------------------------------------


def test_a_ledger_of_schema_7_goes_on_without_them(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    older = {number: statements for number, statements in schema.MIGRATIONS.items() if number <= 7}
    with mock.patch.object(schema, "MIGRATIONS", older):
        before = Ledger(path)
        volume = before.volumes.volume_id("one", "uuid-1", "/one")
        before.listing.observe([listed("k", etag=DIGEST), listed("released", etag=DIGEST), listed("small")])
        known = [row_of(before, key) for key in ("k", "released", "small")]
        without = [in_parts(row)._replace(part_md5s=b"") for row in known[:2]]
        before.staging.commit_staged([*without, staged(known[2])], volume, 0)
        ended = deliver(before, row_of(before, "released"))
        before.deliveries.commit_delivered([], [ended], 0)
        rows = select(before, "SELECT * FROM objects ORDER BY id")
        before.close()
    now = Ledger(path)
    assert select(now, "SELECT * FROM objects ORDER BY id") == rows
    assert select(now, "SELECT MAX(number) FROM migrations") == [(max(schema.MIGRATIONS),)]
    row = row_of(now, "k")
    assert (row.is_sound, now.parts.md5s(row), kept(now)) == (True, b"", [])
    now.deliveries.commit_delivered([], [deliver(now, row)], 0)
    assert row_of(now, "k").state == State.RELEASED
    later = stage(now, volume, "later")
    assert now.parts.md5s(later) == MD5S
    now.close()
