# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The one gate for deletions on a volume: whoever removes a file shows what entitles to it.

A permit is a value. It names the one copy that it is about, and is made from what the ledger, the destination or an
operator said. No other file of the engine unlinks, or renames over, anything on a volume (test_removal.py).

====================  ================================================================  ===============================
permit                says                                                              removes from
====================  ================================================================  ===============================
`AtDestination`       this destination holds this generation, proven                    staged, quarantine, drop folder
`Replaced`            a newer generation of this key is staged, or got further          staged, quarantine
`LiesElsewhere`       the same generation is durable, and proven, on another volume     staged
`NeverStaged`         nobody ever counted on these bytes: a mover's partial file, a     incoming, outgoing (links),
                      link, a fetch that did not match                                  quarantine (such fetches)
`SameGeneration`      the same generation, proven once more, takes its name             staged
`OtherName`           the same file has its name among people's again                 outgoing, drop folder (aside)
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
    """A defect: something was about to be removed without a permit for it."""


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
    """The same generation is staged, durable and proven, on the volume `volume`: not on `here`."""

    key: str
    generation: int
    here: int
    volume: int

    def covers(self, place: Place, name: str) -> bool:
        return place is Place.STAGED and self.here != self.volume and _names(name, self.key, self.generation)


@dataclass(frozen=True, slots=True)
class NeverStaged:
    """Bytes that nobody counts on: `why` for people who read the code."""

    why: str

    def covers(self, place: Place, name: str) -> bool:
        if place is Place.QUARANTINE:
            return name.isdecimal()  # a fetch that did not match; what was staged once has another name
        return place is Place.INCOMING or (place is Place.OUTGOING and name.isdecimal())


@dataclass(frozen=True, slots=True)
class SameGeneration:
    """A file that was just proven to be what the source listed is about to have this `name`, and replaces itself."""

    name: str

    def covers(self, place: Place, name: str) -> bool:
        return place is Place.STAGED and name == self.name


@dataclass(frozen=True, slots=True)
class OtherName:
    """A dropped file that was moved aside to `name` has its own name back (a hard link): this one is one too many."""

    name: str

    def covers(self, place: Place, name: str) -> bool:
        return place is Place.DROP and name == self.name


@dataclass(frozen=True, slots=True)
class OperatorsWord:
    """The `command` told what would be lost, and `confirmed` repeats what it asked for."""

    command: str
    confirmed: str

    def covers(self, place: Place, name: str) -> bool:
        if place is Place.OUTGOING:
            return bool(self.confirmed) and name.isdecimal()  # else it is a file of a drop folder that lies aside
        return bool(self.confirmed) and place is not Place.DROP


Permit: TypeAlias = (
    "AtDestination | Replaced | LiesElsewhere | NeverStaged | SameGeneration | OtherName | OperatorsWord"
)


def remove(place: Place, folder: int, name: str, permit: Permit) -> None:
    """Unlink `name` below the descriptor `folder`; nothing happens where it is gone already. OSError; NotEntitled."""
    insist(place, name, permit)
    with workers.at_medium():
        try:
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            os.rmdir(name, dir_fd=folder)


def insist(place: Place, name: str, permit: Permit) -> None:
    """NotEntitled unless the permit is about this file."""
    if not permit.covers(place, name):
        raise NotEntitled(f"Refused to remove {name!r} ({place.value}): {permit} does not cover it")


def move(folder: int, name: str, target_folder: int, target: str, *, place: Place, over: Permit | None = None) -> None:
    """Rename within a volume. What is called `target` in `place` already is replaced only with a permit `over` it.

    FileExistsError without one, NotEntitled where it is about another file; OSError as rename(2) gives it.
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
    """Remove a directory where it is empty, and stays empty: a directory holds no bytes of anybody."""
    with contextlib.suppress(OSError), workers.at_medium():
        os.rmdir(directory, dir_fd=folder)


def _names(relative: str, key: str, generation: int) -> bool:
    return relative == keys.to_path(key, generation)
