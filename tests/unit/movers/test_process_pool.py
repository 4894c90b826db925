# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which process gets which work, who waits for one, and what is left when one has gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from snowsync.core.errors import Trouble
from snowsync.core.model import Fetch, Outcome, Send
from snowsync.movers.s5cmd.capacity import Lane
from snowsync.movers.s5cmd.polling import Poller
from snowsync.movers.s5cmd.process import Process
from snowsync.movers.s5cmd.process_pool import ProcessPool, Refusal
from snowsync.movers.s5cmd.protocol import Report

from .conftest import StartProgram


class Rig:
    """A pool without a thread: the test does what that thread would."""

    def __init__(self, start_program: StartProgram) -> None:
        self._start_program = start_program
        self.poller = Poller()
        self.pool = ProcessPool(Lane(2, queued=True), Lane(1, queued=False), self.poller)
        self.threads_wanted = 0

    def ensure_thread(self) -> None:
        self.threads_wanted += 1
        if self.threads_wanted == 1:
            self.poller.open_wake_up()

    def start(self, lane: Lane[Process], script: str = "exec cat") -> Process:
        process = self._start_program(script, lane)
        self.pool.add(lane.slots[0], process)
        return process

    def give(self, number: int, *, is_large: bool = False) -> Refusal | None:
        line = f"cp {number}\n".encode()
        return self.pool.give(work(number), line, is_large=is_large, ensure_thread=self.ensure_thread)

    def give_in_thread(self, number: int) -> tuple[threading.Thread, list[Refusal | None]]:
        answers: list[Refusal | None] = []
        thread = threading.Thread(target=lambda: answers.append(self.give(number)), daemon=True)
        thread.start()
        return thread, answers

    def wait_until_wanted(self) -> None:
        """Until somebody waits for a process: they have released the lock, which `pids` takes."""
        limit = time.monotonic() + 60
        while not self.pool.small.is_wanted:
            assert time.monotonic() < limit
            time.sleep(0.005)
        assert self.pool.pids == []


def work(number: int) -> Fetch:
    return Fetch(number, f"key {number}", 10, f"/v/{number}")


def outcome_of(work: Fetch | Send, report: Report) -> Outcome:
    return Outcome(work.id, None, report.remote)


@pytest.fixture
def rig(start_program: StartProgram) -> Iterator[Rig]:
    made = Rig(start_program)
    yield made
    made.pool.close(time.monotonic())
    made.poller.close()


def test_work_goes_to_a_process_of_its_size_as_a_line(rig: Rig) -> None:
    small, large = rig.start(rig.pool.small), rig.start(rig.pool.large)
    assert rig.give(1) is None and rig.give(2, is_large=True) is None
    assert (list(small.in_flight), list(large.in_flight)) == (["/v/1"], ["/v/2"])
    assert (rig.pool.in_flight, rig.pool.pids) == (2, [small.popen.pid, large.popen.pid])
    assert small.output.read(small.popen.stdout.fileno()) == [b"cp 1"]
    assert rig.threads_wanted == 0


def test_a_path_is_in_flight_once_in_all_processes(rig: Rig) -> None:
    rig.start(rig.pool.small), rig.start(rig.pool.large)
    rig.give(1)
    with pytest.raises(ValueError, match="/v/1 is already in flight"):
        rig.give(1, is_large=True)
    assert rig.pool.in_flight == 1


def test_who_gives_waits_for_the_process_that_is_wanted(rig: Rig) -> None:
    thread, answers = rig.give_in_thread(1)
    rig.wait_until_wanted()
    assert rig.threads_wanted == 1 and not rig.pool.large.is_wanted
    assert rig.poller.wait(60.0) == [], "the thread was woken"
    process = rig.start(rig.pool.small)
    thread.join(60)
    assert answers == [None] and list(process.in_flight) == ["/v/1"]
    assert not rig.pool.small.is_wanted


