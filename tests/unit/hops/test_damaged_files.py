# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of an object whose file is damaged, gone, or on a volume that failed."""

from __future__ import annotations

import errno
import hashlib
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from hop_items import item_of

from snowsync.core.errors import Trouble
from snowsync.core.model import Origin, State
from snowsync.hops.destination.unsent.damaged_files import DamagedFiles
from snowsync.hops.destination.unsent.departures import Departures, PastFailures
from snowsync.hops.destination.unsent.file_check import GONE, Damage, gone
from snowsync.hops.flight import Flight, Item
from snowsync.hops.setbacks import Setbacks

DATA = b"0123456789"
MD5 = hashlib.md5(DATA).hexdigest()
WRONG = Damage(Trouble.MISMATCH, "aa", "the staged file no longer has its digest")


class Bench:
    """The part alone; `effects` records in order what it did to everything around it."""

    def __init__(self) -> None:
        self.effects = mock.Mock()
        self.flight = Flight()
        self.effects.adopt.return_value = False
        setbacks = self.effects.setbacks  # what is given up there is seen as what that does
        setbacks._ledger, setbacks.give_up = self.effects.ledger, partial(Setbacks.give_up, setbacks)
        self.files = DamagedFiles(
            self.effects.ledger,
            mock.Mock(staging_path=lambda key, generation, origin: f"{key}~{generation}"),
            self.effects.setbacks,
            PastFailures(self.effects.setbacks),
            Departures(self.flight, self.effects.rewind),
            adopt=self.effects.adopt,
            take_out=self.effects.take_out,
        )

    def take(self, item: Item, *, is_well: bool = True, writable: bool = True) -> Item:
        volume = item.volume = self.effects.volume
        volume.name, volume.id, volume.medium.writable = "one", 1, writable
        volume.medium.is_well.return_value = is_well
        volume.medium.trouble.return_value = ""
        self.flight.take(item)
        return item

    def did(self) -> list[str]:
        return [call[0] for call in self.effects.mock_calls if not call[0].endswith((".is_well", ".trouble"))]


def test_a_sound_file_stays_in_the_unit(tmp_path: Path) -> None:
    bench = Bench()
    (tmp_path / "file").write_bytes(DATA)
    item = bench.take(item_of(path=str(tmp_path / "file"), digest=MD5))
    assert bench.files.is_sound(item)
    assert (bench.did(), len(bench.flight)) == ([], 1)
    bench.flight.leave(item.row.id)
    assert not bench.files.is_sound(item), "it left with its volume"
    assert bench.did() == []


def test_damaged_bytes_are_found_only_where_they_are_hashed(tmp_path: Path) -> None:
    bench = Bench()
    (tmp_path / "file").write_bytes(DATA[::-1])
    item = bench.take(item_of(path=str(tmp_path / "file"), digest=MD5))
    assert bench.files.is_sound(item, hash_it=False)
    assert not bench.files.is_sound(item)
    assert not bench.flight


def test_a_damaged_file_is_recorded_before_it_is_moved_to_quarantine() -> None:
    bench = Bench()
    item = bench.take(item_of())
    bench.files.handle(item, WRONG)
    assert bench.did() == [
        "ledger.copies.has_quarantined", "volume.staged_to_quarantine", "setbacks.failed", "rewind",
    ]  # fmt: skip
    assert bench.effects.setbacks.failed.call_args.kwargs == {"target": State.PENDING}
    assert not bench.flight


def test_a_file_that_is_gone_is_adopted_elsewhere_or_fetched_again() -> None:
    bench = Bench()
    bench.effects.adopt.return_value = True
    bench.files.handle(bench.take(item_of()), GONE)
    assert bench.did() == ["adopt", "setbacks.forgive", "rewind"]
    bench = Bench()
    bench.files.handle(bench.take(item_of()), GONE)
    assert bench.did() == ["adopt", "setbacks.failed", "rewind"], "there is nothing to quarantine"


def test_a_dropped_file_is_never_quarantined_or_fetched() -> None:
    bench = Bench()
    item = bench.take(item_of(origin=Origin.DROP))
    bench.files.handle(item, WRONG)
    assert bench.did() == ["setbacks.failed", "volume.dropped.let_go", "rewind"]
    assert bench.effects.setbacks.failed.call_args.kwargs == {"target": State.FAILED}


@pytest.mark.parametrize("is_known", [True, False])
def test_a_dropped_file_that_was_withdrawn_is_forgotten(is_known: bool) -> None:
    bench = Bench()
    item = bench.take(item_of(origin=Origin.DROP))
    bench.effects.ledger.objects.forget.return_value = is_known
    bench.files.handle(item, gone(item))
    told = ["ledger.journal.record", "setbacks.note"] if is_known else []
    assert bench.did() == ["ledger.objects.forget", *told, "setbacks.forgive", "volume.dropped.let_go", "rewind"]


def test_an_error_on_a_healthy_volume_is_the_files() -> None:
    bench = Bench()
    item = bench.take(item_of())
    damage = bench.files.local_failure(item, OSError(errno.EIO, "bad sector"))
    assert damage is not None
    assert (damage.trouble, damage.found) == (Trouble.MISMATCH, f"error {errno.EIO}")
    assert bench.files.local_failure(item, FileNotFoundError()) is GONE
    assert (bench.did(), len(bench.flight)) == ([], 1)


def test_an_error_on_a_failed_volume_takes_it_out_and_blames_no_object() -> None:
    bench = Bench()
    item = bench.take(item_of(), is_well=False)
    assert bench.files.local_failure(item, OSError(errno.EIO, "no disk")) is None
    assert bench.did() == ["take_out", "rewind"]
    assert not bench.flight


def test_what_cannot_be_read_on_a_volume_that_is_only_read_is_left_there_and_fetched_again() -> None:
    bench = Bench()
    item = bench.take(item_of(), is_well=False, writable=False)
    assert bench.files.local_failure(item, OSError(errno.EIO, "bad sector")) is None
    assert bench.did() == ["ledger.losses.leave_copy", "setbacks.note", "setbacks.forgive", "rewind"]
    bench = Bench()
    item = bench.take(item_of(origin=Origin.DROP), is_well=False, writable=False)
    assert bench.files.local_failure(item, OSError(errno.EIO, "bad sector")) is None
    assert bench.did() == ["ledger.objects.retry", "setbacks.note", "volume.dropped.let_go", "rewind"]
    assert bench.effects.ledger.objects.retry.call_args.kwargs["target"] is State.FAILED
