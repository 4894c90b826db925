# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files beside the rows: what entitles to remove them, which of them takes its row back, and rows that were damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from ledger_rows import bring_to, delivered, failure, in_memory, listed, row_of, select, staged

from snowsync.core.errors import LedgerError, Trouble
from snowsync.core.model import State
from snowsync.core.removal import AtDestination, LiesElsewhere, Permit, Replaced
from snowsync.ledger import schema
from snowsync.ledger.binding import End
from snowsync.ledger.copies import Kept, entitlement
from snowsync.ledger.ledger import Failure, Ledger, Row

FIRST, SECOND, THIRD = ("1" * 32, "2" * 32, "3" * 32)


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    opened = in_memory()
    opened.stores.record_ends({"destination": End("archive")})
    yield opened
    opened.close()


@pytest.fixture
def volume(ledger: Ledger) -> int:
    return ledger.volumes.volume_id("one", "uuid-1", "/one")


def stage(ledger: Ledger, volume: int, etag: str) -> Row:
    """The source lists "k" with this ETag, and it is staged."""
    ledger.listing.observe([listed("k", etag=etag)])
    assert ledger.staging.commit_staged([staged(row_of(ledger, "k"))], volume, 0) == []
    return row_of(ledger, "k")


def deliver(ledger: Ledger) -> Row:
    assert ledger.deliveries.commit_delivered([delivered(row_of(ledger, "k"))], [], 0) == []
    return row_of(ledger, "k")


def copies(ledger: Ledger) -> list[tuple[object, ...]]:
    return select(ledger, "SELECT generation, state, volume FROM copies ORDER BY generation")


def vanish(ledger: Ledger) -> Failure | None:
    """The source does not have what it listed last."""
    row = row_of(ledger, "k")
    text = "generation {} on {}".format
    told = ledger.copies.restore(row, lambda *older: Failure(row, "source", Trouble.NOT_FOUND, text(*older), "kept"))
    if told is None:
        ledger.objects.gone(Failure(row, "source", Trouble.NOT_FOUND, "it is not there", "looked for again"))
    return told


# -- what entitles ----------------------------------------------------------------------------------------------


def row(state: State, generation: int = 2, volume: int | None = 1, suspect: int = 0) -> Row:
    return Row(7, "k", 10, SECOND, 1, generation, 0, state, volume, 0, SECOND, "", 0, 0, suspect, "proof", 5)


OLDER = Replaced(7, "k", 1, 2, State.STAGED)
ENTITLED: list[tuple[str, Row | None, Kept | None, int, int, Permit | None]] = [
    ("unknown key", None, None, 1, 1, None),
    ("unknown key with a copy", None, Kept(2, "proof", 5), 1, 1, None),
    *((f"older, newer {s.label}", row(s), None, 1, 1, None) for s in (State.PENDING, State.FAILED, State.QUARANTINED)),
    ("older, newer staged", row(State.STAGED), None, 1, 1, OLDER),
    ("older, newer staged, kept", row(State.STAGED), Kept(1, "", 0), 1, 1, OLDER),
    ("older, newer staged elsewhere", row(State.STAGED, volume=2), None, 1, 1, OLDER),
    ("older, newer suspect", row(State.STAGED, suspect=1), None, 1, 1, None),
    ("older, newer delivered", row(State.DELIVERED), None, 1, 1, Replaced(7, "k", 1, 2, State.DELIVERED)),
    ("older, newer released", row(State.RELEASED), None, 1, 1, Replaced(7, "k", 1, 2, State.RELEASED)),
    ("older and delivered", row(State.PENDING), Kept(2, "old", 4), 1, 1, AtDestination(7, "k", 1, 4, "old")),
    ("older and overtaken", row(State.PENDING), Kept(3, "", 0), 1, 1, None),
    ("newer than the row", row(State.RELEASED), None, 3, 1, None),
    ("pending", row(State.PENDING, volume=None), None, 2, 1, None),
    ("staged here", row(State.STAGED), None, 2, 1, None),
    ("staged elsewhere", row(State.STAGED), None, 2, 2, LiesElsewhere("k", 2, 2, 1)),
    ("suspect elsewhere", row(State.STAGED, suspect=1), None, 2, 2, None),
    ("failed here", row(State.FAILED), None, 2, 1, None),
    ("failed elsewhere", row(State.FAILED), None, 2, 2, None),
    ("delivered", row(State.DELIVERED), None, 2, 1, AtDestination(7, "k", 2, 5, "proof")),
    ("delivered from elsewhere", row(State.DELIVERED), None, 2, 2, AtDestination(7, "k", 2, 5, "proof")),
    ("released", row(State.RELEASED, volume=None), None, 2, 1, AtDestination(7, "k", 2, 5, "proof")),
]


