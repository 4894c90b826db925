# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The full client against a store that answers by script: pre-flight, both ways of objects, uploads that go wrong."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from email.header import decode_header, make_header
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from scripted_store import Asked, Close, ScriptedStore, Silence, error, reply
from servers.certificates import Certificates, make_certificates

from snowsync.config.credentials import Credentials
from snowsync.config.job_file import Store
from snowsync.core import etag
from snowsync.core.errors import JobStopped, StoreError, Trouble
from snowsync.core.header_text import dump_headers
from snowsync.core.model import Fetch, Headers, Outcome, Send
from snowsync.store import upload_bodies
from snowsync.store.boto_client import Checked, Control
from snowsync.store.timeouts import Patience
from snowsync.store.upload_bodies import Section

SECRET = "hush/very+secret=key"
CREDENTIALS = Credentials("AKIATEST", SECRET, "hush-token", Path("file"), "default")
PART = 1000
FILE = bytes(range(256)) * 10  # 2,560 bytes: two parts and a rest
LISTING = "<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated></ListBucketResult>"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().endswith("_proxy") or name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # what botocore does between attempts


@pytest.fixture
def store() -> Iterator[ScriptedStore]:
    with ScriptedStore(lambda asked: reply(404)).running() as running:
        yield running


@pytest.fixture
def control(store: ScriptedStore) -> Control:
    return connect(store.url)


def connect(url: str, stall_seconds: float = 30, **options: Any) -> Control:
    patience = Patience(stall_seconds, stall_seconds)
    described = Store(bucket="bucket", endpoints=(url,), **options)
    return Control(described, url, CREDENTIALS, attempts=2, connect_timeout=30, patience=patience)


def impatient(store: ScriptedStore, answer: bytes | Silence) -> Control:
    """A client that waits for this answer as long as a test should: not for what will never come."""
    waits = not isinstance(answer, Silence) or isinstance(answer, Close)
    return connect(store.url, 30 if waits else 1)


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    path = tmp_path / "staged"
    path.write_bytes(FILE)
    return path


def send(
    control: Control, path: Path, *, part_size: int = 0, headers: Headers | None = None, key: str = "k"
) -> Outcome:
    outcome = control.send(Send(7, key, path.stat().st_size, str(path), part_size, dump_headers(headers or Headers())))
    assert outcome.id == 7
    hides_secrets(outcome.message)
    return outcome


def fetch(control: Control, path: Path, size: int, **options: str) -> Outcome:
    outcome = control.fetch(Fetch(8, "k", size, str(path)), **options)
    assert outcome.id == 8
    hides_secrets(outcome.message)
    return outcome


def hides_secrets(message: str) -> None:
    assert not any(secret in message for secret in (SECRET, "hush-token", "Signature="))


class Multipart:
    """A store for one multipart upload; `script` may be wrapped to let a step fail."""

    def __init__(self) -> None:
        self.parts: dict[int, bytes] = {}
        self.aborted: list[str] = []
        self.begun: Asked | None = None

    def script(self, asked: Asked) -> bytes:
        if asked.method == "POST" and "uploads" in asked.query:
            self.begun = asked
            return xml("InitiateMultipartUploadResult", UploadId="up/1", date=formatdate(usegmt=True))
        if asked.method == "PUT":
            number = int(asked.query["partNumber"])
            self.parts[number] = asked.body
            return reply(200, ETag=f'"{hashlib.md5(asked.body).hexdigest()}"')
        if asked.method == "DELETE":
            self.aborted.append(asked.query["uploadId"])
            return reply(204)
        return xml("CompleteMultipartUploadResult", ETag="&quot;x-3&quot;")

    @property
    def etag(self) -> str:
        digests = b"".join(hashlib.md5(self.parts[number]).digest() for number in sorted(self.parts))
        return f"{hashlib.md5(digests).hexdigest()}-{len(self.parts)}"


def xml(root: str, date: str = "", **elements: str) -> bytes:
    body = "".join(f"<{name}>{value}</{name}>" for name, value in elements.items())
    return reply(200, f"<{root}>{body}</{root}>", **({"date": date} if date else {}))


# --- pre-flight


@pytest.mark.parametrize("ahead", [0, 290, -310, 3600])
def test_check_tells_the_clocks_difference(ahead: int, store: ScriptedStore, control: Control) -> None:
    import time

    store.script = lambda asked: reply(200, LISTING, date=formatdate(time.time() + ahead, usegmt=True))
    checked = control.check()
    assert checked.clock_skew_seconds == pytest.approx(ahead, abs=5)
    assert store.asked[0].query["max-keys"] == "1"


