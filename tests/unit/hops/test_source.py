# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source unit on fake stores: races, generations, failures of volumes and endpoints."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_stores import (
    FakeMover,
    Rig,
    Stored,
    etag_of,
    install,
    move_by,
    mover_with_lane,
    open_slowly,
    refuse,
    wait_until,
)

from snowsync.core.errors import LocalError, StoreError, Trouble
from snowsync.core.model import State
from snowsync.hops.source.placing import Handover
from snowsync.hops.source.staging.committer import Committer
from snowsync.ledger.objects import ObjectLedger
from snowsync.volumes.open_volume import OpenVolume


def fill(rig: Rig, count: int = 5, size: int = 100) -> None:
    for number in range(count):
        rig.source.put(f"object-{number}", bytes([number]) * size)


def stall_work(monkeypatch: pytest.MonkeyPatch, state: State, begun: list[tuple[str, str]], operation: str) -> None:
    """Between reading rows and looking at what is in flight, let everything that is under way end."""
    work = ObjectLedger.work

    def work_slowly(self: ObjectLedger, asked: State, **options: Any) -> Any:
        rows = work(self, asked, **options)
        if asked is state and any((operation, row.key) in begun for row in rows):
            for row in rows:
                if (operation, row.key) in begun:
                    wait_until(lambda row=row: (self.row(row.id) or row).state != state)  # type: ignore[misc]  # a default binds it
        return rows

    monkeypatch.setattr(ObjectLedger, "work", work_slowly)


def test_an_object_staged_while_rows_are_read_is_not_fetched_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetched again it would be refused by the ledger, and its staged file deleted with the refusal."""
    fill(rig)
    stall_work(monkeypatch, State.PENDING, rig.source.requests, "fetch")
    rig.run(direction="source")
    assert rig.source.count("fetch") == 5
    assert len(rig.staged_files()) == 5


# -- generations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["plain", "with\nnewline"])
@pytest.mark.parametrize("size", [100, 90, 0])
def test_an_object_overwritten_after_it_was_listed_is_a_new_generation(rig: Rig, key: str, size: int) -> None:
    """Whatever its size is now, and whichever mover brings it: no attempt is counted against it."""
    fill(rig)
    rig.source.put(key, b"o" * 100)
    rig.changes = {"attempts": 1}
    replaced: list[str] = []

    def replace(operation: str, seen: str) -> None:
        if (operation, seen) == ("fetch", key) and not replaced:
            replaced.append(key)
            rig.source.put(key, b"n" * size)

    rig.source.before = replace
    summary = rig.run()
    rig.assert_delivered()
    assert [(failure["key"], failure["trouble"]) for failure in summary.failures] == [(key, "changed")]
    assert set(rig.states().values()) == {"released"}
    assert rig.files_left() == []
    assert not rig.run().changed, "the listing's time has milliseconds, HEAD's has not: that is no change"


def test_an_object_overwritten_between_fetch_and_proof(rig: Rig) -> None:
    fill(rig)
    rig.source.after = lambda operation, key: (
        rig.source.put(key, b"newer") if (operation, key) == ("fetch", "object-1") and key not in done else None,
        done.add(key),
    )[0]
    done: set[str] = set()
    rig.run()
    rig.assert_delivered()
    assert rig.failures() == [("object-1", "changed")]


def test_an_object_overwritten_between_two_reads_of_it(rig: Rig) -> None:
    rig.source.put("a", b"first!", etag="opaque-1")
    done: list[str] = []

    def replace(operation: str, key: str) -> None:
        if operation == "get" and not done:
            done.append(key)
            rig.source.put("a", b"second", etag="opaque-2")

    rig.source.before = replace
    rig.run()
    rig.assert_delivered()
    assert rig.failures() == [("a", "changed")]
    assert rig.files_left() == []


def test_a_new_generation_that_the_lister_saw_first_is_no_failure(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row waits in memory, for a lane or for space, while a pass sees the newer object."""
    rig.source.put("a", b"old")
    fetched = threading.Event()

    def replace(operation: str, key: str) -> None:
        if operation == "fetch" and not fetched.is_set():
            fetched.set()
            rig.source.put("a", b"newer")
            ledger = rig.ledger
            ledger.listing.observe(endpoint_page(rig))
            ledger.close()

    rig.source.before = replace
    rig.run()
    rig.assert_delivered()
    assert rig.failures() == []


