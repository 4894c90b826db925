# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The only place that deletes files on a volume: every removal needs a permit.

A permit is a value. It names the one copy that it covers, and is derived from what the ledger, the destination or an
operator said. No other file of the engine unlinks, or renames over, anything on a volume (test_removal.py).

====================  ================================================================  ===============================
permit                meaning                                                           removes from
====================  ================================================================  ===============================
`AtDestination`       this destination holds this generation, proven                    staged, quarantine, drop folder
`Replaced`            a newer generation of this key is staged, delivered or released   staged, quarantine
`LiesElsewhere`       the same generation is durable and proven on another volume       staged
`NeverStaged`         nothing ever relied on these bytes: a mover's partial file, a     incoming, outgoing (links),
                      link, a fetch that did not match                                  quarantine (such fetches)
`SameGeneration`      the same generation, proven again, takes its name                 staged
`OtherName`           the same file has its original name in the drop folder again      outgoing, drop folder (aside)
`OperatorsWord`       an operator was told what would be lost, and confirmed it         everywhere but drop folders
====================  ================================================================  ===============================
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
from dataclasses import dataclass
from typing import TypeAlias

from . import keys, layout, workers
from .errors import SnowsyncError
from .layout import generation_of, object_of
from .model import State


class Place(enum.Enum):
    """The parts of a volume that files are removed from."""

    INCOMING = layout.INCOMING
    STAGED = layout.STAGED
    QUARANTINE = layout.QUARANTINE
    OUTGOING = layout.OUTGOING
    DROP = "drop folder"


class NotEntitled(SnowsyncError):
    """A bug: something was about to be removed without a permit that covers it."""


@dataclass(frozen=True, slots=True)
class AtDestination:
    """The destination `target` (a binding of the ledger) holds this generation: `etag` as it was proven there."""

    object_id: int
    key: str
    generation: int
    target: int
    etag: str

    def covers(self, place: Place, name: str) -> bool:
        if place is Place.STAGED:
            return _names(name, self.key, self.generation)
        if place is Place.QUARANTINE:
            return object_of(name) == self.object_id and generation_of(name) <= self.generation
        if place is Place.OUTGOING:
            return name.partition(".")[0] == str(self.object_id)
        return place is Place.DROP


@dataclass(frozen=True, slots=True)
class Replaced:
    """A newer generation, `by`, of the key is staged, delivered or released: `state` says which."""

    object_id: int
    key: str
    generation: int
    by: int
    state: State

    def covers(self, place: Place, name: str) -> bool:
        if self.by <= self.generation or self.state not in (State.STAGED, State.DELIVERED, State.RELEASED):
            return False
        if place is Place.STAGED:
            return _names(name, self.key, self.generation)
        return place is Place.QUARANTINE and object_of(name) == self.object_id and generation_of(name) < self.by


@dataclass(frozen=True, slots=True)
class LiesElsewhere:
    """The same generation is staged, durable and proven on the volume `volume`, which is not `here`."""

    key: str
    generation: int
    here: int
    volume: int

    def covers(self, place: Place, name: str) -> bool:
        return place is Place.STAGED and self.here != self.volume and _names(name, self.key, self.generation)


@dataclass(frozen=True, slots=True)
class NeverStaged:
    """Bytes that nothing relies on; `why` documents the reason in the code."""

    why: str

    def covers(self, place: Place, name: str) -> bool:
        if place is Place.QUARANTINE:
            return name.isdecimal()  # a fetch that did not match; files that were staged have other names
        return place is Place.INCOMING or (place is Place.OUTGOING and name.isdecimal())


@dataclass(frozen=True, slots=True)
class SameGeneration:
    """A file just proven to be what the source listed is about to take this `name`, replacing an identical file."""

    name: str

    def covers(self, place: Place, name: str) -> bool:
        return place is Place.STAGED and name == self.name


@dataclass(frozen=True, slots=True)
class OtherName:
    """A dropped file that was moved aside to `name` has its own name back (a hard link): `name` is redundant."""

    name: str

    def covers(self, place: Place, name: str) -> bool:
        return place is Place.DROP and name == self.name


@dataclass(frozen=True, slots=True)
class OperatorsWord:
    """The `command` said what would be lost, and `confirmed` is the operator's confirmation."""

    command: str
    confirmed: str

    def covers(self, place: Place, name: str) -> bool:
        if place is Place.OUTGOING:
            return bool(self.confirmed) and name.isdecimal()  # else it is a dropped file that was moved aside
        return bool(self.confirmed) and place is not Place.DROP


Permit: TypeAlias = (
    "AtDestination | Replaced | LiesElsewhere | NeverStaged | SameGeneration | OtherName | OperatorsWord"
)


def remove(place: Place, folder: int, name: str, permit: Permit) -> None:
    """Unlink `name` below the descriptor `folder`; no error if it is already gone. OSError; NotEntitled."""
    insist(place, name, permit)
    with workers.at_medium():
        try:
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            os.rmdir(name, dir_fd=folder)


def insist(place: Place, name: str, permit: Permit) -> None:
    """Raise NotEntitled unless the permit covers this file."""
    if not permit.covers(place, name):
        raise NotEntitled(f"Refused to remove {name!r} ({place.value}): {permit} does not cover it")


def move(folder: int, name: str, target_folder: int, target: str, *, place: Place, over: Permit | None = None) -> None:
    """Rename within a volume. An existing `target` in `place` is replaced only with a permit `over` it.

    FileExistsError without one, NotEntitled if it covers another file; OSError from rename(2).
    """
    if over is not None:
        insist(place, target, over)
    elif _exists(target_folder, target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    with workers.at_medium():
        os.rename(name, target, src_dir_fd=folder, dst_dir_fd=target_folder)


def _exists(folder: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def prune(folder: int, directory: str) -> None:
    """Remove a directory if it is empty; that loses no data, so no permit is needed."""
    with contextlib.suppress(OSError), workers.at_medium():
        os.rmdir(directory, dir_fd=folder)


def _names(relative: str, key: str, generation: int) -> bool:
    return relative == keys.to_path(key, generation)
