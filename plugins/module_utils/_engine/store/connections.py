# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""How the connections that a store allows (`max_connections`) are shared by all clients of one endpoint."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..config.connection_needs import LEAST

if TYPE_CHECKING:
    from ..config.job_file import MoverSettings


NO_LIMIT = 1 << 30


@dataclass(frozen=True, slots=True)
class Shares:
    """Connections of one unit to one endpoint: for requests (lists, HEADs, proofs, probes), boto3, and the mover."""

    asking: int
    boto3: int
    mover: int


def shares(cap: int) -> Shares:
    """Divide `cap` connections; the job file allows no fewer than `connection_needs.least`."""
    cap = max(LEAST, cap)
    asking, boto3 = cap // 4, max(1, min(5, cap // 8))
    return Shares(asking, boto3, cap - asking - boto3)


def within(settings: MoverSettings, share: int) -> MoverSettings:
    """Reduce the workers to the mover's share of connections."""
    if settings.tool == "s5cmd":
        return _s5cmd_within(settings, share - sum(RESUMING.large))
    return _native_within(settings, share)


def _native_within(settings: MoverSettings, share: int) -> MoverSettings:
    """One connection for each worker, and one for each part in flight."""
    parts = min(settings.part_concurrency, max(1, share // 2))
    large = max(1, min(settings.large_workers, share // (2 * parts)))
    small = max(1, min(settings.workers, share - parts * large))
    return replace(settings, workers=small, large_workers=large, part_concurrency=parts)


def _s5cmd_within(settings: MoverSettings, share: int) -> MoverSettings:
    """s5cmd opens up to two connections for each command, and one for each part of a multipart transfer."""
    parts = min(settings.part_concurrency, max(1, share // 2))
    each = max(2, parts)
    large = max(1, min(settings.large_workers, share // (2 * each)))
    small = max(1, min(settings.workers, (share - each * large) // 2))
    return replace(settings, workers=small, large_workers=large, part_concurrency=parts)


@dataclass(frozen=True, slots=True)
class Lanes:
    """The connections of each lane of the native mover, for small and for large objects.

    `most`: how many those for small objects may have together, as they become more.
    """

    small: tuple[int, ...]
    large: tuple[int, ...]
    most: int = 0


# The native mover in a job with s5cmd gets only the large objects that s5cmd did not finish.
RESUMING = Lanes(small=(1,), large=(2,), most=1)


def lanes_within(settings: MoverSettings, share: int, volumes: int) -> Lanes:
    """A lane of each kind for each volume, so that none waits for another's disk; with s5cmd only the resuming lanes.

    Small objects share the workers, and later what large ones do not need. A large object gets as many connections on
    each volume as it would have alone, if that many are left. With fewer connections than volumes, several volumes
    share a lane.
    """
    if settings.tool == "s5cmd":
        return RESUMING
    streams = settings.large_workers * settings.part_concurrency
    left = max(streams, min(share - settings.workers, streams * volumes))
    large = _divided(left, volumes)
    return Lanes(_divided(settings.workers, volumes), large, max(settings.workers, share - sum(large)))


def streams_for(settings: MoverSettings, size: int, part_size: int) -> int:
    """How many connections a large object of `size` bytes uses at once, in parts of `part_size` bytes (0: in one)."""
    if settings.tool == "s5cmd":  # it has a process for each object
        return settings.part_concurrency
    return min(settings.part_concurrency, -(-size // part_size)) if part_size else 1


def _divided(count: int, volumes: int) -> tuple[int, ...]:
    lanes = min(count, max(1, volumes))
    return tuple(count // lanes + (number < count % lanes) for number in range(lanes))


class Permits:
    """A limit for connections, in use or kept idle for the next request. Shared by threads.

    An owner of idle connections provides `spare`, which closes some and returns how many: it is called before anyone
    waits. A thread must not wait for a permit while it holds others, except those of `take_some`, which never take the
    last one.
    """

    def __init__(self, limit: int, spare: Callable[[], int] = lambda: 0) -> None:
        self.limit = limit
        self.spare = spare
        self._used = 0
        self._in_sets = 0
        self._changed = threading.Condition()  # reentrant: `spare` enters it again

    def take(self) -> None:
        """Take one permit; waits until one is free."""
        with self._changed:
            while not self._is_free():
                self._changed.wait()
            self._used += 1

    def take_some(self, wanted: int) -> int:
        """Take up to `wanted` without waiting, perhaps 0; at least one stays for callers of `take`."""
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
        """Permits of `take_some` that `spare` is about to report no longer belong to a set."""
        with self._changed:
            self._in_sets -= count

    def tell(self) -> None:
        """A connection became idle: a waiting thread may close it."""
        with self._changed:
            self._changed.notify_all()

    def _is_free(self) -> bool:
        if self._used >= self.limit:
            self._used -= self.spare()
        return self._used < self.limit


class Turns:
    """Limits how many threads use boto3 at once; a thread may nest turns."""

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
