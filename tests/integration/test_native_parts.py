# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The native mover with a memory: what was carried of a large object is not carried again, if it still is right."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from simulators.s3_store import start

from snowsync.config import credentials
from snowsync.config.job_file import MoverSettings, Store
from snowsync.core import etag
from snowsync.core.errors import Trouble
from snowsync.core.model import MIB, Fetch, Outcome, Send
from snowsync.hops.part_memory import PartKeeper
from snowsync.ledger.ledger import Ledger
from snowsync.movers.native.native_mover import NativeMover
from snowsync.movers.native.requests import Bucket

BUCKET, KEY = "bucket", "large"
PART = 5 * MIB
TAIL = 12345  # so short a part is read only once, since it is kept in memory
SIZE = 8 * PART + TAIL
COUNT = 9
# One stream: what was carried before an interruption is known to the part.
SETTINGS: dict[str, Any] = {
    "large_object": 6 * MIB,
    "part_size": PART,
    "part_concurrency": 1,
    "large_workers": 1,
    "retries": 0,
    "stall_seconds": 5.0,
}
GENERATION, VOLUME = 3, 7


class Life:
    """A process's life: a mover and its memory, over a ledger and a folder that outlive it."""

    def __init__(self, folder: Path, server: Any, direction: str, **settings: Any) -> None:
        self.ledger = Ledger(folder / "ledger.db")
        self.path = folder / "1"
        given = server.job_side(BUCKET, server.credentials_file(folder / "credentials"), **settings.pop("store", {}))
        store = Store(**{name: value for name, value in given.items() if name != "credentials_file"})
        self._outcomes: list[Outcome] = []
        self._told = threading.Condition()
        self.keeper = PartKeeper(self.ledger.parts)
        self.mover = NativeMover(
            store,
            server.url,
            credentials.load(folder / "credentials"),
            MoverSettings(**(SETTINGS | settings)),
            direction=direction,
            on_outcome=self._receive,
            memory=self.keeper,
        )

    def _receive(self, outcome: Outcome) -> None:
        with self._told:
            self._outcomes.append(outcome)
            self._told.notify_all()

    def carry(self, work: Fetch | Send) -> Outcome:
        self.mover.submit(work)
        with self._told:
            assert self._told.wait_for(lambda: self._outcomes, 60)
            (outcome,) = self._outcomes
            self._outcomes = []
            return outcome

    def fetch(self, listed: str, size: int = SIZE, generation: int = GENERATION) -> Outcome:
        return self.carry(Fetch(1, KEY, size, str(self.path), listed, generation, VOLUME))

    def send(self, digest: str, generation: int = GENERATION, part_size: int = PART, part_md5s: bytes = b"") -> Outcome:
        size = self.path.stat().st_size
        work = Send(1, KEY, size, str(self.path), part_size, "", "", digest, generation, part_md5s=part_md5s)
        return self.carry(work)

    def end(self) -> None:
        self.mover.close()
        self.ledger.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    with start(tmp_path / "store", buckets=(BUCKET,)) as running:
        yield running


@pytest.fixture
def life(tmp_path: Path, server: Any) -> Iterator[Callable[..., Life]]:
    """Begins lives: `life("fetch", **mover_settings)`; the one before ends, as by a kill: nobody is told anything."""
    made: list[Life] = []
    folder = tmp_path / "host"
    folder.mkdir()
    with Ledger(folder / "ledger.db").database.transaction() as db:
        db.execute(
            "INSERT INTO objects (id, key, size, etag, modified_ms, generation, listed_ms)"
            " VALUES (1, ?, ?, '', 0, ?, 0)",
            (KEY, SIZE, GENERATION),
        )

    def begin(direction: str, **settings: Any) -> Life:
        if made:
            made[-1].end()
        made.append(Life(folder, server, direction, **settings))
        return made[-1]

    yield begin
    made[-1].end()


