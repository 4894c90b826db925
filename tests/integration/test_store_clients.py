# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both clients of the engine against real stores, over HTTP and HTTPS: signatures, keys, headers, parts, refusals."""

from __future__ import annotations

import hashlib
import os
import time
import unicodedata
from collections.abc import Callable, Iterator
from email.header import decode_header, make_header
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import servers

from snowsync.config import credentials
from snowsync.config.credentials import Credentials
from snowsync.config.job_file import Store
from snowsync.core.errors import JobStopped, StoreError, Trouble
from snowsync.core.header_text import dump_headers
from snowsync.core.model import MIB, Fetch, Head, Headers, ListedObject, Send
from snowsync.store.boto_client import Control
from snowsync.store.client import StoreClient

HOSTILE_KEYS = [
    *(" lead", "trail ", " both ", "it's", 'double"quote', "back`tick", "$(x)", "a;b", "st*r", "q?m", "ha#sh", "[]"),
    *("{}", "back\\slash", "new\nline", "c\rr", "t\tab", "c\x01ntrol", "del\x7f", "nb\u00a0sp", "\U0001f600", "\ufffe"),
    *(unicodedata.normalize(form, "Ünï/cødé") for form in ("NFC", "NFD")),
    *("/lead", "//lead", "d//e", "trail/", "trail//", ".", "..", "./x", "../x", "x/./y", "x/../y", "x/..", "x/."),
    *("pl+us", "%41", "%", "%2F", "am&p", "e=q", "a=b&c=d", "-x", "--raw", "s3://in/key", "<x>", "~", "c:|", "a@b,c"),
    *(
        "a",
        "a/b",
        "Case",
        "case",
        "x.c",
        "x.001",
        "x?versionId=1",
        "x?list-type=2",
        " ",
        "+",
        "?",
        "#",
        "&",
        "=",
        "é" * 512,
    ),
    *("k" * 1024, "p/" * 512, "k" * 255 + "/" + "k" * 255),
]


def refused_by(store: servers.Store, key: str) -> bool:
    """Keys become paths of a filesystem in rclone; the other stores take every key."""
    if not store.name.startswith("rclone"):
        return False
    segments = key.removesuffix("/").split("/")
    return key == "a/b" or any(part in ("", ".", "..") or len(part.encode()) > 255 for part in segments)


def spoiled_by(store: servers.Store, key: str) -> bool:
    """rclone drops a slash at the end, and takes two forms of one name for one."""
    decomposed = unicodedata.normalize("NFC", key) != key
    return store.name.startswith("rclone") and (key.endswith("/") or decomposed)


def keys_for(store: servers.Store) -> list[str]:
    return [key for key in HOSTILE_KEYS if not refused_by(store, key) and not spoiled_by(store, key)]


Connect = Callable[..., tuple[StoreClient, Control]]


@pytest.fixture
def connect(store: servers.Store) -> Iterator[Connect]:
    """Both clients for a bucket of the store; `keys` replaces the credentials, options are the engine's `Store`'s."""
    lights: list[StoreClient] = []

    def connect(
        bucket: str, *, keys: Credentials | None = None, url: str = "", **options: Any
    ) -> tuple[StoreClient, Control]:
        described = Store(
            **{
                "bucket": bucket,
                "endpoints": (store.url,),
                "region": store.region,
                "ca_bundle": store.ca_bundle,
                **options,
            }
        )
        keys = keys or credentials.load(store.credentials_file)
        lights.append(StoreClient(described, url or store.url, keys, connections=8))
        return lights[-1], Control(described, url or store.url, keys)

    yield connect
    for light in lights:
        light.close()


@pytest.fixture
def clients(connect: Connect, new_bucket: Callable[[], str]) -> tuple[StoreClient, Control]:
    return connect(new_bucket())


def listed(light: StoreClient, **arguments: Any) -> list[ListedObject]:
    objects: list[ListedObject] = []
    token: str | None = None
    for _ in range(1000):
        page = light.list_page(token, **arguments)
        objects += page.objects
        token = page.next_token
        if token is None:
            return objects
    raise AssertionError("the listing does not end")


def put(
    control: Control, folder: Path, key: str, body: bytes, part_size: int = 0, headers: Headers | None = None
) -> None:
    path = folder / "body"
    path.write_bytes(body)
    outcome = control.send(Send(1, key, len(body), str(path), part_size, dump_headers(headers or Headers())))
    assert outcome.ok, outcome


def got(light: StoreClient, key: str) -> bytes:
    pieces: list[bytes] = []
    light.get(key, pieces.append)
    return b"".join(pieces)


