# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many bytes each request holds: together they hold no more than a bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snowsync.movers.native.held_bytes import TOGETHER, held_by_each

CHUNK = 16 * 1024  # what libcurl delivers at once
MOST = 256 * 1024


@given(st.integers(1, 256))
def test_together_they_hold_no_more_than_the_bound(in_flight: int) -> None:
    assert in_flight * held_by_each(in_flight) <= TOGETHER


@given(st.integers(0, 2000))
def test_each_holds_whole_chunks_and_at_least_one(in_flight: int) -> None:
    held = held_by_each(in_flight)
    assert CHUNK <= held <= MOST
    assert held % CHUNK == 0
    assert held_by_each(in_flight + 1) <= held, "the more, the fewer"


@pytest.mark.parametrize(("in_flight", "held"), [(1, MOST), (16, MOST), (32, 8 * CHUNK), (100, 2 * CHUNK)])
def test_few_requests_hold_as_much_as_saves_time(in_flight: int, held: int) -> None:
    assert held_by_each(in_flight) == held
