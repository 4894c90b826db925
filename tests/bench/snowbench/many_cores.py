# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of many_cores.sh: make a folder for a bare machine, and measure there."""

from __future__ import annotations

import argparse
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from .arguments import ROOT, positive
from .measuring import measure_parts
from .pack import MACHINES, PYTHONS, pack
from .stores import BenchError

MINUTES_8 = 480.0


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, lambda *signals: sys.exit(143))
    try:
        return pack_folder(parsed) if parsed.command == "pack" else measure_parts(parsed)
    except BenchError as error:
        print(f"many_cores.sh: {error}", file=sys.stderr)
        return 2


def pack_folder(parsed: argparse.Namespace) -> int:
    tar = pack(parsed.folder.resolve(), parsed.machine, parsed.python)
    print(f"{parsed.folder}, and {tar.name} of {tar.stat().st_size / 2**20:.0f} MiB")
    return 0


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="many_cores.sh", description="The bench on a bare machine; see README.md")
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="make FOLDER and FOLDER.tar.xz; needs a network, pip and Go")
    packing.add_argument("folder", type=Path, metavar="FOLDER")
    packing.add_argument("--machine", default=platform.machine(), help=f"{', '.join(MACHINES)} (this one's)")
    packing.add_argument(
        "--python", type=lambda text: text.split(","), default=list(PYTHONS), help=f"versions ({','.join(PYTHONS)})"
    )
    measuring = commands.add_parser("run", help="run [FOLDER]: measure; needs Python 3.11 or newer and nothing else")
    measuring.add_argument("--budget", type=float, default=MINUTES_8, metavar="SECONDS", help="for all of it (480)")
    measuring.add_argument("--scale", type=float, default=1.0, help="of all sets (1)")
    measuring.add_argument("--rounds", type=positive, default=3, help="at most, as far as time allows (3)")
    measuring.add_argument("--job", default="{}", help="settings of our job, as the bench takes them")
    measuring.add_argument("--no-ext4", action="store_true", help="volumes on the disk as it is")
    measuring.add_argument("--stores", type=Path, help="where the stores keep data (/dev/shm if it is large enough)")
    measuring.add_argument("--out", type=Path, default=ROOT / "results", help="folder for table.txt and runs.json")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
