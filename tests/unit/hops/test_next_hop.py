# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the source unit knows of the destination unit in the same process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core.model import State
from snowsync.hops.source.next_hop import NextHop
from snowsync.hops.switches import Switches


def next_hop(
    switches: Switches,
    *,
    alone: bool = False,
    keep: bool = False,
    touched: bool = False,
    unsent: bool = False,
    delivered: bool = False,
) -> NextHop:
    job: Any = SimpleNamespace(keep_staged=keep, attempts=3)
    ledger: Any = SimpleNamespace(
        listing=SimpleNamespace(touched=lambda limit, delivered_too: ["a row"] if touched else []),
        objects=SimpleNamespace(
            is_to_be_sent=lambda attempts: unsent and attempts == 3,
            waiting=lambda state: delivered and state is State.DELIVERED,
        ),
    )
    return NextHop(job, ledger, switches, is_alone=alone)


@pytest.mark.parametrize(
    ("touched", "unsent", "refused", "ended"),
    [
        (False, False, False, True),
        (True, False, False, False),
        (False, True, False, False),
        (True, True, True, True),  # it accepts nothing, whatever is left
    ],
)
def test_whether_the_destination_has_something_left_to_try(
    touched: bool, unsent: bool, refused: bool, ended: bool
) -> None:
    switches = Switches()
    if refused:
        switches.refused.set()
    assert next_hop(switches, touched=touched, unsent=unsent).has_ended() is ended


@pytest.mark.parametrize(
    ("keep", "delivered", "releasing"), [(False, True, True), (False, False, False), (True, True, False)]
)
def test_files_that_are_kept_are_never_released(keep: bool, delivered: bool, releasing: bool) -> None:
    assert next_hop(Switches(), keep=keep, delivered=delivered).is_releasing() is releasing


def test_a_unit_that_is_alone_waits_for_no_files_to_be_put_back() -> None:
    switches = Switches()
    assert next_hop(switches, alone=True).has_put_back
    assert not next_hop(switches).has_put_back
    switches.put_back.set()
    assert next_hop(switches).has_put_back


def test_the_destination_may_end_once_it_is_woken() -> None:
    switches = Switches()
    next_hop(switches).release()
    assert switches.source_done.is_set() and switches.staged.is_set()
