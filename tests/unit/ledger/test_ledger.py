# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger: what it lets through, what it refuses, and what survives races."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import pytest
from ledger_rows import MD5, bring_to, delivered, failure, listed, row_of, rows, select, stage_dropped, staged

from snowsync.core import machine
from snowsync.core.errors import LedgerError, Trouble
from snowsync.core.header_text import dump_headers, load_headers
from snowsync.core.model import TRANSITIONS, Evidence, Headers, ListedObject, State
from snowsync.ledger.ledger import Delivered, Failure, Ledger, Row, Staged
from snowsync.ledger.listing import ListingLedger

# -- listing ----------------------------------------------------------------------------------------------------


def test_a_page_of_new_objects_becomes_pending_in_listing_order(ledger: Ledger) -> None:
    observed = ledger.listing.observe([listed("b", 1), listed("a", 2), listed("c", 3)])
    assert (observed.new, observed.changed, observed.same, observed.bytes) == (3, 0, 0, 6)
    assert [row.key for row in rows(ledger, State.PENDING)] == ["b", "a", "c"]


def test_a_page_that_says_nothing_new_writes_nothing(ledger: Ledger) -> None:
    page = [listed(f"k{number}") for number in range(100)]
    ledger.listing.observe(page)
    before = select(ledger, "PRAGMA data_version"), os.stat(f"{ledger.database.path}-wal").st_size
    assert ledger.listing.observe(page).same == 100
    assert (select(ledger, "PRAGMA data_version"), os.stat(f"{ledger.database.path}-wal").st_size) == before


def test_an_object_with_another_size_than_listed_is_not_new_in_the_next_pass(ledger: Ledger, volume: int) -> None:
    ledger.listing.observe([listed("k", 10)])
    assert ledger.listing.is_as_listed(row_of(ledger, "k"), listed("k", 10))
    assert ledger.listing.read_otherwise(row_of(ledger, "k"), 17)
    row = row_of(ledger, "k")
    assert (row.size, row.generation, row.state) == (17, 2, State.PENDING)
    assert ledger.listing.observe([listed("k", 10)]).same == 1
    assert ledger.listing.is_as_listed(row, listed("k", 10))
    assert not ledger.listing.is_as_listed(row, listed("k", 17))
    assert ledger.staging.commit_staged([staged(row)], volume, 0) == []
    assert ledger.listing.observe([listed("k", 10)]).same == 1
    assert ledger.listing.observe([listed("k", 17)]).changed == 1, "the listing shows something new"
    assert row_of(ledger, "k").size == 17
    assert ledger.listing.observe([listed("k", 17)]).same == 1


def test_the_same_bytes_under_a_new_time_are_no_new_generation(ledger: Ledger, volume: int) -> None:
    states = (State.STAGED, State.DELIVERED, State.RELEASED)
    for state in (State.PENDING, *states):
        bring_to(ledger, state.label, state, volume)
    later = [listed(state.label, modified_ms=1_800_000_000_000) for state in (State.PENDING, *states)]
    assert (ledger.listing.compare(later).changed, ledger.listing.compare(later).moving) == (1, (later[0],))
    assert ledger.listing.observe(later).changed == 1
    assert [(row_of(ledger, state.label).generation, row_of(ledger, state.label).state) for state in states] == [
        (1, state) for state in states
    ]
    assert ledger.listing.observe(later).same == 4
    assert [row.key for row in ledger.listing.touched(limit=9, delivered_too=False)] == ["released"]
    assert [row.key for row in ledger.listing.touched(limit=9, delivered_too=True)] == ["delivered", "released"]
    ledger.listing.asked(row_of(ledger, "released"))
    assert ledger.listing.touched(limit=9, delivered_too=False) == []


def test_an_opaque_etag_under_a_new_time_is_a_new_generation(ledger: Ledger, volume: int) -> None:
    """Its digest is not its ETag: nothing says that the bytes are the same."""
    ledger.listing.observe([listed("k", etag="opaque")])
    item = staged(row_of(ledger, "k"))._replace(digest=MD5)
    assert ledger.staging.commit_staged([item], volume, 0) == []
    assert ledger.listing.observe([listed("k", etag="opaque", modified_ms=1_800_000_000_000)]).changed == 1
    assert row_of(ledger, "k").state == State.PENDING


