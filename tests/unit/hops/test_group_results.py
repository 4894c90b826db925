# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the files of a group get their names; `test_source.py` has what becomes of its objects."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core import keys
from snowsync.core.errors import Trouble
from snowsync.core.model import Evidence, Origin, State
from snowsync.hops.source.staging import group_results
from snowsync.hops.source.staging.group_results import publish, sync
from snowsync.hops.source.staging.volume_groups import Group
from snowsync.ledger.ledger import Row, Staged


class Volume:
    """A volume on which the naming of some files fails."""

    id, name = 1, "one"

    def __init__(self, failing: dict[int, int] | None = None) -> None:
        self.failing = failing or {}
        self.did: list[str] = []
        self.directories = SimpleNamespace(prune=self._prune, sync=self._sync_directories)

    def publish(self, object_id: int, path: str) -> str:
        if object_id in self.failing:
            number = self.failing[object_id]
            raise OSError(number, os.strerror(number))
        return os.path.dirname(path)

    def _prune(self, directories: list[str]) -> None:
        self.did.append(f"prune {directories}")

    def sync(self) -> None:
        self.did.append("syncfs")

    def _sync_directories(self, directories: set[str]) -> None:
        self.did.append(f"sync {sorted(directories)}")


def group_of(volume: Any, *numbers: int, each_alone: bool = False) -> Group:
    group = Group(volume, each_alone=each_alone)
    for number in numbers:
        row = Row(number, f"folder/{number}", 5, "e", 0, 1, Origin.SOURCE, State.PENDING, None, 0, "", "", 0, 0, 0)
        item: Any = SimpleNamespace(row=row, path=f"/incoming/{number}")
        group.take(item, Staged(row, 0, "", "", Evidence.STORE_DIGEST, ""))
    return group


def folder() -> str:
    return os.path.dirname(keys.to_path("folder/1", 1))


def test_names_become_durable_once_for_all_files_of_a_directory() -> None:
    volume = Volume()
    assert publish(group_of(volume, 1, 2)) == []
    assert volume.did == [f"sync ['{folder()}']"]


@pytest.mark.parametrize(
    ("number", "trouble"),
    [
        (errno.ENOENT, Trouble.UNKNOWN),
        (errno.ENAMETOOLONG, Trouble.UNSUPPORTED),
        (errno.EISDIR, Trouble.UNSUPPORTED),
        (errno.ENOSPC, Trouble.SPACE),
    ],
)
def test_a_file_without_a_name_is_no_reason_to_give_up_the_others(number: int, trouble: Trouble) -> None:
    volume = Volume({2: number})
    unnamed = publish(group_of(volume, 1, 2, 3))
    assert [(each.entry[0].row.id, each.trouble) for each in unnamed] == [(2, trouble)]
    pruned = [] if number == errno.ENOENT else [f"prune ['{folder()}']"]
    assert volume.did == [*pruned, f"sync ['{folder()}']"]


def test_a_volume_that_fails_fails_the_group() -> None:
    volume = Volume({2: errno.EIO})
    with pytest.raises(OSError, match="Input/output error"):
        publish(group_of(volume, 1, 2, 3))
    assert not [step for step in volume.did if step.startswith("sync")]


def test_small_files_are_synced_together_and_large_ones_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def sync_file(path: str) -> None:
        if path == "/incoming/2":
            raise FileNotFoundError(path)  # found again when it is to be named
        synced.append(path)

    monkeypatch.setattr(group_results, "sync_file", sync_file)
    volume = Volume()
    sync(group_of(volume, 1, 2, 3, each_alone=True))
    assert (synced, volume.did) == (["/incoming/1", "/incoming/3"], [])
    sync(group_of(volume, 1, 2, 3))
    assert (synced[2:], volume.did) == ([], ["syncfs"])
