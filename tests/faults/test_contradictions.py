# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources whose listing and whose GET and HEAD disagree for good: what they have is moved once, and then remembered."""

from __future__ import annotations

import os
from typing import Any

import pytest
from faults.rig import DESTINATION, SOURCE, Rig

MIB = 1024 * 1024
KEYS = [f"k{number}" for number in range(9)]
TOLD = "the source contradicts itself: its listing shows"


def fill(rig: Rig, kind: str) -> None:
    for key in KEYS:
        rig.source.put(SOURCE, key, os.urandom(700))
    rig.source.set_switches(contradicts=kind)


def traffic(rig: Rig) -> tuple[int, int]:
    """Objects read at the source, and written at the destination, so far."""
    writes = ("PutObject", "UploadPart", "CompleteMultipartUpload")
    return rig.source.count("GetObject"), sum(rig.destination.count(operation) for operation in writes)


def run(rig: Rig, *more: str) -> str:
    """A run that moves everything; what it said."""
    code, summary, errors = rig.run(*more)
    assert (code, summary["failure_count"], summary["drained"]) == (0, 0, True), errors
    assert {key: rig.destination.get(DESTINATION, key) for key in KEYS} == {
        key: rig.source.get(SOURCE, key) for key in KEYS
    }
    return errors


@pytest.mark.parametrize(
    ("kind", "settings", "is_told"),
    [
        ("etag", {}, True),
        ("etag", {"list_version": "v1", "sorted": False}, True),
        ("gzip", {}, True),
        ("size", {}, True),
        ("both", {}, True),
        ("get", {}, True),
        ("none", {}, False),
        ("case", {}, False),
        ("unquoted", {}, False),
        ("modified", {}, False),
        ("now", {}, False),
    ],
    ids=str,
)
def test_what_contradicts_its_listing_is_moved_once(
    rig: Rig, kind: str, settings: dict[str, Any], is_told: bool
) -> None:
    fill(rig, kind)
    rig.config["source"].update(settings)
    rig.source.set_switches(list_paginated=not settings, list_sorted=not settings)
    errors = run(rig)
    assert errors.count(TOLD) == int(is_told), errors
    assert "etag: opaque" in errors or not is_told
    before = traffic(rig)
    assert TOLD not in run(rig)
    assert traffic(rig) == before
    verified = rig.snowsync("verify", "JOB")
    assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize("kind", ["etag", "gzip", "size"])
def test_a_destination_that_contradicts_its_listing_gets_everything_once(rig: Rig, kind: str) -> None:
    fill(rig, "")
    for number in range(40):  # enough to be proven by a listing
        rig.source.put(SOURCE, f"more/{number:02}", os.urandom(300))
    rig.destination.set_switches(contradicts=kind)
    run(rig)
    before = traffic(rig)
    run(rig)
    assert traffic(rig) == before
    verified = rig.snowsync("verify", "JOB")
    assert verified.returncode == 0, verified.stdout
    assert ("the destination contradicts itself" in verified.stderr) is (kind in ("etag", "size"))


@pytest.mark.parametrize(
    ("kind", "is_told", "is_read_again"),
    [
        ("etag", True, True),
        ("gzip", True, True),
        ("size", True, True),
        ("head", True, False),
        ("head_size", True, False),
    ],
)
def test_s5cmd_moves_such_objects_once(rig: Rig, kind: str, is_told: bool, is_read_again: bool) -> None:
    """It tells no answers: HEAD is asked, and a GET where HEAD contradicts the listing."""
    rig.config["mover"] = {"tool": "s5cmd"}
    fill(rig, kind)
    assert run(rig).count(TOLD) == 1
    before = traffic(rig)
    assert before[0] <= len(KEYS) * (3 if is_read_again else 2)
    run(rig)
    assert traffic(rig) == before


def test_an_object_that_changes_at_such_a_source_is_moved_again(rig: Rig) -> None:
    fill(rig, "size")
    run(rig)
    rig.source.put(SOURCE, "k3", os.urandom(900))
    before = traffic(rig)[1]
    run(rig)
    assert traffic(rig)[1] == before + 1
    before = traffic(rig)[1]
    run(rig)
    assert traffic(rig)[1] == before


def test_a_large_object_whose_listing_is_contradicted_is_moved_once(rig: Rig) -> None:
    rig.config["mover"] = {"large_object": 6 * MIB, "part_size": 5 * MIB}
    rig.source.put(SOURCE, "large", os.urandom(11 * MIB), part_size=5 * MIB)
    fill(rig, "gzip")
    run(rig)
    before = traffic(rig)
    run(rig)
    assert traffic(rig) == before
    assert rig.destination.get(DESTINATION, "large") == rig.source.get(SOURCE, "large")


def test_an_object_with_another_etag_in_each_answer_is_named_and_holds_up_no_other(rig: Rig) -> None:
    fill(rig, "")
    rig.config["attempts"] = 2
    for number in range(1, 40):
        rig.source.set_fault(
            "headers", operation="GetObject|HeadObject", key="^k3$", nth=number, set={"ETag": f'"e{number}"'}
        )
    code, summary, errors = rig.run()
    assert code == 3, errors
    assert {failure["key"] for failure in summary["failures"]} == {"k3"}
    rig.assert_delivered([key for key in KEYS if key != "k3"])
    assert rig.source.count("GetObject") < len(KEYS) + 12


# -- the same bytes under a new time ------------------------------------------------------------------------------


def touch(rig: Rig, keys: list[str] = KEYS) -> None:
    """Write the same bytes again, at another second."""
    rig.source.set_switches(date_offset=-7200.0, check_skew=False)
    for key in keys:
        rig.source.put(SOURCE, key, rig.source.get(SOURCE, key))


def test_the_same_bytes_under_a_new_time_are_asked_for_and_not_moved(rig: Rig) -> None:
    fill(rig, "")
    run(rig)
    touch(rig)
    before, heads = traffic(rig), rig.destination.count("HeadObject")
    run(rig)
    assert traffic(rig) == before
    assert rig.destination.count("HeadObject") == heads + len(KEYS)
    run(rig)
    assert rig.destination.count("HeadObject") == heads + len(KEYS), "asked once"
    assert rig.snowsync("verify", "JOB").returncode == 0


def test_what_the_destination_lost_is_moved_again_when_it_is_touched(rig: Rig) -> None:
    fill(rig, "")
    run(rig)
    rig.destination.delete(DESTINATION, "k3")
    rig.destination.put(DESTINATION, "k4", b"something else")
    touch(rig)
    before = traffic(rig)
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    rig.assert_delivered()
    assert traffic(rig) == (before[0] + 2, before[1] + 2)
    assert "the source lists it with a new time, and the destination no longer has it" in str(rig.failures())


def test_a_source_unit_alone_leaves_the_question_to_the_destination_unit(rig: Rig) -> None:
    fill(rig, "")
    run(rig)
    touch(rig)
    before = traffic(rig)
    assert rig.run("--direction", "source")[0] == 0
    assert rig.run("--direction", "destination")[0] == 0
    assert traffic(rig) == before
    assert rig.destination.count("HeadObject") >= len(KEYS)


@pytest.mark.parametrize("status", [308, 503])
def test_a_question_that_nobody_answers_ends(rig: Rig, status: int) -> None:
    fill(rig, "")
    rig.config["attempts"] = 2
    run(rig)
    touch(rig)
    before = traffic(rig)
    elsewhere = {"Location": "https://elsewhere.example/"} if status == 308 else {}
    rig.destination.set_fault("status", operation="HeadObject", key="^k3$", status=status, code="", set=elsewhere)
    run(rig)
    assert traffic(rig) == before
