# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The native mover against a store that fails as told. What real stores say to it, test_transfer.py shows."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from simulators.s3_store import start

from snowsync.config import credentials
from snowsync.config.job_file import MoverSettings, Store
from snowsync.core import etag
from snowsync.core.errors import Trouble
from snowsync.core.header_text import dump_headers, load_headers
from snowsync.core.model import MIB, Fetch, Headers, Outcome, Send
from snowsync.movers.hands.handed_mover import HandedMover
from snowsync.movers.native.native_mover import NativeMover
from snowsync.store.connections import NO_LIMIT, lanes_within

BUCKET = "bucket"
SMALL, LARGE = 3 * MIB // 2, 12 * MIB
SETTINGS = {"large_object": 6 * MIB, "part_size": 5 * MIB, "retries": 2, "stall_seconds": 2.0}


class Rig:
    """A mover at work in a folder that it reaches through a descriptor only."""

    def __init__(
        self, folder: Path, server: Any, direction: str, folders: int = 1, hands: int = 0, **more: Any
    ) -> None:
        self.folder = folder
        self.descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        self.outcomes: dict[int, Outcome] = {}
        self.parts: list[int] = []
        self.room = threading.Event()
        self._changed = threading.Condition()
        given = server.job_side(BUCKET, server.credentials_file(folder / "credentials"))
        store = Store(**{name: value for name, value in given.items() if name != "credentials_file"})
        keys, settings = credentials.load(folder / "credentials"), MoverSettings(**(SETTINGS | more))
        told: Any = {"direction": direction, "on_part": self.parts.append, "on_room": self.room.set}
        lanes = lanes_within(settings, NO_LIMIT, folders)
        self.mover: NativeMover | HandedMover
        if hands:
            told |= {"on_outcomes": self._receive_all, "count": hands}
            self.mover = HandedMover(store, server.url, keys, settings, lanes=lanes, **told)
        else:
            told |= {"on_outcome": self._receive}
            self.mover = NativeMover(store, server.url, keys, settings, lanes=lanes, **told)

    def _receive_all(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._receive(outcome)

    def _receive(self, outcome: Outcome) -> None:
        with self._changed:
            assert outcome.id not in self.outcomes, "a second outcome"
            self.outcomes[outcome.id] = outcome
            self._changed.notify_all()

    def path(self, number: int) -> str:
        return f"/proc/self/fd/{self.descriptor}/{number}"

    def file(self, number: int) -> Path:
        return self.folder / str(number)

    def fetch(self, number: int, key: str, size: int, listed: str = "") -> None:
        self.mover.submit(Fetch(number, key, size, self.path(number), listed))

    def send(self, number: int, key: str, data: bytes, part_size: int = 0, headers: Headers | None = None) -> None:
        self.file(number).write_bytes(data)
        md5 = "" if part_size else etag.file_etag(self.file(number), 0)
        text = dump_headers(headers or Headers())
        self.mover.submit(Send(number, key, len(data), self.path(number), part_size, text, md5))

    def wait(self, count: int = 1) -> dict[int, Outcome]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.outcomes) >= count, 60), self.outcomes
        return self.outcomes

    def end(self) -> None:
        self.mover.close()
        os.close(self.descriptor)


@pytest.fixture(params=["http", "https"])
def any_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    with start(tmp_path / "store", tls=request.param == "https", buckets=(BUCKET,)) as running:
        yield running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    with start(tmp_path / "store", buckets=(BUCKET,)) as running:
        yield running


@pytest.fixture(params=[0, 2], ids=["one-process", "two-hands"])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Rig]]:
    """Makes rigs: `rig(server, "fetch", **mover_settings)`."""
    made: list[Rig] = []

    def make(server: Any, direction: str, **settings: Any) -> Rig:
        folder = tmp_path / f"rig{len(made)}"
        folder.mkdir()
        made.append(Rig(folder, server, direction, hands=request.param, **settings))
        return made[-1]

    yield make
    for each in made:
        each.end()


def blob(size: int) -> bytes:
    return os.urandom(size)


