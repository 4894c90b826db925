# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which parts of a sorted listing show the wanted keys: where each request starts, and how many keys. No side effects.

What lies between two wanted keys is listed only if that costs less than another request. How much it is, is known from
the places that they have in the listing of the source.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from ..core.keys import key_bytes
from ..core.model import Page
from ..store.listing_gaps import PAGE_KEYS

_WIDEST_GAP = 200  # keys that nobody wants, and that cost about as much as a request
_SMALLEST_PAGE = 32
_LEAST_SHARE = 0.1  # if less than this share of a page is wanted, HEADs cost less than the next page
_FIRST_REQUESTS = 4  # a listing in pieces may take so many requests, and one more for each
_OBJECTS_PER_REQUEST = 16  # objects that it has passed: HEADs go out several at a time, these do not


class Wanted(NamedTuple):
    """What a key should have at the destination. `number` tells its place in the source's listing; 0: unknown."""

    digest: str
    size: int
    number: int = 0


class ListingRoute:
    """One walk over the listing, from the second of the wanted keys on. Each request passes some, or is the last one.

    Request what `start_after` and `max_keys` say and `take` the page, until it `is_over`.
    """

    def __init__(self, ordered: Sequence[str], numbers: Sequence[int], prefix: str) -> None:
        """The wanted keys in the order of listings, and their numbers. The first one is known already."""
        self.is_over = len(ordered) < 2
        self._keys = ordered
        self._bytes = [key_bytes(key) for key in ordered]
        self._numbers = numbers
        self._prefix = prefix
        self._position = 1  # of the next wanted key
        self._last = ordered[0]  # key that was passed
        self._requests = 0

    def start_after(self) -> str:
        """The text after which the next wanted key is to be listed; "" for the beginning."""
        before = before_key(self._keys[self._position], self._prefix)
        return max(before, self._last, key=key_bytes)

    def max_keys(self) -> int:
        """How many keys are listed up to the next gap that is worth a request of its own."""
        first = last = self._position
        numbers = self._numbers
        while last + 1 < len(numbers) and numbers[last + 1] - numbers[last] <= _WIDEST_GAP:
            last += 1
        return min(PAGE_KEYS, max(_SMALLEST_PAGE, last - first + 1, numbers[last] - numbers[first] + 1))

    def take(self, page: Page, hits: int) -> None:
        """Continue after the requested page, which shows as many objects as expected; or not, if that is pointless."""
        asked_after = key_bytes(self.start_after())
        if not page.objects or key_bytes(page.objects[0].key) < asked_after:  # some stores ignore where to start
            self.is_over = True
            return
        self._requests += 1
        self._last = page.objects[-1].key
        passed = bisect_right(self._bytes, key_bytes(self._last))
        is_end = page.more is False and page.next_token is None
        is_dear = self._requests >= _FIRST_REQUESTS + passed // _OBJECTS_PER_REQUEST
        is_dear = is_dear or hits < max(1, len(page.objects) * _LEAST_SHARE)
        self.is_over = is_end or is_dear or not self._position < passed < len(self._keys)
        self._position = max(self._position, passed)


def before_key(key: str, prefix: str) -> str:
    """A text that sorts before a key below `prefix`, with few keys in between, that any store accepts as a key.

    The key with its last character replaced by the one before it; where that may be none that is allowed in a key or
    in XML, the key without it.
    """
    if len(key) <= len(prefix):
        return ""
    last = key[-1]
    return key[:-1] + chr(ord(last) - 1) if "!" <= last <= "~" else key[:-1]
