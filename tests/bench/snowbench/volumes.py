# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The staged job over volumes that are as slow as real disks: how near does it come to the sum of their speeds?

Each volume is an ext4 on a fragile disk (tests/disks) whose reads and writes share one rate. The disks stay, so that
the memory they live in is touched before anything is timed; each pass gets new filesystems on them.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from disks import Disk, Rack, evict, make_filesystem, mount, unmount

from .figures import divide, number, render_table, rotated
from .processes import Cost, machine_cpu, measure, wait_for_quiet
from .session import MIB, DataSet, Options, warm_up
from .stores import Stored, StoreServer, compare
from .tools import DESTINATION_BUCKET, OURS, SOURCE_BUCKET, TOOLS, Place, Step

MEGABYTE = 1_000_000
DISK_BYTES = 1024 * MIB
FILLED = 0.65  # what one hop alone may put there: below the marks at which a job begins to wait for space
# `both`: as a job runs; `down` and `up`: one hop after the other, the page cache emptied in between, so that the
# second one reads from the disks.
BOTH, DOWN, UP = "both", "down", "up"


@dataclass(frozen=True)
class Layout:
    """The speeds of a job's volumes, megabytes per second; written like `50`, `4x50` or `10+50+100`."""

    name: str
    speeds: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Layout:
        speeds: list[float] = []
        for term in text.split("+"):
            count, _, speed = term.rpartition("x")
            speeds += [float(speed)] * int(count or 1)
        if not speeds or min(speeds) <= 0:
            raise ValueError(f"no speeds: {text!r}")
        return cls(text, tuple(speeds))


@dataclass(frozen=True)
class VolumesRun:
    """One pass; `rate` and `speeds` in megabytes per second, `written` and `read` what each disk did, in bytes."""

    data_set: str
    layout: str
    speeds: Sequence[float]
    hop: str
    round: int
    wall: float
    rate: float
    client_cpu: float
    others_cpu: float
    written: Sequence[int]
    read: Sequence[int]
    problems: Sequence[str] = ()


@dataclass(frozen=True)
class VolumesSummary:
    """Medians of the passes that count."""

    data_set: str
    layout: str
    hop: str
    sum_of_speeds: float
    runs: int
    void: int
    rate: float | None
    slowest: float | None
    fastest: float | None
    client_cpu: float | None


