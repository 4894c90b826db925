# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench's own arithmetic: figures that nobody checked would be worse than none."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from bench.snowbench import main as bench_main
from bench.snowbench.budget import Budget
from bench.snowbench.chart import chart
from bench.snowbench.cores import Cores
from bench.snowbench.figures import (
    Figures,
    Run,
    divide,
    figures_table,
    median_figures,
    ratios,
    ratios_table,
    render_table,
    rotated,
    summarize,
)
from bench.snowbench.processes import Cost, measure, process_tree, stat_fields
from bench.snowbench.requests import noop_problems, requests_between, totals
from bench.snowbench.results import detailed_runs
from bench.snowbench.session import (
    DATA_SETS,
    MIB,
    Bench,
    DataSet,
    Options,
    sum_hops,
)
from bench.snowbench.stores import BenchError, Stored, StoreServer, compare, equal_etags
from bench.snowbench.tools import SECRET_KEY, SOURCE_BUCKET, TOOLS, Place, Step, Tool, snowsync_job

from snowsync.config.job_file import parse_job


def figures(wall: float, cpu: float = 1.0, **more: float) -> Figures:
    values = {"server_cpu": 0.5, "peak_memory": 10 * MIB} | more
    return Figures(wall=wall, client_cpu=cpu, **values)


def run(tool: str, wall: float, *, kind: str = "sync", problems: tuple[str, ...] = (), **more: float) -> Run:
    return Run("4KiB", tool, kind, 1, figures(wall, **more), problems=problems)


# -- medians and ratios -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("walls", "expected"), [([3.0], 3.0), ([9.0, 1.0, 2.0], 2.0), ([1.0, 2.0, 4.0, 100.0], 3.0)])
def test_median_of_each_figure(walls: list[float], expected: float) -> None:
    assert median_figures([figures(wall, cpu=10 * wall) for wall in walls]) == figures(expected, cpu=10 * expected)


def test_medians_are_taken_figure_by_figure() -> None:
    many = [figures(1.0, cpu=9.0), figures(2.0, cpu=7.0), figures(3.0, cpu=8.0)]
    assert (median_figures(many).wall, median_figures(many).client_cpu) == (2.0, 8.0)


def test_engine_cpu_is_known_only_where_it_was_measured() -> None:
    assert median_figures([figures(1.0), figures(2.0)]).engine_cpu is None
    assert median_figures([figures(1.0, engine_cpu=3.0), figures(2.0, engine_cpu=5.0)]).engine_cpu == 4.0


def test_no_median_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least one"):
        median_figures([])


def test_hops_add_up_but_memory_is_the_larger() -> None:
    down = figures(1.0, cpu=2.0, peak_memory=30, others_cpu=0.5, engine_cpu=1.0, mover_cpu=1.0)
    up = figures(3.0, cpu=4.0, peak_memory=20, others_cpu=0.25, engine_cpu=1.5, mover_cpu=2.5)
    both = sum_hops([down, up])
    assert both == Figures(4.0, 6.0, 1.0, 30, 0.75, 2.5, 3.5)
    assert (figures(1.0) + up).engine_cpu is None
    with pytest.raises(BenchError):
        sum_hops([])


def test_void_runs_do_not_count() -> None:
    runs = [run("s5cmd", 1.0), run("s5cmd", 500.0, problems=("missing: 'k'",)), run("s5cmd", 3.0)]
    (summary,) = summarize(runs)
    assert (summary.runs, summary.void, summary.spread) == (2, 1, (1.0, 3.0))
    assert summary.medians is not None and summary.medians.wall == 2.0


def test_a_tool_with_void_runs_only_has_no_figures_and_no_ratio() -> None:
    summaries = summarize([run("snowsync", 1.0), run("s5cmd", 2.0, problems=("exit code 1",)), run("rclone", 4.0)])
    assert [ratio.peer for ratio in ratios(summaries)] == ["rclone"]
    assert summarize([run("snowsync", 1.0, problems=("x",)), run("s5cmd", 2.0)])[0].medians is None
    assert ratios(summarize([run("snowsync", 1.0, problems=("x",)), run("s5cmd", 2.0)])) == []


