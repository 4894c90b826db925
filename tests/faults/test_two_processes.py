# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run in both directions is two processes: whichever of them dies, is stopped, hangs or fails, it ends clearly."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.forks import ForkedPython
from faults.rig import DESTINATION, SOURCE, Rig, kill_group, wait_until
from thorough import THOROUGH

from snowsync.core.machine import process_ticks

KILLS = 40 if THOROUGH else 9
STOP_SECONDS = 20.0


def query(rig: Rig, sql: str) -> list[tuple[object, ...]]:
    """What the ledger says; nothing while it is being made."""
    path = f"file:{rig.folder}/state/ledger.db?mode=ro"
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(path, uri=True)) as ledger:
        return ledger.execute(sql).fetchall()
    return []


def child_of(process: subprocess.Popen[str]) -> int:
    """The process of the destination unit; 0: there is none yet, or no more."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return int(children[0]) if children else 0
    return 0


def fill(rig: Rig, chance: random.Random, name: str, count: int) -> None:
    for number in range(count):
        rig.source.put(SOURCE, f"d{number % 7}/{name}-{number:03}", os.urandom(chance.randrange(0, 120_000)))


@contextlib.contextmanager
def ended_afterwards(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        if process.poll() is None:
            kill_group(process)


@contextlib.contextmanager
def running(rig: Rig, *more: str) -> Iterator[subprocess.Popen[str]]:
    """A run in the middle of its work: both units have moved something."""
    rig.source.set_fault("latency", operation="GetObject", seconds=0.05)
    rig.destination.set_fault("latency", operation="PutObject", seconds=0.05)
    fill(rig, random.Random(1), "object", 300)
    with ended_afterwards(rig.start(*more)) as process:
        wait_until(lambda: rig.destination.count("PutObject") > 20, "the middle of the run")
        assert process.poll() is None, process.communicate()
        yield process
    for store in (rig.source, rig.destination):
        store.clear_faults()


def finish(rig: Rig) -> None:
    code, summary, errors = rig.run(timeout=180)
    assert code == 0, errors
    assert summary["drained"] and summary["failure_count"] == 0, summary["failures"]
    rig.assert_delivered()
    assert rig.files_left() == []
    assert rig.destination.written_again(DESTINATION) == {}, "delivered twice"


# -- killed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["native", "s5cmd"] if THOROUGH else ["native"])
def test_kills_of_one_process_or_of_both(rig: Rig, tool: str) -> None:
    """In random moments, each followed at once by the next run, which is not refused."""
    rig.config["mover"] = {"tool": tool, "large_object": "5MiB"}
    chance = random.Random(int(os.environ.get("SNOWSYNC_SEED", "20261128")))
    fill(rig, chance, "first", 300)
    for number in range(3):
        rig.source.put(SOURCE, f"large-{number}", os.urandom(12 << 20), part_size=8 << 20)
    rig.source.set_fault("latency", operation="GetObject", seconds=0.05)
    rig.destination.set_fault("latency", operation="PutObject|UploadPart", seconds=0.05)
    kills = 0
    while kills < KILLS:
        with ended_afterwards(rig.start("--until-drained")) as process:
            wanted = rig.requests() + chance.randrange(1, 80)
            wait_until(lambda: rig.requests() >= wanted or process.poll() is not None, "a number of requests")  # noqa: B023
            if process.poll() is None and kill(process, ("child", "parent", "both")[kills % 3]):
                kills += 1
            else:  # drained before it could be killed: more to do, for every kill is to hit a transfer
                assert process.wait() == 0, process.communicate()[1]
                fill(rig, chance, f"more-{wanted}", 100)
    rig.source.clear_faults()
    rig.destination.clear_faults()
    finish(rig)
    assert rig.destination.uploads(DESTINATION) == [], "unfinished multipart uploads were left at the destination"
    assert rig.open_runs() == [] or query(rig, "SELECT max(id) FROM runs WHERE ended_ms IS NULL") < query(
        rig, "SELECT max(id) FROM runs"
    ), "the last run is closed"


def kill(process: subprocess.Popen[str], whom: str) -> bool:
    """SIGKILL; returns whether that ended the run."""
    child = child_of(process)
    if whom == "both":
        kill_group(process)
    elif whom == "parent":
        process.kill()
    elif child:
        os.kill(child, signal.SIGKILL)
    else:
        return False
    code = process.wait(60)
    if whom == "child" and code == 0:
        return False  # it had nothing left to do
    if whom == "child":
        errors = process.communicate()[1]
        assert code == 1 and f"its process (pid {child}) was killed by SIGKILL" in errors, errors
    return code in (1, -signal.SIGKILL)


def test_the_child_ends_with_its_parent(rig: Rig) -> None:
    with running(rig, "--forever") as process:
        child = child_of(process)
        assert process_ticks(child) is not None
        process.kill()
        process.wait()
        wait_until(lambda: process_ticks(child) is None, "the end of the child")
    finish(rig)


def test_a_run_whose_child_is_killed_ends_its_other_unit_in_order(rig: Rig) -> None:
    with running(rig, "--forever") as process:
        os.kill(child_of(process), signal.SIGKILL)
        _output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    last = errors.strip().splitlines()[-1]
    assert last.startswith("snowsync: the destination unit of job rig ended without a result: its process (pid "), last
    assert last.endswith("the next run continues with what was in flight")
    ended = query(rig, "SELECT unit, status, ended_ms IS NOT NULL FROM runs ORDER BY unit DESC")
    assert ended[0] == ("source", "stopped", 1) and ended[1][::2] == ("destination", 0), "the killed one says nothing"
    finish(rig)


# -- stopped ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("whom", ["parent", "child", "both"])
def test_a_signal_to_any_of_both_ends_both(rig: Rig, number: signal.Signals, whom: str) -> None:
    """To both at once as a terminal does; it is said once, and the rows of the runs are closed."""
    with running(rig, "--until-drained") as process:
        if whom == "both":
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid if whom == "parent" else child_of(process), number)
        _output, errors = process.communicate(timeout=STOP_SECONDS)
    assert process.returncode == 128 + number, errors
    assert errors.count(f"received {number.name}: stopping") == 1, errors
    assert query(rig, "SELECT unit, status FROM runs WHERE ended_ms IS NOT NULL ORDER BY id") == [
        (unit, "stopped") for (unit,) in query(rig, "SELECT unit FROM runs ORDER BY id")
    ]
    finish(rig)


def test_a_stopped_service_ends_in_order(rig: Rig) -> None:
    with running(rig, "--forever") as process:
        process.terminate()
        _output, errors = process.communicate(timeout=STOP_SECONDS)
    assert process.returncode == 0, errors
    assert rig.open_runs() == []
    finish(rig)


def test_a_child_that_does_not_end_is_killed(rig: Rig) -> None:
    """A stopped process neither hears nor answers."""
    with running(rig, "--until-drained") as process:
        child = child_of(process)
        os.kill(child, signal.SIGSTOP)
        process.terminate()
        _output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert f"the process of the destination unit (pid {child}) does not end: it is killed" in errors
    wait_until(lambda: process_ticks(child) is None, "the end of the child")
    finish(rig)


def test_a_timeout_says_what_both_units_waited_for(rig: Rig) -> None:
    rig.source.put(SOURCE, "object", b"x")
    rig.destination.listener("refuse")
    code, summary, errors = rig.run("--timeout", "2")
    assert code == 124, errors
    assert not summary["drained"]
    assert [words.split(":")[0] for words in summary["waiting"]] == ["source", "destination"]
    assert all(words.split(": ")[1] for words in summary["waiting"])
    rig.destination.listener("open")
    finish(rig)


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["source", "destination"])
def test_an_error_of_either_unit_is_the_run_s(rig: Rig, side: str) -> None:
    """As in one process: code, text, and the other unit ends in order."""
    store = rig.source if side == "source" else rig.destination
    credentials = rig.folder / "credentials" / side
    rig.source.put(SOURCE, "object", b"x")
    known = credentials.read_text()
    credentials.write_text(known.replace(store.secret_key, "wrong"))
    result = rig.snowsync("run", "JOB", "--until-drained")
    assert result.returncode == 5, result.stderr
    alone = rig.snowsync("run", "JOB", "--until-drained", "--direction", side)
    assert alone.returncode == 5
    assert result.stderr.splitlines()[-1] == alone.stderr.splitlines()[-1]
    assert rig.open_runs() == []
    credentials.write_text(known)
    finish(rig)


def test_what_is_wrong_with_a_unit_is_said_before_anything_is_changed(rig: Rig) -> None:
    (rig.folder / "credentials/destination").unlink()
    result = rig.snowsync("run", "JOB", "--until-drained")
    assert result.returncode == 2, result.stderr
    assert query(rig, "SELECT * FROM bindings") == [] and query(rig, "SELECT * FROM runs") == []


def command(rig: Rig, changes: str, *more: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """A run of the engine with these changes to its code."""
    arguments = ["run", str(rig.job_file), *(more or ("--until-drained", "--json"))]
    code = f"import sys\n{changes}\nfrom snowsync.cli.command import main\nsys.exit(main({arguments!r}))\n"
    pipe = subprocess.PIPE
    return ForkedPython(
        ["python", "-c", code], stdout=pipe, stderr=pipe, text=True, start_new_session=True, env=environment
    )


BOOM = """
from snowsync.hops.destination.sending import SendTurn
def take(self): raise {error}
SendTurn.take = take
"""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        ("ZeroDivisionError('a bug')", 1, "Unexpected error, probably a bug in snowsync: ZeroDivisionError: a bug"),
        ("__import__('sqlite3').DatabaseError('malformed')", 8, "snowsync: Failed to read the ledger: malformed; "),
        ("__import__('os')._exit(7)", 1, "ended with exit code 7"),
    ],
)
def test_an_error_that_nobody_foresaw_is_the_run_s_too(rig: Rig, error: str, code: int, said: str) -> None:
    rig.source.put(SOURCE, "object", b"x")
    with ended_afterwards(command(rig, BOOM.format(error=error))) as process:
        _output, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert said in errors
    assert code != 1 or "_exit" in error or "def take" in errors or "in take" in errors, "with the traceback there"
    finish(rig)


def test_no_process_can_be_had(rig: Rig) -> None:
    no_fork = "import os, errno\ndef fork(): raise BlockingIOError(errno.EAGAIN, 'no more processes')\nos.fork = fork"
    with ended_afterwards(command(rig, no_fork)) as process:
        _output, errors = process.communicate(timeout=60)
    assert process.returncode == 6
    assert errors.endswith("start the destination unit of job rig: the process cannot fork: no more processes\n")


def test_a_refused_run_changes_nothing(rig: Rig) -> None:
    with running(rig, "--forever") as process:
        before = query(rig, "SELECT count(*) FROM runs")
        for direction in ("both", "source", "destination"):
            unit = "destination" if direction == "destination" else "source"
            result = rig.snowsync("run", "JOB", "--once", "--direction", direction)
            assert result.returncode == 7
            assert f"The {unit} unit of job rig is already running (pid {process.pid})" in result.stderr
        assert query(rig, "SELECT count(*) FROM runs") == before


# -- watched ------------------------------------------------------------------------------------------------------


def test_a_child_that_hangs_is_left_to_the_watchdog(rig: Rig, tmp_path: Path) -> None:
    """The status line shows both units; once the child says nothing any more, systemd's watchdog is not fed."""
    rig.config["mover"] = {"stall_seconds": 0.5}
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(60)
    impatient = "import snowsync.running.liveness as liveness\nliveness._PATIENCE = 4.0"
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}

    def heard(what: str, *, fed: bool) -> None:
        wait_until(lambda: what in (text := listener.recv(65536).decode()) and ("WATCHDOG=1" in text) is fed, what)

    with ended_afterwards(command(rig, impatient, "--forever", environment=environment)) as process:
        both = "STATUS=source: up to date; 0 objects, 0.0 MiB moved | destination: waiting for the source; 0 objects"
        heard(both, fed=True)
        child = child_of(process)
        os.kill(child, signal.SIGSTOP)
        heard(both, fed=False)
        os.kill(child, signal.SIGCONT)
        heard(both, fed=True)
        process.terminate()
        assert process.wait(60) == 0
    listener.close()


def test_the_progress_view_shows_both_units(rig: Rig) -> None:
    with running(rig, "--forever") as process:
        wait_until(lambda: len(query(rig, "SELECT 1 FROM runs")) == 2, "both runs")
        shown = rig.snowsync("status", "JOB").stdout
        assert f"source: running (pid {process.pid})" in shown
        assert f"destination: running (pid {child_of(process)})" in shown
        watched = rig.snowsync("watch", "JOB", "--timeout", "0.5").stdout
        assert "to volumes" in watched and "to destination" in watched


def test_the_summary_counts_both_hops(rig: Rig) -> None:
    fill(rig, random.Random(2), "object", 30)
    size = sum(entry["size"] for entry in rig.source.objects(SOURCE))
    code, summary, errors = rig.run()
    assert code == 0, errors
    for hop in ("staged", "delivered"):
        assert (summary[hop]["objects"], summary[hop]["bytes"]) == (30, size)
        assert summary[hop]["seconds"] > 0
    assert summary["released"] == summary["listed"] == {"objects": 30, "bytes": size}
    assert Path(summary["report"]).is_file()
    rig.assert_delivered()