def fetched(control: Control, folder: Path, key: str, size: int) -> bytes:
    outcome = control.fetch(Fetch(1, key, size, str(folder / "fetched")))
    assert outcome.ok, outcome
    return (folder / "fetched").read_bytes()


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


# --- keys


def test_every_key_is_signed_listed_and_moved_right(
    clients: tuple[StoreClient, Control], connect: Connect, store: servers.Store, tmp_path: Path
) -> None:
    light, control = clients
    bodies = {key: b"body of " + key.encode() for key in keys_for(store)}
    for key, body in bodies.items():
        put(control, tmp_path, key, body)
    by_version = {"v2": light, "v1": connect(light._store.bucket, list_version="v1")[0]}
    for version, lister in by_version.items():
        for size in (1, 9):  # every key, whatever it holds, is once the last of its page
            pages = [item.key for item in listed(lister, max_keys=size)]
            assert sorted(pages) == sorted(bodies), (version, size)
    assert {item.key for page in light.list_whole() for item in page.objects} == set(bodies)
    heads = dict(light.head_many(bodies))
    assert {key for key, head in heads.items() if not isinstance(head, Head)} == set()
    for item in listed(light):
        body, head = bodies[item.key], heads[item.key]
        assert isinstance(head, Head)
        assert (item.size, item.etag) == (head.size, head.etag) == (len(body), md5(body))
        assert got(light, item.key) == body
        assert fetched(control, tmp_path, item.key, item.size) == body
        assert light.head(item.key).etag == md5(body)
        # A prefix, a start and a marker hold the same characters, in a query.
        assert item.key in {other.key for other in listed(light, prefix=item.key)}
        for lister in by_version.values():
            assert item.key not in {other.key for other in lister.list_page(None, start_after=item.key).objects}


@pytest.mark.parametrize("store", ["rclone-http"], indirect=True)
def test_a_key_that_a_store_refuses_fails_aloud(
    clients: tuple[StoreClient, Control], store: servers.Store, tmp_path: Path
) -> None:
    light, control = clients
    (tmp_path / "body").write_bytes(b"x")
    put(control, tmp_path, "a", b"x")
    for key in HOSTILE_KEYS:
        if refused_by(store, key) and not spoiled_by(store, key):
            assert not control.send(Send(1, key, 1, str(tmp_path / "body"), 0, "")).ok, key
            with pytest.raises(StoreError):
                light.head(key)


# --- listing


def test_a_listing_in_pages_from_anywhere(
    clients: tuple[StoreClient, Control], connect: Connect, tmp_path: Path
) -> None:
    light, control = clients
    keys = [f"data/{number:03d}" for number in range(25)]
    before = int(time.time() * 1000)
    for key in [*keys, "other"]:
        put(control, tmp_path, key, key.encode())
    for options in ({}, {"list_version": "v1"}):
        lister, _ = connect(light._store.bucket, prefix="data/", **options)
        objects = listed(lister, max_keys=4)
        assert [item.key for item in objects] == keys
        assert [item.size for item in objects] == [len(key) for key in keys]
        assert all(before - 2000 <= item.modified_ms <= before + 120_000 for item in objects)
        assert [item.key for item in listed(lister, max_keys=4, start_after="data/007")] == keys[8:]
        assert [item.key for item in listed(lister, prefix="other")] == ["other"]
        assert listed(lister, prefix="nothing/") == []
        assert [item.key for page in lister.list_whole() for item in page.objects] == keys


# --- headers

HEADERS = Headers(
    content_type="text/x-snow; charset=utf-8",
    cache_control="max-age=5",
    content_encoding="gzip",
    content_disposition='attachment; filename="a b.txt"',
    metadata={"plain": "one", "camelCase": 'x,y;z="q"', "double": "a  b", "words": "=?UTF-8?Q?Gr=C3=BC=C3=9Fe?="},
)


@pytest.mark.parametrize("part_size", [0, 5 * MIB])
def test_headers_arrive(part_size: int, clients: tuple[StoreClient, Control], tmp_path: Path) -> None:
    light, control = clients
    body = os.urandom(6 * MIB if part_size else 100)
    put(control, tmp_path, "k", body, part_size, HEADERS)
    head = light.head("k")
    assert (head.size, head.status) == (len(body), 200)
    assert head.headers.content_type == HEADERS.content_type
    assert head.headers.cache_control == HEADERS.cache_control
    assert head.headers.content_encoding == HEADERS.content_encoding
    assert head.headers.content_disposition == HEADERS.content_disposition
    wanted = {name.lower(): value for name, value in HEADERS.metadata.items()}
    assert {name: head.headers.metadata.get(name) for name in wanted} == wanted
    assert abs(head.modified_ms - head.server_time_ms) < 120_000
    assert got(light, "k") == body  # as stored, though it says gzip


