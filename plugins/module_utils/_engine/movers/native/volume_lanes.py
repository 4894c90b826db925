# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The lanes of a mover, by the volume whose files they read and write."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from .small_lane import SmallLane
from .stream_lane import StreamLane

_Lane = TypeVar("_Lane", SmallLane, StreamLane)


class VolumeLanes(Generic[_Lane]):
    """A lane for each volume, since its threads may block for as long as the disk is busy. Thread-safe.

    There are as many lanes as `widths`: with fewer connections than volumes, some volumes share one; the order in which
    they come decides. `make` gets the number and width of a lane, and the number of the volume that first needs it.
    """

    def __init__(self, widths: Sequence[int], make: Callable[[int, int, int], _Lane]) -> None:
        self._widths = widths
        self._make: Callable[[int, int, int], _Lane] = make
        self._lock = threading.Lock()
        self._numbers: dict[int, int] = {}  # of the lanes, by volume
        self._lanes: dict[int, _Lane] = {}  # by their numbers
        self._by_volume: dict[int, _Lane] = {}
        self._is_closed = False

    def known(self, volume: int) -> _Lane | None:
        """The lane of a volume that has used one already."""
        return self._by_volume.get(volume)

    def of(self, volume: int) -> _Lane:
        """The lane of a volume."""
        with self._lock:
            lane = self._by_volume.get(volume)
            if lane is None:
                lane = self._by_volume[volume] = self._next(volume)
        return lane

    def change(self, widths: Sequence[int], volumes: Iterable[int]) -> dict[int, _Lane]:
        """Lanes that are made from now on have other widths; those that exist, by number. `volumes` have come."""
        with self._lock:
            self._widths = widths
            for volume in volumes:
                self._number(volume)
            return dict(self._lanes)

    def _number(self, volume: int) -> int:
        return self._numbers.setdefault(volume, len(self._numbers) % len(self._widths))

    def _next(self, volume: int) -> _Lane:
        """The lane for another volume: a new one while there are connections for it."""
        number = self._number(volume)
        if number in self._lanes:
            return self._lanes[number]
        lane = self._lanes[number] = self._make(number, self._widths[number], volume)
        if self._is_closed:
            lane.close()
        return lane

    def begin_closing(self) -> None:
        """The first half of `close`, which waits for nothing."""
        with self._lock:
            self._is_closed = True
            lanes = list(self._lanes.values())
        for lane in lanes:
            lane.begin_closing()

    def close(self) -> None:
        """Interrupt requests in flight in all lanes."""
        self.begin_closing()
        for lane in self._lanes.values():
            lane.close()
