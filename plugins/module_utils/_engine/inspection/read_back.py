# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Reads an object from both sides, if listings and ledger do not prove that they have the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..core.errors import StoreError, Trouble
from ..core.etag import PartDigests, agree
from ..core.model import UNTOLD, Doubt, ListedObject
from ..core.text import plain_text
from ..ledger.records import Entry
from ..proofs.source_check import Finding, SourceCheck
from ..store.encodings import UNPACKED
from .judge import DIFFERS, SAME, UNPROVEN, Verdict
from .store_side import Side

if TYPE_CHECKING:
    from ..config.job_file import Store


class ReadBack:
    """Reads "all" objects that both sides have, those where it is "needed", or none ("").

    `store` is the job's source; None if it has only drop folders.
    """

    def __init__(self, store: Store | None, sides: Mapping[str, Side], read: str) -> None:
        self._store = store
        self._sides = sides
        self._read = read

    def is_due(self, verdict: Verdict) -> bool:
        """Whether an object with this verdict, which the destination has, is to be read."""
        if self._read == "all":
            return verdict.symbol == SAME or not verdict.comparable
        return bool(self._read) and not verdict.comparable

    def verdict(
        self,
        source: ListedObject | None,
        entry: Entry | None,
        destination: ListedObject,
        verdict: Verdict,
        *,
        again: bool = False,
    ) -> Verdict:
        """The verdict after reading both sides; the given one if there is nothing to compare with."""
        if source is None and (entry is None or not entry.digest):
            return verdict
        try:
            check = self._check(self._store, source, entry) if self._store and source else None
            with ThreadPoolExecutor(1) as pool:
                theirs = (
                    pool.submit(self._sides["source"].read, source.key, check.update, check.head)
                    if source and check
                    else None
                )
                # A dropped file may be gone: the ledger has its ETag, computed with this part size.
                ours = self._digest(destination, entry.part_size if entry and not source else 0)
                if theirs:
                    theirs.result()
            finding = check.finding() if check else Finding.MATCHES
        except StoreError as error:
            if error.code == UNPACKED and not again:
                return self.verdict(source, entry, destination, verdict, again=True)
            return Verdict(UNPROVEN, f"could not be read back: {plain_text(str(error))}", verdict.disagreement)
        expected = check.md5 if check else entry.digest if entry else ""
        return _as_read(verdict, source, finding, expected, ours)

    def _check(self, store: Store, source: ListedObject, entry: Entry | None) -> SourceCheck:
        side = self._sides["source"]
        head = side.head(source.key)
        listed = (source.size, source.etag, source.modified_ms)
        # If the source contradicts its own listing, the object as read is the right one.
        is_known = entry is not None and bool(entry.digest) and entry.as_listed == listed
        if not agree(source.etag, head.etag) and not is_known:
            raise StoreError(Trouble.CHANGED, f"read {source.key!r}", "it was overwritten after it was listed")
        if head.size == UNTOLD:
            head = head._replace(size=source.size)
        return SourceCheck(store, head, lambda number: side.head(source.key, part_number=number))

    def _digest(self, destination: ListedObject, part_size: int) -> str:
        digests = PartDigests(part_size)
        side = self._sides["destination"]
        head = side.head(destination.key)
        side.read(destination.key, digests.update, head._replace(size=destination.size))
        return digests.etag()


def _as_read(verdict: Verdict, source: ListedObject | None, finding: Finding, expected: str, ours: str) -> Verdict:
    """The verdict after reading both sides; `expected` and `ours` are the digests of what was read."""
    disagreement = verdict.disagreement
    if source and finding is Finding.REFUTES:
        reason = f"the source returns bytes (MD5 {expected}) that do not match its ETag {plain_text(source.etag)}"
        return Verdict(DIFFERS, f"read back: {reason}; MD5 {ours} at the destination", disagreement)
    if ours != expected:
        return Verdict(DIFFERS, f"read back: {expected} expected, {ours} at the destination", disagreement)
    if source and finding is Finding.UNKNOWN:
        reason = f"both sides have the same bytes (MD5 {ours}), but the source's ETag {plain_text(source.etag)}"
        return Verdict(UNPROVEN, f"{reason} matches no known part layout", disagreement, doubt=Doubt.LAYOUT)
    return Verdict(SAME, disagreement=disagreement if verdict.symbol == SAME else "")
