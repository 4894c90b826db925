# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How many bytes each request for a small object may hold in memory: the fewer, the more are in flight.

No side effects. What a request holds is what it received and did not write yet, or read and did not send yet.
"""

from __future__ import annotations

from ...core.model import MIB

TOGETHER = 4 * MIB  # held by all requests of one mover in one process
_MOST = 256 * 1024  # more costs hardly less CPU time
_LEAST = 16 * 1024  # libcurl delivers so much at once


def held_by_each(in_flight: int) -> int:
    """Bytes for each of so many requests. Beyond 256, which are many connections for one process, it stays the same."""
    share = TOGETHER // max(1, in_flight)
    return max(_LEAST, min(_MOST, share - share % _LEAST))
