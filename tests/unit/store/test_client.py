# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The light client against a store that answers by script: listings, heads, bodies, and every way to fail."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from scripted_store import Asked, Close, ScriptedStore, Silence, error, reply
from servers.certificates import Certificates, make_certificates

from snowsync.config.credentials import Credentials
from snowsync.config.job_file import Store
from snowsync.core.errors import StoreError, Trouble
from snowsync.core.model import UNTOLD, Head
from snowsync.store import listing_requests
from snowsync.store.answers import UNREADABLE
from snowsync.store.client import StoreClient
from snowsync.store.connections import Permits
from snowsync.store.listing_gaps import LAST_TEXT
from snowsync.store.listing_walk import ListingWalk
from snowsync.store.request_errors import LATE
from snowsync.store.timeouts import Patience

SECRET = "hush/very+secret=key"
CREDENTIALS = Credentials("AKIATEST", SECRET, "hush-token", Path("file"), "default")


pytestmark = pytest.mark.usefixtures("no_proxies")


@pytest.fixture
def store() -> Iterator[ScriptedStore]:
    with ScriptedStore(lambda asked: reply(404)).running() as running:
        yield running


Connect = Callable[..., StoreClient]


@pytest.fixture
def connect(store: ScriptedStore) -> Iterator[Connect]:
    made: list[StoreClient] = []

    def connect(url: str = "", connections: int = 4, **options: Any) -> StoreClient:
        described = Store(bucket="bucket", endpoints=(url or store.url,), **options)
        client = StoreClient(
            described,
            url or store.url,
            CREDENTIALS,
            connections=connections,
            connect_timeout=30,
            patience=Patience(2, 2),
        )
        made.append(client)
        return client

    yield connect
    for client in made:
        client.close()


def walked(client: StoreClient, options: dict[str, Any]) -> list[str]:
    """The keys of a whole listing."""
    walk = ListingWalk(Store(bucket="bucket", endpoints=("http://x",), **options))
    found: list[str] = []
    while not walk.is_over:
        answer = client.list_page(walk.token, start_after=walk.start_after)
        found += [item.key for item in answer.objects]
        walk.take(answer)
    return found


def listing_of(*keys: str) -> str:
    """The beginning of a listing."""
    entries = "".join(f"<Contents><Key>{quote(key)}</Key><Size>1</Size></Contents>" for key in keys)
    return f"<ListBucketResult><EncodingType>url</EncodingType>{entries}"


def page(*keys: str, more: str = "") -> bytes:
    entries = "".join(
        f"<Contents><Key>{quote(key)}</Key><LastModified>2026-02-02T02:40:00.000Z</LastModified>"
        f"<ETag>&quot;e&quot;</ETag><Size>1</Size></Contents>"
        for key in keys
    )
    truncated = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}"
    return reply(200, f"<ListBucketResult><EncodingType>url</EncodingType>{truncated}{entries}</ListBucketResult>")


