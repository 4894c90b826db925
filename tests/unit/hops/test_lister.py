# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a listing that was recorded means: what is forgotten, and what gets another chance."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from ledger_rows import failure, listed, rows

from snowsync.core.errors import Trouble
from snowsync.core.model import ListedObject, Page, State
from snowsync.hops.counters import Listed
from snowsync.hops.flight import Flight
from snowsync.hops.source.listing import lister
from snowsync.hops.source.listing.lister import ListingRecorder, MissingObjects, Revival
from snowsync.ledger.ledger import Ledger


@pytest.fixture
def missing(ledger: Ledger) -> MissingObjects:
    """`a` and `b` were listed and not there, `c` is there."""
    ledger.listing.observe([listed(key) for key in "abc"])
    for row in rows(ledger, State.PENDING)[:2]:
        ledger.objects.gone(failure(row, Trouble.NOT_FOUND))
    return MissingObjects(ledger.listing, Flight())


def gone(ledger: Ledger) -> set[str]:
    return ledger.listing.gone_keys()


def test_what_a_complete_pass_does_not_show_is_forgotten(ledger: Ledger, missing: MissingObjects) -> None:
    missing.pass_begins()
    missing.seen([listed("b"), listed("c")])
    assert gone(ledger) == {"a", "b"}, "the pass is not over"
    missing.pass_ended(is_all_read=True)
    assert gone(ledger) == {"b"}


def test_nothing_is_forgotten_after_a_pass_that_was_not_read_completely(
    ledger: Ledger, missing: MissingObjects
) -> None:
    missing.pass_begins()
    missing.pass_ended(is_all_read=False)
    missing.forget()
    assert gone(ledger) == {"a", "b"}


def test_what_is_in_flight_is_forgotten_once_it_has_left_the_unit(ledger: Ledger, missing: MissingObjects) -> None:
    flight: Flight = missing._flight
    row = ledger.objects.row_of_key("a")
    item: Any = SimpleNamespace(row=row)
    flight.take(item)
    missing.pass_begins()
    missing.pass_ended(is_all_read=True)
    assert gone(ledger) == {"a"}
    flight.leave(item.row.id)
    missing.forget()
    assert gone(ledger) == set()


def test_failed_objects_get_another_chance_once_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(lister, "time", SimpleNamespace(monotonic=lambda: now[0]))
    revived: list[float] = []
    objects: Any = SimpleNamespace(revive=lambda: revived.append(now[0]))
    revival = Revival(objects)
    for now[0] in (1000.0, 4599.0, 4600.0, 8199.0, 8200.0):
        revival.now_and_then()
    assert revived == [4600.0, 8200.0]


class Parts:
    """The other parts of a lister, which only note what they are told."""

    def __init__(self, *pages: Page | None) -> None:
        self.pages = pages
        self.said: list[str] = []

    def read(self) -> tuple[Page | None, ...]:
        return self.pages

    def restart(self) -> None:
        self.said.append("restart")

    def leave_unread(self, unread: list[str]) -> None:
        self.said += unread

    def usable(self, objects: list[ListedObject]) -> list[ListedObject]:
        return [each for each in objects if each.key != "odd"]

    def pass_ended(self) -> None:
        self.said.append("ended")

    def has_changed(self) -> None:
        self.said.append("changed")


def record(ledger: Ledger, missing: MissingObjects, *pages: Page | None) -> tuple[bool, list[str], Listed, bool]:
    parts: Any = Parts(*pages)
    seen, new_work = Listed(), threading.Event()
    recorder = ListingRecorder(ledger.listing, parts, parts, missing, seen, new_work, parts.has_changed)
    return recorder.record(), parts.said, seen, new_work.is_set()


def test_a_pass_records_what_can_be_moved(ledger: Ledger, missing: MissingObjects) -> None:
    pages = Page([listed("a"), listed("odd")], None), Page([listed("new", size=5)], None)
    is_over, said, seen, has_work = record(ledger, missing, *pages)
    assert (is_over, said, has_work) == (True, ["restart", "ended"], True)
    assert (seen.objects, seen.bytes) == (2, 15)
    assert ledger.objects.row_of_key("odd") is None
    assert gone(ledger) == {"a"}, "b is no longer listed"


def test_a_new_generation_is_told(ledger: Ledger, missing: MissingObjects) -> None:
    _is_over, said, _seen, has_work = record(ledger, missing, Page([listed("c", etag="other")], None))
    assert (said, has_work) == (["restart", "changed", "ended"], True)
    _is_over, said, _seen, has_work = record(ledger, missing, Page([listed("c", etag="other")], None))
    assert (said, has_work) == (["restart", "ended"], False)


def test_a_pass_with_something_unreadable_forgets_nothing(ledger: Ledger, missing: MissingObjects) -> None:
    record(ledger, missing, Page([], None, unread=["something"]), Page([listed("c")], None))
    assert gone(ledger) == {"a", "b"}


def test_a_pass_that_was_stopped_is_no_pass(ledger: Ledger, missing: MissingObjects) -> None:
    is_over, said, _seen, _has_work = record(ledger, missing, Page([listed("c")], None), None)
    assert (is_over, said) == (False, ["restart"])
    assert gone(ledger) == {"a", "b"}
