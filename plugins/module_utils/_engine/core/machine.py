# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The machine's clocks, its boot, and when a process of it started."""

from __future__ import annotations

import functools
import time
from pathlib import Path


def now_ms() -> int:
    return int(time.time() * 1000)


def ticks_ms() -> int:
    """Milliseconds since the boot, suspended time included: nobody sets this clock."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def process_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot, from proc(5); None when there is none that runs."""
    try:
        # The command's name may hold anything, also ")": what follows the last one is numbers.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


@functools.cache
def boot_id() -> str:
    """The kernel's boot id (/proc/sys/kernel/random/boot_id); empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
