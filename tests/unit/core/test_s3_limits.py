# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What S3 takes as an upload."""

from __future__ import annotations

import pytest

from snowsync.core.model import MIB
from snowsync.core.s3_limits import can_be_sent, fits, part_count

GIB = 1024 * MIB


@pytest.mark.parametrize(("size", "part_size", "count"), [(0, 5, 1), (1, 5, 1), (5, 5, 1), (6, 5, 2), (10, 5, 2)])
def test_an_upload_has_a_part_at_least(size: int, part_size: int, count: int) -> None:
    assert part_count(size, part_size) == count


@pytest.mark.parametrize(
    ("size", "part_size", "is_possible"),
    [(5 * GIB, 0, True), (5 * GIB + 1, 0, False), (10_000, 1, True), (10_001, 1, False), (0, 1, True)],
)
def test_one_put_carries_so_many_bytes_and_an_upload_so_many_parts(
    size: int, part_size: int, is_possible: bool
) -> None:
    assert fits(size, part_size) is is_possible


@pytest.mark.parametrize(
    ("size", "part_size", "allowed"),
    [
        (0, 0, True),
        (5 * GIB, 0, True),
        (5 * GIB + 1, 0, False),
        (10_000 * 5 * MIB, 5 * MIB, True),
        (10_000 * 5 * MIB + 1, 5 * MIB, False),
        (10 * MIB, 5 * MIB - 1, False),
        (1 * MIB, 2 * MIB, True),
    ],
)
def test_what_one_upload_may_be(size: int, part_size: int, allowed: bool) -> None:
    assert can_be_sent(size, part_size) is allowed
