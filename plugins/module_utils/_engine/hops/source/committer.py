# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The committer of the source unit: groups of proven objects become durable, then staged.

Bytes durable, then names durable, then the ledger says so, in one transaction a group. Each volume has a lane, a thread
of its own, that does all the waiting for its medium: a slow one holds up no other.
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
from ...ledger.ports import SourceLedger
from ...volumes.open_volume import OpenVolume, start_writeback, sync_file
from ...volumes.volume_set import VolumeSet
from ..counters import Counters
from ..crew import Crew
from ..flight import Flight, Item
from ..switches import Switches
from .fetching import Fetching
from .sweeping import discard

if TYPE_CHECKING:  # config/job_file.py brings pydantic
    from ...config.job_file import Job

_log = logging.getLogger("snowsync.source")
# What a filesystem says of one name, which is no reason to give up the others' group, or the volume.
_OF_THE_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
_WORTH_WRITING = 64 * 1024  # bytes; smaller files are left to the syncfs of their group


@dataclass(slots=True)
class Group:
    """Objects proven on one volume that wait for their group's commit; `each_alone`: synced file by file."""

    volume: OpenVolume
    each_alone: bool = False
    items: list[tuple[Item, Staged]] = field(default_factory=list)
    bytes: int = 0
    since: float = field(default_factory=time.monotonic)


class Committer:
    """Gives every volume its lane. `add` may be called from any thread; no lane runs before `start`."""

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
        """`is_large` of a size in bytes."""
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
        # By the open volume, not its number: one that went and came back has other descriptors.
        self.lanes: dict[int, Lane] = {}

    def start(self) -> None:
        self._is_running = True

    def add(self, item: Item, staged: Staged) -> None:
        is_large = self._is_large(item.row.size)
        with self.flight.lock:
            lane = self._lane(item.volume)
            lane.take(item, staged, is_large=is_large)
        lane.wake.set()

    def write_back(self, object_id: int) -> None:
        """A part of an object came: its medium may begin with it. Never blocks; any thread may call this."""
        with self.flight.lock:
            item = self.flight.get(object_id)
            if item is None:
                return
            lane = self._lane(item.volume)
            lane.unwritten.append(item.path)
        lane.wake.set()

    def _lane(self, volume: OpenVolume) -> Lane:
        lane = self.lanes.get(id(volume))
        if lane is None:
            lane = self.lanes[id(volume)] = Lane(self, volume)
            if self._is_running:
                self.crew.spawn(lane.run, f"committer-{volume.name}", volume.id)
        return lane

    def everything_waits(self) -> bool:
        """Whether nothing is on its way that is not proven yet. Under the flight's lock."""
        return sum(lane.held for lane in self.lanes.values()) == len(self.flight)

    def stop(self) -> None:
        for lane in list(self.lanes.values()):
            lane.wake.set()

    def commit_rest(self) -> None:
        """At the end: what is proven need not be fetched again."""
        for lane in self.lanes.values():
            lane.commit_rest()


