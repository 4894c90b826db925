# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command: arguments, exit codes, what goes to stdout and what to stderr. Most tests run the real command."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ledger_rows import bring_to, listed

from snowsync import VERSION
from snowsync.cli import arguments as cli_arguments
from snowsync.cli import command as cli
from snowsync.config import job_file
from snowsync.core import errors
from snowsync.core.errors import (
    ConfigError,
    JobLocked,
    JobStopped,
    LedgerError,
    LocalError,
    ObjectsFailed,
    StoreError,
    Trouble,
)
from snowsync.core.model import State
from snowsync.ledger.ledger import Ledger


def run(*arguments: str, timeout: float = 120, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "snowsync", *arguments]
    options = {"capture_output": True, "text": True, "encoding": "utf-8", **options}
    return subprocess.run(command, check=False, timeout=timeout, **options)


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """A jobs folder with one job, "photos"."""
    (tmp_path / "one").mkdir()
    folder = tmp_path / "jobs"
    folder.mkdir()
    store = {"endpoints": ["http://127.0.0.1:9"], "credentials_file": str(tmp_path / "credentials")}
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = topsecret\n")
    (tmp_path / "credentials").chmod(0o600)
    job = {
        "job": "photos",
        "state_dir": str(tmp_path / "state"),
        "source": {"bucket": "camera", **store},
        "destination": {"bucket": "archive", **store},
        "volumes": [{"name": "one", "path": str(tmp_path / "one"), "require_mount": False}],
    }
    (folder / "photos.yml").write_text(json.dumps(job))
    return folder


@pytest.fixture
def ledger_path(tmp_path: Path, jobs: Path) -> Path:
    """A ledger for the job, with one object of every state; its unit died."""
    path = tmp_path / "state" / "ledger.db"
    ledger = Ledger(path)
    volume = ledger.volumes.volume_id("one", "uuid-1", str(tmp_path / "one"))
    ledger.journal.start_run("source")
    for state in State:
        bring_to(ledger, f"{state.label}\nkey é", state, volume)
    ledger.database.connection.execute(
        "UPDATE runs SET boot_id = 'an earlier one'"
    )  # else its unit would be this process
    ledger.close()
    return path


# -- arguments --------------------------------------------------------------------------------------------------


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"snowsync {VERSION}\n")


def test_help_lists_commands_and_exit_codes() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in (
        "run",
        "plan",
        "status",
        "watch",
        "verify",
        "volumes",
        "drain",
        "reset",
        "ledger",
        "report",
        "check-config",
    ):
        assert f"\n    {command} " in done.stdout
    codes = {int(line.split()[0]) for line in done.stdout.splitlines() if line[:5].strip().isdigit()}
    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert raised | {0, 124, 130, 141} == codes


