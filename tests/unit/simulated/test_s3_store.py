# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated store answers as S3 does: boto3 and s5cmd against it, over HTTP and HTTPS."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import subprocess
import zlib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session
from simulators.boto_client import client_of
from simulators.dataset import HOSTILE_KEYS
from simulators.s3_store import RunningStore, start
from simulators.s3_store.model import S3Error
from simulators.s3_store.payload import Payload
from simulators.s3_store.signature import verify

MIB = 1024 * 1024
_bucket_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=["http", "https"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with start(tmp_path_factory.mktemp("store"), tls=request.param == "https") as running:
        yield running


@pytest.fixture
def bucket(store: RunningStore) -> str:
    name = f"bucket-{next(_bucket_numbers)}"
    store.create_bucket(name)
    return name


@pytest.fixture(scope="module")
def s3(store: RunningStore) -> Any:
    return client_of(store)


def refused(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


class ClaimingSigner(SigV4Auth):
    """Signs the digest that the headers claim, also a wrong one."""

    def payload(self, request: Any) -> str:
        claimed: str | None = request.headers.get("x-amz-content-sha256")
        return claimed or hashlib.sha256(request.body or b"").hexdigest()


def send(store: RunningStore, request: AWSRequest) -> Any:
    trusted: Any = str(store.ca_path) if store.ca_path else True
    return URLLib3Session(verify=trusted).send(request.prepare())


def signed(store: RunningStore, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
    """A request signed by botocore, with whatever headers, also wrong ones."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named.setdefault("x-amz-content-sha256", hashlib.sha256(body).hexdigest())
    request = AWSRequest(method, store.url + path, named, body)
    ClaimingSigner(Credentials(store.access_key, store.secret_key), "s3", "us-east-1").add_auth(request)
    return send(store, request)


# -- objects -------------------------------------------------------------------------------------------------------


def test_what_is_put_comes_back_with_all_headers(s3: Any, bucket: str) -> None:
    body = os.urandom(100_000)
    headers = {
        "ContentType": "text/csv; charset=utf-8",
        "CacheControl": "max-age=60, private",
        "ContentDisposition": 'attachment; filename="a.csv"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "Metadata": {"operator": "night shift", "empty": ""},
    }
    put = s3.put_object(Bucket=bucket, Key="folder/key", Body=body, Tagging="campaign=north&q=a%20b", **headers)
    got = s3.get_object(Bucket=bucket, Key="folder/key")
    head = s3.head_object(Bucket=bucket, Key="folder/key")
    assert put["ETag"] == got["ETag"] == head["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert got["Body"].read() == body
    assert head["ContentLength"] == len(body)
    for name, value in headers.items():
        assert got[name] == head[name] == value
    assert head["TagCount"] == got["TagCount"] == 2
    tags = s3.get_object_tagging(Bucket=bucket, Key="folder/key")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"campaign": "north", "q": "a b"}


def test_tags_can_be_replaced_and_removed(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="key", Tagging="old=1")
    s3.put_object_tagging(Bucket=bucket, Key="key", Tagging={"TagSet": [{"Key": "<new>", "Value": "&"}]})
    assert s3.get_object_tagging(Bucket=bucket, Key="key")["TagSet"] == [{"Key": "<new>", "Value": "&"}]
    s3.delete_object_tagging(Bucket=bucket, Key="key")
    assert s3.get_object_tagging(Bucket=bucket, Key="key")["TagSet"] == []
    assert "TagCount" not in s3.head_object(Bucket=bucket, Key="key")


def test_hostile_keys_live_byte_for_byte(store: RunningStore, s3: Any, bucket: str) -> None:
    for number, key in enumerate(HOSTILE_KEYS):
        s3.put_object(Bucket=bucket, Key=key, Body=str(number).encode())
    expected = sorted(HOSTILE_KEYS, key=lambda key: key.encode())
    assert [entry["key"] for entry in store.objects(bucket)] == expected
    for version in ("list_objects_v2", "list_objects"):
        pages = s3.get_paginator(version).paginate(Bucket=bucket, PaginationConfig={"PageSize": 7})
        assert [entry["Key"] for page in pages for entry in page["Contents"]] == expected, version
    for number, key in enumerate(HOSTILE_KEYS):
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == str(number).encode(), key
        s3.delete_object(Bucket=bucket, Key=key)
    assert store.objects(bucket) == []


def test_a_key_may_have_1024_bytes(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="é" * 512)
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="é" * 512 + "x")
    assert refused(error) == ("KeyTooLongError", 400)


@pytest.mark.parametrize(
    ("asked", "start_at", "end_at"), [("bytes=10-19", 10, 20), ("bytes=990-", 990, 1000), ("bytes=-5", 995, 1000)]
)
def test_ranges(s3: Any, bucket: str, asked: str, start_at: int, end_at: int) -> None:
    body = os.urandom(1000)
    s3.put_object(Bucket=bucket, Key="key", Body=body)
    got = s3.get_object(Bucket=bucket, Key="key", Range=asked)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["ContentRange"] == f"bytes {start_at}-{end_at - 1}/1000"
    assert got["Body"].read() == body[start_at:end_at]


@pytest.mark.parametrize(("size", "asked"), [(1000, "bytes=1000-"), (0, "bytes=0-")])
def test_a_range_past_the_end_is_refused(s3: Any, bucket: str, size: int, asked: str) -> None:
    s3.put_object(Bucket=bucket, Key="key", Body=bytes(size))
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="key", Range=asked)
    assert refused(error) == ("InvalidRange", 416)


def test_conditions(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="key", Body=b"one")["ETag"]
    assert s3.get_object(Bucket=bucket, Key="key", IfMatch=etag)["Body"].read() == b"one"
    for call, condition, expected in [
        (s3.get_object, {"IfMatch": '"other"'}, ("PreconditionFailed", 412)),
        (s3.get_object, {"IfNoneMatch": etag}, ("304", 304)),
        (s3.put_object, {"IfNoneMatch": "*"}, ("PreconditionFailed", 412)),
        (s3.put_object, {"IfMatch": '"other"'}, ("PreconditionFailed", 412)),
    ]:
        with pytest.raises(ClientError) as error:
            call(Bucket=bucket, Key="key", **condition)
        assert refused(error) == expected
    s3.put_object(Bucket=bucket, Key="new", IfNoneMatch="*")


def test_copy(s3: Any, bucket: str) -> None:
    body = os.urandom(70_000)
    s3.put_object(Bucket=bucket, Key="a b+č", Body=body, Metadata={"kept": "yes"}, Tagging="t=1")
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a b+č"})
    s3.delete_object(Bucket=bucket, Key="a b+č")
    copy = s3.get_object(Bucket=bucket, Key="copy")
    assert (copy["Body"].read(), copy["Metadata"], copy["TagCount"]) == (body, {"kept": "yes"}, 1)
    source = {"Bucket": bucket, "Key": "copy"}
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source, MetadataDirective="REPLACE", ContentType="a/b")
    assert s3.head_object(Bucket=bucket, Key="copy")["ContentType"] == "a/b"
    with pytest.raises(ClientError) as error:
        s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    assert refused(error) == ("InvalidRequest", 400)


def test_deleting_many(s3: Any, bucket: str) -> None:
    keys = ["a", "b/<&>", "é"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key)
    wanted = {"Objects": [{"Key": key} for key in [*keys, "absent"]]}
    done = s3.delete_objects(Bucket=bucket, Delete=wanted)
    assert [entry["Key"] for entry in done["Deleted"]] == [*keys, "absent"]
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_an_object_read_while_it_is_replaced_stays_whole(s3: Any, bucket: str) -> None:
    body = os.urandom(8 * MIB)
    s3.put_object(Bucket=bucket, Key="key", Body=body)
    under_way = s3.get_object(Bucket=bucket, Key="key")["Body"]
    first = under_way.read(1000)
    s3.put_object(Bucket=bucket, Key="key", Body=b"new")
    assert first + under_way.read() == body


# -- buckets and listings ------------------------------------------------------------------------------------------


def test_buckets(s3: Any) -> None:
    s3.create_bucket(Bucket="made-here")
    assert "made-here" in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
    assert s3.head_bucket(Bucket="made-here")["ResponseMetadata"]["HTTPStatusCode"] == 200
    s3.put_object(Bucket="made-here", Key="key")
    with pytest.raises(ClientError) as error:
        s3.delete_bucket(Bucket="made-here")
    assert refused(error) == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket="made-here", Key="key")
    s3.delete_bucket(Bucket="made-here")
    for call in (s3.list_objects_v2, s3.list_multipart_uploads, s3.get_bucket_location):
        with pytest.raises(ClientError) as error:
            call(Bucket="made-here")
        assert refused(error) == ("NoSuchBucket", 404)


LISTED_KEYS = sorted(["a", "a/1", "a/2", "a0", "b//x", "b/y", "c", "d/e/f", "d/e/g", "é/1", "é/2", "z"])


def expected_listing(prefix: str, delimiter: str) -> list[str]:
    shown = []
    for key in LISTED_KEYS:
        if key.startswith(prefix):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            shown.append(key if end < 0 else key[: end + 1])
    return list(dict.fromkeys(shown))


@pytest.mark.parametrize("prefix", ["", "a", "a/", "b/", "d/e/", "é", "none"])
@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("version", ["list_objects_v2", "list_objects"])
def test_listing_in_pages(store: RunningStore, s3: Any, bucket: str, prefix: str, delimiter: str, version: str) -> None:
    for key in LISTED_KEYS:
        store.put(bucket, key)
    for page_size in (1, 2, 1000):
        shown: list[str] = []
        pages = s3.get_paginator(version).paginate(
            Bucket=bucket, Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": page_size}
        )
        for page in pages:
            entries = [entry["Key"] for entry in page.get("Contents", [])]
            entries += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
            assert len(entries) <= page_size
            shown += sorted(entries)
        assert shown == expected_listing(prefix, delimiter)


def test_listing_from_a_key_on(store: RunningStore, s3: Any, bucket: str) -> None:
    for key in LISTED_KEYS:
        store.put(bucket, key)
    listed = s3.list_objects_v2(Bucket=bucket, StartAfter="b//x", MaxKeys=2)
    assert [entry["Key"] for entry in listed["Contents"]] == ["b/y", "c"]
    assert listed["IsTruncated"]
    with pytest.raises(ClientError) as error:
        s3.list_objects_v2(Bucket=bucket, ContinuationToken="nonsense")
    assert refused(error) == ("InvalidArgument", 400)


def test_a_listing_without_encoding_shows_control_characters_as_references(store: RunningStore, bucket: str) -> None:
    store.put(bucket, "one\x01two & three")
    answer = signed(store, "GET", f"/{bucket}")
    assert b"<Key>one&#x1;two &amp; three</Key>" in answer.content
    encoded = signed(store, "GET", f"/{bucket}?encoding-type=url")
    assert b"<Key>one%01two+%26+three</Key>" in encoded.content


# -- multipart -----------------------------------------------------------------------------------------------------


def upload_parts(s3: Any, bucket: str, key: str, bodies: dict[int, bytes], **options: Any) -> tuple[str, list[Any]]:
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]
    parts = []
    for number, body in bodies.items():
        part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    return upload_id, sorted(parts, key=lambda part: part["PartNumber"])


def complete(s3: Any, bucket: str, key: str, upload_id: str, parts: list[Any]) -> Any:
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts})


def test_a_multipart_upload(s3: Any, bucket: str) -> None:
    bodies = {3: os.urandom(100), 1: os.urandom(5 * MIB), 2: os.urandom(6 * MIB)}
    upload_id, parts = upload_parts(s3, bucket, "big", bodies, ContentType="a/b", Metadata={"m": "1"}, Tagging="t=1")
    listed = s3.list_parts(Bucket=bucket, Key="big", UploadId=upload_id, MaxParts=2)
    assert [(part["PartNumber"], part["Size"]) for part in listed["Parts"]] == [(1, 5 * MIB), (2, 6 * MIB)]
    assert listed["IsTruncated"]
    under_way = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [(entry["Key"], entry["UploadId"]) for entry in under_way] == [("big", upload_id)]
    done = complete(s3, bucket, "big", upload_id, parts)
    digests = b"".join(hashlib.md5(bodies[number]).digest() for number in (1, 2, 3))
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    whole = s3.get_object(Bucket=bucket, Key="big")
    assert whole["Body"].read() == bodies[1] + bodies[2] + bodies[3]
    assert (whole["ContentType"], whole["Metadata"], whole["TagCount"]) == ("a/b", {"m": "1"}, 1)
    part = s3.get_object(Bucket=bucket, Key="big", PartNumber=2)
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert (part["PartsCount"], part["Body"].read()) == (3, bodies[2])
    head = s3.head_object(Bucket=bucket, Key="big", PartNumber=1)
    assert (head["PartsCount"], head["ContentLength"]) == (3, 5 * MIB)
    with pytest.raises(ClientError) as error:
        complete(s3, bucket, "big", upload_id, parts)
    assert refused(error) == ("NoSuchUpload", 404)


def test_a_part_may_be_sent_again(store: RunningStore, s3: Any, bucket: str) -> None:
    upload_id, _ = upload_parts(s3, bucket, "key", {1: b"first try"})
    again = s3.upload_part(Bucket=bucket, Key="key", UploadId=upload_id, PartNumber=1, Body=b"second")
    complete(s3, bucket, "key", upload_id, [{"PartNumber": 1, "ETag": again["ETag"]}])
    assert store.get(bucket, "key") == b"second"


def test_what_complete_refuses(s3: Any, bucket: str) -> None:
    upload_id, parts = upload_parts(s3, bucket, "key", {1: b"small", 2: b"last"})
    wrong = [{"PartNumber": 1, "ETag": '"00000000000000000000000000000000"'}]
    for given, code in [(parts, "EntityTooSmall"), (parts[::-1], "InvalidPartOrder"), (wrong, "InvalidPart")]:
        with pytest.raises(ClientError) as error:
            complete(s3, bucket, "key", upload_id, given)
        assert refused(error) == (code, 400)
    s3.abort_multipart_upload(Bucket=bucket, Key="key", UploadId=upload_id)
    with pytest.raises(ClientError) as error:
        s3.upload_part(Bucket=bucket, Key="key", UploadId=upload_id, PartNumber=1, Body=b"x")
    assert refused(error) == ("NoSuchUpload", 404)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_parts_copied_from_an_object(store: RunningStore, s3: Any, bucket: str) -> None:
    store.put(bucket, "source", bytes(range(256)))
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="key")["UploadId"]
    copied = s3.upload_part_copy(
        Bucket=bucket,
        Key="key",
        UploadId=upload_id,
        PartNumber=1,
        CopySource=f"{bucket}/source",
        CopySourceRange="bytes=16-31",
    )["CopyPartResult"]
    complete(s3, bucket, "key", upload_id, [{"PartNumber": 1, "ETag": copied["ETag"]}])
    assert store.get(bucket, "key") == bytes(range(16, 32))


# -- signatures and digests ----------------------------------------------------------------------------------------


def test_wrong_credentials(store: RunningStore, bucket: str) -> None:
    for given, code in [
        ({"secret_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"access_key": "unknown"}, "InvalidAccessKeyId"),
    ]:
        with pytest.raises(ClientError) as error:
            client_of(store, **given).put_object(Bucket=bucket, Key="key", Body=b"x")
        assert refused(error) == (code, 403)
    assert store.objects(bucket) == []


def test_a_request_that_was_changed_on_its_way_is_refused(store: RunningStore, bucket: str) -> None:
    request = AWSRequest("PUT", f"{store.url}/{bucket}/key", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}, b"x")
    ClaimingSigner(Credentials(store.access_key, store.secret_key), "s3", "us-east-1").add_auth(request)
    request.url = f"{store.url}/{bucket}/other"
    assert b"SignatureDoesNotMatch" in send(store, request).content
    request.url = f"{store.url}/{bucket}/key"
    request.headers["x-amz-meta-added"] = "unsigned"
    assert send(store, request).status_code == 403
    assert store.objects(bucket) == []
    del request.headers["x-amz-meta-added"]
    assert send(store, request).status_code == 200


def test_a_request_without_a_signature_is_refused(store: RunningStore, bucket: str) -> None:
    assert send(store, AWSRequest("GET", f"{store.url}/{bucket}")).status_code == 403


def test_bytes_that_contradict_their_digest_are_refused(store: RunningStore, bucket: str) -> None:
    wrong_md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    wrong_crc = base64.b64encode(zlib.crc32(b"other").to_bytes(4, "big")).decode()
    for headers, code in [
        ({"content_md5": wrong_md5}, b"BadDigest"),
        ({"content_md5": "nonsense"}, b"InvalidDigest"),
        ({"x_amz_checksum_crc32": wrong_crc}, b"BadDigest"),
        ({"x_amz_content_sha256": hashlib.sha256(b"other").hexdigest()}, b"XAmzContentSHA256Mismatch"),
    ]:
        answer = signed(store, "PUT", f"/{bucket}/key", b"body", **headers)
        assert answer.status_code == 400
        assert b"<Code>" + code + b"</Code>" in answer.content
    assert store.objects(bucket) == []
    assert signed(store, "PUT", f"/{bucket}/key", b"body").status_code == 200


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums_are_kept(s3: Any, bucket: str, algorithm: str) -> None:
    """Over HTTPS boto3 sends them as trailers of an aws-chunked body, over HTTP as headers."""
    body = os.urandom(200_000)
    s3.put_object(Bucket=bucket, Key="key", Body=body, ChecksumAlgorithm=algorithm, ContentEncoding="gzip")
    head = s3.head_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED")
    expected = {
        "CRC32": zlib.crc32(body).to_bytes(4, "big"),
        "SHA1": hashlib.sha1(body).digest(),
        "SHA256": hashlib.sha256(body).digest(),
    }[algorithm]
    assert head[f"Checksum{algorithm}"] == base64.b64encode(expected).decode()
    assert head["ChecksumType"] == "FULL_OBJECT"
    assert head["ContentEncoding"] == "gzip"
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == body


class Bytes:
    """A body that lies in memory, as a connection would offer it."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read_blocks(self, count: int) -> Iterator[bytes]:
        yield from (self.data[at : at + 1000] for at in range(0, count, 1000))

    def read_exactly(self, count: int) -> bytes:
        return self.data[:count]

    def read_line(self) -> bytes:
        return b""


# The example of https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
EXAMPLE_SECRET = {"AKIAIOSFODNN7EXAMPLE": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
EXAMPLE_TIME = 1369353600.0
EXAMPLE_SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
EXAMPLE_CHUNKS = (
    (b"a" * 65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
    (b"a" * 1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
    (b"", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
)
EXAMPLE_HEADERS = {
    "host": "s3.amazonaws.com",
    "x-amz-date": "20130524T000000Z",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
    "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "content-encoding": "aws-chunked",
    "x-amz-decoded-content-length": "66560",
    "content-length": "66824",
    "authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
    "SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
    f"x-amz-storage-class, Signature={EXAMPLE_SEED}",
}


def example_body(chunks: tuple[tuple[bytes, str], ...]) -> bytes:
    return b"".join(b"%x;chunk-signature=%s\r\n%s\r\n" % (len(data), mark.encode(), data) for data, mark in chunks)


def test_signed_chunks_of_the_documentation() -> None:
    path = "/examplebucket/chunkObject.txt"
    identity = verify("PUT", path, [], EXAMPLE_HEADERS, EXAMPLE_SECRET, now=EXAMPLE_TIME)
    body = example_body(EXAMPLE_CHUNKS)
    assert len(body) == 66824
    good = Payload(Bytes(body), EXAMPLE_HEADERS, identity, chunked=True)
    assert b"".join(bytes(block) for block in good.blocks()) == b"a" * 66560
    spoiled = Payload(Bytes(body.replace(b"aaa\r\n", b"aab\r\n")), EXAMPLE_HEADERS, identity, chunked=True)
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        list(spoiled.blocks())
    with pytest.raises(S3Error, match="RequestTimeTooSkewed"):
        verify("PUT", path, [], EXAMPLE_HEADERS, EXAMPLE_SECRET, now=EXAMPLE_TIME + 901)


# -- s5cmd ---------------------------------------------------------------------------------------------------------


def s5cmd(store: RunningStore, *arguments: str) -> subprocess.CompletedProcess[str]:
    binary = distribution("s5cmd").locate_file("s5cmd/bin/s5cmd")
    return subprocess.run(
        [str(binary), "--retry-count", "0", *arguments], env=store.environment(), capture_output=True, text=True
    )


def test_s5cmd_moves_files_both_ways(store: RunningStore, bucket: str, tmp_path: Path) -> None:
    small, big = tmp_path / "small", tmp_path / "big"
    small.write_bytes(os.urandom(5000))
    big.write_bytes(os.urandom(11 * MIB + 1))
    for path in (small, big):
        sent = s5cmd(store, "cp", "--raw", "-p", "5", str(path), f"s3://{bucket}/to/{path.name}")
        assert sent.returncode == 0, sent.stderr
        fetched = s5cmd(store, "cp", "--raw", "-p", "5", f"s3://{bucket}/to/{path.name}", str(tmp_path / "back"))
        assert fetched.returncode == 0, fetched.stderr
        assert (tmp_path / "back").read_bytes() == path.read_bytes()
    assert store.head(bucket, "to/big")["parts"] == [5 * MIB, 5 * MIB, MIB + 1]
    listed = s5cmd(store, "ls", f"s3://{bucket}/to/*")
    assert [line.split()[-1] for line in listed.stdout.splitlines()] == ["big", "small"]