def test_an_object_that_is_another_by_now_is_not_read_otherwise(ledger: Ledger) -> None:
    ledger.listing.observe([listed("k", 10)])
    row = row_of(ledger, "k")
    ledger.listing.observe([listed("k", 11)])
    assert not ledger.listing.is_as_listed(row, listed("k", 11)), "the row is an older one"
    assert not ledger.listing.read_otherwise(row, 17)
    assert row_of(ledger, "k").size == 11


def test_a_page_may_have_more_keys_than_a_statement(ledger: Ledger) -> None:
    page = [listed(f"k{number}") for number in range(2500)]
    assert ledger.listing.observe(page).new == 2500
    assert ledger.listing.observe(page).same == 2500


def test_an_empty_page_is_nothing(ledger: Ledger) -> None:
    assert ledger.listing.observe([]).new == 0
    assert ledger.listing.compare([]).new == 0


def test_compare_says_what_observe_would_do_and_does_not_do_it(ledger: Ledger) -> None:
    ledger.listing.observe([listed("same"), listed("changed")])
    page = [listed("same"), listed("changed", 11), listed("new", 5)]
    compared = ledger.listing.compare(page)
    assert (compared.new, compared.changed, compared.same, compared.bytes) == (1, 1, 1, 16)
    assert row_of(ledger, "changed").size == 10
    assert ledger.listing.observe(page) == compared


@pytest.mark.parametrize(
    "change",
    [{"size": 11}, {"etag": "0" * 32}, {"etag": f"{MD5}-2", "modified_ms": 1_700_000_000_001}],
    ids=str,
)
@pytest.mark.parametrize("state", list(State), ids=lambda state: state.label)
def test_a_changed_object_is_a_new_generation_from_every_state(
    ledger: Ledger, volume: int, state: State, change: dict[str, int]
) -> None:
    before = bring_to(ledger, "k", state, volume)
    assert ledger.listing.observe([listed("k", **change)]).changed == 1  # type: ignore[arg-type]  # one of three types each
    after = row_of(ledger, "k")
    assert (after.state, after.generation, after.volume) == (State.PENDING, before.generation + 1, None)
    assert (after.digest, after.attempts, after.sends, after.headers) == ("", 0, 0, "")
    kept = select(ledger, "SELECT key, generation, state, volume FROM copies")
    assert kept == ([("k", 1, state, volume)] if state in (State.STAGED, State.DELIVERED) else [])
    assert ledger.copies.discards() == []


def test_hostile_keys_come_back_as_they_went_in(ledger: Ledger) -> None:
    accents = ["\u00e9", "e\u0301"]  # one letter in NFC and in NFD
    odd = ["a\nb", " x ", "'; DROP TABLE objects; --", "\x01\x7f", "nul\0nul", "%", "\U0001f98a"]
    keys = [*accents, *odd, "x" * 1024, "a", "A"]
    ledger.listing.observe([listed(key) for key in keys])
    assert sorted(row.key for row in rows(ledger, State.PENDING)) == sorted(keys)
    assert ledger.listing.compare([listed(key) for key in keys]).same == len(keys)


def gone(row: Row) -> Failure:
    return Failure(row, "source", Trouble.NOT_FOUND, "it is not there", "looked for again")


