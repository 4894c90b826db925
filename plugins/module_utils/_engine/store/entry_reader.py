# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Listings that are not XML, read entry by entry, so that a broken entry does not hide the others. No side effects.

If a store writes raw keys, with `<` and `>`, or its response is cut in the middle, most entries still have a start and
an end tag. They are rewritten for a parser; entries without a readable key are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..core.text import plain_text
from .xml_repair import XmlRepair

_MOST_WITHOUT_ENTRY = 4 * 1024 * 1024  # characters without an entry: then it is not a listing
_SHOWN = 100

# An end tag counts only if markup follows: otherwise it may be part of a key.
_find_entry = re.compile(r"(?is)<((?:\w+:)?contents)(?:\s[^<>]*)?>(.*?)</\1\s*>(?=\s*(?:<|\Z))").search
_find_root = re.compile(r"(?is)<((?:\w+:)?list\w+)(?:\s[^<>]*)?>").search

_BEGINNING = re.compile(r"(?is)<(?:\w+:)?contents(?:\s[^<>]*)?>")


def _element(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?is)<((?:\w+:)?{name})(?:\s[^<>]*)?>(.*?)</\1\s*>(?=\s*(?:<|\Z))")


_find_key = _element("Key").search
_FIELDS = {name: _element(name) for name in ("LastModified", "ETag", "Size")}
_SUMMARIES = {name: _element(name) for name in ("EncodingType", "IsTruncated", "NextContinuationToken", "NextMarker")}


class EntryReader(XmlRepair):
    """Turns one listing into text for an XML parser, in chunks of any size.

    `unread` names the entries that could not be read, `is_cut` says that the response ended before the listing did.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unread: list[str] = []
        self.is_cut = False
        self._root = ""
        self._unparted = ""  # from the end of the last complete entry on
        self._last_key = ""

    def text(self, chunk: bytes, *, is_last: bool = False) -> str:
        """What can be read so far; ValueError if this is not a listing."""
        self._unparted += super().text(chunk, is_last=is_last)
        written = [] if self._root else self._begun(is_last=is_last)
        if self._root:
            written += self._entries(is_last=is_last)
        if len(self._unparted) > _MOST_WITHOUT_ENTRY:
            raise ValueError("nothing in it looks like an entry of a listing")
        if is_last:
            written.append(self._ended())
        return "".join(written)

    def _entries(self, *, is_last: bool) -> Iterator[str]:
        text, place = self._unparted, 0
        known = len(text) + 1 if is_last else len(text.rstrip())  # whether markup follows is known once more arrives
        while (entry := _find_entry(text, place)) and entry.end() < known:
            if place < entry.start():
                yield _all_written(_SUMMARIES, text[place : entry.start()])
            yield from map(self._entry, _BEGINNING.split(entry[2]))  # more than one if an end tag is missing
            place = entry.end()
        self._unparted = text[place:]

    def _begun(self, *, is_last: bool) -> list[str]:
        found = _find_root(self._unparted)
        if found is None:
            if is_last:
                raise ValueError("it is not a listing")
            return []
        if "<!doctype" in self._unparted[: found.start()].lower():
            raise ValueError("it has a DOCTYPE, which no store sends")
        self._root = found[1]
        self._unparted = self._unparted[found.end() :]
        return [f"<{self._root.rpartition(':')[2]}>"]

    def _entry(self, inside: str) -> str:
        key = _find_key(inside)
        if key is None:
            self._leave(inside)
            return ""
        self._last_key = self.original(key[2])
        others = inside[: key.start()] + inside[key.end() :]
        return f"<Contents>{_written('Key', key[2])}{_all_written(_FIELDS, others)}</Contents>"

    def _leave(self, entry: str) -> None:
        place = f"after {plain_text(self._last_key[:_SHOWN])!r}" if self._last_key else "at its beginning"
        shown = plain_text(self.original(entry.strip()[:_SHOWN]))
        self.unread.append(f"an entry {place} cannot be read: {shown!r}")

    def _ended(self) -> str:
        end = self._unparted.rfind(f"</{self._root}")
        self.is_cut = end < 0
        rest = self._unparted if self.is_cut else self._unparted[:end]
        begun = _BEGINNING.search(rest)
        if begun and not self.is_cut:
            self._leave(rest[begun.end() :])
        return f"{_all_written(_SUMMARIES, rest[: begun.start()] if begun else rest)}</{self._root.rpartition(':')[2]}>"


def _written(name: str, text: str) -> str:
    """An element whose text may contain markup."""
    return f"<{name}>{text.replace('<', '&lt;').replace('>', '&gt;')}</{name}>"


def _all_written(patterns: Mapping[str, re.Pattern[str]], text: str) -> str:
    found = ((name, pattern.search(text)) for name, pattern in patterns.items())
    return "".join(_written(name, match[2]) for name, match in found if match)
