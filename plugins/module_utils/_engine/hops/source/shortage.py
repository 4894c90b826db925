# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""No volume takes the next object: wait, make room, mark it as failed, or end the run."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...core.errors import LocalError, Trouble
from ...core.model import State
from ...ledger.ledger import Failure, Row
from ...ledger.source_ports import SourceCopies, SourceObjects
from ...volumes.placement import VolumeSpace, fits_nowhere, is_too_large_for_files
from ...volumes.volume_set import VolumeSet
from ..activity import Activity
from ..backlog import Backlog
from ..flight import Flight
from ..setbacks import Setbacks
from ..switches import Switches
from .next_hop import NextHop
from .staging.sweeping import Sweeping

if TYPE_CHECKING:
    from ...config.job_file import Job

_log = logging.getLogger("snowsync.source")


class FullVolumes:
    """Whether a run ends because the volumes are full, and nothing will free space. Used by the feeder's thread.

    `is_full`: one pass has placed everything that they have room for.
    """

    def __init__(
        self,
        job: Job,
        objects: SourceObjects,
        volumes: VolumeSet,
        setbacks: Setbacks,
        next_hop: NextHop,
        *,
        until: str,
    ) -> None:
        self._job = job
        self._objects = objects
        self._volumes = volumes
        self._setbacks = setbacks
        self._next_hop = next_hop
        self._until = until
        self._seems_full = False
        self.is_full = False

    def has_placed(self) -> None:
        """An object was placed: there is room after all."""
        self._seems_full = False

    def waits_in_vain(self) -> None:
        """Nothing is in flight, and there is no room: end the run if no space will be freed."""
        hopeless = not self._room_is_coming() if self._until == "once" else self._is_stuck()
        self.is_full = hopeless and self._seems_full  # twice, since space may have been freed after the first check
        self._seems_full = hopeless
        self._volumes.occupancy.expire()

    def _is_stuck(self) -> bool:
        """Whether what is on the volumes stays there in this run because the destination refused it."""
        if self._next_hop.is_alone or self._volumes.absent or self._volumes.draining or not self._next_hop.has_ended():
            return False
        return self._objects.waiting(State.STAGED) and not self._next_hop.is_releasing()

    def _room_is_coming(self) -> bool:
        if self._volumes.coming:
            return True
        if self._next_hop.is_alone or self._next_hop.has_refused:
            return False
        if self._job.keep_staged and not self._objects.waiting(State.STAGED):
            return False
        on_volumes = {volume.id for volume in self._volumes.placeable()}
        staged = self._objects.work(State.STAGED, after_id=0, limit=1, volumes=on_volumes)
        return any(not self._setbacks.is_given_up(row) for row in staged) or self._next_hop.is_releasing()


class ReplacedGenerations:
    """Older generations on the volumes, whose objects have changed since: they make room for others."""

    def __init__(
        self, copies: SourceCopies, sweeping: Sweeping, volumes: VolumeSet, backlog: Backlog, switches: Switches
    ) -> None:
        self._copies = copies
        self._sweeping = sweeping
        self._volumes = volumes
        self._backlog = backlog
        self._switches = switches

    def make_room(self) -> bool:
        """Remove those that are obsolete. True if others are to be delivered before newer ones are fetched."""
        if not self._copies.has_copies():
            return False
        self._sweeping.make_room()
        restored = self._copies.deliver_older_first({volume.id for volume in self._volumes.placeable()})
        if restored:
            _log.info("no space on the volumes: delivering the older staged version of %d changed objects", restored)
            self._backlog.clear()
            self._backlog.rewind()
            self._switches.staged.set()
        return bool(restored)


class Shortage:
    """What happens to an object for which no volume was found. Used by the feeder's thread."""

    def __init__(
        self,
        job: Job,
        volumes: VolumeSet,
        flight: Flight,
        setbacks: Setbacks,
        activity: Activity,
        full: FullVolumes,
        replaced: ReplacedGenerations,
        *,
        until: str,
    ) -> None:
        self._job = job
        self._volumes = volumes
        self._flight = flight
        self._setbacks = setbacks
        self._activity = activity
        self._full = full
        self._replaced = replaced
        self._until = until

    def is_settled(self, rows: deque[Row], spaces: list[VolumeSpace]) -> bool:
        """Whether the first of `rows` was taken away since no volume can ever hold it; otherwise it waits."""
        if not spaces:
            self._wait_for_volume()
            return False
        if any(space.inflow.is_busy for space in spaces):
            return False  # their disks are busy: more objects would only wait in memory
        if not self._volumes.absent and not self._volumes.draining and fits_nowhere(rows[0].size, spaces):
            row = rows.popleft()
            self._setbacks.give_up(Failure(row, "source", *too_large(row.size, spaces), "failed"))
            return True
        self._wait_for_space(spaces)
        return False

    def _wait_for_volume(self) -> None:
        why = self._volumes.why_not_placeable()
        self._activity.status = f"waiting for a volume: {why}"
        if self._until == "once" and not (self._flight or self._volumes.coming):
            raise LocalError(Trouble.IO, f"find a volume for job {self._job.job}", why)

    def _wait_for_space(self, spaces: list[VolumeSpace]) -> None:
        self._activity.status = f"waiting for space on {', '.join(self._why_full(spaces))}"
        if self._flight or self._replaced.make_room():
            return
        if self._until != "forever":
            self._full.waits_in_vain()

    def _why_full(self, spaces: list[VolumeSpace]) -> Iterator[str]:
        reasons = {space.id: space.why_full for space in spaces}
        for volume in self._volumes.placeable():
            reason = reasons.get(volume.id, "")
            yield f"{volume.name} ({reason})" if reason else volume.name


def too_large(size: int, spaces: list[VolumeSpace]) -> tuple[Trouble, str]:
    """The trouble and the message for an object that fits on no volume."""
    if is_too_large_for_files(size, spaces):
        fix = "add a volume with ext4 or XFS, or raise the process's file size limit"
        return Trouble.TOO_LARGE, f"{size} bytes are too large for one file on any volume (EFBIG); {fix}"
    return Trouble.SPACE, f"{size} bytes are more than any volume can hold; add a larger volume or raise its limit"
