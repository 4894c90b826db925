# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of an object that arrived, by the source's answer and the proof."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from snowsync.core.errors import StoreError, Trouble
from snowsync.core.header_text import load_headers
from snowsync.core.model import UNTOLD, Arrived, Evidence, Head, Headers, Origin, Received, State
from snowsync.hops.flight import Item
from snowsync.hops.setbacks import Setbacks
from snowsync.hops.source.arrivals import arrival_proofs
from snowsync.hops.source.arrivals.arrival_heads import ArrivalHeads
from snowsync.hops.source.arrivals.arrival_proofs import ArrivalProofs, Mismatches, staged_as
from snowsync.hops.source.arrivals.changed_objects import ChangedObjects
from snowsync.hops.source.arrivals.second_looks import SecondLooks
from snowsync.hops.source.staging.committer import Committer
from snowsync.hops.source.staging.fetching import Fetching
from snowsync.ledger.ledger import Ledger, Row, Staged
from snowsync.proofs.proof import Proven, Refuted, Unproven

DATA = b"data"
MD5, OTHER = hashlib.md5(DATA, usedforsecurity=False).hexdigest(), "0" * 32
ROW = Row(7, "film", 4, MD5, 1000, 2, Origin.SOURCE, State.PENDING, 0, 0, "", "", 0, 0, 0)
HEAD = Head(200, 4, MD5, 1000, Headers(content_type="video/mp4"))
PROVEN, REFUTED, UNPROVEN = Proven(MD5, 0, Evidence.STORE_DIGEST), Refuted("a", "b", "bad"), Unproven("a", "b", "odd")
RECEIVED = Received(HEAD, MD5, 0)
UNUSED: Any = None


def said(answer: object) -> object:
    """An answer, or the error that is one."""
    if isinstance(answer, Exception):
        raise answer
    return answer


