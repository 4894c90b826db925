# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How the connections that a store allows (`max_connections`) are shared by all who talk to one endpoint of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config.connection_needs import LEAST

if TYPE_CHECKING:  # config/job_file.py brings pydantic
    from ..config.job_file import MoverSettings


@dataclass(frozen=True, slots=True)
class Shares:
    """Connections of one unit to one endpoint: to ask (lists, HEADs, proofs, probes), by boto3, and by the mover."""

    asking: int
    boto3: int
    mover: int


def shares(cap: int) -> Shares:
    """They are `cap` together; the job file allows no fewer than `connection_needs.least`."""
    cap = max(LEAST, cap)
    asking, boto3 = cap // 4, max(1, min(5, cap // 8))
    return Shares(asking, boto3, cap - asking - boto3)


def within(settings: MoverSettings, share: int) -> MoverSettings:
    """Fewer workers where the mover's share asks for it."""
    if settings.tool == "s5cmd":
        return _s5cmd_within(settings, share - sum(RESUMING.large))
    return _native_within(settings, share)


def _native_within(settings: MoverSettings, share: int) -> MoverSettings:
    """One connection each, and one for each part under way."""
    parts = min(settings.part_concurrency, max(1, share // 2))
    large = max(1, min(settings.large_workers, share // (2 * parts)))
    small = max(1, min(settings.workers, share - parts * large))
    return settings.model_copy(update={"workers": small, "large_workers": large, "part_concurrency": parts})


def _s5cmd_within(settings: MoverSettings, share: int) -> MoverSettings:
    """s5cmd opens up to two connections for each command, and where it carries an object in parts one for each."""
    parts = min(settings.part_concurrency, max(1, share // 2))
    each = max(2, parts)
    large = max(1, min(settings.large_workers, share // (2 * each)))
    small = max(1, min(settings.workers, (share - each * large) // 2))
    return settings.model_copy(update={"workers": small, "large_workers": large, "part_concurrency": parts})


@dataclass(frozen=True, slots=True)
class Lanes:
    """How many connections each lane of the native mover has, those for small and those for large objects."""

    small: tuple[int, ...]
    large: tuple[int, ...]


# Of the native mover in a job with s5cmd: it gets large objects only, those that s5cmd did not bring to their end.
RESUMING = Lanes(small=(1,), large=(2,))


def lanes_within(settings: MoverSettings, share: int, volumes: int) -> Lanes:
    """A lane of each kind for each volume, so that none waits for another one's disk; with s5cmd those that resume.

    Small objects share the workers. A large one has as many connections on each volume as it would have alone, where
    that many are left. Where there are fewer connections than volumes, several share a lane.
    """
    if settings.tool == "s5cmd":
        return RESUMING
    streams = settings.large_workers * settings.part_concurrency
    left = max(streams, min(share - settings.workers, streams * volumes))
    return Lanes(_divided(settings.workers, volumes), _divided(left, volumes))


def _divided(count: int, volumes: int) -> tuple[int, ...]:
    lanes = min(count, max(1, volumes))
    return tuple(count // lanes + (number < count % lanes) for number in range(lanes))


class Permits:
    """So many connections, open at once or kept for the next request. Threads share them.

    Who keeps connections that are idle gives `spare`, which closes some and says how many: it is asked before anybody
    waits. Nobody may wait for one while it holds others, but for those of `take_some`, which are never the last.
    """

    def __init__(self, limit: int, spare: Callable[[], int] = lambda: 0) -> None:
        self.limit = limit
        self.spare = spare
        self._used = 0
        self._in_sets = 0
        self._changed = threading.Condition()  # it may be entered again, which `spare` does

    def take(self) -> None:
        """One; waits until there is one."""
        with self._changed:
            while not self._is_free():
                self._changed.wait()
            self._used += 1

    def take_some(self, wanted: int) -> int:
        """Up to `wanted` at once, without waiting, perhaps 0; one at least stays for those who take one."""
        with self._changed:
            count = 0
            while count < wanted and self._in_sets < self.limit - 1 and self._is_free():
                self._used += 1
                self._in_sets += 1
                count += 1
            return count

    def give_back(self, count: int = 1, *, of_set: bool = False) -> None:
        with self._changed:
            self._used -= count
            self._in_sets -= count if of_set else 0
            self._changed.notify_all()

    def is_no_set(self, count: int) -> None:
        """Permits of `take_some` that `spare` is about to tell are one's own no more."""
        with self._changed:
            self._in_sets -= count

    def tell(self) -> None:
        """A connection became idle: whoever waits may close it."""
        with self._changed:
            self._changed.notify_all()

    def _is_free(self) -> bool:
        if self._used >= self.limit:
            self._used -= self.spare()
        return self._used < self.limit


class Turns:
    """How many threads may talk through boto3 at once; within its turn a thread may call again."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = threading.BoundedSemaphore(count)
        self._mine = threading.local()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        if getattr(self._mine, "has_one", False):
            yield
            return
        with self._free:
            self._mine.has_one = True
            try:
                yield
            finally:
                self._mine.has_one = False
