# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the connections of an endpoint are shared; that they are kept to is counted by test_connection_cap.py."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest

from snowsync import credentials
from snowsync.config import MoverSettings, Store
from snowsync.connections import LEAST, Permits, Turns, native_within, shares
from snowsync.model import Fetch
from snowsync.native import NativeMover


@pytest.mark.parametrize("cap", range(1, 1001))
def test_the_shares_are_the_cap_together(cap: int) -> None:
    found = shares(cap)
    assert found.asking + found.boto3 + found.mover == max(LEAST, cap)
    assert min(found.asking, found.boto3) >= 1 and found.mover >= 2


@pytest.mark.parametrize("share", [2, 3, 5, 8, 43, 700])
def test_the_native_mover_stays_within_its_share(share: int) -> None:
    for workers, large, parts in itertools.product((1, 16, 256), (1, 4, 64), (1, 4, 64)):
        settings = MoverSettings(workers=workers, large_workers=large, part_concurrency=parts)
        within = native_within(settings, share)
        assert within.workers + within.large_workers * within.part_concurrency <= share
        assert min(within.workers, within.large_workers, within.part_concurrency) >= 1
        assert within.workers <= workers and within.large_workers <= large and within.part_concurrency <= parts


@pytest.mark.parametrize(("workers", "folders"), [(1, 1), (1, 5), (4, 3), (16, 2), (23, 4)])
def test_lanes_are_as_few_as_volumes_and_have_as_many_connections_as_there_are_workers(
    workers: int, folders: int
) -> None:
    store = Store(bucket="bucket", endpoints=("http://127.0.0.1:1",))
    keys = credentials.Credentials("access", "secret", "", Path("none"), "default")
    before = threading.active_count()
    mover = NativeMover(
        store, store.endpoints[0], keys, MoverSettings(workers=workers), direction="send",
        on_outcome=lambda outcome: None, folders=folders,
    )  # fmt: skip
    paths = [f"/proc/self/fd/{20 + number}/{file}" for number, file in itertools.product(range(folders), range(50))]
    paths += [f"/proc/123/fd/{number}" for number in range(1000)]  # dropped files, held open
    lanes = {id(mover._small_lane(Fetch(1, "k", 1, path))) for path in paths}
    assert len(lanes) == min(workers, folders)
    assert sum(mover._widths) == workers
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
    assert taken.wait(10)


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
    assert other.wait(10)