@pytest.mark.parametrize(
    ("known", "copy", "generation", "volume", "permit"), [case[1:] for case in ENTITLED], ids=[c[0] for c in ENTITLED]
)
def test_what_entitles_to_remove_a_staged_file(
    known: Row | None, copy: Kept | None, generation: int, volume: int, permit: Permit | None
) -> None:
    assert entitlement(known, copy, "k", generation, volume) == permit


@pytest.mark.parametrize("generation", [1, 2])
def test_what_lies_on_a_volume_in_trouble_entitles_to_nothing(generation: int) -> None:
    assert entitlement(row(State.STAGED), None, "k", generation, 2)
    assert entitlement(row(State.STAGED), None, "k", generation, 2, is_well=False) is None
    assert entitlement(row(State.DELIVERED), None, "k", generation, 2, is_well=False), "the destination has it"


def test_the_ledger_knows_when_the_other_volume_is_in_trouble(ledger: Ledger, volume: int, other: int) -> None:
    stage(ledger, other, FIRST)
    assert ledger.copies.permit("k", 1, volume) == LiesElsewhere("k", 1, volume, other)
    ledger.volumes.set_trouble(other, "failed", "EIO")
    assert ledger.copies.permit("k", 1, volume) is None
    ledger.losses.returned(other)
    assert ledger.copies.permit("k", 1, volume) is None, "it is hashed first"


# -- older generations ------------------------------------------------------------------------------------------


def test_the_copy_that_was_replaced_last_takes_the_row_back(ledger: Ledger, volume: int, other: int) -> None:
    stage(ledger, volume, FIRST)
    stage(ledger, other, SECOND)
    ledger.listing.observe([listed("k", etag=THIRD)])
    assert copies(ledger) == [(1, 1, volume), (2, 1, other)]
    told = vanish(ledger)
    assert told and told.message == "generation 2 on two"
    found = row_of(ledger, "k")
    assert (found.generation, found.state, found.volume, found.etag) == (2, State.STAGED, other, SECOND)
    assert (found.suspect, found.digest) == (1, SECOND), "it is hashed before it is used"
    assert copies(ledger) == [(1, 1, volume)]
    assert select(ledger, "SELECT key, trouble, message FROM failures") == [("k", "not_found", "generation 2 on two")]


def test_nothing_is_restored_over_a_row_that_is_another_by_now(ledger: Ledger, volume: int) -> None:
    stage(ledger, volume, FIRST)
    ledger.listing.observe([listed("k", etag=SECOND)])
    stale = row_of(ledger, "k")
    ledger.listing.observe([listed("k", etag=THIRD)])
    assert ledger.copies.restore(stale, lambda *_older: failure(stale)) is None
    assert row_of(ledger, "k").state == State.PENDING


def test_a_source_that_goes_back_to_a_kept_copy_is_not_fetched_again(ledger: Ledger, volume: int) -> None:
    stage(ledger, volume, FIRST)
    ledger.listing.observe([listed("k", etag=SECOND)])
    ledger.listing.observe([listed("k", etag=FIRST)])
    found = row_of(ledger, "k")
    assert (found.state, found.generation, found.etag) == (State.STAGED, 1, FIRST)
    assert ledger.listing.observe([listed("k", etag=FIRST)]).same == 1
    ledger.listing.observe([listed("k", etag=THIRD)])
    assert row_of(ledger, "k").generation == 4, "every number is used once"


