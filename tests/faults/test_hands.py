# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfers whose hands, the mover's processes, are killed or stopped: everything arrives once, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import job_files
import pytest
from faults.rig import DESTINATION, SOURCE, Rig, kill_group, wait_until
from thorough import THOROUGH

KILLS = 40 if THOROUGH else 3


def parents() -> dict[int, int]:
    """Each process that has not ended, with its parent."""
    found = {}
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if fields[0] not in "ZX":
                found[int(pid)] = int(fields[1])
    return found


def hands_of(process: subprocess.Popen[str]) -> list[int]:
    """The hands of a run, of both units."""
    known = parents()
    units = {process.pid} | {pid for pid, parent in known.items() if parent == process.pid}
    below = [pid for pid, parent in known.items() if parent in units]
    return [pid for pid in below if b"movers.hands" in cmdline(pid)]


def cmdline(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def fill(rig: Rig, name: str, count: int) -> None:
    for number in range(count):
        rig.source.put(SOURCE, f"d{number % 7}/{name}-{number:03}", os.urandom(number * 100 % 30_000))


@contextlib.contextmanager
def started(rig: Rig, *more: str) -> Iterator[subprocess.Popen[str]]:
    process = rig.start(*more)
    try:
        yield process
    finally:
        if process.poll() is None:
            kill_group(process)


def finish(rig: Rig) -> None:
    code, summary, errors = rig.run(timeout=180)
    assert code == 0, errors
    assert summary["drained"] and summary["failure_count"] == 0, summary["failures"]
    rig.assert_delivered()
    assert rig.files_left() == []


def slow_down(rig: Rig) -> None:
    rig.source.set_fault("latency", operation="GetObject", seconds=0.05)
    rig.destination.set_fault("latency", operation="PutObject", seconds=0.05)


@pytest.mark.parametrize("processes", [1, 4])
@pytest.mark.parametrize("whom", ["one", "all", "one and the run", "all and the run"])
def test_kills_in_random_moments(rig: Rig, processes: int, whom: str) -> None:
    rig.config["mover"] = {"processes": processes}
    chance = random.Random(f"{processes} {whom}")
    slow_down(rig)
    fill(rig, "first", 300)
    kills = rounds = 0
    while kills < KILLS:
        rounds += 1
        assert rounds < 20 * KILLS
        with started(rig, "--until-drained") as process:
            wanted = rig.requests() + chance.randrange(20, 200)
            wait_until(lambda: rig.requests() >= wanted or process.poll() is not None, "a number of requests")  # noqa: B023
            hands = hands_of(process)
            if hands and process.poll() is None:
                chance.shuffle(hands)
                for pid in hands if whom.startswith("all") else hands[:1]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                kills += 1
                if whom.endswith("the run"):
                    kill_group(process)
                    wait_until(lambda: not set(hands) & parents().keys(), "the end of the hands")  # noqa: B023
                    continue
            assert process.wait(180) == 0, process.communicate()[1]
            fill(rig, f"more-{rounds}", 60)
    for store in (rig.source, rig.destination):
        store.clear_faults()
    finish(rig)
    assert rig.destination.written_again(DESTINATION) == {}, "delivered twice"


def test_a_hand_that_is_stopped_is_replaced(rig: Rig) -> None:
    """It has thirty seconds to say something."""
    rig.config["mover"] = {"processes": 1}
    slow_down(rig)
    fill(rig, "object", 300)
    with started(rig, "--until-drained") as process:
        wait_until(lambda: rig.destination.count("PutObject") > 20, "the middle of the run")
        hands = hands_of(process)
        assert hands
        for pid in hands:
            os.kill(pid, signal.SIGSTOP)
        output, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors
        assert "it has said nothing for 30 s" in errors
    rig.assert_delivered()
    assert rig.files_left() == []
    assert rig.destination.written_again(DESTINATION) == {}, output


def test_no_hand_is_left_when_a_run_ends(rig: Rig) -> None:
    rig.config["mover"] = {"processes": 1}
    fill(rig, "object", 100)
    with started(rig, "--forever") as process:
        wait_until(lambda: rig.destination.count("PutObject") >= 100, "all objects")
        hands = hands_of(process)
        assert hands
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, process.communicate()[1]
        wait_until(lambda: not set(hands) & parents().keys(), "the end of the hands")
    finish(rig)


def test_a_run_without_objects_starts_no_hand(rig: Rig) -> None:
    rig.config["mover"] = {"processes": 1}
    with started(rig, "--forever") as process:
        wait_until(lambda: rig.source.count("ListObjectsV2") > 0 and bool(rig.open_runs()), "a pass")
        assert hands_of(process) == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, process.communicate()[1]


@pytest.mark.parametrize("hands", [0, 1, 4])
def test_the_number_that_all_tests_can_be_given_is_the_number_of_a_job(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, hands: int
) -> None:
    """Each unit has so many, and no more, once it has had enough to do for all of them."""
    monkeypatch.setenv(job_files.VARIABLE, str(hands))
    fill(rig, "object", 300)
    rig.source.set_fault("latency", operation="GetObject", seconds=0.5)
    rig.destination.set_fault("latency", operation="PutObject", seconds=0.5)
    with started(rig, "--forever") as process:
        wait_until(
            lambda: rig.source.count("GetObject") > 0 and len(hands_of(process)) == hands, "a hop with its hands"
        )
        rig.source.clear_faults()
        wait_until(
            lambda: rig.destination.count("PutObject") > 0 and len(hands_of(process)) == 2 * hands, "the other one's"
        )
        rig.destination.clear_faults()
        wait_until(lambda: len(rig.destination.list(DESTINATION)) == 300, "all objects")
        assert len(hands_of(process)) == 2 * hands
