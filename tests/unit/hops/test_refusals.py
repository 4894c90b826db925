# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One object that is refused, or everything: when the destination is no longer sent anything, and when it is tried."""

from __future__ import annotations

import pytest

from snowsync.core.errors import Trouble
from snowsync.hops.destination.unsent.refusals import MANY, PROBES_AT_ONCE, Refusals

DENIED = Trouble.DENIED
NOW = 1000.0


def refuse(refusals: Refusals, *numbers: int, trouble: Trouble = DENIED, now: float = NOW) -> list[bool]:
    return [refusals.refused(number, f"{trouble.value} {number}", now) for number in numbers]


def refusing(now: float = NOW) -> Refusals:
    """A destination that refuses everything since `now`."""
    refusals = Refusals()
    refuse(refusals, *range(MANY), now=now)
    assert refusals.everything
    return refusals


def test_nothing_is_refused_at_first() -> None:
    refusals = Refusals()
    assert not refusals.everything
    assert refusals.may_try(0.0)
    assert not refusals.accepted()


def test_many_refused_objects_are_everything_and_that_is_said_once() -> None:
    refusals = Refusals()
    assert refuse(refusals, *range(MANY)) == [False] * (MANY - 1) + [True]
    assert refusals.everything
    assert refusals.message == f"denied {MANY - 1}"
    assert refuse(refusals, MANY, MANY + 1) == [False, False]


def test_one_object_refused_again_and_again_is_one_object() -> None:
    refusals = Refusals()
    assert refuse(refusals, *[7] * (3 * MANY)) == [False] * 3 * MANY
    assert not refusals.everything
    assert refusals.may_try(NOW)


def test_other_reasons_in_between_do_not_start_the_count_anew() -> None:
    """A store that is ill in several ways at once would be sent everything again and again."""
    refusals = Refusals()
    said = [refuse(refusals, number, trouble=(DENIED, Trouble.MISMATCH)[number % 2])[0] for number in range(MANY)]
    assert said == [False] * (MANY - 1) + [True]
    assert refusals.everything


def test_an_object_that_is_accepted_in_between_starts_the_count_anew() -> None:
    refusals = Refusals()
    refuse(refusals, *range(MANY - 1))
    assert not refusals.accepted(), "not everything was refused"
    refuse(refusals, *range(MANY, 2 * MANY - 1))
    assert not refusals.everything


def test_nothing_is_sent_until_the_pause_is_over() -> None:
    refusals = refusing()
    assert not refusals.may_try(NOW)
    assert not refusals.may_try(refusals.next_trial - 0.001)
    assert refusals.may_try(refusals.next_trial)


def test_each_refused_trial_doubles_the_pause_up_to_ten_minutes() -> None:
    refusals = refusing()
    pauses = [refusals.next_trial - NOW]
    for number in range(20):
        now = refusals.next_trial
        refuse(refusals, number, now=now)
        assert refusals.trials == number + 1
        pauses.append(refusals.next_trial - now)
    assert pauses == [min(600.0, pauses[0] * 2**number) for number in range(21)]
    assert pauses[-1] == 600.0


def test_what_was_on_its_way_is_no_trial() -> None:
    refusals = refusing()
    before = refusals.next_trial
    refuse(refusals, 1, 2, 3, now=before - 0.001)
    assert (refusals.trials, refusals.next_trial) == (0, before)


def test_the_objects_of_one_trial_count_once() -> None:
    refusals = refusing()
    now = refusals.next_trial
    refuse(refusals, *range(PROBES_AT_ONCE), now=now)
    assert refusals.trials == 1
    assert refusals.message == "denied 0"


@pytest.mark.parametrize("trouble", [Trouble.MISMATCH, Trouble.NOT_FOUND, Trouble.OTHER])
def test_a_trial_that_is_refused_for_another_reason_is_refused_all_the_same(trouble: Trouble) -> None:
    refusals = refusing()
    refuse(refusals, 1, trouble=trouble, now=refusals.next_trial)
    assert refusals.trials == 1
    assert refusals.message == f"{trouble.value} 1", "the latest answer is the one that is shown"


def test_one_accepted_object_ends_it_and_that_is_said_once() -> None:
    refusals = refusing()
    refuse(refusals, 1, now=refusals.next_trial)
    assert refusals.accepted()
    assert not refusals.accepted()
    assert (refusals.everything, refusals.trials, refusals.message) == (False, 0, "")
    assert refusals.may_try(NOW)


def test_after_it_ended_as_many_refusals_are_needed_as_before() -> None:
    refusals = refusing()
    refusals.accepted()
    assert refuse(refusals, *range(10, 10 + MANY)) == [False] * (MANY - 1) + [True]
    assert refusals.next_trial == NOW + 0.5, "the pause starts short again"


def test_objects_that_are_refused_while_others_are_accepted_say_nothing_of_the_others() -> None:
    refusals = Refusals()
    refuse(refusals, *range(MANY - 1))
    refusals.accepted()
    refuse(refusals, *range(MANY - 1), 99)
    refuse(refusals, *range(MANY - 1), 99)
    assert not refusals.everything