def test_a_source_that_goes_back_past_a_newer_copy_gets_what_it_lists(ledger: Ledger, volume: int, other: int) -> None:
    """Listed, staged; changed, staged; changed back: the first one is sent, not the second."""
    stage(ledger, volume, FIRST)
    stage(ledger, other, SECOND)
    ledger.listing.observe([listed("k", etag=FIRST)])
    assert (row_of(ledger, "k").etag, row_of(ledger, "k").volume) == (FIRST, volume)
    assert copies(ledger) == [(2, 1, other)]
    assert ledger.copies.permit("k", 2, other) is None, "what replaced it is hashed first"
    deliver(ledger)
    assert ledger.copies.permit("k", 2, other) == Replaced(row_of(ledger, "k").id, "k", 2, 3, State.DELIVERED)
    assert [entry[1:] for entry in ledger.copies.obsolete(after_id=0, pressed=False)] == [(other, "k", 2)]


def test_a_generation_that_stands_in_for_one_that_vanished_replaces_nothing_newer(
    ledger: Ledger, volume: int, other: int
) -> None:
    """A file of generation 2 was given its name, and a crash came before the ledger knew."""
    stage(ledger, volume, FIRST)
    ledger.listing.observe([listed("k", etag=SECOND)])
    ledger.listing.observe([listed("k", etag=THIRD)])
    assert vanish(ledger)
    deliver(ledger)
    assert ledger.copies.permit("k", 2, other) is None


def test_a_copy_on_a_volume_in_trouble_does_not_take_the_row_back(ledger: Ledger, volume: int, other: int) -> None:
    stage(ledger, volume, FIRST)
    stage(ledger, other, SECOND)
    ledger.listing.observe([listed("k", etag=THIRD)])
    ledger.volumes.set_trouble(other, "failed", "EIO")
    assert vanish(ledger)
    assert row_of(ledger, "k").etag == FIRST
    assert copies(ledger) == [(2, 1, other)], "kept, should the volume return"


def test_a_copy_that_was_left_on_a_failed_volume_is_kept_when_an_older_one_takes_the_row_back(
    ledger: Ledger, volume: int, other: int
) -> None:
    stage(ledger, volume, FIRST)
    stage(ledger, other, SECOND)
    ledger.volumes.set_trouble(other, "failed", "EIO")
    ledger.losses.leave_copies(other, "EIO")
    assert vanish(ledger)
    assert copies(ledger) == [(2, 1, other)]
    assert ledger.copies.has_file("k", 2, other)


# -- at the destination -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_released", [False, True])
def test_no_older_generation_is_stored_over_one_that_was_delivered(
    ledger: Ledger, volume: int, other: int, is_released: bool
) -> None:
    """Staged; changed, delivered; changed, and gone: the second one stays at the destination."""
    stage(ledger, volume, FIRST)
    stage(ledger, other, SECOND)
    done = deliver(ledger)
    if is_released:
        ledger.deliveries.commit_delivered([], [done], 0)
    ledger.listing.observe([listed("k", etag=THIRD)])
    assert vanish(ledger) is None
    assert row_of(ledger, "k").state == State.FAILED
    assert ledger.copies.permit("k", 1, volume) is None, "kept until something newer is staged"
    assert ledger.copies.deliver_older_first({volume, other}) == 0


def test_a_delivery_that_came_late_counts_for_its_own_generation_and_what_it_replaced(
    ledger: Ledger, volume: int, other: int
) -> None:
    stage(ledger, volume, FIRST)
    sent = stage(ledger, other, SECOND)
    ledger.listing.observe([listed("k", etag=THIRD)])
    assert [item.row for item in ledger.deliveries.commit_delivered([delivered(sent)], [], 0)] == [sent]
    assert copies(ledger) == [(1, 3, volume), (2, 2, other)]
    assert ledger.copies.permit("k", 2, other) == AtDestination(sent.id, "k", 2, ledger.deliveries.target(), SECOND)
    assert vanish(ledger) is None


