# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of an object when it is fetched again."""

from __future__ import annotations

import pytest

from snowsync.core.model import Head, Headers, Origin, State
from snowsync.hops.source.staging.fetch_notes import FetchNotes
from snowsync.ledger.ledger import Row

ROW = Row(7, "key", 10, "listed", 1000, 1, Origin.SOURCE, State.PENDING, None, 0, "", "", 0, 0, 0)
OTHER = ROW._replace(id=8)


@pytest.fixture
def notes() -> FetchNotes:
    return FetchNotes()


def read(etag: str) -> Head:
    return Head(200, 10, etag, 1000, Headers())


def test_nothing_is_avoided_at_first(notes: FetchNotes) -> None:
    assert (notes.endpoint_to_avoid(ROW), notes.volume_to_avoid(ROW), notes.etag_to_read(ROW)) == ("", 0, "listed")
    assert notes.served_last == ""
    assert not notes.has_any(ROW)


def test_whether_anything_is_avoided(notes: FetchNotes) -> None:
    notes.avoid_endpoint(ROW, "http://one")
    notes.avoid_volume(OTHER, 2)
    assert (notes.has_any(ROW), notes.has_any(OTHER), notes.has_any(ROW._replace(id=9))) == (True, True, False)
    notes.forget(ROW)
    assert not notes.has_any(ROW)


def test_an_endpoint_is_avoided_for_one_object_until_there_is_no_use_in_it(notes: FetchNotes) -> None:
    notes.avoid_endpoint(ROW, "http://one")
    assert (notes.endpoint_to_avoid(ROW), notes.endpoint_to_avoid(OTHER)) == ("http://one", "")
    notes.avoid_no_endpoint(ROW)
    assert notes.endpoint_to_avoid(ROW) == ""


def test_a_volume_that_fails_again_is_no_news(notes: FetchNotes) -> None:
    assert [notes.avoid_volume(ROW, number) for number in (1, 1, 2, 1)] == [True, False, True, True]
    assert (notes.volume_to_avoid(ROW), notes.volume_to_avoid(OTHER)) == (1, 0)


def test_another_response_is_expected_once(notes: FetchNotes) -> None:
    assert notes.expect(ROW, read("read"))
    assert notes.etag_to_read(ROW) == "read"
    assert not notes.expect(ROW, read("again another"))
    assert notes.etag_to_read(ROW) == "listed", "a failure: it starts over as listed"
    assert notes.expect(ROW, read("again another"))


@pytest.mark.parametrize("change", [{"etag": "new"}, {"modified_ms": 2000}])
def test_what_is_listed_anew_is_read_as_listed(notes: FetchNotes, change: dict[str, object]) -> None:
    notes.expect(ROW, read("read"))
    changed = ROW._replace(**change)  # type: ignore[arg-type]  # names and values of a row
    assert notes.etag_to_read(changed) == changed.etag
    assert notes.expect(changed, read("read")), "a new listing gets a try of its own"


def test_a_staged_object_is_forgotten_and_no_other(notes: FetchNotes) -> None:
    for row in (ROW, OTHER):
        notes.avoid_endpoint(row, "http://one")
        notes.avoid_volume(row, 1)
        notes.expect(row, read("read"))
    notes.forget(ROW)
    assert (notes.endpoint_to_avoid(ROW), notes.volume_to_avoid(ROW), notes.etag_to_read(ROW)) == ("", 0, "listed")
    assert (notes.endpoint_to_avoid(OTHER), notes.volume_to_avoid(OTHER)) == ("http://one", 1)
    assert notes.etag_to_read(OTHER) == "read"