def failed(call: Callable[[], object]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        call()
    assert SECRET not in str(caught.value)
    assert "hush-token" not in str(caught.value)
    assert "Signature=" not in str(caught.value)
    return caught.value


# --- listing


def test_a_listing_by_pages(store: ScriptedStore, connect: Connect) -> None:
    def script(asked: Asked) -> bytes:
        if "continuation-token" not in asked.query:
            return page("a", "b", more="<NextContinuationToken>t/+=</NextContinuationToken>")
        return page("c")

    store.script = script
    client = connect(prefix="p/é")
    first = client.list_page(None, start_after="p/é a")
    assert ([item.key for item in first.objects], first.next_token) == (["a", "b"], "t/+=")
    second = client.list_page(first.next_token, start_after="p/é a", max_keys=7)
    assert ([item.key for item in second.objects], second.next_token) == (["c"], None)
    fixed = {"list-type": "2", "encoding-type": "url", "prefix": "p/é"}
    assert store.asked[0].query == fixed | {"max-keys": "1000", "start-after": "p/é a"}
    assert store.asked[1].query == fixed | {"max-keys": "7", "continuation-token": "t/+="}
    assert store.asked[0].target.startswith("/bucket?")
    assert "prefix=p%2F%C3%A9" in store.asked[0].target
    assert store.connections == 1
    assert store.asked[0].headers["x-amz-security-token"] == "hush-token"


def test_characters_that_xml_cannot_hold_may_come_back_from_the_request(store: ScriptedStore, connect: Connect) -> None:
    echo = "<StartAfter>a&#x1;</StartAfter><Marker>a&#1;b</Marker><Prefix>a\x01</Prefix>"
    store.script = lambda asked: page("b\x01", more=f"{echo}<NextContinuationToken>t</NextContinuationToken>")
    assert [item.key for item in connect().list_page(None, start_after="a\x01").objects] == ["b\x01"]


def test_an_old_listing_goes_on_after_its_last_key(store: ScriptedStore, connect: Connect) -> None:
    # RGW names the last key as it is, S3 none.
    named = "<NextMarker>c+%41&#x1;</NextMarker>"
    answers = iter([page("a", "b/ü", more=" "), page("c+%41\x01", more=named), page("d", more=" "), page()])
    store.script = lambda asked: next(answers)
    client = connect(list_version="v1")
    first = client.list_page(None, start_after="A")
    second = client.list_page(first.next_token)
    third = client.list_page(second.next_token)
    fourth = client.list_page(third.next_token)
    assert [first.next_token, second.next_token, third.next_token] == ["b/ü", "c+%41\x01", "d"]
    assert fourth.next_token is None
    assert [asked.query.get("marker") for asked in store.asked] == ["A", "b/ü", "c+%41\x01", "d"]
    assert not any("list-type" in asked.query for asked in store.asked)


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({}, page("a", more="<NextContinuationToken>t</NextContinuationToken>")),
        ({}, page("a", more=" ")),
        ({}, page("a", more="<NextMarker>a</NextMarker>")),
        ({"list_version": "v1"}, page("b", more=" ")),
        ({"list_version": "v1"}, page(more=" ")),
        ({"list_version": "v1", "sorted": False}, page("b", "a", more=" ")),
        ({"list_version": "v1", "sorted": False}, page("b", more="<NextMarker>m</NextMarker>")),
    ],
)
def test_a_store_that_gives_one_page_again_and_again_is_refused(
    options: dict[str, Any], answer: bytes, store: ScriptedStore, connect: Connect
) -> None:
    store.script = lambda asked: answer
    client = connect(**options)
    assert failed(lambda: walked(client, options)).trouble is Trouble.UNSUPPORTED
    assert len(store.asked) <= 3


@pytest.mark.parametrize(
    ("said", "options", "expected"),
    [
        # (IsTruncated and what comes beside it), options of the store -> (where it goes on, whether there is more)
        ("<IsTruncated>false</IsTruncated>", {}, (None, False)),
        ("<IsTruncated>True</IsTruncated><NextContinuationToken>t</NextContinuationToken>", {}, ("t", True)),
        ("<NextContinuationToken>t</NextContinuationToken>", {}, ("t", None)),
        ("", {}, (None, None)),
        ("<IsTruncated/>", {}, (None, None)),
        ("<IsTruncated>false</IsTruncated><NextContinuationToken>t</NextContinuationToken>", {}, ("t", False)),
        ("<IsTruncated>false</IsTruncated><NextContinuationToken></NextContinuationToken>", {}, (None, False)),
        ("<IsTruncated>false</IsTruncated><NextMarker>b</NextMarker>", {}, (None, None)),
        ("<IsTruncated>false</IsTruncated><NextMarker><![CDATA[b]]></NextMarker>", {}, (None, None)),
        ('<IsTruncated>0</IsTruncated><NextContinuationToken a="b">t</NextContinuationToken>', {}, (None, None)),
        ("<IsTruncated><![CDATA[true]]></IsTruncated>", {}, (None, True)),
        ("<isTruncated>true</isTruncated><nextContinuationToken>t</nextContinuationToken>", {}, ("t", True)),
        ("<IsTruncated>1</IsTruncated>", {"list_version": "v1"}, ("b", True)),
        ("<NextMarker>b</NextMarker>", {"list_version": "v1"}, ("b", None)),
        ("", {"list_version": "v1"}, (None, None)),
        ("<NextContinuationToken>t</NextContinuationToken>", {"list_version": "v1"}, (None, None)),
        (
            "<IsTruncated>0</IsTruncated><NextMarker>m</NextMarker>",
            {"list_version": "v1", "sorted": False},
            ("m", False),
        ),
    ],
)
def test_what_a_page_says_of_the_end(
    said: str,
    options: dict[str, Any],
    expected: tuple[str | None, bool | None],
    store: ScriptedStore,
    connect: Connect,
) -> None:
    store.script = lambda asked: reply(200, listing_of("a", "b") + said + "</ListBucketResult>")
    answer = connect(**options).list_page(None)
    assert (answer.next_token, answer.more) == expected


