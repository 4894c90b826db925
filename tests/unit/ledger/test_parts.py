# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ledger remembers inside large objects, and when it forgets it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_rows import bring_to, in_memory, listed, row_of

from snowsync.core.model import Fetch, Send, State
from snowsync.core.parts import Piece, SentPart, Upload
from snowsync.hops.part_memory import PartKeeper
from snowsync.ledger.ledger import Ledger


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    opened = in_memory()
    yield opened
    opened.close()


@pytest.fixture
def volume(ledger: Ledger) -> int:
    return ledger.volumes.volume_id("one", "uuid-1", "/one")


def piece(start: int, length: int, name: bytes = b"a") -> Piece:
    return Piece(start, length, 0, (name * 16,))


def pending(ledger: Ledger, key: str = "k") -> int:
    ledger.listing.observe([listed(key)])
    return row_of(ledger, key).id


def upload(object_id: int, generation: int = 1, upload_id: str = "u1", begun_ms: int = 5) -> Upload:
    return Upload(object_id, generation, "http://store", "bucket", "k", upload_id, 8, begun_ms)


# -- fetched --------------------------------------------------------------------------------------------------------


def test_pieces_are_kept_per_generation_and_volume(ledger: Ledger, volume: int) -> None:
    number = pending(ledger)
    ledger.parts.keep_pieces(number, 1, volume, [piece(0, 10), piece(20, 5)])
    assert ledger.parts.pieces(number, 1, volume) == [piece(0, 10), piece(20, 5)]
    assert ledger.parts.pieces(number, 2, volume) == ledger.parts.pieces(number, 1, volume + 1) == []
    assert ledger.parts.partial(number, 1) == (volume, 15)
    assert ledger.parts.partial(number, 2) is None
    assert ledger.parts.partials(volume) == {number}


def test_a_larger_piece_takes_the_place_of_those_within(ledger: Ledger, volume: int) -> None:
    number = pending(ledger)
    ledger.parts.keep_pieces(number, 1, volume, [piece(0, 10), piece(10, 5), piece(20, 5)])
    ledger.parts.keep_pieces(number, 1, volume, [piece(0, 20, b"b")])
    assert ledger.parts.pieces(number, 1, volume) == [piece(0, 20, b"b"), piece(20, 5)]


def test_pieces_on_another_volume_or_of_another_generation_go_with_the_first_new_one(
    ledger: Ledger, volume: int
) -> None:
    number = pending(ledger)
    ledger.parts.keep_pieces(number, 1, volume, [piece(0, 10)])
    ledger.parts.keep_pieces(number, 1, volume + 1, [piece(10, 10)])
    assert ledger.parts.partial(number, 1) == (volume + 1, 10)
    ledger.parts.keep_pieces(number, 2, volume + 1, [piece(0, 3)])
    assert ledger.parts.pieces(number, 1, volume + 1) == []


def test_a_new_generation_has_no_partial_file(ledger: Ledger, volume: int) -> None:
    number = pending(ledger)
    ledger.parts.keep_pieces(number, 1, volume, [piece(0, 10)])
    ledger.listing.observe([listed("k", etag="another")])
    assert row_of(ledger, "k").generation == 2
    assert ledger.parts.partials(volume) == set()
    ledger.parts.drop_outdated_pieces()
    assert ledger.parts.pieces(number, 1, volume) == []


def test_an_object_that_is_staged_has_no_partial_file(ledger: Ledger, volume: int) -> None:
    number, other = pending(ledger), pending(ledger, "other")
    for each in (number, other):
        ledger.parts.keep_pieces(each, 1, volume, [piece(0, 10)])
    bring_to(ledger, "k", State.STAGED, volume)
    assert ledger.parts.partials(volume) == {other}
    ledger.parts.drop_outdated_pieces()
    assert ledger.parts.pieces(number, 1, volume) == []
    assert ledger.parts.pieces(other, 1, volume) == [piece(0, 10)]


def test_forgotten_pieces_are_gone_whatever_their_generation(ledger: Ledger, volume: int) -> None:
    number = pending(ledger)
    ledger.parts.begin_upload(upload(number))
    ledger.parts.keep_pieces(number, 1, volume, [piece(0, 10)])
    ledger.parts.keep_sent(number, 1, [SentPart(1, "e", "m")])
    ledger.parts.forget_pieces(number)
    assert ledger.parts.partial(number, 1) is None
    assert ledger.parts.sent_parts(number, 1) == [SentPart(1, "e", "m")]


# -- sent -----------------------------------------------------------------------------------------------------------


def test_an_upload_and_its_parts_are_kept_until_it_ends(ledger: Ledger) -> None:
    number = pending(ledger)
    ledger.parts.begin_upload(upload(number))
    ledger.parts.keep_sent(number, 1, [SentPart(1, 'a "strange" etag', "m1"), SentPart(2, "", "m2")])
    assert ledger.parts.uploads(number) == [upload(number)]
    assert ledger.parts.sent_parts(number, 1) == [SentPart(1, 'a "strange" etag', "m1"), SentPart(2, "", "m2")]
    ledger.parts.end_upload(upload(number))
    assert ledger.parts.uploads(number) == ledger.parts.sent_parts(number, 1) == []


