# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source that rotted, and stores whose ETags prove nothing: what is moved, what is held, and what it is called."""

from __future__ import annotations

import json
import os

import pytest
from faults.rig import DESTINATION, SOURCE, Rig

MIB = 1024 * 1024
KEY = "archive.tar"
SINGLE, ONE_PART, SMALL_PARTS, LARGE_PARTS, ODD_PARTS = (
    (300_000, 0),
    (300_000, 8 * MIB),
    (12 * MIB, 8 * MIB),
    (40 * MIB, 8 * MIB),
    (19 * MIB, 7_000_001),
)


def put(rig: Rig, layout: tuple[int, int], *, is_rotten: bool = False, **headers: str) -> bytes:
    size, part_size = layout
    data = os.urandom(size)
    rig.source.put(SOURCE, KEY, data, part_size=part_size, headers=headers)
    if is_rotten:
        rig.source.damage(SOURCE, KEY, offset=size - 100)
    return rig.source.get(SOURCE, KEY)


def quarantined(rig: Rig) -> list[bytes]:
    return [(rig.folder / name).read_bytes() for name in rig.files_left() if "/quarantine/" in name]


@pytest.mark.parametrize("policy", ["auto", "accept"])
@pytest.mark.parametrize("tool", ["native", "s5cmd"])
@pytest.mark.parametrize("layout", [SINGLE, ONE_PART, SMALL_PARTS, LARGE_PARTS, ODD_PARTS])
def test_rot_at_the_source_is_refused_whatever_the_job_accepts(
    rig: Rig, layout: tuple[int, int], tool: str, policy: str
) -> None:
    """The store tells of the parts, so another digest is a refutation: each read of it gives the same wrong bytes."""
    rotten = put(rig, layout, is_rotten=True)
    rig.config |= {"attempts": 2, "mover": {"tool": tool}, "unproven": policy}
    code, summary, errors = rig.run()
    assert code == 3, errors
    assert summary["states"]["quarantined"] == 1
    assert rig.destination.list(DESTINATION) == {}
    assert set(quarantined(rig)) == {rotten}, "what came is kept, on each volume that it came to"
    (failure,) = rig.failures()
    assert (failure["key"], failure["trouble"], failure["times"]) == (KEY, "mismatch", 2)
    assert failure["expected"] == rig.source.list(SOURCE)[KEY]
    assert failure["found"] not in ("", failure["expected"])
    assert rig.snowsync("verify", "JOB").returncode == 3


@pytest.mark.parametrize("layout", [SMALL_PARTS, LARGE_PARTS])
def test_rot_behind_a_store_that_tells_nothing_of_parts_is_held(rig: Rig, layout: tuple[int, int]) -> None:
    rotten = put(rig, layout, is_rotten=True)
    rig.source.set_switches(part_number=False)
    code, summary, _errors = rig.run()
    assert code == 3
    assert summary["states"]["quarantined"] == 1
    assert rig.destination.list(DESTINATION) == {}
    assert quarantined(rig) == [rotten]
    (failure,) = summary["failures"]
    assert "matches no common part layout" in failure["message"]
    assert "set `unproven: accept` if you trust this source" in failure["message"]
    (named,) = rig.failures()
    assert (named["expected"], named["times"]) == (rig.source.list(SOURCE)[KEY], 1)
    assert named["found"].startswith("md5:")
    assert named["action"] == "held in quarantine"
    read = sum(line["bytes_out"] for line in rig.source.log("GetObject", KEY))
    assert read == 2 * len(rotten), "fetched once and read once more, not at every attempt"


def test_what_is_held_is_moved_when_the_job_accepts_it(rig: Rig) -> None:
    """A sound object whose parts have an odd size, at a store that does not tell it."""
    data = put(rig, ODD_PARTS)
    rig.source.set_switches(part_number=False)
    assert rig.run()[0] == 3
    rig.config["unproven"] = "accept"
    code, summary, errors = rig.run()
    assert code == 0, errors
    assert rig.destination.get(DESTINATION, KEY) == data
    assert summary["evidence"] == {"source": {"not_proven": 1}, "destination": {"store_digest": 1}}
    assert rig.files_left() == []
    assert_named(rig)
    rig.config["unproven"] = "auto"
    assert rig.snowsync("verify", "JOB").returncode == 3, "the job accepts it no more"
    assert rig.snowsync("verify", "JOB", "--read-all").returncode == 3, "the bytes are equal, the ETag fits nothing"
    rig.source.set_switches(part_number=True)
    assert rig.snowsync("verify", "JOB", "--read-all").returncode == 0, "now the store tells"