def test_ratios_are_ours_over_the_peers_of_the_same_set_and_pass() -> None:
    runs = [
        run("s5cmd", 4.0, cpu=8.0, peak_memory=20),
        run("snowsync", 3.0, cpu=2.0, peak_memory=50),
        run("s5cmd", 10.0, kind="noop"),
        run("snowsync", 1.0, kind="noop"),
    ]
    sync, noop = ratios(summarize(runs))
    assert (sync.peer, sync.kind, sync.wall, sync.client_cpu, sync.peak_memory) == ("s5cmd", "sync", 0.75, 0.25, 2.5)
    assert (noop.kind, noop.wall) == ("noop", 0.1)


@pytest.mark.parametrize(
    ("ours", "peers", "expected"),
    [(1.0, 4.0, 0.25), (0.0, 4.0, 0.0), (1.0, 0.0, None), (None, 4.0, None), (1.0, None, None)],
)
def test_divide(ours: float | None, peers: float | None, expected: float | None) -> None:
    assert divide(ours, peers) == expected


def test_every_tool_comes_first_once() -> None:
    tools = ["a", "b", "c"]
    orders = [rotated(tools, number) for number in range(3)]
    assert orders == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]]
    assert rotated(tools, 3) == tools


# -- tables -----------------------------------------------------------------------------------------------------


def test_table_is_aligned_markdown() -> None:
    text = render_table(("set", "pass", "tool", "n"), [("4KiB", "sync", "a", "1.25"), ("1MiB", "noop", "long", "10.5")])
    assert text.splitlines() == [
        "| set  | pass | tool |    n |",
        "| ---- | ---- | ---- | ---- |",
        "| 4KiB | sync | a    | 1.25 |",
        "| 1MiB | noop | long | 10.5 |",
    ]


def test_figures_table_shows_void_and_missing_figures() -> None:
    runs = [
        run("snowsync", 1.0, engine_cpu=0.25, mover_cpu=0.75),
        run("s5cmd", 2.0),
        run("s5cmd", 9.0, problems=("x",)),
    ]
    runs.append(run("rclone", 5.0, problems=("x",)))
    ours, partly, void = (row.split("|") for row in figures_table(summarize(runs)).splitlines()[2:])
    assert [cell.strip() for cell in ours[3:9]] == ["snowsync", "1.00", "1.00..1.00", "1.00", "0.25", "0.75"]
    assert [cell.strip() for cell in partly[3:9]] == ["s5cmd", "2.00", "2.00..2.00", "1.00", "-", "-"]
    assert partly[-2].strip() == "1 (1 void)"
    assert {cell.strip() for cell in void[4:-2]} == {"void"} and void[-2].strip() == "0 (1 void)"


def test_ratios_table() -> None:
    found = ratios(summarize([run("snowsync", 1.0), run("s5cmd", 4.0)]))
    assert ratios_table(found).splitlines()[-1] == (
        "| 4KiB | sync | snowsync / s5cmd | 0.25 |       1.00 |       1.00 |        1.00 |"
    )


def test_a_chart_has_two_bars_for_each_tool_and_none_for_a_void_one() -> None:
    runs = [run("snowsync", 1.0), run("s5cmd", 4.0), run("rclone", 9.0, problems=("x",))]
    svg = chart(summarize(runs), {"cores": 2, "platform": "Linux <6>"})
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    widths = [float(each.attrib["width"]) for each in root.iter(f"{space}rect") if each.attrib["class"] == "wall"]
    assert len(widths) == 2 and widths[1] == pytest.approx(4 * widths[0], abs=0.5)
    assert "void" in [text.text for text in root.iter(f"{space}text")]
    assert "Linux <6>" in (root.findtext(f"{space}title") or "")


# -- data sets, checks ------------------------------------------------------------------------------------------


def test_the_three_data_sets() -> None:
    sizes = {name: (data_set.objects, data_set.size) for name, data_set in DATA_SETS.items()}
    assert sizes == {"4KiB": (20_000, 4096), "1MiB": (2_000, MIB), "512MiB": (8, 512 * MIB)}