def test_an_error_in_an_answer_that_began_well_is_that_error(store: ScriptedStore, connect: Connect) -> None:
    body = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
    store.script = lambda asked: reply(200, body)
    problem = failed(lambda: connect().list_page(None))
    assert (problem.trouble, problem.code) == (Trouble.THROTTLED, "SlowDown")


def test_an_unsorted_listing_may_go_on_at_a_smaller_marker(store: ScriptedStore, connect: Connect) -> None:
    answers = iter(["b%2Fc", "b+c", "b c"])
    store.script = lambda asked: page("z", "b c", more=f"<NextMarker>{next(answers)}</NextMarker>")
    client = connect(list_version="v1", sorted=False)
    assert [client.list_page("y").next_token for _ in range(3)] == ["b/c", "b c", "b c"]
    store.script = lambda asked: page("z", "b%41", more="<NextMarker>b%41</NextMarker>")
    assert client.list_page("y").next_token == "b%41"


def test_a_page_over_the_limit_is_refused(
    store: ScriptedStore, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_requests, "PAGE_LIMIT", 3000)
    store.script = lambda asked: page(*(f"key-{number}" for number in range(50)))
    client = connect()
    assert "more than 3000 bytes" in str(failed(lambda: client.list_page(None)))
    store.script = lambda asked: page("a")
    assert len(client.list_page(None).objects) == 1


def test_a_whole_listing_is_read_as_it_comes(store: ScriptedStore, connect: Connect) -> None:
    keys = [f"key {number}" for number in range(20000)]
    store.script = lambda asked: page(*keys)
    pages = list(connect(list_version="v1", sorted=False).list_whole())
    assert [item.key for one in pages for item in one.objects] == keys
    assert {one.next_token for one in pages} == {None}
    assert "max-keys" not in store.asked[0].query
    store.script = lambda asked: Silence(page(*keys)[:1_000_000])
    first = next(connect(list_version="v1", sorted=False).list_whole()).objects
    assert [item.key for item in first] == keys[: len(first)], "the rest has not even been sent"


@pytest.mark.parametrize(
    "said",
    [
        "<IsTruncated>true</IsTruncated>",
        "<IsTruncated> TRUE </IsTruncated>",
        "<IsTruncated>1</IsTruncated>",
        "",
        "<IsTruncated>perhaps</IsTruncated>",
        "<IsTruncated>false</IsTruncated><NextMarker>a</NextMarker>",
        "<NextMarker>a</NextMarker>",
    ],
)
def test_a_whole_listing_that_is_not_clearly_whole_ends_in_an_error(
    said: str, store: ScriptedStore, connect: Connect
) -> None:
    store.script = lambda asked: reply(200, listing_of("a") + said + "</ListBucketResult>")
    seen: list[str] = []
    problem = failed(lambda: seen.extend(item.key for one in connect().list_whole() for item in one.objects))
    assert (seen, problem.trouble) == (["a"], Trouble.UNSUPPORTED)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (error(403, "AccessDenied"), Trouble.DENIED),
        (error(404, "NoSuchBucket"), Trouble.BUCKET),
        (reply(404), Trouble.BUCKET),
        (reply(404, "<html>nginx</html>"), Trouble.SERVER),
        (reply(200, "<html>Sign in</html>"), Trouble.SERVER),
        (reply(200, "<ListBucketResult><Contents>"), Trouble.SERVER),
        (reply(200), Trouble.SERVER),
        (error(503, "SlowDown"), Trouble.THROTTLED),
        (Close(page("a")[:-9]), Trouble.BROKEN),
        (Close(), Trouble.BROKEN),
        (Close(b"SSH-2.0-OpenSSH_9.2\r\n"), Trouble.SERVER),
        (Silence(), Trouble.TIMEOUT),
    ],
)
def test_a_listing_that_fails(
    whole: bool, answer: bytes | Silence, trouble: Trouble, store: ScriptedStore, connect: Connect
) -> None:
    store.script = lambda asked: answer
    client = connect(prefix="p/")
    problem = failed(lambda: list(client.list_whole()) if whole else client.list_page(None))
    assert problem.trouble is trouble, problem
    assert str(problem).startswith(f"Failed to list s3://bucket/p/ at {store.url}: ")


