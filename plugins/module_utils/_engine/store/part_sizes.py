# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The part sizes of a multipart object, if its store reports them: HEAD with ?partNumber=.

`ask` makes that request for one part, numbered from 1. All functions raise StoreError if the store fails, or no longer
has the object; a store that rejects or ignores part numbers reports nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from ..core import etag
from ..core.errors import StoreError, Trouble
from ..core.model import Head

Ask = Callable[[int], Head]


def told_size(ask: Ask, head: Head, number: int) -> int:
    """The size in bytes of one of several parts, by its number from 1; 0 if it is not reported."""
    try:
        part = ask(number)
    except StoreError as error:
        if error.trouble.is_transient or error.trouble.stops_job or error.trouble is Trouble.NOT_FOUND:
            raise
        return 0  # the store rejects part numbers
    parsed = etag.parse(head.etag)
    is_of_it = part.etag == head.etag and part.parts_count in (0, parsed.parts if parsed else 0)
    # The size of the object: the store ignores part numbers. Below 0: the response does not say.
    return part.size if is_of_it and 0 < part.size < head.size else 0


def all_parts(ask: Ask, head: Head, first: int) -> tuple[int, ...]:
    """The sizes of all parts, the first of which is known; empty if not reported, or if they do not add up.

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
    """The sizes of parts that are equal except for the last one."""
    whole, rest = divmod(size, part_size)
    return (part_size,) * whole + ((rest,) if rest else ())
