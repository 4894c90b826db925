# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watching a job: the numbers of one look, what they look like, when it ends, and what it costs."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ledger_rows import bring_to, delivered, failure, listed, make_job, row_of, rows, staged
from rich.console import Console

from snowsync.config.job_file import Job
from snowsync.core import machine
from snowsync.core.errors import LedgerError, ObjectsFailed
from snowsync.core.machine import now_ms
from snowsync.core.model import State
from snowsync.inspection import progress as progress_module
from snowsync.inspection import status as status_module
from snowsync.inspection.progress import Progress
from snowsync.inspection.progress_view import HopView, eta
from snowsync.inspection.status import Rate
from snowsync.ledger.ledger import Ledger
from snowsync.ledger.reader import LedgerReader
from snowsync.ledger.records import Tally
from snowsync.show.watch import plain_line, render, watch


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return make_job(tmp_path)


@pytest.fixture
def ledger(job: Job) -> Iterator[Ledger]:
    opened = Ledger(job.ledger_path)
    yield opened
    opened.close()


@pytest.fixture
def volume(ledger: Ledger) -> int:
    return ledger.volumes.volume_id("one", "uuid-1", "/one")


@pytest.fixture
def progress(job: Job) -> Iterator[Progress]:
    watched = Progress(job)
    yield watched
    watched.close()


def end(ledger: Ledger, run: int, *, passes: int = 1) -> None:
    ledger.journal.update_run(run, status="stopped", listed=(0, 0), passes=passes, failures=0, ended=True)