def assert_named(rig: Rig) -> None:
    """Accepted, and said to be so wherever somebody looks."""
    report = rig.snowsync("report", "JOB")
    assert "1 not proven at the source" in report.stdout
    assert f"\n  {KEY}\n" in report.stdout
    status = json.loads(rig.snowsync("status", "JOB", "--json").stdout)
    assert status["jobs"][0]["not_proven"] == 1
    verify = rig.snowsync("verify", "JOB", "--combined", str(rig.folder / "combined"))
    assert verify.returncode == 0, verify.stdout + verify.stderr
    assert "1 not proven at the source, which the job accepts" in verify.stdout
    assert (rig.folder / "combined").read_text() == f"! {KEY}\n"
    (record,) = json.loads(rig.snowsync("ledger", "export", "JOB", "--format", "json").stdout)
    assert record["source_evidence"] == "not_proven"


def test_parts_of_different_sizes_that_the_store_tells_are_proven(rig: Rig) -> None:
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
    where = {"Bucket": SOURCE, "Key": KEY}
    upload = client.create_multipart_upload(**where)["UploadId"]
    parts = []
    for number, size in enumerate((7 * MIB, 5 * MIB, 6 * MIB), start=1):
        answer = client.upload_part(**where, UploadId=upload, PartNumber=number, Body=os.urandom(size))
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})
    code, summary, errors = rig.run()
    assert code == 0, errors
    assert summary["evidence"] == {"source": {"store_digest": 1}, "destination": {"store_digest": 1}}
    assert rig.destination.get(DESTINATION, KEY) == rig.source.get(SOURCE, KEY)


KMS = {"x-amz-server-side-encryption": "aws:kms"}


@pytest.mark.parametrize("layout", [SINGLE, SMALL_PARTS, LARGE_PARTS])
@pytest.mark.parametrize("how", ["under a key", "by configuration"])
def test_an_opaque_etag_that_happens_to_be_equal_is_no_proof(rig: Rig, layout: tuple[int, int], how: str) -> None:
    data = put(rig, layout, **(KMS if how == "under a key" else {}))
    if how == "by configuration":
        rig.config["source"]["etag"] = "opaque"
    code, summary, errors = rig.run()
    assert code == 0, errors
    assert summary["evidence"] == {"source": {"not_proven": 1}, "destination": {"store_digest": 1}}
    assert rig.destination.get(DESTINATION, KEY) == data
    assert_named(rig)


@pytest.mark.parametrize("layout", [SINGLE, LARGE_PARTS])
def test_a_job_that_holds_all_that_is_not_proven(rig: Rig, layout: tuple[int, int]) -> None:
    data = put(rig, layout, **KMS)
    rig.config["unproven"] = "hold"
    code, summary, _errors = rig.run()
    assert code == 3
    assert "`unproven: hold`" in summary["failures"][0]["message"]
    assert quarantined(rig) == [data]
    assert rig.destination.list(DESTINATION) == {}


@pytest.mark.parametrize("how", ["under a key", "by configuration"])
def test_equal_etags_of_an_opaque_destination_are_no_proof(rig: Rig, how: str) -> None:
    """A store that answers with the digest of what it received, whatever it keeps; a listing does not tell of keys."""
    for number in range(200):  # so many of a batch are asked for by a listing
        rig.source.put(SOURCE, f"object-{number:03}", os.urandom(1000 + number))
    rig.config["attempts"] = 2
    assert rig.run("--direction", "source")[0] == 0
    if how == "by configuration":
        rig.config["destination"]["etag"] = "opaque"
    else:
        rig.destination.set_fault("headers", operation="HeadObject|GetObject", set=KMS)
    rig.destination.set_fault("store_wrong", operation="PutObject", key="object-107$", etag="received")
    code, summary, _errors = rig.run()
    assert code == 3
    assert summary["evidence"]["destination"] == {"read_back": 199}
    assert {failure["key"] for failure in summary["failures"]} == {"object-107"}


def test_a_source_that_rotted_after_the_transfer_is_told_by_reading(rig: Rig) -> None:
    """Also when somebody copies the rotten bytes to the destination: both sides are equal then, and their ETags too."""
    put(rig, SMALL_PARTS)
    assert rig.run()[0] == 0
    assert rig.snowsync("verify", "JOB", "--read-all").returncode == 0
    rig.source.damage(SOURCE, KEY, offset=1)
    rig.destination.damage(DESTINATION, KEY, offset=1)
    assert rig.source.get(SOURCE, KEY) == rig.destination.get(DESTINATION, KEY)
    assert rig.snowsync("verify", "JOB").returncode == 0, "no listing shows it"
    deep = rig.snowsync("verify", "JOB", "--read-all")
    assert deep.returncode == 3
    assert f"* {KEY}: read back: the source returns bytes" in deep.stdout
