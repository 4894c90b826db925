# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last steps of a unit: all are carried out, and after a stop none is waited for too long."""

from __future__ import annotations

import threading

import pytest

from snowsync.core.workers import Stop
from snowsync.hops import shutdown
from snowsync.hops.crew import Crew
from snowsync.hops.shutdown import Shutdown


@pytest.fixture
def stop() -> Stop:
    return Stop()


@pytest.fixture
def crew(stop: Stop) -> Crew:
    return Crew("source", stop)


def test_a_step_is_waited_for_as_long_as_nobody_stops_the_unit(crew: Crew, stop: Stop) -> None:
    done: list[int] = []
    assert Shutdown(crew, stop).is_in_time(lambda: done.append(1))
    assert done == [1]


def test_a_step_that_fails_has_ended_and_is_the_error_of_the_unit(
    crew: Crew, stop: Stop, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("the disk is gone")

    assert Shutdown(crew, stop).is_in_time(fail)
    assert str(crew.error) == "the disk is gone"
    assert "the source unit could not shut down cleanly: the disk is gone" in caplog.text


def test_after_a_stop_a_step_that_hangs_is_left_behind(crew: Crew, stop: Stop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutdown, "_END_SECONDS", 0.0)
    free, later = threading.Event(), threading.Event()
    stop.set()
    ending = Shutdown(crew, stop)
    assert not ending.is_in_time(lambda: bool(free.wait(60)))
    assert ending.is_in_time(later.set), "the next one still has its moment"
    assert later.is_set()
    free.set()
