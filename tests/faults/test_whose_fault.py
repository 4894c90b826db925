# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A failure that meets one object is told of that object, from the first; the endpoint goes on with the others."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from faults.rig import DESTINATION, SOURCE, Rig, kill_group, wait_until
from simulators.s3_store import start as simulated

from snowsync.proofs.holdings import HURRY_SECONDS

ATTEMPTS = 3
REQUESTS = 3 * ATTEMPTS * 2  # up to three times in one attempt, and libcurl again on a connection that was reset
OTHERS = 40
SIZE = 3000
MIB = 1 << 20
SECONDS = 1.5  # of silence, where a test waits for their end
PAGE = {"status": 403, "message": "Forbidden by the web application firewall"}
DENIED = {"status": 403, "code": "AccessDenied"}
UNSIGNED = {"status": 403, "code": "SignatureDoesNotMatch"}

# What meets one object, by side: the action, which of its requests and how; a word of what the native mover tells.
# At a destination no more than four of a sort: five that fail while none is taken are its own fault.
KINDS: dict[str, dict[str, tuple[str, dict[str, Any], str]]] = {
    "source": {
        "a page of a firewall": ("page", {"operation": "GetObject", **PAGE}, "firewall"),
        "throttled": ("status", {"operation": "GetObject"}, "SlowDown"),
        "too many requests": ("status", {"operation": "GetObject", "status": 429, "code": "TooMany"}, "429"),
        "an internal error": ("status", {"operation": "GetObject", "status": 500, "code": "InternalError"}, "Internal"),
        "a conflict": ("status", {"operation": "GetObject", "status": 409, "code": "OperationAborted"}, "409"),
        "a bad request": ("status", {"operation": "GetObject", "status": 400, "code": "InvalidArgument"}, "400"),
        "an answer that breaks at one byte": ("bad_spot", {"operation": "GetObject", "offset": 1234}, "at byte 1234"),
        "a connection that is reset": ("cut", {"operation": "GetObject", "reset": True, "after": 99}, "broke"),
        "a signature that is refused": ("status", {"operation": "GetObject", **UNSIGNED}, "SignatureDoesNotMatch"),
        "an answer that drips": ("rate", {"operation": "GetObject", "bytes_per_second": 1}, "stalled"),
        "tags that may not be read": ("status", {"operation": "GetObjectTagging", **DENIED}, "AccessDenied"),
        "tags that never come": ("stall", {"operation": "GetObjectTagging"}, "did not respond"),
    },
    "destination": {
        "a body that is too large for a proxy": (
            "page",
            {"operation": "PutObject", "status": 413, "message": "Request Entity Too Large"},
            "client_max_body_size",
        ),
        "a page of a firewall": ("page", {"operation": "PutObject", **PAGE}, "firewall"),
        "throttled": ("status", {"operation": "PutObject"}, "SlowDown"),
        "a bad request": ("status", {"operation": "PutObject", "status": 400, "code": "InvalidArgument"}, "400"),
        "a length that is wanted": ("status", {"operation": "PutObject", "status": 411, "code": "Length"}, "411"),
        "a connection that is reset": (
            "cut",
            {"operation": "PutObject", "where": "request", "reset": True, "after": 99},
            "broke",
        ),
        "a signature that is refused": ("status", {"operation": "PutObject", **UNSIGNED}, "SignatureDoesNotMatch"),
        "a HEAD that is never answered": ("stall", {"operation": "HeadObject"}, "does not respond"),
    },
}
OF_S5CMD = {
    "source": {
        "a HEAD that is denied": ("status", {"operation": "HeadObject", **DENIED}, ""),
        "a HEAD that is throttled": ("status", {"operation": "HeadObject"}, ""),
    },
    "destination": {},
}


def store_of(rig: Rig, side: str) -> Any:
    return rig.source if side == "source" else rig.destination


def fill(rig: Rig) -> list[str]:
    """The objects that nothing is wrong with."""
    keys = [f"object-{number:02}" for number in range(OTHERS)]
    for number, key in enumerate(keys):
        rig.source.put(SOURCE, key, os.urandom(SIZE + number))
    return keys


