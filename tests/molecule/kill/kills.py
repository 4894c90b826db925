# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kills.py: kills a job's units, then its host, at random moments of one transfer, and judges what the stores saw.

A unit loses its whole cgroup to SIGKILL, the host its PID 1; systemd starts again what it should. At the end, which is
waited for: nothing was written twice to the destination, and no more bytes were fetched again than were in flight at
the kills. Prints what happened; exit code 1 with the reason if something is not so. The seed is in $SNOWSYNC_SEED.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PENDING = 0
# The transfer has to go on between two kills, but not for long: most kills are to hit work under way.
PAUSE_SECONDS = (0.3, 2.5)
START_SECONDS = 60
END_SECONDS = 300
ENOUGH = 300  # objects


# Stores answer such questions on their own loopback only.
ASK = """
import sys, urllib.request
url, body = sys.argv[1:]
print(urllib.request.urlopen(urllib.request.Request(url, body.encode() or None)).read().decode())
"""


def podman(*words: str, check: bool = True) -> str:
    result = subprocess.run(["podman", *words], check=check, capture_output=True, text=True)
    return result.stdout.strip()


@dataclass
class Store:
    """One of the stores in the other container, and what can be asked about it besides S3."""

    container: str
    port: int

    def ask(self, path: str, document: object = None) -> Any:
        url = f"http://127.0.0.1:{self.port}/_sim/{path}"
        body = "" if document is None else json.dumps(document)
        text = podman("exec", self.container, "python3", "-c", ASK, url, body)
        return [json.loads(line) for line in text.splitlines()] if path.startswith("log") else json.loads(text)


def wait_until(what: str, ready: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            sys.exit(f"waited {seconds:g} s in vain until {what}")
        time.sleep(0.1)


@dataclass
class Host:
    """The container with the units. Its files are read from outside, so that they can be read while it is dead."""

    container: str
    job: str
    root: Path = field(init=False)
    pid_file: Path = field(init=False)

    def __post_init__(self) -> None:
        self.root = Path(podman("mount", self.container))
        self.pid_file = Path(podman("container", "inspect", "--format={{.PidFile}}", self.container))

    def systemctl(self, *words: str) -> list[str]:
        # Not `podman exec`, which takes a second when the machine is busy.
        command = ["nsenter", f"--target={self.pid_file.read_text()}", "--all", "systemctl", *words]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout.split()

    def unit(self, side: str) -> str:
        return f"snowsync-{side}@{self.job}.service"

    def is_running(self) -> bool:
        return self.systemctl("is-active", self.unit("source"), self.unit("destination")) == ["active", "active"]

    def kill_unit(self, side: str) -> None:
        self.systemctl("kill", "--kill-whom=all", "--signal=KILL", self.unit(side))

    def kill(self) -> None:
        podman("kill", "--signal=KILL", self.container)
        wait_until("the host is dead", lambda: self.state() == "exited", START_SECONDS)

    def start(self) -> None:
        podman("start", self.container)

    def state(self) -> str:
        return podman("container", "inspect", "--format={{.State.Status}}", self.container)

    def ledger(self, sql: str) -> list[tuple[Any, ...]]:
        path = self.root / "var/lib/snowsync" / self.job / "ledger.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as ledger:
            return ledger.execute(sql).fetchall()

    def is_drained(self) -> bool:
        return self.left() == 0

    def left(self) -> int:
        """Objects that are not released yet."""
        return int(self.ledger("SELECT count(*) FROM objects WHERE state < 3")[0][0])


@dataclass
class Trial:
    host: Host
    source: Store
    destination: Store
    chance: random.Random
    seen: int = 0  # number of the last request to the source that an earlier kill has accounted for
    in_flight: int = 0
    kills: Counter[str] = field(default_factory=Counter)

    def run(self, unit_kills: int, host_kills: int) -> None:
        for number in range(unit_kills + host_kills):
            side = self.chance.choice(["source", "destination"]) if number < unit_kills else "host"
            wait_until("both units run", self.host.is_running, START_SECONDS)
            self.top_up(number)
            time.sleep(self.chance.uniform(*PAUSE_SECONDS))
            self.kill(side)

    def top_up(self, number: int) -> None:
        """How much is moved between two kills depends on the machine; there is to be work until the last one."""
        if self.host.left() < ENOUGH:
            self.source.ask("fill?bucket=source", {"count": ENOUGH, "size": 65536, "prefix": f"more/{number:02}/"})
            wait_until("the new objects are listed", lambda: self.host.left() >= ENOUGH, START_SECONDS)

    def kill(self, side: str) -> None:
        if side == "host":
            self.host.kill()
            self.account()
            self.host.start()
        else:
            self.host.kill_unit(side)
            if side == "source":
                self.account()
        self.kills[side] += 1

    def account(self) -> None:
        """What was being fetched: asked for since the last account, and not staged according to the ledger."""
        lines = self.source.ask(f"log?after={self.seen}")
        self.seen = max([self.seen, *(line["number"] for line in lines)])
        begun = {line["key"] for line in lines if line["operation"] == "GetObject"}
        pending = self.host.ledger(f"SELECT key, size FROM objects WHERE state = {PENDING}")
        self.in_flight += sum(size for key, size in pending if key in begun)

    def judge(self) -> None:
        total = sum(item["size"] for item in self.source.ask("objects?bucket=source"))
        fetched = sum(line["bytes_out"] for line in self.source.ask("log") if line["operation"] == "GetObject")
        writes = {entry["key"]: len(entry["writes"]) for entry in self.destination.ask("writes")}
        twice = {key: count for key, count in writes.items() if count > 1}
        again = fetched - total
        print(f"killed {dict(self.kills)}; {len(writes)} objects written, {len(twice)} of them twice")
        print(f"{total} bytes at the source, {again} fetched again, {self.in_flight} were in flight at the kills")
        if twice:
            sys.exit(f"written twice: {twice}")
        if again > self.in_flight:
            sys.exit("more was fetched again than was in flight")


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("container", "job", "stores"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("source-port", "destination-port", "unit-kills", "host-kills"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args()
    seed = int(os.environ.get("SNOWSYNC_SEED", time.time_ns() % 1_000_000))
    print(f"seed {seed}", flush=True)
    host = Host(given.container, given.job)
    stores = Store(given.stores, given.source_port), Store(given.stores, given.destination_port)
    trial = Trial(host, *stores, random.Random(seed))
    try:
        trial.run(given.unit_kills, given.host_kills)
        for store in stores:
            store.ask("switches", {"latency": 0.0})
        wait_until("everything has arrived", host.is_drained, END_SECONDS)
    finally:
        podman("umount", given.container)
    trial.judge()


if __name__ == "__main__":
    main()
