# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting lost objects back: those that are named, those that `verify` finds, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_stores import FakeClient, FakeMover, Rig, wait_until
from job_mapping import mapping_of
from ledger_rows import bring_to, row_of, select

from snowsync.cli import command as cli
from snowsync.core.errors import LedgerError, Trouble
from snowsync.core.model import Page, State
from snowsync.ledger.ledger import Ledger
from snowsync.ledger.objects import FETCHED, GONE, ON_ITS_WAY, SENT, UNKNOWN_KEY
from snowsync.store import client
from snowsync.upkeep import resending


class ClosingClient(FakeClient):
    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def compared(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """The rig, whose stores `verify` reads too."""
    monkeypatch.setattr(
        client, "StoreClient", lambda _store, url, _keys, **_options: ClosingClient(FakeMover.stores[url], url)
    )
    return rig


def delivered(rig: Rig, count: int = 5, *, keep: bool = False) -> None:
    for number in range(count):
        rig.source.put(f"object-{number}", bytes([number]) * 100)
    rig.changes = {"keep_staged": keep}
    rig.run()
    assert len(rig.destination.objects) == count


def test_every_state_has_its_way_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    number = ledger.volumes.volume_id("one", "uuid", "/one")
    for state in State:
        bring_to(ledger, state.label, state, number)
        bring_to(ledger, f"dropped-{state.label}", state, number)
    with ledger.database.transaction() as db:
        db.execute("UPDATE objects SET origin = 1 WHERE key LIKE 'dropped-%'")
        db.execute("UPDATE objects SET volume = 1 WHERE key IN ('failed', 'dropped-failed', 'dropped-quarantined')")
    keys = [str(key) for (key,) in select(ledger, "SELECT key FROM objects")] + ["nobody's"]
    told = {each.key: each.action for each in ledger.objects.resend(keys, Trouble.OTHER, "asked for", dry_run=True)}
    assert told == {
        "pending": ON_ITS_WAY,
        "staged": ON_ITS_WAY,
        "delivered": SENT,
        "released": FETCHED,
        "quarantined": FETCHED,
        "failed": SENT,
        "dropped-pending": ON_ITS_WAY,
        "dropped-staged": ON_ITS_WAY,
        "dropped-delivered": SENT,
        "dropped-released": GONE,
        "dropped-quarantined": SENT,
        "dropped-failed": SENT,
        "nobody's": UNKNOWN_KEY,
    }
    before = {key: row_of(ledger, key) for key in keys[:-1]}
    assert {each.key: each.action for each in ledger.objects.resend(keys, Trouble.OTHER, "asked for")} == told
    for key, action in told.items():
        if action in (SENT, FETCHED):
            row = row_of(ledger, key)
            assert row.state == (State.STAGED if action == SENT else State.PENDING)
            assert (row.sends, row.attempts, row.volume) == (1, 0, 1 if action == SENT else None)
            assert row.generation == before[key].generation and row.is_sound
        elif action != UNKNOWN_KEY:
            assert row_of(ledger, key) == before[key]
    named = {key for (key,) in select(ledger, "SELECT key FROM failures WHERE message = 'asked for'")}
    assert named == {key for key, action in told.items() if action in (SENT, FETCHED)}


def test_what_the_destination_lost_arrives_again(compared: Rig) -> None:
    rig = compared
    delivered(rig)
    del rig.destination.objects["object-1"]
    rig.destination.put("object-2", b"somebody else's")
    sends = rig.destination.count("send")
    told = resending.resend_lost(rig.job, dry_run=True)
    assert told.keys[FETCHED] == ["object-1", "object-2"] and rig.states()["object-1"] == "released"
    done = resending.resend_lost(rig.job)
    assert (done.keys[FETCHED], done.tallies[FETCHED].bytes, done.failed) == (["object-1", "object-2"], 200, 0)
    assert {key for key, state in rig.states().items() if state == "pending"} == {"object-1", "object-2"}
    assert rig.failures()[-2:] == [("object-1", "not_found"), ("object-2", "mismatch")]
    rig.run()
    rig.assert_delivered()
    assert rig.destination.count("send") == sends + 2
    assert not resending.resend_lost(rig.job).record()["changed"]


def test_what_is_still_on_a_volume_is_not_fetched_again(compared: Rig) -> None:
    rig = compared
    delivered(rig, keep=True)
    del rig.destination.objects["object-1"]
    rig.source.objects.clear()
    fetched = rig.source.count("fetch")
    assert resending.resend_lost(rig.job).keys[SENT] == ["object-1"]
    rig.run()
    assert len(rig.destination.objects) == 5 and rig.source.count("fetch") == fetched


def test_an_object_that_is_there_after_all_is_not_sent_again(rig: Rig) -> None:
    delivered(rig, keep=True)
    sends = rig.destination.count("send")
    assert resending.resend(rig.job, ["object-1"]).tallies[SENT].objects == 1
    rig.run()
    assert rig.destination.count("send") == sends and rig.states()["object-1"] == "delivered"


def test_many_are_put_back_batch_after_batch(compared: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = compared
    monkeypatch.setattr(resending, "_BATCH", 2)
    delivered(rig)
    rig.destination.objects.clear()
    assert resending.resend_lost(rig.job).tallies[FETCHED].objects == 5


def test_a_comparison_that_begins_again_finds_nothing_twice_or_wrongly(
    compared: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A destination that lists out of order seems to lack what it lists later."""
    rig = compared
    delivered(rig)
    del rig.destination.objects["object-1"]
    real = ClosingClient.list_page

    def backwards(self: ClosingClient, *arguments: Any, **options: Any) -> Page:
        return replace(page := real(self, *arguments, **options), objects=page.objects[::-1])

    monkeypatch.setattr(ClosingClient, "list_page", backwards)
    done = resending.resend_lost(rig.job)
    assert (done.keys[FETCHED], done.tallies[FETCHED].objects) == (["object-1"], 1)
    assert [key for key, state in rig.states().items() if state == "pending"] == ["object-1"]


def test_it_works_beside_a_running_unit(rig: Rig) -> None:
    delivered(rig)
    rig.changes = {"pass_interval": 1}
    running = rig.start(until="forever")
    del rig.destination.objects["object-3"]
    resending.resend(rig.job, ["object-3"])
    wait_until(lambda: "object-3" in rig.destination.objects)
    running.stop()


def test_without_a_ledger_there_is_nothing_to_put_back(rig: Rig) -> None:
    with pytest.raises(LedgerError, match="has not run yet"):
        resending.resend(rig.job, ["a"])
    assert not rig.job.ledger_path.exists()


def test_from_the_command_line(compared: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig = compared
    delivered(rig)
    path = rig.folder / "photos.yml"
    path.write_text(yaml.safe_dump(mapping_of(rig.job)))

    def run(*arguments: str) -> tuple[int, str, str]:
        return (cli.main(["resend", str(path), *arguments]), *capsys.readouterr())

    assert run()[0] == 2 and run("object-1", "--lost")[0] == 2
    code, out, _error = run("object-1", "--dry-run")
    assert code == 0 and "would be fetched from the source" in out and "nothing was changed" in out
    code, out, error = run("object-1", "object-1", "no\nbody", "\udcff")
    assert code == 3 and "2 objects of job photos cannot be resent" in error
    assert "1 object (100 B) pending again" in out and '"no\\nbody"' in out
    code, out, _error = run("object-1", "--json")
    document = json.loads(out)
    assert (code, document["changed"], document["objects"]["on its way"]["keys"]) == (0, False, ["object-1"])
    rig.destination.objects.clear()
    code, out, _error = run("--lost", "--json")
    assert (code, json.loads(out)["objects"]["fetched again"]["objects"]) == (0, 4)
    rig.run()
    code, out, _error = run("--lost")
    assert code == 0 and "nothing to send again" in out
