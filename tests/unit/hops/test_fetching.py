# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to an object that did not arrive; `test_source.py` has the rest of it."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core.model import Origin, State
from snowsync.hops.flight import Flight
from snowsync.hops.source.staging.fetching import Fetching, PartialFiles, is_full
from snowsync.ledger.ledger import Row
from snowsync.volumes.load import Load

LARGE = 1000


class Parts:
    """What is recorded of large objects: which are to be kept, on which volume."""

    def __init__(self) -> None:
        self.kept = {(1, 1), (2, 1)}  # object and volume
        self.forgotten: list[int] = []

    def lies_on(self, object_id: int, volume: int) -> bool:
        return (object_id, volume) in self.kept

    def forget(self, object_id: int) -> None:
        self.forgotten.append(object_id)


class Volume:
    """A volume with a name, which may fail to remove a file."""

    name = "one"

    def __init__(self, error: OSError | None = None) -> None:
        self.id = 1
        self.load = Load()
        self.removed: list[int] = []
        self.error = error

    def discard_incoming(self, object_id: int) -> None:
        if self.error:
            raise self.error
        self.removed.append(object_id)


def row(number: int, size: int) -> Row:
    return Row(number, f"key-{number}", size, "e", 0, 1, Origin.SOURCE, State.PENDING, None, 0, "", "", 0, 0, 0)


def item(number: int, size: int, volume: Volume) -> Any:
    return SimpleNamespace(row=row(number, size), volume=volume)


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def partial(parts: Parts) -> PartialFiles:
    faked: Any = parts
    return PartialFiles(faked, lambda size: size >= LARGE)


def test_only_the_file_of_a_large_object_that_can_be_continued_is_kept(partial: PartialFiles) -> None:
    volume = Volume()
    partial.leave(item(1, LARGE, volume))
    partial.leave(item(2, LARGE - 1, volume))  # the border moved since it was recorded
    partial.leave(item(3, LARGE, volume))
    assert volume.removed == [2, 3]


def test_a_file_that_cannot_be_removed_is_told(partial: PartialFiles, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        partial.leave(item(3, 1, Volume(OSError(5, "Input/output error"))))
    assert caplog.messages == ["volume one: cannot remove a partial file: Input/output error"]


def test_the_ledger_is_asked_about_large_objects_unless_the_bytes_are_in_doubt(
    partial: PartialFiles, parts: Parts
) -> None:
    partial.end(row(1, LARGE))
    partial.end(row(2, LARGE - 1))
    assert parts.forgotten == [1]
    partial.start_over(row(2, LARGE - 1))
    assert parts.forgotten == [1, 2]


def test_a_full_volume_is_told_once_while_it_rests(caplog: pytest.LogCaptureFixture) -> None:
    volume: Any = Volume()
    with caplog.at_level(logging.WARNING):
        is_full(volume, "write: Disk quota exceeded")
        is_full(volume, "write: Disk quota exceeded")
    assert caplog.messages == ["volume one reports that it is full; pausing writes to it: write: Disk quota exceeded"]


def test_an_object_that_leaves_makes_room_and_the_backlog_reads_again(partial: PartialFiles) -> None:
    flight, volume, happened = Flight(), Volume(), list[str]()
    one = item(3, 10, volume)
    flight.take(one)
    volume.load.expect(10)
    unused: Any = None
    setbacks: Any = SimpleNamespace(put_off=lambda row, seconds: happened.append(f"{row.key} waits {seconds} s"))
    fetching = Fetching(
        unused, partial, flight, setbacks, unused, take_out=unused, rewind=lambda: happened.append("rewind")
    )
    fetching.put_back(one, 2.5)
    assert happened == ["key-3 waits 2.5 s", "rewind"]
    assert (len(flight), volume.load.in_flight, volume.removed) == (0, 0, [3])
    fetching.put_back(one, None)  # it had left already: its bytes are not counted twice
    assert volume.load.in_flight == 0
