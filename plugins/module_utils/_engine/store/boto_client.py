# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The full client, on botocore: pre-flight check, tags, multipart uploads, and objects that no mover supports.

It costs a millisecond of CPU per request and some 30 MB of memory, so `client.py` makes the per-object requests, and
botocore is imported only for the first request.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from ..core.backoff import persistently
from ..core.errors import StoreError, Trouble, file_error, stop_if_refused
from ..core.model import Fetch, Head, Outcome, Send
from ..core.text import url_text
from .answers import not_s3
from .boto_endpoint import BotoEndpoint, ClientMaker, UploadHeaders
from .boto_errors import answer_headers
from .boto_uploads import BotoUploads, answered
from .connections import Turns
from .dates import http_date_ms
from .encodings import Packing, is_unpacked, why_longer
from .timeouts import CONNECT_SECONDS, Asked, Patience
from .upload_bodies import CHUNK

if TYPE_CHECKING:
    from ..config.credentials import Keys
    from ..config.job_file import Store


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of the pre-flight check. `clock_skew_seconds`: the store's clock minus this host's (0.0: unknown)."""

    clock_skew_seconds: float


class Control:
    """One endpoint of a store. Thread-safe.

    `attempts` is the maximum number of attempts per request, `connect_timeout` is in seconds, `patience` sets the
    response timeouts. `turns` limits its connections, `packing` is shared by all clients of this endpoint.
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
        turns: Turns | None = None,
        packing: Packing | None = None,
    ) -> None:
        turns, headers = turns or Turns(10), UploadHeaders()
        self._store = store
        self._url = endpoint.rstrip("/")
        self._attempts = attempts
        self._packing = packing or Packing()
        maker = ClientMaker(store, self._url, connect_timeout, turns.count, self._packing, headers)
        self._endpoint = BotoEndpoint(store, maker, keys, attempts, patience or Patience(), turns)
        self._sending = BotoUploads(store, self._endpoint, headers)

    # --- pre-flight

    def check(self) -> Checked:
        """Lists the bucket once, and reads the store's clock.

        Raises JobStopped for a wrong credential, bucket or region, where waiting would not help; StoreError for an
        endpoint that does not work now, and with Trouble.DENIED if these credentials may not list the bucket.
        """
        action = f"check {url_text(self._store.bucket, self._store.prefix)} at {self._url}"
        try:
            with self._endpoint.errors(action, of_object=False):
                answer = self._asked_once(action)
        except StoreError as error:
            stop_if_refused(error)
            raise
        store_ms = http_date_ms(answer_headers(answer).get("date", ""))
        return Checked(round(store_ms / 1000 - time.time(), 1) if store_ms else 0.0)

    def _asked_once(self, action: str) -> Any:
        """With a separate client, which keeps no connection."""
        client = self._endpoint.client(Asked.PROBE, attempts=1)
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
        action = f"fetch {url_text(self._store.bucket, work.key)} from {self._url}"

        def fetch() -> None:
            welcomed = self._packing.welcome
            unpacked = self._fetch(work, action, if_match)
            if unpacked and self._packing.is_to_be_asked_again(welcomed):
                unpacked = self._fetch(work, action, if_match)
            if unpacked:
                raise StoreError(Trouble.UNSUPPORTED, action, why_longer(unpacked, work.size))

        with self._endpoint.turns.turn():  # it keeps its connection until the last byte
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
        with self._endpoint.errors(action):
            answer = self._endpoint.client().get_object(Bucket=self._store.bucket, Key=work.key, **condition)
        body, length = answer["Body"], answer.get("ContentLength", work.size)
        try:
            if length == work.size:
                length = self._copy(body, descriptor, action)
        finally:
            body.close()
        if is_unpacked(work, answered(answer, length)):
            return int(length)
        if length != work.size:
            raise StoreError(Trouble.CHANGED, action, f"it has {length} bytes, but {work.size} were listed")
        return 0

    def _copy(self, body: Any, descriptor: int, action: str) -> int:
        total = 0
        while True:
            with self._endpoint.errors(action):
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
        action = f"send {url_text(self._store.bucket, work.key)} to {self._url}"

        def send() -> Head:
            # Links are followed: a dropped file is reached through a link of the engine.
            descriptor = os.open(work.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                size = os.fstat(descriptor).st_size
                if size != work.size:
                    raise StoreError(Trouble.MISMATCH, action, f"the file has {size} bytes, not {work.size}")
                return self._sending.send(work, descriptor, action)
            finally:
                os.close(descriptor)

        return _outcome(work.id, action, send)

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
        with self._endpoint.errors(f"read the tags of {url_text(self._store.bucket, object_key)} at {self._url}"):
            # No retries after a timeout, as botocore would do: callers would wait for minutes.
            answer = self._endpoint.client(attempts=1).get_object_tagging(Bucket=self._store.bucket, Key=object_key)
            return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def abort_upload(self, object_key: str, upload_id: str) -> None:
        """Aborts one multipart upload, if it exists; StoreError."""
        self._abort_one(object_key, upload_id, f"abort an upload of {url_text(self._store.bucket, object_key)}")

    def abort_uploads(self, object_key: str, started_before_ms: int, keep: Container[str] = ()) -> int:
        """Aborts the multipart uploads of exactly this key started before (ms since the epoch, the store's clock).

        Those whose ids are in `keep` stay.

        Returns how many; 0 also if a store cannot list uploads, or only in an unreadable form (RGW writes control
        characters of keys into its XML). Other failures raise StoreError.
        """
        action = f"abort old uploads of {url_text(self._store.bucket, object_key)} at {self._url}"
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
            with self._endpoint.errors(action):
                self._endpoint.client().abort_multipart_upload(
                    Bucket=self._store.bucket, Key=object_key, UploadId=upload_id
                )
        except StoreError as error:
            if error.trouble is not Trouble.NOT_FOUND:
                raise
            return False
        return True

    def _uploads(self, object_key: str, action: str) -> Iterator[tuple[str, int]]:
        where = {"Bucket": self._store.bucket, "Prefix": object_key, "EncodingType": "url"}
        markers: dict[str, str] = {}
        while True:
            with self._endpoint.errors(action):
                answer = self._endpoint.client().list_multipart_uploads(**where, **markers)
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


def _outcome(work_id: int, action: str, effect: Callable[[], Head | None]) -> Outcome:
    try:
        stored = effect()
    except StoreError as error:
        return Outcome(work_id, error.trouble, str(error))
    except OSError as error:
        local = file_error(action, error)
        return Outcome(work_id, local.trouble, str(local))
    return Outcome(work_id, answered=stored)


def _write_all(descriptor: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]
