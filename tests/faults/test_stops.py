# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGTERM, whatever is under way: the run ends within 20 seconds, its row is closed, and the next one goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from faults.rig import DESTINATION, SOURCE, Rig, kill_group, wait_until

STOP_SECONDS = 20.0
MIB = 1 << 20


def query(rig: Rig, sql: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{rig.folder}/state/ledger.db?mode=ro", uri=True)) as ledger:
        return ledger.execute(sql).fetchall()


@contextlib.contextmanager
def running(rig: Rig) -> Iterator[subprocess.Popen[str]]:
    """A run of the job, which is gone afterwards whatever happened."""
    process = rig.start("--forever")
    try:
        yield process
    finally:
        if process.poll() is None:
            kill_group(process)


def stop(rig: Rig, process: subprocess.Popen[str]) -> float:
    """As systemd does; how long it took. Its run's rows are closed then."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _output, errors = process.communicate(timeout=120)
    took = time.monotonic() - began
    assert process.returncode in (0, 143), errors
    assert query(rig, "SELECT id FROM runs WHERE ended_ms IS NULL") == [], errors
    return took


def begun(rig: Rig, side: str, operation: str) -> Callable[[], bool]:
    """Whether a rule of this store was met: requests that hang are in no log."""
    store = rig.source if side == "source" else rig.destination
    return lambda: any(rule["operation"] == operation and rule["hits"] for rule in store.faults())


def finish(rig: Rig) -> None:
    rig.source.clear_faults()
    rig.destination.clear_faults()
    code, _summary, errors = rig.run()
    assert code == 0, errors


@pytest.mark.parametrize(
    ("tool", "side", "operation", "where", "size"),
    [
        ("native", "source", "GetObject", "headers", 1000),
        ("native", "source", "GetObject", "body", 9 * MIB),
        ("s5cmd", "source", "GetObject", "body", 9 * MIB),
        ("native", "source", "ListObjectsV2", "headers", 1000),
        ("native", "destination", "PutObject", "headers", 1000),
        ("native", "destination", "CompleteMultipartUpload", "headers", 9 * MIB),
        ("s5cmd", "destination", "CompleteMultipartUpload", "headers", 9 * MIB),
        ("native", "destination", "HeadObject", "headers", 1000),
    ],
)
def test_a_request_without_an_answer(rig: Rig, tool: str, side: str, operation: str, where: str, size: int) -> None:
    rig.config["mover"] = {"tool": tool, "stall_seconds": 300, "large_object": 5 * MIB, "part_size": 5 * MIB}
    rig.source.put(SOURCE, "object", os.urandom(size), part_size=5 * MIB if size > 5 * MIB else 0)
    store = rig.source if side == "source" else rig.destination
    # A listing of one key is how an endpoint is looked at first: only the one after it says nothing.
    first = 2 if operation == "ListObjectsV2" else 1
    store.set_fault("stall", operation=operation, where=where, after=1000, seconds=None, first=first)
    with running(rig) as process:
        wait_until(begun(rig, side, operation), operation)
        assert stop(rig, process) < STOP_SECONDS
    finish(rig)
    rig.assert_delivered()


def test_requests_of_all_kinds_at_once(rig: Rig) -> None:
    """Tags that never come, an answer that drips, a part that is not read, an upload that is not begun."""
    rig.config["mover"] = {"stall_seconds": 300, "large_object": 5 * MIB, "part_size": 5 * MIB}
    for key in ("part", "begin"):
        rig.source.put(SOURCE, key, os.urandom(9 * MIB), part_size=5 * MIB)
    rig.source.put(SOURCE, "tags", os.urandom(1000), tags={"kind": "one"})
    rig.source.put(SOURCE, "drip", os.urandom(1000))
    rig.source.set_fault("stall", operation="GetObjectTagging", seconds=None)
    rig.source.set_fault("rate", operation="GetObject", key="^drip$", bytes_per_second=1)
    rig.destination.set_fault("stall", operation="UploadPart", key="^part$", where="request", after=1000)
    rig.destination.set_fault("stall", operation="CreateMultipartUpload", key="^begin$", seconds=None)
    rules = [*rig.source.faults(), *rig.destination.faults()]
    with running(rig) as process:
        for rule in rules:
            side = "source" if rule["operation"].startswith("Get") else "destination"
            wait_until(begun(rig, side, rule["operation"]), rule["operation"])
        assert stop(rig, process) < STOP_SECONDS
    finish(rig)
    rig.assert_delivered()


def test_a_start_that_nobody_answers(rig: Rig) -> None:
    rig.source.put(SOURCE, "object", os.urandom(1000))
    for store in (rig.source, rig.destination):
        store.listener("silent")
    with running(rig) as process:
        wait_until(lambda: has_begun(rig), "the run's rows")
        assert stop(rig, process) < STOP_SECONDS
    for store in (rig.source, rig.destination):
        store.listener("open")
    finish(rig)
    rig.assert_delivered()


def has_begun(rig: Rig) -> bool:
    with contextlib.suppress(sqlite3.OperationalError):  # the ledger is being made
        return len(query(rig, "SELECT id FROM runs")) == 2
    return False


@pytest.mark.parametrize("arguments", [("plan", "JOB"), ("verify", "JOB")])
def test_a_command_that_waits_for_a_store_just_ends(rig: Rig, arguments: tuple[str, ...]) -> None:
    """Nothing of it is to be saved: what it reads it reads again."""
    rig.source.put(SOURCE, "object", os.urandom(1000))
    assert rig.run()[0] == 0
    for store in (rig.source, rig.destination):
        store.set_fault("stall", operation="ListObjectsV2|HeadObject", seconds=None)
    process = rig.start_command(*arguments)
    try:
        waiting = [begun(rig, side, "ListObjectsV2|HeadObject") for side in ("source", "destination")]
        wait_until(lambda: any(condition() for condition in waiting), "a request")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=STOP_SECONDS)
    finally:
        if process.poll() is None:
            kill_group(process)
    assert process.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
    finish(rig)


def test_a_large_dropped_file_that_is_hashed(rig: Rig) -> None:
    drop = rig.volumes[0] / "drop"
    drop.mkdir()
    rig.config["volumes"][0]["drop_folder"] = "drop"
    rig.config["drop_settle"] = 0
    with open(drop / "large", "wb") as file:
        file.truncate(60 << 30)  # a hole, which takes a minute and more to hash
    with running(rig) as process:
        wait_until(lambda: is_open_in(process.pid, "/drop/large"), "the reading")
        assert stop(rig, process) < STOP_SECONDS
    os.truncate(drop / "large", 3)
    finish(rig)
    assert rig.destination.get(DESTINATION, "large") == bytes(3)


def is_open_in(process: int, ending: str) -> bool:
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{process}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{process}/fd/{name}").endswith(ending):
                    return True
    return False


def test_an_object_that_is_read_back(rig: Rig) -> None:
    rig.config["evidence"] = 3
    rig.source.put(SOURCE, "object", os.urandom(4 * MIB))
    rig.destination.set_fault("rate", operation="GetObject", bytes_per_second=20_000)  # three minutes and more
    with running(rig) as process:
        wait_until(begun(rig, "destination", "GetObject"), "the read-back")
        assert stop(rig, process) < STOP_SECONDS
    finish(rig)
    rig.assert_delivered()
    assert len(rig.destination.writes(DESTINATION)["object"]) == 1, "it was there, and is not sent again"
