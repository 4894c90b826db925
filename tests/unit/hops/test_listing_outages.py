# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the lister waits for a page, and when it does not; `test_source.py` has what a run says of it."""

from __future__ import annotations

from typing import Any

import pytest

from snowsync.core.errors import JobStopped, StoreError, Trouble
from snowsync.hops.source.listing.listing_outages import ListingOutages
from snowsync.store.answers import UNREADABLE

BUSY = StoreError(Trouble.THROTTLED, "list", "HTTP 503", status=503)
ODD = StoreError(Trouble.SERVER, "list", "no XML", code=UNREADABLE)
DENIED = StoreError(Trouble.DENIED, "list", "HTTP 403", status=403)


def raise_if_any(error: Exception | None) -> None:
    if error:
        raise error


class Unit:
    """A crew and a pool with one endpoint, and how long somebody waits."""

    def __init__(self) -> None:
        self.ending = self
        self.stopping = False
        self.up = True
        self.answer: Exception | None = None  # to probes
        self.pauses: list[float] = []
        self.rests: list[str] = []

    def wait(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.stopping = self.stopping or len(self.pauses) >= 100

    def pick_to_ask(self) -> Unit | None:
        return self if self.up else None

    def probe(self) -> None:
        raise_if_any(self.answer)

    def rest(self, message: str) -> None:
        self.rests.append(message)


@pytest.fixture
def unit() -> Any:
    return Unit()


def test_a_service_waits_ever_longer_for_a_page_and_a_minute_at_most(unit: Any) -> None:
    outages = ListingOutages(unit, unit, attempts=None)
    for _time in range(20):
        outages.bear(unit, BUSY)
    assert unit.pauses == [1, 2, 4, 8, 16, 32, *[60] * 14]
    assert (outages.problem, unit.rests) == (str(BUSY), [])


def test_a_page_that_arrives_ends_the_outage(unit: Any) -> None:
    outages = ListingOutages(unit, unit, attempts=None)
    for _time in range(3):
        outages.bear(unit, BUSY)
    outages.over()
    assert outages.problem == ""
    outages.bear(unit, BUSY)
    assert unit.pauses == [1, 2, 4, 1]


def test_a_run_ends_after_some_attempts_but_not_because_of_what_it_cannot_read(unit: Any) -> None:
    outages = ListingOutages(unit, unit, attempts=20)
    for _time in range(39):
        outages.bear(unit, BUSY)
    with pytest.raises(StoreError, match="HTTP 503"):
        outages.bear(unit, BUSY)
    outages.bear(unit, ODD)  # `is_unreadable_for_good` decides
    assert unit.pauses[-1] == 1.0


def test_an_endpoint_that_answers_no_probe_rests_and_no_page_is_to_blame(unit: Any) -> None:
    unit.answer = BUSY
    outages = ListingOutages(unit, unit, attempts=1)
    for _time in range(100):
        outages.bear(unit, BUSY)
    assert (len(unit.rests), unit.pauses, outages.problem) == (100, [], "")


@pytest.mark.parametrize("answer", [None, BUSY])
def test_an_error_that_will_not_go_away_is_not_waited_for(unit: Any, answer: Exception | None) -> None:
    unit.answer = answer
    with pytest.raises(StoreError, match="HTTP 403"):
        ListingOutages(unit, unit, attempts=None).bear(unit, DENIED)
    assert (unit.pauses, unit.rests) == ([], [])


def test_a_probe_that_ends_the_job_ends_it(unit: Any) -> None:
    unit.answer = JobStopped(Trouble.BUCKET, "probe", "no such bucket")
    with pytest.raises(JobStopped):
        ListingOutages(unit, unit, attempts=None).bear(unit, BUSY)


def test_only_consecutive_unreadable_responses_are_for_good(unit: Any) -> None:
    outages = ListingOutages(unit, unit, attempts=None)
    assert [outages.is_unreadable_for_good(each, 2) for each in (ODD, BUSY, ODD, ODD)] == [False, False, False, True]
    assert not outages.is_unreadable_for_good(ODD, 2), "the next part of the listing gets as many"
    outages.over()
    assert not outages.is_unreadable_for_good(ODD, 2)


def test_no_endpoint_is_waited_for_when_the_unit_stops(unit: Any) -> None:
    outages = ListingOutages(unit, unit, attempts=None)
    assert outages.endpoint() is unit
    unit.up = False
    assert outages.endpoint() is None
    assert unit.pauses == [0.2] * 100
