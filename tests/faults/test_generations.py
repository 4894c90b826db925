# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that are overwritten at the source while an older version is staged: the last copy of anything survives."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from faults.rig import DESTINATION, SOURCE, Rig

SEED = int(os.environ.get("SNOWSYNC_SEED", "20261127"))
KEY = "book"
ROUNDS = 10


def staged(rig: Rig) -> list[bytes]:
    files = [path for volume in rig.volumes for path in (volume / ".snowsync/staged").rglob("*") if path.is_file()]
    return [path.read_bytes() for path in files]


def stage(rig: Rig, data: bytes, key: str = KEY) -> bytes:
    rig.source.put(SOURCE, key, data)
    code, _summary, errors = rig.run("--direction", "source")
    assert code == 0, errors
    assert data in staged(rig)
    return data


def drained(rig: Rig) -> dict[str, Any]:
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    assert rig.files_left() == []
    return summary


CANNOT_BE_FETCHED: dict[str, tuple[str, dict[str, Any]]] = {
    "denied": ("status", {"status": 403, "code": "AccessDenied"}),
    "archived": ("status", {"status": 403, "code": "InvalidObjectState"}),
    "always wrong": ("corrupt", {"offset": 1}),
    "always short": ("short", {"after": 10}),
}


@pytest.mark.parametrize("kind", CANNOT_BE_FETCHED)
def test_a_newer_generation_that_cannot_be_fetched(rig: Rig, kind: str) -> None:
    """The older one stays, through the run and the next start; with a fix the newer one is delivered."""
    rig.config["attempts"] = 2
    older = stage(rig, os.urandom(5000))
    newer = os.urandom(6000)
    rig.source.put(SOURCE, KEY, newer)
    action, rule = CANNOT_BE_FETCHED[kind]
    rig.source.set_fault(action, operation="GetObject", **rule)
    for direction in ("source", "both"):
        code, summary, errors = rig.run("--direction", direction)
        assert (code, summary["drained"]) == (3, False), errors
        assert older in staged(rig), "the only copy of what was there before"
        assert KEY in {failure["key"] for failure in rig.failures()}
    rig.source.clear_faults()
    drained(rig)
    assert rig.destination.get(DESTINATION, KEY) == newer


@pytest.mark.parametrize("tool", ["native", "s5cmd"])
def test_a_newer_generation_that_vanishes_before_it_is_fetched(rig: Rig, tool: str) -> None:
    """Listed, and deleted by the time somebody asks: the older one is delivered, and that is said."""
    rig.config["mover"] = {"tool": tool, "workers": 2}
    older = stage(rig, os.urandom(5000))
    rig.source.put(SOURCE, KEY, os.urandom(6000))
    rig.source.set_fault("status", operation="GetObject|HeadObject", status=404, code="NoSuchKey")
    code, summary, errors = rig.run("--direction", "source")
    assert "Traceback" not in errors and summary["failure_count"] == 1, errors
    assert staged(rig) == [older]
    (failure,) = rig.failures()
    assert (failure["key"], failure["trouble"]) == (KEY, "not_found")
    assert "is kept" in failure["message"]
    code, summary, errors = rig.run()
    assert code in (0, 3) and "Traceback" not in errors, errors
    assert rig.destination.get(DESTINATION, KEY) == older


def test_an_older_generation_lies_on_while_the_source_has_nothing(rig: Rig) -> None:
    """Overwritten, listed, deleted, and the destination refuses at the same time: the staged bytes are all there is."""
    rig.config["attempts"] = 1
    older = stage(rig, os.urandom(5000))
    rig.source.put(SOURCE, KEY, os.urandom(6000))
    rig.source.set_fault("status", operation="GetObject|HeadObject", status=404, code="NoSuchKey")
    rig.destination.set_fault("status", operation="PutObject", status=403, code="AccessDenied")
    for _ in range(2):
        code, summary, errors = rig.run()
        assert (code, summary["drained"]) == (3, False), errors
        assert staged(rig) == [older]
    rig.source.delete(SOURCE, KEY)
    rig.destination.clear_faults()
    drained(rig)
    assert rig.destination.get(DESTINATION, KEY) == older


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_generation_that_flips_back(rig: Rig, is_refused: bool) -> None:
    """A, B, A again: the last one counts, whatever was staged of each."""
    first, second = os.urandom(5000), os.urandom(6000)
    stage(rig, first)
    if is_refused:
        rig.config["attempts"] = 1
        rig.destination.set_fault("status", operation="PutObject", status=403, code="AccessDenied")
        assert rig.run()[0] == 3
    stage(rig, second)
    stage(rig, first)
    rig.destination.clear_faults()
    drained(rig)
    assert rig.destination.get(DESTINATION, KEY) == first
    rig.source.put(SOURCE, KEY, second)
    drained(rig)
    assert rig.destination.get(DESTINATION, KEY) == second


