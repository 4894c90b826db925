# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Checks in one read whether the bytes a store serves for an object match the object's own ETag."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core import etag
from ..core.model import Head
from ..store.part_sizes import Ask, all_parts, equal_parts, told_size
from .proof import etag_is_digest

if TYPE_CHECKING:
    from ..config.job_file import Store


class Finding(enum.Enum):
    """What the ETag says about the bytes."""

    MATCHES = "matches"
    REFUTES = "refutes"
    SILENT = "silent"  # it is not a digest
    UNKNOWN = "unknown"  # it looks like a digest of parts with unknown sizes


class SourceCheck:
    """Digests of a stream: of all bytes, and in every part layout that the ETag may refer to.

    `ask` makes the HEADs of single parts. All but `update` raise StoreError.
    """

    def __init__(self, store: Store, head: Head, ask: Ask) -> None:
        self.head = head
        self._ask = ask
        self._all = etag.PartDigests(0)
        self._parsed = etag.parse(head.etag) if etag_is_digest(store, head) else None
        self._first = 0
        self._layouts: list[tuple[int, ...]] = []
        if self._parsed and self._parsed.parts:
            self._layouts = list(self._possible(self._parsed.parts))
        self._digests = [etag.LayoutDigests(sizes) for sizes in self._layouts]

    def _possible(self, parts: int) -> Iterable[tuple[int, ...]]:
        size = self.head.size
        if parts == 1:
            return [(size,)]
        self._first = told_size(self._ask, self.head, 1)
        if not self._first:
            return [equal_parts(size, usual) for usual in etag.candidate_part_sizes(size, parts)]
        equal = equal_parts(size, self._first)
        # Two requests, since parts are nearly always equal; if they are not, finding() requests the others.
        seems_equal = len(equal) == parts and told_size(self._ask, self.head, parts) in (0, equal[-1])
        sizes = equal if seems_equal else all_parts(self._ask, self.head, self._first)
        return [sizes] if sizes else []

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._all.update(chunk)
        for digests in self._digests:
            digests.update(chunk)

    @property
    def md5(self) -> str:
        """The MD5 of all bytes so far."""
        return self._all.etag()

    def finding(self) -> Finding:
        """What the ETag says about all the bytes."""
        if self._parsed is None:
            return Finding.SILENT
        found = {digests.etag() for digests in self._digests} if self._parsed.parts else {self.md5}
        if self.head.etag.lower() in found:
            return Finding.MATCHES
        return Finding.REFUTES if self._is_known() else Finding.UNKNOWN

    def _is_known(self) -> bool:
        """Whether the layout that was tried is known to be the object's own."""
        if not self._first:
            return self._parsed is not None and self._parsed.parts <= 1
        return bool(self._layouts) and all_parts(self._ask, self.head, self._first) in ((), *self._layouts)
