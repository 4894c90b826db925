# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A ledger that was put back from a backup: it is recognized, removes nothing, and asks before it sends."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_stores import Rig, wait_until
from ledger_rows import bring_to, listed, row_of, select

from snowsync.core import machine
from snowsync.core.model import State
from snowsync.ledger import journal, pruning
from snowsync.ledger.ledger import Ledger
from snowsync.ledger.recovery import RECOVERED
from snowsync.volumes import ownership
from snowsync.volumes.opening import VolumeOpening
from snowsync.volumes.volume_set import VolumeSet

# -- the ledger -----------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path / "ledger.db")
    made.volumes.volume_id("one", "uuid", "/one")
    return made


def test_a_group_is_known_by_its_number_and_its_time(ledger: Ledger) -> None:
    assert ledger.recovery.newest_group() == (0, 0)
    assert ledger.recovery.knows_group(0, 0) and not ledger.recovery.knows_group(1, 0)
    bring_to(ledger, "a", State.STAGED, 1)
    number, at_ms = ledger.recovery.newest_group()
    assert number == 1 and at_ms > 1_700_000_000_000
    assert ledger.recovery.knows_group(1, at_ms) and ledger.recovery.knows_group(1, 0)
    assert not ledger.recovery.knows_group(1, at_ms + 1), "the same number in another history"
    assert not ledger.recovery.knows_group(2, 0)


def test_an_old_copy_believes_less_and_removes_nothing(ledger: Ledger) -> None:
    for state in State:
        bring_to(ledger, state.label, state, 1)
    ledger.moves.intend(1, [row_of(ledger, "staged")])
    with ledger.database.transaction() as db:
        db.execute(
            "INSERT INTO parts (object_id, generation, hop, start, length, digests) VALUES (1, 1, 'source', 0, 5, '')"
        )
        db.execute("UPDATE objects SET sends = 3 WHERE key = 'staged'")
    newest = max(int(str(number)) for (number,) in select(ledger, "SELECT id FROM objects"))
    assert ledger.recovery.distrust(1, "/one/record", 40, 7)
    found = {
        key: (state, suspect, sends)
        for key, state, suspect, sends in select(ledger, "SELECT key, state, suspect, sends FROM objects")
    }
    assert found == {
        "pending": (0, 0, 1),
        "staged": (1, 1, 3),
        "delivered": (2, 0, 0),
        "released": (3, 0, 0),
        "quarantined": (4, 0, 1),
        "failed": (5, 0, 1),
    }
    assert ledger.copies.discards() == [] and select(ledger, "SELECT COUNT(*) FROM parts") == [(0,)]
    assert ledger.recovery.newest_group()[0] == 41
    assert select(ledger, "SELECT key, message FROM failures ORDER BY id DESC LIMIT 1")[0][0] == "/one/record"
    ledger.listing.observe([listed("new")])
    assert row_of(ledger, "new").id > newest + 10**8, "files may carry the numbers of the lost history"


def test_it_is_told_once_what_it_is(ledger: Ledger) -> None:
    bring_to(ledger, "a", State.STAGED, 1)
    assert ledger.recovery.distrust(1, "/one/record", 40, 7)
    assert not ledger.recovery.distrust(1, "/one/record", 40, 7)
    number, at_ms = ledger.recovery.newest_group()
    assert not ledger.recovery.distrust(1, "/one/record", number, at_ms), "what it wrote there itself"
    assert ledger.recovery.distrust(1, "/one/record", number + 5, at_ms)


def test_what_may_have_been_delivered_before_is_asked_for_first(ledger: Ledger) -> None:
    bring_to(ledger, "known", State.RELEASED, 1)
    assert ledger.recovery.recovered_ms() == 0
    ledger.listing.observe([listed("before")])
    ledger.recovery.distrust(1, "/one/record", 40, 7)
    now = int(time.time() * 1000)
    ledger.listing.observe(
        [listed("known", etag="0" * 32), listed("old"), listed("later", modified_ms=now + 2 * 86_400_000)]
    )
    sends = dict(select(ledger, "SELECT key, sends FROM objects"))
    assert sends == {"known": 1, "before": 1, "old": 1, "later": 0}
    assert ledger.recovery.recovered_ms() >= now - 60_000


