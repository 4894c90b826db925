# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run does with a store that cannot be reached, or that answers and serves nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core.errors import StoreError
from snowsync.hops.activity import Activity
from snowsync.hops.availability import Availability

MANY = 1000  # trials


def pool(**more: Any) -> Any:
    values = {
        "endpoints": ["one"],
        "any_up": True,
        "none_answers": False,
        "serves_nothing": False,
        "trials": 0,
        "messages": lambda: "it said no",
        "why_down": lambda: "it is down",
    }
    return SimpleNamespace(**{**values, **more})


def availability(activity: Activity, until: str = "drained", flight: Any = (), **of_pool: Any) -> Availability:
    job: Any = SimpleNamespace(job="photos", attempts=3)
    return Availability(job, "source", pool(**of_pool), flight, activity, until=until)


def test_a_store_that_serves_is_left_alone() -> None:
    activity = Activity()
    assert availability(activity).is_served()
    assert activity.status == "starting"


def test_a_store_that_serves_nothing_is_waited_for() -> None:
    activity = Activity()
    assert not availability(activity, serves_nothing=True).is_served()
    assert activity.status == "waiting for the source: it said no"


@pytest.mark.parametrize(
    ("until", "serves_nothing", "trials", "hopeless"),
    [
        ("drained", True, MANY, True),
        ("once", True, MANY, True),
        ("forever", True, MANY, False),  # a service keeps trying
        ("drained", True, 0, False),
        ("drained", False, MANY, False),
    ],
)
def test_when_a_run_gives_up_on_a_store(until: str, serves_nothing: bool, trials: int, hopeless: bool) -> None:
    found = availability(Activity(), until, serves_nothing=serves_nothing, trials=trials)
    assert found.is_hopeless() is hopeless


def test_a_run_says_why_objects_are_left() -> None:
    activity = Activity()
    availability(activity, serves_nothing=True).end_unserved()
    assert activity.unserved == "the source answers but serves no objects: it said no"


@pytest.mark.parametrize(
    ("endpoints", "any_up", "out_of_reach"), [(["one"], False, True), (["one"], True, False), ([], False, False)]
)
def test_a_job_without_a_source_has_none_out_of_reach(endpoints: list[str], any_up: bool, out_of_reach: bool) -> None:
    assert availability(Activity(), endpoints=endpoints, any_up=any_up).is_out_of_reach() is out_of_reach


@pytest.mark.parametrize(
    ("until", "flight", "none_answers"),
    [("drained", (), True), ("forever", (), True), ("once", ("an object",), True), ("once", (), False)],
)
def test_an_outage_is_waited_for(until: str, flight: Any, none_answers: bool) -> None:
    activity = Activity()
    availability(activity, until, flight, none_answers=none_answers).outage()
    assert activity.status == "waiting for the source: it is down"


def test_a_single_pass_ends_when_a_probe_found_no_endpoint() -> None:
    with pytest.raises(StoreError, match="reach the source of job photos: it is down"):
        availability(Activity(), "once", none_answers=True).outage()