@pytest.mark.parametrize(
    ("factor", "objects", "size"),
    [(1.0, 8, 512 * MIB), (0.5, 4, 512 * MIB), (0.25, 4, 256 * MIB), (2.0, 16, 512 * MIB)],
)
def test_scaling_keeps_at_least_four_objects_and_the_total(factor: float, objects: int, size: int) -> None:
    scaled = DATA_SETS["512MiB"].scaled(factor)
    assert (scaled.objects, scaled.size) == (objects, size)
    assert scaled.bytes == DATA_SETS["512MiB"].bytes * factor
    assert DataSet("one", 1, 5).scaled(1.0) == DataSet("one", 1, 5)


@pytest.mark.parametrize(
    ("count", "tools", "stores"),
    [(None, [], []), (2, [0, 1], [2, 5]), (4, [], []), (9, [], [])],
)
def test_tools_and_stores_share_no_cpu_where_there_are_enough(
    count: int | None, tools: list[int], stores: list[int]
) -> None:
    cores = Cores.split(count, [0, 1, 2, 5])
    assert (list(cores.tools), list(cores.stores)) == (tools, stores)
    assert cores.tool_prefix == (["taskset", "--cpu-list", "0,1"] if tools else [])


def test_requests_and_listed_keys_of_both_stores_are_added_up() -> None:
    counted = {
        "source": {"GetObject": 5, "ListObjects": 1, "keys_listed": 5, "connections": 9},
        "destination": {"PutObject": 5, "keys_listed": 2},
    }
    assert totals(counted) == {"requests": 11, "keys_listed": 7}


def stored(sha256: str = "aa", *, etag: str = "e", size: int = 1, true: bool = True, problem: str = "") -> Stored:
    return Stored(size, etag, sha256, true, problem)


@pytest.mark.parametrize(
    ("destination", "problems"),
    [
        ({"k": stored()}, []),
        ({"k": stored(etag="e-3")}, []),
        ({}, ["1 objects at the source, 0 at the destination", "missing: 'k'"]),
        ({"k": stored("bb")}, ["other bytes: 'k'"]),
        ({"k": stored(size=2)}, ["other bytes: 'k'"]),
        ({"k": stored(etag="f")}, ["other ETag: 'k'"]),
        ({"k": stored(true=False)}, ["the ETag is not that of the bytes stored: 'k'"]),
        ({"k": stored(problem="cannot be read")}, ["cannot be read: 'k'"]),
        ({"k": stored(), "l": stored()}, ["1 objects at the source, 2 at the destination", "not at the source: 'l'"]),
    ],
)
def test_what_makes_a_run_void(destination: dict[str, Stored], problems: list[str]) -> None:
    assert compare({"k": stored()}, destination) == problems