def test_no_room_for_both_generations(rig: Rig) -> None:
    """Where the volume holds one of them only, the older one is delivered first, then the newer one."""
    size = 700_000
    for volume in rig.config["volumes"]:
        volume["limit"] = "1MB"
    rig.config["space"] = {"high_watermark": 0.95, "low_watermark": 0.9}
    keys = ["a", "b"]
    older = {key: os.urandom(size) for key in keys}
    for key in keys:
        stage(rig, older[key], key)
    newer = {key: os.urandom(size + 1) for key in keys}
    for key in keys:
        rig.source.put(SOURCE, key, newer[key])
    drained(rig)
    rig.assert_delivered()
    etags = [[write["etag"] for write in writes] for writes in rig.destination.writes(DESTINATION).values()]
    assert [len(each) for each in etags] == [2, 2], "the older one as well: nothing was thrown away for room"


def test_no_room_for_both_and_a_destination_that_refuses(rig: Rig) -> None:
    """The honest consequence: the newer one waits at the source, and the older one is not thrown away."""
    size = 700_000
    for volume in rig.config["volumes"]:
        volume["limit"] = "1MB"
    rig.config |= {"space": {"high_watermark": 0.95, "low_watermark": 0.9}, "attempts": 1}
    older = {key: stage(rig, os.urandom(size), key) for key in ("a", "b")}
    rig.destination.set_fault("status", operation="PutObject", status=403, code="AccessDenied")
    for key in older:
        rig.source.put(SOURCE, key, os.urandom(size + 1))
    for _ in range(2):
        code, summary, errors = rig.run()
        assert (code, summary["drained"]) == (3, False), errors
        assert sorted(staged(rig)) == sorted(older.values())
    rig.destination.clear_faults()
    drained(rig)
    rig.assert_delivered()


@pytest.mark.parametrize("tool", ["native", "s5cmd"])
def test_kills_while_everything_changes(rig: Rig, tool: str) -> None:
    """Overwritten, refused, not found, killed: in the end the source's last versions are there, and nothing is lost."""
    chance = random.Random(SEED)
    rig.config |= {"attempts": 2, "mover": {"tool": tool, "workers": 4}, "group": {"objects": 20}}
    keys = [f"d{number % 3}/object-{number:02}" for number in range(60)]
    last: dict[str, bytes] = {}
    logs: list[str] = []
    for number in range(ROUNDS):
        for key in keys if number == 0 else chance.sample(keys, 20):
            last[key] = chance.randbytes(chance.randrange(1000, 40_000))
            rig.source.put(SOURCE, key, last[key])
        disturb(rig, chance)
        process = rig.start()
        rig.kill_after(process, chance.randrange(1, 100))
        logs.append(process.communicate()[1])
        rig.source.clear_faults()
        rig.destination.clear_faults()
        if number % 3 == 2:
            assert_all_there(rig, last)
    for _ in range(3):
        code, summary, errors = rig.run()
        logs.append(errors)
        if code == 0:
            break
    assert (code, summary["drained"]) == (0, True), errors
    assert not any("Traceback" in log for log in logs)
    assert {key: rig.destination.get(DESTINATION, key) for key in rig.destination.list(DESTINATION)} == last
    assert rig.files_left() == []


def disturb(rig: Rig, chance: random.Random) -> None:
    """Some objects are not found, some are refused, some are lost after they were acknowledged; all a bit slowly."""
    seed = chance.randrange(1 << 30)
    rig.source.set_fault("status", operation="GetObject|HeadObject", probability=0.1, seed=seed, status=404, code="")
    rig.source.set_fault("latency", operation="GetObject", seconds=0.02)
    code = chance.choice(["AccessDenied", "KMS.DisabledException", "EntityTooLarge"])
    rig.destination.set_fault("status", operation="PutObject", probability=0.4, seed=seed, status=403, code=code)
    rig.destination.set_fault("not_stored", operation="PutObject", probability=0.1, seed=seed)
    rig.destination.set_fault("latency", operation="PutObject", seconds=0.02)


def assert_all_there(rig: Rig, last: dict[str, bytes]) -> None:
    """A run for the destination only: what is staged is delivered, although its source may be gone by then."""
    before = staged(rig)
    rig.source.listener("refuse")
    code, _summary, errors = rig.run("--direction", "destination")
    rig.source.listener("open")
    assert code in (0, 3) and "Traceback" not in errors, errors
    held = {rig.destination.get(DESTINATION, key) for key in rig.destination.list(DESTINATION)} | set(staged(rig))
    newest = set(last.values())
    assert [data for data in before if data in newest and data not in held] == []
