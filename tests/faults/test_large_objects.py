# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Large objects over bad links and through kills: they arrive, and hardly a byte of them is carried twice."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from faults.rig import DESTINATION, SOURCE, Rig, kill_group, wait_until
from faults.test_power_cuts import powered

from snowsync.core.parts import read_piece

MIB = 1024 * 1024
PART = 5 * MIB
COUNT = 24
SIZE = COUNT * PART - 12345
RATE = 20 * MIB  # bytes per second of each request: what was cut off had been under way


@pytest.fixture
def large(rig: Rig) -> bytes:
    """One large object at the source, among small ones; both links are slow."""
    data = os.urandom(SIZE)
    rig.source.put(SOURCE, "large", data, part_size=PART)
    for number in range(20):
        rig.source.put(SOURCE, f"small-{number}", os.urandom(1000))
    rig.config["mover"] = {"part_size": "5MiB"}
    rig.source.set_fault("rate", operation="GetObject", key="large", bytes_per_second=RATE)
    rig.destination.set_fault("rate", operation="UploadPart", bytes_per_second=RATE)
    return data


def fetched(rig: Rig) -> int:
    """Bytes of the large object that left the source."""
    return sum(line["bytes_out"] for line in rig.source.log("GetObject", "large"))


def parts_stored(rig: Rig) -> list[int]:
    """The numbers of the parts that the destination acknowledged."""
    return sorted(line["part_number"] for line in rig.destination.log("UploadPart") if line["completed"])


def stage(rig: Rig) -> None:
    code, _summary, errors = rig.run("--direction", "source")
    assert code == 0, errors


def ask(state: Path, sql: str) -> list[Any]:
    """What the ledger in this folder says; nothing while there is none yet."""
    path = state / "ledger.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as ledger, contextlib.suppress(sqlite3.Error):
        return ledger.execute(sql).fetchall()
    return []


def recorded(rig: Rig, hop: str) -> int:
    return len(ask(rig.folder / "state", f"SELECT 1 FROM parts WHERE hop = '{hop}'"))


def test_objects_in_one_part_use_all_streams_of_each_volume(rig: Rig) -> None:
    """One alone would leave three of the four idle, and over a long link a connection is slow."""
    rig.config["mover"] = {"large_object": "1MiB"}
    for number in range(10):
        rig.source.put(SOURCE, f"object-{number}", os.urandom(MIB))
    rig.source.set_fault("stall", operation="GetObject", where="headers")
    process = rig.start("--until-drained")
    wait_until(
        lambda: [len(list(volume.glob(".snowsync/incoming/*/*"))) for volume in rig.volumes] == [4, 4],
        "four fetches at once to each volume",
    )
    kill_group(process)
    rig.source.clear_faults()
    code, _summary, errors = rig.run("--until-drained")
    assert code == 0, errors
    rig.assert_delivered()


def assert_all_is_well(rig: Rig, data: bytes) -> None:
    rig.assert_delivered()
    assert rig.destination.get(DESTINATION, "large") == data
    assert rig.files_left() == []
    assert rig.destination.uploads(DESTINATION) == []
    assert rig.destination.written_again(DESTINATION) == {}
    assert ask(rig.folder / "state", "SELECT * FROM parts") == ask(rig.folder / "state", "SELECT * FROM uploads") == []


# -- links that are cut -------------------------------------------------------------------------------------------


@contextmanager
def cut_again_and_again(store: Any, each: int, direction: str) -> Iterator[list[int]]:
    """Whenever `each` bytes more have been carried, all connections end, and nobody answers for a second."""
    ended, cuts = threading.Event(), []

    def carried() -> int:
        return int(store.counters()[direction])

    def work() -> None:
        following = carried() + each
        while not ended.wait(0.02):
            if carried() >= following:
                cuts.append(carried())
                store.listener("refuse", 1.0)
                following = carried() + each

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield cuts
    finally:
        ended.set()
        thread.join()


