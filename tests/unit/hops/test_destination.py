# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The destination unit on fake stores: races, damaged files, uploads cut off, volumes and endpoints that fail."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from fake_stores import FakeControl, FakeMover, Rig, install, move_by, mover_with_lane, open_slowly, refuse, wait_until

from snowsync.core.errors import ConfigError, StoreError, Trouble
from snowsync.core.model import MIB, State
from snowsync.core.removal import Permit
from snowsync.hops.destination.proving import releases
from snowsync.hops.destination.proving.releases import Releases
from snowsync.hops.destination.sending import Handover
from snowsync.hops.destination.unsent import damaged_files
from snowsync.hops.setbacks import Setbacks
from snowsync.ledger.objects import ObjectLedger
from snowsync.volumes.open_volume import OpenVolume


def volumes_of(rig: Rig) -> dict[str, str]:
    """Key -> the name of the volume it is staged on."""
    ledger = rig.ledger
    sql = "SELECT key, volumes.name FROM objects JOIN volumes ON volumes.id = volume"
    found = {str(key): str(name) for key, name in ledger.database.stream(sql)}
    ledger.close()
    return found


def fill(rig: Rig, count: int = 5, size: int = 100) -> None:
    for number in range(count):
        rig.source.put(f"object-{number}", bytes([number % 256]) * size)


def stage(rig: Rig, count: int = 5, size: int = 100) -> None:
    fill(rig, count, size)
    rig.run(direction="source")


def claim(rig: Rig, *keys: str) -> None:
    """As if their uploads had begun before a crash."""
    ledger = rig.ledger
    ledger.deliveries.claim_sends(
        row for row in ledger.objects.work(State.STAGED, after_id=0, limit=1000) if row.key in keys
    )
    ledger.close()


@pytest.mark.parametrize("keep_staged", [False, True])
def test_an_object_delivered_while_rows_are_read_is_not_sent_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, keep_staged: bool
) -> None:
    rig.changes = {"keep_staged": keep_staged}
    stage(rig)
    work = ObjectLedger.work

    def work_slowly(self: ObjectLedger, asked: State, **options: Any) -> Any:
        rows = work(self, asked, **options)
        for row in rows if asked is State.STAGED else ():
            if ("send", row.key) in rig.destination.requests:
                wait_until(lambda number=row.id: self.row(number).state != State.STAGED)  # type: ignore[misc, union-attr]  # a default binds it
        return rows

    monkeypatch.setattr(ObjectLedger, "work", work_slowly)
    summary = rig.run()
    rig.assert_delivered()
    assert rig.destination.count("send") == 5
    assert summary.failure_count == 0


# -- uploads that a crash cut off ---------------------------------------------------------------------------------


def test_what_was_stored_before_a_crash_is_not_sent_again(rig: Rig) -> None:
    stage(rig)
    claim(rig, "object-1", "object-2")
    rig.destination.objects["object-1"] = rig.source.objects["object-1"]
    rig.run()
    rig.assert_delivered()
    assert rig.destination.count("send", "object-1") == 0
    assert rig.destination.count("send") == 4
    assert rig.files_left() == []


def test_an_older_object_under_the_key_is_replaced(rig: Rig) -> None:
    stage(rig)
    claim(rig, "object-1")
    rig.destination.put("object-1", b"an older version, of the same length perhaps")
    summary = rig.run()
    rig.assert_delivered()
    assert summary.failure_count == 0


def test_without_the_right_to_list_a_missing_object_is_denied_and_sent_all_the_same(rig: Rig) -> None:
    """S3 answers 403, not 404, to who may not list: that must not fail an upload that a crash cut off."""
    stage(rig)
    claim(rig, "object-1")

    def before(operation: str, key: str) -> None:
        if operation == "list":
            refuse(Trouble.DENIED, operation="list")(operation, key)
        if operation == "head" and key not in rig.destination.objects:
            refuse(Trouble.DENIED, operation="head")(operation, key)

    rig.destination.before = before
    summary = rig.run()
    rig.assert_delivered()
    assert summary.failure_count == 0


def test_an_outage_while_looking_is_waited_out(rig: Rig) -> None:
    stage(rig)
    claim(rig, *(f"object-{number}" for number in range(5)))
    for key, stored in rig.source.objects.items():
        rig.destination.objects[key] = stored
    rig.destination.before = refuse(Trouble.TIMEOUT, operation="head", times=2)
    summary = rig.run()
    assert summary.drained
    assert rig.destination.count("send") == 0
    assert set(rig.states().values()) == {"released"}


