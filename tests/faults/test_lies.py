# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores that lie now and then: everything arrives all the same, and each object that was ever wrong is named."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from typing import Any

import pytest
from faults.rig import SOURCE, Rig

SEED = int(os.environ.get("SNOWSYNC_SEED", "20261127"))
SHARE = 0.02  # of the requests; of those for the few large objects
LARGE_SHARE = 0.15
SMALL, LARGE = 300, 8
WRONG_ETAG = {"ETag": '"0123456789abcdef0123456789abcdef"'}

# One switch for each kind of lie: the side, the action, which requests and how.
LIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "one bit flipped on the way in": ("source", "corrupt", {"operation": "GetObject", "key": "small"}),
    "zeros on the way in": ("source", "zero", {"operation": "GetObject", "key": "small", "after": 100}),
    "too short, and said to be whole": ("source", "short", {"operation": "GetObject", "key": "small"}),
    "the bytes of another object": ("source", "foreign", {"operation": "GetObject", "key": "small"}),
    "another ETag than the listing's": (
        "source",
        "headers",
        {"operation": "GetObject|HeadObject", "key": "small", "set": WRONG_ETAG},
    ),
    "one bit flipped in the store": ("destination", "store_wrong", {"operation": "PutObject"}),
    "zeros in the store": ("destination", "store_wrong", {"operation": "PutObject", "kind": "zero"}),
    "cut off in the store": ("destination", "store_wrong", {"operation": "PutObject", "kind": "truncate", "after": 9}),
    "other bytes under the right ETag": ("destination", "store_wrong", {"operation": "PutObject", "etag": "received"}),
    "acknowledged and not stored": ("destination", "not_stored", {"operation": "PutObject"}),
    "a HEAD of before": ("destination", "stale", {"operation": "HeadObject"}),
    "a HEAD with another size": (
        "destination",
        "headers",
        {"operation": "HeadObject", "set": {"Content-Length": "12345"}},
    ),
    "a HEAD with another ETag": (
        "destination",
        "headers",
        {"operation": "HeadObject", "key": "small", "set": WRONG_ETAG},
    ),
    "other bytes when it is read back": ("destination", "corrupt", {"operation": "GetObject"}),
    "a part with other bytes": ("destination", "store_wrong", {"operation": "UploadPart"}),
    "parts in the wrong order": ("destination", "reorder", {"operation": "CompleteMultipartUpload"}),
    "a Complete that keeps nothing": ("destination", "not_stored", {"operation": "CompleteMultipartUpload"}),
}
# What makes an answer doubtful without being a lie: nothing wrong comes of it alone.
BETWEEN: list[tuple[str, str, dict[str, Any]]] = [
    ("source", "cut", {"operation": "GetObject", "key": "small", "after": 1500}),
    ("destination", "status", {"operation": "PutObject", "status": 500, "code": "InternalError", "done": True}),
    ("destination", "status", {"operation": "HeadObject", "status": 503, "code": "SlowDown"}),
]


def fill(rig: Rig, small: int = SMALL, large: int = LARGE) -> None:
    chance = random.Random(SEED)
    for number in range(small):
        rig.source.put(SOURCE, f"small-{number:03}", chance.randbytes(3000 + number))
    for number in range(large):
        rig.source.put(SOURCE, f"large-{number}", chance.randbytes((5 << 20) + 70_000 + number), part_size=5 << 20)


def set_lie(rig: Rig, name: str, **how: Any) -> str:
    """The rule's id."""
    side, action, rule = LIES[name]
    store = rig.source if side == "source" else rig.destination
    return store.set_fault(action, id=name, **rule, **how)


def told_lies(rig: Rig) -> dict[str, set[str]]:
    """Object -> the lies that were told of it, in answers that were out as a whole.

    Not of objects that were stored under an error: nobody was promised anything then, and a later upload that keeps
    nothing, or a HEAD of before, finds the right bytes or says no more than the error did.
    """
    unpromised = {line["key"] for line in rig.destination.log("PutObject") if line["status"] == 500}
    found: dict[str, set[str]] = {}
    for store in (rig.source, rig.destination):
        for line in store.log():
            lies = set(line["faults"]) & LIES.keys()
            if lies and line["completed"] and line["status"] < 500 and line["key"] not in unpromised:
                found.setdefault(line["key"], set()).update(lies)
    return found


