# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How a sorted listing gets past an unreadable page: first with smaller pages, then by key. No side effects.

Smaller pages narrow down the place. Then a search finds the closest text after which the listing can be read again: for
any text, a request for the next key shows whether that key is the unreadable one.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias

PAGE_KEYS = 1000
_MOST_QUESTIONS = 200  # requests per gap; after that it is not narrowed further
LAST_TEXT = "\U0010fffd"  # sorts after everything that keys contain in practice
_SURROGATES = range(0xD800, 0xE000)  # not characters; the numbering skips them


class PageSize:
    """How many keys to request: halved after each unreadable page, until that place is passed."""

    def __init__(self) -> None:
        self.keys = PAGE_KEYS
        self._suspects = 0  # the unreadable key is among this many next keys

    @property
    def is_least(self) -> bool:
        return self.keys == 1

    def was_unreadable(self) -> None:
        self._suspects = self.keys
        self.keys = max(1, self.keys // 2)

    def was_read(self, count: int) -> None:
        self._suspects -= count
        if self._suspects <= 0 or not count:
            self.passed()
        else:
            self.keys = max(1, min(self.keys, self._suspects // 2))

    def passed(self) -> None:
        self.keys, self._suspects = PAGE_KEYS, 0


# Yields a text, and is sent whether the first key after it can be read (or there is no key). Returns a text for which
# that is true; None if there is none.
Search: TypeAlias = Generator[str, bool, "str | None"]


def search(after: str, prefix: str) -> Search:
    """Find where a listing of `prefix` can be read again, if the first key after `after` cannot be read."""
    after = after if after.startswith(prefix) else prefix
    if not (yield prefix + LAST_TEXT):
        return None
    kept, most = len(prefix), len(after) + 1  # length of the prefix of `after` that all skipped keys share
    while most - kept > 1:
        middle = (kept + most) // 2
        if (yield after[:middle] + LAST_TEXT):
            kept = middle
        else:
            most = middle
    least = _number(after[kept]) if kept < len(after) else 0
    return (yield from _narrowed(after[:kept], least))


def _narrowed(base: str, least: int) -> Search:
    """A text closer to the unreadable key, which starts with `base` followed by a character from `least` on."""
    found, questions = base + LAST_TEXT, 0
    while questions < _MOST_QUESTIONS:
        low, high, step = least, _number(LAST_TEXT), 1  # after all texts with `low`, the next key is unreadable
        while high - low > 1:
            middle = min(low + step, (low + high) // 2)
            step, questions = step * 2, questions + 1
            if (yield f"{base}{_character(middle)}{LAST_TEXT}"):
                high = middle
            else:
                low = middle
        base, questions, least = base + _character(high), questions + 1, 0
        found = base + LAST_TEXT
        if (yield base):
            return base  # the very key
    return found


def _number(character: str) -> int:
    code = ord(character)
    return code if code < _SURROGATES.start else code - len(_SURROGATES)


def _character(number: int) -> str:
    return chr(number if number < _SURROGATES.start else number + len(_SURROGATES))