def shown(progress: Progress, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(render(progress.look(), width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# -- before and after -------------------------------------------------------------------------------------------


def test_a_ledger_that_is_not_there_yet_is_waited_for(job: Job, progress: Progress) -> None:
    view = progress.look()
    assert "has not run yet" in view.waiting_for
    assert not view.objects.drained
    assert "has not run yet" in plain_line(view) and "waiting" in shown(progress)
    ledger = Ledger(job.ledger_path)
    ledger.journal.start_run("source")
    assert progress.look().waiting_for == ""
    ledger.close()


def test_a_ledger_that_cannot_be_read_is_an_error(job: Job, progress: Progress) -> None:
    job.state_path.mkdir(parents=True)
    job.ledger_path.write_bytes(b"not a database" * 1000)
    with pytest.raises(LedgerError, match="not a database"):
        progress.look()


def test_nothing_is_drained_before_a_run_and_before_its_first_pass(ledger: Ledger, progress: Progress) -> None:
    assert not progress.look().objects.drained, "a ledger that was only just made"
    run = ledger.journal.start_run("source")
    ledger.journal.start_run("destination")
    assert not progress.look().objects.drained, "the source has not been listed whole"
    ledger.journal.update_run(run, status="", listed=(0, 0), passes=1, failures=0)
    assert progress.look().objects.drained
    ledger.listing.observe([listed("k")])
    assert not progress.look().objects.drained


def test_a_drained_job_stays_so_when_its_units_have_ended(ledger: Ledger, volume: int, progress: Progress) -> None:
    end(ledger, ledger.journal.start_run("source"))
    bring_to(ledger, "a", State.RELEASED, volume)
    view = progress.look()
    assert view.objects.drained and not view.run.is_running


# -- numbers ----------------------------------------------------------------------------------------------------


def test_each_hop_has_what_it_moved_and_what_remains(ledger: Ledger, volume: int, progress: Progress) -> None:
    source, destination = ledger.journal.start_run("source"), ledger.journal.start_run("destination")
    ledger.listing.observe([listed(f"{number}", 100) for number in range(10)])
    ledger.staging.commit_staged([staged(row) for row in rows(ledger, State.PENDING)[:3]], volume, source)
    ledger.staging.commit_staged([staged(row) for row in rows(ledger, State.PENDING)[:3]], volume, source)
    for _group in range(2):
        ledger.deliveries.commit_delivered([delivered(row) for row in rows(ledger, State.STAGED)[:1]], [], destination)
    view = progress.look()
    assert (view.hops["source"].moved, view.hops["source"].remaining) == (Tally(6, 600), Tally(4, 400))
    assert (view.hops["destination"].moved, view.hops["destination"].remaining) == (Tally(2, 200), Tally(8, 800))
    assert view.hops["source"].fraction == pytest.approx(0.6)
    assert view.hops["source"].rate.objects > 0
    assert view.eta_seconds is not None and view.eta_seconds >= view.hops["source"].eta_seconds  # type: ignore[operator]  # not None
    (one,) = [found for found in view.volumes if found.status.name == "one"]
    assert (one.status.held, one.rate.objects > 0) == (Tally(6, 600), True)


def test_one_group_is_not_enough_for_an_estimate(ledger: Ledger, volume: int, progress: Progress) -> None:
    run = ledger.journal.start_run("source")
    ledger.listing.observe([listed(f"{number}", 100) for number in range(3)])
    estimates = []
    for row in rows(ledger, State.PENDING)[:2]:
        ledger.staging.commit_staged([staged(row)], volume, run)
        estimates.append(progress.look().hops["source"].eta_seconds)
    assert estimates[0] is None and estimates[1] is not None


def test_groups_carry_the_sums_forward_until_they_are_taken_again(
    ledger: Ledger, volume: int, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ledger.journal.start_run("source")
    ledger.listing.observe([listed(f"{number}", 100) for number in range(10)])
    progress.look()
    progress._totals._due = time.monotonic() + 3600
    monkeypatch.setattr(LedgerReader, "states", lambda _self: pytest.fail("no sum over objects is due"))
    ledger.staging.commit_staged([staged(row) for row in rows(ledger, State.PENDING)[:6]], volume, run)
    view = progress.look()
    assert (view.objects.states[State.PENDING], view.objects.states[State.STAGED]) == (Tally(4, 400), Tally(6, 600))
    ledger.deliveries.commit_delivered([delivered(row) for row in rows(ledger, State.STAGED)[:1]], [], run)
    assert progress.look().objects.states[State.DELIVERED] == Tally(1, 100)
    assert progress.look().objects.states[State.DELIVERED] == Tally(1, 100), "each group counts once"


def test_sums_are_taken_as_seldom_as_they_are_dear(
    ledger: Ledger, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.journal.start_run("source")
    clock = [1000.0]
    taken: list[float] = []
    states = LedgerReader.states

    def dear(reader: LedgerReader) -> object:
        taken.append(clock[0])
        clock[0] += 2.0
        return states(reader)

    monkeypatch.setattr(progress_module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(LedgerReader, "states", dear)
    for _look in range(200):
        progress.look()
        clock[0] += progress.pause(0.5)
    between = [later - earlier for earlier, later in zip(taken, taken[1:], strict=False)]
    assert between and min(between) >= 2.0 / 0.05


def test_the_last_look_shows_how_it_ended(ledger: Ledger, volume: int, progress: Progress) -> None:
    """However dear the sums are: that an object was released is in no group that would carry them forward."""
    run = ledger.journal.start_run("source")
    ledger.listing.observe([listed("k")])
    progress.look()
    progress._totals._due = time.monotonic() + 3600
    bring_to(ledger, "k", State.RELEASED, volume)
    ledger.journal.update_run(run, status="up to date", listed=(1, 10), passes=1, failures=0)
    view = progress.look()
    assert (view.objects.is_settled, view.objects.states[State.RELEASED].objects) == (True, 1)


def test_looks_that_are_dear_themselves_come_seldom(progress: Progress) -> None:
    progress.cost_seconds = 0.001
    assert progress.pause(0.5) == 0.5
    progress.cost_seconds = 0.1
    assert progress.pause(0.5) == pytest.approx(2.0)


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Sets the clock that counts from the boot, in ms; a run begins in this moment, as its process does."""

    def set_to(now: int) -> None:
        for module in (machine, progress_module):
            monkeypatch.setattr(module, "ticks_ms", lambda: now)
        monkeypatch.setattr(machine, "process_ticks", lambda _pid: now * os.sysconf("SC_CLK_TCK") // 1000)

    yield set_to


def test_an_earlier_run_is_not_this_runs_rate(
    ledger: Ledger, volume: int, progress: Progress, ticks: Callable[[int], None]
) -> None:
    ticks(1_000_000)
    first = ledger.journal.start_run("source")
    bring_to(ledger, "earlier", State.STAGED, volume)
    end(ledger, first)
    ticks(1_010_000)
    ledger.journal.start_run("source")
    ledger.listing.observe([listed("now")])
    view = progress.look()
    assert (view.hops["source"].rate, view.hops["source"].eta_seconds) == (Rate(), None)
    assert view.failures.count == 0


def test_after_the_end_the_rate_is_the_mean_of_the_run(
    ledger: Ledger, volume: int, progress: Progress, ticks: Callable[[int], None]
) -> None:
    ticks(1_000_000)
    run = ledger.journal.start_run("source")
    ledger.listing.observe([listed(f"{number}") for number in range(20)])
    ledger.staging.commit_staged([staged(row) for row in rows(ledger, State.PENDING)], volume, run)
    ticks(1_010_000)
    end(ledger, run)
    view = progress.look()
    assert (view.run.seconds, view.hops["source"].rate.objects) == (10.0, 2.0)
    assert "no unit is running" in plain_line(view)


@pytest.mark.parametrize("step", [400, -400], ids=["forward", "back"])
def test_a_clock_that_is_set_changes_no_rate_and_hides_no_failure(
    ledger: Ledger, volume: int, progress: Progress, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """By 400 days, while the unit runs."""
    run = ledger.journal.start_run("source")
    ledger.listing.observe([listed(f"{number}", 100) for number in range(10)])
    ledger.staging.commit_staged([staged(row) for row in rows(ledger, State.PENDING)[:3]], volume, run)
    before = progress.look()
    for module in (machine, progress_module, status_module):
        monkeypatch.setattr(module, "now_ms", lambda: now_ms() + step * 86_400_000)
    ledger.staging.commit_staged([staged(row) for row in rows(ledger, State.PENDING)[:3]], volume, run)
    ledger.objects.retry(failure(rows(ledger, State.PENDING)[0]), delay_ms=0, count=True)
    progress._totals._due = 0.0
    view = progress.look()
    assert [unit.word for unit in view.run.units] == ["running"]
    assert before.run.seconds <= view.run.seconds < before.run.seconds + 600
    assert view.hops["source"].rate.objects > 0
    assert view.hops["source"].eta_seconds is not None
    assert (view.failures.count, len(view.failures.items)) == (1, 1)


@pytest.mark.parametrize(
    ("remaining", "rate", "seconds"),
    [
        (Tally(), Rate(), 0.0),
        (Tally(10, 100), Rate(), None),
        (Tally(10, 100), Rate(1.0, 100.0), 10.0),
        (Tally(10, 100), Rate(10.0, 1.0), 100.0),
        (Tally(10, 0), Rate(5.0, 0.0), 2.0),
    ],
)
def test_the_estimate_goes_by_what_takes_longer(remaining: Tally, rate: Rate, seconds: float | None) -> None:
    assert eta(remaining, rate) == seconds


def test_a_fraction_is_neither_all_bytes_nor_all_objects() -> None:
    def view(moved: Tally, remaining: Tally) -> HopView:
        return HopView(moved, remaining, Rate(), None)

    assert view(Tally(), Tally()).fraction == 1.0
    assert view(Tally(999, 0), Tally(1, 1000)).fraction == pytest.approx(0.4995)
    assert view(Tally(1, 0), Tally(3, 0)).fraction == 0.25


# -- looks ------------------------------------------------------------------------------------------------------


def busy(ledger: Ledger, volume: int) -> None:
    run = ledger.journal.start_run("source")
    bring_to(ledger, "pending", State.PENDING, volume)
    bring_to(ledger, "staged", State.STAGED, volume)
    ledger.journal.record(failure(row_of(ledger, "pending")))
    bring_to(ledger, "\x1b[31mred", State.QUARANTINED, volume)
    ledger.journal.update_run(run, status="waiting for space on one, two", listed=(2, 2), passes=1, failures=2)


def test_a_line_says_all_that_matters(ledger: Ledger, volume: int, progress: Progress) -> None:
    busy(ledger, volume)
    line = plain_line(progress.look())
    for expected in ("photos: to volumes", "1 pending", "1 staged", "2 failures", "[waiting for space on one, two]"):
        assert expected in line
    assert line.isprintable()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_screen_fits_its_terminal_and_shows_all_that_matters(
    ledger: Ledger, volume: int, progress: Progress, width: int
) -> None:
    busy(ledger, volume)
    text = shown(progress, width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b[31m" not in text
    for expected in ("snowsync photos", "1 pending", "1 quarantined", "one", "two", "2 failures", "waiting for space"):
        assert expected in text


def test_a_screen_without_volumes_or_totals_does_not_divide_by_zero(ledger: Ledger, progress: Progress) -> None:
    ledger.journal.start_run("source")
    assert "100 %" in shown(progress)


def test_the_end_names_what_failed(ledger: Ledger, volume: int, progress: Progress) -> None:
    end(ledger, ledger.journal.start_run("source"))
    bring_to(ledger, "k", State.FAILED, volume)
    assert re.search(r"not drained, [0-9. a-z]+, 1 object failed or quarantined$", plain_line(progress.look()))


def test_a_run_that_was_stopped_before_it_listed_the_source_drained_nothing(ledger: Ledger, progress: Progress) -> None:
    end(ledger, ledger.journal.start_run("source"), passes=0)
    assert "no unit is running" in plain_line(progress.look())


def test_no_state_is_broken_between_two_lines(ledger: Ledger, volume: int, progress: Progress) -> None:
    busy(ledger, volume)
    whole = [line for line in shown(progress, 80).splitlines() if "pending" in line or "failed" in line]
    assert [line.split() for line in whole[:2]] == [
        ["1", "pending", "(10", "B)", "1", "staged", "(10", "B)", "0", "delivered"],
        ["0", "released", "1", "quarantined", "(10", "B)", "0", "failed"],
    ]


# -- the command ------------------------------------------------------------------------------------------------


def test_without_a_terminal_it_prints_lines_and_ends_when_drained(
    job: Job, ledger: Ledger, volume: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ledger.journal.start_run("source")
    ledger.listing.observe([listed("k")])

    def meanwhile(_seconds: float) -> None:
        bring_to(ledger, "k", State.RELEASED, volume)
        end(ledger, run)

    monkeypatch.setattr("snowsync.show.watch.time.sleep", meanwhile)
    assert watch(job) is True
    first, last = capsys.readouterr().out.splitlines()
    assert "1 pending" in first and "drained" in last


def test_it_goes_on_while_a_unit_runs_unless_told_to_end_when_drained(
    job: Job, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ledger.journal.start_run("source")
    ledger.journal.update_run(run, status="up to date", listed=(0, 0), passes=1, failures=0)
    assert watch(job, until_drained=True) is True
    slept: list[float] = []

    def meanwhile(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            end(ledger, run)

    monkeypatch.setattr("snowsync.show.watch.time.sleep", meanwhile)
    assert watch(job) is True
    assert len(slept) == 3


def test_a_timeout_ends_it_undrained(job: Job, ledger: Ledger) -> None:
    ledger.journal.start_run("source")
    ledger.listing.observe([listed("k")])
    assert watch(job, timeout=0.01) is False


WATCHES = """
import sys
from ledger_rows import make_job
from pathlib import Path
from snowsync.show.watch import watch
print("drained" if watch(make_job(Path(sys.argv[1])), until_drained=True) else "timed out")
"""


def test_on_a_terminal_it_draws_in_place_and_leaves_the_cursor_visible(
    job: Job, tmp_path: Path, ledger: Ledger, volume: int
) -> None:
    """A real terminal (a pty), a real process, a job that moves meanwhile."""
    run = ledger.journal.start_run("source")
    ledger.listing.observe([listed("k")])
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    command = [sys.executable, "-c", WATCHES, str(tmp_path)]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        seen = bytearray()

        def read(until: bytes) -> None:
            while until not in seen:
                ready, _, _ = select.select([master], [], [], 60)
                assert ready, bytes(seen)
                try:
                    seen.extend(os.read(master, 65536))
                except OSError:  # the other side is closed
                    return

        read(b"1 pending")
        bring_to(ledger, "k", State.RELEASED, volume)
        ledger.journal.update_run(run, status="up to date", listed=(1, 10), passes=1, failures=0)
        read(b"drained\r\n")
        assert process.wait(timeout=60) == 0
    os.close(master)
    text = seen.decode()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is shown again"
    assert re.search(r"\x1b\[\d*A", text), "it draws over what it drew"
    assert "1 released" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_it_reads_while_a_writer_writes(job: Job, ledger: Ledger, volume: int, progress: Progress) -> None:
    run = ledger.journal.start_run("source")
    stop = threading.Event()

    def write() -> None:
        for number in range(200):
            if stop.is_set():
                return
            ledger.listing.observe([listed(f"{number}/{entry}") for entry in range(5)])
            ledger.staging.commit_staged([staged(row) for row in rows(ledger, State.PENDING)], volume, run)

    writer = threading.Thread(target=write)
    writer.start()
    moved = [progress.look().hops["source"].moved.objects for _look in range(30)]
    stop.set()
    writer.join()
    assert moved == sorted(moved)
    total = progress.look().hops["source"].moved
    assert total.objects == ledger.volumes.occupied()[volume] // 4096


def test_a_watch_does_not_call_it_drained_when_objects_failed(
    job: Job, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    end(ledger, ledger.journal.start_run("source"))
    bring_to(ledger, "k", State.FAILED, 1)
    with pytest.raises(ObjectsFailed, match="1 object failed or quarantined: see `snowsync report photos`"):
        watch(job, until_drained=True)
