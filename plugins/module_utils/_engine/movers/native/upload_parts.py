# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The parts of a multipart upload that is under way: which must be sent, and what those at the store prove.

No side effects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ...core import etag, part_md5s
from ...core.errors import StoreError, Trouble
from ...core.model import Send
from ...core.parts import SentPart, Upload
from ...core.s3_limits import part_count
from ...store.upload_bodies import rotten

Listed = Mapping[int, tuple[str, int]]  # part number -> ETag and size, as the store lists them


class UploadParts:
    """The parts of `upload`, which sends `work`. Threads may add different parts at once."""

    def __init__(self, work: Send, upload: Upload) -> None:
        self._work = work
        proven = part_md5s.split(work.part_md5s, work.digest)
        self._proven = dict(enumerate(proven, start=1)) if len(proven) == self.count else {}  # part number -> MD5
        self.upload = upload
        self._sent: dict[int, SentPart] = {}
        self._uncompared: dict[int, str] = {}  # part number -> ETag of parts at the store that may have other bytes

    @property
    def count(self) -> int:
        return part_count(self._work.size, self._work.part_size)

    @property
    def are_all_sent(self) -> bool:
        return len(self._sent) == self.count

    def know(self, recorded: Iterable[SentPart], listed: Listed | None) -> None:
        """Parts that need not be sent again: recorded, and still at the store if it can list them.

        One that was sent while the file was damaged is not among them, if that is known.
        """
        by_number = {part.number: part for part in recorded if self.proven_md5(part.number) in ("", part.md5)}
        if listed is None:
            self._sent = by_number
            return
        for number, (part_etag, size) in listed.items():
            if size != self.length_of(number):
                continue
            known = by_number.get(number)
            if known and known.etag == part_etag:
                self._sent[number] = known
            else:
                self._uncompared[number] = part_etag

    def missing(self) -> list[int]:
        """The numbers of the parts that must be sent, or compared."""
        starts = range(0, self._work.size, self._work.part_size)
        return [number for number in range(1, len(starts) + 1) if number not in self._sent]

    def start_of(self, number: int) -> int:
        return (number - 1) * self._work.part_size

    def length_of(self, number: int) -> int:
        return min(self._work.part_size, self._work.size - self.start_of(number))

    def proven_md5(self, number: int) -> str:
        """The MD5 (hex) that a part had when the file was proven; "": unknown."""
        return self._proven.get(number, "")

    def found(self, number: int, md5: str) -> SentPart | None:
        """A part whose bytes have this MD5, if the store already lists it."""
        part_etag = self._uncompared.get(number, "")
        return SentPart(number, part_etag, md5) if part_etag.lower() == md5 else None

    def add(self, part: SentPart) -> None:
        """The store has this part."""
        self._sent[part.number] = part

    def in_order(self) -> list[SentPart]:
        """All parts. KeyError if one is missing."""
        return [self._sent[number] for number in range(1, self.count + 1)]

    def proven_etag(self, action: str) -> str:
        """The ETag of all parts together. StoreError if they are not the proven bytes."""
        found = etag.multipart_etag([bytes.fromhex(part.md5) for part in self.in_order()])
        if self._work.digest and found != self._work.digest.lower():
            raise rotten(action, self._work.digest, found)
        return found

    def named(self, listed: Listed, action: str) -> list[SentPart]:
        """All parts with their ETags: if the store returned none, those it lists, else their MD5s. StoreError."""
        return [part if part.etag else self._named(part, listed, action) for part in self.in_order()]

    def _named(self, part: SentPart, listed: Listed, action: str) -> SentPart:
        part_etag, size = listed.get(part.number, ("", 0))
        if part_etag and size != self.length_of(part.number):
            sent = self.length_of(part.number)
            detail = f"the store lists part {part.number} with {size} bytes, but {sent} were sent"
            raise StoreError(Trouble.MISMATCH, action, detail)
        return replace(part, etag=part_etag or part.md5)
