# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes that are not what was promised: each is caught before release, fetched or sent again, and named."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from faults.rig import DESTINATION, SOURCE, Rig

SIZE = 300_000


def fill(rig: Rig, count: int = 5) -> None:
    for number in range(count):
        rig.source.put(SOURCE, f"folder/object-{number}", os.urandom(SIZE + number))


def stage_only(rig: Rig) -> None:
    result = rig.snowsync("run", "JOB", "--direction", "source", "--until-drained")
    assert result.returncode == 0, result.stderr


def staged_file(rig: Rig, name: str) -> Path:
    (found,) = [path for volume in rig.volumes for path in (volume / ".snowsync/staged").rglob(f"{name}~*")]
    return found


def test_an_untouched_transfer_is_quiet(rig: Rig) -> None:
    """The control: without a fault nothing is reported, or the tests below would prove nothing."""
    fill(rig)
    code, summary, errors = rig.run()
    assert code == 0, errors
    assert summary["failure_count"] == 0
    assert summary["evidence"]["destination"] == {"store_digest": 5}
    rig.assert_delivered()
    assert rig.files_left() == []


@pytest.mark.parametrize("action", ["corrupt", "zero"])
def test_bytes_changed_on_the_way_in(rig: Rig, action: str) -> None:
    fill(rig)
    options = {"after": 1000} if action == "zero" else {}
    rig.source.set_fault(action, operation="GetObject", key="object-3$", count=1, **options)
    code, summary, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()
    (failure,) = summary["failures"]
    assert failure["key"] == "folder/object-3"
    assert failure["trouble"] == "mismatch"
    (named,) = rig.failures()
    assert named["expected"] == rig.source.list(SOURCE)["folder/object-3"]
    assert named["found"] not in ("", named["expected"])
    assert rig.files_left() == [], "the quarantined copy goes when a good one is proven"


def test_bytes_that_are_always_wrong_end_in_quarantine(rig: Rig) -> None:
    fill(rig)
    rig.config["attempts"] = 2
    rig.source.set_fault("corrupt", operation="GetObject", key="object-3$")
    code, summary, _errors = rig.run()
    assert code == 3
    assert summary["states"]["quarantined"] == 1
    assert summary["states"]["released"] == 4
    assert "folder/object-3" not in rig.destination.list(DESTINATION)
    rig.source.clear_faults()
    code, summary, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()


def test_an_object_overwritten_while_it_is_fetched(rig: Rig) -> None:
    fill(rig)
    old = rig.source.list(SOURCE)["folder/object-2"]
    rig.source.set_fault("replace", operation="GetObject", key="object-2$", after=SIZE // 2, count=1)
    code, summary, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()
    assert rig.source.list(SOURCE)["folder/object-2"] != old
    assert [failure["trouble"] for failure in summary["failures"]] == ["changed"]
    assert all(write["etag"] != old for write in rig.destination.writes(DESTINATION)["folder/object-2"])


def corrupt(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, SIZE // 3)


def zero_fill(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [corrupt, truncate, zero_fill, delete])
@pytest.mark.parametrize("reread", ["suspect", "always"])
def test_a_staged_file_damaged_at_rest(rig: Rig, damage: object, reread: str) -> None:
    fill(rig)
    rig.config["reread"] = reread
    stage_only(rig)
    assert callable(damage)
    damage(staged_file(rig, "object-1"))
    rig.source.clear_log()
    code, summary, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()
    assert [failure["key"] for failure in summary["failures"]] == ["folder/object-1"]
    assert [line["key"] for line in rig.source.log("GetObject")] == ["folder/object-1"], "only the damaged one"
    assert rig.files_left() == []


@pytest.mark.parametrize("kind", ["flip", "zero", "truncate"])
def test_a_destination_that_stores_other_bytes(rig: Rig, kind: str) -> None:
    fill(rig)
    rig.destination.set_fault("store_wrong", operation="PutObject", key="object-4$", kind=kind, count=1)
    code, summary, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()
    (failure,) = summary["failures"]
    assert (failure["key"], failure["trouble"]) == ("folder/object-4", "mismatch")


def test_a_destination_that_lies_about_its_etag_is_caught_by_reading_back(rig: Rig) -> None:
    fill(rig)
    rig.config["evidence"] = 3
    rig.destination.set_fault("store_wrong", operation="PutObject", key="object-4$", etag="received", count=1)
    code, summary, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()
    assert summary["evidence"]["destination"] == {"read_back": 5}
    assert [failure["key"] for failure in summary["failures"]] == ["folder/object-4"]


def test_a_destination_that_always_stores_wrong_bytes_releases_nothing_silently(rig: Rig) -> None:
    fill(rig)
    rig.config["attempts"] = 2
    rig.destination.set_fault("store_wrong", operation="PutObject", key="object-4$")
    code, summary, errors = rig.run()
    assert code == 3
    assert "snowsync report" in errors
    assert (summary["states"]["staged"], summary["refused"]) == (1, 1), "our bytes are sound, and stay"
    verify = rig.snowsync("verify", "JOB")
    assert verify.returncode == 3
    assert "object-4" in verify.stdout


@pytest.mark.parametrize("kind", ["opaque", "kms"])
@pytest.mark.parametrize("side", ["source", "destination"])
def test_etags_that_prove_nothing_are_replaced_by_reading_back(rig: Rig, side: str, kind: str) -> None:
    store = rig.source if side == "source" else rig.destination
    store.set_fault("etag", operation="PutObject", kind=kind)
    if side == "source":
        # Direct puts bypass the rules, so the source's objects are put over S3 like anyone's.
        import boto3
        from botocore.config import Config

        client = boto3.client(
            "s3",
            endpoint_url=rig.source.url,
            aws_access_key_id=rig.source.access_key,
            aws_secret_access_key=rig.source.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )
        for number in range(3):
            client.put_object(Bucket=SOURCE, Key=f"object-{number}", Body=os.urandom(SIZE))
    else:
        fill(rig, 3)
    code, summary, errors = rig.run()
    assert code == 0, errors
    assert summary["evidence"][side] == {"not_proven" if side == "source" else "read_back": 3}
    for key in rig.source.list(SOURCE):
        assert rig.destination.get(DESTINATION, key) == rig.source.get(SOURCE, key)


def test_after_a_boot_what_was_staged_last_is_hashed_again(rig: Rig) -> None:
    fill(rig)
    stage_only(rig)
    corrupt(staged_file(rig, "object-0"))
    with sqlite3.connect(rig.folder / "state" / "ledger.db") as ledger:
        # What a power cut looks like to the next run: everything was recorded under another boot id.
        ledger.execute("UPDATE runs SET boot_id = 'another'")
        ledger.execute("UPDATE groups SET boot_id = 'another'")
    code, summary, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()
    (failure,) = summary["failures"]
    assert failure["key"] == "folder/object-0"
    assert "no longer has its digest" in failure["message"]
    assert len(rig.destination.writes(DESTINATION)["folder/object-0"]) == 1, "the damaged bytes were never sent"
