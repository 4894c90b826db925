# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that some stores need, and some refuse: headers, permissions, addresses, proxies."""

from __future__ import annotations

import gzip
import os
from typing import Any

import pytest
from faults.rig import DESTINATION, SOURCE, Rig
from simulators.boto_client import client_of
from simulators.proxy import LOGIN, running

MIB = 1 << 20
TOOLS = pytest.mark.parametrize("tool", ["native", "s5cmd"])
PUT_ONLY = "HeadObject|GetObject|ListObjectsV2|ListMultipartUploads|ListParts"


def fill(rig: Rig) -> None:
    """Objects that go every way there is: one request, in parts, empty, with what only boto3 can send."""
    rig.source.put(SOURCE, "small", b"small", headers={"content-type": "text/plain"})
    rig.source.put(SOURCE, "empty", b"")
    rig.source.put(SOURCE, "single", os.urandom(2 * MIB))
    rig.source.put(SOURCE, "parts", os.urandom(11 * MIB), part_size=5 * MIB)
    rig.source.put(SOURCE, "tagged", b"tagged", tags={"a": "b"})
    rig.source.put(SOURCE, "metadata", b"metadata", headers={"x-amz-meta-a": "ü".encode().decode("latin-1")})


def deliver(rig: Rig, tool: str = "native", **options: Any) -> None:
    rig.config |= {"mover": {"tool": tool, "large_object": "1MiB"}, "attempts": 2, **options}
    code, _, errors = rig.run()
    assert code == 0, errors
    rig.assert_delivered()
    assert rig.files_left() == []


@TOOLS
def test_bucket_with_a_retention(rig: Rig, tool: str) -> None:
    rig.destination.set_switches(object_lock=True)
    fill(rig)
    deliver(rig, tool)


@TOOLS
def test_store_that_takes_ascii_only(rig: Rig, tool: str) -> None:
    """What has a form in ASCII is written so; what has none is named, and the others move."""
    rig.destination.set_switches(utf8_headers=False)
    fill(rig)
    name = 'attachment; filename="ü.pdf"'.encode().decode("latin-1")
    rig.source.put(SOURCE, "named", b"named", headers={"content-disposition": name})
    rig.source.put(SOURCE, "cached", b"cached", headers={"cache-control": "für immer".encode().decode("latin-1")})
    rig.config |= {"mover": {"tool": tool}, "attempts": 1}
    code, result, _ = rig.run()
    assert code == 3
    ((key, message),) = [(failure["key"], failure["message"]) for failure in result["failures"]]
    assert key == "cached"
    assert "its Cache-Control 'für immer' is not ASCII" in message and "metadata: skip" in message
    assert "cached" not in rig.destination.list(DESTINATION)
    found = rig.destination.head(DESTINATION, "named")["headers"]
    assert found["content-disposition"] == "attachment; filename*=UTF-8''%C3%BC.pdf"
    rig.config["metadata"] = "skip"
    deliver(rig, tool)


@TOOLS
def test_framing_of_an_upload_is_not_passed_on(rig: Rig, tool: str) -> None:
    rig.destination.set_switches(aws_chunked=False)
    rig.source.put(SOURCE, "framed", b"framed", headers={"content-encoding": "aws-chunked"})
    rig.source.put(SOURCE, "packed", gzip.compress(b"x" * 900), headers={"content-encoding": "gzip,aws-chunked"})
    deliver(rig, tool)
    heads = {entry["key"]: entry["headers"] for entry in rig.destination.objects(DESTINATION)}
    assert "content-encoding" not in heads["framed"]
    assert heads["packed"]["content-encoding"] == "gzip"


