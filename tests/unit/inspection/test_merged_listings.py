# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What source, ledger and destination have for each key, in order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snowsync.core.model import ListedObject
from snowsync.inspection.merged_listings import MergedListings, merge
from snowsync.inspection.store_side import OutOfOrder
from snowsync.ledger.binding import Naming


@settings(max_examples=60)
@given(st.lists(st.sets(st.text(st.characters(codec="utf-8"), max_size=3), max_size=8), min_size=3, max_size=3))
def test_the_merge_brings_together_what_has_one_key(sets: list[set[str]]) -> None:
    def side(keys: set[str]) -> Iterator[tuple[bytes, Any]]:
        return iter(sorted((key.encode(), key) for key in keys))

    merged = list(merge(*(side(keys) for keys in sets)))
    assert [{found for found in three if found is not None} for three in merged] == [
        {key} for key in sorted(set().union(*sets), key=str.encode)
    ]
    for column, keys in enumerate(sets):
        assert {three[column] for three in merged} - {None} == keys


class Listing:
    """A side that lists these keys, one page each."""

    def __init__(self, *keys: str) -> None:
        self._keys = keys

    def pages(self) -> Iterator[Sequence[ListedObject]]:
        for key in self._keys:
            yield [ListedObject(key, 1, "", 1)]


class Ledger:
    """Has a row for each of these keys, which it returns by prefix and in order."""

    def __init__(self, *keys: str) -> None:
        self._keys = keys

    def entries(self, prefix: str) -> Iterator[Any]:
        return (SimpleNamespace(key=key) for key in sorted(self._keys) if key.startswith(prefix))


def merged(
    tmp_path: Path,
    naming: Naming,
    sides: dict[str, Any],
    ledger: Any = None,
    unsorted: tuple[str, ...] = (),
    outside: list[str] | None = None,
) -> list[tuple[str | None, ...]]:
    listings = MergedListings(sides, ledger, naming, unsorted, tmp_path)
    with contextlib.ExitStack() as stack:
        found = listings.objects(stack, lambda listed: [] if outside is None else outside.append(listed.key))
        return [tuple(each.key if each else None for each in three) for three in found]


NAMING = Naming("in/", ("old/",), "out/")


def test_they_are_brought_together_by_the_key_at_the_destination(tmp_path: Path) -> None:
    sides = {"source": Listing("in/a", "in/b"), "destination": Listing("out/b", "out/c")}
    assert merged(tmp_path, NAMING, sides, Ledger("in/a", "in/c")) == [
        ("in/a", "in/a", None),
        ("in/b", None, "out/b"),
        (None, "in/c", "out/c"),
    ]


def test_of_two_rows_with_one_name_the_newer_prefix_counts(tmp_path: Path) -> None:
    sides: dict[str, Any] = {"destination": Listing()}
    assert merged(tmp_path, NAMING, sides, Ledger("in/a", "old/a", "old/b", "strange/c")) == [
        (None, "in/a", None),
        (None, "old/b", None),
    ]


def test_what_is_not_below_the_prefix_is_told_and_left_out(tmp_path: Path) -> None:
    outside: list[str] = []
    sides = {"source": Listing("elsewhere", "in/a"), "destination": Listing()}
    assert merged(tmp_path, NAMING, sides, outside=outside) == [("in/a", None, None)]
    assert outside == ["elsewhere"]


@pytest.mark.parametrize("keys", [("in/b", "in/a"), ("in/a", "in/a")])
def test_a_listing_that_is_not_in_order_is_refused_unless_it_is_sorted(tmp_path: Path, keys: tuple[str, ...]) -> None:
    sides = {"source": Listing(*keys), "destination": Listing()}
    with pytest.raises(OutOfOrder) as refused:
        merged(tmp_path, NAMING, sides)
    assert refused.value.side == "source"
    assert merged(tmp_path, NAMING, sides, unsorted=("source",)) == [(key, None, None) for key in sorted({*keys})]


def test_a_side_may_be_sorted_after_it_was_found_out_of_order(tmp_path: Path) -> None:
    sides: dict[str, Any] = {"source": Listing("in/b", "in/a"), "destination": Listing()}
    listings = MergedListings(sides, None, NAMING, (), tmp_path)
    listings.sort("source")
    with contextlib.ExitStack() as stack:
        found = [source.key for source, _entry, _there in listings.objects(stack, lambda _listed: None) if source]
    assert found == ["in/a", "in/b"]
    assert list(tmp_path.iterdir()) == [], "nothing is left of the sorting"
