# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of botocore's clients are used again, whose headers an upload gets, and what becomes of their exceptions."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from fake_keys import GivenKeys

from snowsync.config.credentials import Credentials
from snowsync.config.job_file import Store
from snowsync.core.errors import StoreError, Trouble
from snowsync.store.boto_endpoint import BotoEndpoint, ClientMaker, UploadHeaders
from snowsync.store.connections import Turns
from snowsync.store.encodings import Packing
from snowsync.store.timeouts import Asked, Patience
from snowsync.store.upload_bodies import Section

CREDENTIALS = Credentials("AKIATEST", "secret", "", Path("file"), "default")
STORE = Store(bucket="bucket", list_version="v1")


class Client:
    def __init__(self, attempts: int, answer_seconds: float, credentials: Credentials) -> None:
        self.made_with = (attempts, answer_seconds, credentials.access_key)
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Maker(ClientMaker):
    """It makes clients without botocore."""

    def __init__(self) -> None:
        super().__init__(STORE, "http://host:9", 1.0, 1, Packing(), UploadHeaders())

    def make(self, attempts: int, answer_seconds: float, credentials: Credentials) -> Client:
        return Client(attempts, answer_seconds, credentials)


@pytest.fixture
def keys() -> GivenKeys:
    return GivenKeys(CREDENTIALS)


@pytest.fixture
def endpoint(keys: GivenKeys) -> BotoEndpoint:
    return BotoEndpoint(STORE, Maker(), keys, 3, Patience(10, 20), Turns(1))


def test_a_client_is_used_again_for_the_same_kind_of_request(endpoint: BotoEndpoint) -> None:
    head, put = endpoint.client(), endpoint.client(Asked.PUT)
    once = endpoint.client(Asked.PUT, attempts=1)
    assert head.made_with == (3, 10, "AKIATEST")
    assert put.made_with == (3, 20, "AKIATEST")
    assert once.made_with == (1, 20, "AKIATEST")
    assert endpoint.client(Asked.PUT) is put


def test_the_others_keep_no_idle_connections(endpoint: BotoEndpoint) -> None:
    head, put = endpoint.client(), endpoint.client(Asked.PUT)
    assert (head.closed, put.closed) == (1, 0)
    endpoint.client()
    assert (head.closed, put.closed) == (1, 1)


def test_a_client_is_made_anew_for_renewed_credentials(endpoint: BotoEndpoint, keys: GivenKeys) -> None:
    before = endpoint.client()
    keys.now = replace(CREDENTIALS, access_key="AKIANEW")
    after = endpoint.client()
    assert after is not before
    assert after.made_with == (3, 10, "AKIANEW")
    assert endpoint.client() is after


def test_an_exception_becomes_an_error_that_names_the_action(endpoint: BotoEndpoint) -> None:
    with pytest.raises(StoreError, match="Failed to tag it: the connection broke") as caught, endpoint.errors("tag it"):
        raise ConnectionResetError("reset")
    assert caught.value.trouble is Trouble.BROKEN
    refused = StoreError(Trouble.DENIED, "look", "no")
    with pytest.raises(StoreError) as passed, endpoint.errors("tag it"):
        raise refused
    assert passed.value is refused


def test_a_file_that_cannot_be_read_is_no_failure_of_the_network(endpoint: BotoEndpoint) -> None:
    section = Section(-1, 0, 1)
    section.error = OSError(5, "Input/output error")
    with pytest.raises(OSError) as caught, endpoint.errors("send it", section):
        raise ConnectionResetError("what botocore makes of it")
    assert caught.value is section.error


def test_each_thread_has_the_headers_of_its_own_upload() -> None:
    headers = UploadHeaders()
    headers.set({"x-amz-meta-a": "mine"})
    failures: list[str] = []

    def other() -> None:
        headers.set({"x-amz-meta-a": "other"})
        params = {"headers": {"b": "1"}}
        headers.add_to(params, model=None)
        if params["headers"] != {"b": "1", "x-amz-meta-a": "other"}:
            failures.append(str(params))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    params: dict[str, dict[str, str]] = {"headers": {}}
    headers.add_to(params)
    assert (params["headers"], failures) == ({"x-amz-meta-a": "mine"}, [])