def fill_packed(rig: Rig) -> None:
    for number, size in enumerate((10, 5_000, 300_000)):
        packed = gzip.compress(os.urandom(size // 2) + b"x" * size)
        rig.source.put(SOURCE, f"packed-{number}", packed, headers={"content-encoding": "gzip"})
    rig.source.put(SOURCE, "plain", b"plain")


@pytest.mark.parametrize(
    ("framing", "source", "destination"),
    [("length", {}, {}), ("chunked", {"etag": "opaque"}, {"etag": "opaque"})],
)
def test_store_that_unpacks_gzip(rig: Rig, framing: str, source: dict[str, str], destination: dict[str, str]) -> None:
    """Whoever reads there, to move, to read again or to read back, gets what is stored."""
    for store in (rig.source, rig.destination):
        store.set_switches(unpacks_gzip="unless", framing=framing)
    rig.config["source"].update(source)
    rig.config["destination"].update(destination)
    fill_packed(rig)
    deliver(rig, attempts=4)
    for number in range(3):
        assert rig.destination.head(DESTINATION, f"packed-{number}")["headers"]["content-encoding"] == "gzip"
    assert rig.destination.written_again(DESTINATION) == {}
    assert rig.snowsync("verify", "JOB", *(["--read-back"] if source else [])).returncode == 0


@pytest.mark.parametrize(
    ("tool", "switch", "words"),
    [
        ("native", "always", "under the same ETag: the store, or a proxy before it, decompresses"),
        ("s5cmd", "unless", "set `mover.tool: native`"),
    ],
)
def test_what_only_comes_unpacked_is_named(rig: Rig, tool: str, switch: str, words: str) -> None:
    rig.source.set_switches(unpacks_gzip=switch)
    fill_packed(rig)
    rig.source.delete(SOURCE, "packed-0")  # it becomes shorter
    if tool == "s5cmd":  # boto3 fetches it, and asks again
        packed = gzip.compress(os.urandom(5_000) + b"x" * 5_000)
        rig.source.put(SOURCE, "odd\nkey", packed, headers={"content-encoding": "gzip"})
    rig.config |= {"mover": {"tool": tool}, "attempts": 2}
    code, result, errors = rig.run()
    assert code == 3, errors
    assert {failure["key"] for failure in result["failures"]} == {"packed-1", "packed-2"}
    assert all(words in failure["message"] for failure in result["failures"]), result["failures"]
    rig.assert_delivered(["plain", *(["odd\nkey"] if tool == "s5cmd" else [])])


def test_key_that_may_only_put(rig: Rig) -> None:
    """The store's answer to an upload is its word too, where nobody may ask for another."""
    rig.destination.set_fault("status", operation=PUT_ONLY, status=403, code="AccessDenied")
    fill(rig)
    deliver(rig)
    assert rig.destination.written_again(DESTINATION) == {}


@pytest.mark.parametrize(
    ("options", "switches"),
    [({"mover": {"tool": "s5cmd"}}, {}), ({"evidence": 3}, {}), ({}, {"etag": "kms"})],
    ids=["s5cmd tells no answers", "more is wanted", "the answer is no digest"],
)
def test_key_that_may_not_do_enough(rig: Rig, options: dict[str, Any], switches: dict[str, str]) -> None:
    """Nothing is lost, nothing is sent again and again, and the permission is named."""
    rig.destination.set_switches(**switches)
    rig.destination.set_fault("status", operation=PUT_ONLY, status=403, code="AccessDenied")
    rig.source.put(SOURCE, "object", b"bytes")
    rig.config |= {"attempts": 2, **options}
    code, result, _ = rig.run()
    assert code == 3
    assert "allow s3:GetObject at the destination" in result["failures"][0]["message"]
    assert rig.destination.written_again(DESTINATION) == {}
    assert result["states"]["staged"] == 1
    rig.destination.clear_faults()
    code, result, errors = rig.run()
    assert code == 0, errors
    assert result["states"]["released"] == 1
    assert rig.destination.written_again(DESTINATION) == {}


def test_key_that_may_list_and_not_look(rig: Rig) -> None:
    """An answer is not believed of a destination that could be asked."""
    rig.destination.set_fault("status", operation="HeadObject|GetObject", status=403, code="AccessDenied")
    rig.source.put(SOURCE, "object", b"bytes")
    rig.config["attempts"] = 2
    code, result, _ = rig.run()
    assert code == 3
    assert "allow s3:GetObject at the destination" in result["failures"][0]["message"]
    assert result["states"]["staged"] == 1
    assert rig.destination.written_again(DESTINATION) == {}


@TOOLS
def test_checksums_spare_a_second_read(rig: Rig, tool: str) -> None:
    rig.source.set_switches(etag="kms")
    client = client_of(rig.source)
    for number in range(3):
        client.put_object(Bucket=SOURCE, Key=f"object-{number}", Body=os.urandom(40_000), ChecksumAlgorithm="SHA256")
    rig.source.clear_log()
    rig.config["mover"] = {"tool": tool}
    code, result, errors = rig.run()
    assert code == 0, errors
    assert result["evidence"]["source"] == {"store_digest": 3}
    assert [rig.source.log("GetObject", f"object-{number}")[1:] for number in range(3)] == [[]] * 3


@pytest.mark.parametrize("status", [403, 500])
def test_key_that_may_not_ask_for_checksums(rig: Rig, status: int) -> None:
    """As without them: the object is read twice."""
    rig.source.set_switches(etag="kms", checksums=False)
    rig.source.put(SOURCE, "object", b"bytes")
    rig.source.put(SOURCE, "other", b"bytes")
    client_of(rig.source).put_object(Bucket=SOURCE, Key="kms", Body=b"bytes")
    rig.source.set_fault("status", operation="HeadObject", status=status, code="AccessDenied", key="kms")
    code, result, errors = rig.run()
    assert code == 0, errors
    assert result["evidence"]["source"] == {"not_proven": 1, "store_digest": 2}


def test_job_goes_without_tags_and_metadata(rig: Rig) -> None:
    rig.source.set_fault("status", operation="GetObjectTagging", status=403, code="AccessDenied")
    rig.destination.set_switches(tagging=False)
    fill(rig)
    deliver(rig, tags="skip", metadata="skip")
    heads = [entry["headers"] for entry in rig.destination.objects(DESTINATION)]
    assert [name for head in heads for name in head if name.startswith("x-amz-meta-")] == []
    assert rig.destination.head(DESTINATION, "small")["headers"]["content-type"] == "text/plain"
    assert rig.source.count("GetObjectTagging") == 0


def test_denied_tags_name_the_option(rig: Rig) -> None:
    rig.source.set_fault("status", operation="GetObjectTagging", status=403, code="AccessDenied")
    rig.source.put(SOURCE, "tagged", b"tagged", tags={"a": "b"})
    rig.config["attempts"] = 1
    code, result, _ = rig.run()
    assert code == 3
    assert "allow s3:GetObjectTagging, or omit tags with `tags: skip`" in result["failures"][0]["message"]


@TOOLS
def test_store_that_keeps_no_tags_names_the_option(rig: Rig, tool: str) -> None:
    rig.destination.set_switches(tagging=False)
    rig.source.put(SOURCE, "tagged", b"tagged", tags={"a": "b"})
    rig.config |= {"mover": {"tool": tool}, "attempts": 1}
    code, result, _ = rig.run()
    assert code == 3
    assert "omit them with `tags: skip`" in result["failures"][0]["message"]


def by_name(rig: Rig) -> None:
    """Both stores are reached by names that only the proxy can resolve."""
    for side, store in (("source", rig.source), ("destination", rig.destination)):
        rig.config[side]["endpoints"] = [store.url.replace("127.0.0.1", f"{side}.test")]


@TOOLS
@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_all_requests_go_through_the_proxy(rig: Rig, monkeypatch: pytest.MonkeyPatch, tool: str, scheme: str) -> None:
    by_name(rig)
    fill(rig)
    with running() as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url(scheme))
        deliver(rig, tool)
        assert set(proxy.asked) == {(scheme[:5].rstrip("5"), f"{side}.test") for side in ("source", "destination")}


def test_socks_proxy_with_a_login(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    by_name(rig)
    fill(rig)
    with running(needs_login=True) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url("socks5h", ":".join(LOGIN) + "@"))
        deliver(rig)


def test_proxy_that_a_tool_does_not_know_is_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    by_name(rig)
    monkeypatch.setenv("ALL_PROXY", "socks4://127.0.0.1:1")
    code, _, errors = rig.run()
    assert code == 2
    assert "socks4:// proxies are not supported" in errors


@pytest.mark.parametrize("addressing", ["auto", "virtual"])
def test_bucket_before_the_host(rig: Rig, monkeypatch: pytest.MonkeyPatch, addressing: str) -> None:
    """`auto` learns it from the store's refusal of the path."""
    by_name(rig)
    fill(rig)
    rig.source.put(SOURCE, "/odd//key", b"odd")
    for side, store in (("source", rig.source), ("destination", rig.destination)):
        store.set_switches(virtual_domain=f"{side}.test")
        rig.config[side]["addressing"] = addressing
    with running() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url("http"))
        deliver(rig)
        result = rig.snowsync("verify", "JOB")
        assert result.returncode == 0, result.stdout + result.stderr
        hosts = {host for _, host in proxy.asked}
        assert {f"{SOURCE}.source.test", f"{DESTINATION}.destination.test"} <= hosts
        assert addressing == "auto" or len(hosts) == 2


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ({"addressing": "path"}, 5, "set `addressing: virtual`"),
        ({}, 2, "s5cmd cannot put the bucket name before the host"),
    ],
)
def test_bucket_that_does_not_come_before_the_host(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], code: int, words: str
) -> None:
    by_name(rig)
    rig.source.put(SOURCE, "object", b"bytes")
    rig.source.set_switches(virtual_domain="source.test")
    rig.config["source"] |= options
    rig.config["mover"] = {"tool": "s5cmd"}
    with running() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url("http"))
        found, _, errors = rig.run()
    assert found == code
    assert words in errors
