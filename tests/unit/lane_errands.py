# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work for the lanes of the native mover: plain requests to a scripted store, some of which it never answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scripted_store import Asked, ScriptedStore, Silence, reply

from snowsync.config.job_file import Store
from snowsync.core.errors import StoreError, Trouble
from snowsync.core.model import Head, Headers
from snowsync.movers.native.errands import Errand
from snowsync.movers.native.lanes import Kit
from snowsync.store.curl import Transfer


class LaneStore:
    """Never answers keys that begin with `silent`; answers 503 the first time to those that begin with `busy`."""

    def __init__(self, scripted: ScriptedStore) -> None:
        self._scripted = scripted
        self.kit = Kit(Store(bucket="bucket", endpoints=(scripted.url,)), scripted.url, 1000, 2)

    def asked(self) -> list[str]:
        return [asked.key for asked in list(self._scripted.asked)]

    def connections(self) -> int:
        """How many there were."""
        return self._scripted.connections

    def open_connections(self, wanted: int) -> int:
        """How many there are now; if they are not as many as `wanted`, it is not told before long."""
        deadline = time.monotonic() + 10
        while self._scripted.open_connections != wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        return self._scripted.open_connections

    def request(self, key: str, at: str = "") -> LaneRequest:
        return LaneRequest(f"{at or self._scripted.url}/bucket/{key}")


@contextmanager
def lane_store() -> Iterator[LaneStore]:
    def script(asked: Asked) -> bytes | Silence:
        if asked.key.startswith("silent"):
            return Silence()
        is_busy = asked.key.startswith("busy") and sum(each.key == asked.key for each in scripted.asked) == 1
        return reply(503 if is_busy else 200, asked.key)

    scripted = ScriptedStore(script)
    with scripted.running():
        yield LaneStore(scripted)


class LaneRequest:
    """A GET of which only the status matters."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._transfer: Transfer | None = None

    def begin(self, transfer: Transfer) -> None:
        self._transfer = transfer
        transfer.begin(self._url, [])
        transfer.curl.setopt(transfer.curl.WRITEFUNCTION, len)
        # Otherwise libcurl's own timers would end waits: one each second, and one that a connection leaves behind.
        transfer.curl.setopt(transfer.curl.LOW_SPEED_TIME, 0)
        transfer.curl.setopt(transfer.curl.CONNECTTIMEOUT, 10_000)

    def end(self, number: int, words: str) -> Head:
        assert self._transfer
        if number:
            raise StoreError(Trouble.TIMEOUT, self._url, words)
        if self._transfer.status != 200:
            raise StoreError(Trouble.THROTTLED, self._url, "busy", status=self._transfer.status)
        return Head(200, 0, "", 0, Headers())


class Told(Errand):
    """An errand whose result can be waited for."""

    def __init__(self, store: LaneStore, key: str) -> None:
        super().__init__(lambda: store.request(key), self._receive)
        self.results: list[Any] = []
        self._is_told = threading.Event()

    def _receive(self, result: object) -> None:
        self.results.append(result)
        self._is_told.set()

    def wait(self) -> Any:
        """The result; it has to come by an event, so the bound is far beyond any time-out that could bring it."""
        assert self._is_told.wait(100), "it was never told"
        (result,) = self.results
        return result