def test_who_gives_waits_for_room(rig: Rig) -> None:
    process = rig.start(rig.pool.small)
    for number in range(4):
        rig.give(number)
    thread, answers = rig.give_in_thread(4)
    time.sleep(0.05)
    assert answers == [] and rig.pool.in_flight == 4
    rig.pool.finish(process, [Report("/v/0")], outcome_of)
    thread.join(60)
    assert answers == [None] and list(process.in_flight) == ["/v/1", "/v/2", "/v/3", "/v/4"]


def test_a_start_that_failed_is_told_to_who_waits_for_it(rig: Rig) -> None:
    thread, answers = rig.give_in_thread(1)
    rig.wait_until_wanted()
    slot = rig.pool.small.wanted_slot()
    rig.pool.fail_start(rig.pool.small, slot, "no memory")
    thread.join(60)
    assert answers == [Refusal(Trouble.OTHER, "no memory")]
    assert slot.not_before > time.monotonic() and not rig.pool.small.is_wanted


@pytest.mark.parametrize("is_thread_at_its_end", [True, False])
def test_who_waits_is_refused_when_the_pool_closes(rig: Rig, is_thread_at_its_end: bool) -> None:
    thread, answers = rig.give_in_thread(1)
    rig.wait_until_wanted()
    if is_thread_at_its_end:
        rig.pool.end_thread(time.monotonic())
    else:
        rig.pool.close(5.0)
    thread.join(60)
    assert answers == [Refusal(Trouble.UNKNOWN, "the mover is closed")] == [rig.give(2)]


def test_the_deadline_of_the_first_close_counts(rig: Rig) -> None:
    assert (rig.pool.is_closed, rig.pool.close_by) == (False, None)
    rig.pool.close(5.0)
    rig.pool.close(9.0)
    assert (rig.pool.is_closed, rig.pool.close_by) == (True, 5.0)


def test_only_reports_about_work_in_flight_there_have_an_outcome(rig: Rig) -> None:
    process = rig.start(rig.pool.small)
    rig.give(1)
    rig.give(2)
    reports = [Report("/v/2", "there"), None, Report("/v/2", "again"), Report("/v/9", "elsewhere")]
    assert rig.pool.finish(process, reports, outcome_of) == [Outcome(2, None, "there"), None, None, None]
    assert list(process.in_flight) == ["/v/1"]


def test_the_oldest_work_is_what_a_process_works_on(rig: Rig) -> None:
    process = rig.start(rig.pool.small)
    for number in range(4):
        rig.give(number)
    assert [each.id for each in rig.pool.oldest(process)] == [0, 1]


def test_a_line_that_waits_is_written_when_there_is_room(rig: Rig) -> None:
    process = rig.start(rig.pool.small, "read start; exec cat")
    long = b"x" * 300_000 + b"\n"
    rig.pool.give(work(1), b"start\n" + long, is_large=False, ensure_thread=rig.ensure_thread)
    arrived = 0
    while rig.poller.inputs:
        for descriptor in rig.poller.wait(60.0):
            assert rig.poller.inputs[descriptor] is process
            rig.pool.flush(process)
        arrived += sum(map(len, process.output.read(process.popen.stdout.fileno()) or []))
    assert process.input.backlog == b""


def test_a_process_that_ends_gets_no_more_work_and_leaves_what_it_had(rig: Rig) -> None:
    process = rig.start(rig.pool.small, "exec sleep 60")
    rig.pool.give(work(1), b"x" * 300_000, is_large=False, ensure_thread=rig.ensure_thread)
    assert rig.poller.inputs
    assert rig.pool.end_input(process) is True, "a line was half written"
    assert not rig.poller.inputs and rig.pool.small.roomiest() is None
    assert rig.pool.remove(process, lived=1.0) == [work(1)]
    assert (rig.pool.in_flight, rig.pool.running(), rig.pool.small.empty_slot()) == (0, [], rig.pool.small.slots[0])


def test_processes_are_listed_by_age(rig: Rig) -> None:
    large = rig.start(rig.pool.large)
    small = rig.start(rig.pool.small)
    assert rig.pool.running() == [large, small]
