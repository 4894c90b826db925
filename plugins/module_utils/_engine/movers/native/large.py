# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Large objects of the native mover, and how they are fetched: in ranges that are remembered individually.

A range that is in the file is not fetched again after an interruption: a request that ends early continues where it
ended, and remembered parts of an earlier attempt are read and compared with their digests instead.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from ...core import etag
from ...core.model import MIB, Fetch, Head, Outcome, Received, Send
from ...core.parts import PartMemory, Segment
from .downloads import Get
from .expected_response import RangesIgnored
from .outcomes import Result, outcome_of
from .partial_file import PartialFile
from .requests import Bucket, Request
from .stream_lane import Stream, StreamClosed, StreamLane

Step: TypeAlias = "Callable[[Stream], Head | None]"
_log = logging.getLogger("snowsync.native")
_PROGRESS = MIB  # an attempt with this much progress does not count as failed
_CHECKPOINT_SECONDS = 1.0  # a kill loses at most what a range received in this time


@dataclass(frozen=True, slots=True)
class LargeKit:
    """What the transfer of a large object needs: the bucket, the streams of its volume, and the memory of its parts.

    `tell` gets its outcome.
    """

    bucket: Bucket
    lane: StreamLane
    memory: PartMemory
    tell: Callable[[Outcome], None]


class Large:
    """A large object in flight: several steps, each in one of the streams; the last one reports the outcome."""

    def __init__(self, kit: LargeKit, work: Fetch | Send) -> None:
        self._kit = kit
        self._object = work
        self._is_told = False
        self._left = 0
        self._lock = threading.Lock()
        self._head: Head | None = None  # of the last response
        self._error: Exception | None = None  # the first one
        self._is_closed = False  # the mover was closed before the object was done

    @property
    def _is_over(self) -> bool:
        """Whether steps that have not started are no longer needed."""
        return self._is_closed or self._error is not None

    def _submit(self, *steps: Step) -> None:
        with self._lock:
            self._left += len(steps)
        self._kit.lane.submit(*(self._guarded(step) for step in steps))

    def _guarded(self, step: Step) -> Callable[[Stream | None], None]:
        def run(stream: Stream | None) -> None:
            try:
                if stream is None:
                    raise StreamClosed
                if not self._is_over:
                    self._head = step(stream) or self._head
            except StreamClosed:
                self._is_closed = True
            except Exception as error:  # the work must get its outcome in any case
                with self._lock:
                    self._error = self._error or error
            with self._lock:
                self._left -= 1
                is_last = self._left == 0
            if is_last:
                self._end(stream)

        return run

    def _end(self, stream: Stream | None) -> None:
        try:
            self._finish(stream)
        except Exception as error:
            _log.exception("the transfer of %r could not be finished cleanly", self._object.key)
            if not self._is_told:
                self._tell(error)

    def _tell(self, result: Result, received: Received | None = None) -> None:
        self._tell_outcome(outcome_of(self._kit.bucket, self._object, result, received))

    def _tell_outcome(self, outcome: Outcome) -> None:
        self._is_told = True
        self._kit.tell(outcome)

    def _finish(self, stream: Stream | None) -> None:
        """Report the outcome."""
        raise NotImplementedError


class _Checkpoints:
    """Passes the bytes of a range to its digests, and calls `keep` once a second while data arrives."""

    def __init__(self, digests: etag.PartDigests, keep: Callable[[], None]) -> None:
        self._digests = digests
        self._keep = keep
        self._fed = digests.fed
        self._at = time.monotonic()

    def update(self, chunk: bytes) -> None:
        self._digests.update(chunk)
        now = time.monotonic()
        if now - self._at >= _CHECKPOINT_SECONDS and self._digests.fed - self._fed >= MIB:
            self._at, self._fed = now, self._digests.fed
            self._keep()


