# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenStack Swift with its S3 front end, from PyPI in a virtualenv of its own: the everyday store.

One account, container and object server behind two proxies, one for HTTP and one for HTTPS. Runs as any user.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import subprocess
import sys
from pathlib import Path

from .place import Place, new_secret
from .processes import ServerFailed, free_ports, require
from .store import Store

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "tests/requirements/swift.txt"
QUIRKS = frozenset({"no_tags"})

HASHES = """\
[swift-hash]
swift_hash_path_prefix = snowsync
swift_hash_path_suffix = snowsync
[storage-policy:0]
name = Policy-0
default = yes
"""

DEFAULTS = """\
[DEFAULT]
bind_ip = {address}
bind_port = {port}
workers = {workers}
user = {user}
swift_dir = {folder}
devices = {folder}/data
mount_check = false
disable_fallocate = true
log_level = WARNING
log_address = /dev/null
{tls}
"""

BACKEND = """\
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""

PROXY = """\
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats bulk s3api tempauth copy slo dlo versioned_writes symlink \
proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
max_upload_part_num = 10000
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
"""

# The program swift-ring-builder takes nine runs and ten seconds for the same. One device, one replica, 16 partitions.
MAKE_RINGS = """
import sys
from swift.common.ring import RingBuilder

folder, address, *kinds = sys.argv[1:]
for kind, port in (each.split(":") for each in kinds):
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=1)
    place = {"ip": address, "port": int(port), "replication_ip": address, "replication_port": int(port)}
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "weight": 1.0, "device": "d1", "meta": "", **place})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{kind}.ring.gz")
"""


def start_swift(place: Place) -> dict[str, Store]:
    memcached = require("memcached", "the Debian package memcached")
    programs = installed_programs()
    names = ["memcached", "account", "container", "object", "http", "https"]
    ports = dict(zip(names, free_ports(len(names), place.address), strict=True))
    secret_key = new_secret()
    configure(place, programs, ports, secret_key)

    place.processes.start(
        "memcached", memcached, "-u", getpass.getuser(), "-l", "127.0.0.1", "-p", str(ports["memcached"]), "-m", "64"
    )
    for name in names[1:]:
        kind = "proxy" if name.startswith("http") else name
        place.processes.start(name, programs / f"swift-{kind}-server", place.folder / f"{name}.conf")
    for name in names[1:]:
        place.processes.wait_for_port(name, place.address, ports[name])
    fronts = {scheme: ports[scheme] for scheme in ("http", "https")}
    return place.stores("swift", fronts, "test:tester", secret_key, dict.fromkeys(fronts, QUIRKS))


def configure(place: Place, programs: Path, ports: dict[str, int], secret_key: str) -> None:
    """Writes every configuration file and the three rings."""
    folder = place.folder
    (folder / "data/d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(HASHES)
    common = {"address": place.address, "user": getpass.getuser(), "folder": folder}
    for kind in ("account", "container", "object"):
        text = DEFAULTS.format(**common, port=ports[kind], workers=0, tls="") + BACKEND.format(kind=kind)
        (folder / f"{kind}.conf").write_text(text)
    devices = [f"{kind}:{ports[kind]}" for kind in ("account", "container", "object")]
    place.processes.run("rings", programs / "python", "-c", MAKE_RINGS, folder, place.address, *devices)
    tls = f"cert_file = {place.certificates.certificate}\nkey_file = {place.certificates.key}"
    for scheme in ("http", "https"):
        head = DEFAULTS.format(**common, port=ports[scheme], workers=0, tls=tls if scheme == "https" else "")
        path = folder / f"{scheme}.conf"
        path.touch(mode=0o600)
        path.write_text(head + PROXY.format(memcached=ports["memcached"], secret=secret_key))


def installed_programs() -> Path:
    """The folder of Swift's programs; installs them first when the pinned versions are not there yet."""
    home = ROOT / ".build/swift"
    home.parent.mkdir(exist_ok=True)
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    stamp = home / "installed"
    with (home.parent / "swift.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (stamp.exists() and stamp.read_text() == wanted):
            install(home)
            stamp.write_text(wanted)
    return home / "bin"


def install(home: Path) -> None:
    pip = [home / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    for argv in ([sys.executable, "-m", "venv", "--clear", home], [*pip, "--requirement", REQUIREMENTS]):
        done = subprocess.run(
            [str(word) for word in argv], stdin=subprocess.DEVNULL, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise ServerFailed(f"Failed to install Swift into {home}: {done.stdout}{done.stderr}")