def test_an_upload_that_begins_ends_the_proofs_of_older_generations(ledger: Ledger, volume: int, other: int) -> None:
    """Delivered, its file not deleted yet; changed, and sent: the store may have put other bytes in its place."""
    stage(ledger, volume, FIRST)
    deliver(ledger)
    newer = stage(ledger, other, SECOND)
    assert isinstance(ledger.copies.permit("k", 1, volume), AtDestination)
    ledger.deliveries.claim_sends([newer])
    assert isinstance(ledger.copies.permit("k", 1, volume), Replaced)
    ledger.volumes.set_trouble(other, "failed", "EIO")
    assert ledger.copies.permit("k", 1, volume) is None


def test_a_proof_of_another_destination_entitles_to_nothing(ledger: Ledger, volume: int) -> None:
    stage(ledger, volume, FIRST)
    deliver(ledger)
    ledger.listing.observe([listed("k", etag=SECOND)])
    ledger.stores.rebind_destination(End("elsewhere"), is_same=False)
    assert ledger.copies.permit("k", 1, volume) is None
    assert ledger.copies.obsolete(after_id=0, pressed=True) == []
    assert vanish(ledger), "it is delivered to the other one"


@pytest.mark.parametrize("way", ["rebind", "resend"])
def test_what_was_delivered_is_suspect_when_it_is_staged_again(
    ledger: Ledger, volume: int, other: int, way: str
) -> None:
    """Its file may have been deleted a moment before the process was killed."""
    stage(ledger, volume, FIRST)
    stage(ledger, other, SECOND)
    deliver(ledger)
    if way == "rebind":
        ledger.stores.rebind_destination(End("elsewhere"), is_same=False)
    else:
        ledger.objects.resend(["k"], Trouble.NOT_FOUND, "lost there")
    found = row_of(ledger, "k")
    assert (found.state, found.suspect) == (State.STAGED, 1)
    assert ledger.copies.permit("k", 1, volume) is None


# -- where there is no room -------------------------------------------------------------------------------------


def test_an_older_generation_that_is_delivered_first_makes_way_for_the_newer_one(ledger: Ledger, volume: int) -> None:
    stage(ledger, volume, FIRST)
    ledger.listing.observe([listed("k", etag=SECOND)])
    assert ledger.copies.deliver_older_first({volume}) == 1
    assert (row_of(ledger, "k").generation, row_of(ledger, "k").state) == (1, State.STAGED)
    assert ledger.listing.observe([listed("k", etag=SECOND)]).same == 1, "the source has nothing that is not known"
    ledger.listing.observe([listed("k", etag=THIRD)])
    ledger.deliveries.commit_delivered([delivered(row_of(ledger, "k"))], [], 0)
    found = row_of(ledger, "k")
    assert (found.state, found.etag) == (State.PENDING, THIRD)
    assert found.generation == 3, "every listed version has a number of its own"
    assert copies(ledger) == [(1, 2, volume)]


def test_a_listing_that_goes_back_while_the_older_one_is_delivered_fetches_nothing_twice(
    ledger: Ledger, volume: int
) -> None:
    stage(ledger, volume, FIRST)
    ledger.listing.observe([listed("k", etag=SECOND)])
    ledger.copies.deliver_older_first({volume})
    ledger.listing.observe([listed("k", etag=FIRST)])
    ledger.deliveries.commit_delivered([delivered(row_of(ledger, "k"))], [], 0)
    assert row_of(ledger, "k").etag == FIRST


@pytest.mark.parametrize("how", ["left", "all left", "quarantined"])
def test_an_older_generation_that_cannot_be_delivered_first_makes_way_at_once(
    ledger: Ledger, volume: int, how: str
) -> None:
    """Else the row would be fetched for ever as something that the source does not have any more."""
    stage(ledger, volume, FIRST)
    ledger.listing.observe([listed("k", etag=SECOND)])
    ledger.copies.deliver_older_first({volume})
    older = row_of(ledger, "k")
    if how == "left":
        assert ledger.losses.leave_copy(failure(older))
    elif how == "all left":
        assert ledger.losses.leave_copies(volume, "EIO") == 1
    else:
        assert ledger.objects.retry(failure(older), delay_ms=0, count=True, target=State.QUARANTINED)
    found = row_of(ledger, "k")
    assert (found.state, found.etag, found.generation) == (State.PENDING, SECOND, 2)
    assert copies(ledger) == ([] if how == "quarantined" else [(1, 1, volume)])


