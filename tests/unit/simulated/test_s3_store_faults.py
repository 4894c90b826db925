# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated store fails as it is told to, keeps what it answered for, and says what it was asked."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from simulators.boto_client import client_of
from simulators.s3_store import RemoteStore, RunningStore, Storage, start

MIB = 1024 * 1024
BODY = bytes(range(256)) * 1024
BROKEN = (IncompleteReadError, ResponseStreamingError, ConnectionClosedError)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunningStore]:
    with start(tmp_path / "store") as running:
        running.put("bucket", "key", BODY)
        yield running


@pytest.fixture
def s3(store: RunningStore) -> Any:
    return client_of(store)


def read(s3: Any, **options: Any) -> bytes:
    body: bytes = s3.get_object(Bucket="bucket", Key="key", **options)["Body"].read()
    return body


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "this never became true"
        time.sleep(0.01)


def outcomes(s3: Any, count: int) -> str:
    """One letter per GET: `.` for success, `x` for an error answer."""
    letters = ""
    for _ in range(count):
        try:
            letters += "." if read(s3) == BODY else "?"
        except ClientError:
            letters += "x"
    return letters


# -- which requests are hit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, "xxxxxx"),
        ({"count": 2}, "xx...."),
        ({"nth": 3}, "..x..."),
        ({"first": 3, "count": 2}, "..xx.."),
        ({"operation": "HeadObject|PutObject"}, "......"),
        ({"operation": "HeadObject|GetObject"}, "xxxxxx"),
        ({"method": "PUT"}, "......"),
        ({"bucket": "other"}, "......"),
        ({"key": "^ke"}, "xxxxxx"),
        ({"key": "^ey"}, "......"),
        ({"access_key": "another"}, "......"),
    ],
)
def test_a_rule_hits_what_it_names(store: RunningStore, s3: Any, rule: dict[str, Any], expected: str) -> None:
    store.set_fault("status", **rule)
    assert outcomes(s3, 6) == expected
    assert store.faults()[0]["hits"] == expected.count("x")
    store.clear_faults()
    assert outcomes(s3, 1) == "."


def test_chance_is_repeatable(store: RunningStore, s3: Any) -> None:
    drawn = []
    for seed in (1, 1, 2):
        rule = store.set_fault("status", probability=0.5, seed=seed)
        drawn.append(outcomes(s3, 20))
        store.clear_faults(rule)
    assert drawn[0] == drawn[1] != drawn[2]
    assert 0 < drawn[0].count("x") < 20


@pytest.mark.parametrize(
    "rule", [{"action": "explode"}, {"action": "status", "colour": 1}, {"action": "cut", "key": "("}]
)
def test_a_wrong_rule_is_refused(store: RunningStore, rule: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=r"unknown|unterminated|missing"):
        store.set_fault(**rule)


# -- what is done to them ------------------------------------------------------------------------------------------


def test_error_answers(store: RunningStore, s3: Any) -> None:
    store.set_fault("status", status=503, code="SlowDown", retry_after=7, count=1)
    with pytest.raises(ClientError) as error:
        read(s3)
    answer = error.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == ("SlowDown", 503)
    assert answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "7"
    assert store.log("GetObject")[0]["code"] == "SlowDown"


def test_a_refused_put_leaves_the_connection_usable(store: RunningStore, s3: Any) -> None:
    store.set_fault("status", operation="PutObject", status=403, code="AccessDenied", count=1)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket="bucket", Key="new", Body=BODY)
    s3.put_object(Bucket="bucket", Key="new", Body=BODY)
    assert store.get("bucket", "new") == BODY


def test_done_but_not_said(store: RunningStore, s3: Any) -> None:
    store.set_fault("status", operation="PutObject", status=500, code="InternalError", done=True)
    with pytest.raises(ClientError, match="InternalError"):
        s3.put_object(Bucket="bucket", Key="status", Body=b"1")
    store.clear_faults()
    store.set_fault("cut", operation="PutObject", done=True)
    with pytest.raises(BROKEN):
        s3.put_object(Bucket="bucket", Key="cut", Body=b"2")
    assert (store.get("bucket", "status"), store.get("bucket", "cut")) == (b"1", b"2")
    assert [len(store.writes("bucket")[key]) for key in ("status", "cut")] == [1, 1]