# --- heads

OK = reply(200, "seven b", head=True, ETag='"e"', x_amz_meta_a="1")


def test_head(store: ScriptedStore, connect: Connect) -> None:
    store.script = lambda asked: OK
    head = connect().head("../a b\n?#")
    assert (head.status, head.size, head.etag, head.headers.metadata) == (200, 7, "e", {"a": "1"})
    asked = store.asked[0]
    assert (asked.method, asked.target) == ("HEAD", "/bucket/../a%20b%0A%3F%23")
    assert asked.headers["host"] == store.url.removeprefix("http://")
    assert asked.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIATEST/")
    assert "x-amz-checksum-mode" not in asked.headers


def test_head_of_a_part(store: ScriptedStore, connect: Connect) -> None:
    store.script = lambda asked: reply(206, "part", head=True, x_amz_mp_parts_count="3")
    head = connect().head("k", part_number=2)
    assert (head.status, head.size, head.parts_count) == (206, 4, 3)
    assert store.asked[0].query == {"partNumber": "2"}


def test_head_with_checksums(store: ScriptedStore, connect: Connect) -> None:
    store.script = lambda asked: reply(
        200, "all", head=True, x_amz_checksum_type="FULL_OBJECT", x_amz_checksum_sha256="s"
    )
    assert connect().head_with_checksums("k").checksums == {"sha256": "s"}
    assert store.asked[0].headers["x-amz-checksum-mode"] == "ENABLED"
    assert "x-amz-checksum-mode" in store.asked[0].headers["authorization"]


def test_nothing_is_left_of_the_answer_before(store: ScriptedStore, connect: Connect) -> None:
    store.script = lambda asked: (
        reply(200, head=True, x_amz_meta_a="1" * 500, ETag='"e"') if asked.key == "long" else reply(200, head=True)
    )
    client = connect(connections=1)
    assert client.head("long").etag == "e"
    assert (client.head("short").etag, client.head("short").headers.metadata) == ("", {})
    found = dict(client.head_many(["long", "short"]))
    assert isinstance(found["short"], Head)
    assert (found["short"].etag, found["short"].headers.metadata) == ("", {})


def test_heads_of_many_objects_on_few_connections(store: ScriptedStore, connect: Connect) -> None:
    missing = {f"k{number}" for number in range(0, 300, 7)}

    def script(asked: Asked) -> bytes:
        time.sleep(0.001)  # long enough for others to arrive
        return reply(404) if asked.key in missing else OK

    store.script = script
    client = connect(connections=3)
    keys = [f"k{number}" for number in range(300)]
    for _ in range(2):
        found = list(client.head_many(keys))
        assert sorted(key for key, _ in found) == sorted(keys)
        assert {key for key, head in found if isinstance(head, StoreError)} == missing
        assert {head.trouble for _, head in found if isinstance(head, StoreError)} == {Trouble.NOT_FOUND}
        assert all(head.etag == "e" for _, head in found if isinstance(head, Head))
    assert store.connections == 3
    assert 1 < store.most_at_once <= 3


def test_one_that_does_not_answer_is_not_waited_for_with_the_others(store: ScriptedStore, connect: Connect) -> None:
    asked_again = threading.Event()

    def script(asked: Asked) -> bytes | Silence:
        return Silence() if asked.key == "slow" and not asked_again.is_set() else OK

    store.script = script
    client = connect(connections=3)
    found = list(client.head_many(["slow", *(f"k{number}" for number in range(9))], 0.2))
    assert {key for key, head in found if isinstance(head, Head)} == {f"k{number}" for number in range(9)}
    key, late = found[-1]
    assert isinstance(late, StoreError)
    assert (key, late.trouble, late.code) == ("slow", Trouble.TIMEOUT, LATE)
    asked_again.set()
    assert [head.etag for _key, head in client.head_many(["slow"]) if isinstance(head, Head)] == ["e"]


@pytest.mark.parametrize("permits", [None, 1], ids=["a crew of one", "alone"])
def test_one_that_does_not_answer_is_not_waited_for_on_the_only_connection(
    store: ScriptedStore, permits: int | None
) -> None:
    store.script = lambda asked: Silence() if asked.key == "slow" else OK
    described = Store(bucket="bucket", endpoints=(store.url,))
    client = StoreClient(
        described, store.url, CREDENTIALS, connections=1, permits=Permits(permits) if permits else None
    )
    found = dict(client.head_many(["slow", *(f"k{number}" for number in range(9))], 0.2))
    late = found.pop("slow")
    assert isinstance(late, StoreError) and late.code == LATE
    assert {key for key, head in found.items() if isinstance(head, Head)} == {f"k{number}" for number in range(9)}
    assert isinstance(client.head("k0"), Head), "and nothing is left of the hurry"
    client.close()


