# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of everything at random moments: nothing lost, nothing delivered twice, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3

import pytest
from faults.rig import DESTINATION, SOURCE, Rig

KILLS = 30


@pytest.mark.parametrize("tool", ["native", "s5cmd"])
def test_thirty_kills_of_one_transfer(rig: Rig, tool: str) -> None:
    rig.config["mover"] = {"tool": tool}
    seed = int(os.environ.get("SNOWSYNC_SEED", "20261121"))
    chance = random.Random(seed)
    fill(rig, chance, "first", 400)
    for number in range(4):
        rig.source.put(SOURCE, f"large-{number}", os.urandom(18 << 20), part_size=8 << 20)
    # Slow enough that thirty kills fall into one transfer; both hops are under way all the time.
    rig.source.set_fault("latency", operation="GetObject", seconds=0.05)
    rig.destination.set_fault("latency", operation="PutObject|UploadPart", seconds=0.05)
    kills = in_flight = 0
    while kills < KILLS:
        requests = len(rig.source.log("GetObject"))
        process = rig.start("--until-drained")
        if not rig.kill_after(process, chance.randrange(1, 80)):
            # Drained before it could be killed: more to do, for every kill is to hit a transfer.
            assert process.returncode == 0, process.communicate()[1]
            fill(rig, chance, f"more-{requests}", 100)
            continue
        kills += 1
        in_flight += bytes_in_flight(rig, requests)
    rig.source.clear_faults()
    rig.destination.clear_faults()
    code, summary, errors = rig.run(timeout=180)
    assert code == 0, errors
    assert summary["failure_count"] == 0, summary["failures"]
    rig.assert_delivered()
    assert rig.files_left() == []
    assert rig.destination.uploads(DESTINATION) == [], "unfinished multipart uploads were left at the destination"
    twice = {key: len(writes) for key, writes in rig.destination.writes(DESTINATION).items() if len(writes) > 1}
    assert twice == {}, "delivered twice"
    total = sum(entry["size"] for entry in rig.source.objects(SOURCE))
    fetched = sum(line["bytes_out"] for line in rig.source.log("GetObject"))
    assert fetched - total <= in_flight, f"{fetched - total} bytes fetched again, {in_flight} were in flight"


def fill(rig: Rig, chance: random.Random, name: str, count: int) -> None:
    for number in range(count):
        rig.source.put(SOURCE, f"d{number % 7}/{name}-{number:03}", os.urandom(chance.randrange(0, 120_000)))


def bytes_in_flight(rig: Rig, requests: int) -> int:
    """Sizes of the objects that the killed run had begun to fetch and that the ledger does not call staged."""
    begun = {line["key"] for line in rig.source.log("GetObject")[requests:]}
    if not begun:
        return 0  # on a busy machine it may have been killed before there was a ledger
    with contextlib.closing(sqlite3.connect(rig.folder / "state" / "ledger.db")) as ledger:
        pending = ledger.execute("SELECT key, size FROM objects WHERE state = 0").fetchall()
    return sum(size for key, size in pending if key in begun)