def test_parts_of_an_earlier_upload_are_not_those_of_a_new_one(ledger: Ledger) -> None:
    number = pending(ledger)
    ledger.parts.begin_upload(upload(number))
    ledger.parts.keep_sent(number, 1, [SentPart(1, "e", "m")])
    ledger.parts.begin_upload(upload(number, 2, "u2"))
    assert ledger.parts.sent_parts(number, 1) == ledger.parts.sent_parts(number, 2) == []
    assert ledger.parts.uploads(number) == [upload(number, 2, "u2"), upload(number)], "the newest first"


@pytest.mark.parametrize(
    ("state", "is_left"),
    [(State.PENDING, False), (State.STAGED, False), (State.DELIVERED, True), (State.RELEASED, True)],
)
def test_uploads_of_objects_that_are_delivered_are_left(
    ledger: Ledger, volume: int, state: State, is_left: bool
) -> None:
    number = pending(ledger)
    ledger.parts.begin_upload(upload(number))
    if state is not State.PENDING:
        bring_to(ledger, "k", state, volume)
    assert ledger.parts.left_uploads() == ([upload(number)] if is_left else [])


def test_uploads_of_an_older_generation_are_left(ledger: Ledger) -> None:
    number = pending(ledger)
    ledger.parts.begin_upload(upload(number))
    ledger.listing.observe([listed("k", etag="another")])
    ledger.parts.begin_upload(upload(number, 2, "u2"))
    assert ledger.parts.left_uploads() == [upload(number)]
    assert upload(999).object_id not in {each.object_id for each in ledger.parts.left_uploads()}
    ledger.parts.begin_upload(upload(999))
    assert upload(999) in ledger.parts.left_uploads(), "of an object that was forgotten"


# -- the keeper -----------------------------------------------------------------------------------------------------


@pytest.fixture
def partial(ledger: Ledger, volume: int, tmp_path: Path) -> Fetch:
    """Work whose first ten bytes are there and recorded by somebody else."""
    number = pending(ledger)
    path = tmp_path / "incoming"
    path.write_bytes(bytes(10))
    ledger.parts.keep_pieces(number, 1, volume, [piece(0, 10)])
    return Fetch(number, "k", 100, str(path), "etag", 1, volume)


def test_only_what_this_process_wrote_is_trusted(ledger: Ledger, partial: Fetch) -> None:
    keeper = PartKeeper(ledger.parts)
    keeper.keep_fetched(partial, piece(10, 20))
    keeper.settle(partial)
    assert [(each.start, each.is_trusted) for each in keeper.fetched(partial)] == [(0, False), (10, True)]
    assert {each.is_trusted for each in PartKeeper(ledger.parts).fetched(partial)} == {False}


def test_nothing_is_trusted_of_another_file_or_a_volume_that_came_back(ledger: Ledger, partial: Fetch) -> None:
    keeper = PartKeeper(ledger.parts)
    keeper.keep_fetched(partial, piece(0, 10, b"b"))
    keeper.settle(partial)
    keeper.doubt(partial.volume + 1)
    assert [each.is_trusted for each in keeper.fetched(partial)] == [True]
    keeper.doubt(partial.volume)
    assert [each.is_trusted for each in keeper.fetched(partial)] == [False]
    keeper.keep_fetched(partial, piece(0, 10, b"b"))
    keeper.settle(partial)
    path = Path(partial.path)
    path.rename(path.with_name("elsewhere"))
    path.write_bytes(bytes(10))
    assert [each.is_trusted for each in keeper.fetched(partial)] == [False]


def test_a_file_that_is_gone_holds_nothing(ledger: Ledger, partial: Fetch) -> None:
    Path(partial.path).unlink()
    assert PartKeeper(ledger.parts).fetched(partial) == []


def test_a_file_that_cannot_be_synced_is_an_error_and_nothing_is_recorded(ledger: Ledger, partial: Fetch) -> None:
    keeper = PartKeeper(ledger.parts)
    Path(partial.path).unlink()
    keeper.keep_fetched(partial, piece(10, 20))
    with pytest.raises(OSError, match="No such file"):
        keeper.settle(partial)
    assert ledger.parts.pieces(partial.id, 1, partial.volume) == [piece(0, 10)]


def test_work_without_a_generation_is_not_remembered(ledger: Ledger, partial: Fetch) -> None:
    keeper = PartKeeper(ledger.parts)
    nobodys = Fetch(partial.id, "k", 100, partial.path)
    keeper.keep_fetched(nobodys, piece(10, 20))
    keeper.settle(nobodys)
    assert keeper.fetched(nobodys) == []
    send = Send(partial.id, "k", 100, partial.path, 8, "")
    keeper.keep_sent(send, SentPart(1, "e", "m"))
    keeper.settle(send)
    keeper.begin_upload(upload(partial.id, 0))
    assert keeper.uploads(send) == []
    assert ledger.parts.pieces(partial.id, 1, partial.volume) == [piece(0, 10)]


def test_progress_is_told_once(ledger: Ledger, partial: Fetch) -> None:
    keeper = PartKeeper(ledger.parts)
    assert not keeper.progressed(partial.id)
    keeper.keep_fetched(partial, piece(10, 20))
    keeper.settle(partial)
    assert keeper.progressed(partial.id)
    assert not keeper.progressed(partial.id)
