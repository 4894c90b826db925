# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saying what an edited job means: what is told before, what becomes of every row, and that no file is removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_stores import FakeMover, FakeStore, Rig
from job_mapping import mapping_of
from ledger_rows import bring_to, listed, row_of, select

from snowsync.cli import command as cli
from snowsync.core.errors import ConfigError, JobLocked, LedgerError
from snowsync.core.model import State
from snowsync.ledger import locks
from snowsync.ledger.binding import End
from snowsync.ledger.ledger import Ledger
from snowsync.ledger.records import Tally
from snowsync.upkeep import rebinding
from snowsync.upkeep.rebinding import NEW, SAME

HERE, THERE = End("archive", "a/", ("one:443",)), End("archive-2", "b/", ("two:443",))
SOURCE, OTHER = End("camera", "2026/", ("one:443",)), End("camera-2", "2026/", ("two:443",))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """One object in each state, bound to SOURCE and HERE."""
    made = Ledger(tmp_path / "ledger.db")
    made.stores.record_ends({"source": SOURCE, "destination": HERE})
    number = made.volumes.volume_id("one", "uuid", "/one")
    for state in State:
        bring_to(made, f"2026/{state.label}", state, number)
    with made.database.transaction() as db:
        db.execute("UPDATE objects SET sends = 2, acknowledged = 1")
        staged = row_of(made, "2026/staged").id
        db.execute("INSERT INTO uploads VALUES (?, 1, 'http://one', 'archive', 'x', 'u', 5, 0)", (staged,))
        db.execute(
            "INSERT INTO parts (object_id, generation, hop, start, length, digests)"
            " VALUES (?, 1, 'destination', 0, 5, '')",
            (staged,),
        )
    return made


def states(ledger: Ledger) -> dict[str, str]:
    """What was in which state by its key, and is now."""
    found = select(ledger, "SELECT key, state FROM objects ORDER BY key")
    return {str(key).rpartition("/")[2]: State(int(str(state))).label for key, state in found}


AS_THEY_WERE = {state.label: state.label for state in State}


def test_the_same_destination_under_another_name_keeps_every_proof(ledger: Ledger) -> None:
    before = select(ledger, "SELECT * FROM objects")
    ledger.stores.rebind_destination(THERE, is_same=True)
    assert select(ledger, "SELECT * FROM objects") == before
    assert [(each.id, each.end) for each in ledger.stores.bindings()] == [(1, SOURCE), (2, THERE)]


def test_of_a_new_destination_nothing_is_proven(ledger: Ledger) -> None:
    ledger.stores.rebind_destination(THERE, is_same=False)
    assert states(ledger) == AS_THEY_WERE | {"delivered": "staged", "released": "pending"}
    assert select(ledger, "SELECT DISTINCT sends, acknowledged, target FROM objects") == [(0, 0, 0)]
    assert select(ledger, "SELECT COUNT(*) FROM uploads") == select(ledger, "SELECT COUNT(*) FROM parts") == [(0,)]
    assert ledger.stores.bindings()[-1].id == 3
    row = row_of(ledger, "2026/delivered")
    assert row.volume == 1 and row.digest and not row.destination_etag and row.is_sound
    assert row_of(ledger, "2026/released").volume is None
    ledger.deliveries.commit_delivered([], [], 0)


def test_of_a_new_source_only_what_has_no_copy_is_forgotten_with_a_record(ledger: Ledger) -> None:
    bring_to(ledger, "2026/left", State.PENDING, 1)
    bring_to(ledger, "2026/kept", State.PENDING, 1)
    with ledger.database.transaction() as db:
        db.execute("UPDATE objects SET left_on = 1 WHERE key = '2026/left'")
        db.execute("UPDATE objects SET quarantined_on = 1 WHERE key = '2026/kept'")
        db.execute(
            "UPDATE objects SET next_generation = 2, next_size = 3, next_etag = 'e', next_modified_ms = 4"
            " WHERE key = '2026/staged'"
        )
    ledger.stores.rebind_source(OTHER, is_same=False)
    left = {"staged": "staged", "delivered": "delivered", "released": "released", "left": "pending", "kept": "pending"}
    assert states(ledger) == left
    forgotten = select(ledger, "SELECT key, generation, state FROM forgotten ORDER BY key")
    assert forgotten == [
        ("2026/failed", 1, 5),
        ("2026/pending", 1, 0),
        ("2026/quarantined", 1, 4),
        ("2026/staged", 2, 0),
    ]
    assert all("another source" in str(reason) for (reason,) in select(ledger, "SELECT reason FROM forgotten"))
    assert select(ledger, "SELECT next_generation FROM objects WHERE next_size IS NOT NULL") == []
    assert select(ledger, "SELECT sends FROM objects WHERE key = '2026/staged'") == [(2,)], "its proofs are not asked"


