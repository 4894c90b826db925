# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What source, ledger and destination have for each key, in the order of the keys' UTF-8 bytes.

Three iterators are merged, so that no bucket is held in memory. The listing of a store that lists in another order is
first sorted on the disk of the state directory.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ..core.keys import key_bytes
from ..core.model import ListedObject
from ..ledger.binding import Naming
from ..ledger.reader import LedgerReader
from ..ledger.records import Entry
from .listing_order import SortedSpool
from .store_side import OutOfOrder, Side

Merged = tuple["ListedObject | None", "Entry | None", "ListedObject | None"]
_BEYOND = b"\xff" * 65536  # sorts after every key: S3 keys have at most 1,024 bytes


class MergedListings:
    """The objects of both sides ("source", "destination") and the rows of the ledger, by their keys at the destination.

    `unsorted` names the sides whose listings are not in key order; `state_path` is where these are sorted.
    """

    def __init__(
        self,
        sides: Mapping[str, Side],
        ledger: LedgerReader | None,
        naming: Naming,
        unsorted: Iterable[str],
        state_path: Path,
    ) -> None:
        self._sides = sides
        self._ledger = ledger
        self._naming = naming
        self._unsorted = set(unsorted)
        self._state_path = state_path

    def sort(self, side: str) -> None:
        """From now on, sort the listing of this side."""
        self._unsorted.add(side)

    def objects(self, stack: contextlib.ExitStack, on_outside: Callable[[ListedObject], None]) -> Iterator[Merged]:
        """One element per key; `stack` closes what this needs. OutOfOrder if a listing turns out to be unsorted.

        `on_outside` gets the source's objects that are not below its prefix: these have no name at the destination.
        """
        source_pages = self._below_prefix(self._listed("source", stack), on_outside)
        return merge(
            self._in_order("source", source_pages),
            self._entries(),
            self._in_order("destination", self._listed("destination", stack)),
        )

    def _listed(self, side: str, stack: contextlib.ExitStack) -> Iterable[Sequence[ListedObject]]:
        """Pages of a side, in key order."""
        if side not in self._sides:
            return ()
        pages: Iterable[Sequence[ListedObject]] = self._sides[side].pages()
        if side in self._unsorted:
            spool = SortedSpool(self._state_path)
            stack.callback(spool.close)
            pages = spool.fill(pages).pages()
        return pages

    def _below_prefix(
        self, pages: Iterable[Sequence[ListedObject]], on_outside: Callable[[ListedObject], None]
    ) -> Iterator[Sequence[ListedObject]]:
        prefix = self._naming.current
        for page in pages:
            for listed in page:
                if not listed.key.startswith(prefix):
                    on_outside(listed)
            yield [listed for listed in page if listed.key.startswith(prefix)]

    def _in_order(self, side: str, pages: Iterable[Sequence[ListedObject]]) -> Iterator[tuple[bytes, ListedObject]]:
        last = b""
        for page in pages:
            for listed in page:
                position = self._position(listed.key, is_destination=side == "destination")
                if position <= last and last:
                    raise OutOfOrder(side)
                last = position
                yield position, listed

    def _position(self, object_key: str, *, is_destination: bool = False) -> bytes:
        if not is_destination:
            object_key = self._naming.destination_key(object_key)
        return key_bytes(object_key)

    def _entries(self) -> Iterator[tuple[bytes, Entry]]:
        """(key at the destination, row); if two rows map to the same key (before and after a rebind), the newer."""
        naming = self._naming
        last = b""
        lanes = [self._entries_under(prefix) for prefix in (naming.current, *naming.earlier)]
        for position, entry in heapq.merge(*lanes, key=lambda pair: pair[0]):
            if position != last or not last:
                yield position, entry
            last = position

    def _entries_under(self, prefix: str) -> Iterator[tuple[bytes, Entry]]:
        if self._ledger:
            for entry in self._ledger.entries(prefix):
                if self._naming.prefix_of(entry.key) == prefix:
                    yield self._position(entry.key), entry


def merge(
    source: Iterator[tuple[bytes, ListedObject]],
    entries: Iterator[tuple[bytes, Entry]],
    destination: Iterator[tuple[bytes, ListedObject]],
) -> Iterator[Merged]:
    """What the three have for each key, in order; each of them is sorted by its first element."""
    end: tuple[bytes, None] = (_BEYOND, None)
    listed: tuple[bytes, ListedObject | None] = next(source, end)
    row: tuple[bytes, Entry | None] = next(entries, end)
    found: tuple[bytes, ListedObject | None] = next(destination, end)
    while (position := min(listed[0], row[0], found[0])) != _BEYOND:
        yield (
            listed[1] if listed[0] == position else None,
            row[1] if row[0] == position else None,
            found[1] if found[0] == position else None,
        )
        if listed[0] == position:
            listed = next(source, end)
        if row[0] == position:
            row = next(entries, end)
        if found[0] == position:
            found = next(destination, end)
