# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sender does with its objects, and how those being checked are counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import pytest
from fake_stores import wait_until
from hop_items import item_of, volume_of

from snowsync.core import workers
from snowsync.core.workers import Doing, Stop, Worker
from snowsync.hops.crew import Crew
from snowsync.hops.destination import senders
from snowsync.hops.destination.proving.batches import Batch, Batches
from snowsync.hops.destination.senders import Senders, SenderThreads, Uploads
from snowsync.hops.flight import Held, Item
from snowsync.hops.switches import Switches


class Bench:
    """Uploads alone; `did` lists its effects in order. Objects in `unfit` are not ready."""

    def __init__(self) -> None:
        self.effects = mock.Mock()
        self.batches = self.effects.deliveries.batches = Batches()
        self.claimed: list[Any] = []
        self.effects.ledger.deliveries.claim_sends.side_effect = self.claimed.extend
        self.effects.is_ready.side_effect = lambda item: item.row.id not in self.unfit
        self.effects.deliveries.begin.side_effect = self.begun = mock.Mock()
        self.unfit: set[int] = set()
        self.stop = Stop()
        self.uploads = Uploads(
            self.effects.ledger,
            self.effects.pool,
            self.effects.deliveries,
            Crew("test", self.stop),
            is_ready=self.effects.is_ready,
            submit=self.effects.submit,
        )

    def did(self) -> list[str]:
        return [call[0] for call in self.effects.mock_calls if call[0] != "is_ready"]

    def batch(self, number: int = 0) -> Batch:
        found = self.begun.call_args_list[number].args[0]
        assert isinstance(found, Batch)
        return found


def test_uploads_are_claimed_in_the_ledger_and_awaited_before_the_first_byte() -> None:
    bench = Bench()
    items = [item_of(1), item_of(2)]
    bench.uploads.begin(items, is_large=False)
    assert bench.did() == ["ledger.deliveries.claim_sends", "deliveries.begin", "submit"]
    assert bench.claimed == [item.row for item in items]
    assert bench.batch() == Batch(items, False)
    bench.effects.submit.assert_called_once_with(items)


def test_an_upload_that_may_have_succeeded_is_not_repeated() -> None:
    bench = Bench()
    doubtful, fresh = item_of(1, sends=1), item_of(2)
    bench.uploads.begin([doubtful, fresh], is_large=False)
    assert bench.did() == ["deliveries.begin", "ledger.deliveries.claim_sends", "deliveries.begin", "submit"]
    assert (bench.batch(0), bench.batch(1)) == (Batch([doubtful], False, is_doubtful=True), Batch([fresh], False))
    bench.effects.submit.assert_called_once_with([fresh])
    assert bench.claimed == [fresh.row]


def test_what_the_destination_is_known_not_to_have_is_sent() -> None:
    bench = Bench()
    bench.batches.looked.add(1)
    bench.uploads.begin([item_of(1, sends=1)], is_large=False)
    assert bench.did() == ["ledger.deliveries.claim_sends", "deliveries.begin", "submit"]


def test_only_what_is_ready_is_claimed_and_sent() -> None:
    bench = Bench()
    bench.unfit = {1}
    bench.uploads.begin([item_of(1), item_of(2)], is_large=False)
    assert [row.id for row in bench.claimed] == [2]
    bench = Bench()
    bench.unfit = {1}
    bench.uploads.begin([item_of(1)], is_large=False)
    assert bench.did() == []


@pytest.mark.parametrize(("unfit", "sends"), [({1}, 0), (set(), 1)])
def test_the_place_of_a_large_object_that_is_not_uploaded_is_free(unfit: set[int], sends: int) -> None:
    bench = Bench()
    bench.unfit = unfit
    item = item_of(1, sends=sends)
    bench.uploads.begin([item], is_large=True)
    bench.effects.pool.expect_no_more.assert_called_once_with(item.endpoint, 1)
    bench.effects.submit.assert_not_called()


def test_a_large_object_that_is_uploaded_keeps_its_place() -> None:
    bench = Bench()
    bench.uploads.begin([item_of(1)], is_large=True)
    bench.effects.pool.expect_no_more.assert_not_called()
    bench.effects.submit.assert_called_once()


