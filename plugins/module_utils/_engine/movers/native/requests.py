# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The requests of the native mover: a GET or PUT with the file it writes or reads, and the digest of its bytes.

A request begins on a libcurl handle, and ends when the handle is done; it does not depend on what drives the handle.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Protocol

from ...config.credentials import renewed_since
from ...core import workers
from ...core.errors import StoreError, Trouble
from ...core.etag import ParsedEtag, agree, told_digest
from ...core.model import MIB, Fetch, Head, Headers, Send
from ...core.text import url_text
from ...store.address import UNSIGNED_PAYLOAD, Signer, host_header, place_of, query_string
from ...store.answers import failure, parse_error, parse_head, status_of, total_size, unanswered, unreadable
from ...store.curl import KEPT_ERROR_BYTES, Transfer, Waiting
from ...store.encodings import PLAIN, Packing, is_unpacked, why_longer
from ...store.object_headers import sent_headers
from ...store.remedies import AskedWith
from ...store.timeouts import Asked, Patience
from ...store.upload_bodies import CHUNK, UNSET_CONTENT_TYPE, Section, about_tags, is_header_name, rotten

if TYPE_CHECKING:  # config/job_file.py brings pydantic
    from ...config.credentials import Credentials, Keys
    from ...config.job_file import Store

_AT_ONCE = MIB  # a body up to this size is read at once, a larger one while it is sent
_WRITE_BYTES = 512 * 1024  # bytes of a response that are hashed and written at once
_NO_EXPECT = "expect:"  # otherwise libcurl sends `Expect: 100-continue` for larger bodies, and waits
_is_header_value = re.compile(r"[!-~](?: ?[!-~])*").fullmatch


class Request(Protocol):
    """What a lane drives."""

    def begin(self, transfer: Transfer) -> None:
        """Prepare the handle. OSError if the local file cannot be read."""

    def end(self, number: int, words: str) -> Head:
        """The response, from libcurl's error number and message (0 and ""); StoreError, or the local file's OSError."""


def can_carry(headers: Headers) -> bool:
    """Whether these headers can be signed and sent so that every store reads them the same; boto3 handles others."""
    sent = sent_headers(headers)
    names = [name.lower() for name in sent]
    return len(set(names)) == len(names) and all(
        is_header_name(name) and (not value or _is_header_value(value)) for name, value in sent.items()
    )


class Digests(Protocol):
    """Hashes a stream of bytes."""

    def update(self, chunk: bytes) -> None:
        """Add the next bytes."""


class Bucket:
    """How to access a bucket at one endpoint, and what is known about its store.

    `moved` counts bytes approximately, to show whether anything moves. `knows_ranges`: no response has ignored a range.
    """

    def __init__(
        self, store: Store, endpoint: str, keys: Keys, patience: Patience, packing: Packing | None = None
    ) -> None:
        self.name = store.bucket
        self.patience = patience
        self.region = store.region
        self.endpoint = endpoint.rstrip("/")
        self.is_private = self.endpoint.startswith("https:")
        self._etags_are_opaque = store.etag == "opaque"
        self.knows_ranges = True
        self.moved = 0
        self.packing = packing or Packing()
        self._keys = keys
        self._place = place_of(store, self.endpoint)
        self._signer = Signer(keys, store.region, host_header(self._place.url))

    def lines_to_get(self, object_key: str, welcomed: str) -> tuple[str, list[str]]:
        path = self._place.object_path(object_key)
        return self._place.url + path, [*self._signer.headers("GET", path, ""), f"accept-encoding: {welcomed}"]

    def lines_to_send(
        self, method: str, object_key: str, parameters: dict[str, str], headers: dict[str, str], payload: str
    ) -> tuple[str, list[str]]:
        path, query = self._place.object_path(object_key), query_string(parameters)
        lines = self._signer.sign(method, path, query, headers, payload)
        url = self._place.url + path
        return f"{url}?{query}" if query else url, [*lines, _NO_EXPECT]

    def told_digest(self, head: Head) -> ParsedEtag | None:
        """What an ETag of this store says about the bytes; None: nothing."""
        return told_digest(head.etag, head.encryption, is_opaque=self._etags_are_opaque)

    def action(self, verb: str, object_key: str) -> str:
        preposition = "from" if verb == "fetch" else "to"
        return f"{verb} {url_text(self.name, object_key)} {preposition} {self.endpoint}"

    def credentials(self) -> Credentials:
        """The credentials for a new request."""
        return self._keys.current()

    def refused(self, action: str, transfer: Transfer, body: bytes, signed_with: Credentials | None) -> StoreError:
        block = transfer.header_block
        error = failure(action, transfer.status, body, of_object=True, asked=AskedWith(self.region), headers=block)
        if error.trouble is Trouble.CREDENTIAL and signed_with and renewed_since(self._keys, signed_with):
            detail = f"the credentials were renewed during the request, which is retried ({error.detail})"
            return StoreError(Trouble.BROKEN, action, detail, code=error.code, status=error.status)
        return error


