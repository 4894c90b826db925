# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PUTs: how much of a file is in memory while it is sent, and that other bytes than the proven ones are not sent."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_keys import GivenKeys, credentials
from scripted_store import Asked, Close, ScriptedStore, Silence, reply

from snowsync.config.job_file import Store
from snowsync.core.model import Head, Send
from snowsync.movers.native import uploads
from snowsync.movers.native.lane_crew import LaneCrew
from snowsync.movers.native.lanes import Kit
from snowsync.movers.native.requests import Bucket, with_md5
from snowsync.movers.native.uploads import Put
from snowsync.store import upload_bodies
from snowsync.store.multi import Waker
from snowsync.store.timeouts import Patience
from snowsync.store.upload_bodies import DamagedFile

pytestmark = pytest.mark.usefixtures("no_proxies")
HELD = 32 * 1024
STREAMED, AT_ONCE = HELD // 2 + 1, HELD // 2  # bytes
SIZES = [AT_ONCE, STREAMED, 5 * HELD + 1]


def blob(size: int) -> bytes:
    return os.urandom(size)


@pytest.fixture
def store() -> Iterator[ScriptedStore]:
    with ScriptedStore(lambda _asked: reply(200, etag='"x"')).running() as running:
        yield running


class Sender:
    """Sends files one by one, over one connection."""

    def __init__(self, store: ScriptedStore, folder: Path) -> None:
        settings = Store(bucket="bucket", endpoints=(store.url,))
        self._bucket = Bucket(settings, store.url, GivenKeys(credentials("AKIATEST", "token")), Patience())
        self._kit = Kit(settings, store.url, 1000, 2)
        self._kit.most_held = HELD
        self._waker = Waker()
        self._crew = LaneCrew(self._kit, 1, self._waker)
        self.path = folder / "file"

    def send(self, content: bytes, proven: bytes | None = None) -> Head:
        """A file of this content, which was another one when it was proven if `proven` is given."""
        self.path.write_bytes(content)
        md5 = hashlib.md5(content if proven is None else proven, usedforsecurity=False).hexdigest()
        work = Send(1, "key", len(content), str(self.path), 0, "", md5)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            headers = with_md5({}, md5)
            put = Put(self._bucket, work, descriptor, 0, len(content), parameters={}, headers=headers, md5=md5)
            return self._perform(put)
        finally:
            os.close(descriptor)

    def _perform(self, put: Put) -> Head:
        put.begin(self._crew.idle())
        self._crew.begin()
        while not (ended := self._crew.finished()):
            self._crew.multi.go_on(1.0)
        ((_transfer, number, words),) = ended
        return put.end(number, words)

    def close(self) -> None:
        self._crew.close()
        self._waker.close()


@pytest.fixture
def sender(store: ScriptedStore, tmp_path: Path) -> Iterator[Sender]:
    made = Sender(store, tmp_path)
    yield made
    made.close()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes were read at once."""
    found: list[int] = []
    pread: Callable[[int, int, int], bytes] = os.pread

    class Recorded:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        @staticmethod
        def pread(descriptor: int, length: int, place: int) -> bytes:
            found.append(length)
            return pread(descriptor, length, place)

    monkeypatch.setattr(upload_bodies, "os", Recorded())
    return found


@pytest.mark.parametrize("size", SIZES)
def test_the_store_gets_the_file_and_can_check_it(store: ScriptedStore, sender: Sender, size: int) -> None:
    content = blob(size)
    assert sender.send(content).etag == "x"
    (asked,) = store.asked
    assert asked.body == content
    assert asked.headers["x-amz-content-sha256"] == hashlib.sha256(content).hexdigest()
    md5 = hashlib.md5(content, usedforsecurity=False).digest()
    assert asked.headers["content-md5"] == base64.b64encode(md5).decode()


def test_no_more_of_a_file_is_in_memory_than_its_request_may_hold(sender: Sender, reads: list[int]) -> None:
    sender.send(blob(20 * HELD))
    assert max(reads) == HELD, "to sign it, and to send it"
    assert len(reads) >= 2 * 20


def test_a_file_is_read_once_if_it_can_be_held_twice(sender: Sender, reads: list[int]) -> None:
    sender.send(blob(AT_ONCE))
    assert reads == [AT_ONCE], "libcurl copies what it sends"
    reads.clear()
    sender.send(blob(STREAMED))
    assert len(reads) > 1


@pytest.mark.parametrize("size", SIZES)
def test_a_file_that_is_not_the_proven_one_never_arrives(store: ScriptedStore, sender: Sender, size: int) -> None:
    content = blob(size)
    with pytest.raises(DamagedFile, match="damaged on its volume"):
        sender.send(content, proven=content[:-1] + b"?")
    assert all(len(asked.body) < size for asked in store.asked)


@pytest.mark.parametrize("place", [0, HELD], ids=["while it is signed", "while it is sent"])
def test_a_file_that_becomes_shorter_never_arrives_and_is_told_without_a_trace(
    store: ScriptedStore,
    sender: Sender,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    place: int,
) -> None:
    size = 4 * HELD
    sha256 = uploads._sha256

    def shortened(body: Any, most_held: int) -> str:
        signature = sha256(body, most_held)
        os.truncate(sender.path, place)
        return signature

    if place:
        monkeypatch.setattr(uploads, "_sha256", shortened)
    else:
        monkeypatch.setattr(uploads, "_sha256", lambda *given: os.truncate(sender.path, 0) or sha256(*given))
    with pytest.raises(OSError, match="became shorter"):
        sender.send(blob(size))
    assert all(len(asked.body) < size for asked in store.asked)
    assert capfd.readouterr().err == ""


def test_a_file_that_grows_is_sent_as_it_was_proven(
    store: ScriptedStore, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = blob(4 * HELD)
    sha256 = uploads._sha256

    def grown(body: Any, most_held: int) -> str:
        with open(sender.path, "ab") as file:
            file.write(b"more")
        return sha256(body, most_held)

    monkeypatch.setattr(uploads, "_sha256", grown)
    sender.send(content)
    assert [asked.body for asked in store.asked] == [content]


@pytest.mark.parametrize("size", SIZES)
def test_it_is_sent_again_from_its_start_if_the_connection_was_closed(
    store: ScriptedStore, sender: Sender, size: int
) -> None:
    sender.send(b"first")

    def script(asked: Asked) -> bytes | Silence:
        return Close() if asked.connection == 1 else reply(200, etag='"y"')

    store.script = script
    content = blob(size)
    assert sender.send(content).etag == "y"
    assert [asked.body for asked in store.asked[1:]] == [content, content]
