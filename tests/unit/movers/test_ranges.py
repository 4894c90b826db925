# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a large object is cut into ranges, and what their digests say about it."""

from __future__ import annotations

import hashlib

import pytest

from snowsync.core import etag
from snowsync.core.model import MIB, Head, Headers
from snowsync.movers.native.ranges import HashedRanges, cut

PLAIN = "0123456789abcdef0123456789abcdef"
PART = 5 * MIB


def head_of(found: str) -> Head:
    return Head(206, 10, found, 0, Headers())


@pytest.mark.parametrize(
    ("size", "listed", "in_one", "ranges", "part_size"),
    [
        (PART, PLAIN, False, [(0, PART)], 0),
        (PART, "", False, [(0, PART)], None),
        (2 * PART + 1, PLAIN, False, [(0, PART), (PART, PART), (2 * PART, 1)], None),
        (2 * PART + 1, PLAIN, True, [(0, 2 * PART + 1)], 0),
        (2 * PART + 1, f"{PLAIN}-3", False, [(0, PART), (PART, PART), (2 * PART, 1)], PART),
        (2 * PART + 1, f"{PLAIN}-3", True, [(0, 2 * PART + 1)], PART),
        (2 * PART, "unlike an ETag", False, [(0, PART), (PART, PART)], None),
        (2 * PART, "unlike an ETag", True, [(0, 2 * PART)], None),
    ],
)
def test_ranges_are_cut_where_parts_can_be_hashed(
    size: int, listed: str, in_one: bool, ranges: list[tuple[int, int]], part_size: int | None
) -> None:
    assert cut(size, listed, PART, in_one=in_one) == (ranges, part_size)


def fill(ranges: HashedRanges, data: bytes) -> None:
    for number in reversed(range(len(ranges))):  # they end in any order
        start, length = ranges[number]
        digests = ranges.new_digests()
        digests.update(data[start : start + length])
        ranges.hashed(number, digests)


def test_digests_of_ranges_together_are_the_ETag_of_a_multipart_object() -> None:
    data = b"abcdefghij"
    ranges = HashedRanges([(0, 8), (8, 2)], 4)
    fill(ranges, data)
    whole = etag.multipart_etag([hashlib.md5(data[at : at + 4]).digest() for at in (0, 4, 8)])
    received = ranges.received(head_of(whole.upper()), 10)
    assert received and (received.etag, received.part_size) == (whole, 4)
    assert received.part_md5s == b"".join(hashlib.md5(data[at : at + 4]).digest() for at in (0, 4, 8))
    assert (received.head.status, received.head.size) == (200, 10), "of the object, not of its last range"
    assert ranges.received(head_of(f"{PLAIN}-3"), 10) is None, "the parts were others: this proves nothing"


def test_one_range_is_hashed_as_a_whole() -> None:
    ranges = HashedRanges([(0, 3)], 0)
    fill(ranges, b"abc")
    md5 = hashlib.md5(b"abc").hexdigest()
    received = ranges.received(head_of(md5), 3)
    assert received and (received.etag, received.part_size, received.part_md5s) == (md5, 0, b"")


def test_ranges_of_an_object_in_one_part_prove_nothing() -> None:
    ranges = HashedRanges([(0, 2), (2, 2)], None)
    fill(ranges, b"abcd")
    assert ranges.received(head_of(hashlib.md5(b"abcd").hexdigest()), 4) is None


def test_ranges_are_fitted_to_what_the_file_has() -> None:
    ranges = HashedRanges([(0, 2), (2, 2)], 2)
    ranges.fit(lambda given: [(0, sum(length for _start, length in given))])
    assert len(ranges) == 1
    assert ranges[0] == (0, 4)
    fill(ranges, b"abcd")
    whole = etag.multipart_etag([hashlib.md5(part).digest() for part in (b"ab", b"cd")])
    assert ranges.received(head_of(whole), 4)
