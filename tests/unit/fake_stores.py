# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs without sockets or processes: stores that are dictionaries, a mover that is a thread, and a job on them.

Everything between them is real: ledger, volumes, units, proofs. What is to happen at a certain moment a test hangs
onto `FakeStore.before` or `FakeStore.after`.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from snowsync.config.job_file import Job, parse_job
from snowsync.core.errors import StoreError, Trouble
from snowsync.core.header_text import load_headers
from snowsync.core.model import Fetch, Head, Headers, ListedObject, Outcome, Page, Send, State
from snowsync.hops.switches import Switches
from snowsync.hops.unit import Unit
from snowsync.ledger.ledger import Ledger
from snowsync.movers import tools as mover_tools
from snowsync.movers.tools import MoverSetup
from snowsync.running.main_thread import Attendant
from snowsync.running.run import run_job
from snowsync.running.summary import Summary
from snowsync.store import boto_client, endpoint
from snowsync.store.answers import UNREADABLE
from snowsync.store.endpoint import Access
from snowsync.volumes import disk_calls, open_volume
from snowsync.volumes.open_volume import OpenVolume
from snowsync.volumes.opening import VolumeOpening

SOURCE_URL = "http://source.test:1"
DESTINATION_URL = "http://destination.test:1"


def etag_of(data: bytes, part_size: int = 0) -> str:
    if not part_size:
        return hashlib.md5(data).hexdigest()
    parts = [data[start : start + part_size] for start in range(0, len(data), part_size)] or [b""]
    return f"{hashlib.md5(b''.join(hashlib.md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"


@dataclass
class Stored:
    """One object of a fake store."""

    data: bytes
    etag: str
    modified_ms: int
    headers: Headers = Headers()
    encryption: str = ""
    part_size: int = 0
    parts: tuple[int, ...] = ()  # the sizes of parts that are not equal
    parts_count: int = 0  # what HEAD says of one part

    def part(self, number: int) -> int:
        """The size of one part, from 1; the whole size where there are no parts."""
        if self.parts:
            return self.parts[number - 1]
        start = self.part_size * (number - 1)
        return min(self.part_size, len(self.data) - start) if self.part_size else len(self.data)


class FakeStore:
    """A bucket. `requests` logs (operation, key) in order; `before` and `after` may act, or raise StoreError."""

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.requests: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] = lambda operation, key: None
        self.after: Callable[[str, str], None] = lambda operation, key: None
        self.clock = 1_700_000_000_000
        self.page_size = 1000
        self.lock = threading.RLock()
        self.answers_at: Callable[[str], bool] = lambda url: True

    def put(self, key: str, data: bytes, *, part_size: int = 0, etag: str = "", **more: Any) -> None:
        with self.lock:
            # Listings tell milliseconds, HEAD does not.
            self.clock += 1001
            self.objects[key] = Stored(data, etag or etag_of(data, part_size), self.clock, part_size=part_size, **more)

    def count(self, operation: str, key: str | None = None) -> int:
        return sum(1 for seen in list(self.requests) if seen[0] == operation and key in (None, seen[1]))

    def request(self, operation: str, key: str, url: str) -> None:
        self.requests.append((operation, key))
        if not self.answers_at(url):
            raise StoreError(Trouble.REFUSED, f"reach {url}", "nothing answers there")
        self.before(operation, key)

    def get(self, key: str) -> Stored:
        with self.lock:
            if key not in self.objects:
                raise StoreError(Trouble.NOT_FOUND, f"get {key}", "there is no such object", status=404)
            return self.objects[key]


