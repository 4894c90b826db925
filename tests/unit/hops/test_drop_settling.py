# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a dropped file may be taken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snowsync.hops.source.drops.drop_settling import Sighting, Sightings, is_settled
from snowsync.volumes.file_identity import COARSE_SECONDS, Identity
from snowsync.volumes.open_writers import Writer

FINE = Identity(1, 2, 1_000_000_000_123, 8, 0)  # changed at 1000.0 on the clock
COARSE = Identity(1, 2, 1_000_000_000_000, 8, 0)
PLACE = (1, "film")


@pytest.mark.parametrize(
    ("writer", "age", "watched", "looks", "settled"),
    [
        (Writer.NOBODY, 10.1, 0.0, 1, True),
        (Writer.NOBODY, 9.9, 0.0, 1, False),
        (Writer.NOBODY, 9.9, 10.0, 2, True),
        (Writer.NOBODY, -5000.0, 9.9, 2, False),  # the clock was set back
        (Writer.NOBODY, -5000.0, 10.0, 2, True),
        (Writer.UNKNOWN, 5000.0, 0.0, 1, False),  # cp -p, a camera's clock
        (Writer.UNKNOWN, 5000.0, 9.9, 7, False),
        (Writer.UNKNOWN, 5000.0, 10.0, 1, False),
        (Writer.UNKNOWN, 5000.0, 10.0, 2, True),
        (Writer.SOMEBODY, 5000.0, 5000.0, 99, False),
    ],
)
def test_when_a_file_is_settled(writer: Writer, age: float, watched: float, looks: int, settled: bool) -> None:
    sighting = Sighting(FINE, since=100.0, looks=looks)
    assert is_settled(sighting, writer, 100.0 + watched, 1000.0 + age, settle=10.0) is settled


@pytest.mark.parametrize("identity", [FINE, COARSE])
def test_a_change_that_the_times_cannot_tell_has_passed_before_a_file_is_taken(identity: Identity) -> None:
    for age, settled in ((identity.granularity * 0.9, False), (identity.granularity * 1.1, True)):
        assert is_settled(Sighting(identity, 0.0), Writer.NOBODY, 0.0, 1000.0 + age, settle=0.0) is settled


def test_a_file_that_changes_is_seen_anew() -> None:
    first = Sighting(FINE, since=1.0)
    assert first.again(FINE, 5.0) == Sighting(FINE, 1.0, 2)
    assert first.again(COARSE, 5.0) == Sighting(COARSE, 5.0, 1)


def test_patience_covers_coarse_times() -> None:
    assert COARSE.granularity <= COARSE_SECONDS


# -- what several scans saw -------------------------------------------------------------------------------------------


def test_a_file_is_compared_with_the_previous_scan(clock: list[float]) -> None:
    sightings = Sightings(settle=10.0)
    assert not sightings.is_settled(PLACE, FINE, Writer.UNKNOWN)
    clock[0] += 10.0
    assert not sightings.is_settled(PLACE, FINE, Writer.UNKNOWN), "two looks of one scan are one"
    sightings.end_scan()
    assert not sightings.is_settled(PLACE, FINE, Writer.UNKNOWN), "seen last a moment ago"
    sightings.end_scan()
    clock[0] += 10.0
    assert sightings.is_settled(PLACE, FINE, Writer.UNKNOWN)
    assert not sightings.is_settled((2, "film"), FINE, Writer.UNKNOWN), "another volume's"


def test_a_file_that_changed_or_was_away_is_watched_anew(clock: list[float]) -> None:
    sightings = Sightings(settle=10.0)
    sightings.is_settled(PLACE, FINE, Writer.UNKNOWN)
    sightings.end_scan()
    clock[0] += 10.0
    assert not sightings.is_settled(PLACE, replace(FINE, size=9), Writer.UNKNOWN)
    sightings.end_scan()
    clock[0] += 10.0
    sightings.end_scan()  # this scan did not see it
    assert not sightings.is_settled(PLACE, replace(FINE, size=9), Writer.UNKNOWN)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Monotonic seconds, as the only element."""
    now = [100.0]
    monkeypatch.setattr("snowsync.hops.source.drops.drop_settling.time.monotonic", lambda: now[0])
    return now