class Desk:
    """Proofs that come out as `proof`; `others` are the answers that show another object."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, proof: object = PROVEN, tags: str = "copy"
    ) -> None:
        self.proof, self.proven_against = proof, []
        self.heads, self.changed, self.looks = (
            mock.Mock(ArrivalHeads),
            mock.Mock(ChangedObjects),
            mock.Mock(SecondLooks),
        )
        self.mismatches, self.fetching, self.committer = (
            mock.Mock(Mismatches),
            mock.Mock(Fetching),
            mock.Mock(Committer),
        )
        self.changed.is_other.side_effect = lambda _row, head: head.size != 4 and head.size != UNTOLD
        self.aside: list[Any] = []
        self.tags: Any = {"kind": "film"}
        self.endpoint: Any = SimpleNamespace(
            url="a", store=None, client=lambda: None, control=lambda: SimpleNamespace(get_tags=self._get_tags)
        )
        path = folder / "7"
        path.write_bytes(DATA)
        self.item = Item(ROW, UNUSED, self.endpoint, str(path), tool="native")
        job: Any = SimpleNamespace(mover=None, unproven="auto", tags=tags)
        self.proofs = ArrivalProofs(
            job,
            self.heads,
            self.changed,
            self.looks,
            self.mismatches,
            self.fetching,
            self.committer,
            lambda items, step: self.aside.append((items, step)),
        )
        monkeypatch.setattr(arrival_proofs, "prove_arrival", self._prove)

    def _prove(self, _path: str, _key: str, head: Head, *_more: object, **_options: object) -> object:
        self.proven_against.append(head)
        return said(self.proof)

    def _get_tags(self, _key: str) -> object:
        return said(self.tags)

    def staged(self) -> Staged:
        (call,) = self.committer.add.call_args_list
        (((item, staged),),) = call.args
        assert item is self.item
        self.fetching.served.assert_called_once_with(item)
        return staged  # type: ignore[no-any-return]  # of a mock

    def assert_not_staged(self) -> None:
        self.committer.add.assert_not_called()
        self.fetching.served.assert_not_called()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_a_proven_object_goes_to_the_committer(desk: Desk) -> None:
    desk.proofs.arrived(desk.item, HEAD, desk.endpoint, RECEIVED)
    staged = desk.staged()
    assert (staged.row, staged.digest, staged.part_size, staged.tool) == (ROW, MD5, 0, "native")
    assert load_headers(staged.headers) == HEAD.headers
    assert desk.aside == []


def test_the_MD5s_of_its_parts_are_staged_with_it(desk: Desk) -> None:
    desk.proof = Proven(f"{MD5}-1", 5, Evidence.STORE_DIGEST, b"its MD5s")
    desk.proofs.arrived(desk.item, HEAD, desk.endpoint)
    assert desk.staged().part_md5s == b"its MD5s"


def test_an_error_is_judged_by_who_was_asked(desk: Desk) -> None:
    error = StoreError(Trouble.NOT_FOUND, "look", "no")
    desk.proofs.arrived(desk.item, error, desk.endpoint)
    desk.looks.was_not_told.assert_called_once_with(desk.item, error, desk.endpoint)
    desk.assert_not_staged()


def test_another_object_is_fetched_anew_unless_get_shows_the_listed_one(desk: Desk) -> None:
    other = HEAD._replace(size=5)
    desk.changed.as_read.side_effect = [other, HEAD]
    desk.proofs.arrived(desk.item, other, desk.endpoint)
    desk.changed.fetch_anew.assert_called_once_with(desk.item, other)
    assert desk.proven_against == []
    desk.assert_not_staged()
    desk.proofs.arrived(desk.item, other, desk.endpoint)
    assert desk.staged().digest == MD5
    assert desk.changed.fetch_anew.call_count == 1


def test_get_is_not_asked_again_for_what_it_brought(desk: Desk) -> None:
    other = HEAD._replace(size=5)
    desk.proofs.arrived(desk.item, other, desk.endpoint, RECEIVED._replace(head=other))
    desk.changed.as_read.assert_not_called()
    desk.changed.fetch_anew.assert_called_once_with(desk.item, other)


# -- proofs that fail -------------------------------------------------------------------------------------------------


def test_what_is_refuted_while_it_was_received_is_asked_for_first(desk: Desk) -> None:
    desk.proof = REFUTED
    desk.proofs.arrived(desk.item, HEAD, desk.endpoint, RECEIVED)
    desk.heads.ask.assert_called_once_with(desk.endpoint, {"film": desk.item}, desk.proofs.arrived)
    desk.mismatches.fetch_again.assert_not_called()
    desk.proofs.arrived(desk.item, HEAD, desk.endpoint)
    desk.mismatches.fetch_again.assert_called_once_with(desk.item, REFUTED)
    desk.assert_not_staged()


@pytest.mark.parametrize("received", [RECEIVED, None])
def test_what_is_not_proven_is_held(desk: Desk, received: Received | None) -> None:
    desk.proof = UNPROVEN
    desk.proofs.arrived(desk.item, HEAD, desk.endpoint, received)
    desk.mismatches.hold.assert_called_once_with(desk.item, UNPROVEN)
    desk.assert_not_staged()


def test_what_cannot_be_proven_now_did_not_arrive(desk: Desk) -> None:
    desk.proof = StoreError(Trouble.SERVER, "read", "no")
    desk.proofs.arrived(desk.item, HEAD, desk.endpoint)
    desk.proof = OSError(5, "Input/output error")
    desk.proofs.arrived(desk.item, HEAD, desk.endpoint)
    assert [call.args for call in desk.fetching.not_arrived.call_args_list] == [
        (desk.item, Trouble.SERVER, "Failed to read: no", desk.endpoint),
        (desk.item, mock.ANY, "Failed to read the fetched file of 'film': Input/output error"),
    ]
    desk.proof = StoreError(Trouble.CHANGED, "read", "another one")
    desk.proofs.arrived(desk.item, HEAD, desk.endpoint)
    desk.looks.look_again.assert_called_once_with(desk.item, Trouble.CHANGED, "Failed to read: another one")
    desk.assert_not_staged()


# -- what it is proven against ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "received", "etag"),
    [
        (HEAD._replace(size=UNTOLD, etag=""), None, MD5),
        (HEAD._replace(etag=OTHER), None, MD5),  # the file has the digest that was listed
        (HEAD._replace(etag=OTHER), RECEIVED, MD5),
        (HEAD._replace(etag=OTHER), RECEIVED._replace(etag=OTHER), OTHER),
    ],
)
def test_an_answer_is_completed_from_the_listing(desk: Desk, head: Head, received: Received | None, etag: str) -> None:
    desk.proofs.arrived(desk.item, head, desk.endpoint, received)
    (against,) = desk.proven_against
    assert (against.size, against.etag) == (4, etag)


def test_an_answer_with_nothing_to_complete_is_used_as_it_is(desk: Desk) -> None:
    desk.proofs.arrived(desk.item, HEAD, desk.endpoint, RECEIVED)
    assert desk.proven_against[0] is HEAD


def test_an_answer_that_the_bytes_do_not_contradict_stays(desk: Desk) -> None:
    Path(desk.item.path).write_bytes(b"atad")
    desk.proofs.arrived(desk.item, HEAD._replace(etag=OTHER), desk.endpoint)
    assert [head.etag for head in desk.proven_against] == [OTHER]


# -- tags -------------------------------------------------------------------------------------------------------------


def test_tags_are_asked_for_aside_and_staged_with_the_object(desk: Desk) -> None:
    desk.proofs.arrived(desk.item, HEAD._replace(tag_count=1), desk.endpoint, RECEIVED)
    desk.assert_not_staged()
    ((items, step),) = desk.aside
    assert items == [desk.item]
    step()
    assert load_headers(desk.staged().headers).tags == {"kind": "film"}


def test_tags_that_cannot_be_read_are_the_object_s_failure(desk: Desk) -> None:
    desk.tags = StoreError(Trouble.DENIED, "get tags", "no")
    desk.proofs.arrived(desk.item, HEAD._replace(tag_count=1), desk.endpoint, RECEIVED)
    desk.aside[0][1]()
    desk.fetching.not_arrived.assert_called_once_with(
        desk.item, Trouble.DENIED, "Failed to get tags: no", desk.endpoint
    )
    desk.assert_not_staged()


def test_tags_that_the_job_skips_are_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path, monkeypatch, tags="skip")
    desk.proofs.arrived(desk.item, HEAD._replace(tag_count=1), desk.endpoint, RECEIVED)
    assert load_headers(desk.staged().headers).tags == {}
    assert desk.aside == []


# -- mismatches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_counted", [True, False])
def test_mismatched_bytes_are_quarantined_before_their_object_is_put_back(desk: Desk, is_counted: bool) -> None:
    ledger: Any = mock.Mock(Ledger, objects=mock.Mock())
    ledger.objects.retry.return_value = is_counted
    setbacks = mock.Mock(Setbacks)
    mismatches = Mismatches(ledger, setbacks, desk.fetching)
    mismatches.fetch_again(desk.item, REFUTED)
    mismatches.hold(desk.item, UNPROVEN)
    assert [call[0] for call in desk.fetching.mock_calls] == ["quarantine", "put_back"] * 2
    (failure,) = (call.args[0] for call in setbacks.failed.call_args_list)
    assert (failure.message, failure.expected, failure.found) == ("bad (from a)", "a", "b")
    ((held, options),) = ((call.args[0], call.kwargs) for call in ledger.objects.retry.call_args_list)
    assert (held.trouble, held.message, held.action) == (Trouble.MISMATCH, "odd", "held in quarantine")
    assert options == {"delay_ms": 0, "count": True, "target": State.QUARANTINED}
    assert setbacks.note.call_args_list == ([mock.call(held)] if is_counted else [])


def test_what_the_mover_proved_is_staged_as_it_says() -> None:
    item = Item(ROW, UNUSED, UNUSED, "/incoming/7", tool="native")
    for row in (ROW, ROW._replace(etag=MD5.upper()), ROW._replace(etag="")):
        item.row = row
        staged = staged_as(item, Arrived(MD5, '{"content_type":"video/mp4"}'))
        assert staged == Staged(row, 0, MD5, '{"content_type":"video/mp4"}', Evidence.STORE_DIGEST, "native")


@pytest.mark.parametrize("listed", [OTHER, f"{MD5}-1", "opaque"])
def test_what_the_mover_proved_is_not_what_was_listed(listed: str) -> None:
    item = Item(ROW._replace(etag=listed), UNUSED, UNUSED, "/incoming/7", tool="native")
    assert staged_as(item, Arrived(MD5, "")) is None
