# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The limit for open files, which must allow for the connections of a process and the files that they fill."""

from __future__ import annotations

import resource

_OF_EACH = 2  # descriptors of a request: a connection and a file
_OTHERS = 4  # times as many may be open for all other purposes, dropped files among them


def requests_within_open_files(wanted: int) -> int:
    """How many of so many requests may be in flight; the soft limit is raised as far as they need and may be.

    Processes that are started later inherit it.
    """
    needed = wanted * _OF_EACH * _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(wanted, soft // (_OF_EACH * _OTHERS))
