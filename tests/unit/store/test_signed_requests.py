# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests as they are sent: where they go, what is signed, which encoding is welcome, and keys that are renewed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from snowsync.config.credentials import Credentials
from snowsync.config.job_file import Store
from snowsync.core.errors import StoreError, Trouble
from snowsync.store.curl import Transfer, libcurl
from snowsync.store.encodings import PACKED, Packing
from snowsync.store.signed_requests import SignedRequests, with_current_keys

CREDENTIALS = Credentials("AKIATEST", "secret", "", Path("file"), "default")


class Recorded(Transfer):
    """A handle that only notes what it would request."""

    def __init__(self) -> None:
        super().__init__(libcurl().Curl())
        self.url = ""
        self.lines: dict[str, str] = {}

    def begin(self, url: str, header_lines: list[str]) -> None:
        self.url = url
        self.lines = dict(line.split(": ", 1) for line in header_lines)


@pytest.fixture
def packing() -> Packing:
    return Packing()


@pytest.fixture
def requests(packing: Packing) -> SignedRequests:
    return SignedRequests(Store(bucket="bucket"), "http://host:9", CREDENTIALS, packing)


def test_an_object_is_requested_with_the_encoding_that_is_welcome(requests: SignedRequests, packing: Packing) -> None:
    sent = Recorded()
    requests.begin_object(sent, "GET", "a b", "partNumber=1", ("range: bytes=0-0",))
    assert sent.url == "http://host:9/bucket/a%20b?partNumber=1"
    assert (sent.lines["accept-encoding"], sent.lines["range"]) == ("identity", "bytes=0-0")
    assert "range" not in sent.lines["authorization"]
    packing.welcome = PACKED
    requests.begin_object(sent, "HEAD", "a b")
    assert sent.url == "http://host:9/bucket/a%20b"
    assert sent.lines["accept-encoding"] == PACKED


def test_what_is_no_object_is_requested_without_an_encoding(requests: SignedRequests, packing: Packing) -> None:
    packing.welcome = PACKED
    sent = Recorded()
    requests.begin_bucket(sent, "GET", "list-type=2")
    assert (sent.url, sent.lines["accept-encoding"]) == ("http://host:9/bucket?list-type=2", "identity")
    assert "x-amz-checksum-mode" not in sent.lines
    requests.begin_head_with_checksums(sent, "k")
    assert (sent.url, sent.lines["accept-encoding"]) == ("http://host:9/bucket/k", "identity")
    assert sent.lines["x-amz-checksum-mode"] == "ENABLED"


class Renewed:
    """Keys of which others count as often as `times` when somebody looks."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.credentials = CREDENTIALS

    def current(self) -> Credentials:
        return self.credentials

    def look(self) -> bool:
        if not self.times:
            return False
        self.times -= 1
        self.credentials = replace(CREDENTIALS, access_key=f"AKIA{self.times}")
        return True

    def may_change(self) -> bool:
        return False


@pytest.mark.parametrize(("times", "trouble", "asked"), [(2, Trouble.CREDENTIAL, 3), (2, Trouble.DENIED, 1)])
def test_a_request_is_repeated_as_long_as_keys_are_renewed(times: int, trouble: Trouble, asked: int) -> None:
    count = 0

    def ask() -> None:
        nonlocal count
        count += 1
        raise StoreError(trouble, "ask", "no")

    with pytest.raises(StoreError):
        with_current_keys(Renewed(times), ask)
    assert count == asked


def test_a_request_that_succeeds_is_made_once() -> None:
    assert with_current_keys(Renewed(1), lambda: "answer") == "answer"
