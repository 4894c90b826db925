# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The committer of the source unit: groups of proven objects become durable, then staged.

First the bytes are made durable, then the names, then the ledger records the group in one transaction. Each volume has
a queue with its own thread that does all the waiting for its disk, so that a slow disk does not delay the others.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...core import keys, workers
from ...core.errors import Trouble, local_trouble
from ...ledger.ledger import Row, Staged
from ...ledger.source_ports import SourceLedger
from ...volumes.open_volume import OpenVolume, start_writeback, sync_file
from ...volumes.volume_set import VolumeSet
from ..counters import Counters
from ..crew import Crew
from ..flight import Flight, Item
from ..switches import Switches
from .fetching import Fetching
from .sweeping import discard

if TYPE_CHECKING:  # config/job_file.py imports pydantic
    from ...config.job_file import Job

_log = logging.getLogger("snowsync.source")
# Errors about a single name, which are no reason to give up the rest of the group, or the volume.
_OF_THE_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
_WORTH_WRITING = 64 * 1024  # bytes; smaller files are written by the syncfs of their group


@dataclass(slots=True)
class Group:
    """Proven objects on one volume that wait to be committed as a group; `each_alone`: synced file by file."""

    volume: OpenVolume
    each_alone: bool = False
    items: list[tuple[Item, Staged]] = field(default_factory=list)
    bytes: int = 0
    since: float = field(default_factory=time.monotonic)


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
        *,
        is_large: Callable[[int], bool],
    ) -> None:
        """`is_large` takes a size in bytes."""
        self.job = job
        self.ledger = ledger
        self.volumes = volumes
        self.flight = flight
        self.fetching = fetching
        self.crew = crew
        self.counters = counters
        self.switches = switches
        self._is_large = is_large
        self._is_running = False
        # By the open volume, not its number: a volume that went away and came back has other descriptors.
        self.queues: dict[int, VolumeGroups] = {}

    def start(self) -> None:
        self._is_running = True

    def add(self, item: Item, staged: Staged) -> None:
        is_large = self._is_large(item.row.size)
        with self.flight.lock:
            queue = self._queue_of(item.volume)
            queue.take(item, staged, is_large=is_large)
        queue.wake.set()

    def write_back(self, object_id: int) -> None:
        """A part of an object arrived: start writing it to disk. Never blocks; any thread may call this."""
        with self.flight.lock:
            item = self.flight.get(object_id)
            if item is None:
                return
            queue = self._queue_of(item.volume)
            queue.unwritten.append(item.path)
        queue.wake.set()

    def _queue_of(self, volume: OpenVolume) -> VolumeGroups:
        queue = self.queues.get(id(volume))
        if queue is None:
            queue = self.queues[id(volume)] = VolumeGroups(self, volume)
            if self._is_running:
                self.crew.spawn(queue.run, f"committer-{volume.name}", volume.id)
        return queue

    def everything_waits(self) -> bool:
        """Whether everything in flight is proven. Under the flight's lock."""
        return sum(queue.held for queue in self.queues.values()) == len(self.flight)

    def stop(self) -> None:
        for queue in list(self.queues.values()):
            queue.wake.set()

    def commit_rest(self) -> None:
        """At the end: commit what is proven, so that it need not be fetched again."""
        for queue in self.queues.values():
            queue.commit_rest()


