# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No room for the next object: what waits, what is given up, and when a run ends because of it."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core.errors import LocalError, Trouble
from snowsync.core.model import State
from snowsync.hops.activity import Activity
from snowsync.hops.source.shortage import FullVolumes, ReplacedGenerations, Shortage
from snowsync.hops.switches import Switches


class Volumes:
    """As a VolumeSet, with the volume "one"."""

    def __init__(self, **more: Any) -> None:
        self.absent: dict[str, str] = more.get("absent", {})
        self.draining: set[int] = more.get("draining", set())
        self.coming: set[int] = more.get("coming", set())
        self.counted = 0
        self.occupancy = SimpleNamespace(expire=self._count_anew)

    def placeable(self) -> list[Any]:
        return [SimpleNamespace(id=1, name="one")]

    def why_not_placeable(self) -> str:
        return "one: it is not mounted"

    def _count_anew(self) -> None:
        self.counted += 1


class Objects:
    """The part of a ledger that is used here: whether anything is staged or delivered."""

    def __init__(self, staged: bool = False) -> None:
        self.staged = staged

    def waiting(self, state: State) -> bool:
        return state is State.STAGED and self.staged

    def work(self, state: State, **_how: Any) -> list[str]:
        return ["a row"] if self.waiting(state) else []


def full_volumes(until: str, volumes: Volumes | None = None, **more: Any) -> FullVolumes:
    job: Any = SimpleNamespace(keep_staged=more.get("keep", False))
    objects: Any = Objects(more.get("staged", False))
    setbacks: Any = SimpleNamespace(is_given_up=lambda row: more.get("given_up", False))
    next_hop: Any = SimpleNamespace(
        is_alone=more.get("alone", False),
        has_refused=more.get("refused", False),
        has_ended=lambda: more.get("ended", False),
        is_releasing=lambda: more.get("releasing", False),
    )
    there: Any = volumes or Volumes()
    return FullVolumes(job, objects, there, setbacks, next_hop, until=until)


def is_full_after_two_looks(full: FullVolumes) -> bool:
    full.waits_in_vain()
    assert not full.is_full, "space may have been freed after the first look"
    full.waits_in_vain()
    return full.is_full


@pytest.mark.parametrize(
    ("more", "ends"),
    [
        ({}, True),
        ({"volumes": Volumes(coming={2})}, False),
        ({"staged": True}, False),
        ({"staged": True, "given_up": True}, True),
        ({"staged": True, "given_up": True, "releasing": True}, False),
        ({"staged": True, "alone": True}, True),
        ({"staged": True, "refused": True}, True),
        ({"staged": False, "keep": True, "releasing": True}, True),
    ],
)
def test_a_single_pass_ends_when_no_room_is_coming(more: dict[str, Any], ends: bool) -> None:
    assert is_full_after_two_looks(full_volumes("once", **more)) is ends


@pytest.mark.parametrize(
    ("more", "ends"),
    [
        ({"staged": True, "ended": True}, True),
        ({"staged": True, "ended": False}, False),
        ({"staged": False, "ended": True}, False),
        ({"staged": True, "ended": True, "releasing": True}, False),
        ({"staged": True, "ended": True, "alone": True}, False),
        ({"staged": True, "ended": True, "volumes": Volumes(absent={"two": "gone"})}, False),
        ({"staged": True, "ended": True, "volumes": Volumes(draining={2})}, False),
    ],
)
def test_a_run_until_drained_ends_when_what_is_staged_stays_there(more: dict[str, Any], ends: bool) -> None:
    assert is_full_after_two_looks(full_volumes("drained", **more)) is ends


def test_an_object_that_found_room_begins_the_looks_anew() -> None:
    volumes = Volumes()
    full = full_volumes("once", volumes)
    full.waits_in_vain()
    full.has_placed()
    full.waits_in_vain()
    assert (full.is_full, volumes.counted) == (False, 2)