def endpoint_page(rig: Rig) -> Any:
    from fake_stores import SOURCE_URL, FakeClient

    return FakeClient(rig.source, SOURCE_URL).list_page(None).objects


def names_of(rig: Rig, key: str) -> list[str]:
    return sorted(Path(name).name for name in rig.staged_files() if f"/{key}~" in name)


def test_a_staged_object_that_is_overwritten_is_kept_until_the_newer_one_is_delivered(rig: Rig) -> None:
    fill(rig)
    rig.run(direction="source")
    rig.source.put("object-2", b"newer")
    rig.run(direction="source")
    assert names_of(rig, "object-2") == ["object-2~1", "object-2~2"]
    rig.run()
    rig.assert_delivered()
    assert rig.failures() == []
    assert rig.files_left() == []


def test_an_older_generation_is_delivered_where_the_source_has_nothing_newer(rig: Rig) -> None:
    rig.source.put("a", b"old")
    rig.run(direction="source")
    rig.source.put("a", b"newer")
    rig.source.before = lambda operation, key: rig.source.objects.clear() if operation == "fetch" else None
    summary = rig.run()
    assert rig.destination.objects["a"].data == b"old"
    assert [failure["trouble"] for failure in summary.failures] == ["not_found"]
    assert rig.files_left() == []


def test_a_listing_that_was_wrong_once_costs_nothing(rig: Rig) -> None:
    rig.source.put("a", b"data")
    rig.run(direction="source")
    right = rig.source.objects["a"]
    rig.source.objects["a"] = Stored(b"other", "0" * 32, right.modified_ms + 5000)
    rig.source.before = refuse(Trouble.DENIED, operation="fetch")
    rig.changes = {"attempts": 1}
    rig.run(direction="source")
    rig.source.before = lambda operation, key: None
    rig.source.objects["a"] = right
    again = rig.run()
    rig.assert_delivered()
    # What the wrong listing said may be asked for once more before the right one is read, and is refused.
    assert again.staged.objects == 0
    assert rig.files_left() == []


def test_older_generations_go_first_where_there_is_no_room_for_both(rig: Rig) -> None:
    """All that the volumes hold was overwritten while the destination was away."""
    rig.changes = {
        "space": {"reserve": 0, "high_watermark": 1.0, "low_watermark": 0.9},
        "volumes": [{"name": "one", "path": str(rig.folder / "one"), "require_mount": False, "limit": "41000"}],
    }
    for number in range(10):
        rig.source.put(f"object-{number}", b"old" * 1000)
    rig.run(direction="source")
    for number in range(10):
        rig.source.put(f"object-{number}", b"newer" * 600)
    sent: list[bytes] = []
    rig.destination.after = lambda operation, key: (
        sent.append(rig.destination.objects[key].data) if operation == "send" else None
    )
    assert rig.run().drained
    rig.assert_delivered()
    assert b"old" * 1000 in sent, "nothing that was staged was thrown away"
    assert rig.files_left() == []


def test_an_object_that_leaves_the_source_under_way_has_failed_until_a_listing_agrees(rig: Rig) -> None:
    fill(rig)
    rig.source.before = lambda operation, key: (
        rig.source.objects.pop(key, None) and None if (operation, key) == ("fetch", "object-3") else None
    )
    summary = rig.run()
    rig.assert_delivered()
    assert [(failure["key"], failure["trouble"]) for failure in summary.failures] == [("object-3", "not_found")]
    assert not summary.drained
    assert rig.states()["object-3"] == "failed"
    assert rig.run().drained, "it is not listed any more"
    assert "object-3" not in rig.states()
    assert rig.files_left() == []


def test_an_object_that_is_listed_and_never_there_is_never_forgotten(rig: Rig) -> None:
    fill(rig)

    def lack(operation: str, key: str) -> None:
        if key == "object-3" and operation in ("fetch", "head"):
            raise StoreError(Trouble.NOT_FOUND, f"{operation} {key}", "there is no such object", status=404)

    rig.source.before = lack
    for _ in range(3):
        assert not rig.run().drained
        assert rig.states()["object-3"] == "failed"
    rig.source.before = lambda operation, key: None
    assert rig.run().drained
    rig.assert_delivered()


