# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes: identity, folders, space. Real folders; mounts are tested with loop devices in the fault tests."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path

import pytest

from snowsync.config.job_file import Job, parse_job
from snowsync.core.layout import evacuated_name
from snowsync.core.removal import AtDestination, OperatorsWord
from snowsync.ledger.ledger import Ledger
from snowsync.volumes import job_volume
from snowsync.volumes import open_volume as volumes_module
from snowsync.volumes.marker import is_folder, read_marker, write_marker
from snowsync.volumes.open_volume import OpenVolume, syncfs
from snowsync.volumes.placement import fits_nowhere
from snowsync.volumes.volume_set import VolumeSet

PROOF = AtDestination(7, "k", 1, 0, "etag")


def make_job(folder: Path, *names: str, **changes: object) -> Job:
    volumes = []
    for name in names or ("one",):
        (folder / name).mkdir(exist_ok=True)
        volumes.append({"name": name, "path": str(folder / name), "require_mount": False, **changes})
    store = {"bucket": "bucket-a", "endpoints": ["http://127.0.0.1:1"], "credentials_file": "/nowhere"}
    return parse_job(
        {
            "job": "testjob",
            "state_dir": str(folder / "state"),
            "source": store,
            "destination": {**store, "bucket": "bucket-b"},
            "volumes": volumes,
        },
        "test",
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state" / "ledger.db")


def opened(job: Job, ledger: Ledger) -> tuple[VolumeSet, list[OpenVolume]]:
    volumes = VolumeSet(job, ledger)
    came, _gone = volumes.refresh()
    return volumes, came


def test_a_new_folder_gets_an_identity_and_keeps_it(tmp_path: Path, ledger: Ledger) -> None:
    job = make_job(tmp_path)
    volumes, came = opened(job, ledger)
    assert [volume.name for volume in came] == ["one"]
    marker = json.loads((tmp_path / "one/.snowsync/volume.json").read_text())
    assert marker == {"uuid": came[0].medium.uuid, "name": "one"}
    volumes.close()
    _volumes, again = opened(job, ledger)
    assert (again[0].medium.uuid, again[0].id) == (came[0].medium.uuid, came[0].id)


def test_a_known_volume_without_its_marker_is_unavailable_not_new(tmp_path: Path, ledger: Ledger) -> None:
    job = make_job(tmp_path)
    volumes, came = opened(job, ledger)
    volumes.close()
    # What an unmounted mount point looks like: the same path, an empty folder.
    os.rename(tmp_path / "one", tmp_path / "elsewhere")
    (tmp_path / "one").mkdir()
    volumes, came = opened(job, ledger)
    assert came == []
    assert "marker" in volumes.why_absent()
    assert list((tmp_path / "one").iterdir()) == [], "nothing may be written below an unmounted mount point"
    os.rmdir(tmp_path / "one")
    os.rename(tmp_path / "elsewhere", tmp_path / "one")
    came, _gone = volumes.refresh()
    assert [volume.name for volume in came] == ["one"], "a returned volume is used again"


def test_a_volume_that_goes_away_under_way_is_noticed(tmp_path: Path, ledger: Ledger) -> None:
    volumes, came = opened(make_job(tmp_path), ledger)
    os.rename(tmp_path / "one", tmp_path / "elsewhere")
    assert volumes.refresh() == ([], came)
    assert volumes.open == {}


def test_a_swapped_disk_is_not_used_and_named(tmp_path: Path, ledger: Ledger) -> None:
    job = make_job(tmp_path, "one", "two")
    volumes, came = opened(job, ledger)
    volumes.close()
    marker = tmp_path / "one/.snowsync/volume.json"
    marker.unlink()
    write_marker(tmp_path / "one", "one")  # another disk, with an identity of its own
    stranger = read_marker(tmp_path / "one")
    assert stranger
    volumes, came = opened(job, ledger)
    assert [volume.name for volume in came] == ["two"], "the others go on"
    assert f"has identity {stranger['uuid']}" in volumes.why_absent()
    assert "mount the right disk" in volumes.why_absent()


def test_a_disk_of_this_job_under_another_name_is_not_used(tmp_path: Path, ledger: Ledger) -> None:
    job = make_job(tmp_path, "one", "two")
    volumes, _came = opened(job, ledger)
    volumes.close()
    os.rename(tmp_path / "one", tmp_path / "spare")
    os.rename(tmp_path / "two", tmp_path / "one")
    os.rename(tmp_path / "spare", tmp_path / "two")
    volumes, came = opened(job, ledger)
    assert came == []
    assert volumes.why_absent().count("mount the right disk") == 2


def test_require_mount_refuses_a_plain_folder(tmp_path: Path, ledger: Ledger) -> None:
    volumes, came = opened(make_job(tmp_path, require_mount=True), ledger)
    assert came == []
    assert "nothing is mounted there" in volumes.why_absent()
    assert not (tmp_path / "one/.snowsync").exists()


def test_a_missing_folder_names_the_fix(tmp_path: Path, ledger: Ledger) -> None:
    job = make_job(tmp_path)
    (tmp_path / "one").rmdir()
    volumes, _came = opened(job, ledger)
    assert "mount the disk or create the folder" in volumes.why_absent()


def test_a_damaged_marker_is_an_error_and_stays_as_it_is(tmp_path: Path, ledger: Ledger) -> None:
    job = make_job(tmp_path)
    (tmp_path / "one/.snowsync").mkdir()
    marker = tmp_path / "one/.snowsync/volume.json"
    marker.write_text("{")
    volumes, came = opened(job, ledger)
    assert came == []
    assert str(marker) in volumes.why_absent()
    assert marker.read_text() == "{"


def test_read_marker_of_nothing_is_none(tmp_path: Path) -> None:
    assert read_marker(tmp_path) is None


def test_publish_makes_directories_and_survives_their_pruning(tmp_path: Path, ledger: Ledger) -> None:
    _volumes, (volume,) = opened(make_job(tmp_path), ledger)
    staged = tmp_path / "one/.snowsync/staged/testjob"
    for number in (1, 2):
        Path(volume.incoming_path(number)).write_bytes(b"data")
        directory = volume.publish(number, f"a/b/file{number}~1")
        volume.sync()
        volume.directories.sync([directory])
        assert (staged / f"a/b/file{number}~1").read_bytes() == b"data"
        # As the destination unit does, whose knowledge of directories is its own.
        (staged / f"a/b/file{number}~1").unlink()
        (staged / "a/b").rmdir()
        (staged / "a").rmdir()


def test_publish_survives_that_a_parent_is_pruned_while_it_makes_directories(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    _volumes, (volume,) = opened(make_job(tmp_path), ledger)
    Path(volume.incoming_path(1)).write_bytes(b"data")
    mkdir, pruned = os.mkdir, []

    def mkdir_after_a_prune(path: str, mode: int, *, dir_fd: int) -> None:
        if path == "a/b" and not pruned:
            os.rmdir("a", dir_fd=dir_fd)
            pruned.append(path)
        mkdir(path, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", mkdir_after_a_prune)
    assert volume.publish(1, "a/b/file~1") == "a/b"
    assert pruned
    assert list(volume.staged_files()) == ["a/b/file~1"]


def test_the_memory_of_directories_is_bounded(tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes_module, "_MOST_KNOWN_DIRECTORIES", 3)
    _volumes, (volume,) = opened(make_job(tmp_path), ledger)
    for number in range(10):
        Path(volume.incoming_path(number)).write_bytes(b"")
        volume.publish(number, f"d{number}/x~1")
        assert len(volume.directories._known) <= 3
    assert len(list(volume.staged_files())) == 10


def test_a_directory_is_made_once_unless_it_is_to_be_made_anew(tmp_path: Path, ledger: Ledger) -> None:
    _volumes, (volume,) = opened(make_job(tmp_path), ledger)
    staged, directories = tmp_path / "one/.snowsync/staged/testjob", volume.directories
    directories.make("a/b")
    assert (staged / "a/b").is_dir()
    (staged / "a/b").rmdir()  # as another process does
    directories.make("a/b")
    assert not (staged / "a/b").exists(), "it is known"
    directories.make("a/b", anew=True)
    assert (staged / "a/b").is_dir()
    directories.prune(["a/b"])
    assert list(staged.iterdir()) == []
    directories.make("a/b")
    assert (staged / "a/b").is_dir(), "what was pruned here is not known any more"


@pytest.mark.parametrize(("count", "expected"), [(3, ["fsync"] * 5), (40, ["syncfs"])])
def test_many_directories_are_synced_with_their_filesystem(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, count: int, expected: list[str]
) -> None:
    _volumes, (volume,) = opened(make_job(tmp_path), ledger)
    names = [f"d{number}" for number in range(count)]
    for name in names:
        volume.directories.make(name)
    calls: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _descriptor: calls.append("fsync"))
    monkeypatch.setattr(volumes_module, "syncfs", lambda _descriptor: calls.append("syncfs"))
    volume.directories.sync(names)
    assert calls == expected, "each directory, the top of the tree, and where the files came from"


def test_publish_of_a_missing_file_fails(tmp_path: Path, ledger: Ledger) -> None:
    _volumes, (volume,) = opened(make_job(tmp_path), ledger)
    with pytest.raises(FileNotFoundError):
        volume.publish(5, "x~1")


def test_prune_removes_empty_directories_only(tmp_path: Path, ledger: Ledger) -> None:
    _volumes, (volume,) = opened(make_job(tmp_path), ledger)
    for number, relative in ((1, "a/b/c/x~1"), (2, "a/y~1")):
        Path(volume.incoming_path(number)).write_bytes(b"")
        volume.publish(number, relative)
    volume.discard_staged("a/b/c/x~1", OperatorsWord("reset", "photos"))
    volume.directories.prune(["a/b/c"])
    assert sorted(volume.staged_files()) == ["a/y~1"]
    assert not (tmp_path / "one/.snowsync/staged/testjob/a/b").exists()


def test_sweep_incoming_removes_everything_a_mover_left(tmp_path: Path, ledger: Ledger) -> None:
    _volumes, (volume,) = opened(make_job(tmp_path), ledger)
    for name in ("17", "17123456", "anything"):
        Path(f"/proc/self/fd/{volume.folders.incoming}/{name}").write_bytes(b"x")
    assert volume.sweep_incoming() == 3
    assert list((tmp_path / "one/.snowsync/incoming/testjob").iterdir()) == []


def test_sweeps_spare_what_is_still_in_flight(tmp_path: Path, ledger: Ledger) -> None:
    _volumes, (volume,) = opened(make_job(tmp_path), ledger)
    for name in ("17", "18", "171234567890"):
        Path(f"/proc/self/fd/{volume.folders.incoming}/{name}").write_bytes(b"x")
    assert volume.sweep_incoming(keep={17}) == 2
    assert os.listdir(volume.folders.incoming) == ["17"]


def test_quarantined_copies_are_known_by_their_objects(tmp_path: Path, ledger: Ledger) -> None:
    _volumes, (volume,) = opened(make_job(tmp_path), ledger)
    for name in ("17", "4"):
        Path(volume.incoming_path(int(name))).write_bytes(b"x")
        volume.to_quarantine(int(name))
    Path(f"/proc/self/fd/{volume.folders.quarantine}/readme").write_bytes(b"")
    assert sorted(volume.quarantined()) == [4, 17]


def test_space_of_a_volume_with_a_limit_is_what_the_ledger_says(tmp_path: Path, ledger: Ledger) -> None:
    volumes, (volume,) = opened(make_job(tmp_path, limit=1_000_000), ledger)
    volume.load.in_flight = 10
    (found,) = volumes.spaces()
    assert (found.high, found.low, found.used, found.inflow.bytes) == (900_000, 800_000, 0, 10)


def test_space_of_a_whole_filesystem_leaves_the_reserve(tmp_path: Path, ledger: Ledger) -> None:
    volumes, _came = opened(make_job(tmp_path), ledger)
    (found,) = volumes.spaces()
    status = os.statvfs(tmp_path)
    assert found.high <= (status.f_blocks * status.f_frsize - 256 * 1024**2) * 0.9
    assert found.high - found.used <= status.f_bavail * status.f_frsize


def test_a_volume_with_a_limit_is_judged_by_its_limit_not_by_what_others_fill(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes, _came = opened(make_job(tmp_path, limit=1_000_000), ledger)
    nearly_full = list(os.statvfs(tmp_path))
    nearly_full[4] = 256 * 1024**2 // nearly_full[1] + 10  # f_bavail: ten blocks above the reserve
    monkeypatch.setattr(os, "fstatvfs", lambda _descriptor: os.statvfs_result(nearly_full))
    (found,) = volumes.spaces()
    assert found.high < 100_000
    assert found.largest == 900_000
    assert not fits_nowhere(800_000, [found]), "it fits as soon as others make room"


def open_below(folder: Path) -> list[str]:
    """What this process has open of a volume below `folder`; other tests' rubbish may be collected at any moment."""
    return [path for path in map(os.path.realpath, Path("/proc/self/fd").iterdir()) if path.startswith(f"{folder}/")]


def test_a_volume_whose_filesystem_does_not_answer_leaks_nothing(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes, _came = opened(make_job(tmp_path), ledger)
    assert open_below(tmp_path / "one")

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fstatvfs", fail)
    assert volumes.spaces() == []
    assert "does not respond" in volumes.why_absent()
    volumes.in_use.close_retired()
    assert not open_below(tmp_path / "one")


def test_a_volume_is_taken_out_once_however_many_notice(tmp_path: Path, ledger: Ledger) -> None:
    """Else it would be closed twice, and the second time the number may be another file's."""
    volumes, (volume,) = opened(make_job(tmp_path), ledger)
    os.rename(tmp_path / "one", tmp_path / "elsewhere")
    assert open_below(tmp_path / "elsewhere")
    assert volumes.take_out(volume, "it failed")
    assert not volumes.take_out(volume, "it failed")
    assert volumes.refresh() == ([], [])
    volumes.in_use.close_retired()
    volumes.in_use.close_retired()
    volumes.close()
    assert not open_below(tmp_path / "elsewhere")


def test_a_retired_volume_stays_open_while_it_is_used(tmp_path: Path, ledger: Ledger) -> None:
    volumes, (volume,) = opened(make_job(tmp_path), ledger)
    volumes.take_out(volume, "it failed")
    volumes.in_use.close_retired({id(volume)})
    os.fstat(volume.folders.root)
    volumes.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(volume.folders.root)


def test_a_borrowed_volume_is_not_closed_meanwhile(tmp_path: Path, ledger: Ledger) -> None:
    volumes, (volume,) = opened(make_job(tmp_path), ledger)
    with volumes.in_use.borrowed() as lent:
        assert lent == [volume]
        volumes.take_out(volume, "it failed")
        volumes.in_use.close_retired()
        volume.sync()
    volumes.in_use.close_retired()
    with pytest.raises(OSError, match="Bad file descriptor"):
        volume.sync()


def test_a_volume_that_fails_again_and_again_rests_longer(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    volumes = VolumeSet(make_job(tmp_path), ledger)
    rests = []
    for _ in range(12):
        (volume,), _gone = volumes.refresh()
        volume.medium.opened = clock[0]
        volumes.take_out(volume, "it failed")
        failed = clock[0]
        while not any(config.name not in volumes.absent for config in [volume.config]):
            clock[0] += 1.0
            volumes.refresh()
        rests.append(clock[0] - failed)
        (volume,) = volumes.open.values()
        volume.medium.opened = clock[0]  # else it is the machine's own time since it was started
        volumes.take_out(volume, "it failed")
        clock[0] += job_volume._LONGEST_REST
    assert rests[:3] == [1.0, 4.0, 16.0]
    assert max(rests) == job_volume._LONGEST_REST


def test_a_volume_that_worked_for_long_is_tried_again_soon(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    volumes = VolumeSet(make_job(tmp_path), ledger)
    for _ in range(5):
        (volume,), _gone = volumes.refresh()
        volume.medium.opened = clock[0]
        clock[0] += job_volume._TRUSTED_SECONDS
        volumes.take_out(volume, "it failed")
        clock[0] += 1.0


def test_an_unmounted_volume_is_used_again_at_once_when_it_is_back(tmp_path: Path, ledger: Ledger) -> None:
    volumes, _came = opened(make_job(tmp_path), ledger)
    for _ in range(3):
        os.rename(tmp_path / "one", tmp_path / "elsewhere")
        assert len(volumes.refresh()[1]) == 1
        os.rename(tmp_path / "elsewhere", tmp_path / "one")
        assert len(volumes.refresh()[0]) == 1


@pytest.mark.parametrize(("number", "usable"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EROFS, False)])
def test_a_full_volume_can_be_used_and_a_read_only_one_cannot(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, number: int, usable: bool
) -> None:
    """A disk that people filled with dropped files must be emptied by sending them."""
    volumes, _came = opened(make_job(tmp_path), ledger)
    volumes.close()
    open_file = os.open

    def refuse(path: str, flags: int, *more: int, **options: int) -> int:
        if str(path).startswith("probe-"):
            raise OSError(number, os.strerror(number))
        return open_file(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", refuse)
    _volumes, came = opened(make_job(tmp_path), ledger)
    assert bool(came) is usable


def test_syncfs_reports_a_bad_descriptor() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        syncfs(-1)


# -- moved copies, names, trouble -----------------------------------------------------------------------------------


def test_copies_of_an_evacuation_are_swept_by_who_holds_its_lock(tmp_path: Path, ledger: Ledger) -> None:
    _volumes, (volume,) = opened(make_job(tmp_path), ledger)
    for name in ("7", evacuated_name(7), evacuated_name(8)):
        Path(f"/proc/self/fd/{volume.folders.incoming}/{name}").write_bytes(b"copy")
    assert volume.sweep_incoming() == 1
    volume.discard_evacuated(8)
    assert os.listdir(volume.folders.incoming) == [evacuated_name(7)]
    volume.sweep_evacuated()
    assert os.listdir(volume.folders.incoming) == []


def test_the_names_of_a_staging_tree_are_held_by_one_at_a_time(tmp_path: Path, ledger: Ledger) -> None:
    job = make_job(tmp_path, "one", "two")
    _volumes, (volume, other) = opened(job, ledger)
    _again, (same, _other) = opened(job, ledger)  # as another process has it
    events: list[str] = []

    def wait_for_it() -> None:
        with same.names_held():
            events.append("second")

    with volume.names_held():
        thread = threading.Thread(target=wait_for_it)
        thread.start()
        with other.names_held():
            events.append("another volume's")
        thread.join(0.2)
        events.append("first ends")
    thread.join()
    assert events == ["another volume's", "first ends", "second"]


def test_a_folder_that_cannot_be_looked_at_is_no_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_folder(tmp_path)
    (tmp_path / "file").touch()
    assert not is_folder(tmp_path / "file")
    assert not is_folder(tmp_path / "file" / "below")
    assert not is_folder(tmp_path / "nothing")

    def fail(self: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "stat", fail)
    with pytest.raises(OSError, match="Input/output"):
        is_folder(tmp_path)