def test_of_the_same_source_nothing_is_forgotten(ledger: Ledger) -> None:
    ledger.stores.rebind_source(OTHER, is_same=True)
    assert states(ledger) == AS_THEY_WERE
    assert [each.end for each in ledger.stores.bindings() if each.side == "source"] == [SOURCE, OTHER]


@pytest.mark.parametrize("is_same", [True, False])
def test_what_has_another_name_now_is_not_proven_under_it(ledger: Ledger, is_same: bool) -> None:
    """Keys that both prefixes begin are called otherwise at the destination, the others are not."""
    for key in ("2026/07/delivered", "2026/07/released", "2026/07/staged"):
        bring_to(ledger, key, State[key.rpartition("/")[2].upper()], 1)
    with ledger.database.transaction() as db:
        db.execute("UPDATE objects SET sends = 2")
    ledger.stores.rebind_source(End("camera", "2026/07/", ("one:443",)), is_same=is_same)
    found = {str(key): (state, sends) for key, state, sends in select(ledger, "SELECT key, state, sends FROM objects")}
    assert found["2026/07/delivered"] == found["2026/07/staged"] == (State.STAGED, 0)
    assert found.get("2026/07/released") == ((State.PENDING, 0) if is_same else None)
    assert found["2026/delivered"] == (State.DELIVERED, 2)
    assert found["2026/released"] == (State.RELEASED, 2)
    assert found["2026/staged"] == (State.STAGED, 2)


def test_a_prefix_that_is_taken_back_gives_the_old_names_back(ledger: Ledger) -> None:
    bring_to(ledger, "2026/07/a", State.STAGED, 1)
    ledger.stores.rebind_source(End("camera", "2026/07/", ("one:443",)), is_same=True)
    row = row_of(ledger, "2026/07/a")
    with ledger.database.transaction() as db:
        db.execute("UPDATE objects SET state = 2 WHERE id = ?", (row.id,))
    ledger.stores.rebind_source(SOURCE, is_same=True)
    assert row_of(ledger, "2026/07/a").state == State.STAGED
    assert row_of(ledger, "2026/delivered").state == State.DELIVERED


def test_a_replaced_file_that_the_old_destination_has_is_not_removed_for_a_new_one(ledger: Ledger) -> None:
    ledger.listing.observe([listed("2026/delivered", 11, "0" * 32)])
    assert ledger.copies.permit("2026/delivered", 1, 1)
    ledger.stores.rebind_destination(THERE, is_same=False)
    assert ledger.copies.permit("2026/delivered", 1, 1) is None
    assert ledger.copies.has_file("2026/delivered", 1, 1)


def test_dropped_files_that_are_gone_are_forgotten_by_name(ledger: Ledger) -> None:
    for key, state in (("2026/film", State.RELEASED), ("2026/song", State.DELIVERED)):
        bring_to(ledger, key, state, 1)
    with ledger.database.transaction() as db:
        db.execute("UPDATE objects SET origin = 1 WHERE key IN ('2026/film', '2026/song')")
    ledger.stores.rebind_destination(THERE, is_same=False)
    assert "film" not in states(ledger) and states(ledger)["song"] == "staged"
    ((key, message),) = select(ledger, "SELECT key, message FROM failures WHERE hop = 'destination'")
    assert key == "2026/film" and "no longer here" in str(message)
    assert [key for (key,) in select(ledger, "SELECT key FROM forgotten")] == ["2026/film"]


