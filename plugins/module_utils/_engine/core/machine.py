# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The machine's clocks, its boot id, the start times of its processes, and whom this process ends with."""

from __future__ import annotations

import functools
import os
import signal
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)


def now_ms() -> int:
    return int(time.time() * 1000)


def ticks_ms() -> int:
    """Milliseconds since boot, including suspended time: this clock is never set."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def process_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot, from proc(5); None if it is not running."""
    try:
        # The command name may contain anything, even ")": after the last one there are only numbers.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


@functools.cache
def boot_id() -> str:
    """The kernel's boot id (/proc/sys/kernel/random/boot_id); empty if there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def end_with(parent: int) -> None:
    """Let the kernel kill this process when `parent`, or the thread of it that started this process, ends."""
    import ctypes  # only for processes that others start

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before that
        os._exit(1)