# -- there and back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "part_size"),
    [(0, 0), (1, 0), (SMALL, 0), (5 * MIB, 0), (LARGE, 0), (LARGE, 5 * MIB), (LARGE + 1, 8 * MIB), (16 * MIB, 5 * MIB)],
)
def test_a_fetch_brings_bytes_headers_and_digest(
    any_server: Any, rig: Callable[..., Rig], size: int, part_size: int
) -> None:
    data = blob(size)
    stored = any_server.put(
        BUCKET, " k/é ", data, headers={"content-type": "a/b", "x-amz-meta-who": "me"}, part_size=part_size
    )
    fetching = rig(any_server, "fetch")
    fetching.fetch(1, " k/é ", size, stored.strip('"'))
    outcome = fetching.wait()[1]
    assert outcome.ok, outcome
    assert fetching.file(1).read_bytes() == data
    assert (len(fetching.parts) > 1) == (size >= LARGE), "each range of a large object is told"
    if outcome.arrived:
        assert size < LARGE
        assert outcome.arrived.digest == stored.strip('"') == etag.file_etag(fetching.file(1), 0)
        assert load_headers(outcome.arrived.header_text) == Headers(content_type="a/b", metadata={"who": "me"})
        return
    if outcome.received is None:
        # A large object in one part is fetched in ranges, of which none alone says anything of the ETag.
        assert size == LARGE and not part_size
        return
    head = outcome.received.head
    assert (head.size, head.headers.content_type, head.headers.metadata) == (size, "a/b", {"who": "me"})
    assert outcome.received.etag == head.etag == etag.file_etag(fetching.file(1), outcome.received.part_size)


@pytest.mark.parametrize(
    ("size", "part_size"), [(0, 0), (1, 0), (SMALL, 0), (LARGE, 0), (LARGE, 5 * MIB), (LARGE + 1, 6 * MIB + 1)]
)
def test_a_send_stores_bytes_headers_and_parts(
    any_server: Any, rig: Callable[..., Rig], size: int, part_size: int
) -> None:
    data = blob(size)
    headers = Headers(
        content_type="a/b",
        cache_control="no-cache",
        content_language="de",
        expires="Sat, 21 Nov 2026 13:08:32 GMT",
        metadata={"who": "me", "empty": ""},
        tags={"a b": "c/d"},
    )
    sending = rig(any_server, "send")
    sending.send(1, "x//../k", data, part_size, headers)
    assert sending.wait()[1].ok, sending.outcomes
    assert any_server.get(BUCKET, "x//../k") == data
    assert any_server.list(BUCKET)["x//../k"].strip('"') == etag.file_etag(sending.file(1), part_size)
    assert any_server.uploads(BUCKET) == []
    fetching = rig(any_server, "fetch")
    fetching.fetch(1, "x//../k", size)
    if size < LARGE:
        received = fetching.wait()[1].received
        assert received and received.head.headers.metadata == {"who": "me", "empty": ""}
        assert received.head.headers.cache_control == "no-cache"
        assert received.head.headers.content_language == "de"
        assert received.head.tag_count == 1


def test_more_small_objects_than_the_lane_holds(server: Any, rig: Callable[..., Rig]) -> None:
    """Whoever hands over waits for room, and is told when there is some."""
    server.fill(BUCKET, 400, 100)
    keys = [entry["key"] for entry in server.objects(BUCKET)]
    fetching = rig(server, "fetch", workers=4)
    for number, key in enumerate(keys):
        fetching.fetch(number, key, 100)
    assert all(outcome.ok for outcome in fetching.wait(400).values())
    assert fetching.mover.in_flight == 0
    deadline = time.monotonic() + 60
    while fetching.mover.traffic < 400 * 100 and time.monotonic() < deadline:
        time.sleep(0.05)  # a hand tells it in a moment
    assert fetching.mover.traffic == 400 * 100


def test_a_store_that_knows_no_ranges_gives_large_objects_in_one(server: Any, rig: Callable[..., Rig]) -> None:
    server.set_switches(range=False)
    data = blob(LARGE)
    stored = server.put(BUCKET, "k", data, part_size=5 * MIB).strip('"')
    fetching = rig(server, "fetch")
    for number in (1, 2):
        fetching.fetch(number, "k", LARGE, stored)
        outcome = fetching.wait(number)[number]
        assert outcome.ok, outcome
        assert fetching.file(number).read_bytes() == data
        assert outcome.received and outcome.received.etag == stored


