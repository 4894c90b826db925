# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The full client, on botocore: pre-flight check, tags, multipart uploads, and objects that no mover supports.

It costs a millisecond of CPU per request and some 30 MB of memory, so `client.py` makes the per-object requests, and
botocore is imported only for the first request.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlsplit

from ..core.backoff import persistently
from ..core.errors import StoreError, Trouble, file_error, stop_if_refused
from ..core.etag import multipart_etag, told_digest
from ..core.model import Fetch, Head, Headers, Outcome, Send
from ..core.text import url_text
from . import socks
from .address import ca_file, proxy_for
from .answers import not_s3
from .boto_errors import answer_headers, store_error
from .connections import Turns
from .dates import http_date_ms
from .encodings import PLAIN, Packing, is_unpacked, why_longer
from .object_headers import ascii_headers, sent_headers
from .remedies import AskedWith
from .timeouts import CONNECT_SECONDS, Asked, Patience
from .upload_bodies import CHUNK, PERHAPS_STORED, Section, about_tags, insist_on_part, rotten

if TYPE_CHECKING:  # config/job_file.py brings pydantic, which tests and tools may do without
    from ..config.credentials import Credentials, Keys
    from ..config.job_file import Store

CLOCK_TOLERANCE_SECONDS = 300.0  # AWS rejects requests whose clock is 15 minutes off; warn well before
_SESSION_LOCK = threading.Lock()  # a session creates one client at a time


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of the pre-flight check. `clock_skew_seconds`: the store's clock minus this host's (0.0: unknown)."""

    clock_skew_seconds: float

    @property
    def clock_is_off(self) -> bool:
        return abs(self.clock_skew_seconds) > CLOCK_TOLERANCE_SECONDS


class _StillCompleting(Exception):
    """A CompleteMultipartUpload timed out, and the store may still be assembling the parts."""

    def __init__(self, failure: StoreError) -> None:
        self.failure = failure
        super().__init__(str(failure))


class Control:
    """One endpoint of a store. Thread-safe.

    `attempts` is the maximum number of attempts per request, `connect_timeout` is in seconds, `patience` sets the
    response timeouts. `turns` limits its connections, `packing` is shared by all clients of this endpoint; both may
    only be replaced before the first request.
    """

    def __init__(
        self,
        store: Store,
        endpoint: str,
        keys: Keys,
        *,
        attempts: int = 3,
        connect_timeout: float = CONNECT_SECONDS,
        patience: Patience | None = None,
    ) -> None:
        self.packing = Packing()
        self.turns = Turns(10)
        self._store = store
        self._endpoint = endpoint.rstrip("/")
        self._keys = keys
        self._attempts = attempts
        self._connect_timeout = connect_timeout
        self._patience = patience or Patience()
        # By attempts and kind of request, each with its credentials.
        self._clients: dict[tuple[int, Asked], tuple[Credentials, Any]] = {}
        self._sent = threading.local()  # .headers: the headers of this thread's upload

    # --- pre-flight

    def check(self) -> Checked:
        """Lists the bucket once, and reads the store's clock.

        Raises JobStopped for a wrong credential, bucket or region, where waiting would not help; StoreError for an
        endpoint that does not work now, and with Trouble.DENIED if these credentials may not list the bucket.
        """
        action = f"check {url_text(self._store.bucket, self._store.prefix)} at {self._endpoint}"
        try:
            with self._errors(action, of_object=False):
                answer = self._asked_once(action)
        except StoreError as error:
            stop_if_refused(error)
            raise
        store_ms = http_date_ms(answer_headers(answer).get("date", ""))
        return Checked(round(store_ms / 1000 - time.time(), 1) if store_ms else 0.0)

    def _asked_once(self, action: str) -> Any:
        """With a separate client, which keeps no connection."""
        client = self._client(Asked.PROBE, attempts=1)
        try:
            return self._look(client, action)
        finally:
            client.close()

    def _look(self, client: Any, action: str) -> Any:
        where = {"Bucket": self._store.bucket}
        if self._store.list_version == "v1":
            # Such a store (the Snowball's adapter) may return its whole listing, regardless of MaxKeys.
            try:
                return client.head_bucket(**where)
            except client.exceptions.ClientError:
                return client.list_objects(**where, Prefix=self._store.prefix, MaxKeys=1)
        answer = client.list_objects_v2(**where, Prefix=self._store.prefix, MaxKeys=1)
        if "Name" not in answer and "KeyCount" not in answer and "IsTruncated" not in answer:
            raise not_s3(action, 200, b"")
        return answer

    # --- objects

    def fetch(self, work: Fetch, *, if_match: str = "") -> Outcome:
        """Writes the object to `work.path` (mode 0600, truncated first), in pieces of 1 MiB; never raises.

        An empty object needs no request. Nothing is synced to disk. After a failure the file is incomplete.
        """
        action = f"fetch {url_text(self._store.bucket, work.key)} from {self._endpoint}"

        def fetch() -> None:
            welcomed = self.packing.welcome
            unpacked = self._fetch(work, action, if_match)
            if unpacked and self.packing.is_to_be_asked_again(welcomed):
                unpacked = self._fetch(work, action, if_match)
            if unpacked:
                raise StoreError(Trouble.UNSUPPORTED, action, why_longer(unpacked, work.size))

        with self.turns.turn():  # it keeps its connection until the last byte
            return _outcome(work.id, action, fetch)

    def _fetch(self, work: Fetch, action: str, if_match: str) -> int:
        """0, or the number of bytes received if the object was decompressed in transit."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(work.path, flags, 0o600)
        try:
            return self._receive(work, descriptor, action, if_match) if work.size else 0
        finally:
            os.close(descriptor)

    def _receive(self, work: Fetch, descriptor: int, action: str, if_match: str) -> int:
        condition = {"IfMatch": f'"{if_match}"'} if if_match else {}
        with self._errors(action):
            answer = self._client().get_object(Bucket=self._store.bucket, Key=work.key, **condition)
        body, length = answer["Body"], answer.get("ContentLength", work.size)
        try:
            if length == work.size:
                length = self._copy(body, descriptor, action)
        finally:
            body.close()
        if is_unpacked(work, _answered(answer, length)):
            return int(length)
        if length != work.size:
            raise StoreError(Trouble.CHANGED, action, f"it has {length} bytes, but {work.size} were listed")
        return 0

    def _copy(self, body: Any, descriptor: int, action: str) -> int:
        total = 0
        while True:
            with self._errors(action):
                piece = body.read(CHUNK)
            if not piece:
                return total
            _write_all(descriptor, piece)
            total += len(piece)

    def send(self, work: Send) -> Outcome:
        """Stores the file with all its headers and tags, each body with its MD5; never raises.

        Metadata is sent as HEAD returned it, as UTF-8 if it is not ASCII. Only values that were neither ASCII nor UTF-8
        at their source (decoded as Latin-1 then) change their bytes.
        """
        action = f"send {url_text(self._store.bucket, work.key)} to {self._endpoint}"

        def send() -> Head:
            # Links are followed: a dropped file is reached through a link of the engine.
            descriptor = os.open(work.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                size = os.fstat(descriptor).st_size
                if size != work.size:
                    raise StoreError(Trouble.MISMATCH, action, f"the file has {size} bytes, not {work.size}")
                return self._send(work, descriptor, action)
            finally:
                os.close(descriptor)

        return _outcome(work.id, action, send)

    def _send(self, work: Send, descriptor: int, action: str) -> Head:
        headers = sent_headers(work.headers)
        try:
            return self._send_with(headers, work, descriptor, action)
        except StoreError as error:
            # AWS and Swift compute another signature if a header is not ASCII; gateways call it a bad request.
            is_refused = error.code == "SignatureDoesNotMatch" or error.status == 400
            if not is_refused or all(map(str.isascii, headers.values())):
                raise
        try:
            headers = ascii_headers(headers)
        except ValueError as error:
            raise StoreError(Trouble.UNSUPPORTED, action, str(error)) from None
        return self._send_with(headers, work, descriptor, action)

    def _send_with(self, headers: dict[str, str], work: Send, descriptor: int, action: str) -> Head:
        self._sent.headers = headers
        try:
            if work.part_size and work.size:
                return self._send_parts(work, descriptor, action)
            return self._put(work, descriptor, action)
        except StoreError as error:
            raise about_tags(error, work) from None

    def _put(self, work: Send, descriptor: int, action: str) -> Head:
        section = Section(descriptor, 0, work.size)
        content_md5 = section.content_md5()
        _insist(work.md5, section.md5.hex(), action)
        with self._errors(action, section):
            answer = self._client(Asked.PUT).put_object(
                Bucket=self._store.bucket, Key=work.key, Body=section.body(), ContentMD5=content_md5
            )
        return _answered(answer, work.size)

    def _send_parts(self, work: Send, descriptor: int, action: str) -> Head:
        client = self._client(Asked.PUT)  # the same timeout for each of its requests except the last one
        target = {"Bucket": self._store.bucket, "Key": work.key}
        with self._errors(action):
            begun = client.create_multipart_upload(**target)
            upload = target | {"UploadId": begun["UploadId"]}
        try:
            digests, parts = [], []
            for number, start in enumerate(range(0, work.size, work.part_size), start=1):
                section = Section(descriptor, start, min(work.part_size, work.size - start))
                content_md5 = section.content_md5()
                with self._errors(action, section):
                    answer = client.upload_part(
                        **upload, PartNumber=number, Body=section.body(), ContentMD5=content_md5
                    )
                self._insist_on_part(answer, number, section.md5.hex(), action)
                # Some stores return no ETag: then use the digest that they had to check.
                parts.append({"PartNumber": number, "ETag": answer.get("ETag") or f'"{section.md5.hex()}"'})
                digests.append(section.md5)
            _insist(work.digest, multipart_etag(digests), action)
            stored = _Stored(work.size, digests, http_date_ms(answer_headers(begun).get("date", "")))
            return self._complete(client, upload, parts, stored, action)
        except _StillCompleting as error:
            raise error.failure from None  # the upload is not aborted: the next check may find the object
        except BaseException:
            self._abort(client, upload)
            raise

    def _insist_on_part(self, answer: Mapping[str, Any], number: int, md5: str, action: str) -> None:
        """StoreError if the store's ETag of a part is an MD5, but not that of the bytes sent."""
        encryption, is_opaque = answer.get("ServerSideEncryption", ""), self._store.etag == "opaque"
        insist_on_part(told_digest(answer.get("ETag", ""), encryption, is_opaque=is_opaque), number, md5, action)

    def _complete(
        self, client: Any, upload: dict[str, str], parts: list[dict[str, object]], stored: _Stored, action: str
    ) -> Head:
        try:
            with self._errors(action):
                patient = self._client(Asked.COMPLETE, attempts=1)
                answer = patient.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        except StoreError as error:
            # "NoSuchUpload" can mean that an earlier request completed it, and its response was lost.
            if error.trouble not in PERHAPS_STORED or not self._is_stored(client, upload, stored):
                if error.trouble is Trouble.TIMEOUT:
                    raise _StillCompleting(error) from error
                raise
            answer = {}  # the response was lost
        return _answered(answer, stored.size)

    def _is_stored(self, client: Any, upload: dict[str, str], stored: _Stored) -> bool:
        try:
            with self._errors("look at an upload"):
                head = client.head_object(Bucket=upload["Bucket"], Key=upload["Key"])
        except StoreError:
            return False
        if head.get("ETag", "").strip('"') == stored.etag:
            return True
        modified_ms = http_date_ms(answer_headers(head).get("last-modified", ""))
        return bool(head.get("ContentLength") == stored.size and 0 < stored.begun_ms <= modified_ms + 1000)

    def _abort(self, client: Any, upload: dict[str, str]) -> None:
        # An upload that cannot be aborted now is found later by `abort_uploads`; the first error is the one to report.
        with suppress(StoreError), self._errors("abort an upload"):
            client.abort_multipart_upload(**upload)

    # --- tags and uploads left behind

    def get_tags(self, object_key: str) -> dict[str, str]:
        """The tags of an object; StoreError."""
        try:
            return persistently(lambda: self._tags(object_key), self._attempts - 1)
        except StoreError as error:
            if error.trouble not in (Trouble.DENIED, Trouble.UNSUPPORTED):
                raise
            detail = f"{error.detail}; allow s3:GetObjectTagging, or omit tags with `tags: skip`"
            raise StoreError(error.trouble, error.action, detail, code=error.code, status=error.status) from None

    def _tags(self, object_key: str) -> dict[str, str]:
        with self._errors(f"read the tags of {url_text(self._store.bucket, object_key)} at {self._endpoint}"):
            # No retries after a timeout, as botocore would do: callers would wait for minutes.
            answer = self._client(attempts=1).get_object_tagging(Bucket=self._store.bucket, Key=object_key)
            return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def put_tags(self, object_key: str, tags: Mapping[str, str]) -> None:
        """Replaces the tags of an object; StoreError."""
        tag_set = [{"Key": name, "Value": value} for name, value in tags.items()]
        with self._errors(f"tag {url_text(self._store.bucket, object_key)} at {self._endpoint}"):
            self._client().put_object_tagging(Bucket=self._store.bucket, Key=object_key, Tagging={"TagSet": tag_set})

    def abort_upload(self, object_key: str, upload_id: str) -> None:
        """Aborts one multipart upload, if it exists; StoreError."""
        self._abort_one(object_key, upload_id, f"abort an upload of {url_text(self._store.bucket, object_key)}")

    def abort_uploads(self, object_key: str, started_before_ms: int, keep: Container[str] = ()) -> int:
        """Aborts the multipart uploads of exactly this key started before (ms since the epoch, the store's clock).

        Those whose ids are in `keep` stay.

        Returns how many; 0 also if a store cannot list uploads, or only in an unreadable form (RGW writes control
        characters of keys into its XML). Other failures raise StoreError.
        """
        action = f"abort old uploads of {url_text(self._store.bucket, object_key)} at {self._endpoint}"
        aborted = 0
        try:
            for upload_id, begun_ms in list(self._uploads(object_key, action)):
                if begun_ms < started_before_ms and upload_id not in keep:
                    aborted += self._abort_one(object_key, upload_id, action)
        except StoreError as error:
            unreadable = error.trouble is Trouble.SERVER and not error.code
            if not unreadable and error.trouble not in (Trouble.UNSUPPORTED, Trouble.NOT_FOUND):
                raise
        return aborted

    def _abort_one(self, object_key: str, upload_id: str, action: str) -> bool:
        try:
            with self._errors(action):
                self._client().abort_multipart_upload(Bucket=self._store.bucket, Key=object_key, UploadId=upload_id)
        except StoreError as error:
            if error.trouble is not Trouble.NOT_FOUND:
                raise
            return False
        return True

    def _uploads(self, object_key: str, action: str) -> Iterator[tuple[str, int]]:
        where = {"Bucket": self._store.bucket, "Prefix": object_key, "EncodingType": "url"}
        markers: dict[str, str] = {}
        while True:
            with self._errors(action):
                answer = self._client().list_multipart_uploads(**where, **markers)
            encoded = answer.get("EncodingType") == "url"
            for upload in answer.get("Uploads", ()):
                # RGW encodes without saying so.
                if object_key in (unquote_plus(upload["Key"]), upload["Key"]) and "Initiated" in upload:
                    yield upload["UploadId"], int(upload["Initiated"].timestamp() * 1000)
            marker = answer.get("NextKeyMarker", "")
            following = {
                "KeyMarker": unquote_plus(marker) if encoded else marker,
                "UploadIdMarker": answer.get("NextUploadIdMarker", ""),
            }
            if not answer.get("IsTruncated") or following == markers:
                return
            markers = following

    # --- the client

    def _client(self, asked: Asked = Asked.HEAD, *, attempts: int = 0) -> Any:
        """A client with at most `attempts` attempts, and with the timeouts for the kind of request `asked`."""
        credentials = self._keys.current()
        with _SESSION_LOCK:
            made_with, client = self._clients.get((attempts, asked), (None, None))
            if made_with is not credentials:
                client = self._new_client(attempts or self._attempts, asked, credentials)
                self._clients[attempts, asked] = (credentials, client)
            for _made_with, other in self._clients.values():
                if other is not client:
                    other.close()  # frees its idle connections; requests in flight continue
        return client

    def _new_client(self, attempts: int, asked: Asked, credentials: Credentials) -> Any:
        import botocore.config

        proxy = proxy_for(self._endpoint)
        is_socks = proxy.startswith("socks")
        config = botocore.config.Config(
            signature_version="s3v4",
            s3={"addressing_style": "virtual" if self._store.addressing == "virtual" else "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"total_max_attempts": attempts, "mode": "standard"},
            connect_timeout=self._connect_timeout,
            read_timeout=self._patience.of(asked).answer,
            proxies={urlsplit(self._endpoint).scheme: proxy} if proxy and not is_socks else {},
            use_fips_endpoint=False,
            use_dualstack_endpoint=False,
            tcp_keepalive=True,
            max_pool_connections=self.turns.count,
        )
        client = _session().create_client(
            "s3",
            region_name=self._store.region,
            endpoint_url=self._endpoint,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            aws_session_token=credentials.session_token or None,
            verify=ca_file(self._store) or True,
            config=config,
        )
        for operation in ("PutObject", "CreateMultipartUpload"):
            client.meta.events.register(f"before-call.s3.{operation}", self._add_headers)
        client.meta.events.register("before-call.s3.GetObject", self._welcome)
        if is_socks:
            _lead_through_socks(client, proxy)
        client.meta.events.register("before-call.s3.PutObjectTagging", _digest_as_md5)
        client.meta.events.register("before-parameter-build.s3", _stay_in_region)
        return client

    def _welcome(self, params: dict[str, Any], **_: object) -> None:
        if self.packing.welcome != PLAIN:  # botocore's default
            params["headers"]["Accept-Encoding"] = self.packing.welcome

    def _add_headers(self, params: dict[str, Any], **_: object) -> None:
        # Not as parameters: botocore rejects metadata that is not ASCII, and an `Expires` that is not a date.
        params["headers"].update(self._sent.headers)

    @contextmanager
    def _errors(self, action: str, section: Section | None = None, *, of_object: bool = True) -> Iterator[None]:
        """Turns botocore's exceptions into StoreError, and a failure to read the file into its OSError."""
        try:
            with self.turns.turn():
                yield
        except StoreError:
            raise
        except Exception as error:
            if section is not None and section.error is not None:
                raise section.error from None
            store = self._store
            asked = AskedWith(store.region, *(() if of_object else (store.addressing, store.list_version)))
            raise store_error(action, error, of_object=of_object, asked=asked) from None


@functools.cache
def _session() -> Any:
    """One session for all clients: it holds the API model of S3, some 10 MB."""
    import botocore.session

    # The job sets everything: nothing is read from the AWS files and profiles of the user it runs as.
    nowhere = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    return botocore.session.Session(session_vars=nowhere | {"profile": (None, None, None, None)})


@dataclass(frozen=True, slots=True)
class _Stored:
    """How to recognize the completed upload: its size in bytes, the MD5s of its parts, when it was started."""

    size: int
    digests: list[bytes]
    begun_ms: int

    @property
    def etag(self) -> str:
        return multipart_etag(self.digests)


def _outcome(work_id: int, action: str, effect: Callable[[], Head | None]) -> Outcome:
    try:
        answered = effect()
    except StoreError as error:
        return Outcome(work_id, error.trouble, str(error))
    except OSError as error:
        local = file_error(action, error)
        return Outcome(work_id, local.trouble, str(local))
    return Outcome(work_id, answered=answered)


def _answered(answer: Mapping[str, Any], size: int) -> Head:
    """The store's response to an upload of `size` bytes."""
    encryption = answer.get("ServerSideEncryption", "")
    return Head(200, size, answer.get("ETag", "").strip('"'), 0, Headers(), encryption=encryption)


def _insist(expected: str, found: str, action: str) -> None:
    """StoreError unless the file still has its proven digest ("": unknown)."""
    if expected and found != expected.lower():
        raise rotten(action, expected, found)


def _write_all(descriptor: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]


def _stay_in_region(context: dict[str, Any], **_: object) -> None:
    """botocore would follow a bucket to its own region; the movers cannot, so a wrong region must fail here."""
    context.setdefault("s3_redirect", {})["redirected"] = True


def _lead_through_socks(client: Any, proxy: str) -> None:
    """Route the client's connections through a SOCKS proxy, for which botocore has no setting."""
    manager = client._endpoint.http_session._manager

    def connect(connection: Any) -> Any:
        timeout = connection.timeout if isinstance(connection.timeout, (int, float)) else None
        return socks.connect(proxy, connection.host, connection.port, timeout)

    manager.pool_classes_by_scheme = {
        scheme: type(
            "SocksPool", (pool,), {"ConnectionCls": type("Socks", (pool.ConnectionCls,), {"_new_conn": connect})}
        )
        for scheme, pool in manager.pool_classes_by_scheme.items()
    }


def _digest_as_md5(params: dict[str, Any], **_: object) -> None:
    """Send the required digest as Content-MD5, which old stores know, instead of botocore's CRC32."""
    params["headers"]["Content-MD5"] = base64.b64encode(
        hashlib.md5(params["body"], usedforsecurity=False).digest()
    ).decode()
    for name in ("request_algorithm", "request_algorithm_header"):
        params["context"].get("checksum", {}).pop(name, None)
