# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which responses to a GET are about the listed object."""

from __future__ import annotations

from typing import Any

import pytest
from fake_keys import credentials

from snowsync.config.job_file import Store
from snowsync.core.errors import StoreError, Trouble
from snowsync.core.model import Fetch
from snowsync.movers.native.expected_response import ExpectedResponse, RangesIgnored
from snowsync.movers.native.requests import Bucket
from snowsync.store.encodings import PACKED, PLAIN
from snowsync.store.timeouts import Patience

ETAG = "0123456789abcdef0123456789abcdef"
WORK = Fetch(1, "key", 100, "/file", ETAG)


@pytest.fixture
def bucket() -> Bucket:
    return Bucket(Store(bucket="bucket", endpoints=["http://host"]), "http://host/", credentials("access"), Patience())


def block(status: int = 200, **headers: Any) -> bytes:
    given = {"content_length": 100, "etag": f'"{ETAG}"'} | headers
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items() if value is not None]
    return "\r\n".join([f"HTTP/1.1 {status} Status", *lines, "", ""]).encode()


def test_a_response_about_the_listed_object_is_accepted(bucket: Bucket) -> None:
    expected = ExpectedResponse(bucket, WORK, 100)
    assert expected.is_whole
    assert expected.welcomed == PLAIN
    head = expected.head_of(block())
    assert head and (head.size, head.etag) == (100, ETAG)


@pytest.mark.parametrize("status", [301, 403, 404, 503])
def test_a_refusal_says_nothing_about_the_object(bucket: Bucket, status: int) -> None:
    assert ExpectedResponse(bucket, WORK, 100).head_of(block(status)) is None


@pytest.mark.parametrize("headers", [{"content_length": 99}, {"etag": '"fedcba9876543210fedcba9876543210"'}])
def test_an_object_that_is_not_the_listed_one_has_changed(bucket: Bucket, headers: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="were listed") as caught:
        ExpectedResponse(bucket, WORK, 100).head_of(block(**headers))
    assert caught.value.trouble is Trouble.CHANGED
    assert "fetch s3://bucket/key from http://host:" in str(caught.value)


def test_a_range_is_of_the_whole_object(bucket: Bucket) -> None:
    expected = ExpectedResponse(bucket, WORK, 10)
    assert not expected.is_whole
    assert expected.head_of(block(206, content_length=10, content_range="bytes 0-9/100"))
    with pytest.raises(StoreError) as caught:
        expected.head_of(block(206, content_length=10, content_range="bytes 0-9/90"))
    assert caught.value.trouble is Trouble.CHANGED


def test_a_store_without_ranges_is_told_apart(bucket: Bucket) -> None:
    with pytest.raises(RangesIgnored) as caught:
        ExpectedResponse(bucket, WORK, 10).head_of(block())
    assert (caught.value.trouble, caught.value.status) == (Trouble.UNSUPPORTED, 200)


def test_a_decompressed_object_is_requested_with_its_encoding_once(bucket: Bucket) -> None:
    with pytest.raises(StoreError) as caught:
        ExpectedResponse(bucket, WORK, 100).head_of(block(content_length=300))
    assert caught.value.trouble is Trouble.BROKEN, "it is retried"
    again = ExpectedResponse(bucket, WORK, 100)
    assert again.welcomed == PACKED
    with pytest.raises(StoreError, match="decompresses") as caught:
        again.head_of(block(content_length=300))
    assert caught.value.trouble is Trouble.UNSUPPORTED


@pytest.mark.parametrize(
    ("headers", "length", "trouble"),
    [
        ({"content_length": None}, 100, Trouble.BROKEN),  # it gave no length: it may have been decompressed
        ({"content_length": 10, "content_range": "bytes 0-9/100"}, 10, Trouble.SERVER),
    ],
)
def test_a_response_that_does_not_end_is_an_error(
    bucket: Bucket, headers: dict[str, Any], length: int, trouble: Trouble
) -> None:
    expected = ExpectedResponse(bucket, WORK, length)
    head = expected.head_of(block(200 if length == 100 else 206, **headers))
    assert head
    assert expected.too_long(length + 1, head).trouble is trouble
