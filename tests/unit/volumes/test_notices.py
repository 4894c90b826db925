# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ledger is told of the volumes, each change once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.config.job_file import Volume
from snowsync.volumes.job_volume import JobVolume
from snowsync.volumes.notices import VolumeNotices


class VolumeLedger:
    """Records what it is told; it knows volume `one` as number 1."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def known_volumes(self) -> dict[str, tuple[int, str]]:
        return {"one": (1, "identity")}

    def set_trouble(self, *what: object) -> None:
        self.told.append(what)

    def note_unused(self, *what: object) -> None:
        self.told.append(what)

    def set_placing(self, what: dict[int, bool]) -> None:
        self.told.append(tuple(what.items()))


@pytest.fixture
def volumes() -> VolumeLedger:
    return VolumeLedger()


def notices(volumes: VolumeLedger, *, of_trouble: bool = True) -> VolumeNotices:
    ledger: Any = SimpleNamespace(volumes=volumes)
    return VolumeNotices(ledger, of_trouble=of_trouble)


def volume(name: str = "one", number: int = 0) -> JobVolume:
    made = JobVolume(Volume(name=name, path=Path(f"/volumes/{name}")))
    if number:
        opened: Any = SimpleNamespace(id=number, name=name)
        made.comes(opened)
    return made


def test_each_trouble_is_told_once_until_it_changes_or_is_over(volumes: VolumeLedger) -> None:
    told, one = notices(volumes), volume()
    for reason in ("EIO", "EIO", "EUCLEAN"):
        told.trouble(one, "failed", reason)
    assert volumes.told == [(1, "failed", "EIO"), (1, "failed", "EUCLEAN")]
    told.no_trouble(one)
    told.trouble(one, "failed", "EUCLEAN")
    assert len(volumes.told) == 3, "it is news again"


def test_a_volume_without_a_number_is_told_by_name(volumes: VolumeLedger) -> None:
    notices(volumes).trouble(volume("two"), "missing", "nothing is mounted there")
    assert volumes.told == [("two", "missing", "nothing is mounted there")]


def test_without_of_trouble_the_ledger_learns_nothing_but_the_volume_does(volumes: VolumeLedger) -> None:
    told, one = notices(volumes, of_trouble=False), volume()
    told.trouble(one, "failed", "EIO")
    assert volumes.told == []
    assert one.is_to_be_read_now(1e12)


def test_why_a_volume_is_only_read_from(volumes: VolumeLedger) -> None:
    told, one = notices(volumes), volume()
    opened: Any = SimpleNamespace(name="one")
    assert told.why_only_read(opened) == "it does not accept writes"
    told.trouble(one, "read-only", "its filesystem is read-only")
    assert told.why_only_read(opened) == "its filesystem is read-only"
    told.no_trouble(one)
    assert told.why_only_read(opened) == "it does not accept writes"


def test_each_change_of_what_is_placed_is_told_once(volumes: VolumeLedger) -> None:
    told, one, two, away = notices(volumes), volume("one", 1), volume("two", 2), volume("three")
    for _time in range(2):
        told.placing([one, two, away], busy=())
    assert volumes.told == [((1, True), (2, True))]
    two.is_draining = True
    told.placing([one, two, away], busy={2})
    assert len(volumes.told) == 1, "something may still be on its way there"
    told.placing([one, two, away], busy=())
    assert volumes.told[1:] == [((2, False),)]
