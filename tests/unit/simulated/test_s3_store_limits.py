# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores that are not AWS: the simulated Snowball adapter, other ETags, unsorted listings."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from simulators.boto_client import client_of
from simulators.s3_store import RunningStore, start

BODY = bytes(range(256)) * 1024


# -- the Snowball adapter ------------------------------------------------------------------------------------------


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[RunningStore]:
    with start(tmp_path / "adapter", adapter=True) as running:
        yield running


def test_the_adapter_lists_everything_at_once_in_no_order(adapter: RunningStore) -> None:
    keys = [f"key-{number * 7 % 1100:04d}" for number in range(1100)]
    for key in keys:
        adapter.put("bucket", key)
    s3 = client_of(adapter)
    listed = s3.list_objects(Bucket="bucket", MaxKeys=10, Marker="key-0500", Delimiter="-")
    assert not listed["IsTruncated"]
    assert [entry["Key"] for entry in listed["Contents"]] == keys != sorted(keys)
    with pytest.raises(ClientError, match="NotImplemented"):
        s3.list_objects_v2(Bucket="bucket")


def test_a_multipart_upload_to_the_adapter_deletes_the_object_first(adapter: RunningStore) -> None:
    adapter.put("bucket", "key", b"good copy")
    client_of(adapter).create_multipart_upload(Bucket="bucket", Key="key")
    assert adapter.list("bucket") == {}


def test_what_the_adapter_lacks(adapter: RunningStore) -> None:
    s3 = client_of(adapter)
    s3.put_object(Bucket="bucket", Key="k" * 933)
    with pytest.raises(ClientError, match="KeyTooLongError"):
        s3.put_object(Bucket="bucket", Key="k" * 934)
    lacking: list[tuple[Any, dict[str, Any]]] = [
        (s3.copy_object, {"Key": "copy", "CopySource": "bucket/key"}),
        (s3.get_object_tagging, {"Key": "key"}),
        (s3.put_object, {"Key": "key", "Tagging": "a=b"}),
        (s3.delete_objects, {"Delete": {"Objects": [{"Key": "key"}]}}),
        (s3.list_parts, {"Key": "key", "UploadId": "any"}),
        (s3.create_bucket, {}),
    ]
    for call, options in lacking:
        with pytest.raises(ClientError, match="NotImplemented"):
            call(Bucket="bucket", **options)
    assert s3.head_bucket(Bucket="bucket")["ResponseMetadata"]["HTTPHeaders"]["server"] == "AWSSnowball"


def test_the_adapter_refuses_aws_chunked(tmp_path: Path) -> None:
    """boto3 sends its default checksum that way over HTTPS."""
    with start(tmp_path, adapter=True, tls=True) as store:
        with pytest.raises(ClientError, match="NotImplemented"):
            client_of(store).put_object(Bucket="bucket", Key="key", Body=b"x", ChecksumAlgorithm="CRC32")
        client_of(store, request_checksum_calculation="when_required").put_object(Bucket="bucket", Key="key", Body=b"x")


@pytest.mark.parametrize(
    ("switch", "shape"), [({"multipart_etag": "whole"}, 32), ({"multipart_etag": "kms"}, 34), ({"etag": "opaque"}, 27)]
)
def test_stores_with_other_multipart_etags(tmp_path: Path, switch: dict[str, Any], shape: int) -> None:
    with start(tmp_path, complete_etag=False, **switch) as store:
        s3 = client_of(store)
        upload_id = s3.create_multipart_upload(Bucket="bucket", Key="key")["UploadId"]
        part = s3.upload_part(Bucket="bucket", Key="key", UploadId=upload_id, PartNumber=1, Body=BODY)
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        done = s3.complete_multipart_upload(Bucket="bucket", Key="key", UploadId=upload_id, MultipartUpload=parts)
        assert done["ETag"] == ""
        etag = store.list("bucket")["key"]
        assert len(etag) == shape
        assert (etag == hashlib.md5(BODY).hexdigest()) == (switch == {"multipart_etag": "whole"})
        assert etag != f"{hashlib.md5(hashlib.md5(BODY).digest()).hexdigest()}-1"


@pytest.mark.parametrize("compares", [True, False])
def test_a_store_that_compares_no_md5_keeps_what_came(tmp_path: Path, compares: bool) -> None:
    wrong = base64.b64encode(hashlib.md5(b"other bytes").digest()).decode()
    with start(tmp_path, content_md5=compares) as store:
        with contextlib.nullcontext() if not compares else pytest.raises(ClientError, match="BadDigest"):
            client_of(store).put_object(Bucket="bucket", Key="key", Body=BODY, ContentMD5=wrong)
        assert set(store.list("bucket")) == ({"key"} if not compares else set())


def test_an_unsorted_listing_in_pages_is_complete(tmp_path: Path) -> None:
    with start(tmp_path, list_sorted=False) as store:
        keys = [f"key-{number:02d}" for number in range(25)]
        for key in keys:
            store.put("bucket", key)
        pages = client_of(store).get_paginator("list_objects_v2")
        shown = [
            entry["Key"]
            for page in pages.paginate(Bucket="bucket", PaginationConfig={"PageSize": 4})
            for entry in page["Contents"]
        ]
        assert sorted(shown) == keys != shown


def test_unknown_switches_are_refused(adapter: RunningStore) -> None:
    for values in ({"colour": 1}, {"key_limit": "long"}):
        with pytest.raises(ValueError, match="switch"):
            adapter.set_switches(**values)