def test_who_waits_for_a_late_answer_takes_no_more_connections_than_that_needs(store: ScriptedStore) -> None:
    asked_for = threading.Event()
    answers = threading.Event()

    def script(asked: Asked) -> bytes:
        if asked.key == "late":
            asked_for.set()
            assert answers.wait(60)
        return OK

    store.script = script
    permits = Permits(8)
    client = StoreClient(
        Store(bucket="bucket", endpoints=(store.url,)), store.url, CREDENTIALS, connections=6, permits=permits
    )
    found: list[tuple[str, Head | StoreError]] = []
    waiting = threading.Thread(target=lambda: found.extend(client.head_many(["late"])), daemon=True)
    waiting.start()
    assert asked_for.wait(60)
    assert permits.take_some(8) == 5, "it has one, one for the reason of a refusal, and one stays for who takes one"
    answers.set()
    waiting.join(60)
    assert [key for key, head in found if isinstance(head, Head)] == ["late"]
    permits.give_back(5, of_set=True)
    assert permits.take_some(8) == 7, "it keeps none"
    client.close()


def test_a_handle_is_as_patient_as_ever_after_it_asked_for_a_reason(store: ScriptedStore, connect: Connect) -> None:
    """Asked for the reason of a refusal, it had the patience of that request, and its clock, ever after."""
    store.script = lambda asked: reply(403) if asked.key == "denied" else OK
    client = connect()
    with pytest.raises(StoreError):
        client.head("denied")
    time.sleep(2.5)  # more than an answer may take here
    assert client.head("k").etag == "e"


def test_a_listing_may_take_longer_than_a_head(store: ScriptedStore) -> None:
    def script(asked: Asked) -> bytes | Silence:
        time.sleep(2.5)  # more than a HEAD has, and much less than a listing has
        return page("a")

    store.script = script
    described = Store(bucket="bucket", endpoints=(store.url,))
    client = StoreClient(described, store.url, CREDENTIALS, patience=Patience(1, 60))
    assert failed(lambda: client.head("k")).trouble is Trouble.TIMEOUT
    assert [item.key for item in client.list_page(None).objects] == ["a"]
    client.close()


@pytest.mark.parametrize("has_bucket", [True, False])
def test_a_store_that_lists_slowly_is_well_if_it_shows_its_bucket(
    store: ScriptedStore, connect: Connect, monkeypatch: pytest.MonkeyPatch, has_bucket: bool
) -> None:
    monkeypatch.setattr("snowsync.store.timeouts.PROBE_SECONDS", 0.5)
    store.script = lambda asked: reply(200 if has_bucket else 503) if asked.method == "HEAD" else Silence()
    client = connect()
    if has_bucket:
        client.probe("")
    else:
        assert failed(lambda: client.probe("")).trouble is Trouble.TIMEOUT
    assert [(asked.method, asked.target.partition("?")[0]) for asked in store.asked] == [
        ("GET", "/bucket"),
        ("HEAD", "/bucket"),
    ]


@pytest.mark.parametrize("is_well", [True, False])
def test_a_store_whose_first_key_cannot_be_read_is_well_if_it_can_say_that_there_is_nothing(
    store: ScriptedStore, connect: Connect, is_well: bool
) -> None:
    def script(asked: Asked) -> bytes:
        is_first = quote(LAST_TEXT) not in asked.target
        return reply(200, "<a page of a proxy>") if is_first or not is_well else page()

    store.script = script
    client = connect()
    if is_well:
        client.probe("a")
    else:
        assert failed(lambda: client.probe("a")).code == UNREADABLE


@pytest.mark.parametrize(
    ("answer", "serves"),
    [
        (reply(206, b"x"), True),
        (reply(200, b"x" * 100_000), True),
        (error(403, "AccessDenied"), False),
        (error(503, "SlowDown"), False),
        (Silence(), False),
        (reply(404), False),
    ],
)
def test_whether_an_object_is_served(
    store: ScriptedStore, connect: Connect, answer: bytes | Silence, serves: bool
) -> None:
    store.script = lambda asked: answer
    assert connect().serves("k") is serves
    assert store.asked[0].headers["range"] == "bytes=0-0"


