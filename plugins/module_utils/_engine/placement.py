# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Where the next object goes: a pure decision over the volumes' space and load."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class VolumeSpace:
    """One usable volume at one moment; all sizes in bytes.

    `high` and `low` are the watermarks, `used` what lies there durably, `in_flight` what is on its way (the caller adds
    what it places, so that one look at the machine serves a whole batch). `largest` is the high watermark it would have
    when empty; None: `high`.
    """

    id: int
    high: int
    low: int
    used: int
    in_flight: int
    largest: int | None = None


class Placement:
    """Chooses volumes with hysteresis: one that reached its high watermark rests until it is below the low one."""

    def __init__(self) -> None:
        self._resting: set[int] = set()

    def choose(self, size: int, volumes: Iterable[VolumeSpace]) -> int | None:
        """The id of the volume for an object of `size` bytes, or None: wait, no volume has room now.

        Of those with room the one with the least in flight, so that all are busy whatever their speed; among equals
        the one with the most room left.
        """
        best: VolumeSpace | None = None
        for volume in volumes:
            self._rest_or_rise(volume)
            if volume.id in self._resting:
                continue
            if volume.used + volume.in_flight + size > volume.high:
                # Only a volume that nearly is full rests: one large object that does not fit is no reason.
                if volume.used + volume.in_flight > volume.low:
                    self._resting.add(volume.id)
                continue
            if best is None or _rank(volume) < _rank(best):
                best = volume
        return best.id if best else None

    def _rest_or_rise(self, volume: VolumeSpace) -> None:
        if volume.id in self._resting and volume.used + volume.in_flight <= volume.low:
            self._resting.discard(volume.id)


def _rank(volume: VolumeSpace) -> tuple[int, int]:
    return volume.in_flight, volume.used + volume.in_flight - volume.high


def fits_nowhere(size: int, volumes: Iterable[VolumeSpace]) -> bool:
    """Whether an object is larger than every volume could ever take, even an empty one."""
    return all(size > (volume.high if volume.largest is None else volume.largest) for volume in volumes)
