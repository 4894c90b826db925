# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The committer of the source unit: groups of proven objects become durable, then staged.

First the bytes are made durable, then the names, then the ledger records the group in one transaction. Each volume has
a queue with its own thread that does all the waiting for its disk, so that a slow disk does not delay the others.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ....core import workers
from ....core.bounded_notes import Notes
from ....ledger.ledger import Staged
from ....ledger.source_ports import SourceLedger
from ....volumes.open_volume import OpenVolume, start_writeback
from ....volumes.placement import Pace
from ....volumes.volume_set import VolumeSet
from ...counters import Counters
from ...crew import Crew
from ...flight import Flight, Item
from ...switches import Switches
from .fetching import Fetching
from .group_results import GroupResults, publish, sync
from .volume_groups import Group, VolumeGroups

if TYPE_CHECKING:
    from ....config.job_file import Job

_LARGE_AT_ONCE = 1000  # large objects whose parts come meanwhile, or came and were abandoned


class Committer:
    """Has a queue for every volume. `add` may be called from any thread; no queue runs before `start`."""

    def __init__(
        self,
        job: Job,
        ledger: SourceLedger,
        volumes: VolumeSet,
        flight: Flight,
        fetching: Fetching,
        crew: Crew,
        counters: Counters,
        switches: Switches,
    ) -> None:
        self._job = job
        self._volumes = volumes
        self._flight = flight
        self._crew = crew
        self._results = GroupResults(ledger, volumes, flight, fetching, counters, switches)
        self._is_running = False
        # By the open volume, not its number: a volume that went away and came back has other descriptors.
        self.queues: dict[int, VolumeCommitter] = {}

    def start(self) -> None:
        self._is_running = True

    def add(self, proven: Sequence[tuple[Item, Staged]]) -> None:
        """Take proven objects, of any volumes."""
        by_queue: dict[VolumeCommitter, list[tuple[Item, Staged]]] = {}
        with self._flight.lock:
            for item, staged in proven:
                by_queue.setdefault(self._queue_of(item.volume), []).append((item, staged))
            due = [queue for queue, arrived in by_queue.items() if queue.groups.take(arrived)]
        for queue in due:
            queue.wake.set()

    def write_back(self, object_id: int) -> None:
        """A part of an object arrived: start writing it to disk. Never blocks; any thread may call this."""
        with self._flight.lock:
            item = self._flight.get(object_id)
            if item is None:
                return
            queue = self._queue_of(item.volume)
            queue.groups.part_came(item)
        queue.wake.set()

    def _queue_of(self, volume: OpenVolume) -> VolumeCommitter:
        queue = self.queues.get(id(volume))
        if queue is None:
            groups = VolumeGroups(volume, self._job, self._flight, self._everything_waits)
            is_over = partial(self._is_over, groups)
            queue = self.queues[id(volume)] = VolumeCommitter(groups, self._results, self._crew, is_over)
            if self._is_running:
                self._crew.spawn(queue.run, f"committer-{volume.name}", volume.id)
        return queue

    def _everything_waits(self) -> bool:
        """Whether everything in flight is proven. Under the flight's lock."""
        return sum(queue.groups.held for queue in self.queues.values()) == len(self._flight)

    def _is_over(self, groups: VolumeGroups) -> bool:
        """Whether a volume is gone and nothing waits for it any more."""
        volume = groups.volume
        with self._flight.lock:
            if groups.held or self._volumes.open.get(volume.id) is volume:
                return False
            self.queues.pop(id(volume), None)
            return True

    def stop(self) -> None:
        for queue in list(self.queues.values()):
            queue.wake.set()

    def commit_rest(self) -> None:
        """At the end: commit what is proven, so that it need not be fetched again."""
        for queue in self.queues.values():
            queue.commit_rest()


class VolumeCommitter:
    """The thread of one volume. It ends with the unit, or when `is_over`: nothing waits and the volume is gone."""

    def __init__(self, groups: VolumeGroups, results: GroupResults, crew: Crew, is_over: Callable[[], bool]) -> None:
        self.groups = groups
        self.wake = threading.Event()
        self._results = results
        self._crew = crew
        self._is_over = is_over
        self._clock = MediumClock(groups.volume.load.pace)

    def run(self) -> None:
        while not self._crew.ending.is_set():
            workers.beat()
            self.wake.clear()
            self._start_writing()
            group = self.groups.next_group()
            if group:
                self.commit(group)
            elif self._is_over():
                return
            else:
                workers.idle()
                self.wake.wait(0.02 if self.groups.held else 1.0)
        self.commit_rest()

    def commit_rest(self) -> None:
        while group := self.groups.next_group(rest=True):
            self.commit(group)

    def _start_writing(self) -> None:
        """Let the disk write while the group still grows; this may block for as long as the disk needs."""
        for path, part_of in self.groups.take_unwritten():
            with self._clock.waiting(part_of), contextlib.suppress(OSError):
                start_writeback(path)  # a write error shows again when the file is synced

    def commit(self, group: Group) -> None:
        """Make a group durable and record it; what cannot be made durable is fetched again."""
        object_ids = [item.row.id for item, _staged in group.items]
        large = object_ids if group.each_alone else []
        try:
            with self._clock.waiting():
                sync(group)
            with group.volume.names_held():
                with self._clock.waiting():
                    self._results.leave_out(group, publish(group))
                self._clock.group_ended(group.bytes, group.since, large)
                self._start_writing()  # what arrived meanwhile keeps the disk busy while the ledger is written
                refused = self._results.record(group)
        except OSError as error:
            self._clock.group_failed(large)
            self._results.give_up(group, error)
        else:
            self._results.recorded(group, refused)
        self.groups.let_go(object_ids)
        self._results.ended(group.volume)


class MediumClock:
    """How long a medium takes for the groups of one volume, from which its pace is learned. Used by one thread.

    Large objects are named by their ids.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._last_end = 0.0
        self._waited = 0.0  # seconds since the last group, but for parts
        self._waited_for_parts: Notes[int, float] = Notes(_LARGE_AT_ONCE)  # seconds, by large object

    @contextlib.contextmanager
    def waiting(self, part_of: int = 0) -> Iterator[None]:
        """The caller waits for the medium; `part_of`: for a part of this large object, of which not all has come."""
        started = time.monotonic()
        with workers.at_medium():
            yield
        seconds = time.monotonic() - started
        if part_of:
            self._waited_for_parts[part_of] = self._waited_for_parts.get(part_of, 0.0) + seconds
        else:
            self._waited += seconds

    def group_ended(self, size: int, since: float, large: Sequence[int] = ()) -> None:
        """A group of `size` bytes, whose first object came at `since` (monotonic seconds), is durable.

        A disk that was waited for was busy with it since the last group, or its start. For the parts of `large` objects
        it was waited for before all of them came, and while others became durable.
        """
        now = time.monotonic()
        elapsed = now - max(self._last_end, since)
        waited = self._waited + self._forget_parts(large)
        if large:
            elapsed = max(elapsed, waited)
        self._pace.learn(size, elapsed if waited > elapsed / 4 else waited)
        self._last_end, self._waited = now, 0.0

    def group_failed(self, large: Sequence[int] = ()) -> None:
        """Nothing is learned from a group that did not become durable: how long that took says nothing of the next."""
        self._forget_parts(large)
        self._last_end, self._waited = time.monotonic(), 0.0

    def _forget_parts(self, large: Sequence[int]) -> float:
        return sum(self._waited_for_parts.pop(number, 0.0) for number in large)
