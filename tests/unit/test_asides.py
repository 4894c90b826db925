# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dropped files that a crash left aside: deleted only where they are known to be delivered."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
from fake_stores import Rig

from snowsync import asides
from snowsync.asides import was_delivered
from snowsync.ledger import Row
from snowsync.model import Origin, State
from snowsync.volumes import OpenVolume

ROW = Row(7, "film", 8, "", 1000, 1, Origin.DROP, State.DELIVERED, 1, 0, "", "", 0, 0, 0)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (ROW, True),
        (replace(ROW, state=State.RELEASED), True),
        (replace(ROW, state=State.STAGED), False),
        (replace(ROW, state=State.FAILED), False),
        (replace(ROW, origin=Origin.SOURCE), False),
        (replace(ROW, size=9), False),
        (replace(ROW, modified_ms=1001), False),
        (None, False),
    ],
)
def test_what_counts_as_delivered(row: Row | None, expected: bool) -> None:
    assert was_delivered(row, 8, 1000) is expected


@pytest.fixture
def drop(rig: Rig) -> Path:
    """A drop folder whose file `deep/film` is delivered."""
    volumes = rig.job.model_dump(mode="json")["volumes"]
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
    look = asides.is_file_of
    rig.run(direction="source")  # apart: it would take the other one before the cut

    def cut_off(path: str, folder: int | None, size: int, modified_ms: int) -> bool:
        if folder is not None:
            raise Crash
        found = look(path, folder, size, modified_ms)
        if instead:
            Path(path).write_bytes(instead)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(asides, "is_file_of", cut_off)
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


def test_a_crash_between_link_and_unlink_leaves_one_file(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    (tmp_path / "7.delivered").write_bytes(b"people's")
    os.link(tmp_path / "7.delivered", tmp_path / "film")
    assert asides.put_back("7.delivered", folder, str(tmp_path / "film")) == str(tmp_path / "film")
    assert [path.name for path in tmp_path.iterdir()] == ["film"]


def test_what_lies_aside_is_never_overwritten(rig: Rig, drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier file of the same object could not be put back, and now its successor is to be deleted."""
    discard = OpenVolume.discard_dropped

    def with_an_earlier_one(volume: OpenVolume, object_id: int, *more: object) -> bool:
        name = f"/proc/self/fd/{volume.outgoing}/{object_id}.delivered"
        Path(name).write_bytes(b"an earlier one")
        return discard(volume, object_id, *more)  # type: ignore[arg-type]  # handed through as they came

    with monkeypatch.context() as patch:
        patch.setattr(OpenVolume, "discard_dropped", with_an_earlier_one)
        rig.run(until="once")
    left = [*(path.read_bytes() for path in drop.rglob("film*")), *delivered(rig).values()]
    assert b"an earlier one" in left
