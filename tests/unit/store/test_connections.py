# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the connections of an endpoint are shared; that they are kept to is counted by test_connection_cap.py."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import pytest

from snowsync.config import credentials
from snowsync.config.connection_needs import least
from snowsync.config.job_file import Job, MoverSettings, Store, parse_job
from snowsync.core.errors import ConfigError
from snowsync.movers.native.native_mover import NativeMover
from snowsync.movers.s5cmd.capacity import Lane
from snowsync.store.connections import RESUMING, Permits, Turns, lanes_within, shares, streams_for, within


@pytest.mark.parametrize("cap", range(least("native"), 1001))
def test_the_shares_are_the_cap_together(cap: int) -> None:
    found = shares(cap)
    assert found.asking + found.boto3 + found.mover == cap
    assert min(found.asking, found.boto3) >= 1 and found.mover >= 2


ALL_SORTS = list(itertools.product((1, 16, 33, 256), (1, 4, 64), (1, 4, 64)))


@pytest.mark.parametrize("share", [2, 3, 5, 8, 43, 700])
def test_the_native_mover_stays_within_its_share(share: int) -> None:
    for workers, large, parts in ALL_SORTS:
        settings = MoverSettings(workers=workers, large_workers=large, part_concurrency=parts)
        found = within(settings, share)
        assert found.workers + found.large_workers * found.part_concurrency <= share
        assert min(found.workers, found.large_workers, found.part_concurrency) >= 1
        assert found.workers <= workers and found.large_workers <= large and found.part_concurrency <= parts
        for volumes in (1, 3, 16):
            lanes = lanes_within(found, share, volumes)
            assert sum(lanes.small) <= lanes.most
            assert lanes.most + sum(lanes.large) == share
            assert sum(lanes.small) == found.workers
            assert len(lanes.small) == min(volumes, found.workers)
            assert min(*lanes.small, *lanes.large) >= 1


def test_a_large_object_has_all_its_connections_on_each_volume() -> None:
    """Where the store allows that many: with its defaults for three volumes, either way."""
    for large in (1, 2):
        settings = within(MoverSettings(large_workers=large), shares(64).mover)
        assert lanes_within(settings, shares(64).mover, 3).large == (4 * large,) * 3


@pytest.mark.parametrize(
    ("tool", "size", "part_size", "streams"),
    [
        ("auto", 100, 0, 1),
        ("native", 100, 100, 1),
        ("native", 101, 100, 2),
        ("native", 100_000, 100, 4),
        ("s5cmd", 100, 0, 4),
    ],
)
def test_an_object_uses_as_many_streams_as_it_has_parts(tool: Any, size: int, part_size: int, streams: int) -> None:
    assert streams_for(MoverSettings(tool=tool), size, part_size) == streams


@pytest.mark.parametrize("cap", range(least("s5cmd"), 200))
def test_the_processes_of_s5cmd_stay_within_their_share(cap: int) -> None:
    """Up to two connections for each command, one for each part of a large object, and those for what is resumed."""
    share = shares(cap).mover
    for workers, large, parts in ALL_SORTS:
        settings = MoverSettings(tool="s5cmd", workers=workers, large_workers=large, part_concurrency=parts)
        found = within(settings, share)
        small, streams = (Lane(count, queued=True) for count in (found.workers, found.large_workers))
        opened = 2 * small.width * len(small.slots)
        opened += max(2, found.part_concurrency) * streams.width * len(streams.slots)
        opened += sum(RESUMING.large)
        assert opened <= share, (workers, large, parts)


@pytest.mark.parametrize(("tool", "fewest"), [("auto", 4), ("native", 4), ("s5cmd", 9)])
def test_a_job_that_allows_too_few_connections_is_refused(tool: str, fewest: int) -> None:
    def job(connections: int) -> Job:
        store = {"bucket": "from-here", "endpoints": ["http://127.0.0.1:1"], "max_connections": connections}
        volumes = [{"name": "one", "path": "/one"}]
        settings = {"job": "j", "source": store, "destination": store | {"bucket": "to-there"}, "volumes": volumes}
        return parse_job(settings | {"mover": {"tool": tool}}, "j.yml")

    assert job(fewest).destination.max_connections == fewest
    with pytest.raises(ConfigError) as caught:
        job(fewest - 1)
    problem = f"{fewest - 1} is too low, mover.tool {tool} needs {fewest}"
    assert all(f"{side}.max_connections: {problem}" in str(caught.value) for side in ("source", "destination"))


@pytest.mark.parametrize(("workers", "folders"), [(1, 1), (1, 5), (4, 3), (16, 2), (23, 4)])
def test_lanes_are_as_few_as_volumes_and_have_as_many_connections_as_there_are_workers(
    workers: int, folders: int
) -> None:
    store = Store(bucket="bucket", endpoints=("http://127.0.0.1:1",))
    keys = credentials.Credentials("access", "secret", "", Path("none"), "default")
    before = threading.active_count()
    mover = NativeMover(
        store, store.endpoints[0], keys, MoverSettings(workers=workers), direction="send",
        on_outcome=lambda outcome: None, volumes=folders,
    )  # fmt: skip
    volumes = [number for _time, number in itertools.product(range(50), range(folders))]
    assert len({id(mover._small._lanes.of(number)) for number in volumes}) == min(workers, folders)
    assert len({id(mover._large.of(number)) for number in volumes}) == folders
    assert sum(mover._small._lanes._widths) == workers
    assert threading.active_count() - before <= workers
    mover.close()


def test_what_is_kept_makes_room_for_whoever_waits() -> None:
    kept = [1, 2]
    permits = Permits(4, lambda: kept.pop() if kept else 0)
    for _one in range(4):
        permits.take()
    permits.take()  # closes two
    permits.take()  # which is the other one of them
    assert kept == [1]
    taken = threading.Event()
    permits.take()
    waiter = threading.Thread(target=lambda: (permits.take(), taken.set()), daemon=True)
    waiter.start()
    assert not taken.wait(0.05)
    permits.give_back()
    assert taken.wait(100)


def test_a_set_leaves_one_for_those_who_need_one() -> None:
    permits = Permits(4)
    assert permits.take_some(10) == 3
    permits.take()
    assert permits.take_some(1) == 0, "it waits for nobody"
    permits.give_back(3, of_set=True)
    assert permits.take_some(10) == 3
    assert Permits(1).take_some(5) == 0


def test_a_thread_that_has_its_turn_may_call_again() -> None:
    turns = Turns(1)
    with turns.turn(), turns.turn():
        other = threading.Event()

        def calls() -> None:
            with turns.turn():
                other.set()

        threading.Thread(target=calls, daemon=True).start()
        assert not other.wait(0.05)
    assert other.wait(100)
