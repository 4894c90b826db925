# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that hangs: what is asked of it comes back in time, and the other volumes' objects go on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_stores import Rig, wait_until

from snowsync.core import workers
from snowsync.hops import shutdown
from snowsync.volumes import disk_calls, job_volume, open_volume
from snowsync.volumes.disk_calls import DiskCalls, Silent
from snowsync.volumes.volume_set import VolumeSet


class Hang:
    """Holds up whoever calls it until it is let go."""

    def __init__(self) -> None:
        self.reached, self.free = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.free.wait(100)


@pytest.fixture
def hang() -> Iterator[Hang]:
    made = Hang()
    yield made
    made.free.set()


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_calls, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(job_volume, "STUCK_SECONDS", 0.5)
    monkeypatch.setattr(shutdown, "_END_SECONDS", 2.0)


@pytest.fixture
def disk() -> Iterator[DiskCalls]:
    made = DiskCalls("one")
    yield made
    made.close()


def patiently(disk: DiskCalls, monkeypatch: pytest.MonkeyPatch) -> DiskCalls:
    """On a busy machine even an answer at once may take a moment."""
    monkeypatch.setattr(disk_calls, "PATIENCE_SECONDS", 60.0)
    return disk


# -- calls --------------------------------------------------------------------------------------------------------


