# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The requests of the native mover: one GET or PUT each, with the file it fills or reads and the digest of its bytes.

A request is begun on a handle of libcurl, and ended when the handle is done; it knows nothing of who drives the handle.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol

from .answers import failure, parse_error, parse_head, status_of, unanswered
from .errors import StoreError, Trouble
from .model import MIB, Fetch, Head, Headers, Send
from .reach import UNSIGNED_PAYLOAD, Signer, host_header, object_path, query_string, shown
from .s3_request import CHUNK, Section, sent_headers
from .wire_transfers import KEPT_ERROR_BYTES, Transfer

if TYPE_CHECKING:  # config.py brings pydantic
    from .config import Store
    from .credentials import Credentials

UNSET_CONTENT_TYPE = "binary/octet-stream"  # what S3 says of an object that was stored without one
_AT_ONCE = MIB  # a body of so many bytes is read at once, a larger one as it is sent
_NO_EXPECT = "expect:"  # else libcurl asks before each larger body whether it may send it, and waits
_is_header_value = re.compile(r"[!-~](?: ?[!-~])*").fullmatch
_is_metadata_name = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII).fullmatch
_find_total = re.compile(rb"(?im)^content-range:[ \t]*bytes[ \t]+\d+-\d+/(\d+)").search


class Request(Protocol):
    """What a lane drives."""

    def begin(self, transfer: Transfer) -> None:
        """Prepare the handle. OSError when the local file cannot be read."""

    def end(self, number: int, words: str) -> Head:
        """What was answered; StoreError, or the local file's OSError. libcurl's error number and words (0 and "")."""


def can_carry(headers: Headers) -> bool:
    """Whether these headers can be signed and sent and every store reads them alike; boto3 finds ways for others."""
    sent = sent_headers(headers)
    names = [name.lower() for name in sent]
    return len(set(names)) == len(names) and all(
        _is_metadata_name(name) and (not value or _is_header_value(value)) for name, value in sent.items()
    )


class Bucket:
    """How a bucket is asked at one endpoint. `moved` counts bytes, about: it says whether anything moves."""

    def __init__(self, store: Store, endpoint: str, credentials: Credentials) -> None:
        self.name = store.bucket
        self.region = store.region
        self.endpoint = endpoint.rstrip("/")
        self.is_private = self.endpoint.startswith("https:")
        self.moved = 0
        self._signer = Signer(credentials, store.region, host_header(self.endpoint))

    def lines_to_get(self, object_key: str) -> tuple[str, list[str]]:
        path = object_path(self.name, object_key)
        return self.endpoint + path, self._signer.headers("GET", path, "")

    def lines_to_send(
        self, method: str, object_key: str, parameters: dict[str, str], headers: dict[str, str], payload: str
    ) -> tuple[str, list[str]]:
        path, query = object_path(self.name, object_key), query_string(parameters)
        lines = self._signer.sign(method, path, query, headers, payload)
        return f"{self.endpoint}{path}?{query}" if query else self.endpoint + path, [*lines, _NO_EXPECT]

    def action(self, verb: str, object_key: str) -> str:
        preposition = "from" if verb == "fetch" else "to"
        return f"{verb} {shown(self.name, object_key)} {preposition} {self.endpoint}"

    def refused(self, action: str, transfer: Transfer, body: bytes) -> StoreError:
        block = transfer.header_block
        return failure(action, transfer.status, body, of_object=True, region=self.region, headers=block)


