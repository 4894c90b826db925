# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a unit shows of itself, and how that reaches its row in the ledger."""

from __future__ import annotations

import pytest

from snowsync.hops.activity import Activity


@pytest.mark.parametrize(("has_ended", "waiting_for"), [(False, "fetching 3 objects"), (True, "")])
def test_a_deadline_keeps_what_a_unit_was_doing_unless_it_had_ended(has_ended: bool, waiting_for: str) -> None:
    activity = Activity()
    activity.status, activity.has_ended = "fetching 3 objects", has_ended
    activity.deadline_passed()
    activity.stopped(None)
    assert (activity.status, activity.waiting_for) == ("stopped", waiting_for)


def test_the_error_that_ended_a_unit_is_shown() -> None:
    activity = Activity()
    activity.stopped(ValueError("no more"))
    assert activity.status == "stopped: no more"


def test_a_beat_is_the_time_of_the_last_move(monkeypatch: pytest.MonkeyPatch) -> None:
    activity = Activity()
    monkeypatch.setattr("time.monotonic", lambda: 4711.0)
    activity.beat()
    assert activity.heartbeat == 4711.0
