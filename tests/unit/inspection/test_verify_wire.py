# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The independent comparison over the client: pages, order, outages, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_rows import make_job
from simulators.s3_store import start

from snowsync.config.job_file import Job
from snowsync.core.errors import JobStopped, StoreError
from snowsync.inspection.store_side import StoreSide
from snowsync.inspection.verify import verify_job
from snowsync.inspection.verify_result import Result


def objects(result: Result) -> dict[str, int]:
    return {symbol: tally.objects for symbol, tally in result.symbols.items() if tally.objects}


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    with (
        start(tmp_path / "source", buckets=["camera"], max_keys=7) as source,
        start(tmp_path / "destination", buckets=["archive"], max_keys=7) as destination,
    ):
        yield source, destination


def wired_job(tmp_path: Path, source: Any, destination: Any, /, **changes: Any) -> Job:
    sides = {
        "source": source.job_side("camera", source.credentials_file(tmp_path / "source-credentials")),
        "destination": destination.job_side("archive", destination.credentials_file(tmp_path / "their-credentials")),
    }
    for name, change in changes.items():
        sides[name].update(change)
    return make_job(tmp_path, **sides)


def test_real_listings_are_paged_and_compared(tmp_path: Path, stores: tuple[Any, Any]) -> None:
    source, destination = stores
    for number in range(30):
        source.put("camera", f"k/{number:02}", bytes(number))
        destination.put("archive", f"k/{number:02}", bytes(number))
    destination.put("archive", "k/05", b"other")
    destination.delete("archive", "k/06")
    result = verify_job(wired_job(tmp_path, source, destination))
    assert objects(result) == {"=": 28, "*": 1, "+": 1}
    assert source.count("GetObject") == destination.count("GetObject") == 0
    assert objects(verify_job(wired_job(tmp_path, source, destination), read_all=True)) == {"=": 28, "*": 1, "+": 1}
    assert destination.count("GetObject") == 28


def test_a_snowball_that_lists_all_at_once_in_any_order(tmp_path: Path, stores: tuple[Any, Any]) -> None:
    source, destination = stores
    keys = [f"k/{number:03}" for number in range(50)]
    with start(tmp_path / "device", adapter=True, buckets=["camera"]) as device:
        for key in keys:
            device.put("camera", key, key.encode())
            destination.put("archive", key, key.encode())
        job = wired_job(tmp_path, device, destination, source={"list_version": "v1", "sorted": False})
        assert objects(verify_job(job)) == {"=": 50}


def test_the_next_endpoint_goes_on_where_one_fails(
    tmp_path: Path, stores: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = stores
    for number in range(30):
        source.put("camera", f"{number:02}", b"")
    job = wired_job(tmp_path, source, destination, source={"endpoints": ["http://127.0.0.1:9", source.url]})
    monkeypatch.setattr("time.sleep", lambda _seconds: pytest.fail("another endpoint is well: nothing to wait for"))
    assert objects(verify_job(job)) == {"+": 30}


def test_an_outage_is_waited_out_and_one_that_lasts_is_an_error(
    tmp_path: Path, stores: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = stores
    for number in range(30):
        source.put("camera", f"{number:02}", b"")
    slept: list[float] = []
    monkeypatch.setattr("snowsync.inspection.verify.time.sleep", slept.append)
    source.set_fault("status", operation="ListObjectsV2", status=503, code="SlowDown", first=3, count=2)
    assert objects(verify_job(wired_job(tmp_path, source, destination))) == {"+": 30}
    assert slept == [1.0, 2.0]
    source.set_fault("status", operation="ListObjectsV2", status=503, code="SlowDown")
    with pytest.raises(StoreError, match="SlowDown"):
        verify_job(wired_job(tmp_path, source, destination))
    assert slept[2:] == [1.0, 2.0, 4.0, 8.0, 16.0]


@pytest.mark.parametrize("change", [{"bucket": "nowhere"}, {"credentials": True}], ids=["bucket", "credential"])
def test_a_wrong_bucket_or_credential_stops_at_once(
    tmp_path: Path, stores: tuple[Any, Any], change: dict[str, Any]
) -> None:
    source, destination = stores
    if change.pop("credentials", False):
        wrong = tmp_path / "wrong"
        wrong.write_text("[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n")
        wrong.chmod(0o600)
        change = {"credentials_file": str(wrong)}
    with pytest.raises(JobStopped):
        verify_job(wired_job(tmp_path, source, destination, source=change))


def test_a_side_says_every_byte_of_an_object(tmp_path: Path, stores: tuple[Any, Any]) -> None:
    source, destination = stores
    source.put("camera", "k", bytes(300_000))
    side = StoreSide(wired_job(tmp_path, source, destination), "source")
    received = bytearray()
    side.read("k", received.extend, side.head("k"))
    side.close()
    assert bytes(received) == bytes(300_000)