class FakeClient:
    """As client.StoreClient, on a FakeStore."""

    def __init__(self, fake: FakeStore, url: str) -> None:
        self.fake, self.url = fake, url

    def list_page(
        self, token: str | None, *, prefix: str | None = None, start_after: str = "", max_keys: int = 1000
    ) -> Page:
        self.fake.request("list", token or "", self.url)
        with self.fake.lock:
            start = token or start_after
            keys = sorted(key for key in self.fake.objects if key.startswith(prefix or "") and key > start)
            size = min(max_keys, self.fake.page_size)
            listed = [
                ListedObject(key, len(stored.data), stored.etag, stored.modified_ms)
                for key in keys[:size]
                for stored in [self.fake.objects[key]]
            ]
        self.fake.after("list", token or "")
        return Page(listed, keys[size - 1] if len(keys) > size else None)

    def probe(self, prefix: str) -> None:
        try:
            self.list_page(None, prefix=prefix, max_keys=1)
        except StoreError as error:
            if error.code != UNREADABLE:
                raise

    def list_whole(self, *, prefix: str | None = None) -> Iterator[Page]:
        yield self.list_page(None, prefix=prefix, max_keys=10**9)

    def serves(self, object_key: str) -> bool:
        try:
            self.get(object_key, lambda _chunk: None)
        except StoreError:
            return False
        return True

    def head_with_checksums(self, object_key: str) -> Head:
        return self.head(object_key)

    def head(self, object_key: str, *, part_number: int = 0) -> Head:
        self.fake.request(f"head{part_number or ''}", object_key, self.url)
        stored = self.fake.get(object_key)
        size = stored.part(part_number) if part_number else len(stored.data)
        answer = Head(200, size, stored.etag, stored.modified_ms // 1000 * 1000, stored.headers)
        self.fake.after("head", object_key)
        count = stored.parts_count if part_number else 0
        tags = len(stored.headers.tags)
        return answer._replace(encryption=stored.encryption, tag_count=tags, parts_count=count)

    def head_by_get(self, object_key: str) -> Head:
        return self.head(object_key)

    def head_many(self, object_keys: Iterable[str], hurry: float = 0.0) -> Iterator[tuple[str, Head | StoreError]]:
        for object_key in object_keys:
            try:
                yield object_key, self.head(object_key)
            except StoreError as error:
                yield object_key, error

    def get(
        self, object_key: str, sink: Callable[[bytes], object], *, if_match: str = "", stored: object = None
    ) -> Head:
        self.fake.request("get", object_key, self.url)
        stored = self.fake.get(object_key)
        for start in range(0, len(stored.data), 1000):
            sink(stored.data[start : start + 1000])
        return Head(200, len(stored.data), stored.etag, stored.modified_ms // 1000 * 1000, stored.headers)


def carry_out(fake: FakeStore, url: str, work: Fetch | Send) -> Outcome:
    """What a mover does, with one object in memory."""
    operation = "fetch" if isinstance(work, Fetch) else "send"
    try:
        fake.request(operation, work.key, url)
        if isinstance(work, Fetch):
            data = fake.get(work.key).data
            Path(work.path).write_bytes(data)
            if len(data) != work.size:
                return Outcome(work.id, Trouble.MISMATCH, f"moved {len(data)} bytes, {work.size} were expected")
        else:
            fake.put(
                work.key, Path(work.path).read_bytes(), part_size=work.part_size, headers=load_headers(work.header_text)
            )
        fake.after(operation, work.key)
    except StoreError as error:
        return Outcome(work.id, error.trouble, str(error))
    except OSError as error:
        return Outcome(work.id, Trouble.IO, str(error))
    return Outcome(work.id)


class FakeMover:
    """As s5cmd.S5cmdMover: one thread, one object at a time; what is left at the end is UNKNOWN."""

    stores: dict[str, FakeStore] = {}
    made: list[FakeMover] = []

    def __init__(self, setup: MoverSetup, access: Access, descriptors: Sequence[int]) -> None:
        self.url = access.url
        self.pass_fds = descriptors
        self.on_outcome = setup.on_outcome
        self.in_flight = 0
        self.traffic = 0
        self.is_closed = False
        self.tasks: queue.SimpleQueue[Fetch | Send | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="fake-mover", daemon=True)
        self.thread.start()
        FakeMover.made.append(self)

    def has_room(self, _volume: int) -> bool:
        return True

    def submit(self, *works: Fetch | Send) -> None:
        for work in works:
            self.in_flight += 1
            self.tasks.put(work)

    def _run(self) -> None:
        while (work := self.tasks.get()) is not None:
            if self.is_closed:
                outcome = Outcome(work.id, Trouble.UNKNOWN, "the mover was closed")
            else:
                outcome = carry_out(self.stores[self.url], self.url, work)
            self.in_flight -= 1
            self.on_outcome(outcome)

    def close(self, grace_seconds: float = 5.0) -> None:
        self.is_closed = True
        self.tasks.put(None)
        self.thread.join(grace_seconds)


def mover_with_lane(large: int, released: threading.Event) -> type[FakeMover]:
    """Large objects have a thread of their own, as they have processes of their own, and wait until `released`."""

    class Lanes(FakeMover):
        def submit(self, *works: Fetch | Send) -> None:
            for work in works:
                if work.size < large:
                    super().submit(work)
                else:
                    threading.Thread(target=self.wait_and_submit, args=(work,), daemon=True).start()

        def wait_and_submit(self, work: Fetch | Send) -> None:
            released.wait(100)
            super().submit(work)

    return Lanes


class FakeControl:
    """As s3.Control, on a FakeStore."""

    def __init__(self, store: object, endpoint: str, credentials: object, **_options: object) -> None:
        self.url = endpoint
        self.fake = FakeMover.stores[endpoint]

    def check(self) -> None:
        self.fake.request("check", "", self.url)

    def fetch(self, work: Fetch) -> Outcome:
        return carry_out(self.fake, self.url, work)

    def send(self, work: Send) -> Outcome:
        return carry_out(self.fake, self.url, work)

    def get_tags(self, object_key: str) -> dict[str, str]:
        return dict(self.fake.get(object_key).headers.tags)

    def abort_uploads(self, object_key: str, started_before_ms: int, keep: Container[str] = ()) -> int:
        self.fake.request("abort", object_key, self.url)
        return 0

    def abort_upload(self, object_key: str, upload_id: str) -> None:
        self.fake.request("abort", object_key, self.url)


class Running(Attendant):
    """A run in a thread of its own, for tests that do something meanwhile."""

    def __init__(self, job: Job, direction: str, until: str) -> None:
        self.units: list[Unit] = []
        self.begun = threading.Event()
        self.summary: Summary | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(job, direction, until), daemon=True)
        self.thread.start()
        assert self.begun.wait(100)

    def start(self, units: list[Unit], switches: Switches) -> None:
        self.units, self.switches = units, switches
        self.begun.set()

    def _run(self, job: Job, direction: str, until: str) -> None:
        try:
            self.summary = run_job(job, direction=direction, until=until, attendant=self)
        except BaseException as error:
            self.error = error
            self.begun.set()

    def unit(self, name: str) -> Unit:
        return next(unit for unit in self.units if unit.name == name)

    def join(self, seconds: float = 180.0) -> Summary:
        """Its result, once it ended by itself."""
        self.thread.join(seconds)
        if self.thread.is_alive():
            self.switches.stop.set()
            pytest.fail(f"it did not end: {[unit.activity.status for unit in self.units]}")
        if self.error:
            raise self.error
        assert self.summary
        return self.summary

    def stop(self) -> Summary:
        """As SIGTERM does."""
        self.switches.stop.set()
        return self.join()


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """A bound for what never happens, not a measurement."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


@dataclass
class Rig:
    """A job on fake stores below `folder`, with the volumes "one" and "two"."""

    folder: Path
    source: FakeStore = field(default_factory=FakeStore)
    destination: FakeStore = field(default_factory=FakeStore)
    changes: dict[str, Any] = field(default_factory=dict)
    source_endpoints: list[str] = field(default_factory=lambda: [SOURCE_URL])
    destination_endpoints: list[str] = field(default_factory=lambda: [DESTINATION_URL])

    @property
    def job(self) -> Job:
        volumes = []
        for name in ("one", "two"):
            (self.folder / name).mkdir(exist_ok=True)
            volumes.append({"name": name, "path": str(self.folder / name), "require_mount": False, "limit": "1GiB"})
        mapping: dict[str, Any] = {
            "job": "photos",
            "state_dir": str(self.folder / "state"),
            "source": self._side("camera", self.source_endpoints),
            "destination": self._side("archive", self.destination_endpoints),
            "volumes": volumes,
            "mover": {"tool": "s5cmd"},  # the one that FakeMover stands for
            "group": {"seconds": 0.2},
            "drop_settle": 0,
        }
        return parse_job(_merged(mapping, self.changes), "test")

    def _side(self, bucket: str, urls: list[str]) -> dict[str, Any]:
        credentials = self.folder / "credentials"
        credentials.touch(mode=0o600)
        credentials.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
        return {"bucket": bucket, "endpoints": urls, "credentials_file": str(credentials)}

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.job.ledger_path)

    def run(self, direction: str = "both", until: str = "drained", seconds: float = 60.0) -> Summary:
        """One run to its own end; one that does not end is a failure."""
        summary = run_job(self.job, direction=direction, until=until, timeout=seconds)
        assert not summary.waiting, summary.waiting
        return summary

    def start(self, direction: str = "both", until: str = "drained") -> Running:
        return Running(self.job, direction, until)

    def failures(self) -> list[tuple[str, str]]:
        """(key, trouble) of everything the ledger recorded as failed, as often as it did."""
        ledger = self.ledger
        sql = "SELECT key, trouble, times FROM failures ORDER BY id"
        found = [
            (str(key), str(word))
            for key, word, times in ledger.database.stream(sql)
            for _time in range(int(str(times)))
        ]
        ledger.close()
        return found

    def states(self) -> dict[str, str]:
        """Key -> the state's name."""
        ledger = self.ledger
        found = {
            str(key): State(int(str(state))).label
            for key, state in ledger.database.stream("SELECT key, state FROM objects")
        }
        ledger.close()
        return found

    def staged_files(self) -> list[str]:
        return self._files("staged")

    def quarantined_files(self) -> list[str]:
        return self._files("quarantine")

    def files_left(self) -> list[str]:
        """The engine's files on the volumes, but for markers and records of the ledger."""
        return [name for name in self._files("") if not name.endswith(("/volume.json", "/ledgers/photos.json"))]

    def _files(self, kind: str) -> list[str]:
        return sorted(
            str(path.relative_to(self.folder))
            for volume in ("one", "two")
            for path in (self.folder / volume / ".snowsync" / kind).rglob("*")
            if path.is_symlink() or not path.is_dir()
        )

    def staged_file(self, key: str) -> Path:
        (found,) = [name for name in self.staged_files() if f"/{key}~" in name]
        return self.folder / found

    def assert_delivered(self) -> None:
        assert {key: stored.data for key, stored in self.destination.objects.items()} == {
            key: stored.data for key, stored in self.source.objects.items()
        }


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        is_part = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if is_part else value
    return merged


def move_by(monkeypatch: pytest.MonkeyPatch, mover: type[FakeMover]) -> None:
    """Let s5cmd's work be done by movers of this kind."""
    tools = mover_tools.TOOLS
    monkeypatch.setitem(tools, mover_tools.S5CMD, replace(tools[mover_tools.S5CMD], make=mover))


def install(monkeypatch: pytest.MonkeyPatch, rig: Rig) -> None:
    """Put the fakes where the engine takes its clients from; durability takes seconds, and is not their subject."""
    FakeMover.made = []
    FakeMover.stores = dict.fromkeys(rig.source_endpoints, rig.source)
    FakeMover.stores |= dict.fromkeys(rig.destination_endpoints, rig.destination)
    move_by(monkeypatch, FakeMover)
    monkeypatch.setattr(boto_client, "Control", FakeControl)
    monkeypatch.setattr(open_volume, "syncfs", lambda descriptor: None)
    monkeypatch.setattr(endpoint.Endpoint, "client", lambda self: FakeClient(FakeMover.stores[self.url], self.url))


def open_slowly(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the volumes of these names come into use a moment after the units have begun."""
    opened = VolumeOpening.opened

    def slowly(self: VolumeOpening, config: Any, **how: Any) -> OpenVolume:
        time.sleep(0.5 if config.name in names else 0.0)
        return opened(self, config, **how)

    monkeypatch.setattr(VolumeOpening, "opened", slowly)
    monkeypatch.setattr(disk_calls, "PATIENCE_SECONDS", 0.1)


def refuse(trouble: Trouble, *, operation: str, key: str = "", times: int = 10**9) -> Callable[[str, str], None]:
    """A `before` that refuses some requests."""
    left = [times]

    def before(seen: str, seen_key: str) -> None:
        if seen == operation and key in ("", seen_key) and left[0] > 0:
            left[0] -= 1
            raise StoreError(trouble, f"{operation} {seen_key}", f"it is {trouble.value}")

    return before
