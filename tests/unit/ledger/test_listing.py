# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quick comparison of a page with the ledger; what a listing means for the rows is in test_ledger.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_rows import bring_to, in_memory, listed, stage_dropped

from snowsync.core.model import ListedObject, State
from snowsync.ledger.ledger import Ledger
from snowsync.ledger.listing import ListingLedger

PAGE = [listed(f"k{number:04}", number) for number in range(2500)]


@contextmanager
def statements(ledger: Ledger) -> Iterator[list[str]]:
    """What SQLite carries out meanwhile."""
    seen: list[str] = []
    ledger.database.connection.set_trace_callback(seen.append)
    yield seen
    ledger.database.connection.set_trace_callback(None)


def key_by_key(seen: Sequence[str]) -> list[int]:
    """How many keys were looked up at once in each statement that did so."""
    return [statement.partition(" IN ")[2].count(",") + 1 for statement in seen if " IN " in statement]


def test_a_page_as_before_is_compared_by_its_range(ledger: Ledger) -> None:
    ledger.listing.observe(PAGE)
    with statements(ledger) as seen:
        assert ledger.listing.observe(PAGE).same == 2500
    assert len(seen) == 3
    assert key_by_key(seen) == []


def test_only_what_is_new_or_changed_is_looked_up(ledger: Ledger) -> None:
    ledger.listing.observe(PAGE)
    page = [*PAGE[:700], listed("k0699-new"), *PAGE[700:900], listed("k0900", 7), *PAGE[901:1000]]
    with statements(ledger) as seen:
        observed = ledger.listing.compare(page)
    assert (observed.new, observed.changed, observed.same) == (1, 1, 999)
    assert [each.key for each in observed.moving] == ["k0699-new", "k0900"]
    assert key_by_key(seen) == [2]


@pytest.mark.parametrize("last", [1500, 2400])
def test_keys_that_are_no_longer_listed_do_no_harm(ledger: Ledger, last: int) -> None:
    """Even if there are too many of them to read all."""
    ledger.listing.observe(PAGE)
    page = [*PAGE[:400], *PAGE[last:]]
    assert ledger.listing.compare(page).same == len(page)


def test_a_page_in_another_order_is_looked_up_key_by_key(ledger: Ledger) -> None:
    ledger.listing.observe(PAGE)
    with statements(ledger) as seen:
        assert ledger.listing.compare(PAGE[10::-1]).same == 11
    assert key_by_key(seen) == [11]


def test_a_key_that_is_listed_twice_in_a_page_is_one_object(ledger: Ledger) -> None:
    ledger.listing.observe(PAGE[:3])
    assert ledger.listing.compare([PAGE[0], PAGE[1], PAGE[1], PAGE[2]]).same == 4
    assert ledger.listing.compare([PAGE[0], PAGE[1], listed("k0001", 99)]).changed == 1


def test_what_users_dropped_is_not_what_the_source_lists(ledger: Ledger, volume: int) -> None:
    assert stage_dropped(ledger, listed("k"), volume, 0, "", 0) == ""
    assert ledger.listing.compare([listed("k")]).changed == 1


STATES = st.sampled_from([State.PENDING, State.STAGED, State.DELIVERED, State.RELEASED, State.FAILED])
OBJECTS = st.builds(
    listed,
    st.text("ab\u00e9\U00010000", min_size=1, max_size=2),
    st.integers(9, 11),
    st.sampled_from(["9e107d9d372bb6826bd81d3542a419d6", "other"]),
    st.sampled_from([1_700_000_000_000, 1_800_000_000_000]),
)


@given(
    known=st.dictionaries(st.text("ab\u00e9\U00010000", min_size=1, max_size=2), STATES, max_size=8),
    pages=st.lists(st.lists(OBJECTS, max_size=8), min_size=1, max_size=3),
    is_sorted=st.booleans(),
)
def test_the_quick_comparison_changes_nothing(
    known: dict[str, State], pages: list[list[ListedObject]], is_sorted: bool
) -> None:
    ledger = in_memory()
    volume = ledger.volumes.volume_id("one", "uuid-1", "/volumes/one")
    for key, state in known.items():
        bring_to(ledger, key, state, volume)
    for page in pages:
        page = sorted(page) if is_sorted else page
        with mock.patch.object(ListingLedger, "_news", lambda self, page: list(page)):
            slowly = ledger.listing._sort(page)
        assert ledger.listing._sort(page) == slowly
        assert ledger.listing.observe(page) == slowly[0]
    ledger.close()
