# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Chooses the volume for the next object, from the volumes' space and load. No side effects."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..core.conditions import OUT_OF_FILES
from ..core.model import MIB
from .filesystem_check import NO_LIMIT

_FIRST_SPEED = 8 * MIB  # bytes per second, until one is measured: little is lost where it is wrong
_WINDOW_SECONDS = 3.0  # one group is being made durable while the next one arrives
_LEAST_WINDOW = 4 * MIB
_FADING = 0.75  # of what was learned, with every group
_FIRST_REST = 5.0  # first pause in seconds of a volume that reports that it is full
_LONGEST_REST = 60.0
_TRUSTED = 256 * MIB  # a volume that took so much since it said that it was full has room
_USUAL_WAIT = 1.0  # seconds that one call to a disk may take without meaning anything
_LEAST_LESSON = 4 * MIB  # in smaller groups what takes the time is each sync, whatever its size


@dataclass(slots=True)
class Pace:
    """How fast a volume makes bytes durable: `speed` in bytes per second."""

    speed: float = _FIRST_SPEED
    _size: float = 0.0
    _seconds: float = 0.0

    @property
    def is_measured(self) -> bool:
        return self._size > 0

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
class Fullness:
    """Fullness that free bytes do not show: a quota, or the filesystem's own needs.

    A volume that refused a file is paused, longer each time, until something becomes durable there again. Then it is
    tried with one object, and with more as it accepts them: the next refusal costs little compared with what it took.
    """

    why: str = ""  # what it said; "" for one that takes what there is room for
    _delay: float = 0.0
    _until: float = 0.0
    _taken: int = 0  # bytes that became durable there since

    def refused(self, now: float, why: str) -> bool:
        """It took no more. False: that was known, from another object that was on its way there."""
        if self.rests(now):
            return False
        is_news = not self.why
        self._delay = min(_LONGEST_REST, self._delay * 2 or _FIRST_REST)
        self._until, self.why, self._taken = now + self._delay, why, 0
        return is_news

    def took(self, now: float, size: int) -> None:
        """`size` bytes became durable there. What was on its way while it refused says nothing."""
        if self.why and not self.rests(now):
            self._delay = 0.0
            self._taken += size
            if self._taken >= _TRUSTED:
                self.why = ""

    def window(self, usual: int) -> int:
        """How many bytes may be on their way there at once, beside one object."""
        return min(usual, max(1, 2 * self._taken)) if self.why else usual

    def rests(self, now: float) -> bool:
        return now < self._until


