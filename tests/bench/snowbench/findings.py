# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all calls of the bench found so far: `table.txt` for people, `runs.json` with everything."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .cores import available_cpus
from .figures import Run
from .overview import NOTE, overview_table, runs_of, void_lines
from .results import replace_file


class Findings:
    """Both files in `folder` are renewed with whatever is added: the machine may be taken away any time."""

    def __init__(self, folder: Path, facts: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.runs: list[Run] = []
        self._folder, self._facts = folder, dict(facts)
        self._documents: list[dict[str, Any]] = []
        self._shortcomings: list[str] = []

    def add(self, label: str, folder: Path) -> None:
        """The results of one call of the bench, if it came so far as to write them."""
        for path in sorted(folder.glob("results-*.json")):
            document = json.loads(path.read_text())
            self._documents.append({"part": label, **document})
            self.runs += runs_of(label, document)
        self.write()

    def fall_short(self, lines: Sequence[str]) -> None:
        """What was not measured until now."""
        self._shortcomings = list(lines)
        self.write()

    def text(self) -> str:
        tools = {name: version for each in self._documents for name, version in each["tools"].items()}
        lines = [*(f"{name:<13} {text}" for name, text in {**self._facts, **tools}.items()), ""]
        lines += [overview_table(self.runs), ""] if self.runs else []
        wanting = [*void_lines(self.runs), *self._shortcomings]
        return "\n".join([*lines, *wanting, *([""] if wanting else []), NOTE, ""])

    def write(self) -> None:
        replace_file(self._folder / "table.txt", self.text())
        everything = {"facts": self._facts, "shortcomings": self._shortcomings, "calls": self._documents}
        replace_file(self._folder / "runs.json", json.dumps(everything, indent=1) + "\n")


def machine_facts() -> dict[str, str]:
    processor = first_value("/proc/cpuinfo", "model name") or platform.machine()
    memory = int(first_value("/proc/meminfo", "MemTotal").split()[0]) // 2**20
    return {
        "machine": f"{len(available_cpus())} cores, {processor}, {memory} GiB",
        "system": f"{platform.platform()}, Python {platform.python_version()}",
    }


def first_value(path: str, name: str) -> str:
    """Of a file with lines like `name : value`; empty if there is none."""
    for line in Path(path).read_text(errors="replace").splitlines():
        words = line.split(":", 1)
        if words[0].strip() == name:
            return words[-1].strip()
    return ""
