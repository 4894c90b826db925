# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Large objects of the native mover, and how they are fetched: in ranges that are remembered individually.

A range that is in the file is not fetched again after an interruption: a request that ends early continues where it
ended, and remembered parts of an earlier attempt are read and compared with their digests instead.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ...core import etag
from ...core.model import MIB, Fetch, Head, Outcome, Received, Send
from ...core.parts import PartMemory, Segment
from .downloads import Get
from .expected_response import RangesIgnored
from .outcomes import Result, outcome_of
from .partial_file import PartialFile
from .ranges import HashedRanges, cut
from .requests import Bucket, Request
from .steps import Step, Steps
from .stream_lane import Stream, StreamLane

_log = logging.getLogger("snowsync.native")
_Work = TypeVar("_Work", Fetch, Send)
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


class Large(Generic[_Work]):
    """A large object in flight: several steps, each in one of the streams; the last one reports the outcome."""

    def __init__(self, kit: LargeKit, work: _Work) -> None:
        self._kit = kit
        self._work: _Work = work
        self._is_told = False
        self._steps = Steps(kit.lane, self._end)

    def _end(self, stream: Stream | None) -> None:
        try:
            self._finish(stream)
        except Exception as error:
            _log.exception("the transfer of %r could not be finished cleanly", self._work.key)
            if not self._is_told:
                self._tell(error)

    def _tell(self, result: Result, received: Received | None = None) -> None:
        self._tell_outcome(outcome_of(self._kit.bucket, self._work, result, received))

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


class LargeFetch(Large[Fetch]):
    """Fetches an object in ranges of about `part_size` bytes, cut so that its parts can be hashed as they arrive.

    `on_part` is called with the object's id each time a range is in its file.
    """

    def __init__(self, kit: LargeKit, work: Fetch, part_size: int, on_part: Callable[[int], None]) -> None:
        super().__init__(kit, work)
        self._range_size = part_size
        self._on_part = on_part
        self._pinned = work  # with the ETag that all responses must have, once the first one gave it
        self._file = PartialFile(work, kit.memory, lambda: bool(work.etag) and kit.bucket.knows_ranges)
        self._must_be_in_one = False
        self._ranges = HashedRanges(*cut(work.size, work.etag, part_size, in_one=not kit.bucket.knows_ranges))

    def start(self) -> None:
        self._steps.submit(self._begin)  # whoever hands over work need not wait for its disk

    def _begin(self, _stream: Stream) -> None:
        self._file.open()
        self._ranges.fit(self._file.fitted)
        self._steps.submit(*(self._range_step(number) for number in range(len(self._ranges))))

    def _range_step(self, number: int) -> Step:
        start, length = self._ranges[number]

        def fetch(stream: Stream) -> Head | None:
            digests = self._ranges.new_digests()
            checkpoints = _Checkpoints(digests, lambda: self._file.keep(start, length, digests))
            head = None
            try:
                for segment in self._file.segments(start, length):
                    if not self._file.has(segment, digests, length):
                        head = self._fetch(stream, segment, checkpoints)
            finally:
                self._file.keep(start, length, digests)
            self._ranges.hashed(number, digests)
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
            made[:] = [Get(self._kit.bucket, self._pinned, self._file.target, start, length, digests)]
            return made[0]

        try:
            head = stream.perform(make, lambda: made[0].body.kept >= _PROGRESS)
        except RangesIgnored:
            self._kit.bucket.knows_ranges = False
            self._must_be_in_one = True
            raise
        if not self._pinned.etag:
            self._pinned = self._pinned._replace(etag=head.etag)
        return head

    def _finish(self, stream: Stream | None) -> None:
        work = self._work
        for step in (self._file.settle, self._file.target.close):
            try:
                step()
            except Exception as error:
                self._steps.failed(error)
        if self._must_be_in_one and stream:
            LargeFetch(self._kit, work, self._range_size, self._on_part).start()
        elif self._steps.error or self._steps.is_closed:
            self._tell(self._steps.error)
        elif self._steps.head is None:
            self._tell_outcome(Outcome(work.id))  # everything was there already: a HEAD will follow
        else:
            self._tell(self._steps.head, self._ranges.received(self._steps.head, work.size))
