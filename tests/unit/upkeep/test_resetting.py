# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resetting a job: what it says before, what it removes, and above all what it leaves alone."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fake_stores import Rig
from job_mapping import mapping_of

from snowsync.cli import command as cli
from snowsync.core.errors import ConfigError, JobLocked, LedgerError
from snowsync.core.model import State
from snowsync.ledger import files, locks
from snowsync.ledger.files import put_aside
from snowsync.ledger.ledger import Ledger
from snowsync.ledger.reader import LedgerReader
from snowsync.upkeep import resetting
from snowsync.volumes import clearing

REGULAR, LINK = stat.S_IFREG, stat.S_IFLNK


@pytest.mark.parametrize(
    ("folder", "relative", "mode", "own"),
    [
        ("incoming", "12", REGULAR, True),
        ("incoming", "12.a1B2c3D4", REGULAR, True),
        ("incoming", "evacuate-12", REGULAR, True),
        ("incoming", "probe-6f1b1a52-8a40-4b57-9fd4-5d8f3c0b6c1e", REGULAR, True),
        ("incoming", "probe-6f1b1a52-8a40-4b57-9fd4-5d8f3c0b6c1eaaaaaaaa", REGULAR, True),
        ("incoming", "12", LINK, False),
        ("incoming", "notes.txt", REGULAR, False),
        ("incoming", "a/12", REGULAR, False),
        ("staged", "a/b~1", REGULAR, True),
        ("staged", "a%20b~12", REGULAR, True),
        ("staged", "a b~12", REGULAR, False),
        ("staged", "a/b", REGULAR, False),
        ("staged", "a/b~1", LINK, False),
        ("staged", "lost+found/x", REGULAR, False),
        ("quarantine", "7", REGULAR, True),
        ("quarantine", "7~1", REGULAR, True),
        ("quarantine", "7~1.2", REGULAR, True),
        ("quarantine", "7~", REGULAR, False),
        ("outgoing", "7", LINK, True),
        ("outgoing", "7", REGULAR, False),
        ("outgoing", "7.delivered", REGULAR, False),
    ],
)
def test_what_is_the_engines(folder: str, relative: str, mode: int, own: bool) -> None:
    assert clearing.is_own(folder, relative, mode | 0o640) is own


def used(rig: Rig) -> None:
    """Staged and delivered objects, and a dropped file that is staged."""
    rig.changes = {"keep_staged": True, "volumes": [{**volume} for volume in plain_volumes(rig)]}
    rig.changes["volumes"][0]["drop_folder"] = "drop"
    (rig.folder / "one" / "drop").mkdir()
    for number in range(3):
        rig.source.put(f"a/delivered-{number}", bytes(100))
    rig.run()
    (rig.folder / "one" / "drop" / "picture").write_bytes(b"people's")
    for number in range(4):
        rig.source.put(f"b/staged-{number}", bytes(1000))
    rig.run(direction="source")


def plain_volumes(rig: Rig) -> list[dict[str, object]]:
    return list(mapping_of(rig.job)["volumes"])


def contents(rig: Rig) -> dict[str, bytes]:
    """Every file below the volumes."""
    found = [path for name in ("one", "two") for path in (rig.folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(rig.folder)): path.read_bytes() for path in found}


def test_a_survey_counts_and_changes_nothing(rig: Rig) -> None:
    used(rig)
    before = contents(rig)
    found = resetting.survey(rig.job)
    record = found.record()
    assert (record["staged_objects"], record["undelivered_objects"], record["dropped_objects"]) == (8, 5, 1)
    assert (record["undelivered_bytes"], record["unavailable_objects"]) == (4000 + 8, 0)
    assert (record["changed"], record["confirmed"], record["ledger"]) == (False, False, "")
    assert sum(volume["files"] for volume in record["volumes"]) == 7
    assert contents(rig) == before
    text = resetting.render(found)
    assert "4 objects (3.9 KiB) staged but not delivered" in text
    assert "1 file in drop folders: kept" in text
    assert "--confirm photos" in text