class VolumesBench:
    """Runs the passes. `folder` holds mount points and state; `say` gets one line per pass."""

    def __init__(
        self,
        stores: tuple[StoreServer, StoreServer],
        folder: Path,
        layouts: Sequence[Layout],
        options: Options,
        job_settings: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        self.runs: list[VolumesRun] = []
        self._source, self._destination = stores
        self._folder, self._layouts, self._options = folder, layouts, options
        self._job_settings, self._say = job_settings, say
        self._disks: list[Disk] = []

    def run(self, data_sets: Sequence[DataSet]) -> None:
        """All passes over all sets."""
        with self._prepared_disks():
            for data_set in data_sets:
                self._run_data_set(data_set)

    @contextlib.contextmanager
    def _prepared_disks(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for place in range(max(len(layout.speeds) for layout in self._layouts)):
                name = f"disk-{place + 1}"  # in a rack of its own: none waits for another
                rack = Rack(self._folder / "racks" / name, {name: DISK_BYTES}, remembers=False, prepared=True)
                self._disks.append(stack.enter_context(rack)[name])
            yield

    def _run_data_set(self, data_set: DataSet) -> None:
        self._source.drop(SOURCE_BUCKET)
        part_size = self._options.part_size if data_set.size > self._options.part_size else 0
        self._source.seed(SOURCE_BUCKET, objects=data_set.objects, size=data_set.size, part_size=part_size, folders=20)
        contents = self._source.contents(SOURCE_BUCKET)
        warm_up(self._folder, data_set.bytes)
        for round_number in range(self._options.rounds):
            for name in rotated([layout.name for layout in self._layouts], round_number):
                layout = next(layout for layout in self._layouts if layout.name == name)
                self._run_layout(layout, data_set, round_number, contents)
        self._destination.drop(DESTINATION_BUCKET)

    def _run_layout(self, layout: Layout, data_set: DataSet, round_number: int, contents: dict[str, Stored]) -> None:
        for hops in ((BOTH,), (DOWN, UP)):
            self._destination.drop(DESTINATION_BUCKET)
            if hops != (BOTH,) and data_set.bytes > FILLED * DISK_BYTES * len(layout.speeds):
                continue  # one hop alone needs room for all
            with self._mounted(layout) as volumes:
                steps = self._prepare(layout, volumes)
                for hop in hops:
                    for volume in volumes:
                        evict(volume)
                    label = f"{data_set.name}-{layout.name}-{hop}-{round_number + 1}"
                    run = self._run_step(steps[hop], label, layout, data_set, round_number, hop)
                    problems = list(run.problems)
                    if hop != DOWN:
                        problems += compare(contents, self._destination.contents(DESTINATION_BUCKET))
                    self._record(VolumesRun(**{**asdict(run), "problems": problems[:20]}))

    @contextlib.contextmanager
    def _mounted(self, layout: Layout) -> Iterator[list[Path]]:
        shutil.rmtree(self._folder / "work", ignore_errors=True)
        volumes = [self._folder / "volumes" / disk.name for disk, _ in zip(self._disks, layout.speeds, strict=False)]
        try:
            for disk, volume, speed in zip(self._disks, volumes, layout.speeds, strict=False):
                disk.throttle(None)
                make_filesystem(disk.device, "ext4")
                mount(disk.device, volume)
                disk.throttle(speed * MEGABYTE)
            yield volumes
        finally:
            for disk, volume in zip(self._disks, volumes, strict=False):
                disk.throttle(None)
                unmount(volume)

    def _prepare(self, layout: Layout, volumes: Sequence[Path]) -> dict[str, Step]:
        """The job's file and its commands, by hop."""
        configured = [{"name": volume.name, "path": str(volume)} for volume in volumes]
        settings = {"space": {"reserve": "16MiB"}, **self._job_settings, "volumes": configured}
        place = Place(self._source.url, self._destination.url, self._folder / "work", 0, 0, settings)
        place.work.mkdir(parents=True)
        TOOLS[OURS].prepare(place)
        (step,) = TOOLS[OURS].steps(place)
        directions = {BOTH: "both", DOWN: "source", UP: "destination"}
        return {
            hop: Step(hop, [*step.argv, "--direction", direction], step.environment)
            for hop, direction in directions.items()
        }

    def _run_step(
        self, step: Step, label: str, layout: Layout, data_set: DataSet, round_number: int, hop: str
    ) -> VolumesRun:
        if self._options.quiet_seconds:
            wait_for_quiet(self._options.quiet_seconds)
        disks = self._disks[: len(layout.speeds)]
        before, machine_before = [disk.traffic() for disk in disks], machine_cpu()
        servers_before = self._servers_cpu()
        cost = self._measure(step, label)
        others = machine_cpu() - machine_before - cost.cpu - (self._servers_cpu() - servers_before)
        after = [disk.traffic() for disk in disks]
        written = [new.written - old.written for new, old in zip(after, before, strict=True)]
        read = [new.read - old.read for new, old in zip(after, before, strict=True)]
        problems = [f"exit code {cost.exit_code}"] if cost.exit_code else []
        if (hop == UP and sum(read) < data_set.bytes) or (hop != UP and sum(written) < data_set.bytes):
            problems.append("the page cache hid a part of the data from the disks")
        rate = data_set.bytes / cost.wall / MEGABYTE
        return VolumesRun(
            data_set.name, layout.name, layout.speeds, hop, round_number + 1, cost.wall, rate, cost.cpu, others,
            written, read, problems,
        )  # fmt: skip

    def _measure(self, step: Step, label: str) -> Cost:
        logs = self._options.keep_logs
        return measure(
            [*self._options.cores.tool_prefix, *step.argv],
            {**step.environment, **self._options.trust},
            stdout=logs / f"{label}.out",
            stderr=logs / f"{label}.err",
            timeout_seconds=self._options.timeout_seconds,
        )

    def _servers_cpu(self) -> float:
        return self._source.cpu_seconds() + self._destination.cpu_seconds()

    def _record(self, run: VolumesRun) -> None:
        self.runs.append(run)
        verdict = f"VOID: {'; '.join(run.problems[:3])}" if run.problems else "ok"
        share = " ".join(f"{written / MEGABYTE:.0f}" for written in run.written)
        self._say(
            f"{run.data_set:>7} round {run.round} {run.layout:<10} {run.hop:<5} wall {run.wall:7.2f} s"
            f"  {run.rate:6.1f} of {sum(run.speeds):.0f} MB/s  client CPU {run.client_cpu:6.2f} s"
            f"  others and disks {run.others_cpu:5.1f} s  written MB: {share}  {verdict}"
        )


def summarize_volumes(runs: Sequence[VolumesRun]) -> list[VolumesSummary]:
    """One summary per set, hop and layout, in order of first appearance."""
    groups: dict[tuple[str, str, str], list[VolumesRun]] = {}
    for run in runs:
        groups.setdefault((run.data_set, run.hop, run.layout), []).append(run)
    found = []
    for (data_set, hop, layout), group in groups.items():
        counted = [run for run in group if not run.problems]
        rates = [run.rate for run in counted]
        found.append(
            VolumesSummary(
                data_set,
                layout,
                hop,
                sum(group[0].speeds),
                runs=len(counted),
                void=len(group) - len(counted),
                rate=statistics.median(rates) if rates else None,
                slowest=min(rates, default=None),
                fastest=max(rates, default=None),
                client_cpu=statistics.median(run.client_cpu for run in counted) if counted else None,
            )
        )
    return sorted(found, key=lambda each: (each.data_set, each.hop))


def volumes_table(summaries: Sequence[VolumesSummary], first: str) -> str:
    """`first`: the layout that the others are compared with."""
    base = {(each.data_set, each.hop): each.rate for each in summaries if each.layout == first}
    header = ("set", "hop", "volumes", "MB/s", "min..max", "of the sum", f"x {first}", "client CPU s", "runs")
    rows = []
    for each in summaries:
        ratio = divide(each.rate, base.get((each.data_set, each.hop)))
        runs = f"{each.runs}" + (f" ({each.void} void)" if each.void else "")
        spread = f"{number(each.slowest, 1)}..{number(each.fastest, 1)}"
        share = divide(each.rate, each.sum_of_speeds)
        cells = [number(each.rate, 1), spread, number(share), number(ratio), number(each.client_cpu), runs]
        rows.append([each.data_set, each.hop, each.layout, *cells])
    return render_table(header, rows)
