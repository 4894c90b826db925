# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The devices of one folder: made, found, changed. Many processes may do so at once, one lock file orders them."""

from __future__ import annotations

import contextlib
import copy
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import timeline
from .manifest import digest, make_manifest
from .model import GENERATIONS, STATES, host_of, merge, new_device, same_endpoint

if TYPE_CHECKING:
    from ..s3_store import RemoteStore
    from .front import Front

HERE = Path(__file__).resolve().parent
VARIABLE = "SNOWBALL_SIM"
SNOWDIRS = "snowdirs"
RESERVED = {SNOWDIRS, "home"}


class Fleet:
    """All simulated devices of a folder.

    In a test `Fleet(tmp_path)` keeps them in tmp_path/devices, their snowdirs in tmp_path/snowdirs and the client's
    home in tmp_path/home; `Fleet.of_environment()` is what the commands use. `client` is the generation of the client
    program: its version and the first line of `configure`.
    """

    def __init__(self, folder: str | os.PathLike[str], *, client: str = "") -> None:
        base = Path(folder)
        self.folder = base / "devices"
        self.snowdirs = base / SNOWDIRS
        self.home = base / "home"
        for path in (self.folder, self.home):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if client:
            self.set_client(client)

    @classmethod
    def of_environment(cls) -> Fleet:
        """The folder that SNOWBALL_SIM names, ~/.snowball-sim without it."""
        fleet = cls.__new__(cls)
        fleet.home = Path(os.environ.get("HOME") or Path.home())
        fleet.folder = Path(os.environ.get(VARIABLE) or fleet.home / ".snowball-sim")
        fleet.snowdirs = fleet.folder / SNOWDIRS
        fleet.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return fleet

    def environment(self) -> dict[str, str]:
        """For programs under test: the client is the first `snowballEdge` of PATH, and HOME is the fleet's own."""
        path = os.pathsep.join([str(HERE), os.environ.get("PATH", "/usr/bin:/bin")])
        return {"PATH": path, VARIABLE: str(self.folder), "HOME": str(self.home)}

    @property
    def executable(self) -> Path:
        return HERE / "snowballEdge"

    # -- devices ---------------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        return sorted(path.parent.name for path in self.folder.glob("*/device.json"))

    def __getitem__(self, name: str) -> Device:
        if not (self.folder / name / "device.json").exists():
            raise KeyError(f"There is no device {name!r} in {self.folder}, only: {', '.join(self.names()) or 'none'}")
        return Device(self, name)

    def make(
        self,
        name: str,
        *,
        snowdir: str | os.PathLike[str] | None = None,
        wrong_code: bool = False,
        wrong_manifest: bool = False,
        **fields: Any,
    ) -> Device:
        """A new device and its snowdir, a folder called `name` below `snowdir`.

        `fields` are merged into those of model.new_device. `wrong_code` and `wrong_manifest` spoil the snowdir only:
        a code that does not belong to the manifest, a manifest of another device that has the same code.
        """
        if name in RESERVED or "/" in name or name.startswith("."):
            raise ValueError(f"{name!r} is no name for a device")
        with self.locked():
            if (self.folder / name / "device.json").exists():
                raise ValueError(f"There is a device {name!r} in {self.folder} already")
            generation = fields.get("generation", "new")
            device = new_device(name, fields.get("endpoint") or self._free_endpoint(), generation)
            _apply(device, fields, self.folder / name / "tls")
            self._adopt_cluster(device, explicit="unlock_code" in fields)
            manifest = self._manifest(device)
            device["manifest_sha256"] = digest(manifest)
            self.save(device)
        made = Device(self, name)
        made.write_snowdir(Path(snowdir) if snowdir else self.snowdirs, wrong_code, wrong_manifest)
        return made

    def make_cluster(self, name: str, nodes: int = 3, **fields: Any) -> list[Device]:
        """Devices NAME-1, NAME-2, ... with one manifest and one code, and a snowdir NAME for all of them."""
        names = [f"{name}-{number}" for number in range(1, nodes + 1)]
        snowdir = fields.pop("snowdir", None)
        cluster = {"id": f"CID-{name}", "nodes": names, "formed": False}
        made = [self.make(each, snowdir=snowdir, **{**fields, "cluster": cluster}) for each in names]
        target = (Path(snowdir) if snowdir else self.snowdirs) / name
        made[0].write_snowdir_into(target, addresses=[host_of(node.show()["endpoint"]) for node in made])
        return made

    def _adopt_cluster(self, device: dict[str, Any], *, explicit: bool) -> None:
        """A node has the code of the nodes that are there already."""
        for node in (device["cluster"] or {}).get("nodes", []):
            if node in self.names() and not explicit:
                device["unlock_code"] = self.load(node)["unlock_code"]
                return

    def _manifest(self, device: dict[str, Any]) -> bytes:
        """The manifest of the device, kept beside device.json; a node has that of the first node."""
        target: Path = self.folder / device["name"] / "manifest.bin"
        nodes = (device["cluster"] or {}).get("nodes", [])
        shared = [path for node in nodes if (path := self.folder / node / "manifest.bin").exists()]
        manifest = shared[0].read_bytes() if shared else make_manifest(device["job_id"], device["unlock_code"])
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.write_bytes(manifest)
        return manifest

    def _free_endpoint(self) -> str:
        """Every device has an address of its own on loopback, where its S3 front may listen."""
        taken = {host_of(self.load(name)["endpoint"]) for name in self.names()}
        number = next(n for n in range(60000) if f"127.9.{n // 250}.{n % 250 + 1}" not in taken)
        return f"https://127.9.{number // 250}.{number % 250 + 1}:9091"

    def find(self, endpoint: str) -> str | None:
        """The name of the device at this endpoint."""
        return next((name for name in self.names() if same_endpoint(self.load(name)["endpoint"], endpoint)), None)

    def find_host(self, address: str) -> str | None:
        """The name of the device at this IP address."""
        return next((name for name in self.names() if host_of(self.load(name)["endpoint"]) == address), None)

    # -- the folder ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def load(self, name: str) -> dict[str, Any]:
        """What is on disk, not advanced to now."""
        device: dict[str, Any] = json.loads((self.folder / name / "device.json").read_text())
        return device

    def current(self, name: str) -> dict[str, Any]:
        """The device as it is now."""
        device = self.load(name)
        timeline.advance(device, time.time())
        return device

    def save(self, device: dict[str, Any]) -> None:
        _replace(self.folder / device["name"] / "device.json", json.dumps(device, indent=1) + "\n")

    def change(self, name: str, action: Callable[[dict[str, Any]], Any]) -> Any:
        """`action` on the device as it is now, under the lock; saved also when it raises."""
        with self.locked():
            device = self.current(name)
            try:
                return action(device)
            finally:
                self.save(device)

    # -- the client program ----------------------------------------------------------------------------------------

    @property
    def client(self) -> str:
        """old or new: SNOWBALL_SIM_CLIENT, else what set_client wrote, else new."""
        chosen = os.environ.get("SNOWBALL_SIM_CLIENT", "")
        with contextlib.suppress(OSError):
            chosen = chosen or (self.folder / "client").read_text().strip()
        return chosen or "new"

    def set_client(self, generation: str) -> None:
        _replace(self.folder / "client", _known("client", generation, GENERATIONS) + "\n")

    def record(self, name: str | None, call: Mapping[str, Any]) -> None:
        """Appends to the calls of a device, or to those that reached none."""
        folder = self.folder / name if name else self.folder
        with (folder / "calls.jsonl").open("a") as log:
            log.write(json.dumps(call) + "\n")

    def calls(self, name: str | None = None) -> list[dict[str, Any]]:
        path = (self.folder / name if name else self.folder) / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Device:
    """One device of a fleet, for tests and for the administration command."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.fleet = fleet
        self.name = name
        self.folder = fleet.folder / name

    @property
    def snowdir(self) -> Path:
        """The folder with manifest.bin and sbe_config.yaml."""
        return Path((self.folder / "snowdir").read_text().strip())

    def show(self) -> dict[str, Any]:
        """Everything about the device as it is now, with its calls and its snowdir."""
        return {**self.fleet.current(self.name), "calls": self.calls(), "snowdir": str(self.snowdir)}

    def set(self, **changes: Any) -> dict[str, Any]:
        """Merges `changes` in; `services={"s3-snow": {"hangs": True}}` leaves everything else as it is."""
        self.fleet.change(self.name, lambda device: _apply(device, changes, self.folder / "tls"))
        return self.show()

    def reboot(self) -> None:
        """What a power cut does; `reboot-device` does the same where the device allows it."""
        self.fleet.change(self.name, lambda device: timeline.power_cycle(device, time.time()))

    def calls(self, command: str = "") -> list[dict[str, Any]]:
        """The client calls that reached the device: time, command, argv without secrets, code_in_argv, profile."""
        return [call for call in self.fleet.calls(self.name) if not command or call["command"] == command]

    @property
    def endpoint(self) -> str:
        return str(self.fleet.load(self.name)["endpoint"])

    @property
    def unlock_code(self) -> str:
        return str(self.fleet.load(self.name)["unlock_code"])

    @property
    def manifest(self) -> Path:
        """The right one, whatever the snowdir holds."""
        return self.folder / "manifest.bin"

    # -- its S3 front ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def serve(self, *buckets: str, **options: Any) -> Iterator[Front]:
        """Its S3 front in threads of this process, for a `with` block; `options` are those of front.Front."""
        from .front import Front

        front = Front(self.fleet, self.name, buckets=buckets or ("bucket",), **options).start()
        try:
            yield front
        finally:
            front.stop()

    def store(self, service_id: str = "s3") -> RemoteStore:
        """A look inside the store of its front, whatever process that runs in."""
        from .front import store_of

        return store_of(self.fleet, self.name, service_id)

    # -- its snowdir -----------------------------------------------------------------------------------------------

    def write_snowdir(self, parent: Path, wrong_code: bool = False, wrong_manifest: bool = False) -> Path:
        return self.write_snowdir_into(parent / self.name, wrong_code=wrong_code, wrong_manifest=wrong_manifest)

    def write_snowdir_into(
        self,
        folder: Path,
        *,
        wrong_code: bool = False,
        wrong_manifest: bool = False,
        addresses: Sequence[str] = (),
    ) -> Path:
        """The folder as an operator has it: manifest.bin, and sbe_config.yaml with unlock_key and endpoint_url."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        code = self.unlock_code
        manifest = self.manifest.read_bytes()
        if wrong_manifest:
            manifest = make_manifest(f"{self.name}-another", code)
        if wrong_code:
            code = "00bad-00bad-00bad-00bad-00bad"
        (folder / "manifest.bin").write_bytes(manifest)
        lines = [f"unlock_key: {code}", f"endpoint_url: {self.endpoint}"]
        lines += [f"device_ip_addresses: [{', '.join(addresses)}]"] if addresses else []
        config = folder / "sbe_config.yaml"
        config.touch(mode=0o600)
        config.write_text("\n".join(["---", *lines]) + "\n")
        (self.folder / "snowdir").write_text(f"{folder.resolve()}\n")
        return folder