def carried(server: Any, operation: str) -> int:
    """Bytes of the bodies of these requests; of a part that was refused before it was read, none."""
    name = "bytes_out" if operation == "GetObject" else "bytes_in"
    return sum(line[name] for line in server.log(operation))


def put_large(server: Any, part_size: int = PART, size: int = SIZE) -> tuple[bytes, str]:
    data = os.urandom(size)
    return data, server.put(BUCKET, KEY, data, part_size=part_size).strip('"')


def md5s_of(data: bytes) -> bytes:
    """Of its parts."""
    return b"".join(hashlib.md5(data[start : start + PART]).digest() for start in range(0, len(data), PART))


# -- fetching -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part_size", [0, PART], ids=["in one part", "in parts"])
@pytest.mark.parametrize("cut", [1, 3, COUNT])
def test_another_life_fetches_only_what_is_missing(
    server: Any, life: Callable[..., Life], part_size: int, cut: int
) -> None:
    data, stored = put_large(server, part_size)
    server.set_fault("cut", operation="GetObject", nth=cut, after=5000)
    assert life("fetch").fetch(stored).trouble is Trouble.BROKEN
    server.clear_faults()
    second = life("fetch")
    outcome = second.fetch(stored)
    assert outcome.ok, outcome
    assert second.path.read_bytes() == data
    assert carried(server, "GetObject") <= SIZE + MIB // 2
    if part_size:
        assert outcome.received and outcome.received.etag == stored, "proven by recorded and new digests together"
        assert outcome.received.part_md5s == md5s_of(data)


def test_the_same_life_goes_on_without_reading_the_file(server: Any, life: Callable[..., Life]) -> None:
    """What it hashed itself it knows; the final proof is of the whole object all the same."""
    data, stored = put_large(server)
    server.set_fault("status", operation="GetObject", nth=5)
    only = life("fetch")
    assert only.fetch(stored).trouble is Trouble.THROTTLED
    outcome = only.fetch(stored)
    assert outcome.received and outcome.received.etag == stored
    assert only.path.read_bytes() == data
    assert server.count("GetObject") == COUNT + 1


def test_a_request_that_breaks_again_and_again_goes_on_where_it_ended(server: Any, life: Callable[..., Life]) -> None:
    """A range takes longer than the time between two breaks: each attempt that brings something is not counted."""
    data, stored = put_large(server, part_size=SIZE + MIB)
    server.set_fault("cut", operation="GetObject", after=3 * MIB)
    only = life("fetch", part_size=SIZE, retries=1)
    outcome = only.fetch(stored)
    assert outcome.ok, outcome
    assert only.path.read_bytes() == data
    assert carried(server, "GetObject") == SIZE


def test_all_was_there_already(server: Any, life: Callable[..., Life]) -> None:
    """Killed between the last range and the proof: nothing is fetched, and the store is asked what the object is."""
    data, stored = put_large(server)
    assert life("fetch").fetch(stored).ok
    asked = server.count("GetObject")
    second = life("fetch")
    outcome = second.fetch(stored)
    assert outcome.ok and outcome.received is None
    assert second.path.read_bytes() == data
    assert server.count("GetObject") == asked


@pytest.mark.parametrize("spoil", ["flip", "truncate", "remove", "zero"])
def test_a_recorded_range_that_changed_on_disk_is_fetched_again(
    server: Any, life: Callable[..., Life], spoil: str
) -> None:
    data, stored = put_large(server)
    server.set_fault("status", operation="GetObject", nth=7)
    first = life("fetch")
    assert not first.fetch(stored).ok
    if spoil == "remove":
        first.path.unlink()
    elif spoil == "truncate":
        os.truncate(first.path, 4 * PART + 1)
    else:
        with open(first.path, "r+b") as file:
            file.seek(2 * PART + 99)
            file.write(bytes([data[2 * PART + 99] ^ 1]) if spoil == "flip" else bytes(100))
    server.clear_faults()
    server.clear_log()
    second = life("fetch")
    outcome = second.fetch(stored)
    assert outcome.received and outcome.received.etag == stored
    assert second.path.read_bytes() == data
    again = {"flip": 1, "zero": 1, "truncate": 2, "remove": 6}[spoil]
    assert server.count("GetObject") == COUNT - 6 + again