@pytest.mark.parametrize(
    ("staged_at", "recovered_at", "now"),
    [
        pytest.param(1_790_000_000_000, 3_600_000, 3_700_000, id="recovered before the clock was set"),
        pytest.param(1_790_000_000_000, 3_600_000, 1_790_100_000_000, id="set since"),
        pytest.param(2_150_000_000_000, 1_790_000_000_000, 1_790_100_000_000, id="staged before it was set"),
        pytest.param(1_790_000_000_000, 2_150_000_000_000, 1_790_200_000_000, id="recovered in the future"),
    ],
)
def test_a_wrong_clock_lets_nothing_be_sent_over_what_is_newer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, staged_at: int, recovered_at: int, now: int
) -> None:
    """A clock without a battery begins in 1970, or anywhere: then everything is asked for, and held back if newer."""
    clock = staged_at
    monkeypatch.setattr(machine, "now_ms", lambda: clock)
    bring_to(ledger, "a", State.STAGED, 1)
    clock = recovered_at
    assert ledger.recovery.distrust(1, "/one/record", 40, 7)
    clock = now
    assert ledger.recovery.was_staged_before_recovery(row_of(ledger, "a"))
    assert ledger.recovery.lost_since_ms() == 1
    ledger.listing.observe([listed("b", modified_ms=now)])
    assert select(ledger, "SELECT sends FROM objects WHERE key = 'b'") == [(1,)]
    bring_to(ledger, "c", State.STAGED, 1)
    assert clock < recovered_at or not ledger.recovery.was_staged_before_recovery(row_of(ledger, "c"))


# -- volumes --------------------------------------------------------------------------------------------------------


def record(rig: Rig, volume: str = "one") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((rig.folder / volume / ".snowsync/ledgers/photos.json").read_text())
    return found


def put(rig: Rig, *names: str) -> None:
    for name in names:
        rig.source.put(name, name.encode() * 20)


def save(rig: Rig) -> Path:
    target = rig.folder / f"backup-{len(list(rig.folder.glob('backup-*')))}"
    with (
        contextlib.closing(sqlite3.connect(rig.job.ledger_path)) as db,
        contextlib.closing(sqlite3.connect(target)) as to,
    ):
        db.backup(to)
    return target


def restore(rig: Rig, backup: Path) -> None:
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (rig.job.state_path / name).unlink(missing_ok=True)
    rig.job.ledger_path.write_bytes(backup.read_bytes())


def recoveries(rig: Rig) -> int:
    ledger = rig.ledger
    ((count,),) = select(ledger, "SELECT COUNT(*) FROM groups WHERE hop = ?", RECOVERED)
    ledger.close()
    return int(str(count))


def sent(rig: Rig) -> list[str]:
    return sorted(key for operation, key in rig.destination.requests if operation == "send")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logging.getLogger("snowsync").propagate = True
    with caplog.at_level(logging.ERROR, "snowsync"):
        yield caplog


def test_every_volume_knows_the_newest_group(rig: Rig) -> None:
    put(rig, *(f"object-{number}" for number in range(6)))
    rig.run()
    ledger = rig.ledger
    number, at_ms = ledger.recovery.newest_group()
    ledger.close()
    assert number > 1
    for volume in ("one", "two"):
        assert (int(record(rig, volume)["counter"]), int(record(rig, volume)["at_ms"])) == (number, at_ms)


def test_the_first_group_of_a_run_is_remembered_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the run is killed within the second."""
    monkeypatch.setattr(ownership, "_REMEMBER_SECONDS", 3600.0)
    monkeypatch.setattr(VolumeSet, "close", lambda self: None)
    put(rig, "a")
    rig.run(direction="source")
    assert int(record(rig)["counter"]) == 2, "the start itself is the first one"


def test_a_start_alone_makes_older_copies_old(rig: Rig, said: pytest.LogCaptureFixture) -> None:
    """What was sent, and not yet proven when the unit was killed, is a history without a group."""
    put(rig, "a")
    rig.run(direction="source")
    backup = save(rig)
    rig.run(direction="source", until="once")  # nothing to do: no group but the start
    restore(rig, backup)
    rig.run(direction="source", until="once")
    assert recoveries(rig) > 0 and "is an older copy" in said.text


def test_starts_do_not_make_a_ledger_large(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are merged as other groups are, and a volume that remembers one of them knows no unknown ledger."""
    monkeypatch.setattr(pruning, "_KEPT_GROUPS", 10)
    monkeypatch.setattr(pruning, "_KEPT_MS", 0)
    monkeypatch.setattr(pruning, "_GATHERED_AT_LEAST", 10)
    monkeypatch.setattr(journal, "GATHER_EVERY", 8)
    ledger = rig.ledger
    for number in range(200):
        ledger.recovery.begin()
        if number == 50:
            remembered = ledger.recovery.newest_group()
    ((rows,),) = ledger.database.stream("SELECT COUNT(*) FROM groups")
    known, blank = ledger.recovery.knows_group(*remembered), ledger.stores.is_blank()
    ledger.close()
    assert rows < 60
    assert known
    assert blank, "a start speaks of no store"


def test_what_was_delivered_since_is_not_sent_again(rig: Rig, said: pytest.LogCaptureFixture) -> None:
    put(rig, "released-before", "staged-then")
    rig.run(direction="source")
    backup = save(rig)
    put(rig, "listed-since", "staged-then-2")
    rig.run()
    put(rig, "on-its-way")
    rig.run(direction="source")
    files, before = rig.staged_files(), sent(rig)
    restore(rig, backup)
    put(rig, "new")
    rig.run(direction="source", until="once")
    assert set(files) <= set(rig.staged_files()), "nothing was removed"
    assert recoveries(rig) > 0 and "is an older copy" in said.text
    rig.run()
    rig.assert_delivered()
    assert sent(rig) == sorted([*before, "new", "on-its-way"])
    told = said.text.count("is an older copy")
    rig.run()
    assert said.text.count("is an older copy") == told <= 2, "once for each volume"
    assert any("ledgers/photos.json" in key for key, _word in rig.failures())


