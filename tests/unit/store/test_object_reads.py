# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that a store decompresses are read once more, and nothing of the first response reaches the reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted_store import Asked, ScriptedStore, reply

from snowsync.config.credentials import Credentials
from snowsync.config.job_file import Store
from snowsync.core.errors import StoreError, Trouble
from snowsync.core.model import Head, Headers
from snowsync.store.client import StoreClient
from snowsync.store.encodings import PACKED, PLAIN, UNPACKED, Packing

CREDENTIALS = Credentials("AKIATEST", "secret", "", Path("file"), "default")
STORED = Head(200, 4, "e", 0, Headers())
LONGER = "decompressed"


pytestmark = pytest.mark.usefixtures("no_proxies")


@pytest.fixture
def store() -> Iterator[ScriptedStore]:
    """It sends the stored bytes only to who accepts gzip."""

    def script(asked: Asked) -> bytes:
        return reply(200, "gzip" if asked.headers["accept-encoding"] == PACKED else LONGER, ETag='"e"')

    with ScriptedStore(script).running() as running:
        yield running


@pytest.fixture
def packing() -> Packing:
    return Packing()


@pytest.fixture
def client(store: ScriptedStore, packing: Packing) -> Iterator[StoreClient]:
    client = StoreClient(Store(bucket="bucket", endpoints=(store.url,)), store.url, CREDENTIALS, packing=packing)
    yield client
    client.close()


def test_an_object_is_read_as_it_is_stored(store: ScriptedStore, client: StoreClient, packing: Packing) -> None:
    for requests in (2, 3):  # from then on with the encoding that helped
        got = bytearray()
        assert client.get("k", got.extend, stored=STORED).size == 4
        assert (bytes(got), packing.welcome, len(store.asked)) == (b"gzip", PACKED, requests)


def test_an_object_that_is_decompressed_whatever_is_accepted(store: ScriptedStore, client: StoreClient) -> None:
    store.script = lambda asked: reply(200, LONGER, ETag='"e"')
    got = bytearray()
    with pytest.raises(StoreError, match="got 12 bytes, 4 are stored") as caught:
        client.get("k", got.extend, stored=STORED)
    assert (caught.value.trouble, got, len(store.asked)) == (Trouble.UNSUPPORTED, b"", 2)
    with pytest.raises(StoreError):
        client.get("k", got.extend, stored=STORED)
    assert len(store.asked) == 3, "another encoding does not help, and is not tried again"


def test_without_a_length_it_is_found_out_at_the_end(
    store: ScriptedStore, client: StoreClient, packing: Packing
) -> None:
    store.script = lambda asked: (
        b'HTTP/1.1 200 OK\r\nETag: "e"\r\ntransfer-encoding: chunked\r\n\r\n6\r\nlonger\r\n0\r\n\r\n'
    )
    with pytest.raises(StoreError) as caught:
        client.get("k", lambda chunk: None, stored=STORED)
    assert (caught.value.trouble, caught.value.code) == (Trouble.BROKEN, UNPACKED)
    assert packing.welcome == PACKED


def test_without_a_description_every_response_is_taken(client: StoreClient, packing: Packing) -> None:
    assert client.get("k", lambda chunk: None).size == len(LONGER)
    assert packing.welcome == PLAIN


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_headers_are_those_of_a_get_of_one_byte(store: ScriptedStore, client: StoreClient, knows_ranges: bool) -> None:
    part = reply(206, "g", ETag='"e"', content_range="bytes 0-0/1000000")
    store.script = lambda asked: part if knows_ranges else reply(200, b"g" * 1_000_000, ETag='"e"')
    head = client.head_by_get("k")
    assert (head.size, head.etag, store.asked[0].headers["range"]) == (1_000_000, "e", "bytes=0-0")
