# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the mover's thread waits for: a wake-up, output, and room for input."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from snowsync.movers.s5cmd.polling import Poller

from .conftest import StartProgram


@pytest.fixture
def poller() -> Iterator[Poller]:
    made = Poller()
    made.open_wake_up()
    yield made
    made.close()


def test_a_wake_up_ends_a_wait_once(poller: Poller) -> None:
    poller.rouse()
    poller.rouse()
    started = time.monotonic()
    assert poller.wait(60.0) == []
    assert time.monotonic() - started < 30
    assert poller.wait(0.02) == []
    assert time.monotonic() - started >= 0.02
    poller.close_wake_up()


def test_a_wake_up_ends_a_doze_and_is_still_there_afterwards(poller: Poller) -> None:
    poller.rouse()
    started = time.monotonic()
    poller.doze(60_000)
    assert poller.wait(60.0) == []
    assert time.monotonic() - started < 30
    poller.close_wake_up()


def test_without_a_thread_nobody_is_woken() -> None:
    poller = Poller()
    poller.rouse()
    poller.open_wake_up()
    poller.close_wake_up()
    poller.rouse()
    poller.close()


def test_output_is_told_until_it_is_removed(poller: Poller, start_program: StartProgram) -> None:
    process = start_program("echo done; exec sleep 60")
    poller.add_outputs(process)
    stdout, stderr = process.output.streams
    assert poller.wait(60.0) == [stdout]
    assert poller.outputs == {stdout: process, stderr: process}
    poller.remove_output(stdout)
    assert poller.wait(0.0) == [] and poller.outputs == {stderr: process}
    poller.close_wake_up()


def test_room_for_input_is_told_while_a_line_waits(poller: Poller, start_program: StartProgram) -> None:
    process = start_program("read line; exec sleep 60")
    poller.remove_input(process)
    poller.add_input(process)
    poller.add_input(process)
    assert poller.wait(60.0) == [process.input.descriptor]
    assert poller.inputs == {process.input.descriptor: process}
    poller.remove_input(process)
    assert poller.wait(0.0) == [] and poller.inputs == {}
    poller.close_wake_up()


def test_the_wake_up_is_closed_with_the_thread(poller: Poller) -> None:
    before = len(os.listdir("/proc/self/fd"))
    poller.close_wake_up()
    assert len(os.listdir("/proc/self/fd")) == before - 1
