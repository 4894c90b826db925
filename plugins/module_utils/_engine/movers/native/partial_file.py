# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The incoming file of a large object that is fetched in ranges: what it contains, and what is remembered of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ...core import workers
from ...core.etag import PartDigests
from ...core.model import MIB, Fetch
from ...core.parts import PartMemory, Piece, Segment, joined, segments, usable_pieces
from .incoming_file import Target

_log = logging.getLogger("snowsync.native")
_WORTH_KEEPING = MIB // 16  # bytes of a range that was interrupted


class PartialFile:
    """Shared by all threads that fetch ranges of one object. OSError from the file; LedgerError from the memory.

    `may_remember`: whether another attempt can be sure to get parts of the same object, and only the missing ones.
    """

    def __init__(self, work: Fetch, memory: PartMemory, may_remember: Callable[[], bool]) -> None:
        self.target = Target(work.path)
        self._work = work
        self._memory = memory
        self._may_remember = may_remember
        self._pieces: list[Piece] = []  # what was remembered when it was opened

    def open(self) -> None:
        """Open the file as it is if parts of it are remembered, else truncate it."""
        if self._may_remember():
            self._pieces = usable_pieces(self._memory.fetched(self._work), self._work.size)
        with workers.at_medium():
            if self._pieces:
                self.target.open_partial(self._work.size)
            else:
                self._memory.forget_fetched(self._work)
                self.target.open()

    def settle(self) -> None:
        """Wait until what was kept is durable; the file must still be open: it is found by its name."""
        self._memory.settle(self._work)

    def fitted(self, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """The ranges (start, length), joined where an earlier attempt split them differently."""
        return joined(ranges, self._pieces)

    def segments(self, start: int, length: int) -> Iterator[Segment]:
        """The segments of a range: pieces that the file may contain, and parts to be fetched."""
        return segments(start, length, self._pieces)

    def has(self, segment: Segment, digests: PartDigests, length: int) -> bool:
        """Whether the file has this segment of a range of `length` bytes; if so, `digests` has been updated with it."""
        piece = segment.piece
        if piece is None:
            return False
        is_alike = piece.unit == digests.part_size and digests.at_boundary
        if piece.is_trusted and is_alike:
            return self._take(piece, digests, length)
        found = PartDigests(piece.unit)
        for chunk in self.target.read(piece.start, piece.length):
            found.update(chunk)
        if not self._is_as_recorded(piece, found):
            return False
        if is_alike:
            digests.adopt(found)
            return True
        return self._feed(piece.start, piece.length, digests)

    def _take(self, piece: Piece, digests: PartDigests, length: int) -> bool:
        """Reuse digests of this process: only a part that continues after the piece has to be read again."""
        if piece.length == length:
            digests.take(piece.digests, length)
            return True
        complete = piece.length // piece.unit if piece.unit else 0
        done = complete * piece.unit
        digests.take(piece.digests[:complete], done)
        return self._feed(piece.start + done, piece.length - done, digests)

    def _is_as_recorded(self, piece: Piece, found: PartDigests) -> bool:
        if found.fed == piece.length and found.digests() == piece.digests:
            return True
        _log.warning(
            "%d bytes of %r at offset %d differ from what was fetched; they are fetched again",
            piece.length,
            self._work.key,
            piece.start,
        )
        return False

    def _feed(self, start: int, length: int, digests: PartDigests) -> bool:
        before = digests.fed
        for chunk in self.target.read(start, length):
            digests.update(chunk)
        if digests.fed - before != length:
            raise OSError(f"the partial file is shorter than {start + length} bytes")
        return True

    def keep(self, start: int, length: int, digests: PartDigests) -> None:
        """Remember the completed part of a range, even if the range was interrupted."""
        if not self._may_remember() or digests.fed < min(_WORTH_KEEPING, length):
            return
        piece = Piece(start, digests.fed, digests.part_size, digests.digests())
        if not any(known.is_trusted and replace(known, is_trusted=False) == piece for known in self._pieces):
            self._memory.keep_fetched(self._work, piece)