def test_metadata_that_is_not_ascii_arrives(
    clients: tuple[StoreClient, Control], store: servers.Store, tmp_path: Path
) -> None:
    light, control = clients
    # Swift takes bytes of UTF-8 for Latin-1, as AWS does: what it then refuses goes up encoded, as AWS wants it.
    value = "voil\u00e0" if store.name.startswith("swift") else "Grüße 雪 voilà"
    for part_size in (0, 5 * MIB):
        put(control, tmp_path, "k", b"x" * 100, part_size, Headers(metadata={"v": value}))
        arrived = light.head("k").headers.metadata["v"]
        assert str(make_header(decode_header(arrived))) == value
        assert arrived.isascii() == store.name.startswith("swift")


def test_tags(clients: tuple[StoreClient, Control], store: servers.Store, tmp_path: Path) -> None:
    light, control = clients
    tags = {"a b": "c=d", "x": "é/+"}
    if "no_tags" in store.quirks:
        (tmp_path / "body").write_bytes(b"x")
        outcome = control.send(Send(1, "k", 1, str(tmp_path / "body"), 0, dump_headers(Headers(tags=tags))))
        assert outcome.trouble is Trouble.UNSUPPORTED
        assert "2 tags" in outcome.message
        return
    put(control, tmp_path, "k", b"x", headers=Headers(tags=tags))
    if not store.name.startswith("rclone"):  # it keeps the header and answers 500 when asked for the tags
        assert control.get_tags("k") == tags


# --- parts


def test_parts_of_exactly_the_size(clients: tuple[StoreClient, Control], store: servers.Store, tmp_path: Path) -> None:
    light, control = clients
    body = os.urandom(12 * MIB + 5)
    part_size = 5 * MIB
    put(control, tmp_path, "k", body, part_size)
    digests = [hashlib.md5(body[start : start + part_size]).digest() for start in range(0, len(body), part_size)]
    plain = "multipart_etag_plain" in store.quirks
    expected = md5(body) if plain else f"{md5(b''.join(digests))}-3"
    assert light.head("k").etag == listed(light)[0].etag == expected
    first = light.head("k", part_number=1)
    if "no_part_number" in store.quirks:
        assert (first.status, first.size, first.parts_count) == (200, len(body), 0)
    else:
        assert (first.status, first.size, first.parts_count) == (206, part_size, 3)
    assert got(light, "k") == body
    assert fetched(control, tmp_path, "k", len(body)) == body
    assert client_uploads(control, light) == []


def client_uploads(control: Control, light: StoreClient) -> list[Any]:
    answer = control._endpoint.client().list_multipart_uploads(Bucket=light._store.bucket)
    return list(answer.get("Uploads", []))


def test_a_failed_upload_leaves_nothing(clients: tuple[StoreClient, Control], tmp_path: Path) -> None:
    light, control = clients
    path = tmp_path / "body"
    path.write_bytes(os.urandom(6 * MIB))
    real = os.pread
    with pytest.MonkeyPatch.context() as patch:
        # The second part can be read once, for its digest, and then no more.
        reads: list[int] = []

        def pread(descriptor: int, size: int, start: int) -> bytes:
            reads.append(start)
            return b"" if start >= 5 * MIB and reads.count(start) > 1 else real(descriptor, size, start)

        patch.setattr(os, "pread", pread)
        outcome = control.send(Send(1, "k", 6 * MIB, str(path), 5 * MIB, ""))
    assert outcome.trouble is Trouble.IO
    assert client_uploads(control, light) == []
    with pytest.raises(StoreError) as caught:
        light.head("k")
    assert caught.value.trouble is Trouble.NOT_FOUND


