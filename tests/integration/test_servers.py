# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stores themselves: each works, and is odd exactly where `Store.quirks` says so, in both directions.

What the engine's tests expect of a store rests on this.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, SSLError
from servers import Store
from servers.client import s3_client

MIB = 1024 * 1024
PARTS = [b"a" * (5 * MIB), b"b" * (5 * MIB), b"c" * 1000]
WHOLE = b"".join(PARTS)
NOT_IMPLEMENTED = 501


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def etag_of(answer: dict[str, Any]) -> str:
    return answer["ETag"].strip('"')


def status_of(answer: dict[str, Any]) -> int:
    return answer["ResponseMetadata"]["HTTPStatusCode"]


def refusal(call: Callable[..., Any], **arguments: Any) -> int | None:
    """The status with which the store refuses, None when it does not."""
    try:
        call(**arguments)
    except ClientError as error:
        return status_of(error.response)
    return None


@pytest.fixture(scope="module")
def bucket(client: Any, store: Store) -> str:
    name = f"servers-{store.name}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="module")
def completed(client: Any, bucket: str) -> dict[str, Any]:
    """The answer to CompleteMultipartUpload of the object `multipart`, made of PARTS."""
    upload = client.create_multipart_upload(Bucket=bucket, Key="multipart")["UploadId"]
    place = {"Bucket": bucket, "Key": "multipart", "UploadId": upload}
    parts = [
        {"PartNumber": number, "ETag": client.upload_part(**place, PartNumber=number, Body=part)["ETag"]}
        for number, part in enumerate(PARTS, 1)
    ]
    return client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})


def test_an_object_comes_back(store: Store, client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="folder/objekt č.txt", Body=b"content", Metadata={"colour": "blue"})
    answer = client.get_object(Bucket=bucket, Key="folder/objekt č.txt")
    assert answer["Body"].read() == b"content"
    assert answer["Metadata"] == ({"Colour": "blue"} if "metadata_case" in store.quirks else {"colour": "blue"})
    assert etag_of(answer) == md5(b"content")
    listed = client.list_objects_v2(Bucket=bucket, Prefix="folder/")["Contents"]
    assert [(entry["Key"], entry["Size"], etag_of(entry)) for entry in listed] == [
        ("folder/objekt č.txt", 7, md5(b"content"))
    ]


def test_new_buckets_are_empty_and_different(client: Any, new_bucket: Callable[[], str]) -> None:
    names = {new_bucket(), new_bucket()}
    assert len(names) == 2
    assert all("Contents" not in client.list_objects_v2(Bucket=name) for name in names)


def test_a_wrong_secret_is_refused(store: Store, bucket: str) -> None:
    stranger = s3_client(replace(store, secret_key="wrong"))
    assert refusal(stranger.list_objects_v2, Bucket=bucket) == 403


def test_the_credentials_file_is_private_and_right(store: Store) -> None:
    assert stat.S_IMODE(os.stat(store.credentials_file).st_mode) == 0o600
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(store.credentials_file)
    assert dict(ini["default"]) == {
        "aws_access_key_id": store.access_key,
        "aws_secret_access_key": store.secret_key,
    }


def test_only_the_given_authority_is_trusted(store: Store) -> None:
    assert store.url.startswith("https:") == (store.ca_bundle is not None)
    if store.ca_bundle is None:
        return
    assert len(ssl.create_default_context(cafile=store.ca_bundle).get_ca_certs()) > 0
    with pytest.raises(SSLError):
        s3_client(replace(store, ca_bundle=None)).list_buckets()


def test_the_secret_is_in_no_argument_list(store: Store) -> None:
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as stream:
                assert store.secret_key.encode() not in stream.read()
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_no_prefix_clash(store: Store, client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="clash", Body=b"file")
    refused = refusal(client.put_object, Bucket=bucket, Key="clash/below", Body=b"below")
    assert (refused is not None) == ("no_prefix_clash" in store.quirks)
    assert client.get_object(Bucket=bucket, Key="clash")["Body"].read() == b"file"


def test_multipart_etag_plain(store: Store, client: Any, bucket: str, completed: dict[str, Any]) -> None:
    of_parts = md5(b"".join(hashlib.md5(part).digest() for part in PARTS)) + "-3"
    expected = md5(WHOLE) if "multipart_etag_plain" in store.quirks else of_parts
    assert etag_of(client.head_object(Bucket=bucket, Key="multipart")) == expected
    assert etag_of(client.list_objects_v2(Bucket=bucket, Prefix="multipart")["Contents"][0]) == expected


