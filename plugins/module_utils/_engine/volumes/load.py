# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What is in flight to a volume, what it accepts, and what that means for the placement of more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .filesystem_check import NO_LIMIT
from .placement import FileRoom, Fullness, Inflow, Pace, VolumeSpace, room_for_files

if TYPE_CHECKING:
    import os

    from ..config.job_file import Job

_WINDOW_GROUPS = 4  # groups in flight to a volume, however fast it is


@dataclass(slots=True)
class Load:
    """The load of one volume in use. In-flight values are changed and read under the unit's lock."""

    in_flight: int = 0  # bytes handed to a mover and not yet durable
    files_in_flight: int = 0
    pace: Pace = field(default_factory=Pace)
    fullness: Fullness = field(default_factory=Fullness)
    largest_file: int = NO_LIMIT  # bytes, as far as it is known

    def expect(self, size: int) -> None:
        """An object is on its way here."""
        self.in_flight += size
        self.files_in_flight += 1

    def expect_no_more(self, size: int) -> None:
        """It is durable, or will not come."""
        self.in_flight -= size
        self.files_in_flight -= 1

    def took(self, size: int, now: float) -> None:
        """It is durable."""
        self.expect_no_more(size)
        self.fullness.took(now, size)

    def takes_no_file_of(self, size: int) -> None:
        """Its filesystem refused a file for its size."""
        self.largest_file = min(self.largest_file, size - 1)

    def window(self, job: Job) -> int:
        """How many bytes may be on their way here at once, beside one object."""
        return self.fullness.window(self.pace.window(_WINDOW_GROUPS * job.group.bytes))


def space_of(
    number: int,
    limit: int | None,
    load: Load,
    job: Job,
    occupied: int,
    status: os.statvfs_result,
    now: float,
    silent: float,
) -> VolumeSpace:
    """A volume for the placement. `limit` and `occupied` in bytes; `status` is what its filesystem says of itself.

    `silent`: for how many seconds somebody has waited for its disk.
    """
    rules = job.space
    total = status.f_blocks * status.f_frsize
    available = max(0, status.f_bavail * status.f_frsize - rules.reserve)
    used = total - rules.reserve - available
    usable = empty = max(0, total - rules.reserve)
    if limit is not None:
        # Other files on the same filesystem do not count against the limit, but their space is gone all the same.
        empty = min(limit, usable)
        usable = min(limit, occupied + available)
        used = occupied
    return VolumeSpace(
        id=number,
        high=int(usable * rules.high_watermark),
        low=int(usable * rules.low_watermark),
        used=used,
        inflow=Inflow(load.in_flight, load.pace.speed, load.window(job), load.pace.is_measured, silent),
        largest=int(empty * rules.high_watermark),
        files=FileRoom(
            room_for_files(status, rules.high_watermark, load.files_in_flight),
            rises_with=int(status.f_files * (rules.high_watermark - rules.low_watermark)),
            largest=load.largest_file,
        ),
        refusal=load.fullness.why if load.fullness.rests(now) else "",
    )
