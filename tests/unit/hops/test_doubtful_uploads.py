# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uploads of a killed process: what the destination's answer means for each, before anything is sent again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from hop_items import item_of

from snowsync.core.errors import StoreError, Trouble
from snowsync.core.model import Evidence, Head, Headers
from snowsync.hops.destination.proving import doubtful_uploads
from snowsync.hops.destination.proving.batches import Batch, Batches
from snowsync.hops.destination.proving.doubtful_uploads import AbsentObjects, DoubtfulUploads, is_from_lost_history
from snowsync.hops.destination.proving.lookups import Answer
from snowsync.hops.flight import Item
from snowsync.ledger.ledger import Delivered
from snowsync.proofs.proof import Refuted

HOUR_MS = 3_600_000
LOST_SINCE = 1_700_000_000_000
HEAD = Head(200, 10, "etag", LOST_SINCE - 10 * HOUR_MS, Headers())
OTHER = Refuted(expected="aa", found="bb", message="it has another ETag")


class Bench:
    """`answers` by object, `proofs` likewise; `did` lists what became of the objects."""

    def __init__(self) -> None:
        self.batches = Batches()
        self.answers: dict[int, Head | StoreError] = {}
        self.proofs: dict[int, Delivered | Refuted | None] = {}
        self.effects = mock.Mock()
        self.effects.ledger.recovery.lost_since_ms.return_value = 0
        self.effects.lookups.heads.side_effect = self._heads
        self.effects.proofs.of.side_effect = lambda item, _endpoint, _found: self.proofs[item.row.id]
        self.committed: list[list[int]] = []
        self.effects.commits.commit.side_effect = lambda proven: self.committed.append(
            [item.row.id for item, _proof in proven]
        )
        self.doubtful = DoubtfulUploads(
            self.effects.ledger,
            self.batches,
            self.effects.lookups,
            self.effects.proofs,
            self.effects.commits,
            self.effects.unsent,
            self.effects.absent,
        )

    def _heads(self, items: list[Item], *, is_hurried: bool) -> Iterator[Any]:
        yield from (Answer(item, item.endpoint, self.answers[item.row.id]) for item in items)

    def check(self, *items: Item, is_late: bool = False) -> None:
        self.doubtful.check(Batch(list(items), False, is_doubtful=True, is_late=is_late), mock.Mock())

    def did(self) -> list[str]:
        known = ("lookups.heads", "proofs.of", "commits.commit")
        return [call[0] for call in self.effects.mock_calls if call[0] not in known and "recovery" not in call[0]]


def error(trouble: Trouble) -> StoreError:
    return StoreError(trouble, "head", "")


def test_what_is_there_is_delivered_and_not_sent_again() -> None:
    bench = Bench()
    item = item_of(1, sends=1, acknowledged=0)
    bench.batches.acknowledged([item])
    bench.answers[1], bench.proofs[1] = HEAD, Delivered(item.row, "etag", Evidence.STORE_DIGEST, "found there")
    bench.check(item)
    assert (bench.committed, bench.did()) == ([[1]], [])
    assert not bench.batches.is_acknowledged(item.row), "that question is settled"


@pytest.mark.parametrize(
    ("trouble", "acknowledged", "expected"),
    [
        (Trouble.NOT_FOUND, 0, "absent.send_again"),
        (Trouble.DENIED, 0, "absent.send_again"),  # what who may not list is told of an object that is not there
        (Trouble.TIMEOUT, 0, "proofs.failed"),
        (Trouble.SERVER, 0, "proofs.failed"),
        (Trouble.CREDENTIAL, 0, "proofs.failed"),
        (Trouble.NOT_FOUND, 1, "proofs.failed"),
        (Trouble.DENIED, 1, "proofs.failed"),  # it could not be proven after another upload either
        (Trouble.TIMEOUT, 1, "proofs.failed"),
    ],
)
def test_an_error_means_absent_only_if_it_is_final_and_nothing_was_acknowledged(
    trouble: Trouble, acknowledged: int, expected: str
) -> None:
    bench = Bench()
    bench.answers[1] = error(trouble)
    bench.check(item_of(1, sends=1, acknowledged=acknowledged))
    assert (bench.did(), bench.committed) == ([expected], [[]])
    is_lie = bool(acknowledged) and trouble is Trouble.NOT_FOUND
    assert bench.batches.looked == ({1} if is_lie else set()), "what is not there need not be looked for again"


@pytest.mark.parametrize(("acknowledged", "expected"), [(0, "absent.send_again"), (1, "proofs.refuted")])
def test_other_bytes_are_replaced_or_reported_if_the_upload_was_acknowledged(acknowledged: int, expected: str) -> None:
    bench = Bench()
    bench.answers[1], bench.proofs[1] = HEAD, OTHER
    bench.check(item_of(1, sends=1, acknowledged=acknowledged))
    assert bench.did() == [expected]


