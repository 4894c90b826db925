# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of one test run: each family is started when one of its stores is first asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from .ceph import start_ceph
from .certificates import Certificates, make_certificates
from .place import Place
from .processes import Processes, ServerFailed
from .rclone import start_rclone
from .store import Store
from .swift import start_swift

FAMILIES: dict[str, Callable[[Place], dict[str, Store]]] = {
    "swift": start_swift,
    "rgw": start_ceph,
    "rclone": start_rclone,
}
STORE_NAMES = [f"{family}-{scheme}" for family in FAMILIES for scheme in ("http", "https")]


class Servers:
    """Starts families on demand, keeps them until `stop`, and removes all they wrote.

    `address` is what they listen on and what their URLs name: another one than the loopback's lets containers in.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        self._address = address
        self._folder = tempfile.TemporaryDirectory(prefix="snowsync-servers-", ignore_cleanup_errors=True)
        self._certificates: Certificates | None = None
        self._processes: list[Processes] = []
        self._started: dict[str, dict[str, Store] | ServerFailed] = {}

    def store(self, name: str) -> Store:
        """The store of that name (see STORE_NAMES). Raises ServerFailed, each time, when its family cannot start."""
        family, _dash, scheme = name.partition("-")
        if family not in self._started:
            self._started[family] = self._start(family)
        stores = self._started[family]
        if isinstance(stores, ServerFailed):
            raise stores
        return stores[scheme]

    def stop(self) -> None:
        while self._processes:
            self._processes.pop().stop()
        self._folder.cleanup()

    def _start(self, family: str) -> dict[str, Store] | ServerFailed:
        folder = Path(self._folder.name)
        if self._certificates is None:
            self._certificates = make_certificates(folder / "tls", self._address)
        (folder / family).mkdir()
        processes = Processes(folder / family / "logs")
        self._processes.append(processes)
        try:
            return FAMILIES[family](Place(folder / family, self._address, self._certificates, processes))
        except ServerFailed as error:
            with suppress(OSError):
                processes.stop()
            return error

    def __enter__(self) -> Servers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
