# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""A page of a listing, as stores write it, and what is odd of it. No effects here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote_plus

from ..core.keys import is_utf8
from ..core.model import UNTOLD, ListedObject
from ..core.text import key_text, plain_text
from .dates import iso_date_ms
from .head_answers import etag_text, whole_number
from .listing_xml import ListingXml
from .xml_repair import XmlRepair

_ECHO = re.compile(rb"(?i)<(?:\w+:)?(?:StartAfter|Marker|Prefix|ContinuationToken)>[^<]*</[^>]*>")
_FOLLOWING = re.compile(rb"(?i)<(?:\w+:)?(NextContinuationToken|NextMarker)>([^<]*)</[^>]*>")
_REFERENCE = re.compile(r"&(?:#x([0-9a-fA-F]+)|#([0-9]+)|(amp|lt|gt|quot|apos));")
_CANONICAL = {b"nextcontinuationtoken": "NextContinuationToken", b"nextmarker": "NextMarker"}
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def cut_listing(body: bytes) -> tuple[bytes, dict[str, str]]:
    """A whole listing without the parts no XML parser can read, and its NextContinuationToken and NextMarker by name.

    RGW and rclone write raw keys there, whatever encoding was requested: with characters that XML cannot contain, and
    with carriage returns that a parser would turn into line feeds.
    """
    following = {
        _CANONICAL[name.lower()]: _unescaped(text.decode(errors="surrogateescape"))
        for name, text in _FOLLOWING.findall(body)
    }
    return _ECHO.sub(b"", _FOLLOWING.sub(b"", body)), following