def test_a_link_that_is_cut_again_and_again_while_it_is_fetched(rig: Rig, large: bytes) -> None:
    """No stretch between two cuts is long enough for half of the object."""
    with cut_again_and_again(rig.source, SIZE // 12, "bytes_out") as cuts:
        code, summary, errors = rig.run()
    assert code == 0, errors
    assert summary["failure_count"] == 0
    assert len(cuts) >= 3
    assert fetched(rig) <= 1.1 * SIZE
    assert_all_is_well(rig, large)


@pytest.mark.parametrize("lists_parts", [True, False])
def test_a_link_that_is_cut_again_and_again_while_it_is_sent(rig: Rig, large: bytes, lists_parts: bool) -> None:
    rig.destination.set_switches(list_parts=lists_parts)
    stage(rig)
    with cut_again_and_again(rig.destination, SIZE // 12, "bytes_in") as cuts:
        code, summary, errors = rig.run()
    assert code == 0, errors
    assert summary["failure_count"] == 0
    assert len(cuts) >= 3
    # One whose answer was cut off is sent again where the store cannot be asked for it.
    assert len(parts_stored(rig)) <= 1.1 * COUNT
    assert rig.destination.count("CreateMultipartUpload") == 1
    assert_all_is_well(rig, large)


def test_outages_between_parts_that_arrive_are_nobodys_fault(rig: Rig, large: bytes) -> None:
    """More outages than an object may meet in a row: as long as parts arrive, it is not to blame."""
    rig.source.clear_faults()
    # Each life of a connection brings one range, and then there is an outage that outlasts the mover's retries.
    rig.config["mover"] = {"part_size": "5MiB", "retries": 0, "part_concurrency": 1}
    rig.config["attempts"] = 1
    for number in range(2, 2 * 25, 2):
        rig.source.set_fault("status", operation="GetObject", key="large", nth=number)
    code, summary, errors = rig.run("--timeout", "110", timeout=150)
    assert code == 0, errors
    assert summary["failure_count"] == 0
    assert fetched(rig) <= 1.1 * SIZE
    assert_all_is_well(rig, large)


# -- kills --------------------------------------------------------------------------------------------------------


def test_kills_while_it_is_fetched(rig: Rig, large: bytes) -> None:
    for wanted in (5, 10, 15):
        process = rig.start("--until-drained")
        wait_until(lambda wanted=wanted: recorded(rig, "source") >= wanted, "some ranges")
        kill_group(process)
    rig.source.clear_faults()
    code, summary, errors = rig.run()
    assert code == 0, errors
    assert summary["failure_count"] == 0
    assert fetched(rig) <= SIZE + 3 * 4 * PART, "a kill costs what was under way"
    assert_all_is_well(rig, large)


def test_kills_while_it_is_sent(rig: Rig, large: bytes) -> None:
    stage(rig)
    for wanted in (5, 10, 15):
        process = rig.start("--until-drained")
        wait_until(lambda wanted=wanted: recorded(rig, "destination") >= wanted, "some parts")
        kill_group(process)
    code, summary, errors = rig.run()
    assert code == 0, errors
    assert summary["failure_count"] == 0
    assert len(parts_stored(rig)) == COUNT, "the store tells which parts it has, also those whose answer nobody saw"
    assert rig.destination.count("CreateMultipartUpload") == 1
    assert_all_is_well(rig, large)


def partial_file(rig: Rig) -> Path:
    (found,) = [path for volume in rig.volumes for path in (volume / ".snowsync" / "incoming").rglob("*")
                if path.is_file() and path.stat().st_size > MIB]  # fmt: skip
    return found


def fetch_a_part(rig: Rig, ranges: int = 8) -> None:
    process = rig.start("--until-drained")
    wait_until(lambda: recorded(rig, "source") >= ranges, "some ranges")
    kill_group(process)


def test_a_partial_file_that_rotted_is_fetched_again_where_it_did(rig: Rig, large: bytes) -> None:
    fetch_a_part(rig)
    (start,) = ask(rig.folder / "state", "SELECT MIN(start) FROM parts")[0]
    with open(partial_file(rig), "r+b") as file:
        file.seek(start + 1000)
        file.write(bytes([large[start + 1000] ^ 1]))
    code, summary, errors = rig.run()
    assert code == 0, errors
    assert summary["failure_count"] == 0
    assert "differ from what was fetched" in errors
    assert fetched(rig) <= SIZE + 5 * PART
    assert_all_is_well(rig, large)


def test_a_volume_that_is_gone_costs_what_lay_there(rig: Rig, large: bytes) -> None:
    """The rest of the object does not wait for it, and the partial file goes when it is back."""
    fetch_a_part(rig)
    home = next(volume for volume in rig.volumes if volume in partial_file(rig).parents)
    aside = home.with_name("aside")
    home.rename(aside)
    code, _summary, errors = rig.run("--direction", "source")
    assert code == 0, errors
    aside.rename(home)
    code, _summary, errors = rig.run()
    assert code == 0, errors
    assert_all_is_well(rig, large)


def test_an_object_that_changed_while_it_was_fetched_leaves_nothing(rig: Rig, large: bytes) -> None:
    fetch_a_part(rig)
    data = os.urandom(SIZE - 1)
    rig.source.put(SOURCE, "large", data, part_size=PART)
    code, _summary, errors = rig.run()
    assert code == 0, errors
    assert_all_is_well(rig, data)


def test_an_object_that_left_while_it_was_fetched_leaves_no_partial_file(rig: Rig, large: bytes) -> None:
    fetch_a_part(rig)
    rig.source.delete(SOURCE, "large")
    rig.run("--timeout", "60")
    assert rig.files_left() == []
    assert ask(rig.folder / "state", "SELECT * FROM parts") == []


def test_an_upload_of_an_object_that_was_delivered_otherwise_is_aborted(rig: Rig, large: bytes) -> None:
    """Somebody else brought it there while the job was down: the upload is found again, from the ledger."""
    stage(rig)
    process = rig.start("--until-drained")
    wait_until(lambda: recorded(rig, "destination") >= 4, "some parts")
    kill_group(process)
    rig.destination.put(DESTINATION, "large", large, part_size=PART)
    code, _summary, errors = rig.run()
    assert code == 0, errors
    code, _summary, errors = rig.run()
    assert code == 0, errors
    assert_all_is_well(rig, large)


# -- power cuts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_what_was_recorded_of_a_partial_file_is_there_after_a_power_cut(rig: Rig, kind: str) -> None:
    data = os.urandom(8 * PART + 99)
    with powered(rig, kind) as machine:
        rig.config["mover"] = {"part_size": "5MiB"}
        rig.source.put(SOURCE, "large", data, part_size=PART)
        rig.source.set_fault("rate", operation="GetObject", key="large", bytes_per_second=RATE // 5)
        machine.process = machine.start()
        state = machine.mounts["state"] / "job"
        wait_until(lambda: sum(length for (length,) in ask(state, "SELECT length FROM parts")) >= 2 * PART, "ranges")
        machine.lose_power(keep=0.0, seed=1)
        pieces = [
            found
            for start, length, text in ask(state, "SELECT start, length, digests FROM parts")
            if (found := read_piece(start, length, text))
        ]
        assert sum(piece.length for piece in pieces) >= 2 * PART
        content = partial_file(rig).read_bytes()
        assert [content[piece.start : piece.end] == data[piece.start : piece.end] for piece in pieces].count(False) == 0
        rig.source.clear_faults()
        machine.finish()
        assert fetched(rig) <= len(data) + 4 * PART
        rig.assert_delivered()
        assert rig.files_left() == []


# -- what the store says ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [{"action": "cut"}, {"action": "status", "status": 500, "code": "InternalError"}])
def test_a_complete_whose_answer_is_lost(rig: Rig, large: bytes, action: dict[str, Any]) -> None:
    rig.destination.set_fault(operation="CompleteMultipartUpload", done=True, count=1, **action)
    code, summary, errors = rig.run()
    assert code == 0, errors
    assert summary["failure_count"] == 0
    assert parts_stored(rig) == list(range(1, COUNT + 1))
    assert_all_is_well(rig, large)


@pytest.mark.parametrize("action", [{"action": "cut"}, {"action": "status", "status": 500, "code": "InternalError"}])
def test_an_upload_whose_id_nobody_heard_is_found_again(rig: Rig, large: bytes, action: dict[str, Any]) -> None:
    rig.destination.set_fault(operation="CreateMultipartUpload", done=True, count=1, **action)
    code, summary, errors = rig.run()
    assert code == 0, errors
    assert summary["failure_count"] == 0
    assert rig.destination.count("CreateMultipartUpload") == 2
    assert_all_is_well(rig, large)


def test_an_upload_that_somebody_aborted_is_begun_anew(rig: Rig, large: bytes) -> None:
    stage(rig)
    process = rig.start("--until-drained")
    wait_until(lambda: recorded(rig, "destination") >= 4, "some parts")
    kill_group(process)
    (upload,) = rig.destination.uploads(DESTINATION)
    rig.destination.server.store.storage.abort_upload(DESTINATION, "large", upload["upload_id"])  # type: ignore[attr-defined]
    code, summary, errors = rig.run()
    assert code == 0, errors
    assert summary["failure_count"] == 0
    assert_all_is_well(rig, large)


@pytest.mark.parametrize("tool", ["native", "s5cmd"])
@pytest.mark.parametrize("part_size", [0, PART])
def test_a_staged_file_that_rotted_is_never_published(rig: Rig, tool: str, part_size: int) -> None:
    """Over a good older version, with the source gone; also where the store does not look at Content-MD5."""
    rig.config["mover"] = {"tool": tool, "part_size": "5MiB"}
    rig.destination.set_switches(content_md5=False)
    old, new = os.urandom(3 * PART), os.urandom(3 * PART)
    rig.source.put(SOURCE, "dump", old, part_size=part_size)
    code, _summary, errors = rig.run()
    assert code == 0, errors
    rig.source.put(SOURCE, "dump", new, part_size=part_size)
    stage(rig)
    (staged,) = [path for volume in rig.volumes for path in (volume / ".snowsync" / "staged").rglob("dump*")]
    with open(staged, "r+b") as file:
        file.seek(2 * PART)
        file.write(bytes([new[2 * PART] ^ 1]))
    rig.source.delete(SOURCE, "dump")
    before = rig.destination.count("UploadPart")
    rig.run("--timeout", "60")
    sent = [line["part_number"] for line in rig.destination.log("UploadPart")[before:] if line["completed"]]
    assert 3 not in sent, "the part that rotted does not even reach the store"
    (told,) = [failure for failure in rig.failures() if failure["trouble"] == "mismatch"]
    assert told["action"] == "quarantined and fetched again"
    assert told["message"].startswith("the staged file no longer has its digest")
    assert rig.destination.get(DESTINATION, "dump") == old
    assert len(rig.destination.writes(DESTINATION)["dump"]) == 1
    assert rig.destination.uploads(DESTINATION) == []
