# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that turn read-only, fail, go and come back: what is delivered, fetched again, hashed again, said."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_stores import Rig, wait_until
from job_mapping import mapping_of

from snowsync.core.errors import LocalError, Trouble
from snowsync.hops.destination.destination_unit import DestinationUnit
from snowsync.hops.destination.unsent import damaged_files
from snowsync.hops.switches import Switches
from snowsync.inspection import report
from snowsync.ledger.reader import LedgerReader
from snowsync.ledger.volumes import VolumeLedger
from snowsync.upkeep import draining
from snowsync.volumes import job_volume, medium, opening
from snowsync.volumes.volume_set import VolumeSet

COUNT = 8


class Ailing:
    """Volume one with something wrong with it, while a test says so."""

    def __init__(self, rig: Rig, patch: pytest.MonkeyPatch) -> None:
        self.write_error = self.read_error = self.marker_error = 0
        one = rig.folder / "one"
        write, examine, marker = medium.try_writing, damaged_files.examine, opening.read_marker

        def try_writing(folder: int) -> None:
            if self.write_error and os.path.samestat(os.fstat(folder), os.stat(one / ".snowsync/incoming/photos")):
                raise OSError(self.write_error, os.strerror(self.write_error))
            write(folder)

        def look(item: Any, **how: Any) -> Any:
            if self.read_error and item.volume.name == "one":
                raise OSError(self.read_error, os.strerror(self.read_error), item.path)
            return examine(item, **how)

        def read_marker(path: Path) -> Any:
            if self.marker_error and path == one:
                error = OSError(self.marker_error, os.strerror(self.marker_error))
                raise LocalError(Trouble.IO, "read the marker", str(error)) from error
            return marker(path)

        patch.setattr(medium, "try_writing", try_writing)
        patch.setattr(opening, "try_writing", try_writing)
        patch.setattr(damaged_files, "examine", look)
        patch.setattr("snowsync.hops.destination.unsent.readiness.examine", look)
        patch.setattr(opening, "read_marker", read_marker)
        patch.setattr(job_volume, "_READING_REST", 0.2)

    def heal(self) -> None:
        self.write_error = self.read_error = self.marker_error = 0


@pytest.fixture
def ailing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ailing]:
    found = Ailing(rig, monkeypatch)
    yield found
    found.heal()


def fill(rig: Rig, count: int = COUNT, name: str = "object") -> None:
    for number in range(count):
        rig.source.put(f"{name}-{number}", bytes([number % 256]) * 100)


def stage(rig: Rig) -> int:
    fill(rig)
    rig.run(direction="source")
    assert 0 < len(on_one(rig)) < COUNT
    return len(on_one(rig))


def on_one(rig: Rig) -> list[str]:
    return [name for name in rig.staged_files() if name.startswith("one/")]


def drop_on_one(rig: Rig) -> None:
    rig.changes = {"volumes": [dict(volume) for volume in mapping_of(rig.job)["volumes"]]}
    rig.changes["volumes"][0]["drop_folder"] = "drop"
    (rig.folder / "one/drop").mkdir()
    (rig.folder / "one/drop/picture").write_bytes(b"people's")


def state(rig: Rig) -> str:
    return draining.look(rig.job, "one").state


def suspects(rig: Rig) -> int:
    ledger = rig.ledger
    (found,) = list(ledger.database.stream("SELECT COUNT(*) FROM objects WHERE suspect = 1 AND state = 1"))
    ledger.close()
    return int(str(found[0]))


# -- read-only ----------------------------------------------------------------------------------------------------


def test_a_read_only_volume_is_delivered_from_and_emptied_later(rig: Rig, ailing: Ailing) -> None:
    drop_on_one(rig)
    count = stage(rig)
    ailing.write_error = errno.EROFS
    running = rig.start(until="forever")
    try:
        wait_until(lambda: set(rig.destination.objects) == {*rig.source.objects, "picture"})
        wait_until(lambda: set(rig.states().values()) == {"delivered", "released"})
        assert len(on_one(rig)) == count, "nothing can be deleted there"
        assert state(rig) == "read-only"
        fill(rig, 4, "more")
        assert (rig.folder / "one/drop/picture").exists()
        ailing.heal()
        wait_until(lambda: not rig.staged_files() and set(rig.states().values()) == {"released"})
        assert state(rig) == "in use"
    finally:
        running.stop()
    assert rig.source.count("fetch", "object-0") == 1
    assert {rig.destination.count("send", key) for key in rig.destination.objects} == {1}
    assert rig.failures() == []
    assert not (rig.folder / "one/drop/picture").exists()


def test_nothing_is_placed_on_a_read_only_volume(rig: Rig, ailing: Ailing) -> None:
    count = stage(rig)
    ailing.write_error = errno.EROFS
    fill(rig, 6, "more")
    rig.run(direction="source")
    assert len(on_one(rig)) == count