@pytest.mark.parametrize("where", ["headers", "body"])
def test_stalls(store: RunningStore, where: str) -> None:
    store.set_fault("stall", where=where, after=1000, count=1)
    with pytest.raises(ReadTimeoutError):
        read(client_of(store, read_timeout=0.2))
    assert read(client_of(store)) == BODY
    ended = [line for line in store.log("GetObject") if line["completed"]]
    assert len(ended) == 1


def test_a_stall_ends_after_its_seconds(store: RunningStore, s3: Any) -> None:
    store.set_fault("stall", where="body", after=1000, seconds=0.3)
    assert read(s3) == BODY
    assert store.log("GetObject")[0]["seconds"] >= 0.3


def test_a_store_that_stops_reading(store: RunningStore) -> None:
    store.set_fault("stall", where="request", after=MIB)
    with pytest.raises((ReadTimeoutError, ConnectionClosedError)):
        client_of(store, read_timeout=0.2).put_object(Bucket="bucket", Key="new", Body=bytes(2 * MIB))
    assert "new" not in store.list("bucket")


@pytest.mark.parametrize("rule", [{"after": 1000}, {"after": 0}, {}, {"after": 1000, "reset": True}])
def test_answers_cut_short(store: RunningStore, s3: Any, rule: dict[str, Any]) -> None:
    store.set_fault("cut", operation="GetObject", count=1, **rule)
    with pytest.raises(BROKEN):
        read(s3)
    assert read(s3) == BODY
    assert store.log("GetObject")[0]["bytes_out"] == rule.get("after", 0)


def test_uploads_cut_short(store: RunningStore, s3: Any) -> None:
    store.set_fault("cut", operation="PutObject", where="request", after=100_000)
    with pytest.raises(BROKEN):
        s3.put_object(Bucket="bucket", Key="new", Body=bytes(MIB))
    assert "new" not in store.list("bucket")


@pytest.mark.parametrize("offset", [None, 0, 5, -1])
def test_one_corrupt_byte(store: RunningStore, s3: Any, offset: int | None) -> None:
    store.set_fault("corrupt", offset=offset, xor=0x10, count=1)
    got = read(s3)
    wrong = [position for position in range(len(BODY)) if got[position] != BODY[position]]
    at = len(BODY) // 2 if offset is None else offset % len(BODY)
    assert (len(got), wrong, got[at] ^ BODY[at]) == (len(BODY), [at], 0x10)
    assert read(s3) == BODY


def test_zeros_from_some_byte_on(store: RunningStore, s3: Any) -> None:
    store.set_fault("zero", after=1000)
    assert read(s3) == BODY[:1000] + bytes(len(BODY) - 1000)


def test_an_object_replaced_under_a_download(store: RunningStore, s3: Any) -> None:
    store.set_fault("replace", after=1000, count=1)
    before = store.list("bucket")["key"]
    answer = s3.get_object(Bucket="bucket", Key="key")
    mixed = answer["Body"].read()
    after = store.get("bucket", "key")
    assert answer["ETag"] == f'"{before}"' != f'"{store.list("bucket")["key"]}"'
    assert mixed == BODY[:1000] + after[1000:]
    assert len(after) == len(BODY)
    assert after != BODY


def test_an_object_replaced_between_two_ranges(store: RunningStore, s3: Any) -> None:
    etag = store.list("bucket")["key"]
    store.set_fault("replace", operation="GetObject", nth=2, size=77)
    assert read(s3, Range="bytes=0-9", IfMatch=etag) == BODY[:10]
    with pytest.raises(ClientError, match="PreconditionFailed"):
        read(s3, Range="bytes=10-19", IfMatch=etag)
    assert store.head("bucket", "key")["size"] == 77


@pytest.mark.parametrize("kind", ["flip", "zero", "truncate"])
@pytest.mark.parametrize("etag", ["stored", "received"])
def test_a_destination_that_keeps_wrong_bytes(store: RunningStore, s3: Any, kind: str, etag: str) -> None:
    store.set_fault("store_wrong", kind=kind, etag=etag, offset=70_000, after=70_000)
    answered = s3.put_object(Bucket="bucket", Key="new", Body=BODY)["ETag"].strip('"')
    kept = store.get("bucket", "new")
    expected = {
        "flip": BODY[:70_000] + bytes([BODY[70_000] ^ 1]) + BODY[70_001:],
        "zero": bytes(len(BODY)),
        "truncate": BODY[:70_000],
    }[kind]
    assert kept == expected
    assert answered == hashlib.md5(BODY if etag == "received" else kept).hexdigest()
    assert store.list("bucket")["new"] == answered


