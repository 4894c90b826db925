# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The committer of the source unit: groups of proven objects become durable, then staged.

Bytes durable, then names durable, then the ledger says so, in one transaction a group.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import keys
from .errors import Trouble
from .ledger import Row, Staged
from .unit import Item
from .volumes import OpenVolume, local_trouble

if TYPE_CHECKING:
    from .source import SourceUnit

_log = logging.getLogger("snowsync.source")


@dataclass(slots=True)
class Group:
    """Objects proven on one volume that wait for their group's commit."""

    volume: OpenVolume
    items: list[tuple[Item, Staged]] = field(default_factory=list)
    bytes: int = 0
    since: float = field(default_factory=time.monotonic)


class Committer:
    """One thread; `add` may be called from any."""

    def __init__(self, unit: SourceUnit) -> None:
        self._unit = unit
        # By the open volume, not its number: one that went and came back has other descriptors.
        self._groups: dict[int, Group] = {}
        self._wake = threading.Event()

    def add(self, item: Item, staged: Staged) -> None:
        with self._unit.lock:
            group = self._groups.get(id(item.volume))
            if group is None:
                group = self._groups[id(item.volume)] = Group(item.volume)
            group.items.append((item, staged))
            group.bytes += item.row.size
        self._wake.set()

    def run(self) -> None:
        unit = self._unit
        while not unit.ending.is_set():
            self._wake.clear()
            groups = self._ready_groups()
            for group in groups:
                self.commit(group)
            if not groups:
                self._wake.wait(0.02 if self._groups else 1.0)

    def stop(self) -> None:
        self._wake.set()

    def commit_rest(self) -> None:
        """At the end: what is proven need not be fetched again."""
        for group in self._groups.values():
            self.commit(group)

    def _ready_groups(self) -> list[Group]:
        unit = self._unit
        policy = unit.job.group
        now = time.monotonic()
        with unit.lock:
            everything_waits = sum(len(group.items) for group in self._groups.values()) == len(unit.in_flight)
            ready = [
                number
                for number, group in self._groups.items()
                if everything_waits
                or len(group.items) >= policy.objects
                or group.bytes >= policy.bytes
                or now - group.since >= policy.seconds
                or all(item.is_durable for item, _ in group.items)  # waiting would save no syncfs
            ]
            return [self._groups.pop(number) for number in ready]

    def commit(self, group: Group) -> None:
        volume = group.volume
        paths = {item.row.id: keys.to_path(item.row.key, item.row.generation) for item, _ in group.items}
        try:
            if not all(item.is_durable for item, _ in group.items):
                volume.sync()
            with volume.names_held():
                self._publish(group, paths)
                refused = self._say_staged(group)
        except OSError as error:
            self._give_up(group, error)
            return
        for staged in refused:
            self._discard(volume, staged.row)
        if group.items:
            self._leave(group, {staged.row.id for staged in refused})

    def _say_staged(self, group: Group) -> list[Staged]:
        if not group.items:
            return []
        unit = self._unit
        return unit.ledger.commit_staged([staged for _, staged in group.items], group.volume.id, unit.run_id)

    def _publish(self, group: Group, paths: dict[int, str]) -> None:
        """Give every file its name, durably; one whose bytes are gone leaves the group alone."""
        directories, lost = set(), []
        for item, staged in group.items:
            try:
                directories.add(group.volume.publish(item.row.id, paths[item.row.id]))
            except FileNotFoundError:
                lost.append((item, staged))
        group.volume.sync_directories(directories)
        for item, staged in lost:
            group.items.remove((item, staged))
            self._unit.not_arrived(item, Trouble.UNKNOWN, "what arrived is gone from the volume")

    def _give_up(self, group: Group, error: OSError) -> None:
        volume, trouble = group.volume, local_trouble(error)
        message = f"Failed to make {len(group.items)} objects durable on volume {volume.name}: {error.strerror}"
        _log.error("%s; they are fetched again", message)
        if trouble is not Trouble.SPACE:
            self._unit.take_out(volume, message)
        for item, _ in group.items:
            self._discard(volume, item.row)
            self._unit.put_back(item, 5.0 if trouble is Trouble.SPACE else 0.0)

    def _leave(self, group: Group, gone: set[int]) -> None:
        unit = self._unit
        size = 0
        with unit.lock:
            for item, _ in group.items:
                unit.in_flight.pop(item.row.id, None)
                unit.volumes.committed(group.volume, item.row.size)
                size += item.row.size if item.row.id not in gone else 0
        unit.counters.moved(len(group.items) - len(gone), size)
        for item, _ in group.items:
            unit.settled(item.row)
        unit.switches.staged.set()

    def _discard(self, volume: OpenVolume, row: Row) -> None:
        """Remove a published file that is not to be staged, unless somebody else has it there."""
        with contextlib.suppress(OSError):  # swept when the volume comes back, or at the next start
            self._unit.discard_unknown(volume, row.key, row.generation)
