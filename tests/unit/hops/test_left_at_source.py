# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said and counted of objects that no run can move; `test_left_behind.py` has what it means for a run."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from snowsync.config.job_file import Store
from snowsync.core.errors import Trouble
from snowsync.core.model import ListedObject
from snowsync.hops.counters import Listed
from snowsync.hops.source.listing import left_at_source
from snowsync.hops.source.listing.left_at_source import LeftAtSource
from snowsync.ledger.ledger import Failure

LONG = [f"{number}" + "x" * 1024 for number in range(5)]


class Journal:
    """The ledger's journal, which an earlier run may have written."""

    def __init__(self) -> None:
        self.recorded: list[Failure] = []
        self.known: set[str] = set()
        self.noted: dict[str, str] = {}

    def has_failure(self, key: str, hop: str, trouble: Trouble, message: str) -> bool:
        return key in self.known or any(each.row.key == key and each.message == message for each in self.recorded)

    def record(self, failure: Failure) -> None:
        self.recorded.append(failure)

    def facts(self, side: str, endpoint: str) -> dict[str, str]:
        return self.noted

    def set_fact(self, side: str, endpoint: str, fact: str, value: str) -> None:
        self.noted[fact] = value


class Rig:
    """Objects that are left, with what is heard of them."""

    def __init__(self) -> None:
        self.journal: Any = Journal()
        self.listed = Listed()
        self.counted: list[Failure] = []
        setbacks: Any = self
        store = Store(bucket="bucket", endpoints=("http://source.test:1",), prefix="in/")
        self.left = LeftAtSource(store, self.journal, setbacks, self.listed)

    def note(self, failure: Failure) -> None:
        self.counted.append(failure)

    def usable(self, *keys: str) -> list[str]:
        return [each.key for each in self.left.usable([ListedObject(f"in/{key}", 1, "e", 1) for key in keys])]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_what_cannot_be_moved_is_reported_once_and_counted_in_every_pass(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        for _time in range(2):
            rig.left.restart()
            assert rig.usable("a", LONG[0], "b") == ["in/a", "in/b"]
            rig.left.pass_ended()
            assert rig.listed.left_behind == 1
    assert (len(caplog.messages), len(rig.counted), len(rig.journal.recorded)) == (1, 1, 1)
    assert list(rig.journal.noted.values()) == ["1"]


def test_a_pass_that_is_not_over_takes_nothing_back(rig: Rig) -> None:
    """What the last pass left is left until a pass has shown that it is not."""
    rig.usable(*LONG[:3])
    rig.left.pass_ended()
    rig.left.restart()
    rig.usable(LONG[0])
    assert rig.listed.left_behind == 3
    rig.left.pass_ended()
    assert (rig.listed.left_behind, list(rig.journal.noted.values())) == (1, ["1"])


def test_what_an_earlier_run_recorded_is_counted_and_not_recorded_again(rig: Rig) -> None:
    rig.journal.known = {f"in/{LONG[0]}"}
    rig.usable(LONG[0])
    assert (len(rig.counted), rig.journal.recorded) == (1, [])


def test_beyond_a_limit_only_what_is_new_is_reported(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left_at_source, "_MOST_TOLD", 2)
    for _time in range(2):
        rig.usable(*LONG)
    assert (len(rig.counted), len(rig.journal.recorded)) == (5, 5)


def test_an_entry_that_cannot_be_read_is_one_object_at_least(rig: Rig) -> None:
    rig.left.leave_unread(["an entry after 'a' cannot be read: '<Key>'", "an entry after 'b' cannot be read: ''"])
    assert rig.listed.left_behind == 2
    assert [each.row.key for each in rig.counted] == ["an entry after 'a'", "an entry after 'b'"]
    assert rig.counted[0].trouble is Trouble.UNSUPPORTED


def test_a_restart_counts_the_listing_from_its_beginning(rig: Rig) -> None:
    rig.left.restart()
    rig.listed.add(5, 50)
    rig.left.restart()
    rig.listed.add(1, 10)
    assert (rig.listed.objects, rig.listed.bytes) == (1, 10)
