# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a ledger beside its writers: sums, order, exports; and listings sorted on disk."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_rows import MD5, bring_to, failure, in_memory, listed, row_of, rows

from snowsync.core import machine
from snowsync.core.errors import LedgerError, LocalError, Trouble
from snowsync.core.machine import boot_id
from snowsync.core.model import Evidence, ListedObject, State
from snowsync.inspection.listing_order import SortedSpool
from snowsync.ledger.export import EXPORT_FORMATS, export
from snowsync.ledger.ledger import Delivered, Ledger, Staged
from snowsync.ledger.reader import LedgerNotReady, LedgerReader
from snowsync.ledger.records import HopSum, Tally

ODD_KEYS = ["two\nlines", "cr\rhere", 'quo"ted', "comma,", " space ", "é", "\U0001f98a", "=1+1", "", "a/b", "a"]


@pytest.fixture
def reader(ledger: Ledger) -> Iterator[LedgerReader]:
    with LedgerReader.open(ledger.database.path) as opened:
        yield opened


# -- opening ----------------------------------------------------------------------------------------------------


def test_a_ledger_that_is_not_there_yet_can_be_told_from_a_bad_one(tmp_path: Path) -> None:
    with pytest.raises(LedgerNotReady, match="has not run yet"):
        LedgerReader.open(tmp_path / "ledger.db")
    (tmp_path / "ledger.db").touch()
    with pytest.raises(LedgerNotReady, match="still empty"):
        LedgerReader.open(tmp_path / "ledger.db")
    (tmp_path / "ledger.db").write_bytes(b"no database " * 1000)
    with pytest.raises(LedgerError, match="not a database") as caught:
        LedgerReader.open(tmp_path / "ledger.db")
    assert not isinstance(caught.value, LedgerNotReady)


def test_a_schema_of_another_version_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO migrations VALUES (99, 0)")
    with pytest.raises(LedgerError, match="schema 99") as caught:
        LedgerReader.open(path)
    assert not isinstance(caught.value, LedgerNotReady)
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM migrations")
    with pytest.raises(LedgerNotReady, match="run the job once"):
        LedgerReader.open(path)


def test_a_reader_sees_what_a_writer_commits_and_never_holds_it_up(ledger: Ledger, reader: LedgerReader) -> None:
    ledger.listing.observe([listed(f"{number:05}") for number in range(2500)])
    walk = reader.entries()
    assert next(walk).key == "00000"
    ledger.listing.observe([listed("99999")])
    # In the midst of a walk no snapshot is held: the log can be taken back into the database whole.
    (busy, _log, _checkpointed) = next(iter(ledger.database.stream("PRAGMA wal_checkpoint(TRUNCATE)")))
    assert busy == 0
    assert [entry.key for entry in walk][-1] == "99999"


# -- sums -------------------------------------------------------------------------------------------------------


def test_states_sum_objects_and_bytes(ledger: Ledger, volume: int, reader: LedgerReader) -> None:
    for state in State:
        bring_to(ledger, state.label, state, volume)
    ledger.listing.observe([listed("more", 5)])
    assert reader.states() == {state: Tally(1, 10) for state in State} | {State.PENDING: Tally(2, 15)}
    census = reader.census()
    assert census.states == reader.states()
    assert (census.total, census.done, census.open, census.troubled) == (
        Tally(7, 65),
        Tally(2, 20),
        Tally(3, 25),
        Tally(2, 20),
    )


def test_an_empty_ledger_has_every_state_with_nothing(reader: LedgerReader) -> None:
    assert reader.states() == dict.fromkeys(State, Tally())
    assert reader.census().total == Tally()
    assert reader.first_started_ms() is None
    assert reader.hops() == {"source": HopSum(), "destination": HopSum()}


def test_evidence_counts_only_proofs_that_still_hold(ledger: Ledger, volume: int, reader: LedgerReader) -> None:
    ledger.listing.observe([listed(key) for key in ("a", "b", "c")])
    group = [Staged(row, 0, row.etag, "", Evidence.READ_BACK, "t") for row in rows(ledger, State.PENDING)]
    ledger.staging.commit_staged(group, volume, 0)
    ledger.objects.retry(failure(row_of(ledger, "b")), delay_ms=0, count=True)  # back to pending, by its own default
    ledger.deliveries.commit_delivered([Delivered(row_of(ledger, "a"), "x", Evidence.STORE_DIGEST, "t")], [], 0)
    census = reader.census()
    # Two reads of the source that agree were called read_back once.
    assert census.source == {Evidence.NOT_PROVEN: sum(census.states[state].objects for state in (1, 2))}
    assert census.destination == {Evidence.STORE_DIGEST: 1}


