# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a store is reached: addresses, proxies, CA files, paths, and signatures against Amazon's and botocore's."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_keys import GivenKeys
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snowsync.config.credentials import Credentials
from snowsync.config.job_file import Store
from snowsync.core import text
from snowsync.core.errors import ConfigError
from snowsync.store import address

AMAZON = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "", Path("file"), "default")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().endswith("_proxy") or name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (Store(bucket="bucket", region="eu-west-1"), ("https://s3.eu-west-1.amazonaws.com",)),
        (Store(bucket="bucket", region="cn-north-1"), ("https://s3.cn-north-1.amazonaws.com.cn",)),
        (Store(bucket="bucket", endpoints=("http://a:1/", "https://b")), ("http://a:1", "https://b")),
    ],
)
def test_endpoints(store: Store, expected: tuple[str, ...]) -> None:
    assert address.endpoint_urls(store) == expected


@pytest.mark.parametrize(
    ("endpoint", "environment", "expected"),
    [
        ("https://store.example", {}, ""),
        ("https://store.example", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("http://store.example", {"https_proxy": "http://p:1"}, ""),
        ("http://store.example", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("https://store.example", {"all_proxy": "http://p:2"}, "http://p:2"),
        ("https://store.example", {"https_proxy": "http://p:1", "no_proxy": "example"}, ""),
        ("https://store.example", {"https_proxy": "http://p:1", "no_proxy": "other"}, "http://p:1"),
        ("https://store.example", {"https_proxy": "http://p:1", "no_proxy": "*"}, ""),
        ("http://127.0.0.1:9", {"http_proxy": "http://p:1"}, ""),
        ("http://127.9.9.9:9", {"http_proxy": "http://p:1"}, ""),
        ("http://[::1]:9", {"http_proxy": "http://p:1"}, ""),
        ("http://localhost:9", {"http_proxy": "http://p:1"}, ""),
        ("http://192.168.7.7:8080", {"http_proxy": "http://p:1", "no_proxy": "10.0.0.0/8, 192.168.0.0/16"}, ""),
        ("http://192.169.7.7:8080", {"http_proxy": "http://p:1", "no_proxy": "192.168.0.0/16"}, "http://p:1"),
        ("https://store.example", {"all_proxy": "socks5h://p:3"}, "socks5h://p:3"),
        ("http://store.example", {"all_proxy": "SOCKS5://u:w@p:3"}, "socks5h://u:w@p:3"),
        ("http://store.example", {"http_proxy": "p:1"}, "p:1"),
        ("https://store.example", {"https_proxy": "https://p:1"}, "https://p:1"),
        ("http://[fe80::1%eth0]:8080", {"http_proxy": "http://p:1", "no_proxy": "fe80::/10"}, ""),
    ],
)
def test_proxies_are_the_environments(
    endpoint: str, environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert address.proxy_for(endpoint) == expected


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "ftp"])
def test_a_proxy_that_not_every_tool_knows_is_refused(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", f"{scheme}://user:hush@p:1")
    with pytest.raises(ConfigError, match=f"{scheme}:// proxies are not supported; use http://, https:// or") as caught:
        address.proxy_for("http://store.example")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("addressing", "refusal", "expected"),
    [
        ("auto", "SecondLevelDomainForbidden", "virtual"),
        ("auto", "PathStyleDomainForbidden", "virtual"),
        ("auto", "AccessDenied", None),
        ("path", "SecondLevelDomainForbidden", None),
        ("virtual", "SecondLevelDomainForbidden", None),
    ],
)
def test_a_bucket_goes_before_the_host_where_the_store_says_so(
    addressing: str, refusal: str, expected: str | None
) -> None:
    store = address.readdressed(Store(bucket="photos", addressing=addressing), refusal)
    assert (store.addressing if store else None) == expected


@pytest.mark.parametrize(
    ("addressing", "expected"),
    [
        ("path", ("https://s.test:9", "/photos", "/photos/a%20b")),
        ("auto", ("https://s.test:9", "/photos", "/photos/a%20b")),
        ("virtual", ("https://photos.s.test:9", "/", "/a%20b")),
    ],
)
def test_place_of_a_bucket(addressing: str, expected: tuple[str, str, str]) -> None:
    store = Store(bucket="photos", addressing=addressing)
    place = address.place_of(store, "https://s.test:9")
    assert (place.url, place.bucket_path, place.object_path("a b")) == expected


def test_ca_file_is_the_jobs_then_the_environments_then_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    system = address.ca_file(Store(bucket="bucket"))
    assert system == "" or Path(system).is_file()
    monkeypatch.setenv("SSL_CERT_FILE", "/ssl")
    assert address.ca_file(Store(bucket="bucket")) == "/ssl"
    monkeypatch.setenv("AWS_CA_BUNDLE", "/aws")
    assert address.ca_file(Store(bucket="bucket")) == "/aws"
    assert address.ca_file(Store(bucket="bucket", ca_bundle="/job")) == "/job"


@pytest.mark.parametrize(
    ("object_key", "path"),
    [
        ("plain/key-1_2.3~4", "/b/plain/key-1_2.3~4"),
        ("/lead//x/", "/b//lead//x/"),
        ("../x", "/b/../x"),
        ("a b+c%41?#&=;", "/b/a%20b%2Bc%2541%3F%23%26%3D%3B"),
        ("é\n\x7f", "/b/%C3%A9%0A%7F"),
        ("\udce9", "/b/%E9"),  # a byte that was no UTF-8 in a listing goes back as it came
    ],
)
def test_object_path(object_key: str, path: str) -> None:
    assert address.Place("http://a", "/b").object_path(object_key) == path


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_every_object_path_is_encoded_alike(object_key: str) -> None:
    """Also one that needs no encoding, which is not looked at character by character."""
    expected = re.sub(rb"[^A-Za-z0-9/_.~-]", lambda found: b"%%%02X" % found[0][0], object_key.encode()).decode()
    assert address.Place("http://a", "").object_path(object_key) == f"/{expected}"


def test_query_is_sorted_and_wholly_encoded() -> None:
    assert address.query_string({"prefix": "a/b c", "max-keys": "1"}) == "max-keys=1&prefix=a%2Fb%20c"


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://h:443", "h"),
        ("http://h:80", "h"),
        ("https://h:80", "h:80"),
        ("http://[::1]:9000", "[::1]:9000"),
        ("http://[fe80::1%eth0]", "[fe80::1]"),
    ],
)
def test_host_header_is_what_is_sent(endpoint: str, host: str) -> None:
    assert address.host_header(endpoint) == host