def test_it_is_all_or_nothing(ledger: Ledger) -> None:
    before = select(ledger, "SELECT * FROM objects"), ledger.stores.bindings()
    ledger.database.connection.execute(
        "CREATE TRIGGER full BEFORE DELETE ON uploads BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
    )
    with pytest.raises(LedgerError, match="disk is full"):
        ledger.stores.rebind_destination(THERE, is_same=False)
    assert (select(ledger, "SELECT * FROM objects"), ledger.stores.bindings()) == before


# -- the command ----------------------------------------------------------------------------------------------------


def moved(rig: Rig) -> None:
    """Two objects released, two staged, one pending; then the destination is edited."""
    for number in range(2):
        rig.source.put(f"done-{number}", bytes(10))
    rig.run()
    for number in range(2):
        rig.source.put(f"staged-{number}", bytes(100))
    rig.run(direction="source")
    ledger = rig.ledger
    ledger.listing.observe([listed("pending", 1000)])
    ledger.close()
    rig.changes = {"destination": {"bucket": "archive-2", "prefix": "b/"}}


def test_a_survey_says_what_each_answer_means_and_changes_nothing(rig: Rig) -> None:
    moved(rig)
    before = rig.states()
    found = rebinding.survey(rig.job)
    assert {name: tally for name, tally in found.tallies.items() if tally.objects} == {
        "staged": Tally(2, 200),
        "released": Tally(2, 20),
        "pending": Tally(1, 1000),
    }
    text = rebinding.render(found)
    assert "the ledger has s3://archive/ at destination.test:1" in text
    assert "the job file has s3://archive-2/b/ at destination.test:1" in text
    assert "2 objects (20 B) released: fetched again if the source still has them" in text
    assert "snowsync rebind photos --as new --confirm photos" in text and "nothing was changed" in text
    record = found.record()
    assert record["changed"] is record["confirmed"] is False and record["refused"] == ["destination"]
    assert record["sides"][0]["changed"] == ["bucket", "prefix"] and record["staged_bytes"] == 200
    assert rig.states() == before
    with pytest.raises(ConfigError):
        rig.run()


