# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the process of the source unit makes of what the other one tells, and of its silence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core.errors import JobStopped, SnowsyncError, Trouble
from snowsync.hops.switches import Switches
from snowsync.running import link as messages
from snowsync.running.error_messages import as_message
from snowsync.running.partner import Partner
from snowsync.running.shown import Shown
from snowsync.running.summary import Hop, UnitEnd

JOB: Any = SimpleNamespace(job="photos", mover=SimpleNamespace(stall_seconds=60.0))
END = UnitEnd("destination", moved=Hop(3, 30, 1.5), failures=[{"key": "a"}], failure_count=1, is_complete=True)


class Child:
    """A process that ends when it is told to."""

    pid = 42

    def __init__(self) -> None:
        self.is_killed = False
        self.ends = True
        self.waited = 0.0

    def wait(self, seconds: float) -> bool:
        self.waited = seconds
        return self.ends

    def kill(self) -> None:
        self.is_killed = True

    def how_it_ended(self) -> str:
        return "was killed by SIGKILL"


class Wire:
    """A link without a process at its end."""

    def __init__(self) -> None:
        self.posted: list[str] = []
        self.is_closed = False
        self.take: Callable[[str, object], None]
        self.lost: Callable[[BaseException | None], None]

    def listen(self, take: Callable[[str, object], None], lost: Callable[[BaseException | None], None]) -> None:
        self.take, self.lost = take, lost

    def post(self, name: str) -> None:
        self.posted.append(name)

    def close(self, _seconds: float) -> None:
        self.is_closed = True


class Scene:
    def __init__(self) -> None:
        self.child, self.wire, self.switches = Child(), Wire(), Switches()
        self.partner = Partner(JOB, self.child, self.wire, self.switches)  # type: ignore[arg-type]

    def show(self, *, is_alive: bool = True, slow: tuple[str, ...] = ()) -> None:
        shown = Shown("destination", "sending 3 objects", 2, 3 << 20, 1)
        self.wire.take(messages.SHOWN, {"unit": asdict(shown), "slow_disks": list(slow), "is_alive": is_alive})


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_unit_that_ended_in_order(scene: Scene) -> None:
    scene.partner.begin()
    assert scene.wire.posted == [messages.GO]
    assert scene.partner.is_running()
    scene.wire.take(messages.END, asdict(END))
    scene.wire.lost(None)
    assert not scene.partner.is_running() and scene.partner.error is None
    assert scene.partner.end == END
    assert scene.switches.ended.is_set() and not scene.switches.stop.is_set(), "the source unit goes on"


def test_an_error_ends_the_source_unit_too(scene: Scene) -> None:
    scene.wire.take(messages.ERROR, as_message(JobStopped(Trouble.CREDENTIAL, "list", "wrong")))
    assert not scene.partner.is_running()
    assert isinstance(scene.partner.error, JobStopped)
    assert scene.switches.stop.is_set() and scene.switches.ended.is_set()


def test_a_process_that_dies_without_a_word_is_an_error_that_names_it(scene: Scene) -> None:
    scene.wire.lost(None)
    assert not scene.partner.is_running()
    assert scene.switches.stop.is_set()
    error = scene.partner.error
    assert isinstance(error, SnowsyncError) and error.exit_code == 1
    assert "unit of job photos ended without a result: its process (pid 42) was killed by SIGKILL" in str(error)


def test_a_message_that_cannot_be_taken_is_the_error(scene: Scene) -> None:
    scene.wire.lost(error := ValueError("what?"))
    assert scene.partner.error is error and scene.switches.stop.is_set()


def test_switches_are_set_here(scene: Scene) -> None:
    scene.wire.take("space", True)
    scene.wire.take("refused", True)
    assert scene.switches.space.is_set() and scene.switches.refused.is_set()
    scene.wire.take("refused", False)
    assert not scene.switches.refused.is_set()


def test_a_process_that_does_not_end_after_a_stop_is_killed_once(scene: Scene) -> None:
    scene.show()
    scene.partner.deadline_passed()
    assert scene.wire.posted == [messages.DEADLINE]
    scene.partner.leave_if_late(18.0)
    assert scene.partner.is_running() and not scene.child.is_killed
    scene.partner.leave_if_late(19.0)
    assert scene.child.is_killed and not scene.partner.is_running()
    assert scene.partner.error is None, "as a unit that hangs on a disk"
    assert scene.partner.end == UnitEnd("destination", waiting_for="sending 3 objects")
    scene.child.is_killed = False
    scene.partner.leave_if_late(19.0)
    assert not scene.child.is_killed


def test_a_unit_that_has_ended_is_not_killed(scene: Scene) -> None:
    scene.wire.take(messages.END, asdict(END))
    scene.partner.leave_if_late(100.0)
    assert not scene.child.is_killed


@pytest.mark.parametrize("ends", [True, False])
def test_its_process_is_waited_for_and_then_killed(scene: Scene, ends: bool) -> None:
    scene.child.ends = ends
    scene.partner.finish()
    assert scene.wire.is_closed and scene.child.is_killed is not ends


@pytest.mark.parametrize(("after", "waits"), [(None, 5.0), (1.0, 5.0), (17.0, 2.0), (18.9, 0.2), (30.0, 0.2)])
def test_it_is_not_waited_for_any_longer_than_a_stop_may_take(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, after: float | None, waits: float
) -> None:
    clock = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    if after is not None:
        scene.switches.stop.set()
        clock[0] += after
    scene.partner.finish()
    assert scene.child.waited == pytest.approx(waits)


def test_it_shows_what_it_was_told(scene: Scene) -> None:
    assert scene.partner.status_text() == "destination: starting; 0 objects, 0.0 MiB moved"
    assert scene.partner.slow_disks() == [] and scene.partner.stopped_by == 0
    scene.show(slow=("disk-one",))
    scene.wire.take(messages.SIGNAL, 15)
    assert scene.partner.status_text() == "destination: sending 3 objects; 2 objects, 3.0 MiB moved, 1 failures"
    assert scene.partner.slow_disks() == ["disk-one"] and scene.partner.stopped_by == 15


def test_it_is_alive_as_long_as_it_says_so(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    scene.show()
    assert scene.partner.is_alive(clock[0] + 119)
    assert not scene.partner.is_alive(clock[0] + 120), "it says nothing any more: twice the job's stall_seconds"
    clock[0] += 500
    scene.show()
    assert scene.partner.is_alive(clock[0])
    scene.show(is_alive=False)
    assert not scene.partner.is_alive(clock[0])
    scene.wire.take(messages.END, asdict(END))
    assert scene.partner.is_alive(clock[0] + 1000), "it is not waited for"
