# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that come and go: what is told to whom, in which order."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

from snowsync.hops.volume_watch import VolumeWatch


def volume(name: str, *descriptors: int) -> Any:
    return SimpleNamespace(name=name, descriptors=lambda: list(descriptors))


class Watched:
    """A watch on the volumes `one` and `two`; `seen` names what happened in order."""

    def __init__(self, *came: Any, flight: tuple[Any, ...] = ()) -> None:
        self.seen: list[str] = []
        self.broken: set[str] = set()
        self.busy: set[int] = set()
        self.retired: list[Any] = []
        self.closed: list[Any] = []
        self.goes: Any = None  # taken out as soon as the movers were told
        volumes: Any = SimpleNamespace(
            refresh=lambda: (list(came), []),
            open=dict(enumerate(came, 1)),
            in_use=self,
        )
        transfers: Any = SimpleNamespace(set_descriptors=self._set_descriptors)
        in_flight: Any = SimpleNamespace(items=lambda: flight)
        self.watch = VolumeWatch(
            volumes,
            in_flight,
            transfers,
            came=self._came,
            seen=lambda: self.seen.append("all seen"),
            take_out=lambda volume, reason: self.seen.append(reason),
        )

    def _came(self, volume: Any) -> None:
        if volume.name in self.broken:
            raise OSError(errno.EIO, "Input/output error")
        self.seen.append(f"{volume.name} came")

    def _set_descriptors(self, found: list[int]) -> None:
        self.seen.append(f"descriptors {found}")
        self.retired = [*self.retired, self.goes] if self.goes else self.retired

    def close_retired(self, busy: set[int], known: list[Any]) -> None:
        self.seen.append("closed")
        self.busy = busy
        self.closed = [volume for volume in self.retired if volume in known]


def test_movers_learn_of_the_volumes_before_these_are_swept_and_closed() -> None:
    watched = Watched(volume("one", 10, 11), volume("two", 20))
    watched.watch.look()
    assert watched.seen == ["descriptors [10, 11, 20]", "one came", "two came", "all seen", "closed"]


def test_a_volume_that_fails_as_it_comes_is_taken_out_and_the_next_one_used() -> None:
    watched = Watched(volume("one"), volume("two"))
    watched.broken = {"one"}
    watched.watch.look()
    assert watched.seen[1:3] == ["Failed to start using volume one: Input/output error", "two came"]


def test_a_volume_with_objects_in_flight_is_not_closed() -> None:
    one = volume("one")
    watched = Watched(flight=(SimpleNamespace(volume=one),))
    watched.watch.look()
    assert watched.busy == {id(one)}


def test_a_volume_that_is_taken_out_after_the_movers_were_told_is_closed_next_time() -> None:
    """Movers still have its folders: closed now, it could be back at once under the same numbers."""
    watched = Watched(volume("one", 10))
    watched.goes = volume("two", 20)
    watched.watch.look()
    assert watched.closed == []
    two, watched.goes = watched.goes, None
    watched.watch.look()
    assert watched.closed == [two]
