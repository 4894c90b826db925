# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ceph RGW from the distribution: one monitor, one object store in memory, one gateway with both schemes."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

from .place import Place
from .processes import ServerFailed, free_ports, require
from .store import Store

CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:{address}:{monitor}]
public addr = {address}
keyring = {folder}/keyring
run dir = {folder}
admin socket =
log file = {folder}/logs/$name.ceph.log
mon cluster log file = {folder}/logs/cluster.ceph.log
log to stderr = false
err to stderr = true
debug ms = 0
debug mon = 0
debug osd = 0
debug rgw = 0
# One of everything, and nobody to be warned about it.
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 2000
mon warn on pool no redundancy = false
mon warn on insecure global id reclaim allowed = false
[mon.a]
mon data = {folder}/monitor
mon data avail warn = 1
mon data avail crit = 1
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 8589934592
osd max object name len = 4096
[client.rgw.a]
rgw frontends = beast endpoint={address}:{http} ssl_endpoint={address}:{https} \
ssl_certificate={certificate} ssl_private_key={key}
rgw enable usage log = false
rgw enable ops log = false
rgw thread pool size = 64
# Memory is all there is: what was overwritten or aborted is given back at once, not after two hours.
rgw gc obj min wait = 5
rgw gc processor period = 5
rgw gc processor max time = 5
"""

KEYS = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
    "client.rgw.a": {"mon": "allow *", "osd": "allow *"},
    "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
}


def start_ceph(place: Place) -> dict[str, Store]:
    for program, package in {
        "ceph-mon": "ceph-mon",
        "ceph-osd": "ceph-osd",
        "ceph": "ceph-common",
        "radosgw-admin": "ceph-common or radosgw",
        "radosgw": "radosgw",
    }.items():
        require(program, f"the Debian package {package}")
    names = ["monitor", "http", "https"]
    ports = dict(zip(names, free_ports(len(names), place.address), strict=True))
    cluster = Cluster(place, configure(place, ports))
    cluster.make_keyring()
    cluster.start_monitor(ports["monitor"])
    cluster.start_osd()
    access_key, secret_key = cluster.add_user()
    cluster.start_gateway(ports)
    fronts = {scheme: ports[scheme] for scheme in ("http", "https")}
    return place.stores("rgw", fronts, access_key, secret_key, quirks_of(cluster.release()))


def quirks_of(release: int) -> dict[str, frozenset[str]]:
    """What the releases of Debian 12 (16), Debian 13 (18) and Ubuntu 24.04 (19) do differently."""
    both = {"no_part_number", "crc_unchecked"}
    if release > 16:
        return {"http": frozenset(both), "https": frozenset(both)}
    both |= {"no_complete_etag"}
    return {"http": frozenset(both), "https": frozenset(both | {"no_trailer"})}


def configure(place: Place, ports: dict[str, int]) -> Path:
    path = place.folder / "ceph.conf"
    path.write_text(
        CONFIGURATION.format(
            fsid=uuid.uuid4(),
            address=place.address,
            folder=place.folder,
            certificate=place.certificates.certificate,
            key=place.certificates.key,
            **ports,
        )
    )
    return path


class Cluster:
    """The steps that bring up a cluster from nothing, in their order."""

    def __init__(self, place: Place, configuration: Path) -> None:
        self._place = place
        self._folder = place.folder
        self._environment = {"CEPH_CONF": str(configuration), "CEPH_ARGS": ""}

    def make_keyring(self) -> None:
        """All keys at once: what is in the keyring when the monitor is made needs no import later."""
        self._run("ceph-authtool", "--create-keyring", self._folder / "keyring")
        for name, rights in KEYS.items():
            caps = [word for service, right in rights.items() for word in ("--cap", service, right)]
            self._run("ceph-authtool", self._folder / "keyring", "--gen-key", "-n", name, *caps)

    def start_monitor(self, port: int) -> None:
        place = self._place
        monitors = self._folder / "monmap"
        fsid = self._run("ceph-conf", "--show-config-value", "fsid").strip()
        self._run(
            "monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:{place.address}:{port}]", monitors
        )  # fmt: skip
        (self._folder / "monitor").mkdir()
        keyring = self._folder / "keyring"
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monitors, "--keyring", keyring)
        self._start("ceph-mon", "ceph-mon", "-f", "-i", "a")
        place.processes.wait_for_port("ceph-mon", place.address, port)

    def start_osd(self) -> None:
        (self._folder / "osd").mkdir()
        identity = str(uuid.uuid4())
        self._run("ceph", "osd", "new", identity)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", identity)
        self._start("ceph-osd", "ceph-osd", "-f", "-i", "0")

    def add_user(self) -> tuple[str, str]:
        """Access key and secret key. Waits by itself until the object store serves."""
        answer = json.loads(self._run("radosgw-admin", "user", "create", "--uid=tester", "--display-name=tester"))
        key = answer["keys"][0]
        return key["access_key"], key["secret_key"]

    def start_gateway(self, ports: dict[str, int]) -> None:
        self._start("radosgw", "radosgw", "-f", "-n", "client.rgw.a")
        for scheme in ("http", "https"):
            self._place.processes.wait_for_port("radosgw", self._place.address, ports[scheme])

    def release(self) -> int:
        version = self._run("radosgw", "--version")
        found = re.search(r"ceph version (\d+)\.", version)
        if not found:
            raise ServerFailed(f"cannot read the release of radosgw from {version!r}")
        return int(found.group(1))

    def _run(self, *argv: str | Path) -> str:
        return self._place.processes.run("Ceph", *argv, environment=self._environment)

    def _start(self, name: str, *argv: str | Path) -> None:
        self._place.processes.start(name, *argv, environment=self._environment)