def test_a_store_that_does_not_start_says_why(tmp_path: Path) -> None:
    program = tmp_path / "benchstore"
    program.write_text("#!/bin/sh\necho no room; exit 1\n")
    program.chmod(0o755)
    with pytest.raises(BenchError, match="no room"):
        StoreServer(program, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_store_is_stopped_if_the_bench_is_ended_while_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "benchstore"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    started = []

    def ended(server: Any, port_file: Path) -> str:
        started.append(server._process)
        raise SystemExit(143)

    monkeypatch.setattr(StoreServer, "_wait_for_address", ended)
    with pytest.raises(SystemExit):
        StoreServer(program, tmp_path / "store")
    assert started[0].poll() is not None


def test_equal_etags_are_counted() -> None:
    source = {"a": stored(etag="1"), "b": stored(etag="2-3"), "c": stored(etag="4")}
    assert equal_etags(source, {"a": stored(etag="1"), "b": stored(etag="2-9")}) == 1


def test_a_noop_pass_that_moved_something_is_void() -> None:
    before = {"source": {"GetObject": 5, "ListObjects": 1}, "destination": {"PutObject": 5}}
    after = {"source": {"GetObject": 5, "ListObjects": 3}, "destination": {"PutObject": 6, "HeadObject": 2}}
    requests = requests_between(before, after)
    assert requests == {"source": {"ListObjects": 2}, "destination": {"PutObject": 1, "HeadObject": 2}}
    assert noop_problems(requests) == ["no-op pass did 1 PutObject at the destination"]


def test_runs_survive_json() -> None:
    one = Run("4KiB", "s5cmd", "sync", 1, figures(1.5), {"down": figures(0.5)}, ["x"])
    (record,) = detailed_runs([one], [{"equal_etags": 7}])
    assert json.loads(json.dumps(record)) == record
    assert (record["hops"]["down"]["wall"], record["figures"]["wall"], record["equal_etags"]) == (0.5, 1.5, 7)


# -- tools ------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("http://127.0.0.1:1", "http://127.0.0.1:2", tmp_path / "work", volumes=2)


def test_our_job_is_one_the_engine_accepts(place: Place) -> None:
    job = parse_job(snowsync_job(place), "bench")
    assert [str(volume.path) for volume in job.volumes] == [str(place.volume(0)), str(place.volume(1))]
    assert job.source is not None and job.source.endpoints == ("http://127.0.0.1:1",)
    tuned = dataclasses.replace(place, job_settings={"mover": {"workers": 3}})
    assert parse_job(snowsync_job(tuned), "bench").mover.workers == 3


def test_no_secret_in_any_argv(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.snowbench.tools._found", lambda path, name: name)
    for tool in TOOLS.values():
        for step in tool.steps(place):
            assert not any(SECRET_KEY in word for word in step.argv)


def test_peers_go_down_then_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.snowbench.tools._found", lambda path, name: name)
    hops = {name: [step.hop for step in tool.steps(place)] for name, tool in TOOLS.items()}
    assert hops.pop("snowsync") == ["both"]
    assert hops.pop("dd") == ["disk"]
    assert all(each == ["down", "up"] for each in hops.values())


def test_rclone_with_64_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.snowbench.tools._found", lambda path, name: name)
    for step in TOOLS["rclone-64"].steps(place):
        assert step.argv[step.argv.index("--transfers") + 1] == step.argv[step.argv.index("--checkers") + 1] == "64"


def test_dd_writes_as_much_as_the_set_and_waits_for_the_disk(place: Place) -> None:
    place.volume(0).mkdir(parents=True)
    (step,) = TOOLS["dd"].steps(dataclasses.replace(place, set_bytes=3 * MIB + 5))
    subprocess.run(step.argv, env=step.environment, check=True, capture_output=True)
    (file,) = place.volume(0).iterdir()
    assert file.stat().st_size == 3 * MIB + 5 and "conv=fsync" in step.argv


# -- passes within a budget -------------------------------------------------------------------------------------


class OneObject:
    """A store that holds the same, whoever puts it there."""

    def drop(self, bucket: str) -> None:
        return None

    def seed(self, bucket: str, **query: object) -> None:
        return None

    def stats(self) -> dict[str, Any]:
        return {"requests": {}, "connections": 0, "keys_listed": 0}

    def cpu_seconds(self) -> float:
        return 0.0

    def contents(self, bucket: str) -> dict[str, Stored]:
        return {"k": stored()} if bucket == SOURCE_BUCKET else {}


class PassesTakeTen:
    """A clock that moves on with each pass that a bench records."""

    def __init__(self) -> None:
        self.now = 0.0
        self.passes: list[tuple[str, str, bool]] = []

    def add(self, run: Run, details: object) -> None:
        self.now += 10
        self.passes.append((run.data_set, run.tool, run.is_void))


def passes(place: Place, tmp_path: Path, seconds: float | None, *, noop: bool = False) -> list[tuple[str, str, bool]]:
    step = Step("disk", ["true"], {"PATH": os.defpath})
    tools = [Tool(name, lambda place: [step], lambda: "1", copies=name != "dd") for name in ("a", "dd")]
    store: Any = OneObject()
    record: Any = PassesTakeTen()
    budget = Budget(seconds, lambda: float(record.now))
    Bench(store, store, place, Options(2, tools, MIB, 60.0, noop, tmp_path), budget, record).run(
        [DataSet("one", 1, 1), DataSet("two", 1, 1)]
    )
    return list(record.passes)


def test_what_is_no_copy_is_not_compared_and_has_no_second_pass(place: Place, tmp_path: Path) -> None:
    found = passes(place, tmp_path, None, noop=True)
    assert found[:3] == [("one", "a", True), ("one", "a", True), ("one", "dd", False)] and len(found) == 12


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (80.0, ["one a", "one dd", "one dd", "one a", "two a", "two dd", "two dd", "two a"]),
        (79.0, ["one a", "one dd", "two a", "two dd", "two dd", "two a"]),  # the other set has its share
        (35.0, ["one a", "one dd", "two a", "two dd"]),  # begun before the end
        (30.0, ["one a", "one dd", "two a"]),
        (10.0, ["one a"]),
        (0.0, []),
    ],
)
def test_rounds_end_with_the_budget(place: Place, tmp_path: Path, seconds: float, expected: list[str]) -> None:
    assert [f"{name} {tool}" for name, tool, void in passes(place, tmp_path, seconds)] == expected