def test_keys_are_taken_as_they_are_needed(store: ScriptedStore, connect: Connect) -> None:
    store.script = lambda asked: OK
    taken = 0

    def keys() -> Iterator[str]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield f"k{number}"

    client = connect(connections=4)
    results = client.head_many(keys())
    for _ in range(10):
        next(results)
    assert taken <= 10 + 2 * 4
    results.close()
    assert [key for key, _ in client.head_many(["again"])] == ["again"]


def test_an_empty_head_many_asks_nothing(store: ScriptedStore, connect: Connect) -> None:
    assert list(connect().head_many([])) == []
    assert store.asked == []


def test_what_the_iterable_raises_passes_through(store: ScriptedStore, connect: Connect) -> None:
    store.script = lambda asked: OK

    def keys() -> Iterator[str]:
        yield "a"
        raise KeyError("gone")

    client = connect()
    with pytest.raises(KeyError, match="gone"):
        list(client.head_many(keys()))
    assert len(list(client.head_many(["b"]))) == 1


def test_one_silent_object_does_not_hold_up_the_others(store: ScriptedStore, connect: Connect) -> None:
    store.script = lambda asked: Silence() if asked.key == "k3" else OK
    found = dict(connect(connections=2).head_many([f"k{number}" for number in range(40)]))
    assert len(found) == 40
    silent = found.pop("k3")
    assert isinstance(silent, StoreError)
    assert silent.trouble is Trouble.TIMEOUT
    assert all(isinstance(head, Head) for head in found.values())


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(
    ("status", "reason", "trouble"),
    [
        (403, error(403, "SignatureDoesNotMatch"), Trouble.CREDENTIAL),
        (403, error(403, "AccessDenied"), Trouble.DENIED),
        (400, error(400, "ExpiredToken"), Trouble.CREDENTIAL),
        (403, reply(200, "readable"), Trouble.DENIED),
        (403, Close(), Trouble.DENIED),
    ],
)
def test_a_refused_head_is_explained_by_a_get(
    many: bool, status: int, reason: bytes | Silence, trouble: Trouble, store: ScriptedStore, connect: Connect
) -> None:
    store.script = lambda asked: reply(status) if asked.method == "HEAD" else reason
    client = connect()
    for _ in range(3):
        if many:
            problem = dict(client.head_many(["k"]))["k"]
            assert isinstance(problem, StoreError)
        else:
            problem = failed(lambda: client.head("k"))
        assert problem.trouble is trouble
    gets = [asked for asked in store.asked if asked.method == "GET"]
    assert len({asked.headers["range"] for asked in gets}) == 1
    assert len(gets) <= 2  # libcurl asks again where a kept connection was closed


def test_a_missing_object_costs_one_request(store: ScriptedStore, connect: Connect) -> None:
    assert failed(lambda: connect().head("k\n")).trouble is Trouble.NOT_FOUND
    assert len(store.asked) == 1


def test_a_head_without_a_size_says_so(store: ScriptedStore, connect: Connect) -> None:
    store.script = lambda asked: b"HTTP/1.1 200 OK\r\n\r\n"
    assert connect().head("k").size == UNTOLD


@pytest.mark.parametrize("lengths", [b"5, 5", b"5\r\nContent-Length: 5"])
def test_a_head_whose_size_is_doubled(store: ScriptedStore, connect: Connect, lengths: bytes) -> None:
    store.script = lambda asked: b"HTTP/1.1 200 OK\r\nContent-Length: " + lengths + b"\r\n\r\n"
    assert connect().head("k").size == 5


def test_a_head_that_contradicts_itself_is_the_object_s_trouble(store: ScriptedStore, connect: Connect) -> None:
    store.script = lambda asked: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"
    error = failed(lambda: connect().head("k"))
    assert (error.trouble, error.code) == (Trouble.OTHER, "unreadable")
    assert "two different values for content-length" in str(error)


# --- bodies


def test_get(store: ScriptedStore, connect: Connect) -> None:
    body = os.urandom(3_000_000)
    store.script = lambda asked: reply(200, body, ETag='"e"')
    client, pieces = connect(), []
    head = client.get("k", pieces.append)
    assert b"".join(pieces) == body
    assert (head.size, head.etag, "if-match" in store.asked[0].headers) == (len(body), "e", False)