def _apply(device: dict[str, Any], changes: Mapping[str, Any], certificates: Path) -> None:
    """Merges `changes`; what has a state and was put into another one is in it from now on."""
    before = copy.deepcopy(device)
    merge(device, changes)
    _known("state", device["state"], STATES)
    _known("generation", device["generation"], GENERATIONS)
    now = time.time()
    if device["state"] != before["state"]:
        device["since"] = now
        if device["state"] != "LOCKED":
            ensure_certificate(device, certificates)
        if device["state"] == "UNLOCKED":
            timeline.be_unlocked(device, now)
    for service_id, service in device["services"].items():
        if service["state"] != before["services"].get(service_id, {}).get("state", service["state"]):
            service["since"] = now
    if device["software"]["state"] != before["software"]["state"]:
        _enter_software_state(device["software"], now)


def _enter_software_state(software: dict[str, Any], now: float) -> None:
    software["since"] = now
    if software["state"] != "NA" and software["installing"] == "NA":
        software["installing"] = software["latest"]
    if software["state"] == "REQUIRE_REBOOT" and not software["reboots_left"]:
        software["reboots_left"] = software["reboots"]


def ensure_certificate(device: dict[str, Any], folder: Path) -> None:
    """A device that is unlocked at another address than before makes a certificate, and the one before is void."""
    address = host_of(device["endpoint"])
    if device["certificate"] and device["certificate"]["address"] == address:
        return
    from .certificates import make_certificate  # a third of the time that the client takes to start

    device["certificate"] = make_certificate(folder, device["device_id"], address)
    if device["generation"] == "new":
        # Listed first and belonging to no endpoint: who takes Certificates[0] trusts the wrong one.
        device["other_certificates"] = [make_certificate(folder, device["device_id"], address)]


def _known(what: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"{what}: {value!r} is not one of {', '.join(known)}")
    return value


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text)
    part.chmod(0o600)
    part.replace(path)