def test_ranges_that_were_cut_otherwise_are_used(server: Any, life: Callable[..., Life]) -> None:
    data, stored = put_large(server)
    server.set_fault("status", operation="GetObject", nth=4)
    assert not life("fetch").fetch(stored).ok
    server.clear_faults()
    second = life("fetch", part_size=2 * PART)
    outcome = second.fetch(stored)
    assert outcome.received and outcome.received.etag == stored
    assert second.path.read_bytes() == data
    assert carried(server, "GetObject") <= SIZE + 1000


def test_another_generation_begins_with_nothing(server: Any, life: Callable[..., Life]) -> None:
    _, stored = put_large(server)
    server.set_fault("status", operation="GetObject", nth=4)
    assert not life("fetch").fetch(stored).ok
    server.clear_faults()
    data, stored = put_large(server, size=SIZE - 7)
    second = life("fetch")
    assert second.fetch(stored, SIZE - 7, GENERATION + 1).ok
    assert second.path.read_bytes() == data
    assert second.ledger.parts.pieces(1, GENERATION, VOLUME) == []


def test_an_object_without_a_listed_etag_is_not_remembered(server: Any, life: Callable[..., Life]) -> None:
    """Nothing pins the ranges of another attempt to the same object."""
    put_large(server)
    server.set_fault("status", operation="GetObject", nth=4)
    first = life("fetch")
    assert not first.fetch("").ok
    assert first.ledger.parts.pieces(1, GENERATION, VOLUME) == []
    data, _ = put_large(server)
    assert first.fetch("").ok
    assert first.path.read_bytes() == data


def test_a_store_that_forgot_ranges_gives_the_object_in_one(server: Any, life: Callable[..., Life]) -> None:
    data, stored = put_large(server)
    server.set_fault("status", operation="GetObject", nth=4)
    assert not life("fetch").fetch(stored).ok
    server.clear_faults()
    server.set_switches(range=False)
    second = life("fetch")
    outcome = second.fetch(stored)
    assert outcome.received and outcome.received.etag == stored
    assert second.path.read_bytes() == data


def test_closing_keeps_what_came(server: Any, life: Callable[..., Life]) -> None:
    data, stored = put_large(server)
    server.set_fault("stall", operation="GetObject", nth=4)
    first = life("fetch")
    first.mover.submit(Fetch(1, KEY, SIZE, str(first.path), stored, GENERATION, VOLUME))
    while server.count("GetObject") < 3 or len(first.keeper.fetched(_fetch(first, stored))) < 3:
        assert not first._outcomes
        threading.Event().wait(0.01)
    server.clear_faults()
    second = life("fetch")
    assert second.fetch(stored).ok
    assert second.path.read_bytes() == data
    assert carried(server, "GetObject") <= SIZE


def _fetch(life: Life, stored: str) -> Fetch:
    return Fetch(1, KEY, SIZE, str(life.path), stored, GENERATION, VOLUME)


# -- sending --------------------------------------------------------------------------------------------------------


def staged(folder: Life, size: int = SIZE, part_size: int = PART) -> tuple[bytes, str]:
    data = os.urandom(size)
    folder.path.write_bytes(data)
    return data, etag.file_etag(folder.path, part_size)


@pytest.fixture(params=["lists parts", "lists no parts"])
def any_server(server: Any, request: pytest.FixtureRequest) -> Any:
    server.set_switches(list_parts=request.param == "lists parts")
    return server