def test_get_of_an_empty_object(store: ScriptedStore, connect: Connect) -> None:
    store.script = lambda asked: reply(200)
    pieces: list[bytes] = []
    assert connect().get("k", pieces.append).size == 0
    assert pieces == []


def test_get_without_a_length_counts(store: ScriptedStore, connect: Connect) -> None:
    store.script = lambda asked: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert connect().get("k", lambda piece: None).size == 3


def test_get_of_one_version(store: ScriptedStore, connect: Connect) -> None:
    client = connect()
    store.script = lambda asked: reply(200, "x", ETag='"e"')
    assert client.get("k", lambda piece: None, if_match="e").etag == "e"
    assert store.asked[0].headers["if-match"] == '"e"'
    assert failed(lambda: client.get("k", lambda piece: None, if_match="other")).trouble is Trouble.CHANGED
    store.script = lambda asked: error(412, "PreconditionFailed")
    assert failed(lambda: client.get("k", lambda piece: None, if_match="e")).trouble is Trouble.CHANGED


def test_the_body_of_a_refusal_does_not_reach_the_sink(store: ScriptedStore, connect: Connect) -> None:
    store.script = lambda asked: error(404, "NoSuchKey")
    pieces: list[bytes] = []
    problem = failed(lambda: connect().get("k", pieces.append))
    assert (pieces, problem.trouble, problem.code) == ([], Trouble.NOT_FOUND, "NoSuchKey")


@pytest.mark.parametrize("raised", [OSError(28, "No space"), KeyboardInterrupt(), ValueError("mine")])
def test_what_the_sink_raises_passes_through(
    raised: BaseException, store: ScriptedStore, connect: Connect, capfd: pytest.CaptureFixture[str]
) -> None:
    store.script = lambda asked: reply(200, b"x" * 100_000)

    def sink(piece: bytes) -> None:
        raise raised

    client = connect()
    with pytest.raises(type(raised)) as caught:
        client.get("k", sink)
    assert caught.value is raised
    assert capfd.readouterr().err == ""
    assert client.get("k", lambda piece: None).size == 100_000


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (Close(reply(200, b"x" * 1000)[:-1]), Trouble.BROKEN),
        (Silence(reply(200, b"x" * 1000)[:-1]), Trouble.TIMEOUT),
        (reply(302, "moved", location="http://127.0.0.1:1/"), Trouble.SERVER),
    ],
)
def test_a_body_that_does_not_come(
    answer: bytes | Silence, trouble: Trouble, store: ScriptedStore, connect: Connect
) -> None:
    store.script = lambda asked: answer
    assert failed(lambda: connect().get("k", lambda piece: None)).trouble is trouble


# --- connections


def test_a_connection_closed_meanwhile_is_replaced(store: ScriptedStore, connect: Connect) -> None:
    def script(asked: Asked) -> bytes | Silence:
        return OK if asked.connection != 1 or len(store.asked) == 1 else Close()

    store.script = script
    client = connect()
    assert client.head("a").etag == "e"
    assert client.head("b").etag == "e"
    assert store.connections == 2


def test_nothing_listens(connect: Connect) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert failed(lambda: connect(url).head("k")).trouble is Trouble.REFUSED
        found = dict(connect(url).head_many(["a", "b"]))
    assert [head.trouble for head in found.values() if isinstance(head, StoreError)] == [Trouble.REFUSED] * 2


def test_no_such_name(connect: Connect) -> None:
    assert failed(lambda: connect("http://store.invalid").head("k")).trouble is Trouble.DNS