def test_an_object_deleted_after_it_was_staged_is_delivered(rig: Rig) -> None:
    rig.source.put("a", b"data")
    rig.run(direction="source")
    rig.source.objects.clear()
    rig.run()
    assert rig.destination.objects["a"].data == b"data"


def test_obsolete_files_are_removed_however_many_and_wherever_they_lie(rig: Rig) -> None:
    count = 1200
    for number in range(count):
        rig.source.put(f"object-{number}", b"old")
    rig.run(direction="source")
    os.rename(rig.folder / "one", rig.folder / "unplugged")
    for number in range(count):
        rig.source.put(f"object-{number}", b"newer")
    rig.run(direction="source")
    os.rmdir(rig.folder / "one")
    os.rename(rig.folder / "unplugged", rig.folder / "one")
    rig.run(direction="source")
    assert len(rig.staged_files()) == 2 * count, "the newer ones are not delivered yet"
    rig.run()
    rig.assert_delivered()
    assert rig.files_left() == []


def test_a_key_that_came_back_is_not_discarded_with_its_former_self(rig: Rig) -> None:
    """Both are the first generation of the key, on the same volume."""
    rig.source.put("a", b"data")
    rig.run(direction="source")
    ledger = rig.ledger
    (volume,) = next(ledger.database.stream("SELECT volume FROM objects"))
    with ledger.database.transaction() as db:
        db.execute("INSERT INTO discards (volume, key, generation) VALUES (?, 'a', 1)", (volume,))
    ledger.close()
    rig.run(direction="source")
    assert len(rig.staged_files()) == 1
    assert rig.ledger.copies.discards() == []


# -- bytes that are not right -------------------------------------------------------------------------------------


def spoil(rig: Rig, key: str, times: int = 10**9) -> None:
    """The store sends other bytes of this object than it has, `times` times."""
    stored = rig.source.objects[key]
    left = [times]

    def before(operation: str, seen: str) -> None:
        if seen == key and operation == "fetch":
            bad = left[0] > 0
            left[0] -= 1
            data = b"!" + stored.data[1:]
            rig.source.objects[key] = Stored(data if bad else stored.data, stored.etag, stored.modified_ms)

    rig.source.before = before
    rig.source.after = lambda operation, seen: rig.source.objects.__setitem__(key, stored) if seen == key else None


def test_a_copy_that_did_not_match_goes_when_a_good_one_is_proven(rig: Rig) -> None:
    fill(rig)
    spoil(rig, "object-1", times=2)
    rig.run()
    rig.assert_delivered()
    assert rig.failures() == [("object-1", "mismatch")] * 2
    assert rig.files_left() == []


def test_a_quarantined_copy_goes_also_after_a_restart(rig: Rig) -> None:
    """A new run forgets the attempts of an object, and must still find its copy."""
    fill(rig)
    rig.changes = {"attempts": 2}
    spoil(rig, "object-1")
    rig.run()
    assert rig.states()["object-1"] == "quarantined"
    assert 1 <= len(rig.quarantined_files()) <= 2, "the last one on each volume"
    rig.source.before = rig.source.after = lambda operation, key: None
    rig.run()
    rig.assert_delivered()
    assert rig.files_left() == []


def test_the_last_copy_in_quarantine_is_kept(rig: Rig) -> None:
    fill(rig)
    rig.changes = {"attempts": 2}
    spoil(rig, "object-1")
    rig.run()
    rig.source.before = rig.source.after = lambda operation, key: None
    del rig.source.objects["object-1"]
    kept = rig.quarantined_files()
    for _ in range(2):
        assert not rig.run().drained
        assert rig.quarantined_files() == kept
        assert rig.states()["object-1"] == "failed"