class Target:
    """The file that a fetch writes: created with its first byte, truncated first, written at any offset."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1

    def open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with workers.at_medium():
            self._descriptor = os.open(self.path, flags, 0o600)

    def open_partial(self, size: int) -> None:
        """Keep what the file contains, at most `size` bytes. It is readable then."""
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.fstat(self._descriptor).st_size > size:
            os.ftruncate(self._descriptor, size)

    def read(self, start: int, length: int) -> Iterator[bytes]:
        """The file's bytes there, in pieces; ends early if the file does."""
        end = start + length
        while start < end and (piece := self._read(min(CHUNK, end - start), start)):
            yield piece
            start += len(piece)
            workers.beat()

    def _read(self, length: int, place: int) -> bytes:
        with workers.at_medium():
            return os.pread(self._descriptor, length, place)

    @property
    def is_open(self) -> bool:
        return self._descriptor >= 0

    def write(self, chunk: bytes, place: int) -> None:
        with workers.at_medium():
            written = os.pwrite(self._descriptor, chunk, place)
            while written < len(chunk):
                written += os.pwrite(self._descriptor, chunk[written:], place + written)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with workers.at_medium():
                os.close(descriptor)


def open_to_send(bucket: Bucket, work: Send) -> int:
    """The descriptor of the file to send. OSError; StoreError if its size has changed."""
    # Links are followed: a dropped file is reached through a link of the engine.
    with workers.at_medium():
        descriptor = os.open(work.path, os.O_RDONLY | os.O_CLOEXEC)
        size = os.fstat(descriptor).st_size
    if size != work.size:
        os.close(descriptor)
        action = bucket.action("send", work.key)
        raise StoreError(Trouble.MISMATCH, action, f"the file has {size} bytes, not {work.size}")
    return descriptor


