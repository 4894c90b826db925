# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one command and know what it cost: wall, CPU of the whole process tree, peak memory of the tree.

CPU is exact: the kernel's own account of the command and of every child that it waited for (wait4). A finished command
is left as a zombie for a moment, because its /proc/PID/stat then tells its own CPU apart from its children's.
Memory is sampled: the sum of PSS (smaps_rollup) over the tree, shared pages counted once; RSS where PSS is not told.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
# Short commands are over before a slow sampler looks once, so it starts fast; see MEMORY_NOTE.
FIRST_PERIOD_SECONDS, SAMPLES_BEFORE_SLOW, PERIOD_SECONDS = 0.01, 50, 0.2
MEMORY_NOTE = "peak memory: sum of PSS over the tool's process tree, sampled every 10 ms at first, then every 200 ms"


@dataclass
class Cost:
    """Seconds and bytes of one command. `own_cpu` is the command itself, `children_cpu` all it waited for."""

    wall: float
    cpu: float
    own_cpu: float
    children_cpu: float
    peak_memory: int
    exit_code: int
    children: set[str] = field(default_factory=set)  # names of the programs seen below it
    timed_out: bool = False


def measure(
    argv: Sequence[str], environment: Mapping[str, str], *, stdout: Path, stderr: Path, timeout_seconds: float
) -> Cost:
    """Run `argv` to its end, or kill its whole session after `timeout_seconds`."""
    with stdout.open("wb") as out, stderr.open("wb") as err:
        start = time.perf_counter()
        process = subprocess.Popen(
            argv, env=dict(environment), stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        sampler = Sampler(process.pid)
        sampler.start()
        killer = threading.Timer(timeout_seconds, kill_session, [process.pid])
        killer.start()
        try:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        except BaseException:  # the bench is ended: so is what it started
            killer.cancel()
            kill_session(process.pid)
            raise
        wall = time.perf_counter() - start
        timed_out = not killer.is_alive()
        killer.cancel()
        sampler.stop()
        own, children = cpu_of(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        own_cpu=own,
        children_cpu=children,
        peak_memory=sampler.peak,
        exit_code=process.returncode,
        children=sampler.names,
        timed_out=timed_out,
    )


def kill_session(process_id: int) -> None:
    """SIGKILL to the process group that the command leads."""
    try:
        os.killpg(process_id, signal.SIGKILL)
    except ProcessLookupError:
        return


def cpu_of(process_id: int) -> tuple[float, float]:
    """Seconds of CPU of a process itself, and of the children it has waited for."""
    values = stat_fields(process_id)
    # Fields 14..17 of proc(5): utime, stime, cutime, cstime; the list starts at field 3.
    utime, stime, cutime, cstime = (int(value) for value in values[11:15])
    return (utime + stime) / CLOCK_TICKS, (cutime + cstime) / CLOCK_TICKS


def stat_fields(process_id: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: the second, a name in parentheses, may hold anything."""
    text = Path(f"/proc/{process_id}/stat").read_text(errors="replace")
    return text.rpartition(")")[2].split()


class Sampler(threading.Thread):
    """Follows a process tree and keeps the largest sum of memory seen."""

    def __init__(self, root: int, memory_of: Callable[[int], int] | None = None) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self.names: set[str] = set()
        self._root = root
        self._memory_of = memory_of or proportional_memory
        self._ended = threading.Event()

    def run(self) -> None:
        samples = 0
        while not self._ended.wait(FIRST_PERIOD_SECONDS if samples < SAMPLES_BEFORE_SLOW else PERIOD_SECONDS):
            self._sample()
            samples += 1

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def _sample(self) -> None:
        tree = process_tree(self._root)
        self.peak = max(self.peak, sum(self._memory_of(process_id) for process_id in tree))
        self.names.update(name for process_id in tree[1:] if (name := name_of(process_id)))


def process_tree(root: int) -> list[int]:
    """The process and all its descendants, as far as they live."""
    tree = [root]
    for process_id in tree:
        tree.extend(children_of(process_id))
    return tree


def children_of(process_id: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{process_id}/task"):
            text = Path(f"/proc/{process_id}/task/{thread}/children").read_text()
            found.extend(int(word) for word in text.split())
    except OSError:  # it ended while we looked
        return found
    return found


def name_of(process_id: int) -> str:
    """The program's name; empty when it has ended."""
    try:
        return Path(f"/proc/{process_id}/comm").read_text(errors="replace").strip()
    except OSError:
        return ""


def proportional_memory(process_id: int) -> int:
    """PSS in bytes; RSS where smaps_rollup is not to be had; 0 of a process that ended."""
    try:
        for line in Path(f"/proc/{process_id}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * PAGE_SIZE
    except (OSError, ValueError):
        return 0


def machine_cpu() -> float:
    """Seconds of CPU the whole machine has spent since boot, idle and stolen time left out."""
    user, nice, system, _idle, _iowait, irq, softirq = (
        int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    )
    return (user + nice + system + irq + softirq) / CLOCK_TICKS


def wait_for_quiet(limit_seconds: float, *, busy_share: float = 0.1, look_seconds: float = 1.0) -> bool:
    """Wait until the whole machine uses less than `busy_share` of one core; False when it never did."""
    deadline = time.monotonic() + limit_seconds
    while time.monotonic() < deadline:
        before = machine_cpu()
        time.sleep(look_seconds)
        if machine_cpu() - before < busy_share * look_seconds:
            return True
    return False
