# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The native mover's requests for sending a large object: one PUT, or those of a multipart upload."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...core.errors import StoreError, Trouble
from ...core.model import Head, Send
from ...core.parts import SentPart
from ...store.head_answers import etag_text
from ...store.listing_parser import says_more
from ...store.upload_bodies import part_of_file
from .requests import Bucket, Request, object_headers, with_md5
from .stream_lane import Stream
from .uploads import Post, Put

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_find_upload_id = re.compile(rb"<(?:\w+:)?UploadId>([^<]+)</").search
_find_parts = re.compile(rb"<(?:\w+:)?Part>(.*?)</(?:\w+:)?Part>", re.DOTALL).findall
_find_truncated = re.compile(rb"(?i)<(?:\w+:)?IsTruncated>([^<]*)<").search


@dataclass(frozen=True, slots=True)
class Begun:
    """A multipart upload that was started at `begun_ms` by the store's clock (0: unknown).

    `is_only_one`: no earlier attempt whose response was lost can have started another one.
    """

    upload_id: str
    begun_ms: int
    is_only_one: bool


@dataclass(frozen=True, slots=True)
class OutgoingPart:
    """Part `number` (from 1): `length` bytes of the file from `start`, which have the MD5 `md5` (hex).

    `is_proven`: they had it when the file was proven, and are compared with it while they are sent; else the MD5 is of
    a read just before. `sha256` (hex) is of that read, "" if it was not computed.
    """

    number: int
    start: int
    length: int
    md5: str
    is_proven: bool = False
    sha256: str = ""


class UploadRequests:
    """The requests about one object. All raise StoreError, OSError of its file, and StreamClosed."""

    def __init__(self, bucket: Bucket, work: Send) -> None:
        self._bucket = bucket
        self._work = work

    @property
    def action(self) -> str:
        """The action named in errors."""
        return self._bucket.action("send", self._work.key)

    def put(self, stream: Stream, descriptor: int, md5: str) -> Head:
        """The whole object."""
        work = self._work
        headers = with_md5(object_headers(work), md5)
        return stream.perform(
            lambda: Put(self._bucket, work, descriptor, 0, work.size, parameters={}, headers=headers, md5=md5)
        )

    def begin(self, stream: Stream) -> Begun:
        """A new upload."""
        made: list[Post] = []

        def make() -> Request:
            headers = object_headers(self._work)
            made.append(Post(self._bucket, self._work, parameters={"uploads": ""}, headers=headers))
            return made[-1]

        head = stream.perform(make)
        found = _find_upload_id(made[-1].answer)
        if not found:
            raise StoreError(Trouble.SERVER, self.action, "the store returned no id for a new multipart upload")
        return Begun(html.unescape(found[1].decode()), head.server_time_ms, len(made) == 1)

    def send_part(self, stream: Stream, descriptor: int, upload_id: str, part: OutgoingPart) -> Head:
        """A part of the file."""
        return stream.perform(
            lambda: Put(
                self._bucket,
                self._work,
                descriptor,
                part.start,
                part.length,
                parameters={"partNumber": str(part.number), "uploadId": upload_id},
                headers=with_md5({}, part.md5),
                md5=part.md5 if part.is_proven else "",
                what=part_of_file(part.number),
                sha256=part.sha256,
            )
        )

    def list_parts(self, stream: Stream, upload_id: str) -> dict[int, tuple[str, int]] | None:
        """Part number -> (ETag, size). None: this store cannot list parts."""
        parts: dict[int, tuple[str, int]] = {}
        marker = 0
        while True:
            parameters = {"max-parts": "1000", "part-number-marker": str(marker), "uploadId": upload_id}
            try:
                answer = self._ask(stream, "GET", parameters)
            except StoreError as error:
                if error.trouble.is_transient or error.trouble.stops_job or error.trouble is Trouble.NOT_FOUND:
                    raise
                return None
            page = {number: (part_etag, size) for number, part_etag, size in _parse_parts(answer)}
            parts.update(page)
            if not _leads_on(answer) or not page or max(page) <= marker:
                return parts
            marker = max(page)

    def complete(self, stream: Stream, upload_id: str, sent: Sequence[SentPart]) -> Head:
        """Complete the upload."""
        made: list[Post] = []

        def make() -> Request:
            made[:] = [
                Post(
                    self._bucket,
                    self._work,
                    parameters={"uploadId": upload_id},
                    headers={"content-type": "application/xml"},
                    body=_list_of(sent),
                )
            ]
            return made[0]

        head = stream.perform(make)
        return head._replace(etag=_element(made[0].answer.decode("utf-8", "replace"), "ETag").strip('"'))

    def abort(self, stream: Stream, upload_id: str) -> None:
        self._ask(stream, "DELETE", {"uploadId": upload_id})

    def look(self, stream: Stream) -> Head:
        """HEAD of the key."""
        return stream.perform(lambda: Post(self._bucket, self._work, method="HEAD", parameters={}, headers={}))

    def _ask(self, stream: Stream, method: str, parameters: Mapping[str, str]) -> bytes:
        made: list[Post] = []

        def make() -> Request:
            made[:] = [Post(self._bucket, self._work, method=method, parameters=dict(parameters), headers={})]
            return made[0]

        stream.perform(make)
        return made[0].answer


def _list_of(sent: Sequence[SentPart]) -> bytes:
    parts = "".join(
        f'<Part><PartNumber>{part.number}</PartNumber><ETag>"{html.escape(part.etag)}"</ETag></Part>' for part in sent
    )
    return f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{parts}</CompleteMultipartUpload>'.encode()


def _leads_on(answer: bytes) -> bool:
    """Whether more parts may follow; if the response does not say, an extra request loses nothing."""
    found = _find_truncated(answer)
    return found is None or says_more(found[1].decode("latin-1")) is not False


def _parse_parts(answer: bytes) -> list[tuple[int, str, int]]:
    """(number, ETag, size) from ListParts; unreadable entries are skipped, and those parts are sent again."""
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