def test_a_key_is_shown_on_one_line_and_not_in_full_length() -> None:
    assert text.url_text("b", "a\nb\x1b[31m") == "s3://b/a\\nb\\x1b[31m"
    assert len(text.url_text("b", "k" * 1024)) < 320


# The examples of Amazon's "Authenticating Requests: Using the Authorization Header".
@pytest.mark.parametrize(
    ("query", "signature"),
    [
        ("lifecycle=", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_signatures_are_amazons(query: str, signature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1369353600.5)
    signer = address.Signer(AMAZON, "us-east-1", "examplebucket.s3.amazonaws.com")
    lines = signer.headers("GET", "/", query)
    assert lines[0].endswith(f"Signature={signature}")
    assert "x-amz-date: 20130524T000000Z" in lines
    assert not any(AMAZON.secret_key in line for line in lines)


def botocore_signature(method: str, url: str, lines: list[str], credentials: Credentials, region: str) -> str:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as BotocoreCredentials

    headers = dict(line.split(": ", 1) for line in lines[1:])
    request = AWSRequest(method, url, headers=headers)
    request.context["timestamp"] = headers["x-amz-date"]
    signer = S3SigV4Auth(BotocoreCredentials(credentials.access_key, credentials.secret_key), "s3", region)
    return signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)


@settings(max_examples=60, deadline=None)
@given(object_key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), token=st.booleans())
@example(object_key="..", token=False)
@example(object_key="//a/./../b?c#d&e=f+%41", token=True)
def test_signatures_are_botocores(object_key: str, token: bool) -> None:
    credentials = Credentials("test:tester", "secret", "token/+=" if token else "", Path("f"), "p")
    signer = address.Signer(credentials, "snow", "[::1]:8080", checksum_mode=token)
    path, query = (
        address.Place("http://a", "/bucket").object_path(object_key),
        address.query_string({"partNumber": "1", "x": object_key}),
    )
    lines = signer.headers("HEAD", path, query)
    expected = botocore_signature("HEAD", f"http://[::1]:8080{path}?{query}", lines, credentials, "snow")
    assert lines[0].rpartition("Signature=")[2] == expected
    assert ("x-amz-security-token: token/+=" in lines) == token
    assert ("x-amz-checksum-mode: ENABLED" in lines) == token


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.from_regex(r"x-amz-meta-[a-z0-9]{1,5}", fullmatch=True), st.text(" ab=/", max_size=8)))
def test_signatures_of_uploads_are_botocores(metadata: dict[str, str]) -> None:
    metadata = {name: value.strip() or "x" for name, value in metadata.items()}  # libcurl sends them like this
    signer = address.Signer(AMAZON, "us-east-1", "h")
    headers = {"content-type": "text/plain; charset=utf-8", "content-md5": "XUFAKrxLKna5cZ2REBfFkg==", **metadata}
    lines = signer.sign("PUT", "/b/k", "", headers, "0" * 64)
    expected = botocore_signature("PUT", "http://h/b/k", lines, AMAZON, "us-east-1")
    assert lines[0].rpartition("Signature=")[2] == expected
    assert {f"{name}: {value}" for name, value in headers.items()} <= set(lines)


def test_a_signer_follows_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = address.Signer(AMAZON, "us-east-1", "h")
    seen = []
    for now in (1_700_000_000.0, 1_700_000_000.9, 1_700_000_001.0, 1_700_090_000.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        seen.append(signer.headers("GET", "/b", ""))
    assert seen[0] == seen[1] != seen[2]
    assert "/20231115/" in seen[3][0]


def test_a_signer_takes_renewed_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    keys = GivenKeys(AMAZON)
    signer = address.Signer(keys, "us-east-1", "h")
    before = signer.headers("GET", "/b", "")
    keys.now = replace(AMAZON, access_key="AKIANEW", session_token="t")
    after = signer.headers("GET", "/b", "")
    assert "Credential=AKIANEW/" in after[0] and "x-amz-security-token: t" in after
    assert before[0].rpartition("=")[2] != after[0].rpartition("=")[2]
