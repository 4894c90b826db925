# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A batch that was sent: what is proven, refuted, refused, or only acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from hop_items import item_of

from snowsync.core.errors import StoreError, Trouble
from snowsync.core.model import Evidence, Head, Headers, Outcome
from snowsync.hops.destination.proving.batches import Batch, Batches
from snowsync.hops.destination.proving.lookups import Answer
from snowsync.hops.destination.proving.sent_uploads import SentUploads
from snowsync.hops.flight import Item
from snowsync.ledger.ledger import Delivered
from snowsync.proofs.proof import Refuted
from snowsync.store.request_errors import LATE

HEAD = Head(200, 10, "etag", 0, Headers())
OTHER = Refuted(expected="aa", found="bb", message="it has another ETag")


class Bench:
    """`answers` by object; those without one get none. `proofs` likewise."""

    def __init__(self) -> None:
        self.batches = Batches()
        self.answers: dict[int, Head | StoreError] = {}
        self.proofs: dict[int, Delivered | Refuted | None] = {}
        self.effects = mock.Mock()
        self.effects.lookups.listed.side_effect = self._answered
        self.effects.lookups.heads.side_effect = self._answered
        self.effects.proofs.of.side_effect = lambda item, _endpoint, _found: self.proofs[item.row.id]
        self.effects.proofs.by_answer.return_value = None
        self.committed: list[list[int]] = []
        self.effects.commits.commit.side_effect = lambda proven: self.committed.append(
            [item.row.id for item, _proof in proven]
        )
        self.late: list[Batch] = []
        self.sent = SentUploads(
            self.effects.deliveries,
            self.batches,
            self.effects.lookups,
            self.effects.proofs,
            self.effects.commits,
            self.effects.unsent,
        )

    def _answered(self, items: list[Item], *, is_hurried: bool = True) -> Iterator[Any]:
        yield from (
            Answer(item, item.endpoint, self.answers[item.row.id]) for item in items if item.row.id in self.answers
        )

    def prove(self, *items: Item, is_late: bool = False, failed: dict[int, Outcome] | None = None) -> None:
        outcomes = {item.row.id: Outcome(item.row.id) for item in items} | (failed or {})
        self.sent.prove(Batch(list(items), False, is_late=is_late, outcomes=outcomes), self.late.append)

    def acknowledged(self) -> list[int]:
        return [row.id for call in self.effects.deliveries.acknowledge.call_args_list for row in call.args[0]]


def delivered(item: Item) -> Delivered:
    return Delivered(item.row, "etag", Evidence.STORE_DIGEST, "s5cmd")


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_is_proven_is_committed_in_one_group(bench: Bench) -> None:
    items = [item_of(1), item_of(2)]
    bench.answers = {1: HEAD, 2: HEAD}
    bench.proofs = {item.row.id: delivered(item) for item in items}
    bench.prove(*items)
    assert bench.committed == [[1, 2]]
    assert bench.acknowledged() == [], "the proof says more"
    assert [bench.batches.is_acknowledged(item.row) for item in items] == [False, False]


def test_what_the_mover_did_not_send_is_not_asked_for(bench: Bench) -> None:
    failed, sent = item_of(1), item_of(2)
    bench.answers, bench.proofs = {1: HEAD, 2: HEAD}, {2: delivered(sent)}
    bench.prove(failed, sent, failed={1: Outcome(1, Trouble.DENIED, "no")})
    bench.effects.unsent.not_sent.assert_called_once_with(failed, Trouble.DENIED, "no")
    bench.effects.lookups.listed.assert_called_once_with([sent])
    assert bench.committed == [[2]]
    assert not bench.batches.is_acknowledged(failed.row)


def test_without_an_answer_an_upload_is_acknowledged_and_never_delivered(bench: Bench) -> None:
    item = item_of(1)
    bench.prove(item)
    assert (bench.acknowledged(), bench.committed) == ([1], [[]])
    assert bench.batches.is_acknowledged(item.row), "a contradiction later on is the store's fault"


@pytest.mark.parametrize("trouble", [Trouble.TIMEOUT, Trouble.DENIED])
def test_an_upload_whose_check_failed_stays_acknowledged(bench: Bench, trouble: Trouble) -> None:
    item = item_of(1)
    bench.answers[1] = StoreError(trouble, "head", "")
    bench.prove(item)
    bench.effects.proofs.failed.assert_called_once_with(item, item.endpoint, bench.answers[1])
    assert (bench.acknowledged(), bench.committed) == ([1], [[]])


def test_what_was_acknowledged_and_is_not_there_is_reported_once(bench: Bench) -> None:
    item = item_of(1)
    bench.answers[1] = StoreError(Trouble.NOT_FOUND, "head", "")
    bench.prove(item)
    bench.effects.proofs.failed.assert_called_once_with(item, item.endpoint, bench.answers[1])
    assert bench.acknowledged() == []
    assert not bench.batches.is_acknowledged(item.row)


def test_the_answer_to_the_upload_may_be_the_proof(bench: Bench) -> None:
    item = item_of(1)
    bench.answers[1] = StoreError(Trouble.DENIED, "head", "")
    bench.effects.proofs.by_answer.return_value = delivered(item)
    bench.prove(item)
    bench.effects.proofs.failed.assert_not_called()
    assert (bench.committed, bench.acknowledged()) == ([[1]], [])


def test_other_bytes_are_refuted_and_never_delivered(bench: Bench) -> None:
    item = item_of(1)
    bench.answers[1], bench.proofs[1] = HEAD, OTHER
    bench.prove(item)
    bench.effects.proofs.refuted.assert_called_once_with(item, OTHER)
    assert (bench.committed, bench.acknowledged()) == ([[]], [])


def test_a_proof_that_failed_leaves_the_upload_acknowledged(bench: Bench) -> None:
    bench.answers[1], bench.proofs[1] = HEAD, None
    bench.prove(item_of(1))
    assert (bench.committed, bench.acknowledged()) == ([[]], [1])


def test_a_late_answer_delays_nothing_and_keeps_its_outcome(bench: Bench) -> None:
    items = [item_of(1), item_of(2)]
    bench.answers = {1: StoreError(Trouble.TIMEOUT, "head", "", code=LATE), 2: HEAD}
    bench.proofs = {item.row.id: delivered(item) for item in items}
    bench.prove(*items)
    assert (bench.committed, bench.acknowledged()) == ([[2]], [1])
    (late,) = bench.late
    assert (late.items, late.is_late, late.is_doubtful, late.outcomes[1].ok) == ([items[0]], True, False, True)
    bench.answers[1] = HEAD
    bench.prove(items[0], is_late=True)
    bench.effects.lookups.heads.assert_called_once_with([items[0]], is_hurried=False)
    assert bench.committed == [[2], [1], []], "committed at once, since the next late answer may never come"
