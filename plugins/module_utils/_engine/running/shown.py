# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What a unit shows of itself in the status line of its process."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..core import workers
from ..core.workers import Doing
from ..hops.unit import Unit

_WORTH_TELLING = 30.0  # a disk that does not respond for this long is named in the status


@dataclass(frozen=True)
class Shown:
    """A snapshot of a unit; `size` is the number of bytes that it moved."""

    name: str
    status: str = "starting"
    objects: int = 0
    size: int = 0
    failures: int = 0

    @property
    def text(self) -> str:
        moved = f"{self.objects} objects, {self.size / 1_048_576:.1f} MiB moved"
        return f"{self.name}: {self.status}; {moved}" + (f", {self.failures} failures" if self.failures else "")


def shown_of(unit: Unit) -> Shown:
    counters = unit.counters
    moved = counters.moved
    return Shown(unit.name, unit.activity.status, moved.objects, moved.bytes, counters.failures.count)


def slow_disks() -> list[str]:
    """The threads of this process that have been waiting for a disk for long."""
    return [
        f"{look.name} has been waiting {look.seconds:.0f} s for its disk"
        for look in workers.looks(time.monotonic())
        if look.doing is Doing.MEDIUM and look.seconds >= _WORTH_TELLING
    ]
