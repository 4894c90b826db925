# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`max_connections`, counted where they arrive: by all who talk to one endpoint at once, and with all they keep."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from simulators.s3_store import start

from snowsync.config import credentials
from snowsync.config.job_file import MoverSettings, Store
from snowsync.core.errors import StoreError
from snowsync.core.model import MIB, Fetch, Head, Outcome, Send
from snowsync.hops.pool import EndpointPool
from snowsync.store.endpoint import Endpoint

BUCKET = "bucket"
SMALL, LARGE = 30, 2
FOLDERS = 3


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    with start(tmp_path / "store") as running:
        running.create_bucket(BUCKET)
        yield running


class Side:
    """One side of a job, with a mover, listings, HEADs and boto3 all at work at once."""

    def __init__(self, tmp_path: Path, server: Any, direction: str, cap: int) -> None:
        self.folders = []
        for number in range(FOLDERS):
            folder = tmp_path / f"{direction}-{cap}-{number}"
            folder.mkdir()
            self.folders.append((folder, os.open(folder, os.O_PATH | os.O_DIRECTORY)))
        given = server.job_side(BUCKET, server.credentials_file(tmp_path / "credentials"))
        given = {name: value for name, value in given.items() if name != "credentials_file"}
        self.pool = EndpointPool(
            Store(**given | {"max_connections": cap}),
            credentials.load(tmp_path / "credentials"),
            MoverSettings(large_object=6 * MIB, part_size=5 * MIB, workers=64, large_workers=8, part_concurrency=4),
            direction=direction,
            on_outcomes=self._receive,
            volumes=FOLDERS,
        )
        self.outcomes: dict[int, Outcome] = {}
        self.errors: list[BaseException] = []
        self._changed = threading.Condition()

    @property
    def endpoint(self) -> Endpoint:
        return self.pool.endpoints[0]

    def give(self, work: Fetch | Send) -> None:
        self.pool.transfers.submit(self.endpoint, self.pool.transfers.choose_tool(work), work)

    def _receive(self, outcomes: Sequence[Outcome]) -> None:
        with self._changed:
            self.outcomes.update((outcome.id, outcome) for outcome in outcomes)
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.outcomes) >= count, 120), len(self.outcomes)
        assert {str(outcome.trouble) for outcome in self.outcomes.values()} == {"None"}

    def place(self, number: int) -> tuple[Path, str]:
        folder, descriptor = self.folders[number % FOLDERS]
        return folder / f"{number}", f"/proc/self/fd/{descriptor}/{number}"

    def beside(self, *tasks: Callable[[], object]) -> list[threading.Thread]:
        def guarded(task: Callable[[], object]) -> None:
            try:
                task()
            except BaseException as error:
                self.errors.append(error)

        threads = [threading.Thread(target=guarded, args=(task,), daemon=True) for task in tasks]
        for thread in threads:
            thread.start()
        return threads

    def asks(self) -> list[threading.Thread]:
        """What lister, finishers, probes and boto3's lanes do, each in its own thread, as fast as it can."""

        def heads() -> None:
            for _time in range(2):
                keys = [f"k{number}" for number in range(SMALL)]
                found = dict(self.endpoint.client().head_many(keys))
                assert set(found) == set(keys)
                # A finisher asks more of one object while it goes through the heads of many.
                for key, head in self.endpoint.client().head_many(keys[:4]):
                    assert isinstance(head, (Head, StoreError))
                    self.endpoint.client().list_page(None, prefix=key, max_keys=1)

        def lists() -> None:
            for _time in range(5):
                self.endpoint.client().list_page(None, prefix="", max_keys=10)

        def lists_whole() -> None:
            for page in self.endpoint.client().list_whole(prefix=""):
                assert page.objects

        def tags() -> None:
            for _time in range(3):
                self.endpoint.control().get_tags("tagged")

        def probes() -> None:
            for _time in range(2):
                self.endpoint.probe()
                self.endpoint.control().check()

        return self.beside(*[heads] * 3, *[lists] * 2, lists_whole, *[tags] * 4, *[probes] * 2)

    def close(self) -> None:
        self.pool.transfers.close()
        for _folder, descriptor in self.folders:
            os.close(descriptor)


def fill(server: Any, tmp_path: Path) -> None:
    for number in range(SMALL):
        server.put(BUCKET, f"k{number}", os.urandom(2000))
    for number in range(LARGE):
        server.put(BUCKET, f"large{number}", os.urandom(12 * MIB))
    server.put(BUCKET, "tagged", b"x")


@pytest.mark.parametrize("cap", [4, 5, 16, 64])
@pytest.mark.parametrize("direction", ["fetch", "send"])
def test_never_more_connections_than_the_store_allows(tmp_path: Path, server: Any, direction: str, cap: int) -> None:
    fill(server, tmp_path)
    side = Side(tmp_path, server, direction, cap)
    server.set_switches(latency=0.002)
    server.clear_log()
    asking = side.asks()
    for number in range(SMALL + LARGE):
        file, path = side.place(number)
        volume, is_large = number % FOLDERS + 1, number >= SMALL
        part_size = 5 * MIB if is_large else 0
        size = 12 * MIB if is_large else 2000
        key = f"large{number - SMALL}" if is_large else f"k{number}"
        if direction == "fetch":
            side.give(Fetch(number, key, size, path, volume=volume))
        else:
            file.write_bytes(os.urandom(size))
            side.give(Send(number, f"to/{key}", size, path, part_size, "", volume=volume))
    side.wait(SMALL + LARGE)
    for thread in asking:
        thread.join(120)
        assert not thread.is_alive(), "somebody waits for a connection that nobody gives back"
    found = server.counters()["connections"]
    side.close()
    assert side.errors == []
    assert found["peak"] <= cap
    assert found["peak"] >= min(cap, 4), "they are used as well"
    assert found["refused"] == 0
