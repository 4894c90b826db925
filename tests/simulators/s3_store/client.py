# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For tests: start a store, in this process or as one of its own, and look inside it without HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from .admin import Control
from .certificates import Certificates, make_certificates
from .model import Switches, adapter_switches
from .server import Server

ACCESS_KEY = "simulator"
SECRET_KEY = "simulator-secret"


class RunningStore:
    """A store that runs. `url`, `access_key`, `secret_key`, `ca_path` (None over HTTP) are for clients under test.

    The other methods bypass S3: they see and change what is stored, set faults, read the log.
    """

    def __init__(self, folder: Path, certificates: Certificates | None) -> None:
        self.folder = folder
        self.access_key = ACCESS_KEY
        self.secret_key = SECRET_KEY
        self.ca_path: Path | None = certificates.ca if certificates else None
        self.url = ""

    # -- for clients under test ------------------------------------------------------------------------------------

    def credentials_file(self, path: str | os.PathLike[str], profile: str = "default") -> Path:
        """Writes an AWS credentials file with the right keys."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(mode=0o600)
        target.write_text(
            f"[{profile}]\naws_access_key_id = {self.access_key}\naws_secret_access_key = {self.secret_key}\n"
        )
        return target

    def job_side(self, bucket: str, credentials_file: str | os.PathLike[str], **more: Any) -> dict[str, Any]:
        """A `source` or `destination` mapping of a job's configuration."""
        side: dict[str, Any] = {"bucket": bucket, "endpoints": [self.url], "credentials_file": str(credentials_file)}
        if self.ca_path is not None:
            side["ca_bundle"] = str(self.ca_path)
        return {**side, **more}

    def environment(self) -> dict[str, str]:
        """A clean environment for s5cmd and other AWS programs."""
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self.folder),
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "S3_ENDPOINT_URL": self.url,
        }
        if self.ca_path is not None:
            environment["AWS_CA_BUNDLE"] = str(self.ca_path)
        return environment

    # -- objects ---------------------------------------------------------------------------------------------------

    def create_bucket(self, bucket: str) -> None:
        raise NotImplementedError

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        part_size: int = 0,
        modified_ms: int = 0,
    ) -> str:
        """Stores an object, makes its bucket if need be, returns the ETag. `part_size` > 0: as a multipart upload."""
        raise NotImplementedError

    def get(self, bucket: str, key: str) -> bytes:
        raise NotImplementedError

    def fill(self, bucket: str, count: int, size: int = 0, prefix: str = "") -> None:
        """`count` objects PREFIX000000000, ... of `size` bytes each, all the same bytes: a million take seconds."""
        raise NotImplementedError

    def delete(self, bucket: str, key: str) -> bool:
        raise NotImplementedError

    def objects(self, bucket: str) -> list[dict[str, Any]]:
        """key, size, etag, modified_ms, headers, tags, parts of every object, sorted by key."""
        raise NotImplementedError

    def list(self, bucket: str) -> dict[str, str]:
        """Key -> ETag of every object."""
        return {entry["key"]: entry["etag"] for entry in self.objects(bucket)}

    def head(self, bucket: str, key: str) -> dict[str, Any]:
        """One entry of `objects`; KeyError if there is none."""
        return {entry["key"]: entry for entry in self.objects(bucket)}[key]

    def uploads(self, bucket: str) -> Sequence[dict[str, Any]]:
        """The multipart uploads under way: key, upload_id, parts."""
        raise NotImplementedError

    def damage(self, bucket: str, key: str, offset: int = 0, xor: int = 1) -> None:
        """Bit rot in one stored byte; size, ETag and time stay."""
        raise NotImplementedError

    # -- behaviour -------------------------------------------------------------------------------------------------

    def set_fault(self, action: str, **rule: Any) -> str:
        """Adds a rule (see faults.Rule), returns its id."""
        raise NotImplementedError

    def clear_faults(self, rule_id: str | None = None) -> None:
        raise NotImplementedError

    def faults(self) -> Sequence[dict[str, Any]]:
        """The rules with `matched` and `hits`."""
        raise NotImplementedError

    def set_switches(self, **values: Any) -> None:
        raise NotImplementedError

    def renew_keys(self, access_key: str, secret_key: str, *, keep: bool = False) -> None:
        """The store knows this key pair from now on (`keep`: the former ones too), and `credentials_file` writes it."""
        self._set_keys(access_key, secret_key, keep)
        self.access_key, self.secret_key = access_key, secret_key

    def _set_keys(self, access_key: str, secret_key: str, keep: bool) -> None:
        raise NotImplementedError

    def listener(self, mode: str, seconds: float | None = None) -> None:
        """`open`, `refuse` or `silent`; with `seconds`, open again after that time."""
        raise NotImplementedError

    # -- log -------------------------------------------------------------------------------------------------------

    def log(self, operation: str = "", key: str | None = None) -> Sequence[dict[str, Any]]:
        """The requests in order of their answers, filtered by operation and key (see requestlog.Record)."""
        return [
            line
            for line in self._log()
            if (not operation or line["operation"] == operation) and (key is None or line["key"] == key)
        ]

    def _log(self) -> Sequence[dict[str, Any]]:
        raise NotImplementedError

    def counters(self) -> dict[str, Any]:
        raise NotImplementedError

    def count(self, operation: str) -> int:
        """How many requests of this operation there were."""
        return int(self.counters()["operations"].get(operation, 0))

    def writes(self, bucket: str) -> dict[str, Sequence[dict[str, Any]]]:
        """Key -> its publications (PutObject, CopyObject, CompleteMultipartUpload), oldest first."""
        return {entry["key"]: entry["writes"] for entry in self._writes() if entry["bucket"] == bucket}

    def written_again(self, bucket: str) -> dict[str, int]:
        """Key -> how often it was published, of those that were published more than once."""
        return {key: len(writes) for key, writes in self.writes(bucket).items() if len(writes) > 1}

    def _writes(self) -> Sequence[dict[str, Any]]:
        raise NotImplementedError

    def clear_log(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError


class LocalStore(RunningStore):
    """A store in threads of this process; `server` is open to whatever a test needs."""

    def __init__(self, folder: Path, certificates: Certificates | None, switches: Switches, port: int = 0) -> None:
        super().__init__(folder, certificates)
        pair = (str(certificates.certificate), str(certificates.key)) if certificates else None
        self.server = Server(
            folder, port=port, credentials={ACCESS_KEY: SECRET_KEY}, switches=switches, certificate=pair
        ).start()
        self.url = self.server.url

    @property
    def control(self) -> Control:
        return self.server.control

    def create_bucket(self, bucket: str) -> None:
        self.server.store.storage.create_bucket(bucket)

    def put(self, bucket: str, key: str, data: bytes = b"", **options: Any) -> str:
        return self.control.put(bucket, key, data, **options)

    def get(self, bucket: str, key: str) -> bytes:
        return self.control.get(bucket, key)

    def fill(self, bucket: str, count: int, size: int = 0, prefix: str = "") -> None:
        self.control.fill(bucket, count, size, prefix)

    def delete(self, bucket: str, key: str) -> bool:
        return self.control.delete(bucket, key)

    def objects(self, bucket: str) -> list[dict[str, Any]]:
        return self.control.objects(bucket)

    def uploads(self, bucket: str) -> Sequence[dict[str, Any]]:
        return self.control.uploads(bucket)

    def damage(self, bucket: str, key: str, offset: int = 0, xor: int = 1) -> None:
        self.control.damage(bucket, key, offset, xor)

    def set_fault(self, action: str, **rule: Any) -> str:
        return self.server.store.faults.add({"action": action, **rule})

    def clear_faults(self, rule_id: str | None = None) -> None:
        self.server.store.faults.remove(rule_id)

    def faults(self) -> Sequence[dict[str, Any]]:
        return self.server.store.faults.rules()

    def set_switches(self, **values: Any) -> None:
        self.control.set_switches(**values)

    def _set_keys(self, access_key: str, secret_key: str, keep: bool) -> None:
        self.control.set_keys(access_key, secret_key, keep=keep)

    def listener(self, mode: str, seconds: float | None = None) -> None:
        self.server.set_listener(mode, seconds)

    def _log(self) -> Sequence[dict[str, Any]]:
        return self.server.store.log.lines()

    def counters(self) -> dict[str, Any]:
        return self.server.store.log.counters()

    def _writes(self) -> Sequence[dict[str, Any]]:
        return self.server.store.log.write_list()

    def clear_log(self) -> None:
        self.server.store.log.clear()

    def stop(self) -> None:
        self.server.stop()


class RemoteStore(RunningStore):
    """A store of another process, through its admin endpoint.

    `folder` reaches it over FOLDER/admin.sock, also while the port refuses; `url` alone over the port.
    """

    def __init__(self, url: str = "", *, folder: Path | None = None, certificates: Certificates | None = None) -> None:
        super().__init__(folder or Path(), certificates)
        self._socket = folder / "admin.sock" if folder else None
        self.url = url or str(self._json("GET", "")["url"])

    def _request(self, method: str, name: str, query: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
        target = f"/_sim/{name}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        connection = _AdminConnection(self._socket) if self._socket else _tcp_connection(self.url)
        with contextlib.closing(connection):
            connection.request(method, target, body, {"Connection": "close"})
            answer = connection.getresponse()
            data = answer.read()
        if answer.status == 404:
            raise KeyError(f"{target}: {data.decode()}")
        if answer.status != 200:
            raise ValueError(f"{method} {target}: {answer.status} {data.decode()}")
        return data

    def _json(self, method: str, name: str, query: Mapping[str, str] | None = None, value: Any = None) -> Any:
        return json.loads(self._request(method, name, query, b"" if value is None else json.dumps(value).encode()))

    def create_bucket(self, bucket: str) -> None:
        self._json("PUT", "bucket", {"bucket": bucket})

    def put(self, bucket: str, key: str, data: bytes = b"", **options: Any) -> str:
        given = {name: value for name, value in options.items() if value}
        query = {"bucket": bucket, "key": key, "options": json.dumps(given)}
        return str(json.loads(self._request("PUT", "object", query, data))["etag"])

    def get(self, bucket: str, key: str) -> bytes:
        return self._request("GET", "object", {"bucket": bucket, "key": key})

    def fill(self, bucket: str, count: int, size: int = 0, prefix: str = "") -> None:
        self._json("POST", "fill", {"bucket": bucket}, {"count": count, "size": size, "prefix": prefix})

    def delete(self, bucket: str, key: str) -> bool:
        return bool(self._json("DELETE", "object", {"bucket": bucket, "key": key})["deleted"])

    def objects(self, bucket: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._json("GET", "objects", {"bucket": bucket})
        return found

    def uploads(self, bucket: str) -> Sequence[dict[str, Any]]:
        found: Sequence[dict[str, Any]] = self._json("GET", "uploads", {"bucket": bucket})
        return found

    def damage(self, bucket: str, key: str, offset: int = 0, xor: int = 1) -> None:
        self._json("POST", "damage", {"bucket": bucket, "key": key}, {"offset": offset, "xor": xor})

    def set_fault(self, action: str, **rule: Any) -> str:
        return str(self._json("POST", "faults", value={"action": action, **rule})[0])

    def clear_faults(self, rule_id: str | None = None) -> None:
        self._json("DELETE", "faults", {"id": rule_id} if rule_id else None)

    def faults(self) -> Sequence[dict[str, Any]]:
        rules: Sequence[dict[str, Any]] = self._json("GET", "faults")
        return rules

    def set_switches(self, **values: Any) -> None:
        self._json("POST", "switches", value=values)

    def _set_keys(self, access_key: str, secret_key: str, keep: bool) -> None:
        self._json("POST", "keys", value={"access_key": access_key, "secret_key": secret_key, "keep": keep})

    def listener(self, mode: str, seconds: float | None = None) -> None:
        self._json("POST", "listener", value={"mode": mode, "seconds": seconds})

    def _log(self) -> Sequence[dict[str, Any]]:
        return [json.loads(line) for line in self._request("GET", "log").splitlines()]

    def counters(self) -> dict[str, Any]:
        counted: dict[str, Any] = self._json("GET", "counters")
        return counted

    def _writes(self) -> Sequence[dict[str, Any]]:
        written: Sequence[dict[str, Any]] = self._json("GET", "writes")
        return written

    def clear_log(self) -> None:
        self._json("DELETE", "log")

    def stop(self) -> None:
        """Nothing: whoever started that process ends it."""


class ProcessStore(RemoteStore):
    """A store in a process of its own, which tests may kill and start again on the same port."""

    def __init__(
        self, folder: Path, certificates: Certificates | None, switches: Mapping[str, Any], *, adapter: bool
    ) -> None:
        self.process: subprocess.Popen[str] | None = None
        self._command = [sys.executable, "-m", __package__ or "s3_store", "--folder", str(folder)]
        self._command += ["--adapter"] if adapter else []
        for name, value in switches.items():
            self._command += ["--switch", f"{name}={json.dumps(value)}"]
        if certificates:
            self._command += ["--certificate", str(certificates.certificate), str(certificates.key)]
        url = self._start(0)
        super().__init__(url, folder=folder, certificates=certificates)

    def _start(self, port: int) -> str:
        levels = (__package__ or "s3_store").count(".") + 1
        path = str(Path(__file__).resolve().parents[levels])
        environment = {**os.environ, "PYTHONPATH": path, "S3_STORE_SECRET_KEY": SECRET_KEY}
        command = [*self._command, "--access-key", ACCESS_KEY, "--port", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError(f"Failed to start the store: {line!r}, exit {self.process.wait()}")
        return line.split()[-1]

    def kill(self) -> None:
        """SIGKILL, as a power cut of the store."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Starts it again on the same folder and port."""
        self._end(signal.SIGTERM)
        self._start(urlsplit(self.url).port or 0)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        process = self.process
        if process is None:
            return
        self.process = None
        process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


class _AdminConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        finally:
            os.close(folder)


def _tcp_connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # loopback, and only the simulator's own endpoint
        return http.client.HTTPSConnection(host, port, timeout=60, context=context)
    return http.client.HTTPConnection(host, port, timeout=60)


@contextlib.contextmanager
def start(
    folder: str | os.PathLike[str],
    *,
    tls: bool = False,
    process: bool = False,
    adapter: bool = False,
    buckets: Sequence[str] = ("bucket",),
    **switches: Any,
) -> Iterator[Any]:
    """Runs a store below `folder` for the duration of a `with` block and yields it.

    `process` false gives a LocalStore (threads of this process), true a ProcessStore (a process of its own: for
    tests that measure, that kill it, or whose client must not share this interpreter). `adapter` sets the limits of a
    Snowball Edge S3 adapter; `switches` are those of model.Switches.
    """
    base = Path(folder)
    base.mkdir(parents=True, exist_ok=True)
    certificates = make_certificates(base / "tls") if tls else None
    store: LocalStore | ProcessStore
    if process:
        store = ProcessStore(base, certificates, switches, adapter=adapter)
    else:
        chosen = adapter_switches(**switches) if adapter else Switches().changed(**switches)
        store = LocalStore(base, certificates, chosen)
    try:
        for bucket in buckets:
            store.create_bucket(bucket)
        yield store
    finally:
        store.stop()
