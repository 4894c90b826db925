# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many hands there are, and how they share the connections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowsync.config.credentials import Credentials
from snowsync.config.job_file import MoverSettings, Store
from snowsync.movers.hands.hand_setup import hand_count, hand_widths, setup_message, usual_count
from snowsync.movers.hands.messages import WIDTHS
from snowsync.store.encodings import Packing


@pytest.mark.parametrize(("cores", "count"), [(1, 0), (2, 1), (3, 1), (4, 1), (6, 2), (9, 3), (12, 4), (64, 4)])
def test_the_number_of_hands_follows_the_cores(cores: int, count: int) -> None:
    assert usual_count(cores) == count


@given(st.lists(st.integers(1, 300), min_size=1, max_size=8), st.integers(1, 16))
def test_all_connections_are_used_and_no_more(lanes: list[int], count: int) -> None:
    hands = hand_count(tuple(lanes), count)
    assert 1 <= hands <= count
    widths = [hand_widths(lanes, number, hands) for number in range(hands)]
    assert [sum(each) for each in zip(*widths, strict=True)] == lanes
    assert all(min(hand) >= 1 for hand in widths), "each hand has each lane"


def test_few_connections_need_few_hands() -> None:
    assert hand_count((3, 1), 4) == 1
    assert [hand_widths((3, 2), number, 2) for number in range(hand_count((3, 2), 2))] == [(2, 1), (1, 1)]


@pytest.mark.parametrize("large_object", [1 << 20, 100 << 40])
def test_whatever_a_hand_is_given_is_small(large_object: int) -> None:
    """The job may call terabytes small; in parts, a hand would tell the digest of the parts as that of the whole."""
    settings, keys = MoverSettings(large_object=large_object), Credentials("a", "s", "", Path("/"), "default")
    store = Store(bucket="bucket")
    place: Any = {"place": (0, 1), "widths": (WIDTHS, 0, (1,)), "packing": Packing()}
    message = setup_message(store, "http://store", keys, settings, direction="fetch", **place)
    assert not MoverSettings(**message[1]["settings"]).is_large(50 << 40)
