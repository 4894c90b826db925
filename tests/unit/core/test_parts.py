# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts as values: what of a range is there, and how it is cut when it was cut otherwise before."""

from __future__ import annotations

import hashlib
import random

import pytest

from snowsync.core.parts import Piece, Segment, joined, read_piece, segments, usable_pieces


def md5s(data: bytes, unit: int) -> tuple[bytes, ...]:
    unit = unit or max(1, len(data))
    return tuple(hashlib.md5(data[at : at + unit]).digest() for at in range(0, max(1, len(data)), unit))


def test_a_piece_is_read_as_it_was_written() -> None:
    piece = Piece(5, 25, 10, md5s(bytes(25), 10))
    assert read_piece(5, 25, piece.text) == piece


@pytest.mark.parametrize("text", ["", "10", "x:00", "10:0", "10:zz"])
def test_what_nobody_wrote_is_no_piece(text: str) -> None:
    assert read_piece(0, 10, text) is None


def piece(start: int, end: int) -> Piece:
    return Piece(start, end - start, 0, (b"",))


def test_pieces_that_overlap_or_lie_beyond_the_object_are_not_used() -> None:
    pieces = [piece(90, 101), piece(0, 10), piece(9, 20), piece(10, 30), piece(30, 30), piece(40, 50)]
    assert usable_pieces(pieces, 100) == [piece(0, 10), piece(10, 30), piece(40, 50)]


def test_a_range_consists_of_what_is_there_and_what_is_not() -> None:
    there = [piece(0, 10), piece(20, 30), piece(35, 40), piece(40, 60)]
    assert list(segments(20, 20, there)) == [
        Segment(20, 10, there[1]),
        Segment(30, 5),
        Segment(35, 5, there[2]),
    ]
    assert list(segments(60, 5, there)) == [Segment(60, 5)]


def test_ranges_are_joined_where_pieces_lie_across() -> None:
    ranges = [(0, 10), (10, 10), (20, 10), (30, 5)]
    assert joined(ranges, []) == ranges
    assert joined(ranges, [piece(5, 10), piece(10, 12)]) == ranges
    assert joined(ranges, [piece(5, 11)]) == [(0, 20), (20, 10), (30, 5)]
    assert joined(ranges, [piece(0, 35)]) == [(0, 35)]


@pytest.mark.parametrize("seed", range(20))
def test_segments_of_all_ranges_are_the_object_once(seed: int) -> None:
    dice = random.Random(seed)
    size, step = dice.randrange(50, 500), dice.randrange(5, 60)
    ranges = [(at, min(step, size - at)) for at in range(0, size, step)]
    borders = sorted(dice.sample(range(size + 1), 8))
    there = usable_pieces([piece(*pair) for pair in zip(borders[::2], borders[1::2], strict=True)], size)
    found = [segment for start, length in joined(ranges, there) for segment in segments(start, length, there)]
    position = 0
    for segment in found:
        assert segment.start == position
        position += segment.length
    assert position == size
    assert [segment.piece for segment in found if segment.piece] == there
