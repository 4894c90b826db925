# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The lanes of a mover for small objects, and how many requests each may have in flight."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...core import workers
from .errands import Errand
from .held_bytes import held_by_each
from .lane_shares import LaneShares
from .small_lane import SmallLane
from .volume_lanes import VolumeLanes

if TYPE_CHECKING:
    from ...core.model import Head
    from ...store.width import Width
    from .division import Change
    from .lanes import Kit


class LaneCalls(NamedTuple):
    """What lanes tell, as for `SmallLane`."""

    on_room: Callable[[], None] = lambda: None
    on_error: Callable[[BaseException], None] = workers.tell
    on_slow: Callable[[], None] = lambda: None


class _AllFit:
    """Calls `then` once it was called `count` times."""

    def __init__(self, count: int, then: Callable[[], None]) -> None:
        self._left = count
        self._then = then
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self._left -= 1
            is_last = self._left == 0
        if is_last:
            self._then()


class SmallLanes:
    """A lane for each volume, that queues about `capacity` errands. Thread-safe.

    Their widths follow `width`; without, they are `widths` until others are set. The more may be in flight, the fewer
    bytes does each request hold.
    """

    def __init__(
        self, name: str, kit: Kit, widths: Sequence[int], width: Width | None, capacity: int, calls: LaneCalls
    ) -> None:
        self._kit = kit
        self._shares = LaneShares(width, len(widths), self._apply) if width else None
        on_slow = self._shares.slowed if self._shares else calls.on_slow

        def make(number: int, width: int, volume: int) -> SmallLane:
            return SmallLane(
                f"{name}-{number}",
                kit,
                width,
                capacity=capacity,
                on_room=calls.on_room,
                on_slow=on_slow,
                on_error=calls.on_error,
                disk=volume,
            )

        first = self._shares.now.shares if self._shares else widths
        kit.most_held = held_by_each(sum(first))
        self._lanes: VolumeLanes[SmallLane] = VolumeLanes(first, make)

    def has_room(self, volume: int) -> bool:
        """Whether `submit` would not block."""
        lane = self._lanes.known(volume)
        return lane is None or lane.has_room()

    def submit(self, volume: int, *errands: Errand) -> None:
        """Blocks while the lane of the volume is full."""
        if self._shares:
            for errand in errands:
                errand.tell = _counted(self._shares, volume, errand.size, errand.tell)
            self._shares.begin(volume, len(errands))
        self._lanes.of(volume).submit(*errands)

    def set_widths(self, widths: Sequence[int], volumes: Iterable[int], fits: Callable[[], None]) -> None:
        """`fits` is called once no lane has more connections than its width, unless others are set before.

        `volumes` in the order in which they came, which decides about their lanes.
        """
        self._kit.most_held = held_by_each(sum(widths))
        lanes = self._lanes.change(widths, volumes)
        if not lanes:
            fits()
        one_fits = _AllFit(len(lanes), fits)
        for number, lane in lanes.items():
            lane.set_width(widths[number], one_fits)

    def _apply(self, change: Change, volumes: tuple[int, ...]) -> Iterable[object]:
        shares = self._shares
        if shares:
            self.set_widths(change.shares, volumes, lambda: shares.fits(self, change.number))
        return (self,)

    def begin_closing(self) -> None:
        """The first half of `close`, which waits for nothing."""
        self._lanes.begin_closing()

    def close(self) -> None:
        """Interrupt requests in flight."""
        self._lanes.close()


def _counted(
    shares: LaneShares, volume: int, size: int, tell: Callable[[Head | Exception | None], None]
) -> Callable[[Head | Exception | None], None]:
    def told(result: Head | Exception | None) -> None:
        shares.ended((volume,), 0 if result is None or isinstance(result, Exception) else size)
        tell(result)

    return told