def test_what_is_gone_is_forgotten_only_where_there_never_was_a_copy(ledger: Ledger, volume: int) -> None:
    ledger.listing.observe([listed(key) for key in ("never", "left", "rotten", "older", "busy", "listed")])
    for key in ("left", "rotten", "older"):
        bring_to(ledger, key, State.STAGED, volume)
    ledger.losses.leave_copy(failure(row_of(ledger, "left")))
    ledger.copies.has_quarantined(row_of(ledger, "rotten").id, volume)
    ledger.objects.retry(failure(row_of(ledger, "rotten")), delay_ms=0, count=True)
    ledger.listing.observe([listed("older", 99)])
    for row in rows(ledger, State.PENDING):
        if row.key != "listed":
            assert ledger.objects.gone(gone(row))
    assert ledger.listing.gone_keys() == {"never", "left", "rotten", "older", "busy"}
    busy = row_of(ledger, "busy").id
    keys = ["never", "left", "rotten", "older", "busy", "listed", "unheard of"]
    assert ledger.listing.forget_gone(keys, {busy}, "not listed any more") == ["never"]
    record = select(ledger, "SELECT key, size, generation, state, reason FROM forgotten")
    assert record == [("never", 10, 1, State.FAILED, "not listed any more")]


def test_a_listing_that_goes_back_beyond_a_newer_file_uses_the_one_it_shows(ledger: Ledger, volume: int) -> None:
    first, second = listed("a"), listed("a", 11, "0" * 32)
    for each in (first, second):
        ledger.listing.observe([each])
        assert ledger.staging.commit_staged([staged(row_of(ledger, "a"))], volume, 0) == []
    ledger.listing.observe([first])
    row = row_of(ledger, "a")
    assert (row.state, row.generation, row.etag) == (State.STAGED, 1, first.etag)
    assert select(ledger, "SELECT generation, state FROM copies ORDER BY generation") == [(2, 1)]
    assert ledger.copies.permit("a", 1, volume) is None
    ledger.listing.observe([listed("a", 12)])
    assert row_of(ledger, "a").generation > 2, "no number is given again"


def test_a_listing_that_goes_back_to_the_newest_file_uses_it(ledger: Ledger, volume: int) -> None:
    bring_to(ledger, "a", State.STAGED, volume)
    ledger.listing.observe([listed("a", 11, "0" * 32)])
    ledger.listing.observe([listed("a")])
    row = row_of(ledger, "a")
    assert (row.state, row.generation, row.etag) == (State.STAGED, 1, MD5)


def test_a_key_that_comes_back_goes_on_counting_its_generations(ledger: Ledger, volume: int) -> None:
    bring_to(ledger, "k", State.PENDING, volume)
    ledger.listing.observe([listed("k", 99)])
    first = row_of(ledger, "k")
    ledger.objects.gone(gone(first))
    ledger.listing.forget_gone(["k"], (), "not listed any more")
    ledger.listing.observe([listed("k")])
    again = row_of(ledger, "k")
    assert again.generation > first.generation
    assert again.id > first.id, "the number of the newest row is not given again either"


def test_a_dropped_row_leaves_a_record(ledger: Ledger, volume: int) -> None:
    stage_dropped(ledger, listed("k"), volume, 0, "", 0)
    row = row_of(ledger, "k")
    assert not ledger.objects.forget(row._replace(generation=7), "another one by now")
    assert ledger.objects.forget(row, "taken away")
    assert select(ledger, "SELECT key, origin, state, reason FROM forgotten") == [("k", 1, State.STAGED, "taken away")]
    source = bring_to(ledger, "s", State.STAGED, volume)
    assert not ledger.objects.forget(source, "no dropped file is forgotten so")


# -- transitions ------------------------------------------------------------------------------------------------


def attempt(ledger: Ledger, row: Row, target: State, volume: int) -> None:
    """Ask for a transition by the method that makes it."""
    if target == State.STAGED and row.state != State.STAGED:
        ledger.staging.commit_staged([staged(row)], volume, 0)
    elif target == State.DELIVERED:
        ledger.deliveries.commit_delivered([delivered(row)], [], 0)
    else:
        ledger.objects.retry(failure(row), delay_ms=0, count=True, target=target)


ASKED = [
    (source, target)
    for source in State
    for target in (State.PENDING, State.STAGED, State.DELIVERED, State.QUARANTINED, State.FAILED)
    if source != target
]


