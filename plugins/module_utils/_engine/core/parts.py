# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Parts of large objects as data types, and the interface through which a mover remembers them.

No I/O here: ledger/parts.py stores them, hops/part_memory.py makes them durable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from .model import Fetch, Send

_MD5_BYTES = 16


@dataclass(frozen=True, slots=True)
class Piece:
    """`length` bytes from `start` in the incoming file, and their MD5s in parts of `unit` bytes (0: one).

    `is_trusted`: this process wrote or read them itself; others are hashed again before they are used.
    """

    start: int
    length: int
    unit: int
    digests: tuple[bytes, ...]
    is_trusted: bool = False

    @property
    def end(self) -> int:
        return self.start + self.length

    @property
    def text(self) -> str:
        """The digests as the ledger keeps them: `unit:hex,hex,...`."""
        return f"{self.unit}:{','.join(digest.hex() for digest in self.digests)}"


def read_piece(start: int, length: int, text: str) -> Piece | None:
    """Parse a piece from the ledger's text; None if it is malformed."""
    unit, _, hexadecimal = text.partition(":")
    try:
        piece = Piece(start, length, int(unit), tuple(bytes.fromhex(digest) for digest in hexadecimal.split(",")))
    except ValueError:
        return None
    return piece if all(len(digest) == _MD5_BYTES for digest in piece.digests) else None


@dataclass(frozen=True, slots=True)
class Segment:
    """`length` bytes from `start`: already in a `piece`, or still to be fetched."""

    start: int
    length: int
    piece: Piece | None = None


def usable_pieces(pieces: Iterable[Piece], size: int) -> list[Piece]:
    """The pieces in order, without those that overlap an earlier one or end beyond the object."""
    usable: list[Piece] = []
    end = 0
    for piece in sorted(pieces, key=lambda each: each.start):
        if piece.length > 0 and piece.start >= end and piece.end <= size:
            usable.append(piece)
            end = piece.end
    return usable


def joined(ranges: Sequence[tuple[int, int]], pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    """The ranges (start, length), joined where a piece crosses their boundary: it was split differently then."""
    starts = [start for start, _ in ranges if not any(piece.start < start < piece.end for piece in pieces)]
    end = sum(length for _, length in ranges)
    return [(start, following - start) for start, following in zip(starts, [*starts[1:], end], strict=True)]


def segments(start: int, length: int, pieces: Iterable[Piece]) -> Iterator[Segment]:
    """The segments of a range, in order."""
    position, end = start, start + length
    for piece in pieces:
        if not start <= piece.start < end:
            continue
        if piece.start > position:
            yield Segment(position, piece.start - position)
        yield Segment(piece.start, piece.length, piece)
        position = piece.end
    if position < end:
        yield Segment(position, end - position)


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that was started at `endpoint`; `begun_ms` by the store's clock (0: unknown).

    Without an `upload_id`: one may have been started, but the response with its id was lost.
    """

    object_id: int
    generation: int
    endpoint: str
    bucket: str
    key: str
    upload_id: str
    part_size: int
    begun_ms: int


@dataclass(frozen=True, slots=True)
class SentPart:
    """Part `number` (from 1) of an upload: `etag` as the store returned it, `md5` (hex) of the bytes that were sent."""

    number: int
    etag: str
    md5: str


class PartMemory(Protocol):
    """The interface through which a mover remembers parts. Called from threads of the mover; raises LedgerError.

    `keep...` never waits for a disk; what was kept is durable when `settle` has returned.
    """

    @property
    def lasts(self) -> bool:
        """Whether anything is remembered: if not, the mover leaves nothing behind that only this memory could find."""

    def remembers(self, work: Fetch | Send) -> bool:
        """Whether parts of it were fetched or sent that need not be moved again."""

    def fetched(self, work: Fetch) -> list[Piece]:
        """The pieces already in the file at `work.path`, in order."""

    def keep_fetched(self, work: Fetch, piece: Piece) -> None:
        """Remember bytes that are in the file and hashed."""

    def forget_fetched(self, work: Fetch) -> None:
        """Forget all pieces: the file is started over."""

    def settle(self, work: Fetch | Send) -> None:
        """Wait until what was kept is durable. OSError if the file cannot be synced."""

    def uploads(self, work: Send) -> list[Upload]:
        """All unfinished uploads of this object, including those of other generations."""

    def begin_upload(self, upload: Upload) -> None:
        """It was started, or without an id is about to be: durable before this returns. Earlier parts are forgotten."""

    def sent(self, work: Send) -> list[SentPart]:
        """The parts that the store has acknowledged."""

    def keep_sent(self, work: Send, part: SentPart) -> None:
        """The store has acknowledged a part."""

    def end_upload(self, upload: Upload) -> None:
        """The upload was completed or aborted, or is gone."""


class NoMemory:
    """A PartMemory that remembers nothing."""

    lasts = False

    def remembers(self, _work: Fetch | Send) -> bool:
        return False

    def fetched(self, _work: Fetch) -> list[Piece]:
        return []

    def keep_fetched(self, _work: Fetch, _piece: Piece) -> None:
        return

    def forget_fetched(self, _work: Fetch) -> None:
        return

    def settle(self, _work: Fetch | Send) -> None:
        return

    def uploads(self, _work: Send) -> list[Upload]:
        return []

    def begin_upload(self, _upload: Upload) -> None:
        return

    def sent(self, _work: Send) -> list[SentPart]:
        return []

    def keep_sent(self, _work: Send, _part: SentPart) -> None:
        return

    def end_upload(self, _upload: Upload) -> None:
        return
