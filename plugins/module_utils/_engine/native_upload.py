# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How the native mover sends large objects: one PUT, or a multipart upload that is continued after an interruption.

The upload is recorded before its first part is sent. It is aborted when what it holds is of no use: the file is no
longer the one that was proven, the store refuses it for good, or the object has a newer generation. No upload is
completed unless its parts have, together, the digest that the staged file was proven to have.
"""

from __future__ import annotations

import html
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from . import etag
from .answers import UNREADABLE, etag_text, says_more
from .errors import StoreError, Trouble
from .model import UNTOLD, Head, Send
from .native_lanes import Stream, StreamClosed
from .native_large import Large, LargeKit
from .native_requests import Post, Put, Request, object_headers, open_to_send, with_md5
from .parts import SentPart, Upload
from .s3_limits import part_count
from .s3_request import PERHAPS_STORED, Section, rotten

if TYPE_CHECKING:
    from collections.abc import Callable

    from .native_outcomes import Result

    _Step: TypeAlias = "Callable[[Stream], Head | None]"

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_find_upload_id = re.compile(rb"<(?:\w+:)?UploadId>([^<]+)</").search
_find_parts = re.compile(rb"<(?:\w+:)?Part>(.*?)</(?:\w+:)?Part>", re.DOTALL).findall
_find_truncated = re.compile(rb"(?i)<(?:\w+:)?IsTruncated>([^<]*)<").search


class _UploadGone(Exception):
    """The store does not know the upload any more, and the object is not there."""


class LargeSend(Large):
    """One PUT, or a multipart upload in parts of exactly the wanted size."""

    def __init__(self, kit: LargeKit, work: Send) -> None:
        super().__init__(kit, work)
        self._work = work
        self._descriptor = -1
        self._upload: Upload | None = None
        self._listed: dict[int, str] = {}  # part number -> ETag of what the store has, and nobody compared yet
        self._sent: dict[int, SentPart] = {}
        self._is_stored = False  # the destination was found to hold the object
        self._is_second = False  # the first upload was gone

    def start(self) -> None:
        self._submit(self._open)  # whoever hands over work need not wait for its disk

    def _open(self, stream: Stream) -> Head | None:
        self._descriptor = open_to_send(self._kit.bucket, self._work)
        return self._begin(stream) if self._work.part_size else self._put(stream)

    def _put(self, stream: Stream) -> Head:
        work = self._work
        md5 = work.md5 or Section(self._descriptor, 0, work.size).hex_md5()
        headers = with_md5(object_headers(work), md5)
        return stream.perform(
            lambda: Put(self._kit.bucket, work, self._descriptor, 0, work.size, parameters={}, headers=headers, md5=md5)
        )

    # -- an upload, begun or continued --------------------------------------------------------------------------

    def _begin(self, stream: Stream) -> Head | None:
        found = self._continue(stream)
        if self._is_stored:
            return found
        if self._upload is None:
            self._upload = self._begin_anew(stream)
        starts = range(0, self._work.size, self._work.part_size)
        todo = [(number, start) for number, start in enumerate(starts, start=1) if number not in self._sent]
        self._submit(*(self._part_step(number, start) for number, start in todo))
        return None

    def _continue(self, stream: Stream) -> Head | None:
        """Take up an upload of the same bytes, and abort those of others. A Head: the object is stored already."""
        work, memory = self._work, self._kit.memory
        for upload in memory.uploads(work):
            if (upload.bucket, upload.key) != (self._kit.bucket.name, work.key):
                continue  # it is at another destination, which is not asked here
            if not upload.upload_id:
                continue
            if self._upload or (upload.generation, upload.part_size) != (work.generation, work.part_size):
                self._abort(stream, upload)
                continue
            try:
                self._know_parts(upload, self._list_parts(stream, upload))
            except StoreError as error:
                if error.trouble is not Trouble.NOT_FOUND:
                    raise
                head = self._look(stream, upload, self._work.digest)
                memory.end_upload(upload)
                if head:
                    return head
            else:
                self._upload = upload
        return None

    def _know_parts(self, upload: Upload, listed: dict[int, tuple[str, int]] | None) -> None:
        """What need not be sent again: recorded, and still there where the store can tell."""
        recorded = {part.number: part for part in self._kit.memory.sent(self._work)}
        if listed is None:
            self._sent = recorded
            return
        for number, (part_etag, size) in listed.items():
            if size != self._length_of(number):
                continue
            known = recorded.get(number)
            if known and known.etag == part_etag:
                self._sent[number] = known
            else:
                self._listed[number] = part_etag

    def _length_of(self, number: int) -> int:
        return min(self._work.part_size, self._work.size - (number - 1) * self._work.part_size)

    def _list_parts(self, stream: Stream, upload: Upload) -> dict[int, tuple[str, int]] | None:
        """Part number -> (ETag, size). None: this store does not tell."""
        parts: dict[int, tuple[str, int]] = {}
        marker = 0
        while True:
            parameters = {"max-parts": "1000", "part-number-marker": str(marker), "uploadId": upload.upload_id}
            try:
                answer = self._ask(stream, "GET", parameters)
            except StoreError as error:
                if error.trouble.is_weather or error.trouble.stops_job or error.trouble is Trouble.NOT_FOUND:
                    raise
                return None
            page = {number: (part_etag, size) for number, part_etag, size in parse_parts(answer)}
            parts.update(page)
            if not _leads_on(answer) or not page or max(page) <= marker:
                return parts
            marker = max(page)

    def _begin_anew(self, stream: Stream) -> Upload:
        work, bucket, memory = self._work, self._kit.bucket, self._kit.memory
        intended = Upload(work.id, work.generation, bucket.endpoint, bucket.name, work.key, "", work.part_size, 0)
        memory.begin_upload(intended)
        made: list[Post] = []

        def make() -> Request:
            made.append(Post(bucket, work, parameters={"uploads": ""}, headers=object_headers(work)))
            return made[-1]

        head = stream.perform(make)
        found = _find_upload_id(made[-1].answer)
        if not found:
            action = bucket.action("send", work.key)
            raise StoreError(Trouble.SERVER, action, "the store began a multipart upload and did not name it")
        upload_id = html.unescape(found[1].decode())
        upload = replace(intended, upload_id=upload_id, begun_ms=head.server_time_ms)
        try:
            memory.begin_upload(upload)
        except Exception:
            self._abort(stream, upload)
            raise
        if len(made) == 1:  # else an attempt whose answer was lost may have begun another one
            memory.end_upload(intended)
        return upload

    # -- parts --------------------------------------------------------------------------------------------------

    def _part_step(self, number: int, start: int) -> _Step:
        length = self._length_of(number)

        def send(stream: Stream) -> Head | None:
            assert self._upload  # parts are of one
            md5 = Section(self._descriptor, start, length).hex_md5()
            head = None
            if self._listed.get(number, "").lower() == md5:
                part = SentPart(number, self._listed[number], md5)
            else:
                head = self._send_part(stream, self._upload, number, start, md5)
                part = SentPart(number, head.etag, md5)
            self._sent[number] = part
            self._kit.memory.keep_sent(self._work, part)
            return head

        return send

    def _send_part(self, stream: Stream, upload: Upload, number: int, start: int, md5: str) -> Head:
        parameters = {"partNumber": str(number), "uploadId": upload.upload_id}
        length, headers = self._length_of(number), with_md5({}, md5)
        bucket = self._kit.bucket
        head = stream.perform(
            lambda: Put(bucket, self._work, self._descriptor, start, length, parameters=parameters, headers=headers)
        )
        if self._is_md5(head) and head.etag.lower() != md5:
            detail = f"the store answered part {number} with the ETag {head.etag}, the MD5 of what was sent is {md5}"
            raise StoreError(Trouble.MISMATCH, bucket.action("send", self._work.key), detail)
        return head

    def _is_md5(self, head: Head) -> bool:
        """Whether the ETag of a part speaks of its bytes."""
        parsed = etag.parse(head.etag)
        is_opaque = self._kit.bucket.etags_are_opaque or head.encryption.startswith("aws:kms")
        return parsed is not None and not parsed.parts and not is_opaque

    # -- the end ------------------------------------------------------------------------------------------------

    def _finish(self, stream: Stream | None) -> None:
        result: Result = None
        try:
            self._kit.memory.settle(self._work)
            if self._is_closed or stream is None:
                result = self._error
            elif self._upload is None or self._is_stored:
                result = self._error or self._head
            else:
                result = self._conclude(stream, self._upload)
        except _UploadGone:
            self._start_over()
            return
        except StreamClosed:
            result = None
        except Exception as error:
            result = error
            if stream and self._upload and not self._kit.memory.lasts:
                self._abort(stream, self._upload)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._tell(result)

    def _conclude(self, stream: Stream, upload: Upload) -> Head | Exception:
        """Complete the upload, or see what becomes of it. _UploadGone: another one is to be begun."""
        error = self._error
        if error is None:
            try:
                return self._complete(stream, upload)
            except StoreError as failed:
                error = failed
        if isinstance(error, StoreError) and error.trouble is Trouble.NOT_FOUND and not self._is_second:
            head = self._look(stream, upload, self._work.digest)
            self._kit.memory.end_upload(upload)
            if head is None:
                raise _UploadGone
            return head
        if not self._kit.memory.lasts or self._is_final(error):
            self._abort(stream, upload)
        return error

    def _is_final(self, error: Exception) -> bool:
        """Whether the parts are of no use for another attempt."""
        if not isinstance(error, StoreError):
            return False
        if error.trouble is Trouble.MISMATCH:
            # A part that the store, or the way to it, damaged is sent again; the others are as they should be.
            return len(self._sent) == self._count
        if error.code == UNREADABLE:
            return False
        return error.trouble is Trouble.UNSUPPORTED or (error.trouble is Trouble.OTHER and error.status > 0)

    @property
    def _count(self) -> int:
        return part_count(self._work.size, self._work.part_size)

    def _start_over(self) -> None:
        self._is_second = True
        self._upload, self._error, self._head = None, None, None
        self._listed, self._sent = {}, {}
        self._submit(self._begin)

    def _complete(self, stream: Stream, upload: Upload) -> Head:
        sent = [self._sent[number] for number in range(1, self._count + 1)]
        found = etag.multipart_etag([bytes.fromhex(part.md5) for part in sent])
        if self._work.digest and found != self._work.digest.lower():
            raise rotten(self._kit.bucket.action("send", self._work.key), self._work.digest, found)
        try:
            head = self._post_complete(stream, upload, self._named(stream, upload, sent))
        except StoreError as error:
            stored = self._look(stream, upload, found) if error.trouble in PERHAPS_STORED else None
            if stored is None:
                raise
            head = stored
        self._kit.memory.end_upload(upload)
        return head

    def _named(self, stream: Stream, upload: Upload, sent: list[SentPart]) -> list[SentPart]:
        """The parts with their ETags: where the store answered without one, as it lists them, else their MD5s."""
        if all(part.etag for part in sent):
            return sent
        listed = self._list_parts(stream, upload) or {}
        return [part if part.etag else self._named_part(part, listed) for part in sent]

    def _named_part(self, part: SentPart, listed: dict[int, tuple[str, int]]) -> SentPart:
        part_etag, size = listed.get(part.number, ("", 0))
        if part_etag and size != self._length_of(part.number):
            detail = f"the store lists part {part.number} with {size} bytes, {self._length_of(part.number)} were sent"
            raise StoreError(Trouble.MISMATCH, self._kit.bucket.action("send", self._work.key), detail)
        return replace(part, etag=part_etag or part.md5)

    def _post_complete(self, stream: Stream, upload: Upload, sent: list[SentPart]) -> Head:
        parts = "".join(
            f'<Part><PartNumber>{part.number}</PartNumber><ETag>"{html.escape(part.etag)}"</ETag></Part>'
            for part in sent
        )
        body = f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{parts}</CompleteMultipartUpload>'.encode()
        made: list[Post] = []

        def make() -> Request:
            made[:] = [
                Post(
                    self._kit.bucket,
                    self._work,
                    parameters={"uploadId": upload.upload_id},
                    headers={"content-type": "application/xml"},
                    body=body,
                )
            ]
            return made[0]

        head = stream.perform(make)
        return replace(head, etag=_element(made[0].answer.decode("utf-8", "replace"), "ETag").strip('"'))

    def _look(self, stream: Stream, upload: Upload, wanted: str) -> Head | None:
        """Whether the destination holds the object now, whatever was answered. StoreError when it does not answer."""
        try:
            head = stream.perform(lambda: Post(self._kit.bucket, self._work, method="HEAD", parameters={}, headers={}))
        except StoreError as error:
            if error.trouble.is_weather:
                raise
            return None
        is_it = bool(wanted) and head.etag.lower() == wanted.lower()
        if not is_it and not self._has_digest(head):
            is_it = head.size in (self._work.size, UNTOLD) and 0 < upload.begun_ms <= head.modified_ms + 1000
        self._is_stored = self._is_stored or is_it
        return head if is_it else None

    def _has_digest(self, head: Head) -> bool:
        is_opaque = self._kit.bucket.etags_are_opaque or head.encryption.startswith("aws:kms")
        return etag.parse(head.etag) is not None and not is_opaque

    def _abort(self, stream: Stream, upload: Upload) -> None:
        """Leave no parts behind; what cannot be removed now is still recorded."""
        try:
            self._ask(stream, "DELETE", {"uploadId": upload.upload_id})
        except StoreError as error:
            if error.trouble is not Trouble.NOT_FOUND:
                return
        except (OSError, StreamClosed):
            return
        self._kit.memory.end_upload(upload)

    def _ask(self, stream: Stream, method: str, parameters: dict[str, str]) -> bytes:
        made: list[Post] = []

        def make() -> Request:
            made[:] = [Post(self._kit.bucket, self._work, method=method, parameters=parameters, headers={})]
            return made[0]

        stream.perform(make)
        return made[0].answer


def _leads_on(answer: bytes) -> bool:
    """Whether more parts may follow: a request too many, where that is not said, loses nothing."""
    found = _find_truncated(answer)
    return found is None or says_more(found[1].decode("latin-1")) is not False


def parse_parts(answer: bytes) -> list[tuple[int, str, int]]:
    """(number, ETag, size) of what ListParts told; what cannot be read is left out: it is sent again."""
    parts = []
    for block in _find_parts(answer):
        text = block.decode("utf-8", "replace")
        number, part_etag, size = (_element(text, name) for name in ("PartNumber", "ETag", "Size"))
        if number.isdecimal() and size.isdecimal():
            parts.append((int(number), etag_text(part_etag), int(size)))
    return parts


def _element(text: str, name: str) -> str:
    found = re.search(rf"<(?:\w+:)?{name}>([^<]*)</", text)
    return html.unescape(found[1]).strip() if found else ""
