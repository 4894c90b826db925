# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The ranges in which a large object is fetched, and what their digests say about the object. No side effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from ...core import etag, part_md5s
from ...core.model import Head, Received

Range: TypeAlias = "tuple[int, int]"  # start and length in bytes


class HashedRanges:
    """The ranges of an object, cut so that its parts can be hashed as they arrive, and the digests of each."""

    def __init__(self, ranges: Sequence[Range], part_size: int | None) -> None:
        self._ranges = ranges
        self._part_size = part_size  # see `cut`
        self._digests: list[tuple[bytes, ...]] = [() for _range in ranges]

    def __len__(self) -> int:
        return len(self._ranges)

    def __getitem__(self, number: int) -> Range:
        return self._ranges[number]

    def fit(self, fitted: Callable[[Sequence[Range]], Sequence[Range]]) -> None:
        """Change the ranges before any is hashed."""
        self._ranges = fitted(self._ranges)
        self._digests = [() for _range in self._ranges]

    def new_digests(self) -> etag.PartDigests:
        """To hash one of the ranges."""
        return etag.PartDigests(self._part_size or 0)

    def hashed(self, number: int, digests: etag.PartDigests) -> None:
        """A range is complete. Threads may call this for different ranges at once."""
        self._digests[number] = digests.digests()

    def received(self, head: Head, size: int) -> Received | None:
        """What was seen of an object of `size` bytes, with the last response; None: the digests prove nothing."""
        if self._part_size is None:
            return None
        digests = [digest for part in self._digests for digest in part]
        found = etag.multipart_etag(digests) if self._part_size else digests[0].hex()
        if found != head.etag.lower():
            return None  # the part size is not a common one: the file is read and proven later
        kept = part_md5s.joined(digests, self._part_size)
        return Received(head._replace(status=200, size=size), found, self._part_size, kept)


def cut(size: int, listed_etag: str, part_size: int, *, in_one: bool = False) -> tuple[list[Range], int | None]:
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


def _ranges(size: int, length: int) -> list[Range]:
    return [(start, min(length, size - start)) for start in range(0, size, length)]
