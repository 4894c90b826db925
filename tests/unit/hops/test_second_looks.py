# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mover could not fetch: the store's own answer decides."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from snowsync.core.errors import StoreError, Trouble
from snowsync.core.model import Head, Headers
from snowsync.hops.flight import Item
from snowsync.hops.source.arrivals.changed_objects import ChangedObjects
from snowsync.hops.source.arrivals.second_looks import SecondLooks
from snowsync.hops.source.arrivals.vanished_objects import VanishedObjects
from snowsync.hops.source.staging.fetching import Fetching

AS_LISTED, OTHER = (Head(200, size, "", 0, Headers(content_encoding="gzip")) for size in (4, 5))
UNUSED: Any = None


class Desk:
    """A source that answers HEAD and GET with these."""

    def __init__(self, head: Head | StoreError, by_get: Head | StoreError = AS_LISTED) -> None:
        self.answers = {"head": head, "get": by_get}
        self.asked: list[str] = []
        self.fetching, self.vanished = mock.Mock(Fetching), mock.Mock(VanishedObjects)
        self.changed = mock.Mock(ChangedObjects)
        self.changed.is_other.side_effect = lambda _row, found: found is OTHER
        endpoint: Any = SimpleNamespace(client=lambda: self, url="a")
        row: Any = SimpleNamespace(key="film")
        self.item = Item(row, UNUSED, endpoint, "", tool="s5cmd")
        self.looks = SecondLooks(0, self.fetching, self.vanished, self.changed)

    def head(self, _key: str) -> Head:
        return self._answer("head")

    def head_by_get(self, _key: str) -> Head:
        return self._answer("get")

    def _answer(self, operation: str) -> Head:
        self.asked.append(operation)
        found = self.answers[operation]
        if isinstance(found, StoreError):
            raise found
        return found


def error(trouble: Trouble) -> StoreError:
    return StoreError(trouble, "look", "no")


@pytest.mark.parametrize("trouble", [Trouble.NOT_FOUND, Trouble.MISMATCH, Trouble.CHANGED])
def test_an_object_that_is_another_one_by_now_is_fetched_anew(trouble: Trouble) -> None:
    desk = Desk(OTHER)
    desk.looks.look_again(desk.item, trouble, "it said so")
    desk.changed.fetch_anew.assert_called_once_with(desk.item, OTHER)
    desk.fetching.not_arrived.assert_not_called()
    assert desk.asked == ["head"]


@pytest.mark.parametrize(("trouble", "asked"), [(Trouble.MISMATCH, ["head"]), (Trouble.CHANGED, ["head", "get"])])
def test_an_object_that_is_as_listed_did_not_arrive(trouble: Trouble, asked: list[str]) -> None:
    desk = Desk(AS_LISTED)
    desk.looks.look_again(desk.item, trouble, "it said so")
    ((item, told, message),) = (call.args for call in desk.fetching.not_arrived.call_args_list)
    assert (item, told) == (desk.item, trouble)
    assert message.startswith("it said so; it is stored with Content-Encoding gzip")
    assert desk.asked == asked


def test_get_is_asked_where_head_shows_no_change() -> None:
    desk = Desk(AS_LISTED, by_get=OTHER)
    desk.looks.look_again(desk.item, Trouble.CHANGED, "it said so")
    desk.changed.fetch_anew.assert_called_once_with(desk.item, OTHER)


@pytest.mark.parametrize("answers", [(error(Trouble.NOT_FOUND),), (AS_LISTED, error(Trouble.NOT_FOUND))])
def test_an_object_that_the_store_does_not_have_has_vanished(answers: tuple[Any, ...]) -> None:
    desk = Desk(*answers)
    desk.looks.look_again(desk.item, Trouble.CHANGED, "it said so")
    desk.vanished.use_what_is_left.assert_called_once_with(desk.item)
    desk.fetching.not_arrived.assert_not_called()


def test_an_object_that_the_mover_did_not_find_has_not_vanished_if_the_store_has_it() -> None:
    desk = Desk(AS_LISTED)
    desk.looks.look_again(desk.item, Trouble.NOT_FOUND, "it said so")
    desk.vanished.use_what_is_left.assert_not_called()
    assert desk.fetching.not_arrived.call_count == 1


def test_an_error_is_that_of_who_was_asked() -> None:
    desk = Desk(error(Trouble.DENIED))
    desk.looks.look_again(desk.item, Trouble.CHANGED, "it said so")
    other: Any = SimpleNamespace(url="b")
    desk.looks.was_not_told(desk.item, error(Trouble.SERVER), other)
    assert [call.args for call in desk.fetching.not_arrived.call_args_list] == [
        (desk.item, Trouble.DENIED, "Failed to look: no", None),
        (desk.item, Trouble.SERVER, "Failed to look: no", other),
    ]
    desk.vanished.use_what_is_left.assert_not_called()
