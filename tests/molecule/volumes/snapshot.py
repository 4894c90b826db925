# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""snapshot.py JOB: all that must outlive every run of the playbook, as JSON. Runs on the host, uses none of the engine.

Per volume its device, the UUIDs of filesystem and marker, the host's record of it; the ledger's rows without times
and counts; every file below `.snowsync` but what is under way, with its digest.
Times and attempts may change, these may not.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

RECORD = Path("/var/lib/snowsync-volumes/volumes.json")
STATES = ("pending", "staged", "delivered", "released")


def mount_of(path: str) -> tuple[str, str]:
    """Device and UUID of the filesystem that is mounted there, empty when none is."""
    argv = ["findmnt", "--noheadings", "--raw", "--output=SOURCE,UUID", "--mountpoint", path]
    words = subprocess.run(argv, check=False, capture_output=True, text=True).stdout.split()
    return (words[0], words[1]) if words else ("", "")


def files_of(path: Path) -> dict[str, str]:
    folder = path / ".snowsync"
    return {
        str(file.relative_to(path)): hashlib.sha256(lasting(file)).hexdigest()
        for file in folder.rglob("*")
        if file.is_file() and "incoming" not in file.parts and "outgoing" not in file.parts
    }


def lasting(file: Path) -> bytes:
    """What is in a file; of whose the files are, without the newest group, which each start of a unit moves on."""
    text = file.read_bytes()
    if file.parent.name != "ledgers":
        return text
    record = json.loads(text)
    return repr(sorted((name, value) for name, value in record.items() if name not in ("counter", "at_ms"))).encode()


def volumes() -> dict[str, Any]:
    found = {}
    for entry in json.loads(RECORD.read_text())["volumes"]:
        device, uuid = mount_of(entry["path"])
        found[entry["name"]] = {"record": entry, "uuid": uuid, "files": files_of(Path(entry["path"]))}
        found[entry["name"]]["device"] = device
    return found


def rows(job: str) -> list[tuple[Any, ...]]:
    path = f"/var/lib/snowsync/{job}/ledger.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as ledger:
        columns = "objects.key, size, etag, generation, state, digest, volumes.name, volumes.uuid"
        query = f"SELECT {columns} FROM objects LEFT JOIN volumes ON volumes.id = volume ORDER BY objects.key"
        return ledger.execute(query).fetchall()


def main() -> None:
    there = rows(sys.argv[1])
    counts = {state: sum(row[4] == number for row in there) for number, state in enumerate(STATES)}
    print(json.dumps({"volumes": volumes(), "counts": counts, "rows": there}))


if __name__ == "__main__":
    main()
