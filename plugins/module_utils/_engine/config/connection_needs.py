# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How few connections a unit can do with."""

from __future__ import annotations

# One to ask, one for boto3, one for small and one for large objects; each command of s5cmd takes up to two, and two are
# kept for what it does not bring to its end.
LEAST, LEAST_OF_S5CMD = 4, 9


def least(tool: str) -> int:
    """How many connections a unit that moves with this tool cannot do without."""
    return LEAST_OF_S5CMD if tool == "s5cmd" else LEAST
