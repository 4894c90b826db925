# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot rule, and everything else that a clock which was set must not decide."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ledger_rows import bring_to, make_job, row_of, select

from snowsync.config.job_file import Job
from snowsync.core.machine import now_ms, process_ticks
from snowsync.core.model import State
from snowsync.inspection.status import gather, is_running, unit_status
from snowsync.ledger import boot
from snowsync.ledger.boot import SUSPECT_MS
from snowsync.ledger.ledger import Ledger
from snowsync.ledger.reader import LedgerReader
from snowsync.upkeep.draining import wait_until_drained
from snowsync.volumes.marker import write_marker

YEAR = 365 * 86_400_000


class Machine:
    """A machine whose clocks and boots are the test's: of the wall, which may be set, and since the boot."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.boot, self.ticks, self.wall = "first", 1000, now_ms()
        monkeypatch.setattr("snowsync.core.machine.boot_id", lambda: self.boot)
        monkeypatch.setattr("snowsync.core.machine.ticks_ms", lambda: self.ticks)
        monkeypatch.setattr("snowsync.core.machine.now_ms", lambda: self.wall)

    def passes(self, milliseconds: int) -> None:
        self.ticks += milliseconds
        self.wall += milliseconds

    def reboots(self) -> None:
        self.boot, self.ticks = f"{self.boot}, and the next", 500
        self.wall += 60_000


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def suspects(ledger: Ledger) -> list[str]:
    return [str(key) for (key,) in select(ledger, "SELECT key FROM objects WHERE suspect = 1 ORDER BY key")]


def lives_on(ledger: Ledger, run: int) -> None:
    ledger.journal.update_run(run, status="", listed=(0, 0), passes=0, failures=0)


# -- the boot rule ----------------------------------------------------------------------------------------------


def test_what_was_staged_in_the_last_minutes_before_a_boot_is_suspect(
    ledger: Ledger, volume: int, machine: Machine
) -> None:
    run = ledger.journal.start_run("source")
    bring_to(ledger, "long-ago", State.STAGED, volume)
    machine.passes(SUSPECT_MS)
    for number in range(10):  # more groups than any number of them that one could think of
        machine.passes(1000)
        bring_to(ledger, f"late-{number}", State.STAGED, volume)
    bring_to(ledger, "delivered", State.DELIVERED, volume)
    lives_on(ledger, run)
    assert ledger.recovery.apply_boot_rule() == 0, "no boot lies between"
    machine.reboots()
    assert ledger.recovery.apply_boot_rule() == 10
    assert suspects(ledger) == [f"late-{number}" for number in range(10)]
    ledger.journal.start_run("source")
    bring_to(ledger, "new", State.STAGED, volume)
    assert ledger.recovery.apply_boot_rule() == 0, "once per boot"


def test_a_machine_that_worked_on_for_long_after_its_last_group_suspects_nothing(
    ledger: Ledger, volume: int, machine: Machine
) -> None:
    run = ledger.journal.start_run("source")
    bring_to(ledger, "k", State.STAGED, volume)
    machine.passes(SUSPECT_MS + 1)
    lives_on(ledger, run)
    machine.reboots()
    assert ledger.recovery.apply_boot_rule() == 0


@pytest.mark.parametrize("step", [-YEAR, YEAR])
def test_a_clock_that_was_set_changes_nothing_of_that(ledger: Ledger, volume: int, machine: Machine, step: int) -> None:
    ledger.journal.start_run("source")
    bring_to(ledger, "long-ago", State.STAGED, volume)
    machine.passes(SUSPECT_MS)
    machine.passes(1000)
    bring_to(ledger, "before-the-step", State.STAGED, volume)
    machine.wall += step
    bring_to(ledger, "after-the-step", State.STAGED, volume)
    machine.reboots()
    ledger.recovery.apply_boot_rule()
    assert suspects(ledger) == ["after-the-step", "before-the-step"]


def test_a_boot_in_which_only_an_evacuation_ran_counts_as_well(ledger: Ledger, volume: int, machine: Machine) -> None:
    ledger.journal.start_run("source")
    bring_to(ledger, "k", State.STAGED, volume)
    other = ledger.volumes.volume_id("two", "uuid-2", "/volumes/two")
    machine.passes(2 * SUSPECT_MS)
    machine.reboots()
    row = row_of(ledger, "k")
    ledger.moves.commit_moved([row], other, ledger.moves.intend(other, [row]))
    machine.reboots()
    assert ledger.recovery.apply_boot_rule() == 1


def test_groups_of_an_older_version_are_suspect_by_number_or_by_time(
    ledger: Ledger, volume: int, machine: Machine
) -> None:
    ledger.journal.start_run("source")
    for number in range(6):
        bring_to(ledger, f"{number}", State.STAGED, volume)
        machine.passes(2 * SUSPECT_MS)
    ledger.database.connection.execute("UPDATE groups SET ticks_ms = NULL")
    machine.reboots()
    ledger.recovery.apply_boot_rule()
    assert suspects(ledger) == ["2", "3", "4", "5"]


def test_a_kill_while_it_is_applied_keeps_what_was_marked(
    ledger: Ledger, volume: int, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot, "_STEP", 10)
    ledger.journal.start_run("source")
    for number in range(25):
        bring_to(ledger, f"{number}", State.STAGED, volume)
    machine.reboots()
    steps: list[str] = []

    def killed_in_the_second_step(doing: str) -> None:
        steps.append(doing)
        if len(steps) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.recovery.apply_boot_rule(killed_in_the_second_step)
    assert len(suspects(ledger)) == 10
    assert ledger.recovery.apply_boot_rule() == 15
    assert len(suspects(ledger)) == 25


def test_a_ledger_that_never_ran_suspects_nothing(ledger: Ledger) -> None:
    assert ledger.recovery.apply_boot_rule() == 0


# -- who runs ---------------------------------------------------------------------------------------------------


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return make_job(tmp_path)


@pytest.mark.parametrize("step", [-YEAR, -3600_000, 3600_000, YEAR])
def test_a_unit_that_runs_is_running_whatever_the_clock_was_set_to(job: Job, step: int) -> None:
    ledger = Ledger(job.ledger_path)
    ledger.journal.start_run("source")
    times = "started_ms = started_ms + ?, updated_ms = updated_ms + ?"
    ledger.database.connection.execute(f"UPDATE runs SET {times}", (step, step))
    (unit,) = gather(job).units
    assert (unit.word, unit.silent_seconds < 60) == ("running", True)
    ledger.close()


@pytest.mark.parametrize("step", [-YEAR, YEAR])
def test_a_volume_is_not_drained_while_the_source_unit_may_place_on_it_whatever_the_clock_says(
    job: Job, step: int
) -> None:
    ledger = Ledger(job.ledger_path)
    config = job.volumes[0]
    marker = write_marker(config.path, config.name)
    number = ledger.volumes.volume_id(config.name, marker["uuid"], str(config.path))
    ledger.journal.start_run("source")
    ledger.volumes.set_placing({number: True})
    ledger.volumes.set_draining(number, True)
    ledger.database.connection.execute(
        "UPDATE runs SET started_ms = started_ms + ?, updated_ms = updated_ms + ?", (step, step)
    )
    assert not wait_until_drained(job, config.name, timeout=0.0)
    ledger.volumes.set_placing({number: False})
    assert wait_until_drained(job, config.name, timeout=0.0)
    ledger.close()


def test_another_process_with_its_number_is_not_the_unit(ledger: Ledger, tmp_path: Path) -> None:
    ledger.journal.start_run("source")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert process_ticks(other.pid) is not None
        ledger.database.connection.execute("UPDATE runs SET pid = ?", (other.pid,))
        (run,) = LedgerReader(ledger).runs()
        assert not is_running(run), "it started at another time"
        ledger.database.connection.execute("UPDATE runs SET process_ticks = ?", (process_ticks(other.pid),))
        (run,) = LedgerReader(ledger).runs()
        assert is_running(run)
    assert process_ticks(other.pid) is None
    assert unit_status(run).word == "died"
