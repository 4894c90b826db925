# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The parts of a multipart object, as far as its store tells their sizes: HEAD with ?partNumber=.

`ask` makes that request for one part, numbered from 1. All functions raise StoreError when the store fails, or no
longer has the object; a store that refuses or ignores part numbers tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from ..core import etag
from ..core.errors import StoreError, Trouble
from ..core.model import Head

Ask = Callable[[int], Head]


def told_size(ask: Ask, head: Head, number: int) -> int:
    """The size in bytes of one of several parts, by its number from 1; 0 when it is not told."""
    try:
        part = ask(number)
    except StoreError as error:
        if error.trouble.is_transient or error.trouble.stops_job or error.trouble is Trouble.NOT_FOUND:
            raise
        return 0  # the store refuses part numbers
    parsed = etag.parse(head.etag)
    is_of_it = part.etag == head.etag and part.parts_count in (0, parsed.parts if parsed else 0)
    # All of it: the store ignores part numbers. Below 0: the answer does not say.
    return part.size if is_of_it and 0 < part.size < head.size else 0


def all_parts(ask: Ask, head: Head, first: int) -> tuple[int, ...]:
    """The sizes of all parts, the first of which is known; empty when they are not told, or are not the object's.

    One request for each further part.
    """
    parsed = etag.parse(head.etag)
    sizes = [first]
    for number in range(2, parsed.parts + 1 if parsed else 0):
        sizes.append(told_size(ask, head, number))
        if not sizes[-1]:
            return ()
    return tuple(sizes) if sum(sizes) == head.size else ()


def equal_parts(size: int, part_size: int) -> tuple[int, ...]:
    """The sizes of parts that are equal but for the last one."""
    whole, rest = divmod(size, part_size)
    return (part_size,) * whole + ((rest,) if rest else ())