def test_a_number_is_not_given_again_after_two_that_were_put_back(ledger: Ledger, volume: int, other: int) -> None:
    stage(ledger, volume, FIRST)
    stage(ledger, other, SECOND)
    ledger.listing.observe([listed("k", etag=THIRD)])
    assert vanish(ledger), "generation 3 is gone, 2 is delivered instead"
    assert ledger.objects.retry(failure(row_of(ledger, "k")), delay_ms=0, count=False), "and is damaged"
    assert ledger.copies.deliver_older_first({volume}) == 1
    ledger.deliveries.commit_delivered([delivered(row_of(ledger, "k"))], [], 0)
    assert (row_of(ledger, "k").etag, row_of(ledger, "k").generation) == (SECOND, 4)


# -- files that came late ---------------------------------------------------------------------------------------


def test_a_fetch_that_ends_late_is_kept_and_used_when_its_turn_comes(ledger: Ledger, volume: int, other: int) -> None:
    """While the newer generation was fetched, the older one was put before it for want of room."""
    stage(ledger, volume, FIRST)
    ledger.listing.observe([listed("k", etag=SECOND)])
    fetched = row_of(ledger, "k")
    ledger.copies.deliver_older_first({volume})
    assert [item.row for item in ledger.staging.commit_staged([staged(fetched)], other, 0)] == [fetched]
    assert copies(ledger) == [(2, 1, other)]
    ledger.deliveries.commit_delivered([delivered(row_of(ledger, "k"))], [], 0)
    found = row_of(ledger, "k")
    assert (found.state, found.etag, found.volume) == (State.STAGED, SECOND, other)


def test_a_fetch_that_ends_late_is_kept_instead_of_a_copy_on_a_failed_volume(
    ledger: Ledger, volume: int, other: int
) -> None:
    stage(ledger, volume, FIRST)
    ledger.losses.leave_copies(volume, "EIO")
    fetched = row_of(ledger, "k")
    ledger.listing.observe([listed("k", etag=SECOND)])
    assert copies(ledger) == [(1, 1, volume)]
    ledger.staging.commit_staged([staged(fetched)], other, 0)
    assert copies(ledger) == [(1, 1, other)]
    assert [note[1:] for note in ledger.copies.discards()] == [(volume, "k", 1)]


def test_a_fetch_that_ends_after_its_volume_returned_is_better_than_what_is_suspect(
    ledger: Ledger, volume: int, other: int
) -> None:
    stage(ledger, volume, FIRST)
    ledger.volumes.set_trouble(volume, "failed", "EIO")
    ledger.losses.leave_copies(volume, "EIO")
    fetched = row_of(ledger, "k")
    ledger.losses.returned(volume)
    assert [item.row for item in ledger.staging.commit_staged([staged(fetched)], other, 0)] == [fetched]
    found = row_of(ledger, "k")
    assert (found.state, found.volume, found.suspect) == (State.STAGED, other, 0)
    assert [note[1:] for note in ledger.copies.discards()] == [(volume, "k", 1)]
    assert ledger.copies.permit("k", 1, volume) == LiesElsewhere("k", 1, volume, other)


# -- rows that leave --------------------------------------------------------------------------------------------


def test_a_row_is_forgotten_with_the_highest_number_that_it_had(ledger: Ledger, volume: int) -> None:
    stage(ledger, volume, FIRST)
    ledger.listing.observe([listed("k", etag=SECOND)])
    assert vanish(ledger), "generation 2 is gone, 1 is delivered instead"
    ledger.stores.rebind_destination(End("elsewhere"), is_same=False)
    ledger.database.connection.execute("UPDATE objects SET staged_ms = NULL")
    ledger.objects.retry(failure(row_of(ledger, "k")), delay_ms=0, count=False)
    ledger.objects.gone(failure(row_of(ledger, "k")))
    assert ledger.listing.forget_gone(["k"], (), "not listed") == ["k"]
    ledger.listing.observe([listed("k", etag=THIRD)])
    assert row_of(ledger, "k").generation == 3


