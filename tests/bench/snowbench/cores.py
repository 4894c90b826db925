# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which CPUs the tools may use, and which the stores: `--cores 2` shows a small host on a large machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cores:
    """Numbers of CPUs; none: all that there are. What `taskset` gets goes before a command."""

    tools: Sequence[int] = ()
    stores: Sequence[int] = ()

    @staticmethod
    def split(count: int | None, available: Sequence[int]) -> Cores:
        """The tools get `count` CPUs; the stores all others, or share them if there are no others."""
        if count is None or count >= len(available):
            return Cores()
        return Cores(available[:count], available[count:])

    @property
    def tool_prefix(self) -> list[str]:
        return _taskset(self.tools)

    @property
    def store_prefix(self) -> list[str]:
        return _taskset(self.stores)


def available_cpus() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _taskset(cpus: Sequence[int]) -> list[str]:
    return ["taskset", "--cpu-list", ",".join(map(str, cpus))] if cpus else []
