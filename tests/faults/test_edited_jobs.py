# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job file that is edited while objects are staged and delivered: asked, not obeyed, and nothing is deleted."""

from __future__ import annotations

import copy
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from faults.rig import DESTINATION, SOURCE, Rig, kill_group
from simulators.s3_store import start

from snowsync.core.model import State
from snowsync.ledger.ledger import Ledger

STAGED = 8


def stage(rig: Rig) -> dict[str, bytes]:
    """Objects that are on the volumes and nowhere else, one of them in parts; by their names at the destination."""
    rig.config["source"]["prefix"] = "2026/"
    data = {f"photo-{number}": os.urandom(20_000 + number) for number in range(STAGED - 1)}
    data["film"] = os.urandom(11 << 20)
    for name, content in data.items():
        rig.source.put(SOURCE, f"2026/{name}", content, part_size=5 << 20 if name == "film" else 0)
    code, _summary, errors = rig.run("--direction", "source")
    assert code == 0, errors
    for name in data:
        rig.source.delete(SOURCE, f"2026/{name}")
    return data


def staged(rig: Rig) -> list[Path]:
    return sorted(path for volume in rig.volumes for path in (volume / ".snowsync/staged").rglob("*") if path.is_file())


def states(rig: Rig) -> dict[str, int]:
    ledger = Ledger(rig.folder / "state/ledger.db", readonly=True)
    found = {
        State(int(str(state))).label: int(str(count))
        for state, count in ledger.database.stream("SELECT state, COUNT(*) FROM objects GROUP BY state")
    }
    ledger.close()
    return found


def arrived(rig: Rig, bucket: str = DESTINATION) -> dict[str, bytes]:
    return {name: rig.destination.get(bucket, name) for name in rig.destination.list(bucket)}