@pytest.mark.parametrize("action", [{"action": "status"}, {"action": "cut"}, {"action": "status", "status": 403}])
def test_another_life_continues_the_upload(any_server: Any, life: Callable[..., Life], action: dict[str, Any]) -> None:
    first = life("send")
    data, digest = staged(first)
    any_server.set_fault(operation="UploadPart", first=6, **action)
    assert not first.send(digest).ok
    (upload,) = any_server.uploads(BUCKET)
    assert upload["parts"] == 5
    any_server.clear_faults()
    assert life("send").send(digest).ok
    assert any_server.get(BUCKET, KEY) == data
    assert any_server.list(BUCKET)[KEY].strip('"') == digest
    sent = [line["part_number"] for line in any_server.log("UploadPart") if line["status"] == 200]
    assert sorted(sent) == list(range(1, COUNT + 1)), "no part was sent twice"
    assert any_server.count("CreateMultipartUpload") == 1
    assert any_server.uploads(BUCKET) == []
    left = life("send").ledger.parts
    assert left.uploads(1) == left.sent_parts(1, GENERATION) == []


def test_a_part_that_the_store_has_and_nobody_recorded_is_compared(server: Any, life: Callable[..., Life]) -> None:
    """Killed between the answer and the record: the ETag that ListParts tells is the MD5 of the file's own part."""
    first = life("send")
    data, digest = staged(first)
    server.set_fault("status", operation="UploadPart", first=6)
    assert not first.send(digest).ok
    server.clear_faults()
    with first.ledger.database.transaction() as db:
        db.execute("DELETE FROM parts WHERE start IN (2, 4)")
    assert life("send").send(digest).ok
    assert server.get(BUCKET, KEY) == data
    assert server.count("UploadPart") == COUNT + 1


def test_a_part_that_the_store_holds_otherwise_is_sent_again(server: Any, life: Callable[..., Life]) -> None:
    first = life("send")
    data, digest = staged(first)
    server.set_fault("store_wrong", operation="UploadPart", nth=3, kind="flip", offset=9)
    outcome = first.send(digest)
    assert outcome.trouble is Trouble.MISMATCH
    assert "part 3" in outcome.message and hashlib.md5(data[2 * PART : 3 * PART]).hexdigest() in outcome.message
    assert life("send").send(digest).ok
    assert server.get(BUCKET, KEY) == data
    assert server.count("CreateMultipartUpload") == 1


@pytest.mark.parametrize("when", ["between", "under way"])
def test_an_upload_that_is_gone_is_begun_anew(server: Any, life: Callable[..., Life], when: str) -> None:
    first = life("send")
    data, digest = staged(first)
    server.set_fault("status", operation="UploadPart", first=6)
    assert not first.send(digest).ok
    server.clear_faults()
    (upload,) = server.uploads(BUCKET)
    if when == "between":
        server.server.store.storage.abort_upload(BUCKET, KEY, upload["upload_id"])
    else:
        server.set_fault("status", operation="UploadPart", status=404, code="NoSuchUpload", count=1)
    assert life("send").send(digest).ok
    assert server.get(BUCKET, KEY) == data
    assert server.count("CreateMultipartUpload") == 2


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("action", [{"action": "cut"}, {"action": "status", "status": 500, "code": "InternalError"}])
def test_a_complete_whose_answer_is_lost_is_looked_for(
    any_server: Any, life: Callable[..., Life], action: dict[str, Any], retries: int
) -> None:
    only = life("send", retries=retries)
    data, digest = staged(only)
    any_server.set_fault(operation="CompleteMultipartUpload", done=True, count=1, **action)
    assert only.send(digest).ok
    assert any_server.get(BUCKET, KEY) == data
    assert len(any_server.writes(BUCKET)[KEY]) == 1
    assert any_server.count("UploadPart") == COUNT
    assert only.ledger.parts.uploads(1) == []


