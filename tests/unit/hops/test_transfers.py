# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is handed to movers has its outcome passed on, in the right order, whoever raises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from fake_stores import Rig, wait_until

from snowsync.config.credentials import for_side
from snowsync.config.job_file import MoverSettings
from snowsync.core.model import Fetch, Outcome
from snowsync.core.parts import NoMemory
from snowsync.hops.assignments import Assignments
from snowsync.hops.transfers import Transfers
from snowsync.movers.tools import MoverSetup
from snowsync.store.endpoint import Endpoint
from snowsync.store.timeouts import patience_of

LARGE = 1000  # bytes


class Side:
    """Transfers from the source of a rig; `seen` is what was called, in order."""

    def __init__(self, rig: Rig, told: Callable[[Outcome], None] = lambda outcome: None) -> None:
        self.rig = rig
        self.seen: list[str] = []
        self.errors: list[BaseException] = []
        self.told = told
        job = rig.job
        assert job.source
        keys = for_side(job, "source")
        settings: MoverSettings = replace(job.mover, large_object=LARGE)
        setup = MoverSetup(
            settings,
            "fetch",
            None,
            NoMemory(),
            on_outcomes=self._outcomes,
            on_part=lambda object_id: None,
            on_room=lambda: self.seen.append("room"),
            on_error=self.errors.append,
        )
        self.endpoint = Endpoint(job.source.endpoints[0], job.source, keys, patience_of(settings))
        self.transfers = Transfers(setup, keys, Assignments())

    def _outcomes(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self.seen.append(f"outcome of {outcome.id}, {sorted(self.transfers.owned())} owned")
            self.told(outcome)

    def move(self, number: int, size: int) -> None:
        self.rig.source.put(f"object-{number}", bytes(size))
        work = Fetch(number, f"object-{number}", size, str(self.rig.folder / f"file-{number}"))
        self.transfers.submit(self.endpoint, self.transfers.choose_tool(work), work)


def test_an_object_has_ended_when_its_outcome_is_told(rig: Rig) -> None:
    side = Side(rig)
    side.move(1, 10)
    wait_until(lambda: bool(side.seen))
    side.transfers.close()
    assert side.seen == ["outcome of 1, [] owned"], "a small one makes no room that anybody waits for here"


def test_a_large_object_that_ended_makes_room_after_its_outcome(rig: Rig) -> None:
    side = Side(rig)
    side.move(1, LARGE)
    wait_until(lambda: "room" in side.seen)
    side.transfers.close()
    assert side.seen == ["outcome of 1, [] owned", "room"]


def test_what_raises_for_an_outcome_is_told_and_the_room_too(rig: Rig) -> None:
    def refuse(outcome: Outcome) -> None:
        raise ValueError(f"outcome {outcome.id}")

    side = Side(rig, refuse)
    side.move(1, LARGE)
    wait_until(lambda: "room" in side.seen)
    side.transfers.close()
    assert [str(error) for error in side.errors] == ["outcome 1"]


def test_a_large_object_never_waits_for_room(rig: Rig) -> None:
    side = Side(rig)
    assert side.transfers.has_room(side.endpoint, LARGE, 1)
    side.transfers.close()


def test_items_go_together_by_endpoint_and_tool(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    transfers = Side(rig).transfers
    submitted: list[tuple[object, str, list[int]]] = []

    def submit(endpoint: object, tool: str, *works: Fetch) -> None:
        submitted.append((endpoint, tool, [work.id for work in works]))

    monkeypatch.setattr(transfers, "submit", submit)
    monkeypatch.setattr(transfers, "choose_tool", lambda work: "a" if work.id < 4 else "b")
    items: list[Any] = [SimpleNamespace(endpoint="two" if number == 3 else "one") for number in range(6)]
    transfers.hand_over((item, Fetch(number, "k", 1, "/p")) for number, item in enumerate(items))
    assert submitted == [("one", "a", [0, 1, 2]), ("two", "a", [3]), ("one", "b", [4, 5])]
    assert "".join(item.tool for item in items) == "aaaabb"
    transfers.close()