@pytest.mark.parametrize(
    "command",
    [
        ["run"],
        ["plan"],
        ["status"],
        ["watch"],
        ["verify"],
        ["volumes"],
        ["drain"],
        ["evacuate"],
        ["refetch"],
        ["reset"],
        ["ledger", "export"],
        ["report"],
        ["check-config"],
        ["ledger"],
    ],
    ids=" ".join,
)
def test_every_command_has_help(command: list[str]) -> None:
    done = run(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: snowsync {' '.join(command)}")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["run", "photos"],
        ["run", "photos", "--once", "--forever"],
        ["run", "photos", "--unt"],
        ["run", "photos", "--once", "--direction", "up"],
        ["run", "photos", "--once", "--timeout", "0"],
        ["run", "photos", "--once", "--timeout", "soon"],
        ["ledger"],
        ["ledger", "export", "photos", "--format", "xml"],
        ["verify"],
        ["status", "a", "b"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_2_on_stderr(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    captured = capsys.readouterr()
    assert (caught.value.code, captured.out) == (2, "")
    assert captured.err.startswith("usage: snowsync")


def test_common_options_stand_before_or_after_the_command() -> None:
    parse = cli_arguments.build_parser().parse_args
    for arguments in (["--jobs-dir", "/x", "status"], ["status", "--jobs-dir", "/x"]):
        assert parse(arguments).jobs_dir == Path("/x")
    assert parse(["status"]).jobs_dir == job_file.JOBS_DIR, "one default, kept twice so that --help needs no job file"


def test_starting_needs_no_third_party_package() -> None:
    script = (
        "import sys\nfrom snowsync.cli.arguments import build_parser\nbuild_parser().parse_args(['status'])\n"
        "import snowsync.cli\nprint({'yaml', 'rich', 'boto3', 'pycurl'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout == b"set()\n"


# -- exit codes -------------------------------------------------------------------------------------------------

RAISED: Mapping[Exception, int] = {
    errors.SnowsyncError("no better name"): 1,
    ConfigError("job.yml", ["wrong: value"]): 2,
    ObjectsFailed("some failed"): 3,
    StoreError(Trouble.DENIED, "list", "not allowed"): 4,
    JobStopped(Trouble.BUCKET, "list", "no such bucket"): 5,
    LocalError(Trouble.IO, "read", "gone"): 6,
    JobLocked("another one runs"): 7,
    LedgerError("a newer schema"): 8,
    ValueError("a defect"): 1,
    KeyboardInterrupt(): 130,  # type: ignore[dict-item]  # not an Exception, and to be caught all the same
}


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_every_error_has_its_exit_code_and_its_message(
    error: Exception, jobs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_path: Path) -> None:
        raise error

    monkeypatch.setattr(job_file, "load_job", fails)
    assert cli.main(["--jobs-dir", str(jobs), "status", "photos"]) == RAISED[error]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert (str(error) or "interrupted") in captured.err
    assert ("Traceback" in captured.err) == isinstance(error, ValueError), "only a defect shows where it happened"


def test_an_unknown_job_names_those_that_exist(jobs: Path) -> None:
    done = run("--jobs-dir", str(jobs), "report", "fotos")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("snowsync: ") and "photos" in done.stderr


def test_check_config_lists_every_problem(tmp_path: Path, jobs: Path) -> None:
    assert run("check-config", str(jobs / "photos.yml")).returncode == 0
    (tmp_path / "wrong.yml").write_text("job: WRONG\nvolumes: []\ncolour: red\n")
    done = run("check-config", str(tmp_path / "wrong.yml"))
    assert (done.returncode, done.stdout) == (2, "")
    for name in ("job", "volumes", "destination", "colour"):
        assert f"\n  {name}" in done.stderr


def test_a_job_without_a_ledger_is_exit_8_for_what_needs_one(jobs: Path) -> None:
    for command in (["report", "photos"], ["ledger", "export", "photos"]):
        done = run("--jobs-dir", str(jobs), *command)
        assert (done.returncode, done.stdout) == (8, "")
        assert "has not run yet" in done.stderr


# -- run and plan, with units that do what the test says --------------------------------------------------------


def summary(**changes: Any) -> Any:
    from snowsync.running.summary import Hop, Summary

    values: dict[str, Any] = {
        "job": "photos", "changed": True, "drained": True, "seconds": 1.5, "listed": {"objects": 2, "bytes": 20},
        "staged": Hop(2, 20, 0.5), "delivered": Hop(2, 20, 0.7), "released": {"objects": 2, "bytes": 20},
        "states": {"pending": 0, "released": 2, "failed": 0, "quarantined": 0},
        "evidence": {"source": {"store_digest": 2}, "destination": {"read_back": 2}}, "failures": [],
        "failure_count": 0, "refused": 0, "waiting": [], "report": "/reports/dt_data_1.json",
    }  # fmt: skip
    return Summary(**{**values, **changes})


@pytest.fixture
def units(jobs: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Replaces run_job and run_pair by what returns the given summary; the mapping says how it was called."""

    def use(result: Any, *, signal_number: int = 0) -> dict[str, Any]:
        called: dict[str, Any] = {}

        def run_job(job: Any, **options: Any) -> Any:
            called.update({"direction": "in two processes", **options}, job=job.job)
            options["attendant"].stopped_by = signal_number
            return result

        monkeypatch.setattr("snowsync.running.run.run_job", run_job)
        monkeypatch.setattr("snowsync.running.pair.run_pair", run_job)
        return called

    return use


def test_run_json_is_one_document_with_the_agreed_fields(
    jobs: Path, units: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    called = units(summary())
    arguments = ["--jobs-dir", str(jobs), "run", "photos", "--until-drained", "--json", "--timeout", "9"]
    assert cli.main([*arguments, "--direction", "source"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"job", "changed", "drained", "seconds", "listed", "staged", "delivered", "released", "states", "evidence",
            "failures", "failure_count", "report"} <= set(document)  # fmt: skip
    assert document["staged"] == {"objects": 2, "bytes": 20, "seconds": 0.5}
    assert (called["direction"], called["until"], called["timeout"]) == ("source", "drained", 9.0)


@pytest.mark.parametrize(
    ("arguments", "direction"),
    [
        ([], "in two processes"),
        (["--direction", "both"], "in two processes"),
        (["--direction", "source"], "source"),
        (["--direction", "destination"], "destination"),
    ],
)
def test_both_units_have_a_process_each(
    jobs: Path, units: Callable[..., dict[str, Any]], arguments: list[str], direction: str
) -> None:
    called = units(summary())
    assert cli.main(["--jobs-dir", str(jobs), "run", "photos", "--once", "--timeout", "9", *arguments]) == 0
    assert (called["direction"], called["until"], called["timeout"]) == (direction, "once", 9.0)


def test_run_prints_a_table_for_people(
    jobs: Path, units: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    failure = {"key": "two\nlines", "trouble": "mismatch", "message": "not what was\nlisted"}
    units(summary(failures=[failure] * 20, failure_count=30))
    assert cli.main(["--jobs-dir", str(jobs), "run", "photos", "--once"]) == 0
    text = capsys.readouterr().out
    proven = ("proven at the source so far: 2 by store digest", "proven at the destination so far: 2 by read back")
    for expected in ("staged", *proven, "drained after 1.5 s, changed; all objects: 2 released", "dt_data_1.json"):
        assert expected in text
    assert '"two\\nlines": mismatch: not what was\\nlisted' in text
    assert "30 failures in total" in text


def test_a_run_names_the_count_of_what_is_not_proven(
    jobs: Path, units: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = {"source": {"not_proven": 1, "store_digest": 2}, "destination": {"store_digest": 3}}
    units(summary(evidence=evidence))
    assert cli.main(["--jobs-dir", str(jobs), "run", "photos", "--once"]) == 0
    text = capsys.readouterr().out
    assert "proven at the source so far: 1 not proven, 2 by store digest" in text
    assert "`snowsync report photos` lists them" in text


@pytest.mark.parametrize(
    ("changed", "drained", "words"),
    [(True, True, "drained after"), (False, True, "nothing to do"), (False, False, "nothing moved")],
)
def test_run_says_how_it_ended(
    jobs: Path,
    units: Callable[..., dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    changed: bool,
    drained: bool,
    words: str,
) -> None:
    units(summary(changed=changed, drained=drained))
    cli.main(["--jobs-dir", str(jobs), "run", "photos", "--once"])
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "until", "signal_number", "code"),
    [
        ({}, "--until-drained", 0, 0),
        ({"drained": False}, "--once", 0, 0),
        ({"states": {"failed": 1}}, "--until-drained", 0, 3),
        ({"states": {"quarantined": 1}}, "--once", 0, 3),
        ({"drained": False, "left_behind": 1}, "--until-drained", 0, 3),
        ({"drained": False, "left_behind": 1}, "--once", 0, 3),
        ({"drained": False, "left_behind": 1}, "--forever", signal.SIGTERM, 0),
        ({"drained": False, "waiting": ["source: waiting for space"]}, "--until-drained", 0, 124),
        ({}, "--forever", signal.SIGTERM, 0),
        ({"states": {"failed": 1}}, "--forever", signal.SIGTERM, 0),
        ({"drained": False}, "--until-drained", signal.SIGTERM, 143),
        ({"drained": False}, "--until-drained", signal.SIGINT, 130),
        ({}, "--forever", signal.SIGINT, 130),
    ],
)
def test_a_run_ends_with_the_code_of_its_end(
    jobs: Path,
    units: Callable[..., dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    until: str,
    signal_number: int,
    code: int,
) -> None:
    units(summary(**changes), signal_number=signal_number)
    assert cli.main(["--jobs-dir", str(jobs), "run", "photos", until, "--json"]) == code
    captured = capsys.readouterr()
    assert json.loads(captured.out)["job"] == "photos", "the document comes whatever the end was"
    if code in (3, 124):
        assert captured.err.startswith("snowsync: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_units_and_decides_the_exit_code(number: signal.Signals) -> None:
    from snowsync.hops.switches import Switches
    from snowsync.running.service import Daemon

    before = {known: signal.getsignal(known) for known in (signal.SIGTERM, signal.SIGINT)}
    attendant, switches = Daemon(), Switches()
    try:
        attendant.start([], switches)
        signal.raise_signal(number)
    finally:
        for known, handler in before.items():
            signal.signal(known, handler)
    assert (switches.stop.is_set(), attendant.stopped_by) == (True, number)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused, and only root can give a folder away")
def test_root_does_not_run_the_job_of_another_user(
    jobs: Path, tmp_path: Path, units: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    called = units(summary())
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", 12345, 12345)
    assert cli.main(["--jobs-dir", str(jobs), "run", "photos", "--once"]) == 6
    assert called == {} and "belongs to 12345" in capsys.readouterr().err
    os.chown(tmp_path / "state", 0, 0)
    assert cli.main(["--jobs-dir", str(jobs), "run", "photos", "--once"]) == 0


def test_plan_says_what_would_move(
    jobs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from snowsync.running.run import Plan

    monkeypatch.setattr(
        "snowsync.running.run.plan_job", lambda _job: Plan("photos", 30, 3000, [f"k{n}\n" for n in range(30)])
    )
    assert cli.main(["--jobs-dir", str(jobs), "plan", "photos", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "job": "photos", "objects": 30, "bytes": 3000, "keys": [f"k{n}\n" for n in range(30)],
        "left_behind": 0, "left": [],
    }  # fmt: skip
    assert cli.main(["--jobs-dir", str(jobs), "plan", "photos"]) == 0
    text = capsys.readouterr().out
    assert "30 objects (2.9 KiB) would be moved" in text
    assert '  "k19\\n"\n  ... and 10 more' in text


# -- status, ledger, report, verify -----------------------------------------------------------------------------


def test_status_of_all_jobs_with_a_wrong_one_among_them(jobs: Path, ledger_path: Path) -> None:
    (jobs / "broken.yml").write_text("job: [")
    done = run("--jobs-dir", str(jobs), "status", "--json")
    assert done.returncode == 2
    broken, photos = json.loads(done.stdout)["jobs"]
    assert "broken.yml" in broken["error"]
    assert (photos["job"], photos["states"]["failed"]["objects"]) == ("photos", 1)
    text = run("status", str(jobs / "photos.yml"))
    assert (text.returncode, text.stderr) == (0, "")
    assert '"failed\\nkey \\u00e9": now failed' in text.stdout


def test_status_of_no_jobs(tmp_path: Path) -> None:
    done = run("--jobs-dir", str(tmp_path), "status")
    assert (done.returncode, done.stdout) == (0, f"no jobs in {tmp_path}\n")


@pytest.mark.parametrize("locale", ["C.UTF-8", "C", "POSIX"])
def test_exports_are_utf_8_whatever_the_locale_is(jobs: Path, ledger_path: Path, locale: str) -> None:
    environment = {**os.environ, "LC_ALL": locale, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    arguments = ["--jobs-dir", str(jobs), "ledger", "export", "photos"]
    text = run(*arguments, env=environment).stdout
    assert len(list(csv.DictReader(io.StringIO(text, newline="")))) == len(State)
    records = json.loads(run(*arguments, "--format", "json", env=environment).stdout)
    assert {record["key"] for record in records} == {f"{state.label}\nkey é" for state in State}
    forerunner = run(*arguments, "--format", "forerunner", env=environment).stdout
    assert forerunner == 'Key,Size\n"delivered\nkey é",10\n"released\nkey é",10\n'


def test_a_reader_that_stops_reading_is_no_error(jobs: Path, ledger_path: Path) -> None:
    ledger = Ledger(ledger_path)
    for page in range(20):
        ledger.listing.observe([listed(f"{page}/{entry}/{'x' * 100}") for entry in range(1000)])
    ledger.close()
    command = [sys.executable, "-m", "snowsync", "--jobs-dir", str(jobs), "ledger", "export", "photos"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith(b"id,key")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


def test_report_writes_the_file_and_prints_its_sums(jobs: Path, ledger_path: Path) -> None:
    done = run("--jobs-dir", str(jobs), "report", "photos")
    assert (done.returncode, done.stderr) == (0, "")
    path = Path(done.stdout.rstrip().rpartition("report: ")[2])
    assert path.parent == ledger_path.parent / "reports"
    assert json.loads(path.read_text())["status"] == "Failed", "its unit died, so what is open is no longer moving"
    assert "failed" in done.stdout
    later = run("--jobs-dir", str(jobs), "report", "photos", "--since", "4000000000")
    assert "dt_data_4000000000.json" in later.stdout


def test_verify_fails_by_the_network_with_exit_4_and_no_secret(
    jobs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snowsync.inspection.store_side._PATIENCE", ())
    assert cli.main(["--jobs-dir", str(jobs), "verify", "photos"]) == 4
    captured = capsys.readouterr()
    assert captured.out == "" and "127.0.0.1:9" in captured.err
    assert "topsecret" not in captured.err


def test_verify_prints_its_result_before_it_fails(
    jobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from snowsync.inspection.verify_result import Result
    from snowsync.ledger.records import Tally

    asked: dict[str, Any] = {}

    def verify_job(_job: Any, **options: Any) -> Result:
        asked.update(options)
        result = Result("photos")
        result.symbols["-"] = Tally(1, 1)
        return result

    monkeypatch.setattr("snowsync.inspection.verify.verify_job", verify_job)
    base = ["--jobs-dir", str(jobs), "verify", "photos"]
    assert cli.main([*base, "--combined", str(tmp_path / "c"), "--read-back"]) == 0
    assert (asked["combined"], asked["read_back"], asked["read_all"]) == (tmp_path / "c", True, False)
    assert "source and destination agree" in capsys.readouterr().out
    assert cli.main([*base, "--json", "--exact"]) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["agrees"] is False
    assert "do not agree" in captured.err


def test_watch_without_an_end_in_sight_times_out(jobs: Path, ledger_path: Path) -> None:
    done = run("--jobs-dir", str(jobs), "watch", "photos", "--timeout", "0.1")
    assert (done.returncode, done.stderr) == (124, "")
    assert "no unit is running" in done.stdout


def test_interrupting_a_watch_is_quiet(jobs: Path, ledger_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "snowsync", "--jobs-dir", str(jobs), "watch", "photos"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == b"snowsync: interrupted\n"


# -- what is said on stderr -------------------------------------------------------------------------------------


def test_log_lines_have_a_time_and_a_level(capsys: pytest.CaptureFixture[str]) -> None:
    cli._set_up_logging("info")
    logging.getLogger("snowsync.source").info("two\nlines")
    logging.getLogger("snowsync.source").debug("unseen")
    first, second = capsys.readouterr().err.splitlines()
    assert first.split()[1:] == ["INFO", "two"] and second == "lines"


def test_the_journal_gets_a_priority_before_every_line_and_no_time(jobs: Path) -> None:
    ours, theirs = socket.socketpair()
    status = os.fstat(theirs.fileno())
    environment = {**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    (jobs / "broken.yml").write_text("job: WRONG\ncolour: red\n")
    with ours:
        with theirs:
            done = run(
                "--jobs-dir", str(jobs), "report", "broken", env=environment, capture_output=False, stderr=theirs
            )
        assert done.returncode == 2
        lines = ours.makefile(encoding="utf-8").read().splitlines()
    assert len(lines) >= 3
    assert all(line.startswith("<3>") for line in lines)
    formatter = cli._JournalFormatter("%(message)s")
    record = logging.LogRecord("snowsync", logging.WARNING, "", 0, "a\nb", None, None)
    assert formatter.format(record) == "<4>a\n<4>b"


# -- a damaged ledger -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("ledger", "export"), ("report",)], ids=" ".join)
def test_a_page_that_the_disk_lost_is_named_as_a_damaged_ledger(
    jobs: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    path = tmp_path / "state" / "ledger.db"
    ledger = Ledger(path)
    ledger.listing.observe([listed(f"{number:05}") for number in range(4000)])
    root, page_size = ledger.database.connection.execute(
        "SELECT rootpage, page_size FROM sqlite_master, pragma_page_size WHERE name = 'objects'"
    ).fetchone()
    ledger.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        # Every page behind the table's root: whichever of them hold rows of the table.
        for offset in range(size // page_size // 2 * page_size, size, page_size):
            assert offset != (root - 1) * page_size
            file.seek(offset)
            file.write(b"\xff" * page_size)
    done = run(*command, "photos", "--jobs-dir", str(jobs))
    assert done.returncode == LedgerError.exit_code, done.stderr
    assert "malformed" in done.stderr and "backup" in done.stderr and "Traceback" not in done.stderr
