# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that the source no longer has: what is left of them is used, and named."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from snowsync.core.errors import Trouble
from snowsync.core.model import Origin, State
from snowsync.hops.counters import Counters
from snowsync.hops.flight import Item
from snowsync.hops.part_memory import PartKeeper
from snowsync.hops.setbacks import Setbacks
from snowsync.hops.source.arrivals.vanished_objects import VanishedObjects
from snowsync.hops.source.staging.fetching import Fetching
from snowsync.hops.switches import Switches
from snowsync.ledger.ledger import Failure, Ledger, Row

ROW = Row(7, "film", 4, "", 1000, 3, Origin.SOURCE, State.PENDING, 0, 0, "", "", 0, 0, 0)
UNUSED: Any = None


class Desk:
    """A ledger without any copy of the object, unless it is told otherwise."""

    def __init__(self, *, is_adopted: bool = False) -> None:
        self.ledger: Any = mock.Mock(Ledger, copies=mock.Mock(), losses=mock.Mock(), objects=mock.Mock())
        self.ledger.copies.restore.return_value = None
        self.ledger.copies.quarantined.return_value = ""
        self.ledger.losses.left_on.return_value = ""
        self.parts, self.setbacks = mock.Mock(PartKeeper), mock.Mock(Setbacks)
        self.fetching: Any = mock.Mock(Fetching)
        self.counters, self.switches = Counters(), Switches()
        self.item = Item(ROW, UNUSED, UNUSED, "")
        self.vanished = VanishedObjects(
            self.ledger,
            self.parts,
            self.setbacks,
            self.fetching,
            self.counters,
            self.switches,
            adopt=lambda row: is_adopted and row is ROW,
        )

    def report(self) -> None:
        """In every case the object leaves the unit, and its parts are forgotten."""
        self.vanished.use_what_is_left(self.item)
        self.parts.forget.assert_called_once_with(7)
        self.setbacks.forgive.assert_called_once_with(7)
        self.fetching.put_back.assert_called_once_with(self.item, None)

    def told(self) -> Failure:
        (failure,) = (call.args[0] for call in self.ledger.objects.gone.call_args_list)
        assert isinstance(failure, Failure)
        return failure


def test_an_older_generation_is_delivered_instead() -> None:
    desk = Desk()
    desk.ledger.copies.restore.side_effect = lambda _row, told: told(2, "one")
    desk.report()
    (failure,) = (call.args[0] for call in desk.setbacks.note.call_args_list)
    assert (failure.row, failure.trouble) == (ROW, Trouble.NOT_FOUND)
    assert failure.message == "the source no longer has it; generation 2, staged on volume one, is kept"
    assert desk.counters.lost == 1
    assert desk.switches.staged.is_set()
    desk.ledger.objects.gone.assert_not_called()


def test_an_unknown_file_of_it_is_looked_for_first() -> None:
    desk = Desk(is_adopted=True)
    desk.ledger.objects.gone.return_value = False  # it is staged by now
    desk.report()
    desk.ledger.copies.restore.assert_not_called()
    desk.setbacks.note.assert_not_called()
    assert desk.counters.lost == 0


@pytest.mark.parametrize(
    ("left_on", "quarantined", "message", "action"),
    [
        ("", "", "the source listed it but does not have it", "will be tried again; forgotten once it is no longer"),
        ("one", "two", "its only copy is on volume one, which failed", "kept until the volume returns"),
        ("", "two", "the only copy is in the quarantine of volume two", "kept there"),
    ],
)
def test_where_the_last_copy_is_is_told(left_on: str, quarantined: str, message: str, action: str) -> None:
    desk = Desk()
    desk.ledger.losses.left_on.return_value = left_on
    desk.ledger.copies.quarantined.return_value = quarantined
    desk.report()
    failure = desk.told()
    assert message in failure.message
    assert failure.action.startswith(action)
    desk.setbacks.note.assert_called_once_with(failure)
    assert not desk.switches.staged.is_set()


def test_what_the_ledger_does_not_record_is_not_counted() -> None:
    desk = Desk()
    desk.ledger.objects.gone.return_value = False
    desk.report()
    desk.setbacks.note.assert_not_called()
