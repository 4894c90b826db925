# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is proven is recorded, and only then deleted: and nothing that the ledger did not record."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest
from hop_items import endpoint_at, item_of, volume_of

from snowsync.core.model import Evidence, Origin
from snowsync.core.removal import AtDestination
from snowsync.hops.counters import Counters
from snowsync.hops.destination.proving.commits import Commits, ProvenFiles
from snowsync.hops.flight import Flight, Item
from snowsync.hops.switches import Switches
from snowsync.ledger.ledger import Delivered

TARGET = 5


class Bench:
    """`effects` records in order what is done to everything around; steps of the releaser wait for `release`."""

    def __init__(self, *, keeps: bool = False) -> None:
        self.effects = mock.Mock()
        self.effects.releases.take.return_value = ["deleted before"]
        self.effects.ledger.deliveries.commit_delivered.return_value = []
        self.effects.unsent.refusals.accepted.return_value = False
        self.effects.workers.carry_out.side_effect = lambda _volume, step, _about: self.steps.append(step)
        self.steps: list[Callable[[], None]] = []
        self.flight, self.switches = Flight(), Switches()
        self.counters = Counters(run_id=3)
        files = ProvenFiles(
            self.effects.releases, self.effects.workers, self.flight, self.switches, target=TARGET, keeps=keeps
        )
        self.commits = Commits(
            self.effects.ledger, self.effects.volumes, self.counters, self.effects.unsent, self.effects.releases, files
        )

    def commit(self, *items: Item, refused: tuple[int, ...] = ()) -> None:
        self.flight.take(*items)
        proven = [(item, Delivered(item.row, f"etag-{item.row.id}", Evidence.STORE_DIGEST, "s5cmd")) for item in items]
        self.effects.ledger.deliveries.commit_delivered.return_value = [
            proof for item, proof in proven if item.row.id in refused
        ]
        self.commits.commit(proven)
        proven.clear()  # as the provers do

    def release(self) -> None:
        for step in self.steps:
            step()

    def did(self) -> list[str]:
        return [call[0] for call in self.effects.mock_calls]

    def permits(self) -> list[AtDestination]:
        ((delivered,), _options) = self.effects.releases.release.call_args
        return [permit for _row, _volume, permit in delivered]


def test_files_are_deleted_after_the_ledger_recorded_their_objects() -> None:
    bench = Bench()
    bench.commit(item_of(1))
    assert bench.did() == [
        "releases.take", "ledger.deliveries.commit_delivered", "volumes.remember", "unsent.past.forget",
        "unsent.refusals.accepted", "workers.carry_out",
    ]  # fmt: skip
    ((group, released, run_id), _options) = bench.effects.ledger.deliveries.commit_delivered.call_args
    assert ([proof.row.id for proof in group], released, run_id) == ([1], ["deleted before"], 3)
    assert 1 in bench.flight, "until its file is deleted"
    bench.release()
    assert bench.permits() == [AtDestination(1, "object-1", 1, TARGET, "etag-1")]
    assert not bench.flight
    assert bench.switches.space.is_set()
    assert bench.switches.staged.is_set()


def test_a_commit_that_failed_deletes_nothing() -> None:
    bench = Bench()
    bench.effects.ledger.deliveries.commit_delivered.side_effect = OSError("no space")
    with pytest.raises(OSError, match="no space"):
        bench.commits.commit([(item_of(1), Delivered(item_of(1).row, "", Evidence.STORE_DIGEST, ""))])
    assert bench.steps == []
    assert bench.counters.moved.objects == 0


def test_what_the_ledger_refused_keeps_its_file_and_counts_for_nothing() -> None:
    """A newer generation exists, or the file was moved to another volume meanwhile."""
    bench = Bench()
    endpoints = [endpoint_at() for _number in range(3)]
    bench.commit(*(item_of(number, endpoint=endpoints[number]) for number in range(3)), refused=(1,))
    bench.release()
    assert [permit.object_id for permit in bench.permits()] == [0, 2]
    assert not bench.flight, "all of them leave"
    assert (bench.counters.moved.objects, bench.counters.moved.bytes) == (2, 20)
    assert [endpoint.served.call_count for endpoint in endpoints] == [1, 0, 1]
    assert bench.effects.unsent.past.forget.call_count == 2


def test_refused_objects_alone_say_nothing_about_the_destination() -> None:
    bench = Bench()
    bench.commit(item_of(1), refused=(1,))
    bench.effects.unsent.refusals.accepted.assert_not_called()
    bench.release()
    assert bench.permits() == []


def test_a_job_that_keeps_its_files_deletes_none() -> None:
    bench = Bench(keeps=True)
    bench.commit(item_of(1))
    bench.release()
    assert bench.permits() == []
    assert not bench.flight


def test_a_dropped_file_is_let_go_after_it_was_deleted() -> None:
    bench = Bench()
    volume = volume_of()
    bench.effects.attach_mock(volume.dropped, "dropped")
    bench.commit(item_of(1, volume=volume, origin=Origin.DROP))
    bench.release()
    assert bench.did()[-2:] == ["releases.release", "dropped.let_go"]


def test_no_proof_needs_no_transaction() -> None:
    bench = Bench()
    bench.commits.commit([])
    assert bench.did() == []
