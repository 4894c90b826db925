# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Medians, ratios and tables. Pure: no files, no processes, no clock."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

OURS = "snowsync"


@dataclass(frozen=True)
class Figures:
    """What one pass of one tool over one data set cost; seconds and bytes.

    `client_cpu` is user + sys of the tool and all its children, `engine_cpu` and `mover_cpu` its two parts (ours
    only), `peak_memory` the largest sum over the tool's process tree, `others_cpu` what the rest of the machine used
    meanwhile; `requests` are those at both stores, `keys_listed` the entries of their listings.
    """

    wall: float
    client_cpu: float
    server_cpu: float
    peak_memory: int
    others_cpu: float = 0.0
    engine_cpu: float | None = None
    mover_cpu: float | None = None
    requests: int = 0
    keys_listed: int = 0

    def __add__(self, other: Figures) -> Figures:
        """Two hops one after the other."""
        return Figures(
            wall=self.wall + other.wall,
            client_cpu=self.client_cpu + other.client_cpu,
            server_cpu=self.server_cpu + other.server_cpu,
            peak_memory=max(self.peak_memory, other.peak_memory),
            others_cpu=self.others_cpu + other.others_cpu,
            engine_cpu=_sum(self.engine_cpu, other.engine_cpu),
            mover_cpu=_sum(self.mover_cpu, other.mover_cpu),
            requests=self.requests + other.requests,
            keys_listed=self.keys_listed + other.keys_listed,
        )


def _sum(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left + right


@dataclass(frozen=True)
class Run:
    """One pass: `kind` is "sync" (from nothing) or "noop" (everything is there). `problems` makes the figures void."""

    data_set: str
    tool: str
    kind: str
    round: int
    figures: Figures
    hops: Mapping[str, Figures] = field(default_factory=dict)
    problems: Sequence[str] = ()

    @property
    def is_void(self) -> bool:
        return bool(self.problems)


@dataclass(frozen=True)
class Summary:
    """Medians of the runs that count; `spread` is (min, max) of wall."""

    data_set: str
    tool: str
    kind: str
    runs: int
    void: int
    medians: Figures | None
    spread: tuple[float, float] = (0.0, 0.0)


def median_figures(many: Sequence[Figures]) -> Figures:
    """Each figure's own median. Raises ValueError without any figures."""
    if not many:
        raise ValueError("a median needs at least one run")
    medians: dict[str, Any] = {each.name: _median(getattr(one, each.name) for one in many) for each in fields(Figures)}
    return Figures(**medians)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def summarize(runs: Iterable[Run]) -> list[Summary]:
    """One summary per data set, tool and kind, in order of first appearance."""
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.data_set, run.tool, run.kind), []).append(run)
    return [_summarize_group(*key, group) for key, group in groups.items()]


def _summarize_group(data_set: str, tool: str, kind: str, group: Sequence[Run]) -> Summary:
    counted = [run.figures for run in group if not run.is_void]
    walls = [figures.wall for figures in counted]
    return Summary(
        data_set,
        tool,
        kind,
        runs=len(counted),
        void=len(group) - len(counted),
        medians=median_figures(counted) if counted else None,
        spread=(min(walls), max(walls)) if walls else (0.0, 0.0),
    )


@dataclass(frozen=True)
class Ratio:
    """Ours divided by a peer's, medians of one run of the bench; None where either is missing or the peer's is 0."""

    data_set: str
    peer: str
    kind: str
    wall: float | None
    client_cpu: float | None
    peak_memory: float | None
    server_cpu: float | None


def divide(ours: float | None, peers: float | None) -> float | None:
    return None if ours is None or not peers else ours / peers


def ratios(summaries: Iterable[Summary], ours: str = OURS) -> list[Ratio]:
    """Ours against every peer of the same data set and kind."""
    everyone = list(summaries)
    own = {(each.data_set, each.kind): each.medians for each in everyone if each.tool == ours}
    found = []
    for peer in everyone:
        mine = own.get((peer.data_set, peer.kind))
        if peer.tool == ours or mine is None or peer.medians is None:
            continue
        names = ("wall", "client_cpu", "peak_memory", "server_cpu")
        values = {name: divide(getattr(mine, name), getattr(peer.medians, name)) for name in names}
        found.append(Ratio(peer.data_set, peer.tool, peer.kind, **values))
    return found


def rotated(tools: Sequence[str], round_number: int) -> list[str]:
    """The order of one round: each round starts with the next tool, so that none always comes first or last."""
    shift = round_number % len(tools)
    return [*tools[shift:], *tools[:shift]]


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns: text left, everything after the third column right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [_render_row(header, widths), "| " + " | ".join("-" * width for width in widths) + " |"]
    return "\n".join([*lines, *(_render_row(row, widths) for row in rows)])


TEXT_COLUMNS = 3


def _render_row(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if column < TEXT_COLUMNS else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "| " + " | ".join(cells) + " |"


def number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def mebibytes(value: float) -> str:
    return f"{value / 1048576:.0f}"


FIGURES_HEADER = (
    "set",
    "pass",
    "tool",
    "wall s",
    "min..max",
    "client CPU s",
    "engine",
    "s5cmd",
    "server CPU s",
    "peak MiB",
    "requests",
    "keys listed",
    "others CPU s",
    "runs",
)


def figures_table(summaries: Iterable[Summary]) -> str:
    return render_table(FIGURES_HEADER, [_figures_row(each) for each in summaries])


def _figures_row(summary: Summary) -> list[str]:
    start = [summary.data_set, summary.kind, summary.tool]
    runs = f"{summary.runs}" + (f" ({summary.void} void)" if summary.void else "")
    medians = summary.medians
    if medians is None:
        return [*start, *["void"] * 10, runs]
    return [
        *start,
        number(medians.wall),
        f"{summary.spread[0]:.2f}..{summary.spread[1]:.2f}",
        number(medians.client_cpu),
        number(medians.engine_cpu),
        number(medians.mover_cpu),
        number(medians.server_cpu),
        mebibytes(medians.peak_memory),
        number(medians.requests, 0),
        number(medians.keys_listed, 0),
        number(medians.others_cpu),
        runs,
    ]


RATIOS_HEADER = ("set", "pass", "ours / peer", "wall", "client CPU", "server CPU", "peak memory")


def ratios_table(found: Iterable[Ratio]) -> str:
    rows = [
        [each.data_set, each.kind, f"{OURS} / {each.peer}"]
        + [number(value) for value in (each.wall, each.client_cpu, each.server_cpu, each.peak_memory)]
        for each in found
    ]
    return render_table(RATIOS_HEADER, rows)
