# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One scan: which files join a group, and what becomes of a volume that fails meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dropping import append

from snowsync.core.model import Origin, State
from snowsync.core.workers import Stop
from snowsync.hops.crew import Crew
from snowsync.hops.source.drops import drop_scan
from snowsync.hops.source.drops.drop_group import Candidate
from snowsync.hops.source.drops.drop_scan import DropAdmission, DropScan
from snowsync.hops.source.drops.drop_settling import Sightings
from snowsync.hops.source.drops.new_drops import LINKED
from snowsync.ledger.rows import Row
from snowsync.volumes.file_identity import Identity

VOLUME: Any = SimpleNamespace(id=3, name="one")


class Desk:
    """An admission to a group, with a drop folder on a real disk."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.rows: dict[str, Row] = {}
        self.refused: dict[str, str] = {}
        self.waiting: list[Candidate] = []
        self.volume = VOLUME
        self.is_refused_by_ledger = False
        objects = SimpleNamespace(
            row=lambda number: next((row for row in self.rows.values() if row.id == number), None)
        )
        ledger: Any = SimpleNamespace(objects=objects, drops=self)
        refusals: Any = self
        self.admission = DropAdmission(ledger, "photos/", refusals, Sightings(0.0))

    def dropped(self, key: str) -> Row | None:
        return self.rows.get(key)

    def refuses_dropped(self, _key: str, _volume: int) -> str:
        return "the source has this key" if self.is_refused_by_ledger else ""

    def refuse(self, _volume: object, relative: str, reason: str) -> None:
        self.refused[relative] = reason

    def __contains__(self, candidate: Candidate) -> bool:
        return candidate in self.waiting

    def add(self, candidate: Candidate) -> None:
        self.waiting.append(candidate)

    def look_at(self, relative: str) -> int:
        group: Any = self
        top = os.open(self.top, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return self.admission.look_at(top, relative, (self.top / relative).lstat(), group)
        finally:
            os.close(top)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    (tmp_path / "film").write_bytes(b"data")
    clock = (tmp_path / "film").stat().st_ctime + 3600
    monkeypatch.setattr("snowsync.hops.source.drops.drop_settling.time.time", lambda: clock)
    desk = Desk(tmp_path)
    open_before = len(os.listdir("/proc/self/fd"))
    yield desk
    assert len(os.listdir("/proc/self/fd")) == open_before + len(desk.waiting), "only what waits stays open"
    for candidate in desk.waiting:
        candidate.close()


def row_of(path: Path, number: int = 7) -> Row:
    found = Identity.of(path.stat())
    values = (number, f"photos/{path.name}", found.size, "", found.modified_ms, 1, Origin.DROP, State.STAGED, 1, 0)
    return Row(*values, "", "", 0, 0, 0, file_id=found.text)


def test_a_settled_file_joins_the_group_under_its_key(desk: Desk) -> None:
    assert desk.look_at("film") == 0
    (candidate,) = desk.waiting
    assert (candidate.relative, candidate.key, candidate.size) == ("film", "photos/film", 4)
    assert os.pread(candidate.file, 9, 0) == b"data"


def test_a_file_that_the_ledger_has_is_not_opened(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.rows["photos/film"] = row_of(desk.top / "film")
    monkeypatch.setattr(drop_scan, "open_below", None)
    assert desk.look_at("film") == 0
    assert (desk.waiting, desk.refused) == ([], {})


def test_a_file_that_changed_since_the_ledger_has_it_is_taken_again(desk: Desk) -> None:
    desk.rows["photos/film"] = row_of(desk.top / "film")
    append(desk.top / "film")
    assert desk.look_at("film") == 0
    assert [candidate.relative for candidate in desk.waiting] == ["film"]


def test_a_file_that_is_written_to_is_left_to_another_scan(desk: Desk) -> None:
    with (desk.top / "film").open("ab"):
        assert desk.look_at("film") == 1
    assert (desk.waiting, desk.refused) == ([], {})


def test_a_file_of_a_moment_ago_is_left_to_another_scan(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = (desk.top / "film").stat().st_ctime
    monkeypatch.setattr("snowsync.hops.source.drops.drop_settling.time.time", lambda: now)
    assert desk.look_at("film") == 1
    assert desk.waiting == []


def test_what_the_ledger_refuses_is_not_read(desk: Desk) -> None:
    desk.is_refused_by_ledger = True
    assert desk.look_at("film") == 0
    assert (desk.waiting, desk.refused) == ([], {"film": "the source has this key"})


def test_a_file_with_other_names_and_one_without_a_key_are_refused(desk: Desk) -> None:
    os.link(desk.top / "film", desk.top / "other")
    assert desk.look_at("film") == 0
    Path(os.fsdecode(os.fsencode(desk.top) + b"/\xff")).touch()
    assert desk.look_at("\udcff") == 0
    assert desk.waiting == []
    assert desk.refused["film"] == LINKED
    assert "not valid UTF-8" in desk.refused["\udcff"]


def test_a_file_that_lies_aside_is_put_back_before_anything_else(desk: Desk) -> None:
    desk.rows["photos/film"] = row_of(desk.top / "film")
    os.rename(desk.top / "film", desk.top / ".snowsync-7-film")
    assert desk.look_at(".snowsync-7-film") == 0
    assert [path.name for path in desk.top.iterdir()] == ["film"]
    assert (desk.waiting, desk.refused) == ([], {})


# -- of all volumes ---------------------------------------------------------------------------------------------------


class Volumes:
    def __init__(self, names: list[str]) -> None:
        self.open: dict[int, Any] = {number: SimpleNamespace(id=number, name=name) for number, name in enumerate(names)}
        self.in_use = self

    @contextlib.contextmanager
    def borrowed(self, number: int) -> Iterator[list[Any]]:
        yield [self.open[number]]


def scan_of(volumes: Volumes, crew: Crew, taken_out: list[tuple[str, str]]) -> DropScan:
    job: Any = SimpleNamespace(source=None, mover=None, drop_settle=0.0)
    ledger: Any = SimpleNamespace(journal=None, drops=None)
    unused: Any = None

    def take_out(volume: Any, reason: str) -> None:
        taken_out.append((volume.name, reason))

    given: Any = volumes
    return DropScan(job, ledger, given, unused, crew, unused, unused, took=lambda: None, take_out=take_out)


def test_a_volume_that_fails_is_taken_out_and_the_others_are_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    scanned, taken_out = [], []

    def files_of(volume: Any, _refusals: object) -> Iterator[tuple[int, str, os.stat_result]]:
        scanned.append(volume.name)
        if volume.name == "bad":
            raise OSError(5, "Input/output error")
        yield from ()

    monkeypatch.setattr(drop_scan, "files_of", files_of)
    assert scan_of(Volumes(["bad", "good"]), Crew("source", Stop()), taken_out).run() == 0
    assert scanned == ["bad", "good"]
    ((name, reason),) = taken_out
    assert name == "bad"
    assert "scan the drop folder of volume bad" in reason


def test_a_scan_counts_what_is_too_recent_and_ends_with_the_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew, looked = Crew("source", Stop()), []

    def look_at(_self: object, _top: int, relative: str, _status: object, _group: object) -> int:
        looked.append(relative)
        if relative == "c":
            crew.ending.set()
        return 1

    def files_of(_volume: object, _refusals: object) -> Iterator[tuple[int, str, os.stat_result]]:
        yield from ((0, name, tmp_path.stat()) for name in "abcd")

    monkeypatch.setattr(drop_scan, "files_of", files_of)
    monkeypatch.setattr(DropAdmission, "look_at", look_at)
    assert scan_of(Volumes(["one"]), crew, []).run() == 3
    assert looked == ["a", "b", "c"]
