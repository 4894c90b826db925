# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dropped files that a crash left aside: deleted only where they are known to be delivered."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from pathlib import Path

import pytest
from fake_stores import Rig
from job_mapping import mapping_of

from snowsync.core.model import Origin, State
from snowsync.hops.destination.coming_volumes import ComingVolumes
from snowsync.ledger.ledger import Row
from snowsync.volumes import outgoing_files
from snowsync.volumes.dropped_files import DroppedFiles
from snowsync.volumes.file_identity import Identity
from snowsync.volumes.open_volume import OpenVolume
from snowsync.volumes.outgoing_files import was_delivered

ROW = Row(7, "film", 8, "", 1000, 1, Origin.DROP, State.DELIVERED, 1, 0, "", "", 0, 0, 0)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (ROW, True),
        (ROW._replace(state=State.RELEASED), True),
        (ROW._replace(state=State.STAGED), False),
        (ROW._replace(state=State.FAILED), False),
        (ROW._replace(origin=Origin.SOURCE), False),
        (None, False),
    ],
)
def test_what_counts_as_delivered(row: Row | None, expected: bool) -> None:
    assert was_delivered(row) is expected


def aside(tmp_path: Path, content: bytes = b"people's") -> tuple[Path, Row]:
    """A file that lies aside, and the row of the object that was delivered from it."""
    path = tmp_path / "outgoing" / "7.delivered"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    found = Identity.of(path.stat())
    digest = hashlib.md5(b"people's", usedforsecurity=False).hexdigest()
    row = ROW._replace(size=found.size, modified_ms=found.modified_ms, digest=digest, file_id=found.text)
    return path, row


def settle(path: Path, row: Row | None) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        outgoing_files.settle(folder, path.parent.parent / "drop", lambda _number: row, lambda _row: "deep/film")
    finally:
        os.close(folder)


def test_the_same_inode_with_the_digest_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    path, row = aside(tmp_path)
    settle(path, row)
    assert not path.exists()
    assert list((tmp_path / "drop").iterdir()) == []


@pytest.mark.parametrize("why", ["inode", "size", "time", "digest", "state"])
def test_anything_else_goes_back(tmp_path: Path, why: str) -> None:
    (tmp_path / "drop").mkdir()
    path, row = aside(tmp_path, b"PEOPLE'S" if why == "digest" else b"people's")
    others = {
        "inode": row._replace(file_id="1:1:1"),
        "size": row._replace(size=9),
        "time": row._replace(modified_ms=1),
        "state": row._replace(state=State.STAGED),
    }
    settle(path, others.get(why, row))
    assert not path.exists()
    assert (tmp_path / "drop/deep/film").read_bytes().lower() == b"people's"