def test_check_of_a_store_without_a_clock(store: ScriptedStore, control: Control) -> None:
    store.script = lambda asked: reply(200, LISTING)
    assert control.check() == Checked(0.0)


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (error(403, "InvalidAccessKeyId"), Trouble.CREDENTIAL),
        (error(403, "SignatureDoesNotMatch"), Trouble.CREDENTIAL),
        (error(400, "ExpiredToken"), Trouble.CREDENTIAL),
        (error(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"), Trouble.CREDENTIAL),
        (error(404, "NoSuchBucket"), Trouble.BUCKET),
        (error(301, "PermanentRedirect", "<Endpoint>bucket.s3.eu-west-1.amazonaws.com</Endpoint>"), Trouble.BUCKET),
        (reply(301, "<html>moved</html>", location="https://b.example/"), Trouble.BUCKET),
    ],
)
def test_check_stops_the_job_where_waiting_would_not_help(
    answer: bytes, trouble: Trouble, store: ScriptedStore, control: Control
) -> None:
    store.script = lambda asked: answer
    with pytest.raises(JobStopped) as caught:
        control.check()
    assert caught.value.trouble is trouble
    hides_secrets(str(caught.value))
    assert str(caught.value).startswith(f"Failed to check s3://bucket/ at {store.url}: ")
    assert ("it redirects to 'https://b.example/'" in str(caught.value)) is (b"https://b.example" in answer)
    assert len(store.asked) == 1


def test_a_bucket_elsewhere_is_not_followed(store: ScriptedStore, control: Control) -> None:
    store.script = lambda asked: error(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>")
    with pytest.raises(JobStopped, match="reports region 'eu-west-1', this job has 'us-east-1'"):
        control.check()
    assert all("/us-east-1/" in asked.headers["authorization"] for asked in store.asked)


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (error(403, "AccessDenied"), Trouble.DENIED),
        (error(503, "SlowDown"), Trouble.THROTTLED),
        (error(403, "RequestTimeTooSkewed"), Trouble.SERVER),
        (reply(500), Trouble.SERVER),
        (reply(404, "<html><body>404 Not Found</body></html>"), Trouble.SERVER),
        (reply(200, "<html><body>Sign in<br></body></html>"), Trouble.SERVER),
        (reply(200, "<html><body>Sign in</body></html>"), Trouble.SERVER),
        (Silence(), Trouble.TIMEOUT),
        (Close(), Trouble.BROKEN),
    ],
)
def test_check_ignores_transient_errors(answer: bytes | Silence, trouble: Trouble, store: ScriptedStore) -> None:
    store.script = lambda asked: answer
    with pytest.raises(StoreError) as caught:
        impatient(store, answer).check()
    assert not isinstance(caught.value, JobStopped)
    assert caught.value.trouble is trouble
    assert len(store.asked) == 1


