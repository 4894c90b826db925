# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes that hold what another ledger staged: they are left alone, shown, and given up only on purpose."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import threading
from pathlib import Path

import pytest
import yaml
from fake_stores import Rig, wait_until
from job_mapping import mapping_of

from snowsync.cli import command as cli
from snowsync.core.errors import ConfigError, LedgerError, LocalError
from snowsync.inspection.volume_report import gather
from snowsync.ledger.files import identities_put_aside, put_aside
from snowsync.ledger.ledger import Ledger
from snowsync.upkeep import disowning, resetting
from snowsync.upkeep.evacuation import evacuate
from snowsync.volumes import claims
from snowsync.volumes.claims import Claim, Record, Whose, read_record, whose, write_record
from snowsync.volumes.opening import VolumeOpening
from snowsync.volumes.volume_set import VolumeSet

# -- the decision -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded", "ours", "was_reset", "holds", "knows", "expected"),
    [
        ("a", "a", False, True, False, Whose.OURS),
        ("a", "a", False, False, False, Whose.OURS),
        ("b", "a", False, True, False, Whose.ANOTHERS),
        ("b", "a", False, True, True, Whose.ANOTHERS),  # whatever the keys say: the record is certain
        ("b", "a", False, False, False, Whose.FREE),
        ("b", "a", True, True, False, Whose.FREE),
        ("b", "", False, True, False, Whose.ANOTHERS),
        ("", "a", False, True, True, Whose.FREE),
        ("", "a", False, True, False, Whose.ANOTHERS),
        ("", "a", False, False, False, Whose.FREE),
        ("", "", False, True, False, Whose.ANOTHERS),
        ("", "", False, False, False, Whose.FREE),
    ],
)
def test_whose_files_a_volume_holds(
    recorded: str, ours: str, was_reset: bool, holds: bool, knows: bool, expected: Whose
) -> None:
    assert whose(recorded, ours, was_reset=was_reset, holds=holds, knows=knows) is expected


# -- the record ---------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> int:
    return os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)


def test_a_record_is_read_as_it_was_written(root: int) -> None:
    assert read_record(root, "photos") is None
    write_record(root, "photos", Record("a" * 32, "edge1", "/state/ledger.db"))
    write_record(root, "other", Record("b" * 32))
    found = read_record(root, "photos")
    assert found == Record("a" * 32, "edge1", "/state/ledger.db")
    assert found.short == "aaaaaaaa" and "edge1" in found.words


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"ledger": ""}', '{"ledger": 1}', "null", "\xff"])
def test_a_record_that_makes_no_sense_is_nobody_s(root: int, tmp_path: Path, text: str) -> None:
    write_record(root, "photos", Record("a"))
    (tmp_path / "ledgers/photos.json").write_text(text, encoding="latin-1")
    assert read_record(root, "photos") == Record(claims.UNKNOWN)


@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_record_is_the_old_or_the_new_one_whenever_it_is_cut_off(
    root: int, monkeypatch: pytest.MonkeyPatch, call: str, nth: int
) -> None:
    old, new = Record("a" * 32), Record("b" * 32)
    write_record(root, "photos", old)
    real, left = getattr(os, call), [nth]

    def cut_off(*arguments: object, **options: object) -> object:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(claims.os, call, cut_off)
        with contextlib.suppress(KeyboardInterrupt):
            write_record(root, "photos", new)
    assert read_record(root, "photos") in (old, new)
    write_record(root, "photos", new)
    assert read_record(root, "photos") == new
    assert os.listdir(f"/proc/self/fd/{root}/ledgers") == ["photos.json"]


