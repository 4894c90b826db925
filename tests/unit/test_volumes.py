# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes: identity, folders, space. Real folders; mounts are tested with loop devices in the fault tests."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from snowsync.config import Job, parse_job
from snowsync.errors import LedgerError
from snowsync.ledger import Ledger
from snowsync.volumes import OpenVolume, VolumeSet, local_trouble, read_marker, syncfs, write_marker


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
    assert marker == {"uuid": came[0].uuid, "name": "one"}
    volumes.close()
    _volumes, again = opened(job, ledger)
    assert (again[0].uuid, again[0].id) == (came[0].uuid, came[0].id)


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


def test_a_swapped_disk_is_refused_by_name(tmp_path: Path, ledger: Ledger) -> None:
    volumes, _came = opened(make_job(tmp_path), ledger)
    volumes.close()
    (tmp_path / "one/.snowsync/volume.json").unlink()
    write_marker(tmp_path / "one", "one")  # another disk, with an identity of its own
    with pytest.raises(LedgerError, match="carries identity .* mount the right disk"):
        opened(make_job(tmp_path), ledger)


def test_require_mount_refuses_a_plain_folder(tmp_path: Path, ledger: Ledger) -> None:
    volumes, came = opened(make_job(tmp_path, require_mount=True), ledger)
    assert came == []
    assert "nothing is mounted there" in volumes.why_absent()
    assert not (tmp_path / "one/.snowsync").exists()


def test_a_missing_folder_names_the_mend(tmp_path: Path, ledger: Ledger) -> None:
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
        volume.sync_directories([directory])
        assert (staged / f"a/b/file{number}~1").read_bytes() == b"data"
        # As the destination unit does, whose knowledge of directories is its own.
        (staged / f"a/b/file{number}~1").unlink()
        (staged / "a/b").rmdir()
        (staged / "a").rmdir()


def test_publish_of_a_missing_file_fails(tmp_path: Path, ledger: Ledger) -> None:
    _volumes, (volume,) = opened(make_job(tmp_path), ledger)
    with pytest.raises(FileNotFoundError):
        volume.publish(5, "x~1")


def test_prune_removes_empty_directories_only(tmp_path: Path, ledger: Ledger) -> None:
    _volumes, (volume,) = opened(make_job(tmp_path), ledger)
    for number, relative in ((1, "a/b/c/x~1"), (2, "a/y~1")):
        Path(volume.incoming_path(number)).write_bytes(b"")
        volume.publish(number, relative)
    volume.discard_staged("a/b/c/x~1")
    volume.prune(["a/b/c"])
    assert sorted(volume.staged_files()) == ["a/y~1"]
    assert not (tmp_path / "one/.snowsync/staged/testjob/a/b").exists()


def test_sweep_incoming_removes_everything_a_mover_left(tmp_path: Path, ledger: Ledger) -> None:
    _volumes, (volume,) = opened(make_job(tmp_path), ledger)
    for name in ("17", "17123456", "anything"):
        Path(f"/proc/self/fd/{volume.incoming}/{name}").write_bytes(b"x")
    assert volume.sweep_incoming() == 3
    assert list((tmp_path / "one/.snowsync/incoming/testjob").iterdir()) == []


def test_a_dropped_file_is_reached_by_a_link_and_deleted_with_it(tmp_path: Path, ledger: Ledger) -> None:
    _volumes, (volume,) = opened(make_job(tmp_path, drop_folder="drop"), ledger)
    dropped = tmp_path / "one/drop/it's; a `file`"
    dropped.parent.mkdir()
    dropped.write_bytes(b"people's data")
    path = volume.link_dropped(7, "it's; a `file`")
    assert Path(path).read_bytes() == b"people's data"
    volume.discard_dropped(7, "it's; a `file`")
    assert not dropped.exists()
    assert not os.path.lexists(path)


def test_space_of_a_volume_with_a_limit_is_what_the_ledger_says(tmp_path: Path, ledger: Ledger) -> None:
    volumes, (volume,) = opened(make_job(tmp_path, limit=1_000_000), ledger)
    volume.in_flight = 10
    (found,) = volumes.spaces()
    assert (found.high, found.low, found.used, found.in_flight) == (900_000, 800_000, 0, 10)


def test_space_of_a_whole_filesystem_leaves_the_reserve(tmp_path: Path, ledger: Ledger) -> None:
    volumes, _came = opened(make_job(tmp_path), ledger)
    (found,) = volumes.spaces()
    status = os.statvfs(tmp_path)
    assert found.high <= (status.f_blocks * status.f_frsize - 256 * 1024**2) * 0.9
    assert found.high - found.used <= status.f_bavail * status.f_frsize


def test_errors_of_the_filesystem_have_their_own_words() -> None:
    import errno

    assert local_trouble(OSError(errno.ENOSPC, "")).value == "space"
    assert local_trouble(OSError(errno.EROFS, "")).value == "readonly"
    assert local_trouble(OSError(errno.EIO, "")).value == "io"


def test_syncfs_reports_a_bad_descriptor() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        syncfs(-1)
