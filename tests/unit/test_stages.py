# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runner of the test stages: it counts right, it runs on, and it never calls nothing a success."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tools import stages
from tools.stages import Counts, Runner, Stage

FAILED_SANITY = """\
Running sanity test "compile" on Python 3.11
Running sanity test "import" on Python 3.11
Running sanity test "import" on Python 3.12
Running sanity test "pylint"
FATAL: The 1 sanity test(s) listed below (out of 3) failed. See error output above for details.
"""


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The logs of these stages are not those of the run that they are part of."""
    monkeypatch.setattr(stages, "ROOT", tmp_path)
    monkeypatch.setattr(stages, "LOGS", tmp_path / "logs")
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


def run(stage: Stage, capsys: pytest.CaptureFixture[str]) -> tuple[Counts, str, str]:
    counts = stages.run_stage(stage, [])
    shown = capsys.readouterr()
    return counts, shown.out, shown.err


def python(code: str) -> Stage:
    return Stage("example", lambda runner: runner.check("python", sys.executable, "-c", code))


def test_a_stage_that_passes_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    counts, out, err = run(python("print('seen')"), capsys)
    assert counts == Counts(passed=1)
    assert re.fullmatch(r"example +passed +1 passed, 0 failed +\d+ s\n", out)
    assert err == ""


def test_a_stage_that_fails_shows_the_end_of_its_log(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts, out, err = run(python("print('seen'); raise SystemExit(3)"), capsys)
    assert counts.failed == 1
    assert re.fullmatch(r"example +FAILED +0 passed, 1 failed +\d+ s +python exited 3\n", out)
    assert "seen" in err
    assert "seen" in (logs / "example.log").read_text()


def test_a_stage_that_ran_nothing_has_failed(capsys: pytest.CaptureFixture[str]) -> None:
    counts, out, _err = run(Stage("example", lambda _runner: Counts()), capsys)
    assert counts.failed == 1
    assert "no test was run" in out


def test_an_error_of_the_runner_itself_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    def explode(_runner: Runner) -> Counts:
        raise FileNotFoundError("no such tool")

    counts, out, _err = run(Stage("example", explode), capsys)
    assert counts.failed == 1
    assert "no such tool" in out


def test_no_stage_is_left_out() -> None:
    assert sorted(name for lane in stages.LANES for name in lane) == sorted(stages.STAGES)


def test_a_broken_stage_stops_no_other(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"a": 0, "b": 3, "c": 0}
    examples = {
        name: dataclasses.replace(python(f"raise SystemExit({code})"), name=name) for name, code in names.items()
    }
    monkeypatch.setattr(stages, "STAGES", examples)
    assert stages.run_lanes([["b", "a"], ["c"]], []) == Counts(passed=2, failed=1, note="python exited 3")
    assert sorted(line.split()[:2] for line in capsys.readouterr().out.splitlines()) == [
        ["a", "passed"],
        ["b", "FAILED"],
        ["c", "passed"],
    ]


def test_an_interrupt_ends_what_runs_and_starts_nothing_more(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tools import stages\n"
        "stages.LOGS = stages.ROOT = Path(sys.argv[1])\n"
        "wait = 'import time; print(1, flush=True); time.sleep(600)'\n"
        "def stage(name):\n"
        "    return stages.Stage(name, lambda runner: runner.check('wait', sys.executable, '-c', wait))\n"
        "stages.STAGES = {name: stage(name) for name in 'abc'}\n"
        "stages.LANES = (('a', 'b'), ('c',))\n"
        "sys.argv = ['stages.py', '--all']\n"
        "stages.main()\n"
    )
    argv = [sys.executable, "-c", code, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not all((tmp_path / f"{name}.log").exists() and "1" in log_of(tmp_path, name) for name in "ac"):
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        assert process.wait() != 0
    assert not (tmp_path / "b.log").exists()


def log_of(folder: Path, name: str) -> list[str]:
    return (folder / f"{name}.log").read_text().splitlines()


def test_what_needs_root_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    counts, out, _err = run(Stage("example", lambda _runner: Counts(passed=1), needs_root=True), capsys)
    assert counts.failed == 1
    assert "cannot run: needs root" in out


def test_a_command_that_hangs_is_ended_with_its_children(capsys: pytest.CaptureFixture[str]) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    stage = Stage("example", lambda runner: runner.check("python", sys.executable, "-c", code), silence=0)
    counts, out, _err = run(stage, capsys)
    assert counts.failed == 1
    assert "exited 124" in out


def test_a_command_that_gets_on_may_take_as_long_as_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    code = "import time\nfor _ in range(30): print('.', flush=True); time.sleep(0.1)"
    stage = Stage("example", lambda runner: runner.check("python", sys.executable, "-c", code), silence=1 / 60)
    assert run(stage, capsys)[0] == Counts(passed=1)


def test_what_a_stage_that_was_ended_left_is_released(capsys: pytest.CaptureFixture[str]) -> None:
    """A mount, a loop device and files below its folder for temporary files."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root, as which `make test` runs")
    code = (
        "import os, pathlib, subprocess, tempfile\n"
        "folder = pathlib.Path(tempfile.gettempdir())\n"
        "(folder / 'disk').write_bytes(bytes(4 << 20))\n"
        "(folder / 'mnt').mkdir()\n"
        "subprocess.run(['mkfs.ext4', '-q', folder / 'disk'], check=True)\n"
        "subprocess.run(['mount', '-o', 'loop', folder / 'disk', folder / 'mnt'], check=True)\n"
        "print('FOLDER', folder, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    seen: list[str] = []

    def mounting(runner: Runner) -> Counts:
        seen.append(str(runner.folder))
        return runner.check("python", sys.executable, "-c", code)

    counts, _out, err = run(Stage("example", mounting), capsys)
    assert counts.failed == 1
    assert f"FOLDER {seen[0]}" in err, "it was mounted"
    assert seen[0] not in Path("/proc/mounts").read_text()
    backings = [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    assert not [path for path in backings if path.startswith(seen[0])]
    shutil.rmtree(seen[0])


def test_commands_see_no_account_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "someone")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/elsewhere")
    seen = {name for name in stages.clean_environment() if name.startswith("AWS_")}
    assert seen == {"AWS_EC2_METADATA_DISABLED"}


def test_pytest_is_counted_from_its_report(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text('<testsuites><testsuite tests="9" failures="1" errors="2" skipped="1"/></testsuites>')
    assert stages.read_junit(report) == Counts(passed=5, failed=3, skipped=1)
    assert stages.read_junit(tmp_path / "missing.xml") == Counts()


def test_a_folder_without_tests_has_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    counts, out, _err = run(Stage("example", lambda runner: runner.pytest("empty")), capsys)
    assert counts.failed == 1
    assert "no test was run" in out


def test_a_failed_and_a_passed_test_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some/test_some.py").write_text("def test_a(): pass\ndef test_b(): assert False\n")
    counts, _out, _err = run(Stage("example", lambda runner: runner.pytest("some")), capsys)
    assert counts == Counts(passed=1, failed=1)


@pytest.mark.parametrize(
    ("output", "code", "expected"),
    [
        (FAILED_SANITY, 1, Counts(passed=2, failed=1, note="ansible-test exited 1")),
        (FAILED_SANITY.rpartition("FATAL")[0], 0, Counts(passed=3)),
        ("FATAL: Command failed\n", 1, Counts(failed=1, note="ansible-test ran no test and exited 1")),
        ("WARNING: All targets skipped.\n", 0, Counts(failed=1, note="ansible-test ran no test and exited 0")),
    ],
)
def test_ansible_test_is_counted_from_its_output(output: str, code: int, expected: Counts) -> None:
    assert stages.read_sanity(output, code) == expected


def test_molecule_is_counted_from_its_recap() -> None:
    recap = "SCENARIO RECAP\n{}  : actions=8  successful=8  disabled=0  skipped=0  missing=0  failed=0\n"
    broken = "upgrade: actions=3  successful=2  disabled=0  skipped=0  missing=0  failed=1\n"
    assert stages.read_molecule(recap.format("default"), 0, ["default"]) == Counts(passed=1)
    counts = stages.read_molecule(recap.format("default") + broken, 1, ["default", "upgrade", "never-run"])
    assert counts == Counts(passed=1, failed=2, note="molecule exited 1")
    assert stages.read_molecule("", 0, ["default"]).failed == 1


def test_counts_read_as_a_closing_line() -> None:
    assert str(Counts(3, 1) + Counts(2)) == "5 passed, 1 failed"
    assert str(Counts(3, 1, 2)) == "3 passed, 1 failed, 2 skipped"