def test_the_record_is_durable_before_it_has_its_name(root: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("write", "fsync", "rename"):
        real = getattr(os, name)

        def spy(*arguments: object, name: str = name, real: object = real, **options: object) -> object:
            calls.append(name)
            return real(*arguments, **options)  # type: ignore[operator]  # one of three functions of os

        monkeypatch.setattr(claims.os, name, spy)
    write_record(root, "photos", Record("a"))
    assert calls == ["fsync", "write", "fsync", "rename", "fsync"], "the folder, the file, and its name"


def test_a_full_volume_names_nobody_until_there_is_room(root: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(root, "photos", Record("a"))

    def full(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    claim = Claim("photos", Record("b"))
    with monkeypatch.context() as patch:
        patch.setattr(claims.os, "write", full)
        claim.make(root)
        assert read_record(root, "photos") is None
        with pytest.raises(OSError, match="full"):
            claim.insist(root)
    claim.insist(root)
    assert read_record(root, "photos") == Record("b")
    with pytest.raises(OSError, match="another ledger of job photos stages there"):
        Claim("photos", Record("a")).insist(root)


# -- the counter --------------------------------------------------------------------------------------------------


def test_the_counter_is_read_as_it_was_written(root: int) -> None:
    write_record(root, "photos", Record("a" * 32, "edge1", "/state/ledger.db"))
    for counter, at_ms in ((1, 1_700_000_000_000), (99, 0), (10**18, 10**18), (3, 4)):
        Claim("photos", Record("a" * 32)).remember(root, counter, at_ms)
        assert read_record(root, "photos") == Record("a" * 32, "edge1", "/state/ledger.db", counter, at_ms)


def test_a_record_from_before_counters_gets_one(root: int, tmp_path: Path) -> None:
    (tmp_path / "ledgers").mkdir()
    (tmp_path / "ledgers/photos.json").write_text('{"ledger": "a", "host": "edge1", "path": "/x"}')
    assert read_record(root, "photos") == Record("a", "edge1", "/x", 0, 0)
    Claim("photos", Record("a")).remember(root, 7, 8)
    assert read_record(root, "photos") == Record("a", "edge1", "/x", 7, 8)


@pytest.mark.parametrize(
    "text",
    [
        '{"counter": "0", "at_ms": "0", "ledger": "a", "host": "edge1", "path": "/x"}',
        '{"counter": "00000000000000000005", "at_ms": "6", "ledger": "a", "host": "edge1", "path": "/x"}',
        '{"counter": "00000000000000000005", "ledger": "a", "host": "edge1", "path": "/x"}',
        '{"counter": "00000000000000000005", "at_ms":"00000000000000000006","ledger": "a","host":"edge1","path":"/x"}',
    ],
)
def test_a_record_that_was_laid_out_by_hand_is_replaced_as_a_whole(root: int, tmp_path: Path, text: str) -> None:
    write_record(root, "photos", Record("a"))
    (tmp_path / "ledgers/photos.json").write_text(text)
    Claim("photos", Record("a")).remember(root, 7, 8)
    assert read_record(root, "photos") == Record("a", "edge1", "/x", 7, 8)


def test_another_ledger_s_record_is_not_written_to(root: int) -> None:
    write_record(root, "photos", Record("b", counter=5))
    Claim("photos", Record("a")).remember(root, 7, 8)
    assert read_record(root, "photos") == Record("b", counter=5)
    Claim("other", Record("a")).remember(root, 7, 8)
    assert read_record(root, "other") is None, "nor is one made"


@pytest.mark.parametrize("text", ['"x"', "[1]", "1e999", '"-"', "-5", "null", "1" * 40, "2.5"])
def test_a_counter_that_makes_no_sense_is_one_that_no_ledger_knows(root: int, tmp_path: Path, text: str) -> None:
    write_record(root, "photos", Record("a"))
    (tmp_path / "ledgers/photos.json").write_text(f'{{"ledger": "a", "counter": {text}}}')
    assert read_record(root, "photos") == Record("a", counter=-1)
    ledger = Ledger(tmp_path / "ledger.db")
    assert not ledger.recovery.knows_group(-1, 0) and ledger.recovery.distrust(1, "record", -1, 0)


def test_whatever_part_of_a_counter_is_on_the_disk_the_record_is_whole(root: int, tmp_path: Path) -> None:
    """It is written over in place: any mixture of old and new bytes is a record of this ledger."""
    path = tmp_path / "ledgers/photos.json"
    write_record(root, "photos", Record("a", counter=1_099, at_ms=1_700_000_000_999))
    old = path.read_bytes()
    Claim("photos", Record("a")).remember(root, 21_100, 1_700_000_001_000)
    new = path.read_bytes()
    assert len(new) == len(old)
    changed = [position for position in range(len(old)) if old[position] != new[position]]
    assert max(changed) < 512, "within one sector"
    for end in range(len(old)):
        path.write_bytes(new[:end] + old[end:])
        found = read_record(root, "photos")
        assert found and found.ledger == "a"


# -- ledgers ------------------------------------------------------------------------------------------------------


def test_a_ledger_keeps_its_identity_and_no_two_share_one(tmp_path: Path) -> None:
    first, second = Ledger(tmp_path / "a.db"), Ledger(tmp_path / "b.db")
    identity = first.volumes.identity()
    assert len(identity) == 32 and identity != second.volumes.identity()
    first.close()
    shutil.move(tmp_path / "a.db", tmp_path / "c.db")
    assert Ledger(tmp_path / "c.db").volumes.identity() == identity
    assert Ledger(tmp_path / "c.db", readonly=True).volumes.identity() == identity


def test_ledgers_put_aside_are_known_as_far_as_they_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger(path)
    identity = ledger.volumes.identity()
    ledger.close()
    put_aside(path)
    (tmp_path / "ledger.db.reset-1").write_bytes(b"damaged " * 1000)
    (tmp_path / "ledger.db.reset-2").write_bytes(b"")
    Ledger(path).close()
    assert identities_put_aside(path) == {identity}


# -- another ledger -----------------------------------------------------------------------------------------------


def contents(rig: Rig) -> dict[str, bytes]:
    found = [path for name in ("one", "two") for path in (rig.folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(rig.folder)): path.read_bytes() for path in found}


def fill(rig: Rig, count: int = 12) -> None:
    for number in range(count):
        rig.source.put(f"folder/object-{number}", bytes([number]) * 100)


def staged(rig: Rig) -> Path:
    """All is staged, the source is gone, and so is the system disk; returns where the ledger lies safe."""
    fill(rig)
    rig.run(direction="source")
    assert {name[:3] for name in rig.staged_files()} == {"one", "two"}
    rig.source.objects.clear()
    (rig.folder / "state").rename(rig.folder / "saved")
    return rig.folder / "saved"


def absent(rig: Rig) -> dict[str, str]:
    ledger = rig.ledger
    volumes = VolumeSet(rig.job, ledger)
    volumes.refresh()
    found = dict(volumes.absent)
    volumes.close()
    ledger.close()
    return found


def test_an_empty_ledger_deletes_nothing_that_another_one_staged(rig: Rig) -> None:
    saved = staged(rig)
    before = contents(rig)
    rig.source.put("new", b"of the new ledger")
    for _ in range(2):  # the second start is the one that sweeps
        with pytest.raises(LocalError, match="another ledger staged"):
            rig.run(direction="source", until="once")
        rig.run(direction="destination", until="once")
    assert contents(rig) == before
    assert rig.destination.objects == {}
    reason = absent(rig)["one"]
    assert f"restore that ledger as {rig.job.ledger_path}" in reason
    assert "snowsync reset photos --volume one" in reason
    assert f"{saved.parent / 'state/ledger.db'} on host {os.uname().nodename}" in reason
    shutil.rmtree(rig.job.state_path)
    saved.rename(rig.job.state_path)
    rig.run()
    assert len(rig.destination.objects) == 13
    assert rig.files_left() == []


def test_the_other_volumes_are_used(rig: Rig) -> None:
    staged(rig)
    theirs = [name for name in rig.staged_files() if name.startswith("one/")]
    shutil.rmtree(rig.folder / "two")
    fill(rig, 4)
    for _ in range(2):
        rig.run(until="once")
    assert len(rig.destination.objects) == 4
    assert rig.staged_files() == theirs


def test_nothing_is_moved_to_another_ledger_s_volume(rig: Rig) -> None:
    staged(rig)
    shutil.rmtree(rig.folder / "two")
    theirs = [name for name in rig.staged_files() if name.startswith("one/")]
    fill(rig, 4)
    rig.run(direction="source", until="once")
    with pytest.raises(LocalError, match="no other volume has room"):
        evacuate(rig.job, "two")
    assert [name for name in rig.staged_files() if name.startswith("one/")] == theirs
    assert len(rig.staged_files()) == len(theirs) + 4


def test_a_quarantined_or_dropped_file_binds_a_volume_too(rig: Rig) -> None:
    rig.run()
    for folder, name in (("quarantine", "7"), ("outgoing", "7.delivered")):
        shutil.rmtree(rig.job.state_path)
        path = rig.folder / "one/.snowsync" / folder / "photos" / name
        path.write_bytes(b"the last copy")
        assert "another ledger" in absent(rig)["one"]
        assert path.exists()
        path.unlink()
        assert "one" not in absent(rig), "without files it is taken over"
        (rig.folder / "one/.snowsync" / folder / "photos/README").write_bytes(b"no file of the engine")
        shutil.rmtree(rig.job.state_path)
        assert "one" not in absent(rig), "what the engine did not make binds nobody"


def test_a_volume_without_a_record_is_adopted_by_the_ledger_that_knows_its_files(rig: Rig) -> None:
    fill(rig)
    rig.run(direction="source")
    (rig.folder / "one/.snowsync/staged/photos/folder/object-3~9").write_bytes(b"what a crash left is no obstacle")
    for name in ("one", "two"):
        shutil.rmtree(rig.folder / name / ".snowsync/ledgers")
    rig.run()
    rig.assert_delivered()
    assert rig.files_left() == ["one/.snowsync/staged/photos/folder/object-3~9"], "newer than what the ledger knows"
    assert (rig.folder / "one/.snowsync/ledgers/photos.json").exists()


def test_a_volume_without_a_record_whose_files_nobody_knows_is_another_s(rig: Rig) -> None:
    staged(rig)
    for name in ("one", "two"):
        shutil.rmtree(rig.folder / name / ".snowsync/ledgers")
    before = contents(rig)
    for reason in absent(rig).values():
        assert "no record says which one" in reason
    assert contents(rig) == before
    # Its keys alone prove nothing: the source lists the same ones again.
    fill(rig)
    with pytest.raises(LocalError, match="another ledger"):
        rig.run(direction="source", until="once")
    assert len(absent(rig)) == 2
    assert contents(rig) == before


def test_a_damaged_record_is_no_reason_to_delete(rig: Rig) -> None:
    staged(rig)
    (rig.folder / "one/.snowsync/ledgers/photos.json").write_text("{")
    before = contents(rig)
    assert "no record says" in absent(rig)["one"]
    assert contents(rig) == before


def test_a_volume_that_only_can_be_read_is_not_another_s_source(rig: Rig) -> None:
    staged(rig)
    ledger = rig.ledger
    opening = VolumeOpening(rig.job, ledger, tells=True)
    with pytest.raises(LocalError, match="another ledger"):
        opening.opened(rig.job.volumes[0], writable=False)
    ledger.close()


def test_two_units_that_start_at_once_take_a_volume_once(rig: Rig) -> None:
    ledger, results = rig.ledger, []
    sets = [VolumeSet(rig.job, ledger) for _ in range(4)]
    barrier = threading.Barrier(len(sets))

    def start(volumes: VolumeSet) -> None:
        barrier.wait()
        volumes.refresh()
        results.append(len(volumes.open))

    threads = [threading.Thread(target=start, args=(volumes,)) for volumes in sets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [2] * 4
    record = json.loads((rig.folder / "one/.snowsync/ledgers/photos.json").read_text())
    assert record["ledger"] == ledger.volumes.identity()


def test_who_lost_a_volume_to_another_ledger_publishes_nothing_there(rig: Rig) -> None:
    """Two ledgers of one job name, both running: the volume was empty when the second one took it."""
    fill(rig)
    rig.changes = {"pass_interval": 1}
    running = rig.start(direction="source", until="forever")
    wait_until(lambda: len(rig.staged_files()) == 12)
    record = rig.folder / "one/.snowsync/ledgers/photos.json"
    record.write_text(json.dumps({"ledger": "f" * 32}))
    for number in range(6):
        rig.source.put(f"late/object-{number}", b"x")
    wait_until(lambda: sum("/late/" in name for name in rig.staged_files()) == 6)
    assert [name for name in rig.staged_files() if name.startswith("one/") and "/late/" in name] == []
    assert "one" in running.unit("source").volumes.absent
    record.unlink()  # whoever it was
    wait_until(lambda: "one" not in running.unit("source").volumes.absent)
    running.stop()


# -- reset --------------------------------------------------------------------------------------------------------


def test_a_volume_that_was_away_at_a_reset_is_taken_over_by_the_next_ledger(rig: Rig) -> None:
    fill(rig)
    rig.run(direction="source")
    (rig.folder / "one").rename(rig.folder / "elsewhere")
    resetting.reset(rig.job, "photos")
    rig.source.objects.clear()
    rig.source.put("folder/object-1", b"another one")
    rig.changes = {"volumes": mapping_of(rig.job)["volumes"][1:]}
    rig.run(until="once")  # the new ledger begins without it
    rig.changes = {}
    (rig.folder / "one").rmdir()
    (rig.folder / "elsewhere").rename(rig.folder / "one")
    rig.run(until="once")
    rig.assert_delivered()
    assert rig.files_left() == []
    assert absent(rig) == {}


def test_a_reset_leaves_alone_what_another_ledger_staged(rig: Rig) -> None:
    staged(rig)
    shutil.rmtree(rig.folder / "two")
    rig.source.put("mine", b"x")
    rig.run(direction="source", until="once")
    theirs = [name for name in rig.staged_files() if name.startswith("one/")]
    done = resetting.reset(rig.job, "photos")
    assert rig.staged_files() == theirs
    assert done.volumes[0].record()["another_ledger"] and not done.volumes[1].record()["another_ledger"]
    assert "its files are kept" in resetting.render(done)
    again = resetting.reset(rig.job, "photos")  # there is no ledger at all now
    assert (again.changed, rig.staged_files()) == (False, theirs)


# -- giving up ----------------------------------------------------------------------------------------------------


def test_what_another_ledger_staged_is_shown_first_and_given_up_volume_by_volume(rig: Rig) -> None:
    staged(rig)
    rig.ledger.close()
    before = contents(rig)
    found = disowning.give_up(rig.job, "one", None)
    assert contents(rig) == before
    text = disowning.render(found)
    here = [name for name in rig.staged_files() if name.startswith("one/")]
    assert f"{len(here)} files ({len(here) * 100} B) of another ledger would be removed" in text
    assert "object-" in text and f"--volume one --confirm {found.record.short}" in text
    for wrong in ("photos", "one", "", "unknown"):
        with pytest.raises(ConfigError, match="nothing was changed"):
            disowning.give_up(rig.job, "one", wrong)
    assert contents(rig) == before
    done = disowning.give_up(rig.job, "one", found.record.short)
    assert (done.done, done.volume.found.files.objects) == (True, len(here))
    assert all(name.startswith("two/") for name in rig.staged_files())
    assert rig.staged_files(), "the other volume is another decision"
    assert set(absent(rig)) == {"two"}
    with pytest.raises(LedgerError, match="holds no files of another ledger"):
        disowning.give_up(rig.job, "one", found.record.short)
    with pytest.raises(ConfigError, match="did you mean two"):
        disowning.give_up(rig.job, "tow", None)


def test_what_people_dropped_is_not_given_up(rig: Rig) -> None:
    mapping = mapping_of(rig.job)
    rig.changes = {"volumes": mapping["volumes"]}
    rig.changes["volumes"][0]["drop_folder"] = "drop"
    (rig.folder / "one/drop").mkdir()
    staged(rig)
    shutil.rmtree(rig.folder / "one/.snowsync/ledgers")
    (rig.folder / "one/.snowsync/outgoing/photos/7.delivered").write_bytes(b"people's")
    (rig.folder / "one/.snowsync/outgoing/photos/7").symlink_to(rig.folder / "one/drop/film")
    rig.ledger.close()
    disowning.give_up(rig.job, "one", "unknown")
    assert (rig.folder / "one/drop/film").read_bytes() == b"people's"
    assert "one" not in absent(rig)


def test_another_ledger_s_files_from_the_command_line(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    staged(rig)
    path = rig.folder / "photos.yml"
    path.write_text(yaml.safe_dump(mapping_of(rig.job)))
    for has_ledger in (False, True):
        assert cli.main(["volumes", str(path), "--json"]) == 0
        one = json.loads(capsys.readouterr().out)["volumes"][0]
        assert one["state"] == "missing" and "another ledger staged" in one["reason"]
        assert cli.main(["status", str(path)]) == 0
        assert "snowsync reset photos --volume one" in capsys.readouterr().out
        assert one == gather(rig.job).record()["volumes"][0]
        if not has_ledger:
            rig.ledger.close()
    assert cli.main(["reset", str(path), "--volume", "one", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["confirmed"], found["changed"]) == (False, False)
    assert cli.main(["reset", str(path), "--volume", "one", "--confirm", "photos"]) == 2
    capsys.readouterr()
    assert cli.main(["reset", str(path), "--volume", "one", "--json", "--confirm", found["ledger"]]) == 0
    assert json.loads(capsys.readouterr().out)["changed"]
    assert cli.main(["reset", str(path), "--volume", "two"]) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert cli.main(["reset", str(path), "--volume", "one"]) == 8
