# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A failure that meets one object is told of that object, from the first; the endpoint goes on with the others."""

from __future__ import annotations

import os
from typing import Any

import pytest
from faults.rig import DESTINATION, SOURCE, Rig, kill_group, wait_until

ATTEMPTS = 3
REQUESTS = 3 * ATTEMPTS  # a mover makes a request up to three times in one attempt
OTHERS = 40
SIZE = 3000
MIB = 1 << 20
WAF = {"status": 403, "message": "Forbidden by the web application firewall"}

# What meets one object: the side, the action, which of its requests and how; a word of what is told.
KINDS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "a body that is too large for a proxy": (
        "destination",
        "page",
        {"operation": "PutObject", "status": 413, "message": "Request Entity Too Large"},
        "client_max_body_size",
    ),
    "a firewall before the destination": ("destination", "page", {"operation": "PutObject", **WAF}, "firewall"),
    "a firewall before the source": ("source", "page", {"operation": "GetObject", **WAF}, "firewall"),
    "throttled for one key at the destination": ("destination", "status", {"operation": "PutObject"}, "SlowDown"),
    "throttled for one key at the source": ("source", "status", {"operation": "GetObject"}, "SlowDown"),
    "an answer that always breaks at one byte": (
        "source",
        "bad_spot",
        {"operation": "GetObject", "offset": 1234},
        f"byte 1234 of {SIZE}",
    ),
    "a connection that is reset for one key": (
        "source",
        "cut",
        {"operation": "GetObject", "reset": True, "after": 99},
        "broke",
    ),
    "a signature that is refused for one object": (
        "destination",
        "status",
        {"operation": "PutObject", "status": 403, "code": "SignatureDoesNotMatch"},
        "SignatureDoesNotMatch",
    ),
    "tags that may not be read": (
        "source",
        "status",
        {"operation": "GetObjectTagging", "status": 403, "code": "AccessDenied"},
        "AccessDenied",
    ),
}


def store_of(rig: Rig, side: str) -> Any:
    return rig.source if side == "source" else rig.destination


@pytest.mark.parametrize(
    ("kind", "tool"),
    [
        *((kind, "native") for kind in KINDS),
        ("a body that is too large for a proxy", "s5cmd"),
        ("a firewall before the source", "s5cmd"),
    ],
)
def test_one_object_is_named_and_the_others_go_on(rig: Rig, kind: str, tool: str) -> None:
    side, action, rule, word = KINDS[kind]
    for number in range(OTHERS):
        rig.source.put(SOURCE, f"object-{number:02}", os.urandom(SIZE + number))
    rig.source.put(SOURCE, "a-victim", os.urandom(SIZE), tags={"kind": "one"} if "tags" in kind else None)
    rig.config |= {"attempts": ATTEMPTS, "mover": {"tool": tool, "workers": 4}}
    store = store_of(rig, side)
    store.set_fault(action, key="^a-victim$", **rule)
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (3, False), errors
    told = rig.failures()
    assert {failure["key"] for failure in told} == {"a-victim"}
    assert summary["failure_count"] == ATTEMPTS, "told from the first attempt on"
    if tool == "native":
        assert word in told[0]["message"]
    rig.assert_delivered([f"object-{number:02}" for number in range(OTHERS)])
    hit = [line for line in store.log() if line["faults"] and line["key"] == "a-victim"]
    assert ATTEMPTS <= len(hit) <= REQUESTS * (3 if tool == "s5cmd" else 1)
    store.clear_faults()
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    rig.assert_delivered()


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


def test_a_store_that_answers_and_serves_nothing_is_waited_for(rig: Rig) -> None:
    """Lists are answered, no object is: what stands behind the endpoint is down, and no object is blamed for that."""
    keys = [f"object-{number:02}" for number in range(OTHERS)]
    for key in keys:
        rig.source.put(SOURCE, key, os.urandom(SIZE))
    rig.source.set_fault("status", operation="GetObject", status=500, code="InternalError")
    rig.config |= {"attempts": 2}
    process = rig.start()
    try:
        refused = 4 * OTHERS
        wait_until(lambda: rig.source.count("GetObject") > refused, "several rounds of requests", 120)
        assert process.poll() is None
        rig.source.clear_faults()
        _output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    finally:
        if process.poll() is None:
            kill_group(process)
    rig.assert_delivered(keys)


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