def test_a_damaged_file_on_a_read_only_volume_is_fetched_again(rig: Rig, ailing: Ailing) -> None:
    """Each file is hashed before it is sent: a filesystem turns read-only for a reason."""
    stage(rig)
    path = rig.folder / on_one(rig)[0]
    path.write_bytes(b"\xff" * 100)
    ailing.write_error = errno.EROFS
    rig.run()
    rig.assert_delivered()
    assert [word for _key, word in rig.failures()] == ["mismatch"]
    assert rig.source.count("fetch") == COUNT + 1
    ailing.heal()
    rig.run()
    assert rig.files_left() == []


# -- failed -------------------------------------------------------------------------------------------------------


def test_what_cannot_be_read_on_a_failed_volume_is_fetched_again_elsewhere(rig: Rig, ailing: Ailing) -> None:
    count = stage(rig)
    ailing.write_error = ailing.read_error = errno.EIO
    summary = rig.run()
    rig.assert_delivered()
    assert rig.source.count("fetch") == COUNT + count
    assert {word for _key, word in rig.failures()} == {"io"}
    assert summary.failure_count == count
    assert state(rig) == "failed"
    assert len(on_one(rig)) == count, "it cannot be emptied"
    ailing.heal()
    rig.run()
    assert rig.files_left() == []
    assert state(rig) == "in use"


def test_what_can_be_read_on_a_failed_volume_is_delivered(rig: Rig, ailing: Ailing) -> None:
    stage(rig)
    ailing.write_error = errno.EIO
    rig.run()
    rig.assert_delivered()
    assert rig.source.count("fetch") == COUNT
    assert rig.failures() == []


def test_dropped_files_on_a_failed_volume_are_kept_and_said(rig: Rig, ailing: Ailing) -> None:
    drop_on_one(rig)
    stage(rig)
    ailing.write_error = ailing.read_error = errno.EIO
    rig.run()
    assert rig.states()["picture"] == "failed"
    assert ("picture", "io") in rig.failures()
    assert (rig.folder / "one/drop/picture").exists()
    ailing.heal()
    rig.run()
    assert "picture" in rig.destination.objects


def test_a_copy_counts_again_when_its_volume_returns_first(rig: Rig, ailing: Ailing) -> None:
    """No source unit runs meanwhile: the copies are what there is."""
    count = stage(rig)
    ailing.write_error = ailing.read_error = errno.EIO
    running = rig.start(direction="destination", until="forever")
    try:
        wait_until(lambda: list(rig.states().values()).count("pending") == count)
        ailing.heal()
        wait_until(lambda: set(rig.states().values()) == {"released"})
    finally:
        running.stop()
    rig.assert_delivered()
    assert rig.source.count("fetch") == COUNT
    assert rig.files_left() == []


def test_an_object_that_left_the_source_waits_for_its_only_copy(rig: Rig, ailing: Ailing) -> None:
    stage(rig)
    key = Path(on_one(rig)[0]).name.partition("~")[0]
    wanted = rig.source.objects[key].data
    ailing.write_error = ailing.read_error = errno.EIO
    del rig.source.objects[key]
    rig.run()
    assert rig.states()[key] == "failed"
    ledger = rig.ledger
    ((text,),) = list(ledger.database.stream("SELECT last_error FROM objects WHERE key = ?", (key,)))
    ledger.close()
    assert "its only copy is on volume one" in str(text)
    ailing.heal()
    rig.run()
    assert rig.destination.objects[key].data == wanted
    assert rig.files_left() == []


def test_a_new_generation_makes_a_left_copy_obsolete(rig: Rig, ailing: Ailing) -> None:
    stage(rig)
    ailing.write_error = ailing.read_error = errno.EIO
    rig.run(direction="destination", until="once")
    for key in rig.source.objects:
        rig.source.put(key, b"newer")
    ailing.heal()
    rig.run()
    rig.assert_delivered()
    assert rig.files_left() == []


def test_a_volume_that_cannot_even_be_opened_is_not_waited_for(
    rig: Rig, ailing: Ailing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_volume, "UNREADABLE_SECONDS", 0.5)
    drop_on_one(rig)
    count = stage(rig)
    ailing.marker_error = errno.EIO
    running = rig.start(until="forever")
    try:
        wait_until(lambda: set(rig.source.objects) <= set(rig.destination.objects))
        wait_until(lambda: rig.states()["object-0"] == "released")
        assert rig.states()["picture"] == "staged", "nobody can fetch it; it waits for its volume"
        assert state(rig) == "failed"
        ailing.heal()
        wait_until(lambda: "picture" in rig.destination.objects and not rig.staged_files())
    finally:
        running.stop()
    assert rig.source.count("fetch") == COUNT + count
    rig.run()
    assert rig.files_left() == []


