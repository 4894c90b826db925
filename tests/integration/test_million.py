# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Very many objects: listed, planned and passed over in bounded memory, with one request per thousand.

With SNOWSYNC_THOROUGH they are a million; else fewer, and the bound is nearer to what an empty bucket takes (60 to 85
MB): to hold as little as the pages of the listing would break it.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from job_files import write_job
from simulators.s3_store import start
from simulators.s3_store.client import RunningStore
from thorough import THOROUGH

from snowsync.ledger.schema import add_functions

OBJECTS, MOST_MEMORY = (1_000_000, 200_000_000) if THOROUGH else (200_000, 110_000_000)  # bytes of peak RSS
PAGES = OBJECTS // 1000


# Between the runner of the tests and the command: ru_maxrss is inherited by fork, and the runner's is large.
LAUNCHER = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def measured(*argv: str) -> tuple[str, int]:
    """The output of a command that succeeds, and its peak RSS in bytes."""
    command = [sys.executable, "-I", "-S", "-c", LAUNCHER, sys.executable, *argv]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr + process.stdout
    return process.stdout, int(process.stderr.split()[-1]) * 1024


def snowsync(*arguments: str) -> tuple[dict[str, object], int]:
    """The JSON document of a command that succeeds, and its peak RSS in bytes."""
    output, memory = measured("-m", "snowsync", *arguments, "--json")
    document: dict[str, object] = json.loads(output)
    return document, memory


@pytest.fixture(scope="module")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> RunningStore:
    with start(tmp_path_factory.mktemp("million"), process=True) as store:
        store.fill("bucket", OBJECTS, 0, "data/")
        store.create_bucket("destination")
        yield store


def job(store: RunningStore, folder: Path) -> Path:
    credentials = store.credentials_file(folder / "credentials")
    (folder / "volume").mkdir()
    config = {
        "job": "million",
        "state_dir": str(folder / "state"),
        "source": store.job_side("bucket", credentials),
        "destination": store.job_side("destination", credentials),
        "volumes": [{"name": "one", "path": str(folder / "volume"), "require_mount": False, "limit": "16GiB"}],
    }
    return write_job(folder / "million.yml", config)


def test_listed_and_planned_then_passed_over(full_store: RunningStore, tmp_path: Path) -> None:
    path = job(full_store, tmp_path)
    plan, memory = snowsync("plan", str(path))
    assert plan["objects"] == OBJECTS
    assert memory < MOST_MEMORY, f"planning took {memory / 1e6:.0f} MB"

    taken = list_into_the_ledger(path)
    assert taken < MOST_MEMORY, f"listing into the ledger took {taken / 1e6:.0f} MB"
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "ledger.db")) as ledger:
        assert ledger.execute("SELECT COUNT(*) FROM objects WHERE state = 0").fetchone() == (OBJECTS,)
        add_functions(ledger)
        # As they stand after their delivery: moving a million files is the bench's business, not this test's.
        for state in (1, 2, 3):
            ledger.execute(f"UPDATE objects SET state = {state}, source_evidence = 2, destination_evidence = 2")
        ledger.commit()

    full_store.clear_log()
    summary, memory = snowsync("run", str(path), "--until-drained")
    assert summary["changed"] is False
    assert summary["listed"] == {"objects": OBJECTS, "bytes": 0}
    assert memory < MOST_MEMORY, f"the no-op pass took {memory / 1e6:.0f} MB"
    operations = full_store.counters()["operations"]
    assert set(operations) == {"ListObjectsV2"}, "a no-op pass asks nothing of single objects"
    assert operations["ListObjectsV2"] <= PAGES + 5


def list_into_the_ledger(path: Path) -> int:
    """What the lister does, without a mover beside it; the peak RSS in bytes."""
    code = """
import sys
from snowsync.config.job_file import load_job
from snowsync.store.endpoint import Endpoint
from snowsync.config.credentials import for_side
from snowsync.ledger.ledger import Ledger
from snowsync.store.timeouts import Patience
job = load_job(sys.argv[1])
ledger = Ledger(job.ledger_path)
client = Endpoint(job.source.endpoints[0], job.source, for_side(job, "source"), Patience()).client()
token = None
while True:
    page = client.list_page(token, prefix="")
    ledger.listing.observe(page.objects)
    token = page.next_token
    if token is None:
        break
"""
    _output, memory = measured("-c", code, str(path))
    return memory