@pytest.mark.parametrize(("kind", "encryption"), [("opaque", None), ("kms", "aws:kms")])
def test_etags_that_are_no_digests(store: RunningStore, s3: Any, kind: str, encryption: str | None) -> None:
    store.set_fault("etag", kind=kind)
    etag = s3.put_object(Bucket="bucket", Key="new", Body=BODY)["ETag"].strip('"')
    head = s3.head_object(Bucket="bucket", Key="new")
    assert head["ETag"] == f'"{etag}"' != f'"{hashlib.md5(BODY).hexdigest()}"'
    assert head.get("ServerSideEncryption") == encryption
    assert (len(etag) == 32) == (kind == "kms")


def test_rate_and_latency(store: RunningStore, s3: Any) -> None:
    store.set_fault("rate", bytes_per_second=MIB, operation="GetObject")
    store.set_fault("latency", seconds=0.15, operation="HeadObject")
    assert read(s3) == BODY
    s3.head_object(Bucket="bucket", Key="key")
    assert store.log("GetObject")[0]["seconds"] >= len(BODY) / MIB * 0.8
    assert store.log("HeadObject")[0]["seconds"] >= 0.15


def test_headers_can_lie(store: RunningStore, s3: Any) -> None:
    store.set_fault("headers", operation="HeadObject", set={"ETag": '"lie"', "Content-Length": "5"}, remove=["server"])
    head = s3.head_object(Bucket="bucket", Key="key")
    assert (head["ETag"], head["ContentLength"]) == ('"lie"', 5)


def test_listings_can_lie(store: RunningStore, s3: Any) -> None:
    for name in "abc":
        store.put("bucket", name)
    store.set_fault("omit", keys="^b$")
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="bucket")["Contents"]] == ["a", "c", "key"]
    store.clear_faults()
    store.set_fault("repeat_page")
    first = s3.list_objects_v2(Bucket="bucket", MaxKeys=1)
    second = s3.list_objects_v2(Bucket="bucket", MaxKeys=1, ContinuationToken=first["NextContinuationToken"])
    assert second["NextContinuationToken"] == first["NextContinuationToken"]


def test_complete_may_answer_200_with_an_error(store: RunningStore, s3: Any) -> None:
    upload_id = s3.create_multipart_upload(Bucket="bucket", Key="new")["UploadId"]
    part = s3.upload_part(Bucket="bucket", Key="new", UploadId=upload_id, PartNumber=1, Body=b"x")
    store.set_fault("status", operation="CompleteMultipartUpload", status=200, code="InternalError")
    with pytest.raises(ClientError, match="InternalError"):
        s3.complete_multipart_upload(
            Bucket="bucket",
            Key="new",
            UploadId=upload_id,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
        )
    assert "new" not in store.list("bucket")


def test_bit_rot(store: RunningStore, s3: Any) -> None:
    store.damage("bucket", "key", 12, xor=0x80)
    got = read(s3)
    assert got[12] == BODY[12] ^ 0x80
    assert got[:12] + got[13:] == BODY[:12] + BODY[13:]
    assert store.list("bucket")["key"] == hashlib.md5(BODY).hexdigest()


# -- the port and the clock ----------------------------------------------------------------------------------------


def test_refusing_and_coming_back(store: RunningStore, s3: Any) -> None:
    assert read(s3) == BODY
    store.listener("refuse")
    with pytest.raises(EndpointConnectionError):
        read(s3)
    store.listener("open")
    assert read(s3) == BODY


def test_coming_back_by_itself(store: RunningStore) -> None:
    store.listener("refuse", seconds=0.1)
    assert read(client_of(store, retries={"total_max_attempts": 10})) == BODY


def test_a_port_that_says_nothing(store: RunningStore) -> None:
    store.listener("silent")
    with pytest.raises(ReadTimeoutError):
        read(client_of(store, read_timeout=0.2))
    store.listener("open")
    assert read(client_of(store)) == BODY


