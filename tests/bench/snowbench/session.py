# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench itself: every tool over every data set, in turns, each run checked before its figures count."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .budget import Budget
from .cores import Cores
from .figures import OURS, Figures, Run, rotated
from .processes import Cost, machine_cpu, measure, wait_for_quiet
from .requests import NO_REQUESTS, noop_problems, requests_between, totals
from .results import Record
from .stores import BenchError, Stored, StoreServer, compare, equal_etags
from .tools import DESTINATION_BUCKET, SOURCE_BUCKET, Place, Step, Tool

KIB, MIB = 1024, 1024 * 1024
SYNC, NOOP = "sync", "noop"
FOLDERS = 20
FEWEST_OBJECTS = 4
WARM_UP_CHUNK = 16 * MIB


@dataclass(frozen=True)
class DataSet:
    """`objects` equal objects of `size` bytes."""

    name: str
    objects: int
    size: int

    @property
    def bytes(self) -> int:
        return self.objects * self.size

    def scaled(self, factor: float) -> DataSet:
        """Fewer objects; where fewer than four would be left, four smaller ones of the same total."""
        objects = max(1, round(self.objects * factor))
        if objects >= FEWEST_OBJECTS or objects >= self.objects:
            return DataSet(self.name, objects, self.size)
        return DataSet(self.name, FEWEST_OBJECTS, max(1, round(self.bytes * factor / FEWEST_OBJECTS)))


DATA_SETS = {
    each.name: each
    for each in (DataSet("4KiB", 20_000, 4 * KIB), DataSet("1MiB", 2_000, MIB), DataSet("512MiB", 8, 512 * MIB))
}
# Long enough for volumes of 50 MB/s, short enough for a machine with little memory.
THROTTLED_SETS = {each.name: each for each in (DataSet("1MiB", 3_000, MIB), DataSet("128MiB", 24, 128 * MIB))}


@dataclass(frozen=True)
class Options:
    """How much, where and in which order; `part_size` in bytes is what the source's large objects were stored with."""

    rounds: int
    tools: Sequence[Tool]
    part_size: int
    timeout_seconds: float
    noop: bool
    keep_logs: Path
    quiet_seconds: float = 0.0  # how long to wait for a quiet machine before a run
    cores: Cores = field(default_factory=Cores)
    trust: Mapping[str, str] = field(default_factory=dict)  # environment by which tools trust the stores' certificates


