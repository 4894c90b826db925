# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which volumes are in use, and by how many threads: descriptors are closed only when no thread needs them any more."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping

from .job_volume import JobVolume
from .open_volume import OpenVolume


class VolumesInUse:
    """The open volumes, and those that were taken out and are not closed yet. Thread-safe.

    `open` of a JobVolume is changed here only, under the same lock as the numbers of users.
    """

    def __init__(self, volumes: Mapping[str, JobVolume]) -> None:
        """`volumes`: those of the job, by name."""
        self._volumes = volumes
        self._lock = threading.Lock()
        self._users: Counter[OpenVolume] = Counter()  # threads that must not see the descriptors closed
        self._retired: list[OpenVolume] = []

    @property
    def by_number(self) -> dict[int, OpenVolume]:
        return {opened.id: opened for volume in self._volumes.values() if (opened := volume.open)}

    def comes(self, opened: OpenVolume) -> None:
        with self._lock:
            self._volumes[opened.name].comes(opened)

    def retire(self, opened: OpenVolume, reason: str) -> bool:
        """Use it no more; False if that was said already. It is closed by `close_retired`."""
        known = self._volumes[opened.name]
        with self._lock:
            if known.open is not opened:
                return False
            known.goes(reason)
            self._retired.append(opened)
        return True

    def hold(self, volume: OpenVolume) -> None:
        """The descriptors stay the volume's own until `let_go`, which another thread may call."""
        with self._lock:
            self._users[volume] += 1

    def let_go(self, volume: OpenVolume) -> None:
        with self._lock:
            self._is_used_less(volume)

    def _is_used_less(self, volume: OpenVolume) -> None:
        self._users[volume] -= 1
        if not self._users[volume]:
            del self._users[volume]

    @contextlib.contextmanager
    def borrowed(self, number: int | None = None) -> Iterator[list[OpenVolume]]:
        """The open volumes, or the one of this number; their descriptors stay their own inside the block."""
        with self._lock:
            volumes = [volume for volume in self.by_number.values() if number in (None, volume.id)]
            self._users.update(volumes)
        try:
            yield volumes
        finally:
            with self._lock:
                for volume in volumes:
                    self._is_used_less(volume)

    @property
    def retired(self) -> list[OpenVolume]:
        """What was taken out, and is not closed yet."""
        with self._lock:
            return list(self._retired)

    def close_retired(self, busy: Container[int] = (), known: Collection[OpenVolume] | None = None) -> None:
        """Close what was taken out, but for the volumes whose `id()` is in `busy` and those that are held.

        `known`: only these.
        """
        with self._lock:
            idle = [volume for volume in self._retired if id(volume) not in busy and volume not in self._users]
            idle = [volume for volume in idle if known is None or volume in known]
            self._retired = [volume for volume in self._retired if volume not in idle]
        for volume in idle:
            volume.close()

    def close(self) -> None:
        """Close all of them, whoever uses them."""
        with self._lock:
            opened = [*self.by_number.values(), *self._retired]
            self._retired.clear()
            for volume in self._volumes.values():
                volume.open = None
        for each in opened:
            each.close()