class Lane:
    """What waits for one volume. Large objects go one by one and are synced alone, the others in groups."""

    def __init__(self, committer: Committer, volume: OpenVolume) -> None:
        self._committer = committer
        self.volume = volume
        self.small = Group(volume)
        self.large = Group(volume, each_alone=True)
        self.wake = threading.Event()
        self.held = 0  # objects here, those of the group that is being committed among them
        self.unwritten: list[str] = []
        self._last_end = 0.0
        self._seconds = 0.0  # spent waiting for the medium since the last group

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
        """Let the medium work while the group still grows; how long that blocks is the medium's own affair."""
        with self._committer.flight.lock:
            paths, self.unwritten = self.unwritten, []
        with self._measured():
            for path in paths:
                with contextlib.suppress(OSError):  # what cannot be written shows when it is synced
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
            # The other half of what may be on its way comes while this one is made durable.
            or group.bytes >= volume.load.window(self._committer.job) / 2
        )

    def _is_over(self) -> bool:
        """Whether the volume went and nothing waits for it any more."""
        with self._committer.flight.lock:
            if self.held or self._committer.volumes.open.get(self.volume.id) is self.volume:
                return False
            self._committer.lanes.pop(id(self.volume), None)
            return True

    def commit(self, group: Group) -> None:
        """Make a group durable and say so; what cannot be is fetched again."""
        common, volume, count = self._committer, self.volume, len(group.items)
        paths = {item.row.id: keys.to_path(item.row.key, item.row.generation) for item, _ in group.items}
        try:
            with self._measured():
                self._sync(group)
            with volume.names_held():
                with self._measured():
                    self._publish(group, paths)
                self._learn(group)
                self._start_writing()  # what came meanwhile keeps the medium busy while the ledger is written
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
        """A medium that was waited for had worked on this group ever since the last one, or the group's beginning."""
        now, waited = time.monotonic(), self._seconds
        elapsed = now - max(self._last_end, group.since)
        self.volume.load.pace.learn(group.bytes, elapsed if waited > elapsed / 4 else waited)
        self._last_end, self._seconds = now, 0.0

    @staticmethod
    def _sync(group: Group) -> None:
        if not group.each_alone:
            group.volume.sync()
            return
        # Not by syncfs, which would wait for whatever else is being written there.
        for item, _ in group.items:
            with contextlib.suppress(FileNotFoundError):  # found by `_publish`
                sync_file(item.path)

    def _say_staged(self, group: Group) -> list[Staged]:
        if not group.items:
            return []
        rows, run_id = [staged for _, staged in group.items], self._committer.counters.run_id
        return self._committer.ledger.staging.commit_staged(rows, group.volume.id, run_id)

    def _publish(self, group: Group, paths: dict[int, str]) -> None:
        """Give every file its name, durably. What is gone, or gets none, leaves the group, and the others go on."""
        volume = group.volume
        directories: set[str] = set()
        left: list[tuple[tuple[Item, Staged], Trouble, str]] = []
        for entry in group.items:
            path = paths[entry[0].row.id]
            try:
                directories.add(volume.publish(entry[0].row.id, path))
            except FileNotFoundError:
                left.append((entry, Trouble.UNKNOWN, "what arrived is gone from the volume"))
            except OSError as error:
                volume.prune([os.path.dirname(path)])  # folders that were made for it
                left.append((entry, *_unnamed(volume, error)))
        volume.sync_directories(directories)
        for entry, trouble, message in left:
            group.items.remove(entry)
            self._committer.fetching.not_arrived(entry[0], trouble, message)

    def _give_up(self, group: Group, error: OSError) -> None:
        volume, trouble = group.volume, local_trouble(error)
        message = f"Failed to make {len(group.items)} objects durable on volume {volume.name}: {error.strerror}"
        _log.error("%s; they are fetched again", message)
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
        common.counters.moved(len(group.items) - len(gone), size)
        for item, _ in group.items:
            common.fetching.settled(item.row)
        common.switches.staged.set()

    def _discard(self, volume: OpenVolume, row: Row) -> None:
        """Remove a published file that is not to be staged, where the ledger allows it; the others are kept."""
        with contextlib.suppress(OSError):  # swept when the volume comes back, or at the next start
            discard(self._committer.ledger, volume, row.key, row.generation)


def _unnamed(volume: OpenVolume, error: OSError) -> tuple[Trouble, str]:
    """What it says of one file that its volume gives it no name; the error itself where it says more than that."""
    message = f"volume {volume.name} does not take the name of its file: {error.strerror}"
    if local_trouble(error) is Trouble.SPACE:
        return Trouble.SPACE, message  # each folder of the name takes an inode
    if error.errno in _OF_THE_NAME:
        return Trouble.UNSUPPORTED, message
    raise error
