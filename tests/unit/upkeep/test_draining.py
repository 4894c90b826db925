# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draining a volume, with and without running units, and what `snowsync volumes` says meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_stores import Rig, wait_until
from job_mapping import mapping_of

from snowsync.cli import command as cli
from snowsync.core.errors import ConfigError, LedgerError, LocalError
from snowsync.inspection import volume_report
from snowsync.ledger.reader import LedgerNotReady
from snowsync.upkeep import draining


def fill(rig: Rig, count: int, name: str = "object") -> None:
    for number in range(count):
        rig.source.put(f"{name}-{number}", bytes([number % 256]) * 100)


def on(rig: Rig, volume: str) -> list[str]:
    return [name for name in rig.staged_files() if name.startswith(f"{volume}/")]


def state(rig: Rig, volume: str) -> str:
    status = volume_report.gather(rig.job).named(volume)
    assert status
    return status.state


def first_run(rig: Rig, count: int = 6) -> None:
    """Something staged on both volumes."""
    fill(rig, count)
    rig.run(direction="source")
    assert on(rig, "one") and on(rig, "two")


# -- the flag and the placement -----------------------------------------------------------------------------------


def test_nothing_is_placed_on_a_draining_volume(rig: Rig) -> None:
    first_run(rig)
    before = on(rig, "one")
    draining.set_draining(rig.job, "one", True)
    fill(rig, 6, "more")
    rig.run(direction="source")
    assert on(rig, "one") == before
    assert len(rig.staged_files()) == 12
    draining.set_draining(rig.job, "one", False)
    fill(rig, 6, "even-more")
    rig.run(direction="source")
    assert len(on(rig, "one")) > len(before)


def test_a_running_unit_heeds_it_and_the_volume_becomes_drained(rig: Rig) -> None:
    first_run(rig)
    running = rig.start(until="forever")
    try:
        draining.set_draining(rig.job, "one", True)
        assert draining.wait_until_drained(rig.job, "one", timeout=30)
        assert on(rig, "one") == []
        wait_until(lambda: 1 in running.unit("source").volumes.draining)
    finally:
        running.stop()
    rig.assert_delivered()


def test_what_is_on_its_way_to_a_draining_volume_is_waited_for(rig: Rig) -> None:
    first_run(rig)
    rig.run()
    held = []

    def hold(operation: str, key: str) -> None:
        if operation == "fetch" and not held:
            held.append(key)
            wait_until(lambda: held == [])

    rig.source.before = hold
    fill(rig, 1, "late")
    running = rig.start(until="forever")
    try:
        wait_until(lambda: bool(held))
        (item,) = running.unit("source").flight.items()
        draining.set_draining(rig.job, item.volume.name, True)
        wait_until(lambda: item.volume.id in running.unit("source").volumes.draining)
        assert state(rig, item.volume.name) == "draining", "an object is on its way there, though nothing is there"
        rig.source.before = lambda operation, key: None
        held.clear()
        assert draining.wait_until_drained(rig.job, item.volume.name, timeout=30)
    finally:
        held.clear()
        running.stop()
    rig.assert_delivered()


def test_a_large_object_waits_for_a_volume_that_is_drained_for_a_while(rig: Rig) -> None:
    first_run(rig, 6)
    rig.run()
    rig.changes = {"volumes": [*mapping_of(rig.job)["volumes"]]}
    rig.changes["volumes"][1]["limit"] = 1000
    draining.set_draining(rig.job, "one", True)
    rig.source.put("large", bytes(5000))
    running = rig.start()
    wait_until(lambda: "waiting for space on two" in running.unit("source").activity.status)
    assert rig.states()["large"] == "pending", "the volume that has room for it is only being drained"
    draining.set_draining(rig.job, "one", False)
    running.join()
    rig.assert_delivered()


def test_a_volume_that_was_drained_and_left_the_job_holds_up_no_object_that_is_too_large(rig: Rig) -> None:
    first_run(rig, 6)
    rig.run()
    draining.set_draining(rig.job, "one", True)
    rig.changes = {"volumes": [{**mapping_of(rig.job)["volumes"][1], "limit": 1000}]}
    rig.source.put("large", bytes(5000))
    rig.run()
    assert rig.states()["large"] == "failed", "no volume of the job will ever take it"


def test_one_pass_with_nothing_but_draining_volumes_says_so(rig: Rig) -> None:
    first_run(rig)
    for name in ("one", "two"):
        draining.set_draining(rig.job, name, True)
    fill(rig, 1, "more")
    with pytest.raises(LocalError, match="one: is being drained; two: is being drained"):
        rig.run(direction="source", until="once")


def test_kept_files_do_not_keep_a_volume_from_being_drained(rig: Rig) -> None:
    rig.changes = {"keep_staged": True}
    fill(rig, 6)
    rig.run()
    assert on(rig, "one")
    draining.set_draining(rig.job, "one", True)
    assert state(rig, "one") == "drained"


def test_a_dead_source_unit_keeps_no_volume_from_being_drained(rig: Rig) -> None:
    first_run(rig)
    rig.run()
    ledger = rig.ledger
    ledger.volumes.set_placing({1: True, 2: True})
    ledger.volumes.set_draining(1, True)
    ledger.close()
    assert state(rig, "one") == "drained"


# -- names, waits -------------------------------------------------------------------------------------------------


