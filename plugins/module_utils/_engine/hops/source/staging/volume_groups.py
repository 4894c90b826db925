# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Proven objects that wait for one volume, and when they are committed as a group."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ....ledger.ledger import Staged
from ....volumes.open_volume import OpenVolume
from ...flight import Flight, Item

if TYPE_CHECKING:
    from ....config.job_file import Job

_WORTH_WRITING = 64 * 1024  # bytes; smaller files are written by the syncfs of their group


@dataclass(slots=True)
class Group:
    """Proven objects on one volume that wait to be committed as a group; `each_alone`: synced file by file."""

    volume: OpenVolume
    each_alone: bool = False
    items: list[tuple[Item, Staged]] = field(default_factory=list)
    bytes: int = 0
    since: float = field(default_factory=time.monotonic)

    def take(self, item: Item, staged: Staged) -> None:
        if not self.items:
            self.since = time.monotonic()
        self.items.append((item, staged))
        self.bytes += item.row.size


class Unwritten(NamedTuple):
    """A file that the disk may start to write. `part_of`: the large object of which a part came, by its id; 0: none."""

    path: str
    part_of: int = 0


class VolumeGroups:
    """What waits for one volume. Large objects are committed and synced one by one, the others in groups.

    Any thread may call these, also while holding the flight's lock, which guards all of it. `everything_waits` says
    whether everything in flight is proven, and is called under that lock.
    """

    def __init__(self, volume: OpenVolume, job: Job, flight: Flight, everything_waits: Callable[[], bool]) -> None:
        self.volume = volume
        self.held = 0  # objects here, including those of the group that is being committed
        self._job = job
        self._flight = flight
        self._everything_waits = everything_waits
        self._small = Group(volume)
        self._large = Group(volume, each_alone=True)
        self._unwritten: list[Unwritten] = []

    def take(self, proven: Sequence[tuple[Item, Staged]]) -> bool:
        """Returns whether there is something to do at once. If not, the groups are looked at again in a moment."""
        with self._flight.lock:
            were_empty = not self.held
            for item, staged in proven:
                is_large = self._job.mover.is_large(item.row.size)
                (self._large if is_large else self._small).take(item, staged)
                if item.row.size >= _WORTH_WRITING and not is_large:
                    self._unwritten.append(Unwritten(item.path))
            self.held += len(proven)
            self._flight.held.take([item.row.id for item, _staged in proven])
            is_due = self._large.items or self._unwritten or (self._small.items and self._is_ready(self._small))
            return were_empty or bool(is_due)

    def part_came(self, item: Item) -> None:
        """A part of an object that does not wait here yet is in its file."""
        with self._flight.lock:
            self._unwritten.append(Unwritten(item.path, item.row.id))

    def take_unwritten(self) -> list[Unwritten]:
        """The files that the caller is about to let the disk write."""
        with self._flight.lock:
            files, self._unwritten = self._unwritten, []
        return files

    def next_group(self, *, rest: bool = False) -> Group | None:
        """A group to be committed now; `rest`: even if it could grow."""
        with self._flight.lock:
            if self._large.items:
                group, self._large = self._large, Group(self.volume, each_alone=True)
            elif self._small.items and (rest or self._is_ready(self._small)):
                group, self._small = self._small, Group(self.volume)
            else:
                return None
            return group

    def _is_ready(self, group: Group) -> bool:
        policy = self._job.group
        return (
            len(group.items) >= policy.objects
            or group.bytes >= policy.bytes
            or time.monotonic() - group.since >= policy.seconds
            or self._everything_waits()
            # The other half of the window arrives while this half is made durable.
            or group.bytes >= self.volume.load.window(self._job) / 2
        )

    def let_go(self, object_ids: Collection[int]) -> None:
        """The objects of a group are recorded, or given up."""
        with self._flight.lock:
            self.held -= len(object_ids)
        self._flight.held.let_go(object_ids)
