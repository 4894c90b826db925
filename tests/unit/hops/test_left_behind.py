# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that are listed and no run can move: named, counted in every run, recorded once, and never taken for done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_stores
import pytest
from fake_stores import FakeClient, FakeStore, Rig, install

from snowsync.core.errors import ObjectsFailed, StoreError
from snowsync.core.keys import key_bytes
from snowsync.core.model import Head, ListedObject, Page
from snowsync.inspection import status
from snowsync.inspection.progress import Progress
from snowsync.ledger.ledger import Ledger
from snowsync.proofs.holdings import found_at
from snowsync.proofs.listing_route import Wanted
from snowsync.running.run import plan_job
from snowsync.show.watch import watch
from snowsync.store.answers import unreadable

LATIN = "caf\udce9"


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    made = Rig(tmp_path)
    install(monkeypatch, made)
    return made


def fill(rig: Rig, *more: str) -> None:
    for key in ("a", "b", "c", *more):
        rig.source.put(key, key_bytes(key))


@pytest.mark.parametrize(
    ("key", "named", "reason"),
    [
        (LATIN, r"caf\xe9", "not valid UTF-8"),
        ("x" * 1025, "x" * 1025, "1025 bytes"),
        ("é" * 513, "é" * 513, "1026 bytes"),
        ("\udced\udca0\udc80", r"\xed\xa0\x80", "not valid UTF-8"),  # half of a pair, encoded
    ],
)
@pytest.mark.parametrize("until", ["drained", "once"])
def test_what_cannot_be_moved_is_named_and_the_run_is_not_drained(
    rig: Rig, key: str, named: str, reason: str, until: str
) -> None:
    fill(rig, key)
    for _ in range(3):
        summary = rig.run(until=until)
        assert (summary.drained, summary.left_behind, summary.failure_count) == (False, 1, 1)
        assert [failure["key"] for failure in summary.failures] == [named]
        assert reason in summary.failures[0]["message"]
    assert set(rig.destination.objects) == {"a", "b", "c"}
    assert rig.failures() == [(named, "unsupported")]