def test_a_proof_that_failed_changes_nothing() -> None:
    bench = Bench()
    bench.answers[1], bench.proofs[1] = HEAD, None
    bench.check(item_of(1, sends=1))
    assert (bench.did(), bench.committed) == ([], [[]])


@pytest.mark.parametrize("acknowledged", [0, 1])
def test_a_restored_ledger_overwrites_nothing_that_is_newer(acknowledged: int) -> None:
    bench = Bench()
    bench.effects.ledger.recovery.lost_since_ms.return_value = LOST_SINCE
    bench.effects.ledger.recovery.was_staged_before_recovery.return_value = True
    bench.answers[1], bench.proofs[1] = Head(200, 10, "etag", LOST_SINCE + 1, Headers()), OTHER
    bench.check(item_of(1, sends=1, acknowledged=acknowledged))
    assert bench.did() == ["unsent.hold_back"]


@pytest.mark.parametrize(
    ("since", "staged_before", "modified", "is_lost"),
    [
        (0, True, LOST_SINCE + 1, False),
        (LOST_SINCE, False, LOST_SINCE + 1, False),
        (LOST_SINCE, True, LOST_SINCE + 1, True),
        (LOST_SINCE, True, LOST_SINCE - HOUR_MS + 1, True),  # the store's clock may be behind
        (LOST_SINCE, True, LOST_SINCE - HOUR_MS, False),
        (LOST_SINCE, True, 0, True),  # the store does not say
    ],
)
def test_what_is_from_lost_history(since: int, staged_before: bool, modified: int, is_lost: bool) -> None:
    recovery = mock.Mock()
    recovery.lost_since_ms.return_value = since
    recovery.was_staged_before_recovery.return_value = staged_before
    assert is_from_lost_history(recovery, item_of().row, Head(200, 10, "etag", modified, Headers())) is is_lost


@pytest.mark.parametrize("is_late", [False, True])
def test_proofs_are_committed_before_absent_objects_are_sent_again(is_late: bool) -> None:
    bench = Bench()
    items = [item_of(number, sends=1) for number in (1, 2, 3)]
    bench.answers = {1: error(Trouble.NOT_FOUND), 2: HEAD, 3: HEAD}
    bench.proofs = {item.row.id: Delivered(item.row, "etag", Evidence.STORE_DIGEST, "") for item in items}
    bench.check(*items, is_late=is_late)
    assert bench.committed == ([[], [2], [3], []] if is_late else [[2, 3]]), "the next late answer may never come"
    bench.effects.absent.send_again.assert_called_once_with(items[0])
    bench.effects.lookups.heads.assert_called_once_with(items, is_hurried=not is_late)


# -- sent again -----------------------------------------------------------------------------------------------------


class Again:
    """AbsentObjects alone; `effects` in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, is_sound: bool) -> None:
        self.effects = mock.Mock()
        self.effects.unsent.files.is_sound.return_value = is_sound
        monkeypatch.setattr(doubtful_uploads, "abort_cut_off", self.effects.abort)
        self.batches = Batches()
        naming = mock.Mock(destination_key=lambda key: f"to/{key}")
        self.absent = AbsentObjects(self.effects.parts, naming, self.batches, self.effects.unsent)
        self.known: list[bool] = []

    def send(self, item: Item) -> list[str]:
        self.effects.unsent.departures.leave.side_effect = lambda each: self.known.append(
            self.batches.is_doubtful(each.row)
        )
        self.absent.send_again(item)
        return [call[0] for call in self.effects.mock_calls]


def test_it_is_sent_without_another_check(monkeypatch: pytest.MonkeyPatch) -> None:
    again = Again(monkeypatch, is_sound=True)
    assert again.send(item_of(1, sends=1)) == ["unsent.files.is_sound", "unsent.departures.leave"]
    assert again.known == [False], "before it leaves the unit"


def test_parts_of_the_upload_that_was_cut_off_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    again = Again(monkeypatch, is_sound=True)
    item = item_of(1, sends=1, part_size=5)
    assert again.send(item) == ["unsent.files.is_sound", "abort", "unsent.departures.leave"]
    again.effects.abort.assert_called_once_with(again.effects.parts, 1, item.endpoint, "to/object-1")


def test_without_a_sound_file_nothing_is_removed_or_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    again = Again(monkeypatch, is_sound=False)
    assert again.send(item_of(1, sends=1, part_size=5)) == ["unsent.files.is_sound"]
    assert again.batches.looked == set()