def test_a_reset_leaves_what_is_not_the_engines(rig: Rig) -> None:
    used(rig)
    strangers = [
        "one/lost+found/#12",
        "one/film.mov",
        "one/.snowsync/notes",
        "one/.snowsync/staged/photos/readme",
        "one/.snowsync/staged/photos/a/readme.txt",
        "one/.snowsync/staged/other/a~1",
        "one/.snowsync/incoming/other/1",
        "one/.snowsync/incoming/photos/holiday.jpeg",
        "two/.snowsync/quarantine/photos/evidence",
    ]
    for name in strangers:
        path = rig.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not the engine's")
    (rig.folder / "outside").mkdir()
    (rig.folder / "outside" / "x~1").write_bytes(b"far away")
    (rig.folder / "one/.snowsync/staged/photos/link").symlink_to(rig.folder / "outside")
    (rig.folder / "one/.snowsync/incoming/photos/99").write_bytes(b"half")
    (rig.folder / "two/.snowsync/quarantine/photos/98").write_bytes(b"bad")
    (rig.folder / "one/.snowsync/outgoing/photos/97").symlink_to("../../../drop/picture")
    (rig.folder / "one/.snowsync/outgoing/photos/5").symlink_to(rig.folder / "one/drop/deep/film")
    (rig.folder / "one/.snowsync/outgoing/photos/5.delivered").write_bytes(b"moved aside just before a crash")
    (rig.folder / "one/.snowsync/outgoing/photos/6.delivered").write_bytes(b"and without a link")
    done = resetting.reset(rig.job, "photos")
    own = {f"{name}/.snowsync/{file}" for name in ("one", "two") for file in ("volume.json", "ledgers/photos.json")}
    kept = {*own, "one/drop/picture", "one/drop/deep/film", "one/drop/6.delivered", *strangers}
    assert set(contents(rig)) == kept
    assert (rig.folder / "outside" / "x~1").exists()
    assert not (rig.folder / "one/.snowsync/outgoing/photos/97").is_symlink()
    assert not (rig.folder / "one/.snowsync/staged/photos/b").exists(), "empty directories go"
    one, two = done.volumes
    assert {name.rpartition("/")[2] for name in one.found.kept} == {
        "readme", "readme.txt", "holiday.jpeg", "link",
    }  # fmt: skip
    assert (one.found.kept_count, two.found.kept_count) == (4, 1)
    assert (done.changed, sum(volume.found.files.objects for volume in done.volumes)) == (True, 11)
    text = resetting.render(done)
    assert "holiday.jpeg" in text and "removed" in text and done.ledger in text


def test_after_a_reset_the_job_begins_anew_and_a_second_one_changes_nothing(rig: Rig) -> None:
    used(rig)
    done = resetting.reset(rig.job, "photos")
    with LedgerReader.open(Path(done.ledger)) as reader:
        assert reader.states()[State.STAGED].objects == 5
    assert not rig.job.ledger_path.exists()
    again = resetting.reset(rig.job, "photos")
    assert (again.changed, again.ledger) == (False, "")
    rig.changes["keep_staged"] = False
    rig.run()
    assert set(rig.destination.objects) == {*rig.source.objects, "picture"}
    assert rig.files_left() == []


def test_another_name_resets_nothing(rig: Rig) -> None:
    used(rig)
    before = contents(rig)
    with pytest.raises(ConfigError, match="the job is 'photos'"):
        resetting.reset(rig.job, "photo")
    assert contents(rig) == before
    assert rig.job.ledger_path.exists()


@pytest.mark.parametrize("name", [*locks.UNITS, locks.EVACUATION])
def test_whoever_works_at_the_job_must_end_first(rig: Rig, name: str) -> None:
    used(rig)
    before = contents(rig)
    with locks.locked(rig.job, name), pytest.raises(JobLocked):
        resetting.reset(rig.job, "photos")
    assert contents(rig) == before
    assert rig.job.ledger_path.exists()


def test_a_volume_that_is_away_is_named_and_cleared_later(rig: Rig) -> None:
    used(rig)
    (rig.folder / "one").rename(rig.folder / "elsewhere")
    survey = resetting.survey(rig.job)
    assert survey.record()["unavailable_objects"] > 0
    done = resetting.reset(rig.job, "photos")
    one, two = done.volumes
    assert (one.found.problem, one.found.files.objects) != ("", 0) and two.found.problem == ""
    assert "removed when it is back, by the next run or by another reset" in resetting.render(done)
    (rig.folder / "elsewhere").rename(rig.folder / "one")
    assert resetting.reset(rig.job, "photos").volumes[0].found.files.objects > 0
    assert rig.files_left() == []


