# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 side of a device: an s3_store over TLS, with the device's key and certificate, open while it is unlocked."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import timeline
from .fleet import Fleet
from .model import host_of

if TYPE_CHECKING or __package__ != "snowball":
    from ..s3_store import RemoteStore, Server, Switches, adapter_switches
else:  # started as `python -m snowball`
    from s3_store import RemoteStore, Server, Switches, adapter_switches

POLL_SECONDS = 0.05
# The port opens this much before the device says UNLOCKED: who has read that must not find it closed.
LEAD_SECONDS = 0.15
OPEN_STATES = ("ACTIVE", "DEGRADED")


class Front:
    """The S3 interface `service_id` of one device: `s3`, the adapter with its limits, or `s3-snow`, without them.

    It follows device.json: the port refuses unless the device is unlocked and reachable and the service active, and a
    new certificate, address or key counts from the next opening on. `url` and `port` are known from the start and
    stand in the device's endpoints.
    """

    def __init__(
        self,
        fleet: Fleet,
        name: str,
        *,
        buckets: Sequence[str] = (),
        service_id: str = "s3",
        port: int = 0,
        host: str = "",
        **switches: Any,
    ) -> None:
        self.fleet = fleet
        self.name = name
        self.service_id = service_id
        device = fleet[name].show()
        self._fixed_host = host
        address = host or host_of(device["endpoint"])
        self.folder = fleet.folder / name / service_id
        self.folder.mkdir(mode=0o700, exist_ok=True)
        chosen = adapter_switches(**switches) if service_id == "s3" else Switches(server="AWSSnowball", **switches)
        self.server = DeviceServer(self.folder, address, port or _free_port(address), chosen)
        for bucket in buckets:
            self.server.store.storage.create_bucket(bucket)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._seen: tuple[int, int] | None = None
        self._device: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return self.server.url

    def start(self) -> Front:
        service = {"ports": {"https": self.server.port, "http": None}, "host": self._fixed_host or None}
        self.fleet[self.name].set(services={self.service_id: service})
        self.server.start()
        self._look()
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self.server.stop()

    def wait(self, is_open: bool = True, seconds: float = 30.0) -> None:
        """Until the port is open or, if so wanted, closed; TimeoutError after `seconds`."""
        end = time.monotonic() + seconds
        while self.server.is_open != is_open:
            if time.monotonic() > end:
                raise TimeoutError(f"The S3 front of {self.name} did not {'open' if is_open else 'close'}.")
            time.sleep(POLL_SECONDS)

    def store(self) -> RemoteStore:
        return store_of(self.fleet, self.name, self.service_id)

    def _follow(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # the device was removed
            while not self._stopping.wait(POLL_SECONDS):
                self._look()

    def _look(self) -> None:
        """Opens or closes the port as the device is in a moment."""
        device = self._load()
        timeline.advance(device, time.time() + LEAD_SECONDS)
        service = device["services"][self.service_id]
        serving = device["state"] == "UNLOCKED" and service["state"] in OPEN_STATES and timeline.is_reachable(device)
        if serving and not self.server.is_open:
            self.server.open(device, self.fleet.folder / self.name / "tls", self._fixed_host)
        elif not serving and self.server.is_open:
            self.server.set_listener("refuse")

    def _load(self) -> dict[str, Any]:
        """Read again only when it was replaced: fronts look often."""
        status = os.stat(self.fleet.folder / self.name / "device.json")
        if self._seen != (status.st_ino, status.st_mtime_ns):
            self._device = self.fleet.load(self.name)
            self._seen = (status.st_ino, status.st_mtime_ns)
        return self._device


class DeviceServer(Server):
    """A store that starts closed, and takes certificate, keys and address anew whenever it opens."""

    def __init__(self, folder: Path, host: str, port: int, switches: Switches) -> None:
        super().__init__(folder, host=host, port=port, credentials={}, switches=switches)
        self._mode = "refuse"

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    @property
    def is_open(self) -> bool:
        return self._mode != "refuse"

    def open(self, device: dict[str, Any], certificates: Path, host: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        file = certificates / device["certificate"]["file"]
        context.load_cert_chain(f"{file}.pem", f"{file}.key")
        self._context = context
        self.host = host or host_of(device["endpoint"])
        self.store.secrets.clear()
        self.store.secrets[device["access_key"]] = device["secret_key"]
        self.set_listener("open")

    def _listen(self) -> None:
        if self.is_open:
            super()._listen()


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def store_of(fleet: Fleet, name: str, service_id: str = "s3") -> RemoteStore:
    """A look inside the store of a device whose front runs, in this process or another, locked or not."""
    device = fleet.current(name)
    store = RemoteStore(folder=fleet.folder / name / service_id)
    store.access_key, store.secret_key = device["access_key"], device["secret_key"]
    if device["certificate"]:
        store.ca_path = fleet.folder / name / "tls" / f"{device['certificate']['file']}.pem"
    return store
