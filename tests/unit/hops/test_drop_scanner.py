# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drop folders: what is taken, when, and what becomes of a file that people change meanwhile."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from dropping import append, refuse_leases, replace_with, write_and_set_back
from fake_stores import Rig, wait_until
from job_mapping import mapping_of

from snowsync.core.errors import Trouble
from snowsync.core.etag import PartDigests
from snowsync.core.model import Origin, State
from snowsync.core.workers import Stop
from snowsync.hops.crew import Crew
from snowsync.hops.destination.unsent.file_check import examine
from snowsync.hops.flight import Item
from snowsync.hops.source.drops import drop_group, drop_scanner, drop_settling
from snowsync.hops.source.drops.drop_scanner import FirstPass, PatientScan, RequestedScan
from snowsync.hops.source.drops.drop_settling import Sighting, is_settled
from snowsync.ledger.ledger import Row
from snowsync.volumes import open_writers
from snowsync.volumes.file_identity import Identity, path_of

DATA = b"people's data"
STOP = 7  # what a scan finds during which the unit is stopped


# -- when it scans ----------------------------------------------------------------------------------------------------


def test_a_requested_scan_is_one_that_begins_afterwards() -> None:
    scan = RequestedScan()
    scan.begin()
    assert not scan.took_nothing()
    assert scan.is_wanted.is_set()
    scan.end()
    assert not scan.took_nothing(), "it had begun before"
    scan.begin()
    assert not scan.is_wanted.is_set()
    assert not scan.took_nothing(), "it has not ended"
    scan.end()
    assert scan.took_nothing()


def test_a_requested_scan_that_took_something_is_followed_by_another_one() -> None:
    scan = RequestedScan()
    assert not scan.took_nothing()
    for number in (1, 0):
        scan.begin()
        for _file in range(number):
            scan.took()
        scan.end()
        assert scan.took_nothing() is not bool(number)
        scan.is_wanted.clear()
        assert not scan.took_nothing(), "an answer is given once"
        assert scan.is_wanted.is_set()


def test_what_was_taken_before_a_scan_was_requested_does_not_count() -> None:
    scan = RequestedScan()
    scan.begin()
    scan.took()
    scan.end()
    assert not scan.took_nothing()
    scan.begin()
    scan.end()
    assert scan.took_nothing()


def test_the_first_pass_ends_after_the_source_was_listed_and_once() -> None:
    listed, ended = [False], []
    first = FirstPass(lambda: listed[0], lambda: ended.append(first.is_over), is_over=False)
    assert not first.is_due()
    listed[0] = True
    assert first.is_due()
    first.end()
    assert not first.is_due()
    assert ended == [True], "whoever is told finds it over"


@pytest.mark.parametrize(
    ("until", "found", "done", "scans"),
    [
        ("drained", [2, 1, 0], True, 3),
        ("once", [2, 0], True, 2),
        ("forever", [2], True, 1),
        ("drained", [2, 2, STOP], False, 3),
    ],
)
def test_a_scan_is_repeated_until_no_file_is_being_written(
    until: str, found: list[int], done: bool, scans: int
) -> None:
    crew, waited_for = Crew("source", Stop()), []
    answers = iter(found)

    class Scan:
        def run(self) -> int:
            waited_for.append(patient.unsettled)
            answer = next(answers)
            if answer == STOP:
                crew.ending.set()
            return answer

    patient = PatientScan(Scan(), crew, until, 0.0)  # type: ignore[arg-type]  # what it uses of one
    assert patient.run() is done
    assert waited_for == [0, *found][:scans]
    assert patient.unsettled == (0 if done else STOP)


def test_a_single_pass_waits_no_longer_than_what_is_there_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drop_scanner, "COARSE_SECONDS", -1.0)

    class Scan:
        def run(self) -> int:
            return 1

    assert PatientScan(Scan(), Crew("source", Stop()), "once", -1.0).run()  # type: ignore[arg-type]  # as above


# -- scans ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def drop(rig: Rig) -> Path:
    """The drop folder of volume "one"."""
    rig.changes["volumes"] = mapping_of(rig.job)["volumes"]
    rig.changes["volumes"][0]["drop_folder"] = "drop"
    folder = rig.folder / "one/drop"
    folder.mkdir()
    return folder


def delivered(rig: Rig) -> dict[str, bytes]:
    return {key: stored.data for key, stored in rig.destination.objects.items()}


def row_of(rig: Rig, key: str) -> Row | None:
    ledger = rig.ledger
    try:
        return ledger.drops.dropped(key)
    finally:
        ledger.close()


def test_the_identity_is_recorded(rig: Rig, drop: Path) -> None:
    (drop / "film").write_bytes(DATA)
    rig.run(direction="source")
    row = row_of(rig, "film")
    assert row is not None
    assert row.file_id == Identity.of((drop / "film").stat()).text


