# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one unit sets and the other one reads reaches the other process, once; what is a unit's own stays with it."""

from __future__ import annotations

import threading
from dataclasses import fields

import pytest

from snowsync.core.workers import Stop
from snowsync.hops.switches import Switches
from snowsync.running import relays

NAMES = {field.name for field in fields(Switches)}
OWN = {"ended"}  # wakes the main thread of its own process
TO_THE_DESTINATION = {"stop", "staged", "source_done"}
TO_THE_SOURCE = {"stop", "space", "put_back", "refused"}


class Pair:
    """The switches of both processes, connected without a process in between."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []
        self.source = relays.of_the_source(lambda name, value: self._tell(self.destination, name, value))
        self.destination = relays.of_the_destination(lambda name, value: self._tell(self.source, name, value))

    def _tell(self, other: Switches, name: str, value: object) -> None:
        self.told.append((name, value))
        relays.take(other, name, value)


def test_every_switch_is_passed_on_or_one_process_s_own() -> None:
    assert NAMES == OWN | TO_THE_DESTINATION | TO_THE_SOURCE


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_switch_arrives_where_it_is_read(name: str) -> None:
    pair = Pair()
    getattr(pair.source, name).set()
    assert getattr(pair.destination, name).is_set() is (name in TO_THE_DESTINATION)
    pair = Pair()
    getattr(pair.destination, name).set()
    assert getattr(pair.source, name).is_set() is (name in TO_THE_SOURCE)


def test_a_state_is_told_when_it_changes() -> None:
    """The destination unit says at every turn whether it refuses everything."""
    pair = Pair()
    for _turn in range(3):
        pair.destination.refused.clear()
    for _turn in range(3):
        pair.destination.refused.set()
    assert pair.source.refused.is_set()
    pair.destination.refused.clear()
    assert not pair.source.refused.is_set()
    assert pair.told == [("refused", True), ("refused", False)]


def test_who_waits_is_woken_each_time() -> None:
    pair = Pair()
    for _time in range(2):
        pair.source.staged.set()
        assert pair.destination.staged.is_set()
        pair.destination.staged.clear()


def test_a_unit_that_wakes_itself_tells_nobody() -> None:
    pair = Pair()
    pair.source.space.set()
    pair.destination.staged.set()
    assert pair.told == []


def test_a_stop_comes_from_either_and_is_passed_on_once() -> None:
    for first in ("source", "destination"):
        pair = Pair()
        getattr(pair, first).stop.set()
        getattr(pair, first).stop.set()
        stops = (pair.source.stop, pair.destination.stop)
        assert all(isinstance(stop, Stop) and stop.is_set() and stop.seconds >= 0 for stop in stops)
        assert pair.told == [("stop", True)] * 2, "there, and back to who knows it"


def test_what_is_no_switch_is_ignored() -> None:
    switches = Switches()
    relays.take(switches, "shown", {"unit": {}})
    events = [getattr(switches, name) for name in NAMES]
    assert all(isinstance(event, threading.Event) and not event.is_set() for event in events)
