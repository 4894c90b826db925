# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of jobs, from ledgers and volumes alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ledger_rows import MD5, bring_to, failure, listed, make_job, row_of

from snowsync.config.job_file import Job
from snowsync.core import machine
from snowsync.core.errors import ConfigError, LedgerError
from snowsync.core.machine import boot_id, now_ms
from snowsync.core.model import Evidence, State
from snowsync.inspection import status as status_module
from snowsync.inspection.status import gather, gather_all, is_running, rates, render, unit_status
from snowsync.ledger.ledger import Ledger, Staged
from snowsync.ledger.reader import LedgerReader
from snowsync.ledger.records import Run, Tally
from snowsync.volumes.marker import write_marker


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return make_job(tmp_path)


@pytest.fixture
def ledger(job: Job) -> Iterator[Ledger]:
    opened = Ledger(job.ledger_path)
    yield opened
    opened.close()


def a_run(**changes: object) -> Run:
    now = now_ms()
    values: dict[str, object] = {
        "id": 1, "unit": "source", "pid": os.getpid(), "boot_id": boot_id(), "started_ms": now, "ended_ms": None,
        "updated_ms": now, "status": "", "listed_objects": 0, "listed_bytes": 0, "moved_objects": 0, "moved_bytes": 0,
        "released_objects": 0, "released_bytes": 0, "failures": 0, "passes": 0,
    }  # fmt: skip
    return Run(**{**values, **changes})  # type: ignore[arg-type]  # a mapping of mixed values


# -- units ------------------------------------------------------------------------------------------------------


def test_a_run_of_this_process_is_running() -> None:
    assert is_running(a_run())
    assert unit_status(a_run()).word == "running"


def test_a_run_that_ended_is_stopped() -> None:
    run = a_run(ended_ms=now_ms())
    assert not is_running(run)
    assert unit_status(run).word == "stopped"


def test_a_run_of_an_earlier_boot_died_whatever_its_pid_is() -> None:
    assert unit_status(a_run(boot_id="another")).word == "died"


def test_a_pid_that_another_process_got_since_is_not_the_run() -> None:
    assert unit_status(a_run(started_ms=now_ms() - 365 * 86_400_000)).word == "died"


def test_a_process_that_is_gone_died() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        run = a_run(pid=process.pid)
        assert unit_status(run).word == "running"
    assert unit_status(run).word == "died"


def test_a_process_that_nobody_has_waited_for_died_too() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert unit_status(a_run(pid=process.pid)).word == "died"
    process.wait()


def test_a_run_that_says_nothing_is_silent() -> None:
    quiet = unit_status(a_run(updated_ms=now_ms() - 100_000))
    assert (quiet.word, quiet.alive) == ("silent", True)
    assert 99 < quiet.silent_seconds < 130


def test_a_unit_that_an_error_stopped_says_which() -> None:
    line = status_module.unit_line(unit_status(a_run(ended_ms=0, status="stopped: Failed to list: no such bucket")))
    assert line == "source: stopped at 1970-01-01 00:00:00 UTC: Failed to list: no such bucket"
    assert status_module.unit_line(unit_status(a_run(ended_ms=0, status="stopped"))).endswith("UTC")


# -- jobs -------------------------------------------------------------------------------------------------------


def test_a_job_that_has_not_run_says_so(job: Job) -> None:
    status = gather(job)
    assert (status.has_run, status.drained, status.error) == (False, False, None)
    assert "has not run yet" in render(status)
    assert [volume.problem for volume in status.volumes] == ["", ""]


def test_a_job_under_way_tells_states_units_and_what_it_waits_for(job: Job, ledger: Ledger) -> None:
    volume = ledger.volumes.volume_id("one", write_marker(job.volumes[0].path, "one")["uuid"], str(job.volumes[0].path))
    run = ledger.journal.start_run("source")
    bring_to(ledger, "a", State.PENDING, volume)
    bring_to(ledger, "b", State.STAGED, volume)
    bring_to(ledger, "c", State.QUARANTINED, volume)
    ledger.journal.update_run(run, status="waiting for space on one", listed=(3, 30), passes=1, failures=1)
    ledger.journal.set_fact("source", "http://a:1", "list_order", "sorted")
    status = gather(job)
    assert not status.drained
    text = render(status)
    for expected in (
        "2 objects open (20 B), 1 failed or quarantined",
        f"source: running (pid {os.getpid()})",
        "waiting for space on one",
        "quarantined",
        "list_order",
        "c: now quarantined",
        "in use",
    ):
        assert expected in text
    assert status.volumes[0].held == Tally(1, 10)
    assert status.volumes[0].free > 0


def test_a_drained_job_says_so(job: Job, ledger: Ledger) -> None:
    volume = ledger.volumes.volume_id("one", "uuid-1", "/one")
    run = ledger.journal.start_run("source")
    bring_to(ledger, "a", State.RELEASED, volume)
    ledger.journal.update_run(run, status="", listed=(1, 10), passes=1, failures=0, ended=True)
    status = gather(job)
    assert status.drained
    assert render(status).startswith("job photos: drained")


def test_what_is_not_proven_is_counted(job: Job, ledger: Ledger) -> None:
    ledger.journal.start_run("source")
    bring_to(ledger, "proven", State.STAGED, 1)
    assert gather(job).record()["not_proven"] == 0
    assert "not proven" not in render(gather(job))
    ledger.listing.observe([listed("k", etag="v1")])
    ledger.staging.commit_staged([Staged(row_of(ledger, "k"), 0, MD5, "", Evidence.NOT_PROVEN, "t")], 1, 0)
    assert gather(job).record()["not_proven"] == 1
    assert "1 not proven at the source" in render(gather(job))


