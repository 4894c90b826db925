# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Evacuating a volume: cut off after every effect, beside units in every order, with files that are damaged."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from fake_stores import Rig, wait_until
from faults.forks import run_forked
from job_mapping import mapping_of

from snowsync.cli import command as cli
from snowsync.core.errors import JobLocked, LedgerError, LocalError
from snowsync.core.model import ListedObject, State
from snowsync.hops import adoption
from snowsync.hops.destination.unsent import damaged_files
from snowsync.hops.destination.unsent.file_check import Damage
from snowsync.hops.flight import Item
from snowsync.ledger import locks
from snowsync.ledger.ledger import Row
from snowsync.ledger.moves import MoveLedger
from snowsync.ledger.records import Tally
from snowsync.upkeep import draining, evacuated_copies, evacuation, giving_up
from snowsync.upkeep.evacuation import ChangingText, evacuate
from snowsync.volumes import opening
from snowsync.volumes.open_volume import OpenVolume

COUNT = 8


def fill(rig: Rig, count: int = COUNT, name: str = "object") -> None:
    for number in range(count):
        rig.source.put(f"{name}/{number}", bytes([number % 256]) * (100 + number))


def stage(rig: Rig, count: int = COUNT) -> int:
    """Objects on both volumes; returns how many are on volume one."""
    fill(rig, count)
    rig.run(direction="source")
    assert on(rig, "one") and on(rig, "two")
    return len(on(rig, "one"))


def on(rig: Rig, volume: str) -> list[str]:
    return [name for name in rig.staged_files() if name.startswith(f"{volume}/")]


def discards(rig: Rig) -> int:
    ledger = rig.ledger
    found = len(ledger.copies.discards())
    ledger.close()
    return found


def assert_drains_without_fetching(rig: Rig) -> None:
    """Everything is delivered from what is staged, and nothing is left behind."""
    fetched = rig.source.count("fetch")
    rig.run()
    rig.assert_delivered()
    assert rig.source.count("fetch") == fetched, "something was lost, and fetched again"
    assert rig.files_left() == []
    assert discards(rig) == 0


# -- what it does -------------------------------------------------------------------------------------------------


def test_everything_moves_and_nothing_is_fetched_again(rig: Rig) -> None:
    count = stage(rig)
    done = evacuate(rig.job, "one")
    assert done.moved.objects == count
    assert (on(rig, "one"), len(on(rig, "two"))) == ([], COUNT)
    assert draining.look(rig.job, "one").state == "drained"
    assert discards(rig) == 0
    assert_drains_without_fetching(rig)


@pytest.mark.parametrize("part_size", [0, 5 * 1024 * 1024])
def test_large_objects_move_with_their_parts_digest(rig: Rig, part_size: int) -> None:
    rig.changes = {"group": {"bytes": "1MiB"}}
    for number in range(4):
        rig.source.put(f"large/{number}", os.urandom(6 * 1024 * 1024 + number), part_size=part_size)
    rig.run(direction="source")
    count = len(on(rig, "one"))
    assert evacuate(rig.job, "one").moved.objects == count > 0
    assert_drains_without_fetching(rig)


def test_keys_of_every_kind_move(rig: Rig) -> None:
    for key in ("a", "a/b", "//", "x/", "..", "line\nbreak", "ü" * 400, "*?'\"", " "):
        rig.source.put(key, key.encode())
        rig.source.put(f"{key}2", b"")
    rig.run(direction="source")
    assert on(rig, "one")
    evacuate(rig.job, "one")
    assert on(rig, "one") == []
    assert_drains_without_fetching(rig)


def test_small_groups_and_several_targets(rig: Rig) -> None:
    rig.changes = {"group": {"objects": 2}}
    volumes = list(mapping_of(rig.job)["volumes"])
    (rig.folder / "three").mkdir()
    rig.changes["volumes"] = [*volumes, {**volumes[0], "name": "three", "path": str(rig.folder / "three")}]
    fill(rig, 30)
    rig.run(direction="source")
    evacuate(rig.job, "one")
    assert on(rig, "one") == []
    rig.run()
    rig.assert_delivered()


def test_kept_files_move_too_and_delivered_ones_go(rig: Rig) -> None:
    rig.changes = {"keep_staged": True}
    fill(rig)
    rig.run()
    count = len(on(rig, "one"))
    assert evacuate(rig.job, "one").moved.objects == count > 0
    assert (on(rig, "one"), len(on(rig, "two"))) == ([], COUNT)
    rig.changes = {}
    done = evacuate_back(rig, "two")
    assert (done.moved.objects, done.released.objects) == (0, COUNT)
    assert rig.files_left() == []
    assert set(rig.states().values()) == {"released"}


