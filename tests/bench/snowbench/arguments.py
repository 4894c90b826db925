# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of tests/bench/run."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .session import DATA_SETS, THROTTLED_SETS
from .tools import DEFAULT_TOOLS, TOOLS

ROOT = Path(__file__).resolve().parents[3]
DEFAULT_LAYOUTS = "50,4x50,10+50+100"  # the volumes' speeds in MB/s
# Paths of the machine, which are nobody's business who reads the results.
PATHS = ("work", "stores", "server")


def told_options(parsed: argparse.Namespace) -> dict[str, Any]:
    """The options as results tell them."""
    return {name: value for name, value in vars(parsed).items() if name not in PATHS}


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/bench/run", description="The staged job side by side with others; see README.md."
    )
    parser.add_argument("--sets", type=lambda text: text.split(","), help=f"{', '.join(DATA_SETS)} (all)")
    parser.add_argument("--tools", type=names_of(TOOLS), default=list(DEFAULT_TOOLS), help=tools_help())
    parser.add_argument("--rounds", type=positive, default=3, help="runs of every tool on every set (3)")
    parser.add_argument("--scale", type=float, default=1.0, help="0.1: a tenth of every set, for a quick look")
    parser.add_argument("--shaped", metavar="RATE", help="shape both links between namespaces, e.g. 400mbit; root only")
    parser.add_argument(
        "--part-size", type=positive, default=50, help="of the source's large objects, MiB (50: s5cmd's)"
    )
    parser.add_argument(
        "--throttled",
        metavar="MB/S",
        nargs="?",
        const=DEFAULT_LAYOUTS,
        help=f"our job alone over volumes of these speeds ({DEFAULT_LAYOUTS}), all compared with the first; root only;"
        " sets: 1MiB, 128MiB",
    )
    parser.add_argument("--volumes", type=positive, default=2, help="volumes of our job; peers get the first (2)")
    parser.add_argument(
        "--job", type=json_mapping, default={}, help='settings of our job, e.g. {"mover": {"workers": 8}}'
    )
    parser.add_argument("--cores", type=positive, help="CPUs for the tools; the stores get the others (all share all)")
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS", help="before each answer of a store (0)")
    parser.add_argument("--tls", action="store_true", help="HTTPS, with a certificate that the tools verify")
    parser.add_argument(
        "--no-ext4",
        action="store_true",
        help="volumes on the disk below --work, not on an ext4 of their own (root only)",
    )
    parser.add_argument("--no-tables", action="store_true", help="print the passes only; the file has everything")
    parser.add_argument("--no-noop", action="store_true", help="leave the no-op passes out")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="begin nothing that would end later (no limit)")
    parser.add_argument("--quiet", type=float, default=0.0, help="wait up to so many seconds for a quiet machine (0)")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench", help="volumes (on disk), logs and results")
    parser.add_argument("--stores", type=Path, help="where the stores keep data (/dev/shm if it is large enough)")
    parser.add_argument("--server", type=Path, help="the stores' program, where there is no Go to compile it")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds for one command")
    parsed = parser.parse_args(arguments)
    known = THROTTLED_SETS if parsed.throttled else DATA_SETS
    parsed.sets = parsed.sets or list(known)
    if unknown := [name for name in parsed.sets if name not in known]:
        parser.error(f"--sets: unknown: {', '.join(unknown)}; choose from {', '.join(known)}")
    return parsed


def tools_help() -> str:
    others = [name for name in TOOLS if name not in DEFAULT_TOOLS]
    return f"{', '.join(DEFAULT_TOOLS)} (these), {', '.join(others)}"


def names_of(known: dict[str, Any]) -> Any:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; choose from {', '.join(known)}")
        return chosen

    return parse


def json_mapping(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return value


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value