def test_no_complete_etag(store: Store, completed: dict[str, Any]) -> None:
    of_parts = md5(b"".join(hashlib.md5(part).digest() for part in PARTS)) + "-3"
    assert etag_of(completed) == ("" if "no_complete_etag" in store.quirks else of_parts)


def test_no_part_number(store: Store, client: Any, bucket: str, completed: dict[str, Any]) -> None:
    head = client.head_object(Bucket=bucket, Key="multipart", PartNumber=1)
    seen = (status_of(head), head["ContentLength"], head.get("PartsCount"))
    assert seen == ((200, len(WHOLE), None) if "no_part_number" in store.quirks else (206, len(PARTS[0]), 3))


def test_range_status_200(store: Store, client: Any, bucket: str, completed: dict[str, Any]) -> None:
    answer = client.get_object(Bucket=bucket, Key="multipart", Range=f"bytes={5 * MIB - 2}-{5 * MIB + 1}")
    assert answer["Body"].read() == b"aabb"
    assert status_of(answer) == (200 if "range_status_200" in store.quirks else 206)


def test_a_range_past_the_end_is_refused(client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="short", Body=b"short")
    assert refusal(client.get_object, Bucket=bucket, Key="short", Range="bytes=5-") == 416


def test_if_match_ignored(store: Store, client: Any, bucket: str) -> None:
    etag = client.put_object(Bucket=bucket, Key="matched", Body=b"x")["ETag"]
    assert refusal(client.get_object, Bucket=bucket, Key="matched", IfMatch=etag) is None
    refused = refusal(client.get_object, Bucket=bucket, Key="matched", IfMatch=f'"{md5(b"other")}"')
    assert refused == (None if "if_match_ignored" in store.quirks else 412)


def test_if_none_match_ignored(store: Store, client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="taken", Body=b"x")
    refused = refusal(client.put_object, Bucket=bucket, Key="taken", Body=b"y", IfNoneMatch="*")
    assert refused == (None if "if_none_match_ignored" in store.quirks else 412)


def test_no_part_replaced(store: Store, client: Any, bucket: str) -> None:
    upload = client.create_multipart_upload(Bucket=bucket, Key="again")["UploadId"]
    part = {"Bucket": bucket, "Key": "again", "UploadId": upload, "PartNumber": 1}
    first = [refusal(client.upload_part, **part, Body=body) for body in (b"part", b"part")]
    assert first == [None, None]
    replaced = refusal(client.upload_part, **part, Body=b"other")
    assert replaced == (NOT_IMPLEMENTED if "no_part_replaced" in store.quirks else None)
    client.abort_multipart_upload(Bucket=bucket, Key="again", UploadId=upload)


def test_no_tags(store: Store, client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="tagged", Body=b"x")
    tags = [{"Key": "colour", "Value": "blue"}]
    refused = refusal(client.put_object_tagging, Bucket=bucket, Key="tagged", Tagging={"TagSet": tags})
    assert refused == (NOT_IMPLEMENTED if "no_tags" in store.quirks else None)
    if refused is None:
        assert client.get_object_tagging(Bucket=bucket, Key="tagged")["TagSet"] == tags


def test_no_trailer(store: Store, bucket: str) -> None:
    usual = s3_client(store, request_checksum_calculation="when_supported")
    refused = refusal(usual.put_object, Bucket=bucket, Key="trailer", Body=b"body")
    assert refused == (411 if "no_trailer" in store.quirks else None)


def test_a_wrong_md5_is_refused(client: Any, bucket: str) -> None:
    # The MD5 of something else, in base64.
    wrong = "1B2M2Y8AsgTpgAmY7PhCfg=="
    assert refusal(client.put_object, Bucket=bucket, Key="digest", Body=b"body", ContentMD5=wrong) == 400


def test_crc_unchecked(store: Store, client: Any, bucket: str) -> None:
    refused = refusal(client.put_object, Bucket=bucket, Key="crc", Body=b"body", ChecksumCRC32="AAAAAA==")
    assert refused == (None if "crc_unchecked" in store.quirks else 400)


def test_servers_run_from_a_shell_until_they_are_told_to_stop(tmp_path: Path) -> None:
    ready = tmp_path / "stores.json"
    argv = [sys.executable, "-m", "servers", "rclone-https", "--ready", str(ready)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    with subprocess.Popen(argv, env=environment) as process:
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.05)
        assert stat.S_IMODE(ready.stat().st_mode) == 0o600
        (described,) = json.loads(ready.read_text())
        store = Store(**{**described, "quirks": frozenset(described["quirks"])})
        assert s3_client(store).list_buckets()["Buckets"] == []
        process.terminate()
        assert process.wait() == 0
    assert not ready.exists()
    assert not Path(store.credentials_file).exists()