def evacuate_back(rig: Rig, name: str) -> evacuation.Evacuated:
    for volume in rig.job.volumes:
        draining.set_draining(rig.job, volume.name, False)
    return evacuate(rig.job, name)


def test_dropped_files_stay_and_are_said(rig: Rig) -> None:
    rig.changes = {"volumes": [dict(volume) for volume in mapping_of(rig.job)["volumes"]]}
    rig.changes["volumes"][0]["drop_folder"] = "drop"
    (rig.folder / "one/drop").mkdir()
    (rig.folder / "one/drop/picture").write_bytes(b"people's")
    count = stage(rig)
    done = evacuate(rig.job, "one")
    assert (done.moved.objects, done.dropped) == (count, Tally(1, 8))
    assert (rig.folder / "one/drop/picture").read_bytes() == b"people's"
    rig.run()
    assert "picture" in rig.destination.objects


def test_two_volumes_that_are_both_evacuated_have_no_room(rig: Rig) -> None:
    stage(rig)
    evacuate(rig.job, "one")
    with pytest.raises(LocalError, match="no other volume has room"):
        evacuate(rig.job, "two")
    assert len(on(rig, "two")) == COUNT
    draining.set_draining(rig.job, "one", False)
    assert evacuate(rig.job, "two").moved.objects == COUNT
    assert_drains_without_fetching(rig)


