# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many hands there are, and how they share the connections."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowsync.movers.hands.hand_setup import hand_widths, usual_count


@pytest.mark.parametrize(("cores", "count"), [(1, 0), (2, 1), (3, 1), (4, 1), (6, 2), (9, 3), (12, 4), (64, 4)])
def test_the_number_of_hands_follows_the_cores(cores: int, count: int) -> None:
    assert usual_count(cores) == count


@given(st.lists(st.integers(1, 300), min_size=1, max_size=8), st.integers(1, 16))
def test_all_connections_are_used_and_no_more(lanes: list[int], count: int) -> None:
    widths = hand_widths(tuple(lanes), count)
    assert 1 <= len(widths) <= count
    assert [sum(each) for each in zip(*widths, strict=True)] == lanes
    assert all(min(hand) >= 1 for hand in widths), "each hand has each lane"


def test_few_connections_need_few_hands() -> None:
    assert hand_widths((3, 1), 4) == [(3, 1)]
    assert hand_widths((3, 2), 2) == [(2, 1), (1, 1)]
