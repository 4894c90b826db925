# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a feeder looks at between its turns, how often, and in which order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core.errors import LocalError
from snowsync.hops.activity import Activity
from snowsync.hops.housekeeping import Housekeeping


class Looks:
    """Everything that is looked at; `seen` names it in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        self.seen: list[str] = []
        self.lost: Any = None
        self.activity = Activity()
        self.pool: Any = SimpleNamespace(
            transfers=SimpleNamespace(follow_credentials=self._saw("credentials"), owned=set),
            probe_due=self._saw("endpoints"),
            refusal=None,
        )
        self.volumes: Any = SimpleNamespace(look=self._saw("volumes"))
        self.flight: Any = SimpleNamespace(lost=self._look_for_lost)
        self.record: Any = SimpleNamespace(save_if_due=lambda now: self.seen.append(f"row {now:.1f}"))
        self.housekeeping = Housekeeping(
            "the source unit of job photos", self.pool, self.volumes, self.flight, self.activity, self.record
        )

    def _saw(self, what: str) -> Any:
        return lambda: self.seen.append(what)

    def _look_for_lost(self, now: float, at_movers: set[int]) -> Any:
        self.seen.append("lost objects")
        return self.lost

    def turn(self) -> list[str]:
        """What is seen in one turn."""
        self.seen.clear()
        self.housekeeping.look_around()
        return list(self.seen)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


def test_all_is_looked_at_once_a_second(looks: Looks) -> None:
    everything = ["volumes", "credentials", "endpoints", "lost objects"]
    assert looks.turn() == [*everything, "row 100.0"]
    looks.now += 0.9
    assert looks.turn() == ["row 100.9"]
    looks.now += 0.1
    assert looks.turn() == [*everything, "row 101.0"]


def test_every_turn_is_a_beat(looks: Looks) -> None:
    looks.turn()
    looks.now += 0.5
    looks.turn()
    assert looks.activity.heartbeat == 100.5


def test_a_permanent_error_of_an_endpoint_ends_the_unit(looks: Looks) -> None:
    looks.pool.refusal = ValueError("the key was revoked")
    with pytest.raises(ValueError, match="the key was revoked"):
        looks.turn()


def test_an_object_that_no_thread_has_ends_the_unit(looks: Looks) -> None:
    looks.lost = SimpleNamespace(row=SimpleNamespace(key="a/b"))
    with pytest.raises(LocalError, match="continue the source unit of job photos: 'a/b' is in flight, but no thread"):
        looks.turn()