def test_what_was_staged_once_is_not_forgotten(ledger: Ledger, volume: int) -> None:
    """Its file is gone, and so is the source's object: that is a loss, and stays named."""
    stage(ledger, volume, FIRST)
    ledger.objects.retry(failure(row_of(ledger, "k")), delay_ms=0, count=False)
    assert vanish(ledger) is None
    assert ledger.listing.forget_gone(["k"], (), "not listed") == []
    assert row_of(ledger, "k").state == State.FAILED


def test_a_source_that_is_another_forgets_no_number(ledger: Ledger, volume: int) -> None:
    stage(ledger, volume, FIRST)
    ledger.listing.observe([listed("k", etag=SECOND)])
    assert vanish(ledger)
    ledger.stores.rebind_source(End("other"), is_same=False)
    assert row_of(ledger, "k").state == State.STAGED
    ledger.listing.observe([listed("k", etag=THIRD)])
    assert row_of(ledger, "k").generation == 3


def test_copies_that_are_lost_with_a_volume_are_named(ledger: Ledger, volume: int, other: int) -> None:
    stage(ledger, volume, FIRST)
    stage(ledger, other, SECOND)
    deliver(ledger)
    ledger.listing.observe([listed("k", etag=THIRD)])
    ledger.listing.observe([listed("x")])
    bring_to(ledger, "x", State.STAGED, volume)
    ledger.listing.observe([listed("x", etag=SECOND)])
    ledger.losses.lose_volume(volume, "one")
    assert copies(ledger) == [(2, 2, other)]
    named = select(ledger, "SELECT key, generation, reason FROM forgotten")
    assert named == [("x", 1, "the copy of this generation was lost with volume one")], "the other was delivered since"


def test_a_volume_that_was_given_up_is_looked_at_when_it_returns(ledger: Ledger, volume: int) -> None:
    """Also where no unit had met its trouble."""
    stage(ledger, volume, FIRST)
    assert ledger.losses.lose_volume(volume, "one") == (1, [])
    ledger.losses.returned(volume)
    found = row_of(ledger, "k")
    assert (found.state, found.volume, found.suspect) == (State.STAGED, volume, 1)


def test_what_is_known_of_a_copy_is_not_known_of_the_row(ledger: Ledger, volume: int) -> None:
    stage(ledger, volume, FIRST)
    assert ledger.copies.is_named("k", 1, volume)
    ledger.listing.observe([listed("k", etag=SECOND)])
    assert ledger.copies.has_file("k", 1, volume)
    assert not ledger.copies.is_named("k", 1, volume), "who discards it must not forget it"


# -- moves ------------------------------------------------------------------------------------------------------


def test_copies_on_a_volume_that_is_evacuated_are_delivered_first_and_move(
    ledger: Ledger, volume: int, other: int
) -> None:
    stage(ledger, volume, FIRST)
    ledger.listing.observe([listed("k", etag=SECOND)])
    assert ledger.moves.lying(State.STAGED, volume, after_id=0, limit=9) == []
    assert ledger.copies.deliver_older_first({volume}) == 1
    (lying,) = ledger.moves.lying(State.STAGED, volume, after_id=0, limit=9)
    assert ledger.moves.commit_moved([lying], other, ledger.moves.intend(other, [lying])) == [lying]
    assert ledger.copies.permit("k", 1, volume) == LiesElsewhere("k", 1, volume, other)
    assert [entry[1:] for entry in ledger.copies.discards()] == [(volume, "k", 1)]


# -- damaged rows -----------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger on whose disk a bit of the row of "k" was flipped: it says that it was delivered."""
    ledger = Ledger(tmp_path / "ledger.db")
    volume = ledger.volumes.volume_id("one", "uuid-1", "/one")
    for key in ("k", "sound"):
        bring_to(ledger, key, State.STAGED, volume)
    ledger.close()
    disk = sqlite3.connect(tmp_path / "ledger.db")
    (known,) = disk.execute("SELECT row_sum FROM objects WHERE key = 'k'").fetchone()
    disk.create_function("row_sum", -1, lambda *_values: known, deterministic=True)
    disk.execute("DROP TRIGGER objects_are_sound")
    disk.execute("UPDATE objects SET state = 2 WHERE key = 'k'")
    (trigger,) = [sql for sql in schema.MIGRATIONS[4] if "objects_are_sound" in sql]
    disk.execute(trigger)
    disk.commit()
    disk.close()
    opened = Ledger(tmp_path / "ledger.db")
    yield opened
    opened.close()


