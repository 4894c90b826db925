# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipes of a process: nothing that is written blocks, and what is read comes in whole lines."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from snowsync.movers.s5cmd import pipes
from snowsync.movers.s5cmd.pipes import CommandPipe, ReportPipes, next_nap


class Pipe:
    """Both ends of a pipe of the kernel."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.reader, self.writer = os.fdopen(reading, "rb", buffering=0), os.fdopen(writing, "wb", buffering=0)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.reader.close()
    made.writer.close()


def test_what_a_full_pipe_does_not_accept_waits_in_order(pipe: Pipe) -> None:
    commands = CommandPipe(pipe.writer)
    lines = [f"{number} ".encode() + b"x" * 50_000 + b"\n" for number in range(5)]
    for line in lines:
        commands.write(line)
    waiting = len(commands.backlog)
    assert 0 < waiting < sum(map(len, lines))
    arrived = b""
    while commands.backlog:
        arrived += os.read(pipe.reader.fileno(), 1 << 20)
        commands.flush()
    commands.close()
    assert arrived + pipe.reader.read() == b"".join(lines)


def test_a_closed_input_has_no_backlog_and_a_dead_reader_is_no_error(pipe: Pipe) -> None:
    commands = CommandPipe(pipe.writer)
    commands.write(b"x" * 1_000_000)
    assert commands.backlog
    pipe.reader.close()
    commands.flush()
    assert commands.backlog == b"", "the process has gone: its lines are of no more use"
    commands.close()
    assert pipe.writer.closed


def test_lines_are_complete_and_what_is_left_at_the_end_is_noise(pipe: Pipe) -> None:
    reports = ReportPipes([pipe.reader], width=4)
    descriptor = pipe.reader.fileno()
    pipe.writer.write(b"one\ntw")
    assert reports.read(descriptor) == [b"one"]
    pipe.writer.write(b"o\n\nhalf  a")
    assert reports.read(descriptor) == [b"two", b""]
    pipe.writer.write(b" line")
    assert reports.read(descriptor) == []
    pipe.writer.close()
    assert reports.read(descriptor) is None
    assert reports.noise() == "half a line"
    reports.close(descriptor)
    assert reports.streams == {} and pipe.reader.closed


def test_a_line_without_an_end_is_taken_as_it_is(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "_LONGEST_LINE", 10)
    reports = ReportPipes([pipe.reader], width=4)
    pipe.writer.write(b"a\n" + b"x" * 11)
    assert reports.read(pipe.reader.fileno()) == [b"a", b"x" * 11]


def test_noise_is_kept_from_its_start_and_told_in_one_short_line(pipe: Pipe) -> None:
    reports = ReportPipes([pipe.reader], width=4)
    reports.add_noise([b"first\t", b"second \xff"])
    reports.add_noise([b"x" * 10_000])
    assert reports.noise().startswith("first second \ufffdxxx")
    assert len(reports.noise()) == 300


@pytest.mark.parametrize(
    ("nap", "reports", "after"),
    [(8.0, 9, 4.0), (8.0, 8, 8.0), (8.0, 5, 8.0), (8.0, 4, 16.0), (1.5, 16, 1.0), (30.0, 1, 50.0)],
)
def test_half_as_many_reports_accumulate_as_there_are_workers(nap: float, reports: int, after: float) -> None:
    assert next_nap(nap, reports, width=16) == after


def test_few_reports_make_the_next_nap_longer(pipe: Pipe) -> None:
    reports = ReportPipes([pipe.reader], width=16)
    first = reports.nap
    reports.pace(1)
    assert reports.nap == 2 * first