def test_old_uploads_of_one_key_are_aborted(clients: tuple[StoreClient, Control], client: Any) -> None:
    light, control = clients
    bucket = light._store.bucket
    for key in ("k ü+%", "k ü+%", "k ü+%2"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    soon = int(time.time() * 1000) + 60_000
    assert control.abort_uploads("k ü+%", 0) == 0
    assert control.abort_uploads("k ü+%", soon) == 2
    assert control.abort_uploads("k ü+%", soon) == 0
    assert [upload["Key"] for upload in client_uploads(control, light)] == ["k ü+%2"]


def test_empty_objects(clients: tuple[StoreClient, Control], tmp_path: Path) -> None:
    light, control = clients
    put(control, tmp_path, "empty", b"")
    head = light.head("empty")
    assert (head.size, head.etag) == (0, md5(b""))
    assert got(light, "empty") == b""
    assert fetched(control, tmp_path, "empty", 0) == b""


# --- what goes wrong


def test_another_object_than_the_listed_one_is_found_out(clients: tuple[StoreClient, Control], tmp_path: Path) -> None:
    light, control = clients
    put(control, tmp_path, "k", b"now")
    assert light.get("k", lambda piece: None, if_match=md5(b"now")).size == 3
    with pytest.raises(StoreError) as caught:
        light.get("k", lambda piece: None, if_match=md5(b"then"))
    assert caught.value.trouble is Trouble.CHANGED
    assert control.fetch(Fetch(1, "k", 4, str(tmp_path / "f"))).trouble is Trouble.CHANGED


def test_missing_objects_and_buckets(clients: tuple[StoreClient, Control], connect: Connect, tmp_path: Path) -> None:
    light, control = clients

    def trouble(call: Callable[[], object]) -> Trouble:
        with pytest.raises(StoreError) as caught:
            call()
        return caught.value.trouble

    assert trouble(lambda: light.head("missing")) is Trouble.NOT_FOUND
    assert trouble(lambda: light.get("missing", print)) is Trouble.NOT_FOUND
    assert control.fetch(Fetch(1, "missing", 5, str(tmp_path / "f"))).trouble is Trouble.NOT_FOUND
    nowhere, nowhere_control = connect("no-such-bucket")
    assert trouble(lambda: nowhere.list_page(None)) is Trouble.BUCKET
    assert trouble(lambda: nowhere.get("k", print)) is Trouble.BUCKET
    assert nowhere_control.fetch(Fetch(1, "k", 5, str(tmp_path / "f"))).trouble is Trouble.BUCKET
    with pytest.raises(JobStopped) as caught:
        nowhere_control.check()
    assert caught.value.trouble is Trouble.BUCKET


@pytest.mark.parametrize("wrong", ["secret", "access key"])
@pytest.mark.parametrize("list_version", ["v2", "v1"])
def test_wrong_credentials_are_known_as_such(
    wrong: str,
    list_version: str,
    clients: tuple[StoreClient, Control],
    connect: Connect,
    store: servers.Store,
    tmp_path: Path,
) -> None:
    right, control = clients
    put(control, tmp_path, "k", b"x")
    access_key = "nobody:nobody" if wrong == "access key" else store.access_key
    keys = Credentials(access_key, "not-the-secret", "", Path("f"), "default")
    light, refused = connect(right._store.bucket, keys=keys, list_version=list_version)
    for call in (
        lambda: light.list_page(None),
        lambda: light.head("k"),
        lambda: light.get("k", print),
        lambda: refused.check(),
    ):
        with pytest.raises(StoreError) as caught:
            call()
        assert caught.value.trouble is Trouble.CREDENTIAL, caught.value
        assert "not-the-secret" not in str(caught.value)
        assert store.secret_key not in str(caught.value)
    outcome = refused.fetch(Fetch(1, "k", 1, str(tmp_path / "f")))
    assert outcome.trouble is Trouble.CREDENTIAL


@pytest.mark.parametrize("store", ["swift-http", "swift-https"], indirect=True)
def test_a_wrong_region_is_named(clients: tuple[StoreClient, Control], connect: Connect, store: servers.Store) -> None:
    light, control = connect(clients[0]._store.bucket, region="eu-west-1")
    for call in (lambda: light.list_page(None), control.check):
        with pytest.raises(StoreError, match=f"reports region '{store.region}'") as caught:
            call()
        assert caught.value.trouble.stops_job


def test_check(clients: tuple[StoreClient, Control]) -> None:
    checked = clients[1].check()
    assert abs(checked.clock_skew_seconds) < 60


@pytest.mark.parametrize("store", ["swift-https", "rclone-https"], indirect=True)
def test_certificates_are_always_checked(
    clients: tuple[StoreClient, Control], connect: Connect, store: servers.Store, tmp_path: Path
) -> None:
    bucket = clients[0]._store.bucket
    another = tmp_path / "another.pem"
    another.write_text(Path("/etc/ssl/certs/ca-certificates.crt").read_text())
    for options in ({"ca_bundle": None}, {"ca_bundle": another}):
        light, control = connect(bucket, **options)
        for call in (partial(light.list_page, None), partial(light.head, "k"), control.check):
            with pytest.raises(StoreError) as caught:
                call()
            assert caught.value.trouble is Trouble.TLS, caught.value


def test_the_wrong_scheme_is_told(clients: tuple[StoreClient, Control], connect: Connect, store: servers.Store) -> None:
    secure = store.url.startswith("https")
    url = store.url.replace("https:", "http:") if secure else store.url.replace("http:", "https:")
    light, control = connect(clients[0]._store.bucket, url=url)
    for call in (lambda: light.list_page(None), control.check):
        with pytest.raises(StoreError) as caught:
            call()
        assert caught.value.trouble.is_transient, caught.value
