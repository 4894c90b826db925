# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that a source lists and does not have: named, looked for again, forgotten only by a later listing."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import Any

import pytest
from faults.rig import DESTINATION, SOURCE, Rig, kill_group, wait_until

COUNT = 10
GONE = "object-3"
READS = "GetObject|HeadObject"


def fill(rig: Rig) -> None:
    for number in range(COUNT):
        rig.source.put(SOURCE, f"object-{number}", os.urandom(20_000 + number))


def missing(rig: Rig, key: str) -> str:
    """The source goes on listing these keys and says 404 to who asks for them."""
    return rig.source.set_fault("status", operation=READS, key=key, status=404, code="NoSuchKey")


def rows(rig: Rig, sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{rig.folder}/state/ledger.db?mode=ro", uri=True)) as ledger:
        return ledger.execute(sql).fetchall()


@pytest.mark.parametrize("tool", ["native", "s5cmd"])
@pytest.mark.parametrize(("key", "count"), [(f"{GONE}$", 1), ("object-[0-6]$", 7), ("", COUNT)])
def test_what_is_listed_and_not_there_is_named_and_never_drained(rig: Rig, tool: str, key: str, count: int) -> None:
    fill(rig)
    rig.config |= {"attempts": 2, "mover": {"tool": tool, "workers": 4}}
    rule = missing(rig, key)
    for _ in range(2):
        code, summary, errors = rig.run()
        assert (code, summary["drained"]) == (3, False), errors
        assert summary["states"]["failed"] == count and summary["states"]["released"] == COUNT - count
        assert {failure["trouble"] for failure in summary["failures"]} == {"not_found"}
        assert len({failure["key"] for failure in summary["failures"]}) == count
        assert "does not have it" in summary["failures"][0]["message"]
        assert rows(rig, "SELECT COUNT(*) FROM forgotten") == [(0,)]
    assert len(rig.destination.list(DESTINATION)) == COUNT - count
    assert rig.snowsync("verify", "JOB").returncode == 3
    assert ": drained" not in rig.snowsync("status", "JOB").stdout
    rig.source.clear_faults(rule)
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    rig.assert_delivered()


@pytest.mark.parametrize("size", [20_000, 17 << 20])
def test_deleted_between_the_listing_and_the_fetch(rig: Rig, size: int) -> None:
    """One run does not tell a deletion from a source that lost it; a later listing does, and that leaves a record."""
    fill(rig)
    etag = rig.source.put(SOURCE, GONE, os.urandom(size), part_size=5 << 20 if size > 1 << 20 else 0)
    rig.source.set_fault("latency", operation=READS, seconds=1.0)
    process = rig.start()
    wait_until(lambda: rig.source.count("ListObjectsV2") > 0, "the listing")
    wait_until(lambda: bool(rows_or_none(rig)), "the rows of the listing")
    rig.source.delete(SOURCE, GONE)
    _output, errors = process.communicate(timeout=120)
    assert process.returncode == 3, errors
    assert "Traceback" not in errors
    assert rows(rig, f"SELECT state, gone_ms > 0 FROM objects WHERE key = '{GONE}'") == [(5, 1)]
    assert rows(rig, "SELECT * FROM forgotten") == []
    (named,) = rig.failures()
    assert (named["key"], named["trouble"]) == (GONE, "not_found")
    rig.source.clear_faults()
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    rig.assert_delivered()
    ((key, found_size, found_etag, reason),) = rows(rig, "SELECT key, size, etag, reason FROM forgotten")
    assert (key, found_size, found_etag) == (GONE, size, etag)
    assert "no longer lists it" in reason
    assert rows(rig, f"SELECT COUNT(*) FROM objects WHERE key = '{GONE}'") == [(0,)]
    assert rows(rig, f"SELECT COUNT(*) FROM failures WHERE key = '{GONE}'") != [(0,)], "what was said of it stays"


def rows_or_none(rig: Rig) -> list[tuple[Any, ...]]:
    try:
        return rows(rig, f"SELECT id FROM objects WHERE key = '{GONE}'")
    except sqlite3.OperationalError:
        return []


def test_a_listing_that_leaves_it_out_forgets_nothing_that_has_a_copy(rig: Rig) -> None:
    """One is staged, one lies in quarantine, one never came: only the last one is forgotten when it is not listed."""
    fill(rig)
    rig.config["attempts"] = 1
    rig.source.set_fault("corrupt", operation="GetObject", key="object-5$")
    rig.destination.set_fault("status", operation="PutObject", key="object-4$", status=403, code="AccessDenied")
    rule = missing(rig, f"{GONE}$")
    code, _summary, errors = rig.run()
    assert code == 3, errors
    for key in (GONE, "object-4", "object-5"):
        rig.source.delete(SOURCE, key)
    rig.source.clear_faults(rule)
    for _ in range(2):
        code, summary, errors = rig.run()
        assert (code, summary["drained"]) == (3, False), errors
        assert rows(rig, "SELECT key FROM forgotten") == [(GONE,)]
        assert rows(rig, "SELECT key FROM objects WHERE state <> 3 ORDER BY key") == [("object-4",), ("object-5",)]
        assert len([name for name in rig.files_left() if "/quarantine/" in name]) == 1
        assert len([name for name in rig.files_left() if "/staged/" in name]) == 1


def test_an_incomplete_listing_forgets_nothing(rig: Rig) -> None:
    fill(rig)
    rig.config["attempts"] = 1
    rig.source.set_switches(max_keys=3)
    missing(rig, f"{GONE}$")
    assert rig.run()[0] == 3
    rig.source.set_fault("omit", operation="ListObjectsV2", keys=f"{GONE}$")
    rule = rig.source.set_fault("status", operation="ListObjectsV2", first=3, status=403, code="AccessDenied")
    code, _summary, errors = rig.run()
    assert code != 0 and "AccessDenied" in errors
    assert rows(rig, "SELECT COUNT(*) FROM forgotten") == [(0,)], "the listing did not come to its end"
    rig.source.clear_faults(rule)
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    assert rows(rig, "SELECT key FROM forgotten") == [(GONE,)]


def test_what_returns_after_it_was_forgotten_is_moved(rig: Rig) -> None:
    fill(rig)
    rig.config["attempts"] = 1
    rule = missing(rig, f"{GONE}$")
    assert rig.run()[0] == 3
    rig.source.set_fault("omit", operation="ListObjectsV2", keys=f"{GONE}$")
    assert rig.run()[0] == 0
    assert rows(rig, "SELECT key FROM forgotten") == [(GONE,)]
    rig.source.clear_faults()
    assert rule
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    rig.assert_delivered()


def test_a_service_names_what_is_gone_and_moves_it_when_it_returns(rig: Rig) -> None:
    fill(rig)
    rig.config |= {"attempts": 1, "pass_interval": 1}
    rig.source.set_fault("status", operation=READS, key=f"{GONE}$", status=404, code="NoSuchKey", count=2)
    process = rig.start("--forever")
    try:
        wait_until(lambda: len(rig.destination.list(DESTINATION)) == COUNT - 1, "the others")
        wait_until(lambda: rows_or_none(rig) != [] and gone(rig) == [GONE], "the record of what is gone")
        assert process.poll() is None
        rig.source.put(SOURCE, GONE, b"put again by its owner")
        wait_until(lambda: GONE in rig.destination.list(DESTINATION), "the new version")
    finally:
        kill_group(process)
        process.communicate()
    rig.assert_delivered()


def gone(rig: Rig) -> list[str]:
    return [key for (key,) in rows(rig, "SELECT key FROM objects WHERE gone_ms IS NOT NULL")]