def test_a_clock_that_is_wrong(store: RunningStore, s3: Any) -> None:
    store.set_switches(date_offset=600)
    s3.put_object(Bucket="bucket", Key="new")
    head = s3.head_object(Bucket="bucket", Key="new")
    said = parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
    assert 590 < said - time.time() < 610
    assert head["LastModified"].timestamp() <= said
    store.set_switches(date_offset=-1000)
    with pytest.raises(ClientError, match="403"):
        s3.head_object(Bucket="bucket", Key="new")


def test_connections_above_the_cap_are_dropped(tmp_path: Path) -> None:
    with start(tmp_path, max_connections=3) as store:
        address = urlsplit(store.url)
        opened = []
        dropped = 0
        for number in range(5):
            try:
                opened.append(socket.create_connection((address.hostname or "", address.port or 0), 10))
                dropped += number >= 3 and opened[-1].recv(1) == b""
            except ConnectionResetError:  # perhaps before the connection is known here
                dropped += 1
        assert dropped == 2
        assert store.counters()["connections"]["refused"] == 2
        for sock in opened:
            sock.close()


# -- a process of its own, the log, what survives ------------------------------------------------------------------


def test_a_killed_store_keeps_what_it_answered_for(tmp_path: Path) -> None:
    with start(tmp_path / "store", process=True) as store:
        s3 = client_of(store)
        s3.put_object(Bucket="bucket", Key="new\nline", Body=BODY, Metadata={"m": "1"}, Tagging="t=1")
        s3.put_object(Bucket="bucket", Key="gone", Body=BODY)
        s3.delete_object(Bucket="bucket", Key="gone")
        upload_id = s3.create_multipart_upload(Bucket="bucket", Key="big")["UploadId"]
        part = s3.upload_part(Bucket="bucket", Key="big", UploadId=upload_id, PartNumber=1, Body=b"part")
        before = store.objects("bucket")
        store.kill()
        with open(tmp_path / "store" / "journal.jsonl", "a") as journal:
            journal.write('["put","bucket",["torn')
        store.restart()
        assert store.objects("bucket") == before
        assert s3.get_object(Bucket="bucket", Key="new\nline")["Body"].read() == BODY
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        s3.complete_multipart_upload(Bucket="bucket", Key="big", UploadId=upload_id, MultipartUpload=parts)
        store.restart()
        assert store.get("bucket", "big") == b"part"
    blobs = [path for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file()]
    assert len(blobs) == 2, "nothing is kept that no object refers to"