def test_a_disk_answers(disk: DiskCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [patiently(disk, monkeypatch).ask(lambda number=number: number) for number in range(3)] == [0, 1, 2]  # type: ignore[misc]  # a default binds it


def test_what_raises_at_a_disk_reaches_who_asked(disk: DiskCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ValueError("boom")

    for _time in range(2):
        with pytest.raises(ValueError, match="boom"):
            patiently(disk, monkeypatch).ask(fail)
    assert disk.ask(lambda: 1) == 1, "and its thread goes on"


def test_a_disk_that_hangs_is_waited_for_once(disk: DiskCalls, hang: Hang, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Silent) as first:
        disk.ask(hang)
    assert first.value.is_asked
    patiently(disk, monkeypatch)
    with pytest.raises(Silent) as second:  # at once, although there is patience for a minute
        disk.ask(lambda: 1)
    assert not second.value.is_asked
    assert second.value.seconds >= 0.2
    hang.free.set()
    wait_until(lambda: disk._late is not None and disk._late.is_done.is_set())
    assert disk.ask(lambda: 1) == 1


def test_a_late_answer_is_that_of_the_next_call_of_its_kind(disk: DiskCalls, hang: Hang) -> None:
    """A volume that was opened too late is not opened twice."""

    def open_late() -> str:
        hang()
        return "the first"

    with pytest.raises(Silent):
        disk.ask(open_late, "open")
    hang.free.set()
    wait_until(lambda: disk._late is not None and disk._late.is_done.is_set())
    assert disk.ask(lambda: "the second", "open") == "the first"


# -- volumes ------------------------------------------------------------------------------------------------------


class BadDisk:
    """Volume "one", of which one kind of call hangs from `begin` on."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, hang: Hang) -> None:
        self._folder = str(folder / "one")
        self._patch = monkeypatch
        self._hang = hang
        self._begun = False

    def begin(self) -> None:
        self._begun = True

    def _is_meant(self, where: object) -> bool:
        if not self._begun:
            return False
        path = os.readlink(f"/proc/self/fd/{where}") if isinstance(where, int) else str(where)
        return path.startswith(self._folder)

    def slow(self, module: object, name: str, argument: str | int = 0) -> None:
        """Let `module.name` hang where its argument is a file, or a path, of this volume."""
        real = getattr(module, name)

        def call(*arguments: Any, **options: Any) -> Any:
            where = options.get(argument) if isinstance(argument, str) else arguments[argument]
            if where is not None and self._is_meant(where):
                self._hang()
            return real(*arguments, **options)

        self._patch.setattr(module, name, call)


CALLS: list[tuple[str, object, str, str | int]] = [
    ("statvfs", os, "fstatvfs", 0),
    ("the look at its marker", os, "stat", 0),
    ("syncfs", open_volume, "syncfs", 0),
    ("fsync of a folder", os, "fsync", 0),
    ("rename", os, "rename", "dst_dir_fd"),
    ("removal", os, "unlink", "dir_fd"),
]


@pytest.mark.parametrize(("module", "name", "argument"), [call[1:] for call in CALLS], ids=[call[0] for call in CALLS])
def test_one_disk_that_hangs_holds_up_no_other(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, hang: Hang, module: object, name: str, argument: str | int
) -> None:
    """The source unit fills the other volume, the destination unit empties it, and a stop ends both."""
    rig.changes = {"group": {"seconds": 0.05, "objects": 8}, "pass_interval": 0.1}
    disk = BadDisk(rig.folder, monkeypatch, hang)
    disk.slow(module, name, argument)
    rig.source.put("first", b"first")
    running = rig.start(until="forever")
    wait_until(lambda: rig.destination.count("send", "first") == 1)
    disk.begin()
    batches = 0

    def deliver_more() -> None:
        nonlocal batches
        before = len(rig.destination.objects)
        for number in range(10):
            rig.source.put(f"batch-{batches}-{number}", bytes([number]) * 1000)
        batches += 1
        wait_until(lambda: len(rig.destination.objects) >= min(before + 3, batches * 10))

    while len(rig.destination.objects) < 100:
        deliver_more()
    assert hang.reached.wait(60), "no call of this kind came"
    deliver_more()
    running.stop()
    hang.free.set()
    ledger = rig.ledger
    assert list(ledger.database.stream("SELECT id FROM runs WHERE ended_ms IS NULL")) == []
    ledger.close()


def test_no_lock_is_held_while_a_disk_is_asked_for_its_space(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, hang: Hang
) -> None:
    lock = threading.Lock()
    held: list[bool] = []
    ledger = rig.ledger
    found = VolumeSet(rig.job, ledger)
    monkeypatch.setattr(disk_calls, "PATIENCE_SECONDS", 60.0)
    found.refresh()
    real = os.fstatvfs
    monkeypatch.setattr(os, "fstatvfs", lambda descriptor: (held.append(lock.locked()), real(descriptor))[1])
    assert [space.id for space in found.spaces(lock)] == [1, 2]
    assert held == [False, False]
    found.close()
    ledger.close()


def test_placement_knows_how_long_somebody_has_waited_for_a_disk(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_volume, "STUCK_SECONDS", 600.0)
    ledger = rig.ledger
    found = VolumeSet(rig.job, ledger)
    wait_until(lambda: len(found.refresh()[0]) + len(found.open) >= 2)
    workers.elsewhere.says("hand", [workers.Look("lane", workers.Doing.MEDIUM, 5.0, disk=2)])
    try:
        silent = {space.id: space.inflow.silent for space in found.spaces()}
    finally:
        workers.elsewhere.has_ended("hand")
        found.close()
        ledger.close()
    assert silent[1] == 0.0
    assert silent[2] >= 5.0


def test_a_disk_that_answers_nothing_is_named_until_it_does(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, hang: Hang
) -> None:
    ledger = rig.ledger
    found = VolumeSet(rig.job, ledger)
    wait_until(lambda: len(found.refresh()[0]) + len(found.open) >= 2)
    disk = BadDisk(rig.folder, monkeypatch, hang)
    disk.slow(os, "stat")
    disk.begin()
    assert found.refresh() == ([], [])
    monkeypatch.setattr(job_volume, "SILENT_SECONDS", 0.0)
    (gone,) = found.refresh()[1]
    assert gone.name == "one"
    assert "does not respond" in found.why_absent()
    found.in_use.close_retired()
    os.fstat(gone.folders.root)  # the call that hangs may use it still
    hang.free.set()
    wait_until(lambda: "one" in [volume.name for volume in found.refresh()[0]])
    found.in_use.close_retired()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(gone.folders.root)
    found.close()
    ledger.close()
