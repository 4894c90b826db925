# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups of dropped files: what is staged together, and that every file is closed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.config.job_file import MoverSettings
from snowsync.core.etag import PartDigests
from snowsync.core.workers import Stop
from snowsync.hops.counters import Counters
from snowsync.hops.crew import Crew
from snowsync.hops.source.drops import drop_group
from snowsync.hops.source.drops.drop_group import Candidate, DropGroup, DropStaging, one_of_each_filesystem
from snowsync.hops.source.drops.drop_refusals import DropRefusals
from snowsync.hops.switches import Switches
from snowsync.ledger.drops import Dropped
from snowsync.volumes.open_writers import WriterWatch

VOLUME: Any = SimpleNamespace(id=3, name="one", medium=SimpleNamespace(is_well=lambda: True))


class Staging:
    """Notes what is staged together."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.fails = False

    def stage(self, _volume: object, candidates: list[Candidate]) -> int:
        self.groups.append([candidate.relative for candidate in candidates])
        for candidate in candidates:
            candidate.close()
        if self.fails:
            raise OSError("the volume is gone")
        return len(candidates)


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[str, bytes], Candidate]:
    def candidate(name: str, content: bytes) -> Candidate:
        (tmp_path / name).write_bytes(content)
        file = os.open(tmp_path / name, os.O_RDONLY)
        return Candidate(name, name, file, WriterWatch(file), len(content))

    return candidate


def is_open(candidate: Candidate) -> bool:
    return Path(f"/proc/self/fd/{candidate.file}").exists()


def test_each_filesystem_of_a_group_is_synced(tmp_path: Path) -> None:
    """A disk may be mounted on a folder inside of a drop folder."""
    (tmp_path / "a").touch()
    with (tmp_path / "a").open() as here, (tmp_path / "a").open() as too, Path("/proc/version").open() as elsewhere:
        files = [file.fileno() for file in (here, too, elsewhere)]
        assert one_of_each_filesystem(files) == files[1:]


# -- what waits -------------------------------------------------------------------------------------------------------


def test_a_group_waits_until_it_is_full(opened: Callable[[str, bytes], Candidate]) -> None:
    staging = Staging()
    group = DropGroup(VOLUME, staging)  # type: ignore[arg-type]  # what it uses of one
    for number in range(drop_group._GROUP_FILES - 1):
        group.add(opened(str(number), b""))
        assert group.stage_full() == 0
    group.add(opened("last", b""))
    assert group.stage_full() == drop_group._GROUP_FILES
    assert group.stage() == 0
    assert [len(each) for each in staging.groups] == [drop_group._GROUP_FILES]


def test_a_large_file_is_a_group_of_its_own(
    opened: Callable[[str, bytes], Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop_group, "_GROUP_BYTES", 10)
    staging = Staging()
    group = DropGroup(VOLUME, staging)  # type: ignore[arg-type]  # what it uses of one
    for name, size in (("a", 9), ("large", 10), ("alone", 10), ("b", 6), ("c", 6), ("d", 1)):
        group.add(opened(name, bytes(size)))
        group.stage_full()
    group.stage()
    assert staging.groups == [["a"], ["large"], ["alone"], ["b", "c"], ["d"]]


def test_no_file_stays_open_when_the_volume_fails(
    opened: Callable[[str, bytes], Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop_group, "_GROUP_BYTES", 10)
    staging = Staging()
    staging.fails = True
    group = DropGroup(VOLUME, staging)  # type: ignore[arg-type]  # what it uses of one
    small, large = opened("a", b"a"), opened("large", bytes(10))
    group.add(small)
    group.add(large)
    with pytest.raises(OSError, match="the volume is gone"):
        group.stage_full()
    assert (staging.groups, is_open(small), is_open(large)) == ([["a"]], False, True)
    assert large in group
    group.close()
    assert not is_open(large)
    assert large not in group


# -- staged -----------------------------------------------------------------------------------------------------------


class Drops:
    """Refuses the key "refused"."""

    def __init__(self) -> None:
        self.files: list[Dropped] = []

    def stage_dropped_group(self, files: list[Dropped], _volume: int, _run_id: int) -> list[str]:
        self.files += files
        return ["another one has this key" if file.listed.key == "refused" else "" for file in files]


class Desk:
    """A DropStaging with what it tells."""

    def __init__(self) -> None:
        self.drops, self.counters, self.switches = Drops(), Counters(), Switches()
        self.crew, self.told = Crew("source", Stop()), []
        self.taken = 0
        setbacks: Any = SimpleNamespace(note=lambda failure: None)
        journal: Any = SimpleNamespace(record=lambda failure: self.told.append(failure.row.key))
        refusals = DropRefusals(journal, setbacks)
        self.staging = DropStaging(
            self.drops,  # type: ignore[arg-type]  # what it uses of one
            MoverSettings(),
            refusals,
            self.crew,
            self.counters,
            self.switches,
            took=self._took,
        )

    def _took(self) -> None:
        self.taken += 1


def test_what_the_ledger_refuses_is_told_and_not_counted(opened: Callable[[str, bytes], Candidate]) -> None:
    desk = Desk()
    candidates = [opened(name, b"12345") for name in ("a.txt", "refused", "b")]
    assert desk.staging.stage(VOLUME, candidates) == 0
    assert [(file.listed.key, file.listed.size) for file in desk.drops.files] == [
        ("a.txt", 5),
        ("refused", 5),
        ("b", 5),
    ]
    assert (desk.taken, desk.counters.moved.objects, desk.counters.moved.bytes) == (2, 2, 10)
    assert desk.told == ["refused"]
    assert desk.switches.staged.is_set()
    assert [is_open(candidate) for candidate in candidates] == [False] * 3


def test_the_MD5s_of_the_parts_of_a_large_file_are_recorded(
    opened: Callable[[str, bytes], Candidate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop_group, "upload_part_size", lambda size, mover: 4 if size > 4 else 0)
    desk = Desk()
    desk.staging.stage(VOLUME, [opened("large", b"abcdef"), opened("small", b"abc")])
    large, small = desk.drops.files
    assert large.part_md5s == hashlib.md5(b"abcd").digest() + hashlib.md5(b"ef").digest()
    assert large.listed.etag == f"{hashlib.md5(large.part_md5s).hexdigest()}-2"
    assert small.part_md5s == b""


def test_a_file_that_changes_while_it_is_read_is_left_to_another_scan(
    opened: Callable[[str, bytes], Candidate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests_of = drop_group.digests_of

    def read(file: int, part_size: int, beat: Callable[[], None]) -> PartDigests:
        found = digests_of(file, part_size, beat)
        if os.readlink(f"/proc/self/fd/{file}").endswith("/a"):
            os.utime(tmp_path / "a", (1, 1))
        return found

    monkeypatch.setattr(drop_group, "digests_of", read)
    desk = Desk()
    assert desk.staging.stage(VOLUME, [opened("a", b"1"), opened("b", b"2")]) == 1
    assert [file.listed.key for file in desk.drops.files] == ["b"]


def test_a_stop_ends_the_reading_and_records_nothing(opened: Callable[[str, bytes], Candidate]) -> None:
    desk = Desk()
    desk.crew.ending.set()
    candidate = opened("a", b"12345")
    assert desk.staging.stage(VOLUME, [candidate]) == 1
    assert (desk.drops.files, desk.taken, desk.switches.staged.is_set()) == ([], 0, False)
    assert not is_open(candidate)
