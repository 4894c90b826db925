# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the units' runs are over, and what they say while they are not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core.model import State
from snowsync.hops.activity import Activity
from snowsync.hops.destination.completion import Completion as DestinationCompletion
from snowsync.hops.destination.completion import GivingUp, StagedLeft, Unfinished
from snowsync.hops.source.completion import Completion, WorkLeft
from snowsync.hops.switches import Switches

# -- the source unit ----------------------------------------------------------------------------------------------


class Left:
    """What is left to fetch, by default nothing."""

    def __init__(self, until: str, flight: Any = (), **more: Any) -> None:
        self.activity = Activity()
        self.outages = 0
        objects: Any = SimpleNamespace(
            work=lambda state, after_id, limit: more.get("due", []),
            waiting=lambda state: state is State.PENDING and more.get("pending", False),
        )
        pool: Any = SimpleNamespace(why_down=lambda: more.get("why_down", ""), width_text=", and more")
        availability: Any = SimpleNamespace(
            is_out_of_reach=lambda: more.get("out_of_reach", False),
            is_served=lambda: more.get("served", True),
            outage=self._outage,
        )
        discovery: Any = SimpleNamespace(
            lister=SimpleNamespace(outages=SimpleNamespace(problem=more.get("problem", ""))),
            scanner=SimpleNamespace(
                scan=SimpleNamespace(unsettled=more.get("unsettled", 0)),
                has_nothing_more=lambda: more.get("nothing_more", True),
            ),
        )
        next_hop: Any = SimpleNamespace(
            is_alone=more.get("alone", False),
            has_ended=lambda: more.get("ended", True),
            has_put_back=more.get("put_back", True),
        )
        self.work = WorkLeft(objects, pool, availability, flight, discovery, next_hop, self.activity, until=until)

    def _outage(self) -> None:
        self.outages += 1


@pytest.mark.parametrize(
    ("until", "listed", "more", "none"),
    [
        ("drained", True, {}, True),
        ("drained", False, {}, False),
        ("drained", True, {"flight": ["x"]}, False),
        ("drained", True, {"pending": True}, False),
        ("drained", True, {"ended": False}, False),
        ("drained", True, {"ended": False, "alone": True}, True),
        ("drained", True, {"put_back": False}, False),
        ("drained", True, {"nothing_more": False}, False),
        ("once", True, {}, True),
        ("once", True, {"pending": True, "ended": False}, True),  # it was tried, and is postponed
        ("once", True, {"due": ["a row"]}, False),
        ("forever", True, {}, False),
    ],
)
def test_when_nothing_is_left_to_fetch(until: str, listed: bool, more: dict[str, Any], none: bool) -> None:
    assert Left(until, **more).work.is_none(listed) is none


@pytest.mark.parametrize(
    ("listed", "more", "status"),
    [
        (True, {"flight": ["x", "y"]}, "fetching 2 objects, and more"),
        (True, {"flight": ["x"], "served": False}, "starting"),  # as the availability says
        (False, {"why_down": "it is down", "problem": "HTTP 503"}, "waiting for the source: it is down"),
        (False, {"problem": "HTTP 503"}, "waiting for the source: HTTP 503"),
        (True, {}, "up to date"),
        (False, {"unsettled": 2}, "waiting for 2 dropped files that are still being written"),
        (False, {}, "listing the source"),
    ],
)
def test_what_a_source_unit_says(listed: bool, more: dict[str, Any], status: str) -> None:
    left = Left("forever", **more)
    left.work.is_none(listed)
    assert left.activity.status == status


def test_a_source_that_is_out_of_reach_before_it_was_listed_is_an_outage() -> None:
    left = Left("drained", out_of_reach=True)
    left.work.is_none(False)
    left.work.is_none(True)
    assert left.outages == 1


