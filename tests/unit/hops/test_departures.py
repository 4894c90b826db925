# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an object leaves the destination unit, and what is remembered of its failures."""

from __future__ import annotations

import errno
from unittest import mock

import pytest
from hop_items import endpoint_at, item_of, volume_of

from snowsync.core.model import Origin
from snowsync.hops.destination.unsent.departures import Departures, PastFailures, let_go
from snowsync.hops.flight import Flight
from snowsync.hops.setbacks import Setbacks


@pytest.mark.parametrize("origin", [Origin.SOURCE, Origin.DROP])
def test_what_leaves_can_be_taken_again(origin: Origin) -> None:
    flight, volume = Flight(), volume_of()
    left_before_rewind: list[bool] = []
    departures = Departures(flight, rewind=lambda: left_before_rewind.append(departures.has_left(item)))
    item = item_of(7, volume=volume, origin=origin)
    flight.take(item)
    assert not departures.has_left(item)
    departures.leave(item)
    assert departures.has_left(item)
    assert left_before_rewind == [True]
    assert volume.dropped.let_go.call_args_list == ([mock.call(7)] if origin is Origin.DROP else [])


def test_a_dropped_file_on_a_volume_that_failed_is_let_go_all_the_same() -> None:
    volume = volume_of()
    volume.dropped.let_go.side_effect = OSError(errno.EIO, "")
    let_go(item_of(origin=Origin.DROP, volume=volume))
    volume.dropped.let_go.assert_called_once_with(1)


def test_the_endpoint_that_stored_wrong_bytes_is_avoided_until_the_object_succeeds() -> None:
    setbacks = mock.Mock(spec=Setbacks)
    past = PastFailures(setbacks)
    item, other = item_of(1, endpoint=endpoint_at("http://two.test:1")), item_of(2)
    past.avoid_endpoint_of(item)
    assert (past.endpoint_to_avoid(item.row), past.endpoint_to_avoid(other.row)) == ("http://two.test:1", "")
    setbacks.forgive.assert_not_called()
    past.forget(item.row)
    assert past.endpoint_to_avoid(item.row) == ""
    setbacks.forgive.assert_called_once_with(1)