def test_staged_files_whose_source_is_gone_arrive_from_an_old_copy(rig: Rig) -> None:
    put(rig, *(f"object-{number}" for number in range(6)))
    rig.run(direction="source")
    backup = save(rig)
    put(rig, "later")
    rig.run(direction="source")
    restore(rig, backup)
    for number in range(6):
        del rig.source.objects[f"object-{number}"]
    rig.run()
    assert sorted(rig.destination.objects) == ["later", *(f"object-{number}" for number in range(6))]


def test_released_since_and_gone_from_the_source_is_found_at_the_destination(rig: Rig) -> None:
    put(rig, *(f"object-{number}" for number in range(6)))
    rig.run(direction="source")
    backup = save(rig)
    rig.run()
    rig.source.objects.clear()
    before = sent(rig)
    restore(rig, backup)
    rig.run()
    assert sent(rig) == before and set(rig.states().values()) == {"released"}


def test_a_staged_file_that_changed_since_is_not_taken_for_what_it_was(rig: Rig) -> None:
    """Hashed before it is sent, whatever the ledger thinks of it."""
    put(rig, "a")
    rig.run(direction="source")
    backup = save(rig)
    put(rig, "b")
    rig.run(direction="source")
    restore(rig, backup)
    path = rig.staged_file("a")
    path.write_bytes(b"x" * path.stat().st_size)
    rig.run()
    rig.assert_delivered()


def test_a_volume_that_was_away_at_the_restore_is_recognized_by_its_history(rig: Rig) -> None:
    """Meanwhile the old copy went on with the other volume, beyond the number that this one knows."""
    put(rig, "a", "b", "c", "d")
    rig.run(direction="source")
    backup = save(rig)
    rig.run()
    number = int(record(rig)["counter"])
    restore(rig, backup)
    (rig.folder / "one").rename(rig.folder / "elsewhere")
    other = rig.folder / "two/.snowsync/ledgers/photos.json"
    other.write_text(
        json.dumps({**json.loads(other.read_text()), "counter": "0", "at_ms": "0"})
    )  # as if it knew nothing
    for name in ("e", "f", "g", "h", "i", "j"):
        put(rig, name)
        rig.run(until="once")
    ledger = rig.ledger
    assert ledger.recovery.newest_group()[0] > number and recoveries(rig) == 0
    ledger.close()
    (rig.folder / "one").rmdir()
    (rig.folder / "elsewhere").rename(rig.folder / "one")
    before = sent(rig)
    rig.run()
    assert recoveries(rig) == 1
    rig.assert_delivered()
    assert sent(rig) == before


def test_a_state_directory_that_worked_elsewhere_meanwhile(rig: Rig) -> None:
    """The disks went to another host with a copy of the state, worked there, and came back to the original."""
    put(rig, "a")
    rig.run(direction="source")
    original = save(rig)
    put(rig, "b")
    rig.run()
    restore(rig, original)
    rig.run()
    assert recoveries(rig) > 0
    assert sent(rig) == ["a", "b"]


def test_a_volume_that_takes_no_writes_is_recognized_once(rig: Rig) -> None:
    put(rig, *(f"object-{number}" for number in range(6)))
    rig.run(direction="source")
    path = rig.folder / "one/.snowsync/ledgers/photos.json"
    path.write_text(json.dumps({**record(rig), "counter": f"{10**6:020}"}))
    ledger = rig.ledger
    opening = VolumeOpening(rig.job, ledger, tells=True)
    for _ in range(2):
        opening.opened(rig.job.volumes[0], writable=False).close()
    assert select(ledger, "SELECT COUNT(*) FROM groups WHERE hop = ?", RECOVERED) == [(1,)]
    assert select(ledger, "SELECT COUNT(*) FROM objects WHERE suspect = 0 OR sends = 0") == [(0,)]
    ledger.close()


def test_both_units_of_a_service_recognize_it_together(rig: Rig) -> None:
    put(rig, "a", "b")
    rig.run(direction="source")
    backup = save(rig)
    put(rig, "c")
    rig.run()
    restore(rig, backup)
    running = rig.start(until="forever")
    wait_until(lambda: set(rig.states().values()) == {"released"} and len(rig.states()) == 3)
    running.stop()
    assert recoveries(rig) <= 2 and sent(rig) == ["a", "b", "c"]


def test_an_ordinary_restart_is_no_recovery(rig: Rig) -> None:
    for number in range(3):
        put(rig, f"object-{number}")
        rig.run(direction="source")
        rig.run()
    assert recoveries(rig) == 0
