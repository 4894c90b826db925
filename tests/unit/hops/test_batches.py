# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a batch is complete, and what is known of uploads until they are proven."""

from __future__ import annotations

import pytest
from hop_items import item_of, volume_of

from snowsync.core.errors import Trouble
from snowsync.core.model import Outcome
from snowsync.hops.destination.proving.batches import Batch, Batches


def test_a_batch_is_complete_with_the_last_outcome_that_is_missing() -> None:
    batches = Batches()
    batch = Batch([item_of(1), item_of(2)], is_large=False)
    batches.begin(batch)
    assert batches.sent([Outcome(2, Trouble.TIMEOUT, "late")]) == []
    assert batches.sent([Outcome(2)]) == [], "only the first outcome of an object counts"
    assert batches.sent([Outcome(3)]) == []
    assert batches.sent([Outcome(4), Outcome(1)]) == [batch]
    assert (batch.outcomes[1].ok, batch.outcomes[2].trouble) == (True, Trouble.TIMEOUT)


def test_what_is_only_checked_waits_for_no_mover() -> None:
    batches = Batches()
    batches.begin(Batch([item_of(1)], is_large=False, is_doubtful=True))
    assert batches.sent([Outcome(1)]) == []


def test_open_batches_are_those_of_small_objects() -> None:
    batches = Batches()
    first, second = volume_of(1), volume_of(2)
    batches.begin(Batch([item_of(1, volume=first)], is_large=False))
    batches.begin(Batch([item_of(2, volume=first)], is_large=False, is_doubtful=True))
    batches.begin(Batch([item_of(3, volume=second)], is_large=True))
    batches.expect(2)
    assert dict(batches.open) == {1: 2, 2: 1}
    batches.expect_no_more(1)
    batches.expect_no_more(2)
    assert dict(batches.open) == {1: 1, 2: 0}


@pytest.mark.parametrize(("sends", "looked", "doubtful"), [(0, False, False), (1, False, True), (1, True, False)])
def test_an_upload_is_doubtful_until_the_destination_was_asked(sends: int, looked: bool, doubtful: bool) -> None:
    batches = Batches()
    if looked:
        batches.looked.add(1)
    assert batches.is_doubtful(item_of(1, sends=sends).row) is doubtful


def test_an_acknowledged_upload_is_one_of_this_generation() -> None:
    batches = Batches()
    item = item_of(1, generation=2)
    assert not batches.is_acknowledged(item.row)
    assert batches.is_acknowledged(item_of(1, acknowledged=1).row), "the ledger says so"
    batches.acknowledged([item])
    assert batches.is_acknowledged(item.row)
    assert not batches.is_acknowledged(item_of(1, generation=3).row)
    batches.settle(item_of(1, generation=3).row)
    assert batches.is_acknowledged(item.row)
    batches.settle(item.row)
    assert not batches.is_acknowledged(item.row)


@pytest.mark.parametrize("is_doubtful", [False, True])
def test_a_new_upload_makes_what_was_known_of_the_last_one_void(is_doubtful: bool) -> None:
    batches = Batches()
    item = item_of(1, sends=1)
    batches.acknowledged([item])
    batches.looked.add(1)
    batches.begin(Batch([item], is_large=False, is_doubtful=is_doubtful))
    assert batches.is_acknowledged(item.row) is is_doubtful
    assert batches.is_doubtful(item.row) is not is_doubtful