@pytest.mark.parametrize(("side", "tool"), [(side, tool) for side in KINDS for tool in ("native", "s5cmd")])
def test_each_object_that_fails_is_named_and_the_others_go_on(rig: Rig, side: str, tool: str) -> None:
    others, store = fill(rig), store_of(rig, side)
    kinds = KINDS[side] | (OF_S5CMD[side] if tool == "s5cmd" else {})
    for kind, (action, rule, _word) in kinds.items():
        rig.source.put(SOURCE, kind, os.urandom(SIZE), tags={"kind": "one"} if "tags" in kind else None)
        store.set_fault(action, key=f"^{kind}$", **rule)
    mover = {"tool": tool, "workers": 4, "stall_seconds": SECONDS, "answer_seconds": SECONDS}
    rig.config |= {"attempts": ATTEMPTS, "mover": mover}
    code, summary, errors = rig.run()
    assert (code, summary["drained"], summary["unserved"]) == (3, False, []), errors
    told = {failure["key"]: failure["message"] for failure in rig.failures()}
    assert told.keys() == kinds.keys()
    assert summary["failure_count"] == ATTEMPTS * len(kinds), "told from the first attempt on"
    hits = Counter(line["key"] for line in store.log() if line["faults"])
    for kind, (action, _rule, word) in kinds.items():
        assert word in told[kind] or tool == "s5cmd", told[kind]
        assert action == "stall" or ATTEMPTS <= hits[kind] <= REQUESTS * (3 if tool == "s5cmd" else 1), kind
    rig.assert_delivered(others)
    store.clear_faults()
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    rig.assert_delivered()


@pytest.mark.parametrize(("side", "operation"), [("source", "GetObjectTagging"), ("destination", "HeadObject")])
def test_an_object_of_which_nothing_is_answered_holds_up_no_other(rig: Rig, side: str, operation: str) -> None:
    """However long its answer may take, which is five minutes here; nor one that is answered late, as it is."""
    tags = {"kind": "one"}
    rig.source.put(SOURCE, "a-victim", os.urandom(SIZE), tags=tags)
    others = {*fill(rig), "late"}
    rig.source.put(SOURCE, "late", os.urandom(SIZE), tags=tags)
    rig.config["mover"] = {"stall_seconds": 300}
    store_of(rig, side).set_fault("stall", operation=operation, key="^a-victim$")
    store_of(rig, side).set_fault("stall", operation=operation, key="^late$", seconds=HURRY_SECONDS + 1)
    process = rig.start("--forever")
    try:
        wait_until(lambda: others <= released(rig), "the delivery of the others", 100)
    finally:
        kill_group(process)


