# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""A page of a listing, as stores write it, and what is odd of it. No effects here."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from ..core.keys import is_utf8
from ..core.model import UNTOLD, ListedObject
from ..core.text import key_text, plain_text
from .dates import iso_date_ms
from .entry_reader import EntryReader
from .head_answers import etag_text, whole_number
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


# Stores use many spellings of these names: ListBucketResult, ListObjectsV2Result, listBucketResult, ListObjectResult.
_is_listing = re.compile(r"(?i)list(?:bucket|objects?)(?:v2)?(?:result|response)").fullmatch
_YES = frozenset({"true", "1", "yes"})
_NO = frozenset({"false", "0", "no"})


def says_more(text: str) -> bool | None:
    """The value of IsTruncated: True or False in any of the spellings that stores use, None for anything else."""
    word = text.strip().lower()
    return True if word in _YES else False if word in _NO else None


_MOST_REMARKS = 100


class ListingParser:
    """Parses a ListObjects or ListObjectsV2 response in chunks of any size, about 5 microseconds per object.

    `objects` grows as chunks are fed; `take` empties it. The other fields are valid after `finish`: `more` is whether
    the store says that there is more (None: it does not say, or not readably), `leads_on` whether it gives a token or
    marker to continue. The S3 namespace may have any prefix, or be missing; names are matched ignoring case. Raises
    ValueError if it is not a listing.

    An unreadable value affects only its entry: a date becomes 0, a size UNTOLD. `remarks` has the first of each kind,
    in a sentence for people. `repair` makes text that no XML parser accepts readable for one.
    """

    def __init__(self, repair: XmlRepair | None = None) -> None:
        from xml.parsers import expat

        self.objects: list[ListedObject] = []
        self.leads_on = False
        self.last_key = ""
        self.unread: list[str] = []  # entries that could not be read
        self.is_cut = False
        self._words: set[bool | None] = set()  # all values of IsTruncated
        self._settled = False  # it is known whether keys are encoded: some stores send that after the objects
        self._says_anything = False
        self._held: list[ListedObject] = []
        self._encoded = False
        self._depth = 0
        self._text = ""
        self._fields: dict[str, str] = {}
        self.remarks: dict[str, str] = {}
        self._malformed: type[Exception] = expat.ExpatError
        self._repair = repair or XmlRepair()
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.CharacterDataHandler = self._characters
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = _no_doctype

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.Parse(self._repair.text(chunk), False)
        except self._malformed as error:
            raise ValueError(f"it is not readable as XML: {error}") from None

    def finish(self) -> None:
        try:
            self._parser.Parse(self._repair.text(b"", is_last=True), True)
        except self._malformed as error:
            raise ValueError(f"it is not XML, or ends too early: {error}") from None
        if not self._says_anything:
            raise ValueError("it is an empty listing without any of the elements that every store sends")
        self._settled = True
        self.objects[:0] = self._held
        self._held = []

    def take(self) -> list[ListedObject]:
        """The objects read since the last call; keys that depend on a still unknown encoding are held back."""
        taken, self.objects = self.objects, []
        if self._settled:
            return taken
        self._held += [item for item in taken if _is_encodable(item.key)]
        return [item for item in taken if not _is_encodable(item.key)]

    def _start(self, name: str, _attributes: object) -> None:
        if self._depth == 0 and name.rpartition(":")[2].lower() == "listallmybucketsresult":
            raise ValueError("it is a list of buckets: the store did not see the bucket name; set `addressing: path`")
        if self._depth == 0 and not _is_listing(name.rpartition(":")[2]):
            raise ValueError(f"it is a <{name}>, not a listing")
        self._depth += 1
        self._text = ""

    def _characters(self, data: str) -> None:
        self._text += data

    def _end(self, name: str) -> None:
        self._depth -= 1
        if ":" in name:
            name = name.rpartition(":")[2]
        name = name.lower()
        if self._depth == 2:
            self._fields[name] = self._text
        elif self._depth == 1:
            self._says_anything = True
            if name == "contents":
                self._object()
            else:
                self._summary(name, self._text)

    def _object(self) -> None:
        fields = self._fields
        written = fields.get("key")
        if written is None:
            raise ValueError("an entry has no Key")
        key = self._repair.original(written)
        if key != written and is_utf8(key):
            self._remark(key, "its key has a character that XML cannot contain; the listing was read anyway")
        self.last_key = key = self.decoded(key)
        size, modified = whole_number(fields.get("size", "")), fields.get("lastmodified", "")
        modified_ms = iso_date_ms(modified) if modified else 0
        if not modified_ms and _is_unreadable_date(modified):
            self._remark(
                key,
                f"its date {plain_text(modified[:40])!r} cannot be read; such objects have no date",
                "date",
            )
        self.objects.append(
            ListedObject(key, UNTOLD if size is None else size, etag_text(fields.get("etag", "")), modified_ms)
        )
        fields.clear()

    def _remark(self, key: str, what: str, kind: str = "") -> None:
        """Record an oddity of an object: the first of a `kind`, or up to a hundred named ones."""
        if len(self.remarks) < _MOST_REMARKS:
            self.remarks.setdefault(kind or key, f"{key_text(key)}: {what}")

    def _summary(self, name: str, text: str) -> None:
        if name == "istruncated":
            self._words.add(says_more(text))
        elif name in ("nextmarker", "nextcontinuationtoken"):
            self.leads_on = self.leads_on or bool(text)
        elif name == "encodingtype" and text.strip().lower() == "url" and not self._encoded:
            self._settled = self._encoded = True
            self.objects[:] = [self._decoded_object(item) for item in [*self._held, *self.objects]]
            self._held = []
            self.last_key = self.decoded(self.last_key)

    @property
    def more(self) -> bool | None:
        """Whether there is more; if IsTruncated is contradictory, the value that loses nothing."""
        if True in self._words:
            return True
        return None if None in self._words or not self._words else False

    def decoded(self, text: str) -> str:
        """Decode a key of this listing."""
        # AWS and rclone write a space as +, others as %20; all write a plus as %2B.
        if self._encoded and _is_encodable(text):
            return unquote_plus(text, errors="surrogateescape")
        return text

    def _decoded_object(self, item: ListedObject) -> ListedObject:
        return ListedObject(self.decoded(item.key), item.size, item.etag, item.modified_ms)


class EntryParser(ListingParser):
    """The same for a listing that is not XML: it is read entry by entry (`store/entry_reader.py`)."""

    def __init__(self) -> None:
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


def _no_doctype(*_arguments: object) -> None:
    raise ValueError("it has a DOCTYPE, which no store sends")
