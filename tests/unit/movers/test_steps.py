# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a large object end with one result, whatever becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from snowsync.core.model import Head, Headers
from snowsync.movers.native.steps import Steps
from snowsync.movers.native.stream_lane import Stream, StreamClosed

HEAD = Head(200, 1, "etag", 0, Headers())
STREAM: Any = object()


class Lane:
    """Keeps what was submitted until a test runs it."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[Stream | None], None]] = []
        self.finished: list[Stream | None] = []
        self.steps = Steps(self, self.finished.append)  # type: ignore[arg-type]  # all that is asked of it

    def submit(self, *steps: Callable[[Stream | None], None]) -> None:
        self.waiting += steps

    def run(self, stream: Stream | None = STREAM) -> None:
        while self.waiting:
            self.waiting.pop(0)(stream)


def answer(_stream: Stream) -> Head | None:
    return HEAD


def no_answer(_stream: Stream) -> Head | None:
    return None


def closed(_stream: Stream) -> Head | None:
    raise StreamClosed


def failing(name: str) -> Callable[[Stream], Head | None]:
    def fail(_stream: Stream) -> Head | None:
        raise OSError(name)

    return fail


@pytest.fixture
def lane() -> Lane:
    return Lane()


def test_the_last_step_finishes_and_the_last_answer_counts(lane: Lane) -> None:
    lane.steps.submit(answer, no_answer)
    lane.waiting.pop(0)(STREAM)
    assert lane.finished == []
    lane.run()
    assert lane.finished == [STREAM]
    assert lane.steps.head is HEAD
    assert lane.steps.error is None


def test_a_step_may_submit_others_before_it_ends(lane: Lane) -> None:
    def first(_stream: Stream) -> None:
        lane.steps.submit(no_answer, no_answer)

    lane.steps.submit(first)
    lane.run()
    assert lane.finished == [STREAM], "once, and not before the others"


def test_after_an_error_no_other_step_starts(lane: Lane) -> None:
    lane.steps.submit(failing("first"), failing("second"), answer)
    lane.run()
    assert lane.finished == [STREAM]
    assert str(lane.steps.error) == "first"
    assert lane.steps.head is None
    lane.steps.failed(OSError("later"))
    assert str(lane.steps.error) == "first"
    assert not lane.steps.is_closed


@pytest.mark.parametrize(("stream", "step"), [(None, answer), (STREAM, closed)])
def test_steps_of_a_closed_lane_end_without_an_error(lane: Lane, stream: Any, step: Any) -> None:
    lane.steps.submit(step, failing("not started"))
    lane.run(stream)
    assert lane.finished == [stream]
    assert lane.steps.is_closed
    assert lane.steps.error is None
    assert lane.steps.head is None


def test_steps_can_start_over(lane: Lane) -> None:
    lane.steps.submit(answer, failing("first"))
    lane.run()
    lane.steps.start_over(no_answer)
    assert lane.steps.error is None
    assert lane.steps.head is None
    lane.run()
    assert lane.finished == [STREAM, STREAM]