def test_tls_where_there_is_none(store: ScriptedStore, connect: Connect) -> None:
    problem = failed(lambda: connect(store.url.replace("http:", "https:")).head("k"))
    assert problem.trouble is Trouble.TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """For 127.0.0.1, not for 127.0.0.2."""
    return make_certificates(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture
def context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    return context


def test_certificates_are_always_checked(
    context: ssl.SSLContext, certificates: Certificates, connect: Connect, tmp_path: Path
) -> None:
    ours = str(certificates.authority)
    another = make_certificates(tmp_path, "127.0.0.1").authority
    with ScriptedStore(lambda asked: OK, context=context).running() as store:
        assert connect(store.url, ca_bundle=ours).head("k").etag == "e"
        for options in ({"ca_bundle": another}, {}):
            problem = failed(lambda options=options: connect(store.url, **options).head("k"))
            assert problem.trouble is Trouble.TLS
            assert "ca_bundle" in problem.detail
    with ScriptedStore(lambda asked: OK, context=context, address="127.0.0.2").running() as misnamed:
        assert failed(lambda: connect(misnamed.url, ca_bundle=ours).head("k")).trouble is Trouble.TLS
        assert misnamed.asked == []


def test_a_missing_ca_file(store: ScriptedStore, connect: Connect) -> None:
    url = store.url.replace("http:", "https:")
    problem = failed(lambda: connect(url, ca_bundle="/nowhere/ca.pem").head("k"))
    assert problem.trouble is Trouble.TLS
    assert "ca_bundle" in problem.detail


def test_a_proxy_of_the_environment_is_used(
    store: ScriptedStore, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.script = lambda asked: OK
    monkeypatch.setenv("http_proxy", store.url)
    assert connect("http://store.invalid:8080").head("k").etag == "e"
    assert store.asked[0].target == "http://store.invalid:8080/bucket/k"
    assert store.asked[0].headers["host"] == "store.invalid:8080"


def test_loopback_is_reached_directly(store: ScriptedStore, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    store.script = lambda asked: OK
    for name in ("http_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert connect().head("k").etag == "e"


def test_threads_share_a_wire(store: ScriptedStore, connect: Connect) -> None:
    store.script = lambda asked: reply(200, asked.key, head=asked.method == "HEAD")
    client = connect()
    wrong: list[str] = []

    def work(name: str) -> None:
        for number in range(20):
            key, pieces = f"{name}-{number}", []
            head = client.get(key, pieces.append)
            if b"".join(pieces) != key.encode() or head.size != len(key) or client.head(key).size != len(key):
                wrong.append(key)
            many = [f"{key}{'x' * extra}" for extra in range(3)]
            wrong.extend(k for k, one in client.head_many(many) if not isinstance(one, Head) or one.size != len(k))

    threads = [threading.Thread(target=work, args=(f"thread{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_nothing_is_packed_or_unpacked_on_the_way(store: ScriptedStore, connect: Connect) -> None:
    store.script = lambda asked: reply(200, "body" if asked.method == "GET" else "", ETag='"e"')
    client = connect()
    client.head("k")
    client.get("k", bytearray().extend)
    assert [asked.headers["accept-encoding"] for asked in store.asked] == ["identity", "identity"]


# -- credentials that are renewed ---------------------------------------------------------------------------------


class Renewed:
    """Keys of which others count as soon as somebody looks."""

    def __init__(self, *, is_renewed: bool = True) -> None:
        self._current = CREDENTIALS
        self._is_renewed = is_renewed

    def current(self) -> Credentials:
        return self._current

    def look(self) -> bool:
        if self._is_renewed:
            self._current = replace(CREDENTIALS, access_key="AKIANEW")
        return self._is_renewed

    def may_change(self) -> bool:
        return False


def knows_new_keys_only(asked: Asked) -> bytes:
    if "AKIANEW/" not in asked.headers["authorization"]:
        return reply(403, head=True) if asked.method == "HEAD" else error(403, "ExpiredToken")
    return reply(200, "body", head=asked.method == "HEAD", ETag='"e"')


ASKING: dict[str, Callable[[StoreClient], object]] = {
    "head": lambda client: client.head("k").etag,
    "heads": lambda client: [head.etag for _, head in client.head_many(["k"]) if isinstance(head, Head)][0],
    "get": lambda client: client.get("k", bytearray().extend).etag,
}


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
def test_refused_request_is_made_again_with_renewed_keys(
    store: ScriptedStore, ask: Callable[[StoreClient], object]
) -> None:
    store.script = knows_new_keys_only
    described = Store(bucket="bucket", endpoints=(store.url,))
    client = StoreClient(described, store.url, Renewed())
    assert ask(client) == "e"
    client.close()


def test_request_is_refused_for_good_where_no_keys_are_renewed(store: ScriptedStore) -> None:
    store.script = knows_new_keys_only
    client = StoreClient(Store(bucket="bucket", endpoints=(store.url,)), store.url, Renewed(is_renewed=False))
    with pytest.raises(StoreError) as caught:
        client.get("k", bytearray().extend)
    assert caught.value.trouble is Trouble.CREDENTIAL
    assert len(store.asked) == 1
    client.close()