# -- what goes wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ({"action": "status"}, Trouble.THROTTLED),
        ({"action": "status", "status": 500, "code": "InternalError"}, Trouble.SERVER),
        ({"action": "status", "status": 403, "code": "AccessDenied"}, Trouble.DENIED),
        ({"action": "status", "status": 403, "code": "InvalidAccessKeyId"}, Trouble.CREDENTIAL),
        ({"action": "status", "status": 404, "code": "NoSuchKey"}, Trouble.NOT_FOUND),
        ({"action": "cut", "after": 1000}, Trouble.BROKEN),
        ({"action": "cut"}, Trouble.BROKEN),
        ({"action": "stall"}, Trouble.TIMEOUT),
        ({"action": "stall", "where": "body", "after": 1000}, Trouble.TIMEOUT),
        ({"action": "replace"}, Trouble.CHANGED),
    ],
)
def test_every_fault_of_a_fetch_has_its_word(
    server: Any, rig: Callable[..., Rig], size: int, fault: dict[str, Any], word: Trouble
) -> None:
    stored = server.put(BUCKET, "k", blob(size), part_size=5 * MIB if size == LARGE else 0).strip('"')
    server.set_fault(operation="GetObject", **fault)
    fetching = rig(server, "fetch")
    fetching.fetch(1, "k", size, stored)
    assert fetching.wait()[1].trouble is word, fetching.outcomes
    assert fetching.outcomes[1].message.startswith("Failed to fetch s3://bucket/k from http://")


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ({"action": "status"}, Trouble.THROTTLED),
        ({"action": "status", "status": 403, "code": "AccessDenied"}, Trouble.DENIED),
        ({"action": "stall"}, Trouble.TIMEOUT),
        ({"action": "stall", "where": "request"}, Trouble.TIMEOUT),
        ({"action": "cut"}, Trouble.BROKEN),
        ({"action": "cut", "where": "request", "after": 1000}, Trouble.BROKEN),
    ],
)
def test_every_fault_of_a_send_has_its_word_and_leaves_no_parts(
    server: Any, rig: Callable[..., Rig], size: int, fault: dict[str, Any], word: Trouble
) -> None:
    server.set_fault(operation="UploadPart" if size == LARGE else "PutObject", **fault)
    sending = rig(server, "send")
    sending.send(1, "k", blob(size), 5 * MIB if size == LARGE else 0)
    assert sending.wait()[1].trouble is word, sending.outcomes
    assert server.list(BUCKET) == {}
    assert server.uploads(BUCKET) == []


def test_a_complete_that_fails_in_a_good_answer_is_a_failure(server: Any, rig: Callable[..., Rig]) -> None:
    server.set_fault("status", operation="CompleteMultipartUpload", status=200, code="InternalError")
    sending = rig(server, "send", retries=0)
    sending.send(1, "k", blob(LARGE), 5 * MIB)
    assert sending.wait()[1].trouble is Trouble.SERVER
    assert server.uploads(BUCKET) == []


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_is_over_soon_is_tried_again_without_a_word(server: Any, rig: Callable[..., Rig], size: int) -> None:
    data = blob(size)
    stored = server.put(BUCKET, "k", data, part_size=5 * MIB if size == LARGE else 0).strip('"')
    server.set_fault("status", operation="GetObject", count=1)
    server.set_fault("cut", operation="GetObject", nth=3, after=1000)
    server.set_fault("status", operation="PutObject|UploadPart", count=2)
    fetching, sending = rig(server, "fetch"), rig(server, "send")
    fetching.fetch(1, "k", size, stored)
    outcome = fetching.wait()[1]
    proof = outcome.arrived.digest if outcome.arrived else outcome.received and outcome.received.etag
    assert outcome.ok and proof == stored
    assert fetching.file(1).read_bytes() == data
    sending.send(1, "again", data, 5 * MIB if size == LARGE else 0)
    assert sending.wait()[1].ok
    assert server.get(BUCKET, "again") == data


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_byte_that_changed_on_its_way_shows_in_the_digest(server: Any, rig: Callable[..., Rig], size: int) -> None:
    stored = server.put(BUCKET, "k", blob(size), part_size=5 * MIB if size == LARGE else 0).strip('"')
    server.set_fault("corrupt", operation="GetObject", nth=1, offset=100)
    fetching = rig(server, "fetch")
    fetching.fetch(1, "k", size, stored)
    outcome = fetching.wait()[1]
    assert outcome.arrived is None
    received = outcome.received
    assert received is None or received.etag != stored  # None: the file has to be read and asked about


def test_a_byte_that_changed_on_its_way_up_is_refused_by_the_store(server: Any, rig: Callable[..., Rig]) -> None:
    sending = rig(server, "send")
    data = blob(1000)
    sending.file(1).write_bytes(data)
    wrong = etag.file_etag(sending.file(1), 0)
    sending.file(1).write_bytes(bytes([data[0] ^ 1]) + data[1:])
    sending.mover.submit(Send(1, "k", 1000, sending.path(1), 0, "", wrong))
    assert sending.wait()[1].trouble is Trouble.MISMATCH
    assert server.list(BUCKET) == {}


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_file_that_is_not_there_is_the_volumes_fault(server: Any, rig: Callable[..., Rig], size: int) -> None:
    sending, fetching = rig(server, "send"), rig(server, "fetch")
    sending.mover.submit(Send(1, "k", size, sending.path(1), 0, ""))
    assert sending.wait()[1].trouble is Trouble.IO
    server.put(BUCKET, "k", blob(size))
    fetching.mover.submit(Fetch(1, "k", size, "/proc/self/fd/99999/1"))
    assert fetching.wait()[1].trouble is Trouble.IO


