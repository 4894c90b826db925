# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Movers are replaced when what they were created with has changed."""

from __future__ import annotations

import pytest
from fake_keys import GivenKeys, credentials

from snowsync.config.job_file import MoverSettings, Store
from snowsync.core.parts import NoMemory
from snowsync.movers import mover_set
from snowsync.movers.mover_set import CredentialChanges, MoverSet
from snowsync.movers.tools import NATIVE, Tool
from snowsync.store.endpoint import Endpoint
from snowsync.store.timeouts import Patience

URL = "http://127.0.0.1:1"


class Mover:
    """Has work in flight until it is closed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_closed = False
        self.in_flight = 1
        self.traffic = 10

    def has_room(self, volume: int) -> bool:
        return volume == 1

    def submit(self, *_works: object) -> None:
        raise AssertionError("nobody submits here")

    def close(self) -> None:
        self.is_closed = True


class Side:
    """A set of movers of one tool."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, keeps_its_start: bool) -> None:
        self.made: list[Mover] = []
        self.descriptors: list[tuple[int, ...]] = []
        self.keys = GivenKeys(credentials("first"))

        def make(_setup: object, _access: object, descriptors: tuple[int, ...]) -> Mover:
            self.made.append(Mover(len(self.made)))
            self.descriptors.append(descriptors)
            return self.made[-1]

        tool = Tool(make, lambda _work: True, lambda _work: True, keeps_its_start, compares=True, resumes=True)
        monkeypatch.setattr(mover_set, "TOOLS", {NATIVE: tool})
        setup = mover_set.MoverSetup(
            MoverSettings(), "fetch", None, NoMemory(), print, print, lambda: None, lambda _error: None
        )
        self.movers = MoverSet(setup, self.keys)
        store = Store(bucket="bucket", endpoints=[URL])
        self.endpoint = Endpoint(URL, store, self.keys, Patience())

    def get(self) -> Mover:
        mover = self.movers.get(self.endpoint, NATIVE)
        assert isinstance(mover, Mover)
        return mover


def test_a_change_of_credentials_is_told_once() -> None:
    keys = GivenKeys(credentials("first"))
    changes = CredentialChanges(keys)
    assert not changes.are_new()
    keys.now = credentials("second")
    assert changes.are_new()
    assert not changes.are_new()
    assert not CredentialChanges(None).are_new(), "a side without a store"


@pytest.mark.parametrize("keeps_its_start", [True, False])
def test_new_work_goes_to_a_mover_with_the_new_credentials(
    monkeypatch: pytest.MonkeyPatch, keeps_its_start: bool
) -> None:
    side = Side(monkeypatch, keeps_its_start=keeps_its_start)
    first = side.get()
    side.movers.follow_credentials()
    assert side.get() is first
    side.keys.now = credentials("second")
    side.movers.follow_credentials()
    assert (side.get() is first) != keeps_its_start, "a mover that asks for credentials at each request stays"
    assert not first.is_closed, "its work is finished"
    assert side.movers.traffic() == 10 * len(side.made), "of those that leave too"
    first.in_flight = 0
    side.movers.set_descriptors([])
    assert first.is_closed == keeps_its_start


@pytest.mark.parametrize("keeps_its_start", [True, False])
def test_added_folders_replace_only_a_mover_that_cannot_see_them(
    monkeypatch: pytest.MonkeyPatch, keeps_its_start: bool
) -> None:
    side = Side(monkeypatch, keeps_its_start=keeps_its_start)
    side.movers.set_descriptors([3])
    first = side.get()
    side.movers.set_descriptors([3, 4])
    assert (side.get() is first) != keeps_its_start
    assert not first.is_closed
    assert side.descriptors[-1] == ((3, 4) if keeps_its_start else (3,))
    side.movers.set_descriptors([4])
    assert all(mover.is_closed for mover in side.made), "nothing may keep open what went away"


def test_a_mover_that_failed_is_replaced_and_none_is_made_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side(monkeypatch, keeps_its_start=False)
    assert side.movers.has_room(side.endpoint, 2), "there is no mover yet"
    first = side.get()
    assert not side.movers.has_room(side.endpoint, 2)
    first.close()
    second = side.get()
    assert second is not first
    side.movers.close()
    assert second.is_closed
    assert side.movers.get(side.endpoint, NATIVE) is None
