# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from what is known of one volume: decisions, without a disk or a ledger."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.config.job_file import Volume
from snowsync.volumes import job_volume
from snowsync.volumes.disk_calls import Silent
from snowsync.volumes.job_volume import JobVolume, Retries, loss, loss_in_silence, stuck


class Opened:
    """As much of an open volume as is looked at here."""

    def __init__(self, *, writable: bool = True) -> None:
        self.id, self.medium = 7, SimpleNamespace(writable=writable)


def volume(opened: Any = None) -> JobVolume:
    made = JobVolume(Volume(name="one", path=Path("/volumes/one")))
    if opened:
        made.comes(opened)
    return made


def test_a_volume_is_in_use_or_has_a_reason_why_not() -> None:
    one = volume()
    assert (one.open, one.absence) == (None, "not checked yet")
    opened: Any = Opened()
    one.comes(opened)
    assert (one.open, one.absence) == (opened, "")
    one.goes("it failed")
    assert (one.open, one.absence) == (None, "it failed")


@pytest.mark.parametrize(
    ("opened", "is_tried", "takes_new"),
    [(None, True, False), (Opened(writable=False), True, False), (Opened(), False, True)],
)
def test_who_is_tried_and_who_takes_new_objects(opened: Any, is_tried: bool, takes_new: bool) -> None:
    one = volume(opened)
    assert one.is_to_be_tried(100.0) is is_tried
    assert one.for_new() is (opened if takes_new else None)
    one.is_draining = True
    assert one.for_new() is None, "it is being drained"
    one.retries.rest_as_it_takes_no_writes(100.0)
    assert not one.is_to_be_tried(100.0 + job_volume._READING_REST - 0.1)
    assert one.is_to_be_tried(100.0 + job_volume._READING_REST) is is_tried


def test_who_fails_soon_again_rests_longer_and_who_worked_for_long_does_not() -> None:
    retries = Retries()
    rests = []
    for worked in (5.0, 5.0, 5.0, job_volume._TRUSTED_SECONDS, 5.0):
        retries.rest_as_it_failed(100.0, worked)
        rests.append(retries.rest_until - 100.0)
    assert rests == [1.0, 2.0, 4.0, 1.0, 2.0]
    for _time in range(20):
        retries.rest_as_it_failed(100.0, 0.0)
    assert retries.rest_until == 100.0 + job_volume._LONGEST_REST


def test_one_that_fails_for_a_while_is_to_be_read_once_in_a_while() -> None:
    one, patience = volume(), job_volume.UNREADABLE_SECONDS
    assert not one.is_to_be_read_now(1e9), "it did not fail"
    one.retries.has_trouble("failed", 100.0)
    one.retries.has_trouble("failed", 150.0)
    assert not one.is_to_be_read_now(100.0 + patience - 1)
    assert one.is_to_be_read_now(100.0 + patience)
    assert not one.is_to_be_read_now(101.0 + patience)
    one.retries.has_trouble("missing", 200.0)
    assert not one.is_to_be_read_now(1e9), "it may come back as it was"
    one.retries.has_trouble("failed", 300.0)
    one.comes(Opened())  # type: ignore[arg-type]  # as much of one as is looked at
    assert not one.is_to_be_read_now(1e9), "it is read already"
    one.retries.has_no_trouble()
    one.goes("it failed")
    assert not one.is_to_be_read_now(1e9)


def test_how_a_volume_is_lost() -> None:
    assert loss("") == ("", "")
    assert loss("missing") == ("missing", "its marker is gone: unmounted?")
    assert loss("failed") == ("failed", "its disk returns errors")
    seconds = job_volume.SILENT_SECONDS
    assert loss_in_silence(Silent("one", seconds - 1, is_asked=True)) == ("", "")
    word, reason = loss_in_silence(Silent("one", seconds, is_asked=True))
    assert (word, reason.startswith("its disk does not respond: ")) == ("missing", True)


@pytest.mark.parametrize(
    ("waits", "there", "expected"),
    [
        ({}, {1, 2}, set()),
        ({1: 19.9}, {1, 2}, set()),
        ({1: 20.0}, {1, 2}, {1}),
        ({1: 20.0, 2: 90.0}, {1, 2}, set()),  # no other goes on
        ({1: 20.0}, {1}, set()),
        ({3: 20.0}, {1, 2}, set()),
    ],
)
def test_who_is_stuck_while_others_go_on(waits: dict[int, float], there: set[int], expected: set[int]) -> None:
    assert stuck(waits, there) == expected
