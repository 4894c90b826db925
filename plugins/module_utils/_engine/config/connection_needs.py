# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The minimum number of connections that a unit needs."""

from __future__ import annotations

# One to ask, one for boto3, one for small and one for large objects; each s5cmd command takes up to two, and two are
# reserved for work that s5cmd does not finish.
LEAST, LEAST_OF_S5CMD = 4, 9


def least(tool: str) -> int:
    """The minimum number of connections for a unit that uses this tool."""
    return LEAST_OF_S5CMD if tool == "s5cmd" else LEAST
