# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What becomes of a group: its files get their names on the volume, its objects are staged or fetched again."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from typing import NamedTuple

from ....core import keys
from ....core.errors import Trouble, local_trouble
from ....ledger.ledger import Row, Staged
from ....ledger.source_ports import SourceLedger
from ....volumes.open_volume import OpenVolume, sync_file
from ....volumes.volume_set import VolumeSet
from ...counters import Counters
from ...flight import Flight, Item
from ...switches import Switches
from .fetching import Fetching
from .sweeping import discard
from .volume_groups import Group

_log = logging.getLogger("snowsync.source")
# Errors about a single name, which are no reason to give up the rest of the group, or the volume.
_OF_THE_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)


class Unnamed(NamedTuple):
    """An object of a group whose file cannot be named, and why."""

    entry: tuple[Item, Staged]
    trouble: Trouble
    message: str


def sync(group: Group) -> None:
    """Make the bytes of a group durable, or OSError."""
    if not group.each_alone:
        group.volume.sync()
        return
    # Not with syncfs, which would wait for everything else that is being written there.
    for item, _staged in group.items:
        with contextlib.suppress(FileNotFoundError):  # found by `publish`
            sync_file(item.path)


def publish(group: Group) -> list[Unnamed]:
    """Give every file its name, durably, or OSError; returns those that are gone or cannot be named."""
    volume = group.volume
    directories: set[str] = set()
    unnamed: list[Unnamed] = []
    for entry in group.items:
        row = entry[0].row
        path = keys.to_path(row.key, row.generation)
        try:
            directories.add(volume.publish(row.id, path))
        except FileNotFoundError:
            unnamed.append(Unnamed(entry, Trouble.UNKNOWN, "the fetched file is gone from the volume"))
        except OSError as error:
            volume.directories.prune([os.path.dirname(path)])  # directories that were created for it
            unnamed.append(Unnamed(entry, *_why_unnamed(volume, error)))
    volume.directories.sync(directories)
    return unnamed


def _why_unnamed(volume: OpenVolume, error: OSError) -> tuple[Trouble, str]:
    """The trouble and message for a file that cannot be named; raises the error if it affects more than that file."""
    message = f"volume {volume.name} does not accept the file's name: {error.strerror}"
    if local_trouble(error) is Trouble.SPACE:
        return Trouble.SPACE, message  # each directory of the name needs an inode
    if error.errno in _OF_THE_NAME:
        return Trouble.UNSUPPORTED, message
    raise error


class GroupResults:
    """Tells the ledger and the unit what became of a group. Any thread may call these."""

    def __init__(
        self,
        ledger: SourceLedger,
        volumes: VolumeSet,
        flight: Flight,
        fetching: Fetching,
        counters: Counters,
        switches: Switches,
    ) -> None:
        self._ledger = ledger
        self._volumes = volumes
        self._flight = flight
        self._fetching = fetching
        self._counters = counters
        self._switches = switches

    def leave_out(self, group: Group, unnamed: list[Unnamed]) -> None:
        """These objects leave their group."""
        for entry, trouble, message in unnamed:
            group.items.remove(entry)
            self._fetching.not_arrived(entry[0], trouble, message)

    def record(self, group: Group) -> list[Staged]:
        """Record a durable group in the ledger; returns what it refused, because there is a newer generation."""
        if not group.items:
            return []
        rows = [staged for _item, staged in group.items]
        return self._ledger.staging.commit_staged(rows, group.volume.id, self._counters.run_id)

    def recorded(self, group: Group, refused: list[Staged]) -> None:
        """The objects of a recorded group leave the unit."""
        for staged in refused:
            self._discard(group.volume, staged.row)
        if group.items:
            self._leave(group, {staged.row.id for staged in refused})

    def _leave(self, group: Group, gone: set[int]) -> None:
        size = 0
        with self._flight.lock:
            for item, _staged in group.items:
                self._flight.leave(item.row.id)
                self._volumes.committed(group.volume, item.row.size)
                size += item.row.size if item.row.id not in gone else 0
        self._counters.moved.add(len(group.items) - len(gone), size)
        for item, _staged in group.items:
            self._fetching.settled(item.row)
        self._switches.staged.set()

    def give_up(self, group: Group, error: OSError) -> None:
        """A group could not be made durable: its objects are fetched again."""
        volume, trouble = group.volume, local_trouble(error)
        message = f"Failed to make {len(group.items)} objects durable on volume {volume.name}: {error.strerror}"
        _log.error("%s; they will be fetched again", message)
        self._fetching.volume_failed(volume, trouble, message)
        for item, _staged in group.items:
            self._discard(volume, item.row)
            self._fetching.not_durable(item)

    def _discard(self, volume: OpenVolume, row: Row) -> None:
        """Remove a published file that is not to be staged, if the ledger permits it; otherwise keep it."""
        with contextlib.suppress(OSError):  # swept when the volume comes back, or at the next start
            discard(self._ledger, volume, row.key, row.generation)

    def ended(self, volume: OpenVolume) -> None:
        """A group of this volume is over, whatever became of it."""
        self._volumes.remember(volume.id)
        self._switches.space.set()