def test_a_file_aside_that_somebody_has_open_for_writing_goes_back(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    path, row = aside(tmp_path)
    with path.open("ab"):
        settle(path, row)
    assert (tmp_path / "drop/deep/film").exists()


def test_a_folder_that_became_a_link_is_not_followed_when_a_file_goes_back(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "drop/deep").symlink_to(tmp_path / "elsewhere")
    path, row = aside(tmp_path)
    settle(path, row._replace(state=State.STAGED))
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (tmp_path / "drop/film").read_bytes() == b"people's"


@pytest.fixture
def drop(rig: Rig) -> Path:
    """A drop folder whose file `deep/film` is delivered."""
    volumes = mapping_of(rig.job)["volumes"]
    volumes[0]["drop_folder"] = "drop"
    rig.changes = {"volumes": volumes}
    folder = rig.folder / "one/drop/deep"
    folder.mkdir(parents=True)
    (folder / "film").write_bytes(b"the first")
    return rig.folder / "one/drop"


class Crash(BaseException):
    """The power was cut."""


def crash_after_the_rename(rig: Rig, monkeypatch: pytest.MonkeyPatch, instead: bytes) -> None:
    """Deliver, and be cut off when the file, or the one that people put there `instead`, lies aside."""
    link = DroppedFiles._link
    rig.run(direction="source")  # apart: it would take the other one before the cut

    def replaced(dropped: DroppedFiles, object_id: int, relative: str) -> None:
        link(dropped, object_id, relative)
        if instead:
            (rig.folder / "new").write_bytes(instead)
            os.replace(rig.folder / "new", rig.folder / "one/drop" / relative)

    def cut_off(*_unused: object) -> bool:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(DroppedFiles, "_link", replaced)
        patch.setattr(outgoing_files, "is_untouched", cut_off)
        with pytest.raises(Crash):
            rig.run(direction="destination")
    assert [path.name for path in outgoing(rig) if not path.is_symlink()] == ["1.delivered"]


def outgoing(rig: Rig) -> list[Path]:
    return sorted((rig.folder / "one/.snowsync/outgoing/photos").iterdir())


def delivered(rig: Rig) -> dict[str, bytes]:
    return {key: stored.data for key, stored in rig.destination.objects.items()}


def test_the_delivered_one_is_deleted(rig: Rig, drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash_after_the_rename(rig, monkeypatch, b"")
    rig.run()
    assert (outgoing(rig), list(drop.rglob("film*"))) == ([], [])
    assert delivered(rig) == {"deep/film": b"the first"}
    assert rig.destination.count("send") == 1


@pytest.mark.parametrize("has_link", [True, False])
def test_another_one_is_put_back_and_delivered(
    rig: Rig, drop: Path, monkeypatch: pytest.MonkeyPatch, has_link: bool
) -> None:
    crash_after_the_rename(rig, monkeypatch, b"quite another one")
    if not has_link:  # the volume was full
        (rig.folder / "one/.snowsync/outgoing/photos/1").unlink()
    (drop / "deep").rmdir()  # people tidied up
    rig.run(direction="destination", until="once")
    assert (drop / "deep/film").read_bytes() == b"quite another one"
    rig.run()
    assert delivered(rig) == {"deep/film": b"quite another one"}
    assert (outgoing(rig), list(drop.rglob("film*"))) == ([], [])


def test_a_third_one_in_its_place_stays_too(rig: Rig, drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash_after_the_rename(rig, monkeypatch, b"the second")
    (drop / "deep/film").write_bytes(b"the third one")
    rig.run(direction="destination", until="once")
    rig.run()
    assert delivered(rig) == {"deep/film": b"the third one", "deep/film.returned-1": b"the second"}


def test_without_a_drop_folder_it_stays_aside(rig: Rig, drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash_after_the_rename(rig, monkeypatch, b"the second")
    (drop / "deep").rmdir()
    drop.rmdir()
    rig.run(direction="destination", until="once")
    assert [path.name for path in outgoing(rig)] == ["1", "1.delivered"]
    assert outgoing(rig)[1].read_bytes() == b"the second"
    drop.mkdir()
    rig.run(direction="destination", until="once")
    assert (drop / "deep/film").read_bytes() == b"the second"


def test_one_that_cannot_be_put_back_stays_and_stops_nothing(
    rig: Rig, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash_after_the_rename(rig, monkeypatch, b"the second")
    rig.source.put("other", b"x")

    def refuse(*_arguments: object, **_more: object) -> None:
        raise OSError(errno.EACCES, "people forbid it")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse)
        rig.run(until="once")
    assert outgoing(rig)[1].read_bytes() == b"the second"
    assert "other" in rig.destination.objects
    rig.run()
    assert delivered(rig)["deep/film"] == b"the second"


def test_a_run_takes_what_is_put_back_however_late(rig: Rig, drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash_after_the_rename(rig, monkeypatch, b"the second")
    came = ComingVolumes.came

    def late(coming: ComingVolumes, volume: OpenVolume) -> None:
        time.sleep(0.5)
        came(coming, volume)

    monkeypatch.setattr(ComingVolumes, "came", late)
    rig.run()
    assert delivered(rig) == {"deep/film": b"the second"}


def test_a_crash_between_link_and_unlink_leaves_one_file(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    (tmp_path / "7.delivered").write_bytes(b"people's")
    os.link(tmp_path / "7.delivered", tmp_path / "film")
    assert outgoing_files.put_back("7.delivered", folder, folder, "film") == "film"
    assert [path.name for path in tmp_path.iterdir()] == ["film"]


def test_what_lies_aside_is_never_overwritten(rig: Rig, drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier file of the same object could not be put back, and now its successor is to be deleted."""
    discard = DroppedFiles.discard

    def with_an_earlier_one(dropped: DroppedFiles, row: Row, *more: object) -> bool:
        (rig.folder / f"one/.snowsync/outgoing/photos/{row.id}.delivered").write_bytes(b"an earlier one")
        return discard(dropped, row, *more)  # type: ignore[arg-type]  # handed through as they came

    with monkeypatch.context() as patch:
        patch.setattr(DroppedFiles, "discard", with_an_earlier_one)
        rig.run(until="once")
    left = [*(path.read_bytes() for path in drop.rglob("film*")), *delivered(rig).values()]
    assert b"an earlier one" in left