class LargeFetch(Large):
    """Fetches an object in ranges of about `part_size` bytes, cut so that its parts can be hashed as they arrive.

    `on_part` is called with the object's id each time a range is in its file.
    """

    def __init__(self, kit: LargeKit, work: Fetch, part_size: int, on_part: Callable[[int], None]) -> None:
        super().__init__(kit, work)
        self._range_size = part_size
        self._on_part = on_part
        self._work = work  # with the ETag that all responses must have, once the first one gave it
        self._given = work
        self._file = PartialFile(work, kit.memory, lambda: bool(work.etag) and kit.bucket.knows_ranges)
        self._ranges, self._part_size = cut(work.size, work.etag, part_size, in_one=not kit.bucket.knows_ranges)
        self._digests: list[tuple[bytes, ...]] = []
        self._must_be_in_one = False

    def start(self) -> None:
        self._submit(self._begin)  # whoever hands over work need not wait for its disk

    def _begin(self, _stream: Stream) -> None:
        self._file.open()
        self._ranges = self._file.fitted(self._ranges)
        self._digests = [() for _ in self._ranges]
        self._submit(*(self._range_step(number) for number in range(len(self._ranges))))

    def _range_step(self, number: int) -> Step:
        start, length = self._ranges[number]

        def fetch(stream: Stream) -> Head | None:
            digests = etag.PartDigests(self._part_size or 0)
            checkpoints = _Checkpoints(digests, lambda: self._file.keep(start, length, digests))
            head = None
            try:
                for segment in self._file.segments(start, length):
                    if not self._file.has(segment, digests, length):
                        head = self._fetch(stream, segment, checkpoints)
            finally:
                self._file.keep(start, length, digests)
            self._digests[number] = digests.digests()
            self._on_part(self._work.id)
            return head

        return fetch

    def _fetch(self, stream: Stream, segment: Segment, digests: _Checkpoints) -> Head:
        """Every attempt continues where the previous one ended."""
        kept = 0
        made: list[Get] = []

        def make() -> Request:
            nonlocal kept
            kept += made[0].body.kept if made else 0
            start, length = segment.start + kept, segment.length - kept
            made[:] = [Get(self._kit.bucket, self._work, self._file.target, start, length, digests)]
            return made[0]

        try:
            head = stream.perform(make, lambda: made[0].body.kept >= _PROGRESS)
        except RangesIgnored:
            self._kit.bucket.knows_ranges = False
            self._must_be_in_one = True
            raise
        if not self._work.etag:
            self._work = replace(self._work, etag=head.etag)
        return head

    def _finish(self, stream: Stream | None) -> None:
        work = self._given
        try:
            self._file.settle()
        except Exception as error:
            self._error = self._error or error
        self._file.target.close()
        if self._must_be_in_one and stream:
            LargeFetch(self._kit, work, self._range_size, self._on_part).start()
            return
        if self._error or self._is_closed:
            self._tell(self._error)
        elif self._head is None:
            self._tell_outcome(Outcome(work.id))  # everything was there already: a HEAD will follow
        else:
            self._tell(self._head, self._received(self._head))

    def _received(self, head: Head) -> Received | None:
        if self._part_size is None:
            return None
        digests = [digest for part in self._digests for digest in part]
        found = etag.multipart_etag(digests) if self._part_size else digests[0].hex()
        if found != head.etag.lower():
            return None  # the part size is not a common one: the file is read and proven later
        return Received(replace(head, status=200, size=self._given.size), found, self._part_size)


def cut(
    size: int, listed_etag: str, part_size: int, *, in_one: bool = False
) -> tuple[list[tuple[int, int]], int | None]:
    """Ranges (start, length) of about `part_size` bytes, and the part size for hashing their bytes.

    0: one digest of all bytes, None: one per range, which cannot be compared with the ETag.
    """
    parsed = etag.parse(listed_etag)
    in_one = in_one or size <= part_size
    usual = next(iter(etag.candidate_part_sizes(size, parsed.parts)), 0) if parsed and parsed.parts > 1 else 0
    if usual:
        return _ranges(size, size if in_one else usual * max(1, part_size // usual)), usual
    if in_one:
        return [(0, size)], 0 if parsed and not parsed.parts else None
    return _ranges(size, part_size), None


def _ranges(size: int, length: int) -> list[tuple[int, int]]:
    return [(start, min(length, size - start)) for start in range(0, size, length)]