def _unescaped(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        hexadecimal, decimal, name = match.groups()
        return _NAMED[name] if name else _character(int(hexadecimal, 16) if hexadecimal else int(decimal))

    return _REFERENCE.sub(character, text)


def _character(number: int) -> str:
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise ValueError(f"it refers to U+{number:04X}, which is not a character")
    return chr(number)


_YES = frozenset({"true", "1", "yes"})
_NO = frozenset({"false", "0", "no"})


def says_more(text: str) -> bool | None:
    """The value of IsTruncated: True or False in any of the spellings that stores use, None for anything else."""
    word = text.strip().lower()
    return True if word in _YES else False if word in _NO else None


_MOST_REMARKS = 100


class ListedObjects:
    """The objects of one response, and its last key: decoded, if the store says that it encoded its keys.

    Some stores say that only after the objects: until then those whose keys depend on it are held back by `take`.
    """

    def __init__(self) -> None:
        self.objects: list[ListedObject] = []
        self.last_key = ""
        self._held: list[ListedObject] = []
        self._is_settled = False  # it is known whether keys are encoded
        self._is_encoded = False

    def add(self, key: str, size: int, etag: str, modified_ms: int) -> None:
        """Add an object, with its key as it is written."""
        self.last_key = key = self.decoded(key)
        self.objects.append(ListedObject(key, size, etag, modified_ms))

    def take(self) -> list[ListedObject]:
        """The objects read since the last call; keys that depend on a still unknown encoding are held back."""
        taken, self.objects = self.objects, []
        if self._is_settled:
            return taken
        self._held += [item for item in taken if _is_encodable(item.key)]
        return [item for item in taken if not _is_encodable(item.key)]

    def are_encoded(self) -> None:
        """The store says that it encoded all keys of this response."""
        if self._is_encoded:
            return
        self._is_settled = self._is_encoded = True
        self.objects[:] = [self._decoded_object(item) for item in [*self._held, *self.objects]]
        self._held = []
        self.last_key = self.decoded(self.last_key)

    def are_complete(self) -> None:
        """The response has ended: what it has not said about its keys it will not say."""
        self._is_settled = True
        self.objects[:0] = self._held
        self._held = []

    def decoded(self, text: str) -> str:
        """Decode a key of this listing."""
        # AWS and rclone write a space as +, others as %20; all write a plus as %2B.
        if self._is_encoded and _is_encodable(text):
            return unquote_plus(text, errors="surrogateescape")
        return text

    def all_decoded(self, texts: Sequence[str]) -> Sequence[str]:
        """Decode many keys of this listing that are ASCII as they are written."""
        if not self._is_encoded:
            return texts
        joined = "\n".join(texts)
        if not _is_encodable(joined):
            return texts
        # An escape ends where its key ends, so all can be decoded at once.
        decoded = unquote_plus(joined, errors="surrogateescape").split("\n")
        return decoded if len(decoded) == len(texts) else [self.decoded(text) for text in texts]

    def _decoded_object(self, item: ListedObject) -> ListedObject:
        return ListedObject(self.decoded(item.key), item.size, item.etag, item.modified_ms)


class ListingEnd:
    """What a response says about the end of the listing.

    `leads_on`: it gives a token or marker to continue.
    """

    def __init__(self) -> None:
        self.leads_on = False
        self._words: set[bool | None] = set()  # all values of IsTruncated

    def take(self, name: str, text: str) -> None:
        """Take note of an element about the listing as a whole."""
        if name == "istruncated":
            self._words.add(says_more(text))
        elif name in ("nextmarker", "nextcontinuationtoken"):
            self.leads_on = self.leads_on or bool(text)

    @property
    def more(self) -> bool | None:
        """Whether the store says that there is more; None: it does not say, or not readably.

        If IsTruncated is contradictory, the value that loses nothing.
        """
        if True in self._words:
            return True
        return None if None in self._words or not self._words else False


class ListingParser:
    """Parses a ListObjects or ListObjectsV2 response in chunks of any size, about 5 microseconds per object.

    `listed` has the objects read so far, which its `take` hands over. The other fields are valid after `finish`: `end`
    is what the response says about the end of the listing. Raises ValueError if it is not a listing.

    An unreadable value affects only its entry: a date becomes 0, a size UNTOLD. `remarks` has the first of each kind,
    in a sentence for people. `repair` makes text that no XML parser accepts readable for one.
    """

    def __init__(self, repair: XmlRepair | None = None) -> None:
        self.listed = ListedObjects()
        self.end = ListingEnd()
        self.unread: list[str] = []  # entries that could not be read
        self.is_cut = False
        self.remarks: dict[str, str] = {}
        self._repair = repair or XmlRepair()
        self._xml = ListingXml(self._object, self._summary)

    def feed(self, chunk: bytes) -> None:
        self._xml.feed(self._repair.text(chunk))

    def finish(self) -> None:
        self._xml.finish(self._repair.text(b"", is_last=True))
        self.listed.are_complete()

    def _object(self, fields: dict[str, str]) -> None:
        written = fields.get("key")
        if written is None:
            raise ValueError("an entry has no Key")
        key = self._repair.original(written)
        if key != written and is_utf8(key):
            self._remark(key, "its key has a character that XML cannot contain; the listing was read anyway")
        size, modified = whole_number(fields.get("size", "")), fields.get("lastmodified", "")
        modified_ms = iso_date_ms(modified) if modified else 0
        self.listed.add(key, UNTOLD if size is None else size, etag_text(fields.get("etag", "")), modified_ms)
        if not modified_ms and _is_unreadable_date(modified):
            self._remark(
                self.listed.last_key,
                f"its date {plain_text(modified[:40])!r} cannot be read; such objects have no date",
                "date",
            )

    def _remark(self, key: str, what: str, kind: str = "") -> None:
        """Record an oddity of an object: the first of a `kind`, or up to a hundred named ones."""
        if len(self.remarks) < _MOST_REMARKS:
            self.remarks.setdefault(kind or key, f"{key_text(key)}: {what}")

    def _summary(self, name: str, text: str) -> None:
        self.end.take(name, text)
        if name == "encodingtype" and text.strip().lower() == "url":
            self.listed.are_encoded()


class EntryParser(ListingParser):
    """The same for a listing that is not XML: it is read entry by entry (`store/entry_reader.py`)."""

    def __init__(self) -> None:
        from .entry_reader import EntryReader  # compiles many patterns, and most stores send XML

        self._reader = EntryReader()
        super().__init__(self._reader)

    def finish(self) -> None:
        super().finish()
        self.unread, self.is_cut = self._reader.unread, self._reader.is_cut
        how = "; it was cut off" if self.is_cut else ""
        self.remarks.setdefault("no XML", f"a response is not valid XML, and was read entry by entry{how}")


def _is_unreadable_date(text: str) -> bool:
    """Whether a date that parsed to 0 was unreadable: some stores write year 1, or the epoch."""
    return bool(text.strip()) and not text.startswith(("0001-", "1970-"))


def _is_encodable(key: str) -> bool:
    return "%" in key or "+" in key
