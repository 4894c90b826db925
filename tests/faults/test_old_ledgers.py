# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A ledger that is put back from a backup: nothing is removed, nothing delivered is sent again, all arrives."""

from __future__ import annotations

import functools
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.rig import DESTINATION, SOURCE, Rig, kill_group, wait_until

LARGE = 11 << 20


def put(rig: Rig, name: str, count: int = 6) -> None:
    for number in range(count):
        rig.source.put(SOURCE, f"{name}-{number}", os.urandom(10_000 + number))
    rig.source.put(SOURCE, f"{name}-film", os.urandom(LARGE), part_size=5 << 20)


def stage(rig: Rig, name: str) -> None:
    put(rig, name)
    code, _summary, errors = rig.run("--direction", "source")
    assert code == 0, errors


def staged(rig: Rig) -> dict[str, bytes]:
    found = [path for volume in rig.volumes for path in (volume / ".snowsync/staged").rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in found}


def save(rig: Rig, name: str = "backup") -> Path:
    """The state directory, copied while nothing runs, as a backup does."""
    target = rig.folder / name
    shutil.copytree(rig.folder / "state", target)
    return target


def restore(rig: Rig, backup: Path) -> None:
    shutil.rmtree(rig.folder / "state")
    shutil.copytree(backup, rig.folder / "state")


def recoveries(rig: Rig) -> int:
    db = sqlite3.connect(f"file:{rig.folder / 'state/ledger.db'}?mode=ro", uri=True)
    try:
        return int(db.execute("SELECT COUNT(*) FROM groups WHERE hop = 'recovered'").fetchone()[0])
    finally:
        db.close()


def arrives(rig: Rig) -> None:
    """All of the source, and nothing that was delivered once is sent once more."""
    code, summary, errors = rig.run(timeout=180)
    assert code == 0 and summary["drained"], errors
    rig.assert_delivered()
    assert rig.destination.written_again(DESTINATION) == {}
    assert recoveries(rig) > 0


def test_what_happened_since_is_not_undone(rig: Rig) -> None:
    """At the time of the backup delivered, staged, listed; since then all of them, and more, went further."""
    stage(rig, "delivered")
    assert rig.run()[0] == 0
    stage(rig, "staged")
    backup = save(rig)
    assert rig.run()[0] == 0
    put(rig, "since")
    assert rig.run()[0] == 0
    stage(rig, "on-its-way")
    before = staged(rig)
    restore(rig, backup)
    code, _summary, errors = rig.run("--direction", "source")
    assert code == 0 and "is an older copy" in errors, errors
    assert {path: staged(rig).get(path) for path in before} == before
    arrives(rig)
    _code, summary, errors = rig.run()
    assert not summary["changed"] and "older copy" not in errors, "it is recognized once"


def test_what_is_staged_arrives_where_its_source_is_gone(rig: Rig) -> None:
    stage(rig, "first")
    backup = save(rig)
    stage(rig, "second")
    wanted = {key: rig.source.get(SOURCE, key) for key in rig.source.list(SOURCE)}
    restore(rig, backup)
    for key in wanted:
        if key.startswith("first"):
            rig.source.delete(SOURCE, key)
    assert rig.run()[0] == 0
    assert {key: rig.destination.get(DESTINATION, key) for key in rig.destination.list(DESTINATION)} == wanted
    assert recoveries(rig) > 0


def test_a_destination_unit_that_starts_first_sends_nothing_again(rig: Rig) -> None:
    """As the two units of a service do, each in a process of its own."""
    stage(rig, "a")
    backup = save(rig)
    assert rig.run()[0] == 0
    stage(rig, "b")
    restore(rig, backup)
    code, _summary, errors = rig.run("--direction", "destination")
    assert code == 0 and "is an older copy" in errors
    assert len(rig.destination.list(DESTINATION)) == 7 and rig.destination.written_again(DESTINATION) == {}
    arrives(rig)


def test_a_volume_that_was_away_at_the_restore(rig: Rig) -> None:
    """The old ledger goes on with the other volume first, past the number of groups that this one knows."""
    stage(rig, "a")
    backup = save(rig)
    first, second = ((volume, rig.folder / f"{volume.name}-away") for volume in rig.volumes)
    os.rename(*second)
    once = ("run", "JOB", "--once", "--timeout", "60")
    rig.snowsync(*once)  # what the first volume holds is delivered, and the second one does not know
    assert sent(rig)
    restore(rig, backup)
    os.rename(*reversed(second))
    os.rename(*first)
    for number in range(4):
        put(rig, f"meanwhile-{number}", 1)
        rig.snowsync(*once)
    assert recoveries(rig) == 0
    os.rename(*reversed(first))
    arrives(rig)


