# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The rows that are next to be sent: batches of small objects per volume, large objects one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...ledger.ledger import Row
from ...volumes.volume_set import VolumeSet
from ..backlog import VolumeBacklog
from ..crew import Crew
from .proving.batches import Batches

if TYPE_CHECKING:
    from ...config.job_file import Group

_BATCHES = 3  # in flight per volume: one being sent, one draining, one being proven


class StagedQueue:
    """Used by the feeder's thread. `policy` limits a batch."""

    def __init__(self, backlog: VolumeBacklog, volumes: VolumeSet, batches: Batches, crew: Crew, policy: Group) -> None:
        self.backlog = backlog
        self._volumes = volumes
        self._batches = batches
        self._crew = crew
        self._policy = policy

    def fill(self) -> None:
        """Read more if a volume that has room for a batch has no rows."""
        self._fill_for({number for number in list(self._volumes.open) if self._has_room(number)})

    def pick_some(self, count: int) -> list[Row]:
        """Some arbitrary rows, whichever volumes they are on; doubtful ones that were not found before others."""
        self._fill_for(set(self._volumes.open))
        return self.backlog.pick_some(count, first=self._batches.looked)

    def _fill_for(self, hungry: set[int]) -> None:
        reachable = set(self._volumes.open) if self._volumes.absent else None  # None: all can be sent
        self.backlog.fill_for(hungry, self._policy.objects, reachable)

    def _has_room(self, volume: int) -> bool:
        return self._batches.open[volume] < _BATCHES

    def batches(self) -> Iterator[list[Row]]:
        """The next batch of each volume that has room for one when its turn comes."""
        for number, rows in self.backlog.by_volume.items():
            if rows and self._has_room(number) and not self._crew.stopping:
                yield next_batch(rows, self._policy)


def next_batch(rows: deque[Row], policy: Group) -> list[Row]:
    """Take one batch; an object that is larger than a batch is one of its own."""
    taken: list[Row] = []
    size = 0
    while rows and len(taken) < policy.objects and (not taken or size + rows[0].size <= policy.bytes):
        taken.append(rows.popleft())
        size += taken[-1].size
    return taken
