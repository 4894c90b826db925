# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that runs for ever: its notes, threads and descriptors stay as few as they were; see ledger/test_pruning.py
for the rows of its ledger."""

from __future__ import annotations

import gc
import os
import threading
import tracemalloc
from pathlib import Path

import pytest
from fake_stores import Rig, wait_until
from ledger_rows import failure, select

import snowsync
from snowsync.core.bounded_notes import Notes
from snowsync.core.errors import Trouble
from snowsync.core.model import ListedObject, State
from snowsync.hops.source.listing import left_at_source
from snowsync.ledger.ledger import Ledger


def test_the_oldest_note_is_forgotten() -> None:
    notes: Notes[int, str] = Notes(3)
    for number in (1, 2, 3, 1, 4):
        notes[number] = f"note {number}"
    assert len(notes) == 3
    assert notes.get(2, "none") == "none"
    assert [notes.get(number, "none") for number in (1, 3, 4)] == ["note 1", "note 3", "note 4"]
    assert notes.pop(1, "none") == "note 1"
    assert notes.pop(1, "none") == "none"


def test_a_key_that_comes_and_goes_is_forgotten_in_one_row(ledger: Ledger) -> None:
    """With the newest of its generations: none is given again."""
    for time in range(1, 30):
        ledger.listing.observe([ListedObject("k", 5, f"etag-{time}", time)])
        (row,) = ledger.objects.work(State.PENDING, after_id=0, limit=10)
        assert row.generation == time
        ledger.objects.gone(failure(row, Trouble.NOT_FOUND))
        assert ledger.listing.forget_gone(["k"], [], f"it went {time} times") == ["k"]
    assert select(ledger, "SELECT generation, reason FROM forgotten") == [(29, "it went 29 times")]


def test_what_is_said_of_keys_that_stay_is_remembered_so_often_at_most(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(left_at_source, "_MOST_TOLD", 5)
    for number in range(20):
        rig.source.put(f"{number:04}" + "x" * 1030, b"x")
    found: list[left_at_source.LeftAtSource] = []
    left = left_at_source.LeftAtSource
    refuse = left._refuse
    monkeypatch.setattr(left, "_refuse", lambda self, *rest: (found.append(self), refuse(self, *rest))[1])
    rig.run()
    assert found
    assert all(len(each._told) <= 5 for each in found)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_service_stays_as_large_as_it_was(rig: Rig) -> None:
    """After so many passes, objects and outages its threads and descriptors are those it began with."""
    rig.changes = {"pass_interval": 0.05, "group": {"seconds": 0.05, "objects": 50}}
    running = rig.start(until="forever")
    sizes: list[tuple[int, int, int]] = []
    tracemalloc.start()
    try:
        for turn in range(6):
            for number in range(40):
                rig.source.put(f"{turn}-{number}", b"x" * 500)
            rig.source.answers_at = lambda _url: False
            threading.Event().wait(0.05)
            rig.source.answers_at = lambda _url: True
            wait_until(lambda turn=turn: len(rig.destination.objects) == 40 * (turn + 1), seconds=60)  # type: ignore[misc]  # a default binds it
            gc.collect()
            sizes.append((threading.active_count(), descriptors(), engine_memory()))
    finally:
        tracemalloc.stop()
        running.stop()
    threads, files, memory = zip(*sizes, strict=True)
    assert max(threads[3:]) <= max(threads[:3]) + 1, sizes  # a prober comes and goes
    assert max(files[3:]) <= max(files[:3]) + 2, sizes
    assert memory[-1] < memory[2] + 200_000, sizes


def engine_memory() -> int:
    """Bytes that the engine holds, the stores of the test being none of it."""
    engine = str(Path(snowsync.__path__[0]).resolve())
    found = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, f"{engine}/*")])
    return sum(each.size for each in found.statistics("filename"))
