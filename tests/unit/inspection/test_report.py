# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: the forerunners' words with our numbers, whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_rows import MD5, bring_to, failure, listed, make_job, row_of

from snowsync.config.job_file import Job
from snowsync.core import machine
from snowsync.core.errors import LocalError, Trouble
from snowsync.core.machine import now_ms
from snowsync.core.model import Evidence, State
from snowsync.inspection import report as report_module
from snowsync.inspection.report import gather, render, save
from snowsync.ledger.ledger import Failure, Ledger, Staged
from snowsync.ledger.reader import LedgerReader

# What consumers of the format read (see the transfer scripts' own initial document).
WORDS = {
    "service", "src_bucket", "src_prefix", "src_region", "src_endpoint_urls", "dst_bucket", "dst_prefix", "dst_region",
    "dst_endpoint_urls", "max_workers", "start_time_epoch", "status", "objects_moved", "end_time_epoch",
    "total_duration_seconds", "initial_synced_objects", "initial_unsynced_objects", "final_synced_objects",
    "final_unsynced_objects", "completion_percentage", "total_bytes_to_move", "bytes_transferred", "remaining_bytes",
    "failed_objects",
}  # fmt: skip


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return make_job(tmp_path, source={"prefix": "in/"}, destination={"prefix": "out/", "endpoints": []})


@pytest.fixture
def ledger(job: Job) -> Iterator[Ledger]:
    opened = Ledger(job.ledger_path)
    yield opened
    opened.close()


@pytest.fixture
def volume(ledger: Ledger) -> int:
    return ledger.volumes.volume_id("one", "uuid-1", "/volumes/one")


def write_report(job: Job, ledger: Ledger, **options: Any) -> Path:
    """As a run does at its end."""
    reader = LedgerReader(ledger)
    return save(job, reader, gather(reader, **options))


