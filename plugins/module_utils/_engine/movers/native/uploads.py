# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""One PUT or POST of the native mover, with the file it reads and the digest of its bytes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable
from io import BytesIO

from ...core import workers
from ...core.errors import StoreError, Trouble
from ...core.model import MIB, Head, Send
from ...store.address import UNSIGNED_PAYLOAD
from ...store.answers import parse_error, unanswered, unreadable
from ...store.curl import KEPT_ERROR_BYTES, Transfer, Waiting
from ...store.head_answers import parse_head
from ...store.timeouts import Asked
from ...store.upload_bodies import THE_FILE, Md5Check, Section, about_tags
from .requests import Bucket
from .signing import SignedTransfer

_SOON_SENT = MIB  # a body up to this size needs no timeout for its flow


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


def close_sent(descriptor: int) -> None:
    """An error, which network filesystems and FUSE may return here, says nothing of what was read."""
    with workers.at_medium(), contextlib.suppress(OSError):
        os.close(descriptor)


class _Upload:
    """A request that sends something to the store, of the kind `asked`; `answer` is the response body."""

    def __init__(
        self, bucket: Bucket, work: Send, asked: Asked, *, parameters: dict[str, str], headers: dict[str, str]
    ) -> None:
        self._bucket = bucket
        self._work = work
        self._asked = asked
        self._parameters = parameters
        self._headers = headers
        self._signed: SignedTransfer | None = None
        self._waiting: Waiting | None = None
        self._answer = BytesIO()

    @property
    def answer(self) -> bytes:
        return self._answer.getvalue()

    @property
    def _action(self) -> str:
        """The action named in errors."""
        return self._bucket.action("send", self._work.key)

    def _begin(self, transfer: Transfer, method: str, payload: str, *, is_soon_sent: bool = False) -> None:
        """`is_soon_sent`: only the response is waited for."""
        signer = self._bucket.signer
        self._signed = signer.start(transfer)
        self._answer = BytesIO()
        url, lines = signer.lines_to_send(method, self._work.key, self._parameters, self._headers, payload)
        transfer.begin(url, lines)
        curl = transfer.curl
        curl.setopt(curl.WRITEFUNCTION, self._answer.write)
        silence = self._bucket.patience.of(self._asked)
        if is_soon_sent:
            # libcurl's own limit is enough, and needs no callback: millions of small objects are sent like this.
            curl.setopt(curl.LOW_SPEED_TIME, max(1, round(silence.answer)))
        else:
            self._waiting = transfer.bear(silence, self._goes_on)

    def _goes_on(self) -> bool:
        self._bucket.moved += 1  # this wait has its own timeout: the watchdog must not end it
        return True

    def end(self, number: int, words: str) -> Head:
        assert self._signed  # `begin` was called
        if self._waiting and self._waiting.silent_for:
            detail = f"the store sent nothing for {self._waiting.silent_for:.0f} seconds ({self._asked.value})"
            raise StoreError(Trouble.TIMEOUT, self._action, detail)
        if number:
            raise unanswered(self._action, number, words, of_object=True)
        transfer = self._signed.transfer
        if not self._is_good(transfer.status):
            error = self._signed.refused(self._action, self.answer[:KEPT_ERROR_BYTES])
            raise about_tags(error, self._work) if "x-amz-tagging" in self._headers else error
        try:
            return parse_head(transfer.header_block, transfer.status)
        except ValueError as error:
            raise unreadable(self._action, error, transfer.status, of_object=True) from None

    def _is_good(self, status: int) -> bool:
        return 200 <= status < 300  # some stores return 201 or 204; the object is checked afterwards in any case


class Put(_Upload):
    """A PUT of `length` bytes of a file from `start`: an object, or with `parameters` a part of one.

    `md5` (hex): the request is aborted before its last byte if the bytes have another MD5, and its error says `what`
    they are; "": not checked. `sha256` (hex), if they were read before: they are not read again to sign the request.
    What the handle's `most_held` has no room for is read while it is sent.
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
        what: str = THE_FILE,
        sha256: str = "",
    ) -> None:
        super().__init__(bucket, work, Asked.PUT, parameters=parameters, headers=headers)
        self._section = Section(descriptor, start, length)
        self._length = length
        self._check = Md5Check(md5, what)
        self._sha256 = sha256
        self._error: StoreError | None = None

    def begin(self, transfer: Transfer) -> None:
        body: BytesIO | Section = self._section
        read: Callable[[int], bytes | int] = self._read
        if 2 * self._length <= transfer.most_held:  # libcurl copies what it sends
            content = self._section.read_all()
            self._check.update(content)
            self._insist()
            body = BytesIO(content)
            read = body.read
            self._bucket.moved += self._length
        payload = UNSIGNED_PAYLOAD if self._bucket.is_private else self._sha256 or _sha256(body, transfer.most_held)
        self._begin(transfer, "PUT", payload, is_soon_sent=self._length <= _SOON_SENT)
        curl = transfer.curl
        curl.setopt(curl.UPLOAD_BUFFERSIZE, transfer.most_held)
        curl.setopt(curl.READFUNCTION, read)
        curl.setopt(curl.SEEKFUNCTION, functools.partial(self._seek, body))
        curl.setopt(curl.UPLOAD, 1)
        curl.setopt(curl.INFILESIZE_LARGE, self._length)

    def _read(self, amount: int) -> bytes | int:
        assert self._signed  # `begin` was called
        abort = int(self._signed.transfer.curl.READFUNC_ABORT)
        try:
            piece = self._section.read(amount)
        except OSError:  # libcurl would print it; `end` finds it in the section
            return abort
        self._bucket.moved += len(piece)
        self._check.update(piece)
        if self._section.tell() == self._length:
            try:
                self._insist()
            except StoreError as error:
                self._error = error
                # Without its last bytes the store cannot create the object, whatever it checks.
                return abort
        return piece

    def _insist(self) -> None:
        """StoreError unless the bytes read are the proven ones."""
        self._check.insist(self._action)

    def _seek(self, body: BytesIO | Section, offset: int, origin: int) -> int:
        """libcurl sends a body again from its start."""
        body.seek(offset, origin)
        self._check.restart()
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


def _sha256(body: BytesIO | Section, most_held: int) -> str:
    digest = hashlib.sha256()
    while piece := body.read(most_held):
        digest.update(piece)
    body.seek(0)
    return digest.hexdigest()