def test_the_command(tmp_path: Path) -> None:
    """`python -m s3_store`, with only tests/simulators on the path; SIGTERM ends it also under a stalled request."""
    simulators = Path(__file__).resolve().parents[2] / "simulators"
    options = ["--bucket", "one", "--bucket", "two", "--switch", "key_limit=10", "--fault", '{"action": "stall"}']
    command = [sys.executable, "-m", "s3_store", "--folder", str(tmp_path / "new" / "folder"), "--tls", *options]
    environment = {**os.environ, "PYTHONPATH": str(simulators), "S3_STORE_SECRET_KEY": "secret"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline().split()
        assert said[:2] == ["listening", "on"]
        store = RemoteStore(said[2])
        store.secret_key, store.ca_path = "secret", tmp_path / "new" / "folder" / "tls" / "ca.pem"
        with pytest.raises(ReadTimeoutError):
            client_of(store, read_timeout=0.2).list_buckets()
        store.clear_faults()
        assert [entry["Name"] for entry in client_of(store).list_buckets()["Buckets"]] == ["one", "two"]
        with pytest.raises(ClientError, match="KeyTooLongError"):
            client_of(store).put_object(Bucket="one", Key="k" * 11)
        process.terminate()
        assert process.wait(30) == 0


def test_a_journal_of_many_changes_is_rewritten(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.create_bucket("bucket")
    for number in range(1100):
        storage.put_bytes("bucket", "key", b"%d" % number)
    storage.close()
    Storage(tmp_path).close()
    assert len((tmp_path / "journal.jsonl").read_text().splitlines()) == 2
    again = Storage(tmp_path)
    assert b"".join(again.blocks(again.entry("bucket", "key"))) == b"1099"
    again.close()


def test_a_folder_has_one_store_at_a_time(store: RunningStore) -> None:
    with pytest.raises(RuntimeError, match="another"):
        Storage(store.folder)


def test_everything_can_be_done_from_another_process(tmp_path: Path) -> None:
    with start(tmp_path / "store", process=True, tls=True, key_limit=500) as store:
        for steering in (store, RemoteStore(store.url)):
            etag = steering.put("bucket", "new\nline & ?", BODY, headers={"content-type": "a/b"}, tags={"t": "1"})
            assert (steering.get("bucket", "new\nline & ?"), etag) == (BODY, hashlib.md5(BODY).hexdigest())
            entry = steering.head("bucket", "new\nline & ?")
            assert (entry["headers"]["content-type"], entry["tags"]) == ("a/b", {"t": "1"})
            steering.damage("bucket", "new\nline & ?", 3)
            steering.put("bucket", "key", BODY)
            rule = steering.set_fault("status", operation="GetObject", count=1)
            assert outcomes(client_of(store), 2) == "x."
            assert steering.faults()[0]["hits"] == 1
            steering.clear_faults(rule)
            steering.set_switches(key_limit=100)
            assert steering.count("GetObject") == 2
            assert [line["status"] for line in steering.log("GetObject")] == [503, 200]
            steering.clear_log()
            assert steering.delete("bucket", "new\nline & ?")
            with pytest.raises(KeyError):
                steering.get("bucket", "new\nline & ?")
            with pytest.raises(ValueError, match="unknown"):
                steering.set_fault("explode")
        store.listener("refuse")
        with pytest.raises(EndpointConnectionError):
            client_of(store).list_buckets()
        store.listener("open")
        assert outcomes(client_of(store), 1) == "."


def test_the_log_counts(store: RunningStore, s3: Any) -> None:
    s3.put_object(Bucket="bucket", Key="a", Body=BODY)
    s3.put_object(Bucket="bucket", Key="a", Body=b"again")
    s3.put_object(Bucket="bucket", Key="b", Body=BODY)
    read(s3)
    counted = store.counters()
    assert counted["operations"] == {"PutObject": 3, "GetObject": 1}
    assert (counted["bytes_in"], counted["bytes_out"]) == (2 * len(BODY) + 5, len(BODY))
    assert {"operation": "PutObject", "bucket": "bucket", "key": "a", "count": 2} in counted["requests"]
    assert store.written_again("bucket") == {"a": 2}
    assert [write["etag"] for write in store.writes("bucket")["a"]] == [
        hashlib.md5(BODY).hexdigest(),
        hashlib.md5(b"again").hexdigest(),
    ]
    store.clear_log()
    assert store.counters()["operations"] == {}
    assert store.log() == []


def test_the_log_knows_how_many_connections_there_were(store: RunningStore) -> None:
    address = urlsplit(store.url)
    opened = [socket.create_connection((address.hostname or "", address.port or 0), 10) for _ in range(4)]
    wait_for(lambda: store.counters()["connections"]["now"] == 4)
    for sock in opened[1:]:
        sock.close()
    wait_for(lambda: store.counters()["connections"]["now"] == 1)
    connections = store.counters()["connections"]
    assert (connections["peak"], connections["total"]) == (4, 4)
    opened[0].close()


def test_a_connection_that_its_client_closed_counts_no_more(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However late the store's own threads see it: one after the other is one at a time."""
    log = store.server.store.log
    disconnected = log.disconnected

    def late() -> None:
        time.sleep(0.01)
        disconnected()

    monkeypatch.setattr(log, "disconnected", late)
    address = urlsplit(store.url)
    for _ in range(50):
        socket.create_connection((address.hostname or "", address.port or 0), 10).close()
    wait_for(lambda: store.counters()["connections"]["total"] == 50)
    assert store.counters()["connections"]["peak"] <= 1


def test_a_filled_bucket(store: RunningStore, s3: Any) -> None:
    store.fill("many", 2500, 1000, "f/")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="many")
    listed = [entry for page in pages for entry in page["Contents"]]
    assert [entry["Key"] for entry in listed] == [f"f/{number:09d}" for number in range(2500)]
    s3.delete_object(Bucket="many", Key="f/000000000")
    body = s3.get_object(Bucket="many", Key="f/000002499")["Body"].read()
    assert (len(body), f'"{hashlib.md5(body).hexdigest()}"') == (1000, listed[0]["ETag"])


def test_a_large_body_needs_little_memory(tmp_path: Path) -> None:
    with start(tmp_path, process=True) as store:
        body = os.urandom(48 * MIB)
        client_of(store).put_object(Bucket="bucket", Key="key", Body=body)
        assert read(client_of(store)) == body
        status = Path(f"/proc/{store.process.pid}/status").read_text()
        (peak,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
        assert peak < 60 * 1024, "KiB: a store that held the body would have more than 75 MiB"


# -- lies ---------------------------------------------------------------------------------------------------------


def test_a_short_answer_says_that_it_is_whole(store: RunningStore, s3: Any) -> None:
    store.set_fault("short", operation="GetObject", after=100, count=1)
    assert read(s3) == BODY[:100]
    assert read(s3) == BODY


def test_a_foreign_answer_has_the_headers_of_the_right_one(store: RunningStore, s3: Any) -> None:
    other = store.put("bucket", "other", bytes(len(BODY)))
    store.set_fault("foreign", operation="GetObject", count=1)
    answer = s3.get_object(Bucket="bucket", Key="key")
    assert answer["Body"].read() == bytes(len(BODY))
    assert answer["ETag"] != f'"{other}"'
    assert read(s3) == BODY


def test_a_write_that_is_acknowledged_and_not_stored(store: RunningStore, s3: Any) -> None:
    store.set_fault("not_stored", operation="PutObject|CompleteMultipartUpload")
    assert s3.put_object(Bucket="bucket", Key="new", Body=b"new")["ETag"]
    upload = s3.create_multipart_upload(Bucket="bucket", Key="large")["UploadId"]
    part = s3.upload_part(Bucket="bucket", Key="large", UploadId=upload, PartNumber=1, Body=b"part")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    assert s3.complete_multipart_upload(Bucket="bucket", Key="large", UploadId=upload, MultipartUpload=parts)["ETag"]
    assert set(store.list("bucket")) == {"key"}
    assert store.writes("bucket") == {} and store.uploads("bucket") == []


def test_a_stale_head_knows_what_was_there_before(store: RunningStore, s3: Any) -> None:
    old = store.head("bucket", "key")
    store.put("bucket", "key", b"newer")
    store.put("bucket", "new", b"new")
    rule = store.set_fault("stale", operation="HeadObject")
    found = s3.head_object(Bucket="bucket", Key="key")
    assert (found["ETag"], found["ContentLength"]) == (f'"{old["etag"]}"', old["size"])
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="bucket", Key="new")
    store.clear_faults(rule)
    assert s3.head_object(Bucket="bucket", Key="key")["ContentLength"] == 5


@pytest.mark.parametrize("etag", ["stored", "received"])
def test_parts_in_the_wrong_order(store: RunningStore, s3: Any, etag: str) -> None:
    store.set_fault("reorder", operation="CompleteMultipartUpload", etag=etag)
    store.set_switches(min_part_size=1)
    upload = s3.create_multipart_upload(Bucket="bucket", Key="large")["UploadId"]
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**where(upload, number), Body=body)["ETag"]}
        for number, body in ((1, b"first"), (2, b"second"))
    ]
    answer = s3.complete_multipart_upload(
        Bucket="bucket", Key="large", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    assert store.get("bucket", "large") == b"secondfirst"
    digests = [hashlib.md5(body).digest() for body in (b"first", b"second")]
    kept = digests if etag == "received" else digests[::-1]
    assert answer["ETag"] == f'"{hashlib.md5(b"".join(kept)).hexdigest()}-2"'


def where(upload: str, number: int) -> dict[str, Any]:
    return {"Bucket": "bucket", "Key": "large", "UploadId": upload, "PartNumber": number}


def test_an_etag_that_looks_like_a_digest_and_is_none(store: RunningStore, s3: Any) -> None:
    store.set_fault("etag", operation="PutObject", kind="hex")
    answer = s3.put_object(Bucket="bucket", Key="new", Body=b"new")
    assert len(answer["ETag"].strip('"')) == 32
    assert answer["ETag"] != f'"{hashlib.md5(b"new").hexdigest()}"'
    assert "ServerSideEncryption" not in answer
