# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The XML of a listing: which elements are its entries, and which describe the listing as a whole. No effects here."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.parsers import expat

# Stores use many spellings of these names: ListBucketResult, ListObjectsV2Result, listBucketResult, ListObjectResult.
_is_listing = re.compile(r"(?i)list(?:bucket|objects?)(?:v2)?(?:result|response)").fullmatch


class ListingXml:
    """Reads the elements of a listing in chunks of any size; names are passed on in lower case, without a prefix.

    `on_entry` gets the texts of each entry by name, `on_summary` the name and text of each element about the listing
    as a whole. The S3 namespace may have any prefix, or be missing. Raises ValueError if it is not a listing.
    """

    def __init__(self, on_entry: Callable[[dict[str, str]], None], on_summary: Callable[[str, str], None]) -> None:
        self._on_entry = on_entry
        self._on_summary = on_summary
        self._depth = 0
        self._text = ""
        self._fields: dict[str, str] = {}
        self._says_anything = False
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.CharacterDataHandler = self._characters
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = _no_doctype

    def feed(self, text: str) -> None:
        try:
            self._parser.Parse(text, False)
        except expat.ExpatError as error:
            raise ValueError(f"it is not readable as XML: {error}") from None

    def finish(self, text: str) -> None:
        """Read the last chunk."""
        try:
            self._parser.Parse(text, True)
        except expat.ExpatError as error:
            raise ValueError(f"it is not XML, or ends too early: {error}") from None
        if not self._says_anything:
            raise ValueError("it is an empty listing without any of the elements that every store sends")

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
                self._on_entry(self._fields)
                self._fields.clear()
            else:
                self._on_summary(name, self._text)


def _no_doctype(*_arguments: object) -> None:
    raise ValueError("it has a DOCTYPE, which no store sends")