def test_a_reset_that_was_cut_off_is_begun_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    used(rig)
    unlink, left = os.unlink, [2]

    def cut_off(name: str, **options: int) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        unlink(name, **options)

    with monkeypatch.context() as patch:
        patch.setattr(clearing.os, "unlink", cut_off)
        with pytest.raises(KeyboardInterrupt):
            resetting.reset(rig.job, "photos")
    assert rig.job.ledger_path.exists(), "the ledger goes last"
    rig.changes["keep_staged"] = False
    rig.run()
    assert set(rig.destination.objects) == {*rig.source.objects, "picture"}, "what was removed was fetched again"
    assert resetting.reset(rig.job, "photos").ledger
    assert rig.files_left() == []


# -- the ledger ---------------------------------------------------------------------------------------------------


@pytest.fixture
def reader_in_the_way(rig: Rig) -> Iterator[sqlite3.Connection]:
    used(rig)
    with contextlib.closing(sqlite3.connect(rig.job.ledger_path, isolation_level=None)) as db:
        db.execute("BEGIN")
        db.execute("SELECT COUNT(*) FROM objects").fetchone()
        ledger = rig.ledger
        ledger.journal.start_run("source")  # the reader's moment is in the log now, and keeps it from being emptied
        ledger.close()
        yield db


def test_a_ledger_that_somebody_reads_is_not_torn_apart(
    rig: Rig, reader_in_the_way: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_BUSY_SECONDS", 0.2)
    with pytest.raises(LedgerError, match="another process keeps reading it"):
        put_aside(rig.job.ledger_path)
    assert rig.job.ledger_path.exists()
    reader_in_the_way.execute("ROLLBACK")
    aside = put_aside(rig.job.ledger_path)
    ledger = Ledger(aside)
    assert len(ledger.objects.work(State.STAGED, after_id=0, limit=100)) == 5
    ledger.close()
    assert not list(rig.job.state_path.glob("ledger.db-*"))


def test_a_damaged_ledger_is_put_aside_all_the_same(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    used(rig)
    rig.job.ledger_path.write_bytes(b"not a database, but long enough to look at " * 100)
    path = job_file(rig)
    assert cli.main(["reset", path]) == 8
    assert "not a database" in capsys.readouterr().out
    assert cli.main(["reset", path, "--confirm", "photos"]) == 0
    assert not rig.job.ledger_path.exists()
    assert rig.files_left() == []


def test_two_ledgers_of_one_second_are_both_kept(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.time, "time", lambda: 1_700_000_000.0)
    names = set()
    for _ in range(2):
        rig.ledger.close()
        names.add(put_aside(rig.job.ledger_path).name)
    assert names == {"ledger.db.reset-1700000000", "ledger.db.reset-17000000000"}


# -- the command --------------------------------------------------------------------------------------------------


def job_file(rig: Rig) -> str:
    path = rig.folder / "photos.yml"
    path.write_text(yaml.safe_dump(mapping_of(rig.job)))
    return str(path)


def test_reset_from_the_command_line(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    used(rig)
    path = job_file(rig)
    assert cli.main(["reset", path, "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert (before["confirmed"], before["undelivered_objects"]) == (False, 5)
    assert cli.main(["reset", path, "--confirm", "other"]) == 2
    with locks.locked(rig.job, "source"):
        assert cli.main(["reset", path, "--confirm", "photos"]) == 7
    assert rig.job.ledger_path.exists()
    capsys.readouterr()
    assert cli.main(["reset", path, "--json", "--confirm", "photos"]) == 0
    after = json.loads(capsys.readouterr().out)
    assert (after["confirmed"], after["changed"], after["undelivered_objects"]) == (True, True, 5)
    assert Path(after["ledger"]).exists()
    assert cli.main(["reset", path]) == 0
    assert "0 objects" in capsys.readouterr().out