EDITS = {
    "another source prefix": ("source", {"prefix": "2027/"}),
    "no source prefix": ("source", {"prefix": ""}),
    "another source bucket": ("source", {"bucket": "other-bucket"}),
    "another source store": ("source", {"endpoints": ["http://127.0.0.1:9"]}),
    "another destination prefix": ("destination", {"prefix": "p" * 1020 + "/"}),
    "another destination bucket": ("destination", {"bucket": "other-bucket"}),
    "another destination store": ("destination", {"endpoints": ["http://127.0.0.1:9"]}),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_costs_nothing_and_can_be_taken_back(rig: Rig, name: str) -> None:
    data = stage(rig)
    files, before = staged(rig), copy.deepcopy(rig.config)
    assert len(files) == STAGED
    for store in (rig.source, rig.destination):
        store.create_bucket("other-bucket")
        store.clear_log()
    side, values = EDITS[name]
    rig.config[side].update(values)
    for words in (("--direction", "destination"), ("--direction", "source"), ()):
        code, _summary, errors = rig.run(*words)
        assert code == 2 and f"{side}." in errors and "snowsync rebind rig" in errors, errors
    for command in ("plan", "verify"):
        result = rig.snowsync(command, "JOB")
        assert result.returncode == 2 and "nothing was changed" in result.stderr, result.stderr
    process = rig.start("--forever")
    assert process.wait(timeout=60) == 2, "a unit stops, and systemd leaves it stopped"
    process.communicate()
    assert list(rig.source.log()) == list(rig.destination.log()) == [], "no store was asked"
    assert staged(rig) == files and states(rig) == {"staged": STAGED}
    rig.config = before
    code, summary, errors = rig.run()
    assert code == 0 and summary["drained"], errors
    assert arrived(rig) == data and rig.files_left() == []


@pytest.mark.parametrize("name", ["another source prefix", "another source bucket"])
def test_what_is_staged_outlives_its_source(rig: Rig, name: str) -> None:
    data = stage(rig)
    side, values = EDITS[name]
    rig.config[side].update(values)
    prefix = rig.config["source"]["prefix"]
    rig.source.put(rig.config["source"]["bucket"], f"{prefix}new", b"of the new source")
    result = rig.snowsync("rebind", "JOB", "--as", "new", "--confirm", "rig")
    assert result.returncode == 0, result.stderr
    assert len(staged(rig)) == STAGED, "no file is removed"
    code, _summary, errors = rig.run()
    assert code == 0, errors
    assert arrived(rig) == {**data, "new": b"of the new source"}


def test_another_destination_gets_all_that_can_be_had(rig: Rig, tmp_path: Path) -> None:
    """Delivered and kept, delivered and released, staged: each from where it is, and nothing goes to the old one."""
    rig.config["keep_staged"] = True
    data = stage(rig)
    assert rig.run()[0] == 0
    rig.config["keep_staged"] = False
    rig.source.put(SOURCE, "2026/more", b"staged only")
    assert rig.run("--direction", "source")[0] == 0
    old = dict(rig.destination.list(DESTINATION))
    with start(tmp_path / "second-store") as second:
        second.create_bucket("vault")
        rig.config["destination"] = second.job_side("vault", second.credentials_file(tmp_path / "second"))
        result = rig.snowsync("rebind", "JOB", "--json")
        document: dict[str, Any] = json.loads(result.stdout)
        assert (document["delivered_objects"], document["staged_objects"], document["changed"]) == (STAGED, 1, False)
        assert rig.run()[0] == 2
        assert rig.snowsync("rebind", "JOB", "--as", "new", "--confirm", "rig").returncode == 0
        fetched = rig.source.count("GetObject")
        code, _summary, errors = rig.run()
        assert code == 0, errors
        assert {name: second.get("vault", name) for name in second.list("vault")} == {**data, "more": b"staged only"}
        assert rig.source.count("GetObject") == fetched, "all of it was still on the volumes"
    assert rig.destination.list(DESTINATION) == old and rig.files_left() == []


def test_a_destination_under_another_name_is_sent_nothing_again(rig: Rig) -> None:
    data = stage(rig)
    assert rig.run()[0] == 0
    port = rig.destination.url.rpartition(":")[2]
    rig.config["destination"]["endpoints"] = [f"http://localhost:{port}"]
    assert rig.run()[0] == 2
    assert rig.snowsync("rebind", "JOB", "--as", "same", "--confirm", "rig").returncode == 0
    code, summary, errors = rig.run()
    assert code == 0 and not summary["changed"], errors
    assert rig.destination.written_again(DESTINATION) == {} and arrived(rig) == data


def test_a_rebind_is_refused_beside_a_running_unit(rig: Rig) -> None:
    stage(rig)
    process = rig.start("--forever")
    try:
        while not rig.destination.list(DESTINATION):
            time.sleep(0.02)
        rig.config["destination"]["bucket"] = "other-bucket"
        result = rig.snowsync("rebind", "JOB", "--as", "new", "--confirm", "rig")
        assert result.returncode == 7, result.stderr
    finally:
        kill_group(process)


def test_a_rebind_that_is_killed_is_done_or_not_done(rig: Rig) -> None:
    rig.source.fill(SOURCE, 3000, 10)
    assert rig.run()[0] == 0
    chance = random.Random(int(os.environ.get("SNOWSYNC_SEED", "20261127")))
    rig.config["destination"]["bucket"] = "other-bucket"
    rig.destination.create_bucket("other-bucket")
    for _ in range(12):
        process = rig.start_command("rebind", "JOB", "--as", "new", "--confirm", "rig")
        time.sleep(chance.uniform(0.2, 0.7))
        kill_group(process)
        process.communicate()
        ledger = Ledger(rig.folder / "state/ledger.db", readonly=True)
        bound = ledger.stores.bindings()[-1].end.bucket
        ledger.close()
        assert states(rig) == ({"pending": 3000} if bound == "other-bucket" else {"released": 3000})
        if bound == "other-bucket":
            break
    rig.snowsync("rebind", "JOB", "--as", "new", "--confirm", "rig")
    assert rig.run()[0] == 0
    assert len(rig.destination.list("other-bucket")) == 3000


def test_lost_objects_are_sent_again(rig: Rig) -> None:
    """Named or found, from the volume or fetched again, and only those."""
    for number in range(20):
        rig.source.put(SOURCE, f"object-{number:02}", os.urandom(1000 + number))
    rig.source.put(SOURCE, "film", os.urandom(11 << 20), part_size=5 << 20)
    assert rig.run()[0] == 0
    for key in ("object-03", "object-04", "film"):
        rig.destination.delete(DESTINATION, key)
    rig.destination.put(DESTINATION, "object-05", b"somebody else's")
    rig.destination.clear_log()
    assert rig.run()[0] == 0 and "object-03" not in rig.destination.list(DESTINATION), "a run does not look"
    result = rig.snowsync("resend", "JOB", "object-03", "nobody")
    assert result.returncode == 3 and "nobody" in result.stdout
    result = rig.snowsync("resend", "JOB", "--lost", "--json")
    document = json.loads(result.stdout)["objects"]
    assert document["fetched again"]["keys"] == ["film", "object-04", "object-05"]
    code, _summary, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()
    sent = {line["key"] for line in rig.destination.log("PutObject")}
    assert sent == {"object-03", "object-04", "object-05"}
    assert rig.snowsync("verify", "JOB").returncode == 0