def test_one_that_is_taken_back_stops(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.changes = {"group": {"objects": 1}}
    count = stage(rig)
    commit = MoveLedger.commit_moved

    def commit_and_undo(self: MoveLedger, *arguments: Any) -> Any:
        draining.set_draining(rig.job, "one", False)
        return commit(self, *arguments)

    monkeypatch.setattr(MoveLedger, "commit_moved", commit_and_undo)
    with pytest.raises(LedgerError, match="draining was undone"):
        evacuate(rig.job, "one")
    assert len(on(rig, "one")) == count - 1


def test_only_one_evacuation_at_a_time(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evacuation, "_PATIENCE_SECONDS", 0.1)
    stage(rig)
    with locks.locked(rig.job, locks.EVACUATION), pytest.raises(JobLocked, match="already being evacuated"):
        evacuate(rig.job, "one")


def test_the_lock_is_waited_for_a_moment(rig: Rig) -> None:
    """A source unit that starts takes it to sweep."""
    stage(rig)
    with contextlib.ExitStack() as held:
        held.enter_context(locks.locked(rig.job, locks.EVACUATION))
        threading.Timer(0.3, held.pop_all().close).start()
        assert evacuate(rig.job, "one").moved.objects > 0


def test_a_volume_that_is_away_cannot_be_evacuated(rig: Rig) -> None:
    stage(rig)
    (rig.folder / "one").rename(rig.folder / "elsewhere")
    with pytest.raises(LocalError, match="marker.*snowsync refetch"):
        evacuate(rig.job, "one")


def test_a_text_is_said_once_until_another_one_is() -> None:
    said: list[str] = []
    text = ChangingText(said.append)
    for each in ("waiting", "waiting", "moved 1 object so far", "waiting"):
        text.tell(each)
    assert said == ["waiting", "moved 1 object so far", "waiting"]


# -- cut off ------------------------------------------------------------------------------------------------------

# Counts every effect, and ends the process after the one that it was told, as kill -9 does.
DIES = """
import os, sys
from snowsync.upkeep import evacuated_copies, evacuation
from snowsync.config import job_file
from snowsync.ledger.copies import CopyLedger
from snowsync.ledger.moves import MoveLedger
from snowsync.ledger.volumes import VolumeLedger
from snowsync.volumes.open_volume import OpenVolume, StagedDirectories

left = int(sys.argv[2])

def counted(owner, name, label=""):
    real = getattr(owner, name)
    def effect(*arguments):
        global left
        found = real(*arguments)
        print(label or name, flush=True)
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return found
    setattr(owner, name, effect)

counted(VolumeLedger, "set_draining")
for name in ("intend", "commit_moved"):
    counted(MoveLedger, name)
counted(CopyLedger, "discarded")
for name in ("sync", "publish", "discard_staged"):
    counted(OpenVolume, name)
counted(StagedDirectories, "sync", "sync_directories")
counted(evacuated_copies, "pour")
evacuation.evacuate(job_file.load_job(sys.argv[1]), "one")
"""


def job_file(rig: Rig) -> str:
    path = rig.folder / "photos.yml"
    path.write_text(yaml.safe_dump(mapping_of(rig.job)))
    return str(path)


def cut_off(rig: Rig, after: int) -> list[str]:
    """The effects it had, or all of them when it was not cut off."""
    died = run_forked([sys.executable, "-c", DIES, job_file(rig), str(after)], timeout=120)
    assert died.returncode in (0, -signal.SIGKILL), died.stderr
    return died.stdout.split() if died.returncode else [*died.stdout.split(), "end"]


@pytest.fixture(scope="module")
def effects_of_two() -> list[str]:
    """What an evacuation of two objects does, in order: the moments at which it is cut off."""
    return [
        "set_draining",
        "pour", "pour", "sync", "intend", "publish", "publish", "sync_directories", "commit_moved",
        "discard_staged", "discard_staged", "sync", "discarded",
    ]  # fmt: skip


def two_on_one(rig: Rig) -> None:
    rig.changes = {"group": {"seconds": 0.1}}
    fill(rig, 4)
    rig.run(direction="source")
    assert (len(on(rig, "one")), len(on(rig, "two"))) == (2, 2)


def test_the_effects_are_in_order(rig: Rig, effects_of_two: list[str]) -> None:
    two_on_one(rig)
    assert cut_off(rig, 1000) == [*effects_of_two, "end"]


@pytest.mark.parametrize("after", range(13))
@pytest.mark.parametrize("then", ["units", "evacuate"])
def test_cut_off_after_any_effect_nothing_is_lost_or_left(
    rig: Rig, effects_of_two: list[str], after: int, then: str
) -> None:
    two_on_one(rig)
    assert cut_off(rig, after) == effects_of_two[: after + 1]
    if then == "evacuate":
        evacuate(rig.job, "one")
        assert (on(rig, "one"), len(on(rig, "two"))) == ([], 4)
        assert not [name for name in rig.files_left() if "evacuate-" in name]
    assert_drains_without_fetching(rig)


# -- beside units -------------------------------------------------------------------------------------------------


def before(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Callable[[], None]) -> None:
    """Do something once, just before an effect."""
    real, done = getattr(owner, name), []

    def effect(*arguments: Any) -> Any:
        if not done:
            done.append(name)
            act()
        return real(*arguments)

    monkeypatch.setattr(owner, name, effect)


MOMENTS = ["sync", "intend", "commit_moved", "discard_with_folders"]


def owner_of(moment: str) -> type:
    return MoveLedger if moment in ("intend", "commit_moved") else OpenVolume


@pytest.mark.parametrize("moment", MOMENTS)
def test_everything_is_delivered_in_the_middle(rig: Rig, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """A whole run of the destination unit between two effects: it delivers and deletes what is being moved."""
    stage(rig)
    # Also while the names of the target are held: a destination unit needs them for nothing.
    before(monkeypatch, owner_of(moment), moment, lambda: rig.run(direction="destination"))
    evacuate(rig.job, "one")
    assert on(rig, "one") == []
    sent = {key: rig.destination.count("send", key) for key in rig.source.objects}
    rig.run()
    rig.assert_delivered()
    assert rig.source.count("fetch") == COUNT
    assert {key: rig.destination.count("send", key) for key in rig.source.objects} == sent, "delivered twice"
    assert set(sent.values()) == {1}
    assert rig.files_left() == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_object_that_is_being_sent_is_moved(rig: Rig, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """The upload ends after the move, or before: it is sent once, and its file is deleted wherever it is by then."""
    stage(rig)
    sending: list[str] = []
    go_on: list[str] = []

    def hold(operation: str, key: str) -> None:
        if operation == "send":
            sending.append(key)
            wait_until(lambda: bool(go_on))

    rig.destination.after = hold
    running = rig.start(direction="destination")
    wait_until(lambda: bool(sending))
    try:
        before(monkeypatch, owner_of(moment), moment, lambda: go_on.append(moment) if moment != "sync" else None)
        evacuate(rig.job, "one")
    finally:
        go_on.append("at last")
    running.join()
    rig.run()
    rig.assert_delivered()
    assert rig.source.count("fetch") == COUNT
    assert rig.failures() == []
    assert {rig.destination.count("send", key) for key in rig.source.objects} <= {1, 2}
    assert rig.files_left() == []
    assert discards(rig) == 0


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_new_generation_arrives_in_the_middle(rig: Rig, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    stage(rig)

    def overwrite() -> None:
        for key in list(rig.source.objects):
            rig.source.put(key, b"newer " + key.encode())
        listing = [
            (key, len(stored.data), stored.etag, stored.modified_ms) for key, stored in rig.source.objects.items()
        ]
        ledger = rig.ledger
        ledger.listing.observe([ListedObject(*entry) for entry in listing])
        ledger.close()

    before(monkeypatch, owner_of(moment), moment, overwrite)
    evacuate(rig.job, "one")
    rig.run()
    rig.assert_delivered()
    assert rig.files_left() == []
    assert discards(rig) == 0


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_source_unit_starts_in_the_middle_and_sweeps(rig: Rig, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    stage(rig)
    threads = []

    def start() -> None:
        # Not to its end: it may have to wait until the names are free again.
        running = rig.start(direction="source", until="once")
        threads.append(running)
        wait_until(running.thread.is_alive)

    before(monkeypatch, owner_of(moment), moment, start)
    evacuate(rig.job, "one")
    for running in threads:
        running.join()
    assert (on(rig, "one"), len(on(rig, "two"))) == ([], COUNT)
    assert_drains_without_fetching(rig)


def test_beside_running_units_with_new_objects_all_the_time(rig: Rig) -> None:
    rig.changes = {"group": {"objects": 5, "seconds": 0.05}, "pass_interval": 0.1}
    fill(rig, 60)
    rig.run(direction="source")
    slow = [0.01]
    rig.destination.before = lambda operation, key: wait_a_little(slow)
    running = rig.start(until="forever")
    try:
        for turn in range(4):
            fill(rig, 30, f"more-{turn}")
            name = "one" if turn % 2 else "two"
            evacuate(rig.job, name)
            assert draining.look(rig.job, name).undelivered == Tally()
            draining.set_draining(rig.job, name, False)
        slow.clear()
        wait_until(lambda: set(rig.destination.objects) == set(rig.source.objects))
    finally:
        running.stop()
    rig.run()
    rig.assert_delivered()
    assert rig.failures() == []
    assert rig.files_left() == []
    assert discards(rig) == 0


def test_what_moved_away_and_back_while_it_was_looked_for_was_never_missing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(rig)
    name = on(rig, "two")[0]
    home, other = rig.folder / name, rig.folder / name.replace("two/", "one/", 1)
    aside = rig.folder / "aside"
    home.rename(aside)  # the first evacuation is over, and the unit has the row of before
    look = adoption._look

    def come_back(volume: OpenVolume, row: Row) -> adoption.Found | None:
        """The second one has copied it, and not yet removed what it copied."""
        if aside.exists():
            other.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(aside, other)
            aside.rename(home)
        return look(volume, row)

    monkeypatch.setattr(adoption, "_look", come_back)
    rig.run(direction="destination")
    assert not aside.exists(), "it was looked for"
    other.unlink(missing_ok=True)
    rig.assert_delivered()
    assert rig.failures() == []


def test_what_is_moved_away_and_back_while_it_is_sent_is_not_refused(rig: Rig) -> None:
    """The mover finds no file, and whoever looks why finds it there: nobody is to blame for that."""
    stage(rig)
    home = rig.folder / next(name for name in rig.staged_files() if name.endswith("/object/3~1"))
    aside, moved = rig.folder / "aside", list[str]()

    def move_away(operation: str, key: str) -> None:
        if operation == "send" and key.endswith("object/3") and not moved:
            moved.append(key)
            home.rename(aside)

    rig.destination.before = move_away
    examine = damaged_files.examine

    def look(item: Item, **how: Any) -> Damage | None:
        if aside.exists():
            aside.rename(home)
        return examine(item, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(damaged_files, "examine", look)
        rig.run(direction="destination")
    assert moved and not aside.exists()
    rig.assert_delivered()
    assert rig.failures() == []
    assert rig.source.count("fetch") == COUNT


def wait_a_little(slow: list[float]) -> None:
    for seconds in list(slow):
        time.sleep(seconds)


def test_room_is_waited_for_while_a_destination_unit_makes_some(rig: Rig) -> None:
    rig.changes = {"volumes": [dict(volume) for volume in mapping_of(rig.job)["volumes"]]}
    rig.changes["volumes"][1]["limit"] = 40_000
    rig.changes["space"] = {"reserve": 0}
    fill(rig, 20)
    rig.run(direction="source")
    count = len(on(rig, "one"))
    assert count > 3
    held: list[str] = []

    def hold(operation: str, key: str) -> None:
        if operation == "send":
            wait_until(lambda: bool(held))

    rig.destination.before = hold
    running = rig.start(direction="destination")
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if "waiting for space" in text:
            held.append(text)

    evacuate(rig.job, "one", say)
    assert held, "it had to wait"
    running.join()
    rig.assert_delivered()
    assert rig.source.count("fetch") == 20


def test_a_source_unit_sweeps_what_a_killed_evacuation_left_but_not_beside_one(rig: Rig) -> None:
    stage(rig)
    left = rig.folder / "two/.snowsync/incoming/photos/evacuate-1"
    left.write_bytes(b"half")
    with locks.locked(rig.job, locks.EVACUATION):
        rig.run(direction="source")
        assert left.exists(), "it may be of the one that runs"
    rig.run(direction="source")
    assert not left.exists()


# -- files that are not well --------------------------------------------------------------------------------------


def test_a_damaged_file_is_not_moved_but_fetched_again(rig: Rig) -> None:
    count = stage(rig)
    path = rig.folder / on(rig, "one")[0]
    path.write_bytes(b"\xff" * path.stat().st_size)
    done = evacuate(rig.job, "one")
    assert (done.moved.objects, done.refetched.objects) == (count - 1, 1)
    assert [trouble for _key, trouble in rig.failures()] == ["mismatch"]
    rig.run()
    rig.assert_delivered()
    assert rig.source.count("fetch") == COUNT + 1
    assert rig.files_left() == []


def test_a_file_that_is_gone_is_fetched_again(rig: Rig) -> None:
    stage(rig)
    (rig.folder / on(rig, "one")[0]).unlink()
    assert evacuate(rig.job, "one").refetched.objects == 1
    rig.run()
    rig.assert_delivered()


def test_a_file_that_cannot_be_read_is_fetched_again_and_the_copy_stays(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(rig)
    bad = on(rig, "one")[0]
    pour = evacuated_copies.pour

    def fail(descriptor: int, row: Any, target: OpenVolume) -> str:
        if f"/{row.key}~" in bad:
            raise evacuated_copies.Unreadable(OSError(errno.EIO, "Input/output error"))
        return pour(descriptor, row, target)

    monkeypatch.setattr(evacuated_copies, "pour", fail)
    assert evacuate(rig.job, "one").refetched.objects == 1
    assert on(rig, "one") == [bad]
    assert [trouble for _key, trouble in rig.failures()] == ["io"]
    rig.run()
    rig.assert_delivered()
    assert rig.files_left() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_target_that_fails_is_left_out(rig: Rig, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    volumes = list(mapping_of(rig.job)["volumes"])
    (rig.folder / "three").mkdir()
    rig.changes = {"volumes": [*volumes, {**volumes[0], "name": "three", "path": str(rig.folder / "three")}]}
    fill(rig, 12)
    rig.run(direction="source")
    pour, failed = evacuated_copies.pour, []

    def fail(descriptor: int, row: Any, target: OpenVolume) -> str:
        if target.name == "two":
            failed.append(row.key)
            raise OSError(number, os.strerror(number))
        return pour(descriptor, row, target)

    monkeypatch.setattr(evacuated_copies, "pour", fail)
    evacuate(rig.job, "one")
    assert failed
    assert on(rig, "one") == []
    rig.run()
    rig.assert_delivered()
    assert rig.source.count("fetch") == 12


def test_a_sync_that_fails_moves_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    count = stage(rig)
    sync, fails = OpenVolume.sync, [1]

    def fail(self: OpenVolume) -> None:
        if fails:
            raise OSError(errno.EIO, "Input/output error")
        sync(self)

    with monkeypatch.context() as patch:
        patch.setattr(OpenVolume, "sync", fail)
        with pytest.raises(LocalError, match="no other volume has room"):
            evacuate(rig.job, "one")
    assert len(on(rig, "one")) == count
    assert_drains_without_fetching(rig)


def test_a_read_only_volume_is_evacuated_and_its_files_go_later(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    count = stage(rig)
    real = opening.try_writing
    one = os.stat(rig.folder / "one/.snowsync/incoming/photos").st_ino

    def refuse(folder: int) -> None:
        if os.fstat(folder).st_ino == one:
            raise OSError(errno.EROFS, "Read-only file system")
        real(folder)

    with monkeypatch.context() as patch:
        patch.setattr(opening, "try_writing", refuse)
        patch.setattr("snowsync.volumes.medium.try_writing", refuse)
        assert evacuate(rig.job, "one").moved.objects == count
        assert len(on(rig, "one")) == count, "nothing can be deleted there now"
        assert discards(rig) == count
    assert_drains_without_fetching(rig)


# -- giving up ----------------------------------------------------------------------------------------------------


def give_up(rig: Rig, *, yes: bool = True) -> giving_up.GivenUp:
    return giving_up.give_up(rig.job, "one", yes=yes)


def test_a_disk_that_will_not_come_back(rig: Rig) -> None:
    rig.changes = {"volumes": [dict(volume) for volume in mapping_of(rig.job)["volumes"]]}
    rig.changes["volumes"][0]["drop_folder"] = "drop"
    (rig.folder / "one/drop").mkdir()
    (rig.folder / "one/drop/picture").write_bytes(b"people's")
    count = stage(rig)
    with pytest.raises(LedgerError, match="is available.*snowsync evacuate photos one"):
        give_up(rig)
    (rig.folder / "one").rename(rig.folder / "elsewhere")
    looked = give_up(rig, yes=False)
    assert (looked.done, looked.to_fetch.objects) == (False, count)
    assert "1 dropped file would be lost" in giving_up.render(looked)
    assert list(rig.states().values()).count("pending") == 0
    done = give_up(rig)
    assert (done.done, done.refetched, done.lost) == (True, count, ["picture"])
    assert "picture" in giving_up.render(done)
    assert ("picture", "io") in rig.failures()
    rig.run()
    rig.assert_delivered()
    assert rig.source.count("fetch") == COUNT + count


def test_a_disk_that_comes_back_after_all_is_used_and_swept(rig: Rig) -> None:
    count = stage(rig)
    (rig.folder / "one").rename(rig.folder / "elsewhere")
    give_up(rig)
    (rig.folder / "elsewhere").rename(rig.folder / "one")
    ledger = rig.ledger
    ledger.volumes.set_trouble(1, "missing", "it was away")  # as a unit would have seen it
    ledger.close()
    assert count
    assert_drains_without_fetching(rig)


def test_what_was_delivered_from_a_lost_disk_is_done(rig: Rig) -> None:
    rig.changes = {"keep_staged": True}
    fill(rig)
    rig.run()
    (rig.folder / "one").rename(rig.folder / "elsewhere")
    assert give_up(rig).refetched == 0
    assert set(rig.states().values()) == {"delivered", "released"}
    assert draining.look(rig.job, "one").held == Tally()


def test_an_upload_that_ended_before_the_disk_did_is_not_repeated(rig: Rig) -> None:
    stage(rig)
    ledger = rig.ledger
    rows = [row for row in ledger.objects.work(State.STAGED, after_id=0, limit=100) if row.volume == 1]
    ledger.deliveries.claim_sends(rows)
    ledger.close()
    for row in rows:
        rig.destination.objects[row.key] = rig.source.objects[row.key]
    (rig.folder / "one").rename(rig.folder / "elsewhere")
    give_up(rig)
    rig.run()
    rig.assert_delivered()
    assert rig.destination.count("send") == COUNT - len(rows)


# -- the commands -------------------------------------------------------------------------------------------------


def test_evacuate_and_refetch_from_the_command_line(
    rig: Rig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evacuation, "_PATIENCE_SECONDS", 0.1)
    count = stage(rig)
    path = job_file(rig)
    assert cli.main(["refetch", path, "one"]) == 8
    assert cli.main(["evacuate", path, "one"]) == 0
    assert f"moved {count} objects" in capsys.readouterr().out
    assert cli.main(["evacuate", path, "nine"]) == 2
    with locks.locked(rig.job, locks.EVACUATION):
        assert cli.main(["evacuate", path, "one"]) == 7
    (rig.folder / "two").rename(rig.folder / "elsewhere")
    assert cli.main(["evacuate", path, "two"]) == 6
    capsys.readouterr()
    assert cli.main(["refetch", path, "two"]) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert cli.main(["refetch", path, "two", "--yes"]) == 0
    assert f"{COUNT} objects will be fetched again" in capsys.readouterr().out
