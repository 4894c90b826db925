# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an answer of the destination proves, and what happens if it proves the contrary."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hop_items import DIGEST, endpoint_at, item_of

from snowsync.core.errors import StoreError, Trouble
from snowsync.core.model import Evidence, Head, Headers, Outcome
from snowsync.hops.destination.proving import delivery_proofs
from snowsync.hops.destination.proving.batches import Batches
from snowsync.hops.destination.proving.delivery_proofs import DeliveryProofs, with_permission
from snowsync.hops.destination.unsent.unsent import Unsent
from snowsync.ledger.ledger import Delivered
from snowsync.proofs.proof import Refuted

HEAD = Head(200, 10, DIGEST, 0, Headers())
WRONG = Refuted(expected=DIGEST, found="aa", message="it has another ETag")


class Bench:
    """A job that asks for `evidence`, and the part alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, evidence: Evidence = Evidence.STORE_DIGEST) -> None:
        self.job = SimpleNamespace(job="photos", destination=mock.Mock(), evidence=evidence)
        self.unsent = mock.Mock(spec=Unsent, files=mock.Mock())
        self.batches = Batches()
        naming = mock.Mock(destination_key=lambda key: f"to/{key}")
        self.proofs = DeliveryProofs(self.job, naming, self.batches, self.unsent)  # type: ignore[arg-type]  # no job
        self.prove = mock.Mock()
        monkeypatch.setattr(delivery_proofs, "prove_delivery", self.prove)
        monkeypatch.setattr(delivery_proofs, "prove_by_answer", self.prove)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


@pytest.mark.parametrize(("tool", "told"), [("s5cmd", "s5cmd"), ("", "found there")])
def test_a_proof_says_what_was_proven_and_how(bench: Bench, tool: str, told: str) -> None:
    item = item_of()
    item.tool = tool
    bench.prove.return_value = SimpleNamespace(digest="etag-there", evidence=Evidence.STORE_DIGEST)
    expected = Delivered(item.row, "etag-there", Evidence.STORE_DIGEST, told)
    assert bench.proofs.of(item, item.endpoint, HEAD) == expected
    sent, found = bench.prove.call_args.args[:2]
    assert (sent.key, sent.size, sent.digest, found) == ("to/object-1", 10, DIGEST, HEAD)
    assert bench.prove.call_args.kwargs == {"wanted": bench.job.evidence}
    bench.unsent.not_sent.assert_not_called()


def test_nothing_is_delivered_below_the_evidence_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    weakest, strongest = min(Evidence), max(Evidence)
    bench = Bench(monkeypatch, strongest)
    bench.prove.return_value = SimpleNamespace(digest=DIGEST, evidence=weakest)
    with pytest.raises(StoreError, match="lower `evidence` of job photos") as raised:
        bench.proofs.of(item_of(), endpoint_at(), HEAD)
    assert raised.value.trouble is Trouble.UNSUPPORTED


def test_a_proof_that_failed_is_no_proof(bench: Bench) -> None:
    item, endpoint = item_of(), endpoint_at()
    bench.prove.side_effect = StoreError(Trouble.TIMEOUT, "read back", "too slow")
    assert bench.proofs.of(item, endpoint, HEAD) is None
    bench.unsent.not_sent.assert_called_once_with(item, Trouble.TIMEOUT, mock.ANY, endpoint)


def test_a_contradiction_is_returned(bench: Bench) -> None:
    bench.prove.return_value = WRONG
    assert bench.proofs.of(item_of(), endpoint_at(), HEAD) is WRONG


@pytest.mark.parametrize(
    ("trouble", "may_list", "answered", "counts"),
    [
        (Trouble.DENIED, False, HEAD, True),
        (Trouble.DENIED, True, HEAD, False),
        (Trouble.DENIED, False, None, False),
        (Trouble.NOT_FOUND, False, HEAD, False),
        (Trouble.TIMEOUT, False, HEAD, False),
    ],
)
def test_the_answer_to_the_upload_counts_only_if_nothing_may_be_read(
    bench: Bench, trouble: Trouble, may_list: bool, answered: Head | None, counts: bool
) -> None:
    item, endpoint = item_of(), endpoint_at()
    endpoint.may_list = may_list
    bench.prove.return_value = SimpleNamespace(digest=DIGEST, evidence=Evidence.STORE_DIGEST)
    proof = bench.proofs.by_answer(item, endpoint, Outcome(1, answered=answered), StoreError(trouble, "head", ""))
    assert proof == (Delivered(item.row, DIGEST, Evidence.STORE_DIGEST, "") if counts else None)


def test_an_answer_to_the_upload_that_proves_nothing_counts_for_nothing(bench: Bench) -> None:
    bench.prove.return_value = None
    denied = StoreError(Trouble.DENIED, "head", "")
    assert bench.proofs.by_answer(item_of(), endpoint_at(), Outcome(1, answered=HEAD), denied) is None


@pytest.mark.parametrize(("trouble", "is_lie"), [(Trouble.NOT_FOUND, True), (Trouble.TIMEOUT, False)])
def test_what_was_acknowledged_and_is_not_there_is_the_stores_fault(
    bench: Bench, trouble: Trouble, is_lie: bool
) -> None:
    item, endpoint = item_of(), endpoint_at()
    bench.proofs.failed(item, endpoint, StoreError(trouble, "head", ""))
    bench.unsent.not_sent.assert_called_once_with(item, trouble, mock.ANY, endpoint, is_lie=is_lie)


def test_a_damaged_file_is_not_the_stores_fault(bench: Bench) -> None:
    bench.unsent.files.is_sound.return_value = False
    bench.proofs.refuted(item_of(), WRONG)
    bench.unsent.refuted.assert_not_called()
    assert bench.batches.looked == set()


def test_other_bytes_of_a_sound_file_are_reported_and_sent_again_without_another_check(bench: Bench) -> None:
    item = item_of(1, sends=1)
    bench.unsent.files.is_sound.return_value = True
    known: list[bool] = []
    bench.unsent.refuted.side_effect = lambda _item, _failure: known.append(bench.batches.is_doubtful(item.row))
    bench.proofs.refuted(item, WRONG)
    (given, failure), _options = bench.unsent.refuted.call_args
    assert given is item
    assert (failure.trouble, failure.expected, failure.found) == (Trouble.MISMATCH, DIGEST, "aa")
    assert failure.message == "it has another ETag (at http://one.test:1)"
    assert known == [False], "before it leaves the unit"
    bench.unsent.files.is_sound.assert_called_once_with(item)


def test_who_may_not_read_is_told_which_permission_is_missing() -> None:
    def said(trouble: Trouble) -> Any:
        return with_permission(StoreError(trouble, "head 'k'", "no"))

    assert "allow s3:GetObject" in said(Trouble.DENIED)
    assert said(Trouble.TIMEOUT) == str(StoreError(Trouble.TIMEOUT, "head 'k'", "no"))
