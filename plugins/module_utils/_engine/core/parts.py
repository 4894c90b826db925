# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Parts of large objects as values, and the port through which a mover remembers them.

Only decisions here: what the ledger keeps is in ledger/parts.py, what makes it durable in hops/part_memory.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from .model import Fetch, Send

_MD5_BYTES = 16


@dataclass(frozen=True, slots=True)
class Piece:
    """`length` bytes from `start` that lie in the incoming file, and their MD5s in parts of `unit` bytes (0: one).

    `is_trusted`: this process wrote or read them itself; others are hashed again before anybody counts on them.
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
    """A piece as the ledger has it, or None for what nobody wrote like this."""
    unit, _, hexadecimal = text.partition(":")
    try:
        piece = Piece(start, length, int(unit), tuple(bytes.fromhex(digest) for digest in hexadecimal.split(",")))
    except ValueError:
        return None
    return piece if all(len(digest) == _MD5_BYTES for digest in piece.digests) else None


@dataclass(frozen=True, slots=True)
class Segment:
    """`length` bytes from `start`: those of a `piece`, or to be fetched."""

    start: int
    length: int
    piece: Piece | None = None


def usable_pieces(pieces: Iterable[Piece], size: int) -> list[Piece]:
    """The pieces by their start, without those that overlap one before or end beyond the object."""
    usable: list[Piece] = []
    end = 0
    for piece in sorted(pieces, key=lambda each: each.start):
        if piece.length > 0 and piece.start >= end and piece.end <= size:
            usable.append(piece)
            end = piece.end
    return usable


def joined(ranges: Sequence[tuple[int, int]], pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    """The ranges (start, length), joined where a piece lies across their borders: it was cut otherwise then."""
    starts = [start for start, _ in ranges if not any(piece.start < start < piece.end for piece in pieces)]
    end = sum(length for _, length in ranges)
    return [(start, following - start) for start, following in zip(starts, [*starts[1:], end], strict=True)]


def segments(start: int, length: int, pieces: Iterable[Piece]) -> Iterator[Segment]:
    """What a range consists of, in order."""
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
    """A multipart upload that was begun at `endpoint`; `begun_ms` by the store's clock (0: it told none).

    Without an `upload_id`: one was perhaps begun, and nobody heard its id.
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
    """Part `number` (from 1) of an upload: `etag` as the store answered, `md5` (hex) of the bytes that were sent."""

    number: int
    etag: str
    md5: str


class PartMemory(Protocol):
    """What a mover asks of whoever remembers parts. Threads of the mover call all of this; LedgerError.

    `keep...` never waits for a medium; what was kept is durable when `settle` has returned.
    """

    @property
    def lasts(self) -> bool:
        """Whether anything is remembered: else the mover leaves nothing behind that only its memory could find."""

    def remembers(self, work: Fetch | Send) -> bool:
        """Whether something of it has come, or gone, that need not be moved again."""

    def fetched(self, work: Fetch) -> list[Piece]:
        """What the file at `work.path` holds already, by start."""

    def keep_fetched(self, work: Fetch, piece: Piece) -> None:
        """These bytes are in the file, and hashed."""

    def forget_fetched(self, work: Fetch) -> None:
        """The file is begun anew."""

    def settle(self, work: Fetch | Send) -> None:
        """Wait until what was kept is durable. OSError when the file cannot be synced."""

    def uploads(self, work: Send) -> list[Upload]:
        """All uploads of this object that nobody has ended, those of other generations among them."""

    def begin_upload(self, upload: Upload) -> None:
        """It was begun, or without an id is about to be: durable before this returns. Earlier parts are forgotten."""

    def sent(self, work: Send) -> list[SentPart]:
        """The parts that the store has acknowledged."""

    def keep_sent(self, work: Send, part: SentPart) -> None:
        """The store has acknowledged a part."""

    def end_upload(self, upload: Upload) -> None:
        """It was completed or aborted, or is gone."""


class NoMemory:
    """Remembers nothing."""

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
