# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Pages of a listing as nearly all stores write them, read by patterns. No side effects.

Only the entries are: entry after entry, ASCII, with the same four elements in the same order, and with nothing in them
that an XML parser would have to interpret. What is around them goes to `ListingParser`, as does any other page.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from ..core.model import ListedObject
from .dates import iso_date_ms
from .listing_pages import read_to_its_end
from .listing_parser import ListingParser, cut_listing

_BLANK = "[ \t\n]*"
_TEXT = "[ -%'-;=?-~]"  # a character of ASCII that is itself in XML: no control character, no markup
_QUOTE = '(?:&quot;|&#34;|")?'
_ELEMENTS = {
    "Key": f"<Key>({_TEXT}+)</Key>",
    "LastModified": r"<LastModified>(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z)</LastModified>",
    "ETag": rf"<ETag>{_QUOTE}([\w.:=+-]*){_QUOTE}</ETag>",
    "Size": r"<Size>(\d{1,18})</Size>",
}
_IGNORED = (
    r"(?:<(?:StorageClass>[\w-]*</StorageClass|ChecksumAlgorithm>[\w-]*</ChecksumAlgorithm"
    rf"|ChecksumType>[\w-]*</ChecksumType|Owner>(?:<ID>{_TEXT}*</ID>|<DisplayName>{_TEXT}*</DisplayName>"
    r"|<DisplayName/>)*</Owner)>)*"
)
_FIRST, _LAST = b"<Contents>", b"</Contents>"
_find_names = re.compile(rb"<(Key|LastModified|ETag|Size)>").findall
# Where it ends, only the root element is open: what follows are its elements.
_is_beginning = re.compile(
    rb"(?:<\?xml[^<>]*\?>)?[ \t\n]*<\w+(?: [^<>]*)?>[ \t\n]*(?:<(\w+)(?:>[^<]*</\1|[ ]*/)>[ \t\n]*)*"
).fullmatch


def plain_page(body: bytes) -> tuple[ListingParser, dict[str, str]] | None:
    """What `cut_listing` and `ListingParser` would read from a whole page in UTF-8; None if only they can tell."""
    start, end = body.find(_FIRST), body.rfind(_LAST) + len(_LAST)
    if start < 0 or end < start or not _is_beginning(body, 0, start):
        return None
    columns = _columns(body[start:end])
    if columns is None:
        return None
    try:
        rest, following = cut_listing(body[:start] + body[end:])
        parser = read_to_its_end(ListingParser(), rest)
    except ValueError:
        return None
    if parser.listed.objects:
        return None  # entries that look different
    keys, dates, etags, sizes = columns
    times = [iso_date_ms(date) for date in dates]
    if not all(times):
        return None  # no date after all, which is worth a remark
    objects = zip(parser.listed.all_decoded(keys), map(int, sizes), etags, times, strict=True)
    parser.listed.objects = list(map(ListedObject._make, objects))
    parser.listed.last_key = parser.listed.objects[-1].key
    return parser, following


def _columns(entries: bytes) -> list[Sequence[str]] | None:
    """The texts of all entries: keys, dates, ETags, sizes."""
    names = tuple(name.decode() for name in _find_names(entries, 0, entries.find(_LAST)))
    if sorted(names) != sorted(_ELEMENTS) or not entries.isascii():
        return None
    parts = _pattern(names).split(entries.decode("ascii"))
    step = len(names) + 1
    if any(parts[::step]):  # what is between the entries
        return None
    return [parts[1 + names.index(name) :: step] for name in _ELEMENTS]


@functools.lru_cache(maxsize=24)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """The pattern of an entry with its elements in this order."""
    inside = _IGNORED.join(_ELEMENTS[name] for name in names)
    return re.compile(f"<Contents>{_IGNORED}{inside}{_IGNORED}</Contents>{_BLANK}", re.ASCII)
