# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table of many runs of the bench: who was how fast, and what ours needs in proportion. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .figures import Figures, Ratio, Run, Summary, mebibytes, number, ratios, render_table, summarize

HEADER = (
    "set",
    "tool",
    "min..max",
    "wall s",
    "client CPU s",
    "server CPU s",
    "others CPU s",
    "peak MiB",
    "wall: ours / it",
    "CPU: ours / it",
    "runs",
)
NOTE = """\
Medians. client CPU: user + sys of the tool and its children; server CPU: both stores; others CPU: what else ran on the
machine. Ratios below 1: ours needs less. dd only writes as many bytes to the same disk, with conv=fsync; rclone and
s5cmd do not wait for the disk. Every object of every pass was read back and compared, or the pass is void."""


def runs_of(label: str, document: Mapping[str, Any]) -> list[Run]:
    """The runs of one of the bench's files; `label` says how the bench was called."""
    sets = {each["name"]: f"{label}: {each['objects']:,} x {size_text(each['size'])}" for each in document["sets"]}
    return [
        Run(
            sets[each["data_set"]],
            each["tool"],
            each["kind"],
            each["round"],
            Figures(**each["figures"]),
            problems=each["problems"],
        )
        for each in document["runs"]
    ]


def size_text(size: int) -> str:
    unit, name = (1024 * 1024, "MiB") if size >= 1024 * 1024 else (1024, "KiB")
    return f"{size / unit:.4g} {name}"


def overview_table(runs: Sequence[Run]) -> str:
    summaries = summarize(runs)
    found = {(each.data_set, each.peer): each for each in ratios(summaries)}
    return render_table(HEADER, [_row(each, found.get((each.data_set, each.tool))) for each in in_order(summaries)])


def in_order(summaries: Iterable[Summary]) -> list[Summary]:
    """All tools of a set together: later rounds began with other tools."""
    everyone = list(summaries)
    sets = list(dict.fromkeys(each.data_set for each in everyone))
    return sorted(everyone, key=lambda each: sets.index(each.data_set))


def _row(summary: Summary, ratio: Ratio | None) -> list[str]:
    runs = f"{summary.runs}" + (f" ({summary.void} void)" if summary.void else "")
    medians = summary.medians
    if medians is None:
        return [summary.data_set, summary.tool, *["void"] * (len(HEADER) - 3), runs]
    return [
        summary.data_set,
        summary.tool,
        f"{summary.spread[0]:.2f}..{summary.spread[1]:.2f}",
        number(medians.wall),
        number(medians.client_cpu),
        number(medians.server_cpu),
        number(medians.others_cpu),
        mebibytes(medians.peak_memory),
        number(ratio.wall if ratio else None),
        number(ratio.client_cpu if ratio else None),
        runs,
    ]


def void_lines(runs: Iterable[Run]) -> list[str]:
    return [f"void: {run.data_set}, {run.tool}: {'; '.join(run.problems[:3])}" for run in runs if run.is_void]