def test_parts_of_an_upload_that_was_cut_off_are_removed(rig: Rig) -> None:
    rig.changes = {"mover": {"part_size": 5 * MIB}}
    data = bytes(12 * MIB)
    rig.source.put("large", data, part_size=5 * MIB)
    rig.run(direction="source")
    claim(rig, "large")
    rig.run()
    rig.assert_delivered()
    assert rig.destination.requests.count(("abort", "large")) == 1


# -- proofs -------------------------------------------------------------------------------------------------------


def test_a_listing_settles_a_batch_and_heads_the_rest(rig: Rig) -> None:
    stage(rig, 100)
    rig.run()
    rig.assert_delivered()
    assert rig.destination.count("head") < 10


def test_a_listing_is_not_believed_of_objects_under_a_key(rig: Rig) -> None:
    """It does not tell of the key, under which an ETag is no digest, also where it is equal."""
    stage(rig, 100)

    def encrypt(operation: str, key: str) -> None:
        if operation == "send":
            rig.destination.objects[key].encryption = "aws:kms"

    rig.destination.after = encrypt
    summary = rig.run()
    assert summary.evidence["destination"] == {"read_back": 100}
    assert rig.destination.count("get") == 100


def test_a_destination_that_may_not_be_listed_is_asked_object_by_object(rig: Rig) -> None:
    stage(rig, 100)
    rig.destination.before = refuse(Trouble.DENIED, operation="list")
    summary = rig.run()
    rig.assert_delivered()
    assert rig.destination.count("head") == 100
    assert summary.failure_count == 0


def test_what_cannot_be_proven_now_is_looked_at_again_and_not_sent_again(rig: Rig) -> None:
    stage(rig)
    rig.destination.before = refuse(Trouble.SERVER, operation="head", times=5)
    summary = rig.run()
    rig.assert_delivered()
    assert rig.destination.count("send") == 5
    assert summary.drained


def test_heads_that_time_out_are_asked_once(rig: Rig) -> None:
    stage(rig, 30)
    rig.destination.before = refuse(Trouble.TIMEOUT, operation="head", times=1)
    summary = rig.run()
    rig.assert_delivered()
    assert rig.destination.count("send") == 30
    assert [trouble for _key, trouble in rig.failures()] == ["timeout"], "the endpoint is well, so it is the object's"
    assert summary.failure_count == 1


def test_an_endpoint_that_dies_after_it_took_objects_is_not_asked_about_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = "http://one.test:1", "http://two.test:1"
    rig = Rig(tmp_path, destination_endpoints=[one, two])
    install(monkeypatch, rig)
    stage(rig, 40)
    dead = threading.Event()
    rig.destination.answers_at = lambda url: url != one or not dead.is_set()
    rig.destination.after = lambda operation, key: dead.set() if rig.destination.count("send") > 20 else None
    summary = rig.run()
    rig.assert_delivered()
    assert summary.failure_count == 0


def test_an_endpoint_that_stores_other_bytes_is_avoided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = "http://one.test:1", "http://two.test:1"
    rig = Rig(tmp_path, destination_endpoints=[one, two])
    install(monkeypatch, rig)
    stage(rig, 10)
    submit = FakeMover.submit

    def remember(self: FakeMover, work: Any) -> None:
        by_key[work.key] = self.url
        submit(self, work)

    by_key: dict[str, str] = {}
    monkeypatch.setattr(FakeMover, "submit", remember)

    def spoil(operation: str, key: str) -> None:
        if operation == "send" and by_key[key] == one:
            rig.destination.put(key, b"!" * 100)

    rig.destination.after = spoil
    rig.changes = {"attempts": 2}
    summary = rig.run()
    rig.assert_delivered()
    assert 0 < summary.failure_count <= 10
    assert all(one in failure["message"] for failure in summary.failures)


@pytest.mark.parametrize("evidence", [2, 3])
def test_the_level_of_the_job_is_reached(rig: Rig, evidence: int) -> None:
    rig.changes = {"evidence": evidence}
    fill(rig)
    summary = rig.run()
    assert summary.evidence["destination"] == {"store_digest" if evidence == 2 else "read_back": 5}
    assert rig.destination.count("get") == (0 if evidence == 2 else 5)