class Source:
    """The completion of a source unit."""

    def __init__(self, *, hopeless: bool = False, full: bool = False, none: bool = False) -> None:
        self.seen: list[str] = []
        self.activity = Activity()
        self.flight: list[Any] = []
        self.backlog: list[Any] = []
        availability: Any = SimpleNamespace(
            is_hopeless=lambda: hopeless, end_unserved=lambda: self.seen.append("unserved")
        )
        lister = SimpleNamespace(missing=SimpleNamespace(forget=lambda: self.seen.append("forgotten")))
        parts: list[Any] = [
            self.flight,
            self.backlog,
            SimpleNamespace(lister=lister),
            self.activity,
            SimpleNamespace(is_none=lambda listed: none and listed),
            SimpleNamespace(is_full=full),
        ]
        self.completion = Completion(availability, *parts)

    def ends(self, listed: bool = True) -> bool:
        return self.completion.is_over(listed)


def test_a_run_that_has_nothing_left_is_complete() -> None:
    source = Source(none=True)
    assert not source.ends(listed=False)
    source.backlog.append("a row")
    assert not source.ends()
    source.backlog.clear()
    assert source.ends()
    assert (source.activity.is_complete, source.seen) == (True, ["forgotten"])


def test_a_run_whose_volumes_are_full_is_complete_too() -> None:
    source = Source(full=True)
    source.backlog.append("a row")
    assert source.ends()
    assert source.activity.is_complete


def test_a_run_that_gives_up_on_the_source_is_not_complete() -> None:
    source = Source(hopeless=True, none=True)
    source.flight.append("a trial")
    source.backlog.append("a row")
    assert not source.ends(), "the last trial may be served"
    source.flight.clear()
    assert source.ends()
    assert (source.activity.is_complete, source.seen) == (False, ["unserved"])


# -- the destination unit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("until", "trials", "hopeless", "due"),
    [
        ("once", 0, False, False),
        ("once", 1, False, True),
        ("drained", 2, False, False),
        ("drained", 3, False, True),
        ("drained", 0, True, True),
        ("forever", 99, True, False),
    ],
)
def test_a_run_gives_up_on_a_destination_after_its_trials(until: str, trials: int, hopeless: bool, due: bool) -> None:
    job: Any = SimpleNamespace(attempts=3)
    refusals: Any = SimpleNamespace(trials=trials)
    availability: Any = SimpleNamespace(is_hopeless=lambda: hopeless)
    switches = Switches()
    switches.refused.set()
    assert GivingUp(job, refusals, availability, switches, until=until).is_due() is due
    assert (switches.refused.is_set(), switches.space.is_set()) == (due, due), "the source unit knows"


@pytest.mark.parametrize("hopeless", [True, False])
def test_only_a_store_that_serves_nothing_is_said_to(hopeless: bool) -> None:
    said: list[int] = []
    availability: Any = SimpleNamespace(is_hopeless=lambda: hopeless, end_unserved=lambda: said.append(1))
    unused: Any = None
    GivingUp(unused, unused, availability, Switches(), until="once").explain()
    assert bool(said) is hopeless


@pytest.mark.parametrize(
    ("what", "until", "left"),
    [
        ("nothing", "drained", False),
        ("flight", "once", True),
        ("backlog", "once", True),
        ("released", "once", True),
        ("leftovers", "once", True),
        ("touched", "once", False),  # another pass asks for them
        ("touched", "forever", False),
        ("touched", "drained", True),
    ],
)
def test_what_is_on_its_way_through_the_unit(what: str, until: str, left: bool) -> None:
    flight: Any = ["x"] if what == "flight" else []
    backlog: Any = ["x"] if what == "backlog" else []
    releases: Any = SimpleNamespace(has_released=what == "released")
    leftovers: Any = SimpleNamespace(are_left=what == "leftovers")
    touched: Any = SimpleNamespace(are_left=lambda: what == "touched")
    assert Unfinished(flight, backlog, releases, leftovers, touched, until=until).are_left() is left