# -- arguments --------------------------------------------------------------------------------------------------


def test_arguments() -> None:
    parsed = bench_main.parse_arguments(["--sets", "4KiB,1MiB", "--tools", "rclone", "--scale", "0.1"])
    assert (parsed.sets, parsed.tools, parsed.scale, parsed.rounds) == (["4KiB", "1MiB"], ["rclone"], 0.1, 3)
    assert bench_main.parse_arguments([]).budget is None
    assert bench_main.parse_arguments([]).tools == ["snowsync", "s5cmd", "rclone", "rclone-tuned"]


@pytest.mark.parametrize(
    "wrong", [["--sets", "8KiB"], ["--tools", "scp"], ["--rounds", "0"], ["--job", "[]"], ["--job", "{"]]
)
def test_wrong_arguments_end_it(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        bench_main.parse_arguments(wrong)
    assert caught.value.code == 2 and wrong[0] in capsys.readouterr().err


# -- measuring --------------------------------------------------------------------------------------------------

SPENDS_IN_A_CHILD = """
import os, sys, time
child = os.fork()
if child == 0:
    held = bytes(range(256)) * 4096 * 40
    while time.process_time() < 0.3:
        pass
    os._exit(0)
os.waitpid(child, 0)
sys.exit(7)
"""


def measured(tmp_path: Path, script: str, timeout_seconds: float) -> Cost:
    return measure(
        [sys.executable, "-S", "-c", script],
        {"PATH": "/usr/bin:/bin"},
        stdout=tmp_path / "out",
        stderr=tmp_path / "err",
        timeout_seconds=timeout_seconds,
    )


def test_cost_of_children_is_counted_apart(tmp_path: Path) -> None:
    cost = measured(tmp_path, SPENDS_IN_A_CHILD, 600.0)
    assert (cost.exit_code, cost.timed_out) == (7, False)
    assert cost.children_cpu > 0.2 > cost.own_cpu
    assert cost.cpu == pytest.approx(cost.own_cpu + cost.children_cpu, abs=0.05)
    assert cost.wall >= cost.children_cpu - 0.05
    assert cost.peak_memory > 40 * MIB
    assert len(cost.children) == 1


def test_a_command_that_hangs_is_killed(tmp_path: Path) -> None:
    cost = measured(tmp_path, "import time; time.sleep(600)", 0.2)
    assert (cost.exit_code, cost.timed_out) == (-9, True)


def test_output_goes_to_files(tmp_path: Path) -> None:
    measured(tmp_path, "import sys; print('one'); print('two', file=sys.stderr)", 600.0)
    assert ((tmp_path / "out").read_text(), (tmp_path / "err").read_text()) == ("one\n", "two\n")


def test_process_tree_starts_with_the_root() -> None:
    assert process_tree(os.getpid())[0] == os.getpid()
    assert stat_fields(os.getpid())[0] in "RSD"