def test_names_nobody_knows_are_refused(rig: Rig) -> None:
    with pytest.raises(LedgerNotReady, match="has not run yet"):
        draining.set_draining(rig.job, "one", True)
    first_run(rig)
    with pytest.raises(ConfigError, match="did you mean one"):
        draining.set_draining(rig.job, "onne", True)
    with pytest.raises(ConfigError, match="it has one, two"):
        draining.set_draining(rig.job, "nine", True)
    (rig.folder / "three").mkdir()
    volumes = mapping_of(rig.job)["volumes"]
    rig.changes = {"volumes": [*volumes, {**volumes[0], "name": "three", "path": str(rig.folder / "three")}]}
    with pytest.raises(LedgerNotReady, match="never used"):
        draining.set_draining(rig.job, "three", True)


def test_a_wait_ends_in_time_and_when_somebody_takes_it_back(rig: Rig) -> None:
    first_run(rig)
    draining.set_draining(rig.job, "one", True)
    assert not draining.wait_until_drained(rig.job, "one", timeout=0)
    draining.set_draining(rig.job, "one", False)
    with pytest.raises(LedgerError, match="no longer being drained"):
        draining.wait_until_drained(rig.job, "one")


# -- the commands -------------------------------------------------------------------------------------------------


def job_file(rig: Rig) -> str:
    path = rig.folder / "jobs" / "photos.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(mapping_of(rig.job)))
    return str(path)


def volumes_json(rig: Rig, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    assert cli.main(["volumes", job_file(rig), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["job"] == "photos"
    return {volume["name"]: volume for volume in document["volumes"]}


def test_volumes_says_what_is_where(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert {one["state"] for one in volumes_json(rig, capsys).values()} == {"in use"}, "before the first run"
    first_run(rig)
    found = volumes_json(rig, capsys)
    marker = json.loads((rig.folder / "one/.snowsync/volume.json").read_text())
    one = found["one"]
    assert (one["path"], one["identity"]) == (str(rig.folder / "one"), marker["uuid"])
    assert (one["state"], one["reason"], one["draining"]) == ("in use", "", False)
    assert one["staged_objects"] == one["undelivered_objects"] == len(on(rig, "one"))
    assert one["staged_bytes"] == one["undelivered_bytes"] == 100 * len(on(rig, "one"))
    assert one["total"] > one["available"] > 0
    assert (one["in_rate"] > 0, one["out_rate"]) == (True, 0)
    rig.run()
    assert volumes_json(rig, capsys)["one"]["out_rate"] > 0


def test_what_lies_on_a_missing_volume_is_unavailable(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    first_run(rig)
    count = len(on(rig, "one"))
    (rig.folder / "one").rename(rig.folder / "elsewhere")
    found = volumes_json(rig, capsys)
    assert found["one"]["state"] == "missing"
    assert "marker is missing" in found["one"]["reason"]
    assert (found["one"]["unavailable_objects"], found["one"]["unavailable_bytes"]) == (count, 100 * count)
    assert found["two"]["unavailable_objects"] == 0
    assert cli.main(["volumes", job_file(rig)]) == 0
    assert f"one: {count} staged objects ({count * 100} B) unavailable" in capsys.readouterr().out
    assert cli.main(["status", job_file(rig)]) == 0
    assert f"{count} staged objects ({count * 100} B) unavailable" in capsys.readouterr().out


def test_volumes_of_all_jobs(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(Path(job_file(rig)).parent)
    (Path(folder) / "wrong.yml").write_text("job: [")
    assert cli.main(["--jobs-dir", folder, "volumes", "--json"]) == 2
    photos, wrong = json.loads(capsys.readouterr().out)
    assert (photos["job"], len(photos["volumes"]), photos["error"]) == ("photos", 2, "")
    assert (wrong["job"], wrong["volumes"]) == ("wrong", [])
    assert "wrong.yml" in wrong["error"]


def test_drain_from_the_command_line(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    first_run(rig)
    assert cli.main(["drain", job_file(rig), "one"]) == 0
    assert f"is draining: {len(on(rig, 'one'))} objects" in capsys.readouterr().out
    assert cli.main(["drain", job_file(rig), "one", "--wait", "--timeout", "0.01"]) == 124
    assert "is not drained" in capsys.readouterr().err
    rig.run()
    assert cli.main(["drain", job_file(rig), "one", "--wait"]) == 0
    assert "is drained" in capsys.readouterr().out
    assert volumes_json(rig, capsys)["one"]["state"] == "drained"
    assert cli.main(["drain", job_file(rig), "one", "--undo"]) == 0
    capsys.readouterr()
    assert volumes_json(rig, capsys)["one"]["state"] == "in use"
    assert cli.main(["drain", job_file(rig), "nine"]) == 2


# Loads all beforehand: the interpreter of a test may lie where the owner cannot read, unlike that of a host.
AS_OWNER = """
import codecs, ctypes, sys, tempfile, uuid
from snowsync.cli import command
from snowsync.show import watch
from snowsync.upkeep import evacuation, giving_up, resetting
from snowsync.config import job_file
codecs.lookup("ascii")
sys.exit(command.main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_leaves_files_that_the_owner_of_the_state_can_use(rig: Rig) -> None:
    """Whatever root's command makes (a lock, a log of the ledger) the units must be able to open."""
    first_run(rig)
    path, owner = job_file(rig), 65534
    for parent in rig.folder.parents:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    for folder, _folders, names in os.walk(rig.folder):
        for name in (".", *names):
            os.chown(os.path.join(folder, name), owner, owner)
    for arguments in (["drain", path, "one"], ["evacuate", path, "one"], ["reset", path, "--confirm", "photos"]):
        command = [sys.executable, "-c", AS_OWNER, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, (arguments, done.stderr)
    found = [os.path.join(folder, name) for folder, _folders, names in os.walk(rig.folder) for name in names]
    assert {os.lstat(name).st_uid for name in found} == {owner}
    assert (rig.folder / "state/evacuate.lock").exists()
