# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Detects stuck commands of a running s5cmd. It has no timeouts and reports no progress; the kernel shows it.

A fetch makes progress if its temporary file changes (``<name><up to ten digits>``, among the process' open files).
An upload leaves no trace of its own: it makes progress if its process reads or writes anything at all, and it is also
stuck if its process has sent, since it started, several times what a fair share needs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...core.model import MIB, Fetch, Send
from ...store.timeouts import LEAST_BYTES, Asked, Patience

_SETTLING_RATE = 32 * MIB  # bytes/s at which a store may hash a whole object before it responds
_BLIND_RATE = 64 * 1024  # minimum bytes/s for an object if /proc does not show the process
_OF_ONE_FILE = 3  # size, blocks and time
_UNFAIR = 4  # an upload is stuck once other transfers have sent this many times its fair share


class Traffic(NamedTuple):
    """Bytes a process has read and written in its life, files and sockets alike."""

    read: int
    written: int


@dataclass(slots=True)
class _Watched:
    began: float
    moved: float
    trace: tuple[int, ...] = ()
    written: int = -1


class CheckTimes:
    """When the running processes are checked next: `due`, in monotonic seconds."""

    def __init__(self, stall_seconds: float) -> None:
        self.every = min(5.0, max(0.05, stall_seconds / 8))
        self.due = 0.0

    def checked(self, now: float) -> None:
        self.due = now + self.every

    def started(self, now: float) -> None:
        """A process was started: there is nothing to see yet, if it is the first one for a while."""
        if self.due < now:
            self.due = now + self.every


class Watch:
    """Checks one process periodically; transfers that finish between two checks cost nothing."""

    def __init__(self, pid: int, patience: Patience, *, is_fetch: bool, width: int) -> None:
        self._pid = pid
        self._patience = patience
        self._is_fetch = is_fetch
        self._width = width
        self._watched: dict[str, _Watched] = {}

    def stuck(self, running: Sequence[Fetch | Send], now: float) -> dict[str, str]:
        """The paths of transfers without progress for too long, each with the reason. `now` in monotonic seconds."""
        known = self._watched
        self._watched = {work.path: known.get(work.path) or _Watched(now, now) for work in running}
        old = [work for work in running if work.path in known]
        if not old:
            return {}
        files = open_files(self._pid) if self._is_fetch else None
        traffic = None if self._is_fetch else traffic_of(self._pid)
        found = {work.path: self._judge(work, files, traffic, now) for work in old}
        if not any(found.values()):
            return {}
        # The process will be ended. Transfers that have stalled for half the time count as stuck too.
        found = {work.path: self._judge(work, files, traffic, now, patience=0.5) for work in old}
        return {path: reason for path, reason in found.items() if reason}

    def _silence(self, work: Fetch | Send) -> float:
        """Timeout in seconds. Upload progress is unknown: the store may have it all and be preparing its response."""
        if isinstance(work, Fetch):
            return self._patience.of(Asked.GET).flow
        return self._patience.of(Asked.COMPLETE if work.part_size else Asked.PUT).answer

    def _judge(
        self,
        work: Fetch | Send,
        files: Mapping[str, tuple[int, ...]] | None,
        traffic: Traffic | None,
        now: float,
        patience: float = 1.0,
    ) -> str:
        watched = self._watched[work.path]
        if files is None and traffic is None:
            allowed = patience * (self._silence(work) + work.size // _BLIND_RATE)
            return f"not finished after {now - watched.began:.0f} s" if now - watched.began >= allowed else ""
        trace = tuple(traffic) if traffic else temporary_trace(work.path, files or {})
        if not _is_drip(watched.trace, trace):
            watched.trace, watched.moved = trace, now
        if traffic and watched.written < 0:
            watched.written = traffic.written
        allowed = patience * (self._silence(work) + work.size // _SETTLING_RATE)
        if now - watched.moved >= allowed:
            return f"no progress for {now - watched.moved:.0f} s"
        overtaken = traffic and traffic.written - watched.written >= _UNFAIR * self._width * (work.size + MIB)
        if overtaken and now - watched.began >= allowed:
            return f"not finished after {now - watched.began:.0f} s, while others were sent"
        return ""


def _is_drip(before: tuple[int, ...], trace: tuple[int, ...]) -> bool:
    """Whether nothing moved since `before`, or one temporary file grew by too little for a real transfer."""
    if len(trace) != _OF_ONE_FILE or len(before) != _OF_ONE_FILE:
        return before == trace
    grown = trace[0] - before[0]
    return before == trace or (0 < grown < LEAST_BYTES and before[1] == trace[1])


def temporary_trace(path: str, files: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Size, blocks and time of the temporary file of a fetch to `path`, which change with progress; () if none.

    Names that end in digits may look like another's temporary file; then several count, and a stall is detected later.
    """
    name = os.path.basename(path)
    traces = [trace for file, trace in sorted(files.items()) if file.startswith(name) and _is_suffix(file[len(name) :])]
    return tuple(number for trace in traces for number in trace)


_is_suffix = re.compile(r"\d{1,10}").fullmatch


def open_files(pid: int) -> dict[str, tuple[int, ...]] | None:
    """Base name -> (size, blocks, mtime in ns) of a process' open regular files; None if /proc is not readable."""
    folder = f"/proc/{pid}/fd"
    found: dict[str, tuple[int, ...]] = {}
    try:
        descriptors = os.listdir(folder)
    except OSError:
        return None
    for descriptor in descriptors:
        try:
            target = os.readlink(f"{folder}/{descriptor}")
            if target.startswith("/"):
                status = os.stat(f"{folder}/{descriptor}")
                found[os.path.basename(target)] = (status.st_size, status.st_blocks, status.st_mtime_ns)
        except OSError:
            continue  # closed since it was listed
    return found


def traffic_of(pid: int) -> Traffic | None:
    """What a process has read and written so far; None if /proc is not readable."""
    try:
        with open(f"/proc/{pid}/io", "rb") as file:
            numbers = dict(line.split(b": ") for line in file.read().splitlines())
        return Traffic(int(numbers[b"rchar"]), int(numbers[b"wchar"]))
    except (OSError, KeyError, ValueError):
        return None