@pytest.mark.parametrize("name", ["film", "two\nlines", " x ", "-rf", "'; `x`", "\N{PILE OF POO}", ".snowsync-1-film"])
def test_any_name_that_a_key_may_have_is_delivered(rig: Rig, drop: Path, name: str) -> None:
    (drop / "deep").mkdir()
    (drop / "deep" / name).write_bytes(DATA)
    rig.run()
    assert delivered(rig) == {f"deep/{name}": DATA}
    assert list((drop / "deep").iterdir()) == []
    assert rig.files_left() == []


def test_what_is_no_file_of_its_own_is_refused_by_name_and_not_followed(rig: Rig, drop: Path) -> None:
    outside = rig.folder / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"nobody's business")
    (drop / "link").symlink_to(outside / "secret")
    (drop / "links").symlink_to(outside)
    (drop / "broken").symlink_to("nowhere")
    os.link(outside / "secret", drop / "hard")
    os.mkfifo(drop / "fifo")
    os.mknod(drop / "device", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    Path(os.fsdecode(os.fsencode(drop) + b"/\xff\xfe")).write_bytes(b"x")
    (drop / "film").mkdir()
    (drop / "film" / "film").write_bytes(DATA)
    rig.run()
    assert delivered(rig) == {"film/film": DATA}
    refused = {key for key, trouble in rig.failures() if trouble == "unsupported"}
    assert refused == {"link", "links", "broken", "hard", "fifo", "device", "\\udcff\\udcfe"}
    assert (outside / "secret").read_bytes() == b"nobody's business"
    assert len(list(drop.iterdir())) == 8


def test_a_drop_folder_that_is_a_link_is_refused(rig: Rig, drop: Path) -> None:
    os.rename(drop, rig.folder / "elsewhere")
    drop.symlink_to(rig.folder / "elsewhere")
    (rig.folder / "elsewhere/film").write_bytes(DATA)
    rig.run(until="once")
    assert rig.failures() == [(".", "unsupported")]
    assert (rig.folder / "elsewhere/film").read_bytes() == DATA


@pytest.mark.parametrize("has_leases", [True, False])
def test_a_file_that_is_open_for_writing_is_not_taken(
    rig: Rig, drop: Path, monkeypatch: pytest.MonkeyPatch, has_leases: bool
) -> None:
    if not has_leases:
        refuse_leases(monkeypatch, errno.EACCES)
    monkeypatch.setattr(drop_scanner, "COARSE_SECONDS", 0.0)
    (drop / "closed").write_bytes(DATA)
    with (drop / "open").open("wb", buffering=0) as file:
        file.write(b"the first half,")
        rig.run(until="once")
        assert delivered(rig) == {"closed": DATA}
        assert (drop / "open").exists()
        file.write(b" and the second")
    rig.run()
    assert delivered(rig)["open"] == b"the first half, and the second"
    assert list(drop.iterdir()) == []


def test_without_a_lease_a_file_is_watched_whatever_its_times_say(
    rig: Rig, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_leases(monkeypatch, errno.EACCES)
    monkeypatch.setattr(open_writers, "is_written_by_process", lambda _descriptor: False)
    looks = []

    def seen(sighting: Sighting, *more: object) -> bool:
        looks.append(sighting.looks)
        return is_settled(sighting, *more)  # type: ignore[arg-type]  # handed through as they came

    monkeypatch.setattr(drop_settling, "is_settled", seen)
    (drop / "film").write_bytes(DATA)
    os.utime(drop / "film", (1, 1))
    rig.run()
    assert looks[:2] == [1, 2]
    assert delivered(rig) == {"film": DATA}


@pytest.mark.parametrize(
    "change",
    [append, write_and_set_back, lambda path: replace_with(path, DATA[::-1]), lambda path: path.write_bytes(b"")],
)
@pytest.mark.parametrize("has_leases", [True, False])
def test_a_file_that_is_changed_after_it_was_taken_is_taken_again(
    rig: Rig,
    drop: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_leases: bool,
    change: Callable[[Path], object],
) -> None:
    if not has_leases:
        refuse_leases(monkeypatch, errno.EACCES)
    (drop / "film").write_bytes(DATA)
    rig.run(direction="source")
    change(drop / "film")
    changed = (drop / "film").read_bytes()
    rig.run(direction="destination", until="once")
    assert (drop / "film").read_bytes() == changed, "nobody has delivered it"
    assert delivered(rig) == {}
    rig.run()
    assert delivered(rig) == {"film": changed}
    assert list(drop.iterdir()) == []


@pytest.mark.parametrize("change", [append, write_and_set_back, lambda path: replace_with(path, DATA[::-1])])
def test_a_file_that_is_changed_while_it_is_sent_is_taken_again(
    rig: Rig, drop: Path, change: Callable[[Path], object]
) -> None:
    path = drop / "film"
    path.write_bytes(DATA)
    rig.run(direction="source")
    changed = []

    def before(operation: str, _key: str) -> None:
        if operation in ("head", "list") and not changed:
            change(path)
            changed.append(path.read_bytes())

    rig.destination.before = before
    rig.run(direction="destination", until="once")
    assert changed, "the destination was never asked for what it holds"
    assert path.read_bytes() == changed[0]
    rig.destination.before = lambda _operation, _key: None
    rig.run()
    assert delivered(rig) == {"film": changed[0]}
    assert list(drop.iterdir()) == []


def test_a_folder_that_became_a_link_is_not_followed(rig: Rig, drop: Path) -> None:
    (drop / "deep").mkdir()
    (drop / "deep/film").write_bytes(DATA)
    rig.run(direction="source")
    os.rename(drop / "deep", rig.folder / "elsewhere")
    (drop / "deep").symlink_to(rig.folder / "elsewhere")
    rig.run(until="once")
    assert delivered(rig) == {}
    assert (rig.folder / "elsewhere/film").read_bytes() == DATA


def test_a_file_that_is_touched_is_delivered_once(rig: Rig, drop: Path) -> None:
    rig.changes["keep_staged"] = True
    (drop / "film").write_bytes(DATA)
    rig.run()
    os.utime(drop / "film")
    rig.run()
    assert rig.destination.count("send") == 1
    assert rig.states() == {"film": "delivered"}


def test_a_file_that_is_opened_for_writing_before_it_is_deleted_stays_until_it_is_closed(rig: Rig, drop: Path) -> None:
    (drop / "film").write_bytes(DATA)
    rig.run(direction="source")
    with (drop / "film").open("ab") as file:
        rig.run(direction="destination", until="once")
        assert rig.states() == {"film": State.DELIVERED.label}
        assert (drop / "film").exists()
        file.write(b" and more")
    rig.run()
    assert delivered(rig) == {"film": DATA + b" and more"}
    assert list(drop.iterdir()) == []


def test_who_waits_to_write_while_a_file_is_read_waits_no_longer_than_that(
    rig: Rig, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer is let in, and the file is taken again with what was written."""
    (drop / "film").write_bytes(DATA)
    digest = drop_group.digests_of
    writer = threading.Thread(target=append, args=(drop / "film",))

    def disturbed(descriptor: int, part_size: int, beat: Callable[[], None]) -> PartDigests:
        if writer.ident is None:
            writer.start()
            with pytest.raises(drop_group._Disturbed):
                wait_until(lambda: bool(beat()), seconds=20)
            raise drop_group._Disturbed
        return digest(descriptor, part_size, beat)

    monkeypatch.setattr(drop_group, "digests_of", disturbed)
    rig.run()
    writer.join()
    assert delivered(rig) == {"film": DATA + b" and more"}


def test_without_a_lease_a_write_while_a_file_is_read_is_seen_by_its_times(
    rig: Rig, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_leases(monkeypatch, errno.EACCES)
    (drop / "film").write_bytes(DATA)
    digest = drop_group.digests_of
    reads = []

    def disturbed(descriptor: int, part_size: int, beat: Callable[[], None]) -> PartDigests:
        found = digest(descriptor, part_size, beat)
        if not reads:
            write_and_set_back(drop / "film")
        reads.append(found.etag())
        return found

    monkeypatch.setattr(drop_group, "digests_of", disturbed)
    rig.run(direction="source")
    assert len(reads) == 2
    row = row_of(rig, "film")
    assert row is not None
    assert (row.digest, row.generation) == (reads[1], 1)


def test_a_hidden_leftover_is_returned_by_a_scan(rig: Rig, drop: Path) -> None:
    (drop / "film").write_bytes(DATA)
    rig.changes["keep_staged"] = True
    rig.run()
    os.rename(drop / "film", drop / ".snowsync-1-film")
    del rig.changes["keep_staged"]
    rig.run()
    assert delivered(rig) == {"film": DATA}
    assert rig.destination.count("send") == 1


def test_a_large_file_that_is_read_holds_up_neither_listing_nor_fetching(
    rig: Rig, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor the small files beside it: it is a group of its own."""
    for name in ("a-small", "z-small"):
        (drop / name).write_bytes(DATA)
    (drop / "large").write_bytes(b"large" * 100)
    monkeypatch.setattr(drop_group, "_GROUP_BYTES", 500)
    digest = drop_group.digests_of
    reached, free = threading.Event(), threading.Event()

    def slow(descriptor: int, part_size: int, beat: Callable[[], None]) -> PartDigests:
        if os.fstat(descriptor).st_size == 500:
            reached.set()
            assert free.wait(100)
        return digest(descriptor, part_size, beat)

    monkeypatch.setattr(drop_group, "digests_of", slow)
    rig.changes["pass_interval"] = 0.1
    running = rig.start(until="forever")
    assert reached.wait(60)
    for number in range(3):
        rig.source.put(f"object-{number}", bytes([number]))
        wait_until(lambda name=f"object-{number}": name in rig.destination.objects)  # type: ignore[misc]  # a default binds it
    assert "large" not in rig.destination.objects
    assert running.unit("source").counters.listed.passes == 0, "no pass is over as long as it is read"
    free.set()
    wait_until(lambda: set(delivered(rig)) >= {"a-small", "z-small", "large"})
    wait_until(lambda: running.unit("source").counters.listed.passes > 0)
    running.stop()


def test_small_files_are_synced_and_recorded_in_groups(rig: Rig, drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(150):
        (drop / f"{number:03}").write_bytes(b"x" * number)
    syncs: list[int] = []
    monkeypatch.setattr("snowsync.volumes.open_volume.syncfs", syncs.append)
    rig.run(direction="source")
    ledger = rig.ledger
    groups = list(ledger.database.stream("SELECT objects FROM groups WHERE hop = 'source' ORDER BY id"))
    ((size,),) = ledger.database.stream("SELECT SUM(bytes) FROM groups")
    ledger.close()
    assert groups == [(64,), (64,), (22,)]
    assert size == sum(range(150))
    assert len(syncs) <= len(groups) + 1
    rig.run()
    assert len(delivered(rig)) == 150


def test_a_file_of_a_group_that_is_refused_leaves_the_others(rig: Rig, drop: Path) -> None:
    rig.source.put("b", b"of the source")
    for name in "abc":
        (drop / name).write_bytes(name.encode())
    rig.run()
    assert delivered(rig) == {"a": b"a", "b": b"of the source", "c": b"c"}
    assert [path.name for path in drop.iterdir()] == ["b"]


def test_a_file_that_vanishes_while_its_group_is_read_leaves_the_others(
    rig: Rig, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (drop / name).write_bytes(name.encode())
    digest = drop_group.digests_of

    def unreadable(descriptor: int, part_size: int, beat: Callable[[], None]) -> PartDigests:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/b"):
            raise OSError(errno.EIO, "Input/output error")
        return digest(descriptor, part_size, beat)

    monkeypatch.setattr(drop_group, "digests_of", unreadable)
    open_before = len(os.listdir("/proc/self/fd"))
    rig.run()
    assert delivered(rig) == {"a": b"a", "c": b"c"}
    assert {failure[0] for failure in rig.failures()} == {"b"}
    assert len(os.listdir("/proc/self/fd")) <= open_before, "no descriptor stays open"


# -- before it is sent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row_changes", "content", "hash_it", "trouble"),
    [
        ({}, DATA, False, None),
        ({}, DATA, True, None),
        ({"file_id": ""}, DATA, False, None),
        ({"file_id": "", "digest": "0" * 32}, DATA, False, Trouble.CHANGED),
        ({"digest": "0" * 32}, DATA, False, None),
        ({"digest": "0" * 32}, DATA, True, Trouble.MISMATCH),
        ({"size": 1}, DATA, False, Trouble.CHANGED),
        ({"modified_ms": 1}, DATA, False, Trouble.CHANGED),
        ({"file_id": "1:2:3"}, DATA, False, Trouble.CHANGED),
    ],
)
def test_a_dropped_file_is_looked_at_before_it_is_sent(
    tmp_path: Path, row_changes: dict[str, object], content: bytes, hash_it: bool, trouble: Trouble | None
) -> None:
    path = tmp_path / "film"
    path.write_bytes(content)
    damage = examine(item_of(path, **row_changes), hash_it=hash_it)
    assert (damage.trouble if damage else None) is trouble


def test_a_dropped_file_that_is_held_and_was_removed_is_withdrawn(tmp_path: Path) -> None:
    path = tmp_path / "film"
    path.write_bytes(DATA)
    item = item_of(path)
    with path.open("rb") as file:
        path.unlink()
        item.path = path_of(file.fileno())
        damage = examine(item, hash_it=True)
    assert damage is not None
    assert damage.trouble is Trouble.NOT_FOUND


def item_of(path: Path, **changes: object) -> Item:
    found = Identity.of(path.stat())
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    values = (7, "film", found.size, digest, found.modified_ms, 1, Origin.DROP, State.STAGED, 1, 0)
    row = Row(*values, digest, "", 0, 0, 0, file_id=found.text)
    # The volume and the endpoint are not looked at.
    return Item(row._replace(**changes), None, None, str(path))  # type: ignore[arg-type]
