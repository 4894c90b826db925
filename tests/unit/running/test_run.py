# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs on fake stores: when a run ends, and what it says then."""

from __future__ import annotations

import os
import threading

import pytest
from fake_stores import Rig, Running, refuse, wait_until

from snowsync.core.blame import MANY
from snowsync.core.errors import JobLocked, JobStopped, LedgerError, StoreError, Trouble
from snowsync.hops.source.source_unit import SourceUnit
from snowsync.hops.switches import Switches
from snowsync.ledger.listing import ListingLedger
from snowsync.ledger.objects import ObjectLedger
from snowsync.ledger.staging import StagingLedger
from snowsync.running.run import run_job


def test_the_control_everything_is_delivered_and_nothing_is_left(rig: Rig) -> None:
    for number in range(50):
        rig.source.put(f"folder/object {number}", b"x" * number)
    summary = rig.run()
    rig.assert_delivered()
    assert summary.drained
    assert summary.failure_count == 0
    assert rig.files_left() == []
    assert set(rig.states().values()) == {"released"}
    assert not rig.run().changed


def test_a_run_leaves_no_descriptors_and_no_threads(rig: Rig) -> None:
    rig.source.put("a", b"x")
    rig.run()  # what is made once for the whole process is there now
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for number in range(3):
        rig.source.put(f"object-{number}", b"x")
        rig.run()
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert threading.active_count() <= threads


def test_a_second_run_of_a_unit_is_refused_and_told_what_to_do(rig: Rig) -> None:
    ledger = rig.ledger
    first = SourceUnit(rig.job, ledger, Switches(), until="drained", alone=True)
    with first.locked(), pytest.raises(JobLocked) as caught:
        rig.run()
    assert f"is already running (pid {os.getpid()})" in str(caught.value)
    assert "snowsync status photos" in str(caught.value)
    assert rig.run(direction="destination").drained, "the other unit is free"


def test_a_run_that_is_refused_gives_no_failed_object_another_chance(rig: Rig) -> None:
    rig.changes = {"attempts": 1}
    rig.source.put("a", b"x")
    rig.source.before = refuse(Trouble.DENIED, operation="fetch")
    assert rig.run().states["failed"] == 1
    with SourceUnit(rig.job, rig.ledger, Switches(), until="drained", alone=True).locked(), pytest.raises(JobLocked):
        rig.run()
    assert rig.states() == {"a": "failed"}


def test_a_timeout_during_an_outage_is_not_drained(rig: Rig) -> None:
    rig.source.answers_at = lambda url: False
    summary = run_job(rig.job, timeout=0.5)
    assert not summary.drained
    assert [words.split(":")[0] for words in summary.waiting] == ["source", "destination"]
    assert "nothing answers there" in summary.waiting[0]


def test_only_what_still_runs_is_waited_for(rig: Rig) -> None:
    """The source unit is done long before the destination's outage ends the run."""
    rig.source.put("a", b"x")
    rig.run(direction="source")
    rig.destination.answers_at = lambda url: False
    summary = run_job(rig.job, direction="destination", timeout=0.5)
    assert not summary.drained
    (words,) = summary.waiting
    assert words.startswith("destination: waiting for the destination: ")


def test_a_run_that_was_stopped_before_it_listed_everything_is_not_drained(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Switches] = []

    def switches() -> Switches:
        held.append(Switches())
        return held[-1]

    monkeypatch.setattr("snowsync.running.run.Switches", switches)
    rig.source.put("a", b"x")
    probed: list[str] = []

    def stop_before_the_first_page(operation: str, _key: str) -> None:
        if probed:
            held[-1].stop.set()
            raise StoreError(Trouble.SERVER, "list", "a stop and an outage at once")
        probed.append(operation)

    rig.source.before = stop_before_the_first_page
    summary = run_job(rig.job, timeout=60)
    assert summary.states["pending"] == 0
    assert not summary.drained


@pytest.mark.parametrize("direction", ["both", "source", "destination"])
@pytest.mark.parametrize("until", ["drained", "once"])
def test_a_job_with_nothing_to_do_ends(rig: Rig, direction: str, until: str) -> None:
    summary = rig.run(direction, until)
    assert summary.drained
    assert not summary.changed


def test_a_refused_credential_ends_both_units_and_is_in_the_ledger(rig: Rig) -> None:
    rig.source.put("a", b"x")
    rig.source.before = refuse(Trouble.CREDENTIAL, operation="list")
    with pytest.raises(JobStopped):
        rig.run()
    ledger = rig.ledger
    ended = dict(ledger.database.stream("SELECT unit, status FROM runs WHERE ended_ms IS NOT NULL"))
    assert str(ended["source"]).startswith("stopped: Failed to")
    assert ended["destination"] == "stopped"


