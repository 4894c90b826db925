# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan sees: the source's listing, what the ledger has under way, and what people put into drop folders."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from fake_stores import Rig

from snowsync.running.run import plan_job


@pytest.fixture
def drop(rig: Rig) -> Path:
    rig.changes = {
        "volumes": [{"name": "one", "path": str(rig.folder / "one"), "require_mount": False, "drop_folder": "drop"}]
    }
    folder = rig.folder / "one/drop"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("content", ["nothing", "no tables", "no objects"])
def test_a_ledger_that_was_being_made_is_no_ledger_yet(rig: Rig, content: str) -> None:
    """A unit was killed as it made the file."""
    rig.source.put("a", b"data")
    path = rig.job.ledger_path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    database = sqlite3.connect(path)
    if content != "nothing":
        database.execute("PRAGMA journal_mode=WAL")
    if content == "no objects":
        database.execute("CREATE TABLE migrations (number INTEGER PRIMARY KEY, applied_ms INTEGER NOT NULL)")
    database.close()
    plan = plan_job(rig.job)
    assert (plan.keys, plan.objects, plan.bytes) == (["a"], 1, 4)
    rig.run()
    rig.assert_delivered()


def test_a_plan_looks_into_drop_folders(rig: Rig, drop: Path) -> None:
    rig.source.put("listed", b"data")
    (drop / "below").mkdir()
    (drop / "below/photo.jpg").write_bytes(b"12345")
    (drop / "linked").write_bytes(b"1")
    os.link(drop / "linked", rig.folder / "other name")
    os.symlink("/etc/hostname", drop / "symbolic")
    plan = plan_job(rig.job)
    assert sorted(plan.keys) == ["below/photo.jpg", "listed"]
    assert (plan.objects, plan.bytes) == (2, 9)
    assert [(left["key"], "hard links" in left["reason"]) for left in plan.left] == [("linked", True)]
    assert (drop / "below/photo.jpg").read_bytes() == b"12345"
    assert not rig.job.ledger_path.exists(), "nothing is written"


def test_what_a_run_has_taken_from_a_drop_folder_is_counted_once(rig: Rig, drop: Path) -> None:
    (drop / "taken").write_bytes(b"12345")
    rig.run(direction="source", until="once")
    (drop / "new").write_bytes(b"123")
    plan = plan_job(rig.job)
    assert sorted(plan.keys) == ["new", "taken"]
    assert (plan.objects, plan.bytes) == (2, 8)
    rig.run()
    assert plan_job(rig.job).objects == 0