def released(rig: Rig) -> set[str]:
    """The keys that the ledger knows to be proven at the destination."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{rig.folder}/state/ledger.db?mode=ro", uri=True)) as ledger:
            return {key for (key,) in ledger.execute("SELECT key FROM objects WHERE state IN (2, 3)")}
    except sqlite3.OperationalError:  # it is being made
        return set()


def test_a_single_refused_look_is_no_failure(rig: Rig) -> None:
    others = fill(rig)
    rig.config["mover"] = {"tool": "s5cmd", "workers": 4}
    for store in (rig.source, rig.destination):
        store.set_fault("status", operation="HeadObject", key="^object-0", count=4)
    code, summary, errors = rig.run()
    assert (code, summary["failure_count"]) == (0, 0), errors
    rig.assert_delivered(others)


def test_a_bad_spot_of_a_large_object_costs_what_lies_behind_it_and_no_more(rig: Rig) -> None:
    size = 40 * MIB
    rig.source.put(SOURCE, "film", os.urandom(size), part_size=5 * MIB)
    rig.source.put(SOURCE, "small", os.urandom(SIZE))
    rig.source.set_fault("bad_spot", operation="GetObject", key="^film$", offset=size - 2 * MIB)
    rig.config |= {"attempts": ATTEMPTS, "mover": {"part_size": 5 * MIB, "large_object": 8 * MIB}}
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (3, False), errors
    assert {failure["key"] for failure in rig.failures()} == {"film"}
    assert f"byte {size - 2 * MIB} of {size}" in rig.failures()[0]["message"]
    read = sum(line["bytes_out"] for line in rig.source.log("GetObject") if line["key"] == "film")
    assert read < size + 5 * MIB, "what had come was kept"
    rig.assert_delivered(["small"])
    rig.source.clear_faults()
    assert rig.run()[0] == 0
    rig.assert_delivered()


@pytest.mark.parametrize("fault", ["refuses", "serves nothing"])
def test_an_endpoint_of_two_that_is_ill_costs_no_object_its_attempts(rig: Rig, tmp_path: Path, fault: str) -> None:
    with simulated(tmp_path / "twin") as twin:
        twin.create_bucket(SOURCE)
        for number in range(OTHERS):
            data = os.urandom(SIZE)
            for store in (rig.source, twin):
                store.put(SOURCE, f"object-{number:02}", data, modified_ms=1_700_000_000_000)
        rig.config["source"]["endpoints"].append(twin.url)
        rig.config["attempts"] = 2
        if fault == "refuses":
            twin.listener("refuse")
        else:
            twin.set_fault("status", operation="GetObject", status=500, code="InternalError")
        code, summary, errors = rig.run()
        assert (code, summary["drained"], summary["states"]["failed"]) == (0, True, 0), errors
        assert summary["failure_count"] < 5, "what failed before it was known how ill it is"
    rig.assert_delivered()


def test_what_s5cmd_does_not_bring_to_its_end_is_not_begun_again_and_again(rig: Rig) -> None:
    """s5cmd keeps nothing of a large object: after its attempt the native mover does, on both hops."""
    size = 24 * MIB
    for key in ("spot", "end"):
        rig.source.put(SOURCE, key, os.urandom(size), part_size=8 * MIB)
    rig.source.set_fault("bad_spot", operation="GetObject", key="^spot$", offset=size - MIB)
    rig.destination.set_fault("status", operation="CompleteMultipartUpload", key="^end$", status=500)
    rig.config |= {"attempts": 5, "mover": {"tool": "s5cmd", "part_size": 8 * MIB, "retries": 0}}
    code, summary, errors = rig.run()
    assert (code, summary["drained"], summary["failure_count"]) == (3, False, 10), errors
    read = sum(line["bytes_out"] for line in rig.source.log("GetObject") if line["key"] == "spot")
    sent = sum(line["bytes_in"] for line in rig.destination.log("UploadPart"))
    assert (read < 2 * size + 8 * MIB, sent) == (True, 2 * size), "once by each mover"
    rig.source.clear_faults()
    rig.destination.clear_faults()
    assert rig.run()[0] == 0
    rig.assert_delivered()
    assert sum(line["bytes_in"] for line in rig.destination.log("UploadPart", "end")) <= 3 * size


@pytest.mark.parametrize(("side", "operation"), [("source", "GetObject"), ("destination", "PutObject")])
def test_a_store_that_answers_and_serves_nothing_is_waited_for(rig: Rig, side: str, operation: str) -> None:
    """Lists are answered, no object is: what stands behind the endpoint is down, and no object is blamed for that.

    It is said at once, and some objects are tried now and then, not all of them.
    """
    keys, store = fill(rig), store_of(rig, side)
    store.set_fault("status", operation=operation, status=500, code="InternalError")
    rig.config |= {"attempts": 2, "mover": {"retries": 0}}
    process = rig.start()
    try:
        wait_until(lambda: f"waiting for the {side}" in rig.snowsync("status", "JOB").stdout, "that this is said")
        first = store.count(operation)
        wait_until(lambda: store.count(operation) > first + 3, "two trials", 120)
        # All at first, each with a question whether the store gives one that it should have; then a few at a time.
        assert store.count(operation) < 3 * OTHERS
        assert process.poll() is None
        store.clear_faults()
        _output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert errors.count("answers, and serves no object") == 1
    finally:
        if process.poll() is None:
            kill_group(process)
    rig.assert_delivered(keys)


def test_the_last_objects_of_a_run_that_all_fail_are_not_taken_for_an_outage(rig: Rig) -> None:
    """Nothing else is left that could be served: one that was served is asked for instead."""
    others = fill(rig)
    bad = [f"with-a-prefix/{number}" for number in range(8)]
    for key in bad:
        rig.source.put(SOURCE, key, os.urandom(SIZE))
    rig.source.set_fault("status", operation="GetObject", key="^with-a-prefix/")
    rig.config |= {"attempts": ATTEMPTS}
    code, summary, errors = rig.run()
    assert (code, summary["states"]["failed"], summary["failure_count"]) == (3, len(bad), ATTEMPTS * len(bad)), errors
    assert "serves no object" not in errors
    rig.assert_delivered(others)


@pytest.mark.parametrize("seconds", [4.0, 12.0])
def test_a_complete_that_takes_long_is_waited_for(rig: Rig, seconds: float) -> None:
    """As long as blanks come, and much longer than any other answer while none does."""
    every = 1.5 if seconds > 4 else seconds
    rig.source.put(SOURCE, "film", os.urandom(11 * MIB), part_size=5 * MIB)
    rig.config["mover"] = {"stall_seconds": 1}
    rig.destination.set_fault("blanks", operation="CompleteMultipartUpload", seconds=seconds, every=every)
    code, summary, errors = rig.run()
    assert (code, summary["drained"], summary["failure_count"]) == (0, True, 0), errors
    rig.assert_delivered()
    begun = rig.destination.count("CreateMultipartUpload"), rig.destination.count("CompleteMultipartUpload")
    assert begun == (1, 1)
    assert rig.destination.count("AbortMultipartUpload") == 0


def test_a_complete_that_is_carried_out_after_it_was_given_up_is_found(rig: Rig) -> None:
    """The store is looked at before anything is aborted: it may be putting the parts together still."""
    rig.source.put(SOURCE, "film", os.urandom(11 * MIB), part_size=5 * MIB)
    rig.config |= {"mover": {"stall_seconds": 1}, "attempts": 9}
    rig.destination.set_fault("blanks", operation="CompleteMultipartUpload", seconds=16, every=16, count=1)
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    rig.assert_delivered()
    assert rig.destination.count("CreateMultipartUpload") == 1
    assert rig.destination.count("AbortMultipartUpload") == 0
    assert rig.destination.list(DESTINATION).keys() == {"film"}