def test_a_damaged_row_is_named_and_nothing_is_done_on_its_word(damaged: Ledger) -> None:
    number = select(damaged, "SELECT id FROM objects WHERE key = 'k'")[0][0]
    for read in (
        lambda: damaged.objects.row(int(str(number))),
        lambda: damaged.objects.row_of_key("k"),
        lambda: damaged.objects.work(State.DELIVERED, after_id=0, limit=9),
        lambda: damaged.copies.permit("k", 1, 1),
    ):
        with pytest.raises(LedgerError, match=rf"row {number} .*'k'.*resend"):
            read()


def test_a_damaged_row_is_not_written(damaged: Ledger) -> None:
    stale = Row(1, "k", 10, "", 0, 1, 0, State.DELIVERED, 1, 0, "", "", 0, 0, 0)
    with pytest.raises(LedgerError, match=schema.UNSOUND):
        damaged.deliveries.commit_delivered([], [stale], 0)
    with pytest.raises(LedgerError, match=schema.UNSOUND):
        damaged.deliveries.claim_sends([stale])
    assert select(damaged, "SELECT state, sends FROM objects WHERE key = 'k'") == [(2, 0)]


@pytest.fixture
def out_of_step(tmp_path: Path) -> Iterator[Ledger]:
    """As `damaged`, as a disk does it: the indexes still have the row as it was."""
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    volume = ledger.volumes.volume_id("one", "uuid-1", "/one")
    for key in ("k", "sound"):
        bring_to(ledger, key, State.STAGED, volume)
    ledger.close()
    hidden = "type = 'trigger' OR type = 'index' AND sql NOT NULL"
    with closing(sqlite3.connect(path, isolation_level=None)) as disk:
        (known,) = disk.execute("SELECT row_sum FROM objects WHERE key = 'k'").fetchone()
        disk.execute("PRAGMA writable_schema = ON")
        disk.execute(f"CREATE TABLE hidden AS SELECT * FROM sqlite_schema WHERE {hidden}")
        disk.execute(f"DELETE FROM sqlite_schema WHERE {hidden}")
    with closing(sqlite3.connect(path, isolation_level=None)) as disk:
        disk.create_function("row_sum", -1, lambda *_values: known, deterministic=True)
        disk.execute("UPDATE objects SET state = 2 WHERE key = 'k'")
        disk.execute("PRAGMA writable_schema = ON")
        disk.execute("INSERT INTO sqlite_schema SELECT * FROM hidden")
    opened = Ledger(path)
    yield opened
    opened.close()


def test_a_row_that_the_disk_damaged_beneath_its_indexes_is_not_written(out_of_step: Ledger) -> None:
    stale = Row(1, "k", 10, "", 0, 1, 0, State.DELIVERED, 1, 0, "", "", 0, 0, 0)
    with pytest.raises(LedgerError, match=f"{schema.UNSOUND}|malformed"):  # the trigger's word, or the index's
        out_of_step.deliveries.commit_delivered([], [stale], 0)
    with pytest.raises(LedgerError, match=schema.UNSOUND):
        out_of_step.deliveries.claim_sends([stale])
    assert select(out_of_step, "SELECT state, sends FROM objects NOT INDEXED WHERE key = 'k'") == [(2, 0)]
    with pytest.raises(LedgerError, match="row 1 .*'k'.*resend"):
        out_of_step.objects.work(State.STAGED, after_id=0, limit=9)


def test_other_rows_go_on_beside_a_damaged_one(damaged: Ledger) -> None:
    (sound,) = damaged.objects.work(State.STAGED, after_id=0, limit=9)
    assert sound.key == "sound"
    assert damaged.deliveries.commit_delivered([delivered(sound)], [], 0) == []
    assert row_of(damaged, "sound").state == State.DELIVERED