def test_check_without_a_listener_a_name_or_tls(store: ScriptedStore) -> None:
    def trouble(url: str, **options: str) -> Trouble:
        with pytest.raises(StoreError) as caught:
            connect(url, **options).check()
        return caught.value.trouble

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert trouble(f"http://127.0.0.1:{unused.getsockname()[1]}") is Trouble.REFUSED
    assert trouble("http://store.invalid") is Trouble.DNS
    assert trouble(store.url.replace("http:", "https:")) is Trouble.TLS
    assert trouble(store.url.replace("http:", "https:"), ca_bundle="/nowhere/ca.pem") is Trouble.TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """For 127.0.0.1, not for 127.0.0.2."""
    return make_certificates(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture
def context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    return context


def test_certificates_are_always_checked(context: ssl.SSLContext, certificates: Certificates, tmp_path: Path) -> None:
    def trouble(url: str, **options: Any) -> Trouble:
        with pytest.raises(StoreError) as caught:
            connect(url, **options).check()
        return caught.value.trouble

    ours, another = certificates.authority, make_certificates(tmp_path, "127.0.0.1").authority
    with ScriptedStore(lambda asked: reply(200, LISTING), context=context).running() as store:
        connect(store.url, ca_bundle=ours).check()
        assert trouble(store.url, ca_bundle=another) is Trouble.TLS
        assert trouble(store.url) is Trouble.TLS
    with ScriptedStore(lambda asked: reply(200, LISTING), context=context, address="127.0.0.2").running() as misnamed:
        assert trouble(misnamed.url, ca_bundle=ours) is Trouble.TLS
        assert misnamed.asked == []


def test_check_never_asks_an_old_store_for_its_listing(store: ScriptedStore) -> None:
    store.script = lambda asked: reply(200)
    connect(store.url, list_version="v1").check()
    assert [asked.method for asked in store.asked] == ["HEAD"]


def test_check_asks_an_old_store_why(store: ScriptedStore) -> None:
    store.script = lambda asked: reply(403) if asked.method == "HEAD" else error(403, "InvalidAccessKeyId")
    with pytest.raises(JobStopped, match="does not know this access key"):
        connect(store.url, list_version="v1").check()
    assert "list-type" not in store.asked[-1].query


def test_nothing_comes_from_the_users_own_configuration(
    store: ScriptedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[default]\nregion = eu-west-9\ns3 =\n    addressing_style = virtual\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "WHEN_SUPPORTED")
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    store.script = lambda asked: reply(200, LISTING)
    connect(store.url).check()
    assert "Credential=AKIATEST/" in store.asked[0].headers["authorization"]
    assert "/us-east-1/s3/" in store.asked[0].headers["authorization"]
    assert store.asked[0].target.startswith("/bucket?")


def test_proxies_are_the_environments(store: ScriptedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.script = lambda asked: reply(200, LISTING)
    monkeypatch.setenv("http_proxy", store.url)
    connect("http://store.invalid:8080").check()
    assert store.asked[0].target.startswith("http://store.invalid:8080/bucket?")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    connect(store.url).check()
    assert len(store.asked) == 2


# --- fetch


def test_fetch(store: ScriptedStore, control: Control, tmp_path: Path) -> None:
    body = os.urandom(3 * upload_bodies.CHUNK + 5)
    store.script = lambda asked: reply(200, body)
    target = tmp_path / "incoming"
    target.write_bytes(b"older and longer" * 1_000_000)
    assert fetch(control, target, len(body)).ok
    assert target.read_bytes() == body
    target.unlink()
    assert fetch(control, target, len(body), if_match="e").ok
    assert target.stat().st_mode & 0o777 == 0o600
    assert [asked.headers.get("if-match") for asked in store.asked] == [None, '"e"']


def test_fetch_of_an_empty_object_asks_nothing(store: ScriptedStore, control: Control, tmp_path: Path) -> None:
    assert fetch(control, tmp_path / "empty", 0).ok
    assert (tmp_path / "empty").read_bytes() == b""
    assert store.asked == []


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (error(404, "NoSuchKey"), Trouble.NOT_FOUND),
        (error(404, "NoSuchBucket"), Trouble.BUCKET),
        (error(412, "PreconditionFailed"), Trouble.CHANGED),
        (error(403, "AccessDenied"), Trouble.DENIED),
        (reply(404, "<Error><Code>NoSuchKey</Code><Message/></Error>"), Trouble.NOT_FOUND),
        (reply(404, "<html>404</html>"), Trouble.SERVER),
        (reply(200, b"x" * 99), Trouble.CHANGED),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Trouble.CHANGED),
        (Close(reply(200, b"x" * 100)[:-1]), Trouble.BROKEN),
        (Silence(reply(200, b"x" * 100)[:-1]), Trouble.TIMEOUT),
    ],
)
def test_fetch_that_fails(answer: bytes | Silence, trouble: Trouble, store: ScriptedStore, tmp_path: Path) -> None:
    store.script = lambda asked: answer
    outcome = fetch(impatient(store, answer), tmp_path / "incoming", 100)
    assert outcome.trouble is trouble, outcome
    assert f"fetch s3://bucket/k from {store.url}: " in outcome.message


@pytest.mark.parametrize(
    ("path", "trouble"), [("/dev/full", Trouble.SPACE), ("/nowhere/x", Trouble.IO), ("/proc/version", Trouble.IO)]
)
def test_fetch_to_a_bad_place(path: str, trouble: Trouble, store: ScriptedStore, control: Control) -> None:
    store.script = lambda asked: reply(200, b"x" * 100)
    assert fetch(control, Path(path), 100).trouble is trouble