@pytest.mark.parametrize("side", ["source", "destination"])
def test_one_pass_does_not_wait_for_an_outage(rig: Rig, side: str) -> None:
    (rig.source if side == "source" else rig.destination).answers_at = lambda url: False
    with pytest.raises(StoreError, match=f"reach the {side} of job photos"):
        rig.run(until="once")


def test_one_pass_bears_a_single_failed_request(rig: Rig) -> None:
    for number in range(3):
        rig.source.put(f"object-{number}", b"x")
    rig.source.before = refuse(Trouble.SERVER, operation="fetch", times=1)
    rig.destination.before = refuse(Trouble.SERVER, operation="send", times=1)
    assert rig.run(until="once").drained
    rig.assert_delivered()


def test_one_pass_fetches_what_the_last_page_brought(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pass may end between the feeder's look into the ledger and its question whether the pass has ended."""
    work = ObjectLedger.work
    listed = threading.Event()
    rig.source.put("a", b"x")

    def work_then_wait(self: ObjectLedger, *arguments: object, **options: object) -> object:
        rows = work(self, *arguments, **options)  # type: ignore[arg-type]  # whatever the signature is
        if not rows and not listed.is_set():
            rig.source.before = lambda operation, key: None
            listed.wait(1)
        return rows

    monkeypatch.setattr(ObjectLedger, "work", work_then_wait)
    observe = ListingLedger.observe

    def observe_then_tell(self: ListingLedger, page: object) -> object:
        observed = observe(self, page)  # type: ignore[arg-type]  # passed on as it came
        threading.Timer(0.05, listed.set).start()  # after the lister has said that it is finished
        return observed

    monkeypatch.setattr(ListingLedger, "observe", observe_then_tell)
    rig.run(until="once")
    rig.assert_delivered()


def test_a_ledger_that_takes_no_writes_ends_the_run_clearly_and_loses_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        rig.source.put(f"object-{number}", b"x" * 100)
    commit = StagingLedger.commit_staged

    def full(_self: StagingLedger, *_arguments: object) -> None:
        raise LedgerError("Failed to write the ledger: database or disk is full")

    monkeypatch.setattr(StagingLedger, "commit_staged", full)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(LedgerError, match="disk is full"):
        rig.run()
    assert len(os.listdir("/proc/self/fd")) <= before
    monkeypatch.setattr(StagingLedger, "commit_staged", commit)
    rig.run()
    rig.assert_delivered()
    assert rig.files_left() == []


@pytest.mark.parametrize(
    ("side", "operations", "until"),
    [
        ("source", ("fetch", "get"), "drained"),
        ("source", ("fetch", "get"), "once"),
        ("destination", ("send",), "drained"),
    ],
)
def test_a_run_ends_without_a_store_that_answers_and_serves_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, side: str, operations: tuple[str, ...], until: str
) -> None:
    """It is said why, no object has failed, and the next run has all of them still."""
    monkeypatch.setattr("snowsync.core.blame._LEAST_TRIALS", 2)
    monkeypatch.setattr("snowsync.store.endpoint._LONGEST_REST", 0.2)
    rig.changes = {"attempts": 1}
    for number in range(40):
        rig.source.put(f"object-{number:02}", b"x")
    store = getattr(rig, side)

    def before(operation: str, key: str) -> None:
        if operation in operations:
            raise StoreError(Trouble.SERVER, f"{operation} {key}", "HTTP 500")

    store.before = before
    summary = rig.run(until=until)
    assert not summary.drained
    (unserved,) = summary.unserved
    assert unserved.startswith(f"the {side} answers but serves no objects: ")
    assert "HTTP 500" in unserved
    waiting = summary.states["pending"] + summary.states["staged"]
    assert waiting >= 40 - (MANY - 1), "only what failed before it was seen is counted"
    store.before = lambda operation, key: None
    assert rig.run().drained
    rig.assert_delivered()


def test_a_service_goes_on_trying_a_store_that_serves_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snowsync.core.blame._LEAST_TRIALS", 2)
    monkeypatch.setattr("snowsync.store.endpoint._LONGEST_REST", 0.05)
    rig.changes = {"attempts": 1}
    for number in range(40):
        rig.source.put(f"object-{number:02}", b"x")
    fetch, get = (refuse(Trouble.SERVER, operation=operation) for operation in ("fetch", "get"))

    def before(operation: str, key: str) -> None:
        fetch(operation, key)
        get(operation, key)

    rig.source.before = before
    run = Running(rig.job, "both", "forever")
    pool = run.unit("source").endpoints
    wait_until(lambda: pool.trials > 4)
    assert run.unit("source").activity.status.startswith("waiting for the source: ")
    rig.source.before = lambda operation, key: None
    wait_until(lambda: rig.states().get("object-39") == "released")
    run.stop()
