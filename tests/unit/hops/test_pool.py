# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints of a store: which one is asked, which one rests, what is under way at each, how movers are replaced."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_stores import FakeMover, FakeStore, Rig, install, refuse, wait_until

from snowsync.config.credentials import for_side
from snowsync.config.job_file import MoverSettings
from snowsync.core.blame import MANY, TRIED_AT_ONCE, Blame
from snowsync.core.errors import JobStopped, StoreError, Trouble
from snowsync.core.model import Fetch, Outcome
from snowsync.hops.pool import EndpointPool
from snowsync.store.endpoint import Endpoint
from snowsync.store.timeouts import Patience
from snowsync.store.width import Width

ONE, TWO = "http://one.test:1", "http://two.test:1"
MIB = 1024 * 1024


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    made = Rig(tmp_path, source_endpoints=[ONE, TWO])
    install(monkeypatch, made)
    return made


def make_pool(rig: Rig, received: list[Outcome] | None = None, **more: object) -> EndpointPool:
    job = rig.job
    outcomes = [] if received is None else received
    return EndpointPool(
        job.source,
        for_side(job, "source"),
        job.mover,
        direction="fetch",
        on_outcomes=outcomes.extend,
        **more,  # type: ignore[arg-type]  # `wake`
    )


def fetch(rig: Rig, number: int, size: int = 1, key: str = "") -> Fetch:
    return Fetch(number, key or f"object-{number}", size, str(rig.folder / f"fetched-{number}"))


def row_of(number: int, parts: int) -> Any:
    return SimpleNamespace(id=number, size=parts * MIB, part_size=MIB if parts > 1 else 0, volume=1)


def hold_fetches(rig: Rig, released: threading.Event) -> None:
    rig.source.before = lambda operation, _key: None if operation != "fetch" else (released.wait(100) and None)


def give(pool: EndpointPool, endpoint: Endpoint, work: Fetch) -> None:
    pool.transfers.submit(endpoint, pool.transfers.choose_tool(work), work)


def answers(pool: EndpointPool) -> dict[str, bool]:
    return {endpoint.url: endpoint.is_up for endpoint in pool.endpoints}


# -- health -------------------------------------------------------------------------------------------------------


