# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many small objects the native mover has in flight, counted where they arrive: it follows what it is allowed."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from simulators.s3_store import start

from snowsync.config import credentials
from snowsync.config.job_file import MoverSettings, Store
from snowsync.core.model import Fetch, Outcome, Send
from snowsync.movers.hands.handed_mover import HandedMover
from snowsync.movers.native.native_mover import NativeMover
from snowsync.store.connections import Lanes
from snowsync.store.width import Width

BUCKET = "bucket"
SIZE = 100
KINDS = [(direction, hands) for direction in ("fetch", "send") for hands in (0, 2)]
of_each_kind = pytest.mark.parametrize(("direction", "hands"), KINDS)


class Given(Width):
    """Allows what a test says, from the next object that ends on. `slow` counts refusals."""

    def __init__(self, first: int, most: int) -> None:
        super().__init__(first, most)
        self.wanted = first
        self.slow = 0

    def ended(self, count: int, now: float, *, is_full: bool, size: int = 0) -> bool:
        before, self.now = self.now, self.wanted
        return self.now != before

    def slowed(self, now: float) -> bool:
        self.slow += 1
        return False


class Rig:
    """A mover that fetches or sends small objects of several volumes."""

    def __init__(self, folder: Path, server: Any, direction: str, hands: int, width: Width, volumes: int = 2) -> None:
        self.folder, self.direction, self.server = folder, direction, server
        self.descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        self.ended: set[int] = set()
        self.failed: list[Outcome] = []
        self.given = 0
        self._changed = threading.Condition()
        given = server.job_side(BUCKET, server.credentials_file(folder / "credentials"))
        store = Store(**{name: value for name, value in given.items() if name != "credentials_file"})
        keys, settings = credentials.load(folder / "credentials"), MoverSettings(stall_seconds=60.0)
        lanes = Lanes((width.now // volumes,) * volumes, (1,) * volumes, width.most)
        self.mover: NativeMover | HandedMover
        if hands:
            self.mover = HandedMover(
                store, server.url, keys, settings, count=hands, direction=direction, lanes=lanes,
                on_outcomes=self._receive, width=width,
            )  # fmt: skip
        else:
            self.mover = NativeMover(
                store, server.url, keys, settings, direction=direction, lanes=lanes,
                on_outcome=lambda outcome: self._receive([outcome]), width=width,
            )  # fmt: skip

    def _receive(self, outcomes: Sequence[Outcome]) -> None:
        with self._changed:
            self.ended |= {outcome.id for outcome in outcomes}
            self.failed += [outcome for outcome in outcomes if not outcome.ok]
            self._changed.notify_all()

    def give(self, volume: int, count: int, key: str = "k") -> None:
        for number in range(self.given, self.given + count):
            path = f"/proc/self/fd/{self.descriptor}/{number}"
            if self.direction == "fetch":
                self.mover.submit(Fetch(number, key, SIZE, path, volume=volume))
            else:
                (self.folder / f"{number}").write_bytes(b"x" * SIZE)
                self.mover.submit(Send(number, f"to/{key}", SIZE, path, 0, "", volume=volume))
        self.given += count

    def wait(self, count: int | None = None) -> None:
        with self._changed:
            wanted = self.given if count is None else count
            assert self._changed.wait_for(lambda: len(self.ended) >= wanted, 120), len(self.ended)

    def requests_peak(self) -> int:
        return int(self.server.counters()["connections"]["requests_peak"])

    def close(self) -> None:
        self.mover.close()
        os.close(self.descriptor)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    with start(tmp_path / "store", buckets=(BUCKET,)) as running:
        running.put(BUCKET, "k", b"x" * SIZE)
        yield running


@pytest.fixture
def rig(tmp_path: Path, server: Any) -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(*given: Any, **more: Any) -> Rig:
        folder = tmp_path / f"rig{len(made)}"
        folder.mkdir()
        made.append(Rig(folder, server, *given, **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


@of_each_kind
def test_it_grows_where_the_way_to_the_store_is_long(
    server: Any, rig: Callable[..., Rig], direction: str, hands: int
) -> None:
    width = Width(16, 100)
    moving = rig(direction, hands, width)
    server.set_switches(latency=0.2)
    server.clear_log()
    moving.give(1, 600)
    moving.wait()
    assert moving.failed == []
    assert moving.requests_peak() > 24
    assert width.now > 24


@of_each_kind
def test_more_and_fewer_are_in_flight_as_it_is_allowed(
    server: Any, rig: Callable[..., Rig], direction: str, hands: int
) -> None:
    width = Given(8, 60)
    moving = rig(direction, hands, width)
    server.set_switches(latency=0.05)
    server.clear_log()
    moving.give(1, 60)
    moving.wait()
    assert moving.requests_peak() <= 8
    width.wanted = 60
    moving.give(1, 300)
    moving.wait()
    assert 8 < moving.requests_peak() <= 60
    width.wanted = 6
    moving.give(1, 1)
    moving.wait()
    moving.give(1, 200)
    moving.wait()
    server.clear_log()
    moving.give(1, 60)
    moving.wait()
    assert moving.requests_peak() <= 6
    assert server.counters()["connections"]["peak"] <= 6, "the others were closed"


@of_each_kind
def test_a_volume_alone_has_what_the_others_do_not_need(
    server: Any, rig: Callable[..., Rig], direction: str, hands: int
) -> None:
    moving = rig(direction, hands, Width(16, 16), volumes=4)
    server.set_switches(latency=0.05)
    server.clear_log()
    moving.give(1, 400)
    moving.wait()
    assert 16 - 3 * max(1, hands) >= moving.requests_peak() > 4
    moving.give(1, 300)
    for volume in (2, 3, 4):
        moving.give(volume, 20)
    moving.wait()
    assert moving.failed == []
    assert server.counters()["connections"]["peak"] <= 16


@of_each_kind
def test_refusals_are_noticed(server: Any, rig: Callable[..., Rig], direction: str, hands: int) -> None:
    width = Given(4, 4)
    moving = rig(direction, hands, width)
    operation = "GetObject" if direction == "fetch" else "PutObject"
    server.set_fault("status", operation=operation, count=2)
    moving.give(1, 1)
    moving.wait()
    assert moving.failed == []
    assert width.slow == 2


@of_each_kind
def test_there_are_never_more_connections_than_allowed_however_it_changes(
    server: Any, rig: Callable[..., Rig], direction: str, hands: int
) -> None:
    """Widths and the volumes that have work change all the time, faster than lanes can follow."""
    chance = random.Random(3)
    width = Given(12, 24)
    moving = rig(direction, hands, width, volumes=3)
    moving_shares = moving.mover._room.shares if isinstance(moving.mover, HandedMover) else moving.mover._small._shares
    assert moving_shares
    server.set_switches(latency=0.005)
    server.clear_log()
    for _step in range(60):
        width.wanted = chance.randint(6, 24)
        moving.give(chance.randint(1, 3), chance.randint(1, 60))
        moving_shares._next_look = 0.0
        if chance.random() < 0.2:
            moving.wait()
    moving.wait()
    assert moving.failed == []
    assert 12 < server.counters()["connections"]["peak"] <= 24