def test_a_complete_whose_answer_and_look_are_lost_is_looked_for_by_the_next_life(
    any_server: Any, life: Callable[..., Life]
) -> None:
    first = life("send")
    data, digest = staged(first)
    any_server.set_fault("cut", operation="CompleteMultipartUpload", done=True, count=1)
    any_server.set_fault("status", operation="HeadObject", count=1)
    assert first.send(digest).trouble is Trouble.THROTTLED
    assert life("send").send(digest).ok
    assert any_server.get(BUCKET, KEY) == data
    assert len(any_server.writes(BUCKET)[KEY]) == 1
    assert any_server.count("UploadPart") == COUNT


def test_a_complete_that_did_nothing_is_asked_for_again(server: Any, life: Callable[..., Life]) -> None:
    first = life("send")
    data, digest = staged(first)
    server.set_fault("status", operation="CompleteMultipartUpload", status=200, code="InternalError", count=1)
    assert first.send(digest).trouble is Trouble.SERVER
    assert life("send").send(digest).ok
    assert server.get(BUCKET, KEY) == data
    assert server.count("UploadPart") == COUNT


def test_the_upload_of_an_older_generation_is_aborted(server: Any, life: Callable[..., Life]) -> None:
    first = life("send")
    _, digest = staged(first)
    server.set_fault("status", operation="UploadPart", first=6)
    assert not first.send(digest).ok
    server.clear_faults()
    second = life("send")
    data, digest = staged(second)
    assert second.send(digest, GENERATION + 1).ok
    assert server.get(BUCKET, KEY) == data
    assert server.uploads(BUCKET) == []
    assert second.ledger.parts.uploads(1) == []


@pytest.mark.parametrize("part_size", [0, PART])
def test_rotten_bytes_are_never_stored(server: Any, life: Callable[..., Life], part_size: int) -> None:
    """Also where the store does not look at Content-MD5."""
    server.set_switches(content_md5=False)
    server.put(BUCKET, KEY, b"the good older version")
    only = life("send")
    data, digest = staged(only, part_size=part_size)
    with open(only.path, "r+b") as file:
        file.seek(6 * PART)
        file.write(bytes([data[6 * PART] ^ 1]))
    size = len(data)
    md5 = "" if part_size else digest
    outcome = only.carry(Send(1, KEY, size, str(only.path), part_size, "", md5, digest, GENERATION))
    assert outcome.trouble is Trouble.MISMATCH
    assert digest in outcome.message and "damaged on its volume" in outcome.message
    assert server.get(BUCKET, KEY) == b"the good older version"
    assert server.uploads(BUCKET) == []
    assert only.ledger.parts.uploads(1) == []


def flip(path: Path, data: bytes, position: int) -> None:
    with open(path, "r+b") as file:
        file.seek(position)
        file.write(bytes([data[position] ^ 1]))


