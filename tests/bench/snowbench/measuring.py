# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`many_cores.sh run`: calls the bench part by part, as long as there is time."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from .arguments import ROOT
from .budget import Budget
from .cores import available_cpus
from .disk import obstacle, size_for
from .figures import rotated
from .findings import Findings, machine_facts
from .pack import PACKED, SERVER, WHEELS
from .parts import Done, Part, next_part, parts_for, shortcomings
from .session import DATA_SETS
from .stores import BenchError
from .tools import ENGINE
from .wheels import compile_all, this_python, virtualenv

VOID = 1  # the bench's exit code: its figures are there, some do not count


def measure_parts(parsed: argparse.Namespace) -> int:
    """All parts, as far as time allows. 1 if something failed or is void."""
    budget = Budget(parsed.budget)
    checkout = packed_checkout(ROOT)
    python = virtualenv(ROOT / WHEELS, ROOT / ".bench" / f"python-{this_python()}")
    compile_all(ENGINE)
    work = ROOT / ".bench" / f"{datetime.datetime.now():%Y%m%d-%H%M%S}"
    work.mkdir(parents=True)
    why_not = "told so" if parsed.no_ext4 else obstacle(work, size_for(largest_set(parsed.scale)))
    volumes = f"the disk as it is ({why_not})" if why_not else "an ext4 with a journal, in a loop file"
    facts = {"checkout": checkout, **machine_facts(), "volumes": volumes, "our job": parsed.job}
    findings = Findings(parsed.out.resolve(), facts)
    base = [str(python), str(ROOT / "tests/bench/run"), *common_options(parsed, no_ext4=bool(why_not))]
    try:
        done = run_parts(parsed, budget, base, work, findings)
    finally:
        print(f"\n{findings.text()}\nwritten to {parsed.out}", flush=True)
    return int(any(run.is_void for run in findings.runs) or any(each.failed for each in done))


def run_parts(
    parsed: argparse.Namespace, budget: Budget, base: Sequence[str], work: Path, findings: Findings
) -> list[Done]:
    parts = parts_for(len(available_cpus()))
    done: list[Done] = []
    findings.fall_short(shortcomings(parts, done))
    while part := next_part(parts, done, budget.left(), parsed.rounds):
        number = sum(1 for each in done if each.part == part)
        folder, began = work / f"{part.name}-{number + 1}", time.monotonic()
        print(f"\n{part.name}, round {number + 1}, {budget.left():.0f} s left", flush=True)
        options = part_options(part, number, parsed.scale, budget.left())
        failed = call([*base, "--work", str(folder), *options], work / f"{folder.name}.err")
        findings.add(part.label, folder)
        done.append(Done(part, time.monotonic() - began, failed))
        findings.fall_short(shortcomings(parts, done))
    return done


def packed_checkout(folder: Path) -> str:
    """What `pack` packed. Raises BenchError if it did not make this folder, or made it for other machines."""
    try:
        facts = json.loads((folder / PACKED).read_text())
    except FileNotFoundError:
        raise BenchError(f"{folder} has no wheels: `many_cores.sh pack` makes a folder that has") from None
    if facts["machine"] != platform.machine():
        ours = platform.machine()
        raise BenchError(f"packed for {facts['machine']}, this machine is {ours}: pack with --machine {ours}")
    return str(facts["checkout"])


def largest_set(scale: float) -> int:
    return max(data_set.scaled(scale).bytes for data_set in DATA_SETS.values())


def common_options(parsed: argparse.Namespace, *, no_ext4: bool) -> list[str]:
    options = ["--server", str(ROOT / SERVER), "--rounds", "1", "--no-noop", "--no-tables", "--job", parsed.job]
    options += ["--no-ext4"] if no_ext4 else []
    return options + (["--stores", str(parsed.stores)] if parsed.stores else [])


def part_options(part: Part, number: int, scale: float, seconds: float) -> list[str]:
    """Each round begins with another tool."""
    options = ["--sets", ",".join(part.sets), "--tools", ",".join(rotated(part.tools, number)), *part.options]
    return [*options, "--scale", f"{part.scale * scale:g}", "--budget", f"{seconds:.1f}"]


def call(command: Sequence[str], errors: Path) -> str:
    """Run the bench; what it said if it failed. Ended with us, and then in order: it has mounted and started things."""
    with errors.open("wb") as stderr, subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr) as bench:
        try:
            code = bench.wait()
        except BaseException:
            bench.terminate()
            bench.wait()
            raise
    said = errors.read_text(errors="replace").strip().splitlines()
    if code and said:
        return said[-1]
    return "" if code in (0, VOID) else f"exit code {code}"
