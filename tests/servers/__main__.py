# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python3 -m servers NAME ... --ready FILE``: runs the named stores until SIGTERM or SIGINT.

FILE appears when all of them answer: a JSON list of their descriptions (secrets included, so for its owner only).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from . import STORE_NAMES, ServerFailed, Servers


def main() -> int:
    parser = argparse.ArgumentParser(prog="servers", description="Runs real S3 servers until it is told to stop.")
    parser.add_argument("names", nargs="+", choices=STORE_NAMES, metavar="NAME", help=", ".join(STORE_NAMES))
    parser.add_argument("--ready", type=Path, required=True, help="written when all of them answer: their descriptions")
    parser.add_argument("--address", default="127.0.0.1", help="what they listen on, default %(default)s")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    with Servers(options.address) as servers:
        try:
            stores = [dataclasses.asdict(servers.store(name)) for name in options.names]
        except ServerFailed as error:
            print(error, file=sys.stderr)
            return 1
        write_ready(options.ready, json.dumps(stores, default=sorted, indent=2))
        try:
            while True:
                signal.pause()
        finally:
            options.ready.unlink(missing_ok=True)


def leave(_number: int, _frame: object) -> NoReturn:
    """Unwinds from wherever the signal came, so that whatever was started is ended."""
    raise SystemExit(0)


def write_ready(path: Path, text: str) -> None:
    """Whoever waits for the file never sees half of it."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