def staged_left(until: str = "drained", **more: Any) -> StagedLeft:
    job: Any = SimpleNamespace(attempts=3)
    absent = {"two": "gone"} if more.get("absent") else {}
    volumes: Any = SimpleNamespace(open={1: "one"}, coming={3}, absent=absent, why_absent=lambda: "two: gone")
    objects: Any = SimpleNamespace(
        work=lambda state, after_id, limit, volumes: [volumes],
        waiting=lambda state: state is State.STAGED and more.get("staged", False),
        is_to_be_sent=lambda attempts: more.get("unsent", False) and attempts == 3,
    )
    return StagedLeft(job, objects, volumes, until=until)


@pytest.mark.parametrize(
    ("staged", "absent", "source_done", "why"),
    [
        (True, True, True, "waiting for a volume: two: gone"),
        (True, False, True, "waiting to retry"),
        (False, True, False, "waiting for the source"),
        (False, True, True, "up to date"),
    ],
)
def test_what_a_destination_unit_waits_for(staged: bool, absent: bool, source_done: bool, why: str) -> None:
    assert staged_left(staged=staged, absent=absent).why_waiting(source_done) == why


@pytest.mark.parametrize(("absent", "asked"), [(False, None), (True, {1, 3})])
def test_a_single_pass_leaves_what_is_on_absent_volumes_to_another(absent: bool, asked: set[int] | None) -> None:
    seen: list[Any] = []
    volumes: Any = SimpleNamespace(open={1: "one"}, coming={3}, absent={"two": "gone"} if absent else {})
    objects: Any = SimpleNamespace(work=lambda state, after_id, limit, volumes: seen.append(volumes))
    job: Any = None
    assert not StagedLeft(job, objects, volumes, until="once").are_to_be_sent()
    assert seen == [asked]


@pytest.mark.parametrize("unsent", [True, False])
def test_a_run_until_drained_sends_what_has_attempts_left(unsent: bool) -> None:
    assert staged_left(unsent=unsent).are_to_be_sent() is unsent


class Destination:
    """The completion of a destination unit; by default nothing is left."""

    def __init__(self, until: str = "drained", **more: Any) -> None:
        self.activity = Activity()
        self.explained = 0
        flight: Any = more.get("flight", ())
        pool: Any = SimpleNamespace(any_up=more.get("any_up", True))
        refusals: Any = SimpleNamespace(everything=more.get("everything", False))
        giving_up: Any = SimpleNamespace(is_due=lambda: more.get("gives_up", False), explain=self._explain)
        unfinished: Any = SimpleNamespace(are_left=lambda: more.get("unfinished", False))
        staged: Any = SimpleNamespace(
            why_waiting=lambda source_done: "why", are_to_be_sent=lambda: more.get("unsent", False)
        )
        self.completion = DestinationCompletion(
            pool, refusals, flight, self.activity, giving_up, unfinished, staged, until=until
        )

    def _explain(self) -> None:
        self.explained += 1


@pytest.mark.parametrize(
    ("source_done", "more", "over"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"unfinished": True}, False),
        (True, {"unsent": True}, False),
        (True, {"until": "forever"}, False),
        (True, {"gives_up": True, "unfinished": True, "unsent": True}, True),
        (True, {"gives_up": True, "unfinished": True, "flight": ["x"]}, False),
        (False, {"gives_up": True, "unfinished": True}, False),
    ],
)
def test_when_a_destination_unit_is_done(source_done: bool, more: dict[str, Any], over: bool) -> None:
    destination = Destination(**more)
    assert destination.completion.is_over(source_done) is over
    assert (destination.activity.is_complete, destination.explained) == (over, int(over))


@pytest.mark.parametrize(
    ("more", "status"), [({}, "why"), ({"any_up": False}, "starting"), ({"everything": True}, "starting")]
)
def test_an_outage_or_a_refusal_remains_the_status(more: dict[str, Any], status: str) -> None:
    destination = Destination(**more)
    destination.completion.is_over(True)
    assert destination.activity.status == status
