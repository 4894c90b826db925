# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slow is not dead: answers that take work are waited for, and after a time-out the store is asked what it has."""

from __future__ import annotations

import os

import pytest
from faults.rig import SOURCE, Rig

MIB = 1 << 20
STALL = 2.0  # seconds in which bytes should flow
SLOW = 3.0  # until an answer
UPLOADS = "PutObject|CreateMultipartUpload|UploadPart|CompleteMultipartUpload"


def fill(rig: Rig) -> None:
    rig.source.put(SOURCE, "film", os.urandom(11 * MIB), part_size=5 * MIB)
    rig.source.put(SOURCE, "small", os.urandom(1000))


def uploads(rig: Rig) -> list[int]:
    """How often each of these was asked for."""
    return [rig.destination.count(operation) for operation in [*UPLOADS.split("|"), "AbortMultipartUpload"]]


@pytest.mark.parametrize("tool", ["native", "s5cmd"])
def test_answers_that_take_longer_than_bytes_may(rig: Rig, tool: str) -> None:
    """A listing of a large bucket, and a store that writes to tape what it was sent before it says so."""
    fill(rig)
    rig.config["mover"] = {"tool": tool, "stall_seconds": STALL, "answer_seconds": 60, "large_object": 5 * MIB}
    rig.source.set_fault("latency", operation="ListObjectsV2", seconds=SLOW, nth=2)  # the first one is a probe
    rig.destination.set_fault("stall", operation=UPLOADS, seconds=SLOW, done=True)
    code, summary, errors = rig.run()
    assert (code, summary["drained"], summary["failure_count"]) == (0, True, 0), errors
    rig.assert_delivered()
    assert uploads(rig) == [1, 1, 3, 1, 0]


def test_what_was_sent_before_a_time_out_is_not_sent_again(rig: Rig) -> None:
    """The store took an object and a part, and its answers were lost: HEAD and ListParts tell."""
    fill(rig)
    rig.config |= {"attempts": 9, "mover": {"stall_seconds": 1, "answer_seconds": 2, "large_object": 5 * MIB}}
    for operation in ("PutObject", "UploadPart"):
        rig.destination.set_fault("stall", operation=operation, seconds=None, done=True, count=1)
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    rig.assert_delivered()
    assert uploads(rig) == [1, 1, 3, 1, 0]