def test_fetch_does_not_follow_a_link(store: ScriptedStore, control: Control, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert fetch(control, tmp_path / "link", 0).trouble is Trouble.IO
    assert not (tmp_path / "elsewhere").exists()


# --- send

ALL_HEADERS = Headers(
    content_type="text/x; charset=utf-8",
    cache_control="no-cache",
    content_encoding="gzip",
    content_disposition='attachment; filename="a b"',
    content_language="de",
    expires="not a date at all",
    metadata={"plain": "a  b", "empty": "", "words": "=?UTF-8?Q?Gr=C3=BC=C3=9Fe?="},
    tags={"a b": "c&d=é", "x": ""},
)


def carries_all_headers(asked: Asked) -> None:
    wanted = {
        "content-type": "text/x; charset=utf-8",
        "cache-control": "no-cache",
        "content-encoding": "gzip",
        "content-disposition": 'attachment; filename="a b"',
        "content-language": "de",
        "expires": "not a date at all",
        "x-amz-meta-plain": "a  b",
        "x-amz-meta-empty": "",
        "x-amz-meta-words": "=?UTF-8?Q?Gr=C3=BC=C3=9Fe?=",
    }
    assert {name: asked.headers.get(name) for name in wanted} == wanted
    assert parse_qs(asked.headers["x-amz-tagging"], keep_blank_values=True) == {"a b": ["c&d=é"], "x": [""]}
    signed = asked.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {name for name in asked.headers if name.startswith("x-amz-")} <= set(signed)


def test_send_in_one_put(store: ScriptedStore, control: Control, staged: Path) -> None:
    store.script = lambda asked: reply(200)
    assert send(control, staged, headers=ALL_HEADERS, key="../é\n").ok
    asked = store.asked[0]
    assert (asked.method, asked.target, asked.body) == ("PUT", "/bucket/../%C3%A9%0A", FILE)
    assert asked.headers["content-md5"] == base64.b64encode(hashlib.md5(FILE).digest()).decode()
    assert "x-amz-sdk-checksum-algorithm" not in asked.headers
    carries_all_headers(asked)


def test_send_without_headers_sends_none(store: ScriptedStore, control: Control, staged: Path) -> None:
    store.script = lambda asked: reply(200)
    assert send(control, staged, headers=ALL_HEADERS).ok
    assert send(control, staged).ok
    last = store.asked[-1].headers
    assert not {"content-type", "cache-control", "expires", "x-amz-tagging"} & set(last)
    assert not [name for name in last if name.startswith("x-amz-meta-")]


@pytest.mark.parametrize("part_size", [0, PART])
def test_send_of_an_empty_file_is_one_put(
    part_size: int, store: ScriptedStore, control: Control, tmp_path: Path
) -> None:
    store.script = lambda asked: reply(200)
    (tmp_path / "empty").touch()
    assert send(control, tmp_path / "empty", part_size=part_size).ok
    assert [(asked.method, asked.headers["content-length"]) for asked in store.asked] == [("PUT", "0")]
    assert store.asked[0].headers["content-md5"] == base64.b64encode(hashlib.md5(b"").digest()).decode()


def test_send_follows_the_link_to_a_dropped_file(store: ScriptedStore, control: Control, tmp_path: Path) -> None:
    """An empty one travels this way; refused, it would look like a volume that fails, and end the use of it."""
    (tmp_path / "empty").touch()
    (tmp_path / "7").symlink_to(tmp_path / "empty")
    store.script = lambda asked: reply(200)
    assert send(control, tmp_path / "7").ok


def test_send_in_parts_of_exactly_the_size(store: ScriptedStore, control: Control, staged: Path) -> None:
    upload = Multipart()
    store.script = upload.script
    assert send(control, staged, part_size=PART, headers=ALL_HEADERS).ok
    assert upload.parts == {1: FILE[:1000], 2: FILE[1000:2000], 3: FILE[2000:]}
    assert upload.begun is not None
    carries_all_headers(upload.begun)
    for asked in store.asked:
        if asked.method == "PUT":
            assert asked.headers["content-md5"] == base64.b64encode(hashlib.md5(asked.body).digest()).decode()
            assert "cache-control" not in asked.headers
    assert store.asked[-1].body.count(b"<PartNumber>") == 3
    assert upload.aborted == []


@pytest.mark.parametrize(
    ("told", "word"), [("0" * 32, Trouble.MISMATCH), ("no digest", None), ("0" * 32 + "-3", None), ("", None)]
)
def test_a_part_that_the_store_has_otherwise_is_not_completed(
    store: ScriptedStore, control: Control, staged: Path, told: str, word: Trouble | None
) -> None:
    """An ETag that is no MD5 says nothing, and none says nothing."""
    upload = Multipart()

    def script(asked: Asked) -> bytes:
        answer = upload.script(asked)
        if asked.method == "PUT" and asked.query["partNumber"] == "2":
            return reply(200, **({"ETag": f'"{told}"'} if told else {}))
        return answer

    store.script = script
    outcome = send(control, staged, part_size=PART)
    assert outcome.trouble is word
    assert upload.aborted == (["up/1"] if word else [])
    if word:
        assert "part 2" in outcome.message and hashlib.md5(FILE[1000:2000]).hexdigest() in outcome.message


def test_a_complete_that_says_nothing_is_asked_once_looked_at_and_not_aborted(
    store: ScriptedStore, staged: Path
) -> None:
    """The store may still be putting the parts together, for much longer than any other answer takes."""
    upload = Multipart()

    def script(asked: Asked) -> bytes | Silence:
        if asked.method == "POST" and "uploads" not in asked.query:
            return Silence()
        return reply(404) if asked.method == "HEAD" else upload.script(asked)

    store.script = script
    outcome = send(connect(store.url, 1), staged, part_size=PART)
    assert outcome.trouble is Trouble.TIMEOUT
    assert [asked.method for asked in store.asked].count("HEAD") == 1
    assert [asked.method for asked in store.asked].count("POST") == 2, "one begins it, one completes it"
    assert upload.aborted == []


@pytest.mark.parametrize("part_size", [0, PART])
def test_a_file_that_rotted_is_not_stored(store: ScriptedStore, control: Control, staged: Path, part_size: int) -> None:
    upload = Multipart()
    store.script = upload.script
    digest = etag.file_etag(staged, part_size)
    staged.write_bytes(FILE[:-1] + b"?")
    md5 = "" if part_size else digest
    outcome = control.send(Send(7, "k", len(FILE), str(staged), part_size, "", md5, digest))
    assert outcome.trouble is Trouble.MISMATCH
    assert digest in outcome.message
    if part_size:
        assert upload.aborted == ["up/1"]
        assert [asked.method for asked in store.asked].count("POST") == 1, "it was begun, and not completed"
    else:
        assert store.asked == []


def test_parts_with_known_MD5s_are_not_read_for_them(
    store: ScriptedStore, control: Control, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = Multipart()
    store.script = upload.script
    digest, md5s = etag.file_digests(staged, PART)
    real, read = os.pread, []
    monkeypatch.setattr(os, "pread", lambda fd, size, start: read.append(piece := real(fd, size, start)) or piece)
    work = Send(7, "k", len(FILE), str(staged), PART, "", "", digest, part_md5s=md5s)
    assert control.send(work).ok
    assert upload.etag == digest
    told = {asked.headers["content-md5"] for asked in store.asked if asked.method == "PUT"}
    assert told == {base64.b64encode(hashlib.md5(part).digest()).decode() for part in upload.parts.values()}
    assert sum(map(len, read)) == 2 * len(FILE), "once to sign it, over http, and once to send it"


def test_a_part_that_rotted_ends_the_upload_before_its_last_byte(
    store: ScriptedStore, control: Control, staged: Path
) -> None:
    upload = Multipart()
    store.script = upload.script
    digest, md5s = etag.file_digests(staged, PART)
    staged.write_bytes(FILE[:PART] + bytes([FILE[PART] ^ 1]) + FILE[PART + 1 :])
    outcome = control.send(Send(7, "k", len(FILE), str(staged), PART, "", "", digest, part_md5s=md5s))
    assert outcome.trouble is Trouble.MISMATCH
    assert "part 2 of the file" in outcome.message and "damaged on its volume" in outcome.message
    assert list(upload.parts) == [1], "neither it nor any later part"
    assert upload.aborted == ["up/1"]


@pytest.mark.parametrize("part_size", [0, PART])
def test_a_file_is_never_in_memory_as_a_whole(
    part_size: int, store: ScriptedStore, control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.script = Multipart().script if part_size else lambda asked: reply(200)
    large = tmp_path / "large"
    large.write_bytes(b"x" * (3 * upload_bodies.CHUNK))
    real, most = os.pread, []
    monkeypatch.setattr(os, "pread", lambda fd, size, start: most.append(size) or real(fd, size, start))
    assert send(control, large, part_size=part_size and 2 * upload_bodies.CHUNK).ok
    assert 0 < max(most) <= upload_bodies.CHUNK


RAW = "Grüße 雪\u00a0!"


@pytest.mark.parametrize("part_size", [0, PART])
def test_metadata_goes_up_as_it_came(part_size: int, store: ScriptedStore, control: Control, staged: Path) -> None:
    store.script = Multipart().script if part_size else lambda asked: reply(200)
    assert send(control, staged, part_size=part_size, headers=Headers(metadata={"v": RAW})).ok
    assert store.asked[0].headers["x-amz-meta-v"].encode("latin-1") == RAW.encode()


@pytest.mark.parametrize("part_size", [0, PART])
def test_metadata_is_encoded_where_the_store_signs_other_bytes(
    part_size: int, store: ScriptedStore, control: Control, staged: Path
) -> None:
    upload = Multipart()

    def script(asked: Asked) -> bytes:
        if not asked.headers.get("x-amz-meta-v", "").isascii():
            return error(403, "SignatureDoesNotMatch")
        return upload.script(asked) if part_size else reply(200)

    store.script = script
    value = RAW * 10
    assert send(control, staged, part_size=part_size, headers=Headers(metadata={"v": value, "w": "as is"})).ok
    carried = next(asked.headers for asked in store.asked if asked.headers.get("x-amz-meta-v", "ü").isascii())
    assert str(make_header(decode_header(carried["x-amz-meta-v"]))) == value
    assert all(len(word) <= 75 for word in carried["x-amz-meta-v"].split())
    assert carried["x-amz-meta-w"] == "as is"


def test_a_wrong_secret_is_not_taken_for_odd_metadata(store: ScriptedStore, control: Control, staged: Path) -> None:
    store.script = lambda asked: error(403, "SignatureDoesNotMatch")
    assert send(control, staged, headers=Headers(metadata={"v": "ascii"})).trouble is Trouble.CREDENTIAL
    assert len(store.asked) == 1
    assert send(control, staged, headers=Headers(metadata={"v": "ü"})).trouble is Trouble.CREDENTIAL
    assert len(store.asked) == 3


@pytest.mark.parametrize("part_size", [0, PART])
def test_a_store_without_tags_is_named(part_size: int, store: ScriptedStore, control: Control, staged: Path) -> None:
    store.script = lambda asked: error(501, "NotImplemented")
    with_tags = send(control, staged, part_size=part_size, headers=Headers(tags={"a": "b"}))
    assert with_tags.trouble is Trouble.UNSUPPORTED
    assert "has 1 tags" in with_tags.message
    without = send(control, staged, part_size=part_size)
    assert without.trouble is Trouble.UNSUPPORTED
    assert "tags" not in without.message


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (error(400, "BadDigest"), Trouble.MISMATCH),
        (error(403, "AccessDenied"), Trouble.DENIED),
        (error(400, "KeyTooLongError"), Trouble.UNSUPPORTED),
        (error(503, "SlowDown"), Trouble.THROTTLED),
        (Silence(), Trouble.TIMEOUT),
        (Close(), Trouble.BROKEN),
    ],
)
def test_send_that_fails(answer: bytes | Silence, trouble: Trouble, store: ScriptedStore, staged: Path) -> None:
    store.script = lambda asked: answer
    outcome = send(impatient(store, answer), staged)
    assert outcome.trouble is trouble, outcome
    assert f"send s3://bucket/k to {store.url}: " in outcome.message


def test_a_body_is_sent_again_from_its_start(store: ScriptedStore, control: Control, staged: Path) -> None:
    store.script = lambda asked: reply(500) if len(store.asked) == 1 else reply(200)
    assert send(control, staged).ok
    assert [asked.body for asked in store.asked] == [FILE, FILE]


def test_a_file_of_another_size_is_not_sent(store: ScriptedStore, control: Control, staged: Path) -> None:
    outcome = control.send(Send(7, "k", 5, str(staged), 0, ""))
    assert outcome.trouble is Trouble.MISMATCH
    assert control.send(Send(7, "k", 5, str(staged) + "x", 0, "")).trouble is Trouble.IO
    assert store.asked == []


def test_a_file_cut_short_under_way_aborts_the_upload(store: ScriptedStore, control: Control, staged: Path) -> None:
    upload = Multipart()

    def script(asked: Asked) -> bytes:
        if asked.method == "PUT":
            os.truncate(staged, 1500)
        return upload.script(asked)

    store.script = script
    outcome = send(control, staged, part_size=PART)
    assert outcome.trouble is Trouble.IO
    assert "became shorter" in outcome.message
    assert upload.aborted == ["up/1"]


def failing(upload: Multipart, method: str, answer: bytes | Silence) -> Callable[[Asked], bytes | Silence]:
    def script(asked: Asked) -> bytes | Silence:
        if asked.method == method and "uploads" not in asked.query:
            return answer
        return upload.script(asked)

    return script


@pytest.mark.parametrize(
    ("method", "answer", "trouble"),
    [
        ("PUT", error(400, "BadDigest"), Trouble.MISMATCH),
        ("PUT", Silence(), Trouble.TIMEOUT),
        ("POST", error(400, "EntityTooSmall"), Trouble.UNSUPPORTED),
        ("POST", reply(200, "<Error><Code>InternalError</Code><Message>m</Message></Error>"), Trouble.SERVER),
    ],
)
def test_a_failed_upload_is_aborted(
    method: str, answer: bytes | Silence, trouble: Trouble, store: ScriptedStore, staged: Path
) -> None:
    upload = Multipart()
    failing_script = failing(upload, method, answer)
    store.script = lambda asked: reply(404) if asked.method == "HEAD" else failing_script(asked)
    assert send(impatient(store, answer), staged, part_size=PART).trouble is trouble
    assert upload.aborted == ["up/1"]


def stored_object(upload: Multipart, size: int, etag: str, modified: float | None) -> bytes:
    return reply(
        200,
        b"x" * size,
        head=True,
        ETag=f'"{etag or upload.etag}"',
        last_modified=formatdate(modified, usegmt=True),
    )


@pytest.mark.parametrize("answer", [error(404, "NoSuchUpload"), Close(), error(500, "InternalError")])
@pytest.mark.parametrize(
    ("size", "etag", "modified", "stored"),
    [
        (len(FILE), "", 0.0, True),  # our ETag, whenever it was
        (len(FILE), "opaque", None, True),  # a store with ETags of its own: our size, stored just now
        (len(FILE), "opaque", 1_700_000_000.0, False),  # an older object
        (5, "opaque", None, False),  # somebody else's
    ],
)
def test_an_upload_whose_completion_is_unsure_is_looked_at(
    answer: bytes | Silence,
    size: int,
    etag: str,
    modified: float | None,
    stored: bool,
    store: ScriptedStore,
    control: Control,
    staged: Path,
) -> None:
    upload = Multipart()
    script = failing(upload, "POST", answer)
    store.script = lambda asked: (
        stored_object(upload, size, etag, modified) if asked.method == "HEAD" else script(asked)
    )
    outcome = send(control, staged, part_size=PART)
    assert outcome.ok is stored
    assert upload.aborted == ([] if stored else ["up/1"])


def test_threads_do_not_mix_up_headers(store: ScriptedStore, control: Control, tmp_path: Path) -> None:
    store.script = lambda asked: reply(200)
    failures: list[str] = []

    def work(name: str) -> None:
        (tmp_path / name).write_bytes(name.encode())
        for _ in range(10):
            outcome = send(control, tmp_path / name, key=name, headers=Headers(metadata={"name": name, name: "1"}))
            failures.extend([] if outcome.ok else [outcome.message])

    threads = [threading.Thread(target=work, args=(f"n{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for asked in store.asked:
        metadata = {name for name in asked.headers if name.startswith("x-amz-meta-")}
        assert metadata == {"x-amz-meta-name", f"x-amz-meta-{asked.key}"}
        assert asked.headers["x-amz-meta-name"] == asked.key == asked.body.decode()


# --- tags and old uploads


def test_tags(store: ScriptedStore, control: Control) -> None:
    tag = "<Tag><Key>a b</Key><Value>&amp;é</Value></Tag><Tag><Key>x</Key><Value></Value></Tag>"
    store.script = lambda asked: reply(
        200, f"<Tagging><TagSet>{tag}</TagSet></Tagging>" if asked.method == "GET" else ""
    )
    assert control.get_tags("k/é") == {"a b": "&é", "x": ""}
    assert [asked.target for asked in store.asked] == ["/bucket/k/%C3%A9?tagging"]


def test_tags_that_fail(store: ScriptedStore, control: Control) -> None:
    store.script = lambda asked: error(501, "NotImplemented")
    with pytest.raises(StoreError, match="Failed to read the tags of s3://bucket/k") as caught:
        control.get_tags("k")
    assert caught.value.trouble is Trouble.UNSUPPORTED


BEGUN = "2026-02-02T02:40:00.000Z"
BEGUN_MS = 1770000000000


def upload_entry(key: str, upload_id: str, begun: str = BEGUN) -> str:
    return f"<Upload><Key>{key}</Key><UploadId>{upload_id}</UploadId><Initiated>{begun}</Initiated></Upload>"


def test_old_uploads_of_exactly_this_key_are_aborted(store: ScriptedStore, control: Control) -> None:
    pages = {
        None: upload_entry("k%20y", "old")
        + upload_entry("k%20y", "new", "2026-02-02T02:40:01.000Z")
        + "<IsTruncated>true</IsTruncated><NextKeyMarker>k+y</NextKeyMarker><NextUploadIdMarker>m</NextUploadIdMarker>",
        "k y": upload_entry("k+y", "older", "2025-01-01T00:00:00.000Z") + upload_entry("k%20y2", "other"),
    }
    aborted: list[str] = []

    def script(asked: Asked) -> bytes:
        if asked.method == "DELETE":
            aborted.append(f"{asked.key}:{asked.query['uploadId']}")
            return reply(204)
        assert asked.query["prefix"] == "k y"
        body = pages[asked.query.get("key-marker")]
        root = "ListMultipartUploadsResult"
        return reply(200, f"<{root}><EncodingType>url</EncodingType>{body}</{root}>")

    store.script = script
    assert control.abort_uploads("k y", BEGUN_MS + 500) == 2
    assert aborted == ["k y:old", "k y:older"]


def test_uploads_are_found_where_keys_are_encoded_unasked(store: ScriptedStore, control: Control) -> None:
    body = upload_entry("k%20%2By", "gone") + upload_entry("k%20%2By", "u")

    def script(asked: Asked) -> bytes:
        if asked.method == "GET":
            return reply(200, f"<ListMultipartUploadsResult>{body}</ListMultipartUploadsResult>")
        return error(404, "NoSuchUpload") if asked.query["uploadId"] == "gone" else reply(204)

    store.script = script
    assert control.abort_uploads("k +y", BEGUN_MS + 1) == 1
    assert [asked.key for asked in store.asked[1:]] == ["k +y", "k +y"]


def test_an_upload_that_is_continued_is_not_aborted(store: ScriptedStore, control: Control) -> None:
    body = upload_entry("k", "continued") + upload_entry("k", "left")

    def script(asked: Asked) -> bytes:
        if asked.method == "GET":
            return reply(200, f"<ListMultipartUploadsResult>{body}</ListMultipartUploadsResult>")
        return reply(204)

    store.script = script
    assert control.abort_uploads("k", BEGUN_MS + 1, keep={"continued"}) == 1
    assert [asked.query["uploadId"] for asked in store.asked[1:]] == ["left"]


@pytest.mark.parametrize("answer", [reply(204), error(404, "NoSuchUpload")])
def test_one_upload_is_aborted_if_it_is_there(answer: bytes, store: ScriptedStore, control: Control) -> None:
    store.script = lambda asked: answer
    control.abort_upload("k", "u")
    assert (store.asked[0].method, store.asked[0].query) == ("DELETE", {"uploadId": "u"})


def test_uploads_that_go_in_circles_end(store: ScriptedStore, control: Control) -> None:
    body = upload_entry("k", "u") + "<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>"
    store.script = lambda asked: (
        reply(204)
        if asked.method == "DELETE"
        else reply(200, f"<ListMultipartUploadsResult>{body}</ListMultipartUploadsResult>")
    )
    assert control.abort_uploads("k", BEGUN_MS + 1) >= 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(501, "NotImplemented"), 0),
        (error(405, "MethodNotAllowed"), 0),
        (reply(200, "<ListMultipartUploadsResult/>"), 0),
        (reply(200, "<ListMultipartUploadsResult><Prefix>a&#x1;</Prefix></ListMultipartUploadsResult>"), 0),
    ],
)
def test_a_store_that_cannot_list_uploads_has_none(
    answer: bytes, expected: int, store: ScriptedStore, control: Control
) -> None:
    store.script = lambda asked: answer
    assert control.abort_uploads("k", BEGUN_MS) == expected


def test_uploads_that_cannot_be_listed_now_are_an_error(store: ScriptedStore, control: Control) -> None:
    store.script = lambda asked: error(503, "SlowDown")
    with pytest.raises(StoreError) as caught:
        control.abort_uploads("k", BEGUN_MS)
    assert caught.value.trouble is Trouble.THROTTLED


def test_a_section_is_read_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives what lies before a bad sector, and the error only with the next read."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    pread, bad = os.pread, [1000]

    def read(descriptor: int, wanted: int, start: int) -> bytes:
        if start >= bad[0]:
            raise OSError(errno.EIO, "Input/output error")
        return pread(descriptor, min(wanted, 40, bad[0] - start), start)

    monkeypatch.setattr(upload_bodies.os, "pread", read)
    with path.open("rb") as stream:
        assert Section(stream.fileno(), 10, 85).read_all() == bytes(range(10, 95))
        bad[0] = 60
        section = Section(stream.fileno(), 0, 100)
        with pytest.raises(OSError, match="Input/output"):
            section.read_all()
        assert section.error and section.error.errno == errno.EIO


@pytest.mark.parametrize(
    ("trouble", "tags", "word"),
    [
        (Trouble.DENIED, {"a": "b"}, "s3:PutObjectTagging"),
        (Trouble.UNSUPPORTED, {"a": "b"}, "this store does not seem to support"),
        (Trouble.DENIED, {}, ""),
        (Trouble.SERVER, {"a": "b"}, ""),
    ],
)
def test_an_upload_that_is_refused_for_its_tags_says_how_to_go_without(
    trouble: Trouble, tags: dict[str, str], word: str
) -> None:
    refusal = StoreError(trouble, "send k", "the store denies this request", status=403)
    told = str(upload_bodies.about_tags(refusal, Send(1, "k", 1, "/x", 0, dump_headers(Headers(tags=tags)))))
    assert ("`tags: skip`" in told) is bool(word)
    assert word in told and "the store denies this request" in told