def test_a_new_destination_gets_everything(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    moved(rig)
    files = rig.staged_files()
    done = rebinding.rebind(rig.job, NEW, "photos")
    assert rig.staged_files() == files
    assert done.record()["changed"] and not done.left and "no earlier proof counts" in rebinding.render(done)
    new = FakeStore()
    monkeypatch.setitem(FakeMover.stores, rig.destination_endpoints[0], new)
    rig.source.put("pending", bytes(1000))
    rig.run()
    assert sorted(new.objects) == ["b/done-0", "b/done-1", "b/pending", "b/staged-0", "b/staged-1"]
    assert rig.files_left() == []


def test_the_same_destination_gets_only_the_rest(rig: Rig) -> None:
    moved(rig)
    rebinding.rebind(rig.job, SAME, "photos")
    rig.source.put("pending", bytes(1000))
    rig.run()
    assert sorted(rig.destination.objects) == ["b/pending", "b/staged-0", "b/staged-1", "done-0", "done-1"]


def test_another_device_behind_the_same_address(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.source.put("a", b"x")
    rig.run()
    assert rebinding.rebind(rig.job, NEW, "photos").record()["changed"] is False
    assert "recorded in the ledger" in rebinding.render(rebinding.survey(rig.job))
    text = rebinding.render(rebinding.survey(rig.job, "destination"))
    assert "unchanged" in text and "--side destination --as new" in text
    assert rebinding.rebind(rig.job, NEW, "photos", "destination").record()["changed"]
    new = FakeStore()
    monkeypatch.setitem(FakeMover.stores, rig.destination_endpoints[0], new)
    rig.run()
    assert set(new.objects) == {"a"}


def test_both_sides_may_mean_different_things(rig: Rig) -> None:
    moved(rig)
    rig.changes = {"source": {"bucket": "camera-2"}, **rig.changes}
    assert [side.name for side in rebinding.survey(rig.job).sides] == ["source", "destination"]
    done = rebinding.rebind(rig.job, NEW, "photos", "source")
    assert done.left == ["destination"] and "the destination is still refused" in rebinding.render(done)
    assert "pending" not in rig.states()
    with pytest.raises(ConfigError, match=r"destination\.bucket"):
        rig.run()
    rebinding.rebind(rig.job, SAME, "photos")
    rig.run()


def test_what_was_staged_under_another_prefix_keeps_its_name(rig: Rig) -> None:
    rig.changes = {"source": {"prefix": "2026/"}, "destination": {"prefix": "to/"}}
    rig.source.put("2026/a", b"old")
    rig.run(direction="source")
    rig.changes = {"source": {"prefix": "2027/"}, "destination": {"prefix": "to/"}}
    rebinding.rebind(rig.job, NEW, "photos")
    rig.source.put("2027/b", b"new")
    rig.run()
    assert {key: stored.data for key, stored in rig.destination.objects.items()} == {"to/a": b"old", "to/b": b"new"}
    report = json.loads(max((rig.job.reports_path).glob("*.json")).read_text())
    assert {moved["dst_key"] for moved in report["objects_moved"]} == {"to/a", "to/b"}


def test_a_dropped_file_is_delivered_under_any_prefix(rig: Rig) -> None:
    volumes = mapping_of(rig.job)["volumes"]
    volumes[0]["drop_folder"] = "drop"
    (rig.folder / "one/drop").mkdir()
    (rig.folder / "one/drop/film").write_bytes(b"people's")
    rig.changes = {"volumes": volumes, "source": {"prefix": "2026/"}}
    rig.run(direction="source")
    for prefix in ("2027/", ""):
        rig.changes = {"volumes": volumes, "source": {"prefix": prefix}}
        rebinding.rebind(rig.job, SAME, "photos")
    rig.run()
    assert rig.destination.objects["film"].data == b"people's"
    assert not (rig.folder / "one/drop/film").exists()
    assert rig.states() == {"film": "released"} and rig.failures() == [], "it was taken again under its new key, once"


def test_nothing_is_rebound_beside_a_unit_or_for_another_name(rig: Rig) -> None:
    moved(rig)
    before = rig.states()
    with pytest.raises(ConfigError, match="nothing was changed"):
        rebinding.rebind(rig.job, NEW, "phots")
    for name in (*locks.UNITS, locks.EVACUATION):
        with locks.locked(rig.job, name), pytest.raises(JobLocked):
            rebinding.rebind(rig.job, NEW, "photos")
    assert rig.states() == before and rebinding.survey(rig.job).sides


def test_from_the_command_line(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    path = rig.folder / "photos.yml"

    def run(*arguments: str) -> tuple[int, str, str]:
        path.write_text(yaml.safe_dump(mapping_of(rig.job)))
        return (cli.main([arguments[0], str(path), *arguments[1:]]), *capsys.readouterr())

    code, _out, error = run("rebind")
    assert code == 8 and "has not run yet" in error
    code, _out, error = run("rebind", "--as", "new", "--confirm", "photos")
    assert code == 8 and not rig.job.ledger_path.exists()
    moved(rig)
    code, _out, error = run("run", "--until-drained")
    assert code == 2 and "destination.bucket: is 'archive-2', but the ledger was created with 'archive'" in error
    for words in (("plan",), ("verify",), ("resend", "done-0")):
        code, _out, error = run(*words)
        assert code == 2 and "snowsync rebind photos" in error, words
    code, out, _error = run("status")
    assert code == 0 and "the job file is rejected: destination.bucket: is 'archive-2'" in out
    code, out, _error = run("rebind", "--json")
    document: dict[str, Any] = json.loads(out)
    assert (code, document["confirmed"], document["released_objects"]) == (0, False, 2)
    code, out, _error = run("rebind", "--as", "new")
    assert code == 0 and "nothing was changed" in out
    code, _out, error = run("rebind", "--confirm", "photos")
    assert code == 2 and "--as" in error
    code, out, _error = run("rebind", "--as", "new", "--confirm", "photos", "--json")
    assert (code, json.loads(out)["meaning"]) == (0, "new")
    code, out, _error = run("rebind")
    assert code == 0 and "recorded in the ledger" in out
