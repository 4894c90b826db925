# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Where the next object goes: a pure decision over the volumes' space and load."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .model import MIB

_FIRST_SPEED = 8 * MIB  # bytes per second, until one is measured: little is lost where it is wrong
_WINDOW_SECONDS = 3.0  # one group is being made durable while the next one arrives
_LEAST_WINDOW = 4 * MIB
_FADING = 0.75  # of what was learned, with every group
_LEAST_LESSON = 4 * MIB  # in smaller groups what takes the time is each sync, whatever its size


@dataclass(slots=True)
class Pace:
    """How fast a volume makes bytes durable: `speed` in bytes per second."""

    speed: float = _FIRST_SPEED
    _size: float = 0.0
    _seconds: float = 0.0

    def learn(self, size: int, seconds: float) -> None:
        """`size` bytes became durable, and `seconds` were spent waiting for that.

        Sums that fade, not a mean of speeds: the sync of one group often makes half of the next one durable too, which
        then seems to take no time.
        """
        if size < _LEAST_LESSON:
            return
        self._size = self._size * _FADING + size
        self._seconds = self._seconds * _FADING + max(seconds, 0.001)
        self.speed = self._size / self._seconds

    def window(self, most: int) -> int:
        """Bytes that may be on their way at once, so that the medium is always busy and the end is never far."""
        return min(most, max(_LEAST_WINDOW, int(self.speed * _WINDOW_SECONDS)))


@dataclass(slots=True)
class VolumeSpace:
    """One usable volume at one moment; all sizes in bytes.

    `high` and `low` are the watermarks, `used` what lies there durably, `in_flight` what is on its way (the caller adds
    what it places, so that one look at the machine serves a whole batch). `largest` is the high watermark it would have
    when empty; None: `high`. `speed` (bytes per second) and `window` are those of its `Pace`; None: no limit.
    """

    id: int
    high: int
    low: int
    used: int
    in_flight: int
    largest: int | None = None
    speed: float = 1.0
    window: int | None = None

    @property
    def is_busy(self) -> bool:
        """Whether as much is on its way as its medium should have waiting."""
        return self.window is not None and self.in_flight >= self.window


class Placement:
    """Chooses volumes with hysteresis: one that reached its high watermark rests until it is below the low one."""

    def __init__(self) -> None:
        self._resting: set[int] = set()

    def choose(self, size: int, volumes: Iterable[VolumeSpace]) -> int | None:
        """The id of the volume for an object of `size` bytes, or None: wait, none has room now, or all are busy.

        Of those with room the one where it is durable soonest, so that all are busy and end together, whatever their
        speed; among equals the one with the most room left.
        """
        best: VolumeSpace | None = None
        for volume in volumes:
            self._rest_or_rise(volume)
            if volume.id in self._resting or volume.is_busy:
                continue
            if volume.used + volume.in_flight + size > volume.high:
                # Only a volume that nearly is full rests: one large object that does not fit is no reason.
                if volume.used + volume.in_flight > volume.low:
                    self._resting.add(volume.id)
                continue
            if best is None or _rank(volume, size) < _rank(best, size):
                best = volume
        return best.id if best else None

    def _rest_or_rise(self, volume: VolumeSpace) -> None:
        if volume.id in self._resting and volume.used + volume.in_flight <= volume.low:
            self._resting.discard(volume.id)


def _rank(volume: VolumeSpace, size: int) -> tuple[float, int]:
    return (volume.in_flight + size) / volume.speed, volume.used + volume.in_flight - volume.high


def takes_rest(volume: VolumeSpace, size: int, there: int, *, is_limited: bool) -> bool:
    """Whether a volume takes the rest of an object of `size` bytes of which `there` lie on it already.

    A volume that is in use for this object is neither too busy nor too full for it. What lies there counts as used
    where the whole filesystem is the volume's, and does not where it has a limit (`is_limited`).
    """
    needed = volume.used + volume.in_flight + size
    within_limit = not is_limited or volume.largest is None or needed <= volume.largest
    return within_limit and needed - there <= volume.high


def fits_nowhere(size: int, volumes: Iterable[VolumeSpace]) -> bool:
    """Whether an object is larger than every volume could ever take, even an empty one."""
    return all(size > (volume.high if volume.largest is None else volume.largest) for volume in volumes)