# -- replaced generations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("has_copies", "restored", "seen"),
    [
        (False, 5, []),
        (True, 0, ["swept", "restored on {1}"]),
        (True, 5, ["swept", "restored on {1}", "cleared", "rewound"]),
    ],
)
def test_replaced_generations_make_room(has_copies: bool, restored: int, seen: list[str]) -> None:
    found: list[str] = []

    def deliver(volumes: set[int]) -> int:
        found.append(f"restored on {volumes}")
        return restored

    copies: Any = SimpleNamespace(has_copies=lambda: has_copies, deliver_older_first=deliver)
    sweeping: Any = SimpleNamespace(make_room=lambda: found.append("swept"))
    backlog: Any = SimpleNamespace(clear=lambda: found.append("cleared"), rewind=lambda: found.append("rewound"))
    volumes: Any = Volumes()
    switches = Switches()
    made = ReplacedGenerations(copies, sweeping, volumes, backlog, switches).make_room()
    assert (made, switches.staged.is_set()) == (has_copies and restored > 0, has_copies and restored > 0)
    assert found == seen


# -- one object ---------------------------------------------------------------------------------------------------


class Short:
    """A shortage, and what came of it."""

    def __init__(self, until: str = "drained", flight: Any = (), volumes: Volumes | None = None, room: bool = False):
        self.activity = Activity()
        self.failures: list[Any] = []
        self.vain = 0
        job: Any = SimpleNamespace(job="photos")
        setbacks: Any = SimpleNamespace(give_up=self.failures.append)
        full: Any = SimpleNamespace(waits_in_vain=self._waited)
        replaced: Any = SimpleNamespace(make_room=lambda: room)
        there: Any = volumes or Volumes()
        self.shortage = Shortage(job, there, flight, setbacks, self.activity, full, replaced, until=until)
        self.rows: deque[Any] = deque([SimpleNamespace(size=100, key="a")])

    def _waited(self) -> None:
        self.vain += 1

    def is_settled(self, *spaces: Any) -> bool:
        return self.shortage.is_settled(self.rows, list(spaces))


def space(*, is_busy: bool = False, why_full: str = "") -> Any:
    return SimpleNamespace(id=1, inflow=SimpleNamespace(is_busy=is_busy), why_full=why_full)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snowsync.hops.source.shortage.fits_nowhere", lambda size, spaces: False)


def test_without_a_volume_everything_waits() -> None:
    short = Short()
    assert not short.is_settled()
    assert short.activity.status == "waiting for a volume: one: it is not mounted"


@pytest.mark.parametrize(
    ("flight", "volumes", "raises"),
    [((), Volumes(), True), (("x",), Volumes(), False), ((), Volumes(coming={2}), False)],
)
def test_a_single_pass_without_a_volume_ends(flight: Any, volumes: Volumes, raises: bool) -> None:
    short = Short("once", flight, volumes)
    if raises:
        with pytest.raises(LocalError, match="find a volume for job photos: one: it is not mounted"):
            short.is_settled()
    else:
        assert not short.is_settled()


def test_a_busy_disk_is_waited_for_without_a_word() -> None:
    short = Short()
    assert not short.is_settled(space(is_busy=True))
    assert (short.activity.status, short.vain) == ("starting", 0)


@pytest.mark.parametrize("volumes", [Volumes(absent={"two": "gone"}), Volumes(draining={2})])
def test_an_object_is_too_large_only_if_all_volumes_are_there(
    monkeypatch: pytest.MonkeyPatch, volumes: Volumes
) -> None:
    monkeypatch.setattr("snowsync.hops.source.shortage.fits_nowhere", lambda size, spaces: True)
    monkeypatch.setattr("snowsync.hops.source.shortage.is_too_large_for_files", lambda size, spaces: False)
    waiting, settled = Short(volumes=volumes), Short()
    assert not waiting.is_settled(space())
    assert (len(waiting.rows), waiting.failures) == (1, [])
    assert settled.is_settled(space())
    assert not settled.rows
    (failure,) = settled.failures
    assert (failure.row.key, failure.trouble) == ("a", Trouble.SPACE)


@pytest.mark.usefixtures("fits")
@pytest.mark.parametrize(
    ("until", "flight", "room", "vain"),
    [
        ("drained", (), False, 1),
        ("once", (), False, 1),
        ("forever", (), False, 0),  # a service waits
        ("drained", ("x",), False, 0),  # what is in flight may yet be delivered
        ("drained", (), True, 0),
    ],
)
def test_a_full_volume_is_waited_for(until: str, flight: Any, room: bool, vain: int) -> None:
    short = Short(until, flight, room=room)
    assert not short.is_settled(space(why_full="its quota"))
    assert short.activity.status == "waiting for space on one (its quota)"
    assert (short.vain, len(short.rows)) == (vain, 1)