@pytest.mark.parametrize("checks", [True, False], ids=["checks Content-MD5", "does not"])
@pytest.mark.parametrize("position", [2 * PART, 3 * PART - 1, SIZE - 1])
def test_a_rotten_part_with_a_known_MD5_ends_the_upload(
    server: Any, life: Callable[..., Life], checks: bool, position: int
) -> None:
    """It is noticed here before its last byte is sent: whether the store would have noticed makes no difference."""
    server.set_switches(content_md5=checks)
    server.put(BUCKET, KEY, b"the good older version")
    server.clear_log()
    only = life("send", retries=2)
    data, digest = staged(only)
    flip(only.path, data, position)
    outcome = only.send(digest, part_md5s=md5s_of(data))
    part = position // PART + 1
    assert outcome.trouble is Trouble.MISMATCH
    assert f"part {part} of the file has the digest" in outcome.message and "damaged on its volume" in outcome.message
    assert hashlib.md5(data[(part - 1) * PART : part * PART]).hexdigest() in outcome.message, "what it should have"
    stored = [line["part_number"] for line in server.log("UploadPart") if line["completed"] and line["status"] == 200]
    assert stored == list(range(1, part)), "neither it nor any later part"
    assert server.count("UploadPart") <= part, "and it was not tried again"
    assert server.get(BUCKET, KEY) == b"the good older version"
    assert server.uploads(BUCKET) == []
    assert only.ledger.parts.uploads(1) == []


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each read of the file that is sent."""
    sizes: list[int] = []
    real = os.pread

    def pread(descriptor: int, size: int, start: int) -> bytes:
        piece = real(descriptor, size, start)
        sizes.append(len(piece))
        return piece

    monkeypatch.setattr(os, "pread", pread)
    return sizes


@pytest.mark.parametrize("is_known", [True, False], ids=["MD5s known", "unknown"])
@pytest.mark.parametrize("is_private", [True, False], ids=["https", "http"])
def test_how_often_the_file_is_read(
    server: Any,
    life: Callable[..., Life],
    read: list[int],
    monkeypatch: pytest.MonkeyPatch,
    is_known: bool,
    is_private: bool,
) -> None:
    """To send it, over http to sign it before that, and for its MD5s if they are not known: over http in one read."""
    monkeypatch.setattr(Bucket, "is_private", is_private)
    only = life("send")
    data, digest = staged(only)
    assert only.send(digest, part_md5s=md5s_of(data) if is_known else b"").ok
    assert sum(read) == SIZE + (0 if is_known and is_private else SIZE - TAIL if is_known else SIZE)
    assert server.get(BUCKET, KEY) == data
    assert server.list(BUCKET)[KEY].strip('"') == digest
    wanted = {base64.b64encode(hashlib.md5(data[at : at + PART]).digest()).decode() for at in range(0, SIZE, PART)}
    assert {line["content_md5"] for line in server.log("UploadPart")} == wanted


@pytest.mark.parametrize("wrong", ["of other bytes", "of another part size", "cut off"])
def test_MD5s_that_contradict_the_digest_do_not_count(
    server: Any, life: Callable[..., Life], read: list[int], wrong: str
) -> None:
    only = life("send")
    data, digest = staged(only)
    kept = md5s_of(data)
    md5s = {"of other bytes": md5s_of(data[::-1]), "of another part size": kept[:32], "cut off": kept[:-1]}[wrong]
    assert only.send(digest, part_md5s=md5s).ok
    assert server.get(BUCKET, KEY) == data
    assert sum(read) == 2 * SIZE


def test_a_part_that_the_store_refuses_as_damaged_in_transit_is_no_rot(server: Any, life: Callable[..., Life]) -> None:
    """The upload stays, and the next attempt sends what is missing."""
    first = life("send")
    data, digest = staged(first)
    server.set_fault("status", operation="UploadPart", status=400, code="BadDigest", nth=3)
    outcome = first.send(digest, part_md5s=md5s_of(data))
    assert not outcome.ok and "damaged on its volume" not in outcome.message
    server.clear_faults()
    assert life("send").send(digest, part_md5s=md5s_of(data)).ok
    assert server.get(BUCKET, KEY) == data


def test_an_upload_with_known_MD5s_is_continued_without_a_read_of_what_is_there(
    any_server: Any, life: Callable[..., Life], read: list[int]
) -> None:
    first = life("send")
    data, digest = staged(first)
    any_server.set_fault("status", operation="UploadPart", first=6)
    assert not first.send(digest, part_md5s=md5s_of(data)).ok
    any_server.clear_faults()
    with first.ledger.database.transaction() as db:
        db.execute("DELETE FROM parts WHERE start IN (2, 4)")
    read.clear()
    assert life("send").send(digest, part_md5s=md5s_of(data)).ok
    assert any_server.get(BUCKET, KEY) == data
    lists = any_server.count("ListParts") > 0 and any_server.server.store.switches.list_parts
    missing = SIZE - 5 * PART + (0 if lists else 2 * PART)
    assert sum(read) == 2 * missing - TAIL, "what is sent is read to be signed, over http, and to be sent"


def test_an_upload_of_a_file_that_was_rotten_then_is_completed_with_the_right_part(
    server: Any, life: Callable[..., Life]
) -> None:
    """An attempt that did not know the MD5s sent a rotten part, and was cut off; then the object was fetched again."""
    first = life("send")
    data, digest = staged(first)
    flip(first.path, data, 2 * PART)
    server.set_fault("status", operation="UploadPart", first=6)
    assert not first.send(digest).ok
    server.clear_faults()
    first.path.write_bytes(data)
    assert life("send").send(digest, part_md5s=md5s_of(data)).ok
    assert server.get(BUCKET, KEY) == data
    again = [line["part_number"] for line in server.log("UploadPart") if line["status"] == 200]
    assert sorted(again) == sorted([*range(1, COUNT + 1), 3])
    assert server.count("CreateMultipartUpload") == 1


@pytest.mark.parametrize("size", [1, MIB, MIB + 1, 5 * MIB])
def test_rotten_small_objects_are_never_stored(server: Any, life: Callable[..., Life], size: int) -> None:
    server.set_switches(content_md5=False)
    only = life("send")
    data, digest = staged(only, size, 0)
    only.path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    outcome = only.carry(Send(1, KEY, size, str(only.path), 0, "", digest, digest, GENERATION))
    assert outcome.trouble is Trouble.MISMATCH, outcome
    assert server.list(BUCKET) == {}


def test_a_file_that_rotted_between_two_lives_is_not_completed(server: Any, life: Callable[..., Life]) -> None:
    first = life("send")
    data, digest = staged(first)
    server.set_fault("status", operation="UploadPart", first=6)
    assert not first.send(digest).ok
    server.clear_faults()
    with open(first.path, "r+b") as file:
        file.seek(7 * PART)
        file.write(bytes([data[7 * PART] ^ 1]))
    assert life("send").send(digest).trouble is Trouble.MISMATCH
    assert server.list(BUCKET) == {}
    assert server.uploads(BUCKET) == []


@pytest.mark.parametrize("kind", ["opaque", "kms"])
def test_etags_that_say_nothing_are_no_failure(any_server: Any, life: Callable[..., Life], kind: str) -> None:
    any_server.set_switches(etag=kind)
    first = life("send")
    data, digest = staged(first)
    any_server.set_fault("status", operation="UploadPart", first=6)
    assert not first.send(digest).ok
    any_server.clear_faults()
    assert life("send").send(digest).ok
    assert any_server.get(BUCKET, KEY) == data
    assert any_server.count("UploadPart") == COUNT + 1


def test_many_parts_are_listed_page_by_page(server: Any, life: Callable[..., Life]) -> None:
    server.set_switches(min_part_size=0)
    first = life("send", part_size=PART)
    data, digest = staged(first, 7 * MIB, 4096)
    server.set_fault("status", operation="UploadPart", first=1501)
    assert not first.send(digest, part_size=4096).ok
    server.clear_faults()
    with first.ledger.database.transaction() as db:
        db.execute("DELETE FROM parts")
    assert life("send").send(digest, part_size=4096).ok
    assert server.get(BUCKET, KEY) == data
    assert server.count("ListParts") == 2
    assert server.count("UploadPart") == 7 * 256 + 1


@pytest.mark.parametrize(("size", "part_size"), [(0, 0), (1, 0), (MIB + 1, 0), (7 * MIB, 0), (7 * MIB, PART)])
def test_every_body_carries_its_md5(server: Any, life: Callable[..., Life], size: int, part_size: int) -> None:
    only = life("send")
    data, digest = staged(only, size, part_size)
    md5 = "" if part_size or not size else digest
    assert only.carry(Send(1, KEY, size, str(only.path), part_size, "", md5, digest, GENERATION)).ok
    assert server.get(BUCKET, KEY) == data
    bodies = [data[at : at + (part_size or size or 1)] for at in range(0, size or 1, part_size or size or 1)]
    wanted = {base64.b64encode(hashlib.md5(body).digest()).decode() for body in bodies}
    assert {line["content_md5"] for line in server.log("UploadPart" if part_size else "PutObject")} == wanted
