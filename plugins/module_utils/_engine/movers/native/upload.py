# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How the native mover sends large objects: one PUT, or a multipart upload that is continued after an interruption.

The upload is recorded before its first part is sent. It is aborted when its parts are useless: the file is no longer
the proven one, the store permanently rejects it, or the object has a newer generation. An upload is completed only if
its parts together have the proven digest of the staged file.
"""

from __future__ import annotations

from dataclasses import replace

from ...core.errors import StoreError, Trouble
from ...core.model import UNTOLD, Head, Send
from ...core.parts import SentPart, Upload
from ...store.answers import UNREADABLE
from ...store.upload_bodies import PERHAPS_STORED, DamagedFile, Section, insist_on_part
from .large import Large, LargeKit
from .outcomes import Result
from .steps import Step
from .stream_lane import Stream, StreamClosed
from .upload_parts import UploadParts
from .upload_requests import OutgoingPart, UploadRequests
from .uploads import close_sent, open_to_send


class _UploadGone(Exception):
    """The store no longer knows the upload, and the object does not exist."""


class LargeSend(Large[Send]):
    """One PUT, or a multipart upload in parts of exactly the given size."""

    def __init__(self, kit: LargeKit, work: Send) -> None:
        super().__init__(kit, work)
        self._requests = UploadRequests(kit.bucket, work)
        self._descriptor = -1
        self._parts: UploadParts | None = None  # of the upload that is under way
        self._is_stored = False  # the destination was found to hold the object
        self._is_second = False  # the first upload was gone

    def start(self) -> None:
        self._steps.submit(self._open)  # whoever hands over work need not wait for its disk

    def _open(self, stream: Stream) -> Head | None:
        self._descriptor = open_to_send(self._kit.bucket, self._work)
        return self._begin(stream) if self._work.part_size else self._put(stream)

    def _put(self, stream: Stream) -> Head:
        md5 = self._work.md5 or Section(self._descriptor, 0, self._work.size).hex_md5()
        return self._requests.put(stream, self._descriptor, md5)

    # -- an upload, begun or continued --------------------------------------------------------------------------

    def _begin(self, stream: Stream) -> Head | None:
        found = self._continue(stream)
        if self._is_stored:
            return found
        parts = self._parts = self._parts or UploadParts(self._work, self._begin_anew(stream))
        self._steps.submit(*(self._part_step(parts, number) for number in parts.missing()))
        return None

    def _continue(self, stream: Stream) -> Head | None:
        """Continue an upload of the same bytes, and abort others. A Head: the object is already stored."""
        work, memory = self._work, self._kit.memory
        for upload in memory.uploads(work):
            if (upload.bucket, upload.key) != (self._kit.bucket.name, work.key):
                continue  # it is at another destination
            if not upload.upload_id:
                continue
            if self._parts or (upload.generation, upload.part_size) != (work.generation, work.part_size):
                self._abort(stream, upload)
                continue
            try:
                listed = self._requests.list_parts(stream, upload.upload_id)
            except StoreError as error:
                if error.trouble is not Trouble.NOT_FOUND:
                    raise
                head = self._look(stream, upload, self._work.digest)
                memory.end_upload(upload)
                if head:
                    return head
            else:
                parts = UploadParts(work, upload)
                parts.know(memory.sent(work), listed)
                self._parts = parts
        return None

    def _begin_anew(self, stream: Stream) -> Upload:
        work, bucket, memory = self._work, self._kit.bucket, self._kit.memory
        intended = Upload(work.id, work.generation, bucket.endpoint, bucket.name, work.key, "", work.part_size, 0)
        memory.begin_upload(intended)
        begun = self._requests.begin(stream)
        upload = replace(intended, upload_id=begun.upload_id, begun_ms=begun.begun_ms)
        try:
            memory.begin_upload(upload)
        except Exception:
            self._abort(stream, upload)
            raise
        if begun.is_only_one:
            memory.end_upload(intended)
        return upload

    # -- parts --------------------------------------------------------------------------------------------------

    def _part_step(self, parts: UploadParts, number: int) -> Step:
        def send(stream: Stream) -> Head | None:
            outgoing = self._outgoing(parts, number)
            head = None
            part = parts.found(number, outgoing.md5)
            if part is None:
                head = self._requests.send_part(stream, self._descriptor, parts.upload.upload_id, outgoing)
                insist_on_part(self._kit.bucket.told_digest(head), number, outgoing.md5, self._requests.action)
                part = SentPart(number, head.etag, outgoing.md5)
            parts.add(part)
            self._kit.memory.keep_sent(self._work, part)
            return head

        return send

    def _outgoing(self, parts: UploadParts, number: int) -> OutgoingPart:
        """A part with its MD5: the proven one, or else that of its bytes, which are read for it."""
        start, length = parts.start_of(number), parts.length_of(number)
        proven = parts.proven_md5(number)
        if proven:
            return OutgoingPart(number, start, length, proven, is_proven=True)
        section = Section(self._descriptor, start, length)
        if self._kit.bucket.is_private:
            return OutgoingPart(number, start, length, section.hex_md5())
        md5, sha256 = section.hex_digests()
        return OutgoingPart(number, start, length, md5, sha256=sha256)

    # -- the end ------------------------------------------------------------------------------------------------

    def _finish(self, stream: Stream | None) -> None:
        result: Result = None
        try:
            self._kit.memory.settle(self._work)
            if self._steps.is_closed or stream is None:
                result = self._steps.error
            elif self._parts is None or self._is_stored:
                result = self._steps.error or self._steps.head
            else:
                result = self._conclude(stream, self._parts)
        except _UploadGone:
            self._start_over()
            return
        except StreamClosed:
            result = None
        except Exception as error:
            result = error
            if stream and self._parts and not self._kit.memory.lasts:
                self._abort(stream, self._parts.upload)
        if self._descriptor >= 0:
            close_sent(self._descriptor)
        self._tell(result)

    def _conclude(self, stream: Stream, parts: UploadParts) -> Head | Exception:
        """Complete the upload, or handle its failure. _UploadGone: a new one must be started."""
        error = self._steps.error
        if error is None:
            try:
                return self._complete(stream, parts)
            except StoreError as failed:
                error = failed
        if isinstance(error, StoreError) and error.trouble is Trouble.NOT_FOUND and not self._is_second:
            head = self._look(stream, parts.upload, self._work.digest)
            self._kit.memory.end_upload(parts.upload)
            if head is None:
                raise _UploadGone
            return head
        if not self._kit.memory.lasts or _is_final(error, are_all_sent=parts.are_all_sent):
            self._abort(stream, parts.upload)
        return error

    def _start_over(self) -> None:
        self._is_second = True
        self._parts = None
        self._steps.start_over(self._begin)

    def _complete(self, stream: Stream, parts: UploadParts) -> Head:
        upload = parts.upload
        found = parts.proven_etag(self._requests.action)
        try:
            head = self._requests.complete(stream, upload.upload_id, self._named(stream, parts))
        except StoreError as error:
            stored = self._look(stream, upload, found) if error.trouble in PERHAPS_STORED else None
            if stored is None:
                raise
            head = stored
        self._kit.memory.end_upload(upload)
        return head

    def _named(self, stream: Stream, parts: UploadParts) -> list[SentPart]:
        """The parts with their ETags; the store is asked for those that it did not return."""
        sent = parts.in_order()
        if all(part.etag for part in sent):
            return sent
        return parts.named(self._requests.list_parts(stream, parts.upload.upload_id) or {}, self._requests.action)

    def _look(self, stream: Stream, upload: Upload, wanted: str) -> Head | None:
        """Check whether the destination has the object now, whatever it returned. StoreError if it does not respond."""
        try:
            head = self._requests.look(stream)
        except StoreError as error:
            if error.trouble.is_transient:
                raise
            return None
        is_it = bool(wanted) and head.etag.lower() == wanted.lower()
        if not is_it and self._kit.bucket.told_digest(head) is None:
            is_it = head.size in (self._work.size, UNTOLD) and 0 < upload.begun_ms <= head.modified_ms + 1000
        self._is_stored = self._is_stored or is_it
        return head if is_it else None

    def _abort(self, stream: Stream, upload: Upload) -> None:
        """Leave no parts behind; an upload that cannot be aborted now stays recorded."""
        try:
            self._requests.abort(stream, upload.upload_id)
        except StoreError as error:
            if error.trouble is not Trouble.NOT_FOUND:
                return
        except (OSError, StreamClosed):
            return
        self._kit.memory.end_upload(upload)


def _is_final(error: Exception, *, are_all_sent: bool) -> bool:
    """Whether the parts are useless for another attempt."""
    if not isinstance(error, StoreError):
        return False
    if isinstance(error, DamagedFile):
        return True
    if error.trouble is Trouble.MISMATCH:
        # A part that was damaged at the store or in transit is sent again; the others are good.
        return are_all_sent
    if error.code == UNREADABLE:
        return False
    return error.trouble is Trouble.UNSUPPORTED or (error.trouble is Trouble.OTHER and error.status > 0)