def test_a_missing_volume_is_waited_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_volume, "UNREADABLE_SECONDS", 0.0)
    count = stage(rig)
    job = rig.job
    (rig.folder / "one").rename(rig.folder / "elsewhere")
    monkeypatch.setattr(Rig, "job", property(lambda self: job))
    running = rig.start(until="forever")
    try:
        wait_until(lambda: len(rig.destination.objects) == COUNT - count)
        wait_until(lambda: "waiting for a volume" in running.unit("destination").activity.status)
        assert state(rig) == "missing"
        assert list(rig.states().values()).count("staged") == count
        (rig.folder / "elsewhere").rename(rig.folder / "one")
        wait_until(lambda: len(rig.destination.objects) == COUNT)
    finally:
        running.stop()
    assert rig.source.count("fetch") == COUNT
    assert rig.failures() == []


# -- returned -----------------------------------------------------------------------------------------------------


def test_what_lies_on_a_returned_volume_is_hashed_before_it_is_sent(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(rig)
    names = on_one(rig)
    job = rig.job
    (rig.folder / "one").rename(rig.folder / "elsewhere")
    monkeypatch.setattr(Rig, "job", property(lambda self: job))
    rig.run(direction="destination", until="once")
    path = rig.folder / names[0].replace("one/", "elsewhere/", 1)
    status = path.stat()
    path.write_bytes(b"\xff" * status.st_size)
    (rig.folder / "elsewhere").rename(rig.folder / "one")
    rig.run()
    rig.assert_delivered()
    assert [word for _key, word in rig.failures()] == ["mismatch"]
    key = Path(names[0]).name.partition("~")[0]
    assert rig.destination.count("send", key) == 1, "the damaged bytes were never sent"
    assert suspects(rig) == 0


def test_rows_read_before_a_volume_went_are_read_again_when_it_returns(rig: Rig) -> None:
    """They do not know that they are suspect now, and would be sent without being hashed."""
    count = stage(rig)
    job, ledger = rig.job, rig.ledger
    unit = DestinationUnit(job, ledger, Switches(), until="once")
    feeder: Any = unit._feeder
    backlog = feeder._turn._queue.backlog
    unit.volumes.refresh()
    backlog.fill(100)
    assert len(backlog.small) == COUNT
    (rig.folder / "one").rename(rig.folder / "elsewhere")
    unit.volumes.refresh()
    (rig.folder / "elsewhere").rename(rig.folder / "one")
    feeder.housekeeping._volumes.look()
    for _round in range(2):  # the first one only finds the end
        backlog.fill(100)
    assert sum(row.suspect for row in backlog.small) == count
    unit.volumes.close()
    ledger.close()


def test_trouble_is_told_once_and_taken_back(rig: Rig, ailing: Ailing, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(rig)
    told: list[str] = []
    tell = VolumeLedger.set_trouble

    def spy(self: VolumeLedger, volume: int, word: str, reason: str) -> None:
        told.append(word)
        tell(self, volume, word, reason)

    monkeypatch.setattr(VolumeLedger, "set_trouble", spy)
    ledger = rig.ledger
    found = VolumeSet(rig.job, ledger)
    ailing.write_error = errno.EROFS
    for _turn in range(3):
        found.refresh()
    assert told == ["read-only"]
    ailing.write_error = errno.EIO
    found.refresh()
    assert told == ["read-only", "failed"]
    ailing.heal()
    came, _gone = found.refresh()
    assert [volume.name for volume in came] == ["one"]
    assert [volume.trouble for volume in LedgerReader(ledger).volumes()] == ["", ""]
    ailing.write_error = errno.EIO
    assert found.take_out(came[0], "Failed to sync")
    assert told == ["read-only", "failed", "failed"], "a new trouble is told again"
    found.close()
    ledger.close()


def test_an_observer_tells_nothing(rig: Rig, ailing: Ailing) -> None:
    stage(rig)
    ailing.write_error = errno.EIO
    ledger = rig.ledger
    found = VolumeSet(rig.job, ledger, reads=True, tells=False)
    found.refresh()
    assert {volume.name: volume.medium.writable for volume in found.open.values()} == {"one": False, "two": True}
    assert [volume.trouble for volume in LedgerReader(ledger).volumes()] == ["", ""]
    found.close()
    ledger.close()


# -- what is said -------------------------------------------------------------------------------------------------


def test_the_report_says_what_is_unavailable(rig: Rig) -> None:
    count = stage(rig)
    job = rig.job
    (rig.folder / "one").rename(rig.folder / "elsewhere")
    with LedgerReader.open(job.ledger_path) as reader:
        gathered = report.gather(reader)
        path = report.save(job, reader, gathered)
        text = report.render(job, gathered)
    assert '"state": "missing"' in path.read_text() and f'"unavailable_objects": {count}' in path.read_text()
    assert f"{count} staged objects" in text and "unavailable" in text
