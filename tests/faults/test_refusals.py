# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Destinations that refuse what is staged, or do not keep it: the source is gone, and no staged file may go with it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from faults.rig import DESTINATION, SOURCE, Rig, kill_group, wait_until

COUNT = 12
WRITES = "PutObject|CreateMultipartUpload|UploadPart|CompleteMultipartUpload"
READS = "GetObject|HeadObject"

# How it refuses -> the simulator's rule, and what the job asks for.
KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "denied": ("status", {"operation": WRITES, "status": 403, "code": "AccessDenied"}, {}),
    "denied, to HEAD as well": (
        "status",
        {"operation": f"{WRITES}|{READS}", "status": 403, "code": "AccessDenied"},
        {},
    ),
    "denied without a reason": ("status", {"operation": WRITES, "status": 403, "code": ""}, {}),
    "404": ("status", {"operation": WRITES, "status": 404, "code": ""}, {}),
    "no such key": ("status", {"operation": WRITES, "status": 404, "code": "NoSuchKey"}, {}),
    "no such upload": ("status", {"operation": WRITES, "status": 404, "code": "NoSuchUpload"}, {}),
    "a KMS key that is disabled": ("status", {"operation": WRITES, "status": 400, "code": "KMS.DisabledException"}, {}),
    "a KMS key that is gone": ("status", {"operation": WRITES, "status": 400, "code": "KMS.NotFoundException"}, {}),
    "a quota": ("status", {"operation": WRITES, "status": 403, "code": "QuotaExceeded"}, {}),
    "full disks": ("status", {"operation": WRITES, "status": 507, "code": "XMinioStorageFull"}, {}),
    "too large": ("status", {"operation": WRITES, "status": 400, "code": "EntityTooLarge"}, {}),
    "a policy of the bucket": ("status", {"operation": WRITES, "status": 400, "code": "InvalidRequest"}, {}),
    "locked": ("status", {"operation": WRITES, "status": 405, "code": "MethodNotAllowed"}, {}),
    "an access key that may list": ("status", {"operation": WRITES, "status": 403, "code": "InvalidAccessKeyId"}, {}),
    "a signature that may list": ("status", {"operation": WRITES, "status": 403, "code": "SignatureDoesNotMatch"}, {}),
    "acknowledged and not stored": ("not_stored", {"operation": WRITES}, {}),
    "stale HEAD": ("status", {"operation": "HeadObject", "status": 404, "code": ""}, {}),
    "HEAD denied": ("status", {"operation": "HeadObject", "status": 403, "code": "AccessDenied"}, {}),
    "HEAD with another size": ("headers", {"operation": "HeadObject", "set": {"Content-Length": "7"}}, {}),
    "other ETags": ("etag", {"operation": WRITES, "kind": "hex"}, {}),
    "other bytes": ("store_wrong", {"operation": WRITES}, {}),
    "a key that may not read": ("status", {"operation": READS, "status": 403, "code": "AccessDenied"}, {"evidence": 3}),
    "a read-back that is denied": (
        "status",
        {"operation": "GetObject", "status": 403, "code": "AccessDenied"},
        {"evidence": 3},
    ),
    "a read-back of other bytes": ("corrupt", {"operation": "GetObject"}, {"evidence": 3}),
}


def stage(rig: Rig, count: int = COUNT) -> dict[str, bytes]:
    """Objects that are on the volumes and nowhere else; one of them in parts."""
    data = {f"d/object-{number:03}": os.urandom(3000 + number) for number in range(count - 1)}
    data["film"] = os.urandom(11 << 20)
    for key, content in data.items():
        rig.source.put(SOURCE, key, content, part_size=5 << 20 if key == "film" else 0)
    code, _summary, errors = rig.run("--direction", "source")
    assert code == 0, errors
    for key in data:
        rig.source.delete(SOURCE, key)
    return data


def staged(rig: Rig) -> dict[Path, bytes]:
    """Every staged file with its bytes."""
    files = [path for volume in rig.volumes for path in (volume / ".snowsync/staged").rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in files}


def arrived(rig: Rig) -> dict[str, bytes]:
    return {key: rig.destination.get(DESTINATION, key) for key in rig.destination.list(DESTINATION)}


def refuse(rig: Rig, kind: str) -> None:
    action, rule, options = KINDS[kind]
    rig.destination.set_fault(action, **rule)
    rig.config |= {"attempts": 1, **options}


