# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of the bench found: a line for each pass, a file that always holds all of them, tables at the end."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .chart import chart
from .figures import Run, figures_table, mebibytes, ratios, ratios_table, summarize
from .processes import MEMORY_NOTE
from .tools import RCLONE_REMOTES, Place, Tool


class Record:
    """All passes so far. The file at `path`, and its chart, is renewed with each: a bench may be ended any time."""

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.runs: list[Run] = []
        self._details: list[Mapping[str, Any]] = []
        self._path, self._facts = path, dict(facts)

    def add(self, run: Run, details: Mapping[str, Any]) -> None:
        """Prints the pass, and writes it."""
        self.runs.append(run)
        self._details.append(details)
        print(run_line(run), flush=True)
        self.write()

    def write(self) -> None:
        summaries = summarize(self.runs)
        document = {
            **self._facts,
            "memory": MEMORY_NOTE,
            "summaries": [asdict(summary) for summary in summaries],
            "ratios": [asdict(ratio) for ratio in ratios(summaries)],
            "runs": detailed_runs(self.runs, self._details),
        }
        replace_file(self._path, json.dumps(document, indent=1) + "\n")
        replace_file(self._path.with_suffix(".svg"), chart(summaries, document["machine"]))


def replace_file(path: Path, text: str) -> None:
    """The old text or the new one, never a part."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)


def common_facts(started: datetime.datetime, options: Mapping[str, Any]) -> dict[str, Any]:
    machine = {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()}
    return {"started": started.isoformat(), "machine": machine, "options": dict(options)}


def run_line(run: Run) -> str:
    verdict = f"VOID: {'; '.join(run.problems[:3])}" if run.is_void else "ok"
    figures = run.figures
    return (
        f"{run.data_set:>7} {run.kind} round {run.round} {run.tool:<12} wall {figures.wall:8.2f} s"
        f"  client CPU {figures.client_cpu:7.2f} s  server CPU {figures.server_cpu:6.2f} s"
        f"  peak {mebibytes(figures.peak_memory):>5} MiB  others {figures.others_cpu:5.1f} s  {verdict}"
    )


def detailed_runs(runs: Sequence[Run], details: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The runs as JSON can hold them."""
    return [
        json.loads(json.dumps({**vars(run), **extra}, default=vars)) for run, extra in zip(runs, details, strict=True)
    ]


def print_results(runs: Sequence[Run], tools: Sequence[Tool], place: Place) -> None:
    summaries = summarize(runs)
    print("\nMedians per pass, all hops together\n")
    print(figures_table(summaries))
    found = ratios(summaries)
    if found:
        print("\nRatios of these medians (below 1: ours needs less)\n")
        print(ratios_table(found))
    print("\nCommands")
    print("\n".join(command_lines(tools, place)))
    print("\nWhat each verifies")
    print("\n".join(f"{tool.name:<13} {tool.checks_bytes}" for tool in tools))
    print(f"\n{MEMORY_NOTE}\nothers CPU s: what everything else on this machine used during the run; large means noise")


def command_lines(tools: Sequence[Tool], place: Place) -> list[str]:
    lines = [f"{tool.name:<13} {shlex.join(step.argv)}" for tool in tools for step in tool.steps(place)]
    return [*lines, f"{'':<13} rclone's remotes by environment: {RCLONE_REMOTES}"]
