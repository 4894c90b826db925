# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which dropped files are new to the ledger."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_stores import Rig
from job_mapping import mapping_of

from snowsync.core.model import LONGEST_KEY, Origin, State
from snowsync.hops.source.drops.new_drops import LINKED, is_known, key_of, waiting
from snowsync.ledger.rows import Row
from snowsync.volumes.file_identity import Identity


@pytest.mark.parametrize(
    ("relative", "key", "refusal"),
    [
        ("a/b", "photos/a/b", ""),
        ("\udcff", "", "its name is not valid UTF-8"),
        ("x" * (LONGEST_KEY - 7), "photos/" + "x" * (LONGEST_KEY - 7), ""),
        ("x" * (LONGEST_KEY - 6), "", "more than 1024 bytes"),
        ("\u00e9" * 509, "", "more than 1024 bytes"),
    ],
)
def test_a_key_is_the_prefix_and_the_path(relative: str, key: str, refusal: str) -> None:
    found, told = key_of("photos/", relative)
    assert found == key
    assert refusal in told
    assert bool(told) is not bool(key)


def row_of(path: Path, state: State) -> Row:
    found = Identity.of(path.stat())
    return Row(
        7,
        path.name,
        found.size,
        "",
        found.modified_ms,
        1,
        Origin.DROP,
        state,
        1,
        0,
        "",
        "",
        0,
        0,
        0,
        file_id=found.text,
    )


@pytest.mark.parametrize("state", list(State))
def test_a_file_is_known_while_its_object_is_not_released(tmp_path: Path, state: State) -> None:
    path = tmp_path / "film"
    path.write_bytes(b"data")
    expected = state in (State.STAGED, State.DELIVERED, State.QUARANTINED, State.FAILED)
    assert is_known(row_of(path, state), path.lstat()) is expected


def test_a_file_that_changed_is_new_and_one_that_may_have_changed_is_not(tmp_path: Path) -> None:
    path = tmp_path / "film"
    path.write_bytes(b"data")
    row = row_of(path, State.STAGED)
    assert not is_known(None, path.lstat())
    assert not is_known(row._replace(size=5), path.lstat())
    assert is_known(row._replace(file_id=""), path.lstat()), "its digest decides before it is sent"
    path.write_bytes(b"newer")
    assert not is_known(row, path.lstat())


def test_what_waits_is_named_with_why_it_will_not_be_taken(rig: Rig) -> None:
    rig.changes["volumes"] = mapping_of(rig.job)["volumes"]
    rig.changes["volumes"][0]["drop_folder"] = "drop"
    drop = rig.folder / "one/drop"
    (drop / "deep").mkdir(parents=True)
    (drop / "known").write_bytes(b"1")
    (drop / "deep/new").write_bytes(b"12")
    (drop / "linked").write_bytes(b"123")
    os.link(drop / "linked", rig.folder / "elsewhere")
    (drop / "link").symlink_to("known")
    Path(os.fsdecode(os.fsencode(drop) + b"/\xff")).touch()

    class Drops:
        def dropped(self, key: str) -> Row | None:
            return row_of(drop / key, State.STAGED) if key == "known" else None

    found = [(each.name, each.key, each.size, each.refusal) for each in waiting(rig.job, Drops())]
    assert found[:2] == [("linked", "linked", 3, LINKED), ("\\udcff", "", 0, found[1][3])]
    assert "not valid UTF-8" in found[1][3]
    assert found[2:] == [("deep/new", "deep/new", 2, "")]
    assert {each.name for each in waiting(rig.job, None)} == {"known", "linked", "\\udcff", "deep/new"}