@pytest.mark.parametrize(("source", "target"), ASKED, ids=lambda state: state.label)
def test_a_transition_happens_exactly_when_the_table_allows_it(
    ledger: Ledger, volume: int, source: State, target: State
) -> None:
    row = bring_to(ledger, "k", source, volume)
    if target in TRANSITIONS[source]:
        attempt(ledger, row, target, volume)
        assert row_of(ledger, "k").state == target
    else:
        with pytest.raises(LedgerError, match=rf"'k' cannot go from {source.label} to {target.label}"):
            attempt(ledger, row, target, volume)
        assert row_of(ledger, "k") == row


def test_a_group_with_a_forbidden_member_changes_nothing(ledger: Ledger, volume: int) -> None:
    fine = bring_to(ledger, "fine", State.PENDING, volume)
    wrong = bring_to(ledger, "wrong", State.RELEASED, volume)
    groups = select(ledger, "SELECT COUNT(*) FROM groups")
    with pytest.raises(LedgerError, match="wrong"):
        ledger.staging.commit_staged([staged(fine), staged(wrong)], volume, 0)
    assert row_of(ledger, "fine") == fine
    assert select(ledger, "SELECT COUNT(*) FROM groups") == groups


def test_after_a_refusal_the_ledger_goes_on(ledger: Ledger, volume: int) -> None:
    wrong = bring_to(ledger, "wrong", State.RELEASED, volume)
    with pytest.raises(LedgerError):
        ledger.staging.commit_staged([staged(wrong)], volume, 0)
    bring_to(ledger, "next", State.RELEASED, volume)


def test_a_group_is_counted_in_its_run_and_in_the_groups(ledger: Ledger, volume: int) -> None:
    run = ledger.journal.start_run("source")
    ledger.listing.observe([listed("a", 5), listed("b", 7)])
    ledger.staging.commit_staged([staged(row) for row in rows(ledger, State.PENDING)], volume, run)
    assert select(ledger, "SELECT moved_objects, moved_bytes FROM runs WHERE id = ?", run) == [(2, 12)]
    assert select(ledger, "SELECT hop, volume, objects, bytes FROM groups") == [("source", volume, 2, 12)]
    out = ledger.journal.start_run("destination")
    sent = rows(ledger, State.STAGED)
    ledger.deliveries.commit_delivered([delivered(row) for row in sent], [], out)
    done = [row_of(ledger, key) for key in ("a", "b")]
    ledger.deliveries.commit_delivered([], done, out)
    counted = "SELECT moved_objects, moved_bytes, released_objects, released_bytes FROM runs WHERE id = ?"
    assert select(ledger, counted, out) == [(2, 12, 2, 12)]


def test_what_a_hop_proved_is_kept_with_the_object(ledger: Ledger, volume: int) -> None:
    ledger.listing.observe([listed("k", 30, f"{MD5}-3")])
    row = row_of(ledger, "k")
    headers = dump_headers(Headers(content_type="text/plain", metadata={"owner": "né"}))
    ledger.staging.commit_staged([Staged(row, 10, f"{MD5}-3", headers, Evidence.READ_BACK, "boto3")], volume, 0)
    found = row_of(ledger, "k")
    assert (found.part_size, found.digest, found.volume) == (10, f"{MD5}-3", volume)
    assert load_headers(found.headers) == Headers(content_type="text/plain", metadata={"owner": "né"})
    ledger.deliveries.commit_delivered([Delivered(found, "other", Evidence.MEDIUM, "s5cmd")], [], 0)
    proof = "SELECT destination_etag, source_evidence, source_tool, destination_evidence, destination_tool FROM objects"
    assert select(ledger, proof) == [("other", 3, "boto3", 4, "s5cmd")]


# -- races ------------------------------------------------------------------------------------------------------


def test_a_group_leaves_out_what_got_a_newer_generation(ledger: Ledger, volume: int) -> None:
    ledger.listing.observe([listed("kept", 5), listed("overwritten", 7)])
    group = [staged(row) for row in rows(ledger, State.PENDING)]
    run = ledger.journal.start_run("source")
    ledger.listing.observe([listed("overwritten", 8)])
    refused = ledger.staging.commit_staged(group, volume, run)
    assert [item.row.key for item in refused] == ["overwritten"]
    assert row_of(ledger, "kept").state == State.STAGED
    newer = row_of(ledger, "overwritten")
    assert (newer.state, newer.generation, newer.size) == (State.PENDING, 2, 8)
    assert select(ledger, "SELECT moved_objects, moved_bytes FROM runs WHERE id = ?", run) == [(1, 5)]


