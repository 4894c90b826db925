# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole transfer on loopback: a source store, a destination store, volumes, a job, and ways to run it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.forks import ForkedPython, run_forked
from job_files import write_job
from simulators.s3_store.client import RunningStore

SOURCE = "source-bucket"
DESTINATION = "destination-bucket"


class Rig:
    """One job between two simulated stores. Everything lies below `folder`.

    Commands are forks of a process that has imported the engine; `fresh`: each begins as an interpreter of its own.
    """

    fresh = False

    def __init__(self, folder: Path, source: RunningStore, destination: RunningStore, volumes: int = 2) -> None:
        self.folder = folder
        self.source = source
        self.destination = destination
        source.create_bucket(SOURCE)
        destination.create_bucket(DESTINATION)
        self.volumes = [folder / f"volume-{number:02}" for number in range(1, volumes + 1)]
        for volume in self.volumes:
            volume.mkdir()
        self.config: dict[str, Any] = {
            "job": "rig",
            "state_dir": str(folder / "state"),
            "source": source.job_side(SOURCE, source.credentials_file(folder / "credentials" / "source")),
            "destination": destination.job_side(
                DESTINATION, destination.credentials_file(folder / "credentials" / "destination")
            ),
            # With a limit only what is staged counts as full, not what else the machine's disk holds.
            "volumes": [
                {"name": volume.name, "path": str(volume), "require_mount": False, "limit": "16GiB"}
                for volume in self.volumes
            ],
        }

    @property
    def job_file(self) -> Path:
        return write_job(self.folder / "rig.yml", self.config)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snowsync", *arguments]

    def words(self, *arguments: str) -> list[str]:
        """The command with the job's file instead of `JOB`."""
        job = str(self.job_file)
        return self.command(*(job if argument == "JOB" else argument for argument in arguments))

    def snowsync(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run the command to its end; the job's file stands in for `JOB`."""
        argv = self.words(*arguments)
        if self.fresh:
            return subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
        return run_forked(argv, timeout)

    def run(self, *more: str, timeout: float = 120) -> tuple[int, dict[str, Any], str]:
        """`snowsync run --until-drained --json`: exit code, the document ({} when there is none), stderr."""
        result = self.snowsync("run", "JOB", "--until-drained", "--json", *more, timeout=timeout)
        return result.returncode, json.loads(result.stdout) if result.stdout.strip() else {}, result.stderr

    def start(self, *more: str) -> subprocess.Popen[str]:
        """Start `snowsync run` in a process group of its own, so that it can be killed with its movers."""
        return self.start_command("run", "JOB", *(more or ("--until-drained",)))

    def start_command(self, *arguments: str) -> subprocess.Popen[str]:
        """Start any command so; the job's file stands in for `JOB`."""
        start = subprocess.Popen if self.fresh else ForkedPython
        pipe = subprocess.PIPE
        return start(self.words(*arguments), stdout=pipe, stderr=pipe, text=True, start_new_session=True)

    def requests(self) -> int:
        """How many requests both stores were asked so far."""
        return sum(sum(store.counters()["operations"].values()) for store in (self.source, self.destination))

    def kill_after(self, process: subprocess.Popen[str], requests: int) -> bool:
        """SIGKILL a run after so many requests more, however long these take here. False: it ended by itself before."""
        wanted = self.requests() + requests
        while self.requests() < wanted:
            if process.poll() is not None:
                return False
            time.sleep(0.005)
        kill_group(process)
        return process.returncode == -signal.SIGKILL

    def assert_delivered(self, keys: list[str] | None = None) -> None:
        """Source and destination hold the same keys, sizes, ETags and bytes."""
        source, destination = self.source.list(SOURCE), self.destination.list(DESTINATION)
        wanted = source if keys is None else {key: source[key] for key in keys}
        assert {key: destination.get(key) for key in wanted} == wanted
        for key in wanted:
            assert self.destination.get(DESTINATION, key) == self.source.get(SOURCE, key), key

    def open_runs(self) -> list[tuple[object, ...]]:
        """The runs of units that have not ended, as the ledger knows them."""
        with contextlib.closing(sqlite3.connect(self.folder / "state" / "ledger.db")) as ledger:
            return ledger.execute("SELECT id FROM runs WHERE ended_ms IS NULL").fetchall()

    def files_left(self) -> list[str]:
        """The engine's files on the volumes, but for markers and records of the ledger."""
        return sorted(
            str(path.relative_to(self.folder))
            for volume in self.volumes
            for path in files_below(volume / ".snowsync")
            if path.name != "volume.json" and path.parent.name != "ledgers"
        )

    def failures(self) -> list[dict[str, Any]]:
        """What the newest report names."""
        reports = sorted(
            (self.folder / "state" / "reports").glob("dt_data_*.json"), key=lambda path: path.stat().st_mtime
        )
        found: list[dict[str, Any]] = json.loads(reports[-1].read_text(encoding="utf-8"))["snowsync"]["failures"]
        return found


def files_below(folder: Path) -> list[Path]:
    """All that is no folder. One that goes meanwhile, as a unit removes it, has nothing; `rglob` would fail."""
    return [Path(top, name) for top, _folders, names in os.walk(folder) for name in names]


def kill_group(process: subprocess.Popen[str]) -> None:
    """SIGKILL a run and all it started, as the loss of its cgroup would."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 180) -> None:
    """Wait for something to become true; not a measurement, only a bound for what never happens."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)