def written(job: Job, ledger: Ledger, **options: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(write_report(job, ledger, **options).read_text(encoding="utf-8"))
    return document


def at(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    monkeypatch.setattr(machine, "now_ms", lambda: seconds * 1000)
    monkeypatch.setattr("snowsync.inspection.report.now_ms", lambda: seconds * 1000)


def test_it_has_every_word_of_the_format_and_the_job_in_them(job: Job, ledger: Ledger) -> None:
    document = written(job, ledger)
    assert set(document) == WORDS | {"snowsync"}
    assert (document["src_bucket"], document["src_prefix"], document["src_region"]) == ("camera", "in/", "us-east-1")
    assert document["src_endpoint_urls"] == ["http://127.0.0.1:9"]
    assert document["dst_endpoint_urls"] == ["no_endpoint"], "the forerunners' word for the real AWS"


def test_an_empty_source_is_complete(job: Job, ledger: Ledger) -> None:
    document = written(job, ledger)
    assert (document["status"], document["completion_percentage"], document["objects_moved"]) == ("Completed", 1.0, [])


def test_objects_moved_name_both_keys_and_their_times(
    job: Job, ledger: Ledger, volume: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, 100)
    ledger.journal.start_run("source")
    bring_to(ledger, "in/a\n\"b'", State.PENDING, volume)
    at(monkeypatch, 107)
    bring_to(ledger, "in/a\n\"b'", State.RELEASED, volume)
    bring_to(ledger, "in/c", State.DELIVERED, volume)
    path = write_report(job, ledger)
    assert path == job.reports_path / "dt_data_100.json"
    document = json.loads(path.read_text())
    assert document["objects_moved"][0] == {
        "src_key": "in/a\n\"b'",
        "dst_key": "out/a\n\"b'",
        "bytes": 10,
        "epoch_time_start": 100.0,
        "epoch_time_end": 107.0,
        "total_time_seconds": 7.0,
    }
    assert [moved["src_key"] for moved in document["objects_moved"]] == ["in/a\n\"b'", "in/c"]
    assert (document["start_time_epoch"], document["end_time_epoch"], document["total_duration_seconds"]) == (
        100,
        107,
        7,
    )


def test_a_run_reports_what_it_did_itself(
    job: Job, ledger: Ledger, volume: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, 100)
    bring_to(ledger, "in/before", State.RELEASED, volume)
    at(monkeypatch, 200)
    bring_to(ledger, "in/now", State.RELEASED, volume)
    ledger.listing.observe([listed("in/open", 70)])
    document = written(job, ledger, since_ms=150_000)
    numbers = {
        word: value for word, value in document.items() if word.startswith(("initial", "final", "total_b", "by", "rem"))
    }
    assert numbers == {
        "initial_synced_objects": 1,
        "initial_unsynced_objects": 2,
        "final_synced_objects": 2,
        "final_unsynced_objects": 1,
        "total_bytes_to_move": 80,
        "bytes_transferred": 10,
        "remaining_bytes": 70,
    }
    assert document["completion_percentage"] == pytest.approx(2 / 3)
    assert [moved["src_key"] for moved in document["objects_moved"]] == ["in/now"]


@pytest.mark.parametrize(
    ("state", "running", "status"),
    [
        (State.PENDING, True, "Running"),
        (State.STAGED, True, "Running"),
        (State.PENDING, False, "Failed"),
        (State.STAGED, False, "Failed"),
        (State.DELIVERED, False, "Completed"),
        (State.RELEASED, True, "Completed"),
        (State.QUARANTINED, True, "Failed"),
        (State.FAILED, False, "Failed"),
    ],
)
def test_it_is_completed_only_when_everything_arrived(
    job: Job, ledger: Ledger, volume: int, state: State, running: bool, status: str
) -> None:
    bring_to(ledger, "in/fine", State.RELEASED, volume)
    bring_to(ledger, "in/k", state, volume)
    document = written(job, ledger, running=running)
    assert document["status"] == status
    assert (document["end_time_epoch"] is False) == (status == "Running")
    assert document["failed_objects"] == ({"in/k": 10} if state in (State.QUARANTINED, State.FAILED) else {})


def test_what_went_wrong_is_there_with_both_digests_also_when_it_was_repaired(
    job: Job, ledger: Ledger, volume: int
) -> None:
    ledger.journal.start_run("source")
    row = bring_to(ledger, "in/k", State.PENDING, volume)
    wrong = Failure(row, "source", Trouble.MISMATCH, "other bytes", "quarantined, fetched again", MD5, "0" * 32)
    ledger.objects.retry(wrong, delay_ms=0, count=True)
    bring_to(ledger, "in/k", State.RELEASED, volume)
    document = written(job, ledger)
    assert document["status"] == "Completed"
    (kept,) = document["snowsync"]["failures"]
    assert (kept["key"], kept["trouble"], kept["expected"], kept["found"]) == ("in/k", "mismatch", MD5, "0" * 32)
    assert (kept["state"], kept["action"]) == ("released", "quarantined, fetched again")
    text = render(job, gather(LedgerReader(ledger)))
    assert f"expected {MD5}, found {'0' * 32}" in text
    assert "in/k: now released" in text


def test_evidence_hops_and_volumes_are_told(job: Job, ledger: Ledger, volume: int) -> None:
    ledger.journal.start_run("source")
    bring_to(ledger, "in/a", State.RELEASED, volume)
    bring_to(ledger, "in/b", State.STAGED, volume)
    more = written(job, ledger)["snowsync"]
    assert more["evidence"] == {"source": {"store_digest": 2}, "destination": {"store_digest": 1}}
    assert (more["hops"]["source"]["objects"], more["hops"]["destination"]["bytes"]) == (2, 10)
    (told,) = more["volumes"]
    assert (told["name"], told["staged_objects"], told["held_objects"], told["held_bytes"]) == ("one", 2, 1, 10)
    assert more["states"]["staged"] == {"objects": 1, "bytes": 10}


@pytest.mark.parametrize("level", [Evidence.NOT_PROVEN, Evidence.READ_BACK])
def test_what_is_not_proven_is_counted_and_named(job: Job, ledger: Ledger, volume: int, level: Evidence) -> None:
    """Also what older versions called read_back at the source."""
    ledger.journal.start_run("source")
    bring_to(ledger, "in/proven", State.RELEASED, volume)
    for number in range(25):
        ledger.listing.observe([listed(f"in/{number:02}", etag="v1")])
        ledger.staging.commit_staged([Staged(row_of(ledger, f"in/{number:02}"), 0, MD5, "", level, "t")], volume, 0)
    bring_to(ledger, "in/pending", State.PENDING, volume)
    more = written(job, ledger)["snowsync"]
    assert more["evidence"]["source"] == {"not_proven": 25, "store_digest": 1}
    assert more["not_proven"] == {"objects": 25, "keys": [f"in/{number:02}" for number in range(25)]}
    text = render(job, gather(LedgerReader(ledger)))
    assert "25 not proven at the source: two reads agreed" in text
    assert "\n  in/00\n" in text and "... and 5 more" in text
    assert "25 not proven, 1 by store digest" in text


def test_where_all_is_proven_nothing_is_said_of_it(job: Job, ledger: Ledger, volume: int) -> None:
    ledger.journal.start_run("source")
    bring_to(ledger, "in/a", State.RELEASED, volume)
    assert written(job, ledger)["snowsync"]["not_proven"] == {"objects": 0, "keys": []}
    assert "not proven" not in render(job, gather(LedgerReader(ledger)))


def test_a_report_is_replaced_whole_and_leaves_nothing_beside_it(job: Job, ledger: Ledger, volume: int) -> None:
    ledger.journal.start_run("source")
    first = write_report(job, ledger)
    before = first.stat().st_ino
    bring_to(ledger, "in/a", State.RELEASED, volume)
    assert write_report(job, ledger) == first
    assert first.stat().st_ino != before, "renamed into place, not written over"
    assert [path.name for path in job.reports_path.iterdir()] == [first.name]
    assert first.stat().st_mode & 0o777 == 0o640


def test_a_report_that_cannot_be_finished_leaves_the_old_one(
    job: Job, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.journal.start_run("source")
    path = write_report(job, ledger)
    before = path.read_bytes()

    def no_space(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(LocalError, match="No space left"):
        write_report(job, ledger)
    assert path.read_bytes() == before
    assert len(list(job.reports_path.iterdir())) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_belongs_to_the_owner_of_the_state(job: Job, ledger: Ledger) -> None:
    os.chown(job.state_path, 12345, 23456)
    path = write_report(job, ledger)
    assert [(found.stat().st_uid, found.stat().st_gid) for found in (path, path.parent)] == [(12345, 23456)] * 2


def test_a_folder_that_cannot_be_made_is_named(job: Job, ledger: Ledger) -> None:
    job.reports_path.write_text("in the way")
    with pytest.raises(LocalError, match="dt_data_"):
        write_report(job, ledger)


def test_of_many_runs_the_last_hundred_reports_stay_and_all_that_is_not_a_report(job: Job, ledger: Ledger) -> None:
    job.reports_path.mkdir()
    strange = {"dt_data_.json", "dt_data_x.json", "dt_data_5.json.orig", "notes"}
    for name in strange:
        (job.reports_path / name).touch()
    paths = [write_report(job, ledger, since_ms=(1000 + number) * 1000) for number in range(103)]
    kept = {path.name for path in job.reports_path.iterdir()}
    assert kept == {path.name for path in paths[3:]} | strange
    earlier = write_report(job, ledger, since_ms=1000)
    assert earlier.exists() and not paths[3].exists(), "what was asked for just now is not taken away again"


def test_many_objects_stream(job: Job, ledger: Ledger, volume: int) -> None:
    ledger.listing.observe([listed(f"in/{number}") for number in range(2100)])
    for state in (State.STAGED, State.DELIVERED, State.RELEASED):
        ledger.database.connection.execute(f"UPDATE objects SET state = {int(state)}, delivered_ms = listed_ms + 5")
    document = written(job, ledger, since_ms=0)
    assert len(document["objects_moved"]) == 2100
    assert len({moved["dst_key"] for moved in document["objects_moved"]}) == 2100


def test_the_text_shows_no_control_characters_and_every_state(job: Job, ledger: Ledger, volume: int) -> None:
    ledger.journal.start_run("source")
    bring_to(ledger, "in/\x1b[31mred", State.FAILED, volume)
    bring_to(ledger, "in/pending", State.PENDING, volume)
    ledger.journal.record(failure(row_of(ledger, "in/pending")))
    text = render(job, gather(LedgerReader(ledger)), Path("/var/lib/report.json"))
    assert "\x1b" not in text
    assert '"in/\\u001b[31mred": now failed' in text
    assert text.startswith("job photos: not finished,"), "what is pending has not failed"
    assert "2 failures" in text and "report: /var/lib/report.json" in text
    assert "pending" in text and "failed" in text and "staged  " not in text.split("\n\n")[1]


def test_only_the_first_failures_are_named(job: Job, ledger: Ledger, volume: int) -> None:
    ledger.journal.start_run("source")
    for number in range(25):
        bring_to(ledger, f"in/{number:02}", State.FAILED, volume)
    text = render(job, gather(LedgerReader(ledger)), names=5)
    assert text.count("now failed") == 5
    assert "and more" in text


def test_what_was_forgotten_is_named_with_its_reason(job: Job, ledger: Ledger, volume: int) -> None:
    ledger.journal.start_run("source")
    ledger.listing.observe([listed("left\nearly")])
    ledger.objects.gone(failure(row_of(ledger, "left\nearly")))
    assert ledger.listing.forget_gone(["left\nearly"], (), "not listed any more") == ["left\nearly"]
    path = write_report(job, ledger)
    text = render(job, gather(LedgerReader(ledger)))
    assert '"left\\nearly": not listed any more' in text
    more = json.loads(path.read_text())["snowsync"]
    assert (more["forgotten_count"], more["forgotten"][0]["key"]) == (1, "left\nearly")


def test_a_report_gives_each_volume_its_share_and_counts_what_it_does_not_list(
    job: Job, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _two = (ledger.volumes.volume_id(name, f"uuid-{name}", f"/{name}") for name in ("one", "two"))
    bring_to(ledger, "staged", State.STAGED, one)
    bring_to(ledger, "pending", State.PENDING, one)
    for _time in range(3):
        ledger.journal.record(failure(row_of(ledger, "pending")))
    monkeypatch.setattr(report_module, "_FAILURES_KEPT", 0)
    found = gather(LedgerReader(ledger), since_ms=1)
    assert {share.row.name: share.staged.objects for share in found.volumes} == {"one": 1, "two": 0}
    assert (found.failures.items, found.failures.count > 0) == ([], True)
    assert found.period.seconds == (found.period.until_ms - 1) / 1000


def test_a_period_never_ends_before_it_began(job: Job, ledger: Ledger) -> None:
    later = now_ms() + 86_400_000
    period = gather(LedgerReader(ledger), since_ms=later).period
    assert (period.until_ms, period.seconds) == (later, 0.0)