class Bench:
    """Runs passes, each of which `record` gets, as long as the budget allows."""

    def __init__(
        self,
        source: StoreServer,
        destination: StoreServer,
        place: Place,
        options: Options,
        budget: Budget,
        record: Record,
    ) -> None:
        self._source, self._destination = source, destination
        self._place, self._options = place, options
        self._budget, self._record = budget, record

    def run(self, data_sets: Sequence[DataSet]) -> None:
        """All sets. Of a budget, each has an equal share for its second and later rounds."""
        for number, data_set in enumerate(data_sets):
            if not self._budget.allows():
                print(f"{data_set.name:>7} left out: time is up", flush=True)
                continue
            self._run_data_set(data_set, self._budget.share(len(data_sets) - number))

    def _run_data_set(self, data_set: DataSet, share: Budget) -> None:
        """Fill the source, then all rounds: each tool from nothing, checked, and its no-op pass."""
        self._place = replace(self._place, set_bytes=data_set.bytes)
        self._source.drop(SOURCE_BUCKET)
        part_size = self._options.part_size if data_set.size > self._options.part_size else 0
        self._source.seed(
            SOURCE_BUCKET, objects=data_set.objects, size=data_set.size, part_size=part_size, folders=FOLDERS
        )
        contents = self._source.contents(SOURCE_BUCKET)
        warm_up(self._place.work, data_set.bytes)
        last = 0.0
        for round_number in range(self._options.rounds):
            if round_number and not share.allows(last):
                print(f"{data_set.name:>7} left out: round {round_number + 1} would take too long", flush=True)
                break
            began = share.now()
            self._run_round(data_set, round_number, contents)
            last = share.now() - began
        self._clean()

    def _run_round(self, data_set: DataSet, round_number: int, contents: dict[str, Stored]) -> None:
        for name in rotated([tool.name for tool in self._options.tools], round_number):
            if not self._budget.allows():
                print(f"{data_set.name:>7} round {round_number + 1} {name:<12} left out: time is up", flush=True)
                continue
            tool = next(tool for tool in self._options.tools if tool.name == name)
            self._run_tool(tool, data_set, round_number, contents)

    def _run_tool(self, tool: Tool, data_set: DataSet, round_number: int, contents: dict[str, Stored]) -> None:
        self._clean()
        tool.prepare(self._place)
        for kind in (SYNC, NOOP) if self._options.noop and tool.copies else (SYNC,):
            label = f"{data_set.name}-{tool.name}-{kind}-{round_number + 1}"
            os.sync()
            if self._options.quiet_seconds:
                wait_for_quiet(self._options.quiet_seconds)
            before = self._requests()
            hops, problems, commands = self._run_steps(tool, label)
            requests = requests_between(before, self._requests())
            stored = self._destination.contents(DESTINATION_BUCKET)
            problems += compare(contents, stored) if tool.copies else []
            problems += noop_problems(requests) if kind == NOOP else []
            total = replace(sum_hops(hops.values()), **totals(requests))
            run = Run(data_set.name, tool.name, kind, round_number + 1, total, hops, problems[:20])
            equal = equal_etags(contents, stored)
            self._record.add(run, {"requests": requests, "equal_etags": equal, "commands": commands})

    def _run_steps(self, tool: Tool, label: str) -> tuple[dict[str, Figures], list[str], list[Any]]:
        hops: dict[str, Figures] = {}
        problems: list[str] = []
        commands: list[Any] = []
        for step in tool.steps(self._place):
            cost, server_cpu, others_cpu = self._run_step(step, f"{label}-{step.hop}")
            if cost.exit_code:
                problems.append(f"{step.hop}: " + ("timed out" if cost.timed_out else f"exit code {cost.exit_code}"))
            hops[step.hop] = figures_of(cost, server_cpu, others_cpu, split=tool.name == OURS)
            commands.append({"hop": step.hop, "argv": list(step.argv), "children": sorted(cost.children)})
        return hops, problems, commands

    def _run_step(self, step: Step, label: str) -> tuple[Cost, float, float]:
        servers_before, machine_before, own_before = self._server_cpu(), machine_cpu(), sum(os.times()[:2])
        cost = measure(
            [*self._options.cores.tool_prefix, *step.argv],
            {**step.environment, **self._options.trust},
            stdout=self._options.keep_logs / f"{label}.out",
            stderr=self._options.keep_logs / f"{label}.err",
            timeout_seconds=self._budget.timeout(self._options.timeout_seconds),
        )
        machine, own = machine_cpu() - machine_before, sum(os.times()[:2]) - own_before
        server_cpu = self._server_cpu() - servers_before
        return cost, server_cpu, max(0.0, machine - own - server_cpu - cost.cpu)

    def _server_cpu(self) -> float:
        return self._source.cpu_seconds() + self._destination.cpu_seconds()

    def _requests(self) -> dict[str, dict[str, int]]:
        stats = {"source": self._source.stats(), "destination": self._destination.stats()}
        return {
            side: {**answer["requests"], **{name: answer[name] for name in NO_REQUESTS}}
            for side, answer in stats.items()
        }

    def _clean(self) -> None:
        """Empty destination, volumes and state; then `sync`, so that nobody pays for another's dirty pages."""
        self._destination.drop(DESTINATION_BUCKET)
        shutil.rmtree(self._place.work, ignore_errors=True)
        for number in range(self._place.volumes):
            self._place.volume(number).mkdir(parents=True)
        os.sync()


def figures_of(cost: Cost, server_cpu: float, others_cpu: float, *, split: bool) -> Figures:
    """`split`: the command itself is the engine, its children are movers."""
    return Figures(
        wall=cost.wall,
        client_cpu=cost.cpu,
        server_cpu=server_cpu,
        peak_memory=cost.peak_memory,
        others_cpu=others_cpu,
        engine_cpu=cost.own_cpu if split else None,
        mover_cpu=cost.children_cpu if split else None,
    )


def sum_hops(hops: Iterable[Figures]) -> Figures:
    total = None
    for figures in hops:
        total = figures if total is None else total + figures
    if total is None:
        raise BenchError("a tool without steps")
    return total


def warm_up(folder: Path, size: int) -> None:
    """Touch as much page cache as a run will: the first use of a virtual machine's memory is several times slower."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "warm-up"
    chunk = bytes(WARM_UP_CHUNK)
    with path.open("wb") as file:
        for _ in range(2 * size // WARM_UP_CHUNK + 1):
            file.write(chunk)
    path.unlink()
