# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The limits of S3 for uploads: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

from __future__ import annotations

from .model import MIB

MOST_PARTS = 10_000
SMALLEST_PART = 5 * MIB  # except the last one
LARGEST_PART = LARGEST_PUT = 5 * 1024 * MIB


def part_count(size: int, part_size: int) -> int:
    """The number of parts of `part_size` bytes in an upload of `size` bytes."""
    return max(1, -(-size // part_size))


def fits(size: int, part_size: int) -> bool:
    """Whether an upload stays within the maximum number of parts; with `part_size` 0, whether it fits one PUT."""
    return part_count(size, part_size) <= MOST_PARTS if part_size else size <= LARGEST_PUT


def can_be_sent(size: int, part_size: int) -> bool:
    """Whether S3 accepts an upload in such parts; other stores may hold objects with parts that AWS rejects."""
    return fits(size, part_size) and (part_size == 0 or part_size >= SMALLEST_PART or size <= part_size)