def test_what_an_evacuation_moved_since_is_found_where_it_is(rig: Rig) -> None:
    """The old ledger knows the files where they were; the source has none of them any more."""
    stage(rig, "a")
    wanted = {key: rig.source.get(SOURCE, key) for key in rig.source.list(SOURCE)}
    backup = save(rig)
    assert rig.snowsync("evacuate", "JOB", "volume-01").returncode == 0
    restore(rig, backup)
    for key in wanted:
        rig.source.delete(SOURCE, key)
    code, _summary, errors = rig.run()
    assert code == 0, errors
    assert {key: rig.destination.get(DESTINATION, key) for key in rig.destination.list(DESTINATION)} == wanted
    assert rig.files_left() == []


def test_what_was_staged_since_and_left_the_source_arrives(rig: Rig) -> None:
    """Listed at the time of the backup, and staged afterwards: the ledger knows the object, and not the file."""
    put(rig, "a")
    rig.source.set_fault("status", operation="GetObject", status=503)
    rig.snowsync("run", "JOB", "--until-drained", "--timeout", "5")
    rig.source.clear_faults()
    wanted = {key: rig.source.get(SOURCE, key) for key in rig.source.list(SOURCE)}
    backup = save(rig)
    code, _summary, errors = rig.run("--direction", "source")
    assert code == 0, errors
    files = staged(rig)
    assert len(files) == len(wanted)
    restore(rig, backup)
    for key in wanted:
        rig.source.delete(SOURCE, key)
    code, _summary, errors = rig.run()
    assert code == 0, errors
    assert {key: rig.destination.get(DESTINATION, key) for key in rig.destination.list(DESTINATION)} == wanted


def test_the_state_came_back_from_another_host(rig: Rig) -> None:
    """A copy of it, of the same identity, worked with the same disks elsewhere; now the original has them again."""
    stage(rig, "a")
    original = save(rig)
    assert rig.run()[0] == 0
    stage(rig, "b")
    assert rig.run()[0] == 0
    restore(rig, original)
    arrives(rig)


def test_a_backup_of_a_job_that_had_moved_nothing(rig: Rig) -> None:
    assert rig.run()[0] == 0
    backup = save(rig)
    stage(rig, "a")
    assert rig.run()[0] == 0
    stage(rig, "b")
    before = staged(rig)
    restore(rig, backup)
    assert rig.run("--direction", "source")[0] == 0
    assert staged(rig).keys() >= before.keys()
    arrives(rig)


@pytest.mark.parametrize("tool", ["native", "s5cmd"])
def test_what_was_sent_and_not_yet_proven_is_asked_for(rig: Rig, tool: str) -> None:
    """All that the copy lacks is which uploads had begun: nothing was recorded between its making and the kill."""
    rig.config["mover"] = {"tool": tool}
    stage(rig, "a")
    backup = save(rig)
    rig.destination.set_fault("latency", operation="ListObjectsV2|HeadObject", first=2, seconds=120.0)  # no proofs
    killed_when(rig, random.Random(0), functools.partial(has_sent, rig, 5))
    rig.destination.clear_faults()
    restore(rig, backup)
    arrives(rig)


@pytest.mark.parametrize("tool", ["native", "s5cmd"])
def test_killed_and_put_back_again_and_again(rig: Rig, tool: str) -> None:
    """kill -9 in the middle of work, then a ledger of some moments ago."""
    rig.config["mover"] = {"tool": tool}
    rig.config["group"] = {"objects": 10, "seconds": 0.2}
    rig.destination.set_fault("latency", operation="PutObject|UploadPart", seconds=0.05)
    chance = random.Random(int(os.environ.get("SNOWSYNC_SEED", "20261127")))
    for cycle in range(5):
        put(rig, f"cycle-{cycle}", 40)
        backup = save(rig, f"backup-{cycle}") if (rig.folder / "state").exists() else None
        enough = sent(rig) + 5
        killed_when(rig, chance, functools.partial(has_sent, rig, enough))
        if backup:
            restore(rig, backup)
    rig.destination.clear_faults()
    # What was being sent at the moment of a kill, and is not proven, may be sent again: never what was delivered.
    code, summary, errors = rig.run(timeout=180)
    assert code == 0 and summary["drained"], errors
    rig.assert_delivered()
    assert recoveries(rig) > 0
    assert rig.destination.written_again(DESTINATION) == {}
    assert rig.run()[0] == 0
    assert rig.files_left() == [], "what the lost history had staged goes, once it is proven at the destination"


def sent(rig: Rig) -> int:
    return len(rig.destination.list(DESTINATION))


def has_sent(rig: Rig, count: int) -> bool:
    return sent(rig) >= count


def killed_when(rig: Rig, chance: random.Random, condition: Callable[[], bool]) -> None:
    process = rig.start("--forever")
    try:
        wait_until(condition, "some deliveries")
        time.sleep(chance.uniform(0.0, 0.5))
    finally:
        kill_group(process)
        process.communicate()
