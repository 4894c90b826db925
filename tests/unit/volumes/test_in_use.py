# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses a volume, and when it is closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from snowsync.config.job_file import Volume
from snowsync.volumes.in_use import VolumesInUse
from snowsync.volumes.job_volume import JobVolume


class Opened:
    """As much of an open volume as is looked at here."""

    def __init__(self, number: int, name: str) -> None:
        self.id, self.name = number, name
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def in_use() -> VolumesInUse:
    names = ("one", "two")
    return VolumesInUse({name: JobVolume(Volume(name=name, path=Path(f"/volumes/{name}"))) for name in names})


def come(in_use: VolumesInUse, number: int = 1, name: str = "one") -> Any:
    opened: Any = Opened(number, name)
    in_use.comes(opened)
    return opened


def test_a_volume_that_came_is_in_use_until_it_is_retired(in_use: VolumesInUse) -> None:
    one, two = come(in_use), come(in_use, 2, "two")
    assert in_use.by_number == {1: one, 2: two}
    assert in_use.retire(one, "it failed")
    assert in_use.by_number == {2: two}
    assert not in_use.retire(one, "it failed again"), "that was said already"
    assert in_use._volumes["one"].absence == "it failed"


def test_the_volume_that_took_its_place_is_not_retired_for_it(in_use: VolumesInUse) -> None:
    one = come(in_use)
    in_use.retire(one, "it accepts writes again")
    again = come(in_use)
    assert not in_use.retire(one, "it failed")
    assert in_use.by_number == {1: again}


def test_it_is_closed_once_and_only_when_it_was_retired(in_use: VolumesInUse) -> None:
    one = come(in_use)
    in_use.close_retired()
    assert one.closed == 0
    in_use.retire(one, "it failed")
    in_use.close_retired({id(one)})
    assert one.closed == 0, "objects are in flight to it"
    in_use.close_retired()
    in_use.close_retired()
    in_use.close()
    assert one.closed == 1


def test_only_what_is_known_is_closed(in_use: VolumesInUse) -> None:
    one, two = come(in_use), come(in_use, 2, "two")
    in_use.retire(one, "it failed")
    known = in_use.retired
    in_use.retire(two, "it failed")
    in_use.close_retired(known=known)
    assert (one.closed, two.closed) == (1, 0)
    assert in_use.retired == [two]


def test_it_is_not_closed_while_anybody_holds_it(in_use: VolumesInUse) -> None:
    one = come(in_use)
    in_use.hold(one)
    with in_use.borrowed() as lent:
        assert lent == [one]
        in_use.retire(one, "it failed")
        in_use.let_go(one)
        in_use.close_retired()
        assert one.closed == 0
    in_use.close_retired()
    assert one.closed == 1
    assert not in_use._users, "it is forgotten"


def test_what_is_borrowed_is_returned_after_an_error_too(in_use: VolumesInUse) -> None:
    one, two = come(in_use), come(in_use, 2, "two")
    with pytest.raises(OSError, match="x"), in_use.borrowed(2) as lent:
        assert lent == [two]
        raise OSError("x")
    with in_use.borrowed(3) as lent:
        assert lent == []
    for each in (one, two):
        in_use.retire(each, "it failed")
    in_use.close_retired()
    assert (one.closed, two.closed) == (1, 1)


def test_at_the_end_all_are_closed_whoever_holds_them(in_use: VolumesInUse) -> None:
    one, two = come(in_use), come(in_use, 2, "two")
    in_use.hold(one)
    in_use.hold(two)
    in_use.retire(one, "it failed")
    in_use.close()
    assert (one.closed, two.closed) == (1, 1)
    assert in_use.by_number == {}