def test_a_job_whose_source_was_never_listed_is_not_drained(job: Job, ledger: Ledger) -> None:
    """As after a wrong credential: nothing is open, since nothing is known."""
    assert "has not run yet" in render(gather(job)), "a ledger that was only just made"
    run = ledger.journal.start_run("source")
    ledger.journal.update_run(run, status="stopped", listed=(0, 0), passes=0, failures=0, ended=True)
    status = gather(job)
    assert not status.drained
    assert "the listing of the source is not complete" in render(status)


def test_the_record_is_plain_json_with_labels(job: Job, ledger: Ledger) -> None:
    volume = ledger.volumes.volume_id("one", "uuid-1", "/one")
    bring_to(ledger, "odd\nkey", State.FAILED, volume)
    ledger.journal.start_run("destination")
    record = json.loads(json.dumps(gather(job).record()))
    assert record["states"]["failed"] == {"objects": 1, "bytes": 10}
    assert (record["units"][0]["unit"], record["units"][0]["state"]) == ("destination", "running")
    assert (record["failures"][0]["key"], record["failures"][0]["state"]) == ("odd\nkey", "failed")
    assert record["volumes"][0]["held"] == {"objects": 0, "bytes": 0}


def test_a_ledger_that_cannot_be_read_is_an_error_of_that_job_alone(job: Job) -> None:
    job.state_path.mkdir(parents=True)
    job.ledger_path.write_bytes(b"not a database" * 1000)
    status = gather(job)
    assert isinstance(status.error, LedgerError)
    assert "not a database" in render(status)


def test_all_jobs_of_a_folder_also_the_wrong_ones(tmp_path: Path) -> None:
    job = {
        "job": "good",
        "state_dir": str(tmp_path / "state"),
        "source": {"bucket": "camera", "endpoints": ["http://127.0.0.1:9"]},
        "destination": {"bucket": "archive", "endpoints": ["http://127.0.0.1:9"]},
        "volumes": [{"name": "one", "path": str(tmp_path / "one"), "require_mount": False}],
    }
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (jobs / "good.yml").write_text(json.dumps(job))
    (jobs / "wrong.yaml").write_text("job: WRONG")
    (jobs / "good.yml.orig").write_text("no job file")
    good, wrong = gather_all(jobs)
    assert (good.job, good.error, good.origin) == ("good", None, str(jobs / "good.yml"))
    assert wrong.job == "wrong" and isinstance(wrong.error, ConfigError)
    assert gather_all(tmp_path / "nowhere") == []


# -- rates ------------------------------------------------------------------------------------------------------


def test_rates_are_of_the_last_minute(job: Job, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock that counts from the boot: the other one is set back by a year meanwhile."""
    volume = ledger.volumes.volume_id("one", "uuid-1", "/one")
    monkeypatch.setattr(machine, "process_ticks", lambda _pid: 100_000)
    for at, key in ((1_000_000, "old"), (1_050_000, "a"), (1_060_000, "b")):
        monkeypatch.setattr(machine, "ticks_ms", lambda at=at: at)
        monkeypatch.setattr(machine, "now_ms", lambda at=at: 1_790_000_000_000 - (at > 1_000_000) * 31_536_000_000)
        if at == 1_000_000:
            ledger.journal.start_run("source")
        bring_to(ledger, key, State.STAGED, volume)
    with LedgerReader.open(job.ledger_path) as reader:
        found = rates(reader, now=1_070_000)
        assert found["source"].objects == pytest.approx(2 / 60)
        assert found["source"].bytes == pytest.approx(20 / 60)
        assert found["destination"].objects == 0
        assert rates(reader, now=1_001_000)["source"].objects == pytest.approx(3.0), "a run of one second"


# -- volumes ----------------------------------------------------------------------------------------------------


def test_a_volume_that_cannot_be_used_says_why(job: Job, ledger: Ledger) -> None:
    for config in job.volumes:
        marker = write_marker(config.path, config.name)
        ledger.volumes.volume_id(config.name, marker["uuid"], str(config.path))
    for config in job.volumes:
        shutil.rmtree(config.path / ".snowsync")
    write_marker(job.volumes[1].path, "foreign")
    missing, foreign = gather(job).volumes
    assert "marker is missing" in missing.problem
    assert "another volume (foreign" in foreign.problem
    shutil.rmtree(job.volumes[0].path)
    assert gather(job).volumes[0].problem == "there is no such directory"


def test_a_mount_point_without_its_disk_is_seen(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    mounted = replace(job, volumes=tuple(replace(volume, require_mount=True) for volume in job.volumes))
    assert {volume.problem for volume in gather(mounted).volumes} == {"nothing is mounted there"}


def test_a_volume_that_left_the_job_and_still_holds_objects_is_named(job: Job, ledger: Ledger) -> None:
    old = ledger.volumes.volume_id("old", "uuid-9", "/old")
    ledger.volumes.volume_id("empty", "uuid-8", "/empty")
    bring_to(ledger, "a", State.STAGED, old)
    names = {volume.name: volume.problem for volume in gather(job).volumes}
    assert set(names) == {"one", "two", "old"}
    assert "no longer in the job" in names["old"]


def test_failures_are_listed_newest_first_and_no_more_than_ten(job: Job, ledger: Ledger) -> None:
    volume = ledger.volumes.volume_id("one", "uuid-1", "/one")
    for number in range(12):
        bring_to(ledger, f"k{number:02}", State.PENDING, volume)
        ledger.journal.record(failure(row_of(ledger, f"k{number:02}")))
    status = gather(job)
    assert [found.key for found in status.failures] == [f"k{number:02}" for number in range(11, 1, -1)]
    assert "12 failures recorded" in render(status)
    assert status_module.RATE_SECONDS == 60