@pytest.mark.parametrize(("size", "part_size"), [(SMALL, 0), (LARGE, 5 * MIB)])
def test_a_file_that_cannot_be_closed_has_an_outcome_too(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, part_size: int
) -> None:
    """Some filesystems tell only then that a quota is used up; for what was only read it means nothing."""
    close = os.close

    def refuse(descriptor: int) -> None:
        target = os.readlink(f"/proc/self/fd/{descriptor}")
        close(descriptor)
        is_of_a_lane = threading.current_thread() is not threading.main_thread()
        if is_of_a_lane and target.startswith((f"{tmp_path}/send/", f"{tmp_path}/fetch/")):
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    for direction in ("send", "fetch"):
        (tmp_path / direction).mkdir()
    sending, fetching = (Rig(tmp_path / direction, server, direction) for direction in ("send", "fetch"))
    monkeypatch.setattr(os, "close", refuse)
    sending.send(1, "k", blob(size), part_size)
    assert sending.wait()[1].ok
    fetching.fetch(1, "k", size)
    assert fetching.wait()[1].trouble is Trouble.SPACE
    monkeypatch.setattr(os, "close", close)
    sending.end()
    fetching.end()


def test_a_file_of_another_size_is_not_sent(server: Any, rig: Callable[..., Rig]) -> None:
    sending = rig(server, "send")
    for number, size in ((1, 100), (2, LARGE)):
        sending.file(number).write_bytes(b"x" * (size - 1))
        sending.mover.submit(Send(number, f"k{number}", size, sending.path(number), 0, ""))
    assert {outcome.trouble for outcome in sending.wait(2).values()} == {Trouble.MISMATCH}
    assert server.list(BUCKET) == {}


def test_a_folder_that_blocks_holds_up_no_other(server: Any, rig: Callable[..., Rig], tmp_path: Path) -> None:
    """A FIFO stands in for a medium that does not answer: opening it waits until somebody writes."""
    sending = rig(server, "send", folders=2, workers=2)
    os.mkfifo(sending.file(1))
    sending.mover.submit(Send(1, "k1", SMALL, sending.path(1), 0))
    for number in range(2, 6):
        sending.send(number, f"k{number}", b"behind it")
    other = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    (tmp_path / "elsewhere").write_bytes(b"of another volume")
    sending.mover.submit(Send(99, "k99", 17, f"/proc/self/fd/{other}/elsewhere", 0, volume=2))
    assert sending.wait()[99].ok
    assert 1 not in sending.outcomes
    os.close(os.open(sending.file(1), os.O_WRONLY))
    assert {number for number, outcome in sending.wait(6).items() if outcome.ok} == {*range(2, 6), 99}
    assert sending.outcomes[1].trouble is Trouble.MISMATCH, "a FIFO has no bytes"
    os.close(other)


def test_a_volume_without_room_takes_none_from_another(server: Any, rig: Callable[..., Rig]) -> None:
    server.put(BUCKET, "k", b"data")
    server.set_fault("stall", operation="GetObject")
    fetching = rig(server, "fetch", folders=2, workers=2, stall_seconds=1.0)
    number = 0
    while fetching.mover.has_room(1):
        number += 1
        assert number < 100
        fetching.mover.submit(Fetch(number, "k", 4, fetching.path(number), volume=1))
    assert fetching.mover.has_room(2)
    assert not fetching.room.is_set()
    server.clear_faults()
    assert fetching.room.wait(60)
    assert len(fetching.wait(number)) == number


def test_closing_breaks_off_what_is_under_way(server: Any, rig: Callable[..., Rig]) -> None:
    """Nobody waits for an endpoint that says nothing: each piece of work gets its word at once."""
    server.put(BUCKET, "small", blob(SMALL))
    server.put(BUCKET, "large", blob(LARGE), part_size=5 * MIB)
    server.set_fault("stall", operation="GetObject")
    fetching = rig(server, "fetch", stall_seconds=600, workers=2)
    for number in range(6):
        fetching.fetch(number, "small", SMALL)
    for number in range(6, 9):
        fetching.fetch(number, "large", LARGE)
    fetching.mover.close()
    assert {outcome.trouble for outcome in fetching.wait(9).values()} == {Trouble.UNKNOWN}
    fetching.fetch(10, "small", SMALL)
    assert fetching.wait(10)[10].trouble is Trouble.UNKNOWN