def test_a_volume_that_cannot_clear_its_quarantine_ends_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(rig)
    spoil(rig, "object-1", times=1)

    def fail(self: OpenVolume, object_id: int, permit: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(OpenVolume, "clear_quarantine", fail)
    rig.run()
    rig.assert_delivered()


def test_an_endpoint_that_corrupts_is_avoided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = "http://one.test:1", "http://two.test:1"
    rig = Rig(tmp_path, source_endpoints=[one, two])
    install(monkeypatch, rig)
    fill(rig, 10)
    carry_out = FakeMover._run

    def corrupting(self: FakeMover) -> None:
        if self.url != one:
            carry_out(self)
            return
        while (work := self.tasks.get()) is not None:
            self.in_flight -= 1
            Path(work.path).write_bytes(b"!" * work.size)
            from snowsync.core.model import Outcome

            self.on_outcome(Outcome(work.id))

    monkeypatch.setattr(FakeMover, "_run", corrupting)
    rig.changes = {"attempts": 2}
    summary = rig.run()
    rig.assert_delivered()
    assert 0 < summary.failure_count <= 10, "once for each object that came from there at first"
    assert all(one in failure["message"] for failure in summary.failures)
    assert rig.files_left() == []


def test_an_endpoint_that_dies_is_left_to_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = "http://one.test:1", "http://two.test:1"
    rig = Rig(tmp_path, source_endpoints=[one, two])
    install(monkeypatch, rig)
    fill(rig, 50)
    dead = threading.Event()
    rig.source.answers_at = lambda url: url != one or not dead.is_set()
    rig.source.after = lambda operation, key: dead.set() if rig.source.count("fetch") > 20 else None
    summary = rig.run()
    rig.assert_delivered()
    assert summary.failure_count == 0


# -- volumes ------------------------------------------------------------------------------------------------------


def test_a_group_that_cannot_become_durable_is_fetched_onto_another_volume(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(rig, 20)
    publish = OpenVolume.publish

    def fail_half_way(self: OpenVolume, object_id: int, relative: str) -> str:
        if self.name == "one" and object_id % 2:
            raise OSError(errno.EIO, "Input/output error")
        return publish(self, object_id, relative)

    monkeypatch.setattr(OpenVolume, "publish", fail_half_way)
    running = rig.start(direction="source")
    wait_until(lambda: len(rig.states()) == 20)
    summary = running.join()
    assert summary.failure_count == 0
    assert len(rig.staged_files()) == 20, "what was renamed before the failure is gone"
    assert set(rig.states().values()) == {"staged"}


def test_one_file_that_is_gone_does_not_fail_its_group(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(rig)
    publish = OpenVolume.publish
    lost: list[int] = []

    def lose_one(self: OpenVolume, object_id: int, relative: str) -> str:
        if not lost:
            lost.append(object_id)
            self.discard_incoming(object_id)
        return publish(self, object_id, relative)

    monkeypatch.setattr(OpenVolume, "publish", lose_one)
    rig.run()
    rig.assert_delivered()
    assert rig.source.count("fetch") == 6


def test_a_local_failure_on_a_volume_that_is_well_does_not_take_it_out(rig: Rig) -> None:
    fill(rig)
    rig.source.before = refuse(Trouble.IO, operation="fetch", key="object-1", times=3)
    running = rig.start()
    unit = running.unit("source")
    taken_out: list[str] = []
    unit.volumes.take_out = lambda volume, reason: bool(taken_out.append(reason))  # type: ignore[method-assign]  # a spy
    running.join()
    rig.assert_delivered()
    assert taken_out == []


def test_an_object_that_a_volume_does_not_take_goes_to_another_one(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad spot of a disk that is well else: nothing is fetched to the same place again and again."""
    fill(rig)
    rig.source.before = refuse(Trouble.IO, operation="fetch", key="object-1", times=1)
    submit, places = Handover.submit, []

    def spy(self: Handover, items: Any) -> None:
        places.extend(item.volume.name for item in items if item.row.key == "object-1")
        submit(self, items)

    monkeypatch.setattr(Handover, "submit", spy)
    rig.run()
    rig.assert_delivered()
    assert sorted(places) == ["one", "two"]
    assert sum("does not accept 'object-1', trying other volumes first" in text for text in caplog.messages) == 1


def test_a_full_volume_is_waited_for(rig: Rig) -> None:
    fill(rig)
    rig.source.before = refuse(Trouble.SPACE, operation="fetch", key="object-1", times=1)
    summary = rig.run()
    rig.assert_delivered()
    assert summary.failure_count == 0


def test_what_a_crash_left_is_removed_where_it_is_not_needed(rig: Rig) -> None:
    fill(rig)
    rig.run(direction="source")
    known = rig.staged_files()
    folder = rig.folder / "one/.snowsync"
    on_two = next(name for name in known if name.startswith("two/"))
    (folder / "staged/photos" / Path(on_two).name).write_bytes(b"a copy of what is staged on the other volume")
    (folder / "staged/photos/never~1").write_bytes(b"renamed, and never in the ledger")
    (folder / "staged/photos/README").write_bytes(b"not the engine's")
    (folder / "incoming/photos/17").write_bytes(b"half")
    rig.run(direction="source")
    kept = ["one/.snowsync/staged/photos/README", "one/.snowsync/staged/photos/never~1"]
    assert sorted(rig.staged_files()) == sorted([*known, *kept])
    assert list((folder / "incoming/photos").iterdir()) == []


def test_what_is_in_flight_is_spared_when_its_volume_comes_back(rig: Rig) -> None:
    """The volume was given up for a failure, and its other transfers went on."""
    fill(rig, 1)
    arrived = threading.Event()
    released = threading.Event()

    def hold(operation: str, _key: str) -> None:
        if operation == "head":
            arrived.set()
            released.wait(100)

    rig.source.before = hold
    running = rig.start(direction="source")
    assert arrived.wait(100)
    unit = running.unit("source")
    (item,) = unit.flight.items()
    assert unit.volumes.take_out(item.volume, "a failure of its own")
    wait_until(lambda: item.volume.id in unit.volumes.open)
    released.set()
    running.join()
    assert rig.source.count("fetch") == 1
    assert len(rig.staged_files()) == 1


def test_one_pass_fills_the_volumes_and_ends(rig: Rig) -> None:
    rig.changes = {"space": {"reserve": 0}}
    job = rig.job
    volumes = [replace(volume, limit=10_000) for volume in job.volumes]
    limited = replace(job, volumes=tuple(volumes))
    for number in range(20):
        rig.source.put(f"object-{number:02}", b"x" * 4096)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rig, "job", property(lambda self: limited))
        summary = rig.run(direction="source", until="once")
    assert summary.states["staged"] == 4
    assert summary.states["pending"] == 16
    assert not summary.drained


def test_one_pass_with_files_that_stay_ends(rig: Rig) -> None:
    limited = replace(
        rig.job, keep_staged=True, volumes=tuple(replace(volume, limit=10_000) for volume in rig.job.volumes)
    )
    for number in range(20):
        rig.source.put(f"object-{number:02}", b"x" * 4096)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rig, "job", property(lambda self: limited))
        summary = rig.run(until="once")
    assert summary.states["delivered"] == 4
    assert summary.states["pending"] == 16


def test_one_pass_moves_more_than_the_volumes_hold(rig: Rig) -> None:
    limited = replace(rig.job, volumes=tuple(replace(volume, limit=10_000) for volume in rig.job.volumes))
    for number in range(20):
        rig.source.put(f"object-{number:02}", b"x" * 4096)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rig, "job", property(lambda self: limited))
        assert rig.run(until="once").drained
    rig.assert_delivered()


def test_one_pass_without_a_volume_says_so(rig: Rig) -> None:
    fill(rig)
    job = rig.job
    for volume in job.volumes:
        volume.path.rmdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rig, "job", property(lambda self: job))
        with pytest.raises(LocalError, match="find a volume for job photos"):
            rig.run(direction="source", until="once")


@pytest.mark.parametrize("slow", [("one",), ("one", "two")])
def test_one_pass_uses_disks_that_take_long_to_open(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, slow: tuple[str, ...]
) -> None:
    for number in range(4):
        rig.source.put(f"object-{number}", b"x" * 4096)
    limited = replace(rig.job, volumes=tuple(replace(volume, limit=10_000) for volume in rig.job.volumes))
    monkeypatch.setattr(Rig, "job", property(lambda self: limited))
    open_slowly(monkeypatch, *slow)
    summary = rig.run(direction="source", until="once")
    assert summary.states["staged"] == 4, "two on each"


def test_an_object_that_fits_nowhere_is_named_and_the_others_go(rig: Rig) -> None:
    fill(rig)
    rig.source.put("giant", b"x" * 50_000)
    limited = replace(rig.job, volumes=tuple(replace(volume, limit=40_000) for volume in rig.job.volumes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rig, "job", property(lambda self: limited))
        rig.run()
    assert rig.failures() == [("giant", "space")]
    assert sorted(rig.destination.objects) == [f"object-{number}" for number in range(5)]


# -- lanes --------------------------------------------------------------------------------------------------------


def test_large_objects_hold_up_no_small_ones(rig: Rig) -> None:
    rig.changes = {"mover": {"large_workers": 1, "large_object": 1000}}
    for number in range(100):  # more than are held in memory
        rig.source.put(f"a-large-{number:03}", b"x" * 1000)
    fill(rig, 20)
    released = threading.Event()

    with pytest.MonkeyPatch.context() as patch:
        move_by(patch, mover_with_lane(1000, released))
        running = rig.start()
        wait_until(lambda: len(rig.destination.objects) == 20)
        assert rig.source.count("fetch") == 20
        released.set()
        running.join()
    rig.assert_delivered()


@pytest.mark.parametrize("direction", ["both", "source"])
def test_what_is_not_proven_is_held_at_once_and_kept(rig: Rig, direction: str) -> None:
    """Two reads agreed: another attempt would bring the same bytes."""
    rig.source.put("odd", b"data", etag=f"{'1' * 32}-7")
    rig.source.put("sound", b"data")
    summary = rig.run(direction)
    assert rig.states()["odd"] == "quarantined"
    assert (rig.source.count("fetch", "odd"), rig.source.count("get", "odd")) == (1, 1)
    assert rig.failures() == [("odd", "mismatch")]
    assert summary.failure_count == 1
    assert "odd" not in rig.destination.objects
    (kept,) = rig.quarantined_files()
    assert (rig.folder / kept).read_bytes() == b"data"
    rig.run(direction)
    assert rig.states()["odd"] == "quarantined"
    assert len(rig.quarantined_files()) == 1
    rig.changes = {"unproven": "accept"}
    rig.run()
    assert rig.destination.objects["odd"].data == b"data"
    assert rig.files_left() == [], "the quarantined copy goes once the object is staged"


def test_a_newer_generation_is_not_held_for_an_older_one(rig: Rig) -> None:
    rig.source.put("odd", b"data", etag=f"{'1' * 32}-7")

    def overwrite(operation: str, key: str) -> None:
        if operation == "get":
            rig.source.before = lambda operation, key: None
            rig.source.put("odd", b"newer")

    rig.source.before = overwrite
    rig.run()
    rig.assert_delivered()
    assert rig.failures() == [("odd", "changed")]


def test_a_hash_of_a_large_file_holds_up_no_small_object(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.changes = {"mover": {"large_workers": 8, "large_object": 1000}}
    for number in range(4):
        rig.source.put(f"a-large-{number}", b"x" * 1000)
    fill(rig, 20)
    released = threading.Event()
    from snowsync.hops.source.arrivals import arrival_proofs

    prove = arrival_proofs.prove_arrival

    def prove_slowly(path: str, key: str, *arguments: Any, **options: Any) -> Any:
        if "large" in key:
            released.wait(100)
        return prove(path, key, *arguments, **options)

    monkeypatch.setattr(arrival_proofs, "prove_arrival", prove_slowly)
    running = rig.start()
    wait_until(lambda: len(rig.destination.objects) == 20)
    released.set()
    running.join()
    rig.assert_delivered()


def test_a_large_object_that_changed_while_it_waited_is_fetched_as_it_is_now(rig: Rig) -> None:
    rig.changes = {"mover": {"large_workers": 1, "large_object": 1000}}
    for number in range(3):
        rig.source.put(f"large-{number}", b"x" * 1000)

    def replace(operation: str, key: str) -> None:
        if (operation, key) == ("fetch", "large-0"):
            rig.source.put("large-2", b"y" * 1001)
            ledger = rig.ledger
            ledger.listing.observe(endpoint_page(rig))
            ledger.close()

    rig.source.before = replace
    rig.run()
    rig.assert_delivered()
    assert rig.failures() == []
    assert rig.source.count("fetch", "large-2") == 1


# -- transient errors ---------------------------------------------------------------------------------------------


def test_heads_wait_for_an_endpoint_and_nothing_that_was_fetched_is_thrown_away(rig: Rig) -> None:
    fill(rig, 30)
    rig.source.before = refuse(Trouble.TIMEOUT, operation="head", times=1)
    summary = rig.run()
    rig.assert_delivered()
    assert [trouble for _key, trouble in rig.failures()] == ["timeout"], "the endpoint is well, so it is the object's"
    assert summary.failure_count == 1
    assert rig.source.count("fetch") == 31, "the one that was asked for in vain, no other"


def test_one_object_that_is_refused_while_the_endpoint_is_well_is_to_blame_from_the_first(rig: Rig) -> None:
    rig.changes = {"attempts": 2}
    fill(rig)
    rig.source.before = refuse(Trouble.SERVER, operation="fetch", key="object-1")
    rig.run()
    assert rig.failures() == [("object-1", "server")] * 2
    assert rig.states()["object-1"] == "failed"
    assert len(rig.destination.objects) == 4


def test_a_stop_in_the_middle_loses_nothing_and_the_next_run_goes_on(rig: Rig) -> None:
    fill(rig, 200)
    running = rig.start()
    wait_until(lambda: rig.source.count("fetch") > 50)
    running.stop()
    rig.run()
    rig.assert_delivered()
    assert rig.files_left() == []
    assert rig.failures() == []


def test_a_stop_does_not_wait_for_a_source_that_says_nothing(rig: Rig) -> None:
    fill(rig, 200)
    asked = threading.Event()

    def fail(operation: str, _key: str) -> None:
        if operation == "head":
            asked.set()
        if asked.is_set() and operation in ("head", "list"):
            raise StoreError(Trouble.TIMEOUT, operation, "the endpoint does not answer")

    rig.source.before = fail
    running = rig.start()
    assert asked.wait(100)
    wait_until(lambda: not running.unit("source").endpoints.any_up)
    fetched = rig.source.count("fetch")
    running.stop()
    assert rig.source.count("head") <= 4, "one for each finisher, and perhaps one more"
    assert fetched >= rig.source.count("head")


def test_a_listing_without_etags_pins_sizes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from fake_stores import FakeClient

    from snowsync.core.model import Page

    list_page = FakeClient.list_page

    def without_etags(self: FakeClient, token: str | None, **options: Any) -> Page:
        page = list_page(self, token, **options)
        return Page([listed._replace(etag="") for listed in page.objects], page.next_token)

    monkeypatch.setattr(FakeClient, "list_page", without_etags)
    fill(rig)
    summary = rig.run()
    rig.assert_delivered()
    assert summary.failure_count == 0
    assert not rig.run().changed


def test_a_group_of_another_life_of_a_volume_is_a_group_of_its_own(rig: Rig) -> None:
    """A volume that went and came back has other descriptors, and its own count of what is in flight."""
    from snowsync.core.model import Evidence
    from snowsync.hops.flight import Item
    from snowsync.ledger.ledger import Staged

    fill(rig, 2)
    running = rig.start(direction="source", until="forever")
    wait_until(lambda: set(rig.states().values()) == {"staged"})
    unit: Any = running.unit("source")
    endpoint = unit.endpoints.endpoints[0]
    committer = Committer(
        unit.job,
        rig.ledger,
        unit.volumes,
        unit.flight,
        unit._committer._results._fetching,
        unit.crew,
        unit.counters,
        running.switches,
    )
    first, second = unit.volumes.open.values()
    ledger = rig.ledger
    rows = ledger.objects.work(State.STAGED, after_id=0, limit=2)
    twin = OpenVolume(first.config, first.id, first.medium, first.folders, first.ownership)
    for row, volume in zip(rows, (first, twin), strict=True):
        item = Item(row, volume, endpoint, "")
        committer.add([(item, Staged(row, 0, row.digest, "", Evidence.STORE_DIGEST, ""))])
    assert [queue.groups.volume for queue in committer.queues.values()] == [first, twin]
    assert second not in [queue.groups.volume for queue in committer.queues.values()]
    running.stop()


def test_a_volume_that_cannot_keep_up_holds_up_no_other(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(rig, 20)
    goes_on = threading.Event()
    sync = OpenVolume.sync

    def wait_on_one(self: OpenVolume) -> None:
        if self.name == "one":
            assert goes_on.wait(60)
        sync(self)

    monkeypatch.setattr(OpenVolume, "sync", wait_on_one)
    running = rig.start(direction="source", until="forever")
    wait_until(lambda: sum(state == "staged" for state in rig.states().values()) > 5)
    assert "pending" in rig.states().values(), "nothing waits for the slow volume"
    goes_on.set()
    wait_until(lambda: set(rig.states().values()) == {"staged"})
    running.stop()


def test_large_objects_are_made_durable_one_by_one(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr("snowsync.hops.source.staging.group_results.sync_file", synced.append)
    rig.changes = {"mover": {"large_object": "5MiB"}}
    rig.source.put("large", bytes(5 * 1024 * 1024))
    fill(rig, 3)
    rig.run()
    rig.assert_delivered()
    assert len(synced) == 1


def test_metadata_and_tags_are_carried(rig: Rig) -> None:
    from snowsync.core.model import Headers

    headers = Headers(content_type="a/b", cache_control="no-cache", metadata={"who": "me"}, tags={"kind": "test"})
    rig.source.put("a", b"data", headers=headers)
    rig.run()
    assert rig.destination.objects["a"].headers == headers


def test_tags_that_cannot_be_read_are_the_objects_failure(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from fake_stores import FakeControl

    from snowsync.core.model import Headers

    def fail(self: FakeControl, object_key: str) -> dict[str, str]:
        raise StoreError(Trouble.DENIED, f"read the tags of {object_key}", "it is not allowed")

    monkeypatch.setattr(FakeControl, "get_tags", fail)
    rig.changes = {"attempts": 1}
    rig.source.put("a", b"data", headers=Headers(tags={"kind": "test"}))
    fill(rig)
    rig.run()
    assert rig.failures() == [("a", "denied")]
    assert rig.files_left() == []
    assert rig.states()["a"] == "failed"


def test_etag_of_the_fakes_is_that_of_s3() -> None:
    """The control: 11 bytes in parts of 5 have three."""
    assert etag_of(b"hello world", 5).endswith("-3")


# -- one page of a listing ----------------------------------------------------------------------------------------


def fail_at_the_second_page(rig: Rig, times: int) -> list[str]:
    """The page after the first one is refused so often, while probes are answered. Grows with each time it is asked."""
    rig.source.page_size = 4
    fill(rig, 10)
    asked: list[str] = []

    def before(operation: str, token: str) -> None:
        if operation == "list" and token == "object-3":
            asked.append(token)
            if len(asked) == 5:  # however long that takes here
                wait_until(lambda: len(rig.destination.objects) == 4)
            if len(asked) <= times:
                raise StoreError(Trouble.THROTTLED, "list", "HTTP 503", status=503)

    rig.source.before = before
    return asked


def test_a_page_that_is_refused_rests_no_endpoint_and_the_listing_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snowsync.hops.source.listing.listing_outages._LONGEST_PAUSE", 0.01)
    rests: list[str] = []
    monkeypatch.setattr("snowsync.store.endpoint.Health.rest", lambda self, message: rests.append(message) or 1.0)
    asked = fail_at_the_second_page(rig, 5)
    assert rig.run().drained
    assert (len(asked), rests) == (6, [])
    rig.assert_delivered()


@pytest.mark.parametrize("until", ["drained", "once"])
def test_a_page_that_is_refused_for_ever_ends_a_run_and_not_the_transfer_of_the_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, until: str
) -> None:
    monkeypatch.setattr("snowsync.hops.source.listing.listing_outages._LONGEST_PAUSE", 0.01)
    fail_at_the_second_page(rig, 10**9)
    with pytest.raises(StoreError, match="HTTP 503"):
        rig.run(until=until)
    assert rig.destination.objects.keys() == {f"object-{number}" for number in range(4)}


def test_a_service_goes_on_asking_for_a_page_and_says_so(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snowsync.hops.source.listing.listing_outages._LONGEST_PAUSE", 0.02)
    asked = fail_at_the_second_page(rig, 30)
    run = rig.start("both", "forever")
    wait_until(lambda: run.unit("source").activity.status == "waiting for the source: Failed to list: HTTP 503")
    wait_until(lambda: len(asked) > 30 and len(rig.destination.objects) == 10)
    wait_until(lambda: run.unit("source").activity.status == "up to date")
    run.stop()
