# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refusals name the option of the job file that helps, whichever client met them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_store import ScriptedStore, reply

from snowsync.config.credentials import Credentials
from snowsync.config.job_file import Store
from snowsync.core.errors import StoreError
from snowsync.store.boto_client import Control
from snowsync.store.client import StoreClient

CREDENTIALS = Credentials("AKIATEST", "secret", "", Path("file"), "default")
PAGE = "<html><title>404 Not Found</title></html>"


def told(code: str, *more: str, message: str = "m") -> str:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message>{"".join(more)}</Error>'


@pytest.fixture
def store() -> Iterator[ScriptedStore]:
    with ScriptedStore(lambda asked: reply(404)).running() as running:
        yield running


def by_wire(described: Store, url: str) -> None:
    StoreClient(described, url, CREDENTIALS).list_page(None)


def by_boto3(described: Store, url: str) -> None:
    Control(described, url, CREDENTIALS, attempts=1).check()


Client = Callable[[Store, str], None]
CLIENTS = pytest.mark.parametrize("client", [by_wire, by_boto3])


def words(client: Client, store: ScriptedStore, answer: bytes, **options: Any) -> str:
    store.script = lambda asked: answer
    described = Store(bucket="bucket", endpoints=(store.url,), region="us-east-1", **options)
    with pytest.raises(StoreError) as refusal:
        client(described, store.url)
    return str(refusal.value)


REGION = "reports region 'eu-west-1', this job has 'us-east-1': correct `region`"
ENDPOINT = "<Endpoint>b.s3.eu-west-1.example</Endpoint>"
NAMED = ": the store names 'b.s3.eu-west-1.example' (if it starts with the bucket name, remove that part and set"


@CLIENTS
@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (
            reply(301, "", Location="https://else.example/b"),
            "it redirects to 'https://else.example/b', which is not followed",
        ),
        (reply(301, "", x_amz_bucket_region="eu-west-1"), REGION),
        (reply(301, ""), "a redirect without a target; check `region` and `endpoints`"),
        (reply(308, ""), "a redirect without a target; check `region` and `endpoints`"),
        (reply(301, told("PermanentRedirect", ENDPOINT)), NAMED),
        (reply(301, told("PermanentRedirect", ENDPOINT), x_amz_bucket_region="eu-west-1"), REGION),
        (reply(301, told("PermanentRedirect", ENDPOINT), x_amz_bucket_region="eu-west-1"), NAMED),
        (reply(307, told("TemporaryRedirect", ENDPOINT), Location="https://b.s3.eu-west-1.example/"), NAMED),
        (reply(400, told("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>")), REGION),
        (reply(400, told("AuthorizationHeaderMalformed", message="is wrong; expecting 'eu-west-1'")), REGION),
        (reply(400, told("AuthorizationHeaderMalformed")), "this job has 'us-east-1': correct `region`"),
        (reply(400, told("IllegalLocationConstraintException")), "check `region` and `endpoints`"),
        (
            reply(404, told("NoSuchBucket")),
            "check `bucket` and `endpoints`; if the store requires the bucket name before",
        ),
        (reply(501, told("NotImplemented")), "set `list_version: v1`"),
        (reply(405, told("MethodNotAllowed")), "set `list_version: v1`"),
        (reply(400, told("InvalidArgument")), "set `list_version: v1`"),
        (reply(404, told("NoSuchKey")), "set `list_version: v1`"),
    ],
)
def test_an_option_is_named(client: Client, store: ScriptedStore, answer: bytes, wanted: str) -> None:
    assert wanted in words(client, store, answer)


@pytest.mark.parametrize(
    ("options", "answer", "wanted"),
    [
        ({}, reply(404, PAGE), "set `addressing: virtual`"),
        ({}, reply(400, PAGE), "set `addressing: virtual`"),
        ({"list_version": "v1"}, reply(501, told("NotImplemented")), "set `list_version: v2`"),
        (
            {},
            reply(200, "<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>"),
            "the store did not see the bucket name; set `addressing: path`",
        ),
    ],
)
def test_an_option_is_named_for_what_is_no_refusal(
    store: ScriptedStore, options: dict[str, Any], answer: bytes, wanted: str
) -> None:
    assert wanted in words(by_wire, store, answer, **options)


@CLIENTS
@pytest.mark.parametrize(
    "answer",
    [reply(403, told("SignatureDoesNotMatch")), reply(403, told("AccessDenied")), reply(500, told("InternalError"))],
)
def test_no_option_is_named_where_none_helps(client: Client, store: ScriptedStore, answer: bytes) -> None:
    assert "`" not in words(client, store, answer)