@dataclass(slots=True)
class Inflow:
    """What is on its way to a volume, and how fast that becomes durable.

    The caller adds what it places, so that one look at the machine serves a whole batch. `speed` (bytes per second) and
    `window` (bytes) are those of the volume's `Pace`; None: no limit. `is_measured`: the speed is more than a guess.
    `silent`: for how many seconds somebody has waited for an answer of the disk.
    """

    bytes: int = 0
    speed: float = 1.0
    window: int | None = None
    is_measured: bool = True
    silent: float = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether as much is on its way as the medium should have waiting."""
        return self.window is not None and self.bytes >= self.window

    @property
    def is_untried(self) -> bool:
        """Whether nothing is known of its speed, and nothing is on its way that will tell."""
        return not (self.is_measured or self.bytes)

    def seconds_with(self, size: int) -> float:
        """How long until an object of `size` bytes would be durable, if it were placed now.

        A disk that has been silent for longer than it needs for what is on its way may hang: expect as long again.
        """
        overdue = max(0.0, self.silent - _USUAL_WAIT - self.bytes / self.speed)
        return (self.bytes + size) / self.speed + overdue


@dataclass(slots=True)
class FileRoom:
    """How many and how large files a filesystem takes, whatever its free bytes."""

    left: int | None = None  # so many more it takes up to its high watermark; None: it does not count them
    rises_with: int = 0  # room for so many lets a volume that rests take objects again
    largest: int = NO_LIMIT  # bytes
    is_rested_for: bool = False  # the volume reached the watermark in files, and not in bytes alone

    @property
    def is_used_up(self) -> bool:
        return self.left is not None and self.left < 1

    @property
    def is_short(self) -> bool:
        """Whether one that was used up would soon be so again."""
        return self.left is not None and self.left < self.rises_with

    def expect(self) -> None:
        """A file more is placed there."""
        self.left = None if self.left is None else self.left - 1


@dataclass(slots=True)
class VolumeSpace:
    """One usable volume at one moment; all sizes in bytes.

    `high` and `low` are the watermarks, `used` what lies there durably. `largest` is the high watermark it would have
    when empty; None: `high`.
    """

    id: int
    high: int
    low: int
    used: int
    inflow: Inflow = field(default_factory=Inflow)
    largest: int | None = None
    files: FileRoom = field(default_factory=FileRoom)
    refusal: str = ""  # what it said when it took no more, while it rests for that

    @property
    def taken(self) -> int:
        """What lies there, and what is on its way."""
        return self.used + self.inflow.bytes

    @property
    def why_full(self) -> str:
        """Why it takes nothing, where free bytes do not show it; "" else."""
        return self.refusal or (OUT_OF_FILES if self.files.is_rested_for else "")

    def expect(self, size: int) -> None:
        """An object of `size` bytes is placed there."""
        self.inflow.bytes += size
        self.files.expect()


class Placement:
    """Chooses volumes with hysteresis: one that reached its high watermark rests until it is below the low one."""

    def __init__(self) -> None:
        self._resting: set[int] = set()

    def choose(self, size: int, volumes: Iterable[VolumeSpace]) -> int | None:
        """The id of the volume for an object of `size` bytes, or None: wait, none has room now, or all are busy.

        Of those with room the one where it is durable soonest, so that all are busy and end together, whatever their
        speed; among equals the one with the most room left. One of unknown speed is tried first: what is guessed of it
        could lose for ever against a slower one.
        """
        best: VolumeSpace | None = None
        for volume in volumes:
            if self.takes(size, volume) and (best is None or _rank(volume, size) < _rank(best, size)):
                best = volume
        return best.id if best else None

    def takes(self, size: int, volume: VolumeSpace) -> bool:
        """Whether a volume takes an object of `size` bytes, whichever is the best one."""
        self._rest_or_rise(volume)
        if volume.id in self._resting or volume.inflow.is_busy or volume.refusal or size > volume.files.largest:
            return False
        if volume.taken + size <= volume.high:
            return True
        # Only a volume that nearly is full rests: one large object that does not fit is no reason.
        if volume.taken > volume.low:
            self._resting.add(volume.id)
        return False

    def _rest_or_rise(self, volume: VolumeSpace) -> None:
        if volume.files.is_used_up:
            self._resting.add(volume.id)
        elif volume.taken <= volume.low and not volume.files.is_short:
            self._resting.discard(volume.id)
        volume.files.is_rested_for = volume.id in self._resting and volume.files.is_short


def _rank(volume: VolumeSpace, size: int) -> tuple[bool, float, int]:
    """The lowest is the best."""
    return not volume.inflow.is_untried, volume.inflow.seconds_with(size), volume.taken - volume.high


def takes_rest(volume: VolumeSpace, size: int, there: int, *, is_limited: bool) -> bool:
    """Whether a volume takes the rest of an object of `size` bytes of which `there` lie on it already.

    A volume that is in use for this object is neither too busy nor too full for it. What lies there counts as used
    where the whole filesystem is the volume's, and does not where it has a limit (`is_limited`).
    """
    needed = volume.taken + size
    within_limit = not is_limited or volume.largest is None or needed <= volume.largest
    if volume.refusal or size > volume.files.largest:
        return False
    return within_limit and needed - there <= volume.high


def fits_nowhere(size: int, volumes: Iterable[VolumeSpace]) -> bool:
    """Whether an object is larger than every volume could ever take, even an empty one."""
    return all(size > _largest(volume) for volume in volumes)


def _largest(volume: VolumeSpace) -> int:
    return min(volume.files.largest, volume.high if volume.largest is None else volume.largest)


def is_too_large_for_files(size: int, volumes: Iterable[VolumeSpace]) -> bool:
    """Whether it is for their filesystems' largest file, and not for their room, that volumes do not take an object."""
    return any(size > volume.files.largest for volume in volumes)


def room_for_files(status: os.statvfs_result, watermark: float, in_flight: int) -> int | None:
    """How many files more a filesystem takes up to the watermark; None for one that does not count them."""
    if not status.f_files:
        return None
    return int(status.f_files * watermark) - (status.f_files - status.f_favail) - in_flight


def is_out_of_files(status: os.statvfs_result, watermark: float) -> bool:
    """Whether a filesystem takes no file more below the watermark."""
    room = room_for_files(status, watermark, 0)
    return room is not None and room < 1
