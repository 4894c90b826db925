# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Uploads through botocore: an object in one request or in parts, and what becomes of an upload that fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core import part_md5s
from ..core.errors import StoreError, Trouble
from ..core.etag import multipart_etag, told_digest
from ..core.header_text import load_headers
from ..core.model import Head, Headers, Send
from .boto_endpoint import BotoEndpoint, UploadHeaders
from .boto_errors import answer_headers
from .dates import http_date_ms
from .object_headers import ascii_headers, sent_headers
from .timeouts import Asked
from .upload_bodies import (
    PERHAPS_STORED,
    ProvenSection,
    Section,
    about_tags,
    insist_on_part,
    part_of_file,
    rotten,
)

if TYPE_CHECKING:
    from ..config.job_file import Store


class _StillCompleting(Exception):
    """A CompleteMultipartUpload timed out, and the store may still be assembling the parts."""

    def __init__(self, failure: StoreError) -> None:
        self.failure = failure
        super().__init__(str(failure))


class BotoUploads:
    """Uploads to one endpoint. Thread-safe."""

    def __init__(self, store: Store, endpoint: BotoEndpoint, headers: UploadHeaders) -> None:
        self._store = store
        self._endpoint = endpoint
        self._headers = headers

    def send(self, work: Send, descriptor: int, action: str) -> Head:
        """Stores the open file with all its headers and tags; StoreError, or the file's OSError."""
        headers = sent_headers(load_headers(work.header_text))
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
        self._headers.set(headers)
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
        with self._endpoint.errors(action, section):
            answer = self._endpoint.client(Asked.PUT).put_object(
                Bucket=self._store.bucket, Key=work.key, Body=section.body(), ContentMD5=content_md5
            )
        return answered(answer, work.size)

    def _send_parts(self, work: Send, descriptor: int, action: str) -> Head:
        client = self._endpoint.client(Asked.PUT)  # the same timeout for each of its requests except the last one
        target = {"Bucket": self._store.bucket, "Key": work.key}
        with self._endpoint.errors(action):
            begun = client.create_multipart_upload(**target)
            upload = target | {"UploadId": begun["UploadId"]}
        try:
            digests, parts = [], []
            for number, section in enumerate(_sections(work, descriptor, action), start=1):
                content_md5 = section.content_md5()
                with self._endpoint.errors(action, section):
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
            with self._endpoint.errors(action):
                patient = self._endpoint.client(Asked.COMPLETE, attempts=1)
                answer = patient.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        except StoreError as error:
            # "NoSuchUpload" can mean that an earlier request completed it, and its response was lost.
            if error.trouble not in PERHAPS_STORED or not self._is_stored(client, upload, stored):
                if error.trouble is Trouble.TIMEOUT:
                    raise _StillCompleting(error) from error
                raise
            answer = {}  # the response was lost
        return answered(answer, stored.size)

    def _is_stored(self, client: Any, upload: dict[str, str], stored: _Stored) -> bool:
        try:
            with self._endpoint.errors("look at an upload"):
                head = client.head_object(Bucket=upload["Bucket"], Key=upload["Key"])
        except StoreError:
            return False
        if head.get("ETag", "").strip('"') == stored.etag:
            return True
        modified_ms = http_date_ms(answer_headers(head).get("last-modified", ""))
        return bool(head.get("ContentLength") == stored.size and 0 < stored.begun_ms <= modified_ms + 1000)

    def _abort(self, client: Any, upload: dict[str, str]) -> None:
        # An upload that cannot be aborted now is found later by `abort_uploads`; the first error is the one to report.
        with suppress(StoreError), self._endpoint.errors("abort an upload"):
            client.abort_multipart_upload(**upload)


def _sections(work: Send, descriptor: int, action: str) -> Iterator[Section]:
    """The parts of the open file, each with the MD5 that it had when it was proven, if that is known."""
    starts = range(0, work.size, work.part_size)
    proven = part_md5s.split(work.part_md5s, work.digest)
    for number, start in enumerate(starts, start=1):
        length = min(work.part_size, work.size - start)
        if len(proven) == len(starts):
            what = part_of_file(number)
            yield ProvenSection(descriptor, start, length, proven[number - 1], what=what, action=action)
        else:
            yield Section(descriptor, start, length)


@dataclass(frozen=True, slots=True)
class _Stored:
    """How to recognize the completed upload: its size in bytes, the MD5s of its parts, when it was started."""

    size: int
    digests: list[bytes]
    begun_ms: int

    @property
    def etag(self) -> str:
        return multipart_etag(self.digests)


def answered(answer: Mapping[str, Any], size: int) -> Head:
    """The store's response to an upload of `size` bytes."""
    encryption = answer.get("ServerSideEncryption", "")
    return Head(200, size, answer.get("ETag", "").strip('"'), 0, Headers(), encryption=encryption)


def _insist(expected: str, found: str, action: str) -> None:
    """StoreError unless the file still has its proven digest ("": unknown)."""
    if expected and found != expected.lower():
        raise rotten(action, expected, found)