def test_moved_are_those_delivered_since_then(
    ledger: Ledger, volume: int, reader: LedgerReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "now_ms", lambda: 1000)
    bring_to(ledger, "early", State.RELEASED, volume)
    monkeypatch.setattr(machine, "now_ms", lambda: 5000)
    bring_to(ledger, "late", State.DELIVERED, volume)
    assert (reader.census(2000).moved, reader.census(0).moved) == (Tally(1, 10), Tally(2, 20))
    assert [moved.key for moved in reader.moved(2000)] == ["late"]
    assert [(moved.listed_ms, moved.delivered_ms) for moved in reader.moved()] == [(1000, 1000), (5000, 5000)]


def test_a_hop_works_but_for_the_time_it_waits(
    ledger: Ledger, volume: int, reader: LedgerReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    minute = 60_000
    for number, at in enumerate((1000, 3000, 3000 + 10 * minute, 4000 + 10 * minute)):
        monkeypatch.setattr(machine, "now_ms", lambda at=at: at)
        bring_to(ledger, f"{number}", State.STAGED, volume)
    # From the start at 0: 1 s, 2 s, then ten minutes of nothing count as one, then 1 s.
    assert reader.hops(0)["source"] == HopSum(4, 40, 64.0)
    assert reader.hops(2000)["source"] == HopSum(3, 30, 62.0)
    assert reader.staged_by_volume(2000) == {volume: Tally(3, 30)}
    assert [group.objects for group in reader.groups(reader.last_group_id() - 1)] == [1]


def test_a_job_began_before_all_that_it_did(
    ledger: Ledger, volume: int, reader: LedgerReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that was ahead when the job was first run, and was set then."""
    assert reader.first_started_ms() is None
    monkeypatch.setattr(machine, "now_ms", lambda: 9000)
    ledger.journal.start_run("source")
    assert reader.first_started_ms() == 9000
    monkeypatch.setattr(machine, "now_ms", lambda: 2000)
    bring_to(ledger, "a", State.STAGED, volume)
    assert reader.first_started_ms() == 2000


def test_groups_of_late_go_by_the_time_since_the_boot(
    ledger: Ledger, volume: int, reader: LedgerReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the clock said; those of an earlier boot are none of them."""
    for boot, ticks, clock in (("earlier", 9000, 1), ("", 1000, 9), ("", 3000, 5), ("", 4000, 2)):
        monkeypatch.setattr(machine, "now_ms", lambda clock=clock: clock)
        monkeypatch.setattr(machine, "ticks_ms", lambda ticks=ticks: ticks)
        monkeypatch.setattr(machine, "boot_id", lambda boot=boot: boot or boot_id())
        bring_to(ledger, f"{boot}{ticks}", State.STAGED, volume)
    assert [group.ticks_ms for group in reader.groups_since(3000)] == [3000, 4000]
    assert [group.ticks_ms for group in reader.groups_since(0)] == [1000, 3000, 4000]
    assert [group.ticks_ms for group in reader.groups(0)] == [0, 1000, 3000, 4000]


def test_volumes_say_what_they_hold(ledger: Ledger, volume: int, reader: LedgerReader) -> None:
    ledger.volumes.volume_id("empty", "uuid-2", "/volumes/two")
    for state in State:
        bring_to(ledger, state.label, state, volume)
    held = [(entry.name, entry.uuid, entry.held) for entry in reader.volumes()]
    assert held == [("empty", "uuid-2", Tally()), ("one", "uuid-1", Tally(2, 20))]


def test_is_open_until_nothing_is_pending_or_staged(ledger: Ledger, volume: int, reader: LedgerReader) -> None:
    for state, is_open in zip(State, (True, True, False, False, False, False), strict=True):
        bring_to(ledger, state.label, state, volume)
        assert reader.is_open() is is_open, state
        ledger.listing.observe([listed(state.label, 99)])
        ledger.objects.gone(failure(row_of(ledger, state.label)))


def test_runs_are_the_newest_of_each_unit(ledger: Ledger, reader: LedgerReader) -> None:
    for unit in ("source", "destination", "source"):
        ledger.journal.start_run(unit)
    assert [(run.unit, run.id, run.ended_ms) for run in reader.runs()] == [
        ("destination", 2, None),
        ("source", 3, None),
    ]
    assert reader.runs()[0].pid == os.getpid()


def test_failures_name_an_object_once_per_trouble_newest_first(
    ledger: Ledger, reader: LedgerReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.listing.observe([listed("a"), listed("b")])
    for at, key, trouble in (
        (1000, "a", Trouble.MISMATCH),
        (2000, "a", Trouble.MISMATCH),
        (3000, "b", Trouble.IO),
        (4000, "a", Trouble.IO),
    ):
        monkeypatch.setattr("snowsync.core.machine.now_ms", lambda at=at: at)
        ledger.journal.record(failure(row_of(ledger, key), trouble))
    found = [(entry.key, entry.trouble, entry.times, entry.at_ms) for entry in reader.failures(10)]
    assert found == [("a", "io", 1, 4000), ("b", "io", 1, 3000), ("a", "mismatch", 2, 2000)]
    assert [entry.times for entry in reader.failures(10, since_ms=2000)] == [1, 1, 1]
    assert len(reader.failures(2)) == 2
    assert (reader.failure_count(), reader.failure_count(3000)) == (4, 2)
    ledger.objects.gone(failure(row_of(ledger, "b")))
    ledger.listing.forget_gone(["b"], (), "not listed any more")
    assert {entry.key: entry.state for entry in reader.failures(10)} == {"a": State.PENDING, "b": None}


def test_facts_come_with_the_time_of_their_probe(ledger: Ledger, reader: LedgerReader) -> None:
    ledger.journal.set_fact("source", "http://a", "list", "v2")
    (fact,) = reader.facts()
    assert (fact.side, fact.endpoint, fact.fact, fact.value) == ("source", "http://a", "list", "v2")
    assert fact.probed_ms > 1_700_000_000_000


# -- order ------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.sets(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), max_size=30), st.text(max_size=1))
def test_entries_come_by_the_bytes_of_their_keys(keys: set[str], prefix: str) -> None:
    ledger = in_memory()
    ledger.listing.observe([listed(key) for key in sorted(keys, key=hash)])
    found = [entry.key for entry in LedgerReader(ledger).entries(prefix)]
    assert found == sorted((key for key in keys if key.startswith(prefix)), key=str.encode)
    ledger.close()


def test_entries_cross_pages_and_end_with_their_prefix(ledger: Ledger, reader: LedgerReader) -> None:
    ledger.listing.observe(
        [listed(f"in/{number:04}") for number in range(2000)] + [listed("in"), listed("in/"), listed("io")]
    )
    assert [entry.key for entry in reader.entries("in/")] == ["in/", *(f"in/{number:04}" for number in range(2000))]
    assert sum(1 for _entry in reader.entries()) == 2003


def test_an_entry_names_its_volume_and_its_proof(ledger: Ledger, volume: int, reader: LedgerReader) -> None:
    bring_to(ledger, "k", State.DELIVERED, volume)
    (entry,) = reader.entries()
    assert (entry.volume, entry.digest, entry.destination_etag, entry.state) == ("one", MD5, MD5, State.DELIVERED)


# -- exports ----------------------------------------------------------------------------------------------------


def exported(reader: LedgerReader, form: str) -> str:
    stream = io.StringIO()
    export(reader, form, stream)
    return stream.getvalue()


def fill(ledger: Ledger, volume: int) -> None:
    for key in ODD_KEYS:
        bring_to(ledger, key, State.DELIVERED, volume)
    bring_to(ledger, "released", State.RELEASED, volume)
    bring_to(ledger, "pending", State.PENDING, volume)
    bring_to(ledger, "failed", State.FAILED, volume)
    bring_to(ledger, "staged", State.STAGED, volume)


def test_json_is_one_array_of_every_object(ledger: Ledger, volume: int, reader: LedgerReader) -> None:
    fill(ledger, volume)
    records = {record["key"]: record for record in json.loads(exported(reader, "json"))}
    assert list(records) == [*ODD_KEYS, "released", "pending", "failed", "staged"]
    record = records["two\nlines"]
    assert (record["state"], record["origin"], record["volume"], record["suspect"]) == (
        "delivered",
        "source",
        "one",
        False,
    )
    assert (record["source_evidence"], record["destination_tool"], record["headers"]) == ("store_digest", "s5cmd", {})
    assert record["modified"] == "2023-11-14T22:13:20.000Z"
    assert (record["released"], record["not_before"]) == (None, None)
    assert records["failed"]["last_error"] == "mismatch: not what was promised"


@pytest.mark.parametrize("level", [Evidence.NOT_PROVEN, Evidence.READ_BACK])
def test_two_reads_of_the_source_have_one_name_whatever_version_wrote_them(
    ledger: Ledger, volume: int, reader: LedgerReader, level: Evidence
) -> None:
    ledger.listing.observe([listed("k")])
    ledger.staging.commit_staged([Staged(row_of(ledger, "k"), 0, MD5, "", level, "t")], volume, 0)
    ledger.deliveries.commit_delivered([Delivered(row_of(ledger, "k"), MD5, Evidence.READ_BACK, "t")], [], 0)
    (record,) = json.loads(exported(reader, "json"))
    assert (record["source_evidence"], record["destination_evidence"]) == ("not_proven", "read_back")
    assert reader.not_proven(10) == ["k"]
    (entry,) = reader.entries()
    assert entry.source_evidence is Evidence.NOT_PROVEN


def test_what_went_back_is_not_proven_no_more(ledger: Ledger, volume: int, reader: LedgerReader) -> None:
    """It keeps the words of its last proof, which say nothing of where it is now."""
    ledger.listing.observe([listed("k")])
    ledger.staging.commit_staged([Staged(row_of(ledger, "k"), 0, MD5, "", Evidence.NOT_PROVEN, "t")], volume, 0)
    ledger.objects.retry(failure(row_of(ledger, "k")), delay_ms=0, count=True)
    assert reader.not_proven(10) == []
    (entry,) = reader.entries()
    assert entry.source_evidence is None


def test_json_of_an_empty_ledger_is_an_empty_array(reader: LedgerReader) -> None:
    assert json.loads(exported(reader, "json")) == []


def test_csv_survives_every_key(ledger: Ledger, volume: int, reader: LedgerReader) -> None:
    fill(ledger, volume)
    text = exported(reader, "csv")
    records = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [record["key"] for record in records][: len(ODD_KEYS)] == ODD_KEYS
    assert {record["state"] for record in records} == {"delivered", "released", "pending", "failed", "staged"}
    assert set(records[0]) == set(json.loads(exported(reader, "json"))[0])
    assert records[0]["delivered"].endswith("Z") and records[0]["released"] == ""


def test_the_forerunners_ledger_has_what_arrived(ledger: Ledger, volume: int, reader: LedgerReader) -> None:
    fill(ledger, volume)
    text = exported(reader, "forerunner")
    assert text.startswith("Key,Size\n")
    found = [tuple(row) for row in csv.reader(io.StringIO(text, newline=""))]
    assert found == [("Key", "Size"), *((key, "10") for key in [*ODD_KEYS, "released"])]


def test_exports_stream_over_page_borders(ledger: Ledger, reader: LedgerReader) -> None:
    ledger.listing.observe([listed(f"{number}") for number in range(2001)])
    assert len(json.loads(exported(reader, "json"))) == 2001
    assert {form: export(reader, form, io.StringIO()) for form in EXPORT_FORMATS} == {
        "csv": 2001,
        "json": 2001,
        "forerunner": 0,
    }


# -- sorting on disk --------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), max_size=40))
def test_a_spool_gives_every_key_once_in_order(tmp_path_factory: pytest.TempPathFactory, keys: list[str]) -> None:
    spool = SortedSpool(tmp_path_factory.getbasetemp())
    spool.fill([[listed(key) for key in keys[start : start + 7]] for start in range(0, len(keys), 7)])
    assert [found.key for page in spool.pages() for found in page] == sorted(set(keys), key=str.encode)
    spool.close()


def test_a_spool_keeps_the_newest_of_a_key_and_what_it_says(tmp_path: Path) -> None:
    spool = SortedSpool(tmp_path).fill([[ListedObject("k", 1, "old", 2)], [ListedObject("k", 3, "new", 4)]])
    assert list(spool.pages()) == [[ListedObject("k", 3, "new", 4)]]
    assert list(tmp_path.iterdir()) == [], "whatever ends the process, nothing stays behind"


def test_a_spool_takes_keys_that_are_no_unicode(tmp_path: Path) -> None:
    latin = b"caf\xe9".decode(errors="surrogateescape")
    spool = SortedSpool(tmp_path).fill([[listed(latin), listed("cafz")]])
    assert [found.key for page in spool.pages() for found in page] == ["cafz", latin]


def test_a_spool_crosses_pages(tmp_path: Path) -> None:
    spool = SortedSpool(tmp_path).fill([[listed(f"{number:04}") for number in reversed(range(2000))]])
    assert [len(page) for page in spool.pages()] == [1000, 1000]


def test_a_spool_that_has_no_place_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalError, match="sort a listing in .*file"):
        SortedSpool(tmp_path / "file")
