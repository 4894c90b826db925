# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listings whose end is not clear, and keys that are no text: nothing is left out silently, and nothing ends on it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from faults.rig import DESTINATION, SOURCE, Rig

COUNT = 23
LATIN = "caf\udce9.txt"  # a file's name of another time, in Latin-1
LATIN_SHOWN = r"caf\xe9.txt"
FOREIGN = "\udcff\udcfe"


def fill(rig: Rig, count: int = COUNT) -> None:
    for number in range(count):
        rig.source.put(SOURCE, f"k{number:02}", os.urandom(500))
    rig.source.set_switches(max_keys=5)
    rig.destination.set_switches(max_keys=5)


def verify(rig: Rig) -> tuple[int, dict[str, Any]]:
    result = rig.snowsync("verify", "JOB", "--json")
    assert "Traceback" not in result.stderr
    return result.returncode, json.loads(result.stdout) if result.stdout else {}


def rows(rig: Rig, sql: str) -> list[tuple[Any, ...]]:
    ledger = sqlite3.connect(f"file:{rig.folder}/state/ledger.db?mode=ro", uri=True)
    try:
        return ledger.execute(sql).fetchall()
    finally:
        ledger.close()


@pytest.mark.parametrize(
    ("version", "tokens", "words"),
    [
        ("v2", "following", "True,False"),
        ("v2", "following", "maybe,perhaps"),
        ("v2", "following", "TRUE,"),
        ("v2", "none", "1,0"),
        ("v2", "none", ""),
        ("v2", "always", " YES , no "),
        ("v2", "always", ""),
        ("v1", "following", " True ,FALSE"),
        ("v1", "following", ""),
    ],
)
def test_everything_is_listed_however_little_a_sorted_store_says(
    rig: Rig, version: str, tokens: str, words: str
) -> None:
    fill(rig)
    rig.config["source"]["list_version"] = version
    rig.config["destination"]["list_version"] = version
    for store in (rig.source, rig.destination):
        store.set_switches(truncated_words=words, list_tokens=tokens)
    code, summary, errors = rig.run()
    assert code == 0, errors
    assert summary["drained"]
    rig.assert_delivered()
    code, found = verify(rig)
    assert code == 0
    assert found["symbols"]["="]["objects"] == COUNT


@pytest.mark.parametrize(
    ("tokens", "words", "in_order"),
    [("circle", "true,false", True), ("circle", "", False), ("endless", "true,false", False), ("endless", "", True)],
)
def test_a_listing_without_end_is_an_error_everywhere(rig: Rig, tokens: str, words: str, in_order: bool) -> None:
    fill(rig)
    rig.config["source"]["sorted"] = in_order
    rig.source.set_switches(list_tokens=tokens, truncated_words=words)
    code, summary, errors = rig.run()
    assert (code, summary) == (4, {})
    assert "list_version" in errors or "empty pages" in errors
    assert "Traceback" not in errors
    for command in ("plan", "verify"):
        result = rig.snowsync(command, "JOB")
        assert result.returncode == 4, result.stderr
        assert "Failed to list" in result.stderr
    assert "drained" not in rig.snowsync("status", "JOB").stdout.splitlines()[0]


@pytest.mark.parametrize("words", ["", "maybe,perhaps"])
def test_an_unclear_end_of_a_store_without_an_order_is_an_error(rig: Rig, words: str) -> None:
    fill(rig)
    rig.config["source"]["sorted"] = False
    rig.source.set_switches(list_tokens="none", truncated_words=words, list_sorted=False)
    code, _summary, errors = rig.run()
    assert code == 4
    assert "the end of the listing is not clear" in errors
    assert verify(rig)[0] == 4


@pytest.mark.parametrize("words", ["", "maybe,perhaps", "false,true"])
def test_a_whole_listing_that_does_not_say_that_it_is_whole_is_an_error(rig: Rig, words: str) -> None:
    fill(rig)
    rig.config["source"].update(list_version="v1", sorted=False)
    rig.source.set_switches(list_sorted=False, list_paginated=False, truncated_words=words)
    code, _summary, errors = rig.run()
    assert code == 4
    assert "the end of the listing is not clear" in errors or "not send everything" in errors
    assert verify(rig)[0] == 4


# -- keys -------------------------------------------------------------------------------------------------------


@pytest.fixture
def any_bytes(rig: Rig) -> Iterator[Rig]:
    for store in (rig.source, rig.destination):
        store.set_switches(utf8_keys=False, key_limit=5000)
    fill(rig)
    yield rig


def test_objects_that_cannot_be_moved_are_named_and_the_run_is_not_done(any_bytes: Rig) -> None:
    rig = any_bytes
    rig.source.put(SOURCE, LATIN, b"latin")
    rig.source.put(SOURCE, "x" * 1030, b"long")
    for number in range(3):
        code, summary, errors = rig.run()
        assert code == 3, errors
        assert (summary["drained"], summary["left_behind"], summary["failure_count"]) == (False, 2, 2)
        assert {failure["key"] for failure in summary["failures"]} == {LATIN_SHOWN, "x" * 1030}
        assert "rename them there" in errors
        assert summary["changed"] is (number == 0)
    rig.assert_delivered([f"k{number:02}" for number in range(COUNT)])
    assert rows(rig, "SELECT COUNT(*) FROM failures") == [(2,)], "every run found the same, which is recorded once"
    assert set(rig.destination.list(DESTINATION)) == {f"k{number:02}" for number in range(COUNT)}