def test_a_key_that_is_empty_is_left(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(rig)
    list_page = FakeClient.list_page

    def with_nameless(self: FakeClient, token: str | None, **options: Any) -> Page:
        page = list_page(self, token, **options)
        nameless = [ListedObject("", 1, "e", 1)] if self.fake is rig.source else []
        return Page([*nameless, *page.objects], page.next_token)

    monkeypatch.setattr(FakeClient, "list_page", with_nameless)
    summary = rig.run()
    assert (summary.drained, summary.left_behind) == (False, 1)
    assert "its key is empty" in summary.failures[0]["message"]


@pytest.mark.parametrize("whole", [False, True])
def test_what_was_not_asked_for_is_left(rig: Rig, monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    fill(rig, "in/1", "in/2")
    rig.changes = {"source": {"prefix": "in/", **({"list_version": "v1", "sorted": False} if whole else {})}}
    list_page = FakeClient.list_page
    monkeypatch.setattr(
        FakeClient, "list_page", lambda self, token, **options: list_page(self, token, **{**options, "prefix": ""})
    )
    assert plan_job(rig.job).left_behind == 3
    summary = rig.run()
    assert (summary.drained, summary.left_behind, summary.failure_count) == (False, 3, 3)
    assert set(rig.destination.objects) == {"1", "2"}


def test_a_reason_that_changed_is_recorded_again(rig: Rig) -> None:
    fill(rig, LATIN)
    rig.run()
    rig.run()
    assert len(rig.failures()) == 1
    del rig.source.objects[LATIN]
    rig.source.put("c" * 2000, b"")
    rig.run()
    assert len(rig.failures()) == 2


def test_one_pass_of_many_does_not_count_twice(rig: Rig) -> None:
    fill(rig, LATIN)
    rig.source.page_size = 2
    rig.changes = {"pass_interval": 1}
    running = rig.start(until="forever")
    fake_stores.wait_until(lambda: running.units[0].counters.listed.passes >= 2)
    assert running.units[0].counters.listed.left_behind == 1
    assert running.units[0].counters.failures.count == 1
    running.switches.stop.set()
    running.thread.join(30)


def test_once_it_is_renamed_the_job_is_drained(rig: Rig) -> None:
    fill(rig, LATIN)
    rig.run()
    assert (status.gather(rig.job).drained, status.gather(rig.job).left_behind) == (False, 1)
    rig.source.objects["café"] = rig.source.objects.pop(LATIN)
    assert rig.run().drained
    assert (status.gather(rig.job).drained, status.gather(rig.job).left_behind) == (True, 0)


def test_a_run_that_does_not_list_knows_of_what_was_left(rig: Rig) -> None:
    fill(rig, LATIN)
    assert not rig.run(direction="source").drained
    summary = rig.run(direction="destination")
    assert (summary.drained, summary.left_behind) == (False, 1)
    del rig.source.objects[LATIN]
    rig.run(direction="source")
    assert rig.run(direction="destination").drained


def test_another_source_has_left_nothing(rig: Rig) -> None:
    fill(rig, LATIN)
    rig.run()
    rig.changes = {"source": {"prefix": "a"}}
    assert status.gather(rig.job).left_behind == 0


def test_those_who_watch_are_told_and_do_not_wait_for_ever(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    fill(rig, LATIN)
    rig.run()
    with pytest.raises(ObjectsFailed, match="1 object cannot be moved"):
        watch(rig.job, until_drained=True, timeout=100)
    assert "1 object cannot be moved" in capsys.readouterr().out
    assert "1 object left at the source" in status.render(status.gather(rig.job))
    progress = Progress(rig.job)
    view = progress.look()
    progress.close()
    assert (view.objects.is_settled, view.objects.left_behind, view.objects.drained) == (True, 1, False)


@pytest.mark.parametrize("with_ledger", [False, True])
def test_a_plan_counts_what_cannot_be_moved_apart(rig: Rig, with_ledger: bool) -> None:
    fill(rig)
    if with_ledger:
        rig.run()
    fill(rig, "new", LATIN)
    plan = plan_job(rig.job)
    assert "new" in plan.keys
    assert (plan.left_behind, [left["key"] for left in plan.left]) == (1, [r"caf\xe9"])
    assert "not valid UTF-8" in plan.left[0]["reason"]
    assert LATIN not in plan.keys


def test_a_plan_names_the_first_hundred_and_counts_all(rig: Rig) -> None:
    fill(rig, *(f"{number:03}\udcff" for number in range(120)))
    plan = plan_job(rig.job)
    assert (plan.left_behind, len(plan.left)) == (120, 100)


# -- listings of a destination that proves by them ----------------------------------------------------------------


class Shelves(FakeClient):
    """A client of its own, whose listing has foreign keys."""

    def __init__(self, fake: FakeStore, *foreign: str) -> None:
        super().__init__(fake, "http://x")
        self.foreign = foreign

    def list_page(self, token: str | None, **options: Any) -> Page:
        page = super().list_page(token, **options)
        more = [ListedObject(key, 1, "e", 1) for key in self.foreign]
        return Page(sorted([*page.objects, *more], key=lambda listed: key_bytes(listed.key)), page.next_token)


@pytest.mark.parametrize("foreign", [LATIN, "\udcff", "\udc80", "x" * 5000, "k050\udce9"])
def test_foreign_keys_do_not_keep_a_listing_from_proving(rig: Rig, foreign: str) -> None:
    for number in range(100):
        rig.destination.put(f"k{number:03}", b"x")
    expected = {key: Wanted(stored.etag, len(stored.data)) for key, stored in rig.destination.objects.items()}
    found = found_at(Shelves(rig.destination, foreign), rig.job.destination, expected)
    assert set(found) == set(expected)
    assert all(isinstance(head, Head) for head in found.values())


def test_a_listing_in_a_circle_proves_what_it_gave(rig: Rig) -> None:
    for number in range(100):
        rig.destination.put(f"k{number:03}", b"x")
    expected = {key: Wanted(stored.etag, len(stored.data)) for key, stored in rig.destination.objects.items()}

    class Circle(FakeClient):
        asked = 0

        def list_page(self, token: str | None, **options: Any) -> Page:
            self.asked += 1
            page = super().list_page(None, prefix="", max_keys=50)
            return Page(page.objects, "again", True)

    circle = Circle(rig.destination, "http://x")
    assert len(found_at(circle, rig.job.destination, expected)) == 50
    assert circle.asked == 2


def test_a_ledger_never_gets_a_key_that_it_cannot_hold(rig: Rig) -> None:
    ledger = Ledger(rig.job.ledger_path)
    with pytest.raises(UnicodeEncodeError):
        ledger.listing.observe([ListedObject(LATIN, 1, "e", 1)])
    ledger.close()


# -- a listing that ends in an error --------------------------------------------------------------------------------


def endless(self: FakeClient, token: str | None, **options: Any) -> Page:
    return Page([], f"{token}x", True)


def test_a_listing_without_end_ends_the_run_and_the_plan(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(rig)
    monkeypatch.setattr(FakeClient, "list_page", endless)
    with pytest.raises(StoreError, match="empty pages"):
        rig.run()
    with pytest.raises(StoreError, match="empty pages"):
        plan_job(rig.job)
    assert not status.gather(rig.job).drained


def garbled(rig: Rig, monkeypatch: pytest.MonkeyPatch, *hidden: str) -> None:
    """The source gives no readable page that should show one of these keys."""
    monkeypatch.setattr("snowsync.store.endpoint._LONGEST_REST", 0.01)
    list_page = FakeClient.list_page

    def garble(self: FakeClient, token: str | None, **options: Any) -> Page:
        page = list_page(self, token, **options)
        if self.fake is rig.source and any(listed.key in hidden for listed in page.objects):
            raise unreadable("list", ValueError("it ends too early"), 200)
        return page

    monkeypatch.setattr(FakeClient, "list_page", garble)


@pytest.mark.parametrize(
    ("hidden", "named"),
    [
        (["a"], "what stands at its beginning and up to 'a'"),
        (["c"], "what stands after 'b' and up to 'c'"),
        (["f"], "what stands after 'e' and up to 'f'"),
        (["c", "d"], "what stands after 'b' and up to 'd'"),
        (["e", "f"], "what stands after 'd' and up to 'f'"),
    ],
)
def test_what_nobody_can_read_is_passed_and_named(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, hidden: list[str], named: str
) -> None:
    rig.source.page_size = 4
    fill(rig, "d", "e", "f")
    garbled(rig, monkeypatch, *hidden)
    for _ in range(2):
        summary = rig.run()
        assert (summary.drained, summary.left_behind, summary.failure_count) == (False, 1, 1)
        assert [failure["key"] for failure in summary.failures] == [named]
    assert set(rig.destination.objects) == set("abcdef").difference(hidden)
    assert rig.failures() == [(named, "unsupported")]


def test_what_nobody_can_read_without_an_order_ends_the_pass(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.source.page_size = 2
    rig.changes["source"] = {"sorted": False}
    fill(rig)
    garbled(rig, monkeypatch, "c")
    summary = rig.run()
    assert (summary.drained, summary.left_behind) == (False, 1)
    assert "and all that follows, cannot be read: the response is not a valid" in summary.failures[0]["message"]
    assert set(rig.destination.objects) == {"a", "b"}


def test_nothing_is_forgotten_where_something_cannot_be_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(rig)
    shown: dict[str, Any] = {"objects": [ListedObject("d", 1, "e", 1)]}
    list_page = FakeClient.list_page

    def with_more(self: FakeClient, token: str | None, **options: Any) -> Page:
        page = list_page(self, token, **options)
        if self.fake is rig.source:
            page = Page([*page.objects, *shown.get("objects", [])], page.next_token, unread=shown.get("unread", []))
        return page

    def gone() -> set[str]:
        ledger = rig.ledger
        try:
            return ledger.listing.gone_keys()
        finally:
            ledger.close()

    monkeypatch.setattr(FakeClient, "list_page", with_more)
    rig.run()
    assert gone() == {"d"}
    del shown["objects"]
    shown["unread"] = ["an entry after 'c' cannot be read: '<Key'"]
    summary = rig.run()
    assert (summary.drained, summary.left_behind, gone()) == (False, 1, {"d"})
    assert plan_job(rig.job).left_behind == 1
    del shown["unread"]
    assert rig.run().drained
    assert gone() == set()


def test_a_page_that_could_not_be_read_for_a_while_is_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snowsync.store.endpoint._LONGEST_REST", 0.01)
    rig.source.page_size = 2
    fill(rig)
    left = iter(range(4))

    def garble(operation: str, key: str) -> None:
        if operation == "list" and key and next(left, None) is not None:
            raise unreadable("list", ValueError("it ends too early"), 200)

    rig.source.before = garble
    assert rig.run().drained
    rig.assert_delivered()


def test_a_token_that_is_refused_starts_the_listing_again_and_counts_once(rig: Rig) -> None:
    rig.source.page_size = 2
    fill(rig, LATIN, "z")
    refusals = iter([True])

    def refuse_once(operation: str, key: str) -> None:
        if operation == "list" and key and key_bytes(key) >= b"caf" and next(refusals, False):
            raise StoreError(fake_stores.Trouble.UNSUPPORTED, "list", "the token is not known")

    rig.source.before = refuse_once
    summary = rig.run()
    assert summary.left_behind == 1
    assert set(rig.destination.objects) == {"a", "b", "c", "z"}


def test_nothing_is_left_where_every_key_can_be_moved(rig: Rig) -> None:
    """The control."""
    fill(rig, "é", "x" * 1024, "é" * 512)
    summary = rig.run()
    assert (summary.drained, summary.left_behind, summary.failure_count) == (True, 0, 0)
    assert status.gather(rig.job).facts == []