def test_rot_behind_an_opaque_etag_is_not_released(rig: Rig) -> None:
    """The staged file rots before it is sent, and the destination's ETags prove nothing."""
    rig.changes = {"destination": {"etag": "opaque"}}
    stage(rig)
    path = rig.staged_file("object-3")
    path.write_bytes(b"!" + path.read_bytes()[1:])
    summary = rig.run()
    rig.assert_delivered()
    assert [failure["key"] for failure in summary.failures] == ["object-3"]
    assert rig.files_left() == []


# -- files that are not what they were ----------------------------------------------------------------------------


@pytest.mark.parametrize("reread", ["suspect", "always"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_a_damaged_file_is_fetched_again(rig: Rig, reread: str, damage: str) -> None:
    rig.changes = {"reread": reread}
    stage(rig)
    path = rig.staged_file("object-3")
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes(b"!" * (100 if damage == "flip" else 50))
    rig.run()
    rig.assert_delivered()
    assert rig.failures() == [("object-3", "mismatch")]
    assert rig.source.count("fetch") == 6
    assert rig.files_left() == []
    assert rig.destination.count("send", "object-3") == 1, "what does not have its digest is not sent at all"


def unreadable(monkeypatch: pytest.MonkeyPatch, name: str, number: int = errno.EIO) -> None:
    """Reading this staged file fails, as with a bad sector under it."""
    read_bytes = Path.read_bytes

    def fail(self: Path) -> bytes:
        if f"/{name}~" in str(self):
            raise OSError(number, os.strerror(number), str(self))
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", fail)
    examine = damaged_files.examine

    def fail_too(item: Any, *, hash_it: bool) -> Any:
        if hash_it and f"/{name}~" in item.path:
            raise OSError(number, os.strerror(number), item.path)
        return examine(item, hash_it=hash_it)

    monkeypatch.setattr(damaged_files, "examine", fail_too)


def test_a_bad_sector_costs_one_object_not_the_volume(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The volume would come back at once, fail at the same file, and never get any further."""
    stage(rig)
    with pytest.MonkeyPatch.context() as patch:
        unreadable(patch, "object-3")
        taken_out: list[str] = []
        running = rig.start(direction="destination", until="forever")
        running.unit("destination").volumes.take_out = (  # type: ignore[method-assign]  # a spy
            lambda volume, reason: bool(taken_out.append(reason))
        )
        wait_until(lambda: rig.states()["object-3"] == "pending")
        running.stop()
    assert taken_out == []
    assert rig.failures() == [("object-3", "mismatch")]
    rig.run()
    rig.assert_delivered()
    assert rig.files_left() == []


def test_a_mover_that_has_no_descriptors_left_damages_nothing(rig: Rig) -> None:
    """Its error looks like the volume's; the file is whole, and the volume is well."""
    stage(rig)
    rig.destination.before = refuse(Trouble.IO, operation="send", key="object-3", times=2)
    summary = rig.run()
    rig.assert_delivered()
    assert summary.failure_count == 0
    assert rig.source.count("fetch") == 5


def test_a_volume_that_goes_while_it_is_read_is_waited_for(rig: Rig) -> None:
    stage(rig)
    gone = threading.Event()

    def unplug(operation: str, _key: str) -> None:
        if operation == "send" and not gone.is_set():
            gone.set()
            for name in ("one", "two"):
                os.rename(rig.folder / name, rig.folder / f"{name}-unplugged")
            raise OSError(errno.EIO, "Input/output error")

    rig.destination.before = unplug
    with pytest.MonkeyPatch.context() as patch:
        job = rig.job
        patch.setattr(Rig, "job", property(lambda self: job))
        running = rig.start(direction="destination")
        wait_until(lambda: "waiting for a volume" in running.unit("destination").activity.status)
        for name in ("one", "two"):
            os.rename(rig.folder / f"{name}-unplugged", rig.folder / name)
        summary = running.join()
    rig.assert_delivered()
    assert summary.failure_count == 0


def test_objects_on_an_absent_volume_hold_up_nobody_and_cost_no_memory(rig: Rig) -> None:
    stage(rig, 40)
    here = [name for name in rig.staged_files() if name.startswith("two/")]
    assert 0 < len(here) < 40
    job = rig.job
    os.rename(rig.folder / "one", rig.folder / "unplugged")
    put_off: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rig, "job", property(lambda self: job))
        patch.setattr(Setbacks, "put_off", lambda self, row, seconds: put_off.append(row.id))
        summary = rig.run(direction="destination", until="once")
        assert not summary.drained
        assert len(rig.destination.objects) == len(here)
        running = rig.start(direction="destination")
        unit = running.unit("destination")
        wait_until(lambda: "waiting for a volume: one" in unit.activity.status)
        assert put_off == []
        os.rename(rig.folder / "unplugged", rig.folder / "one")
        running.join()
    rig.assert_delivered()


def test_a_file_that_cannot_be_deleted_is_released_when_it_can(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "_AGAIN_SECONDS", 0.3)
    stage(rig)
    refused: list[str] = []
    discard = OpenVolume.discard_staged

    def refuse_twice(self: OpenVolume, relative: str, permit: Permit) -> None:
        if "object-3" in relative and len(refused) < 2:
            refused.append(relative)
            raise OSError(errno.EROFS, "Read-only file system")
        discard(self, relative, permit)

    monkeypatch.setattr(OpenVolume, "discard_staged", refuse_twice)
    running = rig.start(until="forever")
    wait_until(lambda: set(rig.states().values()) == {"released"})
    summary = running.stop()
    assert summary.released == {"objects": 5, "bytes": 500}
    assert rig.files_left() == []
    assert rig.destination.count("send") == 5


def test_what_was_delivered_before_a_crash_is_released_and_not_sent_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(rig)
    release = Releases.release
    monkeypatch.setattr(Releases, "release", lambda self, delivered: None)
    rig.run(direction="destination")
    assert set(rig.states().values()) == {"delivered"}
    monkeypatch.setattr(Releases, "release", release)
    rig.run()
    assert set(rig.states().values()) == {"released"}
    assert rig.destination.count("send") == 5
    assert rig.files_left() == []


def test_a_disk_that_takes_long_to_open_is_waited_for_where_something_is_to_be_released(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is to be sent any more, and the volume comes a moment after the others."""
    stage(rig)
    with monkeypatch.context() as patch:
        patch.setattr(Releases, "release", lambda self, delivered: None)
        rig.run(direction="destination")
    open_slowly(monkeypatch, "one")
    rig.run(direction="destination")
    assert set(rig.states().values()) == {"released"}
    assert rig.files_left() == []


def test_a_single_pass_sends_what_lies_on_a_disk_that_takes_long_to_open(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(rig)
    open_slowly(monkeypatch, "one")
    rig.run(direction="destination", until="once")
    assert set(rig.states().values()) == {"released"}


# -- generations --------------------------------------------------------------------------------------------------


def test_an_object_overwritten_at_the_source_while_it_is_sent(rig: Rig) -> None:
    stage(rig)
    replaced: list[str] = []

    def replace(operation: str, key: str) -> None:
        if (operation, key) == ("send", "object-2") and not replaced:
            replaced.append(key)
            rig.source.put("object-2", b"the newer generation")
            rig.run(direction="source")

    rig.destination.before = replace
    summary = rig.run(direction="destination")
    assert summary.failure_count == 0, "a newer generation is no failure of the old one"
    rig.run()
    rig.assert_delivered()
    assert rig.failures() == []
    assert rig.files_left() == []


def test_generations_of_one_object_are_never_under_way_together(rig: Rig) -> None:
    """Else the older one could arrive last, and stay."""
    stage(rig, 1)
    begun, released = threading.Event(), threading.Event()
    under_way: list[str] = []
    together: list[int] = []

    def begin(operation: str, key: str) -> None:
        if operation == "send":
            under_way.append(key)
            together.append(len(under_way))

    def hold(operation: str, _key: str) -> None:
        if operation == "send":
            begun.set()
            released.wait(100)
            under_way.pop()

    rig.destination.before, rig.destination.after = begin, hold
    running = rig.start(direction="destination", until="forever")
    assert begun.wait(100)
    rig.source.put("object-0", b"the newer generation")
    rig.run(direction="source")
    released.set()
    wait_until(lambda: rig.states() == {"object-0": "released"})
    running.stop()
    rig.assert_delivered()
    assert together == [1, 1]


# -- keys that the destination has no place for -------------------------------------------------------------------


def test_a_key_that_would_become_empty_is_named_and_nothing_is_put_at_the_bucket(rig: Rig) -> None:
    rig.changes = {"source": {"prefix": "folder/"}}
    rig.source.put("folder/", b"")
    rig.source.put("folder/a", b"data")
    summary = rig.run()
    assert list(rig.destination.objects) == ["a"]
    ((failure),) = summary.failures
    assert failure["key"] == "folder/"
    assert "would be empty" in failure["message"]
    assert "set destination.prefix" in failure["message"]
    assert ("send", "") not in rig.destination.requests
    assert summary.refused == 1
    assert not summary.drained
    assert rig.states() == {"folder/": "staged", "folder/a": "released"}
    assert len(rig.staged_files()) == 1
    rig.changes = {"source": {"prefix": "folder/"}, "destination": {"prefix": "copy/"}}


def test_a_destination_prefix_makes_it_a_key(rig: Rig) -> None:
    rig.changes = {"source": {"prefix": "folder/"}, "destination": {"prefix": "copy/"}}
    rig.source.put("folder/", b"")
    rig.source.put("folder/a", b"data")
    rig.run()
    assert sorted(rig.destination.objects) == ["copy/", "copy/a"]


def test_a_key_that_would_become_too_long_is_named_and_its_file_stays(rig: Rig) -> None:
    rig.changes = {"destination": {"prefix": "p" * 100}}
    rig.source.put("k" * 1000, b"data")
    rig.source.put("short", b"data")
    summary = rig.run()
    ((failure),) = summary.failures
    assert "would have 1100 bytes" in failure["message"]
    assert len(rig.staged_files()) == 1


def test_a_source_prefix_changed_under_way_is_asked_not_obeyed(rig: Rig) -> None:
    stage(rig, 2)
    files = rig.staged_files()
    rig.changes = {"source": {"prefix": "elsewhere/"}}
    rig.source.put("elsewhere/a", b"data")
    with pytest.raises(ConfigError, match=r"source\.prefix: is 'elsewhere/', but the ledger was created with ''"):
        rig.run()
    assert rig.staged_files() == files and not rig.destination.objects


# -- lanes --------------------------------------------------------------------------------------------------------


def test_large_objects_hold_up_no_small_ones(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.changes = {"mover": {"large_workers": 1, "large_object": 1000}}
    for number in range(80):
        rig.source.put(f"a-large-{number:03}", b"x" * 1000)
    stage(rig, 20)
    released = threading.Event()

    move_by(monkeypatch, mover_with_lane(1000, released))
    running = rig.start(direction="destination")
    wait_until(lambda: len(rig.destination.objects) == 20)
    released.set()
    running.join()
    rig.assert_delivered()


def test_a_read_back_of_hours_holds_up_no_small_object(rig: Rig) -> None:
    rig.changes = {"evidence": 3, "mover": {"large_workers": 8, "large_object": 1000}}
    for number in range(4):
        rig.source.put(f"a-large-{number}", b"x" * 1000)
    stage(rig, 20)
    released = threading.Event()

    def hold(operation: str, key: str) -> None:
        if operation == "get" and "large" in key:
            released.wait(30)

    rig.destination.before = hold
    running = rig.start(direction="destination")
    wait_until(lambda: list(rig.states().values()).count("released") == 20)
    released.set()
    running.join()
    rig.assert_delivered()


# -- failures -----------------------------------------------------------------------------------------------------


def test_an_object_that_is_refused_stays_staged_and_the_others_go(rig: Rig) -> None:
    rig.changes = {"attempts": 2}
    stage(rig)
    rig.destination.before = refuse(Trouble.DENIED, operation="send", key="object-3")
    summary = rig.run()
    assert (summary.states["staged"], summary.refused, summary.drained) == (1, 1, False)
    assert summary.states["released"] == 4
    assert rig.failures() == [("object-3", "denied")] * 2
    rig.destination.before = lambda operation, key: None
    rig.source.objects.clear()  # what is staged is the last copy
    assert rig.run().drained
    assert set(rig.destination.objects) == {f"object-{number}" for number in range(5)}
    assert rig.source.count("fetch") == 5


@pytest.mark.parametrize("until", ["drained", "once"])
def test_a_destination_that_refuses_everything_is_tried_now_and_then(
    rig: Rig, until: str, caplog: pytest.LogCaptureFixture
) -> None:
    rig.changes = {"attempts": 2}
    stage(rig, 60)
    rig.destination.before = refuse(Trouble.DENIED, operation="send")
    summary = rig.run(until=until)
    assert (summary.refused, summary.drained) == (60, False)
    assert len(rig.staged_files()) == 60
    assert rig.source.count("fetch") == 60
    assert sum("refuses all uploads" in record.message for record in caplog.records) == 1, "said once"
    assert len(rig.failures()) <= 60
    rig.destination.before = lambda operation, key: None
    assert rig.run().drained
    rig.assert_delivered()


def test_a_service_goes_on_by_itself_once_the_destination_takes_objects_again(rig: Rig) -> None:
    stage(rig, 60)
    refusing = threading.Event()
    refusing.set()
    deny = refuse(Trouble.DENIED, operation="send")
    rig.destination.before = lambda operation, key: deny(operation, key) if refusing.is_set() else None
    running = rig.start(direction="destination", until="forever")
    try:
        unit = running.unit("destination")
        wait_until(lambda: unit.refusals.trials >= 1)
        wait_until(lambda: "the destination refuses all uploads" in unit.activity.status)
        sent = rig.destination.count("send")
        refusing.clear()
        wait_until(lambda: set(rig.states().values()) == {"released"})
        assert sent < 120, "it did not go on sending all the time"
    finally:
        running.stop()
    rig.assert_delivered()


def test_an_object_of_which_other_bytes_are_always_stored_is_kept(rig: Rig) -> None:
    rig.changes = {"attempts": 2}
    stage(rig)
    rig.destination.after = lambda operation, key: (
        rig.destination.put(key, b"!" * 100) if (operation, key) == ("send", "object-3") else None
    )
    summary = rig.run()
    assert (summary.states["staged"], summary.refused) == (1, 1)
    assert summary.states["released"] == 4
    assert rig.failures() == [("object-3", "mismatch")] * 2


def test_an_upload_that_was_acknowledged_and_is_other_bytes_is_told_whatever_comes_between(rig: Rig) -> None:
    """The store takes an object, cannot be asked for a while, and has something else then."""
    stage(rig, 1)
    away = threading.Event()

    def spoil(operation: str, key: str) -> None:
        if operation == "send" and not away.is_set():
            rig.destination.put(key, b"!" * 100)
            away.set()

    rig.destination.after = spoil
    rig.destination.before = lambda operation, key: (
        transient(operation) if away.is_set() and rig.failures() == [] and rig.destination.count("head") < 3 else None
    )
    rig.run()
    rig.assert_delivered()
    assert ("object-0", "mismatch") in rig.failures()


def transient(operation: str) -> None:
    if operation == "head":
        raise StoreError(Trouble.SERVER, "look", "it has a problem of its own", status=500)


def test_a_send_without_an_outcome_is_looked_at(rig: Rig) -> None:
    """The mover died after the store had taken the object."""
    stage(rig)
    rig.destination.after = refuse(Trouble.UNKNOWN, operation="send", key="object-3", times=1)
    summary = rig.run()
    rig.assert_delivered()
    assert rig.destination.count("send", "object-3") == 1
    assert summary.failure_count == 0


def test_a_volume_that_cannot_be_read_fast_holds_up_no_other(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.changes = {"group": {"objects": 2}}
    stage(rig, 40)
    on_one = {key for key, volume in volumes_of(rig).items() if volume == "one"}
    assert 8 < len(on_one) < 32, "more than the batches that may be on their way at once, on each"
    stuck: list[tuple[Handover, Any]] = []
    submit = Handover.submit

    def keep_one(self: Handover, items: Any) -> None:
        if items[0].volume.name == "one" and not goes_on.is_set():
            stuck.append((self, items))
        else:
            submit(self, items)

    goes_on = threading.Event()
    monkeypatch.setattr(Handover, "submit", keep_one)
    running = rig.start(direction="destination")
    wait_until(lambda: rig.destination.count("send") == 40 - len(on_one))
    goes_on.set()
    for handover, items in stuck:
        submit(handover, items)
    running.join()
    rig.assert_delivered()
    assert rig.destination.count("send") == 40


def test_a_stop_in_the_middle_sends_nothing_twice(rig: Rig) -> None:
    stage(rig, 200)
    running = rig.start()
    wait_until(lambda: rig.destination.count("send") > 50)
    running.stop()
    rig.run()
    rig.assert_delivered()
    assert rig.destination.count("send") == 200
    assert rig.files_left() == []
    assert rig.failures() == []


def test_boto3_sends_what_the_mover_cannot_express(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    send = FakeControl.send

    def remember(self: FakeControl, work: Any) -> Any:
        seen.append(work.key)
        return send(self, work)

    monkeypatch.setattr(FakeControl, "send", remember)
    for key in ("empty", "with\nnewline", "slash/"):
        rig.source.put(key, b"" if key == "empty" else b"data")
    fill(rig)
    rig.run()
    rig.assert_delivered()
    assert sorted(seen) == ["empty", "slash/", "with\nnewline"]