def assert_kept(rig: Rig, data: Mapping[str, bytes], code: int, summary: Mapping[str, Any], errors: str) -> None:
    """Nothing went, nothing is called done, and what was refused is said."""
    assert (code, summary["drained"]) == (3, False), errors
    assert sorted(staged(rig).values()) == sorted(data.values())
    assert summary["states"]["staged"] == len(data) and summary["refused"] == len(data)
    assert summary["failure_count"] >= 1 and "the destination did not accept" in errors
    report = json.loads(Path(summary["report"]).read_text(encoding="utf-8"))["snowsync"]
    assert {failure["key"] for failure in report["failures"]} <= set(data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_costs_no_staged_file(rig: Rig, kind: str) -> None:
    data = stage(rig)
    files = staged(rig)
    refuse(rig, kind)
    assert_kept(rig, data, *rig.run())
    assert staged(rig) == files, "the same files, where they were"
    rig.destination.clear_faults()
    fetched = rig.source.count("GetObject")
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    assert arrived(rig) == data
    assert rig.source.count("GetObject") == fetched, "nothing was fetched again"
    assert rig.files_left() == []


@pytest.mark.parametrize("kind", ["denied", "404", "acknowledged and not stored", "stale HEAD"])
@pytest.mark.parametrize("tool", ["native", "s5cmd"])
def test_a_refusal_by_each_tool(rig: Rig, tool: str, kind: str) -> None:
    rig.config["mover"] = {"tool": tool, "workers": 4}
    data = stage(rig)
    refuse(rig, kind)
    assert_kept(rig, data, *rig.run())
    rig.destination.clear_faults()
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    assert arrived(rig) == data and rig.files_left() == []


@pytest.mark.parametrize("kind", ["denied", "acknowledged and not stored", "a key that may not read"])
def test_a_refusal_where_staged_files_are_kept(rig: Rig, kind: str) -> None:
    rig.config["keep_staged"] = True
    data = stage(rig)
    refuse(rig, kind)
    assert_kept(rig, data, *rig.run())
    rig.destination.clear_faults()
    code, summary, errors = rig.run()
    assert (code, summary["drained"], summary["states"]["delivered"]) == (0, True, COUNT), errors
    assert arrived(rig) == data
    assert sorted(staged(rig).values()) == sorted(data.values()), "kept after the delivery as well"


@pytest.mark.parametrize("kind", ["denied", "404", "an access key that may list", "a quota"])
def test_a_service_gets_well_by_itself(rig: Rig, kind: str) -> None:
    data = stage(rig)
    refuse(rig, kind)
    process = rig.start("--forever")
    try:
        wait_until(lambda: sum(bool(line["faults"]) for line in rig.destination.log()) > 5, "some refusals")
        assert process.poll() is None, "a refusal does not end a service"
        assert sorted(staged(rig).values()) == sorted(data.values())
        rig.destination.clear_faults()
        wait_until(lambda: arrived(rig) == data and rig.files_left() == [], "the delivery", 120)
    finally:
        kill_group(process)
        _output, errors = process.communicate()
    assert "Traceback" not in errors
    assert rig.source.count("GetObject") == COUNT, "once each"


def test_only_some_objects_are_refused(rig: Rig) -> None:
    """The others go on: a policy on a prefix is not the destination's trouble."""
    data = stage(rig, 40)
    rig.config["attempts"] = 2
    rig.destination.set_fault("status", operation="PutObject", key="object-0[01]3$", status=403, code="AccessDenied")
    code, summary, errors = rig.run()
    refused = {"d/object-003", "d/object-013"}
    assert (code, summary["drained"], summary["refused"]) == (3, False, 2), errors
    assert {failure["key"] for failure in rig.failures()} == refused
    assert sorted(staged(rig).values()) == sorted(data[key] for key in refused)
    assert arrived(rig) == {key: content for key, content in data.items() if key not in refused}
    sent = rig.destination.count("PutObject")
    rig.destination.clear_faults()
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    assert arrived(rig) == data and rig.files_left() == []
    assert rig.destination.count("PutObject") == sent + 2


@pytest.mark.parametrize("kind", ["denied", "404", "acknowledged and not stored", "other ETags"])
def test_starts_against_a_refusal_cost_no_bandwidth(rig: Rig, kind: str) -> None:
    """The source still has everything; what was refused is fetched once all the same, and sent in trials only."""
    for number in range(60):
        rig.source.put(SOURCE, f"object-{number:02}", os.urandom(2000 + number))
    refuse(rig, kind)
    for start in range(4):
        code, summary, errors = rig.run()
        assert (code, summary["drained"]) == (3, False), errors
        assert rig.source.count("GetObject") == 60, f"start {start + 1}"
        assert len(staged(rig)) == 60
    sent = rig.destination.count("PutObject")
    assert sent < 4 * (60 + 10), (
        f"{sent} uploads to a destination that takes none: a first group and few trials a start"
    )
    rig.destination.clear_faults()
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    rig.assert_delivered()
    assert rig.source.count("GetObject") == 60


def test_a_refusal_while_the_volume_fills_up(rig: Rig) -> None:
    """What has no room stays at the source and is said to be there; what is staged stays on the volume."""
    for number in range(30):
        rig.source.put(SOURCE, f"object-{number:02}", os.urandom(100_000))
    for volume in rig.config["volumes"]:
        volume["limit"] = "1MB"
    refuse(rig, "denied")
    for _ in range(2):
        code, summary, errors = rig.run()
        assert (code, summary["drained"]) == (3, False), errors
        assert summary["states"]["staged"] + summary["states"]["pending"] == 30
        assert len(staged(rig)) == summary["states"]["staged"] >= 10
        assert "not fetched from the source" in errors
    rig.destination.clear_faults()
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    rig.assert_delivered()
    assert rig.source.count("GetObject") == 30


def test_a_refusal_that_changes_its_reason(rig: Rig) -> None:
    """Denied, then gone, then full, then a lie: attempts and runs in between change nothing."""
    data = stage(rig)
    for kind in (
        "denied",
        "404",
        "a KMS key that is gone",
        "acknowledged and not stored",
        "other bytes",
        "HEAD denied",
    ):
        refuse(rig, kind)
        rig.config["attempts"] = 2
        assert_kept(rig, data, *rig.run("--direction", "destination"))
        assert ": drained" not in rig.snowsync("status", "JOB").stdout
        rig.destination.clear_faults()
    code, summary, errors = rig.run()
    assert (code, summary["drained"]) == (0, True), errors
    assert arrived(rig) == data and rig.files_left() == []