class Get:
    """A GET of an object, or of `length` bytes from `start`.

    Nothing is written from a response that is not about the listed object: its ETag and size are checked with the first
    byte. `kept` is the number of bytes that are in the file and in `digests`, even if the request failed.
    """

    def __init__(self, bucket: Bucket, work: Fetch, target: Target, start: int, length: int, digests: Digests) -> None:
        self._bucket = bucket
        self._work = work
        self._target = target
        self._start = start
        self._length = length
        self.digests = digests
        self._is_whole = length == work.size
        self._transfer: Transfer | None = None
        self._signed_with: Credentials | None = None
        self._welcomed = PLAIN
        self._head: Head | None = None
        self._refused = b""
        self._received = 0
        self._chunks: list[bytes] = []  # received and not written yet, `_waiting` bytes
        self._waiting = 0
        self._error: StoreError | OSError | None = None
        self.kept = 0
        self.ignores_ranges = False

    def begin(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._signed_with = self._bucket.credentials()
        self._welcomed = self._bucket.packing.welcome
        url, lines = self._bucket.lines_to_get(self._work.key, self._welcomed)
        if not self._is_whole:
            lines.append(f"range: bytes={self._start}-{self._start + self._length - 1}")
        transfer.begin(url, lines)
        transfer.curl.setopt(transfer.curl.WRITEFUNCTION, self._write)

    def _write(self, chunk: bytes) -> int:
        try:
            if self._head is None and not self._accepts():
                self._refused += chunk[: KEPT_ERROR_BYTES - len(self._refused)]
                return len(chunk)
            if self._received + len(chunk) > self._length:
                if self._is_whole and self._head and self._head.size == self._length:  # it gave no length
                    self._ask_for_what_is_stored(self._received + len(chunk))
                detail = f"the response has more than the {self._length} requested bytes"
                raise StoreError(Trouble.SERVER, self._bucket.action("fetch", self._work.key), detail)
            self._chunks.append(chunk)
            self._received += len(chunk)
            self._bucket.moved += len(chunk)
            self._waiting += len(chunk)
            if self._waiting >= _WRITE_BYTES or self._received == self._length:
                self._flush()
        except (OSError, StoreError) as error:  # libcurl would print and drop it; `end` raises it again
            self._error = error
            return -1
        return len(chunk)

    def _flush(self) -> None:
        """Hash and write the received data. libcurl's chunks are too small to handle each separately."""
        data = b"".join(self._chunks)
        self._target.write(data, self._start + self.kept)
        self.digests.update(data)
        self.kept += len(data)
        self._chunks.clear()
        self._waiting = 0

    def _accepts(self) -> bool:
        """Whether the headers are those of the expected response."""
        assert self._transfer  # `begin` was called
        block, work = self._transfer.header_block, self._work
        status = status_of(block)
        if status not in (200, 206):
            return False
        action = self._bucket.action("fetch", work.key)
        if not self._is_whole and status == 200:
            self.ignores_ranges = True
            raise StoreError(Trouble.UNSUPPORTED, action, "the store does not support ranges", status=status)
        try:
            head = parse_head(block, status, received=self._length)
        except ValueError as error:
            raise unreadable(action, error, status, of_object=True) from None
        size = head.size if self._is_whole else total_size(block, work.size)
        if is_unpacked(work, replace(head, size=size)):
            self._ask_for_what_is_stored(size)
        if size != work.size or not agree(work.etag, head.etag):
            detail = f"it has {size} bytes and the ETag {head.etag!r}, but {work.size} and {work.etag!r} were listed"
            raise StoreError(Trouble.CHANGED, action, detail, status=status)
        if not self._target.is_open:
            self._target.open()
        self._head = head
        return True

    def _ask_for_what_is_stored(self, size: int) -> None:
        """The listed object arrives with another length: request it again accepting its encoding, if that may help."""
        action = self._bucket.action("fetch", self._work.key)
        if not self._bucket.packing.is_to_be_asked_again(self._welcomed):
            raise StoreError(Trouble.UNSUPPORTED, action, why_longer(size, self._work.size))
        detail = "it arrives with another length than is stored, and is requested again with its encoding"
        raise StoreError(Trouble.BROKEN, action, detail)

    def end(self, number: int, words: str) -> Head:
        assert self._transfer  # `begin` was called
        if self._error:
            raise self._error
        if self._chunks:
            self._flush()  # it ended early: what arrived is not requested again
        action = self._bucket.action("fetch", self._work.key)
        if number:
            raise unanswered(action, number, words + self._how_far(), of_object=True)
        if self._head is None and not self._accepts():
            raise self._bucket.refused(action, self._transfer, self._refused, self._signed_with)
        if self._received != self._length:
            detail = f"the response ended early{self._how_far()}"
            raise StoreError(Trouble.BROKEN, action, detail)
        assert self._head  # it was accepted
        return self._head

    def _how_far(self) -> str:
        """Where in the object the response ended: if it is always the same place, the object is the cause."""
        place = self._start + self._received
        return f" at byte {place} of {self._work.size}" if place else ""


class _Upload:
    """A request that sends something to the store, of the kind `asked`; `answer` is the response body."""

    def __init__(
        self, bucket: Bucket, work: Send, asked: Asked, *, parameters: dict[str, str], headers: dict[str, str]
    ) -> None:
        self._bucket = bucket
        self._work = work
        self._asked = asked
        self._waiting: Waiting | None = None
        self._is_sent_at_once = False  # only the response is waited for
        self._parameters = parameters
        self._headers = headers
        self._transfer: Transfer | None = None
        self._signed_with: Credentials | None = None
        self._answer = BytesIO()

    @property
    def answer(self) -> bytes:
        return self._answer.getvalue()

    def _begin(self, transfer: Transfer, method: str, payload: str) -> None:
        self._transfer = transfer
        self._answer = BytesIO()
        self._signed_with = self._bucket.credentials()
        url, lines = self._bucket.lines_to_send(method, self._work.key, self._parameters, self._headers, payload)
        transfer.begin(url, lines)
        curl = transfer.curl
        curl.setopt(curl.WRITEFUNCTION, self._answer.write)
        silence = self._bucket.patience.of(self._asked)
        if self._is_sent_at_once:
            # libcurl's own limit is enough, and needs no callback: millions of small objects are sent like this.
            curl.setopt(curl.LOW_SPEED_TIME, max(1, round(silence.answer)))
        else:
            self._waiting = transfer.bear(silence, self._goes_on)

    def _goes_on(self) -> bool:
        self._bucket.moved += 1  # this wait has its own timeout: the watchdog must not end it
        return True

    def end(self, number: int, words: str) -> Head:
        assert self._transfer  # `begin` was called
        action = self._bucket.action("send", self._work.key)
        if self._waiting and self._waiting.silent_for:
            detail = f"the store sent nothing for {self._waiting.silent_for:.0f} seconds ({self._asked.value})"
            raise StoreError(Trouble.TIMEOUT, action, detail)
        if number:
            raise unanswered(action, number, words, of_object=True)
        if not self._is_good(self._transfer.status):
            error = self._bucket.refused(action, self._transfer, self.answer[:KEPT_ERROR_BYTES], self._signed_with)
            raise about_tags(error, self._work) if "x-amz-tagging" in self._headers else error
        return _head(action, self._transfer)

    def _is_good(self, status: int) -> bool:
        return 200 <= status < 300  # some stores return 201 or 204; the object is checked afterwards in any case


class Put(_Upload):
    """A PUT of `length` bytes of a file from `start`: an object, or with `parameters` a part of one.

    `md5` (hex): the request is aborted before its last byte if the bytes have another MD5; "": not checked.
    """

    def __init__(
        self,
        bucket: Bucket,
        work: Send,
        descriptor: int,
        start: int,
        length: int,
        *,
        parameters: dict[str, str],
        headers: dict[str, str],
        md5: str = "",
    ) -> None:
        super().__init__(bucket, work, Asked.PUT, parameters=parameters, headers=headers)
        self._section = Section(descriptor, start, length)
        self._length = length
        self._md5 = md5
        self._digest = hashlib.md5(usedforsecurity=False)
        self._error: StoreError | None = None

    def begin(self, transfer: Transfer) -> None:
        curl = transfer.curl
        body: BytesIO | Section = self._section
        read: Callable[[int], bytes | int] = self._read
        if self._length <= _AT_ONCE:
            self._is_sent_at_once = True
            content = self._section.read_all()
            self._insist(content)
            body = BytesIO(content)
            read = body.read
            self._bucket.moved += self._length
        self._begin(transfer, "PUT", UNSIGNED_PAYLOAD if self._bucket.is_private else _sha256(body))
        curl.setopt(curl.READFUNCTION, read)
        curl.setopt(curl.SEEKFUNCTION, functools.partial(self._seek, body))
        curl.setopt(curl.UPLOAD, 1)
        curl.setopt(curl.INFILESIZE_LARGE, self._length)

    def _read(self, amount: int) -> bytes | int:
        assert self._transfer  # `begin` was called
        piece = self._section.read(amount)  # an OSError ends the request, `end` finds it in the section
        self._bucket.moved += len(piece)
        if self._md5:
            self._digest.update(piece)
            if self._section.tell() == self._length:
                try:
                    self._insist()
                except StoreError as error:
                    self._error = error
                    # Without its last bytes the store cannot create the object, whatever it checks.
                    return int(self._transfer.curl.READFUNC_ABORT)
        return piece

    def _insist(self, content: bytes = b"") -> None:
        """StoreError unless the bytes read are the proven ones."""
        if not self._md5:
            return
        self._digest.update(content)
        found = self._digest.hexdigest()
        if found != self._md5.lower():
            raise rotten(self._bucket.action("send", self._work.key), self._md5, found)

    def _seek(self, body: BytesIO | Section, offset: int, origin: int) -> int:
        """libcurl sends a body again from its start."""
        body.seek(offset, origin)
        self._digest = hashlib.md5(usedforsecurity=False)
        return 0  # SEEKFUNC_OK

    def end(self, number: int, words: str) -> Head:
        if self._section.error:
            raise self._section.error
        if self._error:
            raise self._error
        return super().end(number, words)


class Post(_Upload):
    """A small request without a file: it starts, lists, completes or aborts a multipart upload, or is a HEAD."""

    def __init__(
        self,
        bucket: Bucket,
        work: Send,
        *,
        method: str = "POST",
        parameters: dict[str, str],
        headers: dict[str, str],
        body: bytes = b"",
    ) -> None:
        asked = (Asked.BEGIN if "uploads" in parameters else Asked.COMPLETE) if method == "POST" else Asked.HEAD
        super().__init__(bucket, work, asked, parameters=parameters, headers=headers)
        self._method = method
        self._body = body

    def begin(self, transfer: Transfer) -> None:
        self._begin(transfer, self._method, hashlib.sha256(self._body).hexdigest())
        curl = transfer.curl
        if self._method == "POST":
            curl.setopt(curl.POSTFIELDS, self._body)
            # On a reused connection libcurl may silently send it twice: two uploads, one of them unknown.
            curl.setopt(curl.FRESH_CONNECT, int("uploads" in self._parameters))
        elif self._method == "HEAD":
            curl.setopt(curl.NOBODY, 1)
            curl.setopt(curl.IGNORE_CONTENT_LENGTH, 1)  # libcurl rejects an odd one that parse_head may accept
        else:
            curl.setopt(curl.CUSTOMREQUEST, self._method)

    def _is_good(self, status: int) -> bool:
        # CompleteMultipartUpload may return 200 at once, and fail afterwards.
        return super()._is_good(status) and not parse_error(self.answer)


def _head(action: str, transfer: Transfer) -> Head:
    try:
        return parse_head(transfer.header_block, transfer.status)
    except ValueError as error:
        raise unreadable(action, error, transfer.status, of_object=True) from None


def _sha256(body: BytesIO | Section) -> str:
    digest = hashlib.sha256()
    while piece := body.read(CHUNK):
        digest.update(piece)
    body.seek(0)
    return digest.hexdigest()


def object_headers(work: Send) -> dict[str, str]:
    """The headers of an upload, names in lower case."""
    headers = {name.lower(): value for name, value in sent_headers(work.headers).items()}
    headers.setdefault("content-type", UNSET_CONTENT_TYPE)
    return headers


def with_md5(headers: dict[str, str], md5: str) -> dict[str, str]:
    """The headers of a PUT whose body the store must check."""
    return {**headers, "content-md5": base64.b64encode(bytes.fromhex(md5)).decode()} if md5 else headers