def test_reports_of_one_outage_count_once_and_rests_grow(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    endpoint = make_pool(rig).endpoints[0]
    pauses = []
    for _ in range(9):
        pauses.append(endpoint.rest("it is down"))
        assert endpoint.rest("and down again") == pauses[-1]
        clock[0] += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    endpoint.served(1)
    assert endpoint.rest("down once more") == 1


def test_all_are_well_after_a_preflight(rig: Rig) -> None:
    pool = make_pool(rig)
    pool.preflight()
    wait_until(lambda: all(answers(pool).values()))


def test_one_that_says_nothing_holds_up_neither_the_start_nor_the_other(rig: Rig) -> None:
    released = threading.Event()

    def say_nothing(url: str) -> bool:
        return url != ONE or released.wait(100)

    rig.source.answers_at = say_nothing
    pool = make_pool(rig)
    pool.preflight()
    assert answers(pool) == {ONE: False, TWO: True}
    assert f"{ONE} has not answered yet" in pool.why_down()
    assert not pool.none_answers
    released.set()
    wait_until(lambda: answers(pool)[ONE])


def test_a_preflight_that_finds_nobody_ends_and_says_why(rig: Rig) -> None:
    rig.source.answers_at = lambda url: False
    pool = make_pool(rig)
    pool.preflight()
    assert pool.none_answers
    assert not pool.any_up
    assert pool.pick() is None
    assert pool.why_down().count("nothing answers there") == 2


def test_a_preflight_ends_when_the_run_is_stopped(rig: Rig) -> None:
    released = threading.Event()
    rig.source.answers_at = lambda url: released.wait(100)
    pool = make_pool(rig)
    pool.preflight(lambda: True)
    assert not pool.any_up
    released.set()


def test_a_refused_credential_stops_at_once(rig: Rig) -> None:
    rig.source.before = refuse(Trouble.CREDENTIAL, operation="list")
    with pytest.raises(JobStopped):
        make_pool(rig).preflight()


def test_a_destination_that_may_not_be_listed_is_well(rig: Rig) -> None:
    rig.source.before = refuse(Trouble.DENIED, operation="list")
    pool = make_pool(rig)
    pool.preflight()
    assert pool.any_up


def judge(pool: EndpointPool, endpoint: Endpoint, *numbers: int) -> list[Blame]:
    """Whose fault it is that these objects fail at an endpoint that answers probes."""
    told: list[Blame] = []
    for number in numbers:
        pool.find_out(endpoint, number, Trouble.SERVER, "HTTP 500", told.append)
        wait_until(lambda: not pool.is_probed(endpoint))
    return told


def test_an_endpoint_that_serves_nothing_rests_and_then_is_given_few_objects(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held, received = threading.Event(), list[Outcome]()
    pool = make_pool(rig, received)
    one, two = pool.endpoints
    assert judge(pool, one, *range(1, MANY + 1)) == [Blame.OBJECT] * (MANY - 1) + [Blame.SERVICE]
    assert (one.is_up, one.trials, pool.serves_nothing) == (False, 1, False), "the other one is well"
    assert judge(pool, two, *range(1, MANY + 1))[-1] is Blame.SERVICE
    assert (pool.serves_nothing, pool.trials) == (True, 1)
    hold_fetches(rig, held)
    for endpoint in pool.endpoints:
        endpoint.health.answered()
    for number in range(TRIED_AT_ONCE):
        give(pool, one, fetch(rig, number))
    for number in range(TRIED_AT_ONCE, 2 * TRIED_AT_ONCE - 1):
        give(pool, two, fetch(rig, number))
    assert pool.pick() is two
    give(pool, two, fetch(rig, 2 * TRIED_AT_ONCE))
    assert pool.pick() is None
    assert pool.pick_to_ask() is one, "a question is none of the objects that are tried"
    assert judge(pool, two, 1) == [Blame.SERVICE]
    assert (two.trials, two.health.rests) == (2, 2)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"], "said once of each"
    two.served(1)
    assert pool.pick() is two
    assert not pool.serves_nothing
    held.set()
    wait_until(lambda: len(received) == 2 * TRIED_AT_ONCE)
    pool.transfers.close()


def test_objects_that_fail_while_another_one_is_served_are_to_blame(rig: Rig) -> None:
    rig.source.put("served", b"bytes")
    pool = make_pool(rig, examples=lambda: ["gone", "served"])
    endpoint = pool.endpoints[0]
    assert judge(pool, endpoint, *range(1, MANY + 3)) == [Blame.OBJECT] * (MANY + 2)
    assert endpoint.is_up


@pytest.mark.parametrize(("hop", "operation"), [("source", "fetch"), ("destination", "send")])
def test_an_object_that_failed_at_one_endpoint_is_tried_at_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hop: str, operation: str
) -> None:
    rig = Rig(tmp_path, changes={"attempts": 2}, **{f"{hop}_endpoints": [ONE, TWO]})  # type: ignore[arg-type]
    install(monkeypatch, rig)
    keys = [f"object-{number}" for number in range(MANY - 1)]
    for key in keys:
        rig.source.put(key, b"x")
    store: FakeStore = getattr(rig, hop)
    ask, failed = store.request, []

    def request(asked: str, key: str, url: str) -> None:
        if asked == operation and url == ONE:
            failed.append(key)
            raise StoreError(Trouble.SERVER, f"{asked} {key}", "HTTP 500")
        ask(asked, key, url)

    monkeypatch.setattr(store, "request", request)
    assert rig.run().drained
    assert failed, "the first one of two that have nothing to do is asked first"
    assert len(failed) == len(set(failed))
    rig.assert_delivered()


def test_a_defect_in_a_probe_is_not_lost(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_endpoint: Endpoint) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(Endpoint, "probe", fail)
    with pytest.raises(ValueError, match="a defect"):
        make_pool(rig).preflight()


def test_who_is_down_is_asked_again_after_its_rest_and_not_before(rig: Rig) -> None:
    pool = make_pool(rig)
    pool.preflight()
    wait_until(lambda: all(answers(pool).values()))
    (one, _two) = pool.endpoints
    asked = rig.source.count("list")
    one.rest("a request failed")
    pool.probe_due()
    assert rig.source.count("list") == asked
    one.health.down_until = 0.0
    pool.probe_due()
    wait_until(lambda: one.is_up)
    assert rig.source.count("list") == asked + 1


def test_one_that_says_nothing_is_asked_once_at_a_time(rig: Rig) -> None:
    pool = make_pool(rig)
    released = threading.Event()
    rig.source.answers_at = lambda url: released.wait(100)
    (one, _two) = pool.endpoints
    one.rest("a request failed")
    one.health.down_until = 0.0
    for _ in range(5):
        pool.probe_due()
    released.set()
    wait_until(lambda: one.is_up)
    assert rig.source.count("list") == 1


# -- whom to ask --------------------------------------------------------------------------------------------------


def test_the_least_busy_one_is_asked_and_the_avoided_one_only_alone(rig: Rig) -> None:
    pool = make_pool(rig)
    one, two = pool.endpoints
    released = threading.Event()
    hold_fetches(rig, released)
    give(pool, one, fetch(rig, 1))
    assert pool.pick() is two
    assert pool.pick(avoid=TWO) is one
    one.rest("down")
    assert pool.pick(avoid=TWO) is two, "another copy from there is better than none"
    two.rest("down")
    assert pool.pick() is None
    released.set()
    pool.transfers.close()


def test_a_full_lane_of_large_objects_leaves_room_for_small_ones(rig: Rig) -> None:
    rig.changes = {"mover": {"large_workers": 4, "large_object": "1MiB"}}  # two of them fetch
    held = threading.Event()
    hold_fetches(rig, held)
    received: list[Outcome] = []
    woken: list[bool] = []
    pool = make_pool(rig, received, wake=lambda: woken.append(True))
    for number in range(4):
        endpoint = pool.pick_for_large([0])
        assert endpoint
        give(pool, endpoint, fetch(rig, number, MIB))
    assert pool.pick_for_large([0]) is None
    assert pool.pick() is not None
    held.set()
    wait_until(lambda: len(received) == 4)
    wait_until(lambda: len(woken) == 4)
    assert pool.pick_for_large([0]) is not None
    pool.transfers.close()


def test_large_objects_in_few_parts_leave_room_for_more_of_them(rig: Rig) -> None:
    rig.changes = {"mover": {"tool": "native", "large_workers": 4, "large_object": "1MiB"}}  # two of four streams each
    pool = make_pool(rig)
    endpoint = pool.endpoints[0]
    pool.endpoints[1].rest("down")
    for number in range(8):
        assert pool.pick_for_large([1]) is endpoint
        pool.expect_large(endpoint, row_of(number, parts=1 if number else 2))
        if pool.pick_for_large([1]) is None:
            break
    assert number == 6, "two parts of the first one, and one of each other"
    assert pool.full_volumes(endpoint, [1, 2]) == {1}
    assert pool.pick_for_large([1, 2]) is endpoint, "each volume has streams of its own"
    assert pool.pick_for_large([]) is endpoint, "that there is no volume is said elsewhere"
    pool.expect_no_more(endpoint, 0)
    assert pool.pick_for_large([1]) is endpoint
    pool.transfers.close()


def test_volumes_share_the_processes_of_s5cmd(rig: Rig) -> None:
    rig.changes = {"mover": {"tool": "s5cmd", "large_workers": 2, "large_object": "1MiB"}}  # one fetches
    pool = make_pool(rig)
    endpoint = pool.endpoints[0]
    pool.endpoints[1].rest("down")
    pool.expect_large(endpoint, row_of(7, parts=1))
    assert pool.pick_for_large([1, 2]) is None
    assert pool.full_volumes(endpoint, [1, 2]) == set()
    assert pool.pick_for_large([1, 2], held_up={7}) is endpoint
    pool.transfers.close()


def test_the_count_of_what_is_under_way_does_not_drift(rig: Rig) -> None:
    received: list[Outcome] = []
    pool = make_pool(rig, received)
    for number in range(600):
        endpoint = pool.pick()
        assert endpoint
        # Every third one ends in a thread of its own, as boto3's work does.
        give(pool, endpoint, fetch(rig, number, size=number % 3))
    wait_until(lambda: len(received) == 600)
    assert not pool.transfers.owned()
    assert pool.pick() is pool.endpoints[0], "neither has anything"
    assert {outcome.id for outcome in received} == set(range(600))
    pool.transfers.close()


def test_whatever_boto3_does_its_work_gets_an_outcome(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> Outcome:
        raise MemoryError("too much")

    monkeypatch.setattr("fake_stores.carry_out", fail)
    received: list[Outcome] = []
    pool = make_pool(rig, received)
    give(pool, pool.endpoints[0], fetch(rig, 1, size=0))
    wait_until(lambda: len(received) == 1)
    assert received[0].trouble is Trouble.OTHER
    assert "MemoryError: too much" in received[0].message
    pool.transfers.close()


def test_the_end_does_not_wait_for_an_upload_of_hours(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snowsync.movers.blocking_work._GRACE_SECONDS", 0.05)
    begun, released = threading.Event(), threading.Event()

    def take_hours(operation: str, _key: str) -> None:
        begun.set()
        released.wait(100)

    rig.source.before = take_hours
    pool = make_pool(rig)
    for number in range(10):
        give(pool, pool.endpoints[0], fetch(rig, number, size=0))
    assert begun.wait(100)
    pool.transfers.close()
    assert not released.is_set()
    released.set()
    assert rig.source.count("fetch") <= 4, "what had not begun is dropped"


# -- movers -------------------------------------------------------------------------------------------------------


def test_a_volume_that_comes_does_not_interrupt_what_is_under_way(rig: Rig) -> None:
    begun, released = threading.Event(), threading.Event()

    def hold(operation: str, _key: str) -> None:
        begun.set()
        released.wait(100)

    rig.source.put("object-1", b"x")
    received: list[Outcome] = []
    pool = make_pool(rig, received)
    pool.transfers.set_descriptors([10, 11])
    rig.source.before = hold
    give(pool, pool.endpoints[0], fetch(rig, 1))
    assert begun.wait(100)
    pool.transfers.set_descriptors([10, 11, 20, 21])
    assert not FakeMover.made[0].is_closed
    give(pool, pool.endpoints[0], fetch(rig, 2))
    assert FakeMover.made[1].pass_fds == (10, 11, 20, 21)
    released.set()
    wait_until(lambda: len(received) == 2)
    pool.transfers.set_descriptors([10, 11, 20, 21])
    assert FakeMover.made[0].is_closed, "a mover that has nothing left to do goes"
    assert not FakeMover.made[1].is_closed
    assert next(outcome for outcome in received if outcome.id == 1).ok
    pool.transfers.close()


def test_a_volume_that_goes_is_let_go_at_once(rig: Rig) -> None:
    pool = make_pool(rig)
    pool.transfers.set_descriptors([10, 11, 20, 21])
    give(pool, pool.endpoints[0], fetch(rig, 1))
    pool.transfers.set_descriptors([10, 11])
    assert FakeMover.made[0].is_closed
    pool.transfers.close()


def test_without_a_source_there_is_nobody(rig: Rig) -> None:
    settings = MoverSettings()
    pool = EndpointPool(None, None, settings, direction="fetch", on_outcomes=lambda outcomes: None)
    pool.preflight()
    pool.probe_due()
    assert pool.pick() is None
    assert pool.why_down() == ""
    assert pool.transfers.traffic() == 0
    pool.transfers.close()


def test_a_probe_reports_transient_errors_and_stops_as_they_are(rig: Rig) -> None:
    endpoint = make_pool(rig).endpoints[0]
    rig.source.before = refuse(Trouble.SERVER, operation="list")
    with pytest.raises(StoreError) as caught:
        endpoint.probe()
    assert not isinstance(caught.value, JobStopped)
    rig.source.before = refuse(Trouble.BUCKET, operation="list")
    with pytest.raises(JobStopped):
        endpoint.probe()


def test_a_store_that_lists_everything_at_once_is_probed_without_a_listing(rig: Rig) -> None:
    rig.changes = {"source": {"list_version": "v1", "sorted": False}}
    endpoint = make_pool(rig).endpoints[0]
    endpoint.probe()
    assert rig.source.requests == [("check", "")]
    rig.source.put("a", b"x")
    assert [item.key for page in endpoint.pages() for item in page.objects] == ["a"]


def test_all_pages_of_a_listing_are_given(rig: Rig) -> None:
    rig.source.page_size = 2
    for number in range(5):
        rig.source.put(f"object-{number}", b"x")
    pages = list(make_pool(rig).endpoints[0].pages())
    assert [len(page.objects) for page in pages] == [2, 2, 1]


def test_fake_stores_are_what_the_fakes_say() -> None:
    """The control of these tests: a fake that never refuses would prove nothing."""
    store = FakeStore()
    store.before = refuse(Trouble.SERVER, operation="list", times=1)
    with pytest.raises(StoreError):
        store.request("list", "", ONE)
    store.request("list", "", ONE)


# -- requests at once ---------------------------------------------------------------------------------------------


def native_pool(rig: Rig, cap: int) -> EndpointPool:
    job = rig.job
    assert job.source
    store, keys = replace(job.source, max_connections=cap), for_side(job, "source")
    return EndpointPool(store, keys, MoverSettings(), direction="fetch", on_outcomes=print)


def test_a_status_says_how_many_requests_may_be_in_flight(rig: Rig) -> None:
    pool = native_pool(rig, 256)
    assert pool.width_text == ", up to 32 requests at once", "16 at each endpoint"
    pool.endpoints[0].access.width.now = 100
    assert pool.width_text == ", up to 116 requests at once"


def test_s5cmd_decides_itself_how_many_are_in_flight(rig: Rig) -> None:
    assert make_pool(rig).width_text == ""


@pytest.mark.parametrize(("cap", "most"), [(256, 187 - 4), (64, 43 - 4), (8, 3)])
def test_small_objects_may_get_what_large_ones_leave(rig: Rig, cap: int, most: int) -> None:
    assert native_pool(rig, cap).endpoints[0].access.width.most == most


@pytest.mark.parametrize(("width", "heads"), [(4, 16), (16, 16), (20, 20), (100, 32)])
def test_as_many_heads_are_asked_at_once_but_only_half_of_what_is_there_for_queries(
    tmp_path: Path, width: int, heads: int
) -> None:
    job = Rig(tmp_path).job
    keys = for_side(job, "source")
    assert job.source and keys
    endpoint = Endpoint(ONE, job.source, keys, Patience(), Width(16, 200))
    assert endpoint.client()._pool.connections == 16
    endpoint.access.width.now = width
    assert endpoint.client()._pool.connections == heads