def test_a_stop_ends_the_checks_and_the_uploads() -> None:
    bench = Bench()
    bench.effects.is_ready.side_effect = lambda item: bench.stop.set() or True
    bench.uploads.begin([item_of(1), item_of(2)], is_large=False)
    bench.effects.is_ready.assert_called_once()
    bench.effects.submit.assert_not_called()


def test_a_stop_ends_what_is_handed_over() -> None:
    bench = Bench()
    bench.effects.submit.side_effect = lambda items: bench.stop.set()
    bench.uploads.begin([item_of(number) for number in range(3 * senders._AT_ONCE)], is_large=False)
    (call,) = bench.effects.submit.call_args_list
    assert len(call.args[0]) == senders._AT_ONCE


def test_a_sender_waits_for_its_disk_while_it_checks_and_moves_on_with_all_that_it_hands_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    clock = iter(range(100))
    monkeypatch.setattr("snowsync.core.workers.time.monotonic", lambda: next(clock))
    seen: list[tuple[Doing, float]] = []

    def look(_item: object) -> bool:
        worker = threading.current_thread()
        assert isinstance(worker, Worker)
        seen.append((worker.doing, worker.since))
        return True

    bench.effects.is_ready.side_effect = bench.effects.submit.side_effect = look
    errors: list[BaseException] = []
    monkeypatch.setattr(senders, "_AT_ONCE", 1)
    workers.start(partial(bench.uploads.begin, [item_of(1), item_of(2)], is_large=False), "s", errors.append).join(30)
    assert errors == []
    assert [doing for doing, _since in seen] == [Doing.MEDIUM, Doing.MEDIUM, Doing.WORKS, Doing.WORKS]
    assert len({since for _doing, since in seen}) == 4


# -- who does it ------------------------------------------------------------------------------------------------------


class Sending:
    """Senders of mocks of volumes; `upload` is what they do."""

    def __init__(self, upload: Callable[[list[Item]], None]) -> None:
        self.pool = mock.Mock()
        self.batches, self.held, self.switches = Batches(), Held(), Switches()
        self.crew = Crew("test", Stop())

        def begin(items: list[Item], *, is_large: bool) -> None:
            upload(items)

        uploads = mock.Mock(spec=Uploads)
        uploads.begin.side_effect = begin
        self.senders = Senders(uploads, self.batches, self.pool, self.held, self.crew, self.switches)

    def end(self) -> None:
        self.senders.threads.stop()
        self.crew.join()


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("raises", [False, True])
def test_what_is_being_checked_is_held_and_counted_until_it_was(is_large: bool, raises: bool) -> None:
    over = threading.Event()

    def upload(_items: list[Item]) -> None:
        over.wait()
        if raises:
            raise OSError("disk")

    sending = Sending(upload)
    item = item_of(7)
    sending.senders.send([item], is_large=is_large)
    assert sending.held.all() == {7}
    assert (sending.senders.has_large(1), sending.batches.open[1]) == ((True, 0) if is_large else (False, 1))
    assert sending.pool.expect_large.call_args_list == ([mock.call(item.endpoint, item.row)] if is_large else [])
    over.set()
    assert sending.switches.staged.wait(100)
    assert sending.held.all() == set()
    assert (sending.senders.has_large(1), sending.batches.open[1]) == (False, 0)
    sending.end()
    assert isinstance(sending.crew.error, OSError) is raises


def test_no_volume_waits_for_another() -> None:
    over = threading.Event()
    done: list[int] = []

    def upload(items: list[Item]) -> None:
        if items[0].volume.id == 1:
            over.wait()
        done.append(items[0].row.id)

    sending = Sending(upload)
    for number in (1, 2):
        sending.senders.send([item_of(number, volume=volume_of(number))], is_large=False)
    wait_until(lambda: done == [2])
    over.set()
    sending.end()
    assert done == [2, 1]


def test_what_was_given_before_the_end_is_done_in_order() -> None:
    crew = Crew("test", Stop())
    threads = SenderThreads(crew)
    done: list[int] = []
    for number in range(5):
        threads.put(volume_of(), lambda number=number: done.append(number))  # type: ignore[misc]  # a default binds it
    threads.stop()
    crew.join()
    assert done == [0, 1, 2, 3, 4]