def test_what_was_renamed_is_moved_and_the_run_is_done(any_bytes: Rig) -> None:
    rig = any_bytes
    rig.source.put(SOURCE, LATIN, b"latin")
    assert rig.run()[0] == 3
    rig.source.delete(SOURCE, LATIN)
    rig.source.put(SOURCE, "café.txt", b"latin")
    code, summary, errors = rig.run()
    assert (code, summary["drained"], summary["left_behind"]) == (0, True, 0), errors
    assert "job rig: drained" in rig.snowsync("status", "JOB").stdout


def test_every_command_tells_of_a_key_that_cannot_be_moved(any_bytes: Rig) -> None:
    rig = any_bytes
    rig.source.put(SOURCE, LATIN, b"latin")
    assert json.loads(rig.snowsync("plan", "JOB", "--json").stdout)["left_behind"] == 1  # without a ledger
    rig.run()
    rig.source.put(SOURCE, "new", b"new")
    plan = rig.snowsync("plan", "JOB", "--json")
    document = json.loads(plan.stdout)
    assert plan.returncode == 0, plan.stderr
    assert (document["keys"], document["left_behind"]) == (["new"], 1)
    assert document["left"] == [
        {"key": LATIN_SHOWN, "reason": "its key is not valid UTF-8, which S3 requires; rename it there"}
    ]
    assert LATIN_SHOWN in rig.snowsync("plan", "JOB").stdout
    status = json.loads(rig.snowsync("status", "JOB", "--json").stdout)["jobs"][0]
    assert (status["drained"], status["left_behind"]) == (False, 1)
    assert "1 object left at the source" in rig.snowsync("status", "JOB").stdout
    watch = rig.snowsync("watch", "JOB")
    assert (watch.returncode, "1 object cannot be moved" in watch.stdout) == (3, True), watch.stderr
    for command in (["report", "JOB"], ["ledger", "export", "JOB"], ["ledger", "export", "JOB", "--format", "json"]):
        result = rig.snowsync(*command)
        assert (result.returncode, "Traceback" in result.stderr) == (0, False), result.stderr
    code, found = verify(rig)
    assert code == 3
    named = {finding["key"]: finding for finding in found["findings"]}
    assert named[LATIN_SHOWN]["symbol"] == "+"
    assert "cannot be moved: its key is not valid UTF-8" in named[LATIN_SHOWN]["reason"]
    json.dumps(found).encode("ascii")
    assert not any("\ud800" <= character <= "\udfff" for key in named for character in key)


@pytest.mark.parametrize("store", [{}, {"list_version": "v1"}, {"list_version": "v1", "sorted": False}])
def test_bytes_that_no_xml_can_hold_end_no_listing(any_bytes: Rig, store: dict[str, Any]) -> None:
    """A store that writes keys as they are makes its listing unreadable for an XML parser."""
    rig = any_bytes
    for name, side, key in (("source", rig.source, LATIN), ("destination", rig.destination, FOREIGN)):
        rig.config[name].update(store)
        side.put(SOURCE if name == "source" else DESTINATION, key, b"bytes")
        side.set_switches(list_encoding=False, list_paginated=store.get("sorted", True))
    code, summary, errors = rig.run()
    assert (code, summary["left_behind"]) == (3, 1), errors
    assert [failure["key"] for failure in summary["failures"]] == [LATIN_SHOWN]
    rig.assert_delivered([f"k{number:02}" for number in range(COUNT)])
    code, found = verify(rig)
    assert code == 3
    symbols = {symbol: tally["objects"] for symbol, tally in found["symbols"].items() if tally["objects"]}
    assert symbols == {"=": COUNT, "+": 1, "-": 1}


@pytest.mark.parametrize("key", [FOREIGN, LATIN, "zzz\udcff", "y" * 3000, "k05\udce9"])
def test_a_foreign_key_at_the_destination_does_no_harm(any_bytes: Rig, key: str) -> None:
    rig = any_bytes
    rig.destination.put(DESTINATION, key, b"somebody else's")
    for number in range(COUNT, 70):  # enough to be proven by a listing
        rig.source.put(SOURCE, f"k{number:02}", os.urandom(500))
    assert rig.run("--direction", "source")[0] == 0
    listings = rig.destination.count("ListObjectsV2")
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    assert rig.destination.count("ListObjectsV2") > listings + 1, "the listing was what proved them"
    rig.assert_delivered()
    code, found = verify(rig)
    assert (code, found["symbols"]["-"]["objects"]) == (0, 1)
    assert rig.destination.get(DESTINATION, key) == b"somebody else's"