class Target:
    """The file that a fetch fills: made with its first byte, cut to nothing first, written at any place."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1

    def open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self.path, flags, 0o600)

    @property
    def is_open(self) -> bool:
        return self._descriptor >= 0

    def write(self, chunk: bytes, place: int) -> None:
        written = os.pwrite(self._descriptor, chunk, place)
        while written < len(chunk):
            written += os.pwrite(self._descriptor, chunk[written:], place + written)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class PartDigests:
    """The MD5s of the parts of `part_size` bytes (0: one part) that come one after the other."""

    def __init__(self, part_size: int) -> None:
        self._part_size = part_size
        self._room = part_size
        self._part = hashlib.md5(usedforsecurity=False)
        self._digests: list[bytes] = []

    def update(self, chunk: bytes) -> None:
        if not self._part_size or len(chunk) <= self._room:
            self._part.update(chunk)
            self._room -= len(chunk)
            return
        view = memoryview(chunk)
        while view:
            if not self._room:
                self._digests.append(self._part.digest())
                self._part = hashlib.md5(usedforsecurity=False)
                self._room = self._part_size
            taken = view[: self._room]
            self._part.update(taken)
            self._room -= len(taken)
            view = view[len(taken) :]

    def digests(self) -> list[bytes]:
        return [*self._digests, self._part.digest()]


class Get:
    """A GET of an object, or of `length` bytes from `start`.

    Nothing is written of an answer that is not about the object that was listed: its ETag and size are looked at with
    the first byte. `digests` None: the bytes are not hashed.
    """

    def __init__(
        self, bucket: Bucket, work: Fetch, target: Target, start: int, length: int, digests: PartDigests | None
    ) -> None:
        self._bucket = bucket
        self._work = work
        self._target = target
        self._start = start
        self._length = length
        self.digests = digests
        self._is_whole = length == work.size
        self._transfer: Transfer | None = None
        self._head: Head | None = None
        self._refused = b""
        self._received = 0
        self._error: StoreError | OSError | None = None
        self.ignores_ranges = False

    def begin(self, transfer: Transfer) -> None:
        self._transfer = transfer
        url, lines = self._bucket.lines_to_get(self._work.key)
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
                detail = f"the answer has more than the {self._length} bytes that were asked for"
                raise StoreError(Trouble.SERVER, self._bucket.action("fetch", self._work.key), detail)
            self._target.write(chunk, self._start + self._received)
        except (OSError, StoreError) as error:  # libcurl would print and drop it; `end` raises it again
            self._error = error
            return -1
        if self.digests:
            self.digests.update(chunk)
        self._received += len(chunk)
        self._bucket.moved += len(chunk)
        return len(chunk)

    def _accepts(self) -> bool:
        """Whether the answer is the wanted one, as its headers say."""
        assert self._transfer  # `begin` was called
        block, work = self._transfer.header_block, self._work
        status = status_of(block)
        if status not in (200, 206):
            return False
        action = self._bucket.action("fetch", work.key)
        if not self._is_whole and status == 200:
            self.ignores_ranges = True
            raise StoreError(Trouble.UNSUPPORTED, action, "the store does not know ranges", status=status)
        try:
            head = parse_head(block, status, received=self._length)
        except ValueError as error:
            detail = (
                f"the answer is not what an S3 store gives: {error}; look at what stands between here and the store"
            )
            raise StoreError(Trouble.SERVER, action, detail, status=status) from None
        total = _find_total(block)
        size = head.size if self._is_whole else int(total[1]) if total else work.size
        if size != work.size or work.etag not in ("", head.etag):
            detail = f"it has {size} bytes and the ETag {head.etag!r}, {work.size} and {work.etag!r} were listed"
            raise StoreError(Trouble.CHANGED, action, detail, status=status)
        if not self._target.is_open:
            self._target.open()
        self._head = head
        return True

    def end(self, number: int, words: str) -> Head:
        assert self._transfer  # `begin` was called
        if self._error:
            raise self._error
        action = self._bucket.action("fetch", self._work.key)
        if number:
            raise unanswered(action, number, words)
        if self._head is None and not self._accepts():
            raise self._bucket.refused(action, self._transfer, self._refused)
        if self._received != self._length:
            detail = f"the answer ended after {self._received} of {self._length} bytes"
            raise StoreError(Trouble.BROKEN, action, detail)
        assert self._head  # it was accepted
        return self._head


class Put:
    """A PUT of `length` bytes of a file from `start`: an object, or with `parameters` a part of one."""

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
    ) -> None:
        self._bucket = bucket
        self._work = work
        self._descriptor = descriptor
        self._start = start
        self._length = length
        self._parameters = parameters
        self._headers = headers
        self._transfer: Transfer | None = None
        self._section: Section | None = None
        self._answer = BytesIO()

    def begin(self, transfer: Transfer) -> None:
        self._transfer = transfer
        section = Section(self._descriptor, self._start, self._length)
        curl = transfer.curl
        if self._length <= _AT_ONCE:
            data = section.read()
            body = BytesIO(data)
            payload = UNSIGNED_PAYLOAD if self._bucket.is_private else hashlib.sha256(data).hexdigest()
            curl.setopt(curl.READFUNCTION, body.read)
            curl.setopt(curl.SEEKFUNCTION, functools.partial(_seek, body))
            self._bucket.moved += self._length
        else:
            self._section = section
            payload = UNSIGNED_PAYLOAD if self._bucket.is_private else _sha256(section)
            curl.setopt(curl.READFUNCTION, self._read)
            curl.setopt(curl.SEEKFUNCTION, functools.partial(_seek, section))
        self._answer = BytesIO()
        url, lines = self._bucket.lines_to_send("PUT", self._work.key, self._parameters, self._headers, payload)
        transfer.begin(url, lines)
        curl.setopt(curl.UPLOAD, 1)
        curl.setopt(curl.INFILESIZE_LARGE, self._length)
        curl.setopt(curl.WRITEFUNCTION, self._answer.write)

    def _read(self, amount: int) -> bytes:
        assert self._section  # `begin` was called
        piece = self._section.read(amount)  # an OSError ends the request, `end` finds it in the section
        self._bucket.moved += len(piece)
        return piece

    def end(self, number: int, words: str) -> Head:
        assert self._transfer  # `begin` was called
        action = self._bucket.action("send", self._work.key)
        if self._section and self._section.error:
            raise self._section.error
        if number:
            raise unanswered(action, number, words)
        if self._transfer.status != 200:
            raise self._bucket.refused(action, self._transfer, self._answer.getvalue()[:KEPT_ERROR_BYTES])
        return _head(action, self._transfer)


class Post:
    """A small request without a file: it begins, completes or aborts a multipart upload. `answer` is the body."""

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
        self._bucket = bucket
        self._work = work
        self._method = method
        self._parameters = parameters
        self._headers = headers
        self._body = body
        self._transfer: Transfer | None = None
        self._answer = BytesIO()

    @property
    def answer(self) -> bytes:
        return self._answer.getvalue()

    def begin(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._answer = BytesIO()
        payload = hashlib.sha256(self._body).hexdigest()
        url, lines = self._bucket.lines_to_send(self._method, self._work.key, self._parameters, self._headers, payload)
        transfer.begin(url, lines)
        curl = transfer.curl
        if self._method == "POST":
            curl.setopt(curl.POSTFIELDS, self._body)
        else:
            curl.setopt(curl.CUSTOMREQUEST, self._method)
        curl.setopt(curl.WRITEFUNCTION, self._answer.write)

    def end(self, number: int, words: str) -> Head:
        assert self._transfer  # `begin` was called
        action = self._bucket.action("send", self._work.key)
        if number:
            raise unanswered(action, number, words)
        # A Complete may be answered 200 at once, and fail afterwards.
        if self._transfer.status not in (200, 204) or parse_error(self.answer):
            raise self._bucket.refused(action, self._transfer, self.answer[:KEPT_ERROR_BYTES])
        return _head(action, self._transfer)


def _head(action: str, transfer: Transfer) -> Head:
    try:
        return parse_head(transfer.header_block, transfer.status, received=0)
    except ValueError as error:
        raise StoreError(Trouble.SERVER, action, f"the answer is not what an S3 store gives: {error}") from None


def _seek(body: Any, offset: int, origin: int) -> int:
    body.seek(offset, origin)
    return 0  # SEEKFUNC_OK


def _sha256(section: Section) -> str:
    digest = hashlib.sha256()
    while piece := section.read(CHUNK):
        digest.update(piece)
    section.seek(0)
    return digest.hexdigest()


def object_headers(work: Send) -> dict[str, str]:
    """What an upload says of its object, names in lower case."""
    headers = {name.lower(): value for name, value in sent_headers(work.headers).items()}
    headers.setdefault("content-type", UNSET_CONTENT_TYPE)
    return headers


def with_md5(headers: dict[str, str], md5: str) -> dict[str, str]:
    """The headers of a PUT of a whole object, which the store is to check."""
    return {**headers, "content-md5": base64.b64encode(bytes.fromhex(md5)).decode()} if md5 else headers