def named(rig: Rig) -> dict[str, list[str]]:
    """Object -> the words of its failures."""
    found: dict[str, list[str]] = {}
    with contextlib.closing(sqlite3.connect(f"file:{rig.folder}/state/ledger.db?mode=ro", uri=True)) as ledger:
        for key, message in ledger.execute("SELECT key, message FROM failures ORDER BY id"):
            found.setdefault(key, []).append(message)
    return found


def assert_named(rig: Rig) -> dict[str, set[str]]:
    """Every object that was ever wrong, by name."""
    told, words = told_lies(rig), named(rig)
    unnamed = {key: lies for key, lies in told.items() if key not in words}
    assert unnamed == {}, [
        line for store in (rig.source, rig.destination) for line in store.log() if line["key"] in unnamed
    ]
    return told


def until_drained(rig: Rig, runs: int = 4) -> None:
    """What was refused too often in one run is sent again by the next one."""
    for _ in range(runs):
        code, summary, errors = rig.run()
        assert "Traceback" not in errors
        if code == 0:
            assert summary["drained"]
            return
        assert (code, summary["drained"]) == (3, False), errors
    raise AssertionError(f"not drained after {runs} runs: {errors}")


@pytest.mark.parametrize("name", LIES)
def test_one_lie_of_each_kind(rig: Rig, name: str) -> None:
    """Of one object, once: found, named, and nothing else is."""
    fill(rig, 12, 1)
    rig.config |= {"evidence": 3}
    set_lie(rig, name, count=1)
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    rig.assert_delivered()
    told = assert_named(rig)
    assert len(told) == 1 and named(rig).keys() == told.keys()
    assert {failure["key"] for failure in rig.failures()} == told.keys()
    assert rig.files_left() == []


@pytest.mark.parametrize("name", [name for name, (_, _, rule) in LIES.items() if rule["operation"] == "HeadObject"])
def test_a_lie_about_the_one_object_that_is_asked_for_before_a_listing(rig: Rig, name: str) -> None:
    fill(rig, 120, 0)
    assert rig.run("--direction", "source")[0] == 0, "all is staged first, so that it is sent in large batches"
    set_lie(rig, name, count=1)
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    rig.assert_delivered()
    assert len(assert_named(rig)) == 1


@pytest.mark.parametrize(
    ("tool", "group", "outages"),
    [("native", 20, False), ("native", 20, True), ("native", 500, False), ("s5cmd", 20, False)],
)
def test_every_object_that_was_ever_wrong_is_named(rig: Rig, tool: str, group: int, outages: bool) -> None:
    fill(rig)
    rig.config |= {"evidence": 3, "mover": {"tool": tool}, "group": {"objects": group}}
    for number, name in enumerate(LIES):
        if tool == "s5cmd" and name == "another ETag than the listing's":
            continue  # told to s5cmd, which shows nobody what the headers said
        is_large = "Part" in LIES[name][2]["operation"] or "Complete" in LIES[name][2]["operation"]
        set_lie(rig, name, probability=LARGE_SHARE if is_large else SHARE, seed=SEED + number)
    if outages:
        add_outages(rig, 6 * SHARE)
    until_drained(rig)
    rig.assert_delivered()
    told = assert_named(rig)
    assert len(told) > 30, "or the test shows nothing"
    assert rig.files_left() == []


def test_lies_with_outages_and_kills_between(rig: Rig) -> None:
    """What was learnt of a lie is not lost because an answer, or the process, was lost next."""
    fill(rig, SMALL, 0)
    rig.config |= {"evidence": 3, "group": {"objects": 20}}
    chance = random.Random(SEED)
    for number, name in enumerate(LIES):
        set_lie(rig, name, probability=SHARE, seed=SEED + number)
    add_outages(rig, SHARE)
    for _ in range(6):
        process = rig.start()
        rig.kill_after(process, chance.randrange(1, 150))
        process.communicate()
    until_drained(rig)
    rig.assert_delivered()
    assert rig.files_left() == []


def add_outages(rig: Rig, share: float) -> None:
    for number, (side, action, rule) in enumerate(BETWEEN):
        store = rig.source if side == "source" else rig.destination
        store.set_fault(action, probability=share, seed=SEED - number, count=12, **rule)