class VolumeGroups:
    """What waits for one volume. Large objects are committed and synced one by one, the others in groups."""

    def __init__(self, committer: Committer, volume: OpenVolume) -> None:
        self._committer = committer
        self.volume = volume
        self.small = Group(volume)
        self.large = Group(volume, each_alone=True)
        self.wake = threading.Event()
        self.held = 0  # objects here, including those of the group that is being committed
        self.unwritten: list[str] = []
        self._last_end = 0.0
        self._seconds = 0.0  # spent waiting for the disk since the last group

    def take(self, item: Item, staged: Staged, *, is_large: bool) -> None:
        """Under the flight's lock."""
        group = self.large if is_large else self.small
        if not group.items:
            group.since = time.monotonic()
        group.items.append((item, staged))
        group.bytes += item.row.size
        self.held += 1
        self._committer.flight.held.take([item.row.id])
        if item.row.size >= _WORTH_WRITING and not is_large:
            self.unwritten.append(item.path)

    def run(self) -> None:
        while not self._committer.crew.ending.is_set():
            workers.beat()
            self.wake.clear()
            self._start_writing()
            group = self._ready_group()
            if group:
                self.commit(group)
            elif self._is_over():
                return
            else:
                workers.idle()
                self.wake.wait(0.02 if self.held else 1.0)
        self.commit_rest()

    def commit_rest(self) -> None:
        while group := self._ready_group(rest=True):
            self.commit(group)

    def _start_writing(self) -> None:
        """Let the disk write while the group still grows; this may block for as long as the disk needs."""
        with self._committer.flight.lock:
            paths, self.unwritten = self.unwritten, []
        with self._measured():
            for path in paths:
                with contextlib.suppress(OSError):  # a write error shows again when the file is synced
                    start_writeback(path)

    @contextlib.contextmanager
    def _measured(self) -> Iterator[None]:
        started = time.monotonic()
        with workers.at_medium():
            yield
        self._seconds += time.monotonic() - started

    def _ready_group(self, *, rest: bool = False) -> Group | None:
        with self._committer.flight.lock:
            if self.large.items:
                group, self.large = self.large, Group(self.volume, each_alone=True)
            elif self.small.items and (rest or self._is_ready(self.small)):
                group, self.small = self.small, Group(self.volume)
            else:
                return None
            return group

    def _is_ready(self, group: Group) -> bool:
        policy, volume = self._committer.job.group, self.volume
        return (
            len(group.items) >= policy.objects
            or group.bytes >= policy.bytes
            or time.monotonic() - group.since >= policy.seconds
            or self._committer.everything_waits()
            # The other half of the window arrives while this half is made durable.
            or group.bytes >= volume.load.window(self._committer.job) / 2
        )

    def _is_over(self) -> bool:
        """Whether the volume is gone and nothing waits for it any more."""
        with self._committer.flight.lock:
            if self.held or self._committer.volumes.open.get(self.volume.id) is self.volume:
                return False
            self._committer.queues.pop(id(self.volume), None)
            return True

    def commit(self, group: Group) -> None:
        """Make a group durable and record it; what cannot be made durable is fetched again."""
        common, volume, count = self._committer, self.volume, len(group.items)
        paths = {item.row.id: keys.to_path(item.row.key, item.row.generation) for item, _ in group.items}
        try:
            with self._measured():
                self._sync(group)
            with volume.names_held():
                with self._measured():
                    self._publish(group, paths)
                self._learn(group)
                self._start_writing()  # what arrived meanwhile keeps the disk busy while the ledger is written
                refused = self._say_staged(group)
        except OSError as error:
            self._give_up(group, error)
        else:
            for staged in refused:
                self._discard(volume, staged.row)
            if group.items:
                self._leave(group, {staged.row.id for staged in refused})
        with common.flight.lock:
            self.held -= count
        common.flight.held.let_go(paths)
        common.volumes.remember(volume.id)
        common.switches.space.set()

    def _learn(self, group: Group) -> None:
        """Update the pace: a disk that was waited for was busy with this group since the last one, or its start."""
        now, waited = time.monotonic(), self._seconds
        elapsed = now - max(self._last_end, group.since)
        self.volume.load.pace.learn(group.bytes, elapsed if waited > elapsed / 4 else waited)
        self._last_end, self._seconds = now, 0.0

    @staticmethod
    def _sync(group: Group) -> None:
        if not group.each_alone:
            group.volume.sync()
            return
        # Not with syncfs, which would wait for everything else that is being written there.
        for item, _ in group.items:
            with contextlib.suppress(FileNotFoundError):  # found by `_publish`
                sync_file(item.path)

    def _say_staged(self, group: Group) -> list[Staged]:
        if not group.items:
            return []
        rows, run_id = [staged for _, staged in group.items], self._committer.counters.run_id
        return self._committer.ledger.staging.commit_staged(rows, group.volume.id, run_id)

    def _publish(self, group: Group, paths: dict[int, str]) -> None:
        """Give every file its name, durably. Files that are gone or cannot be named leave the group."""
        volume = group.volume
        directories: set[str] = set()
        left: list[tuple[tuple[Item, Staged], Trouble, str]] = []
        for entry in group.items:
            path = paths[entry[0].row.id]
            try:
                directories.add(volume.publish(entry[0].row.id, path))
            except FileNotFoundError:
                left.append((entry, Trouble.UNKNOWN, "the fetched file is gone from the volume"))
            except OSError as error:
                volume.prune([os.path.dirname(path)])  # directories that were created for it
                left.append((entry, *_unnamed(volume, error)))
        volume.sync_directories(directories)
        for entry, trouble, message in left:
            group.items.remove(entry)
            self._committer.fetching.not_arrived(entry[0], trouble, message)

    def _give_up(self, group: Group, error: OSError) -> None:
        volume, trouble = group.volume, local_trouble(error)
        message = f"Failed to make {len(group.items)} objects durable on volume {volume.name}: {error.strerror}"
        _log.error("%s; they will be fetched again", message)
        self._committer.fetching.volume_failed(volume, trouble, message)
        for item, _ in group.items:
            self._discard(volume, item.row)
            self._committer.fetching.not_durable(item)

    def _leave(self, group: Group, gone: set[int]) -> None:
        common = self._committer
        size = 0
        with common.flight.lock:
            for item, _ in group.items:
                common.flight.leave(item.row.id)
                common.volumes.committed(group.volume, item.row.size)
                size += item.row.size if item.row.id not in gone else 0
        common.counters.moved.add(len(group.items) - len(gone), size)
        for item, _ in group.items:
            common.fetching.settled(item.row)
        common.switches.staged.set()

    def _discard(self, volume: OpenVolume, row: Row) -> None:
        """Remove a published file that is not to be staged, if the ledger permits it; otherwise keep it."""
        with contextlib.suppress(OSError):  # swept when the volume comes back, or at the next start
            discard(self._committer.ledger, volume, row.key, row.generation)


def _unnamed(volume: OpenVolume, error: OSError) -> tuple[Trouble, str]:
    """The trouble and message for a file that cannot be named; raises the error if it affects more than that file."""
    message = f"volume {volume.name} does not accept the file's name: {error.strerror}"
    if local_trouble(error) is Trouble.SPACE:
        return Trouble.SPACE, message  # each directory of the name needs an inode
    if error.errno in _OF_THE_NAME:
        return Trouble.UNSUPPORTED, message
    raise error