def test_a_delivery_of_an_older_generation_is_refused(ledger: Ledger, volume: int) -> None:
    old = bring_to(ledger, "k", State.STAGED, volume)
    ledger.listing.observe([listed("k", 99)])
    assert [item.row.generation for item in ledger.deliveries.commit_delivered([delivered(old)], [], 0)] == [1]
    assert row_of(ledger, "k").state == State.PENDING


def test_an_older_generation_is_not_released(ledger: Ledger, volume: int) -> None:
    old = bring_to(ledger, "k", State.DELIVERED, volume)
    ledger.listing.observe([listed("k", 99)])
    run = ledger.journal.start_run("destination")
    ledger.deliveries.commit_delivered([], [old], run)
    assert row_of(ledger, "k").state == State.PENDING
    assert select(ledger, "SELECT released_objects, released_bytes FROM runs WHERE id = ?", run) == [(0, 0)]


def test_a_group_that_lands_while_its_object_is_observed_again_leaves_no_unknown_file(
    ledger: Ledger, volume: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = bring_to(ledger, "k", State.PENDING, volume)
    compare = ListingLedger._sort

    def and_then_a_group_lands(self: ListingLedger, page: Sequence[ListedObject]) -> object:
        found = compare(self, page)
        assert ledger.staging.commit_staged([staged(row)], volume, 0) == []
        return found

    monkeypatch.setattr(ListingLedger, "_sort", and_then_a_group_lands)
    ledger.listing.observe([listed("k", 99)])
    assert row_of(ledger, "k").generation == 2
    assert select(ledger, "SELECT key, generation, volume FROM copies") == [("k", 1, volume)]
    assert ledger.copies.has_file("k", 1, volume)


def test_notes_are_kept_until_they_are_done(ledger: Ledger, volume: int) -> None:
    for key in ("a", "b"):
        bring_to(ledger, key, State.STAGED, volume)
    ledger.moves.intend(volume, rows(ledger, State.STAGED))
    first, second = ledger.copies.discards()
    assert (first[1:], second[1:]) == ((volume, "a", 1), (volume, "b", 1))
    ledger.copies.discarded([first[0]])
    assert ledger.copies.discards() == [second]


def test_threads_may_share_a_ledger(ledger: Ledger, volume: int) -> None:
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(20):
                bring_to(ledger, f"{number}/{step}", State.RELEASED, volume)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert select(ledger, "SELECT COUNT(*) FROM objects WHERE state = 3") == [(80,)]


# -- failures ---------------------------------------------------------------------------------------------------


def test_another_try_waits_its_time_and_counts(ledger: Ledger) -> None:
    ledger.listing.observe([listed("k")])
    row = row_of(ledger, "k")
    assert ledger.objects.retry(failure(row), delay_ms=59_000, count=True)
    assert rows(ledger, State.PENDING) == []
    assert ledger.objects.waiting(State.PENDING), "it waits, but it is not done"
    later = row_of(ledger, "k")
    assert later.attempts == 1
    assert ledger.objects.retry(failure(later), delay_ms=-1, count=False)
    assert [(found.key, found.attempts) for found in rows(ledger, State.PENDING)] == [("k", 1)]


def test_going_back_to_pending_forgets_the_volume_and_not_the_uploads(ledger: Ledger, volume: int) -> None:
    row = bring_to(ledger, "k", State.STAGED, volume)
    ledger.deliveries.claim_sends([row])
    assert row_of(ledger, "k").sends == 1
    assert ledger.objects.retry(failure(row), delay_ms=0, count=True, target=State.PENDING)
    back = row_of(ledger, "k")
    assert (back.state, back.volume, back.suspect) == (State.PENDING, None, 0)
    assert back.sends == 1, "the destination is asked before it is sent again"


def test_every_failure_is_kept_with_what_was_expected_and_found(ledger: Ledger) -> None:
    ledger.listing.observe([listed("k")])
    row = row_of(ledger, "k")
    ledger.objects.retry(failure(row), delay_ms=0, count=True, target=State.QUARANTINED)
    ledger.journal.record(failure(row, Trouble.IO))
    kept = select(ledger, "SELECT key, hop, trouble, expected, found, action FROM failures ORDER BY id")
    assert kept == [("k", "source", trouble, "aa", "bb", "fetched again") for trouble in ("mismatch", "io")]
    assert select(ledger, "SELECT last_error FROM objects") == [("mismatch: not what was promised",)]


def test_a_failure_of_an_older_generation_is_refused_and_not_recorded(ledger: Ledger) -> None:
    ledger.listing.observe([listed("k")])
    old = row_of(ledger, "k")
    ledger.listing.observe([listed("k", 99)])
    for target in (State.PENDING, State.FAILED):
        assert not ledger.objects.retry(failure(old), delay_ms=0, count=True, target=target)
    assert row_of(ledger, "k").state == State.PENDING
    assert select(ledger, "SELECT COUNT(*) FROM failures") == [(0,)]


def test_a_new_run_gives_ended_objects_a_new_chance(ledger: Ledger, volume: int) -> None:
    for state in State:
        bring_to(ledger, state.label, state, volume)
    stage_dropped(ledger, listed("dropped"), volume, 0, "", 0)
    ledger.objects.retry(failure(row_of(ledger, "dropped")), delay_ms=0, count=True, target=State.FAILED)
    assert ledger.objects.revive() == 3
    assert sorted(row.key for row in rows(ledger, State.PENDING)) == ["failed", "pending", "quarantined"]
    dropped = row_of(ledger, "dropped")
    assert (dropped.state, dropped.volume, dropped.attempts) == (State.STAGED, volume, 0), "it lies where it was put"


# -- drop folders -----------------------------------------------------------------------------------------------


def test_a_dropped_file_is_staged_where_it_lies(ledger: Ledger, volume: int) -> None:
    run = ledger.journal.start_run("source")
    assert stage_dropped(ledger, listed("k", 12), volume, 5, "{}", run, "1:2:3") == ""
    row = row_of(ledger, "k")
    assert row.file_id == "1:2:3"
    assert (row.origin, row.state, row.volume, row.digest, row.part_size) == (1, State.STAGED, volume, MD5, 5)
    assert ledger.drops.dropped("k") == row
    assert select(ledger, "SELECT moved_objects, moved_bytes FROM runs") == [(1, 12)]


def test_a_dropped_file_does_not_take_a_key_of_the_source(ledger: Ledger, volume: int) -> None:
    bring_to(ledger, "k", State.RELEASED, volume)
    before = row_of(ledger, "k")
    assert "source" in stage_dropped(ledger, listed("k", 12), volume, 0, "", 0)
    assert row_of(ledger, "k") == before
    assert ledger.drops.dropped("k") is None


def test_a_dropped_file_that_was_withdrawn_is_forgotten(ledger: Ledger, volume: int) -> None:
    stage_dropped(ledger, listed("k", 1), volume, 0, "", 0)
    row = row_of(ledger, "k")
    assert ledger.objects.forget(row, "taken away")
    assert not ledger.objects.forget(row, "taken away")
    assert ledger.drops.dropped("k") is None


@pytest.mark.parametrize(("etag", "sends"), [("1" * 32, 1), ("2" * 32, 0)])
def test_the_same_bytes_dropped_again_are_looked_for_before_they_are_sent(
    ledger: Ledger, volume: int, etag: str, sends: int
) -> None:
    stage_dropped(ledger, listed("k", 1, "1" * 32), volume, 0, "", 0)
    ledger.deliveries.commit_delivered([delivered(row_of(ledger, "k"))], [], 0)
    ledger.deliveries.commit_delivered([], [row_of(ledger, "k")], 0)
    stage_dropped(ledger, listed("k", 1, etag), volume, 0, "", 0)
    assert row_of(ledger, "k").sends == sends


def test_a_wrong_clock_puts_nothing_off_for_years(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.listing.observe([listed("k")])
    row = row_of(ledger, "k")
    monkeypatch.setattr(machine, "now_ms", lambda: 2_000_000_000_000)
    ledger.objects.retry(failure(row), delay_ms=60_000, count=True)
    assert rows(ledger, State.PENDING) == [], "it waits while the clock is as it was"
    monkeypatch.setattr(machine, "now_ms", lambda: 1_700_000_000_000)
    assert [found.key for found in rows(ledger, State.PENDING)] == ["k"]


def test_work_can_be_asked_for_some_volumes_only(ledger: Ledger, volume: int) -> None:
    other = ledger.volumes.volume_id("two", "uuid-2", "/volumes/two")
    bring_to(ledger, "here", State.STAGED, volume)
    bring_to(ledger, "there", State.STAGED, other)
    assert [row.key for row in ledger.objects.work(State.STAGED, after_id=0, limit=9, volumes={other})] == ["there"]
    assert ledger.objects.work(State.STAGED, after_id=0, limit=9, volumes=()) == []
    assert len(ledger.objects.work(State.STAGED, after_id=0, limit=9)) == 2


def test_discards_are_read_on_from_where_one_stopped(ledger: Ledger, volume: int) -> None:
    for key in ("a", "b"):
        bring_to(ledger, key, State.STAGED, volume)
    ledger.moves.intend(volume, rows(ledger, State.STAGED))
    first, second = ledger.copies.discards()
    assert ledger.copies.discards(after_id=first[0]) == [second]


def test_two_volumes_may_not_offer_the_same_key_at_once(ledger: Ledger, volume: int) -> None:
    other = ledger.volumes.volume_id("two", "uuid-2", "/volumes/two")
    assert stage_dropped(ledger, listed("k", 1), volume, 0, "", 0) == ""
    assert "another volume" in stage_dropped(ledger, listed("k", 2), other, 0, "", 0)
    assert "another volume" in ledger.drops.refuses_dropped("k", other)
    assert ledger.drops.refuses_dropped("k", volume) == ""
    assert row_of(ledger, "k").volume == volume
    row = row_of(ledger, "k")
    ledger.deliveries.commit_delivered([delivered(row)], [], 0)
    # Its file still lies there, perhaps for good (`keep_staged`): the two would replace each other at every pass.
    assert "another volume" in stage_dropped(ledger, listed("k", 2), other, 0, "", 0)
    ledger.deliveries.commit_delivered([], [row_of(ledger, "k")], 0)
    assert stage_dropped(ledger, listed("k", 2), other, 0, "", 0) == ""
    assert row_of(ledger, "k").volume == other


def test_a_changed_dropped_file_is_a_new_generation_that_an_upload_under_way_cannot_finish(
    ledger: Ledger, volume: int
) -> None:
    stage_dropped(ledger, listed("k", 1), volume, 0, "", 0)
    old = row_of(ledger, "k")
    ledger.deliveries.claim_sends([old])
    stage_dropped(ledger, listed("k", 2, "0" * 32), volume, 0, "", 0)
    newer = row_of(ledger, "k")
    assert (newer.generation, newer.size, newer.digest, newer.sends) == (2, 2, "0" * 32, 0)
    assert len(ledger.deliveries.commit_delivered([delivered(old)], [], 0)) == 1
    assert ledger.copies.discards() == [], "the engine did not write that file"


def test_an_object_of_the_source_takes_over_a_dropped_key(ledger: Ledger, volume: int) -> None:
    stage_dropped(ledger, listed("k"), volume, 0, "", 0)
    assert ledger.listing.observe([listed("k")]).changed == 1
    row = row_of(ledger, "k")
    assert (row.origin, row.state, row.generation) == (0, State.PENDING, 2)
    assert ledger.copies.discards() == [], "the dropped file stays where it is"


# -- volumes ----------------------------------------------------------------------------------------------------


def test_a_volume_is_its_identity_and_may_move(ledger: Ledger, volume: int) -> None:
    assert ledger.volumes.volume_id("one", "uuid-1", "/mnt/elsewhere") == volume
    assert ledger.volumes.known_volumes() == {"one": (volume, "uuid-1")}
    assert select(ledger, "SELECT path FROM volumes") == [("/mnt/elsewhere",)]


@pytest.mark.parametrize(("name", "uuid"), [("one", "uuid-9"), ("nine", "uuid-1"), ("one", "uuid-2")])
def test_another_disk_under_a_known_name_is_refused(ledger: Ledger, volume: int, name: str, uuid: str) -> None:
    ledger.volumes.volume_id("two", "uuid-2", "/volumes/two")
    with pytest.raises(LedgerError, match="mount the right disk"):
        ledger.volumes.volume_id(name, uuid, "/volumes/one")
    assert ledger.volumes.known_volumes() == {"one": (volume, "uuid-1"), "two": (volume + 1, "uuid-2")}


def test_occupied_counts_whole_blocks_of_what_is_not_released(ledger: Ledger, volume: int) -> None:
    sizes = {"a": 0, "b": 1, "c": 4096, "d": 4097}
    ledger.listing.observe([listed(key, size) for key, size in sizes.items()])
    ledger.staging.commit_staged([staged(row) for row in rows(ledger, State.PENDING)], volume, 0)
    assert ledger.volumes.occupied() == {volume: 4 * 4096}
    ledger.deliveries.commit_delivered([delivered(row_of(ledger, "d"))], [], 0)
    assert ledger.volumes.occupied() == {volume: 4 * 4096}
    ledger.deliveries.commit_delivered([], [row_of(ledger, "d")], 0)
    assert ledger.volumes.occupied() == {volume: 2 * 4096}


def test_the_ledger_knows_its_files(ledger: Ledger, volume: int) -> None:
    bring_to(ledger, "k", State.STAGED, volume)
    assert ledger.copies.has_file("k", 1, volume)
    assert not ledger.copies.has_file("k", 2, volume)
    assert not ledger.copies.has_file("k", 1, volume + 1)
    bring_to(ledger, "released", State.RELEASED, volume)
    assert not ledger.copies.has_file("released", 1, volume)


# -- runs and facts ---------------------------------------------------------------------------------------------


def test_a_run_says_how_it_is_until_it_ends(ledger: Ledger) -> None:
    run = ledger.journal.start_run("source")
    ledger.journal.update_run(run, status="listing", listed=(5, 50), passes=1, failures=2)
    row = "SELECT unit, pid, status, listed_objects, listed_bytes, passes, failures, ended_ms FROM runs"
    assert select(ledger, row) == [("source", os.getpid(), "listing", 5, 50, 1, 2, None)]
    ledger.journal.update_run(run, status="stopped", listed=(5, 50), passes=1, failures=2, ended=True)
    assert select(ledger, "SELECT ended_ms >= started_ms FROM runs") == [(1,)]


def test_facts_are_replaced_not_collected(ledger: Ledger) -> None:
    ledger.journal.set_fact("source", "http://a", "list", "v2")
    ledger.journal.set_fact("source", "http://a", "list", "v1")
    ledger.journal.set_fact("destination", "http://a", "list", "v2")
    assert ledger.journal.facts("source", "http://a") == {"list": "v1"}


# -- work -------------------------------------------------------------------------------------------------------


def test_work_comes_in_pages_by_id(ledger: Ledger) -> None:
    ledger.listing.observe([listed(f"k{number}") for number in range(10)])
    first = ledger.objects.work(State.PENDING, after_id=0, limit=4)
    second = ledger.objects.work(State.PENDING, after_id=first[-1].id, limit=100)
    assert [row.key for row in first + second] == [f"k{number}" for number in range(10)]
    assert not ledger.objects.waiting(State.STAGED)


def test_unfinished_names_what_a_run_would_go_on_with(ledger: Ledger, volume: int) -> None:
    for state in State:
        bring_to(ledger, state.label, state, volume)
    assert sorted(key for key, _size in ledger.objects.unfinished()) == ["failed", "pending", "quarantined", "staged"]
