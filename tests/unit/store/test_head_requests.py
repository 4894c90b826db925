# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often the reason for rejected HEADs is requested. The HEADs themselves are tested in test_client.py."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_store import Close, ScriptedStore, error, reply

from snowsync.config.credentials import Credentials
from snowsync.config.job_file import Store
from snowsync.store.encodings import Packing
from snowsync.store.get_requests import GetRequests
from snowsync.store.handle_pool import HandleMaker, HandlePool
from snowsync.store.head_requests import HeadReasons
from snowsync.store.signed_requests import SignedRequests
from snowsync.store.timeouts import Patience

CREDENTIALS = Credentials("AKIATEST", "secret", "", Path("file"), "default")


pytestmark = pytest.mark.usefixtures("no_proxies")


@pytest.fixture
def store() -> Iterator[ScriptedStore]:
    with ScriptedStore(lambda asked: error(403, "AccessDenied")).running() as running:
        yield running


@pytest.fixture
def reasons(store: ScriptedStore) -> Iterator[HeadReasons]:
    described = Store(bucket="bucket", endpoints=(store.url,))
    pool = HandlePool(HandleMaker(described, store.url, 30, 30), 1, None)
    requests = SignedRequests(described, store.url, CREDENTIALS, Packing())
    yield HeadReasons(GetRequests(pool, requests, Patience(30, 30)))
    pool.close()


def test_a_reason_is_requested_once_in_a_while_for_each_status(
    store: ScriptedStore, reasons: HeadReasons, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr("snowsync.store.head_requests.time.monotonic", lambda: now)
    assert b"AccessDenied" in reasons.of("a", 403, None)
    assert b"AccessDenied" in reasons.of("b", 403, None)
    assert len(store.asked) == 1
    assert store.asked[0].headers["range"] == "bytes=0-0"
    assert reasons.of("b", 401, None) == b"", "the GET was rejected for another reason"
    assert len(store.asked) == 2
    now += 6
    assert b"AccessDenied" in reasons.of("c", 403, None)
    assert [asked.key for asked in store.asked] == ["a", "b", "c"]


@pytest.mark.parametrize("status", [404, 412, 500, 503])
def test_a_status_that_says_everything_is_not_looked_into(
    status: int, store: ScriptedStore, reasons: HeadReasons
) -> None:
    assert reasons.of("k", status, None) == b""
    assert store.asked == []


@pytest.mark.parametrize("answer", [reply(200, "readable"), Close()])
def test_there_may_be_no_reason(answer: bytes | Close, store: ScriptedStore, reasons: HeadReasons) -> None:
    store.script = lambda asked: answer
    assert reasons.of("k", 403, None) == b""
